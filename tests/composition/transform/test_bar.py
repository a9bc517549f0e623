"""Theorem 34: the bounds behind the error bars, each against direct computation."""

from __future__ import annotations

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact_accuracy import Setting, check
from patchdp.composition.transform.bar import ErrorBar, _step_error
from patchdp.composition.transform.law import Pairs, gauss_weights, loss_laws, small_exp
from patchdp.composition.transform.line import (
    Chernoff,
    Composition,
    TiltedLaw,
    compose,
    sample_line,
)
from patchdp.composition.transform.saddle import saddle_for_epsilon
from patchdp.composition.transform.strip import (
    _ELLIPSES,
    _STEEPEST,
    OscillationBound,
    Remainder,
    quadrature_remainders,
)
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
@pytest.mark.parametrize("highest", [1.0, 3.0])
def test_the_remainder_covers_the_integrand_around_each_panel(name, side, highest):
    # Quadrature itself is far better than its bound: the maxima of which the bound is made.
    law, t = _law(name, side, 0.8), 1.0
    tilted = TiltedLaw(law, np.array([t]))
    remainder = quadrature_remainders(tilted, highest)
    half, start = float(law.half_width[0]), 0.0 if law.folded else -float(law.reach[0])
    panels = round((float(law.reach[0]) - start) / (2 * half))
    centre = start + half * (2 * np.arange(panels) + 1)
    mu, pair = max(PAIRS[name].shifts), PAIRS[name]
    rows = [rho for rho in _ELLIPSES if mu * 0.5 * half * (rho - 1 / rho) <= _STEEPEST]
    turns, least = np.linspace(0.0, 2 * np.pi, 721), np.full((3, panels), np.inf)
    for row, rho in enumerate(rows):
        around = 0.5 * half * (rho * np.exp(1j * turns) + np.exp(-1j * turns) / rho)
        z = centre[:, None] + around
        p, q = (
            np.log(sum(w * np.exp(m * (z - 0.5 * m)) for w, m in zip(*mixture, strict=True)))
            for mixture in ((pair.p_weights, pair.p_means), (pair.q_weights, pair.q_means))
        )
        normal = (-0.5 * z**2).real - 0.5 * np.log(2 * np.pi)
        loss, log_q, log_p = p - q, q.real + normal, p.real + normal
        if law.folded:  # sqrt(P Q) e^{(t + 1/2)|Re L|}
            density = 0.5 * (log_p + log_q) + (highest + 0.5) * np.abs(loss.real)
        elif side == "forward":
            density = log_p + np.maximum(highest * np.maximum(loss.real, 0.0), -loss.real)
        else:
            density = log_q + np.maximum(highest * np.maximum(-loss.real, 0.0), loss.real)
        rule = np.log(8 * half) - 40 * np.log(rho) - np.log1p(-(rho**-2)) - tilted.log_m[0]
        for bound, true in (
            (remainder.masses, density + rule),
            (remainder.moments, density + rule + 2 * np.log(np.abs(loss))),
            (remainder.growths, np.abs(loss.imag)),
        ):
            assert np.all(np.max(true, axis=1) <= bound[row, :panels])
        if law.folded:  # with both signs of the loss
            power = (t + 0.5) * np.where(loss.real < 0, -loss, loss)
            both = power.real + np.log(np.abs(1 + np.exp(-2 * power))) + 0.5 * (log_p + log_q)
            powers = both[None] + np.arange(3)[:, None, None] * np.log(np.abs(loss)) + rule
            least = np.minimum(least, np.max(powers, axis=2))
    excess = highest * (highest + 1) * np.sum(np.exp(np.min(remainder.moments, axis=0)))
    assert remainder.excess() >= excess * (1 - 1e-12)
    if law.folded:
        bounds = [remainder.mass(), remainder.mean(), remainder.second()]
        assert np.all(np.sum(np.exp(least), axis=1) <= bounds)


def _oscillation(tilted):
    return OscillationBound(tilted, quadrature_remainders(tilted, float(tilted.t[0])))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward", "backward"])
