"""Certified numbers against independent truths: never below, and within the tolerance above."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from patchdp.composition import certify, exact, pld, tilted
from patchdp.composition.aim import Sketch
from patchdp.composition.masses import loss_masses
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

mp.mp.dps = 50


def step(rate: float | Fraction, mu: float) -> StepProfile:
    return StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)


def gaussian_log_delta(epsilon: float, distance: mp.mpf) -> mp.mpf:
    e = mp.mpf(epsilon)
    return mp.log(
        mp.ncdf(distance / 2 - e / distance) - mp.exp(e) * mp.ncdf(-distance / 2 - e / distance)
    )


@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-12, 1e-300])
@pytest.mark.parametrize(
    ("sigma", "steps"),
    [(0.2, 1), (0.2, 7), (0.2, 1000), (1.0, 1), (1.0, 7), (1.0, 10**6), (10.0, 1000),
     (10.0, 10**5), (1000.0, 1), (1000.0, 7), (1000.0, 10**6)],
)  # fmt: skip
def test_full_batch_lies_just_above_the_gaussian_closed_form(
    sigma: float, steps: int, delta: float
) -> None:
    mu = 1 / sigma
    distance = 2 * mp.mpf(mu) * mp.sqrt(steps)
    value = certify.epsilon_upper([(step(1.0, mu), steps)], log_delta=math.log(delta)).value
    assert gaussian_log_delta(value, distance) <= math.log(delta)
    if value > 0:
        assert gaussian_log_delta(value * (1 - 2e-3), distance) > math.log(delta)


P_CITY = Fraction(66049, 200720)
KNOWN = [
    (Fraction(8, 119) * P_CITY, 1.0, 1500, 1e-5, 39.17952622918),
    (Fraction(8, 119) * P_CITY, 0.5, 1500, 1e-5, 6.657265902046),
    (Fraction(8, 119) * P_CITY, 0.25, 1500, 1e-5, 2.146704349719),
    (Fraction(4096, 50000) / 2, 1 / 3, 2000, 1e-5, 7.861013474313),
    (Fraction(200, 40000) / 5, 1.0, 5000, 1e-5, 4.619657713536),
    (Fraction(1, 4000), 1.0, 10**5, 1e-5, 4.2441799760),
    (Fraction(8, 119) * P_CITY, 0.5, 1500, 1e-12, 11.1343),
    (Fraction(1), 0.0005, 10**6, 1e-9, 6.1739),
]


@pytest.mark.parametrize(("rate", "mu", "steps", "delta", "truth"), KNOWN)
def test_published_truths(
    rate: Fraction, mu: float, steps: int, delta: float, truth: float
) -> None:
    log_delta = math.log(delta)
    value = certify.epsilon_upper(
        [(step(rate, mu), steps)], log_delta=log_delta, reference=truth
    ).value
    digits = 0.5e-4 if truth in (11.1343, 6.1739) else 1e-10
    assert truth - digits <= value <= truth * (1 + 1e-3) + digits


@pytest.mark.parametrize("delta", [0.3, 1e-5, 1e-30])
@pytest.mark.parametrize("mu", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("rate", [1.0, 0.3, 1e-3])
def test_one_step_lies_just_above_its_closed_form(rate: float, mu: float, delta: float) -> None:
    one = step(rate, mu)
    value = certify.epsilon_upper([(one, 1)], log_delta=math.log(delta)).value
    assert float(one.log_delta(value)) <= math.log(delta) + 1e-12
    if value > 1e-9:
        assert float(one.log_delta(value * (1 - 2e-3))) > math.log(delta)


MIXED = [
    [(step(0.01, 1.0), 300), (step(0.3, 0.2), 40)],
    [(step(1.0, 0.01), 1000), (step(1e-3, 2.0), 100)],
    [(StepProfile(((1.0, poisson_pair(rate=0.05, inclusion=0.2, mu=0.7)),), True), 200),
     (step(0.2, 0.5), 1)],
]  # fmt: skip


@pytest.mark.parametrize("phases", MIXED)
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9])
def test_phases_lie_just_above_what_grids_of_googles_engine_tend_to(
    phases: certify.Phases, delta: float
) -> None:
    coarse, fine = (
        pld.privacy_loss_distribution(
            [(loss_masses(p, interval=h, log_tail=-70.0), n) for p, n in phases]
        ).get_epsilon_for_delta(delta)
        for h in (2e-3, 1e-3)
    )
    limit = fine - (coarse - fine) / 3
    value = certify.epsilon_upper(phases, log_delta=math.log(delta)).value
    assert limit * (1 - 1e-5) <= value <= limit * (1 + 2e-3)


@pytest.mark.parametrize("rate", [1.0, 0.02])
def test_k_then_m_steps_are_k_plus_m(rate: float) -> None:
    log_delta = math.log(1e-6)
    split = [(step(rate, 0.5), 60), (step(rate, 0.5 * (1 + 1e-15)), 40)]
    whole = certify.epsilon_upper([(step(rate, 0.5), 100)], log_delta=log_delta).value
    assert certify.epsilon_upper(split, log_delta=log_delta).value == pytest.approx(whole, rel=2e-3)


def test_deltas_lie_just_above_the_closed_form_for_many_epsilons() -> None:
    epsilon = np.concatenate([[0.0, 1e-9], np.geomspace(1e-3, 80, 25)])
    logs = certify.log_delta_upper([(step(1.0, 0.1), 60)], epsilon=epsilon)
    distance = mp.mpf(0.2) * mp.sqrt(60)
    for e, log_delta in zip(epsilon, logs, strict=True):
        truth = gaussian_log_delta(float(e), distance)
        assert truth <= mp.mpf(float(log_delta)) + mp.mpf(1e-13)
        assert log_delta < float(truth) + 5e-3


def test_a_tilt_beyond_the_smallest_float_is_still_an_upper_bound() -> None:
    # One noiseless-like step at delta 1e-300: weights of the tilt underflow.
    value = certify.epsilon_upper([(step(1.0, 5.0), 1)], log_delta=math.log(1e-300)).value
    assert gaussian_log_delta(value, mp.mpf(10)) <= math.log(1e-300)


def test_a_reference_that_is_too_low_does_not_stop_a_settled_certificate() -> None:
    phases, log_delta = [(step(Fraction(1, 450), 0.5), 30)], math.log(1e-9)
    alone = certify.epsilon_upper(phases, log_delta=log_delta).value
    misled = certify.epsilon_upper(phases, log_delta=log_delta, reference=0.5115687).value
    assert misled == pytest.approx(alone, rel=1e-3)
    assert misled == pytest.approx(0.512652, rel=1e-3)


def test_refuses_what_fits_in_no_memory() -> None:
    with pytest.raises(ValueError, match="grid"):
        certify.epsilon_upper([(step(1e-6, 1e-5), 10**12)], log_delta=math.log(1e-300))


def test_epsilons_next_to_zero_are_found_and_certified() -> None:
    # Every loss lies above the cut that is tried first: a logarithm of 0 stood here once.
    weak = StepProfile(((1.0, poisson_pair(rate=2e-4, inclusion=1.0, mu=1 / 199)),), True)
    log_delta = math.log(0.0001526416099850699)
    assert 0.0 <= certify.epsilon_upper([(weak, 3204)], log_delta=log_delta).value < 1e-7


def seen(rate: float, inclusion: float, sigma: float) -> StepProfile:
    pair = poisson_pair(rate=rate / inclusion, inclusion=inclusion, mu=1 / sigma)
    return StepProfile(((1.0, pair),), attainable=True)


FEW = [
    # what windows give away, near epsilon 0
    (step(0.0002647355736635746, 1 / 0.3184944562922327), 106, -3.5986733200409917),
    (step(2.7309848928120098e-05, 1 / 0.3856024306948034), 44, -6.738549376558711),
    (seen(1.8537227734914897e-06, 0.009617186106278567, 0.4187404456855284), 1164, -7.90808629599),
    # where delta falls fast but a few large losses set the tilt
    (seen(3.173618119592118e-08, 0.002958055265907906, 0.32887052280050955), 55971, -16.5838513874),
    (step(3.247186643560217e-08, 1 / 0.631272361456565), 187020, -14.268403426888183),
    (step(2.3019483731945383e-09, 1 / 0.5021113031128488), 537682, -13.30501502557875),
    # once too large for memory
    (seen(1.128333954052953e-07, 0.02590336202884705, 0.3412559122861799), 10017, -9.62613130547),
    # epsilon 0
    (step(5.297626568947602e-06, 1 / 0.9913863280982746), 238, -8.179588117764768),
    (seen(0.00012142157521934384, 0.24660855637681864, 0.6493852969501559), 35925, -2.5794970390),
]  # fmt: skip


@pytest.mark.parametrize(("one", "steps", "log_delta"), FEW)
def test_with_few_participations_the_tolerance_is_kept(
    one: StepProfile, steps: int, log_delta: float
) -> None:
    found = certify.epsilon_upper([(one, steps)], log_delta=log_delta)
    truth = float(exact.epsilon_estimate([(one, steps)], np.array(log_delta)))
    assert truth * (1 - 1e-9) <= found.value <= truth + max(1e-3 * truth, 1e-8)


def test_two_grids_that_agree_are_no_proof_where_rounding_moves_both() -> None:
    # 4.7e8 steps: each composition lies 1.1e-3 above the exact value, whatever its grid.
    many = [(seen(3.7148539021249445e-09, 0.5553931506997182, 0.24269109757689186), 465537835)]
    with pytest.raises(ValueError, match=r"the exact value is about 0\.0150142"):
        certify.epsilon_upper(many, log_delta=-3.0650381851293074)


@pytest.mark.parametrize(("rate", "mu", "steps"), [(1e-3, 0.5, 3000), (1e-2, 1.0, 100)])
def test_grids_that_are_aimed_badly_are_refined_until_halving_changes_little(
    rate: float, mu: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases, log_delta = [(step(rate, mu), steps)], math.log(1e-6)
    truth = float(exact.epsilon_estimate(phases, np.array(log_delta)))
    plain = Sketch.interval
    monkeypatch.setattr(Sketch, "interval", lambda self, tilt, **k: 8 * plain(self, tilt, **k))
    monkeypatch.setattr(certify, "_slow_reference", lambda *_: None)
    value = certify.epsilon_upper(phases, log_delta=log_delta).value
    assert truth <= value <= truth * (1 + 1e-3)


def test_a_grid_a_little_too_large_is_coarsened_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate, mu, steps, delta, truth = KNOWN[6]
    phases, log_delta = [(step(rate, mu), steps)], math.log(delta)
    lengths: list[int] = []
    plain = tilted.checked_points
    monkeypatch.setattr(
        tilted, "checked_points", lambda w, h: lengths.append(w.points) or plain(w, h)
    )
    fine = certify.epsilon_upper(phases, log_delta=log_delta, reference=truth).value
    monkeypatch.setattr(tilted, "MAX_POINTS", max(lengths) - 1)
    coarse = certify.epsilon_upper(phases, log_delta=log_delta, reference=truth).value
    assert truth <= fine < coarse <= truth * (1 + 1e-3)


def test_deltas_never_rise_with_epsilon_though_every_one_is_composed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = certify._compose_towards
    rng = np.random.default_rng(0)

    def loose(*arguments: object) -> object:  # each bound too high by a factor of its own
        composed = plain(*arguments)
        high = rng.uniform(0.0, 5.0)
        found = composed.log_delta_sharpness
        object.__setattr__(composed, "log_delta_sharpness", lambda e: (found(e)[0] + high, False))
        return composed

    monkeypatch.setattr(certify, "_compose_towards", loose)
    epsilon = np.linspace(4.0, 2.0, 9)
    phases = [(step(0.02, 0.5), 1000)]
    logs = certify.log_delta_upper(phases, epsilon=epsilon)
    assert np.all(np.diff(logs) >= 0)  # epsilon falls
    assert np.all(logs >= np.asarray(exact.log_delta_estimate(phases, epsilon)))


def test_deep_tails_are_composed_in_layers_where_rounding_hides_them() -> None:
    # On one grid the first is bounded by -159.5 only, the second needs too long a transform.
    phases = [(step(0.00010211173856689583, 1 / 6.071838822434014), 7981)]
    for epsilon, reached in ((0.06773956, -164.0), (0.075, -173.0)):
        (found,) = certify.log_delta_upper(phases, epsilon=np.array([epsilon]))
        assert float(exact.log_delta_estimate(phases, np.array(epsilon))) < found < reached
