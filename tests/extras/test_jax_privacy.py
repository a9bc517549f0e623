"""JAX-Privacy's events through the patch-level accountant, calibrated as its documentation does."""

from __future__ import annotations

import collections
import doctest

import dp_accounting
import numpy as np
import pytest
from scipy import stats

import patchdp as pdp
from patchdp.interop import jax_privacy as interop
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


def test_batch_selection_strategies():
    selection = pytest.importorskip("jax_privacy.batch_selection")
    from patchdp.interop.jax_privacy import plan_sampling

    once = selection.BallsInBinsSampling(iterations=3, cycle_length=3)
    assert plan_sampling(once, dataset_size=5) == (pdp.RandomAllocation(2, 5), {"epochs": 1})
    # Its law is that of random allocation: all 3^3 places of three examples alike.
    rng, drawn = np.random.default_rng(0), []
    for _ in range(5400):
        found = list(once.batch_iterator(3, rng))
        drawn.append(tuple(next(j for j in range(3) if i in found[j]) for i in range(3)))
    counts = np.array(list(collections.Counter(drawn).values()))
    assert len(counts) == 27
    assert stats.chi2.sf(np.square(counts - 200).sum() / 200, 26) > 1e-5
    # Ten examples in seven steps: no batch size gives seven, and fewer steps bound them.
    wide = selection.BallsInBinsSampling(iterations=7, cycle_length=7)
    assert plan_sampling(wide, dataset_size=10)[0].steps_per_epoch == 5
    several = selection.BallsInBinsSampling(iterations=6, cycle_length=3)
    with pytest.raises(ValueError, match="keeps each example's bin"):
        plan_sampling(several, dataset_size=5)
    groups = [tuple(batch) for batch in several.batch_iterator(5, 0)]
    assert groups[:3] == groups[3:]  # which is why

    poisson = selection.CyclicPoissonSampling(sampling_prob=0.1, iterations=30)
    assert plan_sampling(poisson, dataset_size=50) == (
        pdp.Poisson(sampling_probability=0.1, dataset_size=50),
        {"steps": 30},
    )
    cyclic = selection.CyclicPoissonSampling(sampling_prob=0.1, iterations=30, cycle_length=2)
    with pytest.raises(ValueError, match="cycle_length=1"):
        plan_sampling(cyclic, dataset_size=50)
    fixed = selection.FixedBatchSampling(batch_size=4, iterations=9)
    assert plan_sampling(fixed, dataset_size=50) == (pdp.FixedSize(4, 50), {"steps": 9})
    for other in (
        selection.FixedBatchSampling(batch_size=4, iterations=9, replace=True),
        "something else",
    ):
        with pytest.raises(ValueError, match="none of the sampling schemes"):
            plan_sampling(other, dataset_size=50)
    assert doctest.testmod(interop).failed == 0
