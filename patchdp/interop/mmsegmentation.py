"""mmsegmentation's pipelines, as their configurations write them, as patchdp crops.

Pipelines are lists of dictionaries, `dict(type="RandomCrop", crop_size=(512, 1024))`, and are read
as such: mmsegmentation itself is not needed. Sizes of crops are `(height, width)`, scales of images
are `(width, height)`, as the library has it; what is not said takes the library's default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from patchdp.geometry import Crop, RandomCrop, Resize
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size
from patchdp.interop.catalogue import Catalogue
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["RescaledWithin", "UnsupportedTransform", "plan_crop"]

_POINTWISE = {
    "AdjustGamma", "BioMedicalGaussianNoise", "Collect", "DefaultFormatBundle", "ImageToTensor",
    "LoadAnnotations", "LoadImageFromFile", "LoadImageFromNDArray", "Normalize", "PackSegInputs",
    "PhotoMetricDistortion", "RGB2Gray", "ToTensor",
}  # fmt: skip
_NEIGHBOURHOOD = {"BioMedicalGaussianBlur", "RandomRotate"}
_STATISTICS = {"BioMedicalRandomGamma", "CLAHE", "Rerange"}
_REFUSED = {
    "BioMedical3DRandomCrop": "its crop is chosen by the labels, which may come from the patch",
    "RandomMosaic": "it mixes images: the patch reaches the gradient of another image",
    "RandomDepthMix": "it copies parts of the image to other places",
    "TestTimeAug": "it is not for training",
}
_INTERPOLATIONS: dict[str, Any] = {
    "nearest": "bilinear",  # picks a pixel that lies under the bilinear kernel
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "area": "area",
    "lanczos": "lanczos",
}


def plan_crop(pipeline: Any, *, image: Any, vouched: Collection[str] = ()) -> Crop:
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

    Args:
      pipeline: The list of dictionaries, or one of them.
      image: `(height, width)` of the data set's images, or a list of sizes.
      vouched: Types of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The crop depends on content (`cat_max_ratio` between 0 and 1), or is
        not known.
      ValueError: Something that is not a dictionary with a type, or that lacks what it needs.
    """
    chain = Pipeline(image)
    if chain.axes != 2:
        raise UnsupportedTransform(
            f"image must be (height, width) for mmsegmentation, got {chain.axes} axes"
        )
    _reading(pipeline, vouched)(chain)
    return chain.result()


@dataclass(frozen=True)
class RescaledWithin(Resizing):
    """A target size times a factor from an interval; the image fits in it, or takes its size.

    >>> RescaledWithin((1024, 2048), (0.5, 0.5)).sizes((1000, 1000))
    [(Fraction(1, 1), (512, 512))]

    Args:
      target: `(height, width)` before the factor; the sides of the product are rounded down.
      factors: Smallest and largest factor, uniform in between.
      keep_ratio: Whether the image keeps its proportions: the longer side then fits the longer
        target and the shorter the shorter, sides rounded to whole numbers, halves up.
    """

    target: tuple[int, int]
    factors: tuple[float, float] = (1.0, 1.0)
    keep_ratio: bool = True

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        low, high = (Fraction(end) for end in self.factors)
        if low == high:
            return [(Fraction(1), self._at(image, low))]
        # The target changes where the factor times one of its sides is a whole number.
        steps = {low, high}
        for side in self.target:
            whole = range(int(low * side) + 1, int(high * side) + 1)
            steps.update(Fraction(k, side) for k in whole)
        found: dict[Size, Fraction] = {}
        for left, right in pairwise(sorted(step for step in steps if low <= step <= high)):
            size = self._at(image, (left + right) / 2)
            found[size] = found.get(size, Fraction(0)) + (right - left) / (high - low)
        return [(share, size) for size, share in found.items()]

    def _at(self, image: Size, factor: Fraction) -> Size:
        target = [int(side * factor) for side in self.target]
        if not self.keep_ratio:
            return tuple(target)
        scale = min(max(target) / max(image), min(target) / min(image))
        return tuple(int(n * scale + 0.5) for n in image)


def _reading(transform: Any, vouched: Collection[str]) -> Inside:
    def read(pipeline: Pipeline) -> None:
        if isinstance(transform, Mapping):
            if not isinstance(transform.get("type"), str):
                raise ValueError(f"a transform must be a dict with a type, got {transform!r}")
            # Types may carry the registry's scope, as in mmseg.RandomCrop.
            name = transform["type"].rpartition(".")[2]
            _CATALOGUE.read(pipeline, transform, vouched, name=name)
        elif isinstance(transform, Sequence) and not isinstance(transform, str):
            for part in transform:
                _reading(part, vouched)(pipeline)
        else:
            raise ValueError(f"a transform must be a dict with a type, got {transform!r}")

    return read


def _need(transform: Mapping[str, Any], key: str) -> Any:
    if transform.get(key) is None:
        raise ValueError(f"{transform['type']} needs {key}, got {dict(transform)!r}")
    return transform[key]


