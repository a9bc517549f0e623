"""The default engine: choose a grid, compose on it, and return a number that is proved.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> certificate = epsilon_upper([(step, 1)], log_delta=math.log(1e-5))
>>> certificate.engine, round(certificate.value, 2)
('dp-accounting', 4.38)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

from patchdp.composition import pld, tilted
from patchdp.composition.masses import LossMasses, largest_loss, loss_masses
from patchdp.step.moments import log_mgf
from patchdp.step.profile import StepProfile

__all__ = ["Certificate", "Phases", "discretise", "epsilon_upper", "log_delta_upper"]

Phases = Sequence[tuple[StepProfile, int]]

# Google's engine composes when its rounding is at most this fraction of delta.
_NEGLIGIBLE = 2e-4
# ... and when its grid, which is not aimed at delta, stays small.
_MODERATE = 1 << 20
# Mass that may go to infinity, as a logarithm relative to delta (6e-6).
_GIVEN_AWAY = 12.0


@dataclass(frozen=True)
class Certificate:
    """A certified number and how it was obtained.

    >>> Certificate(3.7, "tilted", 1e-3, 4000).value
    3.7

    Args:
      value: An upper bound.
      engine: Which composition proved it: `"dp-accounting"` or `"tilted"`.
      interval: Spacing of the loss grid.
      points: Grid points of one discretised step.
      sharp: Whether the bounds of rounding and of tails in it are small beside delta.
    """

    value: float
    engine: str
    interval: float
    points: int
    sharp: bool = True


def _masses(phases: Phases, interval: float, log_delta: float) -> list[tuple[LossMasses, int]]:
    log_tail = log_delta - math.log(sum(count for _, count in phases)) - _GIVEN_AWAY
    # Three standard deviations further: where one step decides delta alone, its tilted law must
    # not run into the end of the grid.
    log_tail = -0.5 * (math.sqrt(-2.0 * log_tail) + 3.0) ** 2
    return [(loss_masses(p, interval=interval, log_tail=log_tail), count) for p, count in phases]


def discretise(
    phases: Phases,
    *,
    tolerance: float,
    log_delta: float | None = None,
    epsilon: float | None = None,
    coarsest: float = math.inf,
) -> tuple[list[tuple[LossMasses, int]], float, float]:
    """The coarsest masses whose rounding costs at most `tolerance`, and a good tilt.

    Rounding a loss to the grid raises `log E[e^{tL}]`; at the tilt `t` of the question, log delta
    pays that rise and epsilon the rise over `t`. Returns the masses, the tilt and the log of the
    delta in question (an estimate where epsilon is given).

    Args:
      phases: Steps and counts.
      tolerance: Allowed excess, relative to epsilon or, where epsilon is given, to delta.
      log_delta, epsilon: The question, one of the two.
      coarsest: Largest interval to try.
    """
    goal = log_delta if log_delta is not None else -_GIVEN_AWAY
    largest = max(largest_loss(p, goal - math.log(n) - _GIVEN_AWAY) for p, n in phases)
    interval = min(largest / 64, coarsest)
    while largest / interval < tilted.MAX_POINTS / 4:
        masses = _masses(phases, interval, goal)
        tilt = tilted.saddle(masses, log_delta=log_delta, epsilon=epsilon)
        if tilt * interval > 2.0:  # far too coarse to aim a tilt: one point would carry all mass
            interval *= 0.5
            continue
        at, estimate, _ = tilted.log_delta_at(masses, tilt)
        if epsilon is not None and not goal - 60.0 < estimate - 1.0 < goal + 2.0:
            goal = estimate - 2.0  # the tails were cut for another delta
            continue
        # Compared up to the end of the grid: what lies beyond would hide the rise.
        rise = sum(
            max(m.log_mgf(tilt) - log_mgf(p, tilt, top=m.interval * (m.size - 1)), 0.0) * n
            for (m, n), (p, _) in zip(masses, phases, strict=True)
        )
        # At epsilon near 0 what counts is delta itself.
        wanted = tolerance if epsilon is not None else tolerance * max(tilt * at, 1.0)
        if rise <= wanted:
            return masses, tilt, goal
        interval *= min(max(0.9 * math.sqrt(wanted / rise), 1 / 64), 0.9)
    raise tilted.GridTooLarge(
        f"no grid of at most {tilted.MAX_POINTS} points reaches relative tolerance {tolerance:.3g}"
    )


def _google(
    masses: list[tuple[LossMasses, int]], log_delta: float
) -> tuple[PrivacyLossDistribution, float] | None:
    """Google's composition and its error bound, where that is small against delta."""
    if len(masses) != 1 or log_delta < math.log(1e-13):
        return None
    (step, count), delta = masses[0], math.exp(log_delta)
    if count * tilted.fft_unit(step.size) * 2 > _NEGLIGIBLE * delta or step.size > _MODERATE // 8:
        return None
    points = pld.composed_size(step, count) if count > 1 else 2 * step.size - 1
    if points > _MODERATE:
        return None
    bound = pld.rounding_bound(step, count, points)
    if bound > _NEGLIGIBLE * delta:
        return None
    return pld.privacy_loss_distribution(masses), bound


