"""Which sampling a data loader really does, and a loader's batches of fixed size.

>>> import torch
>>> from torch.utils.data import DataLoader, TensorDataset
>>> data = TensorDataset(torch.zeros(10, 1))
>>> recognise(DataLoader(data, batch_size=4, shuffle=True))
Shuffle(batch_size=4, dataset_size=10)
>>> recognise(DataLoader(data, batch_sampler=FixedSizeBatchSampler(data, batch_size=4)))
FixedSize(batch_size=4, dataset_size=10)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sized
from fractions import Fraction
from typing import Any

import torch
from opacus.data_loader import CollateFnWithEmpty
from opacus.utils.batch_memory_manager import BatchSplittingSampler
from opacus.utils.uniform_sampler import (
    DistributedUniformWithReplacementSampler,
    UniformWithReplacementSampler,
)
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from patchdp import _checks
from patchdp.interop.torch import RandomAllocationBatchSampler
from patchdp.step import FixedSize, Poisson, RandomAllocation, Sampling, Shuffle

__all__ = ["FixedSizeBatchSampler", "PassCounter", "allocate", "match", "recognise"]


class FixedSizeBatchSampler(Sampler):  # type: ignore[misc]
    """Every batch is `batch_size` distinct images, drawn afresh and uniformly.

    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> data = TensorDataset(torch.arange(10))
    >>> loader = DataLoader(data, batch_sampler=FixedSizeBatchSampler(data, batch_size=4))
    >>> [len(batch) for (batch,) in loader]
    [4, 4, 4]

    Batches are independent of each other: an image may be in several of an epoch, or in none.
    That is what `FixedSize` accounts for; an ordinary shuffled loader is `Shuffle`.

    Args:
      data_source: The data set.
      batch_size: Images per batch.
      generator: Source of randomness; torch's own where left out.

    Raises:
      ValueError: batch_size is below 1 or above the number of images.
    """

    def __init__(
        self, data_source: Sized, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self.sampling = FixedSize(batch_size=batch_size, dataset_size=len(data_source))
        self.batch_size = self.sampling.batch_size
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(self.sampling.dataset_size / self.sampling.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(len(self)):
            order = torch.randperm(self.sampling.dataset_size, generator=self.generator)
            yield order[: self.sampling.batch_size].tolist()


class PassCounter(Sampler):  # type: ignore[misc]
    """The batches of another sampler; every pass over them is announced when it begins.

    >>> from torch.utils.data import BatchSampler, SequentialSampler
    >>> passes = []
    >>> counted = PassCounter(BatchSampler(SequentialSampler(range(5)), 2, False),
    ...                       lambda: passes.append("begun"))
    >>> list(counted), list(counted)
    ([[0, 1], [2, 3], [4]], [[0, 1], [2, 3], [4]])
    >>> passes
    ['begun', 'begun']
    """

    def __init__(self, batches: Any, announce: Callable[[], None]) -> None:
        self.batches = batches
        self.announce = announce

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        self.announce()
        yield from self.batches


def recognise(loader: Any) -> Sampling:
    """The sampling scheme that a loader implements.

    Args:
      loader: A `torch.utils.data.DataLoader`, that of Opacus included.

    Raises:
      ValueError: The scheme is none that can be accounted, with the reason.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise ValueError(
            "the loader must be a DataLoader over a data set with indices: what an iterable "
            f"draws cannot be seen; got {type(loader).__name__} over "
            f"{type(getattr(loader, 'dataset', None)).__name__}"
        )
    if loader.batch_sampler is None:
        raise ValueError("the loader must form batches (batch_size or batch_sampler), got none")
    _check_distinct(loader.dataset)
    return _scheme(loader.batch_sampler, len(loader.dataset))


def _scheme(batches: Any, images: int) -> Sampling:
    kind = type(batches)
    if kind in (BatchSplittingSampler, PassCounter):
        return _scheme(
            batches.sampler if kind is BatchSplittingSampler else batches.batches, images
        )
    if kind is UniformWithReplacementSampler:
        _check_whole(batches.num_samples, images)
        _check_single_process("Poisson", "Opacus' distributed sampler")
        return _poisson(batches.sample_rate, images)
    if kind is DistributedUniformWithReplacementSampler:
        _check_whole(batches.total_size, images)
        return _poisson(batches.sample_rate, images)
    if kind is FixedSizeBatchSampler:
        _check_whole(batches.sampling.dataset_size, images)
        _check_single_process("FixedSize", "Poisson sampling")
        return FixedSize(batch_size=batches.sampling.batch_size, dataset_size=images)
    if kind is RandomAllocationBatchSampler:
        _check_whole(batches.sampling.dataset_size, images)
        return RandomAllocation(batches.sampling.batch_size, images)
    if kind is BatchSampler:
        _check_once(batches.sampler, images)
        return Shuffle(batch_size=min(batches.batch_size, images), dataset_size=images)
    raise ValueError(
        f"the loader's batches come from {kind.__name__}, whose sampling is not known; use an "
        "ordinary shuffled loader, FixedSizeBatchSampler, RandomAllocationBatchSampler, or "
        "Opacus' Poisson sampling"
    )


