"""PyTorch's loaders with batches by random allocation: the law, workers, processes, Opacus."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import collections
import doctest
import itertools

import numpy as np
import pytest
from scipy import stats

import patchdp as pdp

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, Dataset, TensorDataset

from patchdp.interop import torch as samplers
from patchdp.interop.torch import EmptyBatches, RandomAllocationBatchSampler

torch.set_num_threads(1)
EPOCHS = 20_000


def generator(seed: int) -> object:
    return torch.Generator().manual_seed(seed)


def places(sampler: object, images: int) -> list[int]:
    """The batch of each image in one pass; every image is in exactly one."""
    found = {}
    for place, batch in enumerate(sampler):  # type: ignore[call-overload]
        for image in batch:
            assert image not in found
            found[image] = place
    assert sorted(found) == list(range(images))
    return [found[image] for image in range(images)]


def uniform(counts: dict, cells: int, total: int) -> None:
    """A chi-square test that fails by chance once in a hundred thousand."""
    observed = np.zeros(cells)
    observed[: len(counts)] = list(counts.values())
    statistic = float(((observed - total / cells) ** 2 / (total / cells)).sum())
    assert stats.chi2.sf(statistic, cells - 1) > 1e-5, statistic


def test_doctests() -> None:
    assert doctest.testmod(samplers).failed == 0


@pytest.mark.parametrize(("images", "batch", "steps"), [(3, 1, 3), (4, 2, 2), (5, 2, 3)])
def test_every_image_once_and_independently(images: int, batch: int, steps: int) -> None:
    """All `steps**images` allocations are equally likely, whatever the epoch before was."""
    sampler = RandomAllocationBatchSampler(range(images), batch, generator=generator(1))
    assert len(sampler) == steps == len(list(sampler))
    drawn = [places(sampler, images) for _ in range(EPOCHS)]
    uniform(collections.Counter(map(tuple, drawn)), steps**images, EPOCHS)
    # The same image in two epochs, one after the other, and two images in one epoch.
    pairs = collections.Counter((a[0], b[0]) for a, b in itertools.pairwise(drawn))
    uniform(pairs, steps**2, EPOCHS - 1)
    uniform(collections.Counter((a[0], a[-1]) for a in drawn), steps**2, EPOCHS)


def test_batches_are_public_only_in_their_number() -> None:
    sampler = RandomAllocationBatchSampler(range(6), 2, generator=generator(2))
    sizes = [tuple(map(len, sampler)) for _ in range(2000)]
    assert all(len(size) == 3 and sum(size) == 6 for size in sizes)
    assert any(0 in size for size in sizes)


def test_randomness() -> None:
    """A generator's state says all; without one torch's own does, which passes on."""
    same = [
        list(RandomAllocationBatchSampler(range(50), 5, generator=generator(7))) for _ in range(2)
    ]
    assert same[0] == same[1]
    sampler = RandomAllocationBatchSampler(range(50), 5)
    torch.manual_seed(3)
    first, second = list(sampler), list(sampler)
    torch.manual_seed(3)
    assert list(sampler) == first != second


@pytest.mark.parametrize("agree", [True, False])
def test_processes_share_the_images(agree: bool) -> None:
    """Together every image once, in as many steps, whether generators agree or not."""
    drawn = []
    parts = [
        RandomAllocationBatchSampler(
            range(5), 2, generator=generator(11 if agree else 11 + rank), rank=rank, processes=2
        )
        for rank in range(2)
    ]
    for _ in range(EPOCHS // 4):
        steps = [a + b for a, b in zip(*parts, strict=True)]
        assert sorted(itertools.chain(*steps)) == [0, 1, 2, 3, 4] and len(steps) == 3
        drawn.append(tuple(next(s for s in range(3) if i in steps[s]) for i in range(5)))
    uniform(collections.Counter(drawn), 3**5, len(drawn))


def test_arguments() -> None:
    with pytest.raises(ValueError, match="batch_size 7 is larger than dataset_size 5"):
        RandomAllocationBatchSampler(range(5), 7)
    with pytest.raises(ValueError, match="rank and processes go together"):
        RandomAllocationBatchSampler(range(5), 2, rank=0)
    with pytest.raises(ValueError, match=r"rank must be in 0\.\.1, got 2"):
        RandomAllocationBatchSampler(range(5), 2, rank=2, processes=2)
    assert RandomAllocationBatchSampler(range(5), 2).sampling == pdp.RandomAllocation(2, 5)


class Numbers(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return {"image": torch.full((1, 2, 2), float(index)), "label": index}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_and_empty_batches(workers: int) -> None:
    data = Numbers()
    loader = DataLoader(
        data,
        batch_sampler=RandomAllocationBatchSampler(data, 1, generator=generator(4)),
        collate_fn=EmptyBatches(data),
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == 8
        assert sorted(int(n) for b in batches for n in b["label"]) == list(range(8))
        empty = [b for b in batches if not len(b["label"])]
        assert empty and all(b["image"].shape == (0, 1, 2, 2) for b in empty)
        assert all(b["label"].dtype == torch.int64 for b in batches)


def test_empty_batches_of_other_structures() -> None:
    pair = collections.namedtuple("pair", "image label")
    data = [pair(torch.zeros(2), [torch.ones(3), 1.0])]
    none = EmptyBatches(data)([])
    assert isinstance(none, pair) and none.image.shape == (0, 2)
    assert none.label[0].shape == (0, 3) and none.label[1].dtype == torch.float64
    with pytest.raises(TypeError, match="an empty batch of str cannot be made"):
        EmptyBatches(["a"], collate=lambda items: items[0])([])
    kept = EmptyBatches(TensorDataset(torch.arange(3)))
    assert kept([(torch.tensor(2),)])[0].tolist() == [2]
