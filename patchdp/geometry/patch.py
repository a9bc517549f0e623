"""What is private, and where in the image it may lie.

>>> from patchdp.geometry import Disk, Mask, Patch, PatchUnion
>>> Patch((10, 10))                                  # any box of at most 10 x 10 pixels, anywhere
Patch((10, 10))
>>> Patch((10, 10), within=((512, 1024), (0, 2048)))  # somewhere in the lower half
Patch((10, 10), within=((512, 1024), (0, 2048)))
>>> Disk(50, count=3).shape(axes=2)                  # three disks anywhere, 101 pixels across
(101, 101)
>>> Mask([[0, 1], [1, 1]])                           # any set of pixels
Mask([[0, 1], [1, 1]])
>>> PatchUnion((Patch((2, 2), at=(0, 0)), Disk(3, at=(8, 1))))
PatchUnion((Patch((2, 2), at=(0, 0)), Disk(3, at=(8, 1))))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp._budget import afford
from patchdp._checks import MOST, exactly_positive, shown
from patchdp._checks import count as as_count
from patchdp.geometry.sizes import (
    Interval,
    Size,
    as_corner,
    as_region,
    as_size,
    as_tuple,
    spelled,
)

__all__ = ["Disk", "Mask", "Patch", "PatchUnion", "PrivatePatch"]

Pixels: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Placed:
    """Where a shape may lie: `at` a known first corner, `within` a region, or anywhere."""

    at: Size | None = field(default=None, kw_only=True)
    within: tuple[Interval, ...] | None = field(default=None, kw_only=True)
    count: int = field(default=1, kw_only=True)

    def _place(self, axes: int | None, shape: Size | None) -> None:
        object.__setattr__(self, "count", as_count("count", self.count))
        if self.at is not None:
            object.__setattr__(self, "at", as_corner("at", self.at, axes))
            if self.within is not None:
                raise ValueError(f"at={self.at} leaves nothing for within={self.within} to say")
            if self.count != 1:
                raise ValueError(
                    f"count must be 1 for a patch at a known place, got {self.count}; "
                    "several known patches are a PatchUnion"
                )
        if self.within is not None:
            object.__setattr__(self, "within", as_region("within", self.within, axes))
            assert self.within is not None
            if shape is not None and any(
                stop - start < n for n, (start, stop) in zip(shape, self.within, strict=True)
            ):
                raise ValueError(
                    f"patch {spelled(shape)} does not fit within={self.within}; widen the region"
                )

    def _placement(self) -> str:
        said = []
        if self.at is not None:
            said.append(f"at={self.at!r}")
        if self.within is not None:
            said.append(f"within={self.within!r}")
        if self.count != 1:
            said.append(f"count={self.count}")
        return "".join(f", {part}" for part in said)


@dataclass(frozen=True, repr=False)
class Patch(_Placed):
    """Any box of at most `size` pixels.

    >>> Patch((10, 10), at=(3, 5))
    Patch((10, 10), at=(3, 5))

    Args:
        size: largest number of pixels along each axis.
        at: first corner of the box, where it is known.
        within: half-open `(start, stop)` per axis of a region that contains the box.
        count: number of such boxes; the inclusion probability is then the bound `min(1, count p)`.

    Raises:
        ValueError: a length below 1, or a region smaller than the box.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("patch", self.size))
        self._place(len(self.size), self.size)

    def shape(self, axes: int) -> Size:
        """Bounding box in an image of so many axes."""
        if len(self.size) != axes:
            raise ValueError(
                f"patch {spelled(self.size)} has {len(self.size)} axes, image has {axes}"
            )
        return self.size

    def pixels(self, axes: int) -> Pixels:
        """The pixel set inside its bounding box."""
        shape = self.shape(axes)
        _afford_pixels(shape)
        return np.ones(shape, dtype=np.bool_)

    def __repr__(self) -> str:
        return f"Patch({self.size!r}{self._placement()})"


