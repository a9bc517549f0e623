"""Questions with a closed form: one step, Gaussian steps, total variation.

A closed form is evaluated in double precision where its own conditioning allows, and by mpmath with
as many digits as it takes where it does not: for very small deltas, for distances far below and for
noise far below 1.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.1)),), attainable=True)
>>> lower, upper = epsilon_bounds(profile_of([(gaussian, 25)]), math.log(1e-5))
>>> round(lower, 9), round(upper - lower, 9)
(4.377178096, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.law import Run
from patchdp.step import StepProfile
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import fixed_size_pair

__all__ = [
    "epsilon_bounds",
    "epsilon_estimates",
    "is_gaussian",
    "log_delta_bounds",
    "profile_of",
    "vanishes",
]

Array = npt.NDArray[np.float64]

# The double evaluation is used where its error in log delta is below this.
_ENOUGH = 1e-10
_FIRST_DIGITS, _MOST_DIGITS = 60, 4000


def is_gaussian(profile: StepProfile) -> bool:
    """Whether a step is a Gaussian mechanism."""
    pair = profile.parts[0][1]
    return len(profile.parts) == 1 and pair.p_weights == pair.q_weights == (1.0,)


def profile_of(run: Run) -> StepProfile | None:
    """The profile of a whole run where it has a closed form: one step, or Gaussian steps only.

    Gaussian mechanisms compose to one whose squared distance is the sum of theirs; `mu` is rounded
    to the nearest float.
    """
    if len(run) == 1 and run[0][1] == 1:
        return run[0][0]
    if all(is_gaussian(profile) for profile, _ in run):
        shifts = [profile.parts[0][1].shifts[0] for profile, _ in run]
        scale = max(shifts)
        squares = [count * (s / scale) ** 2 for s, (_, count) in zip(shifts, run, strict=True)]
        mu = scale * math.sqrt(math.fsum(squares))
        if math.isfinite(mu):
            return StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=mu)),), attainable=True)
    return None


def vanishes(run: Run, log_delta: float) -> bool:
    """Whether epsilon is 0 because total variation distances add up to no more than delta."""
    distances = [count * _total_variation(profile) for profile, count in run]
    return math.log(math.fsum(distances)) + 1e-11 <= log_delta


def _total_variation(profile: StepProfile) -> float:
    """`delta(0)`: of `sum gains (N(shifts) - N(-shifts))`, which is positive right of 0."""
    terms = [
        weight * gain * math.erf(shift / math.sqrt(2))
        for weight, pair in profile.parts
        for gain, shift in zip(pair.gains, pair.shifts, strict=True)
    ]
    return math.fsum(terms)


def epsilon_estimates(profile: StepProfile, log_delta: Array) -> Array:
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


def _error(profile: StepProfile, epsilon: float) -> float:
    """A bound on the error of the closed form of log delta in double precision."""
    worst = 0.0
    for _, pair in profile.parts:
        mu, x = max(pair.shifts), float(pair.position(epsilon))
        # The position solves for logarithms, each good to an ulp of its own size; where it is off,
        # log delta moves by up to the distance from either centre.
        logs = 10 + mu * mu - math.log(min(pair.gains)) + abs(math.log(epsilon + 1e-300))
        worst = max(worst, (abs(x - mu) + 1) * (x + mu) * logs / min(mu, 1.0))
    return 1e-11 + 2e-15 * worst


def log_delta_bounds(profile: StepProfile, epsilon: float) -> tuple[float, float]:
    """Lower and upper bound on log delta of a closed form, at an epsilon of at least 0.

    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> lower, upper = log_delta_bounds(step, 2.0)
    >>> 0 < upper - lower < 1e-9
    True

    Source: `docs/theory/one_step.md`, "Gaussian mixtures".
    """
    slack = _error(profile, epsilon)
    if slack < _ENOUGH:
        value = float(profile.log_delta(epsilon))
        return value - slack, min(value + slack, 0.0)
    value = _Precise(profile).log_delta(epsilon)
    return _around(value)


def _around(value: Any) -> tuple[float, float]:
    """The floats on either side of a precise number."""
    near = float(value)
    if math.isinf(near):
        return near, near
    below = near if near < value else math.nextafter(near, -math.inf)
    above = near if near > value else math.nextafter(near, math.inf)
    return below, min(above, 0.0)


def epsilon_bounds(profile: StepProfile, log_delta: float) -> tuple[float, float]:
    """Lower and upper bound on the epsilon of a closed form at `log_delta`.

    Args:
      profile: The step, or what stands for the run.
      log_delta: Natural logarithm of delta, below 0.
    """
    near = float(epsilon_estimates(profile, np.array([log_delta]))[0])
    slack = _error(profile, near)
    if slack < _ENOUGH:
        moved = np.array([log_delta + slack, log_delta - slack])
        lower, upper = (float(e) for e in epsilon_estimates(profile, moved))
        if upper - lower <= 1e-10 * upper:
            return lower * (1 - 2e-15), upper * (1 + 2e-15)
    return _Precise(profile).epsilon_bounds(log_delta, near)


class _Precise:
    """The closed form of one step with as many digits as it takes."""

    def __init__(self, profile: StepProfile) -> None:
        import mpmath  # only where closed forms need more digits than a float has

        self.mp = mpmath.mp.clone() if hasattr(mpmath.mp, "clone") else mpmath.MPContext()
        self.parts = profile.parts

    def log_delta(self, epsilon: Any) -> Any:
        """Log of delta; two precisions must agree to 25 digits."""
        mp, digits, last = self.mp, _FIRST_DIGITS, None
        while digits <= _MOST_DIGITS:
            mp.dps = digits
            found = self._delta(mp.mpf(epsilon))
            if found > 0:
                value = mp.log(found)
                if last is not None and abs(value - last) <= mp.mpf(10) ** -25 * max(1, abs(value)):
                    return value
                last = value
            digits *= 2
        raise ArithmeticError(f"no {_MOST_DIGITS} digits suffice for delta at epsilon {epsilon!r}")

    def _delta(self, epsilon: Any) -> Any:
        mp = self.mp
        total = mp.mpf(0)
        for weight, pair in self.parts:
            x = self._position(pair, epsilon)
            gained = self._above(x, pair.gains, pair.shifts)
            gained -= self._above(x, pair.gains, [-s for s in pair.shifts])
            rest = self._above(x, pair.q_weights, pair.q_means)
            total += mp.mpf(weight) * (gained - mp.expm1(epsilon) * rest)
        return total

    def _above(self, x: Any, weights: Sequence[float], means: Sequence[float]) -> Any:
        """Mass of a normal mixture above `x`."""
        mp, root = self.mp, self.mp.sqrt(2)
        pairs = zip(weights, means, strict=True)
        return sum(mp.mpf(w) * mp.erfc((x - m) / root) / 2 for w, m in pairs)

    def _position(self, pair: MixturePair, epsilon: Any) -> Any:
        """Where the loss is epsilon: Newton's method on the logarithm of what is above Q."""
        mp = self.mp
        if epsilon == 0:
            return mp.mpf(0)
        goal = mp.log(mp.expm1(epsilon))
        x = mp.mpf(float(pair.position(float(epsilon))) or 1e-300)
        for _ in range(200):
            up, up_slope, down, down_slope = (mp.mpf(0) for _ in range(4))
            for g, s in zip(pair.gains, map(mp.mpf, pair.shifts), strict=True):
                size = mp.mpf(g) * mp.exp(-s * s / 2)
                up += 2 * size * mp.sinh(s * x)
                up_slope += 2 * size * s * mp.cosh(s * x)
            for w, m in zip(pair.q_weights, map(mp.mpf, pair.q_means), strict=True):
                size = mp.mpf(w) * mp.exp(m * x - m * m / 2)
                down += size
                down_slope += m * size
            step = (mp.log(up / down) - goal) / (up_slope / up - down_slope / down)
            new = x - step
            x = new if new > 0 else x / 2
            if abs(step) <= mp.mpf(10) ** (8 - mp.dps) * x:
                break
        return x

    def epsilon_bounds(self, log_delta: float, near: float) -> tuple[float, float]:
        """Floats on either side of the epsilon, evaluated one by one."""
        if self.log_delta(0.0) <= log_delta:
            return 0.0, 0.0
        step = max(4e-16 * near, 5e-324)
        low, high = near, near
        for _ in range(2200):
            if not self.log_delta(high) > log_delta:
                break
            low, high = high, high + step
            step *= 4
        step = max(4e-16 * near, 5e-324)
        for _ in range(2200):
            if self.log_delta(low) > log_delta or low == 0:
                break
            high, low = min(high, low), max(low - step, 0.0)
            step *= 4
        above = self.log_delta(low) - log_delta
        below = self.log_delta(high) - log_delta
        for turn in range(400):
            if math.nextafter(low, math.inf) >= high:
                break
            middle = low + float(above / (above - below)) * (high - low)
            if turn % 3 == 2 or not low < middle < high:
                middle = 0.5 * low + 0.5 * high
            if not low < middle < high:
                break
            value = self.log_delta(middle) - log_delta
            if value > 0:
                low, above = middle, value
            else:
                high, below = middle, value
        return low, high
