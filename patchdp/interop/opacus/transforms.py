"""The crop of a data set: found on it, read by the torchvision planner."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import ConcatDataset

from patchdp.geometry.crop import Crop

__all__ = ["Found", "as_crop", "find_transform", "first_size"]


class Found(NamedTuple):
    """A transform and the attribute it is kept in."""

    holder: Any
    attribute: str

    @property
    def transform(self) -> Any:
        return getattr(self.holder, self.attribute)


def as_crop(crop: Any, *, image: Any) -> Crop:
    """`crop` itself, or what the planner reads off a transform.

    Raises:
      UnsupportedTransform: The transform's crop cannot be accounted; it says why.
    """
    if isinstance(crop, Crop):
        return crop
    if not callable(crop):
        raise ValueError(f"crop must be a patchdp crop or a transform, got {crop!r}")
    from patchdp.interop.torchvision import plan_crop

    return plan_crop(crop, image=image)


def find_transform(dataset: Any) -> Found | None:
    """The one transform of a data set's images, below any subsets.

    Raises:
      ValueError: There are several, one after the other or one for each part.
    """
    found = list(_transforms(dataset))
    if len({id(one.transform) for one in found}) > 1:
        raise ValueError(
            f"the data set has {len(found)} transforms; say what they amount to with crop="
        )
    return found[0] if found else None


def _transforms(dataset: Any) -> Iterator[Found]:
    if getattr(dataset, "transform", None) is not None:
        yield Found(dataset, "transform")
    elif getattr(dataset, "transforms", None) is not None:
        joint = dataset.transforms
        # torchvision keeps separate transforms of image and label in a StandardTransform.
        separate = getattr(joint, "transform", None) is not None
        yield Found(joint, "transform") if separate else Found(dataset, "transforms")
    inner = dataset.datasets if isinstance(dataset, ConcatDataset) else [_inner(dataset)]
    for part in inner:
        if part is not None:
            yield from _transforms(part)


def _inner(dataset: Any) -> Any:
    inner = getattr(dataset, "dataset", None)
    return inner if hasattr(inner, "__getitem__") else None


def first_size(dataset: Any, found: Found) -> tuple[int, int] | None:
    """Height and width of what the transform is given for the first image; None if unseen."""
    sizes: list[tuple[int, int]] = []

    def look(*inputs: Any) -> Any:
        size = _size(inputs[0])
        if size is not None:
            sizes.append(size)
        return inputs[0] if len(inputs) == 1 else inputs

    # What follows the transform may not cope with an untransformed image: no matter.
    with _Replaced(found, look), contextlib.suppress(Exception):
        dataset[0]
    return sizes[0] if sizes else None


class _Replaced:
    def __init__(self, found: Found, transform: Callable[..., Any]) -> None:
        self.found, self.transform = found, transform

    def __enter__(self) -> None:
        self.kept = self.found.transform
        setattr(self.found.holder, self.found.attribute, self.transform)

    def __exit__(self, *_: object) -> None:
        setattr(self.found.holder, self.found.attribute, self.kept)


def _size(image: Any) -> tuple[int, int] | None:
    shape = getattr(image, "shape", None)
    if shape is not None and len(shape) >= 2:
        # Tensors are channels first, arrays channels last.
        tensor = hasattr(image, "numpy") or len(shape) == 2
        height, width = shape[-2:] if tensor else shape[:2]
        return int(height), int(width)
    size = getattr(image, "size", None)
    if isinstance(size, tuple) and len(size) == 2:  # PIL: width, height
        return int(size[1]), int(size[0])
    return None
