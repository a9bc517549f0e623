"""One epoch in which every image takes part in one uniformly random step.

>>> from fractions import Fraction
>>> epoch = AllocationProfile(inclusion=Fraction(2, 5), mu=0.7, rounds=2)
>>> bool(0.080813 < epoch.delta(np.array([0.3]))[0] < 0.0809)
True

Source: `docs/theory/allocation.md`, "One epoch".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.step.allocation_lower import attained
from patchdp.step.allocation_upper import Accuracy, upper_bounds
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import fixed_size_pair

__all__ = ["MOST_ROUNDS", "AllocationProfile"]

Array = npt.NDArray[np.float64]

# Epochs of more steps, or of so many that one term hides the others, are accounted as this many:
# `h` falls with the number of steps.
MOST_ROUNDS = 1 << 20
_LITTLE_NOISE = 1.5
_MOST_WITH_LITTLE_NOISE = 1 << 10
_HARDLY_ANY_NOISE = 5.0


@dataclass(frozen=True)
class AllocationProfile:
    """The symmetric patch-level profile of one epoch under random allocation.

    >>> AllocationProfile(inclusion=Fraction(1, 2), mu=1.0, rounds=15).shuffle.gains
    (0.5,)

    Args:
      inclusion: Chance in (0, 1] that the crop shows the patch.
      mu: `1/noise_multiplier`.
      rounds: Steps of the epoch.

    Source: `docs/theory/allocation.md`, "One epoch" (Theorem 37).
    """

    inclusion: Fraction
    mu: float
    rounds: int

    def __post_init__(self) -> None:
        inclusion = _checks.probability("inclusion", self.inclusion)
        object.__setattr__(self, "inclusion", inclusion)
        object.__setattr__(self, "mu", _checks.positive("mu", self.mu, up=True))
        object.__setattr__(self, "rounds", _checks.count("rounds", self.rounds))

    @property
    def shuffle(self) -> MixturePair:
        """The pair of an epoch in a known order, which bounds this one."""
        return fixed_size_pair(rate=self.inclusion, mu=self.mu)

    @property
    def accounted_rounds(self) -> int:
        """The steps the epoch is accounted with: fewer than it has where those are too many.

        Where that is 1, with hardly any noise, an epoch in a known order stands in.
        """
        if self.mu > _HARDLY_ANY_NOISE:
            return 1
        most = MOST_ROUNDS if self.mu <= _LITTLE_NOISE else _MOST_WITH_LITTLE_NOISE
        return min(self.rounds, most)

    def multiples(self, epsilon: Array) -> Array:
        """`1 + (e^epsilon - 1) / p`, rounded down: `h` falls with it."""
        with np.errstate(over="ignore"):
            grown = np.expm1(epsilon) * (1 - 1e-15) / _checks.round_up(self.inclusion)
        return np.asarray(np.minimum(1 + grown, 1e9) * (1 - 4e-16)).clip(1.0)

    def delta(self, epsilon: npt.ArrayLike, accuracy: Accuracy | None = None) -> Array:
        """Upper bounds of delta at each `epsilon >= 0`; never above those of a known order."""
        eps = np.asarray(epsilon, dtype=np.float64)
        flat = np.ravel(eps)
        with np.errstate(divide="ignore"):
            known = np.exp(self.shuffle.log_delta(flat)) * (1 + 1e-12)
        rounds = self.accounted_rounds
        if rounds == 1:
            return np.asarray(known.reshape(eps.shape))
        p = _checks.round_up(self.inclusion)
        found = upper_bounds(
            mu=self.mu, rounds=rounds, multiples=self.multiples(flat), accuracy=accuracy
        )
        return np.asarray(np.minimum(p * found * (1 + 1e-15), known).reshape(eps.shape))

    def tests(self, epsilon: Array) -> tuple[Array, Array]:
        """Two rates of a test at each epsilon: says "before" if it is so, says it if it is not.

        The first are lower bounds and the second upper bounds, for an image that is always shown.
        """
        return attained(mu=self.mu, rounds=self.rounds, multiples=self.multiples(epsilon))

    @property
    def scale(self) -> float:
        """Roughly the loss of an ordinary epoch."""
        deviation = math.sqrt(2 * math.expm1(min(self.mu**2, 700.0)) / self.rounds)
        return math.log1p(float(self.inclusion) * min(deviation, 4.0))
