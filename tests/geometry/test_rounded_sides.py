"""The law of rounded sides against integrals over area and log-ratio, and against drawing."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from patchdp.geometry.rounded_sides import relative_error, rounded_sides


def by_quadrature(
    h: int, w: int, area: tuple[float, float], ratio: tuple[float, float]
) -> mpmath.mpf:
    """Probability of one pair in the variables that are drawn, with 40 digits."""
    with mpmath.workdps(40):
        low, high = (mpmath.mpf(a) for a in area)
        v0, v1 = (mpmath.log(mpmath.mpf(r)) for r in ratio)
        # sqrt(A R) rounds to w and sqrt(A / R) rounds to h.
        sides = [(max(mpmath.mpf(n) - 0.5, mpmath.mpf(0)), mpmath.mpf(n) + 0.5) for n in (w, h)]
        (left, right), (top, bottom) = sides

        def areas(v: mpmath.mpf) -> mpmath.mpf:
            r = mpmath.exp(v)
            start = max(low, left**2 / r, top**2 * r)
            stop = min(high, right**2 / r, bottom**2 * r)
            return max(stop - start, mpmath.mpf(0))

        cuts = {v0, v1}
        for x in (left, right):
            for y in (top, bottom):
                if x > 0 and y > 0:
                    cuts.add(mpmath.log(x / y))
            for a in (low, high):
                if x > 0:
                    cuts.add(2 * mpmath.log(x) - mpmath.log(a))
        for y in (top, bottom):
            for a in (low, high):
                if y > 0:
                    cuts.add(mpmath.log(a) - 2 * mpmath.log(y))
        inside = sorted(c for c in cuts if v0 <= c <= v1)
        return mpmath.quad(areas, inside) / ((high - low) * (v1 - v0))


@pytest.mark.parametrize(
    ("area", "ratio"),
    [((7.2, 90.0), (0.75, 4 / 3)), ((0.3, 60.0), (0.1, 5.0)), ((30.0, 30.5), (1.0, 1.01))],
)
def test_every_pair_equals_the_integral(
    area: tuple[float, float], ratio: tuple[float, float]
) -> None:
    table = rounded_sides(area=area, ratio=ratio, height=12, width=12)
    exact = np.array(
        [[float(by_quadrature(h, w, area, ratio)) for w in range(13)] for h in range(13)]
    )
    np.testing.assert_allclose(table, exact, rtol=1e-12, atol=1e-14)
    assert ((table > 0) == (exact > 0)).all()


def test_pairs_of_a_large_image_equal_the_integral() -> None:
    area, ratio = (0.08 * 500 * 375, 1.0 * 500 * 375), (3 / 4, 4 / 3)
    table = rounded_sides(area=area, ratio=ratio, height=500, width=375)
    cut = np.argwhere((table > 0) & (table < table.max() * 0.999))
    chosen = np.random.default_rng(3).choice(cut, 40, replace=False)
    for h, w in [*chosen.tolist(), [300, 300]]:
        exact = float(by_quadrature(h, w, area, ratio))
        assert math.isclose(table[h, w], exact, rel_tol=0, abs_tol=1e-13 * table.max()), (h, w)


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3)),
        ((0.5, 0.5001), (3 / 4, 4 / 3)),
        ((0.3, 0.8), (1, 1 + 1e-7)),
        ((0.3, 0.300001), (1, 1.000001)),
    ],
)
def test_the_stated_error_covers_narrow_ranges(
    scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    area = scale[0] * 187500, scale[1] * 187500
    table = rounded_sides(area=area, ratio=ratio, height=500, width=500)
    cut = np.argwhere((table > 0) & (table < table.max()))
    chosen = cut if len(cut) < 20 else np.random.default_rng(5).choice(cut, 20, replace=False)
    exact = [float(by_quadrature(h, w, area, ratio)) for h, w in chosen.tolist()]
    off = np.abs(table[tuple(chosen.T)] - exact).sum()
    assert off <= relative_error(scale, ratio) * np.sum(exact)
    assert relative_error((0.08, 1.0), (3 / 4, 4 / 3)) < 1e-12


@pytest.mark.parametrize("size", [(12, 12), (40, 25), (500, 375), (1024, 2048)])
def test_all_pairs_together_have_probability_one(size: tuple[int, int]) -> None:
    pixels = size[0] * size[1]
    longest = math.ceil(math.sqrt(pixels * 4 / 3)) + 1
    table = rounded_sides(
        area=(0.08 * pixels, 1.0 * pixels), ratio=(3 / 4, 4 / 3), height=longest, width=longest
    )
    assert math.isclose(math.fsum(table.ravel()), 1.0, rel_tol=2e-13)


@pytest.mark.parametrize(
    ("area", "ratio"),
    [((50.0, 50.0), (0.5, 2.0)), ((5.0, 90.0), (1.0, 1.0)), ((5.0, 90.0), (1.3, 1.3))],
)
def test_fixed_area_or_ratio_is_the_limit_of_a_narrow_interval(
    area: tuple[float, float], ratio: tuple[float, float]
) -> None:
    fixed = rounded_sides(area=area, ratio=ratio, height=14, width=14)
    narrow = rounded_sides(
        area=(area[0], area[1] * (1 + 1e-7 * (area[0] == area[1]))),
        ratio=(ratio[0], ratio[1] * (1 + 1e-7 * (ratio[0] == ratio[1]))),
        height=14,
        width=14,
    )
    assert math.isclose(fixed.sum(), 1.0, rel_tol=1e-14)
    np.testing.assert_allclose(fixed, narrow, atol=2e-6)


def test_fixed_area_and_ratio_are_one_pair() -> None:
    table = rounded_sides(area=(12.25, 12.25), ratio=(1.0, 1.0), height=9, width=9)
    # Python rounds 3.5 to even.
    assert np.argwhere(table).tolist() == [[4, 4]] and table[4, 4] == 1


@pytest.mark.parametrize(("area", "ratio"), [((4.0, 80.0), (0.5, 2.0)), ((30.0, 30.0), (0.4, 3.0))])
def test_drawing_the_pair_passes_a_chi_square_test(
    area: tuple[float, float], ratio: tuple[float, float]
) -> None:
    rng = np.random.default_rng(20261121)
    draws = 200_000
    a = rng.uniform(*area, draws)
    r = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), draws))
    h, w = np.rint(np.sqrt(a / r)).astype(int), np.rint(np.sqrt(a * r)).astype(int)
    side = int(max(h.max(), w.max()))
    table = rounded_sides(area=area, ratio=ratio, height=side, width=side)
    seen = np.zeros_like(table)
    np.add.at(seen, (h, w), 1)
    often = table * draws >= 10
    expected = np.append(table[often], max(0.0, 1 - table[often].sum())) * draws
    observed = np.append(seen[often], seen[~often].sum())
    keep = expected > 1e-6
    assert observed[~keep].sum() == 0
    scale = observed[keep].sum() / expected[keep].sum()
    assert stats.chisquare(observed[keep], expected[keep] * scale).pvalue > 1e-3
