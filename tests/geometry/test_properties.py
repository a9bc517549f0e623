"""What must hold of inclusion probabilities, for all images, crops and patches."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from patchdp.geometry import (
    Crop,
    Cutout,
    Disk,
    FiveCrop,
    Mask,
    Patch,
    PatchUnion,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomScale,
    ResizedCrop,
    TenCrop,
    Views,
    hit_probability,
    inclusion,
    inclusion_map,
)

MODES = ("reflect", "symmetric", "edge", "circular")


@st.composite
def settings_of(draw: Any, most: int = 400) -> tuple[tuple[int, int], RandomCrop, Patch]:
    """An image, a crop with some padding, a patch; corners included."""
    image = tuple(draw(st.lists(st.integers(1, most), min_size=1, max_size=3)))
    pad = draw(st.sampled_from((0, 0, 1, 7)))
    crop = tuple(draw(st.one_of(st.just(n + 2 * pad), st.integers(1, n + 2 * pad))) for n in image)
    patch = tuple(draw(st.one_of(st.just(1), st.just(n), st.integers(1, n))) for n in image)
    return image, RandomCrop(crop, padding=pad), Patch(patch)


def p(image: tuple[int, ...], crop: Crop, patch: Patch | Mask | Disk) -> Fraction:
    found = inclusion(image, crop, patch).probability
    assert isinstance(found, Fraction)
    return found


@given(settings_of(), st.data())
def test_grows_with_patch_and_crop_and_shrinks_with_the_image(
    case: tuple[tuple[int, ...], RandomCrop, Patch], data: st.DataObject
) -> None:
    image, crop, patch = case
    axis = data.draw(st.integers(0, len(image) - 1))

    def longer(size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n + (k == axis) for k, n in enumerate(size))

    base = p(image, crop, patch)
    assert 0 < base <= 1
    assert p(longer(image), crop, patch) <= base
    if patch.size[axis] < image[axis]:
        assert p(image, crop, Patch(longer(patch.size))) >= base
    margins = 2 * crop.margins(axis)[0]
    if crop.size[axis] < image[axis] + margins:
        assert p(image, RandomCrop(longer(crop.size), padding=crop.padding), patch) >= base


def test_one_sided_padding_wider_than_the_crop_is_the_exception() -> None:
    crop = RandomCrop((2,), padding=((0, 2),))
    assert [p((n,), crop, Patch((1,))) for n in (1, 2)] == [Fraction(1, 2), Fraction(2, 3)]
    # And the worst place is then at the far end.
    found = inclusion((6,), RandomCrop((3,), padding=((0, 9),)), Patch((1,)))
    assert (found.probability, found.worst_position) == (Fraction(3, 13), (2,))
    found = inclusion((6,), RandomCrop((3,), padding=((0, 1),)), Patch((1,)))
    assert (found.probability, found.worst_position) == (Fraction(3, 5), (2,))


@given(settings_of(), st.randoms())
def test_symmetric_under_swapping_axes_and_turning_one_round(
    case: tuple[tuple[int, ...], RandomCrop, Patch], rng: Any
) -> None:
    image, crop, patch = case
    order = list(range(len(image)))
    rng.shuffle(order)

    def swap(size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size[k] for k in order)

    swapped = RandomCrop(swap(crop.size), padding=crop.padding)
    assert p(swap(image), swapped, Patch(swap(patch.size))) == p(image, crop, patch)
    some = tuple((rng.randint(0, 5), rng.randint(0, 5)) for _ in image)
    size = tuple(min(c, n) for c, n in zip(crop.size, image, strict=True))
    turned = tuple((after, before) for before, after in some)
    assert p(image, RandomCrop(size, padding=some), patch) == p(
        image, RandomCrop(size, padding=turned), patch
    )


@given(settings_of(most=40))
@settings(max_examples=50)
def test_box_and_full_mask_agree_and_so_do_map_and_boxes(
    case: tuple[tuple[int, ...], RandomCrop, Patch],
) -> None:
    image, crop, patch = case
    box = inclusion(image, crop, patch)
    mask = inclusion(image, crop, Mask(np.ones(patch.size, dtype=bool)))
    assert box == mask
    found = inclusion_map(image, crop, patch)
    assert math.isclose(found.max(), float(box.probability), rel_tol=1e-14)
    first = np.unravel_index(int(np.argmax(found >= found.max() * (1 - 1e-13))), found.shape)
    assert tuple(map(int, first)) == box.worst_position
    corners = np.argwhere(np.ones(found.shape, dtype=bool))
    listed = hit_probability(image, crop, corners, patch.size)
    np.testing.assert_allclose(listed, found.ravel(), rtol=1e-14)


@given(settings_of(most=60))
def test_a_smaller_region_a_smaller_set_and_fewer_patches_are_no_worse(
    case: tuple[tuple[int, ...], RandomCrop, Patch],
) -> None:
    image, crop, patch = case
    base = p(image, crop, patch)
    half = tuple((n - max(a, n // 2), n) for n, a in zip(image, patch.size, strict=True))
    assert p(image, crop, Patch(patch.size, within=half)) <= base
    assert p(image, crop, Patch(patch.size, within=tuple((0, n) for n in image))) == base
    corner = Patch(patch.size, at=(0,) * len(image))
    assert p(image, crop, corner) <= base
    thin = np.zeros(patch.size, dtype=bool)
    thin[(0,) * thin.ndim] = thin[(-1,) * thin.ndim] = True
    assert p(image, crop, Mask(thin)) <= base
    far = tuple(n - a for n, a in zip(image, patch.size, strict=True))
    other = Patch(patch.size, at=far)
    union = inclusion(image, crop, PatchUnion((corner, other)))
    assert union.worst_position is None and union.attained
    both = p(image, crop, corner), p(image, crop, other)
    assert max(both) <= union.probability <= min(Fraction(1), sum(both))
    many = inclusion(image, crop, Patch(patch.size, count=3))
    assert many.probability == min(Fraction(1), 3 * base) and not many.attained


@given(settings_of(most=60), st.sampled_from(MODES), st.integers(1, 4))
def test_padding_by_copies_is_no_less_likely_to_hit_than_constant(
    case: tuple[tuple[int, ...], RandomCrop, Patch], mode: Any, margin: int
) -> None:
    image, crop, patch = case
    assume(mode != "reflect" or min(image) > margin)
    copied = RandomCrop(crop.size, padding=max(margin, crop.margins(0)[0]), padding_mode=mode)
    assume(mode != "reflect" or min(image) > copied.margins(0)[0])
    constant = RandomCrop(crop.size, padding=copied.padding)
    assert p(image, copied, patch) >= p(image, constant, patch)
    known = Patch(patch.size, at=(0,) * len(image))
    assert p(image, copied, known) >= p(image, constant, known)


@given(settings_of(most=60), settings_of(most=60))
def test_adding_a_view_and_leaving_images_whole_are_no_less_likely_to_hit(
    case: tuple[tuple[int, ...], RandomCrop, Patch],
    more: tuple[tuple[int, ...], RandomCrop, Patch],
) -> None:
    image, crop, patch = case
    size = tuple(1 + c % n for c, n in zip((more[1].size * 3), image, strict=False))
    base, two = p(image, crop, patch), p(image, Views((crop, RandomCrop(size))), patch)
    assert two >= base and two >= p(image, RandomCrop(size), patch)
    assert p(image, Views((crop, crop)), patch) == 1 - (1 - base) ** 2
    assert p(image, RandomApply(crop, Fraction(1, 3)), patch) == base / 3 + Fraction(2, 3)
    assert p(image, RandomApply(crop, 1), patch) == base


def test_the_worst_place_of_two_views_is_not_the_worst_of_either() -> None:
    left, right = RandomCrop((4,), padding=((0, 30),)), RandomCrop((4,), padding=((30, 0),))
    image, patch = (30,), Patch((1,))
    each = p(image, left, patch), p(image, right, patch)
    both = p(image, Views((left, right)), patch)
    found = inclusion_map(image, left, patch), inclusion_map(image, right, patch)
    combined = 1 - (1 - found[0]) * (1 - found[1])
    assert float(both) == pytest.approx(combined.max(), rel=1e-13)
    assert both <= 1 - (1 - each[0]) * (1 - each[1])


@given(st.integers(4, 30), st.integers(4, 30), st.data())
def test_five_crop_is_within_ten_crop(height: int, width: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    patch = Patch((data.draw(st.integers(1, height)), 1))
    five = inclusion((height, width), FiveCrop(size), patch)
    ten = inclusion((height, width), TenCrop(size, vertical_flip=data.draw(st.booleans())), patch)
    # One of them always shows the upper left corner.
    assert five.probability == ten.probability == 1
    assert five.worst_position == (0, 0)
    maps = [inclusion_map((height, width), c(size), patch) for c in (FiveCrop, TenCrop)]
    assert (maps[0] <= maps[1]).all() and set(np.unique(maps[1])) <= {0.0, 1.0}


@given(st.integers(2, 20), st.integers(2, 20), st.data())
@settings(max_examples=60)
def test_erasing_lowers_the_probability_and_more_often_lowers_it_more(
    height: int, width: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    hole = data.draw(st.integers(1, size[0])), data.draw(st.integers(1, size[1]))
    patch = Patch((data.draw(st.integers(1, height)), data.draw(st.integers(1, width))))
    crop = RandomCrop(size)
    found = [
        p((height, width), Cutout(crop, hole, probability=t), patch)
        for t in (Fraction(1, 4), Fraction(1, 2), 1)
    ]
    assert p((height, width), crop, patch) >= found[0] >= found[1] >= found[2] >= 0
    smaller = Patch((1, 1))
    assert p((height, width), Cutout(crop, hole), smaller) <= found[2]


def test_random_erasing_is_the_mixture_of_its_boxes() -> None:
    image, crop, patch = (12, 10), RandomCrop((7, 6), padding=1), Patch((2, 2))
    erased = RandomErasing(crop, 0.5, scale=(0.1, 0.6), ratio=(0.5, 2.0))
    (law,) = erased.laws(image)
    mixture = inclusion_map(image, crop, patch) * (1 + math.fsum(law.weights[1:]))
    for weight, (i, j) in zip(law.weights[1:], law.index[1:].tolist(), strict=True):
        hole = law.axes[0][i].erased, law.axes[1][j].erased  # type: ignore[attr-defined]
        mixture -= weight * inclusion_map(image, Cutout(crop, hole), patch)
    np.testing.assert_allclose(inclusion_map(image, erased, patch), mixture, rtol=1e-12)
    assert inclusion(image, erased, patch).probability >= mixture.max() * (1 - 1e-12)


def test_random_erasing_agrees_with_drawing_as_torchvision_does() -> None:
    rng = np.random.default_rng(11)
    (height, width), (ch, cw), draws = (20, 16), (12, 10), 200_000
    erased = RandomErasing(RandomCrop((ch, cw)), 0.7, scale=(0.05, 0.6), ratio=(0.3, 2.0))
    top, left = rng.integers(0, height - ch + 1, draws), rng.integers(0, width - cw + 1, draws)
    box = np.zeros((draws, 4), dtype=int)
    done = rng.random(draws) >= 0.7
    for _ in range(10):
        area = ch * cw * rng.uniform(0.05, 0.6, draws)
        ratio = np.exp(rng.uniform(math.log(0.3), math.log(2.0), draws))
        h, w = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = ~done & (h < ch) & (w < cw)
        h, w = h[fits].astype(int), w[fits].astype(int)
        box[fits] = np.stack(
            [rng.integers(0, ch - h + 1), rng.integers(0, cw - w + 1), h, w], axis=1
        )
        done |= fits
    probabilities = inclusion_map((height, width), erased, Patch((3, 2)))
    for y, x in ((0, 0), (8, 7), (16, 3)):
        # What the crop shows of the patch, in pixels of the crop.
        y0, y1 = np.maximum(y - top, 0), np.minimum(y + 3 - top, ch)
        x0, x1 = np.maximum(x - left, 0), np.minimum(x + 2 - left, cw)
        shown = (y0 < y1) & (x0 < x1)
        i, j, h, w = box.T
        covered = (i <= y0) & (i + h >= y1) & (j <= x0) & (j + w >= x1)
        q = probabilities[y, x]
        assert abs((shown & ~covered).mean() - q) < 4 * math.sqrt(q * (1 - q) / draws)


@pytest.mark.parametrize("seed", range(4))
def test_masks_under_mixtures_equal_single_boxes_and_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (7, 6)
    pixels = rng.random((3, 2)) < 0.6
    pixels[0, 0] = True
    reflect = RandomCrop((4, 3), padding=2, padding_mode="reflect")
    scaled = ResizedCrop(RandomCrop((3, 3)), RandomScale(1, 2), interpolation="bilinear")
    for crop in (reflect, scaled, Views((reflect, RandomCrop((2, 2)))), RandomResizedCrop()):
        box = inclusion(image, crop, Patch(pixels.shape))
        full = inclusion(image, crop, Mask(np.ones(pixels.shape, dtype=bool)))
        assert math.isclose(full.probability, box.probability, rel_tol=1e-11)
        assert full.worst_position == box.worst_position
        some = inclusion(image, crop, Mask(pixels))
        assert some.probability <= full.probability * (1 + Fraction(1, 10**11))
        # A set of pixels at a known place is hit when one of its pixels is: inclusion-exclusion
        # over two pixels.
        pair = np.zeros((3, 2), dtype=bool)
        pair[0, 0] = pair[2, 1] = True
        at = (2, 1)
        union = inclusion(image, crop, Mask(pair, at=at)).probability
        singles = [
            inclusion(image, crop, Patch((1, 1), at=corner)).probability
            for corner in (at, (at[0] + 2, at[1] + 1))
        ]
        assert (
            max(singles) * (1 - Fraction(1, 10**11)) <= union <= sum(singles) + Fraction(1, 10**11)
        )


def test_a_shape_too_costly_to_count_gets_the_bound_of_its_box() -> None:
    crop = RandomResizedCrop()
    disk = inclusion((500, 375), crop, Disk(10))
    box = inclusion((500, 375), crop, Patch((21, 21)))
    assert disk.probability == box.probability and not disk.attained and box.attained
