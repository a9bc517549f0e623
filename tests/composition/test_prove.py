"""The router: never below independent truths, within the tolerance above, within the budget."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import patchdp as pdp
from patchdp.composition import prove
from patchdp.composition.certificate import Certificate, Refused
from patchdp.composition.grid import fft
from patchdp.composition.grid import google as pld
from patchdp.composition.grid import prove as grid
from patchdp.composition.grid.around import log_delta_around
from patchdp.composition.grid.cells import GridTooLarge
from patchdp.composition.grid.masses import loss_masses
from patchdp.composition.transform import prove as line
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

mp.mp.dps = 50
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def step(rate: float | Fraction, mu: float) -> StepProfile:
    return StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)


def seen(rate: float, inclusion: float, sigma: float) -> StepProfile:
    pair = poisson_pair(rate=rate / inclusion, inclusion=inclusion, mu=1 / sigma)
    return StepProfile(((1.0, pair),), attainable=True)


def gaussian_log_delta(epsilon: float, distance: mp.mpf) -> mp.mpf:
    e = mp.mpf(epsilon)
    return mp.log(
        mp.ncdf(distance / 2 - e / distance) - mp.exp(e) * mp.ncdf(-distance / 2 - e / distance)
    )


@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-12, 1e-300])
@pytest.mark.parametrize(("sigma", "steps"), [(0.2, 7), (1.0, 7), (1.0, 300), (10.0, 1000)])
def test_the_grid_encloses_the_gaussian_closed_form(sigma: float, steps: int, delta: float) -> None:
    # The router answers these in closed form; here they go the long way.
    mu = 1 / sigma
    distance = 2 * mp.mpf(mu) * mp.sqrt(steps)
    goal = math.log(delta)
    found = grid.epsilon_bracket([(step(1.0, mu), steps)], log_delta=goal, tolerance=1e-3)
    assert gaussian_log_delta(found.upper, distance) <= goal
    assert found.lower == 0 or gaussian_log_delta(found.lower, distance) >= goal
    assert found.tight and found.upper - found.lower <= 1e-3 * found.upper + grid.UNNOTICED
    routed = prove.prove_epsilon([(step(1.0, mu), steps)], goal)
    assert routed.prover == "closed form"
    assert found.lower <= routed.upper and routed.lower <= found.upper


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
    run, goal = [(step(rate, mu), steps)], math.log(delta)
    digits = 0.5e-4 if truth in (11.1343, 6.1739) else 1e-10
    routed = prove.prove_epsilon(run, goal)
    # the rates of some are rounded to five digits where the truth was computed
    assert truth - max(digits, 1e-9 * truth) <= routed.upper <= truth * (1 + 1e-5) + digits
    masses = grid.epsilon_bracket(run, log_delta=goal, tolerance=1e-3)
    assert truth - digits <= masses.upper <= truth * (1 + 1e-3) + digits
    assert masses.lower <= truth + digits


# Few participations: what an independent inversion of the parts of the law gave (to 1e-8).
FEW = [
    (step(0.0002647355736635746, 1 / 0.3184944562922327), 106, -3.598673320, 0.01755165313644408),
    (step(2.7309848928120098e-05, 1 / 0.3856024306948034), 44, -6.7385493766, 8.49631010920456e-06),
    (seen(1.8537227734914897e-06, 0.009617186106278567, 0.4187404456855284), 1164, -7.9080862960,
     3.843324110036222e-06),
    (seen(3.173618119592118e-08, 0.002958055265907906, 0.32887052280050955), 55971, -16.5838513874,
     0.2643789357827318),
    (step(3.247186643560217e-08, 1 / 0.631272361456565), 187020, -14.2684034269,
     0.27830675726724236),
    (step(2.3019483731945383e-09, 1 / 0.5021113031128488), 537682, -13.3050150256,
     0.38856251941628456),
    (seen(1.128333954052953e-07, 0.02590336202884705, 0.3412559122861799), 10017, -9.6261313055,
     0.00045704280611693563),
    (step(5.297626568947602e-06, 1 / 0.9913863280982746), 238, -8.1795881178, 0.0),
    (seen(0.00012142157521934384, 0.24660855637681864, 0.6493852969501559), 35925, -2.5794970390,
     0.0),
    (seen(3.7148539021249445e-09, 0.5553931506997182, 0.24269109757689186), 465537835,
     -3.0650381851, 0.01501421257823554),
    (step(1 / 450, 0.5), 30, math.log(1e-9), 0.5126517250293784),
]  # fmt: skip


@pytest.mark.parametrize(("one", "steps", "log_delta", "truth"), FEW)
def test_with_few_participations_both_sides_hold(
    one: StepProfile, steps: int, log_delta: float, truth: float
) -> None:
    found = prove.prove_epsilon([(one, steps)], log_delta)
    assert found.lower <= truth * (1 + 1e-6) + 1e-12
    assert found.upper >= truth * (1 - 1e-6) - 1e-12
    if found.tight:
        assert found.upper <= truth * (1 + 1e-3) + grid.UNNOTICED
    else:  # past the budget: still next to it
        assert found.upper <= 1.04 * truth + 4e-4
    attained = prove.attained_epsilon([(one, steps)], log_delta)
    assert attained is not None and attained <= truth * (1 + 1e-6) + 1e-12


MIXED = [
    [(step(0.01, 1.0), 300), (step(0.3, 0.2), 40)],
    [(step(1.0, 0.01), 1000), (step(1e-3, 2.0), 100)],
    [(StepProfile(((1.0, poisson_pair(rate=0.05, inclusion=0.2, mu=0.7)),), True), 200),
     (step(0.2, 0.5), 1)],
]  # fmt: skip


@pytest.mark.parametrize("run", MIXED)
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9])
def test_phases_enclose_what_grids_of_googles_engine_tend_to(run: prove.Run, delta: float) -> None:
    coarse, fine = (
        pld.privacy_loss_distribution(
            [(loss_masses(p, interval=h, log_tail=-70.0), n) for p, n in run]
        ).get_epsilon_for_delta(delta)
        for h in (2e-3, 1e-3)
    )
    limit = fine - (coarse - fine) / 3
    masses = grid.epsilon_bracket(run, log_delta=math.log(delta), tolerance=1e-3)
    for found in (masses, prove.prove_epsilon(run, math.log(delta))):
        assert limit * (1 - 1e-5) <= found.upper <= limit * (1 + 2e-3)
        assert found.lower <= limit * (1 + 1e-5)
        assert not found.tight or found.lower >= limit * (1 - 2e-3)


@given(
    st.floats(-6, 0), st.floats(-1.5, 0.8), st.integers(1, 3000), st.floats(0.3, 60.0),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None, phases=NO_SHRINKING)
def test_line_and_grid_agree_about_both_sides(rate, size, steps, depth, poisson):
    mu = 10.0**size
    one = seen(10.0**rate / 2, 0.5, 1 / mu) if poisson else step(10.0**rate, mu)
    run = [(one, steps)]
    masses = grid.epsilon_bracket(run, log_delta=-depth, tolerance=1e-2)
    assert masses.lower <= masses.upper
    try:
        lower, upper = line.epsilon_bounds(run, -depth)
    except ValueError:
        return
    assert masses.lower <= upper + 1e-12 and lower <= masses.upper + 1e-12
    attained = grid.attained_epsilon(run, log_delta=-depth, tolerance=1e-2)
    assert attained <= upper + 1e-12
    try:
        ends = [line.epsilon_bounds(run, -depth, side) for side in ("forward", "backward")]
    except ValueError:
        return
    assert attained <= max(end[1] for end in ends) + 1e-12


def test_the_grid_finds_what_the_line_finds_of_one_direction():
    for run, truth in (
        ([(seen(float(Fraction(8, 119) * P_CITY), float(P_CITY), 2.0), 1500)], 3.6620),
        ([(seen(0.15, 0.3, 2.0), 20)], 3.245),
    ):
        found = grid.attained_epsilon(run, log_delta=math.log(1e-5), tolerance=1e-3)
        assert truth * (1 - 1e-3) - 5e-4 <= found <= truth + 5e-4


def test_deltas_enclose_the_closed_form_for_many_epsilons() -> None:
    epsilon = np.concatenate([[0.0, 1e-9], np.geomspace(1e-3, 80, 25)])
    run = [(step(1.0, 0.1), 60)]
    distance = mp.mpf(0.2) * mp.sqrt(60)
    logs = prove.prove_log_delta(run, epsilon)
    for e, log_delta in zip(epsilon, logs, strict=True):
        truth = gaussian_log_delta(float(e), distance)
        assert truth <= mp.mpf(float(log_delta)) + mp.mpf(1e-13)
        assert log_delta < float(truth) + 1e-9
    for e in epsilon[1:22:5]:
        lower, upper = log_delta_around(run, epsilon=float(e), tolerance=1e-3).bounds(float(e))
        assert lower <= gaussian_log_delta(float(e), distance) <= upper <= lower + 5e-3


def test_deep_deltas_of_rare_steps_are_enclosed() -> None:
    # One step, whose closed form is known; its small losses have the chance 1, and a delta of
    # 1e-80 lies far below the chance of any large one.
    one = step(1e-20, 1.0)
    for epsilon in (0.1, 1.0, 5.0):
        around = log_delta_around([(one, 1)], epsilon=epsilon, tolerance=1e-3)
        lower, upper = around.bounds(epsilon)
        assert lower <= float(one.log_delta(epsilon)) <= upper <= lower + 5e-3


def test_deltas_never_rise_with_epsilon():
    epsilon = np.linspace(4.0, 0.0, 30)
    for run in ([(step(0.02, 0.5), 1000)], [(step(1e-3, 1.0), 30)]):
        logs = prove.prove_log_delta(run, epsilon)
        assert np.all(np.diff(logs) >= 0)  # epsilon falls


def test_k_then_m_steps_are_k_plus_m() -> None:
    split = [(step(0.02, 0.5), 60), (step(0.02, 0.5 * (1 + 1e-15)), 40)]
    whole = prove.prove_epsilon([(step(0.02, 0.5), 100)], math.log(1e-6)).upper
    assert prove.prove_epsilon(split, math.log(1e-6)).upper == pytest.approx(whole, rel=2e-3)


# The budget of work: points of grids, never the clock.


def points_of(ask) -> int:
    """Points of all transforms and cells that a question takes."""
    spent = []
    plain, cells = fft.compose, grid.half_cells

    def counted(rows, **question):
        found = plain(rows, **question)
        spent.append(len(found.tilted))
        return found

    def counted_cells(profile, **question):
        spent.append(2 * question["cells"])
        return cells(profile, **question)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "compose", counted)
        patch.setattr(grid, "half_cells", counted_cells)
        ask()
    return sum(spent)


SMALL = pdp.TrainingPlan(
    image=(64, 64), crop=pdp.RandomCrop((32, 32)), patch=pdp.Patch((4, 4)),
    sampling=pdp.Poisson(10, 100), noise_multiplier=0.1, steps=10,
)  # fmt: skip


@pytest.mark.parametrize("noise", [0.1, 0.03, 0.01, 0.001])
def test_little_noise_is_within_the_budget_and_has_a_lower_bound(noise):
    plan = SMALL.replace(noise_multiplier=noise)
    assert points_of(lambda: plan.certificate(1e-5)) <= 4 * grid.WORK
    found = plan.certificate(1e-5)
    assert found.lower is not None
    assert 0.95 * found.upper <= found.lower <= found.upper
    assert found.tight or "budget" in found.note


def test_two_phases_of_very_different_noise_are_within_the_budget():
    quiet = pdp.TrainingPlan(
        image=(32, 5), crop=pdp.RandomCrop((24, 5)), patch=pdp.Patch((2, 2)),
        sampling=pdp.FixedSize(4, 5), noise_multiplier=28896.58, steps=30,
    )  # fmt: skip
    both = quiet + quiet.replace(noise_multiplier=0.61297, steps=655)
    assert points_of(lambda: both.delta(0.0126165)) <= 4 * grid.WORK
    assert 0.99 < both.delta(0.0126165) <= 1.0
    assert points_of(lambda: both.certificate(1e-5)) <= 4 * grid.WORK


def test_next_to_no_noise_and_next_to_no_sampling():
    assert SMALL.replace(noise_multiplier=1e-8).advantage() == pytest.approx(
        1 - (1 - 0.1 * float(SMALL.inclusion.probability)) ** 10, rel=1e-5
    )
    rare = SMALL.replace(sampling=pdp.Poisson(sampling_probability=1e-20), noise_multiplier=1.0)
    assert points_of(lambda: rare.tradeoff(0.5)) <= 4 * grid.WORK
    assert 0.5 - 1e-12 < rare.tradeoff(0.5) <= 0.5


RATES, STEPS, DELTAS = (1e-6, 1e-3, 1.0), (1, 10**5, 10**12), (1e-1, 1e-12, 1e-300)
EXTREME = list(itertools.product(RATES, STEPS, DELTAS, (0.3, 3.0, 300.0)))


@pytest.mark.parametrize(("rate", "steps", "delta", "noise"), EXTREME)
def test_extreme_settings_are_answered_within_the_budget(rate, steps, delta, noise):
    run = [(step(rate, 1 / noise), steps)]
    found: list[prove.Proof] = []
    goal = math.log(delta)
    assert points_of(lambda: found.append(prove.prove_epsilon(run, goal))) <= 4 * grid.WORK
    assert 0 <= found[0].lower <= found[0].upper < math.inf
    if rate == 1.0:
        distance = 2 * mp.mpf(1 / noise) * mp.sqrt(steps)
        assert gaussian_log_delta(found[0].upper, distance) <= math.log(delta) * (1 - 1e-13)


def test_what_exceeds_the_budget_is_refused_by_the_grid_itself():
    with pytest.raises(GridTooLarge, match="at most"):
        grid._Discrete([(step(0.1, 1.0), 10)], 1e-7, -40.0)


# What users see.


def test_methods_and_their_certificates():
    plan = pdp.TrainingPlan(
        image=(100, 100), crop=pdp.RandomCrop((50, 50)), patch=pdp.Patch((5, 5)),
        sampling=pdp.FixedSize(10, 1000), noise_multiplier=1.0, steps=100,
    )  # fmt: skip
    auto = plan.certificate(1e-5)
    assert (auto.prover, auto.tight, auto.note) == ("grid", True, "")
    assert auto.lower is not None and auto.lower < auto.upper
    assert plan.epsilon(1e-5) == plan.epsilon(1e-5, method="composed") == auto.upper
    assert plan.epsilon_bounds(1e-5) == (auto.lower, auto.upper)
    google = plan.certificate(1e-5, method="pld")
    assert google.prover == "pld" and google.upper == pytest.approx(auto.upper, rel=2e-3)
    few = plan.replace(steps=10)
    with pytest.raises(Refused, match=f"method 'auto' proves epsilon {few.epsilon(1e-5):.6g}"):
        few.epsilon(1e-5, method="exact")
    with pytest.raises(Refused, match=r"rounding .* method 'auto' proves epsilon"):
        plan.epsilon(1e-13, method="pld")
    longer = plan.replace(steps=4000)
    assert longer.certificate(1e-5).prover == "exact"
    assert longer.replace(steps=1).certificate(1e-5).prover == "closed form"
    assert plan.certificate(1e-5, method="rdp").upper > auto.upper
    several = plan.replace(images_per_person=2).certificate(1e-5)
    assert several.lower is None and "no real execution" in several.note


def test_a_certificate_shows_itself():
    found = Certificate(None, 3.73, delta=1e-5, prover="grid", tight=False, note="past <it>")
    assert str(found) == "epsilon 3.73 at delta 1e-05; not tight (past <it>)"
    assert "<td>none known</td>" in found._repr_html_()
    assert "past &lt;it&gt;" in found._repr_html_()
