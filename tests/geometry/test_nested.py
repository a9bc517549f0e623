"""Crops of crops: what is refused."""

from __future__ import annotations

import pytest

from patchdp.geometry import (
    CenterCrop,
    Crop,
    NestedCrop,
    Patch,
    RandomApply,
    RandomCrop,
    RandomResizedCrop,
    Views,
    inclusion,
)


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
