"""Windows that are where they are.

>>> from patchdp.geometry import CenterCrop, Patch, WholeImage, inclusion
>>> inclusion((256, 256), CenterCrop((224, 224)), Patch((4, 4), at=(0, 0))).probability
Fraction(0, 1)
>>> inclusion((64, 64), WholeImage(), Patch((1, 1))).probability
Fraction(1, 1)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from patchdp._checks import MOST
from patchdp.geometry.crop import Crop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_size
from patchdp.geometry.windows import AxisWindows

__all__ = ["CenterCrop", "FixedCrop", "WholeImage"]


@dataclass(frozen=True)
class WholeImage(Crop):
    """No crop: the whole image, whatever its size.

    >>> WholeImage()
    WholeImage()
    """

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return (WindowLaw.single(AxisWindows(length, 0, 0) for length in image),)


@dataclass(frozen=True, repr=False)
class FixedCrop(Crop):
    """One window at one place.

    >>> FixedCrop((100, 100), at=(0, 20))
    FixedCrop((100, 100), at=(0, 20))

    Args:
        size: pixels of the window along each axis.
        at: its first corner in the image; negative where it reaches into constant padding.

    Raises:
        ValueError: a length below 1, or numbers of axes that differ.
    """

    size: Size
    at: Size = field(kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        corner = as_size("at", self.at, least=-MOST)
        if len(corner) != len(self.size):
            raise ValueError(f"at must have {len(self.size)} axes as the crop, got {self.at!r}")
        object.__setattr__(self, "at", corner)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.size, image)
        pairs = zip(self.size, self.at, strict=True)
        return (WindowLaw.single(AxisWindows(length, at, at) for length, at in pairs),)

    def __repr__(self) -> str:
        return f"FixedCrop({self.size!r}, at={self.at!r})"


@dataclass(frozen=True, repr=False)
class CenterCrop(Crop):
    """The window in the middle, half a pixel rounded to even as torchvision does.

    >>> CenterCrop((224, 224)).corner((227, 230))
    (2, 3)

    Along an axis shorter than the window the whole image is seen.

    Args:
        size: pixels of the window along each axis.

    Raises:
        ValueError: a length below 1.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))

    def corner(self, image: Size) -> Size:
        """First corner of the window; 0 along an axis that the window covers."""
        same_axes(self.size, image)
        pairs = zip(image, self.size, strict=True)
        return tuple(max(0, round(Fraction(length - size, 2))) for length, size in pairs)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return FixedCrop(self.size, at=self.corner(image)).laws(image)

    def __repr__(self) -> str:
        return f"CenterCrop({self.size!r})"