@dataclass(frozen=True, repr=False, init=False)
class Mask(_Placed):
    """An arbitrary set of pixels, given as an array that is true inside.

    >>> Mask([[0, 1, 0], [1, 1, 0]])       # empty rows and columns at the border carry no pixels
    Mask([[0, 1], [1, 1]])

    Args:
        pixels: boolean (or 0/1) array with any number of axes.
        at: index in the image of the array's first entry, where the place is known.
        within: half-open `(start, stop)` per axis of a region that contains the set.
        count: number of such sets; the inclusion probability is then the bound `min(1, count p)`.

    Raises:
        ValueError: an array that is empty, holds no pixel, or is not boolean.
    """

    size: Size
    packed: bytes

    def __init__(
        self,
        pixels: npt.ArrayLike,
        *,
        at: Iterable[int] | None = None,
        within: Iterable[Interval] | None = None,
        count: int = 1,
    ) -> None:
        array = _as_pixels(pixels)
        places = [np.flatnonzero(array.any(axis=_others(k, array.ndim))) for k in range(array.ndim)]
        if array.size == 0 or places[0].size == 0:
            raise ValueError("mask must hold at least one private pixel, got none")
        box = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)
        array = array[box]
        if at is not None:
            corner = as_corner("at", at, array.ndim)
            at = tuple(c + cut.start for c, cut in zip(corner, box, strict=True))
        object.__setattr__(self, "size", tuple(int(n) for n in array.shape))
        object.__setattr__(self, "packed", np.packbits(array).tobytes())
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "within", within)
        object.__setattr__(self, "count", count)
        self._place(array.ndim, self.size)

    def shape(self, axes: int) -> Size:
        """Bounding box in an image of so many axes."""
        if len(self.size) != axes:
            raise ValueError(
                f"mask {spelled(self.size)} has {len(self.size)} axes, image has {axes}"
            )
        return self.size

    def pixels(self, axes: int) -> Pixels:
        """The pixel set inside its bounding box."""
        shape = self.shape(axes)
        bits = np.unpackbits(np.frombuffer(self.packed, dtype=np.uint8), count=math.prod(shape))
        return bits.astype(np.bool_).reshape(shape)

    def __repr__(self) -> str:
        nested = self.pixels(len(self.size)).astype(int).tolist()
        return f"Mask({nested!r}{self._placement()})"


@dataclass(frozen=True, repr=False)
class Disk(_Placed):
    """All pixels whose centres lie within `radius` of the centre of a pixel, in every axis.

    >>> Disk(1).pixels(axes=2).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])

    Args:
        radius: in pixels, at least 0, closed: a pixel at distance `radius` belongs to the disk.
        at: first corner of the disk's bounding box, where the place is known.
        within: half-open `(start, stop)` per axis of a region that contains the disk.
        count: number of such disks; the inclusion probability is then the bound `min(1, count p)`.

    Raises:
        ValueError: a negative or infinite radius.
    """

    radius: int | float | Fraction

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", exactly_positive("radius", self.radius, zero=True))
        if self.radius > MOST:
            raise ValueError(f"radius must be at most 2**60, got {shown(self.radius)}")
        self._place(None, None)
        if self.within is not None:
            self._place(None, self.shape(len(self.within)))

    def shape(self, axes: int) -> Size:
        """Bounding box in an image of so many axes."""
        for place in (self.at, self.within):
            if place is not None and len(place) != axes:
                raise ValueError(f"disk is placed in {len(place)} axes, image has {axes}")
        return (2 * math.floor(self.radius) + 1,) * axes

    def pixels(self, axes: int) -> Pixels:
        """The pixel set inside its bounding box."""
        _afford_pixels(self.shape(axes))
        return _ball(Fraction(self.radius), axes)

    def __repr__(self) -> str:
        return f"Disk({self.radius!r}{self._placement()})"


