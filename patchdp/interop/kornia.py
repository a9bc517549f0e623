"""Kornia augmentations as patchdp crops.

Kornia transforms whole batches: it draws one offset per image unless told otherwise, but one coin
for the batch where a crop has `p` below 1. A crop larger than the image shows all of it. Offsets
come from single-precision numbers: probabilities hold up to 2^-24 of a draw.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from patchdp.geometry import Crop, RandomCrop, RandomResizedCrop
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisWindows
from patchdp.interop.catalogue import Catalogue, Reader
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["ResizedCropAnywhere", "UnsupportedTransform", "plan_crop"]

_POINTWISE = {
    "Denormalize", "Normalize", "RandomBrightness", "RandomChannelDropout",
    "RandomChannelShuffle", "RandomGamma", "RandomGaussianNoise", "RandomGrayscale", "RandomHue",
    "RandomInvert", "RandomPlanckianJitter", "RandomPosterize", "RandomRGBShift",
    "RandomSaltAndPepperNoise", "RandomSaturation", "RandomSolarize",
}  # fmt: skip
_NEIGHBOURHOOD = {
    "LongestMaxSize", "RandomAffine", "RandomBoxBlur", "RandomDissolving",
    "RandomElasticTransform", "RandomFisheye", "RandomGaussianBlur", "RandomJPEG", "RandomJigsaw",
    "RandomMedianBlur", "RandomMotionBlur", "RandomPerspective", "RandomRotation",
    "RandomSharpness", "RandomShear", "RandomThinPlateSpline", "RandomTranslate", "Resize",
    "SmallestMaxSize",
}  # fmt: skip
_STATISTICS = {
    "AutoAugment", "ColorJiggle", "ColorJitter", "RandAugment", "RandomAutoContrast", "RandomClahe",
    "RandomContrast", "RandomEqualize", "RandomGaussianIllumination",
    "RandomLinearCornerIllumination", "RandomLinearIllumination", "RandomPlasmaBrightness",
    "RandomPlasmaContrast", "RandomPlasmaShadow", "RandomRain", "RandomSnow", "TrivialAugment",
}  # fmt: skip
_MIXES = "it mixes images: the patch reaches the gradient of another image"
_REFUSED = {
    "PatchMix": _MIXES,
    "RandomCutMixV2": _MIXES,
    "RandomMixUpV2": _MIXES,
    "RandomMosaic": _MIXES,
    "RandomTransplantation": _MIXES,
    "PatchSequential": "it cuts the image into parts that are transformed one by one",
    "VideoSequential": "it shares what it draws between frames; crop the video in one piece",
}
_MODES: dict[str, Any] = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "circular",
}


def plan_crop(transform: Any, *, image: Any, vouched: Collection[str] = ()) -> Crop:
    """The crop that a Kornia augmentation amounts to.

    ```python
    crop = plan_crop(K.AugmentationSequential(K.RandomCrop((505, 505))), image=(1024, 2048))
    ```

    Args:
      transform: An augmentation, a container of them or a sequence.
      image: `(height, width)` of the images in a batch, or a list of sizes.
      vouched: Names of unknown transforms of which you know that they map every pixel by itself.

    Returns:
      A crop whose inclusion probability is exact, or an `AtMost` where only a bound is known.

    Raises:
      UnsupportedTransform: The images of a batch share an offset or a coin, or the crop's law is
        not known.
      ValueError: The crop does not fit the image.
    """
    pipeline = Pipeline(image)
    if pipeline.axes != 2:
        raise UnsupportedTransform(
            f"image must be (height, width) for Kornia, got {pipeline.axes} axes"
        )
    _reading(transform, vouched)(pipeline)
    return pipeline.result()


@dataclass(frozen=True)
class ResizedCropAnywhere(RandomResizedCrop):
    """`RandomResizedCrop` whose window of last resort is not central but anywhere, as Kornia's.

    >>> from patchdp.geometry import Patch, RandomResizedCrop, inclusion
    >>> [round(float(inclusion((4, 60), crop(scale=(0.9, 1.0)), Patch((1, 1))).probability), 3)
    ...  for crop in (RandomResizedCrop, ResizedCropAnywhere)]
    [1.0, 0.089]

    Args:
      scale: Area of the window as a share of the image's, from and to.
      ratio: Width over height, from and to.
      attempts: Number of draws before the last resort.
    """

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        (law,) = super().laws(image)
        axes = tuple(
            (*parts[:-1], AxisWindows(parts[-1].length, 0, length - parts[-1].length))
            for parts, length in zip(law.axes, image, strict=True)
            if isinstance(parts[-1], AxisWindows)
        )
        return (replace(law, axes=axes),)


def _reading(transform: Any, vouched: Collection[str]) -> Inside:
    def read(pipeline: Pipeline) -> None:
        if isinstance(transform, list | tuple):
            for part in transform:
                _reading(part, vouched)(pipeline)
        elif type(transform).__name__ in ("Sequential", "ModuleList"):
            _reading(list(transform), vouched)(pipeline)
        else:
            _CATALOGUE.read(pipeline, transform, vouched)

    return read


def _sequential(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = list(transform.children())
    if getattr(transform, "random_apply", False) is False:
        _reading(parts, vouched)(pipeline)
    else:
        pipeline.in_any_order(
            [_reading(part, vouched) for part in parts],
            f"{type(transform).__name__} with random_apply",
        )


def _check_one_by_one(transform: Any, *, offset: bool) -> None:
    name = type(transform).__name__
    if offset and transform.same_on_batch:
        raise UnsupportedTransform(
            f"{name} with same_on_batch=True draws one offset for all images of a batch, and "
            "privacy by crops needs one for each; use same_on_batch=False"
        )
    if transform.p_batch < 1 or transform.p < 1:
        raise UnsupportedTransform(
            f"{name} with p below 1 tosses one coin for all images of a batch, and privacy by "
            "crops needs one for each; use p=1.0"
        )
    if transform.flags["cropping_mode"] != "slice":
        raise UnsupportedTransform(
            f"{name} with cropping_mode={transform.flags['cropping_mode']!r} interpolates, and "
            "rounding may let in pixels next to the window; use cropping_mode='slice'"
        )


def _random_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _check_one_by_one(transform, offset=True)
    flags = transform.flags
    size = tuple(int(n) for n in flags["size"])
    padding = flags["padding"]
    if not padding:
        crop = RandomCrop((size[0], size[1]), pad_if_needed=True)
        # Images that are too small are padded, or shown whole and resized.
        fits = all(c <= n for image in pipeline.sizes() for c, n in zip(size, image, strict=True))
        crop = replace(crop, pad_if_needed=False) if fits else crop
        pipeline.crop_by(crop, "RandomCrop", resized=not fits)
        return
    left, top, right, bottom = _padding(padding)
    if flags["pad_if_needed"]:
        # The deficit of the image as it is, where that is more than the fixed padding.
        image = pipeline.one_size("RandomCrop with padding and pad_if_needed")
        more = [max(0, c - n) for c, n in zip(size, image, strict=True)]
        top, bottom = max(top, more[0]), max(bottom, more[0])
        left, right = max(left, more[1]), max(right, more[1])
    pairs = ((top, bottom), (left, right))
    same = {n for pair in pairs for n in pair}
    fits = all(
        c <= n + sum(pair)
        for image in pipeline.sizes()
        for c, n, pair in zip(size, image, pairs, strict=True)
    )
    crop = RandomCrop(
        (size[0], size[1]),
        padding=same.pop() if len(same) == 1 else pairs,
        padding_mode=_mode(flags["padding_mode"]),
        pad_if_needed=not fits,
    )
    pipeline.crop_by(crop, "RandomCrop", resized=not fits)


def _padding(padding: Any) -> tuple[int, int, int, int]:
    """Kornia's `padding` as left, top, right, bottom."""
    if isinstance(padding, int):
        return (padding,) * 4
    sides = tuple(int(n) for n in padding)
    if len(sides) == 2:
        return sides[0], sides[1], sides[0], sides[1]
    left, top, right, bottom = sides
    return left, top, right, bottom


