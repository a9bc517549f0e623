"""Steps whose profile is given by certified values: their masses, and the composition of them.

>>> import math
>>> from fractions import Fraction
>>> from patchdp.step.random_allocation import AllocationProfile
>>> epoch = AllocationProfile(inclusion=Fraction(1, 8), mu=0.5, rounds=15)
>>> bool(1.028 < epsilon_upper([(epoch, 100)], -math.log(2975)) < 1.034)
True

A polygon through upper bounds of a profile at some losses lies above it (`docs/theory.md`,
"Connect the dots"); it is the profile of a loss with masses at those losses only, and composes
like any other. Source: `docs/theory/allocation.md`, "Many epochs".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from patchdp.composition import given_lower as lower
from patchdp.composition.chernoff import least_exponent, log_kernel_peak
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.grid.masses import LossMasses, loss_masses
from patchdp.composition.grid.prove import epsilon_of, log_delta_of
from patchdp.composition.transform.law import Run
from patchdp.step.allocation_upper import Accuracy
from patchdp.step.profile import StepProfile
from patchdp.step.random_allocation import AllocationProfile

__all__ = [
    "AnyRun",
    "Step",
    "by_pairs",
    "convex_minorant",
    "epsilon_lower",
    "epsilon_upper",
    "in_a_known_order",
    "is_ordinary",
    "log_delta_upper",
    "masses",
    "polygon_masses",
]

Array = npt.NDArray[np.float64]
Step = StepProfile | AllocationProfile
AnyRun = Sequence[tuple[Step, int]]

_UNIT = 2.0**-53
# What polygons may add to log delta, relative to the slope times epsilon.
_ALLOWED = 2e-4
# Mass that may go to infinity, relative to delta.
_GIVEN_AWAY = 2e-4
_COARSE, _MOST_CELLS = 24, 1 << 17
# Between these `mu` an epoch in a known order is no match.
_LITTLE, _PLENTY = 5e-3, 2.0


def by_pairs(run: AnyRun) -> TypeGuard[Run]:
    """Whether every step is given by pairs, which every prover takes."""
    return all(isinstance(step, StepProfile) for step, _ in run)


def is_ordinary(run: AnyRun) -> bool:
    """Whether polygons are sharper by far than epochs in a known order.

    They are not with little noise, or with so much of it that they drown in their rounding.
    """
    return all(isinstance(s, StepProfile) or _LITTLE <= s.mu <= _PLENTY for s, _ in run)


def in_a_known_order(run: AnyRun) -> Run:
    """The same run with epochs in a known order, which bounds it."""
    return tuple(
        (s if isinstance(s, StepProfile) else StepProfile(((1.0, s.shuffle),), False), n)
        for s, n in run
    )


def polygon_masses(losses: npt.NDArray[np.int64], values: Array, interval: float) -> LossMasses:
    """Masses of the symmetric profile that upper bounds at some losses give.

    >>> masses = polygon_masses(np.array([0, 5, 20]), np.array([0.3, 0.1, 1e-9]), 0.1)
    >>> probabilities, infinity = masses.linear()
    >>> round(float(probabilities.sum()) + infinity, 12)
    1.0

    Args:
      losses: Increasing numbers of grid points, the first one 0.
      values: Upper bounds of delta there.
      interval: Grid spacing.
    """
    excess = np.expm1(interval * losses)
    # The mass at 0 is `1 + 2 slope - value`; no slope may make it negative.
    values = np.maximum(values, values[0] - 0.5 * (1 - values[0]) * excess)
    kept = convex_minorant(excess, values)
    x, v = excess[kept], values[kept]
    slopes = np.append(np.diff(v) / np.diff(x), 0.0)
    # The rounding of a slope is a share of the values' size, not of their difference.
    rough = 4 * _UNIT * (v[:-1] + v[1:]) / np.diff(x)
    blur = np.append(rough, 0.0)
    kinks = np.maximum(np.diff(slopes), 0.0) + blur[:-1] + blur[1:]
    masses = np.zeros(int(losses[-1]) + 1)
    masses[losses[kept][1:]] = (1 + x[1:]) * kinks
    atom = max(1 + 2 * float(slopes[0]) - float(v[0]), 0.0) + 2 * float(blur[0]) + 4 * _UNIT
    with np.errstate(divide="ignore"):
        return LossMasses(
            interval,
            np.log(masses),
            log_atom=math.log(atom),
            log_infinity=float(np.log(v[-1])),
            log_bottom=-math.inf,
        )


def convex_minorant(x: Array, y: Array) -> list[int]:
    """Numbers of the points on the lower convex hull, the first and the last among them."""
    kept: list[int] = []
    for i in range(len(x)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(i)
    return kept


class _Profile:
    """Upper bounds of one step's profile at chosen grid points."""

    def __init__(self, step: AllocationProfile, interval: float, floor: float) -> None:
        self.step, self.interval = step, interval
        # With little noise lattices are long, and nobody needs such an epsilon to 0.1 %.
        spread = 1e-3 if step.mu <= 1.5 else 4e-3
        longest = 1 << 16 if step.mu <= 1.5 else 1 << 13
        self.accuracy = Accuracy(spread, max(min(1e-9, 0.1 * floor), 1e-60), longest)
        self.floor = floor
        last = min(math.ceil(_largest(step, floor) / interval), _MOST_CELLS)
        first = max(math.floor(0.25 * step.scale / interval), 1)
        steps = np.geomspace(first, max(last, first + 1), _COARSE)
        self.losses = np.unique(np.concatenate([[0], np.round(steps).astype(np.int64)]))
        # A profile falls: a bound at a smaller loss holds here too.
        self.values = np.minimum.accumulate(self._at(self.losses))
        enough = np.flatnonzero(self.values <= 2 * floor)
        if len(enough):
            self.losses = self.losses[: enough[0] + 1]
            self.values = self.values[: enough[0] + 1]

    def _at(self, losses: npt.NDArray[np.int64]) -> Array:
        return self.step.delta(self.interval * losses, self.accuracy)

    def masses(self) -> LossMasses:
        return polygon_masses(self.losses, self.values, self.interval)

    def costs(self, tilt: float) -> Array:
        """About what each cell of the polygon adds to `E[e^{tilt L}]`."""
        e = self.interval * self.losses
        x, v = np.expm1(e), self.values
        slopes = np.diff(v) / np.diff(x)
        kinks = np.maximum(np.diff(slopes), 0.0) / (0.5 * (x[2:] - x[:-2]))
        curves = np.concatenate([kinks[:1], 0.5 * (kinks[1:] + kinks[:-1]), kinks[-1:]])
        middle = 0.5 * (e[1:] + e[:-1])
        with np.errstate(over="ignore"):
            weight = np.exp((tilt - 1) * middle) + np.exp(-(tilt + 2) * middle)
        with np.errstate(over="ignore", invalid="ignore"):
            costs = tilt * (tilt + 1) * weight * curves * np.diff(x) ** 3 / 12
            # No cell adds more than its whole value.
            most = tilt * (tilt + 1) * np.exp(tilt * middle) * v[:-1] * np.diff(e)
        return np.asarray(np.nan_to_num(np.fmin(costs, most), nan=0.0, posinf=1e300))

    def refine(self, tilt: float, allowed: float, most: int) -> bool:
        """Cut cells so that the polygon costs about `allowed`; False where it already does."""
        costs = self.costs(tilt)
        if float(costs.sum()) <= 1.2 * allowed:
            return False
        roots = np.cbrt(costs)
        parts = np.ceil(np.maximum(roots * math.sqrt(float(roots.sum()) / allowed), 1.0))
        while parts.sum() - len(parts) > most:
            parts = np.maximum(np.floor(parts * 0.9), 1.0)
        new = [
            np.linspace(a, b, int(n) + 1)[1:-1]
            for a, b, n in zip(self.losses[:-1], self.losses[1:], parts, strict=True)
        ]
        fresh = np.setdiff1d(np.round(np.concatenate(new)).astype(np.int64), self.losses)
        if not len(fresh):
            return False
        losses = np.concatenate([self.losses, fresh])
        values = np.concatenate([self.values, self._at(fresh)])
        order = np.argsort(losses)
        self.losses, self.values = losses[order], np.minimum.accumulate(values[order])
        return True


