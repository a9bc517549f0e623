"""What one application of a training costs: sampler, views of an image, images of a person.

>>> from fractions import Fraction
>>> from patchdp.step import Poisson
>>> step = application(
...     Poisson(sampling_probability=0.5), view_hit=Fraction(1, 4), hit=Fraction(7, 16),
...     noise_multiplier=2.0, views=2, views_clipped="together",
... )
>>> round(float(step.delta(0.0)), 4)
0.0838
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from patchdp.step.group import images_per_person, views_clipped_apart
from patchdp.step.profile import StepProfile, fixed_size_pair, step_profile
from patchdp.step.random_allocation import AllocationProfile
from patchdp.step.sampling import RandomAllocation, Sampling, Shuffle

__all__ = ["Step", "ViewsClipped", "application", "check_epochs", "distance", "per_epoch"]

ViewsClipped = Literal["together", "summed", "averaged"]
Step = StepProfile | AllocationProfile

# Half the largest float: the next float above it is finite too.
_LARGEST = 2.0**1023


def per_epoch(sampling: Sampling) -> bool:
    """Whether epochs are composed, not steps."""
    return isinstance(sampling, Shuffle | RandomAllocation)


def check_epochs(sampling: Sampling, epochs: int | None, images: int) -> None:
    """Refuse what is not proved where epochs are composed."""
    name = type(sampling).__name__
    if per_epoch(sampling) and epochs is None:
        raise ValueError(
            f"{name} is accounted per epoch: give epochs (the most often any image appears), "
            "not steps"
        )
    if per_epoch(sampling) and images > 1:
        raise ValueError(
            f"images_per_person above 1 is not proved for {name}; use Poisson or FixedSize"
        )


def application(
    sampling: Sampling,
    *,
    view_hit: Fraction,
    hit: Fraction,
    noise_multiplier: float,
    views: int = 1,
    views_clipped: ViewsClipped | None = None,
    images: int = 1,
) -> Step:
    """The privacy profile of one step, or where those are composed of one epoch.

    Args:
      sampling: How the batch is drawn.
      view_hit: Chance that one view shows the patch's change.
      hit: Chance that at least one of the views does.
      noise_multiplier: Noise standard deviation over clipping norm, above 0.
      views: Independent crops of each image in a step.
      views_clipped: How their gradients meet the clipping norm; None for a single view.
      images: In how many images one person's patch lies.

    Raises:
      ValueError: The noise is too small to represent, or the scheme has no bound for so many
        images.

    Source: `docs/theory/several.md`, "Several views" and "One person in several images".
    """
    # Views that are clipped on their own and summed weigh up to `views` clipping norms.
    summed = views_clipped == "summed"
    weight = Fraction(views if summed else 1)
    if isinstance(sampling, RandomAllocation):
        return _epoch(hit, distance(noise_multiplier, weight), sampling.steps_per_epoch)
    if images == 1 and views_clipped in ("summed", "averaged") and sampling.probability == 1:
        one = distance(noise_multiplier, Fraction(1, 1 if summed else views))
        return views_clipped_apart(inclusion=view_hit, mu=one, views=views)
    if images == 1:
        return step_profile(
            sampling,
            inclusion_probability=hit,
            noise_multiplier=Fraction(noise_multiplier) / weight,
        )
    return images_per_person(
        sampling, inclusion=hit, mu=distance(noise_multiplier, weight), images=images
    )


def _epoch(hit: Fraction, mu: float, rounds: int) -> Step:
    """An epoch under random allocation; one in a known order where that stands in for it."""
    epoch = AllocationProfile(inclusion=hit, mu=mu, rounds=rounds)
    if epoch.accounted_rounds > 1:
        return epoch
    pair = fixed_size_pair(rate=hit, mu=mu)
    # That its order is known makes it attainable with one step only.
    return StepProfile(((1.0, pair),), attainable=rounds == 1)


def distance(noise_multiplier: float, weight: Fraction = Fraction(1)) -> float:
    """How far `weight` clipping norms move the sum, in noise deviations, rounded up."""
    quotient = weight / Fraction(noise_multiplier)
    if quotient > _LARGEST:
        raise ValueError(
            f"noise_multiplier {noise_multiplier!r} is too small to represent; 0 means no noise"
        )
    return math.nextafter(float(quotient), math.inf)
