"""What comes in is used as the number that it is, whatever its type: published values and extremes.

The figures of the first tests were seen wrong while arguments were checked and then used in the
type they came in: numpy's integers wrap around, its short floats round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp import _checks
from patchdp.annotated import epsilons_at
from patchdp.interop.dp_accounting import PatchPrivacyAccountant

DELTA = 1e-5


def run(sampling: Any, **changes: Any) -> pdp.TrainingPlan:
    settings: dict[str, Any] = {
        "image": (32, 32),
        "crop": pdp.RandomResizedCrop(),
        "patch": pdp.Patch((2, 2)),
        "sampling": sampling,
        "noise_multiplier": 1.0,
        "steps": 1000,
    }
    return pdp.TrainingPlan(**{**settings, **changes})


def full(**changes: Any) -> pdp.TrainingPlan:
    """Every pixel in every step: one application of the Gaussian mechanism."""
    settings = {"crop": pdp.WholeImage(), "image": (8, 8), "steps": 1}
    return run(pdp.FixedSize(100, 100), **{**settings, **changes})


@pytest.mark.parametrize("whole", [int, np.int32, np.int64, np.uint32])
def test_fixed_size_batches_of_any_integer_type(whole: Callable[[int], Any]) -> None:
    plan = run(pdp.FixedSize(whole(101), whole(60000)), steps=whole(1000))
    assert plan == run(pdp.FixedSize(101, 60000))
    assert float(plan.effective_sampling_probability) == pytest.approx(0.0015060, abs=5e-8)
    assert plan.epsilon(DELTA, method="rdp") == pytest.approx(5.2026, abs=5e-5)
    if whole is np.int64:
        lower, upper = plan.epsilon_bounds(DELTA)
        assert upper == pytest.approx(4.0518, rel=1e-3)
        assert upper >= 4.0518 * (1 - 1e-5)
        assert lower == pytest.approx(3.9586, abs=5e-5)
        assert 0 < plan.delta(1.0) < 1 and 0 < plan.advantage() < 1
        assert 0 < plan.tradeoff(0.1) < 0.9
        assert np.isfinite(plan.rdp([2.0, 8.0])).all()


def test_poisson_batches_of_numpy_integers() -> None:
    plan = run(pdp.Poisson(np.int64(101), np.int64(60000)))
    assert plan.epsilon(DELTA, method="rdp") == pytest.approx(0.773, abs=5e-4)


def test_epochs_do_not_wrap_around() -> None:
    plan = run(pdp.Poisson(64, 300), steps=None, epochs=np.uint8(100))
    assert plan.applications == 500
    small = plan.replace(
        image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)), noise_multiplier=2.0
    )
    assert type(small.applications) is int
    assert plan.replace(epochs=np.uint16(14000)).applications == 70_000
    assert run(pdp.FixedSize(8, np.uint8(10)), steps=None, epochs=128).applications == 256
    assert run(pdp.Poisson(3, np.int8(100)), steps=None, epochs=4).applications == 136
