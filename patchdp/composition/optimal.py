"""Optimal composition: privacy against the best adaptive adversary, not against a fixed pair.

>>> step = OptimalStep("fixed", rate=0.0672268, inclusion=0.32906, mu=0.5)
>>> result = epsilon_optimal([(step, 100)], 1e-5, tolerance=0.05)
>>> result.lower < result.upper < 1.05 * result.lower
True

The composed bound adds up one symmetric profile per step, which no execution attains on both sides
at once. Here the adversary chooses, in every step and from everything seen so far, which gradients
the data sets show; the result is certified from above and, where a run of two such choices attains
nearly as much, from below. Source: `docs/theory/optimal.md`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition.attained import attain
from patchdp.composition.grid import prove
from patchdp.composition.grid.cells import largest_loss
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.grid.masses import LossMasses
from patchdp.composition.triangles import Weights
from patchdp.composition.value_iteration import Grid, StepBounds, iterate
from patchdp.step.mixture import MixturePair
from patchdp.step.moments import log_mgf
from patchdp.step.profile import StepProfile, fixed_size_pair, poisson_pair

__all__ = ["OptimalEpsilon", "OptimalProfile", "OptimalStep", "epsilon_optimal", "optimal_profile"]

Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]

_UNIT = 2.0**-53
# Losses this unlikely, relative to delta per step, may count as certain failure.
_GIVEN_AWAY = 9.0
# Rounding of the transforms is about this much delta per step when nothing is tilted.
_ROUNDING = 1e-14
# Seconds of one step of value iteration at tolerance 0.02, on one core of 2020s hardware: fixed,
# and per grid point.
_SECONDS = (1.5e-3, 1.5e-6)
_ATTAINED_SECONDS = (2e-4, 2e-7)
_MOST_POINTS = 1 << 21


@dataclass(frozen=True)
class OptimalStep:
    """One step of training.

    >>> OptimalStep("poisson", rate=0.1, inclusion=0.5, mu=1.0).pair.gains
    (0.05,)

    Args:
      scheme: `"fixed"` for fixed-size batches of at most N - 1 of N images, for shuffled epochs and
        for full batches (rate 1); `"poisson"`.
      rate: Chance in (0, 1] that the image takes part in the step.
      inclusion: Chance in (0, 1] that its crop shows the patch.
      mu: `1/noise_multiplier`, above 0.

    Raises:
      ValueError: An argument is out of its range.
    """

    scheme: Literal["fixed", "poisson"]
    rate: float | Fraction
    inclusion: float | Fraction
    mu: float

    def __post_init__(self) -> None:
        scheme = _checks.choice("scheme", self.scheme, ("fixed", "poisson"))
        object.__setattr__(self, "scheme", scheme)
        for name in ("rate", "inclusion"):
            object.__setattr__(self, name, _checks.chance(name, getattr(self, name)))
        object.__setattr__(self, "mu", _checks.positive("mu", self.mu, up=True))

    @cached_property
    def pair(self) -> MixturePair:
        """The pair of the triangle `m = g'`; no triangle has a larger profile at `a >= 1`."""
        q, p = Fraction(self.rate), Fraction(self.inclusion)
        if self.scheme == "fixed":
            return fixed_size_pair(rate=q * p, mu=self.mu)
        return poisson_pair(rate=q, inclusion=p, mu=self.mu)

    @cached_property
    def symmetric(self) -> StepProfile:
        """The composed bound's profile of the step."""
        return StepProfile(((1.0, self.pair),), attainable=True)

    @cached_property
    def bounds(self) -> StepBounds:
        """The step as value iteration takes it."""
        q, p = Fraction(self.rate), Fraction(self.inclusion)
        weights = Weights.fixed(q * p) if self.scheme == "fixed" else Weights.poisson(q, p)
        return StepBounds(weights, self.mu, self.pair)


Steps = Sequence[tuple[OptimalStep, int]]


