"""YOLO: one text file per image, a line per object, in parts of the image's size.

A line is `class x y width height`, the box's centre and size, with more columns behind it perhaps:
a confidence, the number of a track, keypoints; or `class x1 y1 x2 y2 x3 y3 ...`, a polygon or the
four corners of a turned box. An odd number of values is a box. Six, eight, ... may be either: the
box then holds both readings, unless `columns` tells. The image's size is not in the file. Parts
that were rounded when they were written may widen a box by a pixel. Names of classes are read from
a `classes.txt` beside the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import number, text_of
from patchdp.objects.shapes import Polygons, outline
from patchdp.objects.table import Annotations, Edges, Gathered

__all__ = ["is_label_file", "read"]

_NOT_LABELS = ("classes.txt", "train.txt", "val.txt", "test.txt")
_EITHER = (
    "have lines that are a box with more columns or a polygon: their boxes hold both "
    "(--columns box or polygon tells)"
)
# Rounding may carry a part beyond the image by so much, as Ultralytics allows.
_SPARE = 0.01


def is_label_file(path: Path) -> bool:
    """Whether a text file of a folder holds objects: lists of images or classes do not."""
    name = path.name.lower()
    return name not in _NOT_LABELS and not name.startswith("readme")


def read(paths: Sequence[Path], told: Told) -> Annotations:
    """The objects of some files."""
    told.only("yolo", "units", "columns")
    if told.image is None:
        raise ValueError(f"{paths[0]}: YOLO files hold no image size: give it with --image")
    gathered = Gathered("yolo", image=told.image)
    names = _names(paths[0].parent)
    pixels = told.units == "pixels"
    height, width = (1.0, 1.0) if pixels else map(float, told.image)
    for path in paths:
        gathered.reads(path)
        image = gathered.image(path.stem, None)
        for k, line in enumerate(text_of(path).splitlines()):
            if not line.strip():
                continue
            owner = f"{path}, line {k + 1}"
            kind, values = _line(line, owner)
            edges, polygon, either = _place(values, told.columns, pixels, owner)
            gathered.remarks[_EITHER] += either
            top, left, bottom, right = edges
            gathered.add(
                image,
                (top * height, left * width, bottom * height, right * width),
                names[kind] if kind < len(names) else str(kind),
                str(k + 1),
                line=k + 1,
                shape=None if polygon is None else _scaled(polygon, height, width),
            )
    gathered.remarks += {}  # drop a count of none
    return gathered.done(pixels=pixels)


def _line(line: str, owner: str) -> tuple[int, list[float]]:
    words = line.split()
    said = f"{owner}: a class number and numbers are expected; each"
    kind, *values = (number(word, said) for word in words)
    if kind < 0 or kind != int(kind):
        raise ValueError(f"{owner}: classes are whole numbers from 0, got {words[0]}")
    if len(values) < 4:
        raise ValueError(
            f"{owner}: a class and 4 numbers of a box, or at least 6 of a polygon, are expected, "
            f"got {len(values)} behind the class"
        )
    return int(kind), values


def _place(
    values: list[float], columns: str | None, pixels: bool, owner: str
) -> tuple[Edges, Polygons | None, bool]:
    """The edges, the polygon if it is one for certain, and whether both readings were taken."""
    count = len(values)
    maybe_polygon = count >= 6 and count % 2 == 0
    if columns == "polygon" and count > 5 and not maybe_polygon:
        raise ValueError(f"{owner}: a polygon has an even number of values, got {count}")
    # What lies outside the image is no vertex: a track's number, or a keypoint's visibility.
    vertices = maybe_polygon and (pixels or _parts(values))
    if columns == "polygon" and maybe_polygon:
        _within(values, pixels, owner)
    as_polygon = vertices and columns != "box"
    as_box = not (columns == "polygon" and maybe_polygon)
    found: list[Edges] = []
    polygon: Polygons | None = None
    if as_box:
        _within(values[:4], pixels, owner)
        x, y, width, height = values[:4]
        if width >= 0 and height >= 0:
            found.append((y - height / 2, x - width / 2, y + height / 2, x + width / 2))
        elif not as_polygon:
            raise ValueError(f"{owner}: width and height must be at least 0")
    if as_polygon:
        ring = np.array(values).reshape(-1, 2)
        (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        found.append((top, left, bottom, right))
        polygon = outline([ring]) if len(found) == 1 else None
    tops, lefts, bottoms, rights = zip(*found, strict=True)
    return (min(tops), min(lefts), max(bottoms), max(rights)), polygon, len(found) > 1


def _parts(values: Sequence[float]) -> bool:
    return all(-_SPARE <= value <= 1 + _SPARE for value in values)


def _within(values: Sequence[float], pixels: bool, owner: str) -> None:
    if not pixels and not _parts(values):
        wrong = next(value for value in values if not _parts([value]))
        raise ValueError(
            f"{owner}: YOLO numbers are parts of the image, from 0 to 1, got {wrong:g}; "
            "if they are pixels say so with --units pixels"
        )


def _scaled(polygon: Polygons, height: float, width: float) -> Polygons:
    return Polygons(tuple(ring * (width, height) for ring in polygon.rings))


def _names(folder: Path) -> list[str]:
    for place in (folder, folder.parent):
        file = place / "classes.txt"
        if file.is_file():
            return [line.strip() for line in text_of(file).splitlines() if line.strip()]
    return []
