"""MONAI transforms as patchdp crops, arrays and dictionaries alike, any number of axes.

A region that is larger than the image, 0 or negative on an axis silently means the whole axis:
the patch is then seen on it for certain. The centre lies where halves of both are rounded down.

Transforms of dictionaries act on the arrays under their keys, all by the same draw. What one array
of an item shows, the item is exposed by: the crop returned is that of all arrays together.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.monai.items import Item
from patchdp.interop.monai.laws import CutSizeCrop
from patchdp.interop.pipeline import UnsupportedTransform, for_each_size

__all__ = ["CutSizeCrop", "UnsupportedTransform", "plan_crop"]


def plan_crop(
    transform: Any,
    *,
    image: Any,
    views: int = 1,
    keys: Collection[Hashable] | None = None,
    vouched: Collection[str] = (),
) -> Crop:
    """The crop that a MONAI transform amounts to.

    ```python
    crop = plan_crop(RandSpatialCropd("image", (64, 64, 64)), image=(155, 240, 240))
    ```

    Args:
      transform: A transform, a `Compose` or a sequence of transforms.
      image: Spatial size of the data set's images, without channels, or a list of sizes. All
        arrays of an item that reach the training have it.
      views: The `num_samples` of `RandSpatialCropSamples`, to say that the plan has as many views:
        `TrainingPlan(views=4, views_clipped=...)`. The crop returned is that of one sample.
      keys: Keys of the arrays that reach the training and may show the patch. By default every
        key that a transform names, until a transform deletes it. What is under other keys must
        not depend on the patch; an array that is not cropped shows it for certain.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, or is not known; arrays are cropped by
        draws that are neither the same nor independent; there are samples that `views` does not
        tell of.
      ValueError: The crop does not fit the image.
    """
    item = Item(transform, keys, views, vouched)
    return for_each_size(image, item.crop)
