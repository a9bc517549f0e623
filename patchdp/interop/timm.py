"""timm's image pipelines as patchdp crops.

`timm.data.create_transform` strings torchvision's transforms and a few of its own together.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.torch_walker import plan

__all__ = ["UnsupportedTransform", "plan_crop"]


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
    return plan(transform, image, None, vouched)
