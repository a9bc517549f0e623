"""Outlines and masks of annotated objects as pixel sets.

>>> import numpy as np
>>> triangle = Polygons((np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]),))
>>> triangle.pixels((0, 0, 4, 4)).astype(int)
array([[1, 1, 1, 1],
       [1, 1, 1, 0],
       [1, 1, 0, 0],
       [1, 0, 0, 0]])
>>> RunLengths.of("12b12", (3, 2)).pixels((0, 0, 3, 2)).astype(int)  # 1, 2, -30, ... is no mask
Traceback (most recent call last):
    ...
ValueError: run lengths must be at least 0 and add up to 6 pixels of a mask 3x2
>>> RunLengths.of("132", (3, 2)).pixels((0, 0, 3, 2)).astype(int)
array([[0, 1],
       [1, 0],
       [1, 0]])

Coordinates are continuous: pixel `(row, column)` covers the square from there to
`(row + 1, column + 1)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "Grown", "Polygons", "RowRuns", "RunLengths", "Shape", "outline"]

Box: TypeAlias = tuple[int, int, int, int]
Pixels: TypeAlias = npt.NDArray[np.bool_]

# Rows times edges that are looked at together.
_TOGETHER = 1 << 21
# An edge that enters a pixel by less than this does not touch it: more than rounding moves it.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Polygons:
    """The union of closed polygons, each an array of shape `(vertices, 2)` of x and y.

    Its pixels are all whose inside it meets: none is missed, whatever rule a rasteriser follows. A
    line on the border of two pixels meets neither.
    """

    rings: tuple[npt.NDArray[np.float64], ...]

    def edges(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of all rings."""
        points = np.concatenate(self.rings)
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return float(top), float(left), float(bottom), float(right)

    def pixels(self, box: Box) -> Pixels:
        """The pixels inside `box` (top, left, bottom, right)."""
        top, left, bottom, right = box
        found = np.zeros((bottom - top, right - left), dtype=np.bool_)
        for ring in self.rings:
            step = 1 + _TOGETHER // len(ring)
            for first in range(top, bottom, step):
                rows = np.arange(first, min(first + step, bottom), dtype=np.float64)
                cut = slice(first - top, first - top + len(rows))
                found[cut] |= _touched(ring, rows, left, right)
        return found


