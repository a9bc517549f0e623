"""Distributions over windows: what one training step may see of an image.

>>> from patchdp.geometry import RandomCrop
>>> RandomCrop((505, 505))
RandomCrop((505, 505))
>>> RandomCrop((32, 32), padding=((4, 4), (0, 8))).windows((32, 32))
(AxisWindows(length=32, first=-4, last=4), AxisWindows(length=32, first=0, last=8))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from patchdp._checks import choice, flag, shown, whole
from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.reading import PADDING_MODES, PaddingMode, Reading, ReadWindows
from patchdp.geometry.sizes import Interval, Size, as_pairs, as_size, as_tuple, spelled
from patchdp.geometry.windows import AxisLaw, AxisWindows

__all__ = ["Crop", "RandomCrop", "same_axes"]

T = TypeVar("T", Fraction, float, Floats)


class Crop(ABC):
    """A distribution over what one training step sees of an image, whatever the image shows."""

    @property
    def law_count(self) -> int:
        """Number of independent windows: the length of `laws`, whatever the image."""
        return 1

    @property
    def exact(self) -> bool:
        """Whether the probabilities are those of the crop, not only bounds on them."""
        return True

    @abstractmethod
    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        """The laws of the independent windows this crop is made of, on an image of that size."""

    def plain(self, image: Size) -> tuple[AxisWindows, ...] | None:
        """The uniform windows along each axis, where the crop is one window and no more."""
        laws = self.laws(image)
        return laws[0].plain if len(laws) == 1 else None

    def combine(self, probabilities: Sequence[T]) -> T:
        """The hit probability of the crop from those of its `laws`, strictly increasing in each.

        The arguments are fractions, floats, or arrays, and so is the result; a fraction that would
        have too many digits comes as a float, right to a relative 1e-13.
        """
        return probabilities[0]


@dataclass(frozen=True, repr=False)
class RandomCrop(Crop):
    """A window of fixed size, every offset in the padded image equally likely.

    >>> RandomCrop((32, 32), padding=4, padding_mode="reflect")
    RandomCrop((32, 32), padding=4, padding_mode='reflect')

    Args:
        size: pixels of the window along each axis.
        padding: pixels added around the image before cropping: one number for every side, or
            one `(before, after)` pair per axis.
        padding_mode: what is added: `"constant"`, or copies of the image by `"reflect"` (the
            border pixel not repeated), `"symmetric"` (repeated), `"edge"`, `"circular"`.
        pad_if_needed: along an axis where the window exceeds the padded image, the whole of it
            is seen, at every offset; without this such an image is an error.

    Raises:
        ValueError: a length below 1, a negative padding, pairs that do not match the axes, an
            unknown mode.
    """

    size: Size
    padding: int | tuple[Interval, ...] = field(default=0, kw_only=True)
    padding_mode: PaddingMode = field(default="constant", kw_only=True)
    pad_if_needed: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        object.__setattr__(self, "padding", _as_padding(self.padding, len(self.size)))
        mode = choice("padding_mode", self.padding_mode, PADDING_MODES)
        object.__setattr__(self, "padding_mode", mode)
        object.__setattr__(self, "pad_if_needed", flag("pad_if_needed", self.pad_if_needed))

    def margins(self, axis: int) -> Interval:
        """Pixels added before and after the image along `axis`."""
        return (self.padding,) * 2 if isinstance(self.padding, int) else self.padding[axis]

    def windows(self, image: Size) -> tuple[AxisWindows, ...]:
        """The windows along each axis, in pixels of the image; axes are independent."""
        same_axes(self.size, image)
        laws = []
        for axis, length in enumerate(image):
            before, after = self.margins(axis)
            size, last = self.size[axis], length + after - self.size[axis]
            if last < -before:
                if not self.pad_if_needed:
                    raise ValueError(self._does_not_fit(image))
                size, last = length + before + after, -before
            laws.append(AxisWindows(size, -before, last))
        return tuple(laws)

    def plain(self, image: Size) -> tuple[AxisWindows, ...] | None:
        return self.windows(image) if self.padding_mode == "constant" else None

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        windows = self.windows(image)
        if self.padding_mode == "constant":
            return (WindowLaw.single(windows),)
        read: list[AxisLaw] = []
        for axis, (law, length) in enumerate(zip(windows, image, strict=True)):
            before, after = self.margins(axis)
            copies = Reading.identity(length).padded(before, after, self.padding_mode)
            read.append(ReadWindows(law, copies) if before or after else law)
        return (WindowLaw.single(read),)

    def _does_not_fit(self, image: Size) -> str:
        padded = tuple(n + sum(self.margins(axis)) for axis, n in enumerate(image))
        after = f" padded to {spelled(padded)}" if padded != image else ""
        return (
            f"crop {spelled(self.size)} does not fit image {spelled(image)}{after}; "
            "pad the image or use a smaller crop"
        )

    def __repr__(self) -> str:
        said = [repr(self.size)]
        if self.padding != 0:
            said.append(f"padding={self.padding!r}")
        if self.padding_mode != "constant":
            said.append(f"padding_mode={self.padding_mode!r}")
        if self.pad_if_needed:
            said.append("pad_if_needed=True")
        return f"RandomCrop({', '.join(said)})"


def same_axes(size: Size, image: Size) -> None:
    """Refuse a crop whose number of axes is not the image's."""
    if len(image) != len(size):
        raise ValueError(
            f"crop {spelled(size)} has {len(size)} axes, image {spelled(image)} has {len(image)}"
        )


def _as_padding(padding: object, axes: int) -> int | tuple[Interval, ...]:
    if as_tuple(padding) is None and not isinstance(padding, str):
        return whole("padding", padding, least=0)
    pairs = as_pairs(padding)
    if pairs is None:
        raise ValueError(
            "padding must be one whole number, or one (before, after) pair per axis, "
            f"got {shown(padding)}"
        )
    if len(pairs) != axes:
        raise ValueError(
            f"padding must have {axes} (before, after) pairs, one per axis of the crop, "
            f"got {shown(padding)}"
        )
    return tuple(
        (whole("padding", before, least=0), whole("padding", after, least=0))
        for before, after in pairs
    )
