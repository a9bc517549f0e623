"""mmsegmentation's pipelines, as their configurations write them, as patchdp crops.

Pipelines are lists of dictionaries, `dict(type="RandomCrop", crop_size=(512, 1024))`, and are read
as such: mmsegmentation itself is not needed. Sizes of crops are `(height, width)`, scales of images
are `(width, height)`, as the library has it; what is not said takes the library's default. Types of
mmdetection and mmcv are read in their own meaning, `mmdet.RandomCrop`; other scopes are refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from patchdp.geometry import Crop
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.openmmlab_sizes import RescaledWithin
from patchdp.interop.transforms.openmmlab_walker import plan

__all__ = ["RescaledWithin", "UnsupportedTransform", "plan_crop"]


def plan_crop(
    pipeline: Any, *, image: Any, vouched: Collection[str] = (), version: int | None = None
) -> Crop:
    """The crop that a pipeline of an mmsegmentation configuration amounts to.

    >>> train = [
    ...     dict(type="LoadImageFromFile"),
    ...     dict(type="RandomCrop", crop_size=(505, 505)),
    ...     dict(type="RandomFlip", prob=0.5),
    ...     dict(type="PhotoMetricDistortion"),
    ...     dict(type="PackSegInputs"),
    ... ]
    >>> plan_crop(train, image=(1024, 2048))
    RandomCrop((505, 505))

    The label map that goes with the image is counted: it is resized by nearest neighbours, and
    what either shows is seen.

    Args:
      pipeline: The list of dictionaries, or one of them.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Types of unknown transforms of which you know that they map every pixel by itself.
      version: Major version of mmdetection, where a `mmdet.RandomCrop` depends on it.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content (`cat_max_ratio` between 0 and 1), a
        parameter or a scope is not known, or an array of the sample is not cropped.
      ValueError: Something that is not a dictionary with a type, or that lacks what it needs.
    """
    return plan(pipeline, image, "mmseg", vouched, version)
