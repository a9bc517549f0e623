"""Lines whose mistakes are too small to show in a number with five digits: rounding and its sides.

`python -m benchmarks mutations` makes these mistakes on purpose and expects red here.
"""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as google
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from scipy import stats

import patchdp as pdp
from patchdp._checks import round_up
from patchdp.composition import prove
from patchdp.composition.conversions.group_privacy import group_epsilon, group_log_delta
from patchdp.composition.grid import google as engine
from patchdp.composition.grid.composed import ComposedMasses
from patchdp.composition.grid.fft import compose
from patchdp.composition.grid.masses import LossMasses, loss_masses
from patchdp.composition.transform import estimates
from patchdp.composition.transform import prove as line
from patchdp.goal import goal_of
from patchdp.guarantee import check_delta
from patchdp.interop.dp_accounting.atoms import LossAtoms
from patchdp.step import FixedSize, Poisson, StepProfile, fixed_size_pair, step_profile
from patchdp.step.group import images_per_person

DIGITS = pdp.TrainingPlan(
    image=(28, 28),
    crop=pdp.RandomCrop((10, 10)),
    patch=pdp.Patch((1, 1)),
    sampling=pdp.Poisson(batch_size=64, dataset_size=6000),
    noise_multiplier=1.0,
    epochs=15,
)


def _step(rate: float, mu: float) -> StepProfile:
    return StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)


@pytest.mark.parametrize("numerator", [1, 2, 3, 5, 7, 66049, 10**20 + 1])
@pytest.mark.parametrize("denominator", [3, 7, 10, 200720, 3**40])
def test_a_fraction_leaves_as_a_float_that_is_not_below_it(
    numerator: int, denominator: int
) -> None:
    value = Fraction(numerator, denominator)
    assert value <= Fraction(round_up(value)) <= value * (1 + Fraction(1, 2**51))


@pytest.mark.parametrize("delta", [1e-290, 1e-12, 1e-5, 0.1, 0.5, 0.9, Fraction(1, 2975)])
def test_the_logarithm_of_delta_is_below_the_true_one(delta: float | Fraction) -> None:
    exactly = Fraction(delta)
    with mp.workdps(60):
        truth = mp.log(mp.mpf(exactly.numerator) / exactly.denominator)
        found = mp.mpf(check_delta(delta))
        # The float that is nearest to a fraction may lie above it by half a unit.
        spare = mp.mpf(0) if isinstance(delta, float) else mp.mpf(2) ** -53
        assert found < truth + spare
        assert truth - found <= mp.mpf(2e-15) * max(1, abs(truth))


def test_one_step_moves_the_sum_by_two_clipping_norms() -> None:
    """Full batch, whole image: a Gaussian at distance 2/sigma, never less by a rounding."""
    for sigma in (0.3, 0.7, 1.0, 3.0, 100.0):
        step = step_profile(FixedSize(1, 1), inclusion_probability=1, noise_multiplier=sigma)
        (shift,) = step.parts[0][1].shifts
        assert Fraction(shift) * Fraction(sigma) >= 1
        assert shift == pytest.approx(1 / sigma, rel=1e-15)
        mu = 1 / sigma
        truth = stats.norm.cdf(mu - 0.5 / mu * 0.5) - math.exp(0.5) * stats.norm.cdf(
            -mu - 0.5 / mu * 0.5
        )
        assert float(step.delta(0.5)) == pytest.approx(truth, rel=1e-9, abs=1e-300)


def test_two_of_three_images_in_a_batch_of_two_are_hypergeometric() -> None:
    """Without replacement, two images of one person in batches of 2 out of 3: never none of them.

    A batch leaves out one image of three, so it holds both of the person's with chance 1/3 and one
    with chance 2/3; independent draws would leave both out with chance 1/9.
    """
    step = images_per_person(FixedSize(2, 3), inclusion=Fraction(1), mu=0.5, images=2)
    assert [weight for weight, _ in step.parts] == pytest.approx([2 / 3, 1 / 3])
    # With eta = 1 the parts are Gaussians at distances 1 and 2.
    truth = 2 / 3 * (2 * stats.norm.cdf(0.5) - 1) + 1 / 3 * (2 * stats.norm.cdf(1.0) - 1)
    assert float(step.delta(0.0)) == pytest.approx(truth, rel=1e-12)


def _half_views(views: int, clipped: str | None) -> pdp.TrainingPlan:
    return pdp.TrainingPlan(
        image=(3,),
        crop=pdp.RandomCrop((2,)),
        patch=pdp.Patch((1,), at=(0,)),
        sampling=pdp.FixedSize(1, 1),
        noise_multiplier=1.5,
        steps=1,
        views=views,
        views_clipped=clipped,  # type: ignore[arg-type]
    )


