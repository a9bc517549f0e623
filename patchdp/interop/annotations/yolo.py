"""YOLO: one text file per image, a line per object, in parts of the image's size.

A line is `class x y width height`, the box's centre and size, with a confidence behind it perhaps;
or `class x1 y1 x2 y2 x3 y3 ...`, a polygon. The image's size is not in the file. Parts that were
rounded when they were written may widen a box by a pixel. Names of classes are read from a
`classes.txt` beside the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchdp.interop.annotations.shapes import Polygons
from patchdp.interop.annotations.source import text_of
from patchdp.interop.annotations.table import Annotations, assemble

__all__ = ["NOT_LABELS", "read"]

NOT_LABELS = ("classes.txt", "train.txt", "val.txt", "test.txt")


def read(paths: Sequence[Path], image: tuple[int, int] | None) -> Annotations:
    """The objects of some files."""
    if image is None:
        raise ValueError("YOLO files hold no image size: give it with --image")
    names = _names(paths[0].parent)
    where, edges, labels, ids = [], [], [], []
    shapes: list[Polygons | None] = []
    for number, path in enumerate(paths):
        for k, line in enumerate(text_of(path).splitlines()):
            if not line.strip():
                continue
            kind, values = _line(line, f"{path}, line {k + 1}")
            if len(values) > 5:
                shape = Polygons((np.array(values).reshape(-1, 2) * (image[1], image[0]),))
                edges.append(shape.edges())
                shapes.append(shape)
            else:
                x, y, width, height = values[:4]
                top, left = (y - height / 2) * image[0], (x - width / 2) * image[1]
                bottom, right = (y + height / 2) * image[0], (x + width / 2) * image[1]
                edges.append((top, left, bottom, right))
                shapes.append(None)
            where.append(number)
            labels.append(names[kind] if kind < len(names) else str(kind))
            ids.append(str(k + 1))
    return assemble(
        "yolo", images=[path.stem for path in paths], sizes=[None] * len(paths),
        image_index=where, edges=edges, labels=labels, ids=ids, shapes=shapes, image=image,
    )  # fmt: skip


def _line(line: str, owner: str) -> tuple[int, list[float]]:
    words = line.split()
    try:
        kind = int(words[0])
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(
            f"{owner}: a class number and numbers are expected, got {line[:60]!r}"
        ) from None
    if kind < 0 or not all(abs(value) < 1e6 for value in values):
        raise ValueError(f"{owner}: classes count from 0 and numbers are parts of the image")
    if len(values) not in (4, 5) and (len(values) < 6 or len(values) % 2):
        raise ValueError(
            f"{owner}: 4 numbers of a box or an even number, at least 6, of a polygon are "
            f"expected, got {len(values)}"
        )
    if len(values) < 6 and min(values[2:4]) < 0:
        raise ValueError(f"{owner}: width and height must be at least 0")
    return kind, values


def _names(folder: Path) -> list[str]:
    for place in (folder, folder.parent):
        file = place / "classes.txt"
        if file.is_file():
            return [line.strip() for line in text_of(file).splitlines() if line.strip()]
    return []
