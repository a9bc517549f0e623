"""What a padded or resized axis reads of the image, and the windows over such an axis.

Padding by copies (reflect, symmetric, edge, circular) and resizing before the crop both mean that
a coordinate of the axis that is cropped reads some pixels of the image, not the one of the same
number. A crop hits a patch when one of its coordinates reads one of the patch's pixels.
Source: `docs/theory/geometry.md`, "Padding by copies, resizing before the crop" (Theorem 6).

>>> import numpy as np
>>> from patchdp.geometry.reading import ReadWindows, Reading
>>> from patchdp.geometry.windows import AxisWindows
>>> mirrored = Reading.identity(8).padded(2, 2, "reflect")      # 2 1 0 1 2 3 4 5 6 7 6 5
>>> law = ReadWindows(AxisWindows(length=3, first=-2, last=7), mirrored)
>>> law.hits_at(np.array([1]), np.array([2]))                   # pixel 1 and its copy
array([4])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from patchdp._budget import STEP, afford
from patchdp.geometry.windows import CountedLaw, Counts, Windows

__all__ = ["PADDING_MODES", "Interpolation", "PaddingMode", "ReadWindows", "Reading"]

PaddingMode: TypeAlias = Literal["constant", "reflect", "symmetric", "edge", "circular"]
PADDING_MODES = ("constant", "reflect", "symmetric", "edge", "circular")
Interpolation: TypeAlias = Literal[
    "nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "area",
    "bilinear-corners", "bicubic-corners", "overlap",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """Coordinate `begin + j` reads the pixels `low[j]`, ..., `high[j] - 1`, at least one.

    Attributes:
        begin: the first coordinate that reads anything.
        low: first pixel read, one entry per coordinate.
        high: pixel after the last one read.
    """

    begin: int
    low: Counts
    high: Counts

    @staticmethod
    def identity(length: int) -> Reading:
        """Every coordinate reads its own pixel."""
        _afford(length)
        pixels = np.arange(length, dtype=np.int64)
        return Reading(0, pixels, pixels + 1)

    @staticmethod
    def resized(
        length: int, target: int, interpolation: Interpolation, *, antialias: bool
    ) -> Reading:
        """An axis of `length` pixels resized to `target`, pixel centres at half-integers.

        >>> Reading.resized(6, 3, "bilinear", antialias=True).high
        array([3, 5, 6])

        The names in `-corners` put the first and the last pixel's centre on those of the new axis
        (`align_corners=True` of PyTorch) and never widen their kernel.

        `"overlap"` is no kernel: a shape with real coordinates, a box, is seen wherever it overlaps
        a new pixel, or touches it, since rounding may move its edge.

        A pixel counts as read when its kernel weight is not zero. Where the library's floating
        point may move a zero weight off zero, the pixel counts as read too, and so does one on
        which a widened bicubic or lanczos kernel changes its sign.
        """
        # OpenCV's eight taps come from sines: those on the neighbours of a pixel that is met
        # exactly are rounding errors, not 0, even along an axis that keeps its length.
        taps = interpolation == "lanczos" and not antialias
        if target == length and not taps:
            return Reading.identity(length)
        _afford(max(length, target))
        if interpolation in {"bilinear-corners", "bicubic-corners"}:
            return _between_corners(length, target, 1 if interpolation[2] == "l" else 2)
        # All in units of 1/(2 target) pixels, as whole numbers.
        unit = 2 * target
        step = target // np.gcd(length, target)
        exact = step & (step - 1) == 0 and length * unit < 2**24
        # Single precision: coordinates are off by a few units in the last of 24 places.
        doubt = 0 if exact and interpolation != "overlap" else 1 + (length * unit >> 22)
        j = np.arange(target, dtype=np.int64)
        if interpolation in {"nearest", "nearest-exact"}:
            source = 2 * j * length if interpolation == "nearest" else (2 * j + 1) * length
            low = (source - doubt) // unit
            high = (source + max(doubt - 1, 0)) // unit + 1
        else:
            centre = (2 * j + 1) * length - target
            reach = _reach(length, target, interpolation, antialias) + doubt
            low = (centre - reach) // unit + 1
            high = -((-(centre + reach)) // unit)
            if (
                exact
                and interpolation not in {"area", "overlap"}
                and not taps
                and (not antialias or length < target)
            ):
                # Right on a pixel, an interpolating kernel is 0 at all others.
                on = centre % unit == 0
                low = np.where(on, centre // unit, low)
                high = np.where(on, centre // unit + 1, high)
        return Reading(0, np.clip(low, 0, length - 1), np.clip(high, 1, length))

    def hull(self, other: Reading) -> Reading:
        """Every coordinate reads what it reads here and there, and whatever lies in between.

        >>> read = Reading.resized(64, 16, "nearest", antialias=False)
        >>> hull = read.hull(Reading.resized(64, 16, "bilinear", antialias=False))
        >>> int(hull.low[7]), int(hull.high[7])
        (28, 31)
        """
        return Reading(
            self.begin, np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        )

    def padded(self, before: int, after: int, mode: PaddingMode) -> Reading:
        """The axis with coordinates added on both sides; constant ones read nothing."""
        if mode == "constant" or (before == 0 and after == 0):
            return self
        _afford(len(self.low) + before + after)
        names = {"circular": "wrap"}
        coordinates = np.arange(len(self.low), dtype=np.int64)
        copied = np.pad(coordinates, (before, after), mode=names.get(mode, mode))  # type: ignore[call-overload]
        return Reading(self.begin - before, self.low[copied], self.high[copied])

    def after(self, first: Reading) -> Reading:
        """This reading of an axis that is itself `first`'s reading of the image."""
        low, high = self.low - first.begin, self.high - 1 - first.begin
        reversed_too = np.minimum(first.low[low], first.low[high])
        return Reading(self.begin, reversed_too, np.maximum(first.high[low], first.high[high]))

    @cached_property
    def _change(self) -> Counts:
        """Which way the reading moves from each coordinate to the next."""
        return np.sign(np.diff(self.low)) + np.sign(np.diff(self.high))

    @property
    def turns(self) -> int:
        """A bound on the number of `runs`, at no cost."""
        ways = np.sign(self._change[self._change != 0])
        return 1 + int(np.count_nonzero(np.diff(ways)))

    @cached_property
    def runs(self) -> list[tuple[int, Counts, Counts, bool]]:
        """Stretches of coordinates along which the pixels read only go up, or only go down."""
        change = self._change
        # Where the reading moves, and which way: a stretch ends before the first move against the
        # first of its own; coordinates between two stretches at rest belong to the earlier one.
        moves = np.flatnonzero(change)
        ways = change[moves] > 0
        found = []
        begin, k = 0, 0
        turns = np.flatnonzero(ways[1:] != ways[:-1]) + 1
        while begin < len(self.low):
            rising = bool(ways[k]) if k < len(ways) else True
            turn = int(np.searchsorted(turns, k, side="right"))
            k = int(turns[turn]) if turn < len(turns) else len(moves)
            stop = int(moves[k]) + 1 if k < len(moves) else len(self.low)
            found.append((begin, self.low[begin:stop], self.high[begin:stop], rising))
            # The move that ended the stretch is the step into the next one, not a part of it.
            begin, k = stop, k + 1
        return found

    def touching(self, starts: Counts, stops: Counts) -> Iterator[tuple[Counts, Counts]]:
        """Coordinates that read a pixel of `start`, ..., `stop - 1`: per run, from and up to.

        From is inclusive, up to exclusive; they are equal or crossed where a run reads none.
        """
        for begin, low, high, rising in self.runs:
            ahead = begin + self.begin
            if rising:
                first = np.searchsorted(high, starts, side="right")
                stop = np.searchsorted(low, stops, side="left")
            else:
                first = len(low) - np.searchsorted(low[::-1], stops, side="left")
                stop = len(low) - np.searchsorted(high[::-1], starts, side="right")
            yield first + ahead, stop + ahead


