"""MONAI as it draws its windows, and as patchdp reads it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

M = pytest.importorskip("monai.transforms")

from drawn import DRAWS, check_windows  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import (  # noqa: E402
    AtMost,
    CenterCrop,
    FixedCrop,
    NestedCrop,
    RandomCrop,
    RandomSizeCrop,
    WholeImage,
)
from patchdp.geometry.choice import ChoiceCrop  # noqa: E402
from patchdp.interop.monai import CutSizeCrop, UnsupportedTransform, plan_crop  # noqa: E402


def draw(transform: Any, image: tuple[int, ...]) -> Any:
    transform.set_random_state(20261121)
    starts, lengths = [], []
    for _ in range(DRAWS):
        transform.randomize(image)
        slices = (
            transform._slices
            if transform.random_center
            else M.CenterSpatialCrop(transform._size).compute_slices(image)[1:]
        )
        spans = [part.indices(n) for part, n in zip(slices, image, strict=True)]
        starts.append([start for start, _, _ in spans])
        lengths.append([stop - start for start, stop, _ in spans])
    return np.array(starts), np.array(lengths)


@pytest.mark.parametrize(
    ("transform", "image"),
    [
        (M.RandSpatialCrop((3, 5), random_size=False), (7, 6)),
        (M.RandSpatialCrop((9, 2, -1), random_size=False), (5, 4, 3)),
        (M.RandSpatialCrop((2, 3), random_size=True), (5, 4)),
        (M.RandSpatialCrop((2, 3), max_roi_size=(4, 7), random_size=True), (5, 5)),
        (M.RandScaleCrop(0.4, max_roi_scale=0.8, random_size=True), (7, 6)),
    ],
)
def test_the_windows(transform: Any, image: tuple[int, ...]) -> None:
    starts, lengths = draw(transform, image)
    check_windows(plan_crop(transform, image=image), image, starts, lengths)


@pytest.mark.parametrize("image", [(7, 6), (6, 7, 8), (3, 4)])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_central_windows(image: tuple[int, ...], size: int) -> None:
    numbered = np.arange(np.prod(image)).reshape(1, *image)
    shown = np.asarray(M.CenterSpatialCrop(size)(numbered))
    (law,) = plan_crop(M.CenterSpatialCrop(size), image=image).laws(image)
    seen = numbered[0]
    for axis, (window,) in enumerate(law.axes):
        assert window.total == 1
        seen = np.take(
            seen, range(window.first, min(image[axis], window.first + window.length)), axis
        )
    assert np.array_equal(shown[0], seen)


@pytest.mark.parametrize("size", [(2, 3), (4, 5), (3, 7)])
def test_central_windows_of_drawn_size(size: tuple[int, int]) -> None:
    image = (5, 6)
    transform = M.RandSpatialCrop(size, max_roi_size=(5, 7), random_size=True, random_center=False)
    transform.set_random_state(20261121)
    numbered = np.arange(30).reshape(1, *image)
    found = {}
    for _ in range(300):
        shown = np.asarray(transform(numbered))[0]
        found[int(shown[0, 0] // 6), len(shown), int(shown[0, 0] % 6), shown.shape[1]] = True
    (law,) = plan_crop(transform, image=image).laws(image)
    expected = {
        (row.first, row.length, column.first, column.length)
        for row in law.axes[0][0].parts
        for column in law.axes[1][0].parts
    }
    assert set(found) == expected


def test_brain_volumes() -> None:
    transform = M.RandSpatialCrop((64, 64, 64), random_size=False)
    crop = plan_crop(transform, image=(155, 240, 240))
    found = pdp.inclusion((155, 240, 240), crop, pdp.Patch((8, 8, 8)))
    # 155 - 64 + 1 = 92 and 240 - 64 + 1 = 177 offsets; 64 + 8 - 1 = 71 of them hit.
    assert found.probability == Fraction(71**3, 92 * 177 * 177)
    slab = M.RandSpatialCrop((200, 64, 64), random_size=False)
    thick = pdp.inclusion(
        (155, 240, 240), plan_crop(slab, image=(155, 240, 240)), pdp.Patch((8, 8, 8))
    )
    assert thick.probability == Fraction(71**2, 177**2)


CROP = RandomCrop((8, 8))
KEY = "image"


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (M.RandSpatialCropd(KEY, (8, 8), random_size=False), CROP),
        (M.RandSpatialCropd(KEY, (8, 99), random_size=False), RandomCrop((8, 16))),
        (M.RandSpatialCrop((8, 8), random_size=True), RandomSizeCrop((8, 8), (16, 16))),
        (M.RandSpatialCrop(8, 20, random_size=True), CutSizeCrop((8, 8), (20, 20))),
        (M.RandSpatialCrop(8, 9, random_center=False, random_size=True),
         RandomSizeCrop((8, 8), (9, 9), centered=True)),
        (M.RandScaleCropd(KEY, 0.5, random_size=False), CROP),
        (M.CenterSpatialCropd(KEY, (8, 8)), CenterCrop((8, 8))),
        (M.CenterSpatialCrop((7, 8)), FixedCrop((7, 8), at=(5, 4))),
        (M.CenterScaleCropd(KEY, 0.5), CenterCrop((8, 8))),
        (M.SpatialCropd(KEY, roi_start=(1, 2), roi_end=(9, 9)), FixedCrop((8, 7), at=(1, 2))),
        (M.Compose([M.LoadImaged(KEY), M.EnsureChannelFirstd(KEY),
                    M.RandFlipd(KEY, spatial_axis=0), M.RandRotate90d(KEY), M.RandAxisFlipd(KEY),
                    M.RandSpatialCropd(KEY, (8, 8), random_size=False),
                    M.NormalizeIntensityd(KEY), M.RandGaussianSmoothd(KEY)]), CROP),
        ([M.NormalizeIntensity(subtrahend=1.0, divisor=2.0),
          M.RandSpatialCrop(8, random_size=False)], CROP),
        ([M.SpatialPadd(KEY, (20, 18)), M.RandSpatialCropd(KEY, (8, 8), random_size=False)],
         RandomCrop((8, 8), padding=((2, 2), (1, 1)))),
        ([M.BorderPad(2, mode="reflect"), M.RandSpatialCrop((8, 8), random_size=False)],
         RandomCrop((8, 8), padding=((2, 2), (2, 2)), padding_mode="reflect")),
        ([M.RandSpatialCrop(12, random_size=False), M.RandSpatialCrop(8, random_size=False)],
         NestedCrop(RandomCrop((12, 12)), CROP)),
        ([M.RandSpatialCrop(8, random_size=False), M.RandCoarseDropout(2, 3)], AtMost(CROP)),
        (M.ResizeWithPadOrCropd(KEY, (20, 8)), CenterCrop((20, 8))),
        (M.OneOf([M.RandSpatialCrop(8, random_size=False), M.CenterSpatialCrop(8)], [1.0, 3.0]),
         ChoiceCrop((CROP, CenterCrop((8, 8))), (Fraction(1, 4), Fraction(3, 4)))),
        (M.Identity(), WholeImage()),
    ],
)  # fmt: skip
def test_pipelines(transform: Any, expected: Any) -> None:
    assert plan_crop(transform, image=(16, 16)) == expected


def test_samples_are_views_of_the_plan() -> None:
    samples = M.RandSpatialCropSamplesd(KEY, (8, 8), num_samples=4, random_size=False)
    assert plan_crop(samples, image=(16, 16), views=4) == CROP
    with pytest.raises(UnsupportedTransform, match="say views=4 here and TrainingPlan"):
        plan_crop(samples, image=(16, 16))
    with pytest.raises(UnsupportedTransform, match=r"views must be .* 4, got 3"):
        plan_crop(samples, image=(16, 16), views=3)
    with pytest.raises(UnsupportedTransform, match=r"views must be .* 1, got 2"):
        plan_crop(M.RandSpatialCrop(8), image=(16, 16), views=2)
    twice = [M.RandSpatialCropd(KEY, (12, 12), random_size=False), samples]
    with pytest.raises(UnsupportedTransform, match="not independent"):
        plan_crop(twice, image=(16, 16), views=4)


def test_several_image_sizes() -> None:
    sizes = [(16, 16), (6, 20)]
    crop = plan_crop(M.RandSpatialCrop((8, 8), random_size=False), image=sizes)
    assert pdp.inclusion((6, 20), crop, pdp.Patch((1, 1))).probability == Fraction(8, 13)
    slab = plan_crop(M.RandSpatialCrop((8, -1), random_size=False), image=sizes)
    assert pdp.inclusion((16, 16), slab, pdp.Patch((1, 1))).probability == Fraction(8, 9)
    assert pdp.inclusion((6, 20), slab, pdp.Patch((1, 1))).probability == 1


REFUSED = [
    (M.RandCropByPosNegLabeld(KEY, "label", (8, 8)), "RandCropByPosNegLabel is refused: .*labels"),
    (M.RandCropByLabelClassesd(KEY, "label", (8, 8), num_classes=2), "refused: .*labels"),
    (M.RandWeightedCropd(KEY, "w", (8, 8)), "RandWeightedCrop is refused"),
    (M.CropForegroundd(KEY, KEY), "CropForeground is refused: .*content"),
    (M.SpatialCropd(KEY, roi_center="where", roi_size="size"), "read from the data"),
    (M.MixUpd(KEY, 4), "MixUp is refused: it mixes"),
    (M.CutMixd(KEY, 4), "CutMix is refused: it mixes"),
    ([M.NormalizeIntensityd(KEY), M.RandSpatialCropd(KEY, (8, 8))], "own mean or deviation before"),
    ([M.ScaleIntensity(), M.RandSpatialCrop((8, 8))], "ScaleIntensity before the crop lets"),
    ([M.Spacingd(KEY, (1.0, 1.0)), M.RandSpatialCropd(KEY, (8, 8))], "Spacing before the crop"),
    ([M.RandFlip(spatial_axis=0), M.CenterSpatialCrop((9, 8))], "flip behind the crop"),
    ([M.RandRotate90(), M.RandSpatialCrop((8, 6), random_size=False)], "square windows only"),
    (M.RandSpatialCrop((8, 8), lazy=True), "lazy=True"),
    (M.SomeOf([M.RandSpatialCrop((8, 8)), M.Identity()]), "SomeOf of transforms that crop"),
    (M.Lambda(lambda x: x), "Lambda is not known"),
]


@pytest.mark.parametrize(("transform", "reason"), REFUSED)
def test_refused_with_the_reason(transform: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(transform, image=(16, 16))
