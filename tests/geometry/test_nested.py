"""Crops of crops: what is refused, and what a bound inside another crop is worth."""

from __future__ import annotations

from fractions import Fraction

import pytest

from patchdp.geometry import (
    AtMost,
    CenterCrop,
    Crop,
    Disk,
    NestedCrop,
    Patch,
    PatchUnion,
    RandomApply,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    ResizedCrop,
    Views,
    inclusion,
)
from patchdp.geometry.choice import ChoiceCrop


@pytest.mark.parametrize(
    ("outer", "inner", "match"),
    [
        (RandomResizedCrop(), RandomCrop((2, 2)), "single windows of known size"),
        (RandomCrop((6, 6)), Views((RandomCrop((2, 2)),) * 2), "single windows of known size"),
        (RandomApply(RandomCrop((6, 6)), 0.5), RandomCrop((2, 2)), "single windows"),
        (RandomCrop((6, 6), padding=1, padding_mode="edge"), RandomCrop((2, 2)), "single windows"),
        (RandomCrop((6, 6)), RandomCrop((2, 2), padding=1), "must not be padded"),
        (RandomCrop((6, 6)), RandomCrop((7, 2)), "crop 7x2 does not fit image 6x6"),
        (RandomCrop((9, 9), pad_if_needed=True), RandomCrop((2, 2)), "crop 9x9 does not fit"),
        (CenterCrop((8, 9)), RandomCrop((2, 2)), "crop 8x9 does not fit image 8x8"),
    ],
)
def test_what_cannot_be_nested_is_refused(outer: Crop, inner: Crop, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        inclusion((8, 8), NestedCrop(outer, inner), Patch((1, 1)))


def test_nested_crops_are_made_of_crops() -> None:
    with pytest.raises(ValueError, match="made of crops"):
        NestedCrop((3, 3), RandomCrop((2, 2)))  # type: ignore[arg-type]


def test_an_outer_crop_of_which_only_a_bound_is_known_is_refused() -> None:
    """What it shows may always be the patch: 1 is possible where two uniform laws give 2/5."""
    outer, inner = RandomCrop((6,)), RandomCrop((2,))
    assert inclusion((8,), NestedCrop(outer, inner), Patch((1,))).probability == Fraction(2, 5)
    # Pixels 3 and 4 lie in all windows of six of eight: a crop that shows just them is within
    # the bound, and a crop of two of what it shows is both.
    for bound in (
        AtMost(outer),
        AtMost(AtMost(outer)),
        RandomApply(AtMost(outer), 1),
        Views((AtMost(outer),)),
        ChoiceCrop((AtMost(outer),), (1.0,)),
        NestedCrop(RandomCrop((7,)), AtMost(outer)),
        ResizedCrop(outer, Resize((8,)), interpolation="bilinear"),
    ):
        with pytest.raises(ValueError, match=r"outer .* must have a known law, not a bound"):
            NestedCrop(bound, inner)


def test_a_bound_inside_any_composite_is_a_bound_and_not_attained() -> None:
    crop, patch = RandomCrop((4,)), Patch((1,))
    exact = inclusion((8,), crop, patch).probability
    assert exact == Fraction(4, 5)
    half = Fraction(1, 2)
    for known, bound, expected in (
        (crop, AtMost(crop), exact),
        (RandomApply(crop, half), RandomApply(AtMost(crop), half), Fraction(9, 10)),
        (Views((crop, crop)), Views((crop, AtMost(crop))), Fraction(24, 25)),
        (
            ChoiceCrop((crop, crop), (half, half)),
            ChoiceCrop((crop, AtMost(crop)), (half, half)),
            exact,
        ),
        (
            NestedCrop(RandomCrop((7,)), crop),
            NestedCrop(RandomCrop((7,)), AtMost(crop)),
            inclusion((8,), NestedCrop(RandomCrop((7,)), crop), patch).probability,
        ),
        (AtMost(crop), AtMost(Views((AtMost(crop),))), exact),
    ):
        found = inclusion((8,), bound, patch)
        assert (found.probability, found.attained) == (expected, False)
        assert inclusion((8,), known, patch).probability == expected
        assert inclusion([(8,), (9,)], bound, patch).attained is False
        assert inclusion((8,), bound, Disk(0)).attained is False
        union = PatchUnion((Patch((1,), at=(0,)), Patch((1,), at=(7,))))
        assert inclusion((8,), bound, union).attained is False
    resized = ResizedCrop(AtMost(crop), Resize((8,)), interpolation="bilinear")
    assert inclusion((8,), resized, patch).attained is False
