"""Several windows on one image in one step.

>>> from patchdp.geometry import FiveCrop, Patch, RandomApply, RandomCrop, Views, inclusion
>>> inclusion((8, 8), Views((RandomCrop((4, 4)),) * 2), Patch((1, 1))).probability
Fraction(544, 625)
>>> inclusion((8, 8), FiveCrop((4, 4)), Patch((1, 1))).probability
Fraction(1, 1)
>>> inclusion((9, 9), RandomApply(RandomCrop((3, 3)), 0.5), Patch((1, 1))).probability
Fraction(29, 49)
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, cast

import numpy as np

from patchdp._checks import chance, flag, shown
from patchdp.geometry.crop import Crop, T, same_axes
from patchdp.geometry.fixed import CenterCrop, FixedCrop
from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.sizes import Size, as_size, as_tuple, spelled

__all__ = ["FiveCrop", "RandomApply", "TenCrop", "Views", "countable", "repeated"]

# Digits, in bits, of the longest denominator that is worth its exactness.
MOST_BITS = 5_000


@dataclass(frozen=True, repr=False)
class Views(Crop):
    """Several crops of one image, drawn independently: a hit of any of them is a hit.

    >>> from patchdp.geometry import RandomCrop, Views
    >>> Views((RandomCrop((224, 224)),) * 2 + (RandomCrop((96, 96)),) * 6).combine([0.5, 0.1])
    0.86713975

    The worst place is that of all views together, `1 - prod(1 - p_i)` at one and the same place.

    Args:
        crops: one crop per view; equal ones are counted, not computed again.

    Raises:
        ValueError: no crop, or something that is not a crop.
    """

    crops: tuple[Crop, ...]

    def __post_init__(self) -> None:
        crops = as_tuple(self.crops)
        if crops is None:
            raise ValueError(f"views must be a tuple of crops, got {shown(self.crops)}")
        object.__setattr__(self, "crops", crops)
        if not self.crops or not all(isinstance(crop, Crop) for crop in self.crops):
            raise ValueError(f"views must be at least one crop, got {self.crops!r}")

    @property
    def exact(self) -> bool:
        return all(crop.exact for crop in self.crops)

    @cached_property
    def _counts(self) -> dict[Crop, int]:
        return dict(Counter(self.crops))

    @property
    def law_count(self) -> int:
        return sum(crop.law_count for crop in self._counts)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return tuple(law for crop in self._counts for law in crop.laws(image))

    def combine(self, probabilities: Sequence[T]) -> T:
        found: list[T] = []
        begin = 0
        for crop in self._counts:
            number = crop.law_count
            found.append(crop.combine(probabilities[begin : begin + number]))
            begin += number
        return _any_of(found, list(self._counts.values()))

    def __repr__(self) -> str:
        return f"Views({self.crops!r})"


@dataclass(frozen=True, repr=False)
class FiveCrop(Crop):
    """The four corners and the centre, all of them at every step.

    >>> FiveCrop((224, 224))
    FiveCrop((224, 224))

    Args:
        size: pixels of each window, two axes.

    Raises:
        ValueError: not two axes, a length below 1.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        if len(self.size) != 2:
            raise ValueError(f"crop must have two axes, (height, width), got {self.size!r}")

    def views(self, image: Size) -> Views:
        """The windows on an image of that size."""
        same_axes(self.size, image)
        room = [length - size for length, size in zip(image, self.size, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"crop {spelled(self.size)} does not fit image {spelled(image)}; use a smaller crop"
            )
        corners = list(itertools.product(*((0, last) for last in room)))
        centre = CenterCrop(self.size).corner(image)
        return Views(tuple(FixedCrop(self.size, at=at) for at in [*corners, centre]))

    @property
    def law_count(self) -> int:
        return 5

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        # Equal windows (an image of the crop's size) stay apart: the number of laws is fixed.
        return tuple(law for crop in self.views(image).crops for law in crop.laws(image))

    def combine(self, probabilities: Sequence[T]) -> T:
        return _any_of(probabilities, [1] * len(probabilities))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size!r})"


