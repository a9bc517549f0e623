"""Closed bounds for trainings so loud or so quiet that the engines leave the range of floats.

A step hits with some chance and is then at most a Gaussian mechanism: many steps are Gaussians, one
for each hit, and Bernstein's inequality bounds the number of hits.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> loud = StepProfile(((1.0, fixed_size_pair(rate=0.01, mu=1e300)),), attainable=True)
>>> is_loud([(loud, 1)]), round(math.exp(log_distance([(loud, 2)])), 4)  # one of two steps hits
(True, 0.0199)

Source: `docs/theory.md`, "Many steps" (Lemma 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.step.profile import StepProfile

__all__ = ["epsilon_upper", "is_loud", "is_quiet", "log_delta_upper", "log_distance", "renyi"]

Phases: TypeAlias = Sequence[tuple[StepProfile, int]]

# Noise deviations of one step, and of all together if each of them hits.
_LOUD, _LOUDEST = 3e4, 1e8
# Below this total variation distance of the whole run every delta is: nobody tells it from 0.
_QUIET = 1e-13
# Far more than the few roundings of each bound.
_UP = 1 + 1e-13


def _shift(step: StepProfile) -> float:
    return max(max(pair.shifts) for _, pair in step.parts)


def _chance(step: StepProfile) -> float:
    """The chance that a step hits."""
    return min(sum(weight * sum(pair.gains) for weight, pair in step.parts) * _UP, 1.0)


def is_loud(phases: Phases) -> bool:
    """Whether a step, or all of them, move the sum by more noise deviations than engines bear."""
    return max(_shift(step) for step, _ in phases) > _LOUD or _distance(phases, None) > _LOUDEST


def is_quiet(phases: Phases) -> bool:
    """Whether the whole run is too quiet for any delta to be told from 0."""
    return log_distance(phases) < math.log(_QUIET)


def log_distance(phases: Phases) -> float:
    """Log of a bound on delta at every epsilon of at least 0: the total variation distance."""
    missed = 0.0
    for step, count in phases:
        distance = sum(
            weight * gain * math.erf(shift / math.sqrt(2))
            for weight, pair in step.parts
            for gain, shift in zip(pair.gains, pair.shifts, strict=True)
        )
        # A product that left the range of floats is not 0.
        distance = max(distance * _UP, 5e-324)
        missed += count * (math.log1p(-distance) if distance < 1 else -math.inf)
    return math.log(max(min(-math.expm1(missed) * _UP, 1.0), 5e-324))


def _distance(phases: Phases, surprise: float | None) -> float:
    """Distance of the Gaussians of all hits, each phase having more with chance `e^-surprise`.

    With None every step hits.
    """
    total = 0.0
    for step, count in phases:
        hits = float(count)
        if surprise is not None:
            mean = count * _chance(step)
            hits = min(hits, (mean + math.sqrt(2 * mean * surprise) + surprise / 3) * _UP)
        # A hit moves the sum by twice the shift. (`x * x` overflows to infinity, `x**2` raises.)
        total += hits * (2 * _shift(step)) * (2 * _shift(step))
    return math.sqrt(total) * _UP


def epsilon_upper(phases: Phases, log_delta: float) -> float:
    """Epsilon at a delta."""
    if log_distance(phases) <= log_delta:
        return 0.0
    # Half of delta for more hits than counted, half for the tail of the Gaussians.
    half = math.log(2) - log_delta
    distance = _distance(phases, half + math.log(len(phases)))
    return (distance * distance / 2 + distance * math.sqrt(2 * half)) * _UP


def log_delta_upper(phases: Phases, epsilon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logs of deltas at epsilons of at least 0."""
    best = np.full(epsilon.shape, log_distance(phases))
    for surprise in (*np.geomspace(0.1, 2000.0, 60).tolist(), None):
        distance = _distance(phases, surprise)
        if not 0 < distance < math.inf:
            continue
        # Each term errs by a few units in its last place.
        deviations = np.minimum(epsilon / distance * (1 - 1e-14), 1e150) - distance / 2 * _UP
        logs = special.log_ndtr(-deviations) * (1 - 1e-13)
        if surprise is not None:
            logs = np.logaddexp(logs, math.log(len(phases)) - surprise)
        best = np.minimum(best, logs + 1e-13)
    return best


def renyi(step: StepProfile, order: float) -> float:
    """The Rényi divergence of a step at an order above 1."""
    chance, shift = _chance(step), _shift(step)
    power = (order - 1) * order * 2 * shift * shift * _UP
    log_moment = math.log1p(chance * math.expm1(power)) if power < 30 else power
    if 30 <= power < math.inf:
        log_moment = power + math.log(chance) + math.log1p((1 - chance) / chance * math.exp(-power))
    return log_moment / (order - 1) * _UP
