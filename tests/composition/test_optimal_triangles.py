"""No triple of points beats the bound of the cell that is meant to cover it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from adversary import ball, hockey_stick, inscribed
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.composition.adaptive.cells import FORWARD, Cell, side_profile
from patchdp.composition.adaptive.steps import Weights
from patchdp.step import fixed_size_pair, poisson_pair

LOSSES = np.array([0.0, 0.02, 0.1, 0.4, 1.0, 2.5])


def dominating_acute(m, g, g2):
    """The right or acute triangle in the unit circle whose entries are at least the given ones."""
    d1, d2, d3 = (np.linalg.norm(x) for x in (g - m, g2 - m, g - g2))
    c1, c2, c3 = (g - m) @ (g - g2), (g2 - m) @ (g2 - g), (m - g) @ (m - g2)
    if c3 <= 0 or min(d1, d2, d3) < 1e-12:
        share = c1 / d3**2 if d3 > 0 else 0.0
        a = math.asin(math.sqrt(min(max(share, 0.0), 1.0)))
        return a, math.pi / 2 - a
    if c1 <= 0:
        return math.acos(min(math.sqrt(max(c2, 0)) / d2, 1.0)), math.pi / 2
    if c2 <= 0:
        return math.pi / 2, math.acos(min(math.sqrt(max(c1, 0)) / d1, 1.0))
    return math.acos(c2 / (d2 * d3)), math.acos(c1 / (d1 * d3))


def around(a, b, width):
    top = math.pi / 2
    return Cell(max(a - width, 0), min(a + width, top), max(b - width, 0), min(b + width, top))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("rate", "mu"), [(0.5, 1.0), (0.05, 0.5), (0.9, 2.0)])
def test_fixed_size_triples_stay_below_their_cell(dim, rate, mu):
    rng = np.random.default_rng(dim * 100 + int(100 * rate))
    weights = Weights.fixed(rate)
    for _ in range(20):
        m, g, g2 = (ball(rng, dim) for _ in range(3))
        cell = around(*dominating_acute(m, g, g2), rng.choice([1e-9, 0.05, 0.3]))
        for first, second, bound in ((g, g2, cell), (g2, g, cell.mirrored())):
            truth = hockey_stick((rate, 1 - rate, 0.0), mu, m, first, second, LOSSES)
            upper = side_profile(weights, mu, bound, LOSSES)
            assert np.all(truth <= upper * (1 + 1e-3) + 1e-6)


@pytest.mark.parametrize(("q", "p", "mu"), [(0.5, 0.3, 1.0), (0.1, 0.8, 0.5)])
def test_poisson_triples_stay_below_their_cell(q, p, mu):
    rng = np.random.default_rng(int(100 * q))
    weights = Weights.poisson(q, p)
    for trial in range(16):
        dim = 3 if trial % 4 == 0 else 2
        m, g, g2 = (ball(rng, dim) for _ in range(3))
        a, b = 0.5 * math.acos(g @ m), 0.5 * math.acos(g2 @ m)
        for first, second, bound in (
            (g, g2, around(a, b, 1e-9)),
            (g2, g, around(b, a, 1e-9)),
        ):
            truth = hockey_stick((q * p, q * (1 - p), 1 - q), mu, m, first, second, LOSSES)
            upper = side_profile(weights, mu, bound, LOSSES)
            assert np.all(truth <= upper * (1 + 1e-3) + 1e-6)


def test_one_triangle_is_sharp():
    weights = Weights.fixed(0.3)
    for a, b in ((1.2, 0.9), (0.8, 0.8), (1.5, 0.3)):
        m, g, g2 = inscribed(a, b)
        truth = hockey_stick((0.3, 0.7, 0.0), 1.0, m, g, g2, LOSSES)
        upper = side_profile(weights, 1.0, Cell(a, a, b, b), LOSSES, fineness=0.02)
        np.testing.assert_allclose(upper, truth, rtol=2e-3)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_lifting_to_the_circle_lowers_no_entry(dim):
    # The step of the proof that holds for Poisson batches too, where the origin is a fourth point.
    rng = np.random.default_rng(dim)
    for _ in range(2000):
        m, g, g2 = (ball(rng, dim) * rng.choice([1.0, rng.random()]) for _ in range(3))
        alpha, beta = math.acos(np.clip(g @ m, -1, 1)), math.acos(np.clip(g2 @ m, -1, 1))
        new_m = np.array([1.0, 0.0])
        new_g = np.array([math.cos(alpha), math.sin(alpha)])
        new_g2 = np.array([math.cos(beta), -math.sin(beta)])
        for at, other, new_at, new_other in ((g, g2, new_g, new_g2), (g2, g, new_g2, new_g)):
            old = np.stack([other, m, 0 * m]) - at
            new = np.stack([new_other, new_m, 0 * new_m]) - new_at
            assert np.all(old @ old.T <= new @ new.T + 1e-9)


@given(st.floats(0, math.pi / 2), st.floats(0, 1))
def test_a_right_angle_covers_every_obtuse_one(a, share):
    b = share * (math.pi / 2 - a)
    if math.sin(a + b) < 1e-9:
        return
    right = math.atan2(math.sqrt(math.sin(a) * math.cos(b)), math.sqrt(math.cos(a) * math.sin(b)))
    for old, new in (
        (Cell(a, a, b, b), (right, math.pi / 2 - right)),
        (Cell(b, b, a, a), (math.pi / 2 - right, right)),
    ):
        bound = Cell(new[0], new[0], new[1], new[1]).entries(acute=False)
        for x, y in zip(old.entries(acute=False), bound, strict=True):
            assert x <= y + 1e-12


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.integers(2, 3))
@settings(max_examples=300, deadline=None)
def test_every_triangle_is_covered_entry_by_entry(numbers, dim):
    points = np.array(numbers).reshape(3, 3)[:, :dim]
    m, g, g2 = points / np.maximum(np.linalg.norm(points, axis=1), 1.0)[:, None]
    if min(np.linalg.norm(x) for x in (g - m, g2 - m, g - g2)) < 1e-6:
        return
    a, b = dominating_acute(m, g, g2)
    assert a + b >= math.pi / 2 - 1e-6
    for first, second, cell in ((g, g2, Cell(a, a, b, b)), (g2, g, Cell(b, b, a, a))):
        d1, d3, c1 = cell.entries(acute=True)
        assert np.linalg.norm(first - m) <= d1 + 1e-6
        assert np.linalg.norm(first - second) <= d3 + 1e-6
        assert (first - m) @ (first - second) <= c1 + 1e-6


@given(
    st.floats(0, math.pi / 2),
    st.floats(0, math.pi / 2),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0.01, 0.1, 0.5, 2.0]),
)
@settings(max_examples=300, deadline=None)
def test_entries_of_a_cell_cover_its_triangles(a, b, s, t, width):
    cell = Cell(
        max(a - s * width, 0.0),
        min(a + (1 - s) * width, math.pi / 2),
        max(b - t * width, 0.0),
        min(b + (1 - t) * width, math.pi / 2),
    )
    truth = (
        2 * math.sin(a),
        2 * math.sin(a + b),
        4 * math.sin(a) * math.sin(a + b) * math.cos(b),
    )
    for acute in (False, True):
        if acute and a + b < math.pi / 2:
            continue
        for bound, value in zip(cell.entries(acute=acute), truth, strict=True):
            assert value <= bound * (1 + 1e-12) + 1e-14


@pytest.mark.parametrize("mu", [0.02, 0.5, 6.0])
def test_the_extreme_is_the_closed_form(mu):
    for weights, pair in (
        (Weights.fixed(0.2), fixed_size_pair(rate=0.2, mu=mu)),
        (Weights.poisson(0.5, 0.4), poisson_pair(rate=0.5, inclusion=0.4, mu=mu)),
    ):
        losses = LOSSES * min(mu, 1.0)
        upper = side_profile(weights, mu, FORWARD, losses, fineness=0.02)
        truth = pair.delta(losses)
        assert np.all(upper >= truth * (1 - 1e-12))
        np.testing.assert_allclose(upper, truth, rtol=4e-3, atol=1e-9 * 0.2)


def test_no_triangle_beats_the_largest_profile():
    losses = np.linspace(0, 3, 30)
    top = fixed_size_pair(rate=0.4, mu=0.8).delta(losses)
    for a in np.linspace(0, math.pi / 2, 9):
        for b in np.linspace(math.pi / 2 - a, math.pi / 2, 5):
            side = side_profile(Weights.fixed(0.4), 0.8, Cell(a, a, b, b), losses, fineness=0.02)
            assert np.all(side <= top * (1 + 5e-3) + 1e-9)