def test_three_views_see_the_patch_with_p_three() -> None:
    plan = _half_views(3, "together")
    assert plan.hit_probability == Fraction(7, 8)
    assert plan.advantage() == pytest.approx(7 / 8 * (2 * stats.norm.cdf(2 / 3) - 1), rel=1e-3)


def test_views_that_are_summed_weigh_more_than_one() -> None:
    """Poisson sampling and a patch that is always seen: three clipping norms, noise over three."""
    base = pdp.TrainingPlan(
        image=(2,),
        crop=pdp.RandomCrop((2,)),
        patch=pdp.Patch((1,)),
        sampling=pdp.Poisson(sampling_probability=0.25),
        noise_multiplier=3.0,
        steps=5,
    )
    three = base.replace(views=3, views_clipped="summed")
    assert three.epsilon(1e-5) == pytest.approx(
        base.replace(noise_multiplier=1.0).epsilon(1e-5), rel=1e-9
    )


def _tilted(**changes: float) -> ComposedMasses:
    fields = {
        "interval": 0.5,
        "first": 0,
        "tilt": 1.0,
        "tilted": np.array([0.0, 0.5, 0.25]),
        "log_scale": 0.0,
        "error": 0.0,
        "slack": 0.0,
        "log_outside": -math.inf,
    }
    return ComposedMasses(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_bound_of_the_rounding_is_in_the_certificate() -> None:
    """An error of norm e in the tilted masses costs delta up to e times the norm of the weights."""
    weights = np.array([(1 - math.exp(-0.5)) * math.exp(-0.5), (1 - math.exp(-1)) * math.exp(-1)])
    plain = float(weights @ [0.5, 0.25])
    assert math.exp(_tilted().log_delta_upper(0.0)) == pytest.approx(plain, rel=1e-12)
    raised = math.exp(_tilted(error=0.01).log_delta_upper(0.0))
    assert raised == pytest.approx(plain + 0.01 * float(np.linalg.norm(weights)), rel=1e-12)


def test_mass_at_infinity_is_in_the_certificate() -> None:
    """A step that is noticed for sure with chance 1e-3, ten times: delta never falls below that."""
    step = _step(0.1, 0.5)
    masses = loss_masses(step, interval=0.01, log_tail=-60.0)
    leaky = LossMasses(
        masses.interval, masses.log_positive, masses.log_atom, math.log(1e-3), masses.log_bottom
    )
    composed = compose([(leaky.law, 10)], tilt=3.0, log_target=-8.0, aim=(5.0, 7.0))
    never = 1 - (1 - 1e-3) ** 10
    assert composed.log_delta_upper(6.0) >= math.log(never)
    assert composed.log_delta_upper(6.0) <= math.log(1.1 * 10 * 1e-3)


def test_google_s_number_is_read_off_below_delta_by_its_rounding_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = _step(0.3, 0.5)
    asked: list[float] = []
    read = PrivacyLossDistribution.get_epsilon_for_delta

    def note(self: PrivacyLossDistribution, delta: float) -> float:
        asked.append(delta)
        return float(read(self, delta))

    monkeypatch.setattr(PrivacyLossDistribution, "get_epsilon_for_delta", note)
    monkeypatch.setattr(engine, "rounding_bound", lambda *_: 1e-9)
    found = engine.epsilon([(step, 50)], math.log(1e-5), 1e-3)
    assert found.prover == "pld"
    assert asked and max(asked) <= 1e-5 - 1e-9


def test_the_upper_end_of_the_exact_engine_is_returned_as_the_upper_one() -> None:
    step = step_profile(
        Poisson(sampling_probability=0.2),
        inclusion_probability=Fraction(1, 3),
        noise_multiplier=1.0,
    )
    run = [(step, 40)]
    for epsilon in (0.2, 1.0, 2.0):
        low, high = line.log_delta_bounds(run, epsilon)
        assert low < high
        assert float(prove.exact_log_delta(run, np.array([epsilon]))[0]) == high
        forward = line.log_delta_bounds(run, epsilon, "forward")
        assert forward[0] < low  # a single execution attains less than the composed bound


def test_the_attained_epsilon_is_that_of_an_execution() -> None:
    """One step of fixed-size batches: the larger of the two directions, and no more."""
    step = _step(0.3, 0.7)
    goal = math.log(1e-3)
    lower = prove.attained_epsilon([(step, 60)], goal)
    upper = prove.exact_epsilon([(step, 60)], goal).upper
    either = [
        float(estimates.epsilons([[(step, 60)]], np.array([goal]), side)[0])
        for side in ("forward", "backward")
    ]
    assert lower == pytest.approx(max(either), rel=1e-6)
    assert lower <= max(either) < 0.99 * upper


@pytest.mark.parametrize("target", [0.37, 1.0, 4.2])
def test_solved_noise_is_rounded_up_and_never_above_the_target(target: float) -> None:
    solved = DIGITS.solve("noise_multiplier", epsilon=target, delta=1e-5, method="exact")
    assert solved.epsilon(1e-5, method="exact") <= target


@pytest.mark.parametrize("value", [1.0000004, 2.5000009, 0.123456001, 98765.43])
def test_noise_is_rounded_up(value: float) -> None:
    from patchdp.solve import _round_noise

    assert value <= _round_noise(value) <= value * (1 + 1e-5)


def test_solve_refuses_a_certificate_that_is_a_little_above_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine whose certificates lie half a slack above its estimates: the aim has to move."""
    from patchdp.solve import solve

    goal = goal_of(epsilon=1.0, delta=1e-5, advantage=None, tpr=None, fpr=None, method="exact")
    estimate = type(goal).estimate
    monkeypatch.setattr(
        type(goal), "certified", lambda self, p: estimate(self, p) * (1 + goal.slack / 2)
    )
    solved = solve(DIGITS, "noise_multiplier", goal)
    assert goal.certified(solved) <= 1.0


def test_amplification_keeps_mass_at_infinity() -> None:
    """A mechanism that fails openly with chance 1e-3: a crop halves that, and does not end it."""
    atoms = LossAtoms(np.array([1.0]), np.array([0.5]), 1e-3)
    half = atoms.amplify(Fraction(1, 2))
    assert half.infinity == pytest.approx(5e-4, rel=1e-12)
    for epsilon in (0.0, 0.3, 0.6, 5.0):
        outer = math.log1p(math.expm1(epsilon) / 0.5)
        assert float(half.delta(epsilon)) == pytest.approx(0.5 * float(atoms.delta(outer)))


def test_google_agrees_on_a_gaussian_whose_replacement_moves_two_clipping_norms() -> None:
    """The whole pipeline against dp-accounting's own Gaussian of distance 2/sigma, 30 times."""
    plan = pdp.TrainingPlan(
        image=(4, 4),
        crop=pdp.RandomCrop((4, 4)),
        patch=pdp.Patch((1, 1)),
        sampling=pdp.Shuffle(),
        noise_multiplier=8.0,
        epochs=30,
    )
    theirs = google.from_gaussian_mechanism(
        8.0 / 2, value_discretization_interval=1e-4, use_connect_dots=True
    ).self_compose(30)
    assert plan.epsilon(1e-5) == pytest.approx(theirs.get_epsilon_for_delta(1e-5), rel=2e-3)


def test_poisson_sampling_with_the_rate_times_p_is_not_enough() -> None:
    """q = 0.5, p = 0.3, sigma = 2, 20 steps: a real execution attains 3.245 at delta 1e-5."""
    plan = pdp.TrainingPlan(
        image=(10,),
        crop=pdp.RandomCrop((1,)),
        patch=pdp.Patch((3,)),
        sampling=pdp.Poisson(sampling_probability=0.5),
        noise_multiplier=2.0,
        steps=20,
    )
    assert plan.inclusion.probability == Fraction(3, 10)
    assert plan.epsilon(1e-5) > 3.245


def test_several_patches_are_seen_several_times_as_often() -> None:
    crop = pdp.RandomCrop((2, 2))
    one = pdp.inclusion((8, 8), crop, pdp.Patch((1, 1))).probability
    assert pdp.inclusion((8, 8), crop, pdp.Patch((1, 1), count=3)).probability == 3 * one
    assert pdp.inclusion((8, 8), crop, pdp.Patch((1, 1), count=99)).probability == 1


@pytest.mark.parametrize("images", [2, 3, 5])
def test_group_privacy_by_hand(images: int) -> None:
    """Theorem 32 for `delta_1(e) = exp(-1 - e)`: each of k links has e/k, and k factors add up."""
    epsilon = np.array([0.0, 0.5, 3.0])
    each = epsilon / images
    truth = np.exp(-1 - each) * np.sum([np.exp(j * each) for j in range(images)], axis=0)
    found = np.exp(group_log_delta(lambda e: -1 - e, epsilon, images))
    assert np.all(found >= truth)
    assert found == pytest.approx(truth, rel=1e-12)


def test_group_privacy_rests_on_what_is_certified() -> None:
    def estimated(log_delta: float) -> float:
        return max(-log_delta, 0.0) / 10

    def loose(log_delta: float) -> float:
        return 2 * estimated(log_delta)

    proved = group_epsilon(estimated, estimated, images=2, log_delta=-9.0, below=7.0)
    assert proved < 3.0
    # No margin above the estimate is certified: the other bound is left.
    assert group_epsilon(loose, estimated, images=2, log_delta=-9.0, below=7.0) == 7.0
