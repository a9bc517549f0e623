"""The exact engine against closed forms, published-prototype values and independent inversions."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.composition import exact
from patchdp.composition.error_bars import ErrorBar
from patchdp.composition.inversion import compose, sample_line
from patchdp.composition.saddle import saddle_for_delta
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

CITYSCAPES = Fraction(514 * 514, 520 * 1544)
_ROUNDED = Fraction(200, 2975) * Fraction("0.32906")


def _fixed(rate, mu, steps):
    return [(StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True), steps)]


def _poisson(rate, inclusion, mu, steps):
    pair = poisson_pair(rate=rate, inclusion=inclusion, mu=mu)
    return [(StepProfile(((1.0, pair),), attainable=True), steps)]


def _gaussian_log_delta(distance: float, epsilon: float) -> float:
    with mpmath.workdps(80):
        d, eps = mpmath.mpf(distance), mpmath.mpf(epsilon)
        low = mpmath.ncdf(-d / 2 - eps / d)
        return float(mpmath.log(mpmath.ncdf(d / 2 - eps / d) - mpmath.exp(eps) * low))


@pytest.mark.parametrize(
    ("step", "log_delta", "epsilon", "digits"),
    [
        ((Fraction(200, 2975) * CITYSCAPES, 1.0, 1500), math.log(1e-5), 39.17952622918, 1e-10),
        ((_ROUNDED, 0.5, 1500), math.log(1e-5), 6.657265902046, 1e-10),
        ((_ROUNDED, 0.25, 1500), math.log(1e-5), 2.146704349719, 1e-10),
        ((Fraction(4096, 100000), 1 / 3, 2000), math.log(1e-5), 7.861013474313, 1e-10),
        ((2.5e-4, 1.0, 10**5), math.log(1e-5), 4.2441799760, 1e-10),
        ((1.45e-5, 1.0, 10**5), math.log(1e-5), 0.332735975, 1e-8),
        ((Fraction(200, 2975) * CITYSCAPES, 0.5, 1500), math.log(1e-12), 11.1343, 1e-5),
        ((1.0, 1 / 2000, 10**6), math.log(1e-9), 6.1739, 1e-5),
    ],
)
def test_values_of_the_prototype(step, log_delta, epsilon, digits):
    phases = _fixed(*step)
    estimate = float(exact.epsilon_estimate(phases, log_delta))
    assert estimate == pytest.approx(epsilon, rel=digits)
    upper = float(exact.epsilon_upper(phases, log_delta))
    assert estimate - 1e-13 * estimate <= upper <= estimate * (1 + 1e-5)


def test_a_value_where_the_prototype_was_off():
    # A plain sum of exponentials on a long line, nothing shared with the engine but the formula.
    rate, steps, eps, tilt = 1e-3, 5000, 4.61965785, 1.7
    nodes, weights = np.polynomial.legendre.leggauss(1500)
    x, weights = 15 * (nodes + 1), 15 * weights
    q = np.exp(-0.5 * (x + 1) ** 2) / np.sqrt(2 * np.pi)
    loss = np.log1p(rate * np.expm1(2 * x))
    p = q * np.exp(loss)
    total, spacing = 0.0, 2 * np.pi / 200
    for n in range(1600):
        z = tilt + 1j * spacing * n
        m = 1 + np.sum(weights * (p * np.expm1(z * loss) + q * np.expm1(-z * loss)))
        value = np.exp(steps * np.log(m) - z * eps) / (z * (z + 1))
        total += value.real * (0.5 if n == 0 else 1.0)
    estimate = float(exact.log_delta_estimate(_fixed(rate, 1.0, steps), eps))
    assert estimate == pytest.approx(math.log(total * spacing / np.pi), abs=1e-9)


def test_both_sides_of_cityscapes():
    poisson = _poisson(Fraction(200, 2975), CITYSCAPES, 0.5, 1500)
    assert float(exact.epsilon_upper(poisson, math.log(1e-5))) == pytest.approx(3.73193, abs=5e-6)
    assert float(exact.epsilon_lower(poisson, math.log(1e-5))) == pytest.approx(3.6620, abs=5e-5)
    fixed = _fixed(Fraction(200, 2975) * CITYSCAPES, 0.5, 1500)
    assert float(exact.epsilon_lower(fixed, math.log(1e-5))) == pytest.approx(5.393, abs=5e-4)


GAUSSIANS = {
    "steps": st.floats(0, 12).map(lambda v: int(10**v)),
    "distance": st.floats(-4, 1).map(lambda v: 10**v),
    "log_delta": st.floats(math.log10(3), math.log10(690)).map(lambda v: -(10**v)),
}


@settings(max_examples=60, deadline=None)
@given(**GAUSSIANS)
def test_epsilon_of_the_gaussian_mechanism(steps, distance, log_delta):
    mu = distance / math.sqrt(steps)
    phases = _fixed(1.0, mu, steps)
    total = 2 * mu * math.sqrt(steps)
    upper = float(exact.epsilon_upper(phases, log_delta))
    lower = float(exact.epsilon_lower(phases, log_delta))
    ulps = 2e-15 * abs(log_delta) * (1 + distance) + 1e-13  # of the arguments themselves
    assert _gaussian_log_delta(total, upper) <= log_delta + ulps
    assert lower == 0.0 or _gaussian_log_delta(total, lower) >= log_delta - ulps
    assert upper - lower <= 1e-6 * upper + 1e-12


@settings(max_examples=20, deadline=None)
@given(**GAUSSIANS)
def test_error_bars_of_the_inversion_hold_for_the_gaussian_mechanism(steps, distance, log_delta):
    # The engine answers these in closed form; here they go the long way.
    steps = 50 + steps
    mu = distance / math.sqrt(steps)
    phases = _fixed(1.0, mu, steps)
    saddle = saddle_for_delta([phases], np.array([log_delta]), "symmetric")
    fine = compose([phases], "symmetric", saddle.composition.largest_tilt, refinement=4.0)
    epsilon = np.maximum(saddle.epsilon, 0.0)
    line, done = sample_line(fine, saddle.t, epsilon, most_nodes=1 << 12)
    assert done[0]
    lower, upper = ErrorBar(line).bounds(float(epsilon[0]))
    true = _gaussian_log_delta(2 * mu * math.sqrt(steps), float(epsilon[0]))
    ulps = 2e-15 * abs(log_delta) * (1 + distance)
    assert lower - ulps <= true <= upper + ulps
    assert upper - lower < 1e-6


def test_one_step_is_the_closed_form():
    phases = _poisson(0.1, 0.3, 1.0, 1)
    eps = np.array([0.0, 0.3, 2.0])
    closed = phases[0][0].log_delta(eps)
    assert np.allclose(exact.log_delta_estimate(phases, eps), closed, rtol=0, atol=1e-14)
    assert np.all(exact.log_delta_upper(phases, eps) >= closed)
    assert np.all(exact.log_delta_lower(phases, eps, "forward") <= closed)
    assert float(exact.epsilon_estimate(phases, closed[1])) == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize("log_delta", [-2.0, -30.0, -690.0])
@pytest.mark.parametrize(
    "phases",
    [_poisson(0.01, 0.2, 0.8, 100_000), _fixed(1e-6, 0.01, 10**12), _fixed(0.3, 0.05, 3000)],
    ids=["poisson", "tiny rate", "small distance"],
)
def test_epsilon_and_delta_invert_each_other(phases, log_delta):
    upper = float(exact.epsilon_upper(phases, log_delta))
    if upper == 0.0:
        assert float(exact.log_delta_upper(phases, 0.0)) <= log_delta
        return
    assert float(exact.log_delta_upper(phases, upper)) <= log_delta + 2e-6
    assert float(exact.log_delta_estimate(phases, upper)) == pytest.approx(log_delta, abs=2e-6)
    assert float(exact.epsilon_estimate(phases, log_delta)) == pytest.approx(upper, rel=1e-6)


def test_phases_add_and_order_does_not_matter():
    one, other = _poisson(0.1, 0.3, 0.5, 700), _fixed(0.02, 0.5, 500)
    together = float(exact.epsilon_upper(one + other, math.log(1e-5)))
    assert together == pytest.approx(float(exact.epsilon_upper(other + one, math.log(1e-5))))
    same = float(exact.epsilon_estimate([*one, (one[0][0], 300)], math.log(1e-5)))
    longer = float(exact.epsilon_estimate([(one[0][0], 1000)], math.log(1e-5)))
    assert same == pytest.approx(longer, rel=1e-12)
    assert together > float(exact.epsilon_upper(one, math.log(1e-5)))


def test_a_profile_of_several_parts():
    pairs = fixed_size_pair(rate=0.02, mu=0.5), fixed_size_pair(rate=0.05, mu=1.0)
    mixed = [(StepProfile(((0.7, pairs[0]), (0.3, pairs[1])), attainable=False), 2000)]
    alone = [(StepProfile(((0.7, pairs[1]), (0.3, pairs[1])), attainable=False), 2000)]
    reference = float(exact.epsilon_estimate(_fixed(0.05, 1.0, 2000), math.log(1e-5)))
    upper = float(exact.epsilon_upper(alone, math.log(1e-5)))
    assert upper == pytest.approx(reference, rel=1e-9)
    assert float(exact.epsilon_upper(mixed, math.log(1e-5))) < upper
    assert float(exact.epsilon_lower(mixed, math.log(1e-5))) == 0.0


def test_arrays_and_many_plans():
    phases = _poisson(0.05, 0.4, 0.7, 1000)
    logs = np.log([[1e-3, 1e-5], [1e-8, 1e-200]])
    together = exact.epsilon_estimate(phases, logs)
    assert together.shape == (2, 2)
    singly = [[float(exact.epsilon_estimate(phases, v)) for v in row] for row in logs]
    assert np.allclose(together, singly, rtol=1e-11)
    plans = [_poisson(0.05, 0.4, mu, 1000) for mu in np.linspace(0.3, 1.5, 40)]
    many = exact.epsilon_estimate_many(plans, math.log(1e-5))
    each = [float(exact.epsilon_estimate(plan, math.log(1e-5))) for plan in plans]
    assert np.allclose(many, each, rtol=1e-11)
    certified = exact.epsilon_upper_many(plans[::13], math.log(1e-5))
    assert np.all(certified >= many[::13] * (1 - 1e-13))
    assert np.allclose(certified, many[::13], rtol=1e-6)


def test_epsilon_is_zero_where_delta_is_generous():
    phases = _fixed(1e-5, 0.5, 10)
    assert float(exact.epsilon_estimate(phases, math.log(1e-2))) == 0.0
    assert float(exact.epsilon_upper(phases, math.log(1e-2))) == 0.0
    crowded = _fixed(0.05, 0.5, 2000)
    generous = float(exact.log_delta_estimate(crowded, 0.0)) + 1e-3
    assert float(exact.epsilon_upper(crowded, generous)) == 0.0
    assert float(exact.epsilon_upper(crowded, generous - 2e-3)) > 0.0


def test_a_setting_beyond_the_engine_is_refused():
    # The reversed losses never exceed -log(1 - r): almost an atom, and no smooth window.
    with pytest.raises(exact.ExactEngineError, match="method 'pld'"):
        exact.log_delta_lower(_fixed(0.3, 3.0, 3), 0.5, "backward")
