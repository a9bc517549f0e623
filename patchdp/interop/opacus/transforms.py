"""The crop of a data set: found on it, read by the torchvision planner."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch.utils._pytree import tree_leaves
from torch.utils.data import ConcatDataset

from patchdp.geometry.crop import Crop
from patchdp.interop.pipeline import UnsupportedTransform

__all__ = ["Found", "Look", "as_crop", "find_transform", "look"]

# Items that are looked at for one with two boxes.
_ITEMS = 16


class Found(NamedTuple):
    """A transform and the attributes it is kept in: pairs of an object and a name."""

    places: tuple[tuple[Any, str], ...]

    @property
    def transform(self) -> Any:
        holder, attribute = self.places[0]
        return getattr(holder, attribute)


@dataclass(frozen=True)
class Look:
    """What a data set gives its transform for one item, and what the item holds.

    Args:
      given: The transform's arguments at each call.
      item: The item with the transform left out; None where the data set cannot do without.
    """

    given: tuple[tuple[Any, ...], ...]
    item: Any

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the image before the transform; None if unseen."""
        return _size(self.given[0][0]) if self.given and self.given[0] else None

    @property
    def sample(self) -> Any:
        """What the transform acts on, as one argument or several."""
        if not self.given:
            return None
        return self.given[0][0] if len(self.given[0]) == 1 else self.given[0]

    def check(self) -> None:
        """Refuse an item that shows more of the image than one application of the transform.

        Raises:
          UnsupportedTransform: It says what.
        """
        calls = len(self.given)
        if calls > 1:
            raise UnsupportedTransform(
                f"the data set applies its transform {calls} times for one item, and every crop "
                "shows a part of it; say what they amount to with crop="
            )
        pictures = [leaf for leaf in tree_leaves(self.item) if _size(leaf) is not None]
        if calls and len(pictures) > len([x for x in tree_leaves(self.given) if _size(x)]):
            raise UnsupportedTransform(
                f"the data set's items hold {len(pictures)} pictures, some of which its transform "
                "does not crop: they are seen whole; transform image and target together, or say "
                "what they amount to with crop="
            )


def as_crop(crop: Any, *, image: Any, sample: Any = None) -> Crop:
    """`crop` itself, or what the planner reads off a transform.

    Args:
      crop: A crop or a transform.
      image: Size of the images before it, or a list of sizes.
      sample: What the transform is given, where that was seen.

    Raises:
      UnsupportedTransform: The transform's crop cannot be accounted; it says why.
    """
    if isinstance(crop, Crop):
        return crop
    if not callable(crop):
        raise ValueError(f"crop must be a patchdp crop or a transform, got {crop!r}")
    from patchdp.interop.torchvision import plan_crop

    return plan_crop(crop, image=image, sample=sample)


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
    joint: Any = getattr(dataset, "transforms", None)
    # torchvision keeps transforms of image and label apart in a StandardTransform, and beside it.
    separate = type(joint).__name__ == "StandardTransform"
    if getattr(dataset, "transform", None) is not None:
        places = [(dataset, "transform")]
        if separate and joint.transform is dataset.transform:
            places.append((joint, "transform"))
        yield Found(tuple(places))
    elif joint is not None and not separate:
        yield Found(((dataset, "transforms"),))
    elif joint is not None and joint.transform is not None:
        yield Found(((joint, "transform"),))
    inner = dataset.datasets if isinstance(dataset, ConcatDataset) else [_inner(dataset)]
    for part in inner:
        if part is not None:
            yield from _transforms(part)


def _inner(dataset: Any) -> Any:
    inner = getattr(dataset, "dataset", None)
    return inner if hasattr(inner, "__getitem__") else None


def look(dataset: Any, found: Found) -> Look:
    """What the transform is given for the first item, of those with boxes one with two at least."""
    seen = Look((), None)
    for index in range(min(len(dataset), _ITEMS)):
        seen = _look_at(dataset, index, found)
        if all(len(boxes) > 1 for boxes in tree_leaves(seen.sample) if _are_boxes(boxes)):
            break
    return seen


def _look_at(dataset: Any, index: int, found: Found) -> Look:
    given: list[tuple[Any, ...]] = []

    def note(*inputs: Any) -> Any:
        given.append(inputs)
        return inputs[0] if len(inputs) == 1 else inputs

    item = None
    # What follows the transform may not cope with an untransformed image: no matter.
    with _Replaced(found, note), contextlib.suppress(Exception):
        item = dataset[index]
    return Look(tuple(given), item)


def _are_boxes(leaf: Any) -> bool:
    return type(leaf).__name__ == "BoundingBoxes"


class _Replaced:
    def __init__(self, found: Found, transform: Callable[..., Any]) -> None:
        self.found, self.transform = found, transform

    def __enter__(self) -> None:
        self.kept = self.found.transform
        self._set(self.transform)

    def __exit__(self, *_: object) -> None:
        self._set(self.kept)

    def _set(self, transform: Callable[..., Any]) -> None:
        for holder, attribute in self.found.places:
            setattr(holder, attribute, transform)


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
