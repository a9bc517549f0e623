"""Windows of relative and of clipped lengths, against a list of all of them and against draws."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction as F

import numpy as np
import pytest

from patchdp.geometry import Patch, RandomSizeCrop, inclusion
from patchdp.geometry.random_share import RandomShareCrop
from patchdp.geometry.reading import Reading


def best(windows: list[tuple[F, int, int]], n: int, size: int) -> F:
    """The largest chance that one of these (chance, first, length) sees `size` pixels of `n`."""
    return max(
        sum((p for p, at, c in windows if at < x + size and x < at + c), F(0))
        for x in range(n - size + 1)
    )


def uniform(lengths: list[tuple[F, int]], n: int) -> list[tuple[F, int, int]]:
    return [(p / (n - c + 1), at, c) for p, c in lengths for at in range(n - c + 1)]


def lengths_of(low: F, high: F, n: int) -> list[tuple[F, int]]:
    """By walking through the shares in steps finer than any of the places where lengths change."""
    if low == high:
        return [(F(1), int(low * n + F(1, 2)))]
    ends = sorted({low, high, *(F(2 * k + 1, 2 * n) for k in range(n))})
    inside = [end for end in ends if low <= end <= high]
    pairs = itertools.pairwise(inside)
    return [((b - a) / (high - low), int((a + b) / 2 * n + F(1, 2))) for a, b in pairs]


@pytest.mark.parametrize("seed", range(40))
def test_shares_against_all_windows(seed: int) -> None:
    rng = random.Random(seed)
    image = (rng.randint(2, 12), rng.randint(2, 12))
    low = tuple(F(rng.randint(6, 12), 12) for _ in image)
    high = tuple(max(share, F(rng.randint(6, 12), 12)) for share in low)
    crop = RandomShareCrop(low, high if rng.random() < 0.8 else None)
    size = rng.randint(1, min(image))
    tops = crop.largest or low
    expected = F(1)
    for a, b, n in zip(low, tops, image, strict=True):
        expected *= best(uniform(lengths_of(a, b, n), n), n, size)
    assert inclusion(image, crop, Patch((size, size))).probability == expected


@pytest.mark.parametrize("seed", range(40))
def test_clipped_lengths_against_all_windows(seed: int) -> None:
    rng = random.Random(seed)
    image = (rng.randint(1, 9), rng.randint(1, 9))
    low = rng.randint(1, 10)
    high = rng.randint(low, 14)
    size = rng.randint(1, min(image))
    expected = F(1)
    for n in image:
        drawn = range(min(n, low), min(n, high) + 1)
        expected *= best(uniform([(F(1, len(drawn)), c) for c in drawn], n), n, size)
    crop = RandomSizeCrop((low, low), (high, high), clipped=True)
    assert inclusion(image, crop, Patch((size, size))).probability == expected
    assert eval(repr(crop), {"RandomSizeCrop": RandomSizeCrop}) == crop


def test_larger_patches_and_shares_are_seen_more() -> None:
    found = [
        inclusion((12, 9), RandomShareCrop((F(1, k), F(1, 2))), Patch((size, size))).probability
        for k, size in itertools.product((3, 2), (1, 2, 5))
    ]
    assert found[0] < found[1] < found[2] and found[0] < found[3]


@pytest.mark.parametrize(
    ("smallest", "largest", "reason"),
    [
        ((0, 1), None, "smallest must be above 0 and at most 1"),
        ((0.5, 1.5), None, "smallest must be above 0 and at most 1"),
        (0.5, None, "one share per axis"),
        ((0.5,), (0.25,), "largest must be at least smallest"),
        ((0.5,), (0.5, 0.5), "largest must be at least smallest"),
    ],
)
def test_refused(smallest: object, largest: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RandomShareCrop(smallest, largest)  # type: ignore[arg-type]


def test_refused_on_use() -> None:
    with pytest.raises(ValueError, match="round to no pixel"):
        inclusion((4, 4), RandomShareCrop((0.1, 0.5)), Patch((1, 1)))
    with pytest.raises(ValueError, match="2 axes, image 4 has 1"):
        inclusion((4,), RandomShareCrop((0.5, 0.5)), Patch((1,)))


def test_a_shape_is_seen_wherever_it_touches_a_pixel() -> None:
    for n, m in itertools.product((1, 2, 3, 7, 16, 24), (1, 2, 4, 9, 16)):
        if n == m:
            continue
        read = Reading.resized(n, m, "overlap", antialias=False)
        for j, i in itertools.product(range(m), range(n)):
            touches = i * m <= (j + 1) * n and (i + 1) * m >= j * n
            assert not touches or read.low[j] <= i < read.high[j], (n, m, j, i)
    assert np.all(Reading.resized(8, 8, "overlap", antialias=False).low == np.arange(8))
