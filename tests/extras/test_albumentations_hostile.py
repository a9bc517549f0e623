"""Albumentations transforms that are easy to misread: the right probability, or a refusal.

Where a probability is given, the real transform is run too, and shows the patch as often.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

A = pytest.importorskip("albumentations")
cv2 = pytest.importorskip("cv2")

from drawn import check_shown  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import hit_probability  # noqa: E402
from patchdp.geometry.reading import Reading  # noqa: E402
from patchdp.interop.albumentations import UnsupportedTransform, plan_crop  # noqa: E402

IMAGE, SIDE = (20, 20), 2
CORNERS = [(0, 0), (9, 9), (18, 18)]
# A crop of 8 x 8 has 13 offsets along an axis, 9 of which touch 2 given pixels inside.
P = Fraction(9, 13) ** 2
BOXES = {"format": "pascal_voc", "label_fields": ["kinds"]}


def crop(size: int = 8, **more: Any) -> Any:
    return A.RandomCrop(size, size, **more)


class OwnCrop(A.RandomCrop):  # type: ignore[misc, name-defined]
    """A subclass may do anything."""


class OwnShift(A.DualTransform):  # type: ignore[misc, name-defined]
    """What moves pixels derives from DualTransform."""


class OwnTint(A.ImageOnlyTransform):  # type: ignore[misc, name-defined]
    """What changes colours derives from ImageOnlyTransform."""


class Compose(A.Compose):  # type: ignore[misc, name-defined]
    """Of the library's name, but not the library's."""


def patched(transform: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(transform, name, value)
    return transform


def quietly(make: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def resized(height: int, width: int, **more: Any) -> Any:
    return A.Resize(height, width, **more)


AREA, CUBIC, NEAREST, EXACT, LANCZOS = 3, 2, 0, 6, 4
READ: list[tuple[str, Any, dict[str, Any], Any]] = [
    ("a crop", crop(), {}, P),
    ("a crop by chance", crop(p=0.25), {}, P / 4 + Fraction(3, 4)),
    ("never", crop(p=0.0), {}, Fraction(1)),
    ("Compose by chance", A.Compose([crop()], p=0.5), {}, (P + 1) / 2),
    ("Compose in Compose", A.Compose([A.Compose([crop()], p=0.5)], p=0.5), {}, (P + 3) / 4),
    ("Sequential is applied half the time", A.Sequential([crop()]), {}, (P + 1) / 2),
    ("OneOf is applied half the time", A.OneOf([crop()]), {}, (P + 1) / 2),
    ("OneOf forces what is in it", A.OneOf([crop(p=0.01)], p=1), {}, P),
    ("OneOf by weights", A.OneOf([crop(p=0.5), A.NoOp(p=0.25)], p=1), {},
     P * 2 / 3 + Fraction(1, 3)),
    ("OneOf forces a Sequential", A.OneOf([A.Sequential([crop()], p=0.1)], p=1), {}, P),
    ("a crop with a chance of 0 is not forced",
     A.OneOrOther(crop(p=0.0), crop(), p=0.5), {}, (P + 1) / 2),
    ("the other one", A.OneOrOther(crop(), A.NoOp(), p=0.25), {}, P / 4 + Fraction(3, 4)),
    ("three given to OneOrOther", quietly(lambda: A.OneOrOther(
        transforms=[crop(), crop(12), A.NoOp()], p=0.25)), {}, P / 4 + Fraction(3, 4)),
    ("turned and mirrored", [A.D4(), A.RandomRotate90(), A.Transpose(), A.HorizontalFlip(),
     A.VerticalFlip(), A.SquareSymmetry(), crop()], {}, P),
    ("turned by some of", [A.SomeOf([A.D4(), A.HorizontalFlip()], n=2, replace=True), crop()], {},
     P),
    ("larger: padded, seen whole", A.RandomCrop(24, 8, pad_if_needed=True, border_mode=4), {},
     Fraction(9, 13)),
    ("larger: padded anywhere", A.RandomCrop(24, 8, pad_if_needed=True, pad_position="random"), {},
     Fraction(9, 13)),
    ("middle", A.CenterCrop(8, 6), {}, Fraction(1)),
    ("a place", A.Crop(3, 2, 11, 12), {}, Fraction(1)),
    ("padding of one number", [A.Pad(2), crop()], {}, Fraction(9, 17) ** 2),
    ("padding of x and y", [A.Pad((1, 3)), crop()], {}, Fraction(9, 15) * Fraction(9, 19)),
    ("padding of four sides", [A.Pad((3, 0, 1, 2)), crop()], {},
     Fraction(9, 15) * Fraction(9, 17)),
    ("padding with copies", [A.Pad((3, 0, 1, 2), border_mode=1), crop()], {}, None),
    ("padding in circles", [A.Pad(4, border_mode=3), crop()], {}, None),
    ("padding by mirrors", [A.Pad(4, border_mode=4), crop()], {}, None),
    ("padding to a multiple", [A.PadIfNeeded(None, None, pad_height_divisor=12,
     pad_width_divisor=8, border_mode=2), crop()], {}, None),
    ("padding that is not needed, anywhere", [A.PadIfNeeded(9, 9, position="random"), crop()], {},
     P),
    ("a drawn height", A.RandomSizedCrop((8, 9), (8, 8)), {},
     (P + Fraction(10, 12) ** 2) / 2),
    ("resized, image alone", [resized(10, 10), crop(4)], {"masks": False}, None),
    ("resized, image and mask", [resized(5, 5), crop(2)], {}, None),
    ("resized by nearest", [resized(5, 5, interpolation=NEAREST), crop(2)], {}, None),
    ("resized by nearest-exact", [resized(7, 9, interpolation=EXACT), crop(3)], {}, None),
    ("resized by area", [resized(7, 9, interpolation=AREA), crop(3)], {}, None),
    ("resized by area along one axis", [resized(7, 31, interpolation=AREA), crop(3)], {}, None),
    ("resized by cubic", [resized(11, 9, interpolation=CUBIC), crop(3)], {}, None),
    ("resized by lanczos", [resized(11, 20, interpolation=LANCZOS), crop(3)], {}, None),
    ("by area where smaller", [resized(7, 9, area_for_downscale="image_mask"), crop(3)], {}, None),
    ("a mask by its own kernel", [resized(6, 6, mask_interpolation=CUBIC), crop(3)], {}, None),
    ("all masks by one kernel",
     A.Compose([resized(6, 6), crop(2)], mask_interpolation=LANCZOS), {}, None),
    ("the shorter side", [A.SmallestMaxSize(12), crop(5)], {}, None),
    ("one of several sides", [A.SmallestMaxSize([12, 16]), crop(5)], {}, None),
    ("height and width at most", [A.LongestMaxSize(max_size_hw=(14, 11)), crop(5)], {}, None),
    ("height at least", [A.SmallestMaxSize(max_size_hw=(14, None)), crop(5)], {}, None),
    ("any scale", [A.RandomScale((-0.5, 0.2), p=1), crop(6)], {}, None),
    ("another image too", A.Compose([crop()], additional_targets={"b": "image", "c": "mask"}), {},
     P),
    ("boxes that leave with their pixels",
     A.Compose([crop()], bbox_params={**BOXES, "min_visibility": 0.01}), {}, P),
    ("key points that leave with their pixels",
     A.Compose([crop()], keypoint_params={"format": "xy"}), {}, P),
    ("boxes and no crop", A.Compose([A.HorizontalFlip()], bbox_params=BOXES), {}, Fraction(1)),
]  # fmt: skip


def run(transform: Any, masks: bool, lit: Any) -> list[Any]:
    data: dict[str, Any] = {"image": np.ascontiguousarray(lit.transpose(1, 2, 0))}
    if masks:
        data["mask"] = data["image"].copy()
    names = getattr(transform, "additional_targets", {})
    data.update({name: data["image"].copy() for name in names})
    kinds = getattr(transform, "processors", {})
    data.update({kind: [] for kind in [*kinds, *(["kinds"] if "bboxes" in kinds else [])]})
    for part in transform if isinstance(transform, list) else [transform]:
        data = part(**data)
    out = [data[name] for name in ("image", "mask", *names) if name in data]
    return [array.transpose(2, 0, 1) for array in out]


@pytest.mark.parametrize(("name", "transform", "options", "p"), READ, ids=[row[0] for row in READ])
def test_read_rightly(name: str, transform: Any, options: Any, p: Any) -> None:
    found = plan_crop(transform, image=IMAGE, **options)
    if p is not None:
        measured = pdp.inclusion(IMAGE, found, pdp.Patch((SIDE, SIDE))).probability
        assert measured == (p if isinstance(measured, Fraction) else pytest.approx(float(p)))
    for part in transform if isinstance(transform, list) else [transform]:
        part.set_random_seed(20261121)
    masks = options.get("masks", True)
    check_shown(found, IMAGE, CORNERS, SIDE, lambda lit: run(transform, masks, lit), 400)


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("a subclass", OwnCrop(8, 8), {}, "OwnCrop is not known.*derives from RandomCrop"),
    ("a subclass, vouched for", OwnCrop(8, 8), {"vouched": ("OwnCrop",)}, "derives from"),
    ("one's own, that moves pixels", [OwnShift(), crop()], {"vouched": ("OwnShift",)},
     "derives from DualTransform"),
    ("one's own, of colours", [OwnTint(), crop()], {}, r"vouched=\('OwnTint',\)"),
    ("a function", [lambda **data: data, crop()], {}, "vouch for it"),
    ("a subclass of Compose", Compose([crop()]), {}, "derives from Compose"),
    ("a call of its own", patched(crop(), get_params_dependent_on_data=lambda **k: {}), {},
     "get_params_dependent_on_data replaced"),
    ("an argument that is ignored", quietly(lambda: crop(always_apply=True)), {}, "always_apply"),
    ("a typing error", quietly(lambda: A.Resize(9, 9, interpolatoin=0)), {}, "interpolatoin"),
    ("a class", A.RandomCrop, {}, "not known"),
    ("a method", A.Compose([crop()]).__call__, {}, "is a method of Compose"),
    ("no transform at all", [A.BboxParams("yolo"), crop()], {}, "BboxParams is not known"),
    ("replayed", A.ReplayCompose([crop()]), {}, "ReplayCompose is refused"),
    ("a crop set to replay", patched(crop(), replay_mode=True), {}, "replay"),
    ("a crop that keeps what it drew", crop().set_deterministic(True), {}, "replay"),
    ("a chance above 1", patched(crop(), p=1.5), {}, r"p in \[0, 1\]"),
    ("a chance that is none", A.Compose([crop()], p=-0.5), {}, r"p in \[0, 1\]"),
    ("weights that have changed",
     A.OneOf([patched(crop(p=0.5)), A.NoOp(p=0.5)], p=1), {"change": True}, "their p has changed"),
    ("channels by themselves", A.SelectiveChannelTransform([crop()], channels=(0,)), {},
     "SelectiveChannelTransform is not known"),
    ("SomeOf crops", A.SomeOf([crop(), A.NoOp()], n=1), {}, "SomeOf of transforms that crop"),
    ("crops in any order", A.RandomOrder([crop(), crop(12)], n=2), {}, "RandomOrder of"),
    ("SomeOf with a chance, in OneOf", A.OneOf([A.SomeOf([A.NoOp()], n=1, p=0.5), crop()]), {},
     "SomeOf with p below 1"),
    ("shapes that are not checked", A.Compose([crop()], is_check_shapes=False), {},
     "is_check_shapes=False"),
    ("what was computed, handed on", A.Compose([crop()], save_applied_params=True), {},
     "save_applied_params"),
    ("a target of no kind", A.Compose([crop()], additional_targets={"d": "depth"}), {},
     "'d' as 'depth', which is not transformed"),
    ("a target of the inner Compose alone",
     A.Compose([A.Compose([A.HorizontalFlip()], additional_targets={"b": "image"}), crop()]), {},
     "RandomCrop does not act on the additional target 'b'"),
    ("boxes that stay", A.Compose([crop()], bbox_params=BOXES), {}, "boxes of objects"),
    ("boxes that stay in a corner",
     A.Compose([crop()], bbox_params={**BOXES, "max_accept_ratio": 2.0}), {}, "boxes of objects"),
    ("boxes that stay beside", A.Compose([crop()], bbox_params={**BOXES, "min_width": 3}), {},
     "boxes of objects"),
    ("boxes filtered at the end", A.Compose([crop(), A.Pad(30)], bbox_params={
        **BOXES, "min_visibility": 0.1, "check_each_transform": False}), {}, "check_each"),
    ("key points that stay", A.Compose([crop()], keypoint_params={
        "format": "xy", "remove_invisible": False}), {}, "remove_invisible=False"),
    ("key points filtered at the end", A.Compose([crop()], keypoint_params={
        "format": "xy", "check_each_transform": False}), {}, "check_each"),
    ("by its boxes", A.AtLeastOneBBoxRandomCrop(8, 8), {}, "refused: .*annotations"),
    ("by its boxes, safely", A.BBoxSafeRandomCrop(), {}, "refused: .*annotations"),
    ("by its mask", A.CropNonEmptyMaskIfExists(8, 8), {}, "refused: .*annotations"),
    ("near a box", A.RandomCropNearBBox(), {}, "refused: .*annotations"),
    ("from its borders", A.RandomCropFromBorders(), {}, "random size on every side"),
    ("three axes", A.RandomCrop3D((8, 8, 8)), {}, "RandomCrop3D is not known"),
    ("time reversed", [quietly(A.TimeReverse), crop()], {}, "TimeReverse is not known"),
    ("another image over it", [A.OverlayElements(), crop()], {}, "it mixes images"),
    ("an affine map", [A.Affine(), crop()], {}, "Affine before the crop"),
    ("an affine map, vouched for", [A.Rotate(), crop()], {"vouched": ("Rotate",)},
     "Rotate before the crop"),
    ("a shuffled grid", [A.RandomGridShuffle(), crop()], {}, "before the crop spreads"),
    ("holes painted in", [A.CoarseDropout(fill="inpaint_telea"), crop()], {}, "inpainting"),
    ("brightness by the mean", [A.RandomBrightnessContrast(brightness_by_max=False), crop()], {},
     "brightness_by_max=False"),
    ("contrast about the mean", [A.ColorJitter(), crop()], {}, "ColorJitter with contrast"),
    ("the image's own statistics", [A.Normalize(normalization="min_max"), crop()], {},
     "normalization='min_max'"),
    ("principal colours", [A.ToGray(method="pca"), crop()], {}, "principal components"),
    ("padding anywhere", [A.PadIfNeeded(30, 30, position="random"), crop()], {}, "random position"),
    ("resized by chance", [A.Resize(10, 10, p=0.5), crop()], {}, "with some chance"),
    ("a place, padded", A.Crop(3, 2, 31, 12, pad_if_needed=True), {}, "pad_if_needed"),
    ("a lambda", [quietly(lambda: A.Lambda(image=lambda x, **k: x)), crop()], {},
     r"vouched=\('Lambda',\)"),
]  # fmt: skip
VOUCHABLE = {"one's own, of colours", "a function", "a lambda"}


@pytest.mark.parametrize(
    ("name", "transform", "options", "reason"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_refused_in_a_sentence(name: str, transform: Any, options: Any, reason: str) -> None:
    if options.pop("change", False):
        transform.transforms[0].p = 0.9
    with pytest.raises(UnsupportedTransform, match=reason) as caught:
        plan_crop(transform, image=IMAGE, **options)
    assert "\n" not in str(caught.value)
    assert ("vouched=" in str(caught.value)) == (name in VOUCHABLE)


def test_nearest_of_the_issue() -> None:
    chain = [A.Resize(16, 16, interpolation=cv2.INTER_NEAREST), A.RandomCrop(8, 8)]
    found = plan_crop(chain, image=(64, 64))
    assert hit_probability((64, 64), found, [(28, 28)], [(1, 1)])[0] == pytest.approx(64 / 81)
    # Pixels that nearest passes over are not seen, unless it is the image's bilinear kernel.
    assert hit_probability((64, 64), found, [(29, 29)], [(1, 1)])[0] == 0
    both = plan_crop([A.Resize(16, 16), A.RandomCrop(8, 8)], image=(64, 64))
    seen = hit_probability((64, 64), both, [(28, 28), (29, 29), (31, 31)], [(1, 1)] * 3)
    assert seen == pytest.approx([64 / 81, 64 / 81, 0])
    alone = plan_crop([A.Resize(16, 16), A.RandomCrop(8, 8)], image=(64, 64), masks=False)
    seen = hit_probability((64, 64), alone, [(28, 28), (29, 29)], [(1, 1)] * 2)
    assert seen == pytest.approx([0, 64 / 81])


SIZES = [(n, m) for n in (1, 2, 3, 5, 8, 12) for m in (1, 2, 3, 4, 7, 9, 16)]
SIZES += [(64, 16), (16, 64), (100, 37), (37, 100), (51, 17), (49, 77)]


@pytest.mark.parametrize(
    ("flag", "kernel", "most"),
    [(0, "nearest", 0.12), (1, "bilinear", 0.12), (2, "bicubic", 0.12), (3, "area", 0.6),
     (4, "lanczos", 0.12), (5, "bilinear", 0.12), (6, "nearest-exact", 0.12)],
)  # fmt: skip
def test_every_pixel_that_reaches_opencvs_output_is_read(
    flag: int, kernel: Any, most: float
) -> None:
    kind: Any = np.uint8 if flag == 5 else np.float32  # exact bilinear is for bytes
    spare = total = 0
    for n, m in SIZES:
        reading = Reading.resized(n, m, kernel, antialias=False)
        pixels = np.arange(n)
        read = (reading.low[:, None] <= pixels) & (pixels < reading.high[:, None])
        for rows in (2, 4, 9):  # the other axis shrinks, stays and grows
            reached = np.zeros((m, n), dtype=bool)
            for pixel in range(n):
                line = np.zeros((4, n), dtype=kind)
                line[:, pixel] = 255
                reached[:, pixel] = cv2.resize(line, (m, rows), interpolation=flag).any(axis=0)
            assert not (reached & ~read).any(), (n, m, np.argwhere(reached & ~read))
            spare += int((read & ~reached).sum())
            total += int(reached.sum())
    assert spare < most * total, (spare, total)


@pytest.mark.parametrize("filtered", [{"min_visibility": 1e-3}, {"min_area": 1.0},
                                      {"min_width": 1, "min_height": 1}, {}])  # fmt: skip
def test_which_boxes_leave_with_their_pixels(filtered: Any) -> None:
    # By default a box outside of the crop stays, with no area, at the edge that it lies beyond.
    params = {**BOXES, **filtered}
    transform = A.Compose([A.RandomCrop(8, 8)], bbox_params=params, seed=20261121)
    boxes = [(1, 2, 4, 6), (10, 11, 12, 13), (15, 3, 19, 5)]
    numbered = np.arange(400, dtype=np.float32).reshape(20, 20)
    strays = 0
    for _ in range(300):
        out = transform(image=numbered, bboxes=boxes, kinds=[0, 1, 2])
        shown = set(out["image"].ravel().astype(int))
        touched = {
            k for k, (left, top, right, bottom) in enumerate(boxes)
            if shown & {20 * y + x for y in range(top, bottom) for x in range(left, right)}
        }  # fmt: skip
        strays += len({int(kind) for kind in out["kinds"]} - touched)
    assert (strays == 0) == bool(filtered)