@dataclass(frozen=True, repr=False)
class PatchUnion:
    """Several patches of one image, each at a known place: private together.

    >>> PatchUnion((Patch((2, 2), at=(0, 0)), Patch((3, 1), at=(1, 1))))
    PatchUnion((Patch((2, 2), at=(0, 0)), Patch((3, 1), at=(1, 1))))

    Args:
        parts: `Patch`, `Mask` or `Disk`, each with its `at`; they may overlap.

    Raises:
        ValueError: no part, or a part without `at`.
    """

    parts: tuple[Patch | Mask | Disk, ...]

    def __post_init__(self) -> None:
        parts = as_tuple(self.parts)
        if parts is None:
            raise ValueError(f"parts must be a tuple of patches, got {shown(self.parts)}")
        if not parts:
            raise ValueError("parts must hold at least one patch, got none")
        axes = []
        for part in parts:
            if not isinstance(part, Patch | Mask | Disk) or part.at is None:
                raise ValueError(f"parts must be patches with at= given, got {shown(part)}")
            axes.append(len(part.at))
        if len(set(axes)) > 1:
            raise ValueError(f"parts must have the same number of axes, got {sorted(set(axes))}")
        object.__setattr__(self, "parts", parts)

    within: ClassVar[None] = None

    def boxes(self) -> list[tuple[Size, Size]] | None:
        """First corner and size of every part, where all of them are boxes."""
        found = [(p.at, p.size) for p in self.parts if isinstance(p, Patch) and p.at is not None]
        return found if len(found) == len(self.parts) else None

    @property
    def at(self) -> Size:
        """First corner of the bounding box."""
        return tuple(map(min, zip(*(at for at, _ in self._placed()), strict=True)))

    def shape(self, axes: int) -> Size:
        """Bounding box in an image of so many axes."""
        ends = ([a + n for a, n in zip(*part, strict=True)] for part in self._placed(axes))
        return tuple(max(e) - a for a, e in zip(self.at, zip(*ends, strict=True), strict=True))

    def placed(self, axes: int) -> Mask:
        """The union as one mask at its place."""
        shape, first = self.shape(axes), self.at
        afford(
            math.prod(shape),
            f"a union of patches across {spelled(shape)} pixels",
            "add up the probabilities of its parts, which bounds that of the union",
        )
        union = np.zeros(shape, dtype=np.bool_)
        for part, (at, size) in zip(self.parts, self._placed(axes), strict=True):
            cut = (slice(a - s, a - s + n) for a, s, n in zip(at, first, size, strict=True))
            union[tuple(cut)] |= part.pixels(axes)
        return Mask(union, at=first)

    def _placed(self, axes: int | None = None) -> list[tuple[Size, Size]]:
        found = []
        for part in self.parts:
            assert part.at is not None
            found.append((part.at, part.shape(len(part.at) if axes is None else axes)))
        return found

    def __repr__(self) -> str:
        return f"PatchUnion({self.parts!r})"


PrivatePatch: TypeAlias = Patch | Mask | Disk | PatchUnion


def _others(axis: int, axes: int) -> Size:
    return tuple(k for k in range(axes) if k != axis)


def _afford_pixels(shape: Size) -> None:
    afford(
        math.prod(shape),
        f"a set of pixels in a box of {spelled(shape)}",
        f"use the box itself, Patch({shape}), which bounds every set inside it",
    )


def _as_pixels(pixels: Any) -> Pixels:
    try:
        array = np.asarray(pixels)
    except ValueError:
        raise ValueError("mask must be a rectangular boolean array, got rows that differ") from None
    if array.ndim == 0:
        raise ValueError(
            f"mask must be a boolean array with at least one axis, got {shown(pixels)}"
        )
    if array.dtype != np.bool_ and (
        array.dtype.kind not in "iu" or not np.isin(array, (0, 1)).all()
    ):
        raise ValueError("mask must hold booleans, or the whole numbers 0 and 1 only")
    return array.astype(np.bool_)


@lru_cache(maxsize=8)
def _ball(radius: Fraction, axes: int) -> Pixels:
    # v.v <= radius^2 with integer v is v.v <= floor(radius^2), which is exact.
    reach = math.floor(radius)
    squares = np.arange(-reach, reach + 1, dtype=np.int64) ** 2
    total = np.zeros((1,) * axes, dtype=np.int64)
    for axis in range(axes):
        total = total + squares.reshape(tuple(-1 if k == axis else 1 for k in range(axes)))
    ball: Pixels = total <= math.floor(radius**2)
    ball.flags.writeable = False
    return ball
