"""Crops as values: validation, and figures worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from patchdp.geometry import (
    CenterCrop,
    Cutout,
    FiveCrop,
    FixedCrop,
    GridCrop,
    Patch,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomSizeCrop,
    TenCrop,
    Views,
    inclusion,
    inclusion_map,
)


def test_cifar_padding_by_hand() -> None:
    # 9 offsets per axis. At rows 0 to 4 the first and last windows miss nothing.
    crop = RandomCrop((32, 32), padding=4)
    assert inclusion((32, 32), crop, Patch((5, 5))).probability == 1
    assert inclusion((32, 32), crop, Patch((5, 5), at=(0, 0))).probability == 1
    assert inclusion((32, 32), crop, Patch((1, 1), at=(0, 0))).probability == Fraction(25, 81)
    mirrored = RandomCrop((32, 32), padding=4, padding_mode="reflect")
    # Row 1 is in 6 of 9 windows; its copy at -1 adds none before, and none is left out after.
    assert inclusion((32, 32), mirrored, Patch((1, 1), at=(0, 0))).probability == Fraction(25, 81)
    assert inclusion((32, 32), mirrored, Patch((1, 1), at=(1, 16))).probability == Fraction(6, 9)


def test_the_mirror_image_moves_the_centre_by_one() -> None:
    five, ten = FiveCrop((2, 2)), TenCrop((2, 2))
    places = [inclusion((9, 9), crop, Patch((1, 1), at=(4, 3))).probability for crop in (five, ten)]
    assert places == [0, 1]
    upright = TenCrop((2, 2), vertical_flip=True)
    assert inclusion((9, 9), upright, Patch((1, 1), at=(3, 4))).probability == 1
    assert inclusion((9, 9), upright, Patch((1, 1), at=(4, 3))).probability == 0


def test_volumes_clips_and_sound_are_axes_like_any_other() -> None:
    volume = inclusion((155, 240, 240), RandomCrop((64, 64, 64)), Patch((8, 8, 8)))
    assert volume.probability == Fraction(71, 92) * Fraction(71, 177) ** 2
    clip = inclusion((16, 112, 112), RandomCrop((16, 56, 56)), Patch((1, 8, 8)))
    assert clip.probability == Fraction(57, 57) ** 2
    sound = inclusion((16000,), RandomCrop((4000,)), Patch((160,)))
    assert sound.probability == Fraction(4159, 12001)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RandomCrop((0, 3)), "crop must be a whole number of at least 1, got 0"),
        (lambda: RandomCrop(32), "crop must be a tuple"),
        (lambda: RandomCrop((3, 3), padding=-1), "padding must be a whole number of at least 0"),
        (lambda: RandomCrop((3, 3), padding=1.5), "padding"),
        (lambda: RandomCrop((3, 3), padding=(1, 2)), "one .before, after. pair per axis"),
        (lambda: RandomCrop((3, 3), padding=((1, 2),)), "2 .before, after. pairs"),
        (lambda: RandomCrop((3, 3), padding_mode="wrap"), "padding_mode must be one of constant"),
        (lambda: FixedCrop((3, 3), at=(0,)), "at must have 2 axes"),
        (lambda: GridCrop((3, 3), stride=(1,)), "stride must have 2 axes"),
        (lambda: CenterCrop((3, 0)), "crop must be a whole number"),
        (lambda: RandomSizeCrop((3, 3), (2, 4)), "largest must be at least smallest"),
        (lambda: Views(()), "at least one crop"),
        (lambda: Views(((3, 3),)), "at least one crop"),
        (lambda: Views(RandomCrop((3,))), "tuple of crops"),
        (lambda: FiveCrop((3,)), "two axes"),
        (lambda: RandomApply(RandomCrop((3,)), 0), "probability must be above 0 and at most 1"),
        (lambda: RandomApply(RandomCrop((3,)), 1.5), "probability"),
        (lambda: RandomApply("crop", 0.5), "crop must be a crop"),
        (lambda: Cutout(RandomCrop((3, 3)), (4, 1)), "erased box 4x1 must fit the crop 3x3"),
        (lambda: Cutout(RandomCrop((3, 3)), (1,)), "axes"),
        (lambda: Cutout(CenterCrop((3, 3)), (1, 1)), "must be a RandomCrop"),
        (lambda: RandomErasing(RandomCrop((3,)), 0.5), "two axes"),
        (lambda: RandomErasing(RandomCrop((3, 3)), 0.5, scale=(0.5, 0.1)), "scale"),
        (
            lambda: RandomErasing(RandomCrop((3, 3), padding=1, padding_mode="edge"), 0.5),
            "constant padding",
        ),
    ],
)
def test_bad_crops_are_refused_in_one_sentence(make: object, match: str) -> None:
    with pytest.raises(ValueError, match=match) as error:
        make()  # type: ignore[operator]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "crop",
    [
        RandomCrop((9, 9)),
        GridCrop((9, 9), stride=(9, 9)),
        FiveCrop((9, 9)),
        RandomSizeCrop((3, 3), (9, 3)),
    ],
)
def test_crops_that_do_not_fit_say_so(crop: RandomCrop) -> None:
    with pytest.raises(ValueError, match=r"does not fit image 8x8; .*use a smaller"):
        inclusion((8, 8), crop, Patch((1, 1)))
    with pytest.raises(ValueError, match="axes"):
        inclusion_map((8,), crop, Patch((1,)))


def test_padding_shows_in_the_message() -> None:
    with pytest.raises(ValueError, match="does not fit image 4x4 padded to 6x4"):
        inclusion((4, 4), RandomCrop((7, 4), padding=((1, 1), (0, 0))), Patch((1, 1)))
