"""torchvision transforms (v1 and v2) as patchdp crops.

`plan_crop` walks a pipeline in order. What torchvision does is followed to the letter: the law of
`RandomResizedCrop`, padding by `pad_if_needed`, the sizes that `Resize` gives. The transforms must
run on one image at a time, as they do inside a data set: on a batch of images one offset is shared,
and the per-image analysis does not hold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from patchdp.geometry import (
    CenterCrop,
    Crop,
    FiveCrop,
    OneOf,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TenCrop,
)
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size
from patchdp.interop.catalogue import Catalogue, Reader
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["CappedResize", "ShortestSide", "UnsupportedTransform", "as_pair", "plan_crop"]

_POINTWISE = {
    "ToTensor", "PILToTensor", "ToPILImage", "ToImage", "ToPureTensor", "ToDtype",
    "ConvertImageDtype", "Normalize", "Grayscale", "RandomGrayscale", "RGB",
    "RandomInvert", "RandomPosterize", "RandomSolarize", "RandomChannelPermutation", "Identity",
    "GaussianNoise", "SetClampingMode", "ClampBoundingBoxes", "ClampKeyPoints",
    "ConvertBoundingBoxFormat",
}  # fmt: skip
_NEIGHBOURHOOD = {
    "GaussianBlur", "RandomAdjustSharpness", "ElasticTransform", "RandomAffine",
    "RandomPerspective", "RandomRotation", "JPEG",
}  # fmt: skip
_STATISTICS = {
    "RandomAutocontrast", "RandomEqualize", "AutoAugment", "RandAugment", "TrivialAugmentWide",
    "AugMix", "LinearTransformation", "RandomPhotometricDistort",
}  # fmt: skip
_REFUSED = {
    "CutMix": "it mixes images: the patch reaches the gradient of another image",
    "MixUp": "it mixes images: the patch reaches the gradient of another image",
    "RandomIoUCrop": "its crop is chosen by the image's boxes, which may come from the patch",
    "SanitizeBoundingBoxes": "it drops objects by what is left of them, not by chance",
    "RandomZoomOut": "its canvas has a random size, which is not supported",
    "ScaleJitter": "its size is drawn in a way that is not supported",
}


def plan_crop(
    transform: Any, *, image: Any, vouched: Collection[str] = (), batched: bool = False
) -> Crop:
    """The crop that a torchvision transform amounts to.

    ```python
    crop = plan_crop(T.Compose([T.RandomCrop(505), T.ToTensor()]), image=(1024, 2048))
    ```

    Args:
      transform: A transform, a `Compose` or a sequence of transforms.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.
      batched: Whether the transform sees a batch of images at once.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content, is shared by a batch, or is not known.
      ValueError: The crop does not fit the image.
    """
    if batched:
        raise UnsupportedTransform(
            "a transform of a batch draws one offset for all its images, and privacy by crops "
            "needs one for each; transform every image in the data set"
        )
    pipeline = Pipeline(image)
    if pipeline.axes != 2:
        raise UnsupportedTransform(
            f"image must be (height, width) for torchvision, got {pipeline.axes} axes"
        )
    _read(pipeline, transform, vouched)
    return pipeline.result()


def _read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if isinstance(transform, list | tuple) or type(transform).__name__ in _CONTAINERS:
        for part in transform:
            _read(pipeline, part, vouched)
    elif type(transform).__module__.startswith("timm."):
        # timm strings its own transforms and torchvision's together.
        from patchdp.interop.timm import CATALOGUE

        CATALOGUE.read(pipeline, transform, vouched)
    else:
        _CATALOGUE.read(pipeline, transform, vouched)


def _reading(transform: Any, vouched: Collection[str]) -> Inside:
    return lambda pipeline: _read(pipeline, transform, vouched)


def _compose(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _read(pipeline, list(transform.transforms), vouched)


def _random_apply(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = list(transform.transforms)
    pipeline.maybe(float(transform.p), _reading(parts, vouched), "RandomApply")


def _random_choice(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = list(transform.transforms)
    # v1 calls its weights p, or has none; v2 keeps them normalised.
    weights = getattr(transform, "p", None) or [1.0] * len(parts)
    whole = sum(map(Fraction, weights))
    pipeline.choose(
        [
            (Fraction(weight) / whole, _reading(part, vouched))
            for weight, part in zip(weights, parts, strict=True)
        ],
        "RandomChoice",
    )


def _random_order(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = [_reading(part, vouched) for part in transform.transforms]
    pipeline.in_any_order(parts, "RandomOrder")


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
    if isinstance(size, int):
        return size, size
    pair = tuple(int(n) for n in size)
    return (pair[0], pair[0]) if len(pair) == 1 else (pair[0], pair[1])


def _sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """torchvision's padding, `left, top, right, bottom` or shorter, as pairs for height, width."""
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    sides = [int(n) for n in padding]
    if len(sides) == 1:
        sides = sides * 4
    elif len(sides) == 2:
        sides = sides * 2
    left, top, right, bottom = sides
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
    if not transform.padding:
        return 0
    if ".v2" in type(transform).__module__:  # kept as left, right, top, bottom
        left, right, top, bottom = (int(n) for n in transform.padding)
        sides = (top, bottom), (left, right)
    else:
        sides = _sides(transform.padding)
    same = {n for pair in sides for n in pair}
    return same.pop() if len(same) == 1 else sides


