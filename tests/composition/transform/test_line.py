"""The exact engine against closed forms, published-prototype values and independent inversions."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.composition import prove
from patchdp.composition.certificate import Refused
from patchdp.composition.transform import estimates
from patchdp.composition.transform import prove as line
from patchdp.composition.transform.bar import ErrorBar
from patchdp.composition.transform.law import NoLine
from patchdp.composition.transform.line import compose, sample_line
from patchdp.composition.transform.saddle import saddle_for_delta
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
        ((Fraction(200, 2975) * CITYSCAPES, 0.5, 1500), math.log(1e-12), 11.1343, 1e-5),
        ((1.0, 1 / 2000, 10**6), math.log(1e-9), 6.1739, 1e-5),
    ],
)
def test_values_of_the_prototype(step, log_delta, epsilon, digits):
    phases = _fixed(*step)
    estimate = float(prove.estimate_epsilon(phases, log_delta))
    assert estimate == pytest.approx(epsilon, rel=digits)
    upper = prove.exact_epsilon(phases, log_delta).upper
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
    estimate = float(prove.estimate_log_delta(_fixed(rate, 1.0, steps), np.array([eps]))[0])
    assert estimate == pytest.approx(math.log(total * spacing / np.pi), abs=1e-9)


def test_both_sides_of_cityscapes():
    poisson = _poisson(Fraction(200, 2975), CITYSCAPES, 0.5, 1500)
    assert prove.exact_epsilon(poisson, math.log(1e-5)).upper == pytest.approx(3.73193, abs=5e-6)
    assert prove.attained_epsilon(poisson, math.log(1e-5)) == pytest.approx(3.6620, abs=5e-5)
    fixed = _fixed(Fraction(200, 2975) * CITYSCAPES, 0.5, 1500)
    assert prove.attained_epsilon(fixed, math.log(1e-5)) == pytest.approx(5.393, abs=5e-4)


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
    upper = prove.exact_epsilon(phases, log_delta).upper
    lower = prove.attained_epsilon(phases, log_delta)
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
    assert np.allclose(prove.estimate_log_delta(phases, eps), closed, rtol=0, atol=1e-14)
    assert np.all(prove.exact_log_delta(phases, eps) >= closed)
    assert float(prove.estimate_epsilon(phases, closed[1])) == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize("log_delta", [-2.0, -30.0, -690.0])
@pytest.mark.parametrize(
    "phases",
    [_poisson(0.01, 0.2, 0.8, 100_000), _fixed(1e-6, 0.01, 10**12), _fixed(0.3, 0.05, 3000)],
    ids=["poisson", "tiny rate", "small distance"],
)
def test_epsilon_and_delta_invert_each_other(phases, log_delta):
    upper = prove.exact_epsilon(phases, log_delta).upper
    if upper == 0.0:
        assert float(prove.exact_log_delta(phases, np.array([0.0]))[0]) <= log_delta
        return
    assert float(prove.exact_log_delta(phases, np.array([upper]))[0]) <= log_delta + 2e-6
    assert float(prove.estimate_log_delta(phases, np.array([upper]))[0]) == pytest.approx(
        log_delta, abs=2e-6
    )
    assert float(prove.estimate_epsilon(phases, log_delta)) == pytest.approx(upper, rel=1e-6)


def test_phases_add_and_order_does_not_matter():
    one, other = _poisson(0.1, 0.3, 0.5, 700), _fixed(0.02, 0.5, 500)
    together = prove.exact_epsilon(one + other, math.log(1e-5)).upper
    assert together == pytest.approx(prove.exact_epsilon(other + one, math.log(1e-5)).upper)
    same = float(prove.estimate_epsilon([*one, (one[0][0], 300)], math.log(1e-5)))
    longer = float(prove.estimate_epsilon([(one[0][0], 1000)], math.log(1e-5)))
    assert same == pytest.approx(longer, rel=1e-12)
    assert together > prove.exact_epsilon(one, math.log(1e-5)).upper


def test_a_profile_of_several_parts():
    pairs = fixed_size_pair(rate=0.02, mu=0.5), fixed_size_pair(rate=0.05, mu=1.0)
    mixed = [(StepProfile(((0.7, pairs[0]), (0.3, pairs[1])), attainable=False), 2000)]
    alone = [(StepProfile(((0.7, pairs[1]), (0.3, pairs[1])), attainable=False), 2000)]
    reference = float(prove.estimate_epsilon(_fixed(0.05, 1.0, 2000), math.log(1e-5)))
    upper = prove.exact_epsilon(alone, math.log(1e-5)).upper
    assert upper == pytest.approx(reference, rel=1e-9)
    assert prove.exact_epsilon(mixed, math.log(1e-5)).upper < upper
    assert prove.attained_epsilon(mixed, math.log(1e-5)) is None


def test_many_runs_at_once():
    runs = [_poisson(0.05, 0.4, mu, 1000) for mu in np.linspace(0.3, 1.5, 40)]
    goals = np.log(np.geomspace(1e-3, 1e-200, 40))
    many = prove.estimate_epsilons(runs, goals)
    each = [prove.estimate_epsilon(*both) for both in zip(runs, goals, strict=True)]
    assert np.allclose(many, each, rtol=1e-11)
    for i in (0, 13, 39):
        proof = prove.exact_epsilon(runs[i], float(goals[i]))
        assert proof.lower <= many[i] * (1 + 1e-13) and many[i] <= proof.upper * (1 + 1e-13)
        assert proof.upper == pytest.approx(many[i], rel=1e-6)


def test_epsilon_is_zero_where_delta_is_generous():
    phases = _fixed(1e-5, 0.5, 10)
    assert float(prove.estimate_epsilon(phases, math.log(1e-2))) == 0.0
    assert prove.exact_epsilon(phases, math.log(1e-2)).upper == 0.0
    crowded = _fixed(0.05, 0.5, 2000)
    generous = float(prove.estimate_log_delta(crowded, np.zeros(1))[0]) + 1e-3
    assert prove.exact_epsilon(crowded, generous).upper == 0.0
    assert prove.exact_epsilon(crowded, generous - 2e-3).upper > 0.0


def test_a_run_without_a_line_is_refused_and_the_answer_named():
    few = _fixed(1e-3, 1.0, 20)
    proof = prove.prove_epsilon(few, math.log(1e-6))
    assert proof.prover == "grid"
    with pytest.raises(Refused, match=f"method 'auto' proves epsilon {proof.upper:.6g}"):
        prove.exact_epsilon(few, math.log(1e-6))
    with pytest.raises(Refused, match="method 'auto' proves delta"):
        prove.exact_log_delta(few, np.array([0.5]))
    assert np.isnan(estimates.epsilons([few], np.log([1e-6]))[0])
    with pytest.raises(NoLine):
        # The reversed losses never exceed -log(1 - r): almost an atom.
        line.log_delta_bounds(_fixed(0.3, 3.0, 3), 0.5, "backward")


# Lines along which all but e^-20 of the integrand cancels: estimates must not be taken from them.
CANCELLING = [
    (_poisson(1.3256e-3, 5.2422e-3, 1 / 1.13664, 40942585), 2.54585),
    (_poisson(1.2e-6, 0.0208, 1 / 0.987, 4_400_000), 0.0152),
    (_fixed(0.0628 * 0.121, 1 / 7.88, 880), 1.5),
]


@pytest.mark.parametrize(("run", "epsilon"), CANCELLING)
def test_an_estimate_is_right_or_none(run, epsilon):
    (found,) = estimates.log_deltas(run, np.array([epsilon]))
    upper = float(prove.prove_log_delta(run, np.array([epsilon]))[0])
    assert np.isnan(found) or upper - 3e-3 <= found <= upper + 1e-9


def test_beyond_the_largest_loss_of_the_reversed_pair_delta_is_zero():
    run = _fixed(0.3, 0.5, 30)
    largest = -30 * math.log1p(-0.3)
    found = estimates.log_deltas(run, np.array([0.2, 1.01]) * largest, "backward")
    assert math.isfinite(found[0]) and found[1] == -math.inf
