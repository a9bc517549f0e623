"""MONAI transforms as patchdp crops, arrays and dictionaries alike, any number of axes.

A region that is larger than the image, 0 or negative on an axis silently means the whole axis:
the patch is then seen on it for certain. The centre lies where halves of both are rounded down.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from patchdp.geometry import Crop, FixedCrop, RandomCrop, RandomSizeCrop
from patchdp.geometry.crop import same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows
from patchdp.interop.catalogue import Catalogue, Reader, unknown
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["CutSizeCrop", "UnsupportedTransform", "plan_crop"]

_POINTWISE = {
    "AsDiscrete", "CastToType", "CopyItems", "DeleteItems", "EnsureChannelFirst", "EnsureType",
    "Identity", "LoadImage", "RandGaussianNoise",
    "RandShiftIntensity", "RepeatChannel", "ScaleIntensityRange", "SelectItems", "ShiftIntensity",
    "SplitChannel", "ThresholdIntensity", "ToDevice", "ToNumpy", "ToTensor",
}  # fmt: skip
_NEIGHBOURHOOD = {
    "Affine", "GaussianSharpen", "GaussianSmooth", "GridDistortion", "MedianSmooth",
    "Rand2DElastic", "Rand3DElastic", "RandAffine", "RandCoarseShuffle", "RandDeformGrid",
    "RandGaussianSharpen",
    "RandGaussianSmooth", "RandGridDistortion", "RandGridPatch", "RandRotate", "RandZoom",
    "Resize", "Rotate", "SavitzkyGolaySmooth", "Spacing", "Zoom",
}  # fmt: skip
_STATISTICS = {
    "AdjustContrast", "DetectEnvelope", "GibbsNoise", "HistogramNormalize", "KSpaceSpikeNoise",
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
_MODES: dict[str, Any] = {
    "constant": "constant",
    "edge": "edge",
    "replicate": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "wrap": "circular",
    "circular": "circular",
}


def plan_crop(transform: Any, *, image: Any, views: int = 1, vouched: Collection[str] = ()) -> Crop:
    """The crop that a MONAI transform amounts to.

    ```python
    crop = plan_crop(RandSpatialCropd("image", (64, 64, 64)), image=(155, 240, 240))
    ```

    Args:
      transform: A transform, a `Compose` or a sequence of transforms.
      image: Spatial size of the data set's images, without channels, or a list of sizes.
      views: The `num_samples` of `RandSpatialCropSamples`, to say that the plan has as many views:
        `TrainingPlan(views=4, views_clipped=...)`. The crop returned is that of one sample.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, or is not known; there are samples that
        `views` does not tell of.
      ValueError: The crop does not fit the image.
    """
    reader = _Reader(views)
    pipeline = Pipeline(image)
    reader.inside(transform, vouched)(pipeline)
    if reader.samples != views:
        raise UnsupportedTransform(
            f"views must be the num_samples of the samples that are drawn, {reader.samples}, "
            f"got {views}"
        )
    return pipeline.result()


@dataclass(frozen=True)
class CutSizeCrop(Crop):
    """Lengths drawn axis by axis, uniform and then cut to the image, and a uniform offset.

    >>> from patchdp.geometry import Patch, inclusion
    >>> inclusion((4,), CutSizeCrop((3,), (6,)), Patch((1,), at=(0,))).probability
    Fraction(7, 8)

    Args:
      smallest: Smallest length along each axis.
      largest: Largest length along each axis; it may exceed the image.
      centered: The window is not anywhere but in the middle.
    """

    smallest: Size
    largest: Size
    centered: bool = field(default=False, kw_only=True)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.smallest, image)
        axes: list[AxisLaw] = []
        for low, high, length in zip(self.smallest, self.largest, image, strict=True):
            windows = tuple(self._windows(min(n, length), length) for n in range(low, high + 1))
            weight = Fraction(1, len(windows))
            axes.append(AxisMixture(windows, (weight,) * len(windows)))
        return (WindowLaw.single(axes),)

    def _windows(self, size: int, length: int) -> AxisWindows:
        first = length // 2 - size // 2 if self.centered else 0
        return AxisWindows(size, first, first if self.centered else length - size)


class _Reader:
    """Reads transforms; counts the samples they draw from one image."""

    def __init__(self, views: int) -> None:
        self.views = views
        self.samples = 1
        self.catalogue = Catalogue(
            "monai",
            pointwise=_POINTWISE,
            neighbourhood=_NEIGHBOURHOOD,
            statistics=_STATISTICS,
            refused=_REFUSED,
            readers={
                **_READERS,
                "Compose": self._compose,
                "OneOf": self._one_of,
                "RandomOrder": self._in_any_order,
                "SomeOf": self._in_any_order,
                "RandSpatialCropSamples": self._samples,
            },
        )

    def inside(self, transform: Any, vouched: Collection[str]) -> Inside:
        def read(pipeline: Pipeline) -> None:
            if isinstance(transform, list | tuple):
                for part in transform:
                    self.inside(part, vouched)(pipeline)
            elif not self.catalogue.knows(transform):
                unknown(pipeline, transform, vouched)
            else:
                if getattr(transform, "lazy", False):
                    raise UnsupportedTransform(
                        f"{type(transform).__name__} with lazy=True is carried out together with "
                        "what follows, by interpolation; use lazy=False"
                    )
                name = _array_name(transform)
                self.catalogue.read(pipeline, transform, vouched, name=name)

        return read

    def _compose(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        self.inside(list(transform.transforms), vouched)(pipeline)

    def _one_of(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        whole = sum(Fraction(weight) for weight in transform.weights)
        pipeline.choose(
            [
                (Fraction(weight) / whole, self.inside(part, vouched))
                for weight, part in zip(transform.weights, transform.transforms, strict=True)
            ],
            "OneOf",
        )

    def _in_any_order(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        parts = [self.inside(part, vouched) for part in transform.transforms]
        pipeline.in_any_order(parts, type(transform).__name__)

    def _samples(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        array = transform.cropper if _is_dictionary(transform) else transform
        self.samples *= int(array.num_samples)
        if self.samples > 1 and self.views == 1:
            raise UnsupportedTransform(
                f"RandSpatialCropSamples draws {self.samples} samples of each image, and how their "
                "gradients are clipped is up to the training: say "
                f"views={self.samples} here and TrainingPlan(views={self.samples}, "
                "views_clipped=...) there"
            )
        if self.samples > 1 and pipeline.cropped:
            raise UnsupportedTransform(
                "RandSpatialCropSamples of a cropped image is not supported: its samples are not "
                "independent"
            )
        _random_spatial_crop(pipeline, array.cropper, vouched)


def _is_dictionary(transform: Any) -> bool:
    return type(transform).__module__.endswith(".dictionary")


def _array_name(transform: Any) -> str:
    """The name of a transform without the d of those that work on dictionaries."""
    name = type(transform).__name__
    return name[:-1] if _is_dictionary(transform) and name.endswith("d") else name


def _array(transform: Any, attribute: str) -> Any:
    """The transform of arrays behind one of dictionaries."""
    return getattr(transform, attribute) if _is_dictionary(transform) else transform


def _regions(size: Any, image: Size) -> Size:
    """MONAI's region sizes: one for all axes or one each; none or not positive means the axis."""
    entries = list(size) if isinstance(size, Sequence) else [size] * len(image)
    if len(entries) != len(image):
        raise ValueError(f"region {tuple(entries)} has not as many axes as image {image}")
    return tuple(
        int(n) if n is not None and n > 0 else length
        for n, length in zip(entries, image, strict=True)
    )


