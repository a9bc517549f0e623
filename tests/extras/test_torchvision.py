"""torchvision's transforms as it draws them, and as patchdp reads them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
v1 = pytest.importorskip("torchvision.transforms")
from drawn import DRAWS, check_rate, check_windows  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import (  # noqa: E402
    AtMost,
    CenterCrop,
    FiveCrop,
    NestedCrop,
    OneOf,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    ResizedCrop,
    TenCrop,
    WholeImage,
)
from patchdp.geometry.choice import ChoiceCrop  # noqa: E402
from patchdp.interop.torchvision import UnsupportedTransform, plan_crop  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The transform `ToTensor")

Draws = npt.NDArray[np.int64]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20261121)


def draw_crops(transform: Any, image: tuple[int, int], draws: int = DRAWS) -> Draws:
    """Top, left, height, width of the windows of a v2 transform, in the padded image."""
    like = [torch.empty(1, *image)]
    drawn = (transform.make_params(like) for _ in range(draws))
    return np.array([(d["top"], d["left"], d["height"], d["width"]) for d in drawn])


@pytest.mark.parametrize(
    ("transform", "image", "before"),
    [
        (v2.RandomCrop((3, 5)), (7, 6), (0, 0)),
        (v2.RandomCrop(6, padding=(1, 2, 3, 0)), (8, 7), (2, 1)),
        (v2.RandomCrop((9, 4), pad_if_needed=True), (6, 9), (3, 0)),
    ],
)
def test_the_windows_of_random_crop(transform: Any, image: Any, before: Any) -> None:
    drawn = draw_crops(transform, image)
    crop = plan_crop(transform, image=image)
    starts, lengths = drawn[:, :2] - before, drawn[:, 2:]
    if transform.pad_if_needed:  # patchdp counts the whole axis, wherever the window starts
        assert np.all(starts[:, 0] <= 0) and np.all(starts[:, 0] + 9 >= 6)
        starts[:, 0], lengths = 0, np.stack([np.full(DRAWS, 6), lengths[:, 1]], axis=1)
    check_windows(crop, image, starts, lengths)


@pytest.mark.parametrize(
    ("options", "image"),
    [({}, (6, 8)), ({"scale": (0.3, 0.9), "ratio": (0.5, 1.5)}, (9, 3))],
)
def test_the_windows_of_random_resized_crop(options: Any, image: Any) -> None:
    transform = v2.RandomResizedCrop(224, **options)
    drawn = draw_crops(transform, image)
    check_windows(plan_crop(transform, image=image), image, drawn[:, :2], drawn[:, 2:])


def test_the_windows_of_version_one() -> None:
    like = torch.empty(1, 7, 6)
    drawn = np.array([v1.RandomCrop.get_params(like, (3, 5)) for _ in range(DRAWS)])
    crop = plan_crop(v1.RandomCrop((3, 5)), image=(7, 6))
    check_windows(crop, (7, 6), drawn[:, :2], drawn[:, 2:])


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric", "edge"])
@pytest.mark.parametrize("module", [v1, v2])
def test_padding_through_the_pixels(module: Any, mode: str) -> None:
    # Every window of the padded image, drawn by the library: which pixels does it show?
    image = (5, 4)
    transform = module.RandomCrop((3, 4), padding=(1, 2, 2, 0), padding_mode=mode)
    crop = plan_crop(transform, image=image)
    numbered = torch.arange(20.0).reshape(1, *image) + 1
    shown = np.zeros((4000, 20), dtype=bool)
    for row in shown:
        row[transform(numbered).flatten().long().numpy() - 1] = True
        # The constant border is 0: it marks pixel -1, the last one.
    for corner in [(0, 0), (2, 1), (0, 3)]:
        number = corner[0] * 4 + corner[1]
        check_rate(crop, image, corner, (1, 1), shown[:, number])


def test_acceptance_figures() -> None:
    small = pdp.Patch((5, 5))
    plain = plan_crop(v1.RandomCrop(32, padding=4), image=(32, 32))
    assert pdp.inclusion((32, 32), plain, small).probability == 1
    corner = pdp.Patch((5, 5), at=(0, 0))
    # An offset from 0 to 8 shows rows offset - 4, ..., offset + 27: rows 0 to 4 always.
    assert pdp.inclusion((32, 32), plain, corner).probability == 1
    one = pdp.Patch((1, 1), at=(0, 0))
    assert pdp.inclusion((32, 32), plain, one).probability == Fraction(5, 9) ** 2
    copies = plan_crop(v1.RandomCrop(32, padding=4, padding_mode="reflect"), image=(32, 32))
    assert copies == RandomCrop((32, 32), padding=4, padding_mode="reflect")
    # Row 1 is seen from offsets 0 to 5; its copy at row -1 from some of them, and from no other.
    second = pdp.Patch((1, 1), at=(1, 1))
    assert pdp.inclusion((32, 32), copies, second).probability == Fraction(6, 9) ** 2
    resized = plan_crop(v1.RandomResizedCrop(224), image=(224, 224))
    p = pdp.inclusion((224, 224), resized, pdp.Patch((10, 10))).probability
    assert float(p) == pytest.approx(0.9059035898, abs=1e-9)
    cityscapes = v1.Compose(
        [
            v1.RandomHorizontalFlip(),
            v1.RandomCrop(505),
            v1.ColorJitter(0.3, 0.3, 0.3),
            v1.ToTensor(),
            v1.Normalize((0.5,), (0.5,)),
        ]
    )
    crop = plan_crop(cityscapes, image=(1024, 2048))
    assert pdp.inclusion((1024, 2048), crop, pdp.Patch((10, 10))).probability == Fraction(
        66049, 200720
    )


@pytest.mark.parametrize("image", [(224, 224), (500, 375)])
def test_random_resized_crop_on_photographs(image: tuple[int, int]) -> None:
    transform = v2.RandomResizedCrop(224)
    crop = plan_crop(transform, image=image)
    found = pdp.inclusion(image, crop, pdp.Patch((10, 10)))
    drawn = draw_crops(transform, image, 20_000)
    corner = np.array(found.worst_position)
    hit = np.all((drawn[:, :2] < corner + 10) & (corner < drawn[:, :2] + drawn[:, 2:]), axis=1)
    assert found.worst_position is not None
    check_rate(crop, image, found.worst_position, (10, 10), hit)


def test_the_erased_box_hides() -> None:
    image = (16, 16)
    transform = v2.Compose([v2.RandomCrop(10), v2.RandomErasing(0.7, value=-1.0)])
    crop = plan_crop(transform, image=image)
    assert isinstance(crop, RandomErasing)
    numbered = torch.arange(256.0).reshape(1, *image)
    shown = np.zeros((8_000, 256), dtype=bool)
    for row in shown:
        seen = transform(numbered).flatten().long().numpy()
        row[seen[seen >= 0]] = True
    for corner in [(0, 0), (7, 8), (15, 4)]:
        check_rate(crop, image, corner, (1, 1), shown[:, corner[0] * 16 + corner[1]])


@pytest.mark.parametrize("module", [v1, v2])
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda t: t.RandomCrop(8), RandomCrop((8, 8))),
        (lambda t: [t.RandomCrop(8), t.ToTensor()], RandomCrop((8, 8))),
        (lambda t: torch.nn.Sequential(t.RandomCrop(8)), RandomCrop((8, 8))),
        (lambda t: t.Compose([t.CenterCrop(8)]), CenterCrop((8, 8))),
        (lambda t: t.FiveCrop(8), FiveCrop((8, 8))),
        (lambda t: t.TenCrop(8, vertical_flip=True), TenCrop((8, 8), vertical_flip=True)),
        (lambda t: t.ToTensor(), WholeImage()),
        (lambda t: t.RandomApply([t.RandomCrop(8)], p=0.25), RandomApply(RandomCrop((8, 8)), 0.25)),
        (lambda t: t.RandomApply([t.RandomCrop(8)], p=1.0), RandomCrop((8, 8))),
        (lambda t: t.RandomApply([t.RandomCrop(8)], p=0.0), WholeImage()),
        (
            lambda t: t.RandomChoice([t.RandomCrop(8), t.RandomCrop(12)], p=[0.25, 0.75]),
            ChoiceCrop((RandomCrop((8, 8)), RandomCrop((12, 12))), (0.25, 0.75)),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.RandomCrop(8)]),
            NestedCrop(RandomCrop((12, 12)), RandomCrop((8, 8))),
        ),
        (
            # Which of the two windows comes first makes no difference to what a bound may be.
            lambda t: t.Compose(
                [t.RandomCrop(12), t.RandomChoice([t.RandomCrop(8), t.ToTensor()])]
            ),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.GaussianBlur(3), t.RandomCrop(8)]),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            # A mirror image between them, and the middle of 12 columns is not that of 7.
            lambda t: t.Compose([t.RandomCrop(12), t.RandomHorizontalFlip(), t.CenterCrop(7)]),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.RandomHorizontalFlip(), t.CenterCrop(8)]),
            NestedCrop(RandomCrop((12, 12)), CenterCrop((8, 8))),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.RandomErasing(0.5)]),
            RandomErasing(RandomCrop((12, 12)), 0.5),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.GaussianBlur(3), t.RandomErasing(0.5)]),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            lambda t: t.Compose([t.RandomErasing(0.5), t.RandomCrop(12)]),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            lambda t: t.Compose([t.RandomCrop(12), t.RandomApply([t.RandomErasing(1.0)])]),
            AtMost(RandomCrop((12, 12))),
        ),
        (
            lambda t: t.Compose([t.Pad((1, 2)), t.RandomCrop(12)]),
            RandomCrop((12, 12), padding=((2, 2), (1, 1))),
        ),
        (
            lambda t: t.Compose([t.Pad((1, 2, 3, 4)), t.RandomCrop(12, padding=1)]),
            RandomCrop((12, 12), padding=((3, 5), (2, 4))),
        ),
        (
            lambda t: t.RandomCrop(12, padding=(1, 2, 3, 4)),
            RandomCrop((12, 12), padding=((2, 4), (1, 3))),
        ),
        (
            lambda t: t.Compose([t.Pad(2, padding_mode="reflect"), t.RandomCrop(12)]),
            RandomCrop((12, 12), padding=((2, 2), (2, 2)), padding_mode="reflect"),
        ),
        (
            lambda t: t.Compose([t.Resize(10), t.CenterCrop(8)]),
            ResizedCrop(CenterCrop((8, 8)), Resize(10), interpolation="bilinear"),
        ),
        (
            lambda t: t.Compose([t.RandomVerticalFlip(), t.RandomResizedCrop(8, (0.5, 1.0))]),
            RandomResizedCrop((0.5, 1.0)),
        ),
        (
            lambda t: t.Compose([t.RandomOrder([t.RandomHorizontalFlip(), t.RandomGrayscale()])]),
            WholeImage(),
        ),
    ],
)
def test_pipelines(module: Any, build: Any, expected: Any) -> None:
    assert plan_crop(build(module), image=(16, 20)) == expected


def test_version_two_only() -> None:
    resize = v2.Compose([v2.RandomResize(10, 12, antialias=True), v2.RandomCrop(8)])
    assert plan_crop(resize, image=(16, 20)) == ResizedCrop(
        RandomCrop((8, 8)), OneOf((Resize(10), Resize(11))), interpolation="bilinear"
    )


@pytest.mark.parametrize(
    "resize",
    [v2.Resize(30), v2.Resize((20, 30)), v2.Resize(30, max_size=31), v2.Resize(None, max_size=50),
     v2.RandomShortestSize([49]), v2.RandomShortestSize([49], max_size=60)],
)  # fmt: skip
@pytest.mark.parametrize("image", [(49, 98), (98, 49), (37, 41), (64, 64)])
def test_sizes_after_resizing(resize: Any, image: Any) -> None:
    crop = plan_crop(v2.Compose([resize, v2.RandomCrop(8)]), image=image)
    assert isinstance(crop, ResizedCrop)
    ((_, size),) = crop.resizing.sizes(image)
    assert size == tuple(resize(torch.zeros(1, *image)).shape[1:])


REFUSED = [
    (v2.Compose([v2.GaussianBlur(3), v2.RandomCrop(8)]), "GaussianBlur before the crop spreads"),
    (v2.Compose([v2.RandomEqualize(), v2.RandomCrop(8)]), "RandomEqualize before the crop lets"),
    (v2.Compose([v2.ColorJitter(contrast=0.5), v2.RandomCrop(8)]), "contrast before the crop"),
    (v2.Compose([v2.RandomRotation(10), v2.RandomCrop(8)]), "RandomRotation before the crop"),
    (v2.Compose([v2.RandomCrop(8), v2.MixUp(num_classes=3)]), "MixUp is refused: it mixes"),
    (v2.CutMix(num_classes=3), "CutMix is refused: it mixes"),
    (v2.RandomIoUCrop(), "RandomIoUCrop is refused: its crop is chosen by"),
    (v2.RandomZoomOut(), "RandomZoomOut is supported behind the crop only: its canvas"),
    (v2.Lambda(lambda x: x), "Lambda is not known"),
    (lambda x: x, "<lambda> is not known"),
    (v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(8, padding=(1, 0, 0, 0))]),
     "RandomHorizontalFlip before RandomCrop.*flip behind"),
    (v2.Compose([v2.RandomHorizontalFlip(), v2.CenterCrop(7)]), "flip behind the crop"),
    (v2.RandomApply([v2.Resize(8)]), "RandomApply changes the image's size"),
    (v2.Compose([v2.Pad(1), v2.RandomApply([v2.RandomCrop(8)])]), "crops a resized or padded"),
    (v2.RandomOrder([v2.RandomCrop(8), v2.Grayscale()]), "RandomOrder of transforms that crop"),
    (v2.Compose([v2.Pad(1), v2.RandomResizedCrop(8)]), "RandomResizedCrop of a padded image"),
    (v2.Compose([v2.Pad(1), v2.Resize(8)]), "Resize after padding"),
    (v2.Compose([v2.Pad(1, padding_mode="edge"), v2.RandomCrop(8, padding=1)]), "padded"),
]  # fmt: skip


@pytest.mark.parametrize(("transform", "reason"), REFUSED)
def test_refused_with_the_reason(transform: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        plan_crop(transform, image=(16, 20))


def test_a_batch_shares_its_offset() -> None:
    with pytest.raises(UnsupportedTransform, match="one offset for all its images"):
        plan_crop(v2.RandomCrop(8), image=(16, 16), batched=True)


def test_a_crop_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="crop 32x32 does not fit image 16x16"):
        plan_crop(v2.RandomCrop(32), image=(16, 16))
    with pytest.raises(UnsupportedTransform, match=r"\(height, width\)"):
        plan_crop(v2.RandomCrop(32), image=(64, 64, 64))


def test_vouching_is_for_the_unknown_only() -> None:
    class Vignette:
        pass

    assert plan_crop([Vignette(), v2.RandomCrop(8)], image=(16, 16), vouched=("Vignette",)) == (
        RandomCrop((8, 8))
    )
    with pytest.raises(UnsupportedTransform, match="GaussianBlur"):
        plan_crop([v2.GaussianBlur(3), v2.RandomCrop(8)], image=(16, 16), vouched=("GaussianBlur",))

    class MyCrop(v2.RandomCrop):  # may do anything
        pass

    with pytest.raises(UnsupportedTransform, match="MyCrop is not known"):
        plan_crop(MyCrop(8), image=(16, 16))
