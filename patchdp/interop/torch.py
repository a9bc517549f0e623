"""Batches for any PyTorch loader that are drawn as a sampling scheme says.

Needs PyTorch (`pip install patchdp[opacus]` brings it).

>>> import torch
>>> from torch.utils.data import DataLoader, TensorDataset
>>> data = TensorDataset(torch.arange(10))
>>> sampler = RandomAllocationBatchSampler(data, batch_size=4)
>>> loader = DataLoader(data, batch_sampler=sampler, collate_fn=EmptyBatches(data))
>>> sorted(int(n) for (batch,) in loader for n in batch)
[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
>>> sampler.sampling.steps_per_epoch, len(loader)
(3, 3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch.utils.data import Sampler, default_collate

from patchdp import _checks
from patchdp.step import RandomAllocation

__all__ = ["EmptyBatches", "RandomAllocationBatchSampler"]


class RandomAllocationBatchSampler(Sampler):  # type: ignore[misc]
    """In every epoch each image is in one batch, drawn uniformly, independently of the others.

    >>> import torch
    >>> sampler = RandomAllocationBatchSampler(
    ...     range(6), batch_size=2, generator=torch.Generator().manual_seed(3)
    ... )
    >>> first, second = list(sampler), list(sampler)
    >>> sorted(sum(first, [])) == sorted(sum(second, [])) == [0, 1, 2, 3, 4, 5]
    True

    That is the law of `RandomAllocation`. Batches vary in size, and some may be empty: divide the
    sum of gradients by the public `batch_size`, as Opacus does, and give the loader
    `collate_fn=EmptyBatches(...)`. Where gradients are made private by Opacus,
    `PatchPrivacyEngine(sampling=pdp.RandomAllocation)` arranges all of that.

    *Epochs.* Every pass draws afresh, from the generator's state: nothing like `set_epoch` is
    called. A pass that is broken off is an epoch in full for the accountant.
    *Workers.* Batches are drawn in the main process, whatever `num_workers` is.
    *Processes.* Each process draws a place for every image and takes the images whose number is its
    rank modulo the number of processes: together they see every image once, whether their
    generators agree or not. `batch_size` counts the images of all processes.

    Args:
      dataset: The data set, or anything of its length.
      batch_size: Images per step on average: an epoch has `ceil(len(dataset) / batch_size)` steps.
      generator: Source of randomness; by default torch's own seeds one for each pass.
      rank, processes: This process and how many there are; by default as `torch.distributed` says.

    Raises:
      ValueError: batch_size is below 1 or above the number of images, or rank is out of range.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        *,
        generator: torch.Generator | None = None,
        rank: int | None = None,
        processes: int | None = None,
    ) -> None:
        self.sampling = RandomAllocation(batch_size=batch_size, dataset_size=len(dataset))
        self.batch_size = batch_size
        self.generator = generator
        if (rank is None) != (processes is None):
            raise ValueError("rank and processes go together; give both or neither")
        if rank is not None and not 0 <= rank < _checks.count("processes", processes):
            raise ValueError(f"rank must be in 0..{processes - 1}, got {rank!r}")  # type: ignore[operator]
        self._place = None if rank is None else (rank, processes)

    def __len__(self) -> int:
        return self.sampling.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        images, steps = self.sampling.dataset_size, len(self)
        generator = self.generator
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        drawn = torch.randint(steps, (images,), generator=generator, device=generator.device).cpu()
        rank, processes = self._share()
        mine = torch.arange(rank, images, processes)
        order = torch.argsort(drawn[mine], stable=True)
        sizes = torch.bincount(drawn[mine], minlength=steps).tolist()
        for batch in torch.split(mine[order], sizes):
            yield batch.tolist()

    def _share(self) -> tuple[int, int]:
        if self._place is not None:
            return self._place  # type: ignore[return-value]
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1


class EmptyBatches:
    """A collate function that makes a batch of no images out of an empty list.

    >>> import torch
    >>> collate = EmptyBatches([{"image": torch.zeros(3, 8, 8), "label": 1}])
    >>> {name: tuple(part.shape) for name, part in collate([]).items()}
    {'image': (0, 3, 8, 8), 'label': (0,)}

    Shapes and types are those of the first item, which is read once, here.

    Args:
      dataset: The data set, of at least one item.
      collate: How other batches are collated.

    Raises:
      TypeError: (from an empty batch) a batch of something else than tensors, in lists, tuples
        and mappings.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any] = default_collate) -> None:
        self.collate = collate
        self._empty = _first_none(collate([dataset[0]]))

    def __call__(self, items: list[Any]) -> Any:
        return self.collate(items) if items else _first_none(self._empty)


def _first_none(batch: Any) -> Any:
    """The same batch with none of its items."""
    if isinstance(batch, torch.Tensor):
        return batch[:0].clone()
    if isinstance(batch, Mapping):
        return {name: _first_none(part) for name, part in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(_first_none, batch))
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return type(batch)(map(_first_none, batch))  # type: ignore[call-arg]
    raise TypeError(
        f"an empty batch of {type(batch).__name__} cannot be made; give a collate function that "
        "takes an empty list"
    )
