"""Google's PLD engine, fed with the stable masses, and a bound of what its FFT may lose.

>>> from patchdp.composition.masses import loss_masses
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> pld = privacy_loss_distribution([(loss_masses(step, interval=1e-3, log_tail=-60.0), 1)])
>>> round(float(pld.get_delta_for_epsilon(1.0)), 4)
0.1269
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from dp_accounting.pld import common, pld_pmf
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from scipy import fft

from patchdp import _checks
from patchdp.composition.masses import LossMasses
from patchdp.composition.tilted import MAX_POINTS, GridTooLarge, fft_unit

__all__ = [
    "TAIL",
    "check_size",
    "composed_size",
    "grid_spacing",
    "privacy_loss_distribution",
    "rounding_bound",
]

# Mass that Google's composition may cut off and send to infinity.
TAIL = 1e-15
_UNIT = 2.0**-53
# Exponentials of a loss stay floats.
_COARSEST = 500.0


def _pmf(masses: LossMasses) -> pld_pmf.DensePLDPmf:
    probabilities, infinity = masses.linear()
    return pld_pmf.DensePLDPmf(
        masses.interval, -(masses.size - 1), probabilities, infinity, pessimistic_estimate=True
    )


def privacy_loss_distribution(phases: Sequence[tuple[LossMasses, int]]) -> PrivacyLossDistribution:
    """Compose discretised steps with dp-accounting's own classes.

    >>> from patchdp.composition.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
    >>> masses = loss_masses(step, interval=1e-3, log_tail=-60.0)
    >>> type(privacy_loss_distribution([(masses, 10)])).__name__
    'PrivacyLossDistribution'

    Args:
      phases: Discretised steps with one interval, and how often each is applied.

    Source: `docs/theory.md`, "Google's engine" (Theorem 22).
    """
    total: PrivacyLossDistribution | None = None
    for masses, count in phases:
        check_size(masses, count)
        one = PrivacyLossDistribution(_pmf(masses))
        run = one.self_compose(count, TAIL) if count > 1 else one
        total = run if total is None else total.compose(run, TAIL)
    if total is None:
        raise ValueError("a composition needs at least one phase")
    return total


def grid_spacing(interval: object) -> float:
    """The spacing of a grid of losses, as it is given."""
    width = _checks.positive("interval", interval)
    if width > _COARSEST:
        raise ValueError(f"interval must be at most {_COARSEST:g}, got {_checks.shown(interval)}")
    return width


def check_size(masses: LossMasses, count: int) -> None:
    """Refuse a composition that would need more grid points than fit the memory cap."""
    points = composed_size(masses, count) if count > 1 else masses.size
    if points > MAX_POINTS:
        raise GridTooLarge(
            f"a distribution of {count} steps needs {points} grid points, at most {MAX_POINTS} are "
            "allowed; take fewer steps or a larger interval"
        )


def composed_size(masses: LossMasses, count: int) -> int:
    """Number of grid points that Google's engine will use for `count` steps."""
    probabilities, _ = masses.linear()
    low, high = common.compute_self_convolve_bounds(probabilities, count, TAIL)
    return max(int(high - low) + 1, len(probabilities))


def rounding_bound(masses: LossMasses, count: int, points: int) -> float:
    """Bound on the absolute error of delta that the FFT composition of `count` steps makes.

    The argument is that of `tilted.compose` at tilt 0, with weights `1 - e^{eps - l}` of Euclidean
    norm at most `sqrt(points)`. Source: `docs/theory.md`, "Rounding of the FFT".
    """
    probabilities, _ = masses.linear()
    length = fft.next_fast_len(points)
    modulus = np.abs(fft.rfft(probabilities, length))
    # numpy raises complex numbers to a power through exp(n log z): 16 units per step cover it.
    per_step = fft_unit(length) + 16 * _UNIT
    growth = math.exp(2 * per_step * count)
    raised = np.where(modulus > 0.5, np.power(np.maximum(modulus, 0.5), count - 1), 0.0)
    floor = (0.5 + per_step) ** min(count - 1, 2000)
    weight = np.full(len(modulus), 2.0)
    weight[0] = 1.0
    spectrum = count * per_step * growth * (raised + floor)
    error = math.sqrt(float(weight @ np.square(spectrum)))
    error += fft_unit(length) * math.sqrt(float(weight @ np.square(raised + floor)))
    # Losses that are off by a share of their size shift epsilon by that share of their sum.
    error += 2 * count * masses.loss_rounding * float(probabilities @ np.abs(masses.losses))
    # Masses are known up to `rounding` each, and sum to 1. The engine cuts off TAIL, and reads a
    # number off by adding up P-masses and Q-masses one by one.
    return error + math.expm1(count * masses.rounding) + TAIL + 2 * points * _UNIT
