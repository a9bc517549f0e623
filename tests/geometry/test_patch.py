"""What is private and where: values, validation, pixel sets."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchdp.geometry import Disk, Mask, Patch, PatchUnion, RandomCrop, inclusion

PATCHES = [
    Patch((10,)),
    Patch((10, 3, 1), at=(0, 4, 2)),
    Patch((2, 2), within=((1, 5), (0, 2)), count=3),
    Mask([[0, 1], [1, 1]]),
    Mask([1, 0, 1], at=(4,)),
    Mask([[1, 1]], within=((0, 3), (2, 9)), count=2),
    Disk(3),
    Disk(2.5, at=(1, 1)),
    Disk(Fraction(7, 2), within=((0, 9), (0, 9)), count=2),
    PatchUnion((Patch((2, 2), at=(0, 0)), Disk(1, at=(4, 4)), Mask([[1]], at=(9, 9)))),
]


@pytest.mark.parametrize("patch", PATCHES, ids=repr)
def test_patches_are_values_whose_repr_pastes_back(patch: Patch) -> None:
    again = eval(repr(patch))
    assert again == patch and hash(again) == hash(patch)
    assert len({patch, again}) == 1
    with pytest.raises(AttributeError):
        patch.count = 2  # type: ignore[misc]


def test_numpy_integers_and_lists_are_sizes_too() -> None:
    size = np.array([3, 4])
    patch = Patch(size, at=[np.int64(1), 2])  # type: ignore[arg-type]
    assert patch == Patch((3, 4), at=(1, 2)) and type(patch.size[0]) is int


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
def test_a_mask_is_its_set_of_pixels_whatever_the_empty_border(pixels: np.ndarray) -> None:
    if not pixels.any():
        with pytest.raises(ValueError, match="at least one private pixel"):
            Mask(pixels)
        return
    at = tuple(range(pixels.ndim))
    mask = Mask(pixels, at=at)
    wide = Mask(np.pad(pixels, 1), at=tuple(a - 1 if a else 0 for a in at))
    inside = np.argwhere(mask.pixels(pixels.ndim)) + mask.at
    assert {*map(tuple, inside)} == {*map(tuple, np.argwhere(pixels) + at)}
    assert wide.size == mask.size and wide.packed == mask.packed
    assert Mask(pixels.astype(int)) == Mask(pixels)


@given(
    st.one_of(
        st.integers(0, 6),
        st.fractions(0, 6, max_denominator=20),
        st.floats(0, 6, allow_subnormal=False),
    ),
    st.integers(1, 3),
)
def test_a_disk_is_the_lattice_points_within_its_radius(radius: Fraction, axes: int) -> None:
    disk = Disk(radius)
    shape = disk.shape(axes)
    reach = shape[0] // 2
    pixels = disk.pixels(axes)
    assert pixels.shape == shape
    for v in itertools.product(range(-reach - 1, reach + 2), repeat=axes):
        inside = sum(x * x for x in v) <= Fraction(radius) ** 2
        at = tuple(x + reach for x in v)
        found = all(0 <= x < n for x, n in zip(at, shape, strict=True)) and bool(pixels[at])
        assert inside == found, v


def test_a_union_is_the_union_of_its_pixels() -> None:
    union = PatchUnion(
        (Patch((2, 3), at=(1, 1)), Mask([[0, 1], [1, 0]], at=(0, 4)), Disk(1, at=(4, 0)))
    )
    mask = union.placed(2)
    expected = np.zeros((8, 8), dtype=bool)
    expected[1:3, 1:4] = True
    expected[0, 5] = expected[1, 4] = True
    expected[4:7, 1] = expected[5, 0:3] = True
    drawn = np.zeros_like(expected)
    cut = tuple(slice(a, a + n) for a, n in zip(mask.at or (), mask.size, strict=True))
    drawn[cut] = mask.pixels(2)
    assert (drawn == expected).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Patch((0, 3)), "patch must be a whole number of at least 1, got 0"),
        (lambda: Patch((2.5, 3)), "patch .* got 2.5"),
        (lambda: Patch(()), "at least one axis"),
        (lambda: Patch("3x3"), "patch must be a tuple"),
        (lambda: Patch(3), "patch must be a tuple"),
        (lambda: Patch((True, 2)), "got True"),
        (lambda: Patch((2, 2), at=(0,)), "at must have 2 axes"),
        (lambda: Patch((2, 2), at=(-1, 0)), "at must be a whole number of at least 0"),
        (lambda: Patch((2,), within=((3, 3),)), "stop"),
        (lambda: Patch((4,), within=((0, 3),)), "patch 4 does not fit within"),
        (lambda: Patch((2,), within=(0, 3)), "one .start, stop. pair per axis"),
        (lambda: Patch((2,), at=(0,), within=((0, 3),)), "leaves nothing"),
        (lambda: Patch((2,), count=0), "count must be a whole number of at least 1"),
        (lambda: Patch((2,), at=(0,), count=2), "count must be 1"),
        (lambda: Mask([[1, 0], [1]]), "rectangular"),
        (lambda: Mask([[0, 2]]), "0 and 1"),
        (lambda: Mask([0.5]), "0 and 1"),
        (lambda: Mask([]), "0 and 1|at least one"),
        (lambda: Mask(True), "at least one axis"),
        (lambda: Disk(-1), "radius must be a finite number of at least 0, got -1"),
        (lambda: Disk(float("nan")), "radius"),
        (lambda: Disk(float("inf")), "radius"),
        (lambda: Disk("3"), "radius"),
        (lambda: Disk(3, within=((0, 6), (0, 9))), "does not fit within"),
        (lambda: PatchUnion(()), "at least one patch"),
        (lambda: PatchUnion((Patch((1,)),)), "at= given"),
        (lambda: PatchUnion((Patch((1,), at=(0,)), Patch((1, 1), at=(0, 0)))), "same number"),
        (lambda: PatchUnion(Patch((1,), at=(0,))), "tuple of patches"),
    ],
)
def test_bad_patches_are_refused_in_one_sentence(make: object, match: str) -> None:
    with pytest.raises(ValueError, match=match) as error:
        make()  # type: ignore[operator]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("image", "crop", "patch", "match"),
    [
        ((512, 512), (600, 600), Patch((3, 3)), "crop 600x600 does not fit image 512x512; pad"),
        ((9, 9), (4, 4), Patch((10, 1)), "patch 10x1 does not fit image 9x9"),
        ((9, 9), (4, 4), Patch((3,)), "patch 3 has 1 axes, image has 2"),
        ((9, 9), (4, 4, 4), Patch((3, 3)), "crop 4x4x4 has 3 axes, image 9x9 has 2"),
        ((9, 9), (4, 4), Patch((3, 3), at=(7, 0)), "leaves image 9x9"),
        ((9, 9), (4, 4), Patch((3, 3), within=((0, 9), (4, 10))), "leaves image 9x9"),
        ((9, 9), (4, 4), Mask(np.ones((2, 2, 2), bool)), "mask 2x2x2 has 3 axes"),
        ((9, 9), (4, 4), Disk(5), "patch 11x11 does not fit"),
        ((9, 9), (4, 4), Disk(1, at=(0,)), "disk is placed in 1 axes"),
        ((9, 9), (4, 4), PatchUnion((Patch((3, 3), at=(8, 8)),)), "leaves image 9x9"),
        ((0, 9), (4, 4), Patch((1, 1)), "image must be a whole number of at least 1, got 0"),
        ([], (4, 4), Patch((1, 1)), "image must have at least one axis"),
        ("9x9", (4, 4), Patch((1, 1)), "image must be a size"),
        ([(9, 9), (9,)], (4, 4), Patch((1, 1)), "same number of axes"),
        ([(9, 9), (3, 9)], (4, 4), Patch((1, 1)), "crop 4x4 does not fit image 3x9"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    image: tuple[int, ...], crop: tuple[int, ...], patch: Patch, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        inclusion(image, RandomCrop(crop), patch)
