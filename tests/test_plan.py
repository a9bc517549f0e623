"""Plans: what they answer, that answers move the right way, and what they refuse."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import plans

import patchdp as pdp

# Certified numbers of the same truth may differ by the tolerance (in delta by a few percent).
TOLERANCE = 1.0011


def base(**changes: Any) -> pdp.TrainingPlan:
    settings: dict[str, Any] = {
        "image": (28, 28),
        "crop": pdp.RandomCrop((10, 10)),
        "patch": pdp.Patch((2, 2)),
        "sampling": pdp.Poisson(20, 1000),
        "noise_multiplier": 1.5,
        "steps": 500,
    }
    return pdp.TrainingPlan(**{**settings, **changes})


WORSE = [
    {"noise_multiplier": 1.2}, {"steps": 700}, {"crop": pdp.RandomCrop((12, 12))},
    {"patch": pdp.Patch((3, 3))}, {"sampling": pdp.Poisson(30, 1000)},
    {"image": (25, 25)}, {"sampling": pdp.FixedSize(20, 1000)},
]  # fmt: skip


@pytest.mark.parametrize("change", WORSE, ids=str)
def test_epsilon_and_delta_are_monotone(change: dict[str, Any]) -> None:
    plan = base()
    worse = plan.replace(**change)
    assert plan.epsilon(1e-5) < worse.epsilon(1e-5)
    assert plan.delta(1.0) < worse.delta(1.0)


def test_epsilon_falls_with_delta_and_delta_with_epsilon() -> None:
    plan = base()
    deltas = np.array([1e-12, 1e-9, 1e-5, 1e-2, 0.5])
    assert np.all(np.diff(plan.epsilon(deltas)) <= 0)
    profile = plan.profile([0.0, 0.5, 1.0, 4.0, 20.0])
    assert np.all(np.diff(profile.delta) < 0) and np.all(profile.delta > 0)


@given(plans(), st.sampled_from([0.1, 1e-5, 1e-9]))
@settings(max_examples=25)
def test_delta_of_epsilon_of_delta_is_met(plan: pdp.TrainingPlan, delta: float) -> None:
    epsilon = plan.epsilon(delta)
    assert epsilon >= 0 and not math.isnan(epsilon)
    if 0 < epsilon < 1e4:
        assert plan.delta(epsilon * TOLERANCE) <= delta * 1.03


@given(plans())
@settings(max_examples=10)
def test_bounds_are_in_order(plan: pdp.TrainingPlan) -> None:
    lower, upper = plan.epsilon_bounds(1e-5)
    assert lower is None or 0 <= lower <= upper


@pytest.mark.parametrize("sampling", [pdp.Poisson(20, 1000), pdp.FixedSize(20, 1000)])
def test_k_then_m_steps_are_k_plus_m(sampling: Any) -> None:
    plan = base(sampling=sampling)
    both = plan.replace(steps=300) + plan.replace(steps=200)
    assert both.phases == plan.phases
    assert both.epsilon(1e-5) == plan.epsilon(1e-5)


def test_phases_cost_more_than_each_and_at_most_the_sum() -> None:
    a, b = base(), base(noise_multiplier=3.0, steps=2000)
    one, two, both = (p.epsilon(5e-6) for p in (a, b, a + b))
    assert max(one, two) < both
    assert (a + b).epsilon(1e-5) <= one + two
    assert (a + b).epsilon(1e-5) == pytest.approx((b + a).epsilon(1e-5), rel=1e-3)


def test_crop_as_large_as_the_image_is_image_level() -> None:
    plan = base(crop=pdp.RandomCrop((28, 28)))
    assert plan.inclusion.probability == 1
    assert plan.epsilon(1e-5) == plan.image_level().epsilon(1e-5)


def test_no_noise_is_infinity_and_never_nan() -> None:
    plan = base(noise_multiplier=0)
    assert plan.epsilon(1e-5) == math.inf and plan.delta(3.0) == 1.0
    assert plan.epsilon_bounds(1e-5) == (math.inf, math.inf)
    assert (base() + plan).epsilon(1e-5) == math.inf
    assert np.all(np.isinf(plan.rdp([2.0, 3.0])))
    with pytest.raises(ValueError, match="without noise"):
        plan.pld()


def test_rdp_lies_above_the_certified_epsilon() -> None:
    assert base().epsilon(1e-5, method="rdp") > base().epsilon(1e-5)


def test_epochs_are_kept_and_counted() -> None:
    plan = base(steps=None, epochs=3)
    assert plan.applications == 150
    assert plan.replace(sampling=pdp.Poisson(30, 1000)).applications == 3 * 34
    assert base(
        steps=None, epochs=2, sampling=pdp.Poisson(sampling_probability=Fraction(3, 10))
    ).applications == 8  # fmt: skip


def test_plans_are_values() -> None:
    assert hash(base()) == hash(base()) and base() == base()
    namespace = {"TrainingPlan": pdp.TrainingPlan, "RandomCrop": pdp.RandomCrop,
                 "Patch": pdp.Patch, "Poisson": pdp.Poisson}  # fmt: skip
    assert eval(repr(base()), namespace) == base()


REFUSED = [
    ({"noise_multiplier": -1.0}, "noise_multiplier"),
    ({"noise_multiplier": math.nan}, "noise_multiplier"),
    ({"noise_multiplier": math.inf}, "noise_multiplier"),
    ({"noise_multiplier": True}, "noise_multiplier"),
    ({"steps": 0}, "steps"),
    ({"steps": 1.5}, "steps"),
    ({"steps": True}, "steps"),
    ({"steps": None}, "steps or epochs"),
    ({"epochs": 3}, "steps or epochs"),
    ({"sampling": "poisson"}, "sampling"),
    ({"sampling": pdp.Shuffle()}, "epoch"),
    ({"image": 5}, "image"),
    ({"image": (4, 4)}, "crop"),
    ({"patch": pdp.Patch((40, 1))}, "patch"),
    ({"patch": pdp.Patch((1, 1, 1))}, "ax"),
]


@pytest.mark.parametrize(("change", "word"), REFUSED, ids=str)
def test_bad_plans_are_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        base(**change)


@pytest.mark.parametrize(
    "delta", [0, 1, -1e-5, 2, math.nan, math.inf, True, "x", None, Fraction(1, 10**400), 1e-310]
)
def test_bad_deltas_are_refused(delta: Any) -> None:
    with pytest.raises(ValueError, match="delta"):
        base().epsilon(delta)


@pytest.mark.parametrize("epsilon", [-1.0, math.nan, math.inf])
def test_bad_epsilons_are_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        base().delta(epsilon)


def test_phases_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same image"):
        _ = base() + base(image=(29, 28))
