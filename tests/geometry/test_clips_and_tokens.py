"""Strided clips, scenes by area and dropped tokens against listing everything that can happen."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import patchdp as pdp
from patchdp.step.group import views_clipped_apart


@pytest.mark.parametrize(
    ("event", "share"),
    [(1, "1/15"), (2, "2/15"), (3, "1/5"), (4, "4/15"), (5, "13/48"), (10, "7/24")],
)
def test_stated_clips(event: int, share: str) -> None:
    """Theorem 43."""
    found = pdp.inclusion((300,), pdp.StridedClip(16, stride=4), pdp.Patch((event,)))
    assert found.probability == Fraction(share)


def test_clips_by_listing_first_frames() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(300):
        length, frames, stride, event = (int(rng.integers(1, n)) for n in (30, 6, 6, 8))
        last = length - (frames - 1) * stride - 1
        if last < 0 or event > length:
            continue
        seen += 1
        hits = [
            sum(
                any(x <= f + k * stride < x + event for k in range(frames)) for f in range(last + 1)
            )
            for x in range(length - event + 1)
        ]
        crop = pdp.StridedClip(frames, stride=stride)
        found = pdp.inclusion((length,), crop, pdp.Patch((event,)))
        assert found.probability == Fraction(max(hits), last + 1)
        assert found.worst_position == (hits.index(max(hits)),)
    assert seen > 100


def test_clips_crop_the_other_axes() -> None:
    inner = pdp.RandomCrop((5, 4), padding=1)
    crop = pdp.StridedClip(3, stride=2, crop=inner)
    box = pdp.inclusion((12, 8, 9), crop, pdp.Patch((2, 2, 3)))
    time = pdp.inclusion((12,), pdp.StridedClip(3, stride=2), pdp.Patch((2,))).probability
    space = pdp.inclusion((8, 9), inner, pdp.Patch((2, 3))).probability
    assert box.probability == Fraction(time) * Fraction(space) and box.attained
    assert eval(repr(crop), vars(pdp).copy()) == crop
    with pytest.raises(ValueError, match="does not fit a video of 4 frames"):
        pdp.inclusion((4, 8, 9), crop, pdp.Patch((1, 1, 1)))
    with pytest.raises(ValueError, match="stride must be a whole number"):
        pdp.StridedClip(3, stride=0)


def test_scenes_by_area() -> None:
    scenes = ((6, 5), (4, 9), (6, 5))
    crop = pdp.SceneCrop((3, 4), scenes=scenes)
    assert eval(repr(crop), vars(pdp).copy()) == crop
    area = 2 * 30 + 36
    for size, share in (((6, 5), Fraction(30, area)), ((4, 9), Fraction(36, area))):
        alone = pdp.inclusion(size, pdp.RandomCrop((3, 4)), pdp.Patch((1, 2))).probability
        assert pdp.inclusion(size, crop, pdp.Patch((1, 2))).probability == share * Fraction(alone)
    both = pdp.inclusion(sorted(set(scenes)), crop, pdp.Patch((1, 2)))
    assert both.probability == max(
        pdp.inclusion(size, crop, pdp.Patch((1, 2))).probability for size in set(scenes)
    )
    # One offset less on each axis.
    short = pdp.SceneCrop((3, 4), scenes=((6, 5),), last_offset=False)
    assert pdp.inclusion((6, 5), short, pdp.Patch((1, 2))).probability == Fraction(
        pdp.inclusion((5, 4), pdp.RandomCrop((3, 4)), pdp.Patch((1, 2))).probability
    )
    with pytest.raises(ValueError, match="is none of the scenes"):
        pdp.inclusion((7, 7), crop, pdp.Patch((1, 2)))
    with pytest.raises(ValueError, match="does not fit scene 2x9"):
        pdp.SceneCrop((3, 4), scenes=((2, 9),))


@pytest.mark.parametrize(
    ("windows", "p", "mu", "epsilon", "stated", "attained"),
    [(16, 0.05, 0.5, 0.5, 0.18053, 0.17738), (128, 8.675e-6, 1.0, 0.001, 6.37366e-4, 6.37294e-4)],
)
def test_streams(
    windows: int, p: float, mu: float, epsilon: float, stated: float, attained: float
) -> None:
    """Theorem 44: windows with replacement are views clipped one by one."""
    step = views_clipped_apart(inclusion=Fraction(p), mu=mu, views=windows)
    found = float(step.delta(epsilon))
    assert math.isclose(found, stated, rel_tol=1e-5)
    # Every window that shows the secret is +C, every other one -C: J of them make J steps of 2 mu.
    x = np.linspace(-40 - 2 * windows * mu, 40 + 2 * windows * mu, 400_001)

    def normal(mean: float) -> np.ndarray:
        return np.exp(-0.5 * np.square(x - mean)) / math.sqrt(2 * math.pi)

    chances = [
        math.comb(windows, j) * p**j * (1 - p) ** (windows - j) for j in range(min(windows, 30) + 1)
    ]
    before = sum(c * normal(2 * j * mu) for j, c in enumerate(chances))
    real = float(np.maximum(before - math.exp(epsilon) * normal(0.0), 0).sum() * (x[1] - x[0]))
    assert math.isclose(real, attained, rel_tol=5e-5) and real <= found


def listed(image: tuple[int, ...], crop: pdp.TokenDrop, size: tuple[int, ...]) -> Fraction:
    """The largest probability that a kept token has a pixel of the patch, over all places."""
    window = crop.crop.size  # type: ignore[attr-defined]
    token = crop.token
    assert isinstance(token, int)
    grid = list(itertools.product(*(range(n // token) for n in window)))
    kept = crop.kept(len(grid))
    offsets = list(
        itertools.product(*(range(n - c + 1) for n, c in zip(image, window, strict=True)))
    )
    worst = Fraction(0)
    for place in itertools.product(*(range(n - a + 1) for n, a in zip(image, size, strict=True))):
        total = Fraction(0)
        for offset in offsets:
            touched = sum(
                all(
                    x < o + (i + 1) * token and x + a > o + i * token
                    for x, a, o, i in zip(place, size, offset, index, strict=True)
                )
                for index in grid
            )
            missed = Fraction(math.comb(len(grid) - touched, kept), math.comb(len(grid), kept))
            total += 1 - missed
        worst = max(worst, total / len(offsets))
    return worst


@pytest.mark.parametrize("drop", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    ("image", "window", "token", "size"),
    [((9, 8), (6, 4), 2, (3, 2)), ((7, 7), (6, 6), 3, (1, 4)), ((14,), (8,), 2, (5,))],
)
def test_tokens_by_listing(
    drop: float, image: tuple[int, ...], window: tuple[int, ...], token: int, size: tuple[int, ...]
) -> None:
    """Theorem 42."""
    crop = pdp.TokenDrop(pdp.RandomCrop(window), token=token, drop=drop)
    found = pdp.inclusion(image, crop, pdp.Patch(size))
    assert found.probability == listed(image, crop, size) and found.attained


def test_stated_tokens() -> None:
    def share(drop: float) -> Fraction | float:
        crop = pdp.TokenDrop(pdp.RandomCrop((224, 224)), token=16, drop=drop)
        return pdp.inclusion((256, 256), crop, pdp.Patch((10, 10))).probability

    assert share(0.5) == Fraction(31493419, 40984515)
    assert round(float(share(0.25)), 5) == 0.92376 and round(float(share(0.75)), 5) == 0.48688
    small = pdp.TokenDrop(pdp.RandomCrop((32, 32)), token=4, drop=0.5)
    assert pdp.inclusion((64, 64), small, pdp.Patch((4, 4))).probability == Fraction(105901, 132858)


def test_tokens_behind_other_crops() -> None:
    whole = pdp.TokenDrop(pdp.WholeImage(), token=4, drop=0.5)
    found = pdp.inclusion((8, 8), whole, pdp.Patch((1, 1))).probability
    assert found == Fraction(1, 2)
    grid = pdp.TokenDrop(pdp.GridCrop((4, 4), stride=(4, 4)), token=2, drop=0.5)
    assert pdp.inclusion((8, 8), grid, pdp.Patch((1, 1))).probability == Fraction(1, 8)
    nested = pdp.NestedCrop(pdp.CenterCrop((8, 8)), pdp.RandomCrop((6, 6)))
    assert (
        pdp.inclusion(
            (10, 10), pdp.TokenDrop(nested, token=2, drop=0.5), pdp.Patch((1, 1))
        ).probability
        < pdp.inclusion((10, 10), nested, pdp.Patch((1, 1))).probability
    )
    # A pixel set has at most the tokens of its box.
    disk = pdp.inclusion(
        (16, 16), pdp.TokenDrop(pdp.RandomCrop((8, 8)), token=2, drop=0.5), pdp.Disk(2)
    )
    box = pdp.inclusion(
        (16, 16), pdp.TokenDrop(pdp.RandomCrop((8, 8)), token=2, drop=0.5), pdp.Patch((5, 5))
    )
    assert disk.probability == box.probability and not disk.attained


def test_tokens_refused() -> None:
    resized = pdp.RandomResizedCrop()
    with pytest.raises(ValueError, match="single window of known size"):
        pdp.inclusion((64, 64), pdp.TokenDrop(resized, token=16, drop=0.5), pdp.Patch((2, 2)))
    with pytest.raises(ValueError, match="do not fill the crop 30x32"):
        odd = pdp.TokenDrop(pdp.RandomCrop((30, 32)), token=16, drop=0.5)
        pdp.inclusion((64, 64), odd, pdp.Patch((2, 2)))
    for drop in (1.0, -0.1):
        with pytest.raises(ValueError, match="drop must be"):
            pdp.TokenDrop(pdp.RandomCrop((32, 32)), token=16, drop=drop)
    crop = pdp.TokenDrop(pdp.RandomCrop((32, 32)), token=16, drop=0.5)
    assert eval(repr(crop), vars(pdp).copy()) == crop
