"""mmdetection's pipelines, as their configurations write them, as patchdp crops.

Read as dictionaries: mmdetection itself is not needed. What is private in an image with boxes is a
patch that covers the objects' boxes, rounded outwards; the boxes that a crop does not see are
removed by mmdetection's `RandomCrop` (`docs/theory/geometry.md`, "Labels behind a crop").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.openmmlab_walker import plan

__all__ = ["UnsupportedTransform", "plan_crop"]


def plan_crop(
    pipeline: Any, *, image: Any, vouched: Collection[str] = (), version: int | None = None
) -> Crop:
    """The crop that a pipeline of an mmdetection configuration amounts to.

    >>> train = [
    ...     dict(type="LoadImageFromFile"),
    ...     dict(type="LoadAnnotations", with_bbox=True),
    ...     dict(
    ...         type="RandomCrop", crop_type="absolute_range", crop_size=(384, 600),
    ...         allow_negative_crop=True,
    ...     ),
    ...     dict(type="RandomFlip", prob=0.5),
    ...     dict(type="PackDetInputs"),
    ... ]
    >>> plan_crop(train, image=(1000, 500))
    RandomSizeCrop((384, 384), (600, 600), clipped=True)

    Args:
      pipeline: The list of dictionaries, or one of them.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Types of unknown transforms of which you know that they map every pixel by itself.
      version: Major version of mmdetection, 2 or 3. There is no default: it must be said where
        the meaning of a parameter depends on it (the order of `crop_size`).

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content (`allow_negative_crop=False`), a parameter
        or a scope is not known, or an array of the sample is not cropped.
      ValueError: Something that is not a dictionary with a type, or that lacks what it needs.
    """
    return plan(pipeline, image, "mmdet", vouched, version)
