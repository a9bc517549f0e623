"""Trade-off curves against the Gaussian closed form and a brute-force Neyman-Pearson attacker."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patchdp as pdp
from patchdp.composition.conversions.tradeoff import attack_success, tradeoff
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

RATES = np.array([0.0, 1e-12, 1e-6, 1e-3, 0.05, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9, 1.0])


def plan(**changes):
    fields = {
        "image": (32, 32),
        "crop": pdp.RandomCrop((16, 16)),
        "patch": pdp.Patch((4, 4)),
        "sampling": pdp.Poisson(sampling_probability=0.05),
        "noise_multiplier": 1.0,
        "steps": 200,
    }
    return pdp.TrainingPlan(**(fields | changes))


@pytest.mark.parametrize("distance", [1e-3, 0.3, 1.0, 5.0, 30.0])
def test_gaussian_curve_in_fifty_digits(distance):
    step = StepProfile(((1.0, fixed_size_pair(rate=1, mu=distance / 2)),), attainable=True)
    found = tradeoff(step.delta, RATES)
    for alpha, beta in zip(RATES, found, strict=True):
        with mpmath.workdps(50):
            a = mpmath.mpf(alpha)
            if alpha in (0.0, 1.0):
                exact = 1 - a
            else:
                quantile = -mpmath.sqrt(2) * mpmath.erfinv(2 * a - 1)
                exact = mpmath.ncdf(quantile - distance)
            assert beta <= exact
            assert beta >= exact * (1 - mpmath.mpf("2e-4")) - mpmath.mpf("1e-14")


def test_a_curve_of_a_mixture_by_brute_force():
    pair = poisson_pair(rate=0.3, inclusion=0.5, mu=1.5)
    step = StepProfile(((1.0, pair),), attainable=True)
    x = np.linspace(-14, 14, 40001)
    h = x[1] - x[0]
    p, q = np.exp(pair.log_p(x)) * h, np.exp(pair.log_q(x)) * h
    # Losses grow with x: the best tests are thresholds, in one direction and in the other.
    for one, other in ((p, q), (q[::-1], p[::-1])):
        false = np.cumsum(other[::-1])[::-1]
        missed = np.cumsum(one) - one
        chosen = slice(15000, 27000, 500)
        assert np.all(tradeoff(step.delta, np.clip(false[chosen], 0, 1)) <= missed[chosen] + 1e-7)


@settings(max_examples=30)
@given(
    rate=st.sampled_from([1e-6, 0.1, 1.0]),
    mu=st.sampled_from([0.01, 0.5, 3.0]),
    alpha=st.floats(0.0, 1.0),
)
def test_curve_is_a_trade_off(rate, mu, alpha):
    step = StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)
    low, middle, high = tradeoff(step.delta, np.array([alpha / 2, alpha, (1 + alpha) / 2]))
    assert 0 <= high <= middle + 1e-12 <= low + 2e-12 <= 1 + 3e-12
    assert middle <= 1 - alpha
    assert middle >= 1 - alpha - float(step.delta(0.0)) - 1e-12
    # Its own inverse (the relation is symmetric), to a small part of what the attacker has.
    if middle > 1e-6:
        near = 2e-4 * min(float(step.delta(0.0)), 1.0) + 1e-12
        assert tradeoff(step.delta, np.array([middle]))[0] == pytest.approx(alpha, abs=near)


@pytest.mark.parametrize("rate", [1e-9, 1e-6, 0.1, 1.0])
@pytest.mark.parametrize("mu", [0.01, 0.5, 3.0])
def test_curve_is_near_the_best_of_all_epsilons(rate, mu):
    step = StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)
    epsilon = np.geomspace(1e-13, 50, 100_001)
    delta, alphas = step.delta(epsilon), np.linspace(0.01, 0.99, 12)
    best = [
        max(
            0.0, np.max(1 - delta - np.exp(epsilon) * a), np.max(np.exp(-epsilon) * (1 - delta - a))
        )
        for a in alphas
    ]
    gap = np.array(best) - tradeoff(step.delta, alphas)
    assert np.all(gap <= 1e-3 * float(step.delta(0.0)))


def test_success_is_the_best_vote_of_a_bayesian():
    step = StepProfile(((1.0, fixed_size_pair(rate=1, mu=0.4)),), attainable=True)
    pair = step.parts[0][1]
    x = np.linspace(-14, 14, 40001)
    h = x[1] - x[0]
    p, q = np.exp(pair.log_p(x)) * h, np.exp(pair.log_q(x)) * h
    priors = np.array([1e-6, 0.1, 0.5, 0.73, 0.999])
    truth = [np.maximum(r * p, (1 - r) * q).sum() for r in priors]
    np.testing.assert_allclose(attack_success(step.delta, priors), truth, rtol=1e-6)
    assert attack_success(step.delta, [0.0, 1.0]).tolist() == [1.0, 1.0]


def test_advantage_is_delta_at_zero_and_success_at_even_odds():
    one = plan()
    assert one.advantage() == one.delta(0.0)
    assert one.attack_success(0.5) == pytest.approx((1 + one.advantage()) / 2, rel=1e-12)
    curve = one.tradeoff(np.linspace(0, 1, 21))
    assert np.max(1 - curve - np.linspace(0, 1, 21)) <= one.advantage() * (1 + 1e-9)


def test_extremes():
    assert plan(noise_multiplier=0.0).tradeoff(0.3) == 0
    assert plan(noise_multiplier=0.0).advantage() == 1
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        plan().tradeoff(1.5)
    with pytest.raises(ValueError, match="prior must be between 0 and 1"):
        plan().attack_success(math.nan)


def test_solves_for_an_advantage_and_a_true_positive_rate():
    quiet = plan().solve("noise_multiplier", advantage=0.1)
    assert 0.0995 < quiet.advantage() <= 0.1
    guarded = plan().solve("noise_multiplier", tpr=0.05, fpr=0.01)
    assert 0.0495 < 1 - guarded.tradeoff(0.01) <= 0.05
    short = plan(noise_multiplier=2.0).solve("steps", advantage=0.1)
    assert short.advantage() <= 0.1 < short.replace(steps=short.steps + 2).advantage()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({}, "exactly one"),
        ({"epsilon": 1.0}, "value missing"),
        ({"advantage": 0.1, "epsilon": 1.0, "delta": 1e-5}, "exactly one"),
        ({"tpr": 0.01, "fpr": 0.1}, "tpr must be above fpr"),
        ({"advantage": 1.0}, "advantage"),
        ({"advantage": 0.1, "method": "rdp"}, "method"),
    ],
)
def test_refuses_unclear_targets(target, reason):
    with pytest.raises(ValueError, match=reason):
        plan().solve("noise_multiplier", **target)
