"""The exact engine: epsilon and delta of any number of steps, in milliseconds.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=5e-4)),), attainable=True)
>>> round(float(epsilon_estimate([(gaussian, 10**6)], np.log(1e-9))), 4)
6.1739
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition.bands import Bands, first_epsilon
from patchdp.composition.error_bars import ErrorBar
from patchdp.composition.inversion import (
    Line,
    Plan,
    compose,
    resample,
    sample_line,
)
from patchdp.composition.loss_law import ExactEngineError, Side
from patchdp.composition.saddle import Saddle, saddle_for_delta, saddle_for_epsilon
from patchdp.step import StepProfile, fixed_size_pair

__all__ = [
    "ExactEngineError",
    "epsilon_estimate",
    "epsilon_estimate_many",
    "epsilon_lower",
    "epsilon_upper",
    "epsilon_upper_many",
    "log_delta_estimate",
    "log_delta_lower",
    "log_delta_upper",
]

Array = npt.NDArray[np.float64]

_MOST_NODES = 1 << 15
_LINE_NODES = 1 << 14  # of a line with an error bar: bands are quicker than longer ones
_ROWS = 256
# Lines of more nodes than this are sampled again with narrower panels.
_LONG, _LONG_REFINEMENT = 1024, 4.0
_DIRECTIONS: tuple[Side, ...] = ("forward", "backward")
_REFINEMENTS = (2.5, 8.0)  # panels per natural width where an error bar is wanted
_WIDEST = 1e-6  # largest error bar that is accepted, relative to delta
_MOST_CANCELLED = 14.0  # logarithms; lines end where e^-34 of their peak is left
_NEXT_TO_NOTHING = 1e-10  # the last step of Newton's method, in logarithms of delta
_CLOSED_FORM = 1e-11  # relative accuracy of the closed form of one step
_NOT_CONVERGED = (
    "the exact engine does not converge for so few effective participations; use method 'pld'"
)
_TOO_WIDE = "the exact engine's error bar exceeds 1e-6 of delta here; use method 'pld'"


def _closed_form(plan: Plan, side: Side) -> StepProfile | None:
    """The profile of the whole plan where it has a closed form: one step, or Gaussian steps only.

    Gaussian mechanisms compose to one whose squared distance is the sum of theirs.
    """
    if all(_is_gaussian(profile) for profile, _ in plan):
        squares = [count * profile.parts[0][1].shifts[0] ** 2 for profile, count in plan]
        pair = fixed_size_pair(rate=1.0, mu=math.sqrt(math.fsum(squares)))
        return StepProfile(((1.0, pair),), attainable=True)
    if len(plan) == 1 and plan[0][1] == 1 and side != "backward":
        return plan[0][0]
    return None


def _is_gaussian(profile: StepProfile) -> bool:
    pair = profile.parts[0][1]
    return len(profile.parts) == 1 and pair.p_weights == pair.q_weights == (1.0,)


def _vanishes(phases: Plan, log_delta: Array) -> npt.NDArray[np.bool_]:
    """Where epsilon is 0 because total variation distances add up to no more than delta."""
    distances = [count * _total_variation(profile) for profile, count in phases]
    return np.asarray(math.log(math.fsum(distances)) + _CLOSED_FORM <= log_delta)


def _total_variation(profile: StepProfile) -> float:
    """`delta(0)`: of `sum gains (N(shifts) - N(-shifts))`, which is positive right of 0."""
    terms = [
        weight * gain * math.erf(shift / math.sqrt(2))
        for weight, pair in profile.parts
        for gain, shift in zip(pair.gains, pair.shifts, strict=True)
    ]
    return math.fsum(terms)


def _single_epsilon(profile: StepProfile, log_delta: Array) -> Array:
    """The epsilon of a closed form, by regula falsi (Illinois); 0 where delta(0) is smaller."""
    low, high = np.zeros_like(log_delta), np.ones_like(log_delta)
    for _ in range(1100):
        short = profile.log_delta(high) > log_delta
        if not np.any(short):
            break
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    above, below = profile.log_delta(low) - log_delta, profile.log_delta(high) - log_delta
    zero = profile.log_delta(0.0) <= log_delta
    was_up = np.full(log_delta.shape, -1)
    for turn in range(1100):
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = low + (high - low) * (above / (above - below))
        inside = (middle > low) & (middle < high) & (turn % 16 < 14)
        middle = np.where(inside, middle, 0.5 * (low + high))
        value = profile.log_delta(middle) - log_delta
        up = value > 0
        # an end that stays twice counts half, so that the bracket closes from both sides
        above = np.where(up, value, np.where(was_up == 0, 0.5, 1.0) * above)
        below = np.where(up, np.where(was_up == 1, 0.5, 1.0) * below, value)
        was_up = np.where(up, 1, 0)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
        if np.all(zero | (high - low <= 4e-16 * high) | (value == 0)):
            break
    return np.where(zero, 0.0, high)


def log_delta_estimate(phases: Plan, epsilon: npt.ArrayLike, *, side: Side = "symmetric") -> Array:
    """Log of the delta of a composition at each `epsilon >= 0`, without an error bar.

    Args:
      phases: Steps and how often each is taken.
      epsilon: Any shape.
      side: `"symmetric"` for the upper bound, or one direction of the attainable pair.

    Raises:
      ExactEngineError: The inversion does not converge there.
    """
    eps = np.asarray(epsilon, dtype=np.float64)
    flat = np.atleast_1d(eps).ravel()
    closed = _closed_form(phases, side)
    if closed is not None:
        return closed.log_delta(eps)
    value, done = np.full(flat.shape, -np.inf), np.zeros(flat.shape, dtype=bool)
    try:
        saddle = saddle_for_epsilon([phases], flat, side)
        line, done = _sample([phases], saddle, flat, side)
        done &= saddle.found
        value = np.where(done, line.log_delta(flat)[0], -np.inf)
    except ExactEngineError:  # too many nodes: the tilt reaches far beyond what matters
        pass
    if side == "backward":  # no loss is larger: delta is 0
        done |= flat >= sum(count * _largest_reversed(profile) for profile, count in phases)
    for row in map(int, np.flatnonzero(~done)):
        value[row] = Bands(phases, float(flat[row]), side).log_delta(float(flat[row]))[0]
    return np.asarray(value.reshape(eps.shape))


def epsilon_estimate(phases: Plan, log_delta: npt.ArrayLike, *, side: Side = "symmetric") -> Array:
    """The epsilon at which a composition has `log_delta`; 0 where `delta(0)` is no larger.

    Args:
      phases: Steps and how often each is taken.
      log_delta: Natural logarithm of delta, any shape.
      side: `"symmetric"` for the upper bound, or one direction of the attainable pair.

    Raises:
      ExactEngineError: The inversion does not converge there.
    """
    logs = np.asarray(log_delta, dtype=np.float64)
    flat = np.atleast_1d(logs).ravel()
    closed = _closed_form(phases, side)
    if closed is not None:
        return _single_epsilon(closed, flat).reshape(logs.shape)
    result = np.zeros_like(flat)
    rest = np.flatnonzero(~_vanishes(phases, flat))
    if len(rest):
        result[rest] = _epsilon_at([phases], flat[rest], side)
    return result.reshape(logs.shape)


def epsilon_estimate_many(
    plans: Sequence[Plan], log_delta: npt.ArrayLike, *, side: Side = "symmetric"
) -> Array:
    """`epsilon_estimate` of many plans with equally many phases at once, shape `(len(plans),)`.

    Args:
      plans: Lists of phases.
      log_delta: One value, or one for each plan.
      side: As in `epsilon_estimate`.
    """
    logs = np.broadcast_to(np.asarray(log_delta, dtype=np.float64), (len(plans),))
    result = np.empty(len(plans))
    single = np.zeros(len(plans), dtype=bool)
    for i, plan in enumerate(plans):
        closed = _closed_form(plan, side)
        if closed is not None:
            single[i] = True
            result[i] = _single_epsilon(closed, logs[i : i + 1])[0]
    zero = np.array([_vanishes(plan, goal) for plan, goal in zip(plans, logs, strict=True)])
    result[zero] = 0.0
    rest = np.flatnonzero(~single & ~zero)
    for first in range(0, len(rest), _ROWS):
        rows = rest[first : first + _ROWS]
        result[rows] = _epsilon_at([plans[j] for j in rows], logs[rows], side)
    return result


def _epsilon_at(plans: Sequence[Plan], log_delta: Array, side: Side) -> Array:
    """Solve for epsilon on each plan's line, and again on a better line where it ends far off."""
    epsilon, good = np.zeros_like(log_delta), np.zeros(log_delta.shape, dtype=bool)
    try:
        saddle = saddle_for_delta(plans, log_delta, side)
        line, done = _sample(plans, saddle, saddle.epsilon, side)
        epsilon, good, _ = _newton(line, saddle.epsilon, log_delta)
        good &= done & saddle.found
    except ExactEngineError:  # too many nodes: the tilt reaches far beyond what matters
        pass
    for row in map(int, np.flatnonzero(~good)):
        plan = plans[row if len(plans) > 1 else 0]
        epsilon[row] = _alone(plan, float(log_delta[row]), side)[0]
    return np.maximum(epsilon, 0.0)


