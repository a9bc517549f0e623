"""New sizes of images as torchvision and timm compute them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from patchdp.geometry import RandomScale
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size

__all__ = ["CappedResize", "KeptRatio", "ScaleJitter", "ShortestSide"]


@dataclass(frozen=True)
class ShortestSide(Resizing):
    """torchvision's `RandomShortestSize`: a factor for the shorter side, sides rounded down.

    >>> ShortestSide((49,)).sizes((49, 98))     # 1/49 is not a float: 49 times it is below 1
    [(Fraction(1, 1), (49, 98))]

    Args:
      lengths: Lengths of the shorter side, each equally likely.
      longest: Largest length of the longer side.
    """

    lengths: tuple[int, ...]
    longest: int | None = None

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        found = []
        for length in self.lengths:
            factor = length / min(image)
            if self.longest is not None:
                factor = min(factor, self.longest / max(image))
            found.append(tuple(int(n * factor) for n in image))
        return [(Fraction(1, len(found)), size) for size in found]


@dataclass(frozen=True)
class CappedResize(Resizing):
    """torchvision's `Resize` with `max_size`: the shorter side, unless the longer gets too long.

    >>> CappedResize(256, 400).sizes((300, 600))
    [(Fraction(1, 1), (200, 400))]

    Args:
      length: New length of the shorter side; None where only the longer one counts.
      longest: Largest length of the longer side.
    """

    length: int | None
    longest: int

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        short, long = min(image), max(image)
        if self.length is None:
            pair = int(self.longest * short / long), self.longest
        else:
            pair = self.length, int(self.length * long / short)
            if pair[1] > self.longest:
                pair = int(self.longest * pair[0] / pair[1]), self.longest
        return [(Fraction(1), pair if image[0] <= image[1] else pair[::-1])]


@dataclass(frozen=True)
class ScaleJitter(Resizing):
    """torchvision's `ScaleJitter`: the factor that fits a target, times a random one, rounded down.

    >>> ScaleJitter((8, 8), (0.5, 1.0)).sizes((16, 4))[0]
    (Fraction(1, 4), (4, 1))

    Args:
      target: Two lengths: of the width and the height, in this order.
      factors: Smallest and largest random factor, uniform in between.
    """

    target: tuple[int, int]
    factors: tuple[float, float]

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        fit = min(self.target[1] / image[0], self.target[0] / image[1])
        low, high = (Fraction(fit) * Fraction(factor) for factor in self.factors)
        if low == high:  # in single precision, where a whole number may be missed
            factor = np.float32(fit) * np.float32(self.factors[0])
            size = tuple(int(np.float32(n) * factor) for n in image)
            return [(Fraction(1), size)]
        return RandomScale(low, high, rounding="down").sizes(image)


@dataclass(frozen=True)
class KeptRatio(Resizing):
    """timm's `ResizeKeepRatio` without its random factors.

    >>> KeptRatio((256, 256), 0.0).sizes((375, 500))
    [(Fraction(1, 1), (256, 341))]

    Args:
      target: `(height, width)`.
      longest: How much the longer side counts: 1 fits the image into the target, 0 covers it.
    """

    target: tuple[int, int]
    longest: float

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        ratios = [n / t for n, t in zip(image, self.target, strict=True)]
        ratio = max(ratios) * self.longest + min(ratios) * (1.0 - self.longest)
        return [(Fraction(1), tuple(round(n * 1.0 / ratio) for n in image))]