def _merged(steps: Steps) -> list[tuple[OptimalStep, int]]:
    merged: list[tuple[OptimalStep, int]] = []
    for step, number in steps:
        count = _checks.count("steps", number)
        if merged and merged[-1][0] == step:
            merged[-1] = (step, merged[-1][1] + count)
        else:
            merged.append((step, count))
    if not merged:
        raise ValueError("steps must name at least one step")
    return merged


def _chernoff(steps: Steps, log_delta: float) -> tuple[float, float]:
    """Epsilon of the composed Rényi bound at `log_delta` and the tilt that attains it."""
    best = (math.inf, 1.0)
    for t in np.geomspace(0.02, 2000.0, 48):
        log_m = sum(count * log_mgf(step.symmetric, float(t)) for step, count in steps)
        epsilon = (log_m - log_delta - math.log1p(t)) / t - math.log1p(1 / t)
        if epsilon < best[0]:
            best = (float(epsilon), float(t))
        elif epsilon > 0:
            break  # falls, then rises
    return max(best[0], 0.0), best[1]


def _rise(step: OptimalStep, interval: float, tilt: float, log_tail: float) -> float:
    """How much chords over the grid raise `log E[e^{tilt L}]` of the symmetric profile."""
    cells = max(math.ceil(largest_loss(step.symmetric, log_tail) / interval), 1)
    losses = interval * np.arange(cells + 1)
    values = step.pair.delta(losses)
    middle = losses[:-1] + math.log(0.5 * (1 + math.exp(interval)))
    gap = 0.5 * (values[1:] + values[:-1]) - step.pair.delta(middle)
    log_m = log_mgf(step.symmetric, tilt)
    weights = np.exp(tilt * middle - log_m) + np.exp(-(1 + tilt) * middle - log_m)
    raised = np.sum(np.maximum(gap, 0.0) * weights)
    return float(tilt * (tilt + 1) * (2 / 3) * interval * raised)


def _interval(steps: Steps, tilt: float, wanted: float, log_tail: float) -> float:
    """The spacing at which rounding to the grid raises `log E[e^{tilt L}]` by about `wanted`."""
    interval = max(largest_loss(s.symmetric, log_tail) for s, _ in steps) / 64
    for _ in range(12):
        cost = sum(n * _rise(s, interval, tilt, log_tail) for s, n in steps)
        if cost <= wanted:
            return interval
        interval *= min(max(0.95 * math.sqrt(wanted / cost), 1 / 16), 0.95)
    return interval


@dataclass(frozen=True)
class _Layout:
    """Grid and stopping rules of one run."""

    grid: Grid
    allowed: Array
    tolerance: float
    blocks: tuple[tuple[int, int], ...]

    @property
    def cost(self) -> float:
        """Seconds the run should take."""
        steps = sum(length for length, _ in self.blocks)
        each = _SECONDS[0] + _SECONDS[1] * self.grid.length
        return steps * each * math.sqrt(0.02 / self.tolerance)


def _layout(
    steps: Steps,
    log_delta: float,
    tolerance: float,
    interval: float | None,
    blocks: tuple[tuple[int, int], ...],
    everywhere: bool,
) -> _Layout:
    total = sum(count for _, count in steps)
    log_tail = log_delta - math.log(total) - _GIVEN_AWAY
    epsilon, tilt = _chernoff(steps, log_delta)
    if interval is None:
        wanted = 0.25 * tolerance * max(epsilon, 1 / (1 + tilt)) * tilt
        interval = _interval(steps, tilt, wanted, log_tail)
        if everywhere:  # near epsilon 0 it is the small moments that count
            small = min(tilt, 0.5)
            wanted = 0.5 * tolerance * sum(n * log_mgf(s.symmetric, small) for s, n in steps)
            interval = min(interval, _interval(steps, small, wanted, log_tail))
    run = [(step, length) for (step, _), (length, _) in zip(steps, blocks, strict=True)]
    shares = max(number for _, number in blocks)
    widest, _ = _chernoff(run, log_delta - math.log(shares) - _GIVEN_AWAY)
    reach = max(math.ceil(largest_loss(s.symmetric, log_tail) / interval) for s, _ in steps)
    most = reach * max(sum(length for length, _ in blocks), 1) + 1
    window = max(min(math.ceil(widest / interval), most), 8)
    if window + 2 * reach > _MOST_POINTS:
        raise GridTooLarge(
            f"optimal composition would need {window + 2 * reach} grid points at interval "
            f"{interval:.3g}; at most {_MOST_POINTS} are allowed: ask for a larger tolerance"
        )
    # The tilt makes rounding small against delta; it is left out where it is not needed, because
    # it makes the profile at larger deltas less sharp.
    needed = total * _ROUNDING > 1e-4 * math.exp(log_delta)
    exponent = min(tilt, 500.0 / (interval * (window + reach))) if needed else 0.0
    grid = Grid(interval, window, max(reach, 2), exponent)
    floor = np.full(window + 1, math.exp(log_delta))
    if not everywhere:
        floor = np.maximum(floor, np.exp(tilt * grid.losses))
    return _Layout(grid, 0.2 * tolerance / total * floor, tolerance, blocks)


