"""Whether a crop treats the two ends of an axis, or two axes, alike.

A mirror image before the crop then changes nothing: where the patch went, it is seen as often.

>>> from patchdp.geometry import RandomCrop
>>> from patchdp.geometry.symmetry import mirrored_alike
>>> [mirrored_alike(RandomCrop((4,), padding=pair), (8,), 0) for pair in (2, ((0, 2),))]
[True, False]
"""

from __future__ import annotations

import numpy as np

from patchdp.geometry.crop import Crop
from patchdp.geometry.erase import ErasedWindows
from patchdp.geometry.reading import ReadWindows
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows, SpacedWindows, Windows

__all__ = ["mirrored_alike", "turned_alike"]


def mirrored_alike(crop: Crop, image: Size, axis: int) -> bool:
    """Whether every window law of `crop` is its own mirror image along `axis`."""
    return all(_alike(part, image[axis]) for law in crop.laws(image) for part in law.axes[axis])


def turned_alike(crop: Crop, image: Size, axes: tuple[int, int]) -> bool:
    """Whether a quarter turn, either way, leaves `crop` the same: one window, square in all."""
    first, second = axes
    return image[first] == image[second] and all(
        law.plain is not None
        and law.axes[first] == law.axes[second]
        and _alike(law.axes[first][0], image[first])
        for law in crop.laws(image)
    )


def _alike(law: AxisLaw, length: int) -> bool:
    if isinstance(law, Windows):
        return _centred(law, length)
    if isinstance(law, ErasedWindows):
        return _centred(law.windows, length)
    if isinstance(law, AxisMixture):
        return all(_alike(part, length) for part in law.parts)
    if isinstance(law, ReadWindows):
        low, high = law.reading.low, law.reading.high
        ends = 2 * law.reading.begin + len(low)
        return bool(np.array_equal(low[::-1], length - high)) and _centred(law.windows, ends)
    return False


def _centred(law: Windows, ends: int) -> bool:
    """Whether the windows are their own mirror image; `ends` is first coordinate plus stop."""
    if isinstance(law, AxisWindows | SpacedWindows):
        return law.first + law.last + law.length == ends
    return False
