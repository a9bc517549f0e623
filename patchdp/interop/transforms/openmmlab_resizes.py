"""The transforms of mmcv, mmsegmentation and mmdetection that resize, pad and flip.

Scales of images are `(width, height)` in all three libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from patchdp import _checks
from patchdp.geometry import OneOf, Resize
from patchdp.geometry.rescale import Resizing
from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.openmmlab_config import (
    BOXES,
    DEPTH,
    EVERYTHING,
    FIELDS,
    KEYPOINTS,
    MASKS,
    SEGMENTATION,
    Chain,
    Params,
    as_interval,
)
from patchdp.interop.transforms.openmmlab_rows import Row
from patchdp.interop.transforms.openmmlab_sizes import (
    DrawnTarget,
    RescaledWithin,
    ScaledBy,
    ShortestEdge,
    ToMultiple,
)

__all__ = ["MMCV", "MMDET", "MMSEG"]

_KERNELS: dict[str, dict[str, Any]] = {
    "cv2": {name: name for name in ("nearest", "bilinear", "bicubic", "area", "lanczos")},
    # Pillow widens its kernels; a box is narrower than an area, a Hamming window than a triangle.
    "pillow": {
        "nearest": "nearest-exact",
        "bilinear": "bilinear",
        "bicubic": "bicubic",
        "lanczos": "lanczos",
        "box": "area",
        "hamming": "bilinear",
    },
}


def _resize_to(chain: Chain, params: Params, resizing: Resizing) -> None:
    """Resize image and labels; boxes and masks are seen wherever they overlap a pixel."""
    params.flag("clip_object_border", True)  # labels of what the image shows, cut at its border
    backend = params.get("backend", "cv2")
    if backend not in _KERNELS:
        raise ValueError(f"{params.name}: backend must be cv2 or pillow, got {backend!r}")
    kind = params.get("interpolation", "bilinear")
    kernels = _KERNELS[backend]
    if kind not in kernels:
        raise UnsupportedTransform(
            f"{params.name} with interpolation {kind!r} is not supported by {backend} "
            f"({', '.join(kernels)} are)"
        )
    found = [kernels[kind]]
    if chain.carried & {FIELDS, SEGMENTATION, DEPTH}:
        found.append(kernels["nearest"])
    if chain.carried & {BOXES, MASKS, KEYPOINTS}:
        found.append("overlap")
    distinct = tuple(dict.fromkeys(found))
    chain.pipeline.resize(
        resizing,
        distinct if len(distinct) > 1 else distinct[0],
        params.name,
        antialias=backend == "pillow",
    )


def _target(params: Params, scale: Any) -> tuple[int, int]:
    """A scale, `(width, height)`, as `(height, width)`."""
    if not isinstance(scale, Sequence) or isinstance(scale, str) or len(scale) != 2:
        raise UnsupportedTransform(f"{params.name}: scale must be (width, height), got {scale!r}")
    width, height = (_checks.count(f"{params.name}: scale", n) for n in scale)
    return height, width


def _to_target(chain: Chain, params: Params, target: tuple[int, int]) -> None:
    keep = params.flag("keep_ratio", False)
    _resize_to(chain, params, RescaledWithin(target) if keep else Resize(target))


def _resize(chain: Chain, params: Params) -> None:
    scale, factor = params.get("scale"), params.get("scale_factor")
    if scale is None and factor is not None:
        pair = factor if isinstance(factor, Sequence) else (factor, factor)
        if len(pair) != 2:
            raise ValueError(f"{params.name}: scale_factor must be one or two numbers: {factor!r}")
        width, height = (_checks.positive(f"{params.name}: scale_factor", f) for f in pair)
        keep = params.flag("keep_ratio", False)
        _resize_to(chain, params, ScaledBy((height, width), keep))
        return
    scale = params.need("scale")
    one = isinstance(scale, int) and not isinstance(scale, bool)
    _to_target(chain, params, _target(params, (scale, scale) if one else scale))


def _random_resize(chain: Chain, params: Params) -> None:
    _inner(chain, params, {"Resize"})
    scale = params.need("scale")
    keep = params.flag("keep_ratio", False)
    ends = scale if isinstance(scale, Sequence) and not isinstance(scale, str) else [scale]
    if all(isinstance(end, Sequence) for end in ends):
        if len(ends) != 2:
            raise UnsupportedTransform(
                f"{params.name}: scale must be one (width, height), or two to draw between, "
                f"got {scale!r}"
            )
        pairs = [_target(params, end) for end in ends]
        heights, widths = ((min(side), max(side)) for side in zip(*pairs, strict=True))
        _resize_to(chain, params, DrawnTarget(heights, widths, keep))
        return
    factors = as_interval(f"{params.name}: ratio_range", params.need("ratio_range"))
    _resize_to(chain, params, RescaledWithin(_target(params, scale), factors, keep))


def _random_choice_resize(chain: Chain, params: Params) -> None:
    scales = params.need("scales")
    choices = scales if isinstance(scales, list) else [scales]
    kind = _inner(chain, params, {"Resize", "ResizeShortestEdge"})
    if kind == "Resize" and "max_size" in params.values:
        raise UnsupportedTransform(f"{params.name} has max_size, which Resize does not take")
    found: list[Resizing] = []
    if not choices:
        raise ValueError(f"{params.name}: scales must be at least one size, got {scales!r}")
    for scale in choices:
        if kind == "ResizeShortestEdge":
            found.append(_shortest(params, scale, keep=params.flag("keep_ratio", False)))
            continue
        if isinstance(scale, int):
            raise UnsupportedTransform(
                f"{params.name} takes a whole number among its scales, {scale!r}, for a factor, "
                "not for a length; write (width, height)"
            )
        target = _target(params, scale)
        found.append(RescaledWithin(target) if params.flag("keep_ratio", False) else Resize(target))
    _resize_to(chain, params, OneOf(tuple(found)) if len(found) > 1 else found[0])


def _inner(chain: Chain, params: Params, known: set[str]) -> str:
    """The transform that does the resizing, built in the configuration's own scope."""
    scope, _, kind = str(params.get("resize_type", "Resize")).rpartition(".")
    scope = scope or chain.scope
    if kind not in known or scope not in _TABLES:
        raise UnsupportedTransform(
            f"{params.name} with resize_type {params.get('resize_type')!r} is not supported"
        )
    chain.move(params.name, (_TABLES[scope].get(kind) or MMCV["Resize"]).moves or ())
    return kind


