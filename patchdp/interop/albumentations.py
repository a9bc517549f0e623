"""Albumentations 2.x transforms as patchdp crops.

`plan_crop` walks a pipeline in order, every transform with its probability `p`. Offsets are
uniform; the centre is rounded down; windows of `RandomSizedCrop` are cut to the image.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from patchdp.geometry import Crop, FixedCrop, RandomCrop, RandomResizedCrop, RandomScale, Resize
from patchdp.geometry.crop import same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisWindows
from patchdp.interop.catalogue import Catalogue, Reader
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["RandomSizedCrop", "ScaledSide", "UnsupportedTransform", "plan_crop"]

_POINTWISE = {
    "AdditiveNoise", "ChannelDropout", "ChannelShuffle", "FromFloat", "GaussNoise",
    "HueSaturationValue", "InvertImg", "MultiplicativeNoise", "NoOp", "PixelDropout",
    "PlanckianJitter", "Posterize", "RGBShift", "RandomGamma", "RandomToneCurve", "SaltAndPepper",
    "ShotNoise", "Solarize", "ToFloat", "ToRGB", "ToSepia", "ToTensor3D", "ToTensorV2",
}  # fmt: skip
_NEIGHBOURHOOD = {
    "AdvancedBlur", "Affine", "Blur", "ChromaticAberration", "Defocus", "Downscale",
    "ElasticTransform", "Emboss", "GaussianBlur", "GlassBlur", "GridDistortion",
    "GridElasticDeform", "ImageCompression", "MedianBlur", "Morphological", "MotionBlur",
    "OpticalDistortion", "Perspective", "PiecewiseAffine", "RandomGridShuffle",
    "RingingOvershoot", "Rotate", "SafeRotate", "Sharpen", "ShiftScaleRotate", "Spatter",
    "Superpixels", "ThinPlateSpline", "UnsharpMask", "ZoomBlur",
}  # fmt: skip
_STATISTICS = {
    "AutoContrast", "CLAHE", "Equalize", "FancyPCA", "HEStain", "ISONoise", "Illumination",
    "PlasmaBrightnessContrast", "PlasmaShadow", "RandomFog", "RandomGravel", "RandomRain",
    "RandomShadow", "RandomSnow", "RandomSunFlare",
}  # fmt: skip
_BY_CONTENT = "its crop is chosen by the image's annotations, which may come from the patch"
_MIXES = "it mixes images: the patch may reach the gradient of another image"
_REFUSED = {
    "AtLeastOneBBoxRandomCrop": _BY_CONTENT,
    "BBoxSafeRandomCrop": _BY_CONTENT,
    "CropNonEmptyMaskIfExists": _BY_CONTENT,
    "RandomCropNearBBox": _BY_CONTENT,
    "RandomSizedBBoxSafeCrop": _BY_CONTENT,
    "ConstrainedCoarseDropout": "what it blanks is chosen by the image's annotations",
    "MaskDropout": "what it blanks is chosen by the image's annotations",
    "CropAndPad": "its window has a random size on every side, which is not supported",
    "RandomCropFromBorders": "its window has a random size on every side, which is not supported",
    "FDA": _MIXES,
    "HistogramMatching": _MIXES,
    "Mosaic": _MIXES,
    "OverlayElements": _MIXES,
    "PixelDistributionAdaptation": _MIXES,
    "ReplayCompose": "it can apply one drawn crop again; use Compose",
}
# OpenCV's numbers for what lies beyond the border, and for interpolation.
_BORDERS: dict[int, Any] = {
    0: "constant",
    1: "edge",
    2: "symmetric",
    3: "circular",
    4: "reflect",
}
_INTERPOLATIONS: dict[int, Any] = {
    0: "bilinear",  # picks a pixel that lies under the bilinear kernel
    1: "bilinear",
    2: "bicubic",
    3: "area",
    4: "lanczos",
    5: "bilinear",
    6: "bilinear",
}


def plan_crop(transform: Any, *, image: Any, vouched: Collection[str] = ()) -> Crop:
    """The crop that an Albumentations transform amounts to.

    ```python
    crop = plan_crop(A.Compose([A.HorizontalFlip(), A.RandomCrop(505, 505)]), image=(1024, 2048))
    ```

    Args:
      transform: A transform, a `Compose` or a sequence of transforms.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, or is not known.
      ValueError: The crop does not fit the image.
    """
    pipeline = Pipeline(image)
    if pipeline.axes != 2:
        raise UnsupportedTransform(
            f"image must be (height, width) for Albumentations, got {pipeline.axes} axes"
        )
    _reading(transform, vouched)(pipeline)
    return pipeline.result()


@dataclass(frozen=True)
class RandomSizedCrop(Crop):
    """A height drawn, the width in proportion, both cut to the image, then a uniform offset.

    >>> from patchdp.geometry import Patch, inclusion
    >>> inclusion((4, 4), RandomSizedCrop((3, 4)), Patch((1, 1))).probability
    Fraction(1, 1)

    Args:
      heights: Smallest and largest height, every whole number in between equally likely.
      w2h_ratio: Width over height; the width is rounded down.
    """

    heights: tuple[int, int]
    w2h_ratio: float = 1.0

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.heights, image)
        low, high = self.heights
        components = []
        for height in range(low, high + 1):
            size = (min(height, image[0]), min(int(height * self.w2h_ratio), image[1]))
            if min(size) < 1:
                raise ValueError(
                    f"RandomSizedCrop with w2h_ratio {self.w2h_ratio!r} draws windows of width 0"
                )
            windows = [AxisWindows(n, 0, length - n) for n, length in zip(size, image, strict=True)]
            components.append((Fraction(1, high - low + 1), windows))
        return (WindowLaw.mixture(components),)


@dataclass(frozen=True)
class ScaledSide(Resizing):
    """The shorter or longer side brought to a length, both sides rounded to whole numbers.

    >>> ScaledSide((256,), "shorter").sizes((300, 401))
    [(Fraction(1, 1), (256, 342))]

    Args:
      lengths: New lengths of that side, each equally likely.
      side: `"shorter"` or `"longer"`.
    """

    lengths: tuple[int, ...]
    side: Literal["shorter", "longer"]

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        known = min(image) if self.side == "shorter" else max(image)
        share = Fraction(1, len(self.lengths))
        return [
            (share, tuple(max(1, round(n * (length / known))) for n in image))
            for length in self.lengths
        ]


def _reading(transform: Any, vouched: Collection[str]) -> Inside:
    def read(pipeline: Pipeline) -> None:
        if isinstance(transform, list | tuple):
            for part in transform:
                _reading(part, vouched)(pipeline)
        else:
            _CATALOGUE.read(pipeline, transform, vouched)

    return read


def _with_chance(reader: Reader) -> Reader:
    """Every transform of the library has a probability `p`, drawn for each image."""

    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        name = type(transform).__name__
        pipeline.maybe(float(transform.p), lambda branch: reader(branch, transform, vouched), name)

    return read


def _compose(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _reading(list(transform.transforms), vouched)(pipeline)


def _forced(transform: Any, vouched: Collection[str]) -> Inside:
    """A transform applied whatever its own `p`, as inside OneOf."""
    known = _CATALOGUE.knows(transform)
    reader = _ALWAYS.get(type(transform).__name__) if known else None
    if reader is None:
        return _reading(transform, vouched)
    return lambda pipeline: reader(pipeline, transform, vouched)


def _one_of(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = transform.transforms
    whole = sum(Fraction(part.p) for part in parts)
    for part in parts:
        if type(part).__name__ in ("SomeOf", "RandomOrder", "OneOrOther") and part.p != 1:
            raise UnsupportedTransform(
                f"{type(part).__name__} with p below 1 inside OneOf is not supported"
            )
    pipeline.choose([(Fraction(part.p) / whole, _forced(part, vouched)) for part in parts], "OneOf")


def _one_or_other(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    first, last = transform.transforms[0], transform.transforms[-1]
    share = Fraction(transform.p)
    pipeline.choose(
        [(share, _forced(first, vouched)), (1 - share, _forced(last, vouched))], "OneOrOther"
    )


def _some_of(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = [_reading(part, vouched) for part in transform.transforms]
    pipeline.in_any_order(parts, type(transform).__name__)


def _flip(axis: int) -> Reader:
    return lambda pipeline, transform, vouched: pipeline.flip(axis, type(transform).__name__)


def _turn(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.turn((0, 1), type(transform).__name__)


def _random_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Where padding is needed the window is as long as the padded axis: all of it is seen.
    crop = RandomCrop(
        (transform.height, transform.width), pad_if_needed=bool(transform.pad_if_needed)
    )
    pipeline.crop_by(crop, "RandomCrop")


def _center_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    size = (transform.height, transform.width)
    if not transform.pad_if_needed and any(
        c > n for image in pipeline.sizes() for c, n in zip(size, image, strict=True)
    ):
        raise ValueError(f"CenterCrop of {size} does not fit the image; use a smaller crop")
    pipeline.center(size, lambda n, c: (n - c) // 2, "CenterCrop")


def _fixed_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.pad_if_needed:
        raise UnsupportedTransform("Crop with pad_if_needed is not supported")
    at = (transform.y_min, transform.x_min)
    size = (transform.y_max - transform.y_min, transform.x_max - transform.x_min)
    pipeline.crop_by(FixedCrop(size, at=at), "Crop")


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomResizedCrop(scale=tuple(transform.scale), ratio=tuple(transform.ratio))
    pipeline.crop_by(crop, "RandomResizedCrop", resized=True)


def _random_sized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    low, high = transform.min_max_height
    crop = RandomSizedCrop((int(low), int(high)), float(transform.w2h_ratio))
    pipeline.crop_by(crop, "RandomSizedCrop", resized=True)


def _pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    padding = transform.padding
    sides = [int(padding)] * 4 if not isinstance(padding, Sequence) else [int(n) for n in padding]
    left, top, right, bottom = sides * 2 if len(sides) == 2 else sides
    pipeline.pad([(top, bottom), (left, right)], _BORDERS[int(transform.border_mode)], "Pad")


def _pad_if_needed(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    least = (transform.min_height, transform.min_width)
    divisors = (transform.pad_height_divisor, transform.pad_width_divisor)
    wanted = {
        tuple(
            max(0, low - n) if low is not None else -n % (divisor or 1)
            for n, low, divisor in zip(image, least, divisors, strict=True)
        )
        for image in pipeline.sizes()
    }
    if wanted == {(0, 0)}:
        return
    pipeline.one_size("PadIfNeeded")
    position = str(transform.position)
    if position == "random":
        raise UnsupportedTransform("PadIfNeeded at a random position is not supported")
    sides = []
    for total, start in zip(wanted.pop(), ("top", "left"), strict=True):
        before = total // 2 if position == "center" else 0 if start in position else total
        sides.append((before, total - before))
    pipeline.pad(sides, _BORDERS[int(transform.border_mode)], "PadIfNeeded")


def _resize_to(pipeline: Pipeline, resizing: Resizing, transform: Any) -> None:
    name = type(transform).__name__
    interpolation = _INTERPOLATIONS[int(transform.interpolation)]
    if transform.area_for_downscale is not None:
        if interpolation not in ("bilinear", "area"):
            raise UnsupportedTransform(
                f"{name} with area_for_downscale and {interpolation} interpolation is not supported"
            )
        interpolation = "area"  # reads at least what the bilinear kernel does
    pipeline.resize(resizing, interpolation, name, antialias=False)


def _resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _resize_to(pipeline, Resize((transform.height, transform.width)), transform)


def _scaled_side(side: Literal["shorter", "longer"]) -> Reader:
    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        size = transform.max_size
        if size is None:
            raise UnsupportedTransform(
                f"{type(transform).__name__} with max_size_hw is not supported; use max_size"
            )
        lengths = tuple(map(int, size)) if isinstance(size, Sequence) else (int(size),)
        _resize_to(pipeline, ScaledSide(lengths, side), transform)

    return read


def _random_scale(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    low, high = (float(end) + 1.0 for end in transform.scale_limit)
    _resize_to(pipeline, RandomScale(low, high, rounding="down"), transform)


def _dropout(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    name = type(transform).__name__
    if str(getattr(transform, "fill", "")).startswith("inpaint"):
        pipeline.neighbourhood(f"{name} with inpainting")
    else:
        pipeline.hide(name)


def _normalize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.normalization == "standard":
        pipeline.pointwise("Normalize")
    else:
        pipeline.statistics(f"Normalize with normalization={transform.normalization!r}")


def _brightness_contrast(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.brightness_by_max:
        pipeline.pointwise("RandomBrightnessContrast")
    else:
        pipeline.statistics("RandomBrightnessContrast with brightness_by_max=False")


def _colour_jitter(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Contrast is taken about the mean of the whole image.
    if tuple(transform.contrast) == (1.0, 1.0):
        pipeline.pointwise("ColorJitter")
    else:
        pipeline.statistics("ColorJitter with contrast")


def _to_gray(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.method == "pca":
        pipeline.statistics("ToGray by principal components")
    else:
        pipeline.pointwise("ToGray")


_ALWAYS: dict[str, Reader] = {
    "Compose": _compose,
    "Sequential": _compose,
    "OneOf": _one_of,
    "CenterCrop": _center_crop,
    "Crop": _fixed_crop,
    "LongestMaxSize": _scaled_side("longer"),
    "Pad": _pad,
    "PadIfNeeded": _pad_if_needed,
    "RandomCrop": _random_crop,
    "RandomResizedCrop": _random_resized_crop,
    "RandomScale": _random_scale,
    "RandomSizedCrop": _random_sized_crop,
    "Resize": _resize,
    "SmallestMaxSize": _scaled_side("shorter"),
    **dict.fromkeys(("CoarseDropout", "Erasing", "FrequencyMasking", "GridDropout",
                     "TimeMasking", "XYMasking"), _dropout),
}  # fmt: skip
_READERS: dict[str, Reader] = {
    **{name: _with_chance(reader) for name, reader in _ALWAYS.items()},
    "OneOrOther": _one_or_other,
    "SomeOf": _with_chance(_some_of),
    "RandomOrder": _with_chance(_some_of),
    "HorizontalFlip": _flip(1),
    "VerticalFlip": _flip(0),
    **dict.fromkeys(("D4", "RandomRotate90", "SquareSymmetry", "Transpose"), _turn),
    "Normalize": _normalize,
    "RandomBrightnessContrast": _brightness_contrast,
    "ColorJitter": _colour_jitter,
    "ToGray": _to_gray,
}
_CATALOGUE = Catalogue(
    "albumentations",
    pointwise=_POINTWISE,
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers=_READERS,
)
