"""Distributions over windows: what one training step may see of an image.

>>> from patchdp.geometry import RandomCrop
>>> RandomCrop((505, 505))
RandomCrop((505, 505))
>>> RandomCrop((32, 32), padding=((4, 4), (0, 8))).windows((32, 32))
(AxisWindows(length=32, first=-4, last=4), AxisWindows(length=32, first=0, last=8))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from patchdp._checks import whole
from patchdp.geometry.sizes import Interval, Size, as_size, spelled
from patchdp.geometry.windows import AxisWindows

__all__ = ["RandomCrop"]


@dataclass(frozen=True, repr=False)
class RandomCrop:
    """A window of fixed size, every offset in the padded image equally likely.

    >>> RandomCrop((32, 32), padding=4)
    RandomCrop((32, 32), padding=4)

    Args:
        size: pixels of the window along each axis.
        padding: constant pixels added around the image before cropping: one number for every
            side, or one `(before, after)` pair per axis.

    Raises:
        ValueError: a length below 1, a negative padding, or pairs that do not match the axes.
    """

    size: Size
    padding: int | tuple[Interval, ...] = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        object.__setattr__(self, "padding", _as_padding(self.padding, len(self.size)))

    def margins(self, axis: int) -> Interval:
        """Pixels added before and after the image along `axis`."""
        return (self.padding,) * 2 if isinstance(self.padding, int) else self.padding[axis]

    def axis_windows(self, axis: int, length: int) -> AxisWindows | None:
        """The windows along one axis of an image of that length; None where none fits."""
        before, after = self.margins(axis)
        last = length + after - self.size[axis]
        return AxisWindows(self.size[axis], -before, last) if last >= -before else None

    def windows(self, image: Size) -> tuple[AxisWindows, ...]:
        """The windows along each axis; axes are independent of each other."""
        if len(image) != len(self.size):
            raise ValueError(
                f"crop {spelled(self.size)} has {len(self.size)} axes, "
                f"image {spelled(image)} has {len(image)}"
            )
        laws = []
        for axis, length in enumerate(image):
            law = self.axis_windows(axis, length)
            if law is None:
                raise ValueError(self._does_not_fit(image))
            laws.append(law)
        return tuple(laws)

    def _does_not_fit(self, image: Size) -> str:
        padded = tuple(n + sum(self.margins(axis)) for axis, n in enumerate(image))
        after = f" padded to {spelled(padded)}" if padded != image else ""
        return (
            f"crop {spelled(self.size)} does not fit image {spelled(image)}{after}; "
            "pad the image or use a smaller crop"
        )

    def __repr__(self) -> str:
        padded = f", padding={self.padding!r}" if self.padding != 0 else ""
        return f"RandomCrop({self.size!r}{padded})"


def _as_padding(padding: object, axes: int) -> int | tuple[Interval, ...]:
    if not isinstance(padding, Sequence):
        return whole("padding", padding, least=0)
    pairs: list[Interval] = []
    for pair in padding:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(
                "padding must be one whole number, or one (before, after) pair per axis, "
                f"got {padding!r}"
            )
        before, after = (whole("padding", side, least=0) for side in pair)
        pairs.append((before, after))
    if len(pairs) != axes:
        raise ValueError(
            f"padding must have {axes} (before, after) pairs, one per axis of the crop, "
            f"got {padding!r}"
        )
    return tuple(pairs)
