"""The law of MONAI's crops of random size where the largest size exceeds the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from patchdp.geometry import Crop
from patchdp.geometry.crop import same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows

__all__ = ["CutSizeCrop"]


@dataclass(frozen=True)
class CutSizeCrop(Crop):
    """Lengths drawn axis by axis, uniform and then cut to the image, and a uniform offset.

    >>> from patchdp.geometry import Patch, inclusion
    >>> inclusion((4,), CutSizeCrop((3,), (6,)), Patch((1,), at=(0,))).probability
    Fraction(7, 8)

    Args:
      smallest: Smallest length along each axis.
      largest: Largest length along each axis; it may exceed the image.
      centered: The window is not anywhere but in the middle.
    """

    smallest: Size
    largest: Size
    centered: bool = field(default=False, kw_only=True)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.smallest, image)
        axes: list[AxisLaw] = []
        for low, high, length in zip(self.smallest, self.largest, image, strict=True):
            windows = tuple(self._windows(min(n, length), length) for n in range(low, high + 1))
            weight = Fraction(1, len(windows))
            axes.append(AxisMixture(windows, (weight,) * len(windows)))
        return (WindowLaw.single(axes),)

    def _windows(self, size: int, length: int) -> AxisWindows:
        first = length // 2 - size // 2 if self.centered else 0
        return AxisWindows(size, first, first if self.centered else length - size)