@dataclass(frozen=True, repr=False)
class TenCrop(FiveCrop):
    """`FiveCrop` of the image and of its mirror image, all of them at every step.

    >>> TenCrop((224, 224), vertical_flip=True)
    TenCrop((224, 224), vertical_flip=True)

    The mirror image shows the same corners; its centre may lie one pixel off.

    Args:
        size: pixels of each window, two axes.
        vertical_flip: mirror top and bottom instead of left and right.

    Raises:
        ValueError: not two axes, a length below 1.
    """

    vertical_flip: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "vertical_flip", flag("vertical_flip", self.vertical_flip))

    @property
    def law_count(self) -> int:
        return 6

    def views(self, image: Size) -> Views:
        """The windows on an image of that size."""
        crops = super().views(image).crops
        axis = 0 if self.vertical_flip else 1
        centre = list(CenterCrop(self.size).corner(image))
        centre[axis] = image[axis] - self.size[axis] - centre[axis]
        return Views((*crops, FixedCrop(self.size, at=tuple(centre))))

    def __repr__(self) -> str:
        flip = ", vertical_flip=True" if self.vertical_flip else ""
        return f"TenCrop({self.size!r}{flip})"


@dataclass(frozen=True, repr=False)
class RandomApply(Crop):
    """A crop with probability `probability`, else the whole image; a coin for each image.

    >>> from patchdp.geometry import RandomApply, RandomCrop
    >>> RandomApply(RandomCrop((32, 32)), 0.5)
    RandomApply(RandomCrop((32, 32)), 0.5)

    Args:
        crop: what is applied.
        probability: above 0 and at most 1.

    Raises:
        ValueError: a probability outside.
    """

    crop: Crop
    probability: Fraction | float

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            raise ValueError(f"crop must be a crop, got {shown(self.crop)}")
        object.__setattr__(self, "probability", chance("probability", self.probability))

    @property
    def exact(self) -> bool:
        return self.crop.exact

    @property
    def law_count(self) -> int:
        return self.crop.law_count

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return self.crop.laws(image)

    def combine(self, probabilities: Sequence[T]) -> T:
        hit = self.crop.combine(probabilities)
        applied = Fraction(self.probability)
        if isinstance(hit, Fraction):
            return applied * hit + (1 - applied)
        return float(applied) * hit + float(1 - applied)

    def __repr__(self) -> str:
        return f"RandomApply({self.crop!r}, {self.probability!r})"


def repeated(probability: Fraction, times: int) -> Fraction:
    """Chance that one of `times` independent hits happens, or a bound a hair above it.

    >>> repeated(Fraction(1, 3), 2)
    Fraction(5, 9)
    >>> bool(0 < repeated(Fraction(1, 10**9 + 7), 10**6) - Fraction(1, 1000) < 1e-6)
    False
    """
    found = _any_of([probability], [times])
    if isinstance(found, Fraction):
        return found
    return min(Fraction(found) * (1 + Fraction(1, 1 << 44)), Fraction(1))


def countable(probability: Fraction, times: int) -> bool:
    """Whether `repeated` is the chance itself, not a bound."""
    return _exactly_any_of([probability], [times]) is not None


def _any_of(probabilities: Sequence[T], repeats: Sequence[int]) -> T:
    """Probability that one of several independent hits happens.

    A float, right to a relative 1e-13, where the fraction would have too many digits.
    """
    found: Any = _exactly_any_of(probabilities, repeats)
    if found is None:
        with np.errstate(divide="ignore"):
            logs = sum(
                repeat * np.log1p(-np.clip(_float(p), 0.0, 1.0))
                for p, repeat in zip(probabilities, repeats, strict=True)
            )
        found = -np.expm1(logs)
        found = found if np.ndim(found) else float(found)
    return cast(T, found)


def _exactly_any_of(
    probabilities: Sequence[Fraction | float | Floats], repeats: Sequence[int]
) -> Fraction | None:
    bits, miss = 0, Fraction(1)
    for p, repeat in zip(probabilities, repeats, strict=True):
        if not isinstance(p, Fraction):
            return None
        bits += p.denominator.bit_length() * repeat
        if bits > MOST_BITS:
            return None
        miss *= (1 - p) ** repeat
    return 1 - miss


def _float(p: Fraction | float | Floats) -> float | Floats:
    return float(p) if isinstance(p, Fraction) else p
