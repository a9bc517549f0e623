"""Gaussian noise on the pixels of a crop: with some chance it hides the change of the patch.

>>> noise = PixelNoise(std=50.0, channels=3, value_range=1.0)
>>> round(noise.visible(pixels=100), 4)
0.1375
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from patchdp import _checks

__all__ = ["PixelNoise"]


@dataclass(frozen=True, kw_only=True)
class PixelNoise:
    """Independent Gaussian noise added to every pixel of the crop, afresh at every step.

    >>> PixelNoise(std=0.5, channels=3, value_range=1.0).visible(pixels=1)  # doctest: +ELLIPSIS
    0.9167...

    Args:
      std: Standard deviation of the noise, in the units of the pixel values it is added to.
      channels: Values per pixel.
      value_range: Largest change of one value where the noise is added (after `Normalize` the
        original range over its standard deviation).

    Source: `docs/theory.md`, "Pixel noise".
    """

    std: float
    channels: int
    value_range: float

    def __post_init__(self) -> None:
        _checks.positive("pixel noise std", self.std)
        _checks.count("channels", self.channels)
        _checks.positive("value_range", self.value_range)

    def visible(self, *, pixels: int) -> float:
        """Total variation distance that a patch of `pixels` pixels keeps under the noise."""
        change = self.value_range * math.sqrt(pixels * self.channels)
        return min(math.erf(change / (self.std * math.sqrt(8))) * (1 + 1e-14), 1.0)