def _shortest(params: Params, scale: Any, *, keep: bool) -> ShortestEdge:
    longest = params.get("max_size")
    if longest is not None:
        longest = _checks.count(f"{params.name}: max_size", longest)
    length = min(_target(params, scale)) if isinstance(scale, Sequence) else scale
    return ShortestEdge(_checks.count(f"{params.name}: scale", length), longest, keep)


def _resize_shortest_seg(chain: Chain, params: Params) -> None:
    params.need("max_size")
    _resize_to(chain, params, _shortest(params, params.need("scale"), keep=True))


def _resize_shortest_det(chain: Chain, params: Params) -> None:
    _inner(chain, params, {"Resize"})
    keep = params.flag("keep_ratio", False)
    _resize_to(chain, params, _shortest(params, params.need("scale"), keep=keep))


def _resize_to_multiple(chain: Chain, params: Params) -> None:
    divisor = _checks.count(f"{params.name}: size_divisor", params.get("size_divisor", 32))
    kind = params.get("interpolation") or "bilinear"
    _resize_to(chain, Params(params.name, {"interpolation": kind}), ToMultiple(divisor))


def _fix_shape_resize(chain: Chain, params: Params) -> None:
    if params.flag("keep_ratio", False) and not chain.pipeline.cropped:
        raise UnsupportedTransform(
            f"{params.name} with keep_ratio=True, which pads, is not supported before the crop; "
            "write Resize and Pad"
        )
    target = params.count("height"), params.count("width")
    _resize_to(chain, Params(params.name, {**params.values, "keep_ratio": False}), Resize(target))


def _after_crop(why: str) -> Any:
    def read(chain: Chain, params: Params) -> None:
        if not chain.pipeline.cropped:
            raise UnsupportedTransform(f"{params.name} is supported behind the crop only: {why}")
        chain.pipeline.neighbourhood(params.name)

    return read


