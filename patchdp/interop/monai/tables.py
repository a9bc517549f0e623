"""MONAI's transforms one by one: what each does to one array."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil
from typing import Any

from patchdp.geometry import FixedCrop, RandomCrop, RandomSizeCrop, Resize
from patchdp.geometry.sizes import Size
from patchdp.interop.catalogue import Catalogue, Row
from patchdp.interop.monai.laws import CutSizeCrop
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["CATALOGUE", "CROPS", "GEOMETRY", "STILL"]

# Constructor parameters are those of arrays and of dictionaries together.
_POINTWISE = {
    "CastToType": "dtype",
    "ConcatItems": "name dim",
    "CopyItems": "times names",
    "DeleteItems": "sep use_re",
    "EnsureChannelFirst": "strict_check channel_dim",
    "EnsureType": "data_type dtype device wrap_sequence track_meta",
    "Identity": "args kwargs",
    "LoadImage": "reader image_only dtype ensure_channel_first simple_keys prune_meta_pattern "
    "prune_meta_sep expanduser meta_keys meta_key_postfix overwriting args kwargs",
    "RandGaussianNoise": "prob mean std dtype sample_std",
    "RepeatChannel": "repeats",
    "ScaleIntensityRange": "a_min a_max b_min b_max clip dtype",
    "SelectItems": "",
    "ThresholdIntensity": "threshold above cval",
    "ToDevice": "device kwargs",
    "ToNumpy": "dtype wrap_sequence",
    "ToTensor": "dtype device wrap_sequence track_meta",
}
_NEIGHBOURHOOD = {
    "Affine", "GaussianSharpen", "GaussianSmooth", "GridDistortion", "MedianSmooth",
    "Rand2DElastic", "Rand3DElastic", "RandAffine", "RandCoarseShuffle", "RandDeformGrid",
    "RandGaussianSharpen",
    "RandGaussianSmooth", "RandGridDistortion", "RandGridPatch", "RandRotate", "RandZoom",
    "Rotate", "SavitzkyGolaySmooth", "Spacing", "Zoom",
}  # fmt: skip
_STATISTICS = {
    "AdjustContrast", "DetectEnvelope", "GibbsNoise", "KSpaceSpikeNoise",
    "RandAdjustContrast", "RandBiasField", "RandGibbsNoise", "RandHistogramShift",
    "RandKSpaceSpikeNoise", "RandRicianNoise", "RandScaleIntensity", "RandScaleIntensityFixedMean",
    "RandStdShiftIntensity", "ScaleIntensity", "ScaleIntensityFixedMean",
    "ScaleIntensityRangePercentiles", "StdShiftIntensity",
}  # fmt: skip
_BY_LABEL = "its crop is chosen by the labels, which may come from the patch"
_MIXES = "it mixes images: the patch reaches the gradient of another image"
_REFUSED = {
    "CropForeground": "its crop is chosen by the image's content",
    "RandCropByLabelClasses": _BY_LABEL,
    "RandCropByPosNegLabel": _BY_LABEL,
    "RandWeightedCrop": "its crop is chosen by a map of weights, which may come from the patch",
    "CutMix": _MIXES,
    "CutOut": "it blanks one box in all images of a batch; use RandCoarseDropout",
    "MixUp": _MIXES,
}
# Bases of transforms of one's own that say nothing about what these do.
_NEUTRAL = {
    "InvertibleTrait", "InvertibleTransform", "MapTransform", "Randomizable", "RandomizableTrait",
    "RandomizableTransform", "ThreadUnsafe", "TraceableTransform", "Transform",
}  # fmt: skip
_MODES: dict[str, Any] = {
    "constant": "constant",
    "edge": "edge",
    "replicate": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "wrap": "circular",
    "circular": "circular",
}


def _array(transform: Any, attribute: str) -> Any:
    """The transform of arrays behind one of dictionaries, which must be the one of its name."""
    name = type(transform).__name__
    if not hasattr(transform, "keys"):
        return transform
    inner = getattr(transform, attribute)
    if type(inner).__name__ != name[:-1] or not CATALOGUE.knows(inner):
        raise UnsupportedTransform(
            f"{name} with a {type(inner).__name__} inside is not supported: it must carry out "
            f"{name[:-1]}"
        )
    return inner


def _numbers(size: Any, axes: int) -> list[Any]:
    """One entry for each axis, of a list or one number for all."""
    size = size.tolist() if hasattr(size, "tolist") else size
    return list(size) if isinstance(size, Sequence) else [size] * axes


def _regions(size: Any, image: Size) -> Size:
    """MONAI's region sizes: one for all axes or one each; none or not positive means the axis."""
    entries = _numbers(size, len(image))
    if len(entries) != len(image):
        raise ValueError(f"region {tuple(entries)} has not as many axes as image {image}")
    return tuple(
        int(n) if n is not None and n > 0 else length
        for n, length in zip(entries, image, strict=True)
    )


