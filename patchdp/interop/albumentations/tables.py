"""Albumentations' transforms one by one: what each does to an image and its mask."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from patchdp.geometry import FixedCrop, RandomCrop, RandomResizedCrop, RandomScale, Resize
from patchdp.geometry.rescale import Resizing
from patchdp.interop.albumentations.laws import RandomSizedCrop, ScaledSide
from patchdp.interop.catalogue import Catalogue, Reader, Row
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["GEOMETRY", "Known", "catalogue"]

# With the parameters of their constructors; all take a probability p.
_POINTWISE = {
    "AdditiveNoise": "noise_type spatial_mode noise_params approximation",
    "ChannelDropout": "channel_drop_range fill",
    "ChannelShuffle": "",
    "FromFloat": "dtype max_value",
    "GaussNoise": "std_range mean_range per_channel noise_scale_factor",
    "HueSaturationValue": "hue_shift_limit sat_shift_limit val_shift_limit",
    "InvertImg": "",
    "MultiplicativeNoise": "multiplier per_channel elementwise",
    "NoOp": "",
    "PixelDropout": "dropout_prob per_channel drop_value mask_drop_value",
    "PlanckianJitter": "mode temperature_limit sampling_method",
    "Posterize": "num_bits",
    "RGBShift": "r_shift_limit g_shift_limit b_shift_limit",
    "RandomGamma": "gamma_limit",
    "RandomToneCurve": "scale per_channel",
    "SaltAndPepper": "amount salt_vs_pepper",
    "ShotNoise": "scale_range",
    "Solarize": "threshold_range",
    "ToFloat": "max_value",
    "ToRGB": "num_output_channels",
    "ToSepia": "",
    "ToTensor3D": "",
    "ToTensorV2": "transpose_mask",
}
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
_KERNELS: dict[int, Any] = {
    0: "nearest",
    1: "bilinear",
    2: "bicubic",
    3: "area",
    4: "lanczos",
    5: "bilinear",
    6: "nearest-exact",
}
# Bases of transforms of one's own that say nothing about what these do to single pixels.
_NEUTRAL = {"BasicTransform", "ImageOnlyTransform", "Serializable"}


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
    pipeline.pad([(top, bottom), (left, right)], _border(transform), "Pad")


def _border(transform: Any) -> Any:
    mode = int(transform.border_mode)
    if mode not in _BORDERS:
        name = type(transform).__name__
        raise UnsupportedTransform(f"{name} with border_mode={mode} is not supported")
    return _BORDERS[mode]


def _pad_if_needed(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if pipeline.cropped:
        pipeline.neighbourhood("PadIfNeeded")
        return
    least = (transform.min_height, transform.min_width)
    divisors = (transform.pad_height_divisor, transform.pad_width_divisor)
    position = str(transform.position)
    sides = []
    for n, low, divisor, start in zip(
        pipeline.one_size("PadIfNeeded"), least, divisors, ("top", "left"), strict=True
    ):
        total = max(0, low - n) if low is not None else -n % (divisor or 1)
        before = total // 2 if position == "center" else 0 if start in position else total
        sides.append((before, total - before))
    if position == "random" and any(map(any, sides)):
        raise UnsupportedTransform(
            "PadIfNeeded at a random position is not supported; use position='center', or "
            "RandomCrop with pad_if_needed=True"
        )
    pipeline.pad(sides, _border(transform), "PadIfNeeded")


def _kernels(transform: Any, masks: bool) -> Any:
    """The kernels by which image and mask are resized, where they shrink and where they grow."""
    area = transform.area_for_downscale
    found = {int(transform.interpolation)} | ({3} if area else set())
    if masks:
        found |= {int(transform.mask_interpolation)} | ({3} if area == "image_mask" else set())
    unknown = found - set(_KERNELS)
    if unknown:
        raise UnsupportedTransform(
            f"{type(transform).__name__} with interpolation {unknown.pop()} is not supported"
        )
    names = tuple(sorted({_KERNELS[flag] for flag in found}))
    return names if len(names) > 1 else names[0]


def _resizes(masks: bool, new_size: Any) -> Reader:
    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        name = type(transform).__name__
        if pipeline.cropped:
            pipeline.neighbourhood(name)
        else:
            kernels = _kernels(transform, masks)
            # OpenCV does not widen its kernels.
            pipeline.resize(new_size(pipeline, transform), kernels, name, antialias=False)

    return read


def _to_size(pipeline: Pipeline, transform: Any) -> Resizing:
    return Resize((transform.height, transform.width))


def _to_side(side: Literal["shorter", "longer"]) -> Any:
    def new_size(pipeline: Pipeline, transform: Any) -> Resizing:
        size = transform.max_size
        if size is not None:
            lengths = tuple(map(int, size)) if isinstance(size, Sequence) else (int(size),)
            return ScaledSide(lengths, side)
        image = pipeline.one_size(type(transform).__name__)
        scales = [
            most / n
            for most, n in zip(transform.max_size_hw, image, strict=True)
            if most is not None
        ]
        scale = min(scales) if side == "longer" else max(scales)
        return Resize(tuple(max(1, round(n * scale)) for n in image))

    return new_size


def _by_factor(pipeline: Pipeline, transform: Any) -> Resizing:
    low, high = (float(end) + 1.0 for end in transform.scale_limit)
    return RandomScale(low, high, rounding="down")


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


def _with_chance(row: Row) -> Row:
    reader = row.reader

    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        name = type(transform).__name__
        pipeline.maybe(float(transform.p), lambda branch: reader(branch, transform, vouched), name)

    return Row(read, row.parameters)


_WINDOW = "height width pad_if_needed pad_position border_mode fill fill_mask p"
_SCALED = "size interpolation mask_interpolation area_for_downscale p"
_SIDE = "max_size max_size_hw interpolation mask_interpolation area_for_downscale p"
_PADDING = "fill fill_mask border_mode p"
_HOLES = "fill fill_mask p"


def _always(masks: bool) -> dict[str, Row]:
    """What is done when a transform is applied at all."""
    sized = "height width interpolation mask_interpolation area_for_downscale p"
    scaled = "scale_limit interpolation mask_interpolation area_for_downscale p"
    holes = "num_holes_range hole_height_range hole_width_range"
    grid = "ratio random_offset unit_size_range holes_number_xy shift_xy"
    bands = "num_masks_x num_masks_y mask_x_length mask_y_length"
    return {
        "CenterCrop": Row(_center_crop, _WINDOW),
        "CoarseDropout": Row(_dropout, f"{holes} {_HOLES}"),
        "Crop": Row(_fixed_crop, f"x_min y_min x_max y_max {_WINDOW}"),
        "Erasing": Row(_dropout, f"scale ratio {_HOLES}"),
        "FrequencyMasking": Row(_dropout, "freq_mask_param p"),
        "GridDropout": Row(_dropout, f"{grid} {_HOLES}"),
        "LongestMaxSize": Row(_resizes(masks, _to_side("longer")), _SIDE),
        "Pad": Row(_pad, f"padding {_PADDING}"),
        "PadIfNeeded": Row(
            _pad_if_needed,
            f"min_height min_width pad_height_divisor pad_width_divisor position {_PADDING}",
        ),
        "RandomCrop": Row(_random_crop, _WINDOW),
        "RandomResizedCrop": Row(_random_resized_crop, f"scale ratio {_SCALED}"),
        "RandomScale": Row(_resizes(masks, _by_factor), scaled),
        "RandomSizedCrop": Row(_random_sized_crop, f"min_max_height w2h_ratio {_SCALED}"),
        "Resize": Row(_resizes(masks, _to_size), sized),
        "SmallestMaxSize": Row(_resizes(masks, _to_side("shorter")), _SIDE),
        "TimeMasking": Row(_dropout, "time_mask_param p"),
        "XYMasking": Row(_dropout, f"{bands} {_HOLES}"),
    }


# Whatever their chance, they leave the law of a crop as it is, or are read without it.
_WHATEVER_P = {
    "HorizontalFlip": Row(_flip(1), "p"),
    "VerticalFlip": Row(_flip(0), "p"),
    "D4": Row(_turn, "p"),
    "RandomRotate90": Row(_turn, "p"),
    "SquareSymmetry": Row(_turn, "p"),
    "Transpose": Row(_turn, "p"),
    "Normalize": Row(_normalize, "mean std max_pixel_value normalization p"),
    "RandomBrightnessContrast": Row(
        _brightness_contrast,
        "brightness_limit contrast_limit brightness_by_max ensure_safe_range p",
    ),
    "ColorJitter": Row(_colour_jitter, "brightness contrast saturation hue p"),
    "ToGray": Row(_to_gray, "num_output_channels method p"),
}
# An additional target that these do not act on shows other pixels than the image.
GEOMETRY = frozenset({
    "CenterCrop", "Crop", "D4", "HorizontalFlip", "LongestMaxSize", "Pad", "PadIfNeeded",
    "RandomCrop", "RandomResizedCrop", "RandomRotate90", "RandomScale", "RandomSizedCrop",
    "Resize", "SmallestMaxSize", "SquareSymmetry", "Transpose", "VerticalFlip",
})  # fmt: skip


@dataclass(frozen=True)
class Known:
    """The library's transforms, and what those with a chance do when applied."""

    library: Catalogue
    always: Mapping[str, Row]


def catalogue(masks: bool, containers: Mapping[str, Row]) -> Known:
    """The library, for images alone or with masks; containers are read by who walks them."""
    always = _always(masks)
    readers = {name: _with_chance(row) for name, row in always.items()}
    library = Catalogue(
        "albumentations",
        pointwise={name: f"{parameters} p" for name, parameters in _POINTWISE.items()},
        neighbourhood=_NEIGHBOURHOOD,
        statistics=_STATISTICS,
        refused=_REFUSED,
        readers={**readers, **_WHATEVER_P, **containers},
        home=("albumentations",),
        neutral=_NEUTRAL,
    )
    return Known(library, always)
