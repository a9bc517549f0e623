"""Whether the crops of a PyTorch data loader are fresh: two passes through the loader itself.

Random numbers that a transform keeps for itself (Albumentations 2, MONAI) are copied into every
worker process of every pass: each pass then draws the crops of the pass before, and each worker
those of its neighbour. No analysis of crops holds for such a training.

>>> import torch
>>> from torch.utils.data import DataLoader, Dataset
>>> class Crops(Dataset):
...     images = torch.rand(6, 24, 24)
...     def __init__(self, kept):
...         self.random = torch.Generator() if kept else None
...     def __len__(self):
...         return 6
...     def __getitem__(self, k):
...         if self.random is not None:
...             self.random.manual_seed(k)          # each image always by the same window
...         y, x = torch.randint(0, 17, (2,), generator=self.random).tolist()
...         return self.images[k, y : y + 8, x : x + 8]
>>> check_fresh(DataLoader(Crops(kept=False), batch_size=3))
>>> check_fresh(DataLoader(Crops(kept=True), batch_size=3))
Traceback (most recent call last):
    ...
ValueError: the loader's crops repeat: two passes show the same items the same; draw crops from \
torch's own random numbers, or give every worker new ones at each pass by worker_init_fn
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, IterableDataset

__all__ = ["Repetition", "check_fresh", "repetition"]

# Draws are (item, worker); a few settle most loaders, and 16 agree by chance once in 65,000 times
# even where a crop has only two places.
_ROUNDS = ((4, 2), (16, 4))
_WORKERS = 2

Arrays: TypeAlias = list[Any]


def check_fresh(loader: Any) -> None:
    """Refuse a loader whose crops repeat, from pass to pass, worker to worker or access to access.

    A few items are drawn in two passes through a loader with the same data set, workers,
    `worker_init_fn`, generator and `persistent_workers`. torch's, numpy's and Python's random
    numbers are left as they were. Images of one colour tell nothing and are passed over; so are
    crops behind which another source of fresh random numbers changes the pixels.

    Args:
      loader: A `torch.utils.data.DataLoader` over a data set with indices, whose crops are random.

    Raises:
      ValueError: The crops repeat; it says where.
    """
    found = repetition(loader)
    if found is not None:
        raise ValueError(found.sentence)


@dataclass(frozen=True)
class Repetition:
    """How the draws of a loader repeat.

    Args:
      how: In a few words.
      axes: Most axes of an array that is not of one colour: 1 where items are vectors only.
    """

    how: str
    axes: int

    @property
    def sentence(self) -> str:
        """What is found, and what to do."""
        return (
            f"the loader's crops repeat: {self.how}; draw crops from torch's own random numbers, "
            "or give every worker new ones at each pass by worker_init_fn"
        )


def repetition(loader: Any) -> Repetition | None:
    """How the crops of a loader repeat; None where they are fresh, or nothing can be told.

    Raises:
      ValueError: It is no loader over a data set with indices.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise ValueError(
            "the loader must be a DataLoader over a data set with indices, got "
            f"{type(loader).__name__}"
        )
    if len(loader.dataset) == 0:
        return None
    found = None
    for slots, items in _ROUNDS:
        found = _repetition(loader, slots, min(items, len(loader.dataset)))
        if found is None:
            break
    return found


def _repetition(loader: Any, slots: int, items: int) -> Repetition | None:
    """How draws repeat without an exception, or None."""
    workers = min(loader.num_workers, _WORKERS)
    streams = max(1, workers)
    # Batches go to the workers in turn: every item to each of them.
    indices = [slot % items for slot in range(slots) for _ in range(streams)]
    with _same_random_numbers_after(loader.generator):
        probe = _like(loader, indices, workers)
        first, second = (list(islice(probe, len(indices))) for _ in range(2))
    everywhere = range(len(indices))
    later = range(items * streams, len(indices))
    odd = [k for k in everywhere if k % streams] if streams > 1 else []
    drawn = [array.ndim for arrays in first for array in arrays if _tells([array])]
    for how, one, other, pairs in (
        ("two passes show the same items the same", first, second, [(k, k) for k in everywhere]),
        (
            f"its {loader.num_workers} workers draw the same crops as each other",
            first,
            first,
            [(k, k - 1) for k in odd],
        ),
        (
            "one pass shows an item the same each time it is drawn",
            first,
            first,
            [(k, k - items * streams) for k in later],
        ),
    ):
        if _all_alike(one, other, pairs):
            return Repetition(how, max(drawn))
    return None


def _all_alike(one: list[Arrays], other: list[Arrays], pairs: list[tuple[int, int]]) -> bool:
    """Whether all pairs of draws agree, of those that tell anything; and some do."""
    telling = [(one[j], other[k]) for j, k in pairs if _tells(one[j])]
    return bool(telling) and all(_alike(left, right) for left, right in telling)


def _tells(arrays: Arrays) -> bool:
    return any(array.size and (array != array.flat[0]).any() for array in arrays)


def _alike(left: Arrays, right: Arrays) -> bool:
    return len(left) == len(right) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(left, right, strict=True)
    )


def _like(loader: Any, indices: list[int], workers: int) -> DataLoader[Any]:
    """A loader with the same workers that draws single items by these indices."""
    options: dict[str, Any] = {}
    if workers:
        options["persistent_workers"] = loader.persistent_workers
        options["multiprocessing_context"] = loader.multiprocessing_context
        options["prefetch_factor"] = loader.prefetch_factor
    return DataLoader(
        loader.dataset,
        batch_size=1,
        sampler=indices,
        num_workers=workers,
        collate_fn=_shown,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        timeout=loader.timeout,
        **options,
    )


def _shown(items: list[Any]) -> Arrays:
    """The tensors, arrays and pictures of a single item, copied."""
    leaves = [
        leaf.detach().cpu().numpy() if isinstance(leaf, torch.Tensor) else leaf
        for leaf in tree_leaves(items[0])
    ]
    pictures = [leaf for leaf in leaves if hasattr(leaf, "__array_interface__")]
    return [array for array in map(np.array, pictures) if array.ndim >= 1]


@contextmanager
def _same_random_numbers_after(generator: torch.Generator | None) -> Iterator[None]:
    """Leave torch's, numpy's and Python's random numbers as they were, and a generator's."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    kept = None if generator is None else generator.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            if generator is not None and kept is not None:
                generator.set_state(kept)
