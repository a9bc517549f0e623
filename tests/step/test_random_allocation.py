"""One epoch under random allocation: against quadrature, simulation and adaptive adversaries."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from patchdp.step.allocation_lattice import lattice_of
from patchdp.step.allocation_lower import attained
from patchdp.step.allocation_upper import Accuracy, upper_bounds
from patchdp.step.random_allocation import AllocationProfile

Array = npt.NDArray[np.float64]


def bound(mu: float, rounds: int, k: float, **accuracy: float) -> float:
    chosen = Accuracy(**accuracy)  # type: ignore[arg-type]
    return float(upper_bounds(mu=mu, rounds=rounds, multiples=np.array([k]), accuracy=chosen)[0])


def quadrature(mu: float, k: float) -> float:
    """`h(k)` at two steps: the positive part of `P - k Q` in the plane, cell by cell."""
    x = np.linspace(-8 - mu, 8 + mu, 3001)

    def density(mean: float) -> Array:
        side, far = stats.norm.pdf(x), stats.norm.pdf(x - mean)
        return np.asarray(0.5 * (np.outer(side, far) + np.outer(far, side)))

    return float(np.maximum(density(mu) - k * density(-mu), 0.0).sum() * (x[1] - x[0]) ** 2)


@pytest.mark.parametrize("mu", [0.25, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("k", [1.0, 1.3, 2.5, 8.0])
def test_two_steps_against_quadrature(mu: float, k: float) -> None:
    """Theorem 37 and Theorem 39."""
    truth = quadrature(mu, k)
    found = bound(mu, 2, k)
    assert truth * (1 - 1e-5) <= found <= truth * 1.015 + 1e-9
    assert bound(mu, 2, k, spread=2e-5) <= truth * (1 + 2e-3) + 1e-9


def test_the_stated_values_of_one_epoch() -> None:
    first = AllocationProfile(Fraction(2, 5), 0.7, 2).delta(0.3)
    assert 0.080813 < float(first) <= 0.08085
    assert 0.40004 < float(AllocationProfile(Fraction(1), 1.0, 2).delta(0.5)) < 0.4002


@pytest.mark.parametrize("rounds", [15, 93])
@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_many_steps_by_simulation(rounds: int, mu: float) -> None:
    """Means over draws from `P`; bounds hold within five standard errors."""
    rng = np.random.default_rng(rounds)
    draws = 60_000
    z = rng.normal(size=(draws, rounds))
    z[:, 0] += mu
    ratio = np.exp(special.logsumexp(mu * z, axis=1) - special.logsumexp(-mu * z, axis=1))
    spread = math.sqrt(2 * math.expm1(mu * mu) / rounds)
    for k in (1.0, 1 + 0.5 * spread, 1 + spread, 1 + 2 * spread):
        sample = np.maximum(1 - k / ratio, 0.0)
        mean, error = float(sample.mean()), float(sample.std()) / math.sqrt(draws)
        assert mean - 5 * error <= bound(mu, rounds, k) <= (mean + 5 * error) * 1.01


WORST = np.array([[1.0, -1.0, -1.0]])


def best_policy(mu: float, p: float, a: float, rounds: int, triples: Array) -> float:
    """The largest value that an adaptive choice of `(g, h, m)` out of some triples reaches.

    `triples` has shape `(n, 3, d)`, in units of `mu`. Values are kept at points of the state and
    interpolated, which keeps them convex and overestimates them by about 2e-3 here.
    """
    dimension = triples.shape[2]
    line = np.linspace(-6.0, 6.0, 241 if dimension == 1 else 41)
    mesh = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    weight = np.exp(-0.5 * np.square(mesh).sum(axis=1))
    weight /= weight.sum()

    def ratio(point: Array) -> Array:
        return np.exp(mu * mesh @ point - 0.5 * mu * mu * float(point @ point))

    moves = np.array(
        [p * ratio(g) - a * p * ratio(h) - (a - 1) * (1 - p) * ratio(m) for g, h, m in triples]
    )
    state = np.sort(np.concatenate([np.linspace(-60, 60, 301), np.linspace(-4, 4, 401)]))
    values = np.maximum(state, 0.0)
    for left in range(rounds, 0, -1):
        at = np.array([0.0]) if left == 1 else state
        new = np.full(len(at), -np.inf)
        for move in moves:
            places = at[:, None] + move
            reached = np.interp(places, state, values)
            # Beyond the states values fall to 0 on the left and grow by 1 on the right.
            reached += np.maximum(places - state[-1], 0.0)
            new = np.maximum(new, reached @ weight)
        values = new
        if left == 1:
            break
    return float(values[0]) / rounds


@pytest.mark.parametrize(("mu", "p", "a"), [(0.8, 0.4, 1.2), (1.2, 1.0, 1.5), (0.5, 0.1, 1.02)])
def test_adaptive_adversaries_on_a_line(mu: float, p: float, a: float) -> None:
    """Theorem 37: policies over a grid of triples, two and three steps."""
    triples = np.array(list(itertools.product((-1.0, 0.0, 0.6, 1.0), repeat=3)))[:, :, None]
    for rounds in (2, 3):
        limit = p * bound(mu, rounds, 1 + (a - 1) / p)
        stated = best_policy(mu, p, a, rounds, WORST[:, :, None])
        assert math.isclose(stated, limit, rel_tol=6e-3)
        assert best_policy(mu, p, a, rounds, triples) <= stated * (1 + 1e-5)


def test_adaptive_adversaries_in_the_plane() -> None:
    rng = np.random.default_rng(3)
    angles = rng.uniform(0, 2 * np.pi, (10, 3))
    triples = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * rng.choice(
        [1.0, 0.5], (10, 3, 1), p=[0.8, 0.2]
    )
    worst = np.stack([WORST, 0 * WORST], axis=-1)
    for mu, p, a in ((0.8, 0.4, 1.2), (1.2, 0.9, 2.0)):
        limit = p * bound(mu, 2, 1 + (a - 1) / p)
        stated = best_policy(mu, p, a, 2, worst)
        assert math.isclose(stated, limit, rel_tol=1e-2)
        assert best_policy(mu, p, a, 2, np.concatenate([worst, triples])) <= stated * (1 + 1e-4)


@settings(max_examples=25, deadline=None)
@given(
    mu=st.floats(0.05, 1.6),
    rounds=st.integers(2, 60),
    loss=st.floats(0.0, 3.0),
    p=st.floats(0.02, 1.0),
)
def test_monotone(mu: float, rounds: int, loss: float, p: float) -> None:
    """Theorem 38, within what the lattice costs."""
    eps = np.array([loss * mu / math.sqrt(rounds)])

    def delta(mu: float, rounds: int, p: float, shift: float = 0.0) -> float:
        return float(AllocationProfile(Fraction(p), mu, rounds).delta(eps + shift)[0])

    here = delta(mu, rounds, p)
    room = 1.04
    assert delta(mu, rounds + 1, p) <= here * room + 1e-12
    assert here <= delta(1.1 * mu, rounds, p) * room + 1e-12
    assert here <= delta(mu, rounds, min(1.2 * p, 1.0)) * room + 1e-12
    assert delta(mu, rounds, p, 0.05 * mu) <= here * (1 + 1e-9)
    assert here <= delta(mu, 1, p) * (1 + 1e-12)


def test_one_step_an_epoch_is_shuffle() -> None:
    eps = np.array([0.0, 0.3, 2.0])
    epoch = AllocationProfile(Fraction(1, 3), 0.8, 1)
    assert np.allclose(epoch.delta(eps), epoch.shuffle.delta(eps), rtol=1e-9)


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 2.0, 3.33])
@pytest.mark.parametrize("rounds", [2, 15, 400, 10_000])
def test_what_is_attained_is_below_the_bound(mu: float, rounds: int) -> None:
    """Theorem 40; in the whole range of settings, without a warning."""
    spread = math.sqrt(2 * math.expm1(mu * mu) / rounds)
    k = 1 + np.array([0.0, 0.3, 1.0, 2.5, 6.0, 40.0]) * spread
    few = min(rounds, 400) if mu > 1.5 else rounds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upper = upper_bounds(mu=mu, rounds=few, multiples=k)
        p, q = attained(mu=mu, rounds=few, multiples=k)
    assert np.all(np.isfinite(upper)) and np.all((upper >= 0) & (upper <= 1))
    assert np.all(p - k * q <= upper)
    if mu <= 1 and rounds <= 400:
        assert np.all((p - k * q)[:3] >= 0.97 * upper[:3])


def test_the_lattice_is_larger_in_convex_order() -> None:
    """Theorem 39 (a): stop-loss means at every point, against 30 digits."""
    mu, k, cut = 0.9, 1.7, 3.2
    lattice = lattice_of(mu, np.array([k]), cut, 9.0, np.array([0.37]), np.array([-30.0]))
    values, masses = lattice.values[0], lattice.masses[0]
    mpmath.mp.dps = 30
    for w in (-5.0, -0.7, -0.111, 0.0, 0.2, 1.0, 3.0):
        # Where G - kU = w:
        half = mpmath.mpf(w) * mpmath.exp(mpmath.mpf(mu) ** 2 / 2) / 2
        z = mpmath.log(half + mpmath.sqrt(half**2 + k)) / mu
        g, u, one = (mpmath.ncdf(cut - s) - mpmath.ncdf(z - s) for s in (mu, -mu, mpmath.mpf(0)))
        truth = float(g - k * u - w * one)
        found = float(masses @ np.maximum(values - w, 0.0))
        assert truth * (1 - 1e-13) <= found <= truth + 0.37 * 0.5
    # Means are kept, up to the mass that was raised to the floor.
    whole = special.ndtr(cut - mu) - k * special.ndtr(cut + mu)
    assert abs(float(masses @ values) - whole) < 2e-3


def test_deep_tails_keep_their_relative_size() -> None:
    """`h` is not buried under the rounding of a transform: 1e-25 and the like."""
    k = 1 + np.array([1.0, 1.5, 2.0])
    found = upper_bounds(mu=0.25, rounds=15, multiples=k, accuracy=Accuracy(floor=1e-40))
    rng = np.random.default_rng(5)
    # All terms shifted alike: importance sampling towards where the sum is positive.
    shift = 0.5 * np.log(k) / 0.25
    for value, each, multiple in zip(found, shift, k, strict=True):
        z = rng.normal(size=(200_000, 15)) + each
        weight = np.exp(-each * z.sum(axis=1) + 7.5 * each**2)
        total = np.exp(0.25 * z - 1 / 32).sum(axis=1) - multiple * np.exp(-0.25 * z - 1 / 32).sum(
            axis=1
        )
        sample = weight * np.maximum(total, 0.0) / 15
        mean, error = float(sample.mean()), float(sample.std()) / math.sqrt(len(sample))
        assert mean - 5 * error <= value <= 1.35 * (mean + 5 * error)
        assert value < 1e-8