def _random_spatial_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = _array(transform, "cropper")
    name = type(crop).__name__
    image = pipeline.one_size(name)
    low, high = crop.roi_size, crop.max_roi_size
    if name == "RandScaleCrop":
        low = _scaled(crop.roi_scale, image)
        high = None if crop.max_roi_scale is None else _scaled(crop.max_roi_scale, image)
    smallest = _regions(low, image)
    if not crop.random_size:
        size = tuple(map(min, smallest, image))
        if crop.random_center:
            pipeline.crop_by(RandomCrop(size), name)
        else:
            pipeline.center(size, _halves, name)
        return
    largest = image if high is None else _regions(high, image)
    if any(low > high for low, high in zip(smallest, largest, strict=True)):
        raise ValueError(f"{name} of at least {smallest} does not fit its largest size {largest}")
    kind = RandomSizeCrop if all(map(int.__le__, largest, image)) else CutSizeCrop
    pipeline.crop_by(kind(smallest, largest, centered=not crop.random_center), name, resized=True)


def _halves(length: int, size: int) -> int:
    return length // 2 - size // 2


def _scaled(scale: Any, image: Size) -> Size:
    scales = _numbers(scale, len(image))
    return tuple(ceil(s * n) for s, n in zip(scales, image, strict=True))


def _samples(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _random_spatial_crop(pipeline, _array(transform, "cropper").cropper, vouched)


def _center_spatial_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    image = pipeline.one_size("CenterSpatialCrop")
    size = _regions(_array(transform, "cropper").roi_size, image)
    pipeline.center(size, _halves, "CenterSpatialCrop")


def _center_scale_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    image = pipeline.one_size("CenterScaleCrop")
    size = _scaled(_array(transform, "cropper").roi_scale, image)
    pipeline.center(_regions(size, image), _halves, "CenterScaleCrop")


def _spatial_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if getattr(transform, "_has_str_roi", False):
        raise UnsupportedTransform(
            "SpatialCrop of a region that is read from the data is refused: it is chosen by content"
        )
    image = pipeline.one_size("SpatialCrop")
    slices = list(_array(transform, "cropper").slices)[: len(image)]
    slices += [slice(None)] * (len(image) - len(slices))
    spans = [part.indices(length) for part, length in zip(slices, image, strict=True)]
    if any(step != 1 for _, _, step in spans):
        raise UnsupportedTransform("SpatialCrop with steps is not supported")
    size = tuple(stop - start for start, stop, _ in spans)
    pipeline.crop_by(FixedCrop(size, at=tuple(start for start, _, _ in spans)), "SpatialCrop")


def _pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    padder = _array(transform, "padder")
    name = type(padder).__name__
    if pipeline.cropped:
        pipeline.neighbourhood(name)
        return
    # Copies show at least what constants do: one mode of copies stands for all keys.
    modes = {_MODES.get(mode, mode) for mode in _several(transform.mode)} - {"constant"}
    if len(modes) > 1 or not modes <= set(_MODES.values()):
        raise UnsupportedTransform(f"{name} with mode {', '.join(sorted(modes))} is not supported")
    unread = set(padder.kwargs) - {"value", "constant_values"}
    if unread:
        raise UnsupportedTransform(f"{name} with {', '.join(sorted(unread))} is not supported")
    widths = padder.compute_pad_width(pipeline.one_size(name))[1:]
    pairs = [(int(before), int(after)) for before, after in widths]
    pipeline.pad(pairs, modes.pop() if modes else "constant", name)


def _several(values: Any) -> list[str]:
    """What is said once, or for each key, as plain strings."""
    several = list(values) if isinstance(values, list | tuple) else [values]
    return [str(getattr(value, "value", value)) for value in several]


def _resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    resizer = _array(transform, "resizer")
    if pipeline.cropped:
        pipeline.neighbourhood("Resize")
        return
    blurs = transform.anti_aliasing
    if any(blurs) if isinstance(blurs, tuple) else blurs:
        pipeline.neighbourhood("Resize with anti_aliasing")
    aligned = transform.align_corners
    aligned = list(aligned) if isinstance(aligned, tuple) else [aligned]
    kernels = set()
    for mode, corners in zip(_several(transform.mode), aligned, strict=True):
        kernel = _KERNELS.get(mode)
        if kernel is None:
            raise UnsupportedTransform(f"Resize with mode {mode!r} is not supported")
        kernels.add(f"{kernel}-corners" if corners and kernel in _ALIGNED else kernel)
    image = pipeline.one_size("Resize")
    if resizer.size_mode == "longest":
        scale = int(resizer.spatial_size) / max(image)
        size = tuple(round(n * scale) for n in image)
    else:
        size = _regions(resizer.spatial_size, image)
    several: Any = tuple(sorted(kernels))
    kernel = several if len(several) > 1 else several[0]
    pipeline.resize(Resize(size), kernel, "Resize", antialias=False)


def _resize_with_pad_or_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    both = _array(transform, "padder")
    # It crops, then pads what is too short: padding adds nothing that is not in the crop.
    _center_spatial_crop(pipeline, both.cropper, vouched)
    pipeline.neighbourhood("ResizeWithPadOrCrop")


def _flip(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # RandFlip keeps its axis in the Flip that it applies.
    flipper = getattr(transform, "flipper", transform)
    axis = getattr(flipper, "flipper", flipper).spatial_axis
    axes = range(pipeline.axes) if axis is None else axis if isinstance(axis, Sequence) else [axis]
    for one in axes:
        pipeline.flip(int(one) % pipeline.axes, type(transform).__name__)


def _any_flip(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    for axis in range(pipeline.axes):
        pipeline.flip(axis, type(transform).__name__)


def _turn(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    rotator = getattr(transform, "rotator", transform)
    first, second = (int(axis) % pipeline.axes for axis in rotator.spatial_axes)
    pipeline.turn((first, second), type(transform).__name__)


def _orientation(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Mirrors and exchanges axes as the image's header says: any of these must change nothing.
    if not pipeline.cropped and len(set(pipeline.one_size("Orientation"))) > 1:
        raise UnsupportedTransform(
            "Orientation before the crop exchanges axes as the image's header says: it is "
            "supported for images of equal sides only"
        )
    _any_flip(pipeline, transform, vouched)
    for axis in range(1, pipeline.axes):
        pipeline.turn((axis - 1, axis), "Orientation")


def _normalize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    constants = _array(transform, "normalizer")
    if constants.subtrahend is None or constants.divisor is None:
        pipeline.statistics("NormalizeIntensity by the image's own mean or deviation")
    else:
        pipeline.pointwise("NormalizeIntensity")


def _shift(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    name = type(transform).__name__
    keys = getattr(transform, "factor_key", None)
    if any(key is not None for key in (keys if isinstance(keys, tuple) else [keys])):
        raise UnsupportedTransform(
            f"{name} with factor_key is refused: its factor is read from the data and may depend "
            "on the whole image"
        )
    pipeline.pointwise(name)


def _discrete(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    array = _array(transform, "converter")
    if getattr(array, "kwargs", None):
        pipeline.neighbourhood("AsDiscrete over another axis than the channels")
    else:
        pipeline.pointwise("AsDiscrete")


def _histogram(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if getattr(transform, "mask_key", None) is not None:
        raise UnsupportedTransform(
            "HistogramNormalized with mask_key is not supported: the mask reaches the image"
        )
    pipeline.statistics("HistogramNormalize")


def _dropout(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    dropper = getattr(transform, "dropper", transform)
    if dropper.fill_value is None and not pipeline.cropped:
        pipeline.statistics("RandCoarseDropout filled from the range of the image's values")
    pipeline.hide("RandCoarseDropout")


_KERNELS: dict[str, Any] = {
    "nearest": "nearest",
    "nearest-exact": "nearest-exact",
    "linear": "bilinear",
    "bilinear": "bilinear",
    "trilinear": "bilinear",
    "bicubic": "bicubic",
    "area": "area",
}
_ALIGNED = ("bilinear", "bicubic")


def _container(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    """Read part by part, by those who follow the arrays."""


_LIST = "transforms map_items unpack_items log_stats lazy overrides"
_SPATIAL = "roi_size max_roi_size random_center random_size lazy"
_SCALE = "roi_scale max_roi_scale random_center random_size lazy"
_ROI = "roi_center roi_size roi_start roi_end roi_slices lazy"
_RESIZE = "spatial_size size_mode mode align_corners anti_aliasing anti_aliasing_sigma dtype lazy"
_HOLES = "holes spatial_size dropout_holes fill_value max_holes max_spatial_size prob"
_READERS = {
    "AsDiscrete": Row(_discrete, "argmax to_onehot threshold rounding kwargs"),
    "BorderPad": Row(_pad, "spatial_border mode lazy kwargs"),
    "CenterScaleCrop": Row(_center_scale_crop, "roi_scale lazy"),
    "CenterSpatialCrop": Row(_center_spatial_crop, "roi_size lazy"),
    "Compose": Row(_container, _LIST),
    "DivisiblePad": Row(_pad, "k mode method lazy kwargs"),
    "Flip": Row(_flip, "spatial_axis lazy"),
    "HistogramNormalize": Row(_histogram, "num_bins min max mask mask_key dtype"),
    "NormalizeIntensity": Row(_normalize, "subtrahend divisor nonzero channel_wise dtype"),
    "OneOf": Row(_container, f"{_LIST} weights"),
    "Orientation": Row(_orientation, "axcodes as_closest_canonical labels lazy"),
    "RandAxisFlip": Row(_any_flip, "prob lazy"),
    "RandCoarseDropout": Row(_dropout, _HOLES),
    "RandFlip": Row(_flip, "prob spatial_axis lazy"),
    "RandRotate90": Row(_turn, "prob max_k spatial_axes lazy"),
    "RandScaleCrop": Row(_random_spatial_crop, _SCALE),
    "RandShiftIntensity": Row(
        _shift, "offsets safe prob channel_wise factor_key meta_keys meta_key_postfix"
    ),
    "RandSpatialCrop": Row(_random_spatial_crop, _SPATIAL),
    "RandSpatialCropSamples": Row(_samples, f"{_SPATIAL} num_samples"),
    "RandomOrder": Row(_container, _LIST),
    "Resize": Row(_resize, _RESIZE),
    "ResizeWithPadOrCrop": Row(
        _resize_with_pad_or_crop, "spatial_size method mode lazy pad_kwargs"
    ),
    "Rotate90": Row(_turn, "k spatial_axes lazy"),
    "ShiftIntensity": Row(_shift, "offset safe factor_key meta_keys meta_key_postfix"),
    "SomeOf": Row(_container, f"{_LIST} num_transforms replace weights"),
    "SpatialCrop": Row(_spatial_crop, _ROI),
    "SpatialPad": Row(_pad, "spatial_size method mode lazy kwargs"),
}
# Of these the draws decide what is seen.
CROPS = frozenset({
    "CenterScaleCrop", "CenterSpatialCrop", "RandScaleCrop", "RandSpatialCrop",
    "RandSpatialCropSamples", "ResizeWithPadOrCrop", "SpatialCrop",
})  # fmt: skip
# Two arrays show the same pixels only where these act on both.
GEOMETRY = CROPS | {
    "BorderPad", "DivisiblePad", "Flip", "Orientation", "RandAxisFlip", "RandFlip", "RandRotate90",
    "Resize", "Rotate90", "SpatialPad",
}  # fmt: skip
# These leave every pixel where it is, whatever their parameters; or blank it.
STILL = frozenset(_POINTWISE) | {"RandCoarseDropout", "RandShiftIntensity", "ShiftIntensity"}


def _with_keys(parameters: str) -> str:
    return f"{parameters} keys allow_missing_keys"


CATALOGUE = Catalogue(
    "monai",
    pointwise={name: _with_keys(parameters) for name, parameters in _POINTWISE.items()},
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers={n: Row(row.reader, _with_keys(row.parameters)) for n, row in _READERS.items()},
    home=("monai.transforms",),
    neutral=_NEUTRAL,
    wrappers=("Lambda", "Lambdad"),
)