def _block_masses(values: Array, grid: Grid) -> LossMasses:
    """A symmetric discrete loss whose profile on the grid is nowhere below `values`."""
    u = np.exp(grid.losses)
    # The true u V is convex, so the convex minorant of an upper bound is one too.
    hull: list[int] = []
    for i in range(len(u)):
        y = u[i] * values[i]
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            y_a, y_b = u[a] * values[a], u[b] * values[b]
            if (y_b - y_a) * (u[i] - u[b]) < (y - y_b) * (u[b] - u[a]):
                break
            hull.pop()
        hull.append(i)
    convex = np.interp(u, u[hull], (u * values)[hull]) / u
    nu, _ = grid.curvature(convex)
    masses = np.maximum((nu * grid.scale)[::-1], 0.0)  # at losses 0, h, 2h, ...
    n = len(masses) - 1
    infinity = float(values[0])
    losses = grid.interval * np.arange(n + 1)
    full = np.concatenate([(masses * np.exp(-losses))[:0:-1], masses])
    signed = grid.interval * np.arange(-n, n + 1)
    # Profile of these masses at every node, from sums of positive terms.
    above = np.append(np.cumsum(full[::-1])[::-1][1:], 0.0)
    q_above = np.append(np.cumsum((full * np.exp(-signed))[::-1])[::-1][1:], 0.0)
    reached = above - np.exp(signed) * q_above + infinity
    right = convex[::-1]
    left = -np.expm1(signed[:n]) + np.exp(signed[:n]) * right[:0:-1]
    target = np.concatenate([left, right])
    noise = 4 * (2 * n + 2) * _UNIT * (above + np.exp(signed) * q_above)
    missing = float(np.max(target - reached + noise))
    missing = max(missing, 1.0 - float(full.sum()) - infinity + 1e-13, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(masses)
    positive = logs.copy()
    positive[0] = -np.inf
    return LossMasses(
        interval=grid.interval,
        log_positive=positive,
        log_atom=float(logs[0]),
        log_infinity=float(np.log(infinity + missing)) if infinity + missing > 0 else -math.inf,
        log_bottom=-math.inf,
    )


@dataclass(frozen=True, eq=False)
class OptimalProfile:
    """The certified privacy profile of a training, and what it rests on.

    >>> step = OptimalStep("fixed", rate=1.0, inclusion=0.5, mu=0.5)
    >>> profile = optimal_profile([(step, 2)], tolerance=0.05)
    >>> bool(profile.lower(0.0) < profile.delta(0.0) < 1.1 * profile.lower(0.0))
    True

    Args:
      grid: The grid of losses of the value iteration.
      values: `V` on the grid: `delta(eps)` at `eps = -s`. One block where there are several.
      blocks: Length and number of the blocks of each phase; one block of all steps is optimal.
      cells: Largest number of cells that covered all triangles in one step.
      masses: Discretised blocks with their numbers, where there are several.
      attained: Values that some adversary reaches, where all steps are one block.
      attained_grid: The grid of those.
    """

    grid: Grid
    values: Array
    blocks: tuple[tuple[int, int], ...]
    cells: int
    masses: tuple[tuple[LossMasses, int], ...] = ()
    attained: Array | None = None
    attained_grid: Grid | None = None

    def _right(self, epsilon: Array) -> Array:
        """Logs of certified deltas at epsilons of at least 0, flat."""
        if self.masses:
            return self._composed(epsilon)
        deltas = self.values[::-1]
        h, n = self.grid.interval, self.grid.window
        index = np.minimum((epsilon / h).astype(np.int64), n - 1)
        share = np.clip(np.expm1(epsilon - h * index) / math.expm1(h), 0.0, 1.0)
        chord = deltas[index] * (1 - share) + deltas[index + 1] * share
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.minimum(chord * (1 + 1e-13), 1.0)))

    def _composed(self, epsilon: Array) -> Array:
        return np.array([prove.log_delta_of(self.masses, float(e)) for e in epsilon])

    def log_delta(self, epsilon: npt.ArrayLike) -> Array:
        """Log of a certified upper bound on delta at every real epsilon, of the same shape."""
        eps = np.asarray(epsilon, dtype=np.float64)
        size = np.abs(eps)
        right = self._right(size.ravel()).reshape(eps.shape)
        with np.errstate(divide="ignore"):
            left = np.minimum(np.logaddexp(np.log(-np.expm1(-size)), right - size), 0.0)
        return np.asarray(np.where(eps >= 0, right, left))

    def delta(self, epsilon: npt.ArrayLike) -> Array:
        """A certified upper bound on delta at every real epsilon."""
        return np.exp(self.log_delta(epsilon)) * (1 + 4 * _UNIT)

    def lower(self, epsilon: npt.ArrayLike) -> Array | None:
        """What some adaptive adversary attains at `epsilon >= 0`; None unless all is one block."""
        if self.attained is None or self.attained_grid is None:
            return None
        eps = np.asarray(epsilon, dtype=np.float64)
        h, n = self.attained_grid.interval, self.attained_grid.window
        index = np.ceil(eps / h - 1e-12).astype(np.int64)
        inside = index <= n
        values = self.attained[::-1][np.minimum(index, n)]
        return np.asarray(np.where(inside, values, 0.0))

    def epsilon_upper(self, delta: float) -> float:
        """The smallest certified epsilon of at least 0; infinity where the grid shows none."""
        if self.masses:
            return prove.epsilon_of(self.masses, math.log(delta) - 1e-14)
        deltas = self.values[::-1] * (1 + 1e-13)
        met = np.flatnonzero(deltas <= delta)
        if len(met) == 0:
            return math.inf
        i = int(met[0])
        if i == 0:
            return 0.0
        high, low = deltas[i - 1], deltas[i]
        share = (high - delta) / (high - low)
        h = self.grid.interval
        root, climb = h * (i - 1) + math.log1p(share * math.expm1(h)), 1e-14
        # The share may have lost digits: climb until the bound is met, at the latest at the node.
        while root < h * i and float(self.delta(root)) > delta:
            root, climb = root * (1 + climb) + 1e-300, 2 * climb
        return min(root * (1 + 1e-14), h * i * (1 + 1e-14))

    def epsilon_lower(self, delta: float) -> float | None:
        """An epsilon below which no guarantee at `delta` is true; None unless all is one block."""
        if self.attained is None or self.attained_grid is None:
            return None
        broken = np.flatnonzero(self.attained[::-1] > delta)
        # In ascending epsilon the attained deltas fall, so the last one that exceeds delta counts.
        interval = self.attained_grid.interval
        return float(interval * broken[-1] * (1 - 2 * _UNIT)) if len(broken) else 0.0


