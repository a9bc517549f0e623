"""Lattice, tilts and effort of a run: what steers it and certifies nothing.

>>> from patchdp.composition.adaptive.steps import OptimalStep
>>> step = OptimalStep("fixed", rate=0.1, inclusion=0.5, mu=0.5)
>>> settings([(step, 100)], math.log(1e-5)).plan.lattice.size
2000
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.phase import Plan, laws_of
from patchdp.composition.adaptive.steps import Steps
from patchdp.composition.adaptive.upper import WIDEST
from patchdp.step.moments import log_mgf

__all__ = ["WORK", "Settings", "WorkExceeded", "settings"]

# Lattice points times blocks times cells that one answer may take.
WORK = 1_000_000_000
_POINTS, _DEVIATIONS = 1600, 200
_MOST_LOSS = 450.0
# Losses this unlikely, relative to delta, may count as certain failure.
_GIVEN_AWAY, _BEYOND = 8.0, 10.0


class WorkExceeded(ValueError):
    """The run is too large for optimal composition; the composed bound holds as well."""


@dataclass(frozen=True)
class Settings:
    """How a run is gone through.

    Args:
      plan: What all steps share.
      growth: Blocks are at most this share of the steps behind them.
      tolerance: Rough share that the cover of all triangles may add to the gains.
      cells: Most cells of a cover.
    """

    plan: Plan
    growth: float = 0.2
    tolerance: float = 1.5e-3
    cells: int = 150


def chernoff(steps: Steps, log_delta: float) -> tuple[float, float]:
    """Epsilon of the composed Rényi bound at `log_delta` and the exponent that attains it."""
    best = (math.inf, 1.0)
    for t in np.geomspace(0.02, 2000.0, 48):
        log_m = sum(count * log_mgf(step.symmetric, float(t)) for step, count in steps)
        epsilon = (log_m - log_delta - math.log1p(t)) / t - math.log1p(1 / t)
        if epsilon < best[0]:
            best = (float(epsilon), float(t))
        elif epsilon > 0:
            break  # falls, then rises
    return max(best[0], 0.0), best[1]


def settings(steps: Steps, log_delta: float, effort: float = 1.0) -> Settings:
    """Settings for a target.

    Args:
      steps: Steps and how often each is applied.
      log_delta: Where the profile is to be sharp.
      effort: Scales the lattice and the number of cells.

    Raises:
      WorkExceeded: The losses do not fit the floats.
    """
    total = sum(count for _, count in steps)
    epsilon, exponent = chernoff(steps, log_delta)
    reach, _ = chernoff(steps, log_delta - _BEYOND)
    saddle = exponent + 0.5
    tilt = max(0.7, 0.55 * saddle)
    most = min(_MOST_LOSS, 340 / tilt)  # powers of e with twice these exponents are floats
    if reach > most:
        raise WorkExceeded(
            f"optimal composition takes losses up to {most:.3g} here, but they reach {reach:.4g}; "
            "use method auto"
        )
    log_tail = log_delta - math.log(total) - _GIVEN_AWAY
    variance = 0.0
    for step, count in steps:
        law = laws_of(step, log_tail)["f"]
        weights = law.masses * np.exp((exponent + 0.5) * (law.losses - law.losses[-1]))
        weights /= weights.sum()
        mean = float(weights @ law.losses)
        variance += count * float(weights @ np.square(law.losses - mean))
    deviation = math.sqrt(variance)
    reach = max(reach, 1e-3)
    interval = min(deviation / _DEVIATIONS, reach / _POINTS) / effort
    size = min(math.ceil(reach / interval), int(4 * _POINTS * effort))
    # Two points per unit of loss at least: "Between the points" is proved up to there.
    size = max(size, math.ceil(reach / WIDEST))
    interval = reach / size
    plan = Plan(
        Lattice(interval, size),
        tilt=tilt,
        saddle=max(saddle, 0.6),
        log_tail=log_tail,
        epsilon=epsilon,
        deviation=deviation,
    )
    return Settings(plan, tolerance=1.5e-3 / effort, cells=int(150 * effort))
