"""Crops that differ by the image's size, and arrays of one size resized in different ways."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp.geometry import (
    AtMost,
    RandomApply,
    RandomCrop,
    Resize,
    ResizedCrop,
    TenCrop,
    WholeImage,
    hit_probability,
)
from patchdp.geometry.by_size import BySize, by_size
from patchdp.geometry.choice import ChoiceCrop
from patchdp.interop.pipeline import UnsupportedTransform, for_each_size


def test_a_crop_by_size() -> None:
    sizes = [(8,), (6,), (8,)]
    crop = for_each_size(sizes, lambda size: RandomApply(RandomCrop((size[0] // 2,)), 0.5))
    assert crop == RandomApply(BySize(((8,), (6,)), (RandomCrop((4,)), RandomCrop((3,)))), 0.5)
    for length, p in ((8, Fraction(4, 5)), (6, Fraction(3, 4))):
        found = pdp.inclusion((length,), crop, pdp.Patch((1,)))
        assert found.probability == (p + 1) / 2
    both = pdp.inclusion([(8,), (6,)], crop, pdp.Patch((1,)))
    assert both.probability == Fraction(9, 10)
    with pytest.raises(ValueError, match=r"one of the sizes .* \(8, 6\), got 7"):
        pdp.inclusion((7,), crop, pdp.Patch((1,)))
    chosen = for_each_size(
        [(8,), (6,)],
        lambda size: ChoiceCrop((RandomCrop((size[0] // 2,)), WholeImage()), (0.25, 0.75)),
    )
    assert isinstance(chosen, ChoiceCrop)
    assert isinstance(chosen.crops[0], BySize)
    with pytest.raises(UnsupportedTransform, match="one image size at a time"):
        for_each_size([(8,), (6,)], lambda size: RandomApply(RandomCrop((2,)), size[0] / 10))
    with pytest.raises(UnsupportedTransform, match="one image size at a time"):
        for_each_size([(8,), (6,)], lambda s: AtMost(WholeImage()) if s[0] > 6 else WholeImage())


@pytest.mark.parametrize(
    ("sizes", "crops", "reason"),
    [
        (((8,), (8,)), (WholeImage(), WholeImage()), "one for each of 1 sizes"),
        ((), (), "one for each"),
        (((8,),), (RandomApply(WholeImage(), 0.5),), "single windows"),
        (((8, 8),), (TenCrop((4, 4)),), "single windows"),
    ],
)
def test_crops_by_size_are_single_windows(sizes: Any, crops: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BySize(sizes, crops)


def test_crops_of_each_size_that_bound() -> None:
    bounds = [AtMost(RandomCrop((4,))), AtMost(RandomCrop((3,)))]
    found = by_size([(8,), (6,)], bounds)
    assert isinstance(found, AtMost)
    assert not found.exact


@pytest.mark.parametrize(("length", "target", "size"), [(64, 16, 8), (15, 4, 2), (7, 11, 3)])
def test_arrays_resized_in_two_ways_are_seen_where_either_is(
    length: int, target: int, size: int
) -> None:
    kernels: Any = ("bilinear", "nearest", "area")
    pixels = np.arange(length)[:, None]
    alone = [
        hit_probability(
            (length,),
            ResizedCrop(RandomCrop((size,)), Resize((target,)), interpolation=k, antialias=False),
            pixels,
            [1],
        )
        for k in kernels
    ]
    both = ResizedCrop(
        RandomCrop((size,)), Resize((target,)), interpolation=kernels, antialias=False
    )
    found = hit_probability((length,), both, pixels, [1])
    assert np.all(found >= np.max(alone, axis=0))
    assert np.all(found <= np.sum(alone, axis=0) + 1e-12)
    assert not both.exact


def test_kernels_are_named() -> None:
    for wrong in ((), "cubic", ("bilinear", "cubic")):
        with pytest.raises(ValueError, match="interpolation must be one of nearest"):
            ResizedCrop(RandomCrop((2,)), Resize((4,)), interpolation=wrong)  # type: ignore[arg-type]
