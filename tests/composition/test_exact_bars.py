"""Theorem 33: the bounds behind the error bars, each against direct computation."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest

from benchmarks.exact_accuracy import Setting, check
from patchdp.composition.error_bars import ErrorBar
from patchdp.composition.inversion import (
    Composition,
    TiltedLaw,
    alias_bound,
    compose,
    sample_line,
)
from patchdp.composition.loss_law import loss_laws, small_exp
from patchdp.composition.saddle import saddle_for_epsilon
from patchdp.composition.strip import OscillationBound, Remainder, quadrature_remainders
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

PAIRS = {
    "gaussian": fixed_size_pair(rate=1.0, mu=0.7),
    "fixed": fixed_size_pair(rate=0.03, mu=1.2),
    "poisson": poisson_pair(rate=0.2, inclusion=0.3, mu=0.8),
    "strong noise": poisson_pair(rate=0.01, inclusion=0.5, mu=0.02),
    "weak noise": fixed_size_pair(rate=0.2, mu=4.0),
}


def _law(name, side, refinement):
    profile = StepProfile(((1.0, PAIRS[name]),), attainable=True)
    mu = max(PAIRS[name].shifts)
    return loss_laws([profile], np.array([10 + mu * 13]), side, refinement=refinement)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward", "backward"])
@pytest.mark.parametrize("refinement", [0.45, 0.7, 1.0])
def test_quadrature_remainder_covers_the_true_error(name, side, refinement):
    coarse, fine = _law(name, side, refinement), _law(name, side, 6.0)
    t = 2.0
    remainder = quadrature_remainders(TiltedLaw(coarse, np.array([t])), t)
    y = np.geomspace(1e-3, 8.0, 30) / max(PAIRS[name].shifts)
    zero = np.zeros((1, 1))
    drop, turn = TiltedLaw(coarse, np.array([t])).characteristic(y[None, :], zero)
    true_drop, true_turn = TiltedLaw(fine, np.array([t])).characteristic(y[None, :], zero)
    error = np.hypot(drop - true_drop, turn - true_turn)[0]
    size = np.hypot(true_drop, true_turn)[0]
    assert np.all(error <= remainder.characteristic(y) + 3e-14 * size + 1e-15 * y)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward", "backward"])
@pytest.mark.parametrize("highest", [1.0, 1.5, 2.0])
def test_the_remainder_of_the_excess_holds_at_every_tilt_up_to_the_highest(name, side, highest):
    coarse, fine = _law(name, side, 0.45), _law(name, side, 6.0)
    t = 1.0
    log_m = float(fine.cumulants(np.array([[t]]))[0][0, 0])
    bound = quadrature_remainders(TiltedLaw(coarse, np.array([t])), highest).excess()
    for tilt in np.linspace(0.1, highest, 7):
        values = [law.excess(np.array([[tilt]])) for law in (coarse, fine)]
        excess, true = (float(v[0][0, 0] * np.exp(v[3][0, 0] - log_m)) for v in values)
        assert abs(excess - true) <= bound + 3e-14 * abs(true)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward", "backward"])
def test_oscillation_bound_covers_the_characteristic_function(name, side):
    law, t = _law(name, side, 12.0), 1.5
    bound = OscillationBound(TiltedLaw(law, np.array([t])), 0.0)
    # losses of small steps are small everywhere: their oscillation sets in at 1/(rate mu)
    scale = 100.0 if name == "strong noise" else 1.0
    y = np.geomspace(0.05, 40.0, 60) * scale / max(PAIRS[name].shifts)
    drop, turn = TiltedLaw(law, np.array([t])).characteristic(y[None, :], np.zeros((1, 1)))
    modulus = np.hypot(1 - drop, turn)[0]
    upper = bound.modulus(y)
    assert np.all(upper[:-1] >= upper[1:])
    assert np.all(modulus <= upper + 1e-12)
    assert upper[-1] < 1.0


def test_the_trapezoid_rule_adds_exactly_the_aliases():
    # Gaussian at distance 1, period so short that the aliases dominate the error.
    profile = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    composition = compose([[(profile, 1)]], "symmetric", np.array([12.0]))
    t, eps, period = 1.3, 1.0, 4.0
    y = 2 * np.pi / period * np.arange(200)
    z = t + 1j * y
    values = np.exp(0.5 * z * (z + 1) - z * eps) / (z * (z + 1))
    rule = (np.sum(values.real) - 0.5 * values[0].real) * 2 / period
    k = np.arange(-40, 41)
    aliases = profile.delta(eps + k * period) * np.exp(k * period * t)
    assert rule == pytest.approx(np.sum(aliases), rel=1e-12)
    extra = np.sum(aliases) - aliases[40]
    negative = k[(k < 0) & (k >= -8)]
    v = eps + negative * period
    known = np.sum(np.where(v < 0, -np.expm1(np.minimum(v, 0)), 0) * np.exp(negative * period * t))
    tilts = np.linspace(0.05, 6.0, 60)[None, :]
    chernoff = composition.cumulants(tilts)[0]
    bound = alias_bound(tilts, chernoff, np.array([t]), np.array([eps]), np.array([[period]]))
    assert 0 <= extra - known <= np.exp(bound[0, 0])


def test_moments_of_tiny_losses_keep_their_relative_accuracy():
    profile = StepProfile(((1.0, fixed_size_pair(rate=1e-9, mu=1e-3)),), attainable=True)
    law = loss_laws([profile], np.array([11.0]), "symmetric")
    excess = float(law.excess(np.array([[3.0]]))[0][0, 0])
    # L is r (e^{2 mu x} - 1) to first order: M - 1 = t (t + 1)/2 E[L^2], almost all of it Gaussian
    assert excess == pytest.approx(6.0 * (2e-12) ** 2, rel=1e-5)
    forward = loss_laws([profile], np.array([11.0]), "forward").excess(np.array([[3.0]]))
    assert float(forward[0][0, 0]) == pytest.approx(excess, rel=1e-2)


def test_small_exp_is_accurate_everywhere():
    u = np.array([-30.0, -0.5, -1e-3, 0.0, 1e-9, 0.399, 0.401, 20.0])
    with mpmath.workdps(50):
        true = [float(mpmath.expm1(mpmath.mpf(float(v))) - mpmath.mpf(float(v))) for v in u]
    assert np.allclose(small_exp(u), true, rtol=2e-15, atol=0)


def test_rows_are_independent_plans():
    profiles = [StepProfile(((1.0, PAIRS[n]),), attainable=True) for n in ("fixed", "poisson")]
    plans = [[(profiles[0], 50)], [(profiles[1], 70)]]
    together = compose(plans, "symmetric", np.array([4.0, 4.0])).cumulants(np.array([[1.5], [2.5]]))
    for i, t in enumerate((1.5, 2.5)):
        alone: Composition = compose(plans[i : i + 1], "symmetric", np.array([4.0]))
        single = alone.cumulants(np.array([[t]]))
        for a, b in zip(together, single, strict=True):
            assert a[i, 0] == pytest.approx(b[0, 0], rel=1e-12)


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
@pytest.mark.parametrize(
    "numbers",
    [
        (0.07, 0.33, 2.0, 1500, -11.5),
        (0.05, 0.2, 1.0, 5000, -11.5),
        (1.0, 1e-3, 0.4, 40_000, -300.0),
        (0.01, 1e-3, 300.0, 10**12, -3.0),
        (1e-3, 1.0, 20.0, 10**9, -20.0),
    ],
)
def test_bars_against_an_inversion_on_another_contour(sampling, numbers):
    record = check(Setting(sampling, *numbers))
    assert record["status"] == "held"
    assert record["bar"] < 1e-6
    assert record["error"] < 1e-9 * max(1.0, math.fabs(numbers[-1]))


def _sampled(refinement):
    profile, epsilon = StepProfile(((1.0, PAIRS["fixed"]),), attainable=True), np.array([1.0])
    plan = [(profile, 400)]
    saddle = saddle_for_epsilon([plan], epsilon, "symmetric")
    tilt = saddle.composition.largest_tilt
    composition = compose([plan], "symmetric", tilt, refinement=refinement)
    line, done = sample_line(composition, saddle.t, epsilon, most_nodes=1 << 14)
    assert done[0]
    return composition, line


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_a_line_that_ends_early_is_covered_by_the_bound_on_its_tail(share):
    composition, line = _sampled(4.0)
    true = float(line.log_delta(np.array([1.0]))[0][0])
    nodes = max(int(share * line.y.shape[1]), 2)
    parts = {name: getattr(line, name)[:, :nodes] for name in ("y", "real", "phase")}
    short = replace(line, **parts)
    cut = abs(float(short.log_delta(np.array([1.0]))[0][0]) - true)
    lower, upper = ErrorBar(short).bounds(1.0)
    assert lower <= true <= upper
    assert share > 0.15 or cut > 1e-6  # else the tail is nothing, and no test of its bound


def test_exponents_that_bound_the_aliases_carry_the_error_of_the_quadrature(monkeypatch):
    composition, line = _sampled(4.0)
    monkeypatch.setattr(Remainder, "excess", lambda self: 1e-5)  # of M(t), for each of 400 steps
    bar = ErrorBar(line)
    raised = bar._chernoff - composition.cumulants(bar._tilts)[0]
    assert np.all(raised >= 400 * 1e-5)
    lower, upper = bar.bounds(1.0)
    value = float(line.log_delta(np.array([1.0]))[0][0])
    assert lower <= value - 400 * 1e-5 and value + 400 * 1e-5 <= upper
