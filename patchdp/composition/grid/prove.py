"""Certified bounds on a grid, from both sides: the gap between them is what the grid costs.

The same law is rounded up and rounded down and composed twice. Where the two answers are further
apart than the tolerance, the grid is refined by the square root of the ratio.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=2.5e-4, mu=1.0)),), attainable=True)
>>> found = epsilon_bracket([(step, 1000)], log_delta=math.log(1e-5), tolerance=1e-3)
>>> found.lower < found.upper < 1.001 * found.lower
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from patchdp.composition.grid.cells import HalfCells, half_cells, largest_loss
from patchdp.composition.grid.fft import ComposedMasses, GridTooLarge, compose
from patchdp.composition.grid.layout import Layout
from patchdp.composition.grid.masses import GridLaw, LossMasses, attained, optimistic, pessimistic
from patchdp.composition.transform.law import Run, Side

__all__ = [
    "DEEPEST",
    "MAX_CELLS",
    "TURNS",
    "UNNOTICED",
    "WORK",
    "Aim",
    "Bracket",
    "Search",
    "attained_epsilon",
    "epsilon_bracket",
    "epsilon_of",
    "log_delta_of",
]

# The budget of one discretised step, in cells, and of one question, in points of all grids.
MAX_CELLS = 1 << 19
WORK = 3 << 19
# An excess over the exact epsilon that is always allowed: nothing that anybody would notice.
UNNOTICED = 1e-6
# The first composition only finds the place.
_ROUGH = 3e-2
TURNS = 10
# Log of a delta that is below every float.
DEEPEST = -760.0


class Bracket(NamedTuple):
    """A lower and an upper bound of one number, and whether they are as close as was asked."""

    lower: float
    upper: float
    tight: bool


@dataclass(frozen=True)
class Aim:
    """A question that a composition is made for."""

    epsilon: tuple[float, float]
    log_delta: float
    tilt: float
    cut: float


class _Discrete:
    """The steps of a run in half cells of one grid.

    Args:
      run: Steps and how often each is applied.
      interval: Grid spacing.
      log_tail: Log of the mass, in all, that may lie beyond the cells.
    """

    def __init__(self, run: Run, interval: float, log_tail: float) -> None:
        self.run, self.interval = run, interval
        share = log_tail - math.log(sum(count for _, count in run))
        self.cells = [
            max(math.ceil(largest_loss(profile, share) / interval), 3) for profile, _ in run
        ]
        # Integrating a panel costs about as much as composing on eight points.
        ends = [max(max(pair.shifts) for _, pair in p.parts) for p, _ in run]
        self.nodes = [
            n + round(8 * (end + 12) * (2 * end + 12))
            for n, end in zip(self.cells, ends, strict=True)
        ]
        if max(self.cells) > MAX_CELLS:
            raise GridTooLarge(
                f"a step would need {max(self.cells)} grid points; at most {MAX_CELLS} are allowed"
            )

    @cached_property
    def _right(self) -> list[HalfCells]:
        rows = zip(self.run, self.cells, strict=True)
        return [half_cells(p, interval=self.interval, cells=n) for (p, _), n in rows]

    @cached_property
    def _left(self) -> list[HalfCells]:
        rows = zip(self.run, self.cells, strict=True)
        return [half_cells(p, interval=self.interval, cells=n, side="left") for (p, _), n in rows]

    def _rows(self, laws: Sequence[GridLaw]) -> list[tuple[GridLaw, int]]:
        return [(law, count) for law, (_, count) in zip(laws, self.run, strict=True)]

    def above(self, aim: Aim) -> ComposedMasses:
        """The composition rounded up."""
        laws = [pessimistic(cells).law for cells in self._right]
        return _composed(self._rows(laws), aim)

    def below(self, aim: Aim, side: Side = "symmetric") -> ComposedMasses:
        """The composition rounded down, of the symmetric law or of one direction."""
        if side == "symmetric":
            laws = [optimistic(cells) for cells in self._right]
        else:
            halves = zip(self._right, self._left, strict=True)
            laws = [_sharper(*(h if side == "forward" else h[::-1]), aim.tilt) for h in halves]
        return _composed(self._rows(laws), aim)


def _sharper(right: HalfCells, left: HalfCells, tilt: float) -> GridLaw:
    """Of two laws with a profile below that of a pair, the one with the larger moment."""
    laws = [attained(right, left, lumped=lumped) for lumped in (False, True)]
    return max(laws, key=lambda law: law.log_mgf(tilt) + tilt * law.offset)


def _composed(rows: list[tuple[GridLaw, int]], aim: Aim) -> ComposedMasses:
    # Beyond a tilt of about 1/h a single grid point would carry all the mass.
    tilt = min(aim.tilt, 1.5 / rows[0][0].interval)
    return compose(rows, tilt=tilt, log_target=aim.log_delta, aim=aim.epsilon, cut=aim.cut)


def _coarsest(run: Run, log_delta: float) -> float:
    share = log_delta - math.log(sum(count for _, count in run)) - 12.0
    return max(largest_loss(profile, share) for profile, _ in run) / 24


class Search:
    """Where to aim and how fine a grid to take for one question.

    Args:
      run: Steps and how often each is applied.
      log_delta: The delta in question, or what it is thought to be.
      side: The law in question.
    """

    def __init__(self, run: Run, log_delta: float, side: Side = "symmetric") -> None:
        self.run, self.log_delta = run, log_delta
        self.layout = Layout(run, log_delta, side)
        self.coarsest = _coarsest(run, log_delta)
        self.spent = 0

    def first_epsilon(self) -> float:
        """A rough upper bound on epsilon."""
        near = self.layout.epsilon(self.log_delta, 0.5 * self.coarsest)
        if math.isfinite(near) and near > 0:
            cut = min(0.25 * near, 0.5 * self.coarsest)
            near = min(near, self.layout.epsilon(self.log_delta, cut))
        return near

    def aim(self, low: float, high: float) -> Aim:
        """Towards the middle of a range of epsilons."""
        middle = max(0.5 * (low + high) if low > 0 else 0.85 * high, 1e-300)
        # The runs that are taken off must not reach even the smallest epsilon.
        cut = self.cut(low)
        tilt, _ = self.layout.aim(middle, max(cut, min(0.25 * middle, 0.5 * self.coarsest)))
        return Aim((low, high), self.log_delta, tilt, cut)

    def cut(self, epsilon: float) -> float:
        """A loss such that runs without a larger one are nothing beside delta at epsilon."""
        for share in (0.6, 0.25, 0.1, 0.03):
            if epsilon > 0 and self.layout.reach(epsilon, share * epsilon) < self.log_delta - 14.0:
                return share * epsilon
        return 0.0

    def interval(self, allowed: float, tilt: float) -> float:
        """A grid on which the bounds should be `allowed` apart, in log delta."""
        # The budget allows no finer one: what it gives is then the best there is.
        finest = 24 * self.coarsest / (0.7 * MAX_CELLS)
        return max(self.layout.interval(tilt, min(allowed, 0.5), self.coarsest), finest)

    def grid(self, interval: float, allowed: float) -> _Discrete:
        """The steps on a grid; what lies beyond it costs little beside `allowed`."""
        found = _Discrete(self.run, interval, self.log_delta + math.log(min(allowed, 0.1)) - 5.0)
        self.spent += sum(found.nodes)
        return found

    def exhausted(self, *composed: ComposedMasses) -> bool:
        """Whether a grid half as fine again would exceed the budget of one question."""
        self.spent += sum(len(found.tilted) for found in composed)
        return self.spent > WORK


def epsilon_bracket(run: Run, *, log_delta: float, tolerance: float) -> Bracket:
    """The epsilon of the symmetric law at `log_delta`, from both sides.

    Args:
      run: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
      tolerance: How far apart the bounds may be, relative to the upper one; `UNNOTICED` is always
        allowed.

    Returns:
      The best bounds within the budget of `WORK` points; `tight` says whether they meet the
      tolerance.

    Raises:
      GridTooLarge: Not even a coarse grid fits the budget.
    """
    search = Search(run, log_delta)
    low, high, guess = 0.0, math.inf, search.first_epsilon()
    aim = search.aim(0.0, guess + UNNOTICED)
    interval = search.interval(max(tolerance, _ROUGH) * max(guess * aim.tilt, 1e-3), aim.tilt)
    for _ in range(TURNS):
        try:
            grid = search.grid(interval, tolerance)
            above, below = grid.above(aim), grid.below(aim)
        except GridTooLarge:
            if math.isinf(high):
                raise
            break
        high = min(high, above.epsilon_upper(log_delta))
        low = max(low, below.epsilon_lower(log_delta))
        allowed = max(tolerance * high, UNNOTICED)
        if math.isfinite(high) and high - low <= allowed:
            return Bracket(min(low, high), high, True)
        if search.exhausted(above, below):
            break
        if math.isinf(high):  # the window was too small, or too much lies beyond the grid
            interval, guess = 0.5 * interval, 1.5 * guess
            aim = search.aim(0.0, guess + UNNOTICED)
            continue
        aim = search.aim(0.98 * low, 1.02 * high + UNNOTICED)
        price = max(tolerance * high, UNNOTICED) * aim.tilt
        refined = interval * min(0.85 * math.sqrt(allowed / (high - low)), 0.7)
        if high - low > 0.25 * high:  # too far apart to tell by how much
            refined = min(search.interval(price, aim.tilt), 0.7 * interval)
        interval = refined
    return Bracket(min(low, high), high, False)


def attained_epsilon(run: Run, *, log_delta: float, tolerance: float) -> float:
    """What one of the two directions of an attainable pair has for epsilon, rounded down.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-3, mu=1.0)),), attainable=True)
    >>> 0 < attained_epsilon([(step, 10)], log_delta=math.log(1e-4), tolerance=1e-3) < 0.4
    True

    Args:
      run: Steps of attainable pairs, and how often each is applied.
      log_delta: Natural logarithm of delta.
      tolerance: How far below the exact value it may be, about.
    """
    found = _attained(run, log_delta, tolerance, "forward", 0.0)
    return max(found, _attained(run, log_delta, tolerance, "backward", found))


def _attained(run: Run, log_delta: float, tolerance: float, side: Side, known: float) -> float:
    search = Search(run, log_delta, side)
    guess = search.first_epsilon()
    if guess <= known + UNNOTICED:  # it has nothing to add
        return 0.0
    aim = search.aim(0.0, guess + UNNOTICED)
    interval = search.interval(_ROUGH * max(guess * aim.tilt, 1e-3), aim.tilt)
    found, last = 0.0, (0.0, math.inf)
    for _ in range(TURNS - 3):
        try:
            below = search.grid(interval, tolerance).below(aim, side)
        except GridTooLarge:
            break
        found = max(found, below.epsilon_lower(log_delta))
        # What rounding costs falls with the interval, at last with its square.
        allowed = max(tolerance * found, UNNOTICED)
        gained = (found - last[0]) / (last[1] / interval - 1) if last[1] < math.inf else math.inf
        if (found > 0 and gained <= allowed) or search.exhausted(below):
            break
        last = (found, interval)
        if found == 0:  # nothing is known yet
            interval *= 0.35
            continue
        aim = search.aim(0.98 * found, min(1.02 * guess, 1.1 * found + 0.5 * guess) + UNNOTICED)
        interval = min(search.interval(0.5 * allowed * aim.tilt, aim.tilt), 0.7 * interval)
    return found


Masses = Sequence[tuple[LossMasses, int]]


def epsilon_of(rows: Masses, log_delta: float) -> float:
    """The least certified epsilon of a composition of given masses, at `log_delta`.

    >>> from patchdp.composition.grid.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> masses = loss_masses(step, interval=1e-2, log_tail=-40.0)
    >>> round(epsilon_of([(masses, 3)], math.log(1e-5)), 1)
    8.4

    Args:
      rows: Masses on one grid, rounded up, and how often each is applied.
      log_delta: Natural logarithm of delta.
    """
    laws = [(masses.law, count) for masses, count in rows]
    layout, h = Layout.of_masses(laws), laws[0][0].interval
    reach = sum(count * law.last for law, count in laws) * h
    high = min(layout.epsilon(log_delta, 1e-3 * h), reach) + h
    best = math.inf
    for _ in range(4):
        tilt, _ = layout.aim(0.9 * high, 1e-3 * h)
        aim = Aim((0.0, high), log_delta, tilt, 0.0)
        found = _composed(laws, aim).epsilon_upper(log_delta)
        if not found < 0.9 * best:
            break
        best = found
        high = min(high, 1.02 * best + h)
    return min(best, found)


def log_delta_of(rows: Masses, epsilon: float, log_delta: float | None = None) -> float:
    """Log of the least certified delta of a composition of given masses, at `epsilon`.

    >>> from patchdp.composition.grid.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> masses = loss_masses(step, interval=1e-2, log_tail=-40.0)
    >>> round(log_delta_of([(masses, 1)], 1.0), 2)
    -2.06

    Args:
      rows: Masses on one grid, rounded up, and how often each is applied.
      epsilon: At least 0.
      log_delta: About what is expected, where it is known.
    """
    laws = [(masses.law, count) for masses, count in rows]
    h = laws[0][0].interval
    tilt, reached = Layout.of_masses(laws).aim(epsilon, 1e-3 * h)
    goal = min(reached, 0.0) - 3.0 if log_delta is None else log_delta
    aim = Aim((epsilon, epsilon), max(goal, -740.0), tilt, 0.0)
    return _composed(laws, aim).log_delta_upper(epsilon)
