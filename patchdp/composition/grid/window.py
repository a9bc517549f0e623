"""Which points of a composed grid are kept, and what leaving out the others costs.

>>> from patchdp.composition.grid.masses import loss_masses
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> moments = Moments([(loss_masses(step, interval=0.01, log_tail=-60.0).law, 3)], None)
>>> round(moments(2.0), 2)  # 3 t (t + 1) D^2 / 2 for distance D = 1
9.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from patchdp.composition.chernoff import log_kernel_peak
from patchdp.composition.grid.masses import GridLaw

__all__ = ["NEGLIGIBLE", "Moments", "Window", "choose_window", "least_step"]

# An error term is small beside delta if it is at most this much of it, as a logarithm (1e-4).
NEGLIGIBLE = -9.2


class Moments:
    """Cumulants of a run on a grid, or of its runs in which some loss lies beyond a cut.

    Args:
      rows: The steps, and how often each is applied.
      split: Their masses up to the cut and beyond, in the latter case.
    """

    def __init__(
        self, rows: Sequence[tuple[GridLaw, int]], split: Sequence[tuple[GridLaw, GridLaw]] | None
    ) -> None:
        self.rows, self.split = rows, split
        self.steps = sum(count for _, count in rows)
        self._known: dict[float, float] = {}

    def __call__(self, s: float) -> float:
        """`log E[e^{sS}]`, rounded up."""
        if s not in self._known:
            value = self._value(s)
            # Each step's logarithm is good to about 1e-14 of the exponents that matter.
            self._known[s] = value + 1e-9 + 5e-14 * (self.steps + abs(value))
        return self._known[s]

    def _value(self, s: float) -> float:
        if self.split is None:
            return math.fsum(count * law.log_mgf(s) for law, count in self.rows)
        ratio = 0.0
        for (small, large), (_, count) in zip(self.split, self.rows, strict=True):
            ratio += count * float(np.logaddexp(0.0, large.log_mgf(s) - small.log_mgf(s)))
        grown = ratio if ratio > 30 else math.log(math.expm1(max(ratio, 1e-300)))
        return self.small(s) + grown

    def small(self, s: float) -> float:
        """Of the runs in which no loss lies beyond the cut."""
        assert self.split is not None
        pairs = zip(self.split, self.rows, strict=True)
        return math.fsum(count * small.log_mgf(s) for (small, _), (_, count) in pairs)


@dataclass(frozen=True)
class Window:
    """The grid points that are kept, `first` to `last`, and what they cost.

    >>> Window(-3, 40, -30.0, -40.0).points
    44

    Args:
      first, last: Indices.
      log_above: Log of a bound on the mass above.
      log_folded: Log of a bound on what folding adds to delta.
    """

    first: int
    last: int
    log_above: float
    log_folded: float

    @property
    def points(self) -> int:
        """How many."""
        return self.last - self.first + 1


def choose_window(
    cumulant: Callable[[float], float],
    *,
    tilt: float,
    aim: tuple[float, float],
    log_target: float,
    interval: float,
    reach: tuple[int, int],
) -> Window:
    """A window in which the folded law stays sharp at the epsilons of `aim`.

    The bounds are by Chernoff's inequality. A loss `S` above the window is folded down by a
    multiple of the period `D`, where it weighs `e^{tD}` more than its own share of delta at an
    epsilon larger by `D`; one below it is folded up, where it weighs `e^{-tD}`.

    Args:
      cumulant: `K(s)`, log of the moment generating function of the composed law.
      tilt: The tilt.
      aim: The smallest and the largest epsilon in question, counted from the offset.
      log_target: Log of a delta that matters at the largest one.
      interval: Grid spacing.
      reach: The least and the largest composed loss, in grid points.
    """
    h, (low, high) = interval, aim
    goal = log_target + NEGLIGIBLE - 2.0

    def missing(s: float) -> float:  # beyond which too little is left
        return (cumulant(s) - goal) / s

    s_top = least_step(missing, 1.4 * tilt)
    last = min(max(math.ceil(missing(s_top) / h), math.ceil(high / h) + 3), reach[1])
    last = max(last, math.ceil(high / h) + 1)
    above = cumulant(s_top) - s_top * last * h if last < reach[1] else -math.inf

    # Folded from above: e^{tD} e^{K(s) + kernel - s (low + D)}, s > t.
    def far(gap: float) -> float:
        s = tilt + gap
        return (cumulant(s) + float(log_kernel_peak(s)) - s * low - goal) / gap

    gap = least_step(far, 0.4 * tilt)
    period = max(far(gap), (last * h - low), 4 * h)

    # From below the window, where the point `first` lies: e^{-tD} Pr(S <= first h).
    def folded_up(width: float, u: float) -> float:
        first = last * h - width
        return -tilt * width + min(cumulant(-u) + u * first, 0.0 if u else cumulant(0.0))

    u = 0.0
    for _ in range(60):
        u = min((folded_up(period, v), v) for v in (0.0, 0.25 * tilt, tilt))[1]
        if folded_up(period, u) <= goal or last * h - period <= reach[0] * h:
            break
        period *= 1.15
    first = max(math.floor((last * h - period) / h), reach[0])
    first = min(first, math.floor(low / h))
    # Where there is nothing below the window it reaches further up instead.
    last = min(max(last, first + math.ceil(period / h)), max(reach[1], last))
    period = (last - first + 1) * h
    down = -math.inf
    if last < reach[1] or first > reach[0]:
        s = tilt + gap
        down = tilt * period + cumulant(s) + float(log_kernel_peak(s)) - s * (low + period)
        down -= math.log(-math.expm1(-gap * period))
        if (reach[1] + 1) * h <= low + period:
            down = -math.inf
    up = -math.inf
    if first > reach[0]:
        up = folded_up(period, u) - math.log(-math.expm1(-tilt * period))
    return Window(first, last, above, float(np.logaddexp(down, up)))


def least_step(bound: Callable[[float], float], step: float) -> float:
    """A step at which a bound with one valley is near its lowest."""
    value = bound(step)
    for factor in (2.0, 0.5):
        start = step
        for _ in range(16):
            new = bound(step * factor)
            if not new < value:
                break
            gain, step, value = value - new, step * factor, new
            if gain < 0.02 * abs(new):
                break
        if step != start:
            break
    return step
