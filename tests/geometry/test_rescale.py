"""The sizes an image is resized to."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchdp.geometry import (
    OneOf,
    Patch,
    RandomApply,
    RandomCrop,
    RandomResizedCrop,
    RandomScale,
    Resize,
    ResizedCrop,
    Views,
    WholeImage,
    inclusion,
)

factors = st.fractions(Fraction(1, 5), 3, max_denominator=6)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=2),
    factors,
    factors,
    st.sampled_from(("nearest", "down")),
)
def test_random_scale_equals_rounding_on_a_grid_that_knows_every_step(
    image: list[int], one: Fraction, other: Fraction, rounding: str
) -> None:
    low, high = sorted((one, other))
    sizes = RandomScale(low, high, rounding=rounding).sizes(tuple(image))  # type: ignore[arg-type]
    assert sum(p for p, _ in sizes) == 1 and all(p > 0 for p, _ in sizes)
    # Lengths change at multiples of 1 / (2 length): no cell of this grid holds a change.
    pieces = 2 * math.lcm(*image, low.denominator, high.denominator)
    cells = range(int(low * pieces), int(high * pieces))
    found: dict[tuple[int, ...], Fraction] = {}
    for k in cells:
        factor = (k + Fraction(1, 2)) / pieces
        half = Fraction(1, 2) if rounding == "nearest" else 0
        size = tuple(max(1, math.floor(n * factor + half)) for n in image)
        found[size] = found.get(size, Fraction(0)) + Fraction(1, len(cells))
    if cells:
        merged: dict[tuple[int, ...], Fraction] = {}
        for p, size in sizes:
            merged[size] = merged.get(size, Fraction(0)) + p
        assert merged == found


def test_sizes_of_known_resizings() -> None:
    assert Resize((5, 6)).sizes((50, 60)) == [(1, (5, 6))]
    assert Resize(256).sizes((375, 500)) == [(1, (256, 341))]
    assert Resize(256).sizes((500, 375)) == [(1, (341, 256))]
    assert RandomScale(2, 2).sizes((3, 4)) == [(1, (6, 8))]
    assert OneOf((Resize(4), RandomScale(1, 1))).sizes((8, 8)) == [
        (Fraction(1, 2), (4, 4)),
        (Fraction(1, 2), (8, 8)),
    ]


def test_several_views_of_one_resized_image_share_its_size() -> None:
    views = Views((RandomCrop((3, 3)),) * 2)
    fixed = ResizedCrop(views, Resize((6, 6)), interpolation="nearest")
    one = ResizedCrop(RandomCrop((3, 3)), Resize((6, 6)), interpolation="nearest")
    patch = Patch((2, 2), at=(0, 0))
    p = inclusion((9, 9), one, patch).probability
    assert inclusion((9, 9), fixed, patch).probability == 1 - (1 - p) ** 2
    drawn = ResizedCrop(views, RandomScale(1, 2), interpolation="nearest")
    with pytest.raises(ValueError, match="single window of known size"):
        inclusion((9, 9), drawn, patch)
    coin = RandomApply(RandomCrop((3, 3)), Fraction(1, 4))
    applied, always = (
        inclusion(
            (9, 9), ResizedCrop(crop, RandomScale(1, 2), interpolation="nearest"), patch
        ).probability
        for crop in (coin, RandomCrop((3, 3)))
    )
    assert applied == always / 4 + Fraction(3, 4)


def test_an_image_resized_whole_is_always_seen_and_to_its_own_size_is_not_resized() -> None:
    small = ResizedCrop(WholeImage(), Resize((3, 3)), interpolation="bilinear")
    assert inclusion((9, 9), small, Patch((1, 1))).probability == 1
    for crop in (RandomCrop((4, 4)), RandomResizedCrop()):
        same = ResizedCrop(crop, Resize((9, 9)), interpolation="bicubic")
        found, plain = (inclusion((9, 9), one, Patch((2, 1))) for one in (same, crop))
        assert found.probability == plain.probability
        assert found.worst_position == plain.worst_position
        # What a resizing library really computes may be less than what its kernel says.
        assert plain.attained and not found.attained


def test_nearest_without_antialiasing_can_skip_a_pixel_for_good() -> None:
    skips = ResizedCrop(WholeImage(), Resize((2,)), interpolation="nearest")
    assert inclusion((8,), skips, Patch((1,), at=(1,))).probability == 0
    assert inclusion((8,), skips, Patch((1,), at=(4,))).probability == 1


def test_a_wider_scale_range_at_the_same_window_is_no_less_likely_to_hit() -> None:
    # Smaller scales show more of the image in the same window.
    found = [
        inclusion(
            (48, 48),
            ResizedCrop(RandomCrop((12, 12)), RandomScale(low, 1), interpolation="bilinear"),
            Patch((3, 3)),
        ).probability
        for low in (1, Fraction(15, 16), Fraction(3, 4), Fraction(1, 2))
    ]
    assert found == sorted(found) and found[0] < found[-1]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Resize(0), "size must be a whole number of at least 1"),
        (lambda: Resize((4, 0)), "size"),
        (lambda: RandomScale(0, 1), "low must be a finite number above 0"),
        (lambda: RandomScale(2, 1), "high must be at least low"),
        (lambda: RandomScale(1, 2, rounding="up"), "rounding"),  # type: ignore[arg-type]
        (lambda: OneOf(()), "at least one resizing"),
        (lambda: OneOf((256,)), "at least one resizing"),  # type: ignore[arg-type]
        (
            lambda: ResizedCrop(RandomCrop((2,)), Resize(4), interpolation="cubic"),  # type: ignore[arg-type]
            "interpolation must be one of nearest",
        ),
        (
            lambda: ResizedCrop((2,), Resize(4), interpolation="area"),  # type: ignore[arg-type]
            "crop must be a crop",
        ),
        (
            lambda: ResizedCrop(RandomCrop((2,)), 4, interpolation="area"),  # type: ignore[arg-type]
            "resizing must be",
        ),
    ],
)
def test_bad_resizings_are_refused(make: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()  # type: ignore[operator]