def test_oscillation_bound_covers_the_characteristic_function(name, side):
    law, t = _law(name, side, 12.0), 1.5
    bound = _oscillation(TiltedLaw(law, np.array([t])))
    # losses of small steps are small everywhere: their oscillation sets in at 1/(rate mu)
    scale = 100.0 if name == "strong noise" else 1.0
    y = np.geomspace(0.05, 40.0, 60) * scale / max(PAIRS[name].shifts)
    drop, turn = TiltedLaw(law, np.array([t])).characteristic(y[None, :], np.zeros((1, 1)))
    modulus = np.hypot(1 - drop, turn)[0]
    upper = bound.modulus(y)
    assert np.all(upper[:-1] >= upper[1:])
    assert np.all(modulus <= upper + 1e-12)
    assert upper[-1] < 1.0


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward"])
@pytest.mark.parametrize("t", [0.5, 4.0])
def test_every_cell_of_the_moved_contour_is_covered(name, side, t):
    law, pair = _law(name, side, 3.0), PAIRS[name]
    tilted = TiltedLaw(law, np.array([t]))
    bound = _oscillation(tilted)
    width = np.tile(gauss_weights * float(law.half_width[0]), tilted.loss.shape[1] // 20)
    start = 0.0 if law.folded else -float(law.reach[0])
    edges = start + np.append(0.0, np.cumsum(width))
    inside = (np.arange(16) + 0.5) / 16
    x = edges[:-1, None] + width[:, None] * inside
    for row, a in enumerate(bound._a[:, 0]):
        z = x + 1j * a
        p, q = (
            np.log(sum(w * np.exp(m * (z - 0.5 * m)) for w, m in zip(*mixture, strict=True)))
            for mixture in ((pair.p_weights, pair.p_means), (pair.q_weights, pair.q_means))
        )
        loss, normal = p - q, (-0.5 * z**2).real - 0.5 * np.log(2 * np.pi) - tilted.log_m[0]
        for y in (0.0, 1.0 / a, 5.0 / a):
            # `P e^{zL}`, and for the symmetric law `Q e^{-zL}` below the axis: the same modulus
            up = p.real + normal + t * loss.real - y * loss.imag
            down = q.real + normal - t * loss.real - y * loss.imag
            values = np.exp(up) + (np.exp(down) if law.folded else 0.0)
            cell = width * np.mean(values, axis=1)
            lifted = bound._lift[row, 0] * np.exp(bound._log_mass[row] - y * bound._rate[row])
            some = cell > 1e-13  # and not what only rounding has left
            assert np.all(cell[some] <= lifted[some] * (1 + 1e-12))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("side", ["symmetric", "forward", "backward"])
def test_small_losses_bound_the_modulus_between_any_two_places(name, side):
    tilted = TiltedLaw(_law(name, side, 6.0), np.array([2.0]))
    deviation = math.sqrt(tilted.variance[0])
    y = np.geomspace(1e-3, 30.0, 241) / deviation
    drop, turn = (v[0] for v in tilted.characteristic(y[None, :], np.zeros((1, 1))))
    true = drop * (2 - drop) - turn**2  # 1 - |phi|^2
    bound = 1 - _oscillation(tilted).square_between(y[:-20], y[20:])  # twice and more apart
    for shift in range(21):
        inside = true[shift : len(true) - 20 + shift]
        assert np.all(bound <= inside * (1 + 1e-9) + 1e-15)
    law, pairs = tilted.law, Pairs([PAIRS[name]])
    width = 2 * float(law.half_width[0])
    start = 0.0 if law.folded else -float(law.reach[0])
    x = start + width * (np.arange(len(tilted.loss[0]) // 20)[:, None] + np.linspace(0, 1, 41))
    largest = np.max(np.abs(pairs.log_q_and_loss(x.reshape(1, -1))[1]).reshape(x.shape), axis=1)
    assert np.all(np.sort(largest) <= _oscillation(tilted)._within)
    if side != "backward":  # and not much less where all losses are small
        single = 1 - _oscillation(tilted).square_between(y[:80], y[:80])
        assert np.all(single >= 0.3 * true[:80])


@given(
    loss=st.floats(1e-9, 10.0),
    low=st.floats(1e-3, 2.0),
    step=st.floats(0.0, 1.5),
)
def test_two_losses_are_the_worst_law_of_small_losses(loss, low, step):
    # +-l with equal chance: |phi|^2 = cos^2(y l), and the bound is its series
    bound = OscillationBound.__new__(OscillationBound)
    bound._within, bound._spread = np.array([loss]), np.array([loss**2])
    ends = np.array([low]), np.array([low + step])
    upper = bound.square_between(*(x / loss for x in ends))[0]
    true = np.max(np.cos(np.linspace(*ends, 50)) ** 2)
    assert true <= upper + 1e-12
    if step == 0 and low < 0.5:
        assert upper <= true + low**6


@pytest.mark.parametrize("t", [2.0, 1.1e4])
def test_vertical_pieces_of_the_moved_contour_are_covered(t):
    pair = fixed_size_pair(rate=5e-9, mu=0.45)
    profile = StepProfile(((1.0, pair),), attainable=True)
    law = loss_laws([profile], np.array([15.5]), "symmetric", refinement=8.0, cut=True)
    tilted = TiltedLaw(law, np.array([t]))
    bound = _oscillation(tilted)
    width = 2 * float(law.half_width[0])
    for y in (1e6, 1e9):
        edges, ends = bound._vertical(np.array([y]))
        for row, a in enumerate(bound._a[:, 0]):
            moved = np.isfinite(bound._log_mass[row]).reshape(-1, 20)[:, 0]
            assert moved.all() == (t == 2.0)
            places = width * np.arange(np.sum(moved) + 1)
            z = places[:, None] + 1j * a * (np.arange(200) + 0.5) / 200
            p, q = (
                np.log(sum(w * np.exp(m * (z - 0.5 * m)) for w, m in zip(*mixture, strict=True)))
                for mixture in ((pair.p_weights, pair.p_means), (pair.q_weights, pair.q_means))
            )
            normal = (-0.5 * z**2).real - 0.5 * np.log(2 * np.pi) - tilted.log_m[0]
            up = np.exp(p.real + normal + t * (p - q).real - y * (p - q).imag)
            pieces = a * np.mean(up, axis=1)
            lifted = bound._lift[row, 0] * np.append(edges[0, row, 0, moved], ends[0, row, 0, 0])
            some = pieces > 1e-250
            assert np.all(pieces[some] <= lifted[some] * (1 + 1e-9))


def test_what_grows_too_much_stays_where_it_is():
    # at a tilt of 1e4 the right end of the axis cannot be moved; what is left of it can
    profile = StepProfile(((1.0, fixed_size_pair(rate=5e-9, mu=0.45)),), attainable=True)
    law = loss_laws([profile], np.array([15.5]), "symmetric", refinement=48.0, cut=True)
    tilted = TiltedLaw(law, np.array([1.1e4]))
    y = np.geomspace(1e8, 1e10, 40)  # which these panels resolve
    drop, turn = (v[0] for v in tilted.characteristic(y[None, :], np.zeros((1, 1))))
    upper = _oscillation(tilted).modulus(y)
    assert np.all(np.hypot(1 - drop, turn) <= upper + 1e-6)
    assert upper[-1] < 0.5


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
    bound = Chernoff(tilts, chernoff, True).aliases(
        np.array([t]), np.array([eps]), np.array([[period]])
    )
    assert 0 <= extra - known <= np.exp(bound[0, 0])


def convolved(pair, steps, epsilon):
    """Deltas of the pair itself: its losses on a fine grid, their means kept, and a plain FFT."""
    x, h = np.linspace(-12.0, 14.0, 400_001), 2e-4
    loss, mass = pair.loss(x), np.exp(pair.log_q(x) + pair.loss(x))
    low = math.floor(loss.min() / h)
    place = loss / h - low
    at = place.astype(np.int64)
    size = 1 << (int(at.max()) * steps + steps).bit_length()
    law = np.bincount(at, mass * (1 - place + at), size) + np.bincount(
        at + 1, mass * (place - at), size
    )
    total = np.fft.irfft(np.fft.rfft(law / law.sum()) ** steps, size)
    losses = h * (np.arange(size) + steps * low)
    return np.array([np.maximum(total, 0) @ np.maximum(-np.expm1(e - losses), 0) for e in epsilon])


def test_left_of_zero_aliases_belong_to_the_reversed_law():
    # that of the backward direction has the heavier tail
    pair = fixed_size_pair(rate=0.15375, mu=1 / 4.242156)
    plan, eps = [(StepProfile(((1.0, pair),), attainable=True), 10)], np.array([0.212892])
    saddle = saddle_for_epsilon([plan], eps, "backward")
    tilt, farthest = saddle.composition.largest_tilt, saddle.composition.farthest
    law = compose([plan], "backward", tilt, refinement=2.5, farthest=farthest)
    line, done = sample_line(law, saddle.t, eps, most_nodes=1 << 14)
    assert done[0]
    t = float(line.t[0])
    for period in (0.35, 0.5, float(line.period[0])):
        v = eps - period * np.arange(1, 9)
        v = v[v < 0]
        aliases = v + (v - eps) * t + np.log(convolved(pair, 10, -v))
        bound = line.chernoff.aliases(line.t, eps, np.array([[period]]))
        assert np.logaddexp.reduce(aliases) <= bound[0, 0]


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
    _, line = _sampled(4.0)
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
    raised = bar._chernoff.log_mgf - composition.cumulants(bar._chernoff.tilts)[0]
    assert np.all(raised >= 400 * 1e-5)
    lower, upper = bar.bounds(1.0)
    value = float(line.log_delta(np.array([1.0]))[0][0])
    assert lower <= value - 400 * 1e-5 and value + 400 * 1e-5 <= upper


def test_nodes_left_out_of_the_line_count_as_missing_whole():
    # Typical losses of 1e-14 beside rare ones of 10: the first are nothing in the variance, and
    # turn where the second have long lost their phase.
    profile = StepProfile(((1.0, fixed_size_pair(rate=1e-14, mu=4.0)),), attainable=True)
    t = 0.6
    law = loss_laws([profile], np.array([12 + 4 * (1 + 2 * t)]), "symmetric", refinement=4.0)
    tilted, whole = TiltedLaw(law, np.array([t])), TiltedLaw(law, np.array([t]))
    whole.kept = slice(None)
    y = np.geomspace(1e10, 1e12, 30)
    parts = [v.characteristic(y[None, :], np.zeros((1, 1))) for v in (tilted, whole)]
    missed = np.hypot(*(a - b for a, b in zip(*parts, strict=True)))[0]
    assert missed.max() > 1e-6
    error = _step_error(tilted, 1.0, t, np.geomspace(1e-3, 2e12, 400))
    assert np.all(missed <= error.characteristic(y))
