"""Sixty MONAI transforms that are easy to misread: the right probability, or a word of refusal.

Where a probability is given, the real transform is run too, and shows the patch as often.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

M = pytest.importorskip("monai.transforms")

from drawn import check_shown  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.interop.monai import UnsupportedTransform, plan_crop  # noqa: E402

IMAGE, SIDE = (20, 20), 2
CORNERS = [(0, 0), (9, 9), (18, 18), (5, 13), (0, 18), (12, 4)]
# A crop of 8 x 8 has 13 offsets along an axis, 9 of which touch 2 given pixels inside.
P = Fraction(9, 13) ** 2
TWICE = 1 - (1 - P) ** 2
I, L, BOTH = "image", "label", ["image", "label"]  # noqa: E741


def crop(keys: Any = I, size: Any = 8, **more: Any) -> Any:
    return M.RandSpatialCropd(keys, (size, size) if isinstance(size, int) else size, **more)


class OwnCrop(M.RandSpatialCrop):  # type: ignore[misc, name-defined]
    """A subclass may do anything."""


class OwnCropd(M.RandSpatialCropd):  # type: ignore[misc, name-defined]
    def __call__(self, data: Any, lazy: Any = None) -> Any:
        return data  # shows everything


class Compose(M.Compose):  # type: ignore[misc, name-defined]
    """Of the library's name, but not the library's."""


class OwnTint(M.MapTransform):  # type: ignore[misc, name-defined]
    """The way to write a transform of one's own."""

    def __call__(self, data: Any) -> Any:
        return {key: value * 0.5 for key, value in data.items()}


