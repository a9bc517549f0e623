"""Composition of exponentially tilted masses by FFT, with a proved bound of its rounding error.

A plain FFT composition errs by about `T * 1e-16` in delta, of either sign, whatever delta is. Here
the masses are first tilted by `e^{t k h}` towards the losses that decide delta, so that the error
is relative to delta; a bound of it is added. Sources: `docs/theory.md`, "Tilted composition" and
"Rounding of the FFT".

>>> from patchdp.composition.masses import loss_masses
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.02, mu=0.5)),), attainable=True)
>>> masses = loss_masses(step, interval=2e-3, log_tail=-60.0)
>>> composed = compose([(masses, 1000)], tilt=4.0, log_target=-11.5)
>>> round(composed.epsilon_upper(-11.5), 2)
4.72
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, optimize

from patchdp.composition.masses import RELATIVE_ERROR, LossMasses

__all__ = [
    "MAX_POINTS",
    "ComposedMasses",
    "GridTooLarge",
    "compose",
    "fft_unit",
    "log_delta_at",
    "saddle",
]

Array = npt.NDArray[np.float64]

# 25 million points: the work arrays of one composition stay below 2 GiB.
MAX_POINTS = 3 << 23
_UNIT = 2.0**-53


class GridTooLarge(ValueError):
    """A composition would need more memory than the stated cap."""


def fft_unit(points: int) -> float:
    """Bound on the error of one FFT output relative to the sum of the inputs' magnitudes.

    Every input reaches every output through `log2(points)` butterflies; each multiplies by a
    rounded twiddle factor and adds, which costs at most 8 units of rounding per level.
    """
    return 8.0 * _UNIT * max(math.log2(points), 1.0)


@dataclass(frozen=True, eq=False)
class ComposedMasses:
    """The composed loss near the region that decides delta, as tilted masses.

    The mass at loss `l_j = (first + j) h` is `exp(log_scale - tilt * l_j) * tilted[j]`.

    Args:
      interval: Grid spacing `h`.
      first: Index of the first grid point of the window.
      tilt: The exponent `t`.
      tilted: Composed tilted masses in the window, non-negative.
      log_scale: Sum of `count * log M(t)`.
      error: Bound on the Euclidean norm of the error of `tilted`.
      slack: Relative bound for everything else (rounding of masses and sums).
      log_outside: Log of a bound on the mass above the window and at infinity.
    """

    interval: float
    first: int
    tilt: float
    tilted: Array
    log_scale: float
    error: float
    slack: float
    log_outside: float

    def log_delta_upper(self, epsilon: float) -> float:
        """Log of a certified upper bound on delta at `epsilon >= 0`."""
        return self.log_delta_sharpness(epsilon)[0]

    def log_delta_sharpness(self, epsilon: float) -> tuple[float, bool]:
        """The bound of `log_delta_upper`, and whether its error terms are small beside it."""
        if epsilon < self.interval * self.first:
            return 0.0, False  # masses below the window were not kept
        start = math.floor(epsilon / self.interval) + 1 - self.first
        values = self.tilted[start:]
        gap = self.interval * (self.first + start + np.arange(len(values))) - epsilon
        gap = np.maximum(gap, 1e-300)
        if len(values) == 0:
            return min(self.log_outside, 0.0), False
        # In logarithms: a steep tilt takes the weights below the smallest float.
        log_weights = np.log(-np.expm1(-gap)) - self.tilt * gap
        peak = float(np.max(log_weights))
        weights = np.exp(log_weights - peak)
        body = float(weights @ values)
        total = body + self.error * float(np.linalg.norm(weights))
        log_inside = self.log_scale - self.tilt * epsilon + peak + math.log(total) + self.slack
        log_inside += _UNIT * len(values)  # summing so many positive terms
        sharp = total < 1.001 * body and self.log_outside < log_inside - 7.0
        return float(min(np.logaddexp(log_inside, self.log_outside), 0.0)), sharp

    def epsilon_upper(self, log_delta: float) -> float:
        """The smallest certified epsilon at `log_delta`; infinity if none in the window."""
        if self.log_delta_upper(0.0) <= log_delta:
            return 0.0
        top = self.interval * (self.first + len(self.tilted))
        if self.log_delta_upper(top) > log_delta:
            return math.inf
        low, high = max(self.interval * self.first, 0.0), top
        above = self.log_delta_upper(low) - log_delta
        if above <= 0:
            return low
        # Near the answer log delta falls almost linearly, by about the tilt: a few secant steps,
        # from below, because the window may reach far above the answer.
        slope = -self.tilt
        root = min(low + above / self.tilt, 0.5 * (low + high))
        last: tuple[float, float] | None = None
        for _ in range(100):
            excess = self.log_delta_upper(root) - log_delta
            low, high = (root, high) if excess > 0 else (low, root)
            if last is not None and root != last[0] and excess != last[1]:
                slope = (excess - last[1]) / (root - last[0])
            last = (root, excess)
            step = -excess / slope if slope < 0 else math.inf
            if high - low <= 1e-12 * top or abs(step) <= 1e-12 * root:
                break
            guess = root + step
            root = guess if low < guess < high else 0.5 * (low + high)
        # That may stop on either side of the root: step up until the bound is met.
        climb = 1e-13 * max(root, 1e-300)
        while self.log_delta_upper(root) > log_delta:
            root, climb = root + climb, 2 * climb
        return float(root)


Phases = Sequence[tuple[LossMasses, int]]


def _moments(phases: Phases, tilt: float) -> tuple[float, float, float]:
    rows = [(count, masses.tilted_moments(tilt)) for masses, count in phases]
    log_m, mean, variance = (sum(c * m[i] for c, m in rows) for i in range(3))
    return log_m, mean, variance


def log_delta_at(phases: Phases, tilt: float) -> tuple[float, float, float]:
    """Epsilon whose saddle point is `tilt`, an estimate of log delta there, and the variance."""
    log_m, mean, variance = _moments(phases, tilt)
    epsilon = mean - 1 / tilt - 1 / (1 + tilt)
    curvature = variance + 1 / tilt**2 + 1 / (1 + tilt) ** 2
    log_delta = (
        log_m
        - tilt * epsilon
        - math.log(tilt)
        - math.log1p(tilt)
        - 0.5 * math.log(2 * math.pi * curvature)
    )
    return epsilon, log_delta, curvature


def saddle(
    phases: Phases, *, log_delta: float | None = None, epsilon: float | None = None
) -> float:
    """The tilt at which the masses that decide delta lie in the middle of the tilted law.

    >>> from patchdp.composition.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> masses = loss_masses(step, interval=0.05, log_tail=-60.0)
    >>> 4 < saddle([(masses, 1)], log_delta=-11.5) < 6
    True

    Args:
      phases: Discretised steps with their counts.
      log_delta: Where delta is given, its logarithm.
      epsilon: Where epsilon is given (exactly one of the two).
    """

    def excess(log_tilt: float) -> float:
        eps, log_d, _ = log_delta_at(phases, math.exp(log_tilt))
        if epsilon is not None:
            return eps - epsilon
        assert log_delta is not None
        # For small tilts epsilon is negative and the estimate is meaningless: stay to the right.
        return -1.0 if eps <= 0 else log_delta - log_d

    low, high = math.log(1e-3), math.log(1e6)
    if excess(high) < 0:
        return math.exp(high)
    if excess(low) > 0:
        return math.exp(low)
    root = optimize.brentq(excess, low, high, xtol=1e-6, rtol=1e-9)
    return math.exp(float(root))


def _window(phases: Phases, tilt: float, log_target: float) -> tuple[int, int, float]:
    """First and last grid index of the window, and log of a bound on the mass above it."""
    h = phases[0][0].interval
    reach = sum(count * (masses.size - 1) for masses, count in phases)
    log_m, mean, variance = _moments(phases, tilt)
    spread = math.sqrt(variance) + h
    # Chernoff: mass above b is at most exp(K(s) - s b) for every s >= 0. At s = tilt + j / spread
    # the exponent falls with j until b is far above the tilted mean.
    goal = log_target - 12.0
    # The tilted mass that decides delta: what folds into the window must be small beside it.
    decisive = log_target + tilt * (mean - 1 / tilt - 1 / (1 + tilt)) - log_m
    best_top, folds_above = math.inf, math.inf
    for j in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0):
        s = tilt + j / spread
        log_s = _moments(phases, s)[0]
        best_top = min(best_top, (log_s - goal) / s)
        if j:
            # Mass above b folds onto the bottom of the window, tilted: it only adds, but with a
            # heavy upper tail it could add much. P_t(S > b) <= exp(K(s) - K(t) - (s - t) b).
            folds_above = min(
                folds_above, (log_s - log_m + max(20.0, 12.0 - decisive)) * spread / j
            )
    last = min(math.ceil(max(best_top, folds_above) / h), reach)
    best_log = -math.inf if last >= reach else goal
    # Below: under the tilt, mass below a folds onto the top of the window and only adds.
    below = mean - 9.0 * spread
    for s in (2.0, 4.0, 6.0, 8.0, 12.0, 16.0):
        shifted = tilt - s / spread
        # P_t(S < a) <= exp(K(shifted) - K(tilt) + (s/spread) a): wanted below e^-32 together with
        # the weight that the top of the window carries.
        log_s = _moments(phases, shifted)[0]
        below = max(below, ((log_m - log_s) - 32.0) * spread / s)
    first = max(math.floor(min(below, mean) / h), -reach)
    return first, max(last, first + 1), best_log


def compose(phases: Phases, *, tilt: float, log_target: float) -> ComposedMasses:
    """Compose discretised steps and bound every error made on the way.

    >>> from patchdp.composition.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> masses = loss_masses(step, interval=1e-3, log_tail=-80.0)
    >>> one = compose([(masses, 1)], tilt=4.0, log_target=-10.0)
    >>> float(step.log_delta(2.0)) < one.log_delta_upper(2.0) < float(step.log_delta(2.0)) + 1e-4
    True

    Args:
      phases: Discretised steps, all with the same interval, and how often each is applied.
      tilt: Exponent of the tilt, above 0; any value is sound, `saddle` gives the sharp one.
      log_target: Log of the delta that matters: mass far below it may be given away.

    Raises:
      GridTooLarge: The window has more than `MAX_POINTS` grid points.
    """
    h = phases[0][0].interval
    first, last, log_tail = _window(phases, tilt, log_target)
    longest = max(2 * masses.size - 1 for masses, _ in phases)
    wanted = max(last - first + 1, longest)
    if wanted > MAX_POINTS:
        raise GridTooLarge(
            f"the composition needs {wanted} grid points at interval {h:.3g}; "
            f"at most {MAX_POINTS} are allowed"
        )
    points = fft.next_fast_len(wanted, real=True)
    unit = fft_unit(points)
    total_steps = sum(count for _, count in phases)
    log_power = np.zeros(points // 2 + 1, dtype=np.complex128)
    log_scale, shift = 0.0, 0
    log_infinity = -math.inf
    worst_exponent = 0.0
    # An output of the FFT errs by `unit`; its complex logarithm and the exponential of the sum by
    # 16 units of rounding per step at most (phases up to pi, moduli that still matter).
    per_step = unit + 16 * _UNIT
    growth = math.exp(min(2 * per_step * total_steps, 700.0))
    sensitivity = np.zeros(points // 2 + 1)
    floor = 0.0
    for masses, count in phases:
        log_m, mean, _ = masses.tilted_moments(tilt)
        exponents = tilt * masses.losses
        q = np.exp(masses.log_probabilities + exponents - log_m)
        heavy = q > 1e-20
        magnitudes = np.abs(masses.log_probabilities[heavy]) + np.abs(exponents[heavy])
        worst_exponent = max(worst_exponent, float(magnitudes.max()) + abs(log_m))
        centre = min(max(round(mean / h) + masses.size - 1, 0), len(q) - 1)
        padded = np.zeros(points)
        padded[: len(q) - centre] = q[centre:]
        if centre:
            padded[-centre:] = q[:centre]
        factor = fft.rfft(padded)
        # A zero would give nan in complex arithmetic; the error bound does not see 1e-300.
        log_power += count * np.log(np.where(factor == 0, 1e-300, factor))
        modulus = np.abs(factor)
        sensitivity += np.where(modulus > 0.5, count / np.maximum(modulus, 0.5), 0.0)
        floor += count * (0.5 + per_step) ** min(count - 1, 2000)
        shift += count * (centre - (masses.size - 1))
        log_scale += count * log_m
        log_infinity = float(np.logaddexp(log_infinity, math.log(count) + masses.log_infinity))
    magnitude = np.exp(log_power.real)
    tilted = fft.irfft(np.exp(log_power), points)
    # With every factor f_i known up to e = per_step, the power errs by at most
    # sum_i T_i e prod |f| / |f_i| (1 + e/|f_i|)^T; where |f_i| <= 1/2, T_i e (1/2 + e)^(T_i - 1).
    power_error = per_step * growth * (sensitivity * magnitude + floor)
    # Parseval: a spectrum's error of Euclidean norm s is one of s / sqrt(points) in the masses.
    weight = np.full(len(power_error), 2.0)
    weight[0] = 1.0
    error = math.sqrt(float(weight @ np.square(power_error)) / points)
    error += unit * math.sqrt(float(weight @ np.square(magnitude)) / points)
    slack = total_steps * (RELATIVE_ERROR + 4 * _UNIT * worst_exponent)
    slack += 4 * _UNIT * abs(log_scale) + 1e-13
    offset = (first - shift) % points
    window = np.roll(tilted, -offset)[: last - first + 1]
    return ComposedMasses(
        interval=h,
        first=first,
        tilt=tilt,
        tilted=np.maximum(window, 0.0),
        log_scale=log_scale,
        error=error,
        slack=slack,
        log_outside=float(np.logaddexp(log_tail, log_infinity)) + slack,
    )
