"""timm as it draws its windows, and as patchdp reads it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision.transforms")
data = pytest.importorskip("timm.data")
transforms = pytest.importorskip("timm.data.transforms")

from drawn import DRAWS, check_windows  # noqa: E402

from patchdp.geometry import (  # noqa: E402
    AtMost,
    CenterCrop,
    FixedCrop,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    ResizedCrop,
)
from patchdp.interop.timm import UnsupportedTransform, plan_crop  # noqa: E402


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(20261121)


@pytest.mark.parametrize(
    ("scale", "ratio", "image"),
    [((0.1, 1.0), (3 / 4, 4 / 3), (6, 8)), ((0.3, 0.9), (0.5, 1.5), (9, 3))],
)
def test_the_windows_of_random_resized_crop(scale: Any, ratio: Any, image: Any) -> None:
    transform = transforms.RandomResizedCropAndInterpolation(8, scale=scale, ratio=ratio)
    like = torch.empty(3, *image)
    drawn = np.array([transform.get_params(like, scale, ratio) for _ in range(DRAWS)])
    check_windows(plan_crop(transform, image=image), image, drawn[:, :2], drawn[:, 2:])


def test_the_windows_of_random_crop_or_pad() -> None:
    image = (7, 5)
    transform = transforms.RandomCropOrPad((3, 6))
    like = torch.empty(3, *image)
    starts = np.array([transform.get_params(like, (3, 6)) for _ in range(DRAWS)])
    # Columns are padded by one: at -1 and at 0 the six show all five.
    assert set(np.unique(starts[:, 1])) == {-1, 0}
    starts[:, 1] = 0
    check_windows(plan_crop(transform, image=image), image, starts, [[3, 5]])


def test_training_pipelines() -> None:
    full = data.create_transform(
        224, is_training=True, scale=(0.2, 1.0), auto_augment="rand-m9-mstd0.5", color_jitter=0.4,
        gaussian_blur_prob=0.1, grayscale_prob=0.1, vflip=0.5,
    )  # fmt: skip
    assert plan_crop(full, image=(500, 375)) == RandomResizedCrop((0.2, 1.0))
    erased = data.create_transform(224, is_training=True, re_prob=0.25)
    assert plan_crop(erased, image=(500, 375)) == AtMost(RandomResizedCrop())
    parts = data.create_transform(224, is_training=True, separate=True)
    assert plan_crop(parts, image=(500, 375)) == RandomResizedCrop()


def test_evaluation_pipeline() -> None:
    found = plan_crop(data.create_transform(224, crop_pct=0.875), image=(500, 375))
    assert found == ResizedCrop(CenterCrop((224, 224)), Resize(256), interpolation="bilinear")


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (transforms.RandomCropOrPad(8), RandomCrop((8, 8), pad_if_needed=True)),
        (transforms.CenterCropOrPad(8), CenterCrop((8, 8))),
        (transforms.TrimBorder(3), FixedCrop((10, 10), at=(3, 3))),
    ],
)
def test_single_transforms(transform: Any, expected: Any) -> None:
    assert plan_crop(transform, image=(16, 16)) == expected


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (data.create_transform(224, is_training=True, train_crop_mode="rkrc"),
         "random_scale_prob or random_aspect_prob above 0"),
        (transforms.RandomPad(300), "RandomPad is refused: it puts"),
        (data.Mixup(), "Mixup is refused: it mixes"),
        ([transforms.MaybeToTensor(), object()], "object is not known"),
    ],
)  # fmt: skip
def test_refused_with_the_reason(transform: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(transform, image=(500, 375))


def test_a_border_as_wide_as_the_image() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        plan_crop(transforms.TrimBorder(8), image=(16, 16))
