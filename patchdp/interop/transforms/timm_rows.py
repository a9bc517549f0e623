"""timm's transforms, one row each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp import _checks
from patchdp.geometry import CenterCrop, FixedCrop, RandomCrop, RandomResizedCrop
from patchdp.interop.catalogue import Catalogue, Row
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform
from patchdp.interop.transforms.torch_sizes import KeptRatio
from patchdp.interop.transforms.torchvision_rows import as_pair, resize_to

__all__ = ["CATALOGUE"]


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomResizedCrop(scale=tuple(transform.scale), ratio=tuple(transform.ratio))
    pipeline.crop_by(crop, "RandomResizedCropAndInterpolation", resized=True)


def _random_crop_or_pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Along an axis that is padded the window has room for all of it, wherever it lies, and copies
    # in the padding show nothing more.
    pipeline.crop_by(RandomCrop(as_pair(transform.size), pad_if_needed=True), "RandomCropOrPad")


def _center_crop_or_pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(CenterCrop(as_pair(transform.size)), "CenterCropOrPad")


def _trim_border(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    border = _checks.whole("border_size", transform.border_size, least=0)
    size = tuple(n - 2 * border for n in pipeline.one_size("TrimBorder"))
    if min(size) < 1:
        raise ValueError(f"TrimBorder of {border} pixels leaves nothing of the image")
    pipeline.crop_by(FixedCrop(size, at=(border, border)), "TrimBorder")


def _resize_keep_ratio(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if pipeline.cropped:
        pipeline.neighbourhood("ResizeKeepRatio")
        return
    if transform.random_scale_prob > 0 or transform.random_aspect_prob > 0:
        raise UnsupportedTransform(
            "ResizeKeepRatio with random_scale_prob or random_aspect_prob above 0 is not supported "
            "before the crop"
        )
    longest = _checks.nonnegative("longest", transform.longest)
    if longest > 1:
        raise ValueError(f"longest must be from 0 to 1, got {longest}")
    if isinstance(transform.interpolation, list | tuple):  # bilinear or bicubic, drawn
        resizing = KeptRatio(as_pair(transform.size), longest)
        pipeline.resize(resizing, ("bilinear", "bicubic"), "ResizeKeepRatio")
    else:
        resize_to(pipeline, KeptRatio(as_pair(transform.size), longest), transform)


def _erase(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.hide("RandomErasing")


_MIXES = "it mixes images: the patch reaches the gradient of another image"

CATALOGUE = Catalogue(
    "timm",
    pointwise={
        "MaybePILToTensor": "",
        "MaybeToTensor": "",
        "ToNumpy": "",
        "ToTensor": "dtype",
    },
    statistics={
        "AugMixAugment": "ops alpha width depth blended",
        "AugmentOp": "name prob magnitude hparams",
        "AutoAugment": "policy",
        "RandAugment": "ops num_layers choice_weights",
    },
    refused={
        "FastCollateMixup": _MIXES,
        "Mixup": _MIXES,
        "RandomPad": "it puts the image at a random place of a larger one, which is not supported",
    },
    readers={
        "CenterCropOrPad": Row(_center_crop_or_pad, "size fill padding_mode"),
        "RandomCropOrPad": Row(_random_crop_or_pad, "size fill padding_mode"),
        "RandomErasing": Row(
            _erase,
            "probability min_area max_area min_aspect max_aspect mode min_count max_count "
            "num_splits device",
        ),
        "RandomResizedCropAndInterpolation": Row(
            _random_resized_crop, "size scale ratio interpolation"
        ),
        "ResizeKeepRatio": Row(
            _resize_keep_ratio,
            "size longest interpolation random_scale_prob random_scale_range random_scale_area "
            "random_aspect_prob random_aspect_range",
        ),
        "TrimBorder": Row(_trim_border, "border_size"),
    },
    home=(
        "timm.data.auto_augment",
        "timm.data.mixup",
        "timm.data.random_erasing",
        "timm.data.transforms",
    ),
)
