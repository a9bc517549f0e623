"""A crop that is another one for images of another size.

>>> from patchdp.geometry import FixedCrop, Patch, inclusion
>>> from patchdp.geometry.by_size import BySize
>>> middle = BySize(((4,), (5,)), (FixedCrop((2,), at=(1,)), FixedCrop((2,), at=(2,))))
>>> inclusion([(4,), (5,)], middle, Patch((1,))).probability
Fraction(1, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from patchdp.geometry.at_most import AtMost
from patchdp.geometry.choice import ChoiceCrop
from patchdp.geometry.crop import Crop
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_size, as_tuple, spelled
from patchdp.geometry.views import RandomApply, Views

__all__ = ["BySize", "by_size"]


@dataclass(frozen=True, repr=False)
class BySize(Crop):
    """The k-th of `crops` for images of the k-th of `sizes`.

    >>> from patchdp.geometry import FixedCrop
    >>> BySize(((4,), (5,)), (FixedCrop((2,), at=(1,)), FixedCrop((2,), at=(2,))))
    BySize(((4,), (5,)), (FixedCrop((2,), at=(1,)), FixedCrop((2,), at=(2,))))

    Args:
        sizes: sizes of images, each once.
        crops: single windows, one for each size.

    Raises:
        ValueError: numbers that differ, a size twice, a crop that is not a single window; on use,
            an image of another size.
    """

    sizes: tuple[Size, ...]
    crops: tuple[Crop, ...]

    def __post_init__(self) -> None:
        sizes = tuple(as_size("sizes", size) for size in as_tuple(self.sizes) or ())
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "crops", as_tuple(self.crops) or ())
        if not sizes or len(set(sizes)) != len(self.crops):
            raise ValueError(
                f"crops must be one for each of {len(set(sizes))} sizes, got {self.crops!r}"
            )
        if not all(_single(crop) for crop in self.crops):
            raise ValueError(f"crops must be single windows, got {self.crops!r}")

    @property
    def exact(self) -> bool:
        return all(crop.exact for crop in self.crops)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        if tuple(image) not in self.sizes:
            known = ", ".join(spelled(size) for size in self.sizes[:5])
            raise ValueError(
                f"image must have one of the sizes that the crop was read for ({known}), "
                f"got {spelled(image)}"
            )
        return self.crops[self.sizes.index(tuple(image))].laws(image)

    def __repr__(self) -> str:
        return f"BySize({self.sizes!r}, {self.crops!r})"


def by_size(sizes: Sequence[Size], crops: Sequence[Crop]) -> Crop:
    """One crop that is the k-th of `crops` on images of the k-th of `sizes`.

    >>> from patchdp.geometry import RandomCrop
    >>> by_size([(4,), (5,)], [AtMost(RandomCrop((2,))), AtMost(RandomCrop((2,)))])
    AtMost(RandomCrop((2,)))

    Raises:
        ValueError: crops that are put together in different ways.
    """
    first = crops[0]
    if all(crop == first for crop in crops):
        return first
    if all(_single(crop) for crop in crops):
        return BySize(tuple(sizes), tuple(crops))
    if all(type(crop) is type(first) for crop in crops):
        if isinstance(first, AtMost):
            return AtMost(by_size(sizes, [c.crop for c in crops if isinstance(c, AtMost)]))
        if isinstance(first, RandomApply):
            applied = [c for c in crops if isinstance(c, RandomApply)]
            if len({c.probability for c in applied}) == 1:
                return replace(first, crop=by_size(sizes, [c.crop for c in applied]))
        if isinstance(first, Views | ChoiceCrop):
            parts = [c for c in crops if isinstance(c, Views | ChoiceCrop)]
            alike = {getattr(c, "weights", len(c.crops)) for c in parts}
            if len(alike) == 1:
                columns = zip(*(c.crops for c in parts), strict=True)
                return replace(first, crops=tuple(by_size(sizes, column) for column in columns))
    raise ValueError(
        f"the crop is put together differently for images {spelled(sizes[0])} and others; give one "
        "image size at a time"
    )


def _single(crop: Crop) -> bool:
    """Whether the crop hits exactly when its one window does."""
    third = Fraction(1, 3)
    return crop.law_count == 1 and not isinstance(crop, AtMost) and crop.combine([third]) == third
