"""An accountant of dp-accounting whose neighbouring relation is the replacement of one patch.

>>> import dp_accounting
>>> from patchdp.interop.dp_accounting.events import RandomCropDpEvent
>>> step = RandomCropDpEvent(0.25, dp_accounting.GaussianDpEvent(2.0))
>>> 1.3 < PatchPrivacyAccountant().compose(step).get_epsilon(1e-5) < 1.4
True
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from dp_accounting import dp_event
from dp_accounting.privacy_accountant import NeighboringRelation, PrivacyAccountant

from patchdp import _checks
from patchdp.interop.dp_accounting import mixed
from patchdp.interop.dp_accounting.events import (
    NOT_PRIVATE,
    Cost,
    UnsupportedEvent,
    profile_of_parts,
    walk,
    whole,
)
from patchdp.interop.dp_accounting.mixed import Leaf
from patchdp.interop.dp_accounting.pure import RevealingStep
from patchdp.step import StepProfile, fixed_size_pair

__all__ = ["PatchPrivacyAccountant"]


class PatchPrivacyAccountant(PrivacyAccountant):  # type: ignore[misc]
    """Composes trees of events when one patch of one image is replaced.

    >>> import dp_accounting
    >>> accountant = PatchPrivacyAccountant()
    >>> release = dp_accounting.GaussianDpEvent(20.0)  # of whole images
    >>> steps = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(4.0), 10)
    >>> _ = accountant.compose(release).compose(RandomCropDpEvent(0.1, steps))
    >>> 0.88 < accountant.get_epsilon(1e-5) < 0.89
    True

    Inside `RandomCropDpEvent` every application of a leaf is amplified by the crop, outside none:
    there the whole image counts (replace-one, as everywhere here; noise multipliers are relative to
    the clipping norm and a replacement moves a sum by twice that). Leaves: Gaussian and Laplace,
    plain, Poisson-sampled or sampled without replacement; Gaussian sampled with replacement;
    truncated Poisson-sampled Gaussian; randomised response, plain or sampled without replacement.

    Args:
      tolerance: Excess over the exact value of this analysis that is aimed at, relative.

    Raises:
      ValueError: `tolerance` is not above 0.
    """

    def __init__(self, *, tolerance: float = 1e-3) -> None:
        super().__init__(NeighboringRelation.REPLACE_ONE)
        self._tolerance = _checks.positive("tolerance", tolerance)
        self._private = True
        self._counts: dict[Leaf, int] = {}
        # Gaussians without sampling or crop compose to one at distance 2 sqrt(sum of 1/sigma^2).
        self._gaussian = Fraction(0)

    def _add(self, cost: Cost, count: int) -> None:
        if isinstance(cost, str) or count == 0:
            self._private &= cost != NOT_PRIVATE or count == 0
            return
        for leaf in cost:
            mu = _plain_gaussian(leaf)
            if mu is not None:
                self._gaussian += count * Fraction(mu) ** 2
            else:
                self._counts[leaf] = self._counts.get(leaf, 0) + count

    def _maybe_compose(self, event: dp_event.DpEvent, count: int, do_compose: bool) -> Any:
        costs: list[tuple[Cost, int]] = []
        try:
            times = whole(event, "count", count)
            walk(event, times, None, lambda cost, number: costs.append((cost, number)))
        except UnsupportedEvent as error:
            return self.CompositionErrorDetails(
                invalid_event=error.event, error_message=error.reason
            )
        if do_compose:
            for cost, number in costs:
                self._add(cost, number)
        return None

    @property
    def _leaves(self) -> list[tuple[Leaf, int]]:
        leaves = list(self._counts.items())
        if self._gaussian:
            mu = math.sqrt(self._gaussian) * (1 + 4e-16)
            leaves.append((profile_of_parts((1.0, fixed_size_pair(rate=1, mu=mu))), 1))
        return leaves

    def get_epsilon(self, target_delta: float) -> float:
        """A certified epsilon: an upper bound, infinity where there is none.

        Args:
          target_delta: In [0, 1].

        Raises:
          ValueError: `target_delta` is out of its range, or the composition is too large.
        """
        target_delta = _checks.round_down(Fraction(_checks.share("target_delta", target_delta)))
        if not self._private:
            return math.inf
        if target_delta == 1 or not self._leaves:
            return 0.0
        log_delta = math.log(target_delta) * (1 + 4e-16) if target_delta > 0 else -math.inf
        return mixed.epsilon_upper(self._leaves, log_delta=log_delta, tolerance=self._tolerance)

    def get_delta(self, target_epsilon: float) -> float:
        """A certified delta: an upper bound.

        Args:
          target_epsilon: Any real number or infinity; below 0 by the relation's symmetry.

        Raises:
          ValueError: `target_epsilon` is not a number, or the composition is too large.
        """
        target_epsilon = _checks.extended("target_epsilon", target_epsilon)
        if not self._private:
            return 1.0
        leaves, size = self._leaves, abs(target_epsilon)
        log_delta = -math.inf
        if leaves and math.isfinite(size):
            log_delta = mixed.log_delta_upper(leaves, epsilon=size, tolerance=self._tolerance)
        if leaves and math.isinf(size):
            log_delta = _log_breach(leaves)
        delta = 0.0 if log_delta == -math.inf else max(math.exp(log_delta) * (1 + 1e-13), 5e-324)
        if target_epsilon < 0:
            delta = -math.expm1(-size) + math.exp(-size) * delta
        return min(delta, 1.0)


def _plain_gaussian(leaf: Leaf) -> float | None:
    """`1/sigma` of a Gaussian that every record of every application enters, else None."""
    if not isinstance(leaf, StepProfile) or len(leaf.parts) != 1:
        return None
    (weight, pair) = leaf.parts[0]
    whole = weight == 1 and pair == fixed_size_pair(rate=1, mu=pair.shifts[0])
    return pair.shifts[0] if whole else None


def _log_breach(leaves: list[tuple[Leaf, int]]) -> float:
    """Log of the chance that everything is revealed: delta at infinite epsilon."""
    total = sum(n * s.probability for s, n in leaves if isinstance(s, RevealingStep))
    return math.log(min(total, 1.0)) if total > 0 else -math.inf
