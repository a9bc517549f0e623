"""CSV: a row per object, columns by name; Open Images' box files among them.

`left`, `top`, `right`, `bottom` in pixels, the last two the first column and row outside (or
`xmin`, `ymin`, `xmax`, `ymax`, or `x1`, `y1`, `x2`, `y2`, which mean the same), and `image`. Where
they are there: `category` (or `label`, `class`), `id`, and the size of the image as `image_height`
and `image_width`, or `height` and `width`, unless these are the sizes of the boxes. A row whose box
is empty is an image without objects. Columns are parted by commas, semicolons or tabs.

Open Images' `ImageID`, `LabelName`, `XMin`, `XMax`, `YMin`, `YMax` are parts of the image, as other
columns are where `units` says so.
"""

from __future__ import annotations

import csv
import io
import itertools
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import LARGEST, image_size, number, short, text_of
from patchdp.objects.table import Annotations, Gathered, file_key

__all__ = ["read"]

Floats = npt.NDArray[np.float64]

_COLUMNS = {
    "image": ("image", "filename", "file_name", "image_id", "imageid", "image_path", "path"),
    "top": ("top", "ymin", "y1", "y_min", "boxymin"),
    "left": ("left", "xmin", "x1", "x_min", "boxxmin"),
    "bottom": ("bottom", "ymax", "y2", "y_max", "boxymax"),
    "right": ("right", "xmax", "x2", "x_max", "boxxmax"),
    "category": ("category", "label", "class", "labelname"),
    "id": ("id", "boxid"),
    "image_height": ("image_height", "img_height", "height"),
    "image_width": ("image_width", "img_width", "width"),
}
_SIDES = ("top", "left", "bottom", "right")
_SIZES = ("image_height", "image_width")
_TOGETHER = 1 << 16
# As YOLO's: rounding may carry a part beyond the image.
_SPARE = 0.01


def read(path: Path, told: Told) -> Annotations:
    """The objects of one file."""
    table = _Table(path)
    kind = "openimages" if table.open_images else "csv"
    told.only(kind, "units")
    parts = (told.units or ("parts" if table.open_images else "pixels")) == "parts"
    gathered = Gathered(kind, image=told.image)
    gathered.reads(path)
    gathered.line_of = lambda row: table.line(table.numbers[row])
    for first, rows in table.chunks():
        _chunk(gathered, table, first, rows)
    _set_sizes(gathered, table)
    if parts:
        _scale(gathered, table)
    return gathered.done(pixels=not parts)