def _random_crop(
    pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]
) -> None:
    most = float(transform.get("cat_max_ratio", 1.0))
    if 0 < most < 1:
        raise UnsupportedTransform(
            f"RandomCrop with cat_max_ratio={most!r} is refused: it draws again until no class "
            "fills too much of the crop, so its crop is chosen by the labels; use 1.0"
        )
    size = _need(transform, "crop_size")
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    # A window larger than the image is cut off at its end: all of that axis is seen.
    fits = _fits(pipeline, (height, width))
    crop = RandomCrop((height, width), pad_if_needed=not fits)
    pipeline.crop_by(crop, "RandomCrop", resized=not fits)


def _fits(pipeline: Pipeline, size: Size) -> bool:
    try:
        images = pipeline.sizes()
    except UnsupportedTransform:  # of random size, some of them too small perhaps
        return False
    return all(c <= n for image in images for c, n in zip(size, image, strict=True))


def _flip(pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]) -> None:
    directions = transform.get("direction", "horizontal")
    for direction in [directions] if isinstance(directions, str) else directions:
        if direction not in ("horizontal", "vertical", "diagonal"):
            raise UnsupportedTransform(f"RandomFlip in direction {direction!r} is not known")
        if direction != "horizontal":
            pipeline.flip(0, "RandomFlip")
        if direction != "vertical":
            pipeline.flip(1, "RandomFlip")


def _resize_by(pipeline: Pipeline, transform: Mapping[str, Any], resizing: Resizing) -> None:
    kind = transform.get("interpolation", "bilinear")
    if kind not in _INTERPOLATIONS:
        raise UnsupportedTransform(f"Resize with interpolation {kind!r} is not supported")
    if transform.get("backend", "cv2") == "pillow" and kind == "nearest":
        raise UnsupportedTransform("Resize by Pillow with nearest interpolation is not supported")
    # OpenCV does not widen its kernels, Pillow does.
    antialias = transform.get("backend", "cv2") != "cv2"
    pipeline.resize(resizing, _INTERPOLATIONS[kind], "Resize", antialias=antialias)


def _target(scale: Any) -> tuple[int, int]:
    """A scale, `(width, height)`, as `(height, width)`."""
    if isinstance(scale, int):
        return scale, scale
    if (
        not isinstance(scale, Sequence)
        or len(scale) != 2
        or not all(isinstance(n, int) for n in scale)
    ):
        raise UnsupportedTransform(f"a list of scales is not supported, got {scale!r}")
    return int(scale[1]), int(scale[0])


def _resize(pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]) -> None:
    keep = bool(transform.get("keep_ratio", False))
    if transform.get("ratio_range") is not None or transform.get("img_scale") is not None:
        raise UnsupportedTransform(
            "Resize with img_scale or ratio_range is of version 0; write RandomResize(scale=..., "
            "ratio_range=...) as in version 1"
        )
    factor = transform.get("scale_factor")
    if transform.get("scale") is None and factor is not None:
        raise UnsupportedTransform("Resize by scale_factor is not supported; give scale")
    target = _target(_need(transform, "scale"))
    _resize_by(pipeline, transform, RescaledWithin(target) if keep else Resize(target))


def _random_resize(
    pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]
) -> None:
    kind = str(transform.get("resize_type", "Resize")).rpartition(".")[2]
    if kind != "Resize":
        raise UnsupportedTransform(f"RandomResize with resize_type {kind!r} is not supported")
    low, high = (float(end) for end in transform.get("ratio_range") or (1.0, 1.0))
    target = _target(_need(transform, "scale"))
    keep = bool(transform.get("keep_ratio", False))
    _resize_by(pipeline, transform, RescaledWithin(target, (low, high), keep))


def _pad(pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]) -> None:
    if pipeline.cropped:
        pipeline.neighbourhood("Pad")
        return
    size = transform.get("size")
    if size is None:
        raise UnsupportedTransform("Pad before the crop is supported with size only")
    image = pipeline.one_size("Pad")
    # mmcv writes sizes as (width, height).
    sides = [(0, max(0, int(n) - have)) for n, have in zip(size[::-1], image, strict=True)]
    mode = transform.get("padding_mode", "constant")
    if mode not in ("constant", "edge", "reflect", "symmetric"):
        raise UnsupportedTransform(f"Pad with padding_mode {mode!r} is not supported")
    pipeline.pad(sides, mode, "Pad")


def _cut_out(pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]) -> None:
    pipeline.hide("RandomCutOut")


def _random_apply(
    pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]
) -> None:
    parts = _need(transform, "transforms")
    pipeline.maybe(float(transform.get("prob", 0.5)), _reading(parts, vouched), "RandomApply")


def _random_choice(
    pipeline: Pipeline, transform: Mapping[str, Any], vouched: Collection[str]
) -> None:
    parts = _need(transform, "transforms")
    chances = transform.get("prob") or [Fraction(1, len(parts))] * len(parts)
    pipeline.choose(
        [
            (Fraction(chance), _reading(part, vouched))
            for chance, part in zip(chances, parts, strict=True)
        ],
        "RandomChoice",
    )


_READERS: dict[str, Callable[[Pipeline, Any, Collection[str]], None]] = {
    "Pad": _pad,
    "RandomApply": _random_apply,
    "RandomChoice": _random_choice,
    "RandomCrop": _random_crop,
    "RandomCutOut": _cut_out,
    "RandomFlip": _flip,
    "RandomResize": _random_resize,
    "Resize": _resize,
}
_CATALOGUE = Catalogue(
    "mmseg",
    pointwise=_POINTWISE,
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers=_READERS,
)
