"""Which engine answers: the only place that asks whether steps are given by pairs or by values.

>>> import math
>>> from fractions import Fraction
>>> from patchdp.step import AllocationProfile
>>> epoch = AllocationProfile(inclusion=Fraction(1, 8), mu=0.5, rounds=15)
>>> bool(1.0 < estimated_epsilon(((epoch, 100),), -8.0) < 1.05)
True
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchdp.composition import certify, exact, given, rdp

__all__ = [
    "certified",
    "certified_log_delta",
    "estimated_epsilon",
    "estimated_log_delta",
    "exact_log_delta",
]

Array = npt.NDArray[np.float64]
Phases = given.Phases
# Logarithm of the smallest positive float.
_LEAST_LOG = -745.0


def estimated_epsilon(phases: Phases, log_delta: float) -> float:
    plain = given.plain(phases)
    if plain is None:
        return given.epsilon_upper(phases, log_delta)
    return certify.quick_estimate(plain, log_delta)


def estimated_log_delta(phases: Phases, epsilon: Array) -> Array:
    plain = given.plain(phases)
    return given.log_delta_upper(phases, epsilon) if plain is None else _estimate(plain, epsilon)


def _estimate(phases: given.Plain, epsilon: Array) -> Array:
    try:
        return np.asarray(exact.log_delta_estimate(phases, epsilon))
    except exact.ExactEngineError:
        return certify.log_delta_upper(phases, epsilon=epsilon, tolerance=1e-2)


def certified(phases: Phases, log_delta: float, method: str, tolerance: float) -> float:
    plain = given.plain(phases)
    if plain is None:
        given.refuse_other_than_pld(method)
        best = given.epsilon_upper(phases, log_delta)
        known = given.in_a_known_order(phases, best)
        if known is not None:
            best = min(best, certify.epsilon_upper(known, log_delta=log_delta).value)
        return best
    if method == "exact":
        return float(exact.epsilon_upper(plain, np.array(log_delta)))
    return certify.epsilon_upper(plain, log_delta=log_delta, tolerance=tolerance).value


def exact_log_delta(phases: Phases, epsilon: Array) -> Array:
    plain = given.plain(phases)
    if plain is None:
        raise given.refuse_other_than_pld("exact")
    return exact.log_delta_upper(plain, epsilon)


def certified_log_delta(phases: Phases, epsilon: Array) -> Array:
    plain = given.plain(phases)
    if plain is None:
        return given.log_delta_upper(phases, epsilon)
    return _composed_log_delta(plain, epsilon)


def _composed_log_delta(phases: given.Plain, epsilon: Array) -> Array:
    logs = rdp.log_delta(phases, epsilon)
    # What is below every float anyway need not be composed.
    near = logs > _LEAST_LOG
    if np.any(near):
        logs[near] = np.minimum(logs[near], certify.log_delta_upper(phases, epsilon=epsilon[near]))
    return logs
