"""Windows along one axis, and how many of them touch an interval: plain integer counting.

>>> from patchdp.geometry.windows import AxisWindows
>>> rows = AxisWindows(length=505, first=0, last=519)     # 505 rows out of 1024
>>> rows.hits(0, 10), rows.hits(507, 517), rows.total     # at the border, in the middle, of all
(10, 514, 520)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp._budget import afford

__all__ = [
    "AxisLaw",
    "AxisMixture",
    "AxisWindows",
    "CountedLaw",
    "Counts",
    "SpacedWindows",
    "Windows",
    "afford_places",
    "keys",
]

Counts: TypeAlias = npt.NDArray[np.int64]
FEWER_PLACES = "place the patch by at= or within=, or use a RandomCrop, which needs no search"


class AxisLaw(ABC):
    """What is seen along one axis, as far as hitting an interval of the image is concerned.

    The probability of a hit is a function of a few whole numbers, the *keys* of the interval. It
    does not decrease in any of them, unless the law says otherwise.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of keys of an interval."""

    @abstractmethod
    def keys(self, starts: Counts, stops: Counts) -> Counts:
        """The keys of `n` intervals `start`, ..., `stop - 1`: shape `(n, m)`."""

    @abstractmethod
    def exact(self, keys: Sequence[int]) -> Fraction:
        """The hit probability of an interval with these keys."""

    @abstractmethod
    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        """`exact` as floats, for keys of shape `(n, m)`."""


class CountedLaw(AxisLaw):
    """A law with one key: how many of `total` equally likely outcomes hit."""

    total: int

    @property
    def width(self) -> int:
        return 1

    @abstractmethod
    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        """Number of outcomes that hit each of many intervals."""

    def keys(self, starts: Counts, stops: Counts) -> Counts:
        return self.hits_at(starts, stops)[:, None]

    def exact(self, keys: Sequence[int]) -> Fraction:
        return Fraction(int(keys[0]), self.total)

    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        result: npt.NDArray[np.float64] = keys[:, 0] / self.total
        return result

    def worst(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        """The largest number of outcomes that hit an interval of `width` pixels, and where.

        Where is the first start among `lowest`, ..., `highest` that has it.
        """
        afford_places(highest - lowest + 1)
        starts = np.arange(lowest, highest + 1, dtype=np.int64)
        return _first_largest(self.hits_at(starts, starts + width), starts)


class Windows(CountedLaw):
    """Windows of one length in pixels of the image; only their first pixel is random."""

    length: int

    @abstractmethod
    def starts_up_to(self, position: Counts) -> Counts:
        """Number of windows whose first pixel is at `position` or before it."""

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        return self.starts_up_to(stops - 1) - self.starts_up_to(starts - self.length)


@dataclass(frozen=True)
class AxisWindows(Windows):
    """Windows of one length whose first pixel is uniform on `first`, ..., `last`.

    >>> AxisWindows(length=3, first=-1, last=2).hits(0, 1)
    2

    Positions are pixels of the image; a negative one lies in the padding before it.

    Args:
        length: pixels in a window.
        first: smallest first pixel of a window.
        last: largest first pixel of a window.

    Source: `docs/theory/geometry.md`, "Counting windows" (Theorem 1).
    """

    length: int
    first: int
    last: int

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of windows."""
        return self.last - self.first + 1

    def hits(self, start: int, stop: int) -> int:
        """Number of windows that contain a pixel of `start`, ..., `stop - 1`."""
        return max(0, min(self.last, stop - 1) - max(self.first, start - self.length + 1) + 1)

    def starts_up_to(self, position: Counts) -> Counts:
        return np.clip(position - self.first + 1, 0, self.total)

    def worst(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        # As a function of the start the count rises by one, stays, and falls by one: it is enough
        # to look where it stops rising.
        stops_rising = min(self.last - width + 1, self.first + self.length - 1)
        start = min(max(stops_rising, lowest), highest)
        most = self.hits(start, start + width)
        return (most, start) if most else (0, lowest)


@dataclass(frozen=True)
class SpacedWindows(Windows):
    """Windows of one length that start at `first + j + k * stride`, `j` and `k` uniform.

    >>> SpacedWindows(length=2, first=0, stride=1, tiles=2, shifts=2).hits_at(
    ...     np.array([0, 2]), np.array([1, 3])
    ... )
    array([1, 3])

    Covers grids (one shift), shifted grids, and crops of crops (a stride of 1: the sum of two
    uniform offsets).

    Args:
        length: pixels in a window.
        first: smallest first pixel of a window.
        stride: distance of neighbouring tiles.
        tiles: `k` runs over 0, ..., `tiles - 1`.
        shifts: `j` runs over 0, ..., `shifts - 1`.
    """

    length: int
    first: int
    stride: int
    tiles: int
    shifts: int

    def __post_init__(self) -> None:
        if self.total >= 1 << 60:
            raise ValueError(
                f"{self.tiles} tiles at {self.shifts} shifts of the grid are more than can be "
                "counted in 64 bits; use a larger stride or a smaller jitter"
            )

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of outcomes."""
        return self.tiles * self.shifts

    @property
    def last(self) -> int:
        """Largest first pixel of a window."""
        return self.first + (self.tiles - 1) * self.stride + self.shifts - 1

    def starts_up_to(self, position: Counts) -> Counts:
        # Of so many tiles all shifts are counted; of the next ones one less stride each.
        y = np.asarray(position - self.first + 1, dtype=np.int64)
        begun = np.clip(-(-y // self.stride), 0, self.tiles)
        done = np.clip((y - self.shifts) // self.stride + 1, 0, begun)
        some = begun - done
        part = some * (y - done * self.stride) - self.stride * (some * (some - 1) // 2)
        counts: Counts = done * self.shifts + np.where(some > 0, part, 0)
        return counts

    def worst(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        if self.stride == 1:
            return self._worst_of_a_hill(width, lowest, highest)
        # One stride further the count is the same, between the first shifts and the last tile: of
        # those places the earliest will do.
        alike = self.first + self.shifts + self.length - 1 - self.stride
        apart = self.first + self.tiles * self.stride - width
        parts = [(lowest, max(lowest, alike) + self.stride - 1), (max(lowest, apart + 1), highest)]
        found = [self._turns(width, low, min(high, highest)) for low, high in parts]
        starts = np.unique(np.concatenate(found))
        return _first_largest(self.hits_at(starts, starts + width), starts)

    def _turns(self, width: int, lowest: int, highest: int) -> Counts:
        """The ends, and all places between them where the count changes its slope."""
        begins = [
            self.first - 1 + shift + side
            for shift in (0, self.shifts)
            for side in (1 - width, self.length)
        ]
        ranges = []
        for begin in begins:
            k = max(0, -((begin - lowest) // self.stride))
            stop = min(self.tiles, (highest - begin) // self.stride + 1)
            ranges.append((begin + k * self.stride, begin + stop * self.stride))
        afford_places(sum(max(0, stop - start) // self.stride for start, stop in ranges))
        turns = [np.arange(*ends, self.stride, dtype=np.int64) for ends in ranges]
        edges = np.array([lowest, highest], dtype=np.int64)[: 2 * (lowest <= highest)]
        return np.concatenate([edges, *turns])

    def _worst_of_a_hill(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        # The offset's law rises, stays and falls, and is its own mirror image: so is the count.
        top = min(max((self.first + self.last + self.length - width) // 2, lowest), highest)
        most = self._hits(top, width)
        low, high = lowest, top
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._hits(middle, width) == most else (middle + 1, high)
        return most, low

    def _hits(self, start: int, width: int) -> int:
        return int(self.hits_at(np.array([start]), np.array([start + width]))[0])


@dataclass(frozen=True)
class AxisMixture(AxisLaw):
    """One of several laws, drawn along this axis alone.

    >>> two = AxisMixture((AxisWindows(1, 0, 3), AxisWindows(4, 0, 0)), (Fraction(1, 2),) * 2)
    >>> two.exact(two.keys(np.array([0]), np.array([1]))[0])
    Fraction(5, 8)

    Args:
        parts: the laws.
        weights: their probabilities.
    """

    parts: tuple[CountedLaw, ...]
    weights: tuple[Fraction, ...]

    @property
    def width(self) -> int:
        return len(self.parts)

    def keys(self, starts: Counts, stops: Counts) -> Counts:
        return keys(self.parts, starts, stops)

    def exact(self, keys: Sequence[int]) -> Fraction:
        triples = zip(self.weights, keys, self.parts, strict=True)
        return sum((w * Fraction(int(k), law.total) for w, k, law in triples), Fraction(0))

    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        scale = [float(w / law.total) for w, law in zip(self.weights, self.parts, strict=True)]
        result: npt.NDArray[np.float64] = keys @ np.array(scale)
        return result


def keys(laws: Sequence[AxisLaw], starts: Counts, stops: Counts) -> Counts:
    """The keys of `n` intervals under several laws side by side."""
    if all(type(law) is AxisWindows for law in laws):
        # Hundreds of window lengths (RandomResizedCrop) in one stroke.
        plain = [law for law in laws if isinstance(law, AxisWindows)]
        length, first, last = np.array(
            [(law.length, law.first, law.last) for law in plain], dtype=np.int64
        ).T
        most = np.minimum(last, stops[:, None] - 1)
        counts: Counts = most - np.maximum(first, starts[:, None] - length + 1) + 1
        return np.maximum(counts, 0)
    return np.concatenate([law.keys(starts, stops) for law in laws], axis=1)


def afford_places(places: int, laws: int = 1) -> None:
    """Refuse to look at so many places of a patch under so many laws."""
    afford(
        places * laws,
        f"looking at {places:,} places of the patch along one axis",
        FEWER_PLACES,
    )


def _first_largest(counts: Counts, starts: Counts) -> tuple[int, int]:
    most = int(counts.argmax())
    return int(counts[most]), int(starts[most])
