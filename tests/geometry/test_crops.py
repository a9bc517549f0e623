"""Every crop distribution against the list of all its windows, on small images."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from window_lists import map_of, worst_of

from patchdp.geometry import (
    CenterCrop,
    Crop,
    Cutout,
    FiveCrop,
    FixedCrop,
    GridCrop,
    NestedCrop,
    OneOf,
    Patch,
    RandomApply,
    RandomCrop,
    RandomScale,
    RandomSizeCrop,
    Resize,
    ResizedCrop,
    TenCrop,
    Views,
    WholeImage,
    hit_probability,
    inclusion,
    inclusion_map,
)


def some_image(rng: random.Random, most: int = 8) -> tuple[int, ...]:
    axes = rng.choice((1, 2, 2))
    return tuple(rng.randint(1, most if axes == 1 else most - 2) for _ in range(axes))


def some_size(rng: random.Random, image: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(rng.randint(1, n) for n in image)


def padded(rng: random.Random, image: tuple[int, ...], most: int = 3) -> RandomCrop:
    mode = rng.choice(("constant", "reflect", "symmetric", "edge", "circular"))
    margins = []
    for n in image:
        limit = min(most, n - 1) if mode == "reflect" else most
        margins.append((rng.randint(0, limit), rng.randint(0, limit)))
    size = tuple(rng.randint(1, n + sum(m)) for n, m in zip(image, margins, strict=True))
    return RandomCrop(size, padding=tuple(margins), padding_mode=mode)


def too_small(rng: random.Random, image: tuple[int, ...]) -> RandomCrop:
    size = tuple(rng.randint(1, 2 * n + 2) for n in image)
    return RandomCrop(size, padding=rng.randint(0, 1), pad_if_needed=True)


def fixed(rng: random.Random, image: tuple[int, ...]) -> FixedCrop:
    return FixedCrop(some_size(rng, image), at=tuple(rng.randint(-1, n - 1) for n in image))


def centre(rng: random.Random, image: tuple[int, ...]) -> CenterCrop:
    return CenterCrop(tuple(rng.randint(1, n + 2) for n in image))


def grid(rng: random.Random, image: tuple[int, ...]) -> GridCrop:
    stride, size = tuple(rng.randint(1, 4) for _ in image), some_size(rng, image)
    room = tuple(rng.randint(0, n - c) for n, c in zip(image, size, strict=True))
    return GridCrop(size, stride=stride, jitter=rng.choice((None, "full", room)))


def random_size(rng: random.Random, image: tuple[int, ...]) -> RandomSizeCrop:
    smallest = some_size(rng, image)
    largest = tuple(rng.randint(low, n) for low, n in zip(smallest, image, strict=True))
    return RandomSizeCrop(
        smallest, largest if rng.random() < 0.7 else None, centered=rng.random() < 0.3
    )


def nested(rng: random.Random, image: tuple[int, ...]) -> NestedCrop:
    size = some_size(rng, image)
    kinds: tuple[Callable[[tuple[int, ...]], Crop], ...] = (RandomCrop, CenterCrop)
    outer, inner = rng.choice(kinds), rng.choice(kinds)
    return NestedCrop(outer(size), inner(some_size(rng, size)))


def views(rng: random.Random, image: tuple[int, ...]) -> Views:
    makers = (padded, fixed, centre, grid, random_size)
    crops: list[Crop] = [rng.choice(makers)(rng, image) for _ in range(rng.randint(1, 3))]
    return Views(tuple(crops + crops[: rng.randint(0, 1)]))


def coin(rng: random.Random, image: tuple[int, ...]) -> RandomApply:
    crop = rng.choice((padded, fixed, views))(rng, image)
    return RandomApply(crop, rng.choice((Fraction(1, 3), 0.5, 1)))


def views_of_coins(rng: random.Random, image: tuple[int, ...]) -> Views:
    return Views((coin(rng, image), views(rng, image), padded(rng, image)))


def cutout(rng: random.Random, image: tuple[int, ...]) -> Cutout:
    size = some_size(rng, image)
    hole = tuple(rng.randint(1, c) for c in size)
    crop = RandomCrop(size, padding=rng.choice((0, 0, 1)))
    return Cutout(crop, hole, probability=rng.choice((1, 0.5, Fraction(1, 3))))


def five(rng: random.Random, image: tuple[int, ...]) -> FiveCrop | WholeImage:
    if len(image) != 2:
        return WholeImage()
    kind = rng.randint(0, 2)
    size = some_size(rng, image)
    return FiveCrop(size) if kind == 2 else TenCrop(size, vertical_flip=bool(kind))


def whole(rng: random.Random, image: tuple[int, ...]) -> WholeImage:
    return WholeImage()


MAKERS = (
    padded,
    too_small,
    fixed,
    centre,
    grid,
    random_size,
    nested,
    views,
    coin,
    views_of_coins,
    cutout,
    five,
    whole,
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_crop_equals_the_list_of_its_windows(make: Callable[..., Crop]) -> None:
    rng = random.Random(make.__name__)
    for _ in range(120):
        image = some_image(rng)
        crop = make(rng, image)
        patch = Patch(some_size(rng, image))
        found = inclusion(image, crop, patch)
        expected, where = worst_of(crop, image, patch)
        assert found.probability == expected, (image, crop, patch)
        assert found.worst_position == where, (image, crop, patch)
        assert found.attained
        assert eval(repr(crop)) == crop and hash(eval(repr(crop))) == hash(crop)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_maps_and_many_boxes_agree_with_the_list_of_windows(make: Callable[..., Crop]) -> None:
    rng = random.Random(make.__name__ + " map")
    for _ in range(25):
        image = some_image(rng)
        crop = make(rng, image)
        shape = some_size(rng, image)
        expected = map_of(crop, image, shape)
        probabilities = np.array([float(p) for p in expected.values()])
        found = inclusion_map(image, crop, Patch(shape))
        np.testing.assert_allclose(found.ravel(), probabilities, rtol=1e-13, atol=1e-15)
        listed = hit_probability(image, crop, list(expected), shape)
        np.testing.assert_allclose(listed, probabilities, rtol=1e-13, atol=1e-14)
        assert (listed >= probabilities).all()
        for at in list(expected)[:3]:
            known = inclusion(image, crop, Patch(shape, at=at))
            assert known.probability == expected[at] and known.worst_position == at


@pytest.mark.parametrize("interpolation", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_before_the_crop_equals_the_kernels(interpolation: str, antialias: bool) -> None:
    rng = random.Random(f"{interpolation} {antialias}")
    exact = 0
    for _ in range(60):
        image = some_image(rng)
        size = tuple(rng.randint(1, 9) for _ in image)
        inner = rng.choice((padded, centre, random_size))(rng, size)
        crop = ResizedCrop(inner, Resize(size), interpolation=interpolation, antialias=antialias)
        patch = Patch(some_size(rng, image))
        found = inclusion(image, crop, patch)
        expected, where = worst_of(crop, image, patch)
        # A target length that is a power of two makes every coordinate exact in floats.
        if all(m in {1, 2, 4, 8, n} for n, m in zip(image, size, strict=True)):
            exact += 1
            assert (found.probability, found.worst_position) == (expected, where), (image, crop)
        assert found.probability >= expected, (image, crop, patch)
    assert exact > 5


@pytest.mark.parametrize("rounding", ["nearest", "down"])
def test_random_scale_equals_the_list_of_its_windows(rounding: str) -> None:
    rng = random.Random(rounding)
    for _ in range(25):
        image = some_image(rng, most=6)
        low = Fraction(rng.randint(1, 8), 4)
        scale = RandomScale(low, low + Fraction(rng.randint(0, 4), 4), rounding=rounding)
        both = OneOf((scale, Resize(tuple(rng.randint(1, 8) for _ in image))))
        smallest = [min(size[k] for _, size in both.sizes(image)) for k in range(len(image))]
        inner = too_small(rng, image) if rng.random() < 0.3 else RandomCrop(tuple(smallest))
        crop = ResizedCrop(inner, both, interpolation="nearest-exact")
        patch = Patch(some_size(rng, image))
        found = inclusion(image, crop, patch)
        expected, where = worst_of(crop, image, patch)
        assert found.probability >= expected
        assert float(found.probability - expected) < 0.5
        if all(m in {1, 2, 4, 8} for _, size in both.sizes(image) for m in size):
            assert (found.probability, found.worst_position) == (expected, where)
        assert eval(repr(crop)) == crop
