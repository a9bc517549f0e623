"""The dp-accounting bridge against dp-accounting's own engines, closed forms and brute force."""

from __future__ import annotations

import math
from fractions import Fraction

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting import (
    NeighboringRelation,
    UnsupportedEventError,
    dp_event,
    privacy_accountant_test,
)
from dp_accounting.pld import privacy_loss_distribution as google
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import patchdp as pdp
from patchdp.composition import prove
from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent, to_dp_event
from patchdp.interop.dp_accounting.pure import LaplaceStep
from patchdp.step import StepProfile, fixed_size_pair

REPLACE = NeighboringRelation.REPLACE_ONE
GAUSSIAN = dp_event.GaussianDpEvent
RESPONSE = dp_event.RandomizedResponseDpEvent(0.5, 3)


class TestByGoogle(privacy_accountant_test.PrivacyAccountantTest):
    """dp-accounting's own suite for accountants."""

    def _make_test_accountants(self):
        return [PatchPrivacyAccountant(), PatchPrivacyAccountant(tolerance=1e-2)]


def ours(event, delta=1e-5, tolerance=1e-3):
    return PatchPrivacyAccountant(tolerance=tolerance).compose(event).get_epsilon(delta)


def theirs(event, delta=1e-5, interval=1e-4):
    return PLDAccountant(REPLACE, interval).compose(event).get_epsilon(delta)


def cityscapes(**changes):
    fields = {
        "image": (1024, 2048),
        "crop": pdp.RandomCrop((505, 505)),
        "patch": pdp.Patch((10, 10)),
        "sampling": pdp.Poisson(batch_size=200, dataset_size=2975),
        "noise_multiplier": 2.0,
        "steps": 1500,
    }
    return pdp.TrainingPlan(**(fields | changes))


@pytest.mark.parametrize(
    "event",
    [
        GAUSSIAN(2.0),
        dp_event.SelfComposedDpEvent(GAUSSIAN(20.0), 100),
        dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.1, GAUSSIAN(1.5)), 50),
        dp_event.SelfComposedDpEvent(
            dp_event.TruncatedSubsampledGaussianDpEvent(1000, 0.1, 105, 1.5), 20
        ),
        RESPONSE,
        dp_event.ComposedDpEvent([RESPONSE, RESPONSE, GAUSSIAN(3.0)]),
    ],
    ids=["gaussian", "composed", "poisson", "truncated", "response", "mixed"],
)
def test_agrees_with_the_pld_accountant_where_no_crop_misses(event):
    assert ours(event) == pytest.approx(theirs(event), rel=1e-3)
    assert ours(RandomCropDpEvent(1, event)) == pytest.approx(theirs(event), rel=1e-3)


@pytest.mark.parametrize(
    "event",
    [
        GAUSSIAN(2.0),
        dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.1, GAUSSIAN(2.0)), 9),
    ],
    ids=["gaussian", "poisson"],
)
def test_agrees_to_five_digits_at_a_fine_interval(event):
    assert ours(event, tolerance=2e-6) == pytest.approx(theirs(event, interval=1e-4), rel=1e-5)


def test_repeated_randomised_response_counts_every_time():
    # dp-accounting 0.6.0 composes a randomised response once however often it is applied.
    one = google.from_randomized_response(0.5, 3)
    event = dp_event.SelfComposedDpEvent(RESPONSE, 20)
    assert theirs(event) == pytest.approx(one.get_epsilon_for_delta(1e-5), rel=1e-6)
    expected = one.self_compose(20).get_epsilon_for_delta(1e-5)
    assert ours(event) == pytest.approx(expected, rel=1e-3)
    assert ours(event) > 5 * theirs(event)


def test_events_outside_the_crop_count_whole_images():
    inside, outside = dp_event.SelfComposedDpEvent(GAUSSIAN(4.0), 30), GAUSSIAN(3.0)
    cropped = RandomCropDpEvent(0.2, inside)
    both = ours(dp_event.ComposedDpEvent([outside, cropped]))
    one_wrapper = ours(RandomCropDpEvent(0.2, dp_event.ComposedDpEvent([outside, inside])))
    assert both > 1.3 * one_wrapper
    assert max(ours(outside), ours(cropped)) < both < ours(outside, 5e-6) + ours(cropped, 5e-6)


