"""torchvision transforms (v1 and v2) as patchdp crops.

`plan_crop` walks a pipeline in order. What torchvision does is followed to the letter: the law of
`RandomResizedCrop`, padding by `pad_if_needed`, the sizes that `Resize` gives. The transforms must
run on one image at a time, as they do inside a data set: on a batch of images one offset is shared,
and the per-image analysis does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform, is_vouched

__all__ = ["UnsupportedTransform", "plan_crop"]

Reader = Callable[[Pipeline, Any, Collection[str]], None]

_POINTWISE = {
    "ToTensor", "PILToTensor", "ToPILImage", "ToImage", "ToPureTensor", "ToDtype",
    "ConvertImageDtype", "Normalize", "Grayscale", "RandomGrayscale", "RGB",
    "RandomInvert", "RandomPosterize", "RandomSolarize", "RandomChannelPermutation", "Identity",
    "GaussianNoise", "SetClampingMode",
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
      vouched: Class names of transforms of which you know that they map every pixel by itself.
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
    name = type(transform).__name__
    module = type(transform).__module__
    if isinstance(transform, list | tuple):
        for part in transform:
            _read(pipeline, part, vouched)
    elif is_vouched(transform, vouched):
        pipeline.pointwise(name)
    elif not module.startswith("torchvision."):
        _unknown(name)
    elif name in _REFUSED:
        raise UnsupportedTransform(f"{name} is refused: {_REFUSED[name]}")
    elif name in _POINTWISE:
        pipeline.pointwise(name)
    elif name in _NEIGHBOURHOOD:
        pipeline.neighbourhood(name)
    elif name in _STATISTICS:
        pipeline.statistics(name)
    elif name in _READERS:
        _READERS[name](pipeline, transform, vouched)
    else:
        _unknown(name)


def _unknown(name: str) -> None:
    raise UnsupportedTransform(
        f"{name} is not known; if it maps every pixel by itself, vouch for it: vouched=({name!r},)"
    )


def _compose(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    _read(pipeline, list(transform.transforms), vouched)


def _random_apply(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    parts = transform.transforms
    pipeline.maybe(
        float(transform.p), lambda branch: _read(branch, list(parts), vouched), "RandomApply"
    )


def _any_branch(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    """One of several transforms, or all in random order: none may crop or resize."""
    name = type(transform).__name__
    for part in transform.transforms:
        before = pipeline.cropped
        branch = Pipeline(pipeline.images)
        if before:
            branch.crop_by(RandomCrop((1, 1)), name)
        _read(branch, part, vouched)
        if not before and (branch.cropped or branch.changes_size):
            raise UnsupportedTransform(f"{name} of transforms that crop or resize is not supported")
        _read(pipeline, part, vouched)


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


def _size(size: Any) -> tuple[int, int]:
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
        _size(transform.size),
        padding=0 if not transform.padding else _sides(transform.padding),
        padding_mode=_mode(transform.padding_mode),
        pad_if_needed=bool(transform.pad_if_needed),
    )
    pipeline.crop_by(crop, "RandomCrop")


def _mode(mode: Any) -> Any:
    return str(getattr(mode, "value", mode))


def _pad(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if isinstance(transform.padding, dict):
        raise UnsupportedTransform("Pad with a padding for each type is not supported")
    pipeline.pad(_sides(transform.padding), _mode(transform.padding_mode), "Pad")


def _random_resized_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    crop = RandomResizedCrop(scale=tuple(transform.scale), ratio=tuple(transform.ratio))
    pipeline.crop_by(crop, "RandomResizedCrop")
    pipeline.resized_after_crop()


def _center_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(CenterCrop(_size(transform.size)), "CenterCrop")


def _five_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.crop_by(FiveCrop(_size(transform.size)), "FiveCrop")
    pipeline.resized_after_crop()


def _ten_crop(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    flip = bool(transform.vertical_flip)
    pipeline.crop_by(TenCrop(_size(transform.size), vertical_flip=flip), "TenCrop")
    pipeline.resized_after_crop()


def _resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.size is None or transform.max_size is not None:
        raise UnsupportedTransform("Resize with max_size is not supported; give both sides")
    size = transform.size
    if not isinstance(size, int):
        size = int(size[0]) if len(size) == 1 else _size(size)
    _resize_to(pipeline, Resize(size), transform)


def _resize_to(pipeline: Pipeline, resizing: Any, transform: Any) -> None:
    kind = _mode(transform.interpolation)
    name = type(transform).__name__
    if kind in ("nearest", "nearest-exact"):
        # Pillow and PyTorch pick different pixels; both lie under the bilinear kernel.
        pipeline.resize(resizing, "bilinear", name, bound=True)
    elif kind in ("bilinear", "bicubic", "lanczos"):
        # Pillow widens the kernel whatever `antialias` says; without it less is seen.
        pipeline.resize(resizing, kind, name, bound=not transform.antialias)  # type: ignore[arg-type]
    else:
        raise UnsupportedTransform(f"{name} with interpolation {kind!r} is not supported")


def _random_resize(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    sizes = range(int(transform.min_size), int(transform.max_size))
    _resize_to(pipeline, OneOf(tuple(Resize(n) for n in sizes)), transform)


def _random_shortest_size(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    if transform.max_size is not None:
        raise UnsupportedTransform("RandomShortestSize with max_size is not supported")
    _resize_to(pipeline, OneOf(tuple(Resize(int(n)) for n in transform.min_size)), transform)


def _random_erasing(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
    pipeline.erase(float(transform.p), transform.scale, transform.ratio, "RandomErasing")


_READERS: dict[str, Reader] = {
    "Compose": _compose,
    "RandomApply": _random_apply,
    "RandomChoice": _any_branch,
    "RandomOrder": _any_branch,
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
