"""Discretised losses against 50-digit integrals, and against the profile they must dominate."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import profiles

from patchdp.composition.grid.cells import half_cells, largest_loss
from patchdp.composition.grid.masses import (
    GridLaw,
    LossMasses,
    attained,
    loss_masses,
    optimistic,
    pessimistic,
)
from patchdp.step import MixturePair, StepProfile, fixed_size_pair, poisson_pair

mp.mp.dps = 50


def exact_mass(pair: MixturePair, h: float, k: int) -> mp.mpf:
    """Mass at `k h` by conserving P- and Q-mass of the two cells beside it, `k >= 1`."""
    q = [(mp.mpf(w), mp.mpf(m)) for w, m in zip(pair.q_weights, pair.q_means, strict=True)]
    p = list(q)
    for g, s in zip(pair.gains, pair.shifts, strict=True):
        p += [(mp.mpf(g), mp.mpf(s)), (-mp.mpf(g), -mp.mpf(s))]

    def tails(loss: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        low, high = mp.mpf(0), mp.mpf(100)
        for _ in range(170):
            x = (low + high) / 2
            ratio = sum(w * mp.exp(m * x - m * m / 2) for w, m in p) / sum(
                w * mp.exp(m * x - m * m / 2) for w, m in q
            )
            low, high = (x, high) if ratio < mp.exp(loss) else (low, x)
        return (sum(w * mp.ncdf(m - low) for w, m in p), sum(w * mp.ncdf(m - low) for w, m in q))

    H = mp.mpf(h)
    t = [tails((k + j) * H) for j in (-1, 0, 1)]
    total = mp.mpf(0)
    for j, keep_upper in ((0, True), (1, False)):
        p_mass, q_mass = t[j][0] - t[j + 1][0], t[j][1] - t[j + 1][1]
        low, high = mp.exp(-(k - 1 + j) * H), mp.exp(-(k + j) * H)
        upper = (p_mass * low - q_mass) / (low - high)
        total += upper if keep_upper else p_mass - upper
    return total


@pytest.mark.parametrize(
    ("pair", "h"),
    [
        # h below 2 mu x 2e-2 puts the first cells where the density is flat but not polynomial.
        (fixed_size_pair(rate=1.0, mu=1e-3), 5e-5),
        (fixed_size_pair(rate=1.0, mu=0.1), 1e-3),
        (fixed_size_pair(rate=1.0, mu=1.0), 0.3),
        (fixed_size_pair(rate=Fraction(1, 10**4), mu=0.5), 1e-5),
        (poisson_pair(rate=Fraction(1, 100), inclusion=Fraction(3, 10), mu=1.0), 1e-4),
        (poisson_pair(rate=Fraction(1, 2), inclusion=1, mu=3.0), 0.05),
        # narrow cells far out, where a rule of low order is used
        (fixed_size_pair(rate=Fraction(1, 2500), mu=2 / 3), 1e-4),
        (fixed_size_pair(rate=1.0, mu=1.0), 1e-3),
    ],
)
def test_masses_are_accurate_to_the_stated_error(pair: MixturePair, h: float) -> None:
    masses = loss_masses(StepProfile(((1.0, pair),), True), interval=h, log_tail=-60.0)
    for k in (1, 2, 3, 7, 20, 40, 600, 5000, 15_000):
        if k < masses.size - 1:
            truth = exact_mass(pair, h, k)
            # An error of the loss is a share of the cell besides the stated one of the mass.
            allowed = masses.rounding + min(masses.loss_rounding, 1.5e-15) * k
            assert abs(mp.exp(mp.mpf(masses.log_positive[k])) / truth - 1) < allowed, k


def discrete_log_delta(masses: LossMasses, epsilon: float) -> float:
    above = masses.losses > epsilon
    gap = masses.losses[above] - epsilon
    body = np.exp(masses.log_probabilities[above]) @ -np.expm1(-gap)
    return float(np.log(body + np.exp(masses.log_infinity)))


@given(profiles(), st.sampled_from([5e-4, 1e-2, 0.3, 1.0]), st.floats(0, 12))
@settings(max_examples=60)
def test_discrete_profile_is_never_below_the_true_one(
    profile: StepProfile, share: float, epsilon: float
) -> None:
    masses = loss_masses(profile, interval=share * largest_loss(profile, -80.0), log_tail=-80.0)
    probabilities, infinity = masses.linear()
    assert abs(float(probabilities.sum()) + infinity - 1) < 1e-12
    # at a grid point the chords touch the truth: the hardest place for rounding
    for e in (epsilon, masses.interval, masses.interval * 2, 0.0):
        truth = float(profile.log_delta(e))
        if truth > -70:
            assert discrete_log_delta(masses, e) >= truth - 1e-11


def test_nothing_disappears_at_the_ends() -> None:
    pair = fixed_size_pair(rate=1.0, mu=1.0)
    masses = loss_masses(StepProfile(((1.0, pair),), True), interval=0.5, log_tail=-3.0)
    end = masses.interval * (masses.size - 1)
    # P-mass above the grid is at infinity, mass below it on the lowest point.
    assert np.exp(masses.log_infinity) == pytest.approx(float(mp.ncdf((2 - end) / 2)), rel=1e-12)
    assert np.exp(masses.log_bottom) == pytest.approx(float(mp.ncdf((-2 - end) / 2)), rel=1e-12)


def test_atom_at_zero_is_what_the_step_never_distinguishes() -> None:
    pair = fixed_size_pair(rate=Fraction(1, 1000), mu=1.0)
    masses = loss_masses(StepProfile(((1.0, pair),), True), interval=1e-4, log_tail=-60.0)
    truth = 1 - sum(
        w * mp.ncdf(m)
        for w, m in zip(
            (*pair.p_weights, *pair.q_weights), (*pair.p_means, *pair.q_means), strict=True
        )
    )
    assert np.exp(masses.log_atom) == pytest.approx(float(truth), rel=1e-12)


def log_delta_of(laws: list[GridLaw], epsilon: float) -> float:
    """Log of delta of one step of each law, one after the other, by plain convolution."""
    total, first = np.array([1.0]), 0
    for law in laws:
        total = np.convolve(total, np.exp(law.log_probabilities))
        first += law.first
    losses = laws[0].interval * (first + np.arange(len(total))) + sum(x.offset for x in laws)
    above = losses > epsilon
    with np.errstate(divide="ignore"):
        return float(np.log(total[above] @ -np.expm1(epsilon - losses[above])))


def divergence(pair: MixturePair, epsilon: float, *, reverse: bool) -> mp.mpf:
    """The hockey-stick divergence of the pair or of its reversal, by its one crossing."""
    p, q = (pair.p_weights, pair.p_means), (pair.q_weights, pair.q_means)

    def above(law: tuple[tuple[float, ...], tuple[float, ...]], x: mp.mpf) -> mp.mpf:
        return sum(
            (mp.mpf(w) * mp.ncdf(mp.mpf(m) - x) for w, m in zip(*law, strict=True)), mp.mpf(0)
        )

    def below(law: tuple[tuple[float, ...], tuple[float, ...]], x: mp.mpf) -> mp.mpf:
        return sum(
            (mp.mpf(w) * mp.ncdf(x - mp.mpf(m)) for w, m in zip(*law, strict=True)), mp.mpf(0)
        )

    def loss(x: mp.mpf) -> mp.mpf:
        parts = [
            mp.log(
                sum(
                    mp.mpf(w) * mp.exp(m * x - mp.mpf(m) ** 2 / 2)
                    for w, m in zip(*law, strict=True)
                )
            )
            for law in (p, q)
        ]
        return parts[0] - parts[1]

    goal = -mp.mpf(epsilon) if reverse else mp.mpf(epsilon)
    low, high = mp.mpf(-200), mp.mpf(200)
    for _ in range(120):
        x = (low + high) / 2
        low, high = (x, high) if loss(x) < goal else (low, x)
    if reverse:
        return below(q, low) - mp.exp(epsilon) * below(p, low)
    return above(p, low) - mp.exp(epsilon) * above(q, low)


@given(profiles(), st.integers(3, 400), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_optimistic_masses_lie_below_the_truth(
    profile: StepProfile, cells: int, place: float
) -> None:
    # Theorem 30
    top = largest_loss(profile, -60.0)
    right = half_cells(profile, interval=top / cells, cells=cells)
    left = half_cells(profile, interval=top / cells, cells=cells, side="left")
    pair, epsilon = profile.parts[0][1], place * top
    truth = float(profile.log_delta(epsilon))
    assert log_delta_of([optimistic(right)], epsilon) <= truth + 1e-11
    for halves, reverse in (((right, left), False), ((left, right), True)):
        law = attained(*halves)
        p = np.exp(law.log_probabilities)
        assert p.sum() <= 1 + 1e-12
        found = log_delta_of([law], epsilon)
        if found > -60.0:
            exact = divergence(pair, epsilon, reverse=reverse)
            assert exact > 0 and found <= float(mp.log(exact)) + 1e-10


@given(profiles(), st.integers(3, 60), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_composed_masses_enclose_what_finer_grids_say(
    profile: StepProfile, cells: int, place: float
) -> None:
    # Three steps on coarse grids, against three steps on grids eight times as fine.
    top = largest_loss(profile, -40.0)
    rough = half_cells(profile, interval=top / cells, cells=cells)
    fine = half_cells(profile, interval=top / (8 * cells), cells=8 * cells)
    epsilon = 2 * place * top
    lower, upper = (
        log_delta_of([law] * 3, epsilon) for law in (optimistic(rough), pessimistic(rough).law)
    )
    near = (
        log_delta_of([optimistic(fine)] * 3, epsilon),
        log_delta_of([pessimistic(fine).law] * 3, epsilon),
    )
    infinity = 3 * math.exp(pessimistic(rough).log_infinity)
    assert lower <= near[1] + 1e-10
    assert near[0] <= float(np.logaddexp(upper, math.log(infinity))) + 1e-10
    for halves in ("right", "left"):
        assert half_cells(profile, interval=top / cells, cells=cells, side=halves).cells == cells


def test_steps_that_hardly_ever_show_the_patch_keep_their_drift() -> None:
    # Nearly all of the mass lies at a loss of -rate: a grid that rounds it down to -h loses
    # everything after a few steps. And the nodes beside 0 must not count twice what they leave.
    profile = StepProfile(((1.0, poisson_pair(rate=1.1e-5, inclusion=3e-3, mu=3.0)),), True)
    for h in (3e-3, 1e-3, 7e-4):
        right, left = (
            half_cells(profile, interval=h, cells=9000, side=s) for s in ("right", "left")
        )
        for halves in ((right, left), (left, right)):
            law = attained(*halves)
            total = float(np.exp(law.log_probabilities).sum())
            assert 1 - 1e-6 < total <= 1 + 1e-13
            mean = float(np.exp(law.log_probabilities) @ np.expm1(-law.losses - law.offset))
            assert abs(mean) < 1e-6


def test_both_roundings_close_in_with_the_square_of_the_interval() -> None:
    profile = StepProfile(((1.0, fixed_size_pair(rate=0.05, mu=0.7)),), True)
    truth, gaps = float(profile.log_delta(1.003)), []
    for cells in (100, 200, 400):
        right = half_cells(profile, interval=8.0 / cells, cells=cells)
        upper, lower = (
            log_delta_of([pessimistic(right).law], 1.003),
            log_delta_of([optimistic(right)], 1.003),
        )
        assert lower < truth < upper
        gaps.append(upper - lower)
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]
    assert gaps[2] < 2e-3