def test_amplifies_each_application_and_never_a_total():
    step, p = GAUSSIAN(2.0), 0.3
    each = ours(RandomCropDpEvent(p, dp_event.SelfComposedDpEvent(step, 20)))
    pair = StepProfile(((1.0, fixed_size_pair(rate=p, mu=0.5)),), attainable=True)
    expected = prove.estimate_epsilon([(pair, 20)], math.log(1e-5))
    assert expected <= each <= expected * 1.001
    assert each == ours(dp_event.SelfComposedDpEvent(RandomCropDpEvent(p, step), 20))


@pytest.mark.parametrize(
    "sampling",
    [
        pdp.Poisson(batch_size=200, dataset_size=2975),
        pdp.FixedSize(batch_size=200, dataset_size=2975),
        pdp.Shuffle(),
    ],
)
def test_a_plan_and_its_event_have_one_epsilon(sampling):
    length = {"steps": None, "epochs": 20} if sampling == pdp.Shuffle() else {}
    plan = cityscapes(sampling=sampling, **length)
    assert ours(to_dp_event(plan, engine="patchdp")) == pytest.approx(plan.epsilon(1e-5), rel=1e-3)
    both = plan + plan.replace(noise_multiplier=3.0)
    assert ours(to_dp_event(both, engine="patchdp")) == pytest.approx(both.epsilon(1e-5), rel=1e-3)


def test_event_survives_the_round_trip_through_a_named_tuple():
    event = RandomCropDpEvent(0.25, dp_event.SelfComposedDpEvent(GAUSSIAN(1.0), 3))
    assert dp_event.DpEvent.from_named_tuple(event.to_named_tuple()) == event


def test_ledger_keeps_what_was_composed():
    accountant = PatchPrivacyAccountant()
    event = RandomCropDpEvent(0.25, GAUSSIAN(1.0))
    accountant.compose(event, 3)
    assert accountant.ledger == dp_event.SelfComposedDpEvent(event, 3)


def test_calibration_meets_its_target():
    def event(noise):
        return RandomCropDpEvent(
            0.3,
            dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.05, GAUSSIAN(noise)), 50),
        )

    noise = dp_accounting.calibrate_dp_mechanism(
        PatchPrivacyAccountant, event, target_epsilon=1.0, target_delta=1e-5, tol=1e-4
    )
    assert ours(event(noise)) <= 1.0
    assert ours(event(noise - 0.01)) > 1.0


@pytest.mark.parametrize(
    "event",
    [
        RandomCropDpEvent(0.5, RandomCropDpEvent(0.5, GAUSSIAN(1.0))),
        dp_event.PoissonSampledDpEvent(0.5, RandomCropDpEvent(0.5, GAUSSIAN(1.0))),
        dp_event.PoissonSampledDpEvent(0.5, RESPONSE),
        dp_event.PoissonSampledDpEvent(0.5, dp_event.SelfComposedDpEvent(GAUSSIAN(1.0), 2)),
        dp_event.MixtureOfGaussiansDpEvent(1.0, [0, 1], [0.5, 0.5]),
        dp_event.RepeatAndSelectDpEvent(GAUSSIAN(1.0), 10.0, 1.0),
        dp_event.SampledWithoutReplacementDpEvent(10, 11, GAUSSIAN(1.0)),
        dp_event.SampledWithReplacementDpEvent(10, 5, dp_event.LaplaceDpEvent(1.0)),
        RandomCropDpEvent(1.5, GAUSSIAN(1.0)),
        RandomCropDpEvent(float("nan"), GAUSSIAN(1.0)),
        GAUSSIAN(-1.0),
        dp_event.ZCDpEvent(0.1),
    ],
)
def test_refuses_what_has_no_proof(event):
    accountant = PatchPrivacyAccountant()
    assert not accountant.supports(event)
    with pytest.raises(UnsupportedEventError, match="caused by subevent"):
        accountant.compose(event)
    assert accountant.get_epsilon(1e-5) == 0


