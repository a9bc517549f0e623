"""Hits revealed: quick bounds, close where the noise is so little that a hit shows anyway.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=30.0)),), attainable=True)
>>> threshold_epsilon([(step, 4)], math.log(1e-3)) < coins_epsilon([(step, 4)], math.log(1e-3))
True

Source: `docs/theory.md`, "Hits revealed" (Theorem 33).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.numeric import UNIT, log_sum
from patchdp.composition.roots import least_epsilon
from patchdp.composition.transform.law import Run

__all__ = ["coins_epsilon", "coins_log_delta", "threshold_epsilon"]

Array = npt.NDArray[np.float64]

# From this distance on a hit shows; its loss is then above the second number.
_SHOWS, _CLEAR = 20.0, 20.0


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