def _random_spatial_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = _array(transform, "cropper")
    name = type(crop).__name__
    if hasattr(crop, "roi_scale"):
        image = pipeline.one_size(name)
        low = _scaled(crop.roi_scale, image)
        high = None if crop.max_roi_scale is None else _scaled(crop.max_roi_scale, image)
    else:
        sizes = set(pipeline.sizes())
        low, high = crop.roi_size, crop.max_roi_size
        plain = not crop.random_size and _all_positive(low)
        if len(sizes) > 1 and plain and crop.random_center:
            # The part of a region beyond the image is cut off: all of that axis is seen.
            size = _regions(low, next(iter(sizes)))
            pipeline.crop_by(RandomCrop(size, pad_if_needed=True), name, resized=True)
            return
        if len(sizes) > 1 and plain:
            pipeline.center(_regions(low, next(iter(sizes))), _halves, name)
            return
        image = pipeline.one_size(name)
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


def _all_positive(size: Any) -> bool:
    return all(n is not None and n > 0 for n in (size if isinstance(size, Sequence) else [size]))


def _halves(length: int, size: int) -> int:
    return length // 2 - size // 2


def _scaled(scale: Any, image: Size) -> Size:
    scales = list(scale) if isinstance(scale, Sequence) else [scale] * len(image)
    return tuple(ceil(s * n) for s, n in zip(scales, image, strict=True))