def _alone(plan: Plan, goal: float, side: Side) -> tuple[float, Line | None, Saddle | None]:
    """One epsilon by a search from line to line or, where no line decays, in bands."""
    try:
        saddle = saddle_for_delta([plan], np.array([goal]), side)
        _refuse_unless(saddle.found)
        epsilon, saddle, line = _walk(plan, float(saddle.epsilon[0]), goal, side)
        return epsilon, line, saddle
    except ExactEngineError:
        return _in_bands(plan, goal, side)[0], None, None


def _in_bands(plan: Plan, goal: float, side: Side) -> tuple[float, Bands]:
    """Solve for epsilon with delta as a sum of parts, chosen anew where epsilon moves far."""
    low, high = 0.0, np.inf
    # one step alone with its share of delta: right where a single large loss decides
    alone = [_single_epsilon(p, np.array([goal - np.log(count)]))[0] for p, count in plan]
    epsilon = max(float(max(alone)), first_epsilon(plan, goal, side))
    bands = Bands(plan, epsilon, side, level=goal, search=True)
    epsilon = bands.epsilon
    for _ in range(60):
        if epsilon != bands.epsilon:
            bands.move(epsilon)
        start = epsilon
        for _ in range(20):
            value, slope = bands.log_delta(epsilon)
            miss = value - goal
            if abs(miss) < 1e-13 * max(1.0, abs(goal)) or (epsilon == 0.0 and miss <= 0):
                return epsilon, bands
            low, high = (max(low, epsilon), high) if miss > 0 else (low, min(high, epsilon))
            moved = max(epsilon - miss / slope, 0.0) if slope < 0 else np.inf
            if not low <= moved <= high:
                moved = 0.5 * (low + high) if np.isfinite(high) else 2 * low + 1e-6
            if abs(moved - epsilon) <= 1e-15 * epsilon:
                return moved, bands
            epsilon = moved
            if abs(epsilon - start) > bands.reach:
                epsilon = float(np.clip(epsilon, start - 4 * bands.reach, start + 4 * bands.reach))
                break
    raise ExactEngineError(_NOT_CONVERGED)


