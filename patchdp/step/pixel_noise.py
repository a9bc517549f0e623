"""Gaussian noise on the pixels of a crop: with some chance it hides the change of the patch.

>>> noise = PixelNoise(std=50.0, channels=3, value_range=1.0)
>>> round(noise.visible(pixels=100), 4)
0.1375
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from patchdp import _checks
from patchdp.geometry import CenterCrop, Crop, PatchUnion, RandomCrop, WholeImage
from patchdp.geometry.patch import PrivatePatch

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

    Source: `docs/theory/one_step.md`, "Pixel noise".
    """

    std: float
    channels: int
    value_range: float

    def __post_init__(self) -> None:
        # More of the patch is visible under less noise and where values change more.
        object.__setattr__(self, "std", _checks.positive("pixel noise std", self.std))
        object.__setattr__(self, "channels", _checks.count("channels", self.channels))
        change = _checks.positive("value_range", self.value_range, up=True)
        object.__setattr__(self, "value_range", change)

    def visible(self, *, pixels: int) -> float:
        """Total variation distance that a patch of `pixels` pixels keeps under the noise."""
        number = _checks.count("pixels", pixels) * self.channels
        # In this order nothing but the quotient leaves the range of floats; it is never 0.
        change = max(self.value_range / self.std, 5e-324) * math.sqrt(number / 8)
        return min(math.nextafter(math.erf(change) * (1 + 1e-14), 2.0), 1.0)

    def check(self, crop: Crop, patch: PrivatePatch) -> None:
        """Refuse crops and patches for which nothing is proved."""
        # Copies and interpolation spread the patch over more pixels than it has.
        plain = isinstance(crop, CenterCrop | WholeImage) or (
            isinstance(crop, RandomCrop) and (crop.padding_mode == "constant" or crop.padding == 0)
        )
        if not plain:
            raise ValueError(
                "pixel_noise is proved for crops that neither resize nor copy pixels: RandomCrop "
                f"with constant padding, CenterCrop or WholeImage; got {crop!r}"
            )
        if isinstance(patch, PatchUnion) or patch.count > 1:
            raise ValueError(f"pixel_noise is proved for a single patch, got {patch!r}")
