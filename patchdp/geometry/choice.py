"""One of several crops, chosen by chance for each image.

>>> from fractions import Fraction
>>> from patchdp.geometry import Patch, RandomCrop, inclusion
>>> from patchdp.geometry.choice import ChoiceCrop
>>> mixed = ChoiceCrop((RandomCrop((2,)), RandomCrop((4,))), (Fraction(1, 4), Fraction(3, 4)))
>>> inclusion((8,), mixed, Patch((1,))).probability
Fraction(47, 70)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from patchdp._checks import chance
from patchdp.geometry.crop import Crop, T
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_tuple

__all__ = ["ChoiceCrop"]


@dataclass(frozen=True, repr=False)
class ChoiceCrop(Crop):
    """One of `crops`, the k-th with probability `weights[k]`, drawn for each image.

    >>> from patchdp.geometry import RandomCrop
    >>> ChoiceCrop((RandomCrop((2,)), RandomCrop((4,))), (0.25, 0.75))
    ChoiceCrop((RandomCrop((2,)), RandomCrop((4,))), (0.25, 0.75))

    Args:
        crops: the crops to choose from.
        weights: their probabilities; they sum to 1, floats up to rounding.

    Raises:
        ValueError: no crop, something that is not a crop, weights that are not probabilities.
    """

    crops: tuple[Crop, ...]
    weights: tuple[Fraction | float, ...]

    def __post_init__(self) -> None:
        for name in ("crops", "weights"):
            object.__setattr__(self, name, as_tuple(getattr(self, name)) or ())
        if not self.crops or not all(isinstance(crop, Crop) for crop in self.crops):
            raise ValueError(f"crops must be at least one crop, got {self.crops!r}")
        weights = tuple(chance("weight", weight) for weight in self.weights)
        object.__setattr__(self, "weights", weights)
        if len(self.weights) != len(self.crops) or abs(float(sum(self.weights)) - 1) > 1e-9:
            raise ValueError(
                f"weights must be {len(self.crops)} probabilities that sum to 1, one for each "
                f"crop, got {self.weights!r}"
            )

    @property
    def exact(self) -> bool:
        return all(crop.exact for crop in self.crops)

    @property
    def law_count(self) -> int:
        return sum(crop.law_count for crop in self.crops)

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        return tuple(law for crop in self.crops for law in crop.laws(image))

    def combine(self, probabilities: Sequence[T]) -> T:
        rest = list(probabilities)
        # Floats that are a little off 1 are taken as shares of their sum.
        whole = sum((Fraction(weight) for weight in self.weights), Fraction(0))
        terms = []
        for crop, weight in zip(self.crops, self.weights, strict=True):
            hit = crop.combine(rest[: crop.law_count])
            rest = rest[crop.law_count :]
            share = Fraction(weight) / whole
            terms.append(share * hit if isinstance(hit, Fraction) else float(share) * hit)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def __repr__(self) -> str:
        return f"ChoiceCrop({self.crops!r}, {self.weights!r})"
