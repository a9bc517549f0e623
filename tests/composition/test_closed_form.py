"""Closed forms against 100-digit values over extreme ranges, and the quick bounds against grids."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import profiles

from patchdp.composition import closed_form, coins
from patchdp.composition.grid import prove as grid
from patchdp.step import MixturePair, StepProfile, fixed_size_pair, poisson_pair


def step(pair: MixturePair) -> StepProfile:
    return StepProfile(((1.0, pair),), attainable=True)


def gaussian_log_delta(distance: mpmath.mpf, epsilon: float) -> mpmath.mpf:
    with mpmath.workdps(120):
        d, eps = mpmath.mpf(distance), mpmath.mpf(epsilon)
        root = mpmath.sqrt(2)
        high = mpmath.erfc((eps / d - d / 2) / root) / 2
        low = mpmath.erfc((eps / d + d / 2) / root) / 2
        return mpmath.log(high - mpmath.exp(eps) * low)


@example(distance=-4.0, depth=2.75)  # this was 4.6e-12 on the wrong side
@example(distance=8.0, depth=1.0)
@given(distance=st.floats(-9, 8), depth=st.floats(-1, math.log10(690)))
@settings(max_examples=150, deadline=None)
def test_one_gaussian_step_is_enclosed_at_any_delta_and_noise(distance, depth):
    mu, log_delta = 0.5 * 10.0**distance, -(10.0**depth)
    profile = step(fixed_size_pair(rate=1.0, mu=mu))
    lower, upper = closed_form.epsilon_bounds(profile, log_delta)
    exact = 2 * mpmath.mpf(mu)
    assert gaussian_log_delta(exact, upper) <= log_delta
    assert lower == 0.0 or gaussian_log_delta(exact, lower) >= log_delta
    assert upper - lower <= 1e-9 * upper
    below, above = closed_form.log_delta_bounds(profile, upper)
    true = gaussian_log_delta(exact, upper)
    assert below <= true <= above
    assert above - below <= 3e-10 * max(1.0, abs(float(true)))


@given(profiles(), st.floats(-1, math.log10(690)))
@settings(max_examples=80, deadline=None)
def test_one_step_is_enclosed(profile, depth):
    log_delta = -(10.0**depth)
    lower, upper = closed_form.epsilon_bounds(profile, log_delta)
    precise = closed_form._Precise(profile)
    assert precise.log_delta(upper) <= log_delta
    assert lower == 0.0 or precise.log_delta(lower) >= log_delta


def test_more_digits_are_those_of_an_integral():
    # The precise closed form itself, against quadrature of the densities.
    pair = poisson_pair(rate=Fraction(1, 10), inclusion=Fraction(1, 3), mu=0.7)
    with mpmath.workdps(40):
        p = list(zip(pair.p_weights, pair.p_means, strict=True))
        q = list(zip(pair.q_weights, pair.q_means, strict=True))

        def gain(x):
            parts = (
                sum(mpmath.mpf(w) * mpmath.npdf(x - mpmath.mpf(m)) for w, m in law)
                for law in (p, q)
            )
            above, below = parts
            return max(above - mpmath.exp(mpmath.mpf("0.3")) * below, 0)

        place = float(pair.position(0.3))
        truth = mpmath.log(mpmath.quad(gain, [place, place + 1, place + 4, 40]))
    found = closed_form._Precise(step(pair)).log_delta(mpmath.mpf("0.3"))
    assert float(found) == pytest.approx(float(truth), abs=1e-13)


def test_gaussian_steps_compose_to_one():
    run = [
        (step(fixed_size_pair(rate=1.0, mu=0.3)), 16),
        (step(fixed_size_pair(rate=1.0, mu=0.4)), 4),
    ]
    both = closed_form.profile_of(run)
    distance = 2 * mpmath.sqrt(16 * mpmath.mpf(0.3) ** 2 + 4 * mpmath.mpf(0.4) ** 2)
    lower, upper = closed_form.epsilon_bounds(both, math.log(1e-6))
    assert gaussian_log_delta(distance, upper) <= math.log(1e-6) + 1e-13
    assert gaussian_log_delta(distance, lower) >= math.log(1e-6) - 1e-13
    assert closed_form.profile_of([*run, (step(fixed_size_pair(rate=0.5, mu=1.0)), 1)]) is None


LOUD = [
    (fixed_size_pair(rate=0.1, mu=25.0), 10),
    (fixed_size_pair(rate=0.02, mu=21.0), 40),
    (poisson_pair(rate=0.1, inclusion=0.4, mu=30.0), 10),
    (poisson_pair(rate=0.5, inclusion=1.0, mu=24.0), 4),
    (fixed_size_pair(rate=0.3, mu=8.0), 6),
    (poisson_pair(rate=0.1, inclusion=0.4, mu=9.0), 20),
]


@pytest.mark.parametrize(("pair", "steps"), LOUD)
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_revealed_hits_enclose_the_exact_value(pair, steps, delta):
    # Theorem 33
    run, goal = [(step(pair), steps)], math.log(delta)
    exact = grid.epsilon_bracket(run, log_delta=goal, tolerance=1e-3)
    above = coins.coins_epsilon(run, goal)
    below = coins.threshold_epsilon(run, goal)
    assert above >= exact.lower
    assert below <= exact.upper
    if max(pair.shifts) > 20:
        assert above <= 1.002 * exact.upper
        assert below >= 0.8 * exact.lower


def test_revealed_hits_of_several_phases():
    one, other = (step(fixed_size_pair(rate=r, mu=25.0)) for r in (0.1, 0.3))
    goal = math.log(1e-6)
    exact = grid.epsilon_bracket([(one, 6), (other, 3)], log_delta=goal, tolerance=1e-3)
    above = coins.coins_epsilon([(one, 6), (other, 3)], goal)
    assert exact.lower <= above <= 1.005 * exact.upper


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-8])
def test_any_noise_has_a_bound(noise):
    run = [(step(fixed_size_pair(rate=0.2, mu=1 / noise)), 5)]
    above = coins.coins_epsilon(run, math.log(1e-5))
    assert coins.threshold_epsilon(run, math.log(1e-5)) < above < math.inf
    # at most five hits, each a Gaussian at distance 2/noise
    assert above <= 5 * 2 / noise**2 * (1 + 10 * noise)


@given(st.integers(1, 10**12), st.floats(1e-9, 0.999))
@settings(max_examples=60, deadline=None)
def test_numbers_of_hits_are_rounded_up(steps, chance):
    hits, logs, rest = coins._hits(float(steps), chance, -760.0, 600)
    import numpy as np

    # The law of the rounded number dominates the binomial one at a few places.
    total = float(np.logaddexp(np.logaddexp.reduce(logs), rest))
    assert -1e-9 < total < 1e-3
    for k in {0, steps // 3, int(steps * chance), int(min(steps - 1, steps * chance + 30))}:
        mass = np.logaddexp(np.logaddexp.reduce(np.where(hits > k, logs, -np.inf)), rest)
        with mpmath.workdps(30):
            if steps < 10**7:
                tail = mpmath.betainc(k + 1, steps - k, 0, mpmath.mpf(chance), regularized=True)
                assert float(mass) >= float(mpmath.log(tail)) - 1e-12
