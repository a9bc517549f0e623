"""What a training claims about its images, and the plan that a recorded history then amounts to.

>>> import patchdp as pdp
>>> claim = Claim(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
...     sampling=pdp.Poisson,
... )
>>> run = claim.guarantee([(1.0, 1 / 75, 225)])
>>> run == claim.plan(noise_multiplier=1.0, sampling=pdp.Poisson(sampling_probability=1 / 75),
...                   steps=225)
True
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from patchdp.geometry.crop import Crop
from patchdp.guarantee import Guarantee
from patchdp.plan import TrainingPlan
from patchdp.step import FixedSize, Poisson, RandomAllocation, Sampling, Shuffle

__all__ = ["Claim", "DeclaredSampling", "Entry"]

DeclaredSampling: TypeAlias = (
    Sampling | type[Poisson] | type[FixedSize] | type[RandomAllocation] | type[Shuffle]
)
# As Opacus keeps it: noise multiplier, sample rate (one over the batches per epoch), steps.
Entry: TypeAlias = tuple[float, float, int]

# Rates are quotients of whole numbers in floating point.
_ROUNDING = 1e-12


def batches_per_epoch(sample_rate: float) -> int:
    """The number of batches whose reciprocal Opacus reports as the sample rate.

    >>> batches_per_epoch(1 / 93)
    93
    """
    batches = round(1 / sample_rate) if 0 < sample_rate <= 1 else 0
    if batches == 0 or abs(sample_rate * batches - 1) > _ROUNDING:
        raise ValueError(
            f"sample_rate must be one over the number of batches per epoch, got {sample_rate!r}"
        )
    return batches


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Everything of a `TrainingPlan` that Opacus does not record.

    Args:
      image: Size of the images before the crop, or a list of sizes.
      crop: The distribution of the crop.
      patch: What is private in one image.
      sampling: `Poisson`, `FixedSize`, `RandomAllocation` or `Shuffle`: a scheme with its numbers,
        or for all but `FixedSize` the bare class, whose numbers are read off the sample rate.
      training: Further fields of `TrainingPlan`, as pairs.

    Raises:
      ValueError: An argument is out of its range or does not fit the others.
    """

    image: Any
    crop: Crop
    patch: Any
    sampling: DeclaredSampling
    training: tuple[tuple[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.sampling, Sampling) and self.sampling not in (
            Poisson,
            FixedSize,
            RandomAllocation,
            Shuffle,
        ):
            raise ValueError(
                "sampling must be Poisson, FixedSize(...), RandomAllocation or Shuffle, got "
                f"{self.sampling!r}"
            )
        if self.sampling is FixedSize:
            raise ValueError(
                "sampling=FixedSize needs its numbers, FixedSize(batch_size=, dataset_size=): "
                "one over the batches per epoch is not the rate of a fixed-size batch"
            )
        known = TrainingPlan.__dataclass_fields__.keys() - {
            *("image", "crop", "patch", "sampling", "noise_multiplier", "steps", "epochs")
        }
        for name, _ in self.training:
            if name not in known:
                allowed = ", ".join(sorted(known)) or "none"
                raise ValueError(f"{name} is not a further field of a plan (there are: {allowed})")
        # Let the plan object to what does not fit before any training starts.
        trial = self.plan(noise_multiplier=1.0, sampling=Shuffle(), epochs=1)
        object.__setattr__(self, "image", trial.image)

    def plan(self, **training: Any) -> TrainingPlan:
        """The plan of a run under this claim; takes sampling, noise and steps or epochs."""
        return TrainingPlan(
            image=self.image,
            crop=self.crop,
            patch=self.patch,
            **dict(self.training),
            **training,
        )

    def guarantee(
        self, history: Sequence[Entry], *, epoch_starts: Sequence[int] = ()
    ) -> Guarantee | None:
        """What a run with this history amounts to; None before the first step.

        Args:
          history: `(noise_multiplier, sample_rate, steps)` in the order of training.
          epoch_starts: Where epochs are counted, steps before which the loader was started over;
            where none is known, every pass is taken to be complete.

        Raises:
          ValueError: A sample rate that the declared sampling cannot have.
        """
        plans = [
            self.plan(noise_multiplier=noise, sampling=sampling, **duration)
            for noise, sampling, duration in self._phases(history, epoch_starts)
        ]
        return functools.reduce(operator.add, plans) if plans else None

    def _phases(
        self, history: Sequence[Entry], epoch_starts: Sequence[int]
    ) -> Iterator[tuple[float, Sampling, dict[str, int]]]:
        if self.per_epoch:
            for _, rate, _ in history:
                self._check_rate(rate)
            for (noise, length), passes in itertools.groupby(_passes(history, epoch_starts)):
                yield noise, self._scheme(length), {"epochs": sum(1 for _ in passes)}
            return
        for noise, rate, steps in history:
            self._check_rate(rate)
            if isinstance(self.sampling, FixedSize):
                yield noise, self.sampling, {"steps": steps}
            else:
                yield noise, Poisson(sampling_probability=rate), {"steps": steps}

    @property
    def per_epoch(self) -> bool:
        """Whether passes over the data are counted, not steps."""
        kind = self.sampling if isinstance(self.sampling, type) else type(self.sampling)
        return kind in (Shuffle, RandomAllocation)

    def _scheme(self, length: int) -> Sampling:
        """The scheme of a pass of so many batches."""
        if isinstance(self.sampling, Shuffle | RandomAllocation):
            return self.sampling
        if self.sampling is Shuffle:
            return Shuffle()
        # What counts is the number of batches.
        return RandomAllocation(batch_size=1, dataset_size=length)

    def _check_rate(self, rate: float) -> None:
        """Compare what Opacus reports, one over the batches per epoch, with the declaration."""
        declared = self.sampling
        if isinstance(declared, Poisson):
            if rate > declared.probability * Fraction(1 + _ROUNDING):
                raise ValueError(
                    f"the loader samples with probability {rate:.6g}, more than the declared "
                    f"{float(declared.probability):.6g} of {declared!r}"
                )
        elif isinstance(declared, RandomAllocation):
            if batches_per_epoch(rate) != declared.steps_per_epoch:
                raise ValueError(
                    f"the loader has {batches_per_epoch(rate)} batches per epoch, the declared "
                    f"{declared!r} has {declared.steps_per_epoch}"
                )
        elif not isinstance(declared, type) and declared.batch_size and declared.dataset_size:
            share = declared.dataset_size / declared.batch_size
            if batches_per_epoch(rate) not in (math.ceil(share), math.floor(share)):
                raise ValueError(
                    f"the loader has {batches_per_epoch(rate)} batches per epoch, the declared "
                    f"{declared!r} would have {math.ceil(share)}"
                )


def _passes(history: Sequence[Entry], starts: Sequence[int]) -> Iterator[tuple[float, int]]:
    """The smallest noise of each pass over the data, and the batches of a full pass.

    An image is in one step of a pass, with whatever noise that step had: the smallest covers it.
    A pass ends where the loader was started over, where its length changes, or when it is full.
    """
    restarts = sorted(set(starts))
    done = left = length = 0  # steps so far, steps left in the pass, steps of a full pass
    smallest = math.inf
    for noise, rate, steps in history:
        if batches_per_epoch(rate) != length:
            if smallest < math.inf:
                yield smallest, length
            smallest, length, left = math.inf, batches_per_epoch(rate), 0
        end = done + steps
        while done < end:
            following = bisect.bisect_right(restarts, done)
            if left == 0 or (following and restarts[following - 1] == done):
                if smallest < math.inf:
                    yield smallest, length
                smallest, left = math.inf, length
            smallest = min(smallest, noise)
            stop = min(end, restarts[following]) if following < len(restarts) else end
            taken = min(left, stop - done)
            done, left = done + taken, left - taken
    if smallest < math.inf:
        yield smallest, length