def _center_spatial_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    size = _array(transform, "cropper").roi_size
    if not _all_positive(size):
        size = _regions(size, pipeline.one_size("CenterSpatialCrop"))
    pipeline.center(_regions(size, pipeline.sizes()[0]), _halves, "CenterSpatialCrop")


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
    modes = {str(getattr(mode, "value", mode)) for mode in _several(transform.mode)}
    name = type(padder).__name__
    if len(modes) > 1 or not modes <= set(_MODES):
        raise UnsupportedTransform(f"{name} with mode {sorted(modes)} is not supported")
    _pad_by(pipeline, padder, _MODES[modes.pop()])


def _several(mode: Any) -> list[Any]:
    return list(mode) if isinstance(mode, list | tuple) else [mode]


def _pad_by(pipeline: Pipeline, padder: Any, mode: Any) -> None:
    name = type(padder).__name__
    if pipeline.cropped:
        pipeline.neighbourhood(name)
        return
    widths = {tuple(padder.compute_pad_width(image)[1:]) for image in pipeline.sizes()}
    if len(widths) > 1:
        pipeline.one_size(name)
    pairs = [(int(before), int(after)) for before, after in widths.pop()]
    pipeline.pad(pairs, mode, name)


def _resize_with_pad_or_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    both = _array(transform, "padder")
    mode = str(getattr(both.padder.mode, "value", both.padder.mode))
    if mode not in _MODES:
        raise UnsupportedTransform(f"ResizeWithPadOrCrop with mode {mode!r} is not supported")
    # It crops, then pads what is too short: padding adds nothing that is not in the crop.
    _center_spatial_crop(pipeline, both.cropper, vouched)
    pipeline.neighbourhood("ResizeWithPadOrCrop")


def _flip(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    flipper = _array(transform, "flipper")
    # RandFlip keeps its axis in the Flip that it applies.
    axis = getattr(getattr(flipper, "flipper", flipper), "spatial_axis", None)
    axes = range(pipeline.axes) if axis is None else axis if isinstance(axis, Sequence) else [axis]
    for one in axes:
        pipeline.flip(int(one) % pipeline.axes, type(transform).__name__)


def _any_flip(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    for axis in range(pipeline.axes):
        pipeline.flip(axis, type(transform).__name__)


def _turn(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    rotator = getattr(transform, "rotator", transform) if _is_dictionary(transform) else transform
    first, second = (int(axis) % pipeline.axes for axis in rotator.spatial_axes)
    pipeline.turn((first, second), type(transform).__name__)


def _normalize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    constants = _array(transform, "normalizer")
    if constants.subtrahend is None or constants.divisor is None:
        pipeline.statistics("NormalizeIntensity by the image's own mean or deviation")
    else:
        pipeline.pointwise("NormalizeIntensity")


def _dropout(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.hide("RandCoarseDropout")


_READERS: dict[str, Reader] = {
    "BorderPad": _pad,
    "CenterScaleCrop": _center_scale_crop,
    "CenterSpatialCrop": _center_spatial_crop,
    "DivisiblePad": _pad,
    "Flip": _flip,
    "NormalizeIntensity": _normalize,
    "RandAxisFlip": _any_flip,
    "RandCoarseDropout": _dropout,
    "RandFlip": _flip,
    "RandRotate90": _turn,
    "RandScaleCrop": _random_spatial_crop,
    "RandSpatialCrop": _random_spatial_crop,
    "ResizeWithPadOrCrop": _resize_with_pad_or_crop,
    "Rotate90": _turn,
    "SpatialCrop": _spatial_crop,
    "SpatialPad": _pad,
}
