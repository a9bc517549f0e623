"""RandomResizedCrop against torchvision's algorithm, drawn and enumerated."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from patchdp.geometry import (
    Mask,
    Patch,
    RandomResizedCrop,
    Views,
    hit_probability,
    inclusion,
    inclusion_map,
)


def draw(
    rng: np.random.Generator, image: tuple[int, int], crop: RandomResizedCrop, draws: int
) -> npt.NDArray[np.int64]:
    """Windows (row, column, height, width) as torchvision draws them."""
    height, width = image
    found = np.full((draws, 4), -1)
    for _ in range(crop.attempts):
        area = height * width * rng.uniform(*crop.scale, draws)
        ratio = np.exp(rng.uniform(*np.log(crop.ratio), draws))
        w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height) & (found[:, 2] < 0)
        w, h = w[fits].astype(int), h[fits].astype(int)
        found[fits] = np.stack(
            [rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w], axis=1
        )
    missed = found[:, 2] < 0
    if width / height < crop.ratio[0]:
        h, w = round(width / crop.ratio[0]), width
    elif width / height > crop.ratio[1]:
        h, w = height, round(height * crop.ratio[1])
    else:
        h, w = height, width
    found[missed] = [(height - h) // 2, (width - w) // 2, h, w]
    return found


CASES = [
    ((14, 11), RandomResizedCrop()),
    ((9, 30), RandomResizedCrop()),
    ((30, 6), RandomResizedCrop(scale=(0.5, 1.0), ratio=(0.5, 2.0), attempts=2)),
    ((12, 12), RandomResizedCrop(scale=(1.0, 1.0), ratio=(0.75, 4 / 3))),
    ((12, 9), RandomResizedCrop(scale=(0.2, 1.0), ratio=(1.0, 1.0))),
    ((3, 2), RandomResizedCrop(scale=(0.01, 0.4))),
    ((10, 10), RandomResizedCrop(scale=(2.0, 3.0))),
]


def all_windows(
    image: tuple[int, int], crop: RandomResizedCrop
) -> list[tuple[float, tuple[int, int, int, int]]]:
    sides = crop.sides(image)
    found = []
    for h, w in np.argwhere(sides).tolist():
        places = (image[0] - h + 1) * (image[1] - w + 1)
        for row in range(image[0] - h + 1):
            for column in range(image[1] - w + 1):
                found.append((sides[h, w] / places, (row, column, h, w)))
    missed = 1 - math.fsum(p for p, _ in found)
    return [*found, (max(missed, 0.0), crop.fallback(image))]


@pytest.mark.parametrize(("image", "crop"), CASES)
def test_windows_drawn_pass_chi_square_tests(
    image: tuple[int, int], crop: RandomResizedCrop
) -> None:
    draws = 200_000
    windows = draw(np.random.default_rng(7), image, crop, draws)
    expected: dict[tuple[int, ...], float] = {}
    for p, window in all_windows(image, crop):
        expected[window] = expected.get(window, 0.0) + p
    distinct, counts = np.unique(windows, axis=0, return_counts=True)
    seen = {tuple(row): int(n) for row, n in zip(distinct.tolist(), counts, strict=True)}
    assert set(seen) <= set(expected)
    for columns in ((2,), (3,), (0, 2), (1, 3), (2, 3), (0, 1, 2, 3)):
        share: dict[tuple[int, ...], float] = {}
        found: dict[tuple[int, ...], int] = {}
        for window, p in expected.items():
            key = tuple(window[k] for k in columns)
            share[key] = share.get(key, 0.0) + p
            found[key] = found.get(key, 0) + seen.get(window, 0)
        often = [key for key in share if share[key] * draws >= 10]
        observed = np.array([found[key] for key in often] + [0.0])
        observed[-1] = draws - observed.sum()
        wanted = np.array([share[key] for key in often] + [0.0]) * draws
        wanted[-1] = max(draws - wanted.sum(), 0.0)
        if wanted[-1] < 10:
            assert observed[-1] < 60
            observed, wanted = observed[:-1], wanted[:-1]
        if len(observed) > 1:
            wanted *= observed.sum() / wanted.sum()
            assert stats.chisquare(observed, wanted).pvalue > 1e-4, columns


@pytest.mark.parametrize(("image", "crop"), CASES)
def test_map_equals_the_sum_over_all_windows(
    image: tuple[int, int], crop: RandomResizedCrop
) -> None:
    windows = all_windows(image, crop)
    for shape in ((1, 1), (2, 1), (min(3, image[0]), min(2, image[1]))):
        expected = np.zeros(tuple(n - a + 1 for n, a in zip(image, shape, strict=True)))
        for p, (row, column, h, w) in windows:
            first = max(0, row - shape[0] + 1), max(0, column - shape[1] + 1)
            expected[first[0] : row + h, first[1] : column + w] += p
        found = inclusion_map(image, crop, Patch(shape))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        corners = np.argwhere(np.ones(found.shape, dtype=bool))
        listed = hit_probability(image, crop, corners, shape)
        np.testing.assert_allclose(listed, expected.ravel(), rtol=1e-12)
        worst = inclusion(image, crop, Patch(shape))
        # An upper bound, and a close one.
        assert expected.max() * (1 - 1e-13) <= worst.probability <= expected.max() * (1 + 1e-12)
        assert worst.worst_position is not None
        at = expected[worst.worst_position]
        assert math.isclose(at, expected.max(), rel_tol=1e-12)
        masked = inclusion(image, crop, Mask(np.ones(shape, dtype=bool)))
        assert math.isclose(masked.probability, worst.probability, rel_tol=3e-12)


def test_hit_rates_of_drawn_windows_are_within_four_standard_errors() -> None:
    image, crop, draws = (224, 224), RandomResizedCrop(), 200_000
    windows = draw(np.random.default_rng(1), image, crop, draws)
    row, column, h, w = windows.T
    probabilities = inclusion_map(image, crop, Patch((10, 10)))
    for y, x in ((0, 0), (0, 107), (30, 200), (107, 107)):
        hit = (row < y + 10) & (row + h > y) & (column < x + 10) & (column + w > x)
        p = probabilities[y, x]
        assert abs(hit.mean() - p) < 4 * math.sqrt(p * (1 - p) / draws)


def test_a_wider_scale_range_at_the_same_lower_end_is_no_less_likely_to_hit() -> None:
    image, patch = (60, 80), Patch((4, 4))
    for ratio in ((3 / 4, 4 / 3), (1.0, 1.0)):
        found = [
            inclusion(image, RandomResizedCrop((0.1, top), ratio), patch).probability
            for top in (0.1, 0.2, 0.4, 0.6, 0.7)
        ]
        assert found == sorted(found) and found[0] < found[-1]


def test_more_views_are_more_likely_to_hit() -> None:
    image, patch = (60, 80), Patch((4, 4))
    one = inclusion(image, RandomResizedCrop(), patch)
    two = inclusion(image, Views((RandomResizedCrop(),) * 2), patch)
    assert math.isclose(two.probability, 1 - (1 - one.probability) ** 2, rel_tol=1e-11)


def test_several_patches_are_bounded_by_a_float_that_is_not_below() -> None:
    crop = RandomResizedCrop(scale=(0.08, 0.1))
    one = inclusion((60, 80), crop, Patch((4, 4)))
    three = inclusion((60, 80), crop, Patch((4, 4), count=3))
    assert isinstance(three.probability, float) and not three.attained
    assert 3 * Fraction(one.probability) <= Fraction(three.probability) < 1


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, 0.5), (1.0,), 0.5, (-1, 1), (0.1, math.nan)])
def test_scale_must_be_a_positive_ordered_pair(scale: object) -> None:
    with pytest.raises(ValueError, match="scale"):
        RandomResizedCrop(scale=scale)  # type: ignore[arg-type]


def test_needs_two_axes() -> None:
    with pytest.raises(ValueError, match="two axes"):
        inclusion((5, 5, 5), RandomResizedCrop(), Patch((1, 1, 1)))
