"""A window whose lengths are shares of the image's, fixed or drawn.

>>> from patchdp.geometry import Patch, inclusion
>>> from patchdp.geometry.random_share import RandomShareCrop
>>> inclusion((4,), RandomShareCrop((0.5,), (1.0,)), Patch((1,))).probability
Fraction(11, 12)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from patchdp._budget import STEP, afford
from patchdp._checks import probability, shown
from patchdp.geometry.crop import Crop
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_tuple, spelled
from patchdp.geometry.windows import AxisMixture, AxisWindows

__all__ = ["RandomShareCrop"]

_HALF = Fraction(1, 2)


@dataclass(frozen=True, repr=False)
class RandomShareCrop(Crop):
    """A share uniform on an interval along each axis on its own, then the offset.

    >>> RandomShareCrop((0.5, 0.5)).lengths((9, 10))
    [[(Fraction(1, 1), 5)], [(Fraction(1, 1), 5)]]

    The length is the share times the image's, rounded to a whole number, halves up.

    Args:
        smallest: smallest share along each axis, above 0 and at most 1.
        largest: largest share along each axis; the smallest where not given: then the shares are
            fixed.

    Raises:
        ValueError: a share outside, a largest share below the smallest; on use, a share that may
            round to no pixel.
    """

    smallest: tuple[float | Fraction, ...]
    largest: tuple[float | Fraction, ...] | None = None

    def __post_init__(self) -> None:
        smallest = _shares("smallest", self.smallest)
        object.__setattr__(self, "smallest", smallest)
        if self.largest is None:
            return
        largest = _shares("largest", self.largest)
        if len(largest) != len(smallest) or any(map(Fraction.__gt__, smallest, largest)):
            raise ValueError(
                f"largest must be at least smallest on every axis, got {shown(self.largest)}"
            )
        object.__setattr__(self, "largest", largest)

    def lengths(self, image: Size) -> list[list[tuple[Fraction, int]]]:
        """Along each axis the lengths of the window and their probabilities."""
        if len(image) != len(self.smallest):
            raise ValueError(
                f"crop has {len(self.smallest)} axes, image {spelled(image)} has {len(image)}"
            )
        ends = zip(self.smallest, self.largest or self.smallest, image, strict=True)
        return [_lengths(Fraction(low), Fraction(high), n) for low, high, n in ends]

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        laws = []
        for outcomes, n in zip(self.lengths(image), image, strict=True):
            if outcomes[0][1] < 1:
                raise ValueError(
                    f"smallest share {float(min(self.smallest))!r} of image {spelled(image)} may "
                    "round to no pixel; use a larger one"
                )
            windows = tuple(AxisWindows(length, 0, n - length) for _, length in outcomes)
            weights = tuple(weight for weight, _ in outcomes)
            laws.append(AxisMixture(windows, weights) if len(windows) > 1 else windows[0])
        return (WindowLaw.single(laws),)

    def __repr__(self) -> str:
        ends = (self.smallest,) if self.largest is None else (self.smallest, self.largest)
        return f"RandomShareCrop({', '.join(map(repr, ends))})"


def _shares(name: str, value: object) -> tuple[Fraction, ...]:
    shares = as_tuple(value)
    if shares is None:
        raise ValueError(f"{name} must be one share per axis, as (0.5, 0.5), got {shown(value)}")
    return tuple(probability(name, share) for share in shares)


def _lengths(low: Fraction, high: Fraction, n: int) -> list[tuple[Fraction, int]]:
    first, last = int(low * n + _HALF), int(high * n + _HALF)
    if low == high:
        return [(Fraction(1), first)]
    afford(
        0,
        f"a window of any of {last - first + 1:,} lengths",
        "use a narrower range of shares, or a RandomCrop of the largest, which shows more",
        work=(last - first + 1) * STEP,
    )
    found = []
    for length in range(first, last + 1):
        left, right = (max(low, min(high, (length + s * _HALF) / n)) for s in (-1, 1))
        if left < right:
            found.append(((right - left) / (high - low), length))
    return found
