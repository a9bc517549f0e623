"""About delta and epsilon of any number of steps, in milliseconds: the line without its error bar.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
>>> epsilons([[(step, 1500)], [(step, 3000)]], np.full(2, math.log(1e-5))).round(3)
array([ 6.719, 10.123])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.law import NoLine, Run, Side
from patchdp.composition.transform.line import Line, compose, resample, sample_line
from patchdp.composition.transform.saddle import Saddle, saddle_for_delta, saddle_for_epsilon
from patchdp.step import StepProfile

__all__ = ["epsilons", "largest_reversed", "log_deltas", "newton", "refuse_unless", "walk"]

Array = npt.NDArray[np.float64]

_MOST_NODES = 1 << 14
_ROWS = 256
# Lines of more nodes than this are sampled again with narrower panels.
_LONG, _LONG_REFINEMENT = 1024, 4.0
_MOST_CANCELLED = 14.0  # logarithms; lines end where e^-34 of their peak is left
_NEXT_TO_NOTHING = 1e-10  # the last step of Newton's method, in logarithms of delta
_NOT_CONVERGED = "no line decays for so few effective participations"


def log_deltas(run: Run, epsilon: Array, side: Side = "symmetric") -> Array:
    """Log of delta at each epsilon of a flat array; NaN where no line decays.

    Args:
      run: Steps and how often each is taken.
      epsilon: At least 0.
      side: The symmetric law, or one direction of an attainable pair.
    """
    value, done = np.full(epsilon.shape, np.nan), np.zeros(epsilon.shape, dtype=bool)
    try:
        saddle = saddle_for_epsilon([run], epsilon, side)
        line, done = _sample([run], saddle, epsilon, side)
        done &= saddle.found
        value = np.where(done, line.log_delta(epsilon)[0], np.nan)
    except NoLine:
        pass
    if side == "backward":  # no loss is larger: delta is 0
        beyond = epsilon >= sum(count * largest_reversed(profile) for profile, count in run)
        value = np.where(beyond & ~done, -np.inf, value)
    return np.asarray(value)


def epsilons(runs: Sequence[Run], log_delta: Array, side: Side = "symmetric") -> Array:
    """The epsilon of each run at its log delta, below 0 cut off; NaN where no line decays.

    Args:
      runs: Runs of equally many kinds of steps.
      log_delta: One for each run.
      side: As in `log_deltas`.
    """
    found = np.empty(len(runs))
    for first in range(0, len(runs), _ROWS):
        rows = slice(first, first + _ROWS)
        found[rows] = _epsilons(runs[rows], log_delta[rows], side)
    return found


def _epsilons(runs: Sequence[Run], log_delta: Array, side: Side) -> Array:
    """Solve on each run's line, and again on a better line where it ends far off."""
    epsilon, good = np.zeros_like(log_delta), np.zeros(log_delta.shape, dtype=bool)
    try:
        saddle = saddle_for_delta(runs, log_delta, side)
        line, done = _sample(runs, saddle, saddle.epsilon, side)
        epsilon, good, _ = newton(line, saddle.epsilon, log_delta)
        good &= done & saddle.found
    except NoLine:  # too many nodes: the tilt reaches far beyond what matters
        pass
    for row in map(int, np.flatnonzero(~good)):
        try:
            epsilon[row] = _alone(runs[row], float(log_delta[row]), side)
        except NoLine:
            epsilon[row] = np.nan
    return np.maximum(epsilon, 0.0)


def _alone(run: Run, goal: float, side: Side) -> float:
    """One epsilon by a search from line to line."""
    saddle = saddle_for_delta([run], np.array([goal]), side)
    refuse_unless(saddle.found)
    return walk(run, float(saddle.epsilon[0]), goal, side)[0]


def _sample(
    runs: Sequence[Run], saddle: Saddle, epsilon: Array, side: Side
) -> tuple[Line, npt.NDArray[np.bool_]]:
    """The line, on finer nodes where it is long: there the integrand turns within a panel."""
    line, done = sample_line(saddle.composition, saddle.t, epsilon, most_nodes=_MOST_NODES)
    nodes = line.y.shape[1]
    if nodes > _LONG and np.any(done):
        tilt = saddle.composition.largest_tilt
        farthest = saddle.composition.farthest
        fine = compose(runs, side, tilt, refinement=_LONG_REFINEMENT, farthest=farthest)
        line = resample(fine, line, nodes=nodes)
    return line, done & _decides(line, epsilon)


def _decides(line: Line, epsilon: Array) -> npt.NDArray[np.bool_]:
    """Whether so little cancels along the line that what was left out of it is nothing."""
    t, y = line.t[:, None], line.y
    size = np.sum(np.exp(line.real) / (np.hypot(t, y) * np.hypot(1 + t, y)), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        all_of_it = line.log_m - line.t * epsilon + np.log(2 * size / line.period)
        return np.asarray(line.log_delta(epsilon)[0] > all_of_it - _MOST_CANCELLED)


def largest_reversed(profile: StepProfile) -> float:
    """The largest loss of the reversed pair, approached where `x` goes to minus infinity."""
    found = []
    for _, pair in profile.parts:
        last = min(pair.q_means)
        below = dict(zip(pair.p_means, pair.p_weights, strict=True)).get(last, 0.0)
        above = dict(zip(pair.q_means, pair.q_weights, strict=True))[last]
        found.append(math.log(above / below) if below else math.inf)
    return max(found)


def newton(line: Line, start: Array, goal: Array) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    """Where the sampled line has `log delta = goal`, whether it is trusted there, and the slope."""
    epsilon = np.array(start)
    furthest = 4.0 / line.t
    for _ in range(30):
        value, slope = line.log_delta(epsilon)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = (value - goal) / slope
        step = np.clip(np.where(np.isnan(step), 0.0, step), -furthest, furthest)
        epsilon = epsilon - step
        # the next step would be the square of this one
        if np.all(np.abs(step) * line.t < _NEXT_TO_NOTHING):
            break
    with np.errstate(invalid="ignore"):
        met = np.abs(value - goal) < 1e-9 * np.maximum(1.0, np.abs(goal))
    return epsilon, met & (np.abs(epsilon - start) < furthest), slope


def walk(run: Run, start: float, goal: float, side: Side) -> tuple[float, Saddle, Line]:
    """Bracket and solve with a new line at every step: Laplace's approximation is poor here."""
    low, high = 0.0, np.inf
    epsilon = max(start, 0.0)
    for _ in range(60):
        at = np.array([epsilon])
        saddle = saddle_for_epsilon([run], at, side)
        refuse_unless(saddle.found)
        line, done = _sample([run], saddle, at, side)
        refuse_unless(done)
        solved, good, _ = newton(line, at, np.array([goal]))
        if good[0] or (epsilon == 0.0 and line.log_delta(at)[0][0] <= goal):
            return max(float(solved[0]), 0.0), saddle, line
        value, slope = (float(v[0]) for v in line.log_delta(at))
        if not np.isfinite(value):
            break
        low, high = (epsilon, high) if value > goal else (low, epsilon)
        epsilon -= float(np.clip((value - goal) / slope, -4.0 / line.t[0], 4.0 / line.t[0]))
        if not low < epsilon < high:
            epsilon = 0.5 * (low + high) if np.isfinite(high) else 2 * low + 1e-6
    raise NoLine(_NOT_CONVERGED)


def refuse_unless(good: npt.NDArray[np.bool_]) -> None:
    """Raise `NoLine` where some row has none."""
    if not np.all(good):
        raise NoLine(_NOT_CONVERGED)
