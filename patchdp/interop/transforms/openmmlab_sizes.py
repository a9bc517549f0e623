"""New sizes of images as OpenMMLab's libraries compute them: mmcv, mmsegmentation, mmdetection.

>>> ShortestEdge(400, 600).sizes((500, 1000))
[(Fraction(1, 1), (300, 600))]
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size

__all__ = ["DrawnTarget", "RescaledWithin", "ScaledBy", "ShortestEdge", "ToMultiple"]

# Targets drawn side by side; more are refused rather than listed.
MOST_TARGETS = 10_000


def fitted(image: Size, target: Size) -> Size:
    """mmcv's `rescale_size`: the longer side fits the longer target, the shorter the shorter."""
    scale = min(max(target) / max(image), min(target) / min(image))
    return tuple(int(n * scale + 0.5) for n in image)


@dataclass(frozen=True)
class RescaledWithin(Resizing):
    """A target size times a factor from an interval; the image fits in it, or takes its size.

    >>> RescaledWithin((1024, 2048), (0.5, 0.5)).sizes((1000, 1000))
    [(Fraction(1, 1), (512, 512))]

    Args:
      target: `(height, width)` before the factor; the sides of the product are rounded down.
      factors: Smallest and largest factor, uniform in between.
      keep_ratio: Whether the image keeps its proportions: the longer side then fits the longer
        target and the shorter the shorter, sides rounded to whole numbers, halves up.
    """

    target: tuple[int, int]
    factors: tuple[float, float] = (1.0, 1.0)
    keep_ratio: bool = True

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        low, high = (Fraction(end) for end in self.factors)
        if low == high:
            return [(Fraction(1), self._at(image, low))]
        # The target changes where the factor times one of its sides is a whole number.
        steps = {low, high}
        for side in self.target:
            whole = range(int(low * side) + 1, int(high * side) + 1)
            steps.update(Fraction(k, side) for k in whole)
        found: dict[Size, Fraction] = {}
        for left, right in pairwise(sorted(step for step in steps if low <= step <= high)):
            size = self._at(image, (left + right) / 2)
            found[size] = found.get(size, Fraction(0)) + (right - left) / (high - low)
        return [(share, size) for size, share in found.items()]

    def _at(self, image: Size, factor: Fraction) -> Size:
        height, width = (int(side * factor) for side in self.target)
        return fitted(image, (height, width)) if self.keep_ratio else (height, width)


@dataclass(frozen=True)
class DrawnTarget(Resizing):
    """A target whose height and width are drawn, whole numbers, independently.

    >>> DrawnTarget((4, 4), (7, 8), keep_ratio=False).sizes((10, 10))
    [(Fraction(1, 2), (4, 7)), (Fraction(1, 2), (4, 8))]

    Args:
      heights: Smallest and largest height.
      widths: Smallest and largest width.
      keep_ratio: As in `RescaledWithin`.

    Raises:
      ValueError: More than 10,000 targets.
    """

    heights: tuple[int, int]
    widths: tuple[int, int]
    keep_ratio: bool = True

    def __post_init__(self) -> None:
        count = (self.heights[1] - self.heights[0] + 1) * (self.widths[1] - self.widths[0] + 1)
        if count > MOST_TARGETS:
            raise ValueError(
                f"scale must be drawn from at most {MOST_TARGETS} targets, got {count} of heights "
                f"{self.heights} and widths {self.widths}"
            )

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        ranges = [range(low, high + 1) for low, high in (self.heights, self.widths)]
        targets = list(product(*ranges))
        found: dict[Size, int] = {}
        for target in targets:
            size = fitted(image, target) if self.keep_ratio else target
            found[size] = found.get(size, 0) + 1
        return [(Fraction(n, len(targets)), size) for size, n in found.items()]


@dataclass(frozen=True)
class ScaledBy(Resizing):
    """mmcv's `Resize` by factors: sides times factor, rounded, halves up.

    >>> ScaledBy((0.5, 0.25)).sizes((5, 10))
    [(Fraction(1, 1), (3, 3))]

    Args:
      factors: For height and width.
      keep_ratio: Whether the image is then fitted into that size in its proportions.
    """

    factors: tuple[float, float]
    keep_ratio: bool = False

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        height, width = (int(n * f + 0.5) for n, f in zip(image, self.factors, strict=True))
        size = fitted(image, (height, width)) if self.keep_ratio else (height, width)
        return [(Fraction(1), size)]


@dataclass(frozen=True)
class ShortestEdge(Resizing):
    """`ResizeShortestEdge`: the shorter side, unless the longer gets too long; halves up.

    Args:
      length: New length of the shorter side.
      longest: Largest length of the longer side.
      keep_ratio: Whether mmcv then fits the image into that size once more, as mmsegmentation has
        it and mmdetection where `keep_ratio=True` is handed on.
    """

    length: int
    longest: int | None
    keep_ratio: bool = False

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        # In the libraries' floating point and order.
        height, width = (float(n) for n in image)
        scale = self.length * 1.0 / min(image)
        if height < width:
            height, width = self.length * 1.0, scale * width
        else:
            height, width = scale * height, self.length * 1.0
        if self.longest is not None and max(height, width) > self.longest:
            scale = self.longest * 1.0 / max(height, width)
            height, width = height * scale, width * scale
        size = int(height + 0.5), int(width + 0.5)
        return [(Fraction(1), fitted(image, size) if self.keep_ratio else size)]


@dataclass(frozen=True)
class ToMultiple(Resizing):
    """Sides rounded up to a multiple.

    >>> ToMultiple(32).sizes((100, 128))
    [(Fraction(1, 1), (128, 128))]

    Args:
      divisor: The multiple.
    """

    divisor: int

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        return [(Fraction(1), tuple(-(-n // self.divisor) * self.divisor for n in image))]
