"""torchvision's RandomResizedCrop: the exact law of its window.

>>> from patchdp.geometry import Patch, RandomResizedCrop, inclusion
>>> crop = RandomResizedCrop()
>>> round(inclusion((224, 224), crop, Patch((10, 10))).probability, 10)
0.9059035898
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from patchdp._checks import count, positive, shown
from patchdp.geometry.crop import Crop
from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.rounded_sides import relative_error, rounded_sides
from patchdp.geometry.sizes import Size, as_tuple, spelled
from patchdp.geometry.windows import AxisWindows

__all__ = ["RandomResizedCrop"]

# No window of an image has such an aspect or share of its area.
_FAR = 1e18


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """Area uniform, logarithm of the aspect ratio uniform, then a uniform offset.

    >>> RandomResizedCrop(scale=(0.2, 1.0)).fallback((100, 400))
    (0, 133, 100, 133)

    Area and ratio give a height and a width, rounded to whole numbers (halves to even). A pair
    that does not fit is drawn again, `attempts` times in all; then the largest central window
    whose ratio is allowed is taken. What size the window is resized to afterwards does not
    matter. The law is that of torchvision with real-valued random numbers.

    Args:
        scale: area of the window as a share of the image's, from and to.
        ratio: width over height, from and to.
        attempts: number of draws before the central window.

    Raises:
        ValueError: a pair that is not positive and ordered; on use, an image without two axes.

    Source: `torchvision.transforms.RandomResizedCrop`; the law of the sides is derived in
    `docs/theory/geometry.md`, "Crop distributions" (Theorem 5).
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    attempts: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", as_range("scale", self.scale))
        object.__setattr__(self, "ratio", as_range("ratio", self.ratio))
        object.__setattr__(self, "attempts", count("attempts", self.attempts))

    def sides(self, image: Size) -> Floats:
        """Probability of every `(height, width)` of the window, the central one left out.

        Array of shape `(image height + 1, image width + 1)`; row and column 0 are empty.
        """
        table = _sides(_two_axes(image), self.scale, self.ratio)
        table = table.copy()
        table[0, :] = table[:, 0] = 0.0
        fits = float(table.sum())
        if fits == 0:
            return table
        # Geometric series: the first of the attempts that fits.
        table *= _some_attempt_fits(fits, self.attempts) / fits
        return table

    def fallback(self, image: Size) -> tuple[int, int, int, int]:
        """The central window: first row, first column, height, width."""
        height, width = _two_axes(image)
        seen = width / height
        if seen < self.ratio[0]:
            h, w = round(width / self.ratio[0]), width
        elif seen > self.ratio[1]:
            h, w = height, round(height * self.ratio[1])
        else:
            h, w = height, width
        return (height - h) // 2, (width - w) // 2, h, w

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        sides = self.sides(image)
        top, left, h, w = self.fallback(image)
        rows, columns = np.nonzero(sides)
        heights, row = np.unique(rows, return_inverse=True)
        widths, column = np.unique(columns, return_inverse=True)
        axes = (
            (*_anywhere(heights.tolist(), image[0]), AxisWindows(h, top, top)),
            (*_anywhere(widths.tolist(), image[1]), AxisWindows(w, left, left)),
        )
        index = np.stack([np.append(row, len(heights)), np.append(column, len(widths))], axis=1)
        table = _sides(_two_axes(image), self.scale, self.ratio)
        missed = max(0.0, 1.0 - float(table[1:, 1:].sum())) ** self.attempts
        weights = np.append(sides[rows, columns], missed)
        return (
            WindowLaw(
                axes, index.astype(np.int64), weights, slack=relative_error(self.scale, self.ratio)
            ),
        )


def as_range(name: str, value: object) -> tuple[float, float]:
    """`value` as two positive floats in order."""
    ends = as_tuple(value) or ()
    if len(ends) != 2:
        raise ValueError(f"{name} must be a pair (smallest, largest), got {shown(value)}")
    low, high = (positive(name, end) for end in ends)
    if low > high:
        raise ValueError(f"{name} must be a pair (smallest, largest), got {shown(value)}")
    if low < 1 / _FAR or high > _FAR:
        raise ValueError(f"{name} must lie between 1e-18 and 1e18, got {shown(value)}")
    return low, high


def _some_attempt_fits(fits: float, attempts: int) -> float:
    return 1.0 if fits >= 1 else -math.expm1(attempts * math.log1p(-fits))


def _anywhere(lengths: list[int], image: int) -> list[AxisWindows]:
    return [AxisWindows(length, 0, image - length) for length in lengths]


def _two_axes(image: Size) -> tuple[int, int]:
    if len(image) != 2:
        raise ValueError(
            f"RandomResizedCrop needs an image with two axes, (height, width), got {spelled(image)}"
        )
    return image[0], image[1]


@lru_cache(maxsize=4)
def _sides(
    image: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Floats:
    height, width = image
    area = (height * width * scale[0], height * width * scale[1])
    return rounded_sides(area=area, ratio=ratio, height=height, width=width)
