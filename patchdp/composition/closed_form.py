"""Questions with a closed form: one step, Gaussian steps, total variation, and hits revealed.

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

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.numeric import UNIT, log_sum
from patchdp.composition.roots import least_epsilon
from patchdp.composition.transform.law import Run
from patchdp.step import StepProfile
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import fixed_size_pair

__all__ = [
    "coins_epsilon",
    "coins_log_delta",
    "epsilon_bounds",
    "epsilon_estimates",
    "is_gaussian",
    "log_delta_bounds",
    "profile_of",
    "threshold_epsilon",
    "vanishes",
]

Array = npt.NDArray[np.float64]

# The double evaluation is used where its error in log delta is below this.
_ENOUGH = 1e-10
_FIRST_DIGITS, _MOST_DIGITS = 60, 4000
# From this distance on a hit shows; its loss is then above the second number.
_SHOWS, _CLEAR = 20.0, 20.0


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


def _coins(run: Run) -> list[tuple[float, float, float]]:
    """Steps, chance of a hit and distance from the centre of each phase, rounded up.

    Source: `docs/theory.md`, "Hits revealed" (Theorem 33).
    """
    found = []
    for profile, count in run:
        chance, mu = 0.0, 0.0
        for weight, pair in profile.parts:
            below = dict(zip(pair.q_means, pair.q_weights, strict=True))
            for gain, shift in zip(pair.gains, pair.shifts, strict=True):
                # What both laws share must be a measure.
                if below.get(-shift, 0.0) < gain * (1 - 1e-12):
                    chance += weight * (1 - gain)  # counted as a hit at the same distance
                chance += weight * gain
            mu = max(mu, *pair.shifts)
        found.append((float(count), min(chance * (1 + 1e-12), 1.0), mu))
    return found


def _more_than(hits: Array, steps: float, chance: float) -> Array:
    """Chance of more hits than these, to far better than the 1e-6 that it is rounded by."""
    some = np.minimum(hits, steps - 1)
    found = special.betainc(some + 1, steps - some, chance)
    return np.where(hits >= steps, 0.0, np.where(hits < 0, 1.0, found))


def _hits(steps: float, chance: float, log_tail: float, most: int) -> tuple[Array, Array, float]:
    """Numbers of hits, rounded up, with bounds on the logs of their chances; log of the rest's."""
    mean, deviation = steps * chance, math.sqrt(steps * chance * (1 - chance)) + 1.0
    reach = math.sqrt(-2 * log_tail)
    top = min(steps, math.ceil(mean + deviation * reach + reach * reach + 20.0))
    bottom = max(0.0, math.floor(mean - deviation * reach - 20.0))
    edges = np.unique(np.floor(np.linspace(bottom, top, most)))
    if chance >= 1 or steps == 1:
        rows = np.array([0.0, steps]) if chance < 1 else np.array([steps])
        with np.errstate(divide="ignore"):
            logs = np.log([1 - chance, chance]) if chance < 1 else np.zeros(1)
        return rows, logs, -math.inf
    # `Pr(J > k)`; what lies below the first edge is counted there.
    more = _more_than(edges, steps, chance)
    least = np.concatenate([[1.0], more[:-1]])
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(least - more * (1 - 1e-6), 0.0) + 1e-305) + 1e-6
        rest = math.log(float(more[-1]) * (1 + 1e-6) + 1e-305) if top < steps else -math.inf
    return edges, logs, rest


def _loud(run: Run) -> tuple[list[tuple[float, float, float, float]], float, float] | None:
    """Steps, chance of a hit, and mean and variance of its loss, by phases, where a hit shows.

    And what all other losses add up to at most, and log of the chance that this is not so.
    """
    rows, charge, small = [], 0.0, 1e-9
    for profile, count in run:
        (_, pair), *more = profile.parts
        shift = pair.shifts[0]
        if more or len(pair.shifts) > 1 or shift < _SHOWS:
            return None
        gain = pair.gains[0]
        # The component of Q that a hit resembles most.
        spread, log_ratio = min(
            ((shift - m), math.log(gain / w))
            for w, m in zip(pair.q_weights, pair.q_means, strict=True)
        )
        mean = log_ratio + 0.5 * spread * spread
        if mean < 2 * _CLEAR:
            return None
        # A hit's loss exceeds `l` by e^-20 at most unless l < 20, and no other step's exceeds
        # e^-40 / count unless its output lies where l > -40 - log count.
        place = shift + (-40.0 - math.log(count) - mean) / spread
        others = [
            w * special.ndtr(m - place) for w, m in zip(pair.q_weights, pair.q_means, strict=True)
        ]
        charge += count * (gain * special.ndtr((_CLEAR - mean) / spread) + math.fsum(others))
        rows.append((float(count), gain, (mean + 1e-8) * (1 + 1e-14), spread * spread))
        small += 1e-17
    with np.errstate(divide="ignore"):
        return rows, small, float(np.log(charge * (1 + 1e-9) + 1e-305))