@pytest.mark.parametrize(
    "event",
    [
        GAUSSIAN(0.0),
        dp_event.LaplaceDpEvent(0.0),
        dp_event.RandomizedResponseDpEvent(0.0, 2),
        dp_event.TruncatedSubsampledGaussianDpEvent(10, 0.5, 5, 0.0),
        dp_event.NonPrivateDpEvent(),
    ],
)
def test_no_noise_is_no_privacy(event):
    assert ours(RandomCropDpEvent(0.1, event)) == math.inf


@pytest.mark.parametrize(
    "event",
    [
        RandomCropDpEvent(0, GAUSSIAN(1.0)),
        dp_event.PoissonSampledDpEvent(0, GAUSSIAN(0.0)),
        dp_event.RandomizedResponseDpEvent(0.0, 1),
        dp_event.SampledWithoutReplacementDpEvent(0, 0, GAUSSIAN(1.0)),
    ],
)
def test_what_never_shows_the_patch_costs_nothing(event):
    assert ours(event) == 0


@settings(max_examples=12)
@given(
    noise=st.sampled_from([1e-7, 0.01, 0.03, 0.3, 1.0, 100.0]),
    p=st.sampled_from([1e-6, 0.3, 1.0]),
    count=st.sampled_from([1, 40]),
    delta=st.sampled_from([1e-12, 1e-5, 0.3]),
)
def test_gaussian_is_above_its_unamplified_lower_bound(noise, p, count, delta):
    event = RandomCropDpEvent(p, dp_event.SelfComposedDpEvent(GAUSSIAN(noise), count))
    epsilon = ours(event, delta)
    assert epsilon >= 0
    # All `count` crops show the patch with chance p^count: delta is at least that of this part.
    with mpmath.workdps(50):
        distance = 2 / mpmath.mpf(noise) * mpmath.sqrt(count)
        chance = mpmath.mpf(p) ** count

        def lower(eps):
            e = mpmath.log(chance) if chance < 1 else mpmath.mpf(0)
            return chance * mpmath.ncdf(distance / 2 - (eps - e) / distance) - mpmath.exp(
                mpmath.mpf(eps)
            ) * mpmath.ncdf(-distance / 2 - (eps - e) / distance)

        if math.isfinite(epsilon):
            assert lower(epsilon * (1 + 1e-9) + 1e-12) <= delta * (1 + 1e-9)


def test_laplace_against_dp_accounting_at_half_the_scale():
    # Added or removed at scale 1 moves a sum as far as replaced at scale 2.
    reference = PLDAccountant(value_discretization_interval=1e-4)
    reference.compose(dp_event.LaplaceDpEvent(2.0), 15)
    event = dp_event.SelfComposedDpEvent(dp_event.LaplaceDpEvent(4.0), 15)
    for delta in (1e-2, 1e-6):
        assert ours(event, delta) == pytest.approx(reference.get_epsilon(delta), rel=1e-3)
    assert ours(event, 0) == pytest.approx(15 * 0.5, rel=1e-12)


@pytest.mark.parametrize("p", [1e-3, 0.4, 1.0])
def test_one_cropped_laplace_is_the_closed_form(p):
    for epsilon in (0.0, 0.1, 0.3):
        accountant = PatchPrivacyAccountant(tolerance=1e-5)
        accountant.compose(RandomCropDpEvent(p, dp_event.LaplaceDpEvent(1.0)))
        inner = math.log1p(math.expm1(epsilon) / p)
        truth = p * max(-math.expm1((inner - 2) / 2), 0.0)
        found = accountant.get_delta(epsilon)
        assert truth * (1 - 1e-12) <= found <= truth * (1 + 1e-3)


