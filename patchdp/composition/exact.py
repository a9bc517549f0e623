"""The exact engine: epsilon and delta of any number of steps, in milliseconds.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=5e-4)),), attainable=True)
>>> round(float(epsilon_estimate([(gaussian, 10**6)], np.log(1e-9))), 4)
6.1739
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import Plan, sample_line
from patchdp.composition.loss_law import Side
from patchdp.composition.saddle import Saddle, saddle_for_delta, saddle_for_epsilon
from patchdp.step import StepProfile

__all__ = [
    "ExactEngineError",
    "epsilon_estimate",
    "epsilon_estimate_many",
    "log_delta_estimate",
]

Array = npt.NDArray[np.float64]

_MOST_NODES = 1 << 15
_ROWS = 256


class ExactEngineError(ValueError):
    """The exact engine cannot answer to the accuracy it promises; another engine can."""


def _is_single(plan: Plan, side: Side) -> bool:
    return len(plan) == 1 and plan[0][1] == 1 and side != "backward"


def _single_epsilon(profile: StepProfile, log_delta: Array) -> Array:
    """The epsilon of one step, by bisection on its closed form; 0 where delta(0) is smaller."""
    low, high = np.zeros_like(log_delta), np.ones_like(log_delta)
    for _ in range(60):
        short = profile.log_delta(high) > log_delta
        if not np.any(short):
            break
        high = np.where(short, 2 * high, high)
    for _ in range(1100):
        middle = 0.5 * (low + high)
        above = profile.log_delta(middle) > log_delta
        low, high = np.where(above, middle, low), np.where(above, high, middle)
        if np.all(high - low <= 4e-16 * high):
            break
    return np.where(profile.log_delta(0.0) <= log_delta, 0.0, high)


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
    if _is_single(phases, side):
        return phases[0][0].log_delta(eps)
    saddle = saddle_for_epsilon([phases], flat, side)
    line, done = sample_line(saddle.composition, saddle.t, flat, most_nodes=_MOST_NODES)
    _refuse_unless(done | ~saddle.found)
    value, _ = line.log_delta(flat)
    return np.asarray(np.where(saddle.found, value, -np.inf).reshape(eps.shape))


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
    if _is_single(phases, side):
        return _single_epsilon(phases[0][0], flat).reshape(logs.shape)
    saddle = saddle_for_delta([phases], flat, side)
    return _epsilon_at(saddle, flat).reshape(logs.shape)


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
    single = np.array([_is_single(plan, side) for plan in plans], dtype=bool)
    for i in np.flatnonzero(single):
        result[i] = _single_epsilon(plans[i][0][0], logs[i : i + 1])[0]
    rest = np.flatnonzero(~single)
    for i in range(0, len(rest), _ROWS):
        rows = rest[i : i + _ROWS]
        saddle = saddle_for_delta([plans[j] for j in rows], logs[rows], side)
        result[rows] = _epsilon_at(saddle, logs[rows])
    return result


def _epsilon_at(saddle: Saddle, log_delta: Array) -> Array:
    epsilon = saddle.epsilon
    line, done = sample_line(saddle.composition, saddle.t, epsilon, most_nodes=_MOST_NODES)
    _refuse_unless(done)
    for _ in range(12):
        value, slope = line.log_delta(epsilon)
        step = (value - log_delta) / slope
        epsilon = epsilon - step
        if np.all(np.abs(step) <= 1e-15 * np.abs(epsilon) + 1e-300):
            break
    return np.where(saddle.found, np.maximum(epsilon, 0.0), 0.0)


def _refuse_unless(good: npt.NDArray[np.bool_]) -> None:
    if not np.all(good):
        raise ExactEngineError(
            "the exact engine does not converge for so few effective participations; "
            "use method 'pld'"
        )


def epsilon_upper(phases: Plan, log_delta: npt.ArrayLike) -> Array:
    """A certified upper bound on epsilon."""
    raise ExactEngineError("the exact engine gives no certificate yet; use method 'pld'")


def epsilon_lower(phases: Plan, log_delta: npt.ArrayLike) -> Array:
    """A certified lower bound on any valid epsilon."""
    raise ExactEngineError("the exact engine gives no certificate yet; use method 'pld'")


def log_delta_upper(phases: Plan, epsilon: npt.ArrayLike) -> Array:
    """A certified upper bound on log delta."""
    raise ExactEngineError("the exact engine gives no certificate yet; use method 'pld'")
