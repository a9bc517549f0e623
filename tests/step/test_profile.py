"""The profile of one step against 50-digit arithmetic, its laws, and random adversaries."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import inclusions, noises, profiles, rates

from patchdp.step import (
    FixedSize,
    MixturePair,
    Poisson,
    Shuffle,
    StepProfile,
    fixed_size_pair,
    poisson_pair,
    step_profile,
)

mp.mp.dps = 50
EPSILONS = np.array([0.0, 1e-8, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 40.0])


def fixed_size_truth(eps: float, r: Fraction, mu: float) -> mp.mpf:
    """Closed form of the fixed-size step: the pair (1-r) N(0) + r N(2 mu) against N(0)."""
    rate, m = mp.mpf(r.numerator) / r.denominator, mp.mpf(mu)
    a = 1 + mp.expm1(mp.mpf(eps)) / rate
    x = (mp.log(a) + 2 * m * m) / (2 * m)
    return rate * (mp.ncdf(2 * m - x) - a * mp.ncdf(-x))


def poisson_truth(eps: float, q: Fraction, p: Fraction, mu: float) -> mp.mpf:
    """P* against Q* on the line, the crossing found by bisection at full precision."""
    q_, p_, m, a = (mp.mpf(q.numerator) / q.denominator, mp.mpf(p.numerator) / p.denominator,
                    mp.mpf(mu), mp.exp(mp.mpf(eps)))  # fmt: skip
    weights = (
        ((1 - q_) * (1 - a), mp.mpf(0)),
        (q_ * (1 - p_) - a * q_, -m),
        (q_ * p_, m),
    )

    def sign(x: mp.mpf) -> mp.mpf:
        return sum(w * mp.exp(c * x - c * c / 2) for w, c in weights)

    low, high = mp.mpf(0), mp.mpf(1)
    while sign(high) < 0:
        high *= 2
    for _ in range(220):
        middle = (low + high) / 2
        low, high = (middle, high) if sign(middle) < 0 else (low, middle)
    return sum(w * mp.ncdf(c - high) for w, c in weights)


def relative(got: float, truth: mp.mpf) -> float:
    return float(abs(mp.mpf(got) / truth - 1))


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("rate", [Fraction(1), Fraction(1, 3), Fraction(1, 40), Fraction(1, 10**6)])
def test_fixed_size_profile_has_ten_digits_in_every_regime(sigma: float, rate: Fraction) -> None:
    profile = StepProfile(((1.0, fixed_size_pair(rate=rate, mu=1 / sigma)),), attainable=True)
    checked = 0
    for eps in (*EPSILONS, *(float(rate) / sigma * EPSILONS[4:8])):
        truth = fixed_size_truth(eps, rate, 1 / sigma)
        if truth > mp.mpf("1e-300"):
            assert relative(float(profile.delta(eps)), truth) < 1e-10, eps
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("q", [Fraction(1), Fraction(8, 119), Fraction(1, 10**6)])
@pytest.mark.parametrize("p", [Fraction(1), Fraction(1, 3), Fraction(1, 10**4)])
def test_poisson_profile_has_ten_digits_in_every_regime(
    sigma: float, q: Fraction, p: Fraction
) -> None:
    profile = StepProfile(((1.0, poisson_pair(rate=q, inclusion=p, mu=1 / sigma)),), True)
    checked = 0
    for eps in (*EPSILONS, *(float(q * p) / sigma * EPSILONS[4:8])):
        truth = poisson_truth(eps, q, p, 1 / sigma)
        if truth > mp.mpf("1e-300"):
            assert relative(float(profile.delta(eps)), truth) < 1e-10, eps
            checked += 1
    assert checked >= 5


@given(noises, inclusions, st.floats(0, 20))
@settings(max_examples=60)
def test_amplification_by_p_one_is_the_identity(sigma: float, q: Fraction, eps: float) -> None:
    with_crop = step_profile(
        Poisson(sampling_probability=q), inclusion_probability=1, noise_multiplier=sigma
    )
    # The image-level pair of Poisson replacement, without any crop.
    mu = with_crop.parts[0][1].shifts[0]
    truth = poisson_truth(eps, q, Fraction(1), mu)
    if truth > mp.mpf("1e-300"):
        assert relative(float(with_crop.delta(eps)), truth) < 1e-10


@given(st.integers(1, 400), noises, inclusions, st.floats(0, 10))
@settings(max_examples=60)
def test_fixed_size_is_crop_amplification_of_the_image_level_profile(
    batch: int, sigma: float, p: Fraction, eps: float
) -> None:
    """`p h(log(1 + (e^eps - 1)/p))`, computed from the image-level profile, not from the rate."""
    image = step_profile(FixedSize(batch, 400), inclusion_probability=1, noise_multiplier=sigma)
    patch = step_profile(FixedSize(batch, 400), inclusion_probability=p, noise_multiplier=sigma)
    inner = math.log1p(math.expm1(eps) / p)
    amplified = math.log(p) + float(image.log_delta(inner))
    if amplified > -600:
        # inner is rounded: log delta moves by its error times the slope.
        assert float(patch.log_delta(eps)) == pytest.approx(amplified, rel=1e-9, abs=1e-8)


@given(rates, inclusions, noises)
@settings(max_examples=60)
def test_rates_multiply_for_fixed_size(q: Fraction, p: Fraction, sigma: float) -> None:
    batch, dataset = q.numerator, q.denominator
    a = step_profile(
        FixedSize(batch, dataset), inclusion_probability=p, noise_multiplier=sigma
    ).log_delta(EPSILONS)
    r = q * p
    b = step_profile(Shuffle(), inclusion_probability=r, noise_multiplier=sigma).log_delta(EPSILONS)
    np.testing.assert_array_equal(a, b)


@given(rates, inclusions, noises, st.floats(1e-6, 10))
@settings(max_examples=80)
def test_poisson_never_exceeds_fixed_size(
    q: Fraction, p: Fraction, sigma: float, eps: float
) -> None:
    poisson = StepProfile(((1.0, poisson_pair(rate=q, inclusion=p, mu=1 / sigma)),), True)
    fixed = StepProfile(((1.0, fixed_size_pair(rate=q * p, mu=1 / sigma)),), True)
    assert poisson.log_delta(eps) <= fixed.log_delta(eps) + 1e-9


@given(profiles())
@settings(max_examples=80)
def test_profile_is_a_profile(profile: StepProfile) -> None:
    eps = np.concatenate([-np.geomspace(1e-4, 30, 60)[::-1], [0.0], np.geomspace(1e-4, 30, 60)])
    delta = profile.delta(eps)
    assert np.all(np.isfinite(delta)) and np.all(delta >= 0) and np.all(delta <= 1)
    assert np.all(delta >= np.maximum(0.0, -np.expm1(eps)) * (1 - 1e-12))
    assert np.all(np.diff(delta) <= 1e-15)
    a = np.exp(eps)
    slopes = np.diff(delta) / np.diff(a)
    # Each delta is right to a few units in its last place, and the slope to that over the step.
    slack = 1e-15 * (delta[1:-1] + 1e-15) * (1 / np.diff(a)[1:] + 1 / np.diff(a)[:-1])
    assert np.all(np.diff(slopes) >= -2e4 * slack * np.exp(-np.maximum(eps[1:-1], 0)) - 10 * slack)
    # The relation is symmetric: h(a) = 1 - a + a h(1/a).
    near = np.abs(eps) < 5
    mirrored = 1 - a + a * profile.delta(-eps)
    np.testing.assert_allclose(delta[near], mirrored[near], rtol=1e-12, atol=1e-13)


@given(profiles(), st.floats(0, 20), st.floats(1e-3, 5))
@settings(max_examples=80)
def test_profile_decreases_and_logs_stay_finite(p: StepProfile, eps: float, more: float) -> None:
    low, high = float(p.log_delta(eps)), float(p.log_delta(eps + more))
    assert high < low <= 0
    assert math.isfinite(low)


@given(rates, inclusions, noises, st.floats(0, 8), st.sampled_from(["sigma", "p", "q"]))
@settings(max_examples=150)
def test_profile_is_monotone(
    q: Fraction, p: Fraction, sigma: float, eps: float, which: str
) -> None:
    for make in (
        lambda q, p, s: poisson_pair(rate=q, inclusion=p, mu=1 / s),
        lambda q, p, s: fixed_size_pair(rate=q * p, mu=1 / s),
    ):
        worse = {
            "sigma": make(q, p, sigma * 0.8),
            "p": make(q, min(p * 2, Fraction(1)), sigma),
            "q": make(min(q * 2, Fraction(1)), p, sigma),
        }[which]
        assert worse.log_delta(eps) >= make(q, p, sigma).log_delta(eps) - 1e-10


def test_newton_and_closed_form_positions_agree() -> None:
    pair = poisson_pair(rate=Fraction(1, 7), inclusion=Fraction(1, 3), mu=1.3)
    eps = np.array([1e-9, 1e-4, 0.3, 2.0, 30.0])
    with np.errstate(divide="ignore"):
        target = eps + np.log(-np.expm1(-eps))
    newton = pair._position_newton(target)
    np.testing.assert_allclose(newton, pair.position(eps), rtol=1e-12)
    np.testing.assert_allclose(pair.loss(newton), eps, rtol=1e-12)


@given(profiles(), st.floats(-30, 30))
@settings(max_examples=80)
def test_loss_is_the_log_ratio_and_increases(profile: StepProfile, x: float) -> None:
    pair = profile.parts[0][1]
    loss = float(pair.loss(x))
    assert loss == pytest.approx(float(pair.log_p(x) - pair.log_q(x)), rel=1e-7, abs=1e-9)
    assert float(pair.loss(x + 0.5)) > loss or (x < 0 and loss == pytest.approx(0, abs=60))
    assert float(pair.loss(0.0)) == 0.0


# Random adversaries in the plane. A configuration is (miss m, hit g, hit after the change g'), each
# in the disk of radius mu; the hockey-stick divergence is integrated on a grid.


def hockey_stick(points, p_weights, q_weights, a: float) -> float:
    step = 0.04
    reach = 7.0 + max(float(np.abs(points).max()), 0.0)
    line = np.arange(-reach, reach + step / 2, step)
    x, y = np.meshgrid(line, line)
    density = [np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2)) / (2 * np.pi) for u, v in points]
    p = sum(w * d for w, d in zip(p_weights, density, strict=True))
    q = sum(w * d for w, d in zip(q_weights, density, strict=True))
    return float(np.maximum(p - a * q, 0).sum() * step * step)


def in_disk(rng: np.random.Generator, mu: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    radius = mu * (1.0 if rng.random() < 0.6 else math.sqrt(rng.random()))
    return radius * math.cos(angle), radius * math.sin(angle)


# The kink of the positive part makes the rectangle rule err by about step^2 times its density.
QUADRATURE = 8e-5


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("a", [1.0, 1.2, 3.0, 0.6])
def test_no_adversary_exceeds_the_fixed_size_profile(mu: float, a: float) -> None:
    rng = np.random.default_rng(int(1000 * mu + 10 * a))
    best = 0.0
    for _ in range(12):
        r = rng.uniform(0.05, 1.0)
        bound = float(
            StepProfile(((1.0, fixed_size_pair(rate=r, mu=mu)),), True).delta(math.log(a))
        )
        m, g, h = (in_disk(rng, mu) for _ in range(3))
        value = hockey_stick((m, g, h), (1 - r, r, 0), (1 - r, 0, r), a)
        assert value <= bound + QUADRATURE
        best = max(best, value / bound)
        # The worst case: the hit before the change points one way, everything else the other.
        other = (-mu, 0.0)
        worst = ((other, (mu, 0.0), other), (1 - r, r, 0), (1 - r, 0, r))
        if a < 1:  # the same pair the other way round
            worst = (worst[0], worst[2], worst[1])
        assert hockey_stick(*worst, a) == pytest.approx(bound, abs=QUADRATURE)
    assert best > 0.3  # the random ones come near, so the comparison has teeth


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("a", [1.0, 1.2, 3.0, 0.6])
def test_no_adversary_exceeds_the_poisson_profile(mu: float, a: float) -> None:
    rng = np.random.default_rng(int(1000 * mu + 10 * a + 1))
    for _ in range(12):
        q, p = rng.uniform(0.1, 1.0), rng.uniform(0.1, 1.0)
        profile = StepProfile(((1.0, poisson_pair(rate=q, inclusion=p, mu=mu)),), True)
        bound = float(profile.delta(math.log(a)))
        p_weights = (1 - q, q * (1 - p), q * p, 0.0)
        q_weights = (1 - q, q * (1 - p), 0.0, q * p)
        m, g, h = (in_disk(rng, mu) for _ in range(3))
        value = hockey_stick(((0, 0), m, g, h), p_weights, q_weights, a)
        assert value <= bound + QUADRATURE
        points = ((0, 0), (-mu, 0), (mu, 0), (-mu, 0))
        weights = (p_weights, q_weights) if a >= 1 else (q_weights, p_weights)
        assert hockey_stick(points, *weights, a) == pytest.approx(bound, abs=QUADRATURE)


def test_mixture_pair_is_consistent() -> None:
    pair = poisson_pair(rate=Fraction(1, 5), inclusion=Fraction(1, 4), mu=0.8)
    assert isinstance(pair, MixturePair)
    x = np.linspace(-12, 12, 20001)
    mass = np.exp(pair.log_p(x)).sum() * (x[1] - x[0])
    assert mass == pytest.approx(1.0, abs=1e-10)
    assert np.exp(pair.log_q(x)).sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf, True, "x", None, Fraction(3, 2)])
def test_bad_inclusion_is_refused(bad: object) -> None:
    if bad is True:
        with pytest.raises(ValueError, match="inclusion_probability"):
            step_profile(Shuffle(), inclusion_probability=bad, noise_multiplier=1.0)
        return
    with pytest.raises(ValueError, match="inclusion_probability must be"):
        step_profile(Shuffle(), inclusion_probability=bad, noise_multiplier=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "x", True, 1e-320])
def test_bad_noise_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        step_profile(Shuffle(), inclusion_probability=1, noise_multiplier=bad)  # type: ignore[arg-type]
