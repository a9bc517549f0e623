"""One training run, or several phases of it, and everything one may ask of its privacy.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048),
...     crop=pdp.RandomCrop((505, 505)),
...     patch=pdp.Patch((10, 10)),
...     sampling=pdp.Poisson(batch_size=200, dataset_size=2975),
...     noise_multiplier=2.0,
...     steps=1500,
... )
>>> plan.inclusion.probability
Fraction(66049, 200720)
>>> 3.7319 < plan.epsilon(delta=1e-5) < 3.7357
True
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from patchdp import _checks
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.geometry import (
    Crop,
    Inclusion,
    Patch,
    PatchUnion,
    RandomCrop,
    inclusion,
)
from patchdp.geometry.patch import PrivatePatch
from patchdp.geometry.sizes import as_images, as_tuple
from patchdp.geometry.views import countable, repeated
from patchdp.guarantee import Guarantee, Method
from patchdp.step import (
    AllocationProfile,
    PixelNoise,
    Poisson,
    Sampling,
)
from patchdp.step.application import (
    Step,
    ViewsClipped,
    application,
    check_epochs,
    distance,
    per_epoch,
)

__all__ = ["Composition", "TrainingPlan"]


def _as_image(image: Any) -> tuple[Any, ...]:
    """One size, or several, as nested tuples so that plans can be hashed."""
    given: Any = as_tuple(image)  # a generator is read once
    given = image if given is None else given
    sizes = as_images(given)
    return sizes[0] if as_tuple(given[0]) is None else tuple(sizes)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(Guarantee):
    """One DP-SGD training on random crops.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
    ...     sampling=pdp.Shuffle(), noise_multiplier=4.0, epochs=15,
    ... )
    >>> plan.applications
    15

    Args:
      image: Size of the images, in any number of axes, or a list of sizes.
      crop: The distribution of the crop.
      patch: What is private in one image.
      sampling: How batches are drawn: `Poisson`, `FixedSize`, `RandomAllocation` or `Shuffle`.
      noise_multiplier: Noise standard deviation over clipping norm; 0 means no noise.
      steps: Number of DP-SGD steps; or
      epochs: Passes over the data: `ceil(dataset_size / batch_size)` steps each (for a bare
        `sampling_probability`, `ceil(1 / sampling_probability)`). `Shuffle` and
        `RandomAllocation` take epochs only.
      images_per_person: In how many images the same person's patch may lie; all of them may
        change at once between the neighbouring data sets.
      views: Independent crops of each image in a step.
      views_clipped: How the gradients of several views meet the clipping norm; required with
        `views` above 1. `"together"`: averaged, then clipped once per image. `"summed"` and
        `"averaged"`: each view clipped on its own, then summed or averaged.
      pixel_noise: Gaussian noise on the pixels of each crop.

    Raises:
      ValueError: An argument is out of its range or does not fit the others.
    """

    image: Any
    crop: Crop
    patch: PrivatePatch
    sampling: Sampling
    noise_multiplier: float
    steps: int | None = None
    epochs: int | None = None
    images_per_person: int = 1
    views: int = 1
    views_clipped: ViewsClipped | None = None
    pixel_noise: PixelNoise | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _as_image(self.image))
        noise = _checks.nonnegative("noise_multiplier", self.noise_multiplier)
        object.__setattr__(self, "noise_multiplier", noise)
        if not isinstance(self.sampling, Sampling):
            raise ValueError(
                "sampling must be Poisson(...), FixedSize(...), RandomAllocation(...) or "
                f"Shuffle(), got {_checks.shown(self.sampling)}"
            )
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, exactly one of the two")
        for name in ("steps", "epochs"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _checks.count(name, getattr(self, name)))
        for name in ("images_per_person", "views"):
            object.__setattr__(self, name, _checks.count(name, getattr(self, name)))
        check_epochs(self.sampling, self.epochs, self.images_per_person)
        if self.applications > _checks.MOST:
            raise ValueError(
                f"epochs {self.epochs} of this sampling are {self.applications} steps; "
                "they may be at most 2**60"
            )
        self._check_views()
        self._check_pixel_noise()
        _ = self.inclusion

    def _check_views(self) -> None:
        allowed = ("together", "summed", "averaged")
        if self.views == 1:
            if self.views_clipped is not None:
                raise ValueError("views_clipped goes with views above 1")
        else:
            name = f"views_clipped (how {self.views} views are clipped)"
            clipped = _checks.choice(name, self.views_clipped, allowed)
            object.__setattr__(self, "views_clipped", clipped)

    def _check_pixel_noise(self) -> None:
        if self.pixel_noise is None:
            return
        if not isinstance(self.pixel_noise, PixelNoise):
            raise ValueError(
                f"pixel_noise must be PixelNoise(...), got {_checks.shown(self.pixel_noise)}"
            )
        self.pixel_noise.check(self.crop, self.patch)

    @cached_property
    def inclusion(self) -> Inclusion:
        """The probability that a crop shows the patch, at the worst place."""
        return inclusion(self.image, self.crop, self.patch)

    @property
    def per_epoch(self) -> bool:
        """Whether epochs are composed, not steps."""
        return per_epoch(self.sampling)

    @property
    def applications(self) -> int:
        """How many times the step is composed: DP-SGD steps, or epochs where those are."""
        if self.per_epoch:
            assert self.epochs is not None
            return self.epochs
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        size, batch = self.sampling.dataset_size, self.sampling.batch_size
        if size is None or batch is None:
            return -(-1 // self.sampling.probability) * self.epochs
        return -(-size // batch) * self.epochs

    @cached_property
    def hit_probability(self) -> Fraction:
        """Chance that an image in the batch shows the patch's change in at least one view.

        The inclusion probability, times what pixel noise leaves visible, over all views.
        """
        return repeated(self._view_hit_probability, self.views)

    @property
    def _view_hit_probability(self) -> Fraction:
        seen = Fraction(self.inclusion.probability)
        if self.pixel_noise is None or seen == 0:
            return seen
        assert not isinstance(self.patch, PatchUnion)  # refused on construction
        axes = len(self.inclusion.worst_image)
        box = isinstance(self.patch, Patch)
        pixels = math.prod(self.patch.shape(axes)) if box else int(self.patch.pixels(axes).sum())
        return seen * Fraction(self.pixel_noise.visible(pixels=pixels))

    @property
    def effective_sampling_probability(self) -> Fraction:
        """Chance that the patch takes part in one application: in the batch, and in a crop."""
        return self.sampling.probability * self.hit_probability

    @cached_property
    def step(self) -> Step:
        """The privacy profile of one application."""
        return application(
            self.sampling,
            view_hit=self._view_hit_probability,
            hit=self.hit_probability,
            noise_multiplier=self.noise_multiplier,
            views=self.views,
            views_clipped=self.views_clipped,
            images=self.images_per_person,
        )

    @property
    def noiseless(self) -> bool:
        return self.noise_multiplier == 0 and self.inclusion.probability > 0

    @property
    def attainable(self) -> bool:
        plain = self.images_per_person == 1 and self.pixel_noise is None
        together = self.views_clipped in (None, "together") and countable(
            self._view_hit_probability, self.views
        )
        if not (self.inclusion.attained and plain and together):
            return False
        return not self.phases or isinstance(self.step, AllocationProfile) or self.step.attainable

    @property
    def one_image(self) -> tuple[TrainingPlan, int]:
        if self.images_per_person == 1:
            return self, 1
        return self.replace(images_per_person=1), self.images_per_person

    @property
    def phases(self) -> tuple[tuple[Step, int], ...]:
        if self.inclusion.probability == 0 or self.noise_multiplier == 0:
            return ()
        return ((self.step, self.applications),)

    @property
    def optimal_steps(self) -> tuple[tuple[OptimalStep, int], ...] | None:
        if self.images_per_person > 1 or self.views_clipped in ("summed", "averaged"):
            return None
        if not self.phases:
            return ()
        if isinstance(self.step, AllocationProfile):
            return None
        step = OptimalStep(
            "poisson" if isinstance(self.sampling, Poisson) else "fixed",
            rate=self.sampling.probability,
            inclusion=self.hit_probability,
            mu=distance(self.noise_multiplier),
        )
        return ((step, self.applications),)

    def replace(self, **changes: Any) -> TrainingPlan:
        """A plan that differs in the named fields; giving steps drops epochs and vice versa."""
        if changes.get("steps") is not None:
            changes.setdefault("epochs", None)
        elif changes.get("epochs") is not None:
            changes.setdefault("steps", None)
        return dataclasses.replace(self, **changes)

    def image_level(self) -> TrainingPlan:
        """The same training when the whole image is private: what one has without cropping."""
        size = self.inclusion.worst_image
        return self.replace(image=size, crop=RandomCrop(size), patch=Patch(size), pixel_noise=None)

    def solve(
        self,
        parameter: str,
        *,
        epsilon: float | None = None,
        delta: float | Fraction | None = None,
        advantage: float | None = None,
        tpr: float | None = None,
        fpr: float | None = None,
        method: Method = "auto",
    ) -> TrainingPlan:
        """The plan with the best value of one parameter that meets a target.

        The smallest `"noise_multiplier"`, or the largest `"steps"`, `"epochs"`, `"crop"` (square,
        or of this crop's aspect) or `"batch_size"`. The plan that is returned has been certified.
        The target is `epsilon` with `delta`, an attacker's `advantage`, or `tpr` with `fpr`.

        Args:
          parameter: The field to solve for.
          epsilon: Largest epsilon, above 0, at
          delta: in (0, 1).
          advantage: Largest true-positive minus false-positive rate of any attacker, in (0, 1).
          tpr: Largest true-positive rate, below 1 and above
          fpr: the false-positive rate it is for, in (0, 1).
          method: Engine that certifies the answer.

        Raises:
          ValueError: No value meets the target (the message names the nearest reachable one), or
            not exactly one target is given.
        """
        # Only a search needs them, and what they import.
        from patchdp import goal, solve

        aim = goal.goal_of(
            epsilon=epsilon, delta=delta, advantage=advantage, tpr=tpr, fpr=fpr, method=method
        )
        return solve.solve(self, parameter, aim)

    def __add__(self, other: TrainingPlan | Composition) -> Composition:
        return Composition((self,)) + other


@dataclass(frozen=True)
class Composition(Guarantee):
    """Phases of one training, one after the other: what `plan_a + plan_b` gives.

    >>> import patchdp as pdp
    >>> warmup = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
    ...     sampling=pdp.Poisson(sampling_probability=0.01), noise_multiplier=4.0, steps=100,
    ... )
    >>> both = warmup + warmup.replace(noise_multiplier=2.0, steps=50)
    >>> both.epsilon(1e-5) > warmup.epsilon(1e-5)
    True

    Args:
      plans: The phases; they share image, patch and images per person.

    Source: `docs/theory.md`, "Many steps" (Theorem 17).
    """

    plans: tuple[TrainingPlan, ...]

    def __post_init__(self) -> None:
        plans = as_tuple(self.plans)
        if not plans or not all(isinstance(plan, TrainingPlan) for plan in plans):
            raise ValueError(
                f"plans must be at least one TrainingPlan, got {_checks.shown(self.plans)}"
            )
        object.__setattr__(self, "plans", plans)
        for name in ("image", "patch", "images_per_person"):
            values = {getattr(plan, name) for plan in self.plans}
            if len(values) > 1:
                raise ValueError(
                    f"phases of one training must have the same {name}, got "
                    + " and ".join(sorted(map(repr, values)))
                )

    @property
    def one_image(self) -> tuple[Composition, int]:
        images = self.plans[0].images_per_person
        if images == 1:
            return self, 1
        return Composition(tuple(plan.one_image[0] for plan in self.plans)), images

    @property
    def phases(self) -> tuple[tuple[Step, int], ...]:
        counts: dict[Step, int] = {}
        for plan in self.plans:
            for step, count in plan.phases:
                counts[step] = counts.get(step, 0) + count
        return () if self.noiseless else tuple(counts.items())

    @property
    def optimal_steps(self) -> tuple[tuple[OptimalStep, int], ...] | None:
        found: list[tuple[OptimalStep, int]] = []
        for plan in self.plans:
            steps = plan.optimal_steps
            if steps is None:
                return None
            found += steps
        return tuple(found)

    @property
    def noiseless(self) -> bool:
        return any(plan.noiseless for plan in self.plans)

    @property
    def attainable(self) -> bool:
        # One patch must be the worst in every phase: the phases' worst places have to agree.
        places = {
            (plan.inclusion.worst_image, plan.inclusion.worst_position) for plan in self.plans
        }
        return len(places) == 1 and all(plan.attainable for plan in self.plans)

    def image_level(self) -> Composition:
        """The same phases when the whole image is private."""
        # One size for all phases; each may have its own worst one.
        size = self.plans[0].inclusion.worst_image
        return Composition(tuple(plan.replace(image=size).image_level() for plan in self.plans))

    def __add__(self, other: TrainingPlan | Composition) -> Composition:
        more = other.plans if isinstance(other, Composition) else (other,)
        return Composition(self.plans + more)
