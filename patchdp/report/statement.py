"""The guarantee in words: what was proved, and what it takes for granted.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
...     sampling=pdp.Shuffle(), noise_multiplier=4.0, epochs=15,
... )
>>> print(assumptions(plan)[1])
Per-image clipping, Gaussian noise of std 4 x the clipping norm on the summed gradients.
"""

from __future__ import annotations

from patchdp.plan import Composition, TrainingPlan
from patchdp.step import FixedSize, Poisson

__all__ = ["assumptions", "neighbours", "sampling_words"]


def neighbours(plan: TrainingPlan) -> str:
    """Which two data sets the guarantee compares."""
    return (
        "Neighbours: same images, except that one image may differ arbitrarily inside one "
        f"patch, {plan.patch!r}."
    )


def sampling_words(plan: TrainingPlan) -> str:
    """The claim about the data loader."""
    sampling = plan.sampling
    if isinstance(sampling, Poisson):
        return (
            "Poisson sampling: every image enters every batch independently with probability "
            f"{float(sampling.probability):.6g}."
        )
    if isinstance(sampling, FixedSize):
        return (
            f"Fixed-size sampling: every step draws {sampling.batch_size} of "
            f"{sampling.dataset_size} images afresh, uniformly, without replacement."
        )
    return "Shuffle: every image is used exactly once per epoch, in an order that no image decides."


def assumptions(plan: TrainingPlan | Composition) -> tuple[str, ...]:
    """What must hold for the guarantee, one sentence each.

    Args:
      plan: The plan, or phases of one training.
    """
    plans = plan.plans if isinstance(plan, Composition) else (plan,)
    lines: list[str] = []
    for phase in plans:
        lines += [
            neighbours(phase),
            f"Per-image clipping, Gaussian noise of std {phase.noise_multiplier:g} x the clipping "
            "norm on the summed gradients.",
            sampling_words(phase),
        ]
    lines += [
        "Every image gets a fresh crop at every step, on its own and independent of all content.",
        "The patch reaches training only through crops of its image: no batch normalisation, no "
        "mixing of images, no whole-image statistics, no label from outside the crop.",
        "The noise is taken as real-valued: attacks on floating point are not covered.",
    ]
    return tuple(dict.fromkeys(lines))
