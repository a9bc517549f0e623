"""Albumentations 2.x transforms as patchdp crops.

`plan_crop` walks a pipeline in order, every transform with its probability `p`. Offsets are
uniform; the centre is rounded down; windows of `RandomSizedCrop` are cut to the image.

All targets of a `Compose` are cropped by one window: images, masks and what `additional_targets`
names. Boxes and key points behind a crop must be removed with the pixels they belong to. What is
passed under a name that `Compose` does not know comes out uncropped, and must not depend on the
patch; `strict=True` refuses it when called.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.albumentations.laws import RandomSizedCrop, ScaledSide
from patchdp.interop.albumentations.walk import Walk
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform, for_each_size

__all__ = ["RandomSizedCrop", "ScaledSide", "UnsupportedTransform", "plan_crop"]


def plan_crop(
    transform: Any, *, image: Any, masks: bool = True, vouched: Collection[str] = ()
) -> Crop:
    """The crop that an Albumentations transform amounts to.

    ```python
    crop = plan_crop(A.Compose([A.HorizontalFlip(), A.RandomCrop(505, 505)]), image=(1024, 2048))
    ```

    Args:
      transform: A transform, a `Compose` or a sequence of transforms.
      image: `(height, width)` of the data set's images, or a list of sizes.
      masks: Whether masks that may show the patch go along with the images. They are resized by
        an interpolation of their own, and what it reads is seen too.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, or is not known; boxes of objects that the
        crop does not show stay.
      ValueError: The crop does not fit the image.
    """
    walk = Walk(transform, masks=masks, vouched=vouched)

    def plan(size: tuple[int, ...]) -> Crop:
        pipeline = Pipeline(size)
        if pipeline.axes != 2:
            raise UnsupportedTransform(
                f"image must be (height, width) for Albumentations, got {pipeline.axes} axes"
            )
        walk.inside(transform)(pipeline)
        return pipeline.result()

    return for_each_size(image, plan)