def coins_log_delta(run: Run) -> Callable[[float], float]:
    """A bound on log delta, falling with epsilon, in which the hits are revealed.

    It is close where the noise is so little that a hit shows anyway.

    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=30.0)),), attainable=True)
    >>> bound = coins_log_delta([(step, 10)])
    >>> round(bound(5000.0), 2)
    -2.66

    Source: `docs/theory.md`, "Hits revealed" (Theorem 33).
    """
    loud = _loud(run)
    if loud is not None:
        rows, small, charge = loud
        means, variances, logs, rest = _totals(rows)
        rest = float(np.logaddexp(rest, charge))
        deviations = np.sqrt(np.maximum(variances, 1e-300))

        def shown(epsilon: float) -> float:
            place = (epsilon - small - means) / deviations
            place -= 4 * UNIT * (epsilon + means) / deviations
            tails = np.where(variances > 0, special.log_ndtr(-place) * (1 - 1e-13), -np.inf)
            return float(min(np.logaddexp(log_sum(logs + tails), rest), 0.0))

        return shown
    phases = sorted(_coins(run), key=lambda row: row[2])
    while len(phases) > 2:  # the nearest two as one: at least as many hits, as far apart
        gaps = [b[2] / a[2] for a, b in itertools.pairwise(phases)]
        k = int(np.argmin(gaps))
        (n, r, _), (m, s, mu) = phases[k : k + 2]
        phases[k : k + 2] = [(n + m, max(r, s), mu)]
    squares, _, logs, rest = _totals([(n, r, mu * mu, 0.0) for n, r, mu in phases])
    half = np.sqrt(squares) * (1 + 4 * UNIT)

    def bound(epsilon: float) -> float:
        return float(min(np.logaddexp(log_sum(logs + _gaussian(half, epsilon)), rest), 0.0))

    return bound


def _totals(
    rows: list[tuple[float, float, float, float]],
) -> tuple[Array, Array, Array, float]:
    """Sums over hits of two numbers each, logs of their chances, and of what was left out."""
    first, second, logs, rest = np.zeros(1), np.zeros(1), np.zeros(1), -math.inf
    for steps, chance, one, two in rows:
        hits, chances, missing = _hits(steps, chance, -760.0, 600 if len(rows) < 3 else 40)
        first = np.add.outer(first, hits * one).ravel()
        second = np.add.outer(second, hits * two).ravel()
        logs = np.add.outer(logs, chances).ravel()
        rest = float(np.logaddexp(rest, missing))
        heavy = logs > -760.0
        first, second, logs = first[heavy], second[heavy], logs[heavy]
    return first, second, logs, rest


def _gaussian(mu: Array, epsilon: float) -> Array:
    """A bound on log delta of Gaussian mechanisms at distances `2 mu`: `Pr(X > x)`, cut at 0.

    The full profile where it differs from the tail.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        place = epsilon / (2 * mu) - mu
        tail = special.log_ndtr(-place)
        # Rounding of the place, which is a difference of numbers as large as mu.
        tail += 1e-14 * np.abs(tail) + 8 * UNIT * (np.abs(place) + 1) * (mu + epsilon / (2 * mu))
        inside = special.log_ndtr(-place - 2 * mu) + epsilon
        gain = np.where(mu < 20, np.minimum(np.exp(np.minimum(inside - tail, 0.0)), 1.0), 0.0)
        value = tail + np.log1p(-gain * (1 - 1e-9)) + 1e-9
        value = np.where(gain > 1 - 1e-4, tail + math.log(2e-4), value)
    return np.asarray(np.where(mu > 0, np.minimum(value, 0.0), -np.inf))


def coins_epsilon(run: Run, log_delta: float) -> float:
    """The least epsilon of the bound with revealed hits.

    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=30.0)),), attainable=True)
    >>> 5400 < coins_epsilon([(step, 4)], math.log(1e-3)) < 5700
    True
    """
    bound = coins_log_delta(run)
    square = math.fsum(count * max(max(p.shifts) for _, p in s.parts) ** 2 for s, count in run)
    mu = math.sqrt(square)
    high = 2 * mu * (mu + math.sqrt(-2 * log_delta)) + 1.0
    if not math.isfinite(high):
        return math.inf
    found = least_epsilon(bound, log_delta, low=0.0, high=high, slope=1 / (2 * mu))
    return found * (1 + 1e-12)


def threshold_epsilon(run: Run, log_delta: float) -> float:
    """A lower bound on any valid epsilon, from counting the steps whose output exceeds a threshold.

    Whoever counts them has a test; its two error rates bound epsilon from below. Close where there
    is little noise. Only steps of one kind are counted.

    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=30.0)),), attainable=True)
    >>> 5000 < threshold_epsilon([(step, 4)], math.log(1e-3)) < 5500
    True

    Source: `docs/theory.md`, "Hits revealed" (Theorem 33).
    """
    best = 0.0
    for profile, steps in run:
        weight, pair = max(profile.parts, key=lambda part: part[0] * max(part[1].shifts))
        if weight < 1:
            continue  # which part it is would have to be known
        counts = np.unique(np.floor(np.geomspace(1, min(steps, 1e15), 400)))
        for place in max(pair.shifts) - np.linspace(0.0, 8.0, 17):
            p, q = (
                log_sum(special.log_ndtr(np.array(means) - place) + np.log(weights))
                for weights, means in (
                    (pair.p_weights, pair.p_means),
                    (pair.q_weights, pair.q_means),
                )
            )
            hit = math.exp(min(p, 0.0)) * (1 - 1e-9)
            seen = _more_than(counts - 1, float(steps), hit) * (1 - 1e-6)
            # C(n, j) <= (e n / j)^j
            false = counts * (q + 1e-9 + 1 + np.log(steps / counts))
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.log(seen - math.exp(log_delta)) - np.minimum(false, 0.0)
            best = max(best, float(np.nanmax(np.where(np.isfinite(found), found, 0.0))))
    return best * (1 - 1e-12)
