"""Kornia's augmentations one by one: what each does to the images of a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from patchdp.geometry import RandomCrop, Resize
from patchdp.interop.catalogue import Catalogue, Reader, Row
from patchdp.interop.kornia.laws import ResizedCropAnywhere
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["catalogue", "kernel"]

# With the parameters of their constructors; all have a probability p, for each image or the batch.
_POINTWISE = {
    "Denormalize": "mean std",
    "Normalize": "mean std",
    "RandomBrightness": "brightness clip_output",
    "RandomChannelDropout": "num_drop_channels fill_value",
    "RandomChannelShuffle": "",
    "RandomGamma": "gamma gain",
    "RandomGaussianNoise": "mean std",
    "RandomGrayscale": "rgb_weights",
    "RandomHue": "hue",
    "RandomInvert": "max_val",
    "RandomPlanckianJitter": "mode select_from",
    "RandomPosterize": "bits",
    "RandomRGBShift": "r_shift_limit g_shift_limit b_shift_limit",
    "RandomSaltAndPepperNoise": "amount salt_vs_pepper",
    "RandomSaturation": "saturation",
    "RandomSolarize": "thresholds additions",
}
# Bases of augmentations of one's own that say nothing about what these do to single pixels.
_NEUTRAL = {
    "AugmentationBase2D", "IntensityAugmentationBase2D", "RigidAffineAugmentationBase2D",
    "_AugmentationBase", "_BasicAugmentationBase", "_PicklableCompileMixin",
}  # fmt: skip
_NEIGHBOURHOOD = {
    "RandomAffine", "RandomBoxBlur", "RandomDissolving",
    "RandomElasticTransform", "RandomFisheye", "RandomGaussianBlur", "RandomJPEG", "RandomJigsaw",
    "RandomMedianBlur", "RandomMotionBlur", "RandomPerspective", "RandomRotation",
    "RandomSharpness", "RandomShear", "RandomThinPlateSpline", "RandomTranslate",
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
_KERNELS: dict[str, Any] = {
    "NEAREST": "nearest-exact",
    "BILINEAR": "bilinear",
    "BICUBIC": "bicubic",
}


def kernel(flags: Mapping[str, Any]) -> Any:
    """The kernel of a resizing with these flags."""
    name = flags["resample"].name
    if name not in _KERNELS:
        raise UnsupportedTransform(f"Resize with resample={name!r} is not supported")
    aligned = flags["align_corners"] and name != "NEAREST"
    return f"{_KERNELS[name]}-corners" if aligned else _KERNELS[name]


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
    size = _window(transform, "CropGenerator")
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


def _window(transform: Any, generator: str) -> tuple[int, ...]:
    """The size of the window, which the generator of offsets must have too."""
    name, drawn = type(transform).__name__, transform._param_generator
    size = transform.flags["size"]
    own = drawn.size if generator == "CropGenerator" else drawn.output_size
    if type(drawn).__name__ != generator or not isinstance(size, tuple | list):
        raise UnsupportedTransform(f"{name} with offsets or sizes of its own is not supported")
    if tuple(own) != tuple(size):
        raise UnsupportedTransform(
            f"{name} draws offsets for a window of {tuple(own)} and shows one of {tuple(size)}"
        )
    return tuple(int(n) for n in size)


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
    _window(transform, "ResizedCropGenerator")
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
    if not transform.flags.get("crop_if_exceeds", True):
        missing = [max(0, n) for n in missing]
    if min(missing) < 0:
        raise UnsupportedTransform("PadTo of a larger image is not supported; crop it")
    sides = [(0, n) for n in missing]
    pipeline.pad(sides, _mode(transform.flags["pad_mode"]), "PadTo")


def _resizes(kernels: Callable[[Mapping[str, Any]], Any]) -> Reader:
    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        name = type(transform).__name__
        if pipeline.cropped:
            pipeline.neighbourhood(name)
            return
        if transform.p_batch < 1 or transform.p < 1:
            raise UnsupportedTransform(
                f"{name} with p below 1 changes the image's size with some chance before the crop"
            )
        flags = transform.flags
        image = pipeline.one_size(name)
        size = _new_size(flags["size"], str(flags["side"]), image)
        if flags["antialias"] and any(new < n for new, n in zip(size, image, strict=True)):
            pipeline.neighbourhood(f"{name} with antialias=True")
        pipeline.resize(Resize(size), kernels(flags), name, antialias=False)

    return read


def _new_size(size: Any, side: str, image: tuple[int, ...]) -> tuple[int, int]:
    """One length is that of one side; the other is cut to a whole number."""
    if not isinstance(size, int):
        return int(size[0]), int(size[1])
    aspect = image[1] / image[0]
    if side == "vert" or (side != "horz" and (side == "short") != (aspect < 1)):
        return size, int(size * aspect)
    return int(size / aspect), size


def catalogue(
    kernels: Callable[[Mapping[str, Any]], Any], containers: Mapping[str, Row]
) -> Catalogue:
    """The library; containers, and what they set for masks, are read by who walks them."""
    coin = "same_on_batch p p_batch keepdim"
    slices = f"resample align_corners cropping_mode {coin}"
    longest = "max_size resample align_corners p"
    readers = {
        "CenterCrop": Row(_center_crop, f"size {slices}"),
        "LongestMaxSize": Row(_resizes(kernels), longest),
        "PadTo": Row(_pad_to, "size pad_mode pad_value crop_if_exceeds keepdim"),
        "RandomCrop": Row(_random_crop, f"size padding pad_if_needed fill padding_mode {slices}"),
        "RandomErasing": Row(_erase, f"scale ratio value {coin}"),
        "RandomHorizontalFlip": Row(_flip(1), coin),
        "RandomResizedCrop": Row(_random_resized_crop, f"size scale ratio {slices}"),
        "RandomRotation90": Row(_turn, f"times resample align_corners {coin}"),
        "RandomVerticalFlip": Row(_flip(0), coin),
        "Resize": Row(_resizes(kernels), f"size side resample align_corners antialias {coin}"),
        "SmallestMaxSize": Row(_resizes(kernels), longest),
    }
    return Catalogue(
        "kornia",
        pointwise={name: f"{parameters} {coin}" for name, parameters in _POINTWISE.items()},
        neighbourhood=_NEIGHBOURHOOD,
        statistics=_STATISTICS,
        refused=_REFUSED,
        readers={**readers, **containers},
        home=("kornia.augmentation", "kornia.augmentation.auto"),
        neutral=_NEUTRAL,
    )
