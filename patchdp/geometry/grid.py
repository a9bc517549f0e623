"""Grids of windows, and the crop that shows a patch least.

>>> from patchdp.geometry import GridCrop, Patch, best_crop, inclusion
>>> inclusion((64, 64), GridCrop((16, 16), stride=(16, 16)), Patch((2, 2))).probability
Fraction(1, 4)
>>> best = best_crop((64, 64), (16, 16), patch=Patch((2, 2)))
>>> best
GridCrop((16, 16), stride=(17, 17), jitter='full')
>>> inclusion((64, 64), best, Patch((2, 2))).probability
Fraction(1, 9)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from patchdp._checks import shown, whole
from patchdp.geometry.crop import Crop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.patch import Patch
from patchdp.geometry.sizes import ImageSizes, Size, as_images, as_size, spelled
from patchdp.geometry.windows import SpacedWindows

__all__ = ["GridCrop", "best_crop"]


@dataclass(frozen=True, repr=False)
class GridCrop(Crop):
    """One tile of a grid, every tile equally likely; the grid may be shifted at random.

    >>> GridCrop((64, 64), stride=(32, 32)).tiles((128, 128))
    9
    >>> GridCrop((480, 480), stride=(489, 489), jitter="full").jitters((1024, 2048))
    (55, 101)

    Along each axis on its own a tile starts at `j + k stride`, `k` uniform on the tiles that fit
    whatever `j` is, `j` uniform on 0, ..., `jitter`. Where the stride is `size + patch - 1`, tiles
    stand so far apart that a patch touches one at most, and no other law of a window shows it
    less: see `best_crop`. A patch may lie on four tiles that touch each other (a stride of `size`);
    where the grid is not shifted, that is mostly worse than a `RandomCrop`. With a stride of 1 and
    no jitter the window is uniform along that axis.

    Args:
        size: pixels of a tile along each axis.
        stride: distance of neighbouring tiles along each axis.
        jitter: largest shift of the whole grid along each axis, or `"full"`: all the room that
            the last tile leaves in the image at hand. Nothing where not given.

    Raises:
        ValueError: a length below 1, numbers of axes that differ, a negative jitter; on use, a
            tile that does not fit the image, or does not at the largest shift.

    Source: `docs/theory/best_crop.md`, "The best crop".
    """

    size: Size
    stride: Size = field(kw_only=True)
    jitter: Size | Literal["full"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        object.__setattr__(self, "stride", as_size("stride", self.stride))
        if self.jitter is not None:
            object.__setattr__(self, "jitter", _as_jitter(self.jitter))
        for name in ("stride", "jitter"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.size):
                raise ValueError(f"{name} must have {len(self.size)} axes as the tile, got {value}")

    def jitters(self, image: Size) -> Size:
        """Largest shift of the grid in an image of that size, along each axis."""
        room = self._room(image)
        if self.jitter == "full":
            return tuple(left % stride for left, stride in zip(room, self.stride, strict=True))
        shifts = self.jitter or (0,) * len(room)
        if any(shift > left for shift, left in zip(shifts, room, strict=True)):
            raise ValueError(
                f"jitter {spelled(shifts)} leaves no room for a tile {spelled(self.size)} in image "
                f"{spelled(image)}; it may be at most {spelled(room)}"
            )
        return shifts

    def windows(self, image: Size) -> tuple[SpacedWindows, ...]:
        """The tiles along each axis."""
        axes = zip(self.size, self.stride, self._room(image), self.jitters(image), strict=True)
        return tuple(
            SpacedWindows(size, 0, stride, (left - shift) // stride + 1, shift + 1)
            for size, stride, left, shift in axes
        )

    def tiles(self, image: Size) -> int:
        """Number of tiles in an image: those among which one is drawn."""
        return math.prod(law.tiles for law in self.windows(image))

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return (WindowLaw.single(self.windows(image)),)

    def _room(self, image: Size) -> Size:
        same_axes(self.size, image)
        room = tuple(length - size for length, size in zip(image, self.size, strict=True))
        if min(room) < 0:
            raise ValueError(
                f"tile {spelled(self.size)} does not fit image {spelled(image)}; use a smaller one"
            )
        return room

    def __repr__(self) -> str:
        jitter = "" if self.jitter is None else f", jitter={self.jitter!r}"
        return f"GridCrop({self.size!r}, stride={self.stride!r}{jitter})"


def _as_jitter(value: object) -> Size | Literal["full"]:
    if not isinstance(value, str):
        return as_size("jitter", value, least=0)
    if value != "full":
        raise ValueError(
            f"jitter must be one length per axis, as (8, 8), or 'full', got {shown(value)}"
        )
    return "full"


def best_crop(
    image: ImageSizes,
    size: Size,
    *,
    patch: Patch,
    jitter: Size | Literal["full"] | None = "full",
    axes: Iterable[int] | None = None,
) -> GridCrop:
    """The law of a window inside the image that shows a patch, wherever it lies, least often.

    >>> from patchdp.geometry import RandomCrop, inclusion
    >>> patch = Patch((10, 10))
    >>> best = best_crop((1024, 2048), (480, 480), patch=patch)
    >>> best.tiles((1024, 2048)), inclusion((1024, 2048), best, patch).probability
    (8, Fraction(1, 8))
    >>> round(float(inclusion((1024, 2048), RandomCrop((480, 480)), patch).probability), 3)
    0.28

    Tiles with gaps of `patch - 1` pixels, one of them drawn uniformly: along each axis
    `floor((image - size) / (size + patch - 1)) + 1` of them. No law of a window of this size that
    is drawn independently of the content, a product over the axes or not, has a smaller worst
    case. A patch larger than `patch` may lie on several tiles: design for the largest.

    Args:
        image: pixels along each axis, or a list of such sizes; the law is the best for each.
        size: pixels of the window along each axis.
        patch: any box of at most this size, anywhere in the image.
        jitter: as for `GridCrop`; it costs nothing up to the room that the last tile leaves, and
            with all of it no other best law has as many windows, or a larger entropy.
        axes: along which the law is to be the best; along the others the window is uniform, as a
            `RandomCrop` is. All where not given.

    Returns:
        A `GridCrop`, which reaches the optimum.

    Raises:
        ValueError: a window or a patch that does not fit an image, a patch that is placed, or a
            jitter that would cost a tile.

    Source: `docs/theory/best_crop.md`, "The best crop" (Theorem 35, Theorem 36).
    """
    if not isinstance(patch, Patch) or patch.at is not None or patch.within is not None:
        raise ValueError(
            f"patch must be a box that may lie anywhere, as Patch((10, 10)), got {patch!r}"
        )
    window = as_size("crop", size)
    same_axes(window, patch.size)
    best_on = _as_axes(axes, len(window))
    stride = tuple(
        h + w - 1 if k in best_on else 1
        for k, (h, w) in enumerate(zip(window, patch.size, strict=True))
    )
    best = GridCrop(window, stride=stride, jitter=jitter)
    free = GridCrop(window, stride=stride, jitter="full")
    for length in as_images(image):
        if any(w > n for w, n in zip(patch.shape(len(length)), length, strict=True)):
            raise ValueError(
                f"patch {spelled(patch.size)} does not fit image {spelled(length)}; "
                "use a smaller patch"
            )
        if best.tiles(length) < free.tiles(length):
            raise ValueError(
                f"jitter {spelled(best.jitters(length))} costs a tile in image {spelled(length)}; "
                f"it may be at most {spelled(free.jitters(length))}"
            )
    return best


def _as_axes(axes: Iterable[int] | None, number: int) -> set[int]:
    if axes is None:
        return set(range(number))
    if isinstance(axes, str) or not isinstance(axes, Iterable):
        raise ValueError(f"axes must be numbers of axes, as (0, 1), got {axes!r}")
    found = {whole("axes", axis, least=0) for axis in axes}
    if not found or max(found) >= number:
        raise ValueError(f"axes must be among 0, ..., {number - 1}, got {sorted(found)}")
    return found
