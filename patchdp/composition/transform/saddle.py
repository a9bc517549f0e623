"""Where the inversion line crosses the real axis: the saddle point of the integrand.

For a given epsilon it is the minimum over `t > 0` of
`psi(t) = K(t) - t eps - log t - log(1 + t)`; for a given delta it is the `t` whose own epsilon,
`K'(t) - 1/t - 1/(1 + t)`, has that delta by Laplace's approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.law import Run, Side, margin, widest_shift
from patchdp.composition.transform.line import Composition, compose, farthest_position

__all__ = ["Saddle", "saddle_for_delta", "saddle_for_epsilon"]

Array = npt.NDArray[np.float64]

_LEAST = 1e-13
_DOUBLINGS = 24


@dataclass(frozen=True)
class Saddle:
    """The line's place `t`, an estimate of epsilon there, and nodes that cover it.

    `found` is False where no saddle exists (a loss that never reaches epsilon).
    """

    composition: Composition
    t: Array
    epsilon: Array
    found: npt.NDArray[np.bool_]


def saddle_for_delta(plans: Sequence[Run], log_delta: Array, side: Side) -> Saddle:
    """The saddle near the epsilon at which `log delta = log_delta`, one row per plan."""
    return _solve(plans, log_delta, side, log_delta, by_delta=True)


def saddle_for_epsilon(plans: Sequence[Run], epsilon: Array, side: Side) -> Saddle:
    """The saddle at `epsilon`, one row per plan."""
    level = np.array([-40.0])
    for _ in range(12):
        saddle = _solve(plans, epsilon, side, level, by_delta=False)
        t = saddle.t
        k, _, k2 = (v[:, 0] for v in saddle.composition.cumulants(t[:, None]))
        bend = np.square(t) * k2 + 1 + np.square(t / (1 + t))
        reached = k - t * epsilon - np.log1p(t) - 0.5 * np.log(2 * np.pi * bend)
        # Positions too rare to matter for the least delta spoil the line where there are any.
        # The estimate of log delta may be above 0; log delta is not.
        least = min(float(np.min(reached)), 0.0) - 0.5
        if abs(least - level[0]) < 2.0 + 0.02 * abs(least):
            break
        level = np.array([least])
    return saddle


def _solve(
    plans: Sequence[Run], goal: Array, side: Side, log_delta: Array, *, by_delta: bool
) -> Saddle:
    rows = len(goal)
    plans = list(plans)
    shift = np.max(
        [widest_shift([profile for profile, _ in c]) for c in zip(*plans, strict=True)], 0
    )
    cap = 3.0 / shift
    least = np.min(log_delta, keepdims=True) if len(plans) == 1 else log_delta
    farthest = farthest_position(plans, least)
    for _ in range(_DOUBLINGS):
        composition = compose(plans, side, cap, farthest=farthest)
        t, epsilon, deviation = _newton(composition, np.broadcast_to(goal, (rows,)), by_delta)
        # Room above the saddle: Chernoff's bound on the aliases tilts further.
        wanted = t + np.minimum(t, 9.0 / deviation)
        short = wanted > composition.largest_tilt
        if side == "backward":  # a bounded loss has no tilt that is large enough
            short &= t * np.square(shift) < 1e6
        reached = margin + shift * (1 + 2 * cap) >= farthest
        if not np.any(short & ~reached):
            break
        if len(plans) == 1:
            cap = np.where(np.any(short), 2 * cap, cap)
        else:
            cap = np.where(short, 2 * cap, cap)
    return Saddle(composition, t, epsilon, t < 0.98 * composition.largest_tilt)


def _newton(composition: Composition, goal: Array, by_delta: bool) -> tuple[Array, Array, Array]:
    """`t`, its epsilon and the standard deviation of the tilted loss; safeguarded, in `log t`."""
    top = np.log(composition.largest_tilt)
    low, high = np.full(goal.shape, np.log(_LEAST)), np.broadcast_to(top, goal.shape).copy()
    start = np.exp(high) * 3e-3
    _, mean, variance = (a[:, 0] for a in composition.cumulants(start[:, None]))
    size = np.maximum(variance, 1e-300)
    if by_delta:
        # a Gaussian's, and less: K outgrows a square, and the kernel has a share in delta
        guess = 0.7 * np.sqrt(2 * np.maximum(-goal, 0.1) / size)
    else:
        guess = np.maximum((goal - mean) / size + start, 1 / np.sqrt(size))
    s = np.clip(np.log(guess), low, high - 0.01)
    for _ in range(60):
        t = np.exp(s)
        k, k1, k2 = (a[:, 0] for a in composition.cumulants(t[:, None]))
        kernel = 1 / t + 1 / (1 + t)
        bend = np.square(t) * k2 + 1 + np.square(t / (1 + t))
        epsilon = k1 - kernel
        # Solved for logarithms where both sides are positive: K may grow like e^(t^2).
        if by_delta:
            reached = 0.5 * np.log(2 * np.pi * bend) + np.log1p(t) + t * epsilon - k
            aim, slope, value = -goal, bend, reached + goal
        else:
            reached, aim, slope = epsilon, goal, bend / t
            value = epsilon - goal
        both = (reached > 0) & (aim > 0)
        ratio = np.where(both, reached, 1.0) / np.where(both, aim, 1.0)
        step = np.where(both, np.log(ratio) * reached, value) / slope
        high = np.where(value > 0, s, high)
        low = np.where(value <= 0, s, low)
        new = s - np.clip(step, -3.0, 3.0)
        new = np.where((new > low) & (new < high), new, 0.5 * (low + high))
        # Off by how much, in widths of the saddle and, for delta, in logarithms.
        gap = np.abs(value) / np.sqrt(bend) if by_delta else np.abs(value) * t / np.sqrt(bend)
        s = new
        near = (gap < 0.1) & (np.abs(value) < 0.5 if by_delta else True)
        beyond = low > top - 0.02  # a larger tilt is wanted: not found
        if np.all(near | beyond | (high - low < 1e-6)):
            break
    return np.exp(s), epsilon, np.sqrt(np.maximum(k2, 1e-300))
