"""Kornia augmentations that are easy to misread: the right probability, or a word of refusal.

Where a probability is given, the real augmentation is run too, and shows the patch as often.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
K = pytest.importorskip("kornia.augmentation")

from drawn import check_rate  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.geometry import hit_probability  # noqa: E402
from patchdp.interop.kornia import UnsupportedTransform, plan_crop  # noqa: E402

IMAGE, SIDE, BATCH = (20, 20), 2, 600
CORNERS = [(0, 0), (9, 9), (18, 18), (5, 13), (0, 18)]
# A crop of 8 x 8 has 13 offsets along an axis, 9 of which touch 2 given pixels inside.
P = Fraction(9, 13) ** 2
WHOLE = Fraction(1)


def crop(size: Any = 8, **more: Any) -> Any:
    return K.RandomCrop((size, size) if isinstance(size, int) else size, **more)


def both(*parts: Any, keys: Any = ("input", "mask"), **more: Any) -> Any:
    return K.AugmentationSequential(*parts, data_keys=list(keys), **more)


class OwnCrop(K.RandomCrop):  # type: ignore[misc, name-defined]
    """A subclass may do anything."""


class OwnWarp(K.GeometricAugmentationBase2D):  # type: ignore[misc, name-defined]
    """What moves pixels derives from GeometricAugmentationBase2D."""


class OwnMix(K.MixAugmentationBaseV2):  # type: ignore[misc, name-defined]
    """What mixes images derives from MixAugmentationBaseV2."""

    def __init__(self) -> None:
        super().__init__(p=1.0, p_batch=1.0)


class OwnTint(K.IntensityAugmentationBase2D):  # type: ignore[misc, name-defined]
    """What changes colours derives from IntensityAugmentationBase2D."""


class OwnList(K.ImageSequential):  # type: ignore[misc, name-defined]
    """A subclass of a container."""


class Sequential(torch.nn.Sequential):  # type: ignore[misc, name-defined]
    """Of PyTorch's name, but not PyTorch's."""


class RandomGamma(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Of the library's name, but not the library's."""


class Inside(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, crop: Any) -> None:
        super().__init__()
        self.crop = crop

    def forward(self, images: Any) -> Any:
        return self.crop(images)


