"""Laws of Albumentations' own: a crop of random height, sides scaled to a length."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from patchdp.geometry import Crop
from patchdp.geometry.crop import same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisWindows

__all__ = ["RandomSizedCrop", "ScaledSide"]


@dataclass(frozen=True)
class RandomSizedCrop(Crop):
    """A height drawn, the width in proportion, both cut to the image, then a uniform offset.

    >>> from patchdp.geometry import Patch, inclusion
    >>> inclusion((4, 4), RandomSizedCrop((3, 4)), Patch((1, 1))).probability
    Fraction(1, 1)

    Args:
      heights: Smallest and largest height, every whole number in between equally likely.
      w2h_ratio: Width over height; the width is rounded down.
    """

    heights: tuple[int, int]
    w2h_ratio: float = 1.0

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.heights, image)
        low, high = self.heights
        components = []
        for height in range(low, high + 1):
            size = (min(height, image[0]), min(int(height * self.w2h_ratio), image[1]))
            if min(size) < 1:
                raise ValueError(
                    f"RandomSizedCrop with w2h_ratio {self.w2h_ratio!r} draws windows of width 0"
                )
            windows = [AxisWindows(n, 0, length - n) for n, length in zip(size, image, strict=True)]
            components.append((Fraction(1, high - low + 1), windows))
        return (WindowLaw.mixture(components),)


@dataclass(frozen=True)
class ScaledSide(Resizing):
    """The shorter or longer side brought to a length, both sides rounded to whole numbers.

    >>> ScaledSide((256,), "shorter").sizes((300, 401))
    [(Fraction(1, 1), (256, 342))]

    Args:
      lengths: New lengths of that side, each equally likely.
      side: `"shorter"` or `"longer"`.
    """

    lengths: tuple[int, ...]
    side: Literal["shorter", "longer"]

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        known = min(image) if self.side == "shorter" else max(image)
        share = Fraction(1, len(self.lengths))
        return [
            (share, tuple(max(1, round(n * (length / known))) for n in image))
            for length in self.lengths
        ]