def patched(transform: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(transform, name, value)
    return transform


READ: list[tuple[str, Any, dict[str, Any], Any]] = [
    ("one key", crop(), {}, P),
    ("both keys by one draw", crop(BOTH), {}, P),
    ("two copies, two draws", [M.CopyItemsd(I, names="b"), crop(I), crop("b")], {}, TWICE),
    ("three copies, three draws",
     [M.CopyItemsd(I, times=2), crop(), crop("image_0"), crop("image_1")], {}, 1 - (1 - P) ** 3),
    ("two keys, two draws", [crop(I), crop(L)], {}, TWICE),
    ("the label is not cropped", [M.EnsureTyped(BOTH), crop(I)], {}, Fraction(1)),
    ("a label that does not show it", [M.EnsureTyped(BOTH), crop(I)], {"keys": I}, P),
    ("a key that no transform names", crop(I), {"keys": BOTH}, Fraction(1)),
    ("the whole image is deleted",
     [M.CopyItemsd(I, names="b"), crop("b"), M.DeleteItemsd(I)], {}, P),
    ("only the crop is selected",
     [M.CopyItemsd(I, names="b"), crop("b"), M.SelectItemsd("b")], {}, P),
    ("the whole image is kept", [M.CopyItemsd(I, names="b"), crop("b")], {}, Fraction(1)),
    ("copied after the crop", [crop(), M.CopyItemsd(I, names="b")], {}, P),
    ("another key's crop, if it is there",
     [M.EnsureTyped(I), crop("img", allow_missing_keys=True)], {}, Fraction(1)),
    ("concatenated, then cropped",
     [M.ConcatItemsd(BOTH, name="x"), M.DeleteItemsd(BOTH), crop("x")], {}, P),
    ("cropped apart, then concatenated",
     [crop(I), crop(L), M.ConcatItemsd(BOTH, name="x"), M.DeleteItemsd(BOTH)], {}, TWICE),
    ("a crop of the image's crop, which the label shows",
     [crop(BOTH), crop(I, 6)], {}, P),
    ("noise on one of two", [M.RandGaussianNoised(I, std=0.0), crop(BOTH)], {}, P),
    ("a flip of one of two behind the crop", [crop(BOTH), M.RandFlipd(I)], {}, P),
    ("a flip of both", [M.RandFlipd(BOTH, prob=0.5), crop(BOTH)], {}, P),
    ("a flip of both, two draws", [M.RandFlipd(BOTH, prob=0.5), crop(I), crop(L)], {}, TWICE),
    ("a value of its own type", crop(np.str_(I), np.array([8, 8])), {}, P),
    ("quarter turns", [M.RandRotate90d(I, prob=0.7, max_k=3), crop()], {}, P),
    ("negative: the whole axis", crop(I, (8, -1)), {}, Fraction(9, 13)),
    ("larger: the whole axis", crop(I, (8, 99)), {}, Fraction(9, 13)),
    ("random sizes", crop(I, 8, random_size=True, max_roi_size=(9, 9)), {},
     ((Fraction(9, 13) + Fraction(10, 12)) / 2) ** 2),
    ("padded by constants", [M.SpatialPadd(I, (22, 22)), crop()], {}, Fraction(9, 15) ** 2),
    ("padded at the end", [M.SpatialPadd(I, (22, 22), method="end"), crop()], {},
     Fraction(9, 15) ** 2),
    ("padded to a multiple", [M.DivisiblePadd(I, 12), crop()], {}, Fraction(9, 17) ** 2),
    ("padded on each side, the mode by keys",
     [M.BorderPadd(BOTH, (1, 2, 0, 3), mode=("reflect", "constant")), crop(BOTH)], {}, None),
    ("padded with copies", [M.BorderPadd(I, 3, mode="edge"), crop()], {}, None),
    ("padded in circles", [M.BorderPadd(I, 3, mode="circular"), crop()], {}, None),
    ("scales", M.RandScaleCropd(I, (0.4, 0.4)), {}, P),
    ("OneOf with weights", M.OneOf([crop(), crop(I, 12)], weights=(1.0, 3.0)), {},
     P / 4 + Fraction(3, 4)),
    ("OneOf with a branch for nothing", M.OneOf([crop(), M.Identityd(I)]), {}, (P + 1) / 2),
    ("samples of both keys",
     M.RandSpatialCropSamplesd(BOTH, (8, 8), num_samples=3), {"views": 3}, P),
    ("samples beside a whole label",
     [M.EnsureTyped(BOTH), M.RandSpatialCropSamplesd(I, (8, 8), num_samples=3)], {"views": 3},
     Fraction(1)),
    ("resized by nearest", [M.Resized(I, (10, 10), mode="nearest"), crop(I, 4)], {},
     None),
    ("resized by area", [M.Resized(I, (10, 10)), crop(I, 4)], {}, None),
    ("resized with corners aligned",
     [M.Resized(I, (13, 17), mode="bilinear", align_corners=True), crop(I, 4)], {}, None),
    ("enlarged", [M.Resized(I, (33, 26), mode="bicubic", align_corners=True), crop(I, 9)], {},
     None),
    ("image and label resized each in its way",
     [M.Resized(BOTH, (5, 5), mode=("bilinear", "nearest")), crop(BOTH, 2)], {}, None),
    ("the longest side", [M.Resized(I, 11, size_mode="longest", mode="area"), crop(I, 4)], {},
     None),
]  # fmt: skip


def leaves(transform: Any) -> list[Any]:
    parts = transform if isinstance(transform, list) else getattr(transform, "transforms", None)
    return [transform] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def run(transform: Any, keys: Any, lit: Any) -> list[Any]:
    """The arrays of an item after the chain; those in it are named by it or asked for."""
    made = {name for leaf in leaves(transform) for name in getattr(leaf, "names", ())}
    made |= {leaf.name for leaf in leaves(transform) if hasattr(leaf, "name")}
    named = {key for leaf in leaves(transform) for key in leaf.keys} | set(keys or ())
    item: Any = {key: lit.copy() for key in named - made}
    for part in transform if isinstance(transform, list) else [transform]:
        item = [part(one) for one in item] if isinstance(item, list) else part(item)
    first = item[0] if isinstance(item, list) else item
    out = [np.asarray(first[key]) for key in keys or first]
    # Concatenated arrays have twice the channels.
    return [part for array in out for part in np.split(array, len(array) // len(lit))]


@pytest.mark.parametrize(("name", "transform", "options", "p"), READ, ids=[row[0] for row in READ])
def test_read_rightly(name: str, transform: Any, options: Any, p: Any) -> None:
    found = plan_crop(transform, image=IMAGE, **options)
    if p is not None:
        assert pdp.inclusion(IMAGE, found, pdp.Patch((SIDE, SIDE))).probability == p
    seeds = np.random.default_rng(20261121)
    for part in [transform, *leaves(transform)]:
        if hasattr(part, "set_random_state"):
            part.set_random_state(int(seeds.integers(2**31)))
    keys = [options["keys"]] if isinstance(options.get("keys"), str) else options.get("keys")
    check_shown(found, IMAGE, CORNERS, SIDE, lambda lit: run(transform, keys, lit), 400)


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("a crop that both share, flipped for one before",
     [M.RandFlipd(I), crop(BOTH)], {}, "draws in common"),
    ("a crop that both share, resized for one before",
     [M.Resized(I, (18, 18)), crop(BOTH)], {}, "different sizes"),
    ("further crops of both, each by itself", [crop(BOTH, 12), crop(I), crop(L)], {}, "draws in"),
    ("a coin for both, a crop for each", M.OneOf([crop(I), crop(L)]), {}, "draws in common"),
    ("a subclass", OwnCrop((8, 8)), {}, "OwnCrop is not known.*derives from RandSpatialCrop"),
    ("a subclass, vouched for", OwnCropd(I, (8, 8)), {"vouched": ("OwnCropd",)}, "derives from"),
    ("a subclass of a container", Compose([crop()]), {}, "derives from Compose"),
    ("another crop inside", patched(crop(), cropper=M.SpatialCrop(roi_start=(0, 0),
     roi_end=(8, 8))), {}, "SpatialCrop inside"),
    ("a call of its own", patched(crop(), randomize=lambda size: None), {}, "randomize replaced"),
    ("a transform of its own", OwnTint(I), {}, r"OwnTint.*vouched=\('OwnTint',\)"),
    ("a function", lambda item: item, {}, "vouch for it"),
    ("lazy", crop(lazy=True), {}, "lazy=True"),
    ("lazy by its container", M.Compose([crop()], lazy=True), {}, "lazy=True"),
    ("overrides", M.Compose([crop()], overrides={"mode": "nearest"}), {}, "overrides"),
    ("map_items", M.Compose([crop()], map_items=False), {}, "map_items=True"),
    ("map_items twice", M.Compose([crop()], map_items=2), {}, "map_items=True"),
    ("unpack_items", M.Compose([crop()], unpack_items=True), {}, "unpack_items=False"),
    ("crops in any order", M.RandomOrder([crop(), M.RandFlipd(I)]), {}, "RandomOrder of"),
    ("some crops", M.SomeOf([crop(), crop(L)], num_transforms=1), {}, "SomeOf of"),
    ("samples by chance",
     M.OneOf([M.RandSpatialCropSamplesd(I, (8, 8), num_samples=2), crop()]), {"views": 2},
     "outside of OneOf"),
    ("samples twice", [M.RandSpatialCropSamplesd(I, (12, 12), num_samples=2)] * 2, {"views": 4},
     "supported once"),
    ("samples beside a crop",
     [crop(L), M.RandSpatialCropSamplesd(I, (8, 8), num_samples=2)], {"views": 2},
     "not independent"),
    ("samples of a crop",
     [crop(I, 12), M.RandSpatialCropSamplesd(I, (8, 8), num_samples=2)], {"views": 2},
     "not independent"),
    ("samples that are not told", M.RandSpatialCropSamplesd(I, (8, 8), num_samples=2), {},
     "say views=2"),
    ("by the labels", M.RandCropByPosNegLabeld(I, L, (8, 8), num_samples=2), {"views": 2},
     "RandCropByPosNegLabel is refused"),
    ("indices of the labels", [M.FgBgToIndicesd(L), crop()], {}, "FgBgToIndices is not known"),
    ("by the foreground, of another key", [M.CropForegroundd(L, L), crop()], {"keys": I},
     "CropForeground is refused"),
    ("a region of the data", M.SpatialCropd(I, roi_center="c", roi_size=(8, 8)), {},
     "from the data"),
    ("spacing", [M.Spacingd(I, (2.0, 2.0)), crop()], {}, "Spacing before the crop"),
    ("affine", [M.RandAffined(I, prob=0.1), crop()], {}, "RandAffine before the crop"),
    ("zoom", [M.Zoomd(I, 0.8), crop()], {}, "Zoom before the crop"),
    ("orientation, vouched for", [M.Orientationd(I, axcodes="RA", labels=None), crop(I, (8, 6))],
     {"vouched": ("Orientationd", "Orientation")}, "square windows only"),
    ("resampled, vouched for", [M.SpatialResampled(I), crop()],
     {"vouched": ("SpatialResampled", "SpatialResample")}, "SpatialResample is not known"),
    ("axes exchanged", [M.Transposed(I, (0, 2, 1)), crop()], {}, "Transpose is not known"),
    ("blurred against aliases",
     [M.Resized(I, (10, 10), mode="bilinear", anti_aliasing=True), crop()], {}, "anti_aliasing"),
    ("an odd reflection", [M.SpatialPadd(I, (22, 22), mode="reflect", reflect_type="odd"), crop()],
     {}, "reflect_type is not supported"),
    ("padded by a statistic", [M.SpatialPadd(I, (22, 22), mode="mean"), crop()], {}, "mode mean"),
    ("padded in two ways", [M.SpatialPadd(BOTH, (22, 22), mode=("reflect", "edge")), crop(BOTH)],
     {}, "mode edge, reflect"),
    ("shifted by the image's own factor",
     [M.ShiftIntensityd(I, 1.0, factor_key="max"), crop()], {}, "factor_key"),
    ("normalised by the image's own mean",
     [M.NormalizeIntensityd(I, subtrahend=1.0), crop()], {}, "own mean or deviation"),
    ("holes filled from the image's range",
     [M.RandCoarseDropoutd(I, 1, 2, prob=1.0), crop()], {}, "range of the image's values"),
    ("the largest along an axis of the image",
     [M.AsDiscreted(I, argmax=True, dim=1), crop()], {}, "another axis"),
    ("deleted by a pattern", [crop(), M.DeleteItemsd("lab.*", use_re=True)], {}, "regular"),
    ("side by side",
     [M.ConcatItemsd(BOTH, name="x", dim=1), M.DeleteItemsd(BOTH), crop("x")], {}, "along axis 1"),
    ("a key twice", [M.BorderPadd((I, I), 2), crop()], {}, "the same key twice"),
    ("blurred between two crops of both",
     [crop(BOTH, 12), M.GaussianSmoothd(I, 1.0), crop(BOTH)], {}, "crop only once"),
    ("normalised between two crops of both",
     [crop(BOTH, 12), M.NormalizeIntensityd(I), crop(BOTH), crop(I, 6)], {}, "crop only once"),
    ("blanked between two crops of both",
     [crop(BOTH, 12), M.RandCoarseDropoutd(I, 1, 2), crop(BOTH)], {}, "draws in common"),
    ("a class", M.RandSpatialCropd, {}, "is a class"),
    ("a method", crop().__call__, {}, "is a method of RandSpatialCropd"),
    ("copied by chance", [M.OneOf([M.CopyItemsd(I, names="b"), M.Identityd(I)]), crop()], {},
     "with some chance"),
    ("arrays and dictionaries", [M.RandSpatialCrop((8, 8)), crop()], {}, "not of both"),
    ("keys of no dictionary", M.RandSpatialCrop((8, 8)), {"keys": I}, "no transform has keys"),
    ("patches of a grid", M.GridPatchd(I, (8, 8)), {}, "GridPatch is not known"),
    ("torchvision by its name", M.TorchVisiond(I, "RandomCrop", size=8), {}, "TorchVision is not"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "transform", "options", "reason"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_refused_in_a_sentence(name: str, transform: Any, options: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason) as caught:
        plan_crop(transform, image=IMAGE, **options)
    message = str(caught.value)
    assert "\n" not in message
    moves = name not in ("a transform of its own", "a function")
    assert ("vouched=" not in message) or not moves


def test_two_copies_of_the_issue() -> None:
    chain = [M.CopyItemsd("a", names="b"), crop("a", 16), crop("b", 16)]
    found = plan_crop(chain, image=(40, 40))
    inclusion = pdp.inclusion((40, 40), found, pdp.Patch((4, 4)))
    assert inclusion.probability == 1 - (1 - Fraction(361, 625)) ** 2
    assert float(inclusion.probability) == pytest.approx(0.82158, abs=5e-6)


def test_any_orientation_of_a_cube() -> None:
    chain = [M.Orientationd(I, axcodes="RA", labels=None), crop()]
    assert plan_crop(chain, image=IMAGE) == pdp.RandomCrop((8, 8))
    with pytest.raises(UnsupportedTransform, match="equal sides only"):
        plan_crop(chain, image=(20, 21))


def test_copies_of_several_keys_have_the_names_that_monai_gives_them() -> None:
    # With two keys and two copies, image_1 is a copy of the label and label_0 one of the image.
    copy = M.CopyItemsd(BOTH, times=2)
    item = copy({"image": 1, "label": 2})
    assert (item["image_0"], item["image_1"], item["label_0"], item["label_1"]) == (1, 2, 1, 2)
    found = plan_crop([copy, M.SelectItemsd("image_1"), crop("image_1")], image=IMAGE)
    assert found == pdp.RandomCrop((8, 8))


def test_several_sizes_are_read_one_by_one() -> None:
    sizes = [(20, 20), (14, 9)]
    found = plan_crop([M.SpatialPadd(I, (16, 16)), crop()], image=sizes)
    # 16 - 8 + 1 = 9 offsets of the smaller ones, all of which touch 2 pixels inside.
    assert pdp.inclusion((14, 9), found, pdp.Patch((2, 2))).probability == 1
    assert pdp.inclusion((20, 20), found, pdp.Patch((2, 2))).probability == P
    with pytest.raises(ValueError, match="one of the sizes that the crop was read for"):
        pdp.inclusion((21, 21), found, pdp.Patch((2, 2)))
