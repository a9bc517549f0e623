"""Albumentations as it draws its windows, and as patchdp reads it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

A = pytest.importorskip("albumentations")

from drawn import DRAWS, check_rate, check_windows  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import (  # noqa: E402
    AtMost,
    CenterCrop,
    FixedCrop,
    NestedCrop,
    RandomApply,
    RandomCrop,
    RandomResizedCrop,
    RandomScale,
    Resize,
    ResizedCrop,
    WholeImage,
)
from patchdp.geometry.choice import ChoiceCrop  # noqa: E402
from patchdp.interop.albumentations import (  # noqa: E402
    RandomSizedCrop,
    ScaledSide,
    UnsupportedTransform,
    plan_crop,
)


def draw(transform: Any, image: tuple[int, int]) -> Any:
    transform.set_random_seed(20261121)
    shape = {"shape": (*image, 3)}
    drawn = np.array(
        [transform.get_params_dependent_on_data(shape, {})["crop_coords"] for _ in range(DRAWS)]
    )
    left, top, right, bottom = drawn.T
    return np.stack([top, left], axis=1), np.stack([bottom - top, right - left], axis=1)


@pytest.mark.parametrize(
    ("transform", "image"),
    [
        (A.RandomCrop(3, 5), (7, 6)),
        (A.RandomResizedCrop((8, 8)), (6, 8)),
        (A.RandomResizedCrop((8, 8), scale=(0.3, 0.9), ratio=(0.5, 1.5)), (9, 4)),
        (A.RandomSizedCrop((2, 6), (8, 8), w2h_ratio=1.5), (5, 7)),
        (A.CenterCrop(4, 3), (7, 8)),
    ],
)
def test_the_windows(transform: Any, image: tuple[int, int]) -> None:
    starts, lengths = draw(transform, image)
    check_windows(plan_crop(transform, image=image), image, starts, lengths)


@pytest.mark.parametrize("position", ["center", "top_left", "bottom_right", "top_right"])
@pytest.mark.parametrize("border", range(5))
def test_padding_through_the_pixels(position: str, border: int) -> None:
    image = (5, 4)
    transform = A.Compose(
        [A.PadIfNeeded(8, 7, position=position, border_mode=border, fill=255), A.RandomCrop(3, 4)],
        seed=20261121,
    )
    crop = plan_crop(transform, image=image)
    numbered = np.arange(20, dtype=np.uint8).reshape(image)
    shown = np.zeros((3000, 20), dtype=bool)
    for row in shown:
        seen = transform(image=numbered)["image"]
        row[seen[seen < 255]] = True
    for corner in [(0, 0), (2, 1), (0, 3), (4, 3)]:
        check_rate(crop, image, corner, (1, 1), shown[:, corner[0] * 4 + corner[1]])


def test_one_of_by_its_weights() -> None:
    image = (8, 8)
    transform = A.Compose(
        [A.OneOf([A.RandomCrop(2, 2, p=0.2), A.CenterCrop(5, 5, p=0.6)], p=0.5)], seed=20261121
    )
    crop = plan_crop(transform, image=image)
    numbered = np.arange(64, dtype=np.uint8).reshape(image)
    shown = np.zeros((10_000, 64), dtype=bool)
    for row in shown:
        row[transform(image=numbered)["image"]] = True
    for corner in [(0, 0), (3, 4), (1, 6)]:
        check_rate(crop, image, corner, (1, 1), shown[:, corner[0] * 8 + corner[1]])


def test_cityscapes() -> None:
    transform = A.Compose(
        [A.HorizontalFlip(), A.RandomCrop(505, 505), A.ColorJitter(), A.Normalize()]
    )
    crop = plan_crop(transform, image=(1024, 2048))
    found = pdp.inclusion((1024, 2048), crop, pdp.Patch((10, 10)))
    assert found.probability == Fraction(66049, 200720)


CROP = RandomCrop((8, 8))
KERNELS: Any = ("bilinear", "nearest")  # image and mask


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (A.RandomCrop(8, 8), CROP),
        ([A.RandomRotate90(), A.D4(), A.Transpose(), A.RandomCrop(8, 8)], CROP),
        (A.RandomCrop(8, 8, p=0.25), RandomApply(CROP, 0.25)),
        (A.RandomCrop(8, 8, p=0), WholeImage()),
        (A.Compose([A.RandomCrop(8, 8)], p=0.5), RandomApply(CROP, 0.5)),
        (A.Sequential([A.RandomCrop(8, 8)], p=0.5), RandomApply(CROP, 0.5)),
        (A.RandomCrop(20, 8, pad_if_needed=True), RandomCrop((20, 8), pad_if_needed=True)),
        (A.CenterCrop(8, 8), CenterCrop((8, 8))),
        (A.CenterCrop(9, 8), FixedCrop((9, 8), at=(3, 4))),
        (A.Crop(2, 3, 10, 12), FixedCrop((9, 8), at=(3, 2))),
        (A.RandomResizedCrop((8, 8)), RandomResizedCrop()),
        (A.RandomSizedCrop((4, 8), (8, 8)), RandomSizedCrop((4, 8))),
        ([A.Resize(12, 10), A.RandomCrop(8, 8)],
         ResizedCrop(CROP, Resize((12, 10)), interpolation=KERNELS, antialias=False)),
        ([A.SmallestMaxSize(12), A.RandomCrop(8, 8)],
         ResizedCrop(CROP, ScaledSide((12,), "shorter"), interpolation=KERNELS,
                     antialias=False)),
        ([A.RandomScale((-0.25, 0.5), p=1), A.RandomCrop(8, 8)],
         ResizedCrop(CROP, RandomScale(0.75, 1.5, rounding="down"), interpolation=KERNELS,
                     antialias=False)),
        ([A.PadIfNeeded(8, 8), A.RandomCrop(8, 8)], CROP),
        ([A.Pad((1, 2)), A.RandomCrop(8, 8)], RandomCrop((8, 8), padding=((2, 2), (1, 1)))),
        ([A.RandomCrop(12, 12), A.RandomCrop(8, 8)], NestedCrop(RandomCrop((12, 12)), CROP)),
        ([A.RandomCrop(12, 12), A.RandomCrop(8, 8, p=0.5)], AtMost(RandomCrop((12, 12)))),
        ([A.RandomCrop(8, 8), A.CoarseDropout(), A.Equalize(), A.GaussianBlur()], AtMost(CROP)),
        ([A.CoarseDropout(), A.RandomCrop(8, 8)], AtMost(CROP)),
        ([A.RandomCrop(12, 12), A.SomeOf([A.RandomCrop(8, 8), A.Blur()], n=1)],
         AtMost(RandomCrop((12, 12)))),
        (A.OneOf([A.RandomCrop(8, 8), A.NoOp()], p=1), RandomApply(CROP, Fraction(2, 3))),
        (A.OneOrOther(A.RandomCrop(8, 8), A.CenterCrop(8, 8), p=0.25),
         ChoiceCrop((CROP, CenterCrop((8, 8))), (Fraction(1, 4), Fraction(3, 4)))),
    ],
)  # fmt: skip
def test_pipelines(transform: Any, expected: Any) -> None:
    assert plan_crop(transform, image=(16, 16)) == expected


REFUSED = [
    (A.CropNonEmptyMaskIfExists(8, 8), "CropNonEmptyMaskIfExists is refused: .*annotations"),
    (A.RandomSizedBBoxSafeCrop(8, 8), "RandomSizedBBoxSafeCrop is refused: .*annotations"),
    (A.BBoxSafeRandomCrop(), "BBoxSafeRandomCrop is refused: .*annotations"),
    (A.AtLeastOneBBoxRandomCrop(8, 8), "AtLeastOneBBoxRandomCrop is refused: .*annotations"),
    (A.RandomCropNearBBox(), "RandomCropNearBBox is refused"),
    (A.MaskDropout(), "MaskDropout is refused"),
    (A.CropAndPad(2), "CropAndPad is refused"),
    (A.RandomCropFromBorders(), "RandomCropFromBorders is refused"),
    (A.Mosaic(), "Mosaic is refused: it mixes"),
    ([A.Equalize(), A.RandomCrop(8, 8)], "Equalize before the crop lets every pixel"),
    ([A.Normalize(normalization="image"), A.RandomCrop(8, 8)], "normalization='image'"),
    ([A.GaussianBlur(), A.RandomCrop(8, 8)], "GaussianBlur before the crop spreads"),
    ([A.ColorJitter(), A.RandomCrop(8, 8)], "ColorJitter with contrast before the crop"),
    ([A.CoarseDropout(fill="inpaint_ns"), A.RandomCrop(8, 8)], "inpainting before the crop"),
    ([A.HorizontalFlip(), A.CenterCrop(9, 9)], "flip behind the crop"),
    ([A.RandomRotate90(), A.RandomCrop(8, 6)], "square windows only"),
    ([A.PadIfNeeded(20, 20, position="random"), A.RandomCrop(8, 8)], "random position"),
    ([A.Resize(8, 8, p=0.5), A.RandomCrop(8, 8)], "changes the image's size with some chance"),
    (A.SomeOf([A.RandomCrop(8, 8), A.NoOp()], n=1), "SomeOf of transforms that crop"),
    (A.Lambda(), "Lambda is not known"),
    (A.RandomCrop3D((8, 8, 8)), "RandomCrop3D is not known"),
]


@pytest.mark.parametrize(("transform", "reason"), REFUSED)
def test_refused_with_the_reason(transform: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(transform, image=(16, 16))


def test_sizes() -> None:
    sizes = [(16, 16), (16, 18)]
    padded = plan_crop([A.PadIfNeeded(20, 20), A.RandomCrop(8, 8)], image=sizes)
    for size in sizes:  # padded to 20, 13 offsets of which 8 show a pixel
        found = pdp.inclusion(size, padded, pdp.Patch((1, 1)))
        assert found.probability == Fraction(8, 13) ** 2
    with pytest.raises(ValueError, match="does not fit"):
        plan_crop(A.CenterCrop(32, 32), image=(16, 16))
    with pytest.raises(UnsupportedTransform, match=r"\(height, width\)"):
        plan_crop(A.RandomCrop(8, 8), image=(16, 16, 16))


@pytest.mark.parametrize(
    "resize", [A.Resize(11, 13), A.SmallestMaxSize(30), A.LongestMaxSize(30), A.LongestMaxSize(7)]
)
@pytest.mark.parametrize("image", [(49, 98), (37, 41), (64, 64)])
def test_sizes_after_resizing(resize: Any, image: Any) -> None:
    crop = plan_crop([resize, A.RandomCrop(1, 1)], image=image)
    assert isinstance(crop, ResizedCrop)
    ((_, size),) = crop.resizing.sizes(image)
    assert size == resize(image=np.zeros((*image, 3), np.uint8))["image"].shape[:2]
