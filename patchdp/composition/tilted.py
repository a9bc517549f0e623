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

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft, optimize

from patchdp.composition.masses import LargeMasses, LossMasses

__all__ = [
    "MAX_POINTS",
    "ComposedMasses",
    "GridTooLarge",
    "compose",
    "fft_unit",
    "least_epsilon",
    "log_delta_at",
    "saddle",
]

Array = npt.NDArray[np.float64]

# 25 million points: the work arrays of one composition stay below 2 GiB.
MAX_POINTS = 3 << 23
_UNIT = 2.0**-53
# An error term is small beside delta if it is at most this much of it, as a logarithm (2e-3).
NEGLIGIBLE = -6.2


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
      aim: The epsilons for which the window is wide enough to be sharp.
      loss_rounding: Bound on the relative error of the losses: delta is read at an epsilon that is
        smaller by as much.
    """

    interval: float
    first: int
    tilt: float
    tilted: Array
    log_scale: float
    error: float
    slack: float
    log_outside: float
    aim: tuple[float, float] = (0.0, math.inf)
    loss_rounding: float = 0.0

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        # Where the first point lies g above epsilon, the j-th one after it weighs
        # e^{-tjh} (1 - e^{-(g + jh)}) = e^{-tjh} (1 - e^{-jh}) + (1 - e^{-g}) e^{-tjh} e^{-jh}.
        steps = self.interval * np.arange(len(self.tilted))
        decay = np.exp(-self.tilt * steps)
        return -decay * np.expm1(-steps), decay * np.exp(-steps)

    def log_delta_upper(self, epsilon: float) -> float:
        """Log of a certified upper bound on delta at `epsilon >= 0`."""
        return self.log_delta_and_error(epsilon)[0]

    def log_delta_sharpness(self, epsilon: float) -> tuple[float, bool]:
        """The bound of `log_delta_upper`, and whether its error terms are small beside it."""
        found, error = self.log_delta_and_error(epsilon)
        return found, error < found + NEGLIGIBLE

    def log_delta_and_error(self, epsilon: float) -> tuple[float, float]:
        """The bound of `log_delta_upper`, and log of what it owes to rounding and cut tails.

        That is infinite where the window was not chosen for this epsilon.
        """
        aimed = self.aim[0] <= epsilon <= self.aim[1]
        epsilon *= 1 - self.loss_rounding
        if epsilon < self.interval * self.first:
            return 0.0, math.inf  # masses below the window were not kept
        start = math.floor(epsilon / self.interval) + 1 - self.first
        values = self.tilted[start:]
        if len(values) == 0:
            return min(self.log_outside, 0.0), self.log_outside
        gap = max(self.interval * (self.first + start) - epsilon, 0.0)
        far, near = self._weights
        share = -math.expm1(-gap)
        weights = far[: len(values)] + share * near[: len(values)]
        body = float(weights @ values)
        # Weights below the smallest float were lost: less than 1e-290 in all.
        error = self.error * float(np.linalg.norm(weights)) + 1e-290
        scale = self.log_scale - self.tilt * (epsilon + gap) + self.slack + self.loss_rounding
        scale += _UNIT * len(values)  # summing so many positive terms
        found = float(np.logaddexp(scale + math.log(body + error), self.log_outside))
        if not aimed:
            return min(found, 0.0), math.inf
        return min(found, 0.0), float(np.logaddexp(scale + math.log(error), self.log_outside))

    def epsilon_upper(self, log_delta: float) -> float:
        """The smallest certified epsilon at `log_delta`; infinity if none in the window."""
        top = self.interval * (self.first + len(self.tilted))
        bottom = max(self.interval * self.first, 0.0)
        return least_epsilon(
            self.log_delta_upper, log_delta, bottom=bottom, top=top, slope=self.tilt
        )


def least_epsilon(
    log_delta_upper: Callable[[float], float],
    log_delta: float,
    *,
    bottom: float,
    top: float,
    slope: float,
) -> float:
    """The smallest epsilon in `[bottom, top]` whose certified log delta is at most `log_delta`.

    Infinity where there is none, 0 where epsilon 0 suffices.

    Args:
      log_delta_upper: A decreasing bound, 0 below `bottom`.
      log_delta: What is asked for.
      bottom, top: Where to look.
      slope: By how much log delta falls with epsilon, roughly.
    """
    if log_delta_upper(0.0) <= log_delta:
        return 0.0
    if log_delta_upper(top) > log_delta:
        return math.inf
    low, high = bottom, top
    above = log_delta_upper(low) - log_delta
    if above <= 0:
        return low
    # Near the answer log delta falls almost linearly: a few secant steps, from below, because the
    # window may reach far above the answer.
    slope = -slope
    root = min(low - above / slope, 0.5 * (low + high))
    last: tuple[float, float] | None = None
    for _ in range(100):
        excess = log_delta_upper(root) - log_delta
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
    while log_delta_upper(root) > log_delta:
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


@dataclass(frozen=True)
class Window:
    """The grid points that are kept, `first` to `last`, and log of a bound on the mass above.

    >>> Window(-3, 40, -30.0).points
    44
    """

    first: int
    last: int
    log_above: float

    @property
    def points(self) -> int:
        """How many."""
        return self.last - self.first + 1


def choose_window(
    cumulant: Callable[[float], float],
    *,
    tilt: float,
    mean: float,
    spread: float,
    aim: tuple[float, float],
    log_target: float,
    interval: float,
    reach: int,
) -> Window:
    """A window in which the folded law stays sharp at the epsilons of `aim`.

    Only `log_above` is a matter of soundness, by Chernoff's inequality: mass above `b` is at most
    `exp(K(s) - s b)` for every `s >= 0`. What folds into the window only adds.

    Args:
      cumulant: `K(s)`, log of the moment generating function of the composed law.
      tilt, mean, spread: The tilt, and mean and standard deviation under it.
      aim: The smallest and the largest epsilon in question.
      log_target: Log of a delta that matters at the largest one.
      interval: Grid spacing.
      reach: The largest composed loss, in grid points.
    """
    h, known = interval, functools.cache(cumulant)
    log_m = known(tilt)
    low, epsilon = (max(e, 0.0) for e in aim)
    end = reach * h
    goal = log_target - 12.0
    # The tilted mass that decides delta: what folds into the window must be small beside it.
    decisive = min(log_target + tilt * epsilon - log_m, 0.0) - 10.0

    def top(step: float) -> float:
        return (known(tilt + step) - goal) / (tilt + step)

    def clear(step: float) -> float:
        # Tilted mass above b is at most exp(K(s) - K(t) - (s - t) b).
        return (known(tilt + step) - log_m - decisive) / step

    best = _descend(top, 1.5 / spread)
    last = min(math.ceil(max(top(best), epsilon + 4 * h) / h), reach)
    log_above = -math.inf
    if last < reach:
        log_above = known(tilt + best) - (tilt + best) * last * h
    # Mass at first - d folds onto last - d, where it weighs e^{-t (last - d - epsilon)}.
    room = max(last * h - epsilon, h)

    def deep(step: float) -> float:
        return -((decisive + log_m - known(tilt - step)) / step + room)

    def weighed(step: float) -> float:
        return -(decisive + log_m - known(tilt - step) + tilt * room) / step

    bottom = min(low, -deep(_descend(deep, 3.0 / spread)))
    if decisive + tilt * room < 0:
        bottom = min(bottom, -weighed(_descend(weighed, 3.0 / spread)))
    # Mass above last + d folds onto first + d: it counts from the smallest epsilon on.
    bottom = min(bottom, last * h + low - min(clear(_descend(clear, 4.0 / spread)), end))
    first = max(math.floor(bottom / h) - 1, -reach)
    return Window(first, max(last, first + 1), log_above)


def _descend(bound: Callable[[float], float], step: float) -> float:
    """A step at which a bound with one valley is near its lowest."""
    value = bound(step)
    for factor in (2.5, 0.4):
        start = step
        for _ in range(12):
            new = bound(step * factor)
            if not new < value:
                break
            gain, step, value = value - new, step * factor, new
            if gain < 0.03 * abs(new):
                break
        if step != start:
            break
    return step


def folded(masses: Array, origin: int, points: int) -> Array:
    """Masses at `k - origin` laid around a circle of `points` places."""
    start = -origin % points
    rows = -(-(start + len(masses)) // points)
    padded = np.zeros(rows * points)
    padded[start : start + len(masses)] = masses
    return padded if rows == 1 else np.asarray(padded.reshape(rows, points).sum(axis=0))


def checked_points(window: Window, interval: float) -> int:
    """The length of the transforms for a window.

    Raises:
      GridTooLarge: The window has more than `MAX_POINTS` grid points.
    """
    if window.points > MAX_POINTS:
        raise GridTooLarge(
            f"the composition needs {window.points} grid points at interval {interval:.3g}; "
            f"at most {MAX_POINTS} are allowed"
        )
    return int(fft.next_fast_len(max(window.points, 16), real=True))


# What lies below this modulus, as a logarithm, is set to 0.
DEAD = -70.0


def powers(
    factors: Sequence[npt.NDArray[np.complex128]], counts: Sequence[int]
) -> tuple[npt.NDArray[np.intp], Array, Array]:
    """Where the product of powers is not negligible, and its log-modulus and phase there."""
    log_modulus = np.zeros(len(factors[0]))
    for factor, count in zip(factors, counts, strict=True):
        square = np.square(factor.real) + np.square(factor.imag)
        log_modulus += 0.5 * count * np.log(np.maximum(square, 1e-300))
    alive = np.flatnonzero(log_modulus > DEAD)
    phase = np.zeros(len(alive))
    for factor, count in zip(factors, counts, strict=True):
        phase += count * np.angle(factor[alive])
    return alive, log_modulus[alive], phase


def compose(
    phases: Phases,
    *,
    tilt: float,
    log_target: float,
    aim: tuple[float, float] | None = None,
) -> ComposedMasses:
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
      aim: The smallest and largest epsilon in question; by default those around the tilt's own.

    Raises:
      GridTooLarge: The window has more than `MAX_POINTS` grid points.
    """
    h = phases[0][0].interval
    rows = [(masses, count, *masses.tilted_moments(tilt)) for masses, count in phases]
    mean = sum(count * m for _, count, _, m, _ in rows)
    variance = sum(count * v for _, count, _, _, v in rows)
    if aim is None:
        middle = max(mean - 1 / tilt - 1 / (1 + tilt), 0.0)
        aim = (max(middle - 6 * math.sqrt(variance), 0.0), middle + 2 * math.sqrt(variance))
    window = choose_window(
        lambda s: sum(count * masses.log_mgf(s) for masses, count in phases),
        tilt=tilt,
        mean=mean,
        spread=math.sqrt(variance) + h,
        aim=aim,
        log_target=log_target,
        interval=h,
        reach=sum(count * (masses.size - 1) for masses, count in phases),
    )
    points = checked_points(window, h)
    unit = fft_unit(points)
    # An output of the FFT errs by `unit`; its complex logarithm and the exponential of the sum by
    # 16 units of rounding per step at most (phases up to pi, moduli that still matter).
    per_step = unit + 16 * _UNIT
    factors, counts = [], []
    log_scale, shift, slack = 0.0, 0, 1e-13
    log_infinity, floor = -math.inf, 0.0
    for masses, count, log_m, centre_loss, _ in rows:
        exponents = masses.log_probabilities + tilt * masses.losses
        q = np.exp(exponents - log_m)
        centre = min(max(round(centre_loss / h) + masses.size - 1, 0), len(q) - 1)
        factors.append(fft.rfft(folded(q, centre, points)))
        counts.append(count)
        floor += count * (0.5 + per_step) ** min(count - 1, 2000)
        shift += count * (centre - (masses.size - 1))
        log_scale += count * log_m
        slack += count * mass_slack(masses, masses.log_probabilities, masses.losses, q, tilt)
        slack += count * 4 * _UNIT * abs(log_m)
        slack += count * _UNIT * (len(q) // points)  # adding up what was folded
        log_infinity = float(np.logaddexp(log_infinity, math.log(count) + masses.log_infinity))
    total_steps = sum(counts)
    growth = math.exp(min(2 * per_step * total_steps, 700.0))
    alive, log_modulus, phase = powers(factors, counts)
    magnitude = np.exp(log_modulus)
    spectrum = np.zeros(points // 2 + 1, dtype=np.complex128)
    spectrum[alive] = magnitude * (np.cos(phase) + 1j * np.sin(phase))
    tilted = fft.irfft(spectrum, points)
    # With every factor f_i known up to e = per_step, the power errs by at most
    # sum_i T_i e prod |f| / |f_i| (1 + e/|f_i|)^T; where |f_i| <= 1/2, T_i e (1/2 + e)^(T_i - 1).
    sensitivity = np.zeros(len(alive))
    for factor, count in zip(factors, counts, strict=True):
        modulus = np.abs(factor[alive])
        sensitivity += np.where(modulus > 0.5, count / np.maximum(modulus, 0.5), 0.0)
    negligible = per_step * growth * (floor + 2 * total_steps * math.exp(DEAD)) + math.exp(DEAD)
    power_error = per_step * growth * sensitivity * magnitude
    # Parseval: a spectrum's error of Euclidean norm s is one of s / sqrt(points) in the masses.
    weight = np.where(alive == 0, 1.0, 2.0)
    error = math.sqrt(float(weight @ np.square(power_error)) / points) + negligible
    error += unit * math.sqrt(float(weight @ np.square(magnitude)) / points)
    slack += 4 * _UNIT * abs(log_scale)
    return ComposedMasses(
        interval=h,
        first=window.first,
        tilt=tilt,
        tilted=cut_out(tilted, window, shift),
        log_scale=log_scale,
        error=error,
        slack=slack,
        log_outside=float(np.logaddexp(window.log_above, log_infinity)) + slack,
        aim=aim,
        loss_rounding=max(masses.loss_rounding for masses, _ in phases),
    )


def mass_slack(
    masses: LossMasses | LargeMasses, logs: Array, losses: Array, tilted: Array, tilt: float
) -> float:
    """Relative error of one step's tilted masses, the smallest (1e-20 of the largest) aside."""
    heavy = tilted > 1e-20 * tilted.max()
    if not np.any(heavy):  # the tilt left nothing that a float can hold
        return masses.rounding + masses.loss_rounding
    size = np.abs(losses[heavy])
    magnitude = float(np.max(np.abs(logs[heavy]) + tilt * size))
    # Losses off by a share of their size cost that share once a step, and of epsilon in all
    # (`docs/theory.md`, "Connect the dots").
    return masses.rounding + masses.loss_rounding + 4 * _UNIT * magnitude


def cut_out(circle: Array, window: Window, shift: int) -> Array:
    """The window's masses off the circle, without the negative ones that rounding leaves."""
    at = (window.first - shift) % len(circle)
    line = np.concatenate([circle[at:], circle[:at]])
    return np.asarray(np.maximum(line[: window.points], 0.0))