def _round_up(value: float) -> float:
    return (
        value if value == 0 or math.isinf(value) else math.nextafter(value * (1 + 1e-14), math.inf)
    )


def _epsilon(phases: Phases, log_delta: float, tolerance: float, coarsest: float) -> Certificate:
    masses, tilt, goal = discretise(
        phases, tolerance=tolerance, log_delta=log_delta, coarsest=coarsest
    )
    size, interval = max(m.size for m, _ in masses), masses[0][0].interval
    google = _google(masses, log_delta)
    if google is not None:
        distribution, bound = google
        value = distribution.get_epsilon_for_delta(math.exp(log_delta) * (1 - 1e-14) - bound)
        return Certificate(_round_up(float(value)), "dp-accounting", interval, size)
    composed = tilted.compose(masses, tilt=tilt, log_target=goal)
    value = composed.epsilon_upper(log_delta)
    sharp = math.isfinite(value) and composed.log_delta_sharpness(value)[1]
    return Certificate(_round_up(value), "tilted", interval, size, sharp)


def epsilon_upper(
    phases: Phases, *, log_delta: float, tolerance: float = 1e-3, reference: float | None = None
) -> Certificate:
    """A certified epsilon at `log_delta`.

    >>> import math
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
    >>> 6.6 < epsilon_upper([(step, 1500)], log_delta=math.log(1e-5)).value < 6.8
    True

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
      tolerance: Excess allowed over the exact value, relative to it.
      reference: An estimate of the exact value; without one, grids are halved until two agree.

    Raises:
      GridTooLarge: No grid within the memory cap reaches the tolerance.
    """
    # A quarter of it is spent on the grid at first: what is left absorbs the other bounds.
    spent = tolerance / 4
    previous = coarsest = math.inf
    while True:
        try:
            found = _epsilon(phases, log_delta, spent, coarsest)
        except tilted.GridTooLarge as error:
            hint = "" if reference is None else f"; the exact value is about {reference:.8g}"
            raise tilted.GridTooLarge(f"{error}{hint}") from None
        goal = reference if reference is not None else found.value - (previous - found.value) / 3
        if found.value <= max(goal * (1 + tolerance), 1e-12):
            return found
        # Halving the interval leaves a quarter of its cost. What does not shrink is not the grid's.
        if math.isfinite(previous) and previous - found.value < 0.1 * (previous - goal):
            if found.sharp:
                return found  # settled, and not by rounding: it is the reference that is off
            raise tilted.GridTooLarge(
                f"rounding of the composition keeps the certified epsilon at {found.value:.8g}, "
                f"more than {tolerance:g} above the exact value of about {goal:.8g}; "
                "ask for a larger tolerance"
            )
        # The estimate of the cost is that of a saddle point. Where it is off, what was found says
        # by how much: the excess falls with the square of the interval.
        shrink = 0.5
        if reference is not None and reference > 0:
            shrink = min(0.8 * math.sqrt(tolerance / (found.value / reference - 1)), 0.5)
        previous, spent, coarsest = found.value, spent / 4, found.interval * max(shrink, 1 / 8)


def _compose_towards(phases: Phases, epsilon: float, tolerance: float) -> tilted.ComposedMasses:
    """A composition tilted towards `epsilon`, on a grid whose halving no longer changes delta."""
    coarsest, previous = math.inf, math.inf
    for _ in range(8):
        masses, tilt, goal = discretise(
            phases, tolerance=tolerance, epsilon=epsilon, coarsest=coarsest
        )
        composed = tilted.compose(masses, tilt=tilt, log_target=goal)
        found = composed.log_delta_upper(epsilon)
        # Halving takes three quarters of the excess away: a third of the change is left.
        if previous - found <= 3 * tolerance:
            break
        coarsest, previous = composed.interval / 2, found
    return composed


def log_delta_upper(
    phases: Phases, *, epsilon: npt.NDArray[np.float64], tolerance: float = 1e-3
) -> npt.NDArray[np.float64]:
    """Logs of certified deltas at each `epsilon >= 0`.

    One composition is tilted towards one epsilon and stays sharp for those around it; others are
    added until every epsilon has a sharp bound.

    Args:
      phases: Steps and how often each is applied.
      epsilon: Array of epsilons of any shape.
      tolerance: As in `epsilon_upper`.
    """
    flat = np.ravel(epsilon)
    best = np.zeros(flat.shape)
    order = list(np.argsort(flat))
    while order:
        pivot = order[len(order) // 2]
        composed = _compose_towards(phases, float(flat[pivot]), tolerance)
        left = []
        for i in order:
            value, sharp = composed.log_delta_sharpness(float(flat[i]))
            best[i] = min(best[i], value)
            if not sharp and i != pivot:
                left.append(i)
        order = left
    return best.reshape(np.shape(epsilon))
