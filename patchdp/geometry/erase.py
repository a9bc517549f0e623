"""Erasing a box of the crop: a patch of which nothing is left is not seen.

>>> from patchdp.geometry import Cutout, Patch, RandomCrop, inclusion
>>> inclusion((8,), RandomCrop((4,)), Patch((1,), at=(3,))).probability
Fraction(4, 5)
>>> inclusion((8,), Cutout(RandomCrop((4,)), (2,)), Patch((1,), at=(3,))).probability
Fraction(2, 5)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from patchdp._budget import afford
from patchdp._checks import chance, shown
from patchdp.geometry.crop import Crop, RandomCrop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.random_resized import as_range
from patchdp.geometry.rounded_sides import relative_error, rounded_sides
from patchdp.geometry.sizes import Size, as_size, spelled
from patchdp.geometry.windows import AxisLaw, AxisWindows, CountedLaw, Counts

__all__ = ["Cutout", "RandomErasing"]


@dataclass(frozen=True)
class ErasedWindows(CountedLaw):
    """Outcomes in which a window sees the interval and an erased run covers all it sees.

    The run of `erased` pixels starts anywhere inside the window; an outcome is a pair of starts.
    """

    windows: AxisWindows
    erased: int

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of outcomes."""
        return self.windows.total * (self.windows.length - self.erased + 1)

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        counts = np.empty(starts.shape, dtype=np.int64)
        width = stops - starts
        afford(
            self.windows.length + int(width.max(initial=0)),
            "erasing a part of a window",
            "use a smaller crop, or leave the erasing out: it shows at most what the crop shows",
        )
        for size in np.unique(width):
            same = width == size
            counts[same] = self._hits_of_width(int(size), starts[same])
        return counts

    def _hits_of_width(self, size: int, starts: Counts) -> Counts:
        # All depends on where the interval starts in the window: sum over a range of that.
        length = self.windows.length
        inside = np.arange(1 - size, length, dtype=np.int64)
        first, stop = np.maximum(inside, 0), np.minimum(inside + size, length)
        ways = np.minimum(length - self.erased, first) - np.maximum(0, stop - self.erased) + 1
        prefix = np.concatenate([[0], np.cumsum(np.maximum(ways, 0))])
        low = np.clip(starts - self.windows.last + size - 1, 0, len(inside))
        high = np.clip(starts - self.windows.first + size, 0, len(inside))
        counts: Counts = prefix[np.maximum(low, high)] - prefix[low]
        return counts


@dataclass(frozen=True, repr=False)
class Cutout(Crop):
    """A random crop of which a box of known size, anywhere inside, is erased.

    >>> Cutout(RandomCrop((32, 32)), (8, 8), probability=0.5)
    Cutout(RandomCrop((32, 32)), (8, 8), probability=0.5)

    Args:
        crop: a `RandomCrop` with constant padding, if any.
        size: pixels of the erased box along each axis; it lies inside the crop.
        probability: with which anything is erased, drawn for each image.

    Raises:
        ValueError: another crop, a box larger than the crop, a probability outside (0, 1].
    """

    crop: RandomCrop
    size: Size
    probability: Fraction | float = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        _check_crop(self.crop)
        object.__setattr__(self, "size", as_size("size", self.size))
        same_axes(self.size, self.crop.size)
        if any(n > c for n, c in zip(self.size, self.crop.size, strict=True)):
            raise ValueError(
                f"erased box {spelled(self.size)} must fit the crop {spelled(self.crop.size)}"
            )
        object.__setattr__(self, "probability", chance("probability", self.probability))

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        windows = self.crop.windows(image)
        erased = [ErasedWindows(law, n) for law, n in zip(windows, self.size, strict=True)]
        parts: list[tuple[Fraction, Sequence[AxisLaw]]] = [
            (Fraction(1), windows),
            (-Fraction(self.probability), erased),
        ]
        return (WindowLaw.mixture(parts, monotone=False),)

    def __repr__(self) -> str:
        often = "" if self.probability == 1 else f", probability={self.probability!r}"
        return f"Cutout({self.crop!r}, {self.size!r}{often})"


@dataclass(frozen=True, repr=False)
class RandomErasing(Crop):
    """A random crop of which a box of random size is erased, as torchvision draws it.

    >>> RandomErasing(RandomCrop((32, 32)), 0.25)
    RandomErasing(RandomCrop((32, 32)), 0.25)

    Area uniform, logarithm of height over width uniform, sides rounded; a box that is as high or
    as wide as the crop is drawn again, ten times in all, then nothing is erased.

    Args:
        crop: a `RandomCrop` with constant padding, if any; two axes.
        probability: with which anything is erased, drawn for each image.
        scale: area of the box as a share of the crop's, from and to.
        ratio: height over width of the box, from and to.

    Raises:
        ValueError: another crop, a probability outside (0, 1], pairs that are not ordered.

    Source: `torchvision.transforms.RandomErasing`; see `docs/theory/geometry.md`,
    "Crop distributions".
    """

    crop: RandomCrop
    probability: Fraction | float
    scale: tuple[float, float] = field(default=(0.02, 0.33), kw_only=True)
    ratio: tuple[float, float] = field(default=(0.3, 3.3), kw_only=True)

    def __post_init__(self) -> None:
        _check_crop(self.crop)
        if len(self.crop.size) != 2:
            raise ValueError(f"crop must have two axes, (height, width), got {self.crop!r}")
        object.__setattr__(self, "probability", chance("probability", self.probability))
        object.__setattr__(self, "scale", as_range("scale", self.scale))
        object.__setattr__(self, "ratio", as_range("ratio", self.ratio))

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        windows = self.crop.windows(image)
        height, width = self.crop.size
        area = (height * width * self.scale[0], height * width * self.scale[1])
        # The ratio of this transform is height over width: the table the other way round.
        table = rounded_sides(area=area, ratio=self.ratio, height=width - 1, width=height - 1).T
        fits = float(table.sum())
        # A box with a side of 0 is drawn and erases nothing.
        rows, columns = np.nonzero(table[1:, 1:])
        boxes = table[rows + 1, columns + 1]
        if fits > 0:
            drawn = 1.0 if fits >= 1 else -math.expm1(10 * math.log1p(-fits))
            boxes *= drawn / fits
        heights, row = np.unique(rows, return_inverse=True)
        widths, column = np.unique(columns, return_inverse=True)
        axes = (
            (windows[0], *(ErasedWindows(windows[0], int(n) + 1) for n in heights)),
            (windows[1], *(ErasedWindows(windows[1], int(n) + 1) for n in widths)),
        )
        index = np.zeros((len(boxes) + 1, 2), dtype=np.int64)
        index[1:, 0], index[1:, 1] = row + 1, column + 1
        weights = np.concatenate([[1.0], -float(self.probability) * boxes])
        slack = relative_error(self.scale, self.ratio)
        return (WindowLaw(axes, index, weights, monotone=False, slack=slack),)

    def __repr__(self) -> str:
        said = [repr(self.crop), repr(self.probability)]
        if self.scale != (0.02, 0.33):
            said.append(f"scale={self.scale!r}")
        if self.ratio != (0.3, 3.3):
            said.append(f"ratio={self.ratio!r}")
        return f"RandomErasing({', '.join(said)})"


def _check_crop(crop: object) -> None:
    if not isinstance(crop, RandomCrop) or crop.padding_mode != "constant" or crop.pad_if_needed:
        raise ValueError(
            f"crop must be a RandomCrop with constant padding and a fixed size, got {shown(crop)}"
        )