class _Table:
    """The columns of a file, and its rows in chunks."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, text_of(path)
        head = self.text.lstrip("\r\n").splitlines()[0] if self.text.strip() else ""
        self.delimiter = max(",;\t", key=head.count)
        header = [name.strip().lower() for name in next(self.rows(), [])]
        self.width = len(header)
        self.open_images = "imageid" in header and not {"top", "left"} & set(header)
        self.place: dict[str, int] = {}
        for name, aliases in _COLUMNS.items():
            named = [k for alias in aliases for k, title in enumerate(header) if title == alias]
            said = [header[k] for k in named]
            # An image may be named twice over, a side may not.
            if len(named) > 1 and (name in _SIDES or len(set(said)) < len(said)):
                raise ValueError(f"{path}: two columns say {name}: {' and '.join(said)}")
            if named:
                self.place[name] = named[0]
        missing = [name for name in ("image", *_SIDES) if name not in self.place]
        if missing:
            needed = ", ".join(("image", *_SIDES))
            raise ValueError(f"{path} has no column {missing[0]!r}; needed are {needed}")
        # Without "image" in their name they may be sizes of the boxes.
        sizes = {header[self.place[n]] for n in _SIZES if n in self.place}
        self.sized = len(sizes) == 2
        if len(sizes) == 1:
            raise ValueError(f"{path}: of height and width only one is given, {sizes.pop()!r}")
        self.doubtful = bool(sizes & {"height", "width"})
        self.size_rows = array("d")
        # 1, 2, ... for the rows that hold objects.
        self.numbers = array("q")

    def rows(self) -> Iterator[list[str]]:
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        try:
            for row in reader:
                if row and any(cell.strip() for cell in row):
                    yield row
        except csv.Error as error:
            raise ValueError(f"{self.path}, line {reader.line_num}: not CSV: {error}") from None

    def chunks(self) -> Iterator[tuple[int, list[list[str]]]]:
        rows = self.rows()
        next(rows)
        first = 0
        while chunk := list(itertools.islice(rows, _TOGETHER)):
            yield first, chunk
            first += len(chunk)

    def line(self, row: int) -> int:
        """The line of a row: counted only where it is needed."""
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        filled = (line for line in reader if line and any(cell.strip() for cell in line))
        next(itertools.islice(filled, row + 1, None))
        return reader.line_num

    def owner(self, row: int) -> str:
        return f"{self.path}, line {self.line(row)}"


def _chunk(gathered: Gathered, table: _Table, first: int, rows: list[list[str]]) -> None:
    for k, row in enumerate(rows):
        if len(row) != table.width:
            raise ValueError(
                f"{table.owner(first + k)}: {table.width} cells expected, got {len(row)}"
            )
    place = table.place
    columns: list[Sequence[str]] = list(zip(*rows, strict=True))
    known = gathered.known
    images = [
        known[name] if name in known else _image(gathered, name) for name in columns[place["image"]]
    ]
    if table.sized:
        sizes = [_numbers(table, columns, n, first) for n in _SIZES]
        table.size_rows.frombytes(np.stack([images, *sizes], axis=1).astype(np.float64).tobytes())
    sides = [columns[place[name]] for name in _SIDES]
    full = [k for k, cells in enumerate(zip(*sides, strict=True)) if any(c.strip() for c in cells)]
    if len(full) < len(rows):
        rows = [rows[k] for k in full]
        images = [images[k] for k in full]
        columns = list(zip(*rows, strict=True)) if rows else [()] * table.width
    lines = np.array(full, dtype=np.int64) + first
    table.numbers.frombytes(lines.tobytes())
    edges = np.stack([_numbers(table, columns, n, lines) for n in _SIDES], axis=1)
    count = len(images)
    labels, names = ["object"] * count, [str(n + 1) for n in lines.tolist()]
    if "category" in place:
        labels = [cell.strip() or "object" for cell in columns[place["category"]]]
    if "id" in place:
        names = [cell.strip() for cell in columns[place["id"]]]
    gathered.extend(images, edges, labels, names)


def _image(gathered: Gathered, name: str) -> int:
    # Every spelling is found at once next time.
    index = gathered.image(name.strip(), None, (file_key(name),))
    gathered.known[name] = index
    return index


def _numbers(
    table: _Table, columns: Sequence[Sequence[str]], name: str, rows: int | npt.NDArray[np.int64]
) -> Floats:
    """A column as numbers; `rows` are the numbers of the rows, or that of the first."""
    cells = columns[table.place[name]]
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not (np.abs(values) < LARGEST).all() or any("_" in cell for cell in cells):
        for k, cell in enumerate(cells):
            try:
                number(cell, "")
            except ValueError:
                row = rows + k if isinstance(rows, int) else int(rows[k])
                number(cell, f"{table.owner(row)}: {name}")
    return values


def _set_sizes(gathered: Gathered, table: _Table) -> None:
    if not table.sized:
        return
    stated = np.frombuffer(table.size_rows, dtype=np.float64).reshape(-1, 3)
    if table.doubtful and _of_boxes(gathered, table, stated):
        return
    index = stated[:, 0].astype(np.int64)
    _, first = np.unique(index, return_index=True)
    differs = (stated[:, 1:] != stated[first][index][:, 1:]).any(axis=1)
    if differs.any():
        row = int(np.argmax(differs))
        one, other = stated[row, 1:], stated[first][index][row, 1:]
        raise ValueError(
            f"{table.owner(row)}: image {gathered.names[index[row]]} has two sizes, "
            f"{other[0]:g}x{other[1]:g} before and {one[0]:g}x{one[1]:g} here"
        )
    for row in first.tolist():
        k = int(index[row])
        height, width = stated[row, 1:].tolist()
        try:
            gathered.sizes[k] = image_size(height, width, "")
        except ValueError:
            image_size(height, width, table.owner(row))


def _of_boxes(gathered: Gathered, table: _Table, stated: Floats) -> bool:
    """Whether columns named width and height are those of the boxes, not of the images."""
    rows = np.frombuffer(table.numbers, dtype=np.int64)
    boxes = np.frombuffer(gathered.edges, dtype=np.float64).reshape(-1, 4)
    sizes = stated[rows, 1:]
    # With or without the last pixel.
    same = np.abs(boxes[:, 2:] - boxes[:, :2] - sizes) <= 1
    return bool(len(boxes)) and bool(same.all()) and bool((boxes[:, 2:] > sizes + 1).any())


def _scale(gathered: Gathered, table: _Table) -> None:
    """From parts of the image to pixels."""
    edges = np.frombuffer(gathered.edges, dtype=np.float64).reshape(-1, 4)
    wrong = ~((edges >= -_SPARE) & (edges <= 1 + _SPARE)).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{table.owner(table.numbers[row])}: parts of the image lie between 0 and 1, got "
            f"{short(tuple(edges[row].tolist()))} (top, left, bottom, right); if they are pixels "
            "say so with --units pixels"
        )
    sizes = [gathered.size_of(k) or (0, 0) for k in range(len(gathered.names))]
    where = np.frombuffer(gathered.where, dtype=np.int64)
    scale = np.array(sizes, dtype=np.float64).reshape(-1, 2)[where]
    gathered.edges = array("d", (edges * np.tile(scale, 2)).tobytes())
