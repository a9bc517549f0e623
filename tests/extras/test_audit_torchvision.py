"""The audit on crops that torchvision itself makes."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision.transforms")

import patchdp as pdp
from patchdp.audit import audit, torchvision_crops

PLAN = pdp.TrainingPlan(
    image=(12, 9),
    crop=pdp.RandomCrop((5, 6), padding=((2, 1), (0, 3))),
    patch=pdp.Patch((2, 1)),
    sampling=pdp.Shuffle(),
    noise_multiplier=2.0,
    epochs=6,
)


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric", "edge"])
def test_its_crops_hit_as_often_as_the_geometry_says(mode: str) -> None:
    crop = pdp.RandomCrop((5, 6), padding=((2, 1), (0, 3)), padding_mode=mode)  # type: ignore[arg-type]
    plan = PLAN.replace(crop=crop)
    share = float(torchvision_crops(plan)(np.random.default_rng(0), 20_000).mean())
    p = float(plan.inclusion.probability)
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / 20_000)


def test_a_training_on_its_crops_stays_below_the_certified_epsilon() -> None:
    found = audit(PLAN, delta=0.01, runs=10_000, crops=torchvision_crops, seed=2)
    assert found.passed
    (clear,) = [point for point in found.points if point.delta == 0.03]
    assert clear.epsilon_lower > 0.5 * clear.epsilon_upper
    smaller = PLAN.replace(patch=pdp.Patch((1, 1)), crop=pdp.RandomCrop((2, 2)))
    assert not audit(PLAN, delta=0.01, runs=10_000, crops=torchvision_crops, claim=smaller).passed


def test_what_torchvision_cannot_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="two axes"):
        torchvision_crops(
            PLAN.replace(image=(9,), crop=pdp.RandomCrop((3,)), patch=pdp.Patch((1,)))
        )
    crop = pdp.RandomCrop((5, 6), padding=1, padding_mode="circular")
    with pytest.raises(ValueError, match="circular"):
        torchvision_crops(PLAN.replace(crop=crop))
