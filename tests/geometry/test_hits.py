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
    RandomCrop,
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