def _run(steps: Steps, layout: _Layout, lower: bool, progress: Progress | None) -> OptimalProfile:
    grid = layout.grid
    whole = all(number == 1 for _, number in layout.blocks)
    share = 0.9 if lower else 1.0

    def report(fraction: float) -> None:
        if progress is not None:
            progress(share * fraction)

    if whole:
        run = iterate(
            [(step.bounds, count) for step, count in steps],
            grid,
            tolerance=layout.tolerance,
            negligible=layout.allowed,
            progress=report,
        )
        profile = OptimalProfile(grid, run.values, layout.blocks, run.cells)
    else:
        masses, cells, values = [], 0, np.zeros(0)
        for i, ((step, _), (length, number)) in enumerate(zip(steps, layout.blocks, strict=True)):
            run = iterate(
                [(step.bounds, length)],
                grid,
                tolerance=layout.tolerance,
                negligible=layout.allowed,
                progress=lambda f, i=i: report((i + f) / len(steps)),  # type: ignore[misc]
            )
            cells, values = max(cells, run.cells), run.values
            masses.append((_block_masses(run.values, grid), number))
        profile = OptimalProfile(grid, values, layout.blocks, cells, tuple(masses))
    finer = _attained_grid(steps, grid) if whole and lower else None
    if finer is not None:
        attained = attain(
            [(step.pair, count) for step, count in steps],
            finer,
            ceiling=profile.delta(-finer.losses - finer.interval * finer.reach),
            progress=None if progress is None else lambda f: progress(share + (1 - share) * f),
        )
        profile = replace(profile, attained=attained, attained_grid=finer)
    return profile


