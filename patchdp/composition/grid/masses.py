"""One step's privacy loss on a grid, rounded up and rounded down, without cancellation.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> from patchdp.step.moments import log_mgf
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
>>> cells = half_cells(step, interval=0.01, cells=900)
>>> probabilities, infinity = pessimistic(cells).linear()
>>> round(float(probabilities.sum() + infinity), 12)
1.0
>>> optimistic(cells).log_mgf(3.0) < log_mgf(step, 3.0) < pessimistic(cells).log_mgf(3.0)
True

The profile of the pessimistic masses is the chord polygon of the true profile through the grid's
`e^{kh}`: it lies above the truth everywhere. That of the optimistic ones runs below the tangents
in the middle of the cells. So the true delta of any composition lies between theirs
(`docs/theory.md`, "Connect the dots" and "Optimistic rounding"). Usual implementations take second
differences of the profile, which cancel; here each half cell is integrated over positive terms,
and both roundings are made of those integrals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.grid.cells import HalfCells, half_cells, largest_loss
from patchdp.composition.grid.polygon import Lines, Polygon
from patchdp.composition.numeric import UNIT, log_sum
from patchdp.step.profile import StepProfile

__all__ = [
    "GridLaw",
    "LossMasses",
    "attained",
    "loss_masses",
    "optimistic",
    "pessimistic",
]

Array = npt.NDArray[np.float64]

# Relative error of one computed mass near the centre: quadrature 2e-15, the rest is rounding.
RELATIVE_ERROR = 2e-14


@dataclass(frozen=True, eq=False)
class GridLaw:
    """Masses `p_k` at the losses `offset + k h`, `k = first, first + 1, ...`.

    >>> GridLaw(0.1, -1, np.log([0.2, 0.5, 0.3]), -math.inf).losses.round(1).tolist()
    [-0.1, 0.0, 0.1]

    Args:
      interval: Grid spacing `h`.
      first: Index of the first mass, at most 0; the last one has an index of at least 0.
      log_probabilities: Their logarithms.
      log_infinity: Log of the mass at infinity.
      offset: Where the grid's 0 lies.
      rounding: Bound on the relative error of the masses.
      loss_rounding: Bound on the relative error of the losses that they were computed from.
    """

    interval: float
    first: int
    log_probabilities: Array
    log_infinity: float
    offset: float = 0.0
    rounding: float = RELATIVE_ERROR
    loss_rounding: float = 4 * UNIT

    @cached_property
    def losses(self) -> Array:
        """The grid without the offset."""
        count = len(self.log_probabilities)
        return np.asarray(self.interval * np.arange(self.first, self.first + count), dtype=float)

    @property
    def last(self) -> int:
        """Index of the last mass."""
        return self.first + len(self.log_probabilities) - 1

    def log_mgf(self, tilt: float) -> float:
        """`log sum_k p_k e^{tilt k h}`, without the mass at infinity."""
        return log_sum(self.log_probabilities + tilt * self.losses)

    def split(self, cut: int) -> tuple[GridLaw, GridLaw]:
        """The masses at `|k| <= cut`, and the others."""
        low, high = max(self.first, -cut), min(self.last, cut)
        logs = self.log_probabilities.copy()
        small = logs[low - self.first : high - self.first + 1].copy()
        logs[low - self.first : high - self.first + 1] = -np.inf
        return (
            replace(self, first=low, log_probabilities=small, log_infinity=-math.inf),
            replace(self, log_probabilities=logs),
        )


@dataclass(frozen=True, eq=False)
class LossMasses:
    """The discretised symmetric loss of one step on the grid `k * interval`, `-n <= k <= n`.

    >>> LossMasses(0.1, np.log([0.1, 0.2]), -0.4, -60.0, -70.0).size
    2

    Args:
      interval: Grid spacing `h`.
      log_positive: `log m_k`, `k = 0..n`: P-mass of positive losses, shared onto `k h`.
      log_atom: Log of the mass that sits at loss 0 exactly.
      log_infinity: Log of the P-mass of losses above the grid; it goes to infinity.
      log_bottom: Log of the mass of losses below the grid; it goes to the lowest point.
      rounding: Bound on the relative error of the masses.
      loss_rounding: Bound on the relative error of the losses that they were computed from.
    """

    interval: float
    log_positive: Array
    log_atom: float
    log_infinity: float
    log_bottom: float
    rounding: float = RELATIVE_ERROR
    loss_rounding: float = 4 * UNIT

    @property
    def size(self) -> int:
        """Number of grid points with `k >= 0`."""
        return len(self.log_positive)

    @cached_property
    def law(self) -> GridLaw:
        """All masses, from `-n h` to `n h`."""
        return GridLaw(
            self.interval,
            1 - self.size,
            self.log_probabilities,
            self.log_infinity,
            rounding=self.rounding,
            loss_rounding=self.loss_rounding,
        )

    @cached_property
    def log_probabilities(self) -> Array:
        """`log p_k` for `k = -n..n`; the mirrored half carries `m_k e^{-kh}` at `-kh`."""
        losses = self.interval * np.arange(self.size)
        mirrored = self.log_positive - losses
        mirrored[-1] = np.logaddexp(mirrored[-1], self.log_bottom)
        zero = np.logaddexp(self.log_atom, self.log_positive[0] + math.log(2.0))
        return np.concatenate([mirrored[:0:-1], [zero], self.log_positive[1:]])

    @property
    def losses(self) -> Array:
        """The grid, from `-n h` to `n h`."""
        return self.law.losses

    def linear(self) -> tuple[Array, float]:
        """The masses `p_k`, `k = -n..n`, and the mass at infinity."""
        return np.exp(self.log_probabilities), float(np.exp(self.log_infinity))

    def log_mgf(self, tilt: float) -> float:
        """`log sum_k p_k e^{tilt k h}`, without the mass at infinity."""
        return self.law.log_mgf(tilt)

    def tilted_moments(self, tilt: float) -> tuple[float, float, float]:
        """`log M(tilt)` with mean and variance of the loss under the tilted masses."""
        terms = self.log_probabilities + tilt * self.losses
        peak = float(np.max(terms))
        weights = np.exp(terms - peak)
        total = float(weights.sum())
        mean = float(weights @ self.losses) / total
        variance = float(weights @ np.square(self.losses - mean)) / total
        return peak + float(np.log(total)), mean, variance


def pessimistic(right: HalfCells) -> LossMasses:
    """Each cell's mass shared between its two ends; what lies beyond the cells goes to infinity.

    Source: `docs/theory.md`, "Connect the dots" (Theorem 19).
    """
    h = right.interval
    # On the points k h/2 first; then those in the middle of cells are shared in their turn.
    fine = np.full(2 * right.cells + 1, -np.inf)
    fine[:-1] = right.log_down
    fine[1:] = np.logaddexp(fine[1:], right.log_up)
    log_m, middle = fine[::2], fine[1::2]
    share = -math.log1p(math.exp(-0.5 * h))
    log_m[1:] = np.logaddexp(log_m[1:], middle + share)
    log_m[:-1] = np.logaddexp(log_m[:-1], middle + share - 0.5 * h)
    return LossMasses(
        h,
        log_m,
        right.log_atom,
        right.log_above,
        right.log_below,
        right.rounding + 4 * UNIT,
        right.loss_rounding,
    )


def loss_masses(profile: StepProfile, *, interval: float, log_tail: float) -> LossMasses:
    """Discretise the loss of one step pessimistically.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> loss_masses(step, interval=0.1, log_tail=-50.0).size
    106

    Args:
      profile: The step.
      interval: Grid spacing, above 0.
      log_tail: Losses whose mass is at most `exp(log_tail)` may go to infinity.
    """
    cells = max(math.ceil(largest_loss(profile, log_tail) / interval), 1)
    return pessimistic(half_cells(profile, interval=interval, cells=cells))


def optimistic(right: HalfCells) -> GridLaw:
    """The symmetric law on the grid, with a profile below the true one.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
    >>> law = optimistic(half_cells(step, interval=0.1, cells=40))
    >>> 0.9999 < math.exp(log_sum(law.log_probabilities)) < 1
    True

    Source: `docs/theory.md`, "Optimistic rounding" (Theorem 30).
    """
    polygon, h = Polygon.of(right), right.interval
    lines = polygon.lines(0.0)
    own, other, _ = polygon.centre
    if 2 * lines.taken > own + other:  # too coarse a grid: all losses are dropped
        lines = Lines(np.zeros(0), 0.0)
    nodes = h * np.arange(1, len(lines.log_masses) + 1)
    zero = math.fsum([math.exp(right.log_atom), own, other, -2 * lines.taken])
    zero *= 1 - right.rounding - 8 * UNIT
    with np.errstate(divide="ignore"):
        middle = np.log(np.array([max(zero, 0.0)]))
        logs = [(lines.log_masses - nodes)[::-1], middle, lines.log_masses]
    return GridLaw(
        h,
        -len(nodes),
        np.concatenate(logs),
        -math.inf,
        rounding=4 * UNIT,
        loss_rounding=right.loss_rounding,
    )


def attained(right: HalfCells, left: HalfCells, *, lumped: bool = False) -> GridLaw:
    """One direction of a pair on a grid, with a profile below its own.

    Losses around 0 are replaced by their mean, which is where the grid's 0 lies: a step that
    hardly ever shows the patch has nearly all of its mass there.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
    >>> halves = [half_cells(step, interval=0.1, cells=40, side=s) for s in ("right", "left")]
    >>> attained(*halves).offset < 0 < attained(*halves[::-1]).offset
    True

    Args:
      right: The half on which the loss is positive, and
      left: the other one: the pair's own two halves, or swapped for the reversed pair.
      lumped: Whether all losses below 0 are replaced by their mean: sharper where they lie closer
        together than the grid's points.

    Source: `docs/theory.md`, "Optimistic rounding" (Theorem 30).
    """
    h, rounding = right.interval, max(right.rounding, left.rounding) + 8 * UNIT
    sides = Polygon.of(right), Polygon.lumped(left) if lumped else Polygon.of(left)
    (p_right, q_right, gained), (q_left, p_left, lost) = (side.centre for side in sides)
    p, q = p_right + p_left, q_right + q_left
    excess = gained - lost - 2 * rounding * (gained + lost)
    offset = math.log1p(max(excess / q, -0.5)) if q > 0 else 0.0
    offset -= 2 * UNIT * abs(offset)
    up, down = sides[0].lines(offset), sides[1].lines(-offset)
    if up.taken + math.exp(offset) * down.taken > p:  # too coarse a grid: they are dropped
        up = down = Lines(np.zeros(0), 0.0)
    below = _floored(sides[1], down, offset)
    zero = (p - up.taken - math.exp(offset) * down.taken) * (1 - rounding)
    with np.errstate(divide="ignore"):
        logs = [below[::-1], np.log(np.array([max(zero, 0.0)])), up.log_masses]
    return GridLaw(
        h,
        -len(below),
        np.concatenate(logs),
        -math.inf,
        offset,
        4 * UNIT,
        max(right.loss_rounding, left.loss_rounding),
    )


def _floored(polygon: Polygon, lines: Lines, offset: float) -> Array:
    """Logs of the P-masses at the grid's points below 0.

    Beyond the last tangent each half cell's mass goes to the next lower point: the loss of one
    direction may have nearly all of its mass close to its least value.
    """
    left, last = polygon.half, len(lines.log_masses)
    h, count = left.interval, left.cells + 1
    logs = np.full(count, -np.inf)
    nodes = h * np.arange(1, count + 1) - offset
    logs[:last] = lines.log_masses - nodes[:last]
    # The other law's mass in half cell j is its lower end's `e^{-l}` times down + e^{-h/2} up. The
    # upper half of the last node's cell is in that node.
    start = 2 * last + 1 if last else 2 * polygon.first
    # Of the half cell below a first node the node 0 took a share.
    several = last > polygon.first
    below = 2 * last - 1 if several else 2 * polygon.first - 1
    j = np.concatenate([[below], np.arange(start, 2 * left.cells)])
    mass = np.logaddexp(left.log_down[j], left.log_up[j] - 0.5 * h) - 0.5 * h * j
    if not several:
        mass[0] += math.log1p(-polygon.left) if polygon.left < 1 else -math.inf
    at = (j + 2) // 2 if offset <= 0 else (j + 2) // 2 + 1
    for k, m in zip(at, mass, strict=True):
        if k <= count:
            logs[k - 1] = np.logaddexp(logs[k - 1], m)
    keep = np.flatnonzero(np.isfinite(logs))
    return logs[: int(keep[-1]) + 1] if len(keep) else logs[:0]
