"""Composition of Gaussian steps with steps of pure differential privacy, certified.

>>> import math
>>> from fractions import Fraction
>>> from patchdp.interop.dp_accounting.pure import LaplaceStep
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> release = LaplaceStep(distance=0.1, rate=Fraction(1))
>>> both = epsilon_upper([(gaussian, 1), (release, 1)], log_delta=math.log(1e-5), tolerance=1e-3)
>>> round(both, 2)
4.4
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition import prove
from patchdp.composition.grid.cells import largest_loss
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.grid.masses import LossMasses, loss_masses
from patchdp.composition.grid.prove import epsilon_of, log_delta_of
from patchdp.interop.dp_accounting.pure import PureStep, RevealingStep
from patchdp.step.profile import StepProfile

__all__ = ["Leaf", "epsilon_upper", "is_loud", "log_delta_upper"]

Leaf = StepProfile | PureStep
Leaves = Sequence[tuple[Leaf, int]]
Array = npt.NDArray[np.float64]

# Steps whose sensitivity exceeds this many noise standard deviations get a closed formula: their
# epsilons are in the hundreds and their losses need grids that are too large.
_LOUD = 25.0
# Mass that may go to infinity, as a logarithm relative to delta.
_GIVEN_AWAY = 14.0


def _discretise(leaves: Leaves, interval: float, log_tail: float) -> list[tuple[LossMasses, int]]:
    return [
        (
            loss_masses(leaf, interval=interval, log_tail=log_tail)
            if isinstance(leaf, StepProfile)
            else leaf.masses(interval),
            count,
        )
        for leaf, count in leaves
    ]


def _start(leaves: Leaves, log_tail: float) -> float:
    """A first grid spacing: 1/128 of the largest loss of any step."""
    tops = [
        largest_loss(leaf, log_tail) if isinstance(leaf, StepProfile) else leaf.largest_loss
        for leaf, _ in leaves
    ]
    finite = [top for top in tops if 0 < top < math.inf]
    return max(finite, default=1.0) / 128


def _profiles(leaves: Leaves) -> list[tuple[StepProfile, int]] | None:
    chosen = [(leaf, count) for leaf, count in leaves if isinstance(leaf, StepProfile)]
    return chosen if len(chosen) == len(leaves) else None


def is_loud(leaves: Leaves) -> bool:
    """Whether some step has so little noise that only a crude bound is worth its while."""
    return any(
        max(pair.shifts) > _LOUD
        for leaf, _ in leaves
        if isinstance(leaf, StepProfile)
        for _, pair in leaf.parts
    )


def _crude(leaves: Leaves) -> tuple[float, float, float]:
    """Distance of one Gaussian that covers all, epsilon of the pure steps, mass revealed.

    No step is worse than its unamplified Gaussian; pure steps compose beside it by adding up.
    """
    squares, pure, revealed = 0.0, 0.0, 0.0
    for leaf, count in leaves:
        if isinstance(leaf, StepProfile):
            squares += count * max(2 * max(pair.shifts) for _, pair in leaf.parts) ** 2
        elif isinstance(leaf, RevealingStep):
            revealed += count * leaf.probability
        else:
            pure += count * leaf.largest_loss
    return math.sqrt(squares) * (1 + 1e-12), pure * (1 + 1e-12), revealed


def _crude_epsilon(leaves: Leaves, log_delta: float) -> float:
    distance, pure, revealed = _crude(leaves)
    left = math.exp(log_delta) - revealed
    if left <= 0:
        return math.inf
    # delta <= Pr(N > eps/D - D/2) <= exp(-(eps/D - D/2)^2 / 2) / 2 to the right of D^2/2.
    tail = math.sqrt(max(-2 * (math.log(left) + math.log(2)), 0.0))
    return (pure + distance * (0.5 * distance + tail)) * (1 + 1e-12)


def _crude_log_delta(leaves: Leaves, epsilon: float) -> float:
    distance, pure, revealed = _crude(leaves)
    place = (epsilon - pure) / distance - 0.5 * distance
    if place <= 0:
        return 0.0
    inside = -0.5 * place**2 * (1 - 1e-12) - math.log(2)
    return float(np.logaddexp(inside, math.log(revealed) if revealed > 0 else -math.inf))


def _pure_epsilon(leaves: Leaves) -> float:
    """The epsilon at delta 0: infinity unless every step is pure."""
    total = 0.0
    for leaf, count in leaves:
        total += math.inf if isinstance(leaf, StepProfile) else count * leaf.largest_loss
    return total * (1 + 4e-16 * len(leaves))


def epsilon_upper(leaves: Leaves, *, log_delta: float, tolerance: float) -> float:
    """A certified epsilon at `log_delta` (minus infinity: pure differential privacy).

    >>> from fractions import Fraction
    >>> from patchdp.interop.dp_accounting.pure import LaplaceStep
    >>> one = LaplaceStep(distance=0.5, rate=Fraction(1))
    >>> round(epsilon_upper([(one, 3)], log_delta=-math.inf, tolerance=1e-3), 12)
    1.5

    Args:
      leaves: Steps and how often each is applied.
      log_delta: Natural logarithm of delta.
      tolerance: Excess over the value on an infinitely fine grid that is aimed at, relative.

    Raises:
      GridTooLarge: No grid within the memory cap is fine enough.
    """
    pure = _pure_epsilon(leaves)
    if math.isinf(log_delta) or not leaves:
        return pure
    if is_loud(leaves):
        return min(_crude_epsilon(leaves, log_delta), pure)
    profiles = _profiles(leaves)
    if profiles is not None:
        return prove.prove_epsilon(profiles, log_delta, tolerance).upper
    log_tail = log_delta - math.log(sum(count for _, count in leaves)) - _GIVEN_AWAY
    interval, previous, close = _start(leaves, log_tail), math.inf, 0
    while True:
        try:
            masses = _discretise(leaves, interval, log_tail)
            found = min(epsilon_of(masses, log_delta) * (1 + 1e-14), pure)
        except GridTooLarge:
            if math.isinf(min(previous, pure)):
                raise
            return min(previous, pure)
        # Halving the interval leaves a quarter of its cost; twice, lest two agree by chance.
        close = close + 1 if previous - found <= 2 * tolerance * found else 0
        best = min(found, previous)
        if close == 2 or best == 0:
            return best
        previous, interval = best, interval / 2


def log_delta_upper(leaves: Leaves, *, epsilon: float, tolerance: float) -> float:
    """Log of a certified delta at `epsilon >= 0`.

    >>> from fractions import Fraction
    >>> from patchdp.interop.dp_accounting.pure import LaplaceStep
    >>> one = LaplaceStep(distance=0.5, rate=Fraction(1))
    >>> log_delta_upper([(one, 3)], epsilon=1.6, tolerance=1e-3)
    -inf

    Args:
      leaves: Steps and how often each is applied.
      epsilon: At least 0, finite.
      tolerance: As in `epsilon_upper`, of delta.
    """
    if not leaves or epsilon >= _pure_epsilon(leaves):
        return -math.inf
    if is_loud(leaves):
        return _crude_log_delta(leaves, epsilon)
    profiles = _profiles(leaves)
    if profiles is not None:
        at = np.array([epsilon])
        return float(prove.prove_log_delta(profiles, at, tolerance)[0])
    goal = -_GIVEN_AWAY
    interval, previous, close = _start(leaves, goal - _GIVEN_AWAY), 0.0, 0
    while True:
        log_tail = goal - math.log(sum(count for _, count in leaves)) - _GIVEN_AWAY
        try:
            masses = _discretise(leaves, interval, log_tail)
            found = log_delta_of(masses, epsilon, goal)
        except GridTooLarge:
            if previous == 0:
                raise
            return previous
        if found < goal + 2.0 and goal > -600.0:  # tails were cut for a larger delta
            goal = max(found - 4.0, 2 * goal)
            continue
        close = close + 1 if previous - found <= 2 * tolerance else 0
        best = min(found, previous)
        if close == 2:
            return best
        previous, interval = best, interval / 2
