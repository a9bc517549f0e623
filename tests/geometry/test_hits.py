"""The closed forms against counting every window by hand."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from patchdp.geometry import (
    Disk,
    Mask,
    Patch,
    PatchUnion,
    RandomCrop,
    hit_probability,
    inclusion,
    inclusion_map,
)


def brute_force(
    image: tuple[int, ...],
    crop: tuple[int, ...],
    margins: list[tuple[int, int]],
    pixels: list[tuple[int, ...]],
) -> Fraction:
    """Share of all windows that contain one of the pixels, window by window."""
    ranges = [
        range(-before, n + after - c + 1)
        for n, c, (before, after) in zip(image, crop, margins, strict=True)
    ]
    offsets = list(itertools.product(*ranges))
    hits = sum(
        any(
            all(o <= v < o + c for o, v, c in zip(offset, pixel, crop, strict=True))
            for pixel in pixels
        )
        for offset in offsets
    )
    return Fraction(hits, len(offsets))


def random_case(rng: random.Random) -> tuple[tuple[int, ...], RandomCrop, list[tuple[int, int]]]:
    axes = rng.choice((1, 1, 2, 2, 2, 3))
    limit = {1: 12, 2: 7, 3: 4}[axes]
    image = tuple(rng.randint(1, limit) for _ in range(axes))
    margins = [
        (0, 0) if rng.random() < 0.4 else (rng.randint(0, 4), rng.randint(0, 4)) for _ in image
    ]
    if axes == 3:
        margins = [(before // 2, after // 2) for before, after in margins]
    crop = tuple(rng.randint(1, n + sum(m)) for n, m in zip(image, margins, strict=True))
    return image, RandomCrop(crop, padding=tuple(margins)), margins


def placed(rng: random.Random, image: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, object]:
    kind = rng.choice(("anywhere", "anywhere", "at", "within"))
    if kind == "at":
        return {"at": tuple(rng.randint(0, n - a) for n, a in zip(image, shape, strict=True))}
    if kind == "within":
        starts = [rng.randint(0, n - a) for n, a in zip(image, shape, strict=True)]
        return {
            "within": tuple(
                (s, rng.randint(s + a, n)) for n, a, s in zip(image, shape, starts, strict=True)
            )
        }
    return {}


def corners_of(image: tuple[int, ...], patch: Patch | Mask | Disk) -> list[tuple[int, ...]]:
    shape = patch.shape(len(image))
    if patch.at is not None:
        return [patch.at]
    region = patch.within or tuple((0, n) for n in image)
    return list(
        itertools.product(*(range(s, e - a + 1) for (s, e), a in zip(region, shape, strict=True)))
    )


def random_mask(rng: random.Random, image: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    shape = tuple(rng.randint(1, n) for n in image)
    seed = np.random.default_rng(rng.randrange(2**32))
    pixels: npt.NDArray[np.bool_] = seed.random(shape) < seed.choice((0.1, 0.4, 0.9))
    pixels[tuple(seed.integers(0, n) for n in shape)] = True
    return Mask(pixels).pixels(len(image))


@pytest.mark.parametrize("seed", range(10))
def test_boxes_and_masks_equal_brute_force_as_fractions(seed: int) -> None:
    rng = random.Random(seed)
    for case in range(1000):
        image, crop, margins = random_case(rng)
        patch: Patch | Mask
        if case % 2:
            shape = tuple(rng.randint(1, n) for n in image)
            patch = Patch(shape, **placed(rng, image, shape))
        else:
            pixels = random_mask(rng, image)
            patch = Mask(pixels, **placed(rng, image, pixels.shape))
        inside = np.argwhere(patch.pixels(len(image))).tolist()
        positions = corners_of(image, patch)
        if len(positions) > 8 and case % 5:
            patch = type(patch)(
                *([patch.size] if isinstance(patch, Patch) else [pixels]), at=rng.choice(positions)
            )
            positions = corners_of(image, patch)
        exact = [
            brute_force(
                image,
                crop.size,
                margins,
                [tuple(t + v for t, v in zip(corner, pixel, strict=True)) for pixel in inside],
            )
            for corner in positions
        ]
        found = inclusion(image, crop, patch)
        assert found.probability == max(exact), (image, crop, patch)
        assert found.worst_position == positions[exact.index(max(exact))], (image, crop, patch)
        assert found.worst_image == image and found.attained
        probabilities = inclusion_map(image, crop, patch)
        np.testing.assert_allclose(probabilities.ravel(), [float(p) for p in exact], rtol=1e-15)


def test_figures_of_two_published_settings() -> None:
    crop, patch = RandomCrop((505, 505)), Patch((10, 10))
    cityscapes = inclusion((1024, 2048), crop, patch)
    assert cityscapes.probability == Fraction(66049, 200720)
    assert cityscapes.worst_position == (504, 504)
    a2d2 = inclusion((1208, 1920), crop, patch)
    assert float(a2d2.probability) == 0.26502712506420134


def test_a_large_disk_equals_its_rows_counted_one_by_one() -> None:
    found = inclusion((1000, 1000), RandomCrop((100, 100)), Disk(50))
    # Far from the border the windows that miss nothing of the dilated disk are its own pixels.
    rows = [2 * int((2500 - v * v) ** 0.5) + 1 for v in range(-50, 51)]
    spans: dict[int, int] = {}
    for v, length in enumerate(rows):
        for start in range(v, v + 100):
            spans[start] = max(spans.get(start, 0), length + 99)
    assert found.probability == Fraction(sum(spans.values()), 901 * 901)


def test_the_largest_probability_over_sizes_is_computed_not_guessed() -> None:
    rng = random.Random(5)
    for _ in range(300):
        image, crop, _ = random_case(rng)
        sizes = [tuple(n + rng.randint(0, 3) for n in image) for _ in range(4)]
        shape = tuple(rng.randint(1, n) for n in image)
        mask = Mask(np.eye(2, dtype=bool)) if len(image) == 2 and min(image) > 1 else Patch(shape)
        for patch in (Patch(shape), mask):
            each = [inclusion(size, crop, patch) for size in sizes]
            found = inclusion(sizes, crop, patch)
            assert found.probability == max(one.probability for one in each)
            assert found in each
    # One-sided padding wider than the crop: the larger image is the worse one.
    crop = RandomCrop((2,), padding=((0, 2),))
    assert inclusion([(1,), (2,)], crop, Patch((1,))).worst_image == (2,)


def test_sizes_may_be_an_array_or_repeat() -> None:
    crop, patch = RandomCrop((2, 2)), Patch((1, 1))
    sizes = np.array([[5, 6], [4, 9], [5, 6]])
    found = inclusion(sizes, crop, patch)
    assert found == inclusion([(5, 6), (4, 9)], crop, patch)
    assert all(type(n) is int for n in found.worst_image)
    assert inclusion([5, 6], crop, patch).worst_image == (5, 6)


@pytest.mark.parametrize(
    ("corners", "sizes", "match"),
    [
        ([[0, 0]], [[9, 1]], "box 0 at .0, 0. of size 9x1 does not lie inside image 8x8"),
        ([[0, 0], [-1, 0]], [1, 1], "box 1"),
        ([[0, 0]], [[0, 1]], "box 0"),
        ([[0.5, 0]], [1, 1], "whole numbers"),
        ([0, 0], [1, 1], "corners"),
        ([[0, 0]], [1, 1, 1], "sizes"),
    ],
)
def test_boxes_outside_the_image_are_refused(corners: object, sizes: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        hit_probability((8, 8), RandomCrop((4, 4)), corners, sizes)  # type: ignore[arg-type]


def test_a_map_is_of_one_size_and_a_region_cuts_it() -> None:
    crop, whole = RandomCrop((3, 4)), inclusion_map((8, 9), RandomCrop((3, 4)), Patch((2, 2)))
    part = inclusion_map((8, 9), crop, Patch((2, 2), within=((3, 8), (1, 5))))
    np.testing.assert_array_equal(part, whole[3:7, 1:4])
    union = PatchUnion((Patch((2, 2), at=(0, 0)), Patch((1, 1), at=(7, 8))))
    assert inclusion_map((8, 9), crop, union).shape == (1, 1)
    with pytest.raises(ValueError, match="one size for a map"):
        inclusion_map([(8, 9), (9, 9)], crop, Patch((1, 1)))  # type: ignore[arg-type]
