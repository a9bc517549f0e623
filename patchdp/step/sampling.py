"""How a step chooses its images: the claim about the data loader that the guarantee rests on.

>>> from patchdp.step import FixedSize, Poisson, Shuffle
>>> Poisson(batch_size=200, dataset_size=2975).probability
Fraction(8, 119)
>>> FixedSize(batch_size=200, dataset_size=2975).probability
Fraction(8, 119)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from patchdp import _checks

__all__ = ["FixedSize", "Poisson", "RandomAllocation", "Sampling", "Shuffle"]


def _store_sizes(sampling: Sampling, *, needed: bool = False) -> None:
    """Make ints of the two sizes, as far as they are given."""
    for name in ("batch_size", "dataset_size"):
        value = getattr(sampling, name)
        if needed or value is not None:
            object.__setattr__(sampling, name, _checks.count(name, value))
    batch, dataset = sampling.batch_size, sampling.dataset_size
    if batch is not None and dataset is not None and batch > dataset:
        raise ValueError(
            f"batch_size {batch} is larger than dataset_size {dataset}; it may be at most that"
        )


@dataclass(frozen=True)
class Poisson:
    """Every image enters the batch of a step independently with one probability.

    >>> Poisson(sampling_probability=0.01).probability == Fraction(0.01)
    True

    This is what Opacus' `UniformWithReplacementSampler` and JAX-Privacy's Poisson selection do.

    Args:
      batch_size: Expected batch size; with `dataset_size` it gives the probability.
      dataset_size: Number of images.
      sampling_probability: The probability itself, in (0, 1], instead of the two sizes.
    """

    batch_size: int | None = None
    dataset_size: int | None = None
    sampling_probability: float | Fraction | None = None

    def __post_init__(self) -> None:
        if self.sampling_probability is None:
            if self.batch_size is None or self.dataset_size is None:
                raise ValueError(
                    "Poisson needs batch_size and dataset_size, or sampling_probability"
                )
        else:
            if self.batch_size is not None:
                raise ValueError(
                    "Poisson takes batch_size with dataset_size, or sampling_probability, not both"
                )
            given = _checks.chance("sampling_probability", self.sampling_probability)
            object.__setattr__(self, "sampling_probability", given)
        _store_sizes(self)

    @property
    def probability(self) -> Fraction:
        """Chance that a given image takes part in a given step, exactly."""
        if self.sampling_probability is not None:
            return Fraction(self.sampling_probability)
        assert self.batch_size is not None and self.dataset_size is not None
        return Fraction(self.batch_size, self.dataset_size)


@dataclass(frozen=True)
class FixedSize:
    """Every step draws a batch of exactly `batch_size` distinct images, afresh and uniformly.

    >>> FixedSize(batch_size=64, dataset_size=60000).probability
    Fraction(2, 1875)
    """

    batch_size: int
    dataset_size: int

    def __post_init__(self) -> None:
        _store_sizes(self, needed=True)

    @property
    def probability(self) -> Fraction:
        """Chance that a given image takes part in a given step, exactly."""
        return Fraction(self.batch_size, self.dataset_size)


@dataclass(frozen=True)
class RandomAllocation:
    """Every image takes part in one step of each epoch, drawn uniformly and independently.

    >>> RandomAllocation(batch_size=200, dataset_size=2975).steps_per_epoch
    15

    The draws of different images, and those of one image in different epochs, are independent:
    batches vary in size as under Poisson sampling. An ordinary `shuffle=True` loader, whose batches
    have a fixed size, is `Shuffle`; a schedule that is drawn once and used in several epochs is
    neither. What is composed are epochs. `patchdp.interop.torch.RandomAllocationBatchSampler`
    draws such batches for a PyTorch loader.

    Args:
      batch_size: Images per step on average, with
      dataset_size: the number of images: an epoch has `ceil(dataset_size / batch_size)` steps.

    Source: `docs/theory/allocation.md`, "One epoch" (Theorem 37).
    """

    batch_size: int
    dataset_size: int

    def __post_init__(self) -> None:
        _store_sizes(self, needed=True)

    @property
    def steps_per_epoch(self) -> int:
        """The steps among which each image draws its own."""
        return -(-self.dataset_size // self.batch_size)

    @property
    def probability(self) -> Fraction:
        """Chance that a given image takes part in a given epoch: 1."""
        return Fraction(1)


@dataclass(frozen=True)
class Shuffle:
    """Every image takes part in exactly one step per epoch, in an order that no image decides.

    >>> Shuffle().probability
    Fraction(1, 1)

    An ordinary shuffled data loader, or any fixed order. What is composed are epochs. Samplers
    that may show an image twice in an epoch (distributed samplers that pad, repeated augmentation,
    weighted samplers) are not of this kind.

    Args:
      batch_size: Images per step. Privacy does not depend on it; a statement may mention it.
      dataset_size: Number of images, likewise.

    Source: `docs/theory/sampling.md`, "Shuffled epochs" (Theorem 15).
    """

    batch_size: int | None = None
    dataset_size: int | None = None

    def __post_init__(self) -> None:
        _store_sizes(self)

    @property
    def probability(self) -> Fraction:
        """Chance that a given image takes part in the one step per epoch that may show it: 1."""
        return Fraction(1)


Sampling = Poisson | FixedSize | RandomAllocation | Shuffle