def _touched(
    ring: npt.NDArray[np.float64], rows: npt.NDArray[np.float64], left: int, right: int
) -> Pixels:
    """Pixels of some rows that a polygon's edges cross, or whose centre it winds around."""
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    flat = y0 == y1
    slope = np.where(flat, 0.0, (x1 - x0) / np.where(flat, 1.0, y1 - y0))
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)

    def abscissa(y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Within the edge, whatever rounding does.
        x = x0 + (y - y0) * slope
        return np.asarray(np.clip(x, np.minimum(x0, x1), np.maximum(x0, x1)))

    at = rows[:, None]
    crossed = (high > at + _SLACK) & (low < at + 1 - _SLACK)
    one, other = abscissa(np.clip(at, low, high)), abscissa(np.clip(at + 1, low, high))
    enter = np.where(flat, np.minimum(x0, x1), np.minimum(one, other))
    leave = np.where(flat, np.maximum(x0, x1), np.maximum(one, other))
    first = np.floor(enter + _SLACK)
    last = np.maximum(np.ceil(leave - _SLACK), first)
    spans = np.zeros((len(rows), right - left + 1), dtype=np.int64)
    row, edge = np.nonzero(crossed)
    np.add.at(spans, (row, _column(first[row, edge], left, right)), 1)
    np.add.at(spans, (row, _column(last[row, edge], left, right)), -1)
    # A pixel that no edge crosses lies wholly inside or outside: its centre tells.
    middle = at + 0.5
    around = np.zeros_like(spans)
    row, edge = np.nonzero((low <= middle) & (middle < high))
    begin = np.ceil(abscissa(np.clip(middle, low, high))[row, edge] - 0.5)
    direction = np.where(y1 > y0, 1, -1)
    np.add.at(around, (row, _column(begin, left, right)), direction[edge])
    inside = (np.cumsum(spans, axis=1) > 0) | (np.cumsum(around, axis=1) != 0)
    return np.asarray(inside[:, :-1])


def _column(x: npt.NDArray[np.float64], left: int, right: int) -> npt.NDArray[np.int64]:
    return np.asarray(np.clip(x - left, 0, right - left).astype(np.int64))


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask as COCO writes it: runs of background and object in turn, column after column."""

    counts: npt.NDArray[np.int64]
    size: tuple[int, int]

    @staticmethod
    def of(counts: str | Sequence[int], size: tuple[int, int]) -> RunLengths:
        """From COCO's `counts`: a list of numbers, or its compressed text.

        Raises:
            ValueError: text that is not compressed counts, or lengths that do not fit the size.
        """
        runs = _uncompressed(counts) if isinstance(counts, str) else _whole(counts)
        if np.any(runs < 0) or int(runs.sum()) != size[0] * size[1] or np.any(runs > 1 << 40):
            raise ValueError(
                f"run lengths must be at least 0 and add up to {size[0] * size[1]} pixels of a "
                f"mask {size[0]}x{size[1]}"
            )
        return RunLengths(runs, size)

    def edges(self) -> tuple[float, float, float, float] | None:
        """Top, left, bottom and right; None for a mask without pixels."""
        ends = np.cumsum(self.counts)
        start, stop = (ends - self.counts)[1::2], ends[1::2]
        start, stop = start[stop > start], stop[stop > start]
        if not len(start):
            return None
        height = self.size[0]
        left, right = start // height, (stop - 1) // height
        # A run over several columns touches the first row and the last.
        top = np.where(left == right, start % height, 0)
        bottom = np.where(left == right, (stop - 1) % height, height - 1)
        low = float(top.min()), float(left.min())
        return (*low, float(bottom.max() + 1), float(right.max() + 1))

    def pixels(self, box: Box) -> Pixels:
        """The pixels inside `box` (top, left, bottom, right)."""
        top, left, bottom, right = box
        # Only the columns of the box are laid out.
        ends = np.cumsum(self.counts)
        first, last = left * self.size[0], right * self.size[0]
        counts = np.clip(ends, first, last) - np.clip(ends - self.counts, first, last)
        inside = np.arange(len(counts)) % 2 == 1
        return np.repeat(inside, counts).reshape(right - left, self.size[0]).T[top:bottom]


def _whole(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in counts):
        raise ValueError("run lengths must be whole numbers of at least 0")
    return np.array(counts, dtype=np.int64)


def _uncompressed(text: str) -> npt.NDArray[np.int64]:
    """Base-32 digits from character 48 on, five bits each, the lowest first.

    Bit 5 says that more digits follow, bit 4 of the last digit is the sign; from the fourth number
    on, each is the difference to the one two before.
    """
    try:
        code = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        code = np.array([-1], dtype=np.int64)
    if np.any((code < 0) | (code >= 64)) or (len(code) and code[-1] & 32):
        raise ValueError("the compressed run lengths end too early or hold a foreign character")
    ends = np.flatnonzero((code & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    digits = ends - starts + 1
    if np.any(digits > 8):
        raise ValueError("the compressed run lengths hold a number that is too long")
    if not len(code):
        return np.zeros(0, dtype=np.int64)
    place = np.arange(len(code)) - np.repeat(starts, digits)
    numbers = np.add.reduceat((code & 31) << (5 * place), starts)
    numbers -= np.where(code[ends] & 16, np.int64(1) << (5 * digits), 0)
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return np.asarray(numbers)


@dataclass(frozen=True, eq=False)
class RowRuns:
    """A mask somewhere in the image, as CVAT writes it: runs row after row.

    >>> RowRuns.of([1, 2, 1], (2, 2), at=(5, 7)).pixels((5, 7, 7, 9)).astype(int)
    array([[0, 1],
           [1, 0]])
    """

    turned: RunLengths
    at: tuple[int, int]

    @staticmethod
    def of(counts: Sequence[int], size: tuple[int, int], at: tuple[int, int]) -> RowRuns:
        """From runs of background and object in turn, in a mask of that size whose corner is `at`.

        Raises:
            ValueError: lengths that do not fit the size.
        """
        return RowRuns(RunLengths.of(counts, size[::-1]), at)

    def edges(self) -> tuple[float, float, float, float] | None:
        """Top, left, bottom and right; None for a mask without pixels."""
        found = self.turned.edges()
        if found is None:
            return None
        left, top, right, bottom = found
        return top + self.at[0], left + self.at[1], bottom + self.at[0], right + self.at[1]

    def pixels(self, box: Box) -> Pixels:
        """The pixels inside `box` (top, left, bottom, right)."""
        width, height = self.turned.size
        mask = self.turned.pixels((0, 0, width, height)).T
        top, left, bottom, right = box
        found = np.zeros((bottom - top, right - left), dtype=np.bool_)
        y, x = self.at
        first, last = max(top, y), min(bottom, y + height)
        begin, end = max(left, x), min(right, x + width)
        if first < last and begin < end:
            part = mask[first - y : last - y, begin - x : end - x]
            found[first - top : last - top, begin - left : end - left] = part
        return found


@dataclass(frozen=True, eq=False)
class Grown:
    """A polygon with a pixel more all around.

    Where a format does not say whether a vertex is a point of the plane or the number of a pixel,
    this holds both, and what Pillow draws from such vertices, as the formats' own tools do: its
    rounding may carry an edge a pixel either way.
    """

    shape: Polygons

    def edges(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the polygon itself."""
        return self.shape.edges()

    def pixels(self, box: Box) -> Pixels:
        """The pixels inside `box` (top, left, bottom, right)."""
        top, left, bottom, right = box
        wider = (top - 1, left - 1, bottom + 1, right + 1)
        # An edge on the border of pixels touches none; half a pixel on, it does.
        moved = Polygons(tuple(ring + 0.5 for ring in self.shape.rings))
        wide = self.shape.pixels(wider) | moved.pixels(wider)
        height, width = bottom - top, right - left
        found = np.zeros((height, width), dtype=np.bool_)
        for dy in range(3):
            for dx in range(3):
                found |= wide[dy : dy + height, dx : dx + width]
        return found


Shape: TypeAlias = Polygons | RunLengths | RowRuns | Grown


def outline(rings: Sequence[npt.NDArray[np.float64]]) -> Polygons | None:
    """The polygons, or None where one has no inside: fewer than three points, or all on a line."""
    for ring in rings:
        arms = ring - ring[0]
        (x, y) = arms[np.argmax(np.abs(arms).sum(axis=1))]
        if not np.any(arms[:, 0] * y != arms[:, 1] * x):
            return None
    return Polygons(tuple(rings))