def _mode(mode: str) -> Any:
    if mode not in _MODES:
        raise UnsupportedTransform(f"padding mode {mode!r} is not supported")
    return _MODES[mode]


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _check_one_by_one(transform, offset=True)
    generator = transform._param_generator
    scale, ratio = (tuple(map(float, pair)) for pair in (generator.scale, generator.ratio))
    crop = ResizedCropAnywhere(scale=(scale[0], scale[1]), ratio=(ratio[0], ratio[1]))
    pipeline.crop_by(crop, "RandomResizedCrop", resized=True)


def _center_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _check_one_by_one(transform, offset=False)
    size = tuple(int(n) for n in transform.size)
    if any(c > n for image in pipeline.sizes() for c, n in zip(size, image, strict=True)):
        raise ValueError(f"CenterCrop of {size} does not fit the image; use a smaller crop")
    pipeline.center(size, lambda n, c: (n - c) // 2, "CenterCrop")


def _flip(axis: int) -> Reader:
    return lambda pipeline, transform, vouched: pipeline.flip(axis, type(transform).__name__)


def _turn(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    # Quarter turns are done by interpolation too.
    pipeline.neighbourhood("RandomRotation90")


def _erase(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.hide("RandomErasing")


def _pad_to(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if pipeline.cropped:
        pipeline.neighbourhood("PadTo")
        return
    size = tuple(int(n) for n in transform.flags["size"])
    image = pipeline.one_size("PadTo")
    missing = [n - have for n, have in zip(size, image, strict=True)]
    if min(missing) < 0:
        raise UnsupportedTransform("PadTo of a larger image is not supported; crop it")
    sides = [(0, n) for n in missing]
    pipeline.pad(sides, _mode(transform.flags["pad_mode"]), "PadTo")


_READERS: dict[str, Reader] = {
    "AugmentationSequential": _sequential,
    "ImageSequential": _sequential,
    "CenterCrop": _center_crop,
    "PadTo": _pad_to,
    "RandomCrop": _random_crop,
    "RandomErasing": _erase,
    "RandomHorizontalFlip": _flip(1),
    "RandomResizedCrop": _random_resized_crop,
    "RandomRotation90": _turn,
    "RandomVerticalFlip": _flip(0),
}
_CATALOGUE = Catalogue(
    "kornia",
    pointwise=_POINTWISE,
    neighbourhood=_NEIGHBOURHOOD,
    statistics=_STATISTICS,
    refused=_REFUSED,
    readers=_READERS,
)
