"""Google's PLD engine, fed with the stable masses, and a bound of what its FFT may lose.

>>> from patchdp.composition.grid.masses import loss_masses
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
from patchdp.composition import prove
from patchdp.composition.certificate import Refused
from patchdp.composition.grid.cells import largest_loss
from patchdp.composition.grid.fft import GridTooLarge, fft_unit
from patchdp.composition.grid.masses import LossMasses, loss_masses
from patchdp.composition.numeric import UNIT, round_up
from patchdp.composition.transform.law import Run

__all__ = [
    "TAIL",
    "check_size",
    "composed_size",
    "distribution",
    "epsilon",
    "grid_spacing",
    "privacy_loss_distribution",
    "rounding_bound",
]

# Mass that Google's composition may cut off and send to infinity.
TAIL = 1e-15
# Points of the largest distribution that is handed out: 128 MB for its masses.
_LARGEST = 1 << 24
# Exponentials of a loss stay floats.
_COARSEST = 500.0
# The engine's rounding must be at most this fraction of delta.
_NEGLIGIBLE = 2e-4
# Points of the largest distribution that is handed to the engine.
_MOST_POINTS = 1 << 21


def _pmf(masses: LossMasses) -> pld_pmf.DensePLDPmf:
    probabilities, infinity = masses.linear()
    return pld_pmf.DensePLDPmf(
        masses.interval, -(masses.size - 1), probabilities, infinity, pessimistic_estimate=True
    )


def privacy_loss_distribution(phases: Sequence[tuple[LossMasses, int]]) -> PrivacyLossDistribution:
    """Compose discretised steps with dp-accounting's own classes.

    >>> from patchdp.composition.grid.masses import loss_masses
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


def check_size(masses: LossMasses, count: int) -> None:
    """Refuse a composition that would need more grid points than fit the memory cap."""
    points = composed_size(masses, count) if count > 1 else masses.size
    if points > _LARGEST:
        raise GridTooLarge(
            f"a distribution of {count} steps needs {points} grid points, at most {_LARGEST} are "
            "allowed; take fewer steps or a larger interval"
        )


def grid_spacing(interval: object) -> float:
    """The spacing of a grid of losses, as it is given."""
    width = _checks.positive("interval", interval)
    if width > _COARSEST:
        raise ValueError(f"interval must be at most {_COARSEST:g}, got {_checks.shown(interval)}")
    return width


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
    per_step = fft_unit(length) + 16 * UNIT
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
    return error + math.expm1(count * masses.rounding) + TAIL + 2 * points * UNIT


def _masses(run: Run, interval: float, log_delta: float) -> list[tuple[LossMasses, int]]:
    log_tail = log_delta - math.log(sum(count for _, count in run)) - 12.0
    return [(loss_masses(step, interval=interval, log_tail=log_tail), n) for step, n in run]


def _finest(run: Run, log_delta: float) -> float:
    """The finest interval on which no step needs more points than the engine is given."""
    log_tail = log_delta - math.log(sum(count for _, count in run)) - 12.0
    return 8 * max(largest_loss(step, log_tail) for step, _ in run) / _MOST_POINTS


def distribution(
    run: Run, log_delta: float, interval: float | None = None, tolerance: float = 1e-3
) -> PrivacyLossDistribution:
    """A run as a distribution of dp-accounting, whose epsilon is close to the exact one.

    Args:
      run: Steps and how often each is applied.
      log_delta: Log of the smallest delta that will be asked of it.
      interval: Grid spacing; chosen where left out.
      tolerance: How far above the exact epsilon its own may lie, where rounding allows.
    """
    if interval is not None:
        return privacy_loss_distribution(_masses(run, interval, log_delta))
    exact, least = prove.prove_epsilon(run, log_delta).upper, _finest(run, log_delta)
    width = max(math.sqrt(tolerance) * exact / 8, least)
    last = math.inf
    while True:
        found = privacy_loss_distribution(_masses(run, width, log_delta))
        value = float(found.get_epsilon_for_delta(math.exp(log_delta)))
        # What a coarse grid costs falls with the square of its interval, up to rounding.
        if value <= (1 + tolerance) * exact + 1e-8 or not value < last or width <= least:
            return found
        last, width = value, max(0.5 * width, least)


def epsilon(run: Run, log_delta: float, tolerance: float) -> prove.Proof:
    """The engine's epsilon at delta less a proved bound of its rounding.

    Args:
      run: Steps and how often each is applied.
      log_delta: Natural logarithm of delta.
      tolerance: How far above the exact value it may lie, relative to it.

    Raises:
      Refused: The bound is not small beside delta, or no grid within the engine's size is fine
        enough; the message names what `"auto"` proves.

    Source: `docs/theory.md`, "Google's engine" (Theorem 22).
    """
    other = prove.prove_epsilon(run, log_delta)

    def refused(why: str) -> Refused:
        return Refused(f"method pld: {why}; method 'auto' proves epsilon {other.upper:.6g}")

    if len(run) > 1:
        raise refused("the rounding of dp-accounting's engine is bounded for one phase only")
    count, delta = run[0][1], math.exp(log_delta)
    width = max(math.sqrt(tolerance) * other.upper / 4, _finest(run, log_delta))
    for _ in range(12):
        masses = _masses(run, width, log_delta)[0][0]
        points = composed_size(masses, count) if count > 1 else 2 * masses.size - 1
        if points > _MOST_POINTS:
            raise refused(f"its composition would need {points} grid points")
        bound = rounding_bound(masses, count, points)
        if not bound <= _NEGLIGIBLE * delta:
            raise refused(f"the rounding of dp-accounting's engine may reach {bound:.2g}")
        found = privacy_loss_distribution([(masses, count)])
        value = float(found.get_epsilon_for_delta(delta * (1 - 1e-14) - bound))
        if value <= (1 + tolerance) * other.upper + 1e-8:
            return prove.Proof(0.0, round_up(value), "pld", True)
        width *= 0.5
    raise refused(f"no grid of it comes within tolerance {tolerance:g}")
