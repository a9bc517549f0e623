"""Resizing before the crop: the image's new size, fixed or drawn, and what the crop then reads.

>>> from patchdp.geometry import Patch, RandomCrop, RandomScale, Resize, ResizedCrop, inclusion
>>> halved = ResizedCrop(RandomCrop((3, 3)), Resize((8, 8)), interpolation="bilinear")
>>> inclusion((16, 16), halved, Patch((1, 1))).probability     # one pixel reaches two in a row
Fraction(4, 9)
>>> any_scale = ResizedCrop(
...     RandomCrop((64, 64), pad_if_needed=True), RandomScale(0.5, 2.0), interpolation="nearest"
... )
>>> round(float(inclusion((128, 128), any_scale, Patch((8, 8))).probability), 4)
0.6184
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal, get_args

from patchdp._budget import STEP, afford
from patchdp._checks import MOST, choice, count, exactly_positive, flag, shown
from patchdp.geometry.crop import Crop, T, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.reading import Interpolation, Reading, ReadWindows
from patchdp.geometry.sizes import Size, as_size, as_tuple
from patchdp.geometry.windows import AxisLaw, AxisMixture, Windows

__all__ = ["OneOf", "RandomScale", "Resize", "ResizedCrop", "Resizing"]


class Resizing(ABC):
    """A distribution over the sizes to which an image is resized, whatever the image shows."""

    @abstractmethod
    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        """The new sizes with their probabilities."""


@dataclass(frozen=True, repr=False)
class Resize(Resizing):
    """To a fixed size, or the shorter side to a fixed length and the rest in proportion.

    >>> Resize(256).sizes((375, 500))
    [(Fraction(1, 1), (256, 341))]

    Args:
        size: the new size, one length per axis; or one length, for the shortest side. The other
            sides are then rounded down, as torchvision does.

    Raises:
        ValueError: a length below 1.
    """

    size: Size | int

    def __post_init__(self) -> None:
        if as_tuple(self.size) is not None:
            object.__setattr__(self, "size", as_size("size", self.size))
        else:
            object.__setattr__(self, "size", count("size", self.size))

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        if isinstance(self.size, int):
            shortest = min(image)
            return [(Fraction(1), tuple(self.size * length // shortest for length in image))]
        same_axes(self.size, image)
        return [(Fraction(1), self.size)]

    def __repr__(self) -> str:
        return f"Resize({self.size!r})"


@dataclass(frozen=True, repr=False)
class RandomScale(Resizing):
    """By a factor uniform on an interval, the same on every axis; lengths become whole numbers.

    >>> RandomScale(0.5, 1).sizes((2,))
    [(Fraction(1, 2), (1,)), (Fraction(1, 2), (2,))]

    Args:
        low: smallest factor.
        high: largest factor.
        rounding: lengths are rounded to the `"nearest"` whole number (halves up), or `"down"`;
            never below 1.

    Raises:
        ValueError: a factor that is not above 0, `high` below `low`, an unknown rounding.
    """

    low: float | Fraction
    high: float | Fraction
    rounding: Literal["nearest", "down"] = field(default="nearest", kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, exactly_positive(name, getattr(self, name)))
        if self.low > self.high:
            raise ValueError(f"high must be at least low={shown(self.low)}, got {shown(self.high)}")
        if self.high > MOST:
            raise ValueError(f"high must be at most 2**60, got {shown(self.high)}")
        rounding = choice("rounding", self.rounding, ("nearest", "down"))
        object.__setattr__(self, "rounding", rounding)

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        low, high = Fraction(self.low), Fraction(self.high)
        half = Fraction(1, 2) if self.rounding == "nearest" else Fraction(0)
        if low == high:
            return [(Fraction(1), _scaled(image, low, half))]
        steps = {low, high}
        ends = [[int(length * factor + half) for factor in (low, high)] for length in image]
        sizes = sum(last - first for first, last in ends)
        afford(
            0,
            f"scaling an image to any of {sizes:,} sizes",
            "use a smaller image or a narrower range of factors",
            work=sizes * (STEP + sum(last for _, last in ends)),
        )
        for length, (first, last) in zip(image, ends, strict=True):
            steps.update((k - half) / length for k in range(first + 1, last + 1))
        inside = sorted(step for step in steps if low <= step <= high)
        return [
            ((right - left) / (high - low), _scaled(image, (left + right) / 2, half))
            for left, right in pairwise(inside)
        ]

    def __repr__(self) -> str:
        rounding = "" if self.rounding == "nearest" else f", rounding={self.rounding!r}"
        return f"RandomScale({self.low!r}, {self.high!r}{rounding})"


@dataclass(frozen=True, repr=False)
class OneOf(Resizing):
    """One of several resizings, each equally likely.

    >>> OneOf((Resize(256), Resize(320))).sizes((320, 320))
    [(Fraction(1, 2), (256, 256)), (Fraction(1, 2), (320, 320))]

    Args:
        choices: the resizings.

    Raises:
        ValueError: no choice, or something that is not a resizing.
    """

    choices: tuple[Resizing, ...]

    def __post_init__(self) -> None:
        choices = as_tuple(self.choices)
        if not choices or not all(isinstance(each, Resizing) for each in choices):
            raise ValueError(f"choices must be at least one resizing, got {shown(self.choices)}")
        object.__setattr__(self, "choices", choices)

    def sizes(self, image: Size) -> list[tuple[Fraction, Size]]:
        share = Fraction(1, len(self.choices))
        return [(share * p, size) for choice in self.choices for p, size in choice.sizes(image)]

    def __repr__(self) -> str:
        return f"OneOf({self.choices!r})"


@dataclass(frozen=True, repr=False)
class ResizedCrop(Crop):
    """Resize the image, then crop it: every pixel that reaches a pixel of the crop is seen.

    >>> from patchdp.geometry import RandomCrop, Resize, ResizedCrop
    >>> ResizedCrop(RandomCrop((224, 224)), Resize(256), interpolation="bilinear")
    ResizedCrop(RandomCrop((224, 224)), Resize(256), interpolation='bilinear')

    Args:
        crop: what is applied to the resized image; a crop that resizes *afterwards*, as
            `RandomResizedCrop` does, may stand here too.
        resizing: the new size, fixed or drawn.
        interpolation: `"nearest"` (pixel `floor(j * n / m)`), `"nearest-exact"` (the pixel under
            the centre), `"bilinear"`, `"bicubic"`, `"lanczos"`, `"area"`, or the first two kernels
            between the corners' centres: `"bilinear-corners"`, `"bicubic-corners"`; or
            `"overlap"`, for shapes with real coordinates that touch a pixel. Pixels whose
            weight is 0 are not seen, unless rounding in single precision may make it something
            else. Several names stand for several arrays of one size (an image and its mask) that
            are resized each in its way and cropped by one window: what either reads is seen.
        antialias: whether the kernel widens when the image shrinks. True sees at least as much.

    Raises:
        ValueError: unknown names; on use, a size drawn from several for a crop of several views.
    """

    crop: Crop
    resizing: Resizing
    interpolation: Interpolation | tuple[Interpolation, ...] = field(kw_only=True)
    antialias: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            raise ValueError(f"crop must be a crop, got {shown(self.crop)}")
        if not isinstance(self.resizing, Resizing):
            raise ValueError(
                f"resizing must be a resizing as Resize(256), got {shown(self.resizing)}"
            )
        names = get_args(Interpolation)
        kernels = tuple(choice("interpolation", each, names) for each in self._kernels or ((),))
        several = isinstance(self.interpolation, tuple)
        object.__setattr__(self, "interpolation", kernels if several else kernels[0])
        object.__setattr__(self, "antialias", flag("antialias", self.antialias))

    @property
    def _kernels(self) -> tuple[Interpolation, ...]:
        several = self.interpolation
        return several if isinstance(several, tuple) else (several,)

    @property
    def exact(self) -> bool:
        # Kernel weights are counted as they are in theory; rounding a resized image to whole
        # numbers may lose the smallest.
        return False

    @property
    def law_count(self) -> int:
        return self.crop.law_count

    def combine(self, probabilities: Sequence[T]) -> T:
        return self.crop.combine(probabilities)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        sizes = self.resizing.sizes(image)
        if len(sizes) == 1:
            return self._at_size(image, sizes[0][1], {})
        components: list[tuple[Fraction, list[AxisLaw]]] = []
        seen: dict[tuple[int, int, bool, AxisLaw], AxisLaw] = {}
        for probability, size in sizes:
            law = self._at_size(image, size, seen)[0]
            if not _is_affine(self.crop) or not isinstance(law.weights, tuple):
                raise ValueError(
                    "a crop of an image of random size must be a single window of known size, "
                    f"got {self.crop!r}"
                )
            for weight, component in zip(law.weights, law.index.tolist(), strict=True):
                parts = [law.axes[axis][k] for axis, k in enumerate(component)]
                components.append((probability * weight, parts))
        return (WindowLaw.mixture(components),)

    def _at_size(
        self, image: Size, size: Size, seen: dict[tuple[int, int, bool, AxisLaw], AxisLaw]
    ) -> tuple[WindowLaw, ...]:
        """The crop's laws on the resized image, read through the resizing; `seen` is filled."""
        found = []
        for law in self.crop.laws(size):
            axes = []
            for laws, length, target in zip(law.axes, image, size, strict=True):
                same = image == size or (length == target and self._keeps_axes)
                for part in laws:
                    # Sizes that share a side share its law, and its counts.
                    if (length, target, same, part) not in seen:
                        reading = self._reading(length, target)
                        seen[length, target, same, part] = part if same else _read(part, reading)
                axes.append(tuple(seen[length, target, same, part] for part in laws))
            found.append(WindowLaw(tuple(axes), law.index, law.weights, law.monotone, law.slack))
        return tuple(found)

    @property
    def _keeps_axes(self) -> bool:
        """Whether an axis that keeps its length is left alone where another one changes."""
        return self.antialias or "lanczos" not in self._kernels

    def _reading(self, length: int, target: int) -> Reading:
        first, *others = (
            Reading.resized(length, target, kernel, antialias=self.antialias)
            for kernel in self._kernels
        )
        for other in others:
            first = first.hull(other)
        return first

    def __repr__(self) -> str:
        antialias = "" if self.antialias else ", antialias=False"
        return (
            f"ResizedCrop({self.crop!r}, {self.resizing!r}, "
            f"interpolation={self.interpolation!r}{antialias})"
        )


def _is_affine(crop: Crop) -> bool:
    """Whether mixing the sizes first and combining the views after is the same thing."""
    if crop.law_count > 1:
        return False
    never, half, always = (crop.combine([Fraction(k, 2)]) for k in range(3))
    return half == (never + always) / 2


def _scaled(image: Size, factor: Fraction, half: Fraction) -> Size:
    return tuple(max(1, int(length * factor + half)) for length in image)


def _read(law: AxisLaw, reading: Reading) -> AxisLaw:
    """A law over the resized axis as one over the image."""
    if isinstance(law, Windows):
        return ReadWindows(law, reading)
    if isinstance(law, ReadWindows):
        return ReadWindows(law.windows, law.reading.after(reading))
    if isinstance(law, AxisMixture):
        parts = (_read(part, reading) for part in law.parts)
        counted = tuple(part for part in parts if isinstance(part, ReadWindows))
        return AxisMixture(counted, law.weights)
    raise ValueError(f"a resized image cannot be read through {type(law).__name__}")
