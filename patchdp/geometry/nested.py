"""A crop of a crop.

>>> from patchdp.geometry import CenterCrop, NestedCrop, Patch, RandomCrop, inclusion
>>> two = NestedCrop(RandomCrop((6,)), RandomCrop((4,)))
>>> inclusion((8,), two, Patch((1,))).probability
Fraction(8, 9)
"""

from __future__ import annotations

from dataclasses import dataclass

from patchdp._checks import shown
from patchdp.geometry.crop import Crop, RandomCrop
from patchdp.geometry.fixed import CenterCrop
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, spelled
from patchdp.geometry.windows import AxisWindows, SpacedWindows, Windows

__all__ = ["NestedCrop"]


@dataclass(frozen=True, repr=False)
class NestedCrop(Crop):
    """`inner` applied to what `outer` returns; both are single windows of known size.

    >>> from patchdp.geometry import CenterCrop, NestedCrop, RandomCrop
    >>> NestedCrop(CenterCrop((256, 256)), RandomCrop((224, 224)))
    NestedCrop(CenterCrop((256, 256)), RandomCrop((224, 224)))

    Args:
        outer: the first crop; its window, constant padding included, is the image of `inner`.
        inner: the second crop, without padding.

    Raises:
        ValueError: crops that are not crops, an outer one of which only a bound is known; on use,
            crops that are not such windows, an outer one that exceeds the image.

    Source: `docs/theory/geometry.md`, "Nested crops".
    """

    outer: Crop
    inner: Crop

    def __post_init__(self) -> None:
        for crop in (self.outer, self.inner):
            if not isinstance(crop, Crop):
                raise ValueError(f"a nested crop is made of crops, got {shown(crop)}")
        if not self.outer.exact:
            raise ValueError(
                "the outer one of two nested crops must have a known law, not a bound on what it "
                "shows, of which the inner one may always show the worst part; got "
                f"{shown(self.outer)}"
            )

    @property
    def exact(self) -> bool:
        return self.inner.exact

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        outer = _windows(self.outer, image)
        if isinstance(self.outer, CenterCrop | RandomCrop) and any(
            # Where the image then lies in the window is the library's choice.
            size > law.last - law.first + law.length
            or (size > n and isinstance(self.outer, CenterCrop))
            for size, law, n in zip(self.outer.size, outer, image, strict=True)
        ):
            raise ValueError(
                f"crop {spelled(self.outer.size)} does not fit image {spelled(image)}; the outer "
                "one of two nested crops must"
            )
        inner = _windows(self.inner, tuple(law.length for law in outer))
        return (WindowLaw.single(map(_nested, outer, inner)),)

    def __repr__(self) -> str:
        return f"NestedCrop({self.outer!r}, {self.inner!r})"


def _windows(crop: Crop, image: Size) -> tuple[AxisWindows, ...]:
    plain = crop.plain(image)
    if plain is None or crop.combine([0.25]) != 0.25:
        raise ValueError(f"a nested crop is made of single windows of known size, got {crop!r}")
    return plain


def _nested(outer: AxisWindows, inner: AxisWindows) -> Windows:
    if inner.first < 0 or inner.last + inner.length > outer.length:
        raise ValueError("the inner one of two nested crops must not be padded")
    first = outer.first + inner.first
    if outer.total == 1 or inner.total == 1:
        return AxisWindows(inner.length, first, outer.last + inner.last)
    return SpacedWindows(inner.length, first, 1, outer.total, inner.total)
