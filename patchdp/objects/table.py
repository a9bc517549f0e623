"""Annotated objects as arrays, whatever file they come from.

>>> gathered = Gathered("csv", image=(8, 8))
>>> a = gathered.image("a", None)
>>> gathered.add(a, (1.5, 2, 3, 4), "face", "1")
>>> gathered.add(a, (-2, 0, 2, 2), "face", "2")
>>> gathered.add(a, (9, 9, 12, 12), "car", "3")
>>> objects = gathered.done()
>>> objects.boxes
array([[1, 2, 3, 4],
       [0, 0, 2, 2]])
>>> objects.clipped, dict(objects.left_out)
(1, {'outside their image': 1})

Pixel `(row, column)` covers the square from there to `(row + 1, column + 1)`; a box is every pixel
that the annotated rectangle touches. Where a format's numbers have two readings a box holds both.
"""

from __future__ import annotations

import posixpath
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchdp.objects.shapes import Shape

__all__ = ["Annotations", "Edges", "Gathered"]

Counts = npt.NDArray[np.int64]
Edges = tuple[float, float, float, float]

_LONGEST = 1 << 31
_OUTSIDE = "outside their image"
EXACT = (0, 0, 0, 0)


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
        left_out: why objects were left out, and how many.
        remarks: what was doubtful about objects that were read, and of how many.
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
    clipped: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    remarks: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.boxes)

    def without(self, rows: npt.NDArray[np.bool_], reason: str) -> Annotations:
        """The objects without those of a mask of shape `(n,)`; they are counted as left out."""
        kept = np.flatnonzero(~rows)
        count = len(self) - len(kept)
        left_out = Counter(self.left_out) + Counter({reason: count})
        return replace(
            self,
            image_index=self.image_index[kept],
            boxes=self.boxes[kept],
            category_index=self.category_index[kept],
            ids=tuple(self.ids[k] for k in kept.tolist()),
            shapes=tuple(self.shapes[k] for k in kept.tolist()),
            left_out=dict(left_out),
        )