@pytest.mark.parametrize("shifts", [(1.0, 1.0), (0.2, 1.8), (0.01, 3.0)])
def test_a_laplace_vector_is_no_worse_than_the_line(shifts):
    h = 0.02
    grid = np.arange(-14, 18, h) + h / 2
    a, b = (np.abs(grid - s) - np.abs(grid) for s in shifts)
    weight = 0.5 * np.exp(-np.abs(grid)) * h
    loss = a[:, None] + b[None, :]  # log of the density at 0 over that at the shift
    for epsilon in (0.0, 0.5, 1.5):
        gain = np.maximum(-np.expm1(epsilon - loss), 0.0)
        vector = weight @ gain @ weight
        line = max(-math.expm1((epsilon - sum(shifts)) / 2), 0.0)
        assert vector <= line + 1e-3


@pytest.mark.parametrize("p", [1e-4, 0.3, 1.0])
@pytest.mark.parametrize("buckets", [2, 5])
def test_one_cropped_response_by_enumeration(p, buckets):
    noise = 0.4
    hit = np.full(buckets, noise / buckets)
    before, after = hit.copy(), hit.copy()
    before[0] += 1 - noise
    after[1] += 1 - noise
    for epsilon in (0.0, 0.2, 0.6):
        # The worst miss equals the content after: advanced joint convexity is attained there.
        mixed = (1 - p) * after + p * before
        truth = np.maximum(mixed - math.exp(epsilon) * after, 0).sum()
        accountant = PatchPrivacyAccountant(tolerance=1e-6)
        accountant.compose(RandomCropDpEvent(p, dp_event.RandomizedResponseDpEvent(noise, buckets)))
        found = accountant.get_delta(epsilon)
        assert truth * (1 - 1e-9) - 1e-15 <= found <= truth * 1.001 + 1e-12


@pytest.mark.parametrize("most", [3, 6, 20])
def test_truncated_sampling_covers_the_real_mechanism(most):
    size, q, p, noise, others = 8, 0.5, 0.6, 1.0, -1.0
    x = np.linspace(-14, 14, 6001)
    h = x[1] - x[0]

    def density(shown, hidden):
        """Output when the image gives `shown` if hit, `hidden` if missed, others `others`."""
        total = np.zeros_like(x)
        for n in range(size):  # other images drawn
            weight = stats.binom.pmf(n, size - 1, q)
            kept = min(most / (n + 1), 1.0)
            out = stats.norm.pdf(x, min(n, most) * others, noise)
            rest = (min(n + 1, most) - 1) * others
            hit = stats.norm.pdf(x, rest + shown, noise)
            miss = stats.norm.pdf(x, rest + hidden, noise)
            drawn = q * kept
            total += weight * ((1 - drawn) * out + drawn * (p * hit + (1 - p) * miss))
        return total

    before, after = density(1.0, -1.0), density(-1.0, -1.0)
    event = dp_event.TruncatedSubsampledGaussianDpEvent(size, q, most, noise)
    accountant = PatchPrivacyAccountant().compose(RandomCropDpEvent(p, event))
    for epsilon in (0.0, 0.5, 1.5):
        for one, other in ((before, after), (after, before)):
            truth = np.maximum(one - math.exp(epsilon) * other, 0).sum() * h
            assert truth <= accountant.get_delta(epsilon) * (1 + 1e-6)


def test_truncation_that_never_happens_is_poisson():
    plain = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.1, GAUSSIAN(1.0)), 30)
    for most in (50, 45):
        cut = dp_event.SelfComposedDpEvent(
            dp_event.TruncatedSubsampledGaussianDpEvent(50, 0.1, most, 1.0), 30
        )
        assert ours(RandomCropDpEvent(0.3, cut)) == pytest.approx(
            ours(RandomCropDpEvent(0.3, plain)), rel=1e-3
        )


