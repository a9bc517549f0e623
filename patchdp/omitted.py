"""The second relation: a patch that training leaves out, beside the one that is replaced.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048), crop=pdp.RandomCrop((505, 505)), patch=pdp.Patch((10, 10)),
...     sampling=pdp.Poisson(batch_size=200, dataset_size=2975), noise_multiplier=2.0, epochs=100,
... )
>>> found = pdp.omitted(plan, delta=1 / 2975)
>>> round(found.epsilon, 3), round(found.replaced.upper, 3)
(1.422, 2.935)

Papers that report add-or-remove epsilons of images report this kind of number. It is smaller than
that of a replacement because it promises less, so it is never given alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from patchdp import _checks
from patchdp.composition import two_sided
from patchdp.guarantee import Bounds, check_delta
from patchdp.plan import Composition, TrainingPlan
from patchdp.step import Poisson
from patchdp.step.application import distance
from patchdp.step.omitted import OmittedProfile

__all__ = ["Omitted", "omitted"]

PROTECTS = (
    "The omitted-patch epsilon compares the training with one in which every crop that shows the "
    "patch contributes gradient 0: it protects whether the patch was looked at, not what it shows. "
    "What the patch shows, grey pixels in its place included, is protected by the replacement "
    "epsilon; two omissions make one replacement."
)


@dataclass(frozen=True)
class Omitted:
    """The omitted-patch epsilon, and the replacement's that belongs beside it.

    >>> print(Omitted(1.42, Bounds(2.87, 2.94), 1e-5))
    omitted   epsilon <= 1.42  (delta 1e-05)
    replaced  epsilon <= 2.94  (delta 1e-05)
    The omitted-patch epsilon compares the training with one in which every crop that shows the patch contributes gradient 0: it protects whether the patch was looked at, not what it shows. What the patch shows, grey pixels in its place included, is protected by the replacement epsilon; two omissions make one replacement.

    Args:
      epsilon: An upper bound under the zero-out relation of the patch.
      replaced: Both bounds under replacement.
      delta: What all of them are at.
    """  # noqa: E501

    epsilon: float
    replaced: Bounds
    delta: float

    @property
    def protects(self) -> str:
        """What the smaller number protects, in a sentence."""
        return PROTECTS

    def __str__(self) -> str:
        return (
            f"omitted   epsilon <= {self.epsilon:.6g}  (delta {self.delta:g})\n"
            f"replaced  epsilon <= {self.replaced.upper:.6g}  (delta {self.delta:g})\n"
            f"{PROTECTS}"
        )


def omitted(plan: TrainingPlan | Composition, delta: float | Fraction) -> Omitted:
    """Certified epsilon when the patch is omitted, with that of a replacement.

    Args:
      plan: A training with Poisson batches, or phases of one.
      delta: In (0, 1).

    Raises:
      ValueError: Another sampling, several images per person, several views or pixel noise, for
        none of which it is proved.

    Source: `docs/theory/omitted.md`, "One step" (Theorem 41).
    """
    if not isinstance(plan, TrainingPlan | Composition):
        raise ValueError(f"plan must be a TrainingPlan or a Composition, got {_checks.shown(plan)}")
    log_delta = check_delta(delta)
    delta = _checks.chance("delta", delta, open_ends=True)
    plans = plan.plans if isinstance(plan, Composition) else (plan,)
    for phase in plans:
        _check(phase)
    replaced = plan.epsilon_bounds(delta)
    if plan.noiseless:
        return Omitted(math.inf, replaced, float(delta))
    steps = [
        (
            OmittedProfile(
                rate=phase.sampling.probability,
                inclusion=phase.hit_probability,
                mu=distance(phase.noise_multiplier),
            ),
            phase.applications,
        )
        for phase in plans
        if phase.phases
    ]
    if not steps:
        return Omitted(0.0, replaced, float(delta))
    # What holds for every replacement by data that give gradient 0 holds for the omission too.
    found = min(two_sided.epsilon_upper(steps, log_delta), replaced.upper)
    return Omitted(found, replaced, float(delta))


def _check(plan: TrainingPlan) -> None:
    if not isinstance(plan.sampling, Poisson):
        raise ValueError(
            "neighbours omitted is proved for Poisson sampling, got "
            f"{type(plan.sampling).__name__}: batches of a fixed size would change with the mark"
        )
    for name, plain in (("images_per_person", 1), ("views", 1), ("pixel_noise", None)):
        if getattr(plan, name) != plain:
            raise ValueError(
                f"neighbours omitted is proved for {name}={plain}, got {getattr(plan, name)!r}"
            )