def _attained_grid(steps: Steps, grid: Grid) -> Grid | None:
    """A grid fine against the common small losses, about the rate; None where it takes too long."""
    least = min(0.1 * step.bounds.weights.hit for step, _ in steps)
    parts = math.ceil(min(max(grid.interval / least, 1.0), 32.0))
    finer = Grid(grid.interval / parts, grid.window * parts, grid.reach * parts, grid.tilt)
    seconds = sum(n for _, n in steps) * (
        _ATTAINED_SECONDS[0] + _ATTAINED_SECONDS[1] * finer.length
    )
    return finer if seconds < 60.0 and finer.length < _MOST_POINTS else None


def _blocks(steps: Steps, length: int | None) -> tuple[tuple[int, int], ...]:
    """For each phase the length and the number of its blocks; together they cover its steps."""
    if length is None:
        return tuple((count, 1) for _, count in steps)
    found = []
    for _, count in steps:
        number = math.ceil(count / min(length, count))
        found.append((math.ceil(count / number), number))
    return tuple(found)


def _plan(
    steps: Steps,
    log_delta: float,
    tolerance: float,
    interval: float | None,
    block_length: int | None,
    time_budget: float | None,
    everywhere: bool,
) -> _Layout:
    layout = _layout(
        steps, log_delta, tolerance, interval, _blocks(steps, block_length), everywhere
    )
    length = max(count for _, count in steps)
    while (
        block_length is None
        and time_budget is not None
        and layout.cost > time_budget
        and length > 1
    ):
        length = max(1, min(length - 1, int(length * max(time_budget / layout.cost, 0.25))))
        layout = _layout(
            steps, log_delta, tolerance, layout.grid.interval, _blocks(steps, length), everywhere
        )
    return layout


def optimal_profile(
    steps: Steps,
    *,
    tolerance: float = 2e-2,
    least_delta: float = 1e-8,
    interval: float | None = None,
    block_length: int | None = None,
    time_budget: float | None = None,
    progress: Progress | None = None,
) -> OptimalProfile:
    """The certified privacy profile at every epsilon, from one run.

    >>> step = OptimalStep("fixed", rate=1.0, inclusion=1.0, mu=0.5)
    >>> profile = optimal_profile([(step, 1)], tolerance=1e-2)
    >>> round(float(profile.delta(1.0)), 3)  # the Gaussian mechanism at distance 1
    0.127

    Args:
      steps: Steps and how often each is applied, in the order of the training.
      tolerance: Relative accuracy aimed at, step by step.
      least_delta: Where the profile is to be sharp; below, it stays certified.
      interval: Spacing of the grid of losses; chosen from `tolerance` if not given.
      block_length: Compose blocks of at most this many optimal steps, which is less tight.
      time_budget: Seconds; longer runs are cut into blocks.
      progress: Called with the finished fraction.
    """
    steps = _merged(steps)
    tolerance = _checks.positive("tolerance", tolerance)
    least = float(_checks.probability("least_delta", least_delta, open_ends=True))
    layout = _plan(
        steps, math.log(least), tolerance, interval, block_length, time_budget, everywhere=True
    )
    return _run(steps, layout, True, progress)