def _pad(chain: Chain, params: Params) -> None:
    size, divisor = params.get("size"), params.get("size_divisor")
    square = params.flag("pad_to_square", False)
    mode = params.get("padding_mode", "constant")
    if mode not in ("constant", "edge", "reflect", "symmetric"):
        raise UnsupportedTransform(f"{params.name} with padding_mode {mode!r} is not supported")
    if square == (size is not None) and (square or divisor is None):
        raise ValueError(
            f"{params.name} needs one of size, size_divisor and pad_to_square, "
            f"got {dict(params.values)!r}"
        )
    if divisor is not None:
        if size is not None:
            raise ValueError(f"{params.name} takes size or size_divisor, not both")
        divisor = _checks.count(f"{params.name}: size_divisor", divisor)
    wanted = None if size is None else _target(params, size)
    if chain.pipeline.cropped:
        chain.pipeline.neighbourhood(params.name)
        return
    image = chain.pipeline.one_size(params.name)
    if square:
        wanted = (max(image), max(image))
    if divisor is not None:
        height, width = (-(-n // divisor) * divisor for n in wanted or image)
        wanted = height, width
    assert wanted is not None
    sides = [(0, max(0, want - have)) for want, have in zip(wanted, image, strict=True)]
    chain.pipeline.pad(sides, mode, params.name)


def _flip(chain: Chain, params: Params) -> None:
    directions = params.get("direction", "horizontal")
    listed = [directions] if isinstance(directions, str) else list(directions)
    chance = params.get("prob")
    if isinstance(chance, Sequence) and not isinstance(chance, str):
        if len(chance) != len(listed):
            raise ValueError(
                f"{params.name}: prob must have one entry for each direction, got {chance!r}"
            )
        total = sum(Fraction(_checks.nonnegative(f"{params.name}: prob", p)) for p in chance)
        if total > 1:
            raise ValueError(f"{params.name}: prob must sum to at most 1, got {chance!r}")
    elif chance is not None:
        params.chance("prob", 0)
    for direction in listed:
        if direction not in ("horizontal", "vertical", "diagonal"):
            raise UnsupportedTransform(f"{params.name} in direction {direction!r} is not known")
        if direction != "horizontal":
            chain.pipeline.flip(0, params.name)
        if direction != "vertical":
            chain.pipeline.flip(1, params.name)


_SEGS = frozenset({FIELDS, SEGMENTATION})
_MMSEG = frozenset({FIELDS, DEPTH})
_OPTIONS = "keep_ratio clip_object_border backend interpolation"
_RANDOM = "scale ratio_range resize_type " + _OPTIONS
_CHOICE = "scales resize_type max_size " + _OPTIONS
_FLIP = "prob direction swap_seg_labels"
_PAD = "size size_divisor pad_to_square pad_val padding_mode"

MMCV: dict[str, Row] = {
    "Pad": Row(_pad, _PAD, EVERYTHING),
    "RandomChoiceResize": Row(_random_choice_resize, _CHOICE, EVERYTHING),
    "RandomFlip": Row(_flip, _FLIP, _SEGS | {BOXES, KEYPOINTS}),
    "RandomResize": Row(_random_resize, _RANDOM, EVERYTHING),
    "Resize": Row(_resize, "scale scale_factor " + _OPTIONS, _SEGS | {BOXES, KEYPOINTS}),
}
MMSEG: dict[str, Row] = {
    "RandomFlip": Row(_flip, _FLIP, _MMSEG | {BOXES}),
    "Resize": Row(_resize, "scale scale_factor " + _OPTIONS, _MMSEG | {BOXES, KEYPOINTS}),
    "ResizeShortestEdge": Row(_resize_shortest_seg, "scale max_size", _MMSEG),
    "ResizeToMultiple": Row(_resize_to_multiple, "size_divisor interpolation", _MMSEG),
}
_DET = _SEGS | {BOXES, MASKS}
MMDET: dict[str, Row] = {
    "Expand": Row(
        _after_crop("its canvas has a random size"),
        "mean to_rgb ratio_range seg_ignore_label prob",
        _DET,
    ),
    "FixScaleResize": Row(
        _after_crop("how it rounds sizes is not read"), "scale scale_factor " + _OPTIONS, _DET
    ),
    "FixShapeResize": Row(_fix_shape_resize, "width height pad_val " + _OPTIONS, _DET),
    "Pad": Row(_pad, _PAD, EVERYTHING),
    "RandomFlip": Row(_flip, _FLIP, _DET),
    "Resize": Row(_resize, "scale scale_factor " + _OPTIONS, _DET),
    "ResizeShortestEdge": Row(_resize_shortest_det, "scale max_size resize_type " + _OPTIONS, _DET),
}
_TABLES = {"mmcv": MMCV, "mmengine": MMCV, "mmseg": MMSEG, "mmdet": MMDET}
