"""Number, entropy and evenness of windows against a list of all of them."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from patchdp.geometry import (
    AtMost,
    CenterCrop,
    ChoiceCrop,
    Crop,
    FixedCrop,
    GridCrop,
    RandomApply,
    RandomCrop,
    RandomResizedCrop,
    Views,
    best_crop,
    diversity,
)
from patchdp.geometry.patch import Patch

Window = tuple[tuple[int, ...], tuple[int, ...]]


def listed(crop: Crop, image: tuple[int, ...]) -> Counter[Window]:
    """Probability of every (first pixel, size), from the definition of the crop."""
    found: Counter[Window] = Counter()
    if isinstance(crop, ChoiceCrop):
        for one, weight in zip(crop.crops, crop.weights, strict=True):
            for window, chance in listed(one, image).items():
                found[window] += weight * chance  # type: ignore[assignment]
        return found
    starts = []
    for axis, n in enumerate(image):
        if isinstance(crop, RandomCrop):
            before, after = crop.margins(axis)
            starts.append(list(range(-before, n + after - crop.size[axis] + 1)))
        elif isinstance(crop, FixedCrop):
            starts.append([crop.at[axis]])
        else:
            assert isinstance(crop, GridCrop)
            shift, last = crop.jitters(image)[axis], n - crop.size[axis]
            tiles = range(0, last - shift + 1, crop.stride[axis])
            starts.append([j + k for j in range(shift + 1) for k in tiles])
    every = list(itertools.product(*starts))
    for at in every:
        found[at, crop.size] += Fraction(1, len(every))  # type: ignore[assignment]
    return found


def some_crop(rng: random.Random, image: tuple[int, ...]) -> Crop:
    size = tuple(rng.randint(1, n) for n in image)
    kind = rng.randrange(4)
    if kind == 0:
        return RandomCrop(size, padding=rng.randint(0, 2))
    if kind == 1:
        return FixedCrop(
            size, at=tuple(rng.randint(0, n - c) for n, c in zip(image, size, strict=True))
        )
    stride = tuple(rng.randint(1, 4) for _ in image)
    return GridCrop(size, stride=stride, jitter=rng.choice((None, "full")))


def test_figures_equal_those_of_all_windows() -> None:
    rng = random.Random(2)
    for _ in range(200):
        image = tuple(rng.randint(1, 8) for _ in range(rng.choice((1, 2, 2))))
        crop = some_crop(rng, image)
        if rng.random() < 0.4:
            others = (crop, some_crop(rng, image), some_crop(rng, image))
            crop = ChoiceCrop(others, (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)))
        found, windows = diversity(image, crop), listed(crop, image)
        exposure = np.zeros(image)
        for (at, size), chance in windows.items():
            exposure[
                tuple(slice(max(a, 0), max(a + n, 0)) for a, n in zip(at, size, strict=True))
            ] += float(chance)
        assert found.windows == len(windows)
        entropy = -sum(float(c) * math.log(c) for c in windows.values())
        assert found.entropy == pytest.approx(entropy, abs=1e-12)
        assert found.shown == pytest.approx((exposure > 0).mean())
        assert found.evenness == pytest.approx(
            exposure.mean() ** 2 / np.square(exposure).mean() if exposure.any() else 0.0
        )


def test_uniform_and_best_on_cityscapes() -> None:
    image, size = (1024, 2048), (480, 480)
    best = diversity(image, best_crop(image, size, patch=Patch((10, 10))))
    assert best.windows == 45_696
    assert best.entropy == pytest.approx(math.log(45_696))
    assert best.shown == 1
    still = diversity(image, best_crop(image, size, patch=Patch((10, 10)), jitter=None))
    assert (still.windows, still.shown) == (8, 8 * 480 * 480 / (1024 * 2048))
    assert still.evenness == pytest.approx(still.shown)
    uniform = diversity(image, RandomCrop(size))
    assert uniform.windows == 545 * 1569
    assert uniform.evenness < best.evenness


def test_a_whole_crop_shows_all_evenly() -> None:
    for crop in (RandomCrop((5, 6)), CenterCrop((5, 6))):
        found = diversity((5, 6), crop)
        assert (found.windows, found.entropy, found.shown) == (1, 0.0, 1.0)
        assert found.evenness == pytest.approx(1.0)


@pytest.mark.parametrize(
    "crop",
    [
        RandomResizedCrop(),
        AtMost(RandomCrop((2, 2))),
        Views((RandomCrop((2, 2)),) * 2),
        RandomApply(RandomCrop((2, 2)), 0.5),
        RandomCrop((2, 2), padding=1, padding_mode="edge"),
    ],
)
def test_other_crops_are_refused(crop: Crop) -> None:
    with pytest.raises(ValueError, match="single windows of known size"):
        diversity((8, 8), crop)
