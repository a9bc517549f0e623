"""A crop of which only a bound is known: at most what another crop sees.

>>> from patchdp.geometry import AtMost, Patch, RandomCrop, inclusion
>>> inclusion((8,), AtMost(RandomCrop((4,))), Patch((1,))).attained
False
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchdp._checks import shown
from patchdp.geometry.crop import Crop, T
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size

__all__ = ["AtMost"]


@dataclass(frozen=True, repr=False)
class AtMost(Crop):
    """Sees a part of what `crop` sees: the probabilities of `crop` are bounds.

    A bound stays one in views, by chance, after resizing and inside another crop; it is no bound
    on what is cropped out of it, of which `NestedCrop` would have to know where it lies.

    >>> from patchdp.geometry import RandomCrop
    >>> AtMost(RandomCrop((4, 4)))
    AtMost(RandomCrop((4, 4)))

    Args:
        crop: the crop that shows at least as much.
    """

    crop: Crop

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            raise ValueError(f"crop must be a crop, got {shown(self.crop)}")
        if isinstance(self.crop, AtMost):
            object.__setattr__(self, "crop", self.crop.crop)

    @property
    def exact(self) -> bool:
        return False

    @property
    def law_count(self) -> int:
        return self.crop.law_count

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return self.crop.laws(image)

    def combine(self, probabilities: Sequence[T]) -> T:
        return self.crop.combine(probabilities)

    def __repr__(self) -> str:
        return f"AtMost({self.crop!r})"
