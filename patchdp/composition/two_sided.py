"""Composition where the two data sets of a pair are not alike: one profile for each direction.

>>> import math
>>> from fractions import Fraction
>>> step = OmittedProfile(rate=Fraction(8, 119), inclusion=Fraction(66049, 200720), mu=0.5)
>>> bool(1.421 < epsilon_upper([(step, 1500)], -math.log(2975)) < 1.4245)
True

Source: `docs/theory/omitted.md`, "Many steps".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.given import convex_minorant
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.grid.masses import LossMasses
from patchdp.composition.grid.prove import epsilon_of
from patchdp.step.omitted import OmittedProfile, Side

__all__ = ["TwoSidedMasses", "epsilon_upper"]

Array = npt.NDArray[np.float64]
Phases = Sequence[tuple[OmittedProfile, int]]

_UNIT = 2.0**-53
# Spacing of the grid in standard deviations of a step's loss, and its most points.
_FINENESS, _MOST_CELLS = 0.12, 1 << 16
# Mass that may go to infinity, relative to delta.
_GIVEN_AWAY = 1e-4


@dataclass(frozen=True, eq=False)
class TwoSidedMasses(LossMasses):
    """Masses whose negative half is not the mirror image of the positive one.

    Args:
      log_negative: `log m_k` at `-k h`, `k = 0..n`; that at 0 does not count.
    """

    log_negative: Array | None = None

    @cached_property
    def log_probabilities(self) -> Array:
        """`log p_k` for `k = -n..n`."""
        assert self.log_negative is not None
        return np.concatenate([self.log_negative[:0:-1], [self.log_atom], self.log_positive[1:]])


def _polygon(values: Array, excess: Array) -> tuple[Array, float, float]:
    """Kinks of the convex minorant of values at `a - 1 = excess`, its first slope, its last value.

    Kinks are raised by a bound of their rounding.
    """
    kept = convex_minorant(excess, values)
    x, v = excess[kept], values[kept]
    slopes = np.append(np.diff(v) / np.diff(x), 0.0)
    blur = np.append(4 * _UNIT * (v[:-1] + v[1:]) / np.diff(x), 0.0)
    kinks = np.zeros(len(excess))
    kinks[kept[1:]] = np.maximum(np.diff(slopes), 0.0) + blur[:-1] + blur[1:]
    return kinks, float(slopes[0] + blur[0]), float(v[-1])


def masses(step: OmittedProfile, side: Side, interval: float, cells: int) -> TwoSidedMasses:
    """Pessimistic masses of the loss in one direction.

    Positive losses have the kinks of that direction's profile, negative ones those of the other
    direction's, mirrored.

    Args:
      step: The step.
      side: Whose losses.
      interval: Grid spacing.
      cells: Number of cells of each half.
    """
    other: Side = "add" if side == "remove" else "remove"
    losses = interval * np.arange(cells + 1)
    excess = np.expm1(losses)
    mine, theirs = (step.delta(losses, each) for each in (side, other))
    mine[0] = theirs[0] = max(mine[0], theirs[0])  # total variation, which both are
    up, slope, beyond = _polygon(mine, excess)
    down, slope_down, _ = _polygon(theirs, excess)
    atom = max(1 + slope + slope_down - float(mine[0]), 0.0) + 4 * _UNIT
    with np.errstate(divide="ignore"):
        return TwoSidedMasses(
            interval,
            np.log(up) + losses,
            log_atom=math.log(atom),
            log_infinity=math.log(beyond),
            log_bottom=-math.inf,
            log_negative=np.log(down),  # e^l times the kink, times e^-l
        )


def _grid(phases: Phases, log_delta: float) -> tuple[float, int]:
    """Spacing and number of cells that suit all steps and both directions."""
    total = sum(count for _, count in phases)
    floor = math.exp(log_delta) * _GIVEN_AWAY / total
    losses = np.geomspace(1e-7, 700.0, 600)
    tops, spreads = [], []
    for step, _ in phases:
        for side in ("remove", "add"):
            values = step.delta(losses, side)
            tops.append(float(losses[min(int(np.argmax(values <= floor)), len(losses) - 1)]))
            # E[L^2; L > 0] is about twice the integral of e^l delta(l) l, roughly.
            second = 2 * np.trapezoid(values * losses * np.exp(np.minimum(losses, 1.0)), losses)
            spreads.append(math.sqrt(max(float(second), 1e-300)))
    top = max(tops)
    interval = min(_FINENESS * max(spreads), top / 512)
    interval = max(interval, top / _MOST_CELLS)
    return interval, math.ceil(top / interval) + 1


def epsilon_upper(phases: Phases, log_delta: float) -> float:
    """A certified epsilon at `log_delta`, the larger of both directions.

    Infinity where some step is loud, or where no grid fits the budget.

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
    """
    if any(step.loud for step, _ in phases):
        return math.inf
    interval, cells = _grid(phases, log_delta)
    found = []
    sides: tuple[Side, ...] = ("remove", "add")
    for side in sides:
        rows = [(masses(step, side, interval, cells), count) for step, count in phases]
        try:
            found.append(epsilon_of(rows, log_delta))
        except GridTooLarge:
            return math.inf
    value = max(found)
    return value if value == 0 else math.nextafter(value * (1 + 1e-14), math.inf)
