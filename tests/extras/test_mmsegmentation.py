"""mmsegmentation's configurations: read without the library, checked against its formulas."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from drawn import DRAWS, check_windows
from scipy.stats import chi2

import patchdp as pdp
from patchdp.geometry import (
    AtMost,
    NestedCrop,
    RandomApply,
    RandomCrop,
    Resize,
    ResizedCrop,
    WholeImage,
)
from patchdp.interop.mmsegmentation import RescaledWithin, UnsupportedTransform, plan_crop

CROP = {"type": "RandomCrop", "crop_size": (8, 8)}


def draw(
    image: tuple[int, int], crop_size: tuple[int, int], rng: np.random.Generator
) -> tuple[Any, Any]:
    """Windows as mmsegmentation 1.x draws them: margins cut at 0, ends cut at the image."""
    starts, lengths = [], []
    for n, c in zip(image, crop_size, strict=True):
        first = rng.integers(0, max(n - c, 0) + 1, DRAWS)
        starts.append(first)
        lengths.append(np.minimum(first + c, n) - first)
    return np.stack(starts, axis=1), np.stack(lengths, axis=1)


@pytest.mark.parametrize(
    ("crop_size", "image"), [((3, 5), (7, 6)), ((4, 4), (4, 9)), ((9, 2), (5, 6))]
)
def test_the_windows(crop_size: tuple[int, int], image: tuple[int, int]) -> None:
    crop = plan_crop({"type": "RandomCrop", "crop_size": crop_size}, image=image)
    starts, lengths = draw(image, crop_size, np.random.default_rng(20261121))
    check_windows(crop, image, starts, lengths)


def rescaled(image: tuple[int, int], scale: tuple[int, int], ratio: float) -> tuple[int, int]:
    """mmcv's RandomResize, then imrescale: floats as it multiplies them."""
    width, height = int(scale[0] * ratio), int(scale[1] * ratio)
    factor = min(max(width, height) / max(image), min(width, height) / min(image))
    return int(image[0] * factor + 0.5), int(image[1] * factor + 0.5)


@pytest.mark.parametrize(("image", "scale"), [((16, 32), (32, 16)), ((20, 21), (30, 17))])
def test_sizes_after_random_resize(image: tuple[int, int], scale: tuple[int, int]) -> None:
    transform = [
        {"type": "RandomResize", "scale": scale, "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": 4},
    ]
    crop = plan_crop(transform, image=image)
    assert isinstance(crop, ResizedCrop)
    expected = {size: float(share) for share, size in crop.resizing.sizes(image)}
    assert abs(sum(expected.values()) - 1) < 1e-12
    ratios = np.random.default_rng(20261121).random(DRAWS) * 1.5 + 0.5
    drawn = Counter(rescaled(image, scale, ratio) for ratio in ratios)
    assert set(drawn) <= set(expected)
    terms = [(drawn[s] - DRAWS * p) ** 2 / (DRAWS * p) for s, p in expected.items()]
    assert chi2.sf(sum(terms), len(terms) - 1) > 1e-4


def test_the_published_pipeline() -> None:
    train = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "mmseg.RandomCrop", "crop_size": (505, 505)},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]
    found = pdp.inclusion((1024, 2048), plan_crop(train, image=(1024, 2048)), pdp.Patch((10, 10)))
    assert found.probability == Fraction(66049, 200720)


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (CROP, RandomCrop((8, 8))),
        ({**CROP, "cat_max_ratio": 1.0}, RandomCrop((8, 8))),
        ({**CROP, "cat_max_ratio": 0.0}, RandomCrop((8, 8))),
        ({**CROP, "crop_size": (20, 8)}, RandomCrop((20, 8), pad_if_needed=True)),
        ([CROP, {"type": "Resize", "scale": (4, 4)}, {"type": "RandomRotate"}], RandomCrop((8, 8))),
        ([CROP, {"type": "RandomCutOut"}], AtMost(RandomCrop((8, 8)))),
        ([{**CROP, "crop_size": 12}, CROP], NestedCrop(RandomCrop((12, 12)), RandomCrop((8, 8)))),
        ([{"type": "RandomFlip", "direction": ["horizontal", "diagonal"]}, CROP],
         RandomCrop((8, 8))),
        ([{"type": "Resize", "scale": (12, 10)}, CROP],
         ResizedCrop(RandomCrop((8, 8)), Resize((10, 12)),
                     interpolation=("bilinear", "nearest"), antialias=False)),
        ([{"type": "Resize", "scale": (32, 16), "keep_ratio": True}, CROP],
         ResizedCrop(RandomCrop((8, 8)), RescaledWithin((16, 32)),
                     interpolation=("bilinear", "nearest"), antialias=False)),
        ([{"type": "Pad", "size": (20, 18)}, CROP],
         RandomCrop((8, 8), padding=((0, 2), (0, 4)))),
        ({"type": "RandomApply", "transforms": [CROP], "prob": 0.25},
         RandomApply(RandomCrop((8, 8)), 0.25)),
        ({"type": "RandomChoice", "transforms": [[CROP], [{"type": "RGB2Gray"}]]},
         RandomApply(RandomCrop((8, 8)), Fraction(1, 2))),
        ([{"type": "LoadImageFromFile"}], WholeImage()),
    ],
)  # fmt: skip
def test_pipelines(pipeline: Any, expected: Any) -> None:
    assert plan_crop(pipeline, image=(16, 16)) == expected


REFUSED = [
    ({**CROP, "cat_max_ratio": 0.75}, "cat_max_ratio=0.75 is refused: .*labels"),
    ({"type": "BioMedical3DRandomCrop"}, "BioMedical3DRandomCrop is refused: .*labels"),
    ({"type": "RandomMosaic"}, "RandomMosaic is refused: it mixes"),
    ([{"type": "CLAHE"}, CROP], "CLAHE before the crop lets"),
    ([{"type": "RandomRotate"}, CROP], "RandomRotate before the crop spreads"),
    ([{"type": "RandomResize", "scale": 8, "resize_type": "ResizeToMultiple"}], "resize_type"),
    ({"type": "MyTint"}, "MyTint is not known"),
]


@pytest.mark.parametrize(("pipeline", "reason"), REFUSED)
def test_refused_with_the_reason(pipeline: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(pipeline, image=(16, 16))


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ({"crop_size": 8}, "dict with a type"),
        ("RandomCrop", "dict with a type"),
        ([3], "dict with a type"),
        ({"type": "RandomCrop"}, "RandomCrop needs crop_size"),
    ],
)
def test_what_is_not_a_pipeline(pipeline: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        plan_crop(pipeline, image=(16, 16))


def test_vouching() -> None:
    mine = [{"type": "MyTint"}, CROP]
    assert plan_crop(mine, image=(16, 16), vouched=("MyTint",)) == RandomCrop((8, 8))
