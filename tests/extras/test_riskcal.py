"""Attack risks against riskcal on the same privacy loss distribution."""

from __future__ import annotations

import numpy as np
import pytest

import patchdp as pdp

analysis = pytest.importorskip("riskcal.analysis")

RATES = np.array([1e-4, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.99])


@pytest.fixture(
    scope="module",
    params=[
        pdp.Poisson(batch_size=200, dataset_size=2975),
        pdp.FixedSize(batch_size=50, dataset_size=2975),
    ],
)
def plan(request):
    return pdp.TrainingPlan(
        image=(1024, 2048),
        crop=pdp.RandomCrop((505, 505)),
        patch=pdp.Patch((10, 10)),
        sampling=request.param,
        noise_multiplier=2.0,
        steps=300,
    )


@pytest.fixture(scope="module")
def pld(plan):
    return plan.pld(interval=2e-4)


def test_false_negative_rates(plan, pld):
    expected = analysis.get_beta_from_pld(pld, alpha=RATES)
    found = plan.tradeoff(RATES)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert np.all(found <= expected + 1e-4)


def test_advantage(plan, pld):
    assert plan.advantage() == pytest.approx(analysis.get_advantage_from_pld(pld), rel=1e-3)


def test_bayes_risk(plan, pld):
    priors = np.array([0.5, 0.6, 0.9])
    risk = analysis.get_bayes_risk_from_pld(pld, priors)
    np.testing.assert_allclose(1 - plan.attack_success(priors), risk, rtol=2e-3)


def test_riskcal_reads_the_accountant_s_own_curve(plan):
    # A whole-image Gaussian: both against the closed form of Gaussian differential privacy.
    whole = plan.replace(sampling=pdp.Shuffle(), epochs=1).image_level()
    expected = analysis.get_beta_from_gdp(2 / whole.noise_multiplier, RATES)
    found = whole.tradeoff(RATES)
    assert np.all(found <= expected * (1 + 1e-12))
    np.testing.assert_allclose(found, expected, rtol=2e-3)