def test_sampling_with_replacement_by_its_binomial_sum():
    size, batch, p, noise = 20, 6, 0.5, 1.0
    event = dp_event.SampledWithReplacementDpEvent(size, batch, GAUSSIAN(noise))
    accountant = PatchPrivacyAccountant(tolerance=1e-5).compose(RandomCropDpEvent(p, event))
    chance = 1 - (1 - p / size) ** batch
    for epsilon in (0.0, 0.3, 2.0):
        inner = math.log1p(math.expm1(epsilon) / chance)
        truth = sum(
            stats.binom.pmf(j, batch, p / size)
            * (
                stats.norm.cdf(j / noise - inner * noise / (2 * j))
                - math.exp(inner) * stats.norm.cdf(-j / noise - inner * noise / (2 * j))
            )
            for j in range(1, batch + 1)
        )
        assert truth * (1 - 1e-9) <= accountant.get_delta(epsilon) <= truth * 1.001


class TestWayOut:
    """`to_dp_event`: one event means two sensitivities in dp-accounting."""

    @staticmethod
    def rdp(event, delta=1e-5):
        return RdpAccountant(neighboring_relation=REPLACE).compose(event).get_epsilon(delta)

    def test_the_engines_disagree_by_a_factor_of_two_in_sensitivity(self):
        event = dp_event.SelfComposedDpEvent(GAUSSIAN(5.0), 100)
        assert theirs(event) == pytest.approx(24.38, abs=0.01)
        assert self.rdp(event) == pytest.approx(10.73, abs=0.01)
        assert self.rdp(dp_event.SelfComposedDpEvent(GAUSSIAN(2.5), 100)) > theirs(event)

    @pytest.mark.parametrize(
        "plan",
        [
            cityscapes(sampling=pdp.FixedSize(batch_size=200, dataset_size=2975)),
            cityscapes(sampling=pdp.FixedSize(batch_size=10, dataset_size=10), steps=20),
            cityscapes(sampling=pdp.Shuffle(), steps=None, epochs=20),
            cityscapes(sampling=pdp.Shuffle(), steps=None, epochs=20).image_level(),
            cityscapes(sampling=pdp.Poisson(sampling_probability=1.0), steps=20),
        ],
    )
    def test_rdp_is_valid(self, plan):
        found = self.rdp(to_dp_event(plan, engine="rdp"))
        assert plan.epsilon(1e-5) / 1.001 < found
        assert found < 2.2 * plan.epsilon(1e-5)

    def test_rdp_figure_of_the_trap(self):
        plan = cityscapes(
            sampling=pdp.FixedSize(batch_size=100, dataset_size=10000), steps=1000
        ).image_level()
        naive = dp_event.SelfComposedDpEvent(
            dp_event.SampledWithoutReplacementDpEvent(10000, 100, GAUSSIAN(2.0)), 1000
        )
        assert self.rdp(naive) == pytest.approx(1.445, abs=2e-3)
        assert plan.epsilon(1e-5) == pytest.approx(2.199, abs=3e-3)
        assert self.rdp(to_dp_event(plan, engine="rdp")) == pytest.approx(3.576, abs=2e-3)

    @pytest.mark.parametrize(
        "sampling", [pdp.Poisson(sampling_probability=0.1), pdp.Poisson(sampling_probability=1.0)]
    )
    def test_pld_is_the_same_number(self, sampling):
        plan = cityscapes(sampling=sampling, steps=20).image_level()
        found = theirs(to_dp_event(plan, engine="pld"))
        assert found == pytest.approx(plan.epsilon(1e-5), rel=1e-3)

    @pytest.mark.parametrize(
        ("engine", "plan"),
        [
            ("rdp", cityscapes()),
            ("pld", cityscapes()),
            ("pld", cityscapes(sampling=pdp.FixedSize(batch_size=2, dataset_size=9)).image_level()),
            (
                "rdp",
                cityscapes(
                    sampling=pdp.FixedSize(batch_size=2, dataset_size=9), images_per_person=2
                ),
            ),
            ("patchdp", cityscapes(images_per_person=2)),
            ("dp", cityscapes()),
        ],
    )
    def test_refuses_what_the_engine_cannot_say(self, engine, plan):
        with pytest.raises(ValueError, match=r"engine|event"):
            to_dp_event(plan, engine=engine)

    def test_extremes(self):
        assert to_dp_event(cityscapes(noise_multiplier=0.0), engine="rdp") == (
            dp_event.NonPrivateDpEvent()
        )


