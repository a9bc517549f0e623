"""torchvision transforms (v1 and v2) as patchdp crops.

`plan_crop` walks a pipeline in order. What torchvision does is followed to the letter: the law of
`RandomResizedCrop`, padding by `pad_if_needed`, the sizes that `Resize` gives. The transforms must
run on one image at a time, as they do inside a data set: on a batch of images one offset is shared,
and the per-image analysis does not hold.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.torch_sizes import CappedResize, ShortestSide
from patchdp.interop.transforms.torch_walker import plan

__all__ = ["CappedResize", "ShortestSide", "UnsupportedTransform", "plan_crop"]


def plan_crop(
    transform: Any,
    *,
    image: Any,
    sample: Any = None,
    vouched: Collection[str] = (),
    batched: bool = False,
) -> Crop:
    """The crop that a torchvision transform amounts to.

    ```python
    crop = plan_crop(T.Compose([T.RandomCrop(505), T.ToTensor()]), image=(1024, 2048))
    ```

    Version 2 transforms whole samples. `sample` is one of them, as the transform is given it, an
    item of the data set say: what it holds beside the image, and version 2 does not crop with it,
    is refused. Boxes are counted where `SanitizeBoundingBoxes` stands behind the crop, for a patch
    that covers the boxes of the private objects (`docs/theory/geometry.md`, "Labels behind a
    crop"). Without `sample` the transform is taken to act on one image, and masks that are `Mask`s.

    Args:
      transform: A transform, a `Compose`, a sequence of transforms; or a mapping from names to
        pipelines, each of which is given a copy of the image.
      image: `(height, width)` of the data set's images, or a list of sizes.
      sample: What the transform is given; must be said where the pipeline treats boxes. Of boxes
        it must hold at least two.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.
      batched: Whether the transform sees a batch of images at once.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, is shared by a batch, or is not known; or
        something of the sample is not cropped.
      ValueError: The crop does not fit the image.
    """
    return plan(transform, image, sample, vouched, batched=batched)