@dataclass(frozen=True)
class OptimalEpsilon:
    """A certified epsilon, and how much an even better analysis could still gain.

    >>> round(OptimalEpsilon(5.44, 5.40, 0.004, 90, ((1500, 1),)).gap, 4)
    0.0074

    Args:
      upper: Certified.
      lower: What some adaptive adversary attains, or None where the run was cut into blocks.
      interval: Spacing of the grid of losses.
      cells: Largest number of cells that covered all triangles in one step.
      blocks: Length and number of the blocks of each phase.
    """

    upper: float
    lower: float | None
    interval: float
    cells: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def gap(self) -> float | None:
        """`upper / lower - 1`; None without a lower bound, infinity where that is 0."""
        if self.lower is None:
            return None
        if self.lower == 0:
            return 0.0 if self.upper == 0 else math.inf
        return self.upper / self.lower - 1

    @property
    def block_length(self) -> int:
        """Steps of the longest block."""
        return max(length for length, _ in self.blocks)


def epsilon_optimal(
    steps: Steps,
    delta: float | Fraction,
    *,
    tolerance: float = 1e-2,
    interval: float | None = None,
    block_length: int | None = None,
    time_budget: float | None = 30.0,
    progress: Progress | None = None,
) -> OptimalEpsilon:
    """The smallest epsilon that can be certified at `delta` against every adaptive adversary.

    >>> step = OptimalStep("fixed", rate=0.5, inclusion=0.5, mu=0.25)
    >>> found = epsilon_optimal([(step, 20)], 1e-5, tolerance=0.03)
    >>> found.gap < 0.03
    True

    Grids and cells are refined until upper and lower bound differ by at most `tolerance` or the
    next refinement would not fit into the time budget: then `gap` says what remains.

    Args:
      steps: Steps and how often each is applied, in the order of the training.
      delta: In (0, 1).
      tolerance: Relative gap aimed at, against the lower bound.
      interval: Spacing of the grid of losses; chosen from `tolerance` if not given.
      block_length: Compose blocks of at most this many optimal steps, which is less tight and has
        no lower bound.
      time_budget: Seconds; longer runs are cut into blocks. None never cuts.
      progress: Called with the finished fraction of the current refinement.

    Raises:
      ValueError: An argument is out of its range.
    """
    steps = _merged(steps)
    target = float(_checks.probability("delta", delta, open_ends=True))
    if Fraction(target) > Fraction(delta):
        target = math.nextafter(target, 0.0)
    tolerance = _checks.positive("tolerance", tolerance)
    start, accuracy, best = time.monotonic(), 0.8 * tolerance, None
    while True:
        left = None if time_budget is None else time_budget - (time.monotonic() - start)
        layout = _plan(steps, math.log(target), accuracy, interval, block_length, left, False)
        profile = _run(steps, layout, True, progress)
        found = OptimalEpsilon(
            profile.epsilon_upper(target),
            profile.epsilon_lower(target),
            profile.grid.interval,
            profile.cells,
            profile.blocks,
        )
        if best is not None:
            lowers = [f.lower for f in (best, found) if f.lower is not None]
            found = replace(
                found if found.upper <= best.upper else best,
                lower=max(lowers) if lowers else None,
            )
        best = found
        if found.gap is None or found.gap <= tolerance or interval is not None:
            return found
        accuracy *= 0.5
        again = _plan(steps, math.log(target), accuracy, interval, block_length, None, False)
        spent = time.monotonic() - start
        if time_budget is not None and spent + again.cost > time_budget:
            return found
        if accuracy < 1e-4:
            return found