def _sample(
    plans: Sequence[Plan], saddle: Saddle, epsilon: Array, side: Side
) -> tuple[Line, npt.NDArray[np.bool_]]:
    """The line, on finer nodes where it is long: there the integrand turns within a panel."""
    line, done = sample_line(saddle.composition, saddle.t, epsilon, most_nodes=_MOST_NODES)
    nodes = line.y.shape[1]
    if nodes > _LONG and np.any(done):
        tilt = saddle.composition.largest_tilt
        farthest = saddle.composition.farthest
        fine = compose(plans, side, tilt, refinement=_LONG_REFINEMENT, farthest=farthest)
        line = resample(fine, line, nodes=nodes)
    return line, done & _decides(line, epsilon)


def _decides(line: Line, epsilon: Array) -> npt.NDArray[np.bool_]:
    """Whether so little cancels along the line that what was left out of it is nothing."""
    t, y = line.t[:, None], line.y
    size = np.sum(np.exp(line.real) / (np.hypot(t, y) * np.hypot(1 + t, y)), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        all_of_it = line.log_m - line.t * epsilon + np.log(2 * size / line.period)
        return np.asarray(line.log_delta(epsilon)[0] > all_of_it - _MOST_CANCELLED)


def _largest_reversed(profile: StepProfile) -> float:
    """The largest loss of the reversed pair, approached where `x` goes to minus infinity."""
    found = []
    for _, pair in profile.parts:
        last = min(pair.q_means)
        below = dict(zip(pair.p_means, pair.p_weights, strict=True)).get(last, 0.0)
        above = dict(zip(pair.q_means, pair.q_weights, strict=True))[last]
        found.append(math.log(above / below) if below else math.inf)
    return max(found)


def _newton(line: Line, start: Array, goal: Array) -> tuple[Array, npt.NDArray[np.bool_], Array]:
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


def _walk(plan: Plan, start: float, goal: float, side: Side) -> tuple[float, Saddle, Line]:
    """Bracket and solve with a new line at every step: Laplace's approximation is poor here."""
    low, high = 0.0, np.inf
    epsilon = max(start, 0.0)
    for _ in range(60):
        at = np.array([epsilon])
        saddle = saddle_for_epsilon([plan], at, side)
        _refuse_unless(saddle.found)
        line, done = _sample([plan], saddle, at, side)
        _refuse_unless(done)
        solved, good, _ = _newton(line, at, np.array([goal]))
        if good[0] or (epsilon == 0.0 and line.log_delta(at)[0][0] <= goal):
            return max(float(solved[0]), 0.0), saddle, line
        value, slope = (float(v[0]) for v in line.log_delta(at))
        if not np.isfinite(value):
            break
        low, high = (epsilon, high) if value > goal else (low, epsilon)
        epsilon -= float(np.clip((value - goal) / slope, -4.0 / line.t[0], 4.0 / line.t[0]))
        if not low < epsilon < high:
            epsilon = 0.5 * (low + high) if np.isfinite(high) else 2 * low + 1e-6
    raise ExactEngineError(_NOT_CONVERGED)


def _refuse_unless(good: npt.NDArray[np.bool_]) -> None:
    if not np.all(good):
        raise ExactEngineError(_NOT_CONVERGED)


def log_delta_upper(phases: Plan, epsilon: npt.ArrayLike) -> Array:
    """A proved upper bound on log delta at each `epsilon >= 0`.

    Args:
      phases: Steps and how often each is taken.
      epsilon: Any shape.

    Raises:
      ExactEngineError: The error bar exceeds 1e-6 of delta.
    """
    return _each(epsilon, lambda eps: _delta_bounds(phases, eps, "symmetric")[1])


def log_delta_lower(phases: Plan, epsilon: npt.ArrayLike, side: Side) -> Array:
    """A proved lower bound on log delta of one side at each `epsilon >= 0`.

    Args:
      phases: Steps and how often each is taken.
      epsilon: Any shape.
      side: Which law: both directions of an attainable pair bound any valid delta from below.

    Raises:
      ExactEngineError: The error bar exceeds 1e-6 of delta.
    """
    return _each(epsilon, lambda eps: _delta_bounds(phases, eps, side)[0])


def epsilon_upper(phases: Plan, log_delta: npt.ArrayLike) -> Array:
    """A certified upper bound on epsilon: the exact value rounded up by the error bar.

    Args:
      phases: Steps and how often each is taken.
      log_delta: Natural logarithm of delta, any shape.

    Raises:
      ExactEngineError: The error bar exceeds 1e-6 of delta.
    """
    return _each(log_delta, lambda goal: _epsilon_bound(phases, goal, "symmetric", upper=True))


def epsilon_lower(phases: Plan, log_delta: npt.ArrayLike) -> Array:
    """A certified lower bound on any valid epsilon, attained by the worst fixed execution.

    The larger of both directions of the attainable pair, rounded down; 0 where there is none.

    Args:
      phases: Steps and how often each is taken.
      log_delta: Natural logarithm of delta, any shape.

    Raises:
      ExactEngineError: Neither direction can be certified.
    """
    if not all(profile.attainable for profile, _ in phases):
        return np.zeros(np.shape(log_delta))
    closed = _closed_form(phases, "forward") is not None

    def best(goal: float) -> float:
        found, failure = [], None
        for side in _DIRECTIONS[:1] if closed else _DIRECTIONS:
            try:
                found.append(_epsilon_bound(phases, goal, side, upper=False))
            except ExactEngineError as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return max(found)

    return _each(log_delta, best)


def epsilon_upper_many(plans: Sequence[Plan], log_delta: npt.ArrayLike) -> Array:
    """`epsilon_upper` of many plans, shape `(len(plans),)`.

    Args:
      plans: Lists of phases.
      log_delta: One value, or one for each plan.
    """
    logs = np.broadcast_to(np.asarray(log_delta, dtype=np.float64), (len(plans),))
    pairs = zip(plans, logs, strict=True)
    return np.array([float(epsilon_upper(plan, goal)) for plan, goal in pairs])


def _each(values: npt.ArrayLike, answer: Callable[[float], float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    # a bound that overflows is infinite, one that is no number is none: both are refused
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.array([answer(float(v)) for v in array.ravel()]).reshape(array.shape)


def _fine_line(phases: Plan, saddle: Saddle, side: Side, epsilon: Array, refinement: float) -> Line:
    """The line through a saddle on finer nodes, for an error bar."""
    tilt, farthest = saddle.composition.largest_tilt, saddle.composition.farthest
    fine = compose([phases], side, tilt, refinement=refinement, farthest=farthest)
    line, done = sample_line(fine, saddle.t, epsilon, most_nodes=_LINE_NODES)
    _refuse_unless(done)
    return line


def _delta_bounds(phases: Plan, epsilon: float, side: Side) -> tuple[float, float]:
    closed = _closed_form(phases, side)
    if closed is not None:
        value, slack = float(closed.log_delta(epsilon)), _closed_form_error(closed, epsilon)
        if not slack < _WIDEST:
            raise ExactEngineError(_TOO_WIDE)
        return value - slack, min(value + slack, 0.0)
    eps = np.array([epsilon])
    try:
        saddle = saddle_for_epsilon([phases], eps, side)
        _refuse_unless(saddle.found)
        for refinement in _REFINEMENTS:
            bar = ErrorBar(_fine_line(phases, saddle, side, eps, refinement))
            lower, upper = bar.bounds(epsilon)
            if upper - lower < _WIDEST:
                return lower, min(upper, 0.0)
    except ExactEngineError:
        pass
    lower, upper = Bands(phases, epsilon, side).bounds(epsilon)
    if upper - lower < _WIDEST:
        return lower, min(upper, 0.0)
    raise ExactEngineError(_TOO_WIDE)


def _epsilon_bound(phases: Plan, goal: float, side: Side, *, upper: bool) -> float:
    closed = _closed_form(phases, side)
    if closed is not None:
        return _single_bound(closed, goal, upper)
    if _vanishes(phases, np.array([goal]))[0]:
        return 0.0
    try:
        found = _bound_on_line(phases, goal, side, upper)
    except ExactEngineError:
        found = None
    if found is None:
        start, bands = _in_bands(phases, goal, side)
        if not bands.near(start):
            bands.move(start)
        slope = bands.log_delta(start)[1]
        found = _rounded(bands.bounds, slope, start, goal, upper)
    if found is None:
        raise ExactEngineError(_TOO_WIDE)
    return found


def _bound_on_line(phases: Plan, goal: float, side: Side, upper: bool) -> float | None:
    logs = np.array([goal])
    saddle = saddle_for_delta([phases], logs, side)
    _refuse_unless(saddle.found)
    epsilon = saddle.epsilon
    for refinement in _REFINEMENTS:
        line = _fine_line(phases, saddle, side, epsilon, refinement)
        solved, good, slopes = _newton(line, epsilon, logs)
        if not good[0]:
            moved, saddle, _ = _walk(phases, float(epsilon[0]), goal, side)
            solved = epsilon = np.array([moved])
            line = _fine_line(phases, saddle, side, epsilon, refinement)
            slopes = line.log_delta(solved)[1]
        bar, slope, start = ErrorBar(line), float(slopes[0]), float(solved[0])
        width = bar.width(start, goal)
        if not width < _WIDEST:
            continue
        start -= (1.01 if upper else -1.01) * width / slope
        found = _rounded(bar.bounds, slope, start, goal, upper)
        if found is not None:
            return found
    return None


def _rounded(
    bounds: Callable[[float], tuple[float, float]],
    slope: float,
    start: float,
    goal: float,
    upper: bool,
) -> float | None:
    """The epsilon at which the bound on log delta meets the goal, on the safe side."""
    epsilon = max(start, 0.0)
    for _ in range(8):
        low, high = bounds(epsilon)
        if not high - low < _WIDEST:
            return None
        if upper and high <= goal:
            return epsilon
        if not upper and (low >= goal or epsilon == 0.0):
            return epsilon if low >= goal else 0.0
        miss = (high - goal) if upper else (low - goal)
        epsilon = max(epsilon - 1.5 * miss / slope, 0.0) if miss else epsilon
        epsilon = float(np.nextafter(epsilon, np.inf if upper else 0.0))
    return None


def single_log_delta_upper(profile: StepProfile, epsilon: float) -> float:
    """A bound on log delta of one step by its closed form, however little noise there is.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> 0 < single_log_delta_upper(step, 2.0) - float(step.log_delta(2.0)) < 1e-9
    True
    """
    value = float(profile.log_delta(epsilon)) + _closed_form_error(profile, epsilon)
    return min(value, 0.0)


def _single_bound(profile: StepProfile, goal: float, upper: bool) -> float:
    """The epsilon of the closed form, rounded to the safe side."""
    near = float(_single_epsilon(profile, np.array([goal]))[0])
    slack = _closed_form_error(profile, near)
    moved = np.array([goal - slack if upper else goal + slack])
    epsilon = float(_single_epsilon(profile, moved)[0])
    return epsilon * (1 + 1e-15) if upper else epsilon * (1 - 2e-15)


def _closed_form_error(profile: StepProfile, epsilon: float) -> float:
    """A bound on the error of the closed form of log delta, relative roundings of mu included."""
    worst = 0.0
    for _, pair in profile.parts:
        mu, x = max(pair.shifts), float(pair.position(epsilon))
        # the position solves for logarithms, each good to an ulp of its own size
        logs = 10 + mu * mu - math.log(min(pair.gains)) + abs(math.log(epsilon + 1e-300))
        worst = max(worst, (abs(x - mu) + 1) * (x + mu) * logs)
    return _CLOSED_FORM + 1e-15 * worst
