"""Annotated objects as arrays, whatever file they come from.

>>> objects = assemble(
...     "csv", images=["a"], sizes=[(8, 8)], image_index=[0, 0, 0], ids=["1", "2", "3"],
...     edges=[[1.5, 2, 3, 4], [-2, 0, 2, 2], [9, 9, 12, 12]], labels=["face", "face", "car"],
... )
>>> objects.boxes
array([[1, 2, 3, 4],
       [0, 0, 2, 2]])
>>> objects.clipped, objects.outside
(1, 1)

Pixel `(row, column)` covers the square from there to `(row + 1, column + 1)`; a box is every pixel
that the annotated rectangle touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.interop.annotations.shapes import Shape

__all__ = ["Annotations", "assemble"]

Counts = npt.NDArray[np.int64]

_LONGEST = 1 << 31


@dataclass(frozen=True, eq=False)
class Annotations:
    """Objects in images.

    Attributes:
        format: the format they were read from.
        images: names of the images.
        sizes: (height, width) of every image.
        image_index: shape `(n,)`, the image of every object.
        boxes: shape `(n, 4)`: top, left, bottom, right in pixels, half-open, inside the image.
        categories: names of the categories, sorted.
        category_index: shape `(n,)`.
        ids: what the file calls each object.
        shapes: each object's outline or mask, None where it has a box only.
        clipped: number of objects that left their image and were cut at its border.
        outside: number of objects entirely outside their image; they are left out.
    """

    format: str
    images: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    image_index: Counts
    boxes: Counts
    categories: tuple[str, ...]
    category_index: Counts
    ids: tuple[str, ...]
    shapes: tuple[Shape | None, ...]
    clipped: int
    outside: int

    def __len__(self) -> int:
        return len(self.boxes)


def assemble(
    kind: str,
    *,
    images: Sequence[str],
    sizes: Sequence[tuple[int, int] | None],
    image_index: npt.ArrayLike,
    edges: npt.ArrayLike,
    labels: Sequence[str],
    ids: Sequence[str],
    shapes: Sequence[Shape | None] | None = None,
    image: tuple[int, int] | None = None,
) -> Annotations:
    """Round boxes outwards to whole pixels, cut them at the image's border, sort out the rest.

    Args:
        kind: name of the format.
        images: names of the images.
        sizes: (height, width) of each, None where the file does not say.
        image_index: the image of each object.
        edges: shape `(n, 4)`: top, left, bottom, right, in pixels, not yet rounded.
        labels: category of each object.
        ids: name of each object.
        shapes: outline or mask of each object.
        image: (height, width) of the images whose size the file does not say.

    Raises:
        ValueError: an image without a size, or a box that is not finite or runs backwards.
    """
    rows = np.asarray(edges, dtype=np.float64).reshape(-1, 4)
    where = np.asarray(image_index, dtype=np.int64).reshape(-1)
    known: list[tuple[int, int]] = []
    for name, given in zip(images, sizes, strict=True):
        size = image if given is None else given
        if size is None:
            raise ValueError(
                f"the size of image {name} is not in the {kind} annotations; give it with --image"
            )
        if not all(0 < n < _LONGEST for n in size):
            raise ValueError(f"image {name} has the size {size[0]}x{size[1]}; it must be positive")
        known.append((int(size[0]), int(size[1])))
    wrong = ~np.isfinite(rows).all(axis=1) | (rows[:, 2:] < rows[:, :2]).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"object {ids[row]} of image {images[where[row]]} has the box "
            f"{', '.join(f'{v:g}' for v in rows[row])} (top, left, bottom, right); "
            "it must be finite and run forwards"
        )
    limit = np.array(known, dtype=np.float64).reshape(-1, 2)[where]
    start = np.floor(rows[:, :2])
    stop = np.maximum(np.ceil(rows[:, 2:]), start + 1)
    outside = ((start >= limit) | (stop <= 0)).any(axis=1)
    inside = np.flatnonzero(~outside)
    clipped = int(((start < 0) | (stop > limit)).any(axis=1)[inside].sum())
    start = np.clip(start, 0, limit)[inside].astype(np.int64)
    stop = np.clip(stop, 0, limit)[inside].astype(np.int64)
    categories = sorted(set(labels))
    number = {label: k for k, label in enumerate(categories)}
    category_index = np.array([number[label] for label in labels], dtype=np.int64)
    kept = inside.tolist()
    return Annotations(
        format=kind,
        images=tuple(images),
        sizes=tuple(known),
        image_index=where[inside],
        boxes=np.concatenate([start, stop], axis=1),
        categories=tuple(categories),
        category_index=category_index[inside],
        ids=tuple(ids[k] for k in kept),
        shapes=(None,) * len(kept) if shapes is None else tuple(shapes[k] for k in kept),
        clipped=clipped,
        outside=int(outside.sum()),
    )
