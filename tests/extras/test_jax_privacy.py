"""JAX-Privacy's events through the patch-level accountant, calibrated as its documentation does."""

from __future__ import annotations

import dp_accounting
import pytest

import patchdp as pdp
from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent

events = pytest.importorskip("jax_privacy.experimental.accounting")

P = pdp.inclusion((64, 64), pdp.RandomCrop((32, 32)), pdp.Patch((4, 4))).probability


def epsilon(event, delta=1e-6):
    return PatchPrivacyAccountant().compose(event).get_epsilon(delta)


def plan(sampling, steps, noise=3.0):
    return pdp.TrainingPlan(
        image=(64, 64),
        crop=pdp.RandomCrop((32, 32)),
        patch=pdp.Patch((4, 4)),
        sampling=sampling,
        noise_multiplier=noise,
        steps=steps,
    )


def test_dpsgd_is_the_poisson_plan():
    event = events.dpsgd_event(3.0, 128, sampling_prob=0.1)
    expected = plan(pdp.Poisson(sampling_probability=0.1), 128).epsilon(1e-6)
    assert epsilon(RandomCropDpEvent(P, event)) == pytest.approx(expected, rel=1e-3)


def test_fixed_size_is_the_fixed_size_plan():
    event = events.fixed_dpsgd_event(3.0, 128, dataset_size=1000, batch_size=100)
    expected = plan(pdp.FixedSize(batch_size=100, dataset_size=1000), 128).epsilon(1e-6)
    assert epsilon(RandomCropDpEvent(P, event)) == pytest.approx(expected, rel=1e-3)
    again = events.fixed_dpsgd_event(3.0, 128, dataset_size=1000, batch_size=100, replace=True)
    assert epsilon(RandomCropDpEvent(P, again)) > expected


def test_truncation_costs_and_banded_noise_counts_rounds():
    cut = events.truncated_dpsgd_event(
        3.0, 128, sampling_prob=0.1, num_examples=1000, truncated_batch_size=105
    )
    plain = events.dpsgd_event(3.0, 128, sampling_prob=0.1)
    assert epsilon(RandomCropDpEvent(P, cut)) > epsilon(RandomCropDpEvent(P, plain))
    banded = events.amplified_bandmf_event(3.0, 128, num_bands=4, sampling_prob=0.1)
    rounds = events.dpsgd_event(3.0, 32, sampling_prob=0.1)
    assert epsilon(RandomCropDpEvent(P, banded)) == epsilon(RandomCropDpEvent(P, rounds))


def test_noise_is_calibrated_as_documented():
    def event(noise):
        return RandomCropDpEvent(P, events.dpsgd_event(noise, 64, sampling_prob=0.1))

    noise = dp_accounting.calibrate_dp_mechanism(
        PatchPrivacyAccountant, event, target_epsilon=1.0, target_delta=1e-6, tol=1e-3
    )
    assert epsilon(event(noise)) <= 1.0 < epsilon(event(noise - 0.01))


def test_iterations_are_calibrated_as_documented():
    def event(iterations):
        return RandomCropDpEvent(P, events.dpsgd_event(3.0, iterations, sampling_prob=0.1))

    iterations = dp_accounting.calibrate_dp_mechanism(
        PatchPrivacyAccountant,
        event,
        target_epsilon=2.0,
        target_delta=1e-6,
        discrete=True,
        bracket_interval=dp_accounting.LowerEndpointAndGuess(1, 128),
    )
    assert epsilon(event(iterations)) <= 2.0 < epsilon(event(iterations + 2))