def _largest(step: AllocationProfile, floor: float) -> float:
    """A loss at which even the profile of a known order is at most `floor`."""
    losses = np.geomspace(1e-6, 700.0, 400)
    deltas = np.exp(step.shuffle.log_delta(losses))
    found = np.flatnonzero(deltas <= floor)
    return float(losses[found[0]]) if len(found) else 700.0


def _interval(step: AllocationProfile, floor: float) -> float:
    top = _largest(step, floor)
    return max(min(step.scale / 16, top / 1024), top / _MOST_CELLS)


def masses(phases: AnyRun, log_delta: float) -> tuple[tuple[LossMasses, int], ...]:
    """Discretised steps on one grid, fine enough for a delta.

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta.
    """
    return _masses(tuple(phases), log_delta)


def epsilon_lower(phases: AnyRun, log_delta: float, near: float) -> float | None:
    """An epsilon that is attained for certain; None where phases of other kinds take part.

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta.
      near: The certified epsilon.
    """
    (step, count), *others = phases
    if others or not isinstance(step, AllocationProfile):
        return None
    return lower.epsilon_lower(step, count, log_delta, near=near)


@functools.lru_cache(maxsize=64)
def _masses(
    phases: tuple[tuple[Step, int], ...], log_delta: float
) -> tuple[tuple[LossMasses, int], ...]:
    """Masses of all steps on one grid, fine enough for the delta in question."""
    total = sum(count for _, count in phases)
    floor = math.exp(log_delta) * _GIVEN_AWAY / total
    given = [step for step, _ in phases if isinstance(step, AllocationProfile)]
    interval = min(_interval(step, floor) for step in given)
    profiles = {step: _Profile(step, interval, floor) for step in given}
    log_tail = log_delta - math.log(total) - 12.0
    plain = {
        step: loss_masses(step, interval=interval, log_tail=log_tail)
        for step, _ in phases
        if isinstance(step, StepProfile)
    }

    def rows() -> tuple[tuple[LossMasses, int], ...]:
        return tuple(
            (plain[s] if isinstance(s, StepProfile) else profiles[s].masses(), n) for s, n in phases
        )

    for most in (48, 32, 32):
        masses = rows()
        tilt, epsilon = _saddle(masses, log_delta)
        allowed = _ALLOWED * max(tilt * epsilon, 1.0)
        moved = False
        for step, count in phases:
            if isinstance(step, AllocationProfile):
                mine = allowed * count / sum(n for s, n in phases if s in profiles)
                log_m = profiles[step].masses().log_mgf(tilt)
                moved |= profiles[step].refine(
                    tilt, mine / count * math.exp(min(log_m, 700.0)), most
                )
        if not moved:
            break
    return rows()


