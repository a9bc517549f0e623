"""A chain of transforms read in order: against walking the same chain through real pixels."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchdp as pdp
from patchdp.geometry import (
    AtMost,
    CenterCrop,
    FixedCrop,
    NestedCrop,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    ResizedCrop,
    TenCrop,
    WholeImage,
    hit_probability,
)
from patchdp.geometry.choice import ChoiceCrop
from patchdp.geometry.rescale import RandomScale
from patchdp.geometry.symmetry import mirrored_alike, turned_alike
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

# One axis is enough to walk a chain by hand: the outcomes are (probability, pixels that show).
Outcome = tuple[Fraction, tuple[int, ...]]
NOTHING = -1


def random_crop(size: int) -> Any:
    def read(chain: Pipeline) -> None:
        chain.crop_by(RandomCrop((size,)), "RandomCrop")

    def walk(pixels: tuple[int, ...]) -> list[Outcome]:
        offsets = len(pixels) - size + 1
        return [(Fraction(1, offsets), pixels[o : o + size]) for o in range(offsets)]

    return read, walk


def center_crop(size: int) -> Any:
    def read(chain: Pipeline) -> None:
        chain.center((size,), lambda n, c: (n - c) // 2, "CenterCrop")

    def walk(pixels: tuple[int, ...]) -> list[Outcome]:
        first = (len(pixels) - size) // 2
        return [(Fraction(1), pixels[first : first + size])]

    return read, walk


def pad(before: int, after: int) -> Any:
    def read(chain: Pipeline) -> None:
        chain.pad([(before, after)], "constant", "Pad")

    def walk(pixels: tuple[int, ...]) -> list[Outcome]:
        return [(Fraction(1), (NOTHING,) * before + pixels + (NOTHING,) * after)]

    return read, walk


def flip() -> Any:
    def walk(pixels: tuple[int, ...]) -> list[Outcome]:
        return [(Fraction(1, 2), pixels), (Fraction(1, 2), pixels[::-1])]

    return lambda chain: chain.flip(0, "Flip"), walk


def maybe(chance: Fraction, inner: Any) -> Any:
    read, walk = inner

    def toss(pixels: tuple[int, ...]) -> list[Outcome]:
        done = [(chance * share, shown) for share, shown in walk(pixels)]
        return [*done, (1 - chance, pixels)]

    return lambda chain: chain.maybe(chance, read, "RandomApply"), toss


steps = st.one_of(
    st.integers(1, 5).map(random_crop),
    st.integers(1, 5).map(center_crop),
    st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda sides: pad(*sides)),
    st.builds(flip),
    st.integers(1, 5).map(lambda size: maybe(Fraction(1, 3), random_crop(size))),
)


@given(st.integers(5, 8), st.lists(steps, max_size=4))
def test_a_chain_is_never_read_too_low_and_exactly_where_it_says_so(
    length: int, chain: list[Any]
) -> None:
    outcomes: list[Outcome] = [(Fraction(1), tuple(range(length)))]
    for _, walk in chain:
        if any(not shown for _, shown in outcomes):
            return
        try:
            outcomes = [
                (share * part, shown) for share, pixels in outcomes for part, shown in walk(pixels)
            ]
        except ZeroDivisionError:
            return  # a crop larger than what it is given
        if any(len(set(shown)) == 0 for _, shown in outcomes):
            return
    true: Counter[int] = Counter()
    for share, shown in outcomes:
        for pixel in set(shown) - {NOTHING}:
            true[pixel] += share  # type: ignore[assignment]
    pipeline = Pipeline((length,))
    try:
        for read, _ in chain:
            read(pipeline)
        crop = pipeline.result()
    except ValueError:
        return  # refused
    said = hit_probability((length,), crop, np.arange(length)[:, None], [1])
    for pixel, found in enumerate(said):
        if crop.exact:
            assert found == pytest.approx(float(true[pixel]), rel=1e-12), pixel
        else:
            assert found >= float(true[pixel]) - 1e-12, pixel


def read(image: Any, *calls: Any) -> Any:
    chain = Pipeline(image)
    for name, *arguments in calls:
        getattr(chain, name)(*arguments)
    return chain.result()


TALL = (16, 12)
CROP = RandomCrop((8, 6))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], WholeImage()),
        ([("pad", [(1, 1), (2, 2)], "reflect", "Pad")], WholeImage()),
        ([("crop_by", CROP, "a"), ("statistics", "b"), ("neighbourhood", "c")], CROP),
        ([("hide", "Cutout")], AtMost(WholeImage())),
        ([("turn", (0, 1), "Transpose"), ("flip", 0, "Flip")], WholeImage()),
        ([("erase", 0.5, (0.1, 0.2), (1.0, 1.0), "e"), ("crop_by", CROP, "a")], AtMost(CROP)),
        ([("crop_by", CROP, "a"), ("erase", 0.0, (0.1, 0.2), (1.0, 1.0), "e")], CROP),
        ([("crop_by", CROP, "a"), ("erase", 0.5, (0.0, 0.2), (1.0, 1.0), "e")], AtMost(CROP)),
        ([("crop_by", CROP, "a"), ("flip", 0, "f"), ("erase", 0.5, (0.1, 0.2), (1.0, 1.0), "e")],
         RandomErasing(CROP, 0.5, scale=(0.1, 0.2), ratio=(1.0, 1.0))),
        ([("crop_by", CROP, "a"), ("turn", (0, 1), "t"), ("crop_by", RandomCrop((6, 4)), "b")],
         AtMost(CROP)),
        ([("crop_by", CROP, "a"), ("crop_by", RandomCrop((9, 9)), "b")], AtMost(CROP)),
        ([("crop_by", CROP, "a"), ("crop_by", RandomCrop((4, 4)), "b"),
          ("crop_by", RandomCrop((2, 2)), "c")], AtMost(NestedCrop(CROP, RandomCrop((4, 4))))),
        ([("crop_by", TenCrop((8, 6)), "a"), ("crop_by", RandomCrop((4, 4)), "b")],
         AtMost(TenCrop((8, 6)))),
        ([("resize", Resize((8, 12)), "bilinear", "r"), ("resize", Resize((8, 6)), "area", "s"),
          ("crop_by", RandomCrop((4, 4)), "a")],
         ResizedCrop(ResizedCrop(RandomCrop((4, 4)), Resize((8, 6)), interpolation="area"),
                     Resize((8, 12)), interpolation="bilinear")),
        ([("pad", [(1, 2), (0, 0)], "constant", "p"), ("center", (8, 6), lambda n, c: 0, "c")],
         FixedCrop((8, 6), at=(-1, 0))),
        ([("maybe", 0.25, lambda b: b.crop_by(CROP, "a"), "m")], RandomApply(CROP, 0.25)),
        ([("maybe", 0, lambda b: b.crop_by(CROP, "a"), "m")], WholeImage()),
        ([("choose", [(0.5, lambda b: b.crop_by(CROP, "a")),
                      (0.5, lambda b: b.crop_by(CenterCrop((8, 6)), "b"))], "c")],
         ChoiceCrop((CROP, CenterCrop((8, 6))), (0.5, 0.5))),
        ([("crop_by", CROP, "a"), ("maybe", 0.5, lambda b: b.neighbourhood("blur"), "m"),
          ("crop_by", RandomCrop((4, 4)), "b")], AtMost(CROP)),
        ([("flip", 1, "f"), ("crop_by", RandomResizedCrop(), "a")], RandomResizedCrop()),
    ],
)  # fmt: skip
def test_chains(calls: Any, expected: Any) -> None:
    assert read(TALL, *calls) == expected


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([("flip", 0, "Flip"), ("crop_by", RandomCrop((8, 6), padding=((1, 0), (0, 0))), "a")],
         "Flip before RandomCrop.*treats the two sides differently"),
        # The window lies in the middle of the image, but not of the padded mirror image.
        ([("pad", [(0, 4), (0, 0)], "constant", "p"), ("flip", 0, "Flip"),
          ("crop_by", FixedCrop((8, 6), at=(4, 3)), "a")], "Flip of an unevenly padded image"),
        ([("turn", (0, 1), "Turn"), ("crop_by", RandomCrop((6, 6)), "a")], "square images"),
        ([("pad", [(1, 1), (1, 1)], "constant", "p"), ("pad", [(1, 1), (1, 1)], "constant", "q")],
         "q after another change of size"),
        ([("pad", [(-1, 1), (1, 1)], "constant", "p")], "negative padding"),
        ([("resize", Resize(8), "bilinear", "r"), ("pad", [(1, 1), (1, 1)], "edge", "p")],
         "p after another change of size"),
        ([("pad", [(1, 1), (1, 1)], "edge", "p"), ("center", (8, 6), lambda n, c: 0, "c")],
         "padded by copies"),
        ([("resize", RandomScale(0.5, 1.0), "bilinear", "r"),
          ("center", (4, 4), lambda n, c: 0, "c")], "image of random size"),
        ([("crop_by", RandomResizedCrop(), "a", ), ("center", (4, 4), lambda n, c: 0, "c")],
         "not known here"),
        ([("maybe", 0.5, lambda b: b.pad([(1, 1), (1, 1)], "edge", "p"), "m")],
         "m changes the image's size with some chance"),
        ([("in_any_order", [lambda b: b.crop_by(CROP, "a")], "o")], "o of transforms that crop"),
    ],
)  # fmt: skip
def test_refused(calls: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason):
        read(TALL, *calls)


def test_several_sizes() -> None:
    sizes = [(16, 12), (20, 12)]
    with pytest.raises(UnsupportedTransform, match="one image size at a time"):
        read(sizes, ("center", (8, 7), lambda n, c: n - c, "c"))
    assert read(sizes, ("center", (8, 6), lambda n, c: (n - c) // 2, "c")) == CenterCrop((8, 6))
    assert read(sizes, ("crop_by", CROP, "a")) == CROP


def listed(crop: Any, length: int) -> list[float]:
    return [float(p) for p in hit_probability((length,), crop, np.arange(length)[:, None], [1])]


@given(
    st.integers(2, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 4),
    st.sampled_from(["constant", "symmetric", "edge"]),
)  # fmt: skip
def test_symmetry_is_that_of_the_hits(
    length: int, size: int, before: int, after: int, mode: Any
) -> None:
    crop = RandomCrop((size,), padding=((before, after),), padding_mode=mode, pad_if_needed=True)
    if mode != "constant" and max(before, after) > length:
        return
    if mirrored_alike(crop, (length,), 0):
        found = listed(crop, length)
        assert found == pytest.approx(found[::-1], rel=1e-12)


def test_asymmetry_is_seen() -> None:
    for pair, alike in {(0, 0): True, (2, 2): True, (0, 1): False, (3, 0): False}.items():
        crop = RandomCrop((3,), padding=(pair,))
        assert mirrored_alike(crop, (8,), 0) == alike
        found = listed(crop, 8)
        assert np.allclose(found, found[::-1], rtol=1e-12, atol=0) == alike


def test_a_turn_leaves_square_windows_of_square_images() -> None:
    assert turned_alike(RandomCrop((4, 4), padding=1), (8, 8), (0, 1))
    assert not turned_alike(RandomCrop((4, 4)), (8, 9), (0, 1))
    assert not turned_alike(RandomCrop((4, 5)), (8, 8), (0, 1))
    assert not turned_alike(FixedCrop((4, 4), at=(1, 1)), (8, 8), (0, 1))


def test_a_choice_of_crops() -> None:
    half = Fraction(1, 2)
    found = pdp.inclusion(
        (8,),
        ChoiceCrop((RandomCrop((4,)), FixedCrop((2,), at=(0,))), (half, half)),
        pdp.Patch((1,)),
    )
    # Pixel 1: two of five windows and always; pixels 3 and 4: four of five windows and never.
    assert (found.probability, found.worst_position) == (Fraction(7, 10), (1,))
    with pytest.raises(ValueError, match="weights must be 2 probabilities that sum to 1"):
        ChoiceCrop((CROP, CROP), (half, 0.1))
    with pytest.raises(ValueError, match="at least one crop"):
        ChoiceCrop((), ())