def _poisson(rate: float, images: int) -> Poisson:
    return Poisson(sampling_probability=rate, dataset_size=images)


def _check_once(sampler: Any, images: int) -> None:
    """Object to a sampler that may show an image twice in one pass."""
    kind = type(sampler)
    if kind is RandomSampler:
        if sampler.replacement:
            raise ValueError("the loader's RandomSampler draws with replacement: images repeat")
        if sampler.num_samples > images:
            raise ValueError(
                f"the loader's RandomSampler draws {sampler.num_samples} of {images} images: "
                "some repeat within a pass"
            )
    elif kind is SubsetRandomSampler:
        if len(set(sampler.indices)) < len(sampler.indices):
            raise ValueError("the loader's SubsetRandomSampler repeats indices")
    elif kind is DistributedSampler:
        if sampler.total_size > images:
            raise ValueError(
                "the loader's DistributedSampler repeats images to give every process as many; "
                "set drop_last=True"
            )
        return
    elif kind is not SequentialSampler:
        raise ValueError(
            f"the loader's sampler is {kind.__name__}, which may show an image several times in "
            "a pass, or let the data decide; use shuffle=True"
        )
    _check_single_process("Shuffle", "DistributedSampler(drop_last=True)")


def _check_single_process(scheme: str, instead: str) -> None:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        processes = distributed.get_world_size()
        if processes > 1:
            raise ValueError(
                f"each of {processes} processes would draw its own {scheme} batches from all "
                f"images, so that one image is in several; use {instead}"
            )


def _check_whole(drawn: int, images: int) -> None:
    if drawn != images:
        raise ValueError(f"the loader draws from {drawn} images, its data set has {images}")


def _check_distinct(dataset: Any) -> None:
    """Object to a data set that has one image under several indices, where that can be seen."""
    if isinstance(dataset, Subset):
        if len(set(map(int, dataset.indices))) < len(dataset.indices):
            raise ValueError("the data set is a Subset that repeats indices")
        _check_distinct(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        if len(set(map(id, dataset.datasets))) < len(dataset.datasets):
            raise ValueError("the data set is a ConcatDataset that has one data set twice")
        for part in dataset.datasets:
            _check_distinct(part)


def match(declared: Any, found: Sampling) -> None:
    """Object where a loader does not do what was declared.

    >>> match(Poisson, Shuffle(batch_size=4, dataset_size=10))
    Traceback (most recent call last):
        ...
    ValueError: sampling was declared as Poisson, the loader does Shuffle(batch_size=4, dataset_size=10)

    Args:
      declared: A scheme, or the bare class of one.
      found: What `recognise` says.
    """  # noqa: E501
    kind = declared if isinstance(declared, type) else type(declared)
    agrees = isinstance(found, kind)
    if agrees and not isinstance(declared, type):
        agrees = declared.dataset_size in (None, found.dataset_size)
        if isinstance(found, Poisson):
            # Opacus samples with one over the batches per epoch, which is at most batch / data set.
            agrees = agrees and found.probability <= declared.probability * Fraction(1 + 1e-12)
        else:
            agrees = agrees and declared.batch_size in (None, found.batch_size)
    if not agrees:
        said = declared.__name__ if isinstance(declared, type) else repr(declared)
        raise ValueError(f"sampling was declared as {said}, the loader does {found!r}")


def allocate(loader: Any, generator: torch.Generator | None = None) -> Any:
    """The same loader with batches drawn by random allocation, empty ones among them.

    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> recognise(allocate(DataLoader(TensorDataset(torch.zeros(10, 1)), batch_size=4)))
    RandomAllocation(batch_size=4, dataset_size=10)

    Args:
      loader: A loader with a batch size; one that draws so already keeps its batches.
      generator: Source of randomness; by default the loader's own.

    Raises:
      ValueError: The loader has no batch size, or its data set repeats images.
    """
    collate = loader.collate_fn
    if not isinstance(collate, CollateFnWithEmpty):
        collate = CollateFnWithEmpty(collate)
        collate([loader.dataset[0]])  # it learns the shape of a batch: the first may be empty
    batches = loader.batch_sampler
    if type(batches) not in (RandomAllocationBatchSampler, PassCounter):
        if loader.batch_size is None:
            raise ValueError(
                "the loader must have a batch_size or a RandomAllocationBatchSampler, got "
                f"batches from {type(batches).__name__}"
            )
        batches = RandomAllocationBatchSampler(
            loader.dataset,
            min(loader.batch_size, len(loader.dataset)),
            generator=loader.generator if generator is None else generator,
        )
    return replace_batches(loader, batches, collate)


def replace_batches(loader: Any, batches: Any, collate: Any = None) -> Any:
    """The same loader with other batches, and where it is given with another collate function."""
    _checks.count("the number of batches", len(batches))
    return DataLoader(
        dataset=loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn if collate is None else collate,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )
