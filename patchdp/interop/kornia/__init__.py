"""Kornia augmentations as patchdp crops.

Kornia transforms whole batches: it draws one offset per image unless told otherwise, but one coin
for the batch where a crop has `p` below 1. A crop larger than the image shows all of it. Offsets
come from single-precision numbers: probabilities hold up to 2^-24 of a draw.

Images and masks of an `AugmentationSequential` are cropped by one window; boxes and key points
that a crop leaves behind are refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.kornia.laws import ResizedCropAnywhere
from patchdp.interop.kornia.walk import Walk
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform, for_each_size

__all__ = ["ResizedCropAnywhere", "UnsupportedTransform", "plan_crop"]


def plan_crop(transform: Any, *, image: Any, vouched: Collection[str] = ()) -> Crop:
    """The crop that a Kornia augmentation amounts to.

    ```python
    crop = plan_crop(K.AugmentationSequential(K.RandomCrop((505, 505))), image=(1024, 2048))
    ```

    Args:
      transform: An augmentation, a container of them or a sequence.
      image: `(height, width)` of the images in a batch, or a list of sizes.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The images of a batch share an offset or a coin, or the crop's law is
        not known; boxes of objects that the crop does not show stay.
      ValueError: The crop does not fit the image.
    """

    def plan(size: tuple[int, ...]) -> Crop:
        pipeline = Pipeline(size)
        if pipeline.axes != 2:
            raise UnsupportedTransform(
                f"image must be (height, width) for Kornia, got {pipeline.axes} axes"
            )
        Walk(vouched).inside(transform)(pipeline)
        return pipeline.result()

    return for_each_size(image, plan)