@dataclass(frozen=True, eq=False)
class ReadWindows(CountedLaw):
    """Windows over an axis that reads the image through padding or resizing.

    Attributes:
        windows: the windows, in coordinates of the axis.
        reading: what each coordinate reads.
    """

    windows: Windows
    reading: Reading

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of outcomes."""
        return self.windows.total

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        runs = self.reading.turns
        afford(
            0,
            f"counting windows over {runs:,} mirrored copies of the image",
            "use less padding",
            work=runs * (STEP + len(starts)),
        )
        count = np.zeros(starts.shape, dtype=np.int64)
        counted = np.full(starts.shape, np.iinfo(np.int64).min // 2)
        # Runs follow each other, so the windows that touch them start in intervals whose ends
        # grow: what an earlier run has counted is cut off at the left.
        for first, stop in self.reading.touching(starts, stops):
            left = np.maximum(first - self.windows.length, counted)
            right = stop - 1
            new = (first < stop) & (left < right)
            more = self.windows.starts_up_to(right) - self.windows.starts_up_to(left)
            count += np.where(new, more, 0)
            counted = np.where(first < stop, np.maximum(counted, right), counted)
        return count


def _between_corners(length: int, target: int, reach: int) -> Reading:
    """Centres at `j (length - 1) / (target - 1)`; pixels less than `reach` away are read."""
    unit = max(target - 1, 1)
    step = unit // np.gcd(max(length - 1, 1), unit)
    # The step between centres is a quotient in single precision: off by a few of its 24 places.
    exact = step & (step - 1) == 0 and length * unit < 2**24
    doubt = 0 if exact else 1 + (length * unit >> 21)
    centre = np.arange(target, dtype=np.int64) * (length - 1 if target > 1 else 0)
    low = (centre - reach * unit - doubt) // unit + 1
    high = -((-(centre + reach * unit + doubt)) // unit)
    if exact:
        on = centre % unit == 0
        low = np.where(on, centre // unit, low)
        high = np.where(on, centre // unit + 1, high)
    return Reading(0, np.clip(low, 0, length - 1), np.clip(high, 1, length))


def _reach(length: int, target: int, interpolation: Interpolation, antialias: bool) -> int:
    """Distance between centres at which the kernel weight is zero, in units of 1/(2 target)."""
    stretch = max(length, target) if antialias else target
    if interpolation in {"area", "overlap"}:
        # A pixel is read as soon as it overlaps; enlarging by area is bilinear.
        return max(length + target, 2 * target)
    if interpolation == "lanczos":
        # Three pixels each way with antialiasing (Pillow), eight taps without (OpenCV).
        return 2 * (3 if antialias else 4) * stretch
    return 2 * (1 if interpolation == "bilinear" else 2) * stretch


def _afford(coordinates: int) -> None:
    afford(
        coordinates,
        "an axis that is padded by copies or resized",
        "use a smaller image, less padding, or constant padding",
    )
