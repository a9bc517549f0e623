"""Loaders whose crops are fresh, and loaders whose crops repeat, with real worker processes."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from patchdp.interop.loaders import check_fresh  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 255, (24, 20, 20, 3), dtype=np.uint8)


class Crops(Dataset):  # type: ignore[type-arg]
    """Windows of 8 x 8; `draw(self, k)` gives the place in a 13 x 13 square."""

    def __init__(self, draw: Any, images: Any = IMAGES, **kept: Any) -> None:
        self.draw, self.images = draw, images
        self.__dict__.update(kept)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> Any:
        y, x = self.draw(self, k)
        return torch.from_numpy(self.images[k, y : y + 8, x : x + 8].copy()), k


def by_torch(data: Any, k: int) -> Any:
    return torch.randint(0, 13, (2,)).tolist()


def by_numpy(data: Any, k: int) -> Any:
    return np.random.randint(0, 13, 2)  # noqa: NPY002


def by_python(data: Any, k: int) -> Any:
    return random.randrange(13), random.randrange(13)


def by_system(data: Any, k: int) -> Any:
    return [byte % 13 for byte in os.urandom(2)]


def by_one_of_two(data: Any, k: int) -> Any:
    return 0, int(torch.randint(0, 2, ()))


def by_own_generator(data: Any, k: int) -> Any:
    return data.own.integers(0, 13, 2)


def by_own_torch(data: Any, k: int) -> Any:
    return torch.randint(0, 13, (2,), generator=data.own).tolist()


def by_own_python(data: Any, k: int) -> Any:
    return data.own.randrange(13), data.own.randrange(13)


def by_fixed_seed(data: Any, k: int) -> Any:
    torch.manual_seed(5)
    return by_torch(data, k)


def by_index(data: Any, k: int) -> Any:
    return np.random.default_rng(k).integers(0, 13, 2)


def by_cache(data: Any, k: int) -> Any:
    return data.cache.setdefault(k, by_torch(data, k))


def by_middle(data: Any, k: int) -> Any:
    return 6, 6


def by_worker(data: Any, k: int) -> Any:
    info = torch.utils.data.get_worker_info()
    return np.random.default_rng([info.id, k]).integers(0, 13, 2)


def own() -> dict[str, Any]:
    return {"own": np.random.default_rng(1)}


def fresh_generator(worker: int) -> None:
    data = torch.utils.data.get_worker_info().dataset
    data.own = np.random.default_rng(torch.initial_seed())


def same_generator(worker: int) -> None:
    torch.utils.data.get_worker_info().dataset.own = np.random.default_rng(worker)


def same_seeds(worker: int) -> None:
    torch.manual_seed(100 + worker)


TWO = {"num_workers": 2}
STAYING = {"num_workers": 2, "persistent_workers": True}
FRESH: list[tuple[str, Any, dict[str, Any]]] = [
    ("torch", lambda: Crops(by_torch), {}),
    ("torch, one worker", lambda: Crops(by_torch), {"num_workers": 1}),
    ("torch, two workers", lambda: Crops(by_torch), TWO),
    ("torch, one batch for all", lambda: Crops(by_torch), {**TWO, "prefetch_factor": 1}),
    ("torch, workers that stay", lambda: Crops(by_torch), STAYING),
    ("torch, a generator for the order", lambda: Crops(by_torch),
     {**TWO, "generator": torch.Generator().manual_seed(1)}),
    ("numpy's own", lambda: Crops(by_numpy), TWO),
    ("Python's own", lambda: Crops(by_python), TWO),
    ("the system's", lambda: Crops(by_system), TWO),
    ("two places only", lambda: Crops(by_one_of_two), TWO),
    ("a generator kept, no workers", lambda: Crops(by_own_generator, **own()), {}),
    ("a generator kept by one worker that stays", lambda: Crops(by_own_generator, **own()),
     {"num_workers": 1, "persistent_workers": True}),
    ("a generator renewed in each worker", lambda: Crops(by_own_generator, **own()),
     {**TWO, "worker_init_fn": fresh_generator}),
    ("one colour", lambda: Crops(by_middle, np.full_like(IMAGES, 7)), {}),
    ("one image", lambda: Crops(by_torch, IMAGES[:1]), TWO),
    ("none", lambda: Crops(by_torch, IMAGES[:0]), {}),
    ("a part", lambda: Subset(Crops(by_torch), [3, 1, 4]), TWO),
]  # fmt: skip
ALIKE = "two passes show the same items the same"
NEIGHBOURS = "2 workers draw the same crops as each other"
REPEATED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("one seed", lambda: Crops(by_fixed_seed), {}, ALIKE),
    ("one seed, workers", lambda: Crops(by_fixed_seed), TWO, ALIKE),
    ("a seed for each image", lambda: Crops(by_index), {}, ALIKE),
    ("a seed for each image, workers that stay", lambda: Crops(by_index), STAYING, ALIKE),
    ("a seed for each worker", lambda: Crops(by_worker), TWO, ALIKE),
    ("a cache", lambda: Crops(by_cache, cache={}), {}, ALIKE),
    ("a cache in workers that stay", lambda: Crops(by_cache, cache={}), STAYING, ALIKE),
    ("a cache in each worker of a pass", lambda: Crops(by_cache, cache={}), TWO,
     "one pass shows an item the same"),
    ("the middle", lambda: Crops(by_middle), {}, ALIKE),
    ("no crop at all", lambda: TensorDataset(torch.rand(9, 1, 8, 8)), {}, ALIKE),
    ("a generator kept", lambda: Crops(by_own_generator, **own()), TWO, ALIKE),
    ("a generator kept, one worker", lambda: Crops(by_own_generator, **own()),
     {"num_workers": 1}, ALIKE),
    ("a generator kept, workers that stay", lambda: Crops(by_own_generator, **own()), STAYING,
     NEIGHBOURS),
    ("torch's generator kept", lambda: Crops(by_own_torch, own=torch.Generator()), TWO, ALIKE),
    ("Python's generator kept", lambda: Crops(by_own_python, own=random.Random(1)), TWO, ALIKE),
    ("worker_init_fn with the same seeds", lambda: Crops(by_torch),
     {**TWO, "worker_init_fn": same_seeds}, ALIKE),
    ("worker_init_fn with the same generators", lambda: Crops(by_own_generator, **own()),
     {**TWO, "worker_init_fn": same_generator}, ALIKE),
    ("a part", lambda: Subset(Crops(by_index), [3, 1, 4]), {}, ALIKE),
    ("joined", lambda: ConcatDataset([Crops(by_own_generator, **own()), Crops(by_torch)]), TWO,
     ALIKE),
    ("two images", lambda: Crops(by_own_generator, IMAGES[:2], **own()), TWO, ALIKE),
]  # fmt: skip


@pytest.mark.parametrize(("make", "options"), [row[1:] for row in FRESH], ids=[r[0] for r in FRESH])
def test_fresh_crops_pass(make: Any, options: Any) -> None:
    torch.manual_seed(20261128)
    check_fresh(DataLoader(make(), batch_size=4, **options))


@pytest.mark.parametrize(
    ("make", "options", "reason"), [row[1:] for row in REPEATED], ids=[r[0] for r in REPEATED]
)
def test_repeated_crops_are_refused(make: Any, options: Any, reason: str) -> None:
    torch.manual_seed(20261128)
    with pytest.raises(ValueError, match=f"crops repeat.*{reason}"):
        check_fresh(DataLoader(make(), batch_size=4, **options))


def test_random_numbers_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    loader = DataLoader(Crops(by_torch), batch_size=4, generator=generator, num_workers=1)
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)
    before = generator.get_state()
    expected = torch.rand(2), np.random.random(2), random.random()  # noqa: NPY002
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)
    check_fresh(loader)
    found = torch.rand(2), np.random.random(2), random.random()  # noqa: NPY002
    assert torch.equal(found[0], expected[0]) and found[2] == expected[2]
    assert np.array_equal(found[1], expected[1])
    assert torch.equal(generator.get_state(), before)


def test_what_has_no_indices() -> None:
    class Stream(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(())

    for loader in (DataLoader(Stream()), [1, 2]):
        with pytest.raises(ValueError, match="must be a DataLoader over a data set with indices"):
            check_fresh(loader)


# --- libraries that keep random numbers of their own ------------------------------------------


def albumentations_data() -> Any:
    library = pytest.importorskip("albumentations")

    class Data(Crops):
        def __getitem__(self, k: int) -> Any:
            return self.transform(image=self.images[k])["image"]

    return Data(None, transform=library.Compose([library.RandomCrop(8, 8)]))


def reseed_albumentations(worker: int) -> None:
    data = torch.utils.data.get_worker_info().dataset
    data.transform.set_random_seed(torch.initial_seed() % 2**32)


@pytest.mark.parametrize("options", [{}, {**TWO, "worker_init_fn": reseed_albumentations}])
def test_albumentations_as_it_should_be_used(options: Any) -> None:
    check_fresh(DataLoader(albumentations_data(), batch_size=4, **options))


@pytest.mark.parametrize(
    ("options", "reason"), [(TWO, ALIKE), ({"num_workers": 1}, ALIKE), (STAYING, NEIGHBOURS)]
)
def test_albumentations_repeats_in_workers(options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_fresh(DataLoader(albumentations_data(), batch_size=4, **options))


def monai_data(dictionary: bool) -> Any:
    transforms = pytest.importorskip("monai.transforms")

    class Data(Crops):
        def __getitem__(self, k: int) -> Any:
            image = torch.from_numpy(self.images[k]).permute(2, 0, 1).float()
            if dictionary:
                return {"image": self.transform({"image": image})["image"]}
            return self.transform(image)

    if dictionary:
        crop = transforms.RandSpatialCropd(["image"], (8, 8), random_size=False)
    else:
        crop = transforms.RandSpatialCrop((8, 8), random_size=False)
    return Data(None, transform=transforms.Compose([crop]))


@pytest.mark.parametrize("dictionary", [False, True])
def test_monai_repeats_in_the_workers_of_a_plain_loader(dictionary: bool) -> None:
    data = monai_data(dictionary)
    with pytest.raises(ValueError, match="crops repeat"):
        check_fresh(DataLoader(data, batch_size=4, **TWO))
    check_fresh(DataLoader(data, batch_size=4))
    own_loader = pytest.importorskip("monai.data").DataLoader
    check_fresh(own_loader(data, batch_size=4, **TWO))