class TestAmplifyOneStep:
    """Any distribution of one step."""

    @pytest.mark.parametrize("p", [Fraction(1, 1000), 0.3, 1.0])
    @pytest.mark.parametrize("steps", [1, 50])
    def test_gaussian_step_of_google(self, p, steps):
        one = google.from_gaussian_mechanism(
            2.0, value_discretization_interval=2e-4, neighboring_relation=REPLACE
        )
        run = pdp.amplify_one_step(one, p, steps=steps)
        event = RandomCropDpEvent(p, dp_event.SelfComposedDpEvent(GAUSSIAN(2.0), steps))
        for delta in (1e-2, 1e-6):
            fine = ours(event, delta, tolerance=1e-3)
            assert run.get_epsilon_for_delta(delta) == pytest.approx(fine, rel=2e-3, abs=1e-4)

    def test_certain_inclusion_changes_nothing(self):
        one = google.from_randomized_response(0.5, 4)
        run, plain = pdp.amplify_one_step(one, 1, steps=8), one.self_compose(8)
        for epsilon in (0.0, 1.0, 3.0):
            found, expected = (d.get_delta_for_epsilon(epsilon) for d in (run, plain))
            # Its negative loss is rounded up; the mirror image of the positive one is below it.
            assert expected * (1 - 2e-5) <= found <= expected * (1 + 1e-9)

    @settings(max_examples=20)
    @given(
        losses=st.lists(st.integers(1, 60), min_size=1, max_size=4, unique=True),
        p=st.floats(1e-6, 1.0),
        infinity=st.sampled_from([0.0, 1e-9, 0.1]),
    )
    def test_one_step_obeys_the_operator(self, losses, p, infinity):
        h = 0.05
        mass = 0.8 * (1 - infinity) / len(losses)
        masses = {}
        for k in losses:
            share = mass / (1 + math.exp(-k * h))
            masses[k], masses[-k] = share, share * math.exp(-k * h)
        masses[0] = 1 - infinity - sum(masses.values())
        one = google.PrivacyLossDistribution.create_from_rounded_probability(masses, infinity, h)
        run = pdp.amplify_one_step(one, p, steps=1, interval=1e-3)
        for epsilon in (0.0, 0.03, 0.5, 2.0):
            inner = math.log1p(math.expm1(epsilon) / p)
            truth = p * one.get_delta_for_epsilon(inner)
            found = run.get_delta_for_epsilon(epsilon)
            assert truth - 1e-15 <= found <= truth + 1e-3 * p * 0.3

    def test_refuses_one_direction_and_optimism(self):
        with pytest.raises(ValueError, match="REPLACE_ONE"):
            pdp.amplify_one_step(
                google.from_gaussian_mechanism(1.0, sampling_prob=0.1), 0.5, steps=3
            )
        optimist = google.from_gaussian_mechanism(
            1.0, pessimistic_estimate=False, neighboring_relation=REPLACE
        )
        with pytest.raises(ValueError, match="optimistic"):
            pdp.amplify_one_step(optimist, 0.5, steps=3)
        with pytest.raises(ValueError, match="PrivacyLossDistribution"):
            pdp.amplify_one_step(object(), 0.5, steps=3)
        lopsided = google.PrivacyLossDistribution.create_from_rounded_probability(
            {1: 1.0}, 0.0, 0.1
        )
        with pytest.raises(ValueError, match="mirror image"):
            pdp.amplify_one_step(lopsided, 0.5, steps=3)

    def test_laplace_masses_dominate(self):
        step = LaplaceStep(distance=1.3, rate=Fraction(1, 3))
        masses = step.masses(7e-3)
        values, infinity = masses.linear()
        for epsilon in np.linspace(0, 0.6, 23):
            inner = math.log1p(math.expm1(epsilon) * 3)
            truth = max(-math.expm1((inner - 1.3) / 2), 0.0) / 3
            found = float(np.maximum(-np.expm1(epsilon - masses.losses), 0) @ values) + infinity
            assert truth * (1 - 1e-13) <= found <= truth + 1e-4
