"""Hit probabilities never fall below the exact ones, and hardly exceed them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from patchdp.geometry import (
    Crop,
    Cutout,
    Disk,
    Patch,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomSizeCrop,
    Views,
    hit_probability,
    inclusion,
    law,
)
from patchdp.geometry.rounded_sides import relative_error


def exact_rows(crop: Crop, image: tuple[int, int], corner: list[int], size: list[int]) -> Fraction:
    """The sum over all components in fractions, for the weights as the floats they are."""
    (found,) = crop.laws(image)
    shares = []
    for axis, laws in enumerate(found.axes):
        ends = np.array([corner[axis]]), np.array([corner[axis] + size[axis]])
        shares.append([part.exact(part.keys(*ends)[0].tolist()) for part in laws])
    total = Fraction(0)
    for weight, (row, column) in zip(found.weights, found.index.tolist(), strict=True):
        total += Fraction(float(weight)) * shares[0][row] * shares[1][column]
    return total


CROPS: list[tuple[Crop, tuple[int, int]]] = [
    (RandomResizedCrop(), (40, 61)),
    (RandomResizedCrop(scale=(1e-3, 2e-3)), (300, 300)),
    (RandomErasing(RandomCrop((20, 20)), 0.5), (40, 61)),
    (RandomErasing(RandomCrop((20, 20), padding=3), 1.0, scale=(0.4, 0.9)), (40, 61)),
]


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize(("crop", "image"), CROPS, ids=repr)
def test_sums_over_many_sizes_are_raised_past_their_rounding(
    crop: Crop, image: tuple[int, int], tables: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tables:
        monkeypatch.setattr(law, "MOST_PRODUCTS", 0)
    last = [n - 1 for n in image]
    boxes = [([0, 0], [1, 1]), (last, [1, 1]), ([3, 0], [5, 9]), ([18, 20], [2, 3]),
             ([0, 0], list(image)), ([image[0] - 2, 0], [2, 1])]  # fmt: skip
    found = hit_probability(image, crop, [at for at, _ in boxes], [size for _, size in boxes])
    for p, (corner, size) in zip(found, boxes, strict=True):
        truth = exact_rows(crop, image, corner, size)
        assert Fraction(float(p)) >= min(truth, 1)
        off = 1e-11 if tables or isinstance(crop, RandomErasing) else 2e-12 * float(truth)
        assert float(p) <= float(truth) + off


def mp_area(
    area: tuple[float, float], ratio: tuple[float, float], top: mp.mpf, left: mp.mpf
) -> mp.mpf:
    """Part of a unit square in `area[0] <= H W <= area[1]`, `ratio[0] <= W / H <= ratio[1]`."""
    a, r = [mp.mpf(x) for x in area], [mp.mpf(x) for x in ratio]
    bottom, right = top + 1, left + 1
    between = top * left >= a[0] and bottom * right <= a[1]
    if between and left >= r[0] * bottom and right <= r[1] * top:
        return mp.mpf(1)

    def width(h: mp.mpf) -> mp.mpf:
        return max(mp.mpf(0), min(right, a[1] / h, r[1] * h) - max(left, a[0] / h, r[0] * h))

    cuts = [top, bottom]
    cuts += [mp.sqrt(x / y) for x, y in itertools.product(a, r)]
    cuts += [x / y for x, y in itertools.product(a, (left, right))]
    cuts += [x / y for x, y in itertools.product((left, right), r)]
    return mp.quad(width, sorted(c for c in cuts if top <= c <= bottom))


def test_the_last_pixel_under_tiny_crops_against_50_digits() -> None:
    """Differences of tables were off by 2.5e-9 of it, to either side."""
    side, scale, ratio = 3000, (1e-4, 2e-4), (3 / 4, 4 / 3)
    area = (side * side * scale[0], side * side * scale[1])
    with mp.workdps(50):
        whole = (mp.mpf(area[1]) - mp.mpf(area[0])) * mp.log(mp.mpf(ratio[1]) / ratio[0]) / 2
        truth = mp.mpf(0)
        for h, w in itertools.product(range(24, 52), repeat=2):
            if h * w < 0.9 * area[0] or h * w > 1.1 * area[1]:
                continue
            part = mp_area(area, ratio, mp.mpf(h) - 0.5, mp.mpf(w) - 0.5)
            truth += part / whole / ((side - h + 1) * (side - w + 1))
        crop = RandomResizedCrop(scale=scale, ratio=ratio)
        (found,) = hit_probability((side, side), crop, [[side - 1, side - 1]], [1, 1])
        assert truth * (1 - mp.mpf(10) ** -30) <= mp.mpf(float(found)) <= truth * (1 + 2e-12)


def test_small_exact_laws_are_raised_to_the_next_floats_only() -> None:
    image = (13, 17)
    crops = [RandomCrop((5, 6)), Cutout(RandomCrop((5, 6)), (3, 3)), RandomSizeCrop((2, 3), (9, 9)),
             Views((RandomCrop((5, 6)),) * 3), RandomApply(RandomCrop((5, 6)), 0.3)]  # fmt: skip
    for crop, corner in itertools.product(crops, ([0, 0], [12, 16], [5, 7])):
        patch = Patch((1, 1), at=tuple(corner))
        truth = inclusion(image, crop, patch).probability
        assert isinstance(truth, Fraction)
        (found,) = hit_probability(image, crop, [corner], [1, 1])
        assert truth <= Fraction(float(found)) <= truth + Fraction(1, 10**14)


def test_a_float_that_is_not_known_to_a_part_in_a_trillion_is_not_called_attained() -> None:
    patch = Patch((3, 3))
    assert inclusion((64, 64), RandomResizedCrop(), patch).attained
    narrow = RandomResizedCrop(scale=(0.3, 0.3 * (1 + 1e-9)))
    assert relative_error(narrow.scale, narrow.ratio) > 1e-8
    for shape in (patch, Disk(1)):
        found = inclusion((64, 64), narrow, shape)
        assert not found.attained
        near = inclusion((64, 64), RandomResizedCrop(scale=(0.3, 0.3)), shape)
        assert float(near.probability) == pytest.approx(float(found.probability), rel=1e-5)
    # Nearly all that is seen of the patch is erased: the difference is known to few digits.
    erased = RandomErasing(RandomCrop((64, 64)), 1 - 1e-9, scale=(0.9, 0.99), ratio=(1, 1.0))
    found = inclusion((64, 64), erased, Patch((1, 1), at=(32, 32)))
    assert 0 < float(found.probability) < 1e-2
