"""CSV: a row per object, columns by name.

`left`, `top`, `right`, `bottom` in pixels, the last two the first column and row outside (or
`xmin`, `ymin`, `xmax`, `ymax`, which mean the same), and `image`. Where they are there: `category`
(or `label`, `class`), `id`, and `image_height` and `image_width`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchdp.interop.annotations.source import image_size, text_of
from patchdp.interop.annotations.table import Annotations, assemble

__all__ = ["read"]

_COLUMNS = {
    "image": ("image", "filename", "file_name", "image_id"),
    "top": ("top", "ymin"),
    "left": ("left", "xmin"),
    "bottom": ("bottom", "ymax"),
    "right": ("right", "xmax"),
    "category": ("category", "label", "class"),
    "id": ("id",),
    "image_height": ("image_height",),
    "image_width": ("image_width",),
}
_NEEDED = ("image", "top", "left", "bottom", "right")


def read(path: Path, image: tuple[int, int] | None) -> Annotations:
    """The objects of one file."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text_of(path), newline="")) if row]
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV: {error}") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    place = {
        name: header.index(alias)
        for name, aliases in _COLUMNS.items()
        for alias in aliases[::-1]
        if alias in header
    }
    missing = [name for name in _NEEDED if name not in place]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}; needed are {', '.join(_NEEDED)}")
    for k, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"{path}, row {k + 1}: {len(header)} cells expected, got {len(row)}")
    columns = list(zip(*rows[1:], strict=True)) if len(rows) > 1 else [()] * len(header)
    sides = [_numbers(columns[place[name]], name, path) for name in _NEEDED[1:]]
    count = len(rows) - 1
    names = columns[place["image"]]
    first: dict[str, int] = {}
    where = [first.setdefault(name, len(first)) for name in names]
    return assemble(
        "csv",
        images=list(first),
        sizes=_sizes(columns, place, where, list(first), path),
        image_index=where,
        edges=np.stack(sides, axis=1),
        labels=columns[place["category"]] if "category" in place else ["object"] * count,
        ids=columns[place["id"]] if "id" in place else [str(k + 1) for k in range(count)],
        image=image,
    )


def _numbers(cells: Sequence[str], name: str, path: Path) -> npt.NDArray[np.float64]:
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    wrong = ~(np.abs(values) < 1e15)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}, row {row + 2}: {name} must be a finite number, got {cells[row][:40]!r}"
        )
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _sizes(
    columns: Sequence[Sequence[str]],
    place: dict[str, int],
    where: Sequence[int],
    names: Sequence[str],
    path: Path,
) -> list[tuple[int, int] | None]:
    if "image_height" not in place or "image_width" not in place:
        return [None] * len(names)
    heights, widths = (
        _numbers(columns[place[name]], name, path) for name in ("image_height", "image_width")
    )
    sizes: dict[int, tuple[float, float]] = {}
    for image, height, width in zip(where, heights.tolist(), widths.tolist(), strict=True):
        if sizes.setdefault(image, (height, width)) != (height, width):
            raise ValueError(f"{path}: image {names[image]} has two sizes")
    return [image_size(*sizes[k], f"{path}: image {name}") for k, name in enumerate(names)]
