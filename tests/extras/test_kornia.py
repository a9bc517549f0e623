"""Kornia as it draws its windows, and as patchdp reads it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
K = pytest.importorskip("kornia.augmentation")

from drawn import DRAWS, check_rate, check_windows  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import (  # noqa: E402
    AtMost,
    CenterCrop,
    FixedCrop,
    NestedCrop,
    RandomCrop,
    WholeImage,
)
from patchdp.interop.kornia import (  # noqa: E402
    ResizedCropAnywhere,
    UnsupportedTransform,
    plan_crop,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20261121)


def draw(transform: Any, image: tuple[int, int], before: tuple[int, int] = (0, 0)) -> Any:
    corners = transform.generate_parameters(torch.Size((DRAWS, 3, *image)))["src"].numpy()
    first, last = corners[:, 0, ::-1], corners[:, 2, ::-1]
    return first - np.array(before), last - first + 1


@pytest.mark.parametrize(
    ("transform", "image"),
    [
        (K.RandomCrop((3, 5)), (7, 6)),
        (K.RandomCrop((60, 60)), (64, 70)),
        (K.RandomResizedCrop((8, 8)), (6, 8)),
        (K.RandomResizedCrop((8, 8), scale=(0.3, 0.9), ratio=(0.5, 1.5)), (9, 3)),
        (K.RandomResizedCrop((8, 8), scale=(0.9, 1.0)), (3, 17)),
        (K.CenterCrop((4, 3)), (7, 8)),
    ],
)
def test_the_windows(transform: Any, image: tuple[int, int]) -> None:
    starts, lengths = draw(transform, image)
    check_windows(plan_crop(transform, image=image), image, starts, lengths)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("size", "padding", "if_needed"),
    [((3, 4), (1, 2, 2, 0), False), ((3, 3), (1, 2), False), ((6, 3), 2, True),
     ((6, 3), None, True), ((6, 3), None, False)],
)  # fmt: skip
def test_padding_through_the_pixels(mode: str, size: Any, padding: Any, if_needed: bool) -> None:
    # One pixel lit: what of it the library's crops show, image by image.
    image = (5, 4)
    transform = K.RandomCrop(size, padding=padding, padding_mode=mode, pad_if_needed=if_needed)
    crop = plan_crop(transform, image=image)
    for corner in [(0, 0), (2, 1), (0, 3), (4, 2)]:
        batch = torch.zeros(4000, 1, *image)
        batch[:, :, corner[0], corner[1]] = 1
        hit = transform(batch).flatten(1).any(dim=1).numpy()
        check_rate(crop, image, corner, (1, 1), hit)


def test_cityscapes() -> None:
    transform = K.AugmentationSequential(
        K.RandomHorizontalFlip(), K.RandomCrop((505, 505)), K.ColorJitter(0.1, 0.1, 0.1, 0.1)
    )
    found = pdp.inclusion(
        (1024, 2048), plan_crop(transform, image=(1024, 2048)), pdp.Patch((10, 10))
    )
    assert found.probability == Fraction(66049, 200720)


CROP = RandomCrop((8, 8))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (K.RandomCrop((8, 8)), CROP),
        (K.RandomCrop((8, 8), padding=2), RandomCrop((8, 8), padding=2)),
        (K.RandomCrop((8, 8), padding=(1, 2)), RandomCrop((8, 8), padding=((2, 2), (1, 1)))),
        (K.RandomCrop((8, 20)), RandomCrop((8, 20), pad_if_needed=True)),
        (K.CenterCrop(8), CenterCrop((8, 8))),
        (K.CenterCrop((9, 8)), FixedCrop((9, 8), at=(3, 4))),
        (K.RandomResizedCrop((8, 8), scale=(0.5, 1.0)), ResizedCropAnywhere((0.5, 1.0))),
        (K.ImageSequential(K.RandomCrop((12, 12)), K.RandomCrop((8, 8))),
         NestedCrop(RandomCrop((12, 12)), CROP)),
        (K.ImageSequential(K.RandomCrop((8, 8)), K.RandomErasing()), AtMost(CROP)),
        (K.ImageSequential(K.PadTo((18, 20)), K.RandomCrop((8, 8))),
         RandomCrop((8, 8), padding=((0, 2), (0, 4)))),
        (K.ImageSequential(K.RandomVerticalFlip(), K.RandomGrayscale(), random_apply=1),
         WholeImage()),
        ([torch.nn.Sequential(K.RandomCrop((8, 8)), K.RandomGaussianBlur((3, 3), (1.0, 1.0)))],
         CROP),
    ],
)  # fmt: skip
def test_pipelines(transform: Any, expected: Any) -> None:
    assert plan_crop(transform, image=(16, 16)) == expected


REFUSED = [
    (K.RandomCrop((8, 8), same_on_batch=True), "one offset for all images of a batch"),
    (K.AugmentationSequential(K.RandomCrop((8, 8)), same_on_batch=True), "one offset for all"),
    (K.RandomResizedCrop((8, 8), same_on_batch=True), "one offset for all images of a batch"),
    (K.RandomCrop((8, 8), p=0.5), "one coin for all images of a batch"),
    (K.RandomResizedCrop((8, 8), p=0.5), "one coin for all images of a batch"),
    (K.CenterCrop(8, p=0.5), "one coin for all images of a batch"),
    (K.RandomCrop((8, 8), cropping_mode="resample"), "cropping_mode='resample' interpolates"),
    (K.RandomMixUpV2(), "RandomMixUpV2 is refused: it mixes"),
    (K.RandomCutMixV2(use_correct_lambda=True), "RandomCutMixV2 is refused: it mixes"),
    (K.RandomMosaic(), "RandomMosaic is refused: it mixes"),
    ([K.RandomEqualize(), K.RandomCrop((8, 8))], "RandomEqualize before the crop lets"),
    ([K.RandomGaussianBlur((3, 3), (1.0, 1.0)), K.RandomCrop((8, 8))], "before the crop spreads"),
    ([K.Resize((12, 12), antialias=True), K.RandomCrop((8, 8))], "antialias=True before the crop"),
    ([K.RandomHorizontalFlip(), K.CenterCrop((9, 9))], "flip behind the crop"),
    (K.ImageSequential(K.RandomCrop((8, 8)), random_apply=1), "random_apply of transforms that"),
    (K.ImageSequential(K.PadTo((8, 8))), "PadTo of a larger image"),
    (K.RandomCrop3D((8, 8, 8)), "RandomCrop3D is not known"),
]


@pytest.mark.parametrize(("transform", "reason"), REFUSED)
def test_refused_with_the_reason(transform: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(transform, image=(16, 16))


def test_one_offset_and_one_coin_are_what_kornia_draws() -> None:
    # The reasons given above are true of this version of the library.
    lit = torch.arange(256.0).reshape(1, 1, 16, 16).expand(64, 1, 16, 16) + 1
    shared = K.RandomCrop((8, 8), same_on_batch=True)(lit)
    assert len(torch.unique(shared[:, 0, 0, 0])) == 1
    assert len(torch.unique(K.RandomCrop((8, 8))(lit)[:, 0, 0, 0])) > 10
    shapes = {tuple(K.RandomCrop((8, 8), p=0.5)(lit).shape) for _ in range(40)}
    assert shapes == {(64, 1, 8, 8), (64, 1, 16, 16)}
