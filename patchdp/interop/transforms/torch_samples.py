"""What a sample holds beside its image, and whether version 2 of torchvision crops it too.

A transform of version 2 acts on the whole sample: images, videos, masks and boxes are moved by one
draw. Of tensors that are only tensors it moves the first, and that only where there is no image;
arrays and all other tensors pass it by. What passes it by is seen whole.
Source: `docs/theory/geometry.md`, "Labels behind a crop".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from patchdp.interop.pipeline import UnsupportedTransform

__all__ = ["Carried", "carried"]


@dataclass(frozen=True)
class Carried:
    """What a sample holds beside its image.

    Args:
      labels: Whether there are masks or boxes, which a transform may treat unlike the image.
      boxes: The boxes, where there are any.
      image: The tensor that counts as the image, where it is only a tensor.
      sample: The sample.
    """

    labels: bool
    boxes: Any
    image: Any
    sample: Any

    def check_sanitized(self, transform: Any) -> None:
        """Refuse a `SanitizeBoundingBoxes` that leaves something of unseen objects in place.

        Raises:
          UnsupportedTransform: It says what.
        """
        import torch
        from torch.utils._pytree import tree_leaves
        from torchvision import tv_tensors

        count = len(self.boxes)
        if count < 2:
            raise UnsupportedTransform(
                "sample must have at least two boxes, so that what belongs to each of them can be "
                f"told from the rest, got {count}"
            )
        if transform.labels_getter != "default":
            raise UnsupportedTransform(
                f"SanitizeBoundingBoxes with labels_getter={transform.labels_getter!r} is refused: "
                "which labels it removes is not read; use 'default'"
            )
        try:
            labels = transform._labels_getter(self.sample)
        except (ValueError, LookupError):
            labels = None
        if not isinstance(labels, torch.Tensor) or len(labels) != count:
            raise UnsupportedTransform(
                "SanitizeBoundingBoxes finds no labels in sample with one entry for each box"
            )
        for leaf in tree_leaves(self.sample):
            if isinstance(leaf, tv_tensors.Mask) and (leaf.ndim != 3 or len(leaf) != count):
                raise UnsupportedTransform(
                    "SanitizeBoundingBoxes drops rows of a mask that has as many as there are "
                    "boxes; only masks of one plane for each box are supported beside boxes, "
                    f"got shape {tuple(leaf.shape)}"
                )
        apart = (labels, self.image)
        for name, value in _inside(self.sample):
            moved = isinstance(value, tv_tensors.TVTensor) or any(value is part for part in apart)
            if not moved and _length(value) == count:
                raise UnsupportedTransform(
                    f"{name} has one entry for each box, and SanitizeBoundingBoxes leaves those of "
                    "unseen objects in place; remove it from the sample"
                )


def carried(sample: Any) -> Carried:
    """Look at one sample, as the transform is given it.

    Raises:
      UnsupportedTransform: Something in it that shows the image and is not cropped with it.
    """
    import PIL.Image
    import torch
    from torch.utils._pytree import tree_leaves
    from torchvision import tv_tensors

    leaves = tree_leaves(sample)
    if len(leaves) == 1 and leaves[0] is sample and not isinstance(sample, tv_tensors.TVTensor):
        return Carried(False, None, sample, sample)  # the image alone, of whatever type
    images = (tv_tensors.Image, tv_tensors.Video, PIL.Image.Image)
    first = not any(isinstance(leaf, images) for leaf in leaves)
    image = None
    boxes: list[Any] = []
    labels = False
    for leaf in leaves:
        if isinstance(leaf, images):
            continue
        if isinstance(leaf, tv_tensors.BoundingBoxes):
            boxes.append(leaf)
        elif isinstance(leaf, tv_tensors.Mask):
            labels = True
        elif isinstance(leaf, tv_tensors.TVTensor):
            raise UnsupportedTransform(
                f"sample holds {type(leaf).__name__}, of which a crop keeps what it does not see"
            )
        elif isinstance(leaf, torch.Tensor) and first:
            first, image = False, leaf
        elif getattr(leaf, "ndim", 0) >= 2:
            raise UnsupportedTransform(
                f"sample holds {type(leaf).__name__} of shape {tuple(leaf.shape)}, which version 2 "
                "passes by: it is seen whole; wrap it as tv_tensors.Mask or tv_tensors.Image"
            )
    if len(boxes) > 1:
        raise UnsupportedTransform(
            f"sample holds {len(boxes)} sets of boxes; only the first decides which are removed"
        )
    if boxes and tv_tensors.is_rotated_bounding_format(boxes[0].format):
        raise UnsupportedTransform(
            f"sample holds turned boxes, of format {boxes[0].format.name}: what a crop leaves of "
            "those it does not see is not read"
        )
    if boxes and getattr(boxes[0], "clamping_mode", "soft") is None:
        raise UnsupportedTransform(
            "sample holds boxes with clamping_mode=None, which a crop leaves where they are"
        )
    return Carried(labels or bool(boxes), boxes[0] if boxes else None, image, sample)


def _inside(node: Any) -> Iterator[tuple[str, Any]]:
    """Everything in a sample below its root, with the name it goes by."""
    if isinstance(node, Mapping):
        parts = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list | tuple):
        parts = [(f"entry {k}", part) for k, part in enumerate(node)]
    else:
        return
    for name, part in parts:
        yield name, part
        yield from _inside(part)


def _length(value: Any) -> int:
    if isinstance(value, str | Mapping) or getattr(value, "ndim", 1) == 0:
        return -1
    return len(value) if hasattr(value, "__len__") else -1
