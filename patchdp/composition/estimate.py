"""About the exact value, in milliseconds: to steer searches and to draw plots. Certifies nothing.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
>>> round(estimate_epsilon([(step, 1500)], math.log(1e-5)), 3)
6.719
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition import closed_form, extremes
from patchdp.composition.given import AnyRun, by_pairs
from patchdp.composition.prove import (
    ENOUGH,
    LOUD,
    Proof,
    loudest,
    participations,
    prove_epsilon,
    prove_log_delta,
)
from patchdp.composition.transform import estimates
from patchdp.composition.transform.law import Run

__all__ = ["estimate_epsilon", "estimate_epsilons", "estimate_log_delta", "estimated_proof"]

Array = npt.NDArray[np.float64]


def estimate_epsilon(run: AnyRun, log_delta: float) -> float:
    """About the exact epsilon, in milliseconds."""
    return float(estimate_epsilons([run], np.array([log_delta]))[0])


def estimate_epsilons(runs: Sequence[AnyRun], log_delta: Array) -> Array:
    """About the exact epsilon of many runs, those with equally many kinds of steps at once.

    Args:
      runs: Steps and how often each is applied, of each run.
      log_delta: One for each run.
    """
    result = np.full(len(runs), np.nan)
    groups: dict[int, list[tuple[int, Run]]] = {}
    for i, run in enumerate(runs):
        goal = float(log_delta[i])
        if not by_pairs(run):
            continue
        profile = closed_form.profile_of(run)
        if extremes.is_loud(run):
            result[i] = extremes.epsilon_upper(run, goal)
        elif profile is not None:
            result[i] = closed_form.epsilon_estimates(profile, np.array([goal]))[0]
        elif closed_form.vanishes(run, goal):
            result[i] = 0.0
        elif participations(run) >= ENOUGH and loudest(run) <= LOUD:
            groups.setdefault(len(run), []).append((i, run))
    for found in groups.values():
        members = [i for i, _ in found]
        result[members] = estimates.epsilons([run for _, run in found], log_delta[members])
    for i in map(int, np.flatnonzero(np.isnan(result))):
        proof = prove_epsilon(runs[i], float(log_delta[i]))
        result[i] = 0.5 * (proof.lower + proof.upper) if proof.tight else proof.upper
    return result


def estimated_proof(run: AnyRun, log_delta: float) -> Proof:
    """The estimate in the shape of a proof, which it is not."""
    value = estimate_epsilon(run, log_delta)
    return Proof(value, value, "exact", True)


def estimate_log_delta(run: AnyRun, epsilon: Array) -> Array:
    """About log delta at each epsilon of a flat array."""
    if not by_pairs(run):
        return prove_log_delta(run, epsilon)
    if extremes.is_loud(run) or extremes.is_quiet(run):
        return extremes.log_delta_upper(run, epsilon)
    profile = closed_form.profile_of(run)
    if profile is not None:
        return np.asarray(profile.log_delta(epsilon))
    found = np.full(epsilon.shape, np.nan)
    if participations(run) >= ENOUGH and loudest(run) <= LOUD:
        found = estimates.log_deltas(run, epsilon)
    rest = np.isnan(found)
    if np.any(rest):
        found[rest] = prove_log_delta(run, epsilon[rest], tolerance=1e-2)
    return found
