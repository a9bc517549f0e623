"""timm's image pipelines as patchdp crops.

`timm.data.create_transform` strings torchvision's transforms and a few of its own together.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import CenterCrop, Crop, FixedCrop, RandomCrop, RandomResizedCrop
from patchdp.interop import torchvision
from patchdp.interop.catalogue import Catalogue
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["CATALOGUE", "UnsupportedTransform", "plan_crop"]


def plan_crop(transform: Any, *, image: Any, vouched: Collection[str] = ()) -> Crop:
    """The crop that a transform made by timm amounts to.

    ```python
    crop = plan_crop(timm.data.create_transform(224, is_training=True), image=(500, 375))
    ```

    Mixup and CutMix are set up elsewhere in timm (`timm.data.Mixup`) and must be off: they mix
    images.

    Args:
      transform: What `create_transform` returns, the three parts of `separate=True` included.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, or is not known.
      ValueError: The crop does not fit the image.
    """
    return torchvision.plan_crop(transform, image=image, vouched=vouched)


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomResizedCrop(scale=tuple(transform.scale), ratio=tuple(transform.ratio))
    pipeline.crop_by(crop, "RandomResizedCropAndInterpolation", resized=True)


def _random_crop_or_pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Along an axis that is padded the window has room for all of it, wherever it lies.
    crop = RandomCrop(torchvision.as_pair(transform.size), pad_if_needed=True)
    pipeline.crop_by(crop, "RandomCropOrPad")


def _center_crop_or_pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(CenterCrop(torchvision.as_pair(transform.size)), "CenterCropOrPad")


def _trim_border(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    border = int(transform.border_size)
    size = tuple(n - 2 * border for n in pipeline.one_size("TrimBorder"))
    if min(size) < 1:
        raise ValueError(f"TrimBorder of {border} pixels leaves nothing of the image")
    pipeline.crop_by(FixedCrop(size, at=(border, border)), "TrimBorder")


def _erase(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.hide("RandomErasing")


CATALOGUE = Catalogue(
    "timm",
    pointwise={"MaybePILToTensor", "MaybeToTensor", "ToNumpy", "ToTensor"},
    neighbourhood={"ResizeKeepRatio"},
    statistics={"AugMixAugment", "AugmentOp", "AutoAugment", "RandAugment"},
    refused={"Mixup": "it mixes images: the patch reaches the gradient of another image"},
    readers={
        "CenterCropOrPad": _center_crop_or_pad,
        "RandomCropOrPad": _random_crop_or_pad,
        "RandomErasing": _erase,
        "RandomResizedCropAndInterpolation": _random_resized_crop,
        "TrimBorder": _trim_border,
    },
)