def _saddle(masses: Sequence[tuple[LossMasses, int]], log_delta: float) -> tuple[float, float]:
    """The tilt at which Chernoff's bound on epsilon is least, and that bound."""

    def bound(tilts: Array) -> Array:
        moments = [sum(n * m.log_mgf(t) for m, n in masses) for t in tilts.tolist()]
        return np.asarray((np.array(moments) + log_kernel_peak(tilts) - log_delta) / tilts)

    most = 1.5 / masses[0][0].interval
    return least_exponent(bound, low=min(1e-3, 1e-2 * most), high=most)


def epsilon_upper(phases: AnyRun, log_delta: float) -> float:
    """A certified epsilon at `log_delta` of steps some of which are given by values.

    Infinity where no grid fits the budget.

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
    """
    try:
        value = epsilon_of(_masses(tuple(phases), log_delta), log_delta)
    except GridTooLarge:
        return math.inf
    return value if value == 0 else math.nextafter(value * (1 + 1e-14), math.inf)


def log_delta_upper(phases: AnyRun, epsilon: Array) -> Array:
    """Logs of certified deltas at each `epsilon >= 0`, shaped like `epsilon`.

    Polygons are made for deltas on a ladder, so that neighbouring questions share them.
    """
    flat = np.ravel(np.asarray(epsilon, dtype=np.float64))
    logs = np.array([_log_delta(tuple(phases), e) for e in flat.tolist()])
    order = np.argsort(flat)
    logs[order] = np.minimum.accumulate(logs[order])  # what holds at a smaller epsilon holds here
    return logs.reshape(np.shape(epsilon))


_LADDER = (-2.0, -6.0, -10.0, -15.0, -22.0, -30.0)


def _log_delta(phases: tuple[tuple[Step, int], ...], epsilon: float) -> float:
    best = 0.0
    for rung in _LADDER:
        try:
            best = min(best, log_delta_of(_masses(phases, rung), epsilon, rung))
        except GridTooLarge:
            break
        if best > rung:
            break  # polygons for smaller deltas would not be sharper here
    return best