def patched(transform: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(transform, name, value)
    return transform


def flagged(transform: Any, **flags: Any) -> Any:
    transform.flags.update(flags)
    return transform


def hooked(transform: Any) -> Any:
    transform.register_forward_hook(lambda module, given, shown: given[0])
    return transform


def hooked_before(transform: Any) -> Any:
    transform.register_forward_pre_hook(lambda module, given: given)
    return transform


READ: list[tuple[str, Any, Any]] = [
    ("a crop", crop(), P),
    ("a list as size", crop([8, 8]), P),
    ("not square", crop((8, 11)), Fraction(9, 13)),
    ("larger along an axis", crop((8, 30)), Fraction(9, 13)),
    ("larger, padded", crop((8, 30), pad_if_needed=True), Fraction(9, 13)),
    ("padding of x and y", crop(padding=(1, 2)), Fraction(9, 15) * Fraction(9, 17)),
    ("padding of four sides", crop(padding=(3, 0, 1, 2)), Fraction(9, 15) * Fraction(9, 17)),
    ("padding that is needed less", crop(padding=4, pad_if_needed=True), Fraction(9, 21) ** 2),
    ("padding with copies", crop(padding=3, padding_mode="replicate"), None),
    ("padding by mirrors", crop(padding=(2, 1, 0, 4), padding_mode="reflect"), None),
    ("padding in circles", crop(padding=4, padding_mode="circular"), None),
    ("a filling", crop(padding=(1, 2), fill=0.0), Fraction(9, 15) * Fraction(9, 17)),
    ("whatever its resampling, it is cut out", crop(resample="bicubic", align_corners=False), P),
    ("dimensions kept", crop(keepdim=True), P),
    ("middle", K.CenterCrop((9, 6)), WHOLE),
    ("any size and ratio", K.RandomResizedCrop((40, 40), scale=(0.1, 0.4)), None),
    ("the ratio of last resort", K.RandomResizedCrop((40, 40), scale=(0.9, 1), ratio=(3, 4)), None),
    ("images and masks", both(crop()), P),
    ("images and masks, padded", both(crop(padding=2)), Fraction(9, 17) ** 2),
    ("labels of images", both(crop(), keys=("input", "class")), P),
    ("boxes and no crop", both(K.RandomHorizontalFlip(), keys=("input", "bbox_xyxy")), WHOLE),
    ("flips of half the batches", K.ImageSequential(K.RandomHorizontalFlip(p=0.5, p_batch=0.5),
     K.RandomVerticalFlip(same_on_batch=True), crop()), P),
    ("some flips, then a crop", K.ImageSequential(K.ImageSequential(
        K.RandomHorizontalFlip(), K.RandomVerticalFlip(), random_apply=1), crop()), P),
    ("a list in a container in a list",
     [torch.nn.Sequential(K.ImageSequential(K.RandomHorizontalFlip()), crop())], P),
    ("a container that keeps same_on_batch", K.ImageSequential(crop(), same_on_batch=False), P),
    ("padded at the end", K.ImageSequential(K.PadTo((22, 24)), crop()),
     Fraction(9, 15) * Fraction(9, 17)),
    ("padded at the end, if at all",
     K.ImageSequential(K.PadTo((22, 10), crop_if_exceeds=False), crop()),
     Fraction(9, 15) * Fraction(9, 13)),
    ("padded by mirrors", K.ImageSequential(K.PadTo((22, 24), pad_mode="reflect"), crop()), None),
    ("a crop of a crop", K.ImageSequential(crop(12), crop(8)), None),
    ("blanked behind it", K.ImageSequential(crop(), K.RandomErasing(p=1.0)), None),
    ("blanked before it", K.ImageSequential(K.RandomErasing(p=1.0), crop()), None),
    ("resized, corners aligned", K.ImageSequential(K.Resize((10, 13)), crop(4)), None),
    ("resized, half pixels",
     K.ImageSequential(K.Resize((10, 13), align_corners=False), crop(4)), None),
    ("resized by nearest", K.ImageSequential(K.Resize((7, 9), resample="nearest"), crop(3)), None),
    ("resized by cubic", K.ImageSequential(K.Resize((7, 29), resample="bicubic"), crop(3)), None),
    ("enlarged with antialias, which does nothing",
     K.ImageSequential(K.Resize((30, 27), antialias=True), crop(9)), None),
    ("the shorter side", K.ImageSequential(K.SmallestMaxSize(12), crop(5)), None),
    ("the longer side", K.ImageSequential(K.LongestMaxSize(11), crop(5)), None),
    ("the height", K.ImageSequential(K.Resize(13, side="vert"), crop(5)), None),
    ("masks resized by nearest", both(K.Resize((5, 5)), crop(2)), None),
    ("masks resized as images",
     both(K.Resize((5, 5)), crop(2), extra_args={K.container.augment.DataKey.MASK: {}}), None),
]  # fmt: skip


def shown(transform: Any) -> Any:
    """For each image of a batch and each patch, whether it reaches the image or the mask."""
    lit = torch.zeros(len(CORNERS), *IMAGE)
    for channel, (row, column) in zip(lit, CORNERS, strict=True):
        channel[row : row + SIDE, column : column + SIDE] = 1
    images = lit.expand(BATCH, *lit.shape).clone()
    names = [key.name for key in getattr(transform, "data_keys", None) or []]
    parts = transform if isinstance(transform, list) else [transform]
    for part in parts:
        if "MASK" in names:
            outs = part(images, images.clone())
        elif "LABEL" in names:
            outs = [part(images, torch.zeros(BATCH, dtype=torch.long))[0]]
        elif len(names) > 1:
            outs = [part(images, torch.ones(BATCH, 1, 4))[0]]
        else:
            outs = [part(images)]
        images = outs[0]
    return np.any([out.abs().flatten(2).amax(2).numpy() > 0 for out in outs], axis=0)


@pytest.mark.parametrize(("name", "transform", "p"), READ, ids=[row[0] for row in READ])
def test_read_rightly(name: str, transform: Any, p: Any) -> None:
    found = plan_crop(transform, image=IMAGE)
    if p is not None:
        assert pdp.inclusion(IMAGE, found, pdp.Patch((SIDE, SIDE))).probability == p
    torch.manual_seed(20261121)
    for corner, hit in zip(CORNERS, shown(transform).T, strict=True):
        if found.exact:
            check_rate(found, IMAGE, corner, (SIDE, SIDE), hit)
        else:
            (most,) = hit_probability(IMAGE, found, [corner], [(SIDE, SIDE)])
            assert hit.mean() <= most + 4 * np.sqrt(max(most * (1 - most), 1e-12) / BATCH), corner


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("a subclass", OwnCrop((8, 8)), {}, "OwnCrop is not known.*derives from RandomCrop"),
    ("a subclass, vouched for", OwnCrop((8, 8)), {"vouched": ("OwnCrop",)}, "derives from"),
    ("one's own, that moves pixels", [OwnWarp(), crop()], {"vouched": ("OwnWarp",)},
     "derives from GeometricAugmentationBase2D"),
    ("one's own, that mixes images", [crop(), OwnMix()], {"vouched": ("OwnMix",)},
     "derives from MixAugmentationBaseV2"),
    ("one's own, of colours", [OwnTint(), crop()], {}, r"vouched=\('OwnTint',\)"),
    ("a subclass of a container", OwnList(crop()), {}, "derives from ImageSequential"),
    ("a module of one's own", Inside(crop()), {}, "vouch for it"),
    ("a list of one's own", Sequential(crop()), {}, "vouch for it"),
    ("a name that is Kornia's", RandomGamma(), {}, "vouch for it"),
    ("a forward of its own", patched(crop(), forward=lambda images: images), {},
     "forward replaced"),
    ("a class", K.RandomCrop, {}, "is a class"),
    ("a method", crop().forward, {}, "forward is a method of RandomCrop"),
    ("a hook", hooked(crop()), {}, "_forward_hooks"),
    ("a hook before", hooked_before(crop()), {}, "_forward_pre_hooks"),
    ("a hook of a container", hooked(K.ImageSequential(crop())), {}, "_forward_hooks"),
    ("a hook of PyTorch's container", hooked(torch.nn.Sequential(crop())), {}, "Sequential"),
    ("a size that was changed", flagged(crop(), size=(12, 12)), {}, "draws offsets for a window"),
    ("sizes by image", K.RandomCrop(torch.tensor([[8, 8]])), {}, "sizes of its own"),
    ("another generator", patched(crop(), _param_generator=K.RandomResizedCrop(
        (8, 8))._param_generator), {}, "offsets or sizes of its own|draws offsets"),
    ("one offset", crop(same_on_batch=True), {}, "one offset for all"),
    ("one offset, said by the container", K.ImageSequential(crop(), same_on_batch=True), {},
     "one offset for all"),
    ("one offset, said afterwards", patched(K.ImageSequential(crop()), same_on_batch=True), {},
     "one offset for all"),
    ("one offset, said by the outer container",
     K.ImageSequential(K.ImageSequential(crop()), same_on_batch=True), {}, "one offset for all"),
    ("one coin", crop(p=0.9), {}, "one coin for all"),
    ("interpolated", crop(cropping_mode="resample"), {}, "cropping_mode='resample'"),
    ("any size, interpolated", K.RandomResizedCrop((8, 8), cropping_mode="resample"), {},
     "cropping_mode='resample'"),
    ("middle, by a coin", K.CenterCrop((8, 8), p=0.5), {}, "one coin for all"),
    ("resized by a coin", K.ImageSequential(K.Resize((9, 9), p=0.5), crop()), {}, "some chance"),
    ("blurred against aliases", K.ImageSequential(K.Resize((9, 9), antialias=True), crop()), {},
     "antialias=True before the crop"),
    ("boxes that stay", both(crop(), keys=("input", "bbox_xyxy")), {}, "BBOX_XYXY of objects"),
    ("polygons that stay", both(crop(), keys=("input", "mask", "bbox")), {}, "BBOX of objects"),
    ("key points that stay", both(crop(), keys=("input", "keypoints")), {}, "KEYPOINTS of"),
    ("whatever it is called with", K.AugmentationSequential(crop(), data_keys=None), {},
     "say data_keys"),
    ("images otherwise", both(crop(), extra_args={K.container.augment.DataKey.INPUT: {
        "padding": 3}}), {}, "extra_args for IMAGE"),
    ("masks otherwise", both(crop(), extra_args={K.container.augment.DataKey.MASK: {
        "padding": 3}}), {}, "extra_args for padding"),
    ("a crop at random", K.ImageSequential(crop(), K.RandomHorizontalFlip(), random_apply=1), {},
     "random_apply of transforms that crop"),
    ("all at random", both(crop(), random_apply=True), {}, "random_apply of transforms that crop"),
    ("padding at random", K.ImageSequential(K.ImageSequential(K.PadTo((30, 30)),
     random_apply=(0, 1)), crop()), {}, "some chance|is not supported"),
    ("part by part", K.PatchSequential(crop((4, 4)), patchwise_apply=False), {}, "is refused"),
    ("frames", K.VideoSequential(crop()), {}, "VideoSequential is refused"),
    ("mixed", K.ImageSequential(crop(), K.RandomMixUpV2()), {}, "mixes images"),
    ("mosaic", K.RandomMosaic((8, 8)), {}, "mixes images"),
    ("transplanted", K.RandomTransplantation(), {}, "mixes images"),
    ("many to one", K.ManyToOneAugmentationDispather(both(crop())), {},
     "ManyToOneAugmentationDispather is not known"),
    ("three axes", K.RandomCrop3D((8, 8, 8)), {}, "RandomCrop3D is not known"),
    ("an affine map", K.ImageSequential(K.RandomAffine(10.0), crop()), {}, "before the crop"),
    ("quarter turns, interpolated", K.ImageSequential(K.RandomRotation90((1, 1)), crop()), {},
     "RandomRotation90 before the crop"),
    ("shifted, vouched for", K.ImageSequential(K.RandomTranslate((0.1, 0.1)), crop()),
     {"vouched": ("RandomTranslate",)}, "RandomTranslate before the crop"),
    ("a jigsaw", K.ImageSequential(K.RandomJigsaw(), crop()), {}, "before the crop spreads"),
    ("contrast", K.ImageSequential(K.RandomContrast(), crop()), {}, "RandomContrast before"),
    ("turned, off the middle", K.ImageSequential(K.RandomHorizontalFlip(), K.PadTo((22, 24)),
     crop()), {}, "treats the two sides differently"),
    ("padded beyond", K.ImageSequential(K.PadTo((10, 30)), crop()), {}, "PadTo of a larger image"),
    ("a resizing of another name", K.ImageSequential(torch.nn.Upsample(scale_factor=2), crop()),
     {}, "Upsample is not known"),
]  # fmt: skip
VOUCHABLE = {
    "one's own, of colours", "a module of one's own", "a list of one's own",
    "a name that is Kornia's", "a hook of PyTorch's container", "a resizing of another name",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "transform", "options", "reason"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_refused_in_a_sentence(name: str, transform: Any, options: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason) as caught:
        plan_crop(transform, image=IMAGE, **options)
    assert "\n" not in str(caught.value)
    assert ("vouched=" not in str(caught.value)) or name in VOUCHABLE


def test_geometry_has_classes_of_the_same_names() -> None:
    from kornia.geometry.transform import Resize

    with pytest.raises(UnsupportedTransform, match="Resize is not known"):
        plan_crop([Resize((9, 9)), crop()], image=IMAGE)
