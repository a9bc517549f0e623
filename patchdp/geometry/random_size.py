"""A window whose lengths are drawn, whole numbers, axis by axis.

>>> from patchdp.geometry import Patch, RandomSizeCrop, inclusion
>>> inclusion((4,), RandomSizeCrop((1,), (2,)), Patch((1,))).probability
Fraction(11, 24)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from patchdp._budget import STEP, afford
from patchdp._checks import flag
from patchdp.geometry.crop import Crop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_size, spelled
from patchdp.geometry.windows import AxisMixture, AxisWindows

__all__ = ["RandomSizeCrop"]


@dataclass(frozen=True, repr=False)
class RandomSizeCrop(Crop):
    """Length uniform on `smallest`, ..., `largest` along each axis on its own, then the offset.

    >>> RandomSizeCrop((32, 32), (64, 64))
    RandomSizeCrop((32, 32), (64, 64))

    Args:
        smallest: smallest length along each axis.
        largest: largest length along each axis; the image where not given.
        centered: the window is not anywhere but in the middle, `length // 2 - size // 2` pixels
            before it, as MONAI has it.
        clipped: a length above the image's is the image's, before it is drawn.

    Raises:
        ValueError: a length below 1, a largest length below the smallest; on use, a window that
            does not fit the image.
    """

    smallest: Size
    largest: Size | None = None
    centered: bool = field(default=False, kw_only=True)
    clipped: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "smallest", as_size("smallest", self.smallest))
        object.__setattr__(self, "centered", flag("centered", self.centered))
        object.__setattr__(self, "clipped", flag("clipped", self.clipped))
        if self.largest is None:
            return
        object.__setattr__(self, "largest", as_size("largest", self.largest))
        if len(self.largest) != len(self.smallest) or any(
            low > high for low, high in zip(self.smallest, self.largest, strict=True)
        ):
            raise ValueError(
                f"largest must be at least smallest {self.smallest} on every axis, "
                f"got {self.largest}"
            )

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        same_axes(self.smallest, image)
        smallest, largest = self.smallest, self.largest or image
        if self.clipped:
            smallest, largest = (tuple(map(min, ends, image)) for ends in (smallest, largest))
        if any(max(ends) > n for *ends, n in zip(smallest, largest, image, strict=True)):
            raise ValueError(
                f"crop of up to {spelled(map(max, smallest, largest))} does not fit image "
                f"{spelled(image)}; use a smaller crop"
            )
        laws = []
        for low, high, length in zip(smallest, largest, image, strict=True):
            afford(
                0,
                f"a window of any of {high - low + 1:,} lengths",
                "use a narrower range of lengths, or a RandomCrop of the largest, which shows more",
                work=(high - low + 1) * STEP,
            )
            windows = tuple(self._windows(size, length) for size in range(low, high + 1))
            weight = Fraction(1, len(windows))
            laws.append(
                AxisMixture(windows, (weight,) * len(windows)) if len(windows) > 1 else windows[0]
            )
        return (WindowLaw.single(laws),)

    def _windows(self, size: int, length: int) -> AxisWindows:
        if self.centered:
            return AxisWindows(size, length // 2 - size // 2, length // 2 - size // 2)
        return AxisWindows(size, 0, length - size)

    def __repr__(self) -> str:
        largest = "" if self.largest is None else f", {self.largest!r}"
        centered = ", centered=True" if self.centered else ""
        clipped = ", clipped=True" if self.clipped else ""
        return f"RandomSizeCrop({self.smallest!r}{largest}{centered}{clipped})"