def _mode(mode: Any) -> Any:
    return str(getattr(mode, "value", mode))


def _pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.pad(_sides(transform.padding), _mode(transform.padding_mode), "Pad")


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


@dataclass(frozen=True)
class ShortestSide(Resizing):
    """torchvision's `RandomShortestSize`: a factor for the shorter side, sides rounded down.

    >>> ShortestSide((49,)).sizes((49, 98))     # 1/49 is not a float: 49 times it is below 1
    [(Fraction(1, 1), (49, 98))]

    Args:
      lengths: Lengths of the shorter side, each equally likely.
      longest: Largest length of the longer side.
    """

    lengths: tuple[int, ...]
    longest: int | None = None

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        found = []
        for length in self.lengths:
            factor = length / min(image)
            if self.longest is not None:
                factor = min(factor, self.longest / max(image))
            found.append(tuple(int(n * factor) for n in image))
        return [(Fraction(1, len(found)), size) for size in found]


@dataclass(frozen=True)
class CappedResize(Resizing):
    """torchvision's `Resize` with `max_size`: the shorter side, unless the longer gets too long.

    >>> CappedResize(256, 400).sizes((300, 600))
    [(Fraction(1, 1), (200, 400))]

    Args:
      length: New length of the shorter side; None where only the longer one counts.
      longest: Largest length of the longer side.
    """

    length: int | None
    longest: int

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        short, long = min(image), max(image)
        if self.length is None:
            pair = int(self.longest * short / long), self.longest
        else:
            pair = self.length, int(self.length * long / short)
            if pair[1] > self.longest:
                pair = int(self.longest * pair[0] / pair[1]), self.longest
        return [(Fraction(1), pair if image[0] <= image[1] else pair[::-1])]


def _resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    size = transform.size
    if size is not None and not isinstance(size, int):
        size = int(size[0]) if len(size) == 1 else as_pair(size)
    if transform.max_size is None:
        resizing: Resizing = Resize(size)
    else:
        resizing = CappedResize(size, int(transform.max_size))
    _resize_to(pipeline, resizing, transform)


def _resize_to(pipeline: Pipeline, resizing: Resizing, transform: Any) -> None:
    kind = _mode(transform.interpolation)
    name = type(transform).__name__
    if kind in ("nearest", "nearest-exact"):
        # Pillow and PyTorch pick different pixels; both lie under the bilinear kernel.
        pipeline.resize(resizing, "bilinear", name)
    elif kind in ("bilinear", "bicubic", "lanczos"):
        # Pillow widens the kernel whatever `antialias` says: the wide one covers both.
        pipeline.resize(resizing, kind, name)  # type: ignore[arg-type]
    else:
        raise UnsupportedTransform(f"{name} with interpolation {kind!r} is not supported")


def _random_resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    sizes = range(int(transform.min_size), int(transform.max_size))
    _resize_to(pipeline, OneOf(tuple(Resize(n) for n in sizes)), transform)


def _random_shortest_size(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    resizing = ShortestSide(tuple(map(int, transform.min_size)), transform.max_size)
    _resize_to(pipeline, resizing, transform)


def _random_erasing(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.erase(float(transform.p), transform.scale, transform.ratio, "RandomErasing")


# Lists of modules, which torchvision's containers and torch's scripting use.
_CONTAINERS = {"Sequential", "ModuleList"}

_READERS: dict[str, Reader] = {
    "Compose": _compose,
    "RandomApply": _random_apply,
    "RandomChoice": _random_choice,
    "RandomOrder": _random_order,
    "RandomHorizontalFlip": _flip(1),
    "RandomVerticalFlip": _flip(0),
    "ColorJitter": _colour_jitter,
    "RandomCrop": _random_crop,
    "Pad": _pad,
    "RandomResizedCrop": _random_resized_crop,
    "CenterCrop": _center_crop,
    "FiveCrop": _five_crop,
    "TenCrop": _ten_crop,
    "Resize": _resize,
    "RandomResize": _random_resize,
    "RandomShortestSize": _random_shortest_size,
    "RandomErasing": _random_erasing,
}

_CATALOGUE = Catalogue(
    "torchvision",
    pointwise=_POINTWISE,
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers=_READERS,
)
