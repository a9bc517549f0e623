"""The law of Kornia's own `RandomResizedCrop`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from patchdp.geometry import RandomResizedCrop
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size
from patchdp.geometry.windows import AxisWindows

__all__ = ["ResizedCropAnywhere"]


@dataclass(frozen=True)
class ResizedCropAnywhere(RandomResizedCrop):
    """`RandomResizedCrop` whose window of last resort is not central but anywhere, as Kornia's.

    >>> from patchdp.geometry import Patch, RandomResizedCrop, inclusion
    >>> [round(float(inclusion((4, 60), crop(scale=(0.9, 1.0)), Patch((1, 1))).probability), 3)
    ...  for crop in (RandomResizedCrop, ResizedCropAnywhere)]
    [1.0, 0.089]

    Args:
      scale: Area of the window as a share of the image's, from and to.
      ratio: Width over height, from and to.
      attempts: Number of draws before the last resort.
    """

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        (law,) = super().laws(image)
        axes = tuple(
            (*parts[:-1], AxisWindows(parts[-1].length, 0, length - parts[-1].length))
            for parts, length in zip(law.axes, image, strict=True)
            if isinstance(parts[-1], AxisWindows)
        )
        return (replace(law, axes=axes),)
