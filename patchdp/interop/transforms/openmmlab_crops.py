"""The crops of mmcv, mmsegmentation and mmdetection.

mmsegmentation writes the size of a crop as `(height, width)` and mmcv's `CenterCrop` as `(width,
height)`. mmdetection's `RandomCrop` had `(height, width)` in version 2 and has `(width, height)` in
version 3. It removes the boxes that it does not see.
Source: `docs/theory/geometry.md`, "Labels behind a crop".
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from patchdp import _checks
from patchdp.geometry import CenterCrop, RandomCrop, RandomSizeCrop
from patchdp.geometry.random_share import RandomShareCrop
from patchdp.geometry.sizes import Size
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.openmmlab_config import (
    BOXES,
    DEPTH,
    FIELDS,
    MASKS,
    SEGMENTATION,
    Chain,
    Params,
)
from patchdp.interop.transforms.openmmlab_rows import Row

__all__ = ["MMCV", "MMDET", "MMSEG"]


def _fits(chain: Chain, size: Size) -> bool:
    try:
        images = chain.pipeline.sizes()
    except UnsupportedTransform:  # of random size, some of them too small perhaps
        return False
    return all(c <= n for image in images for c, n in zip(size, image, strict=True))


def _crop_to(chain: Chain, params: Params, size: tuple[int, int]) -> None:
    """A window of this size; larger than the image it is cut off, and all of that axis is seen."""
    fits = _fits(chain, size)
    crop = RandomCrop(size, pad_if_needed=not fits)
    chain.pipeline.crop_by(crop, params.name, resized=not fits)


def _random_crop_seg(chain: Chain, params: Params) -> None:
    _checks.whole(f"{params.name}: ignore_index", params.get("ignore_index", 255), least=0)
    most = params.get("cat_max_ratio", 1.0)
    if isinstance(most, bool) or not isinstance(most, int | float):
        raise ValueError(f"{params.name}: cat_max_ratio must be a number, got {most!r}")
    if 0 < most < 1:
        raise UnsupportedTransform(
            f"{params.name} with cat_max_ratio={most!r} is refused: it draws again until no class "
            "fills too much of the crop, so its crop is chosen by the labels; use 1.0"
        )
    _crop_to(chain, params, params.pair("crop_size"))


def _random_crop_det(chain: Chain, params: Params) -> None:
    _check_boxes(chain, params)
    size = params.need("crop_size")
    kind = params.get("crop_type", "absolute")
    if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
        raise ValueError(f"{params.name}: crop_size must be two numbers, got {size!r}")
    if kind == "absolute":
        first, second = (_checks.count(f"{params.name}: crop_size", n) for n in size)
        height, width = _in_order(chain, params, (first, second))
        _crop_to(chain, params, (height, width))
    elif kind == "absolute_range":
        low, high = params.pair("crop_size")
        if low > high:
            raise ValueError(f"{params.name}: crop_size must rise, got {size!r}")
        crop = RandomSizeCrop((low, low), (high, high), clipped=True)
        chain.pipeline.crop_by(crop, params.name, resized=True)
    elif kind == "relative":
        shares = _in_order(chain, params, tuple(_share(params, share) for share in size))
        chain.pipeline.crop_by(RandomShareCrop(shares), params.name, resized=True)
    elif kind == "relative_range":
        # (height, width) in every version; in single precision, as the library computes it.
        given = [np.float32(_share(params, share)) for share in size]
        smallest = tuple(Fraction(float(share)) for share in given)
        spans = (Fraction(float(np.float32(1) - share)) for share in given)
        ends = zip(smallest, spans, strict=True)
        largest = tuple(min(Fraction(1), low + span) for low, span in ends)
        chain.pipeline.crop_by(RandomShareCrop(smallest, largest), params.name, resized=True)
    else:
        raise ValueError(
            f"{params.name}: crop_type must be absolute, absolute_range, relative or "
            f"relative_range, got {kind!r}"
        )


def _share(params: Params, share: object) -> float:
    return float(_checks.probability(f"{params.name}: crop_size", share))


def _in_order(chain: Chain, params: Params, size: tuple[Any, ...]) -> tuple[Any, ...]:
    """mmdetection's `crop_size` as `(height, width)`."""
    if size[0] == size[1]:
        return size
    if chain.version is None:
        raise UnsupportedTransform(
            f"{params.name} with crop_size={size!r} means (height, width) in mmdetection 2 and "
            "(width, height) in mmdetection 3; say which with version="
        )
    return size if chain.version == 2 else size[::-1]


def _check_boxes(chain: Chain, params: Params) -> None:
    """mmdetection's crop removes the boxes it does not see; what then depends on them?"""
    negative = params.flag("allow_negative_crop", False)
    clips, _ = params.flag("bbox_clip_border", True), params.flag("recompute_bbox", False)
    if MASKS in chain.carried and BOXES not in chain.carried and not chain.pipeline.cropped:
        raise UnsupportedTransform(
            f"{params.name} crops gt_masks together with gt_bboxes only, which are not loaded"
        )
    if BOXES not in chain.carried:
        return
    if not negative:
        raise UnsupportedTransform(
            f"{params.name} with allow_negative_crop=False is refused: where no box is left the "
            "image is given up and another one drawn, so its crop is chosen by content; use True"
        )
    if not clips and chain.version != 3:
        raise UnsupportedTransform(
            f"{params.name} with bbox_clip_border=False keeps the boxes that it does not see in "
            "mmdetection 2, and removes them in mmdetection 3; use True, or say version=3"
        )


def _center_crop(chain: Chain, params: Params) -> None:
    width, height = params.pair("crop_size")
    params.flag("clip_object_border", True)
    fits = _fits(chain, (height, width))
    if params.flag("auto_pad", False) and not fits:
        raise UnsupportedTransform(
            f"{params.name} with auto_pad=True of an image that is smaller is not supported; "
            "write Pad and CenterCrop"
        )
    if not isinstance(params.get("pad_cfg", {}), dict):
        raise ValueError(f"{params.name}: pad_cfg must be a dict, got {params.get('pad_cfg')!r}")
    chain.pipeline.crop_by(CenterCrop((height, width)), params.name, resized=not fits)


_SEGS = frozenset({FIELDS, SEGMENTATION})

MMCV: dict[str, Row] = {
    # It cuts boxes and key points of unseen objects at its border, and keeps them.
    "CenterCrop": Row(_center_crop, "crop_size auto_pad pad_cfg clip_object_border", _SEGS),
}
MMSEG: dict[str, Row] = {
    "RandomCrop": Row(
        _random_crop_seg, "crop_size cat_max_ratio ignore_index", frozenset({FIELDS, DEPTH})
    ),
}
MMDET: dict[str, Row] = {
    "RandomCrop": Row(
        _random_crop_det,
        "crop_size crop_type allow_negative_crop recompute_bbox bbox_clip_border",
        _SEGS | {BOXES, MASKS},
    ),
}