class Gathered:
    """What a reader finds, file by file and object by object."""

    def __init__(self, kind: str, *, image: tuple[int, int] | None) -> None:
        self.kind, self.given = kind, image
        self.names: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []
        self.sources: list[str] = []
        self.known: dict[Hashable, int] = {}
        self.files: list[Path] = []
        self.where, self.rows, self.file, self.line = (array("q") for _ in range(4))
        self.edges, self.doubts = array("d"), array("b")
        self.labels: list[str] = []
        self.ids: list[str] = []
        self.shapes: list[Shape | None] = []
        # Where lines are not given with the objects: the line of a row, when it is needed.
        self.line_of: Callable[[int], int] | None = None
        self.left_out: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()

    def reads(self, path: Path) -> None:
        """The objects that follow come from this file."""
        self.files.append(path)

    def image(
        self, name: str, size: tuple[int, int] | None, key: Hashable = None, owner: str = ""
    ) -> int:
        """The number of an image; the same `key` is the same image.

        Raises:
            ValueError: one image has two sizes, or one that no image has.
        """
        owner = owner or f"image {name}"
        if size is not None and not all(0 < n < _LONGEST for n in size):
            raise ValueError(f"{owner}: no image is {size[0]}x{size[1]}")
        index = len(self.names) if key is None else self.known.setdefault(key, len(self.names))
        if index == len(self.names):
            self.names.append(name)
            self.sizes.append(size)
            self.sources.append(f"{self.files[-1]}: " if self.files else "")
        before = self.sizes[index]
        if size is not None and before not in (None, size):
            assert before is not None
            raise ValueError(
                f"{owner}: image {name} is {size[0]}x{size[1]} here and {before[0]}x{before[1]} "
                "before; an image has one size"
            )
        self.sizes[index] = before or size
        return index

    def size_of(self, image: int) -> tuple[int, int] | None:
        """The size of an image, as far as it is known yet."""
        return self.sizes[image] or self.given

    def add(
        self,
        image: int,
        edges: Sequence[float],
        label: str,
        name: str,
        *,
        line: int = 0,
        shape: Shape | None = None,
        doubt: tuple[int, int, int, int] = EXACT,
    ) -> None:
        """One object.

        Args:
            image: its image.
            edges: top, left, bottom, right, in pixels, not yet rounded.
            label: its category.
            name: what the file calls it.
            line: where it stands in the file.
            shape: its outline or mask.
            doubt: by how many pixels it may be larger at each edge under another reading.
        """
        self.where.append(image)
        self.edges.extend(edges)
        self.doubts.extend(doubt)
        self.labels.append(label)
        self.ids.append(name)
        self.shapes.append(shape)
        self.file.append(len(self.files) - 1)
        self.line.append(line)

    def extend(
        self,
        images: Sequence[int],
        edges: npt.NDArray[np.float64],
        labels: Sequence[str],
        names: Sequence[str],
    ) -> None:
        """Many objects that are boxes, as `add` takes one."""
        self.where.extend(images)
        self.edges.frombytes(np.ascontiguousarray(edges).tobytes())
        self.doubts.frombytes(bytes(4 * len(images)))
        self.labels.extend(labels)
        self.ids.extend(names)
        self.shapes.extend([None] * len(images))
        self.file.extend([len(self.files) - 1] * len(images))
        self.line.extend([0] * len(images))

    def owner(self, row: int) -> str:
        """File, line and name of an object, for a sentence."""
        said = f"object {self.ids[row]} of image {self.names[self.where[row]]}"
        if self.file[row] < 0:
            return said
        if self.line_of is not None:
            return f"{self.files[self.file[row]]}, line {self.line_of(row)}: {said}"
        line = f", line {self.line[row]}" if self.line[row] else ""
        return f"{self.files[self.file[row]]}{line}: {said}"

    def done(self, *, pixels: bool = True) -> Annotations:
        """Boxes rounded outwards to whole pixels and cut at the image's border, the rest counted.

        Args:
            pixels: whether the file's own numbers are pixels, and are held against that.

        Raises:
            ValueError: an image without a size, a box that runs backwards, or numbers that are
                parts of the image where pixels are expected.
        """
        sizes = [self.size_of(k) for k in range(len(self.names))]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            row = sizes.index(None)
            raise ValueError(
                f"{self.sources[row]}the size of image {self.names[row]} is not in the "
                f"{self.kind} annotations; give it with --image"
            )
        rows = np.frombuffer(self.edges, dtype=np.float64).reshape(-1, 4)
        doubts = np.frombuffer(self.doubts, dtype=np.int8).reshape(-1, 4).astype(np.int64)
        where = np.frombuffer(self.where, dtype=np.int64)
        self._check(rows, pixels)
        limit = np.array(known, dtype=np.int64).reshape(-1, 2)[where]
        start = np.floor(rows[:, :2]).astype(np.int64)
        stop = np.ceil(rows[:, 2:]).astype(np.int64)
        beyond = np.logical_or(start < 0, stop > limit).max(axis=1, initial=False)
        stop = np.maximum(stop + doubts[:, 2:], start + 1)
        start = start - doubts[:, :2]
        outside = ((start >= limit) | (stop <= 0)).any(axis=1)
        inside = np.flatnonzero(~outside)
        categories = sorted(set(self.labels))
        number = {label: k for k, label in enumerate(categories)}
        category_index = np.array([number[label] for label in self.labels], dtype=np.int64)
        kept = inside.tolist()
        left_out = self.left_out + Counter({_OUTSIDE: int(outside.sum())})
        return Annotations(
            format=self.kind,
            images=tuple(self.names),
            sizes=tuple(known),
            image_index=where[inside],
            boxes=np.concatenate([np.maximum(start, 0), np.minimum(stop, limit)], axis=1)[inside],
            categories=tuple(categories),
            category_index=category_index[inside],
            ids=tuple(self.ids[k] for k in kept),
            shapes=tuple(self.shapes[k] for k in kept),
            clipped=int(beyond[inside].sum()),
            left_out=dict(left_out),
            remarks=dict(self.remarks),
        )

    def _check(self, rows: npt.NDArray[np.float64], pixels: bool) -> None:
        forwards = np.isfinite(rows).all(axis=1) & (rows[:, 2:] >= rows[:, :2]).all(axis=1)
        wrong = np.logical_not(forwards)
        if np.any(wrong):
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{self.owner(row)} has the box {_spelled(rows[row])}; "
                "it must be finite and run forwards"
            )
        # Nobody marks a part of the first pixel: these are parts of the image.
        within = ((rows >= 0) & (rows <= 1)).all(axis=1)
        parts = np.logical_and(within, (rows != np.floor(rows)).any(axis=1))
        if pixels and np.any(parts):
            row = int(np.argmax(parts))
            raise ValueError(
                f"{self.owner(row)} has the box {_spelled(rows[row])}, within one pixel: "
                f"{self.kind} annotations are in pixels, these look like parts of the image"
            )


def _spelled(row: npt.NDArray[np.float64]) -> str:
    return f"{', '.join(f'{v:g}' for v in row)} (top, left, bottom, right)"


def file_key(name: str) -> str:
    """One name for the ways to write the path of an image file."""
    return posixpath.normpath(name.strip().replace("\\", "/"))
