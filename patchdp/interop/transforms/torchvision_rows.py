"""torchvision's transforms, versions 1 and 2, one row each; containers are in `torch_walker`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from patchdp import _checks
from patchdp.geometry import (
    CenterCrop,
    FiveCrop,
    OneOf,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TenCrop,
)
from patchdp.geometry.rescale import Resizing
from patchdp.interop.catalogue import Catalogue, Reader, Row
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform
from patchdp.interop.transforms.torch_sizes import CappedResize, ScaleJitter, ShortestSide

__all__ = ["CATALOGUE", "as_pair", "resize_to"]

_POINTWISE = {
    "ClampBoundingBoxes": "clamping_mode",
    "ClampKeyPoints": "",
    "ConvertBoundingBoxFormat": "format",
    "ConvertImageDtype": "dtype",
    "GaussianNoise": "mean sigma clip",
    "Grayscale": "num_output_channels",
    "Identity": "",
    "Normalize": "mean std inplace",
    "PILToTensor": "",
    "RGB": "",
    "RandomChannelPermutation": "",
    "RandomGrayscale": "p",
    "RandomInvert": "p",
    "RandomPosterize": "bits p",
    "RandomSolarize": "threshold p",
    "SanitizeBoundingBoxes": "min_size min_area labels_getter",
    "SetClampingMode": "clamping_mode",
    "ToDtype": "dtype scale",
    "ToImage": "",
    "ToPILImage": "mode",
    "ToPureTensor": "",
    "ToTensor": "",
    "UniformTemporalSubsample": "num_samples",
}
_NEIGHBOURHOOD = {
    "ElasticTransform": "alpha sigma interpolation fill",
    "GaussianBlur": "kernel_size sigma",
    "JPEG": "quality",
    "RandomAdjustSharpness": "sharpness_factor p",
    "RandomAffine": "degrees translate scale shear interpolation fill center",
    "RandomPerspective": "distortion_scale p interpolation fill",
    "RandomRotation": "degrees interpolation expand center fill",
}
_STATISTICS = {
    "AugMix": "severity mixture_width chain_depth alpha all_ops interpolation fill",
    "AutoAugment": "policy interpolation fill",
    "LinearTransformation": "transformation_matrix mean_vector",
    "RandAugment": "num_ops magnitude num_magnitude_bins interpolation fill",
    "RandomAutocontrast": "p",
    "RandomEqualize": "p",
    "RandomPhotometricDistort": "brightness contrast saturation hue p",
    "TrivialAugmentWide": "num_magnitude_bins interpolation fill",
}
_MIXES = "it mixes images: the patch reaches the gradient of another image"
_REFUSED = {
    "CutMix": _MIXES,
    "MixUp": _MIXES,
    "RandomIoUCrop": "its crop is chosen by the image's boxes, which may come from the patch",
    "SanitizeKeyPoints": "the key points of what a crop does not see stay with the sample before "
    "it, and which of them it removes is not read",
}


def _flip(axis: int) -> Reader:
    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        pipeline.flip(axis, type(transform).__name__)

    return read


def _colour_jitter(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Contrast is taken about the mean of the whole image; the other three act on each pixel.
    if transform.contrast is None:
        pipeline.pointwise("ColorJitter")
    else:
        pipeline.statistics("ColorJitter with contrast")


def as_pair(size: Any) -> tuple[int, int]:
    """A size as torchvision takes it, `(height, width)`."""
    if not isinstance(size, Sequence):
        both = _checks.count("size", size)
        return both, both
    pair = [_checks.count("size", n) for n in size]
    if len(pair) not in (1, 2):
        raise ValueError(f"size must be one or two lengths, got {size!r}")
    return pair[0], pair[-1]


def _sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """torchvision's padding, `left, top, right, bottom` or shorter, as pairs for height, width."""
    given = padding if isinstance(padding, Sequence) else [padding]
    sides = [_checks.whole("padding", n, least=-(2**62)) for n in given]
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"padding must be one, two or four numbers, got {padding!r}")
    left, top, right, bottom = sides * (4 // len(sides))
    return (top, bottom), (left, right)


def _random_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomCrop(
        as_pair(transform.size),
        padding=_crop_sides(transform),
        padding_mode=_mode(transform.padding_mode),
        pad_if_needed=bool(transform.pad_if_needed),
    )
    pipeline.crop_by(crop, "RandomCrop")


def _crop_sides(transform: Any) -> int | tuple[tuple[int, int], ...]:
    if transform.padding is None or transform.padding == 0:
        return 0
    if ".v2" in type(transform).__module__:  # kept as left, right, top, bottom
        left, right, top, bottom = transform.padding
        sides = _sides((left, top, right, bottom))
    else:
        sides = _sides(transform.padding)
    same = {n for pair in sides for n in pair}
    return same.pop() if len(same) == 1 else sides


def _mode(mode: Any) -> Any:
    return str(getattr(mode, "value", mode))


def _pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.pad(_sides(transform.padding), _mode(transform.padding_mode), "Pad")


def _random_zoom_out(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if float(transform.p) == 0:
        return
    if not pipeline.cropped:
        raise UnsupportedTransform(
            "RandomZoomOut is supported behind the crop only: its canvas has a random size"
        )
    pipeline.neighbourhood("RandomZoomOut")


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomResizedCrop(scale=tuple(transform.scale), ratio=tuple(transform.ratio))
    pipeline.crop_by(crop, "RandomResizedCrop", resized=True)


def _center_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(CenterCrop(as_pair(transform.size)), "CenterCrop")


def _five_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(FiveCrop(as_pair(transform.size)), "FiveCrop")


def _ten_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    flip = bool(transform.vertical_flip)
    pipeline.crop_by(TenCrop(as_pair(transform.size), vertical_flip=flip), "TenCrop")


def _resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    size = transform.size
    if isinstance(size, Sequence):
        size = size[0] if len(size) == 1 else as_pair(size)
    if transform.max_size is None:
        resizing: Resizing = Resize(size)
    elif isinstance(size, tuple):
        raise ValueError(f"Resize takes max_size with one length only, got size={size!r}")
    else:
        longest = _checks.count("max_size", transform.max_size)
        if size is not None and longest <= _checks.count("size", size):
            raise ValueError(f"max_size must be above size={size!r}, got {longest}")
        resizing = CappedResize(size, longest)
    resize_to(pipeline, resizing, transform)


# Pillow's numbers of its kernels, which version 2 takes as they are.
_NUMBERED = {"0": "nearest", "1": "lanczos", "2": "bilinear", "3": "bicubic", "4": "box",
             "5": "hamming"}  # fmt: skip


def resize_to(pipeline: Pipeline, resizing: Resizing, transform: Any) -> None:
    """Resize by one of torchvision's kernels, images and masks."""
    kind = _mode(transform.interpolation)
    kind = _NUMBERED.get(kind, kind)
    name = type(transform).__name__
    if kind in ("nearest", "nearest-exact", "box", "hamming"):
        # Pillow and PyTorch pick different pixels; all of these lie under the bilinear kernel.
        kind = "bilinear"
    if kind not in ("bilinear", "bicubic", "lanczos"):
        raise UnsupportedTransform(f"{name} with interpolation {kind!r} is not supported")
    # Pillow widens the kernel whatever `antialias` says: the wide one covers both, and the nearest
    # pixel too, by which masks are resized.
    pipeline.resize(resizing, kind, name)  # type: ignore[arg-type]


def _random_resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    low, high = (_checks.count("size", n) for n in (transform.min_size, transform.max_size))
    if low >= high:
        raise ValueError(f"RandomResize needs max_size above min_size={low}, got {high}")
    resize_to(pipeline, OneOf(tuple(Resize(n) for n in range(low, high))), transform)


def _random_shortest_size(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    lengths = tuple(_checks.count("min_size", n) for n in transform.min_size)
    longest = transform.max_size
    longest = None if longest is None else _checks.count("max_size", longest)
    resize_to(pipeline, ShortestSide(lengths, longest), transform)


def _scale_jitter(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    low, high = (_checks.positive("scale_range", end) for end in transform.scale_range)
    if low > high:
        raise ValueError(f"scale_range must rise, got {transform.scale_range!r}")
    target = as_pair(transform.target_size)
    resize_to(pipeline, ScaleJitter(target, (low, high)), transform)


def _random_erasing(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.inplace and float(transform.p) > 0:  # the stored image may be what is erased
        pipeline.hide("RandomErasing")
    else:
        pipeline.erase(float(transform.p), transform.scale, transform.ratio, "RandomErasing")


_KERNEL = "interpolation antialias"
_READERS: dict[str, Row] = {
    "CenterCrop": Row(_center_crop, "size"),
    "ColorJitter": Row(_colour_jitter, "brightness contrast saturation hue"),
    "FiveCrop": Row(_five_crop, "size"),
    "Pad": Row(_pad, "padding fill padding_mode"),
    "RandomCrop": Row(_random_crop, "size padding pad_if_needed fill padding_mode"),
    "RandomErasing": Row(_random_erasing, "p scale ratio value inplace"),
    "RandomHorizontalFlip": Row(_flip(1), "p"),
    "RandomResize": Row(_random_resize, "min_size max_size " + _KERNEL),
    "RandomResizedCrop": Row(_random_resized_crop, "size scale ratio " + _KERNEL),
    "RandomShortestSize": Row(_random_shortest_size, "min_size max_size " + _KERNEL),
    "RandomVerticalFlip": Row(_flip(0), "p"),
    "RandomZoomOut": Row(_random_zoom_out, "fill side_range p"),
    "Resize": Row(_resize, "size max_size " + _KERNEL),
    "ScaleJitter": Row(_scale_jitter, "target_size scale_range " + _KERNEL),
    "TenCrop": Row(_ten_crop, "size vertical_flip"),
}

CATALOGUE = Catalogue(
    "torchvision",
    pointwise=_POINTWISE,
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers=_READERS,
    home=("torchvision.transforms", "torchvision.transforms.v2"),
    neutral=("Transform",),
)
