"""Many objects in one training, certified one by one."""

from __future__ import annotations

import numpy as np
import pytest

import patchdp as pdp
from patchdp.objects import epsilons_at
from patchdp.step import PixelNoise


def plan(**changes: object) -> pdp.TrainingPlan:
    base = pdp.TrainingPlan(
        image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((3, 3)),
        sampling=pdp.Poisson(batch_size=100, dataset_size=1000), noise_multiplier=2.0, steps=300,
    )  # fmt: skip
    return base.replace(**changes)


@pytest.mark.parametrize(
    "sampling", [pdp.Poisson(100, 1000), pdp.FixedSize(100, 1000)], ids=["poisson", "fixed"]
)
def test_epsilons_are_those_of_plans(sampling: pdp.Poisson) -> None:
    base = plan(sampling=sampling)
    patches = [pdp.Patch((3, 3), at=(k, k)) for k in (0, 4, 12)]
    plans = [base.replace(patch=patch) for patch in patches]
    seen = [float(p.inclusion.probability) for p in plans]
    found = epsilons_at(base, [0.0, *seen], 1e-5)
    assert found[0] == 0
    for value, one in zip(found[1:], plans, strict=True):
        assert value >= one.epsilon_bounds(1e-5).lower
        assert value == pytest.approx(one.epsilon(1e-5), rel=1e-3)


def test_a_coarse_grid_only_rounds_up() -> None:
    base = plan()
    seen = np.random.default_rng(1).uniform(0.05, 0.9, 40)
    seen[7] = seen.max()
    # As many rungs as objects: each has its own number. (The rungs of two coarse grids need not
    # be nested, so that one may be below the other here and above it there.)
    each = epsilons_at(base, seen, 1e-5, resolution=40)
    coarse = epsilons_at(base, seen, 1e-5, resolution=6)
    assert (coarse >= each * (1 - 1e-9)).all()
    assert (coarse > each * 1.01).any()
    assert coarse.max() == each.max()
    order = np.argsort(seen)
    assert (np.diff(coarse[order]) >= 0).all()


def test_a_target_is_met_by_all_that_can_be_certified() -> None:
    base = plan()
    seen = np.linspace(0.05, 0.9, 200)
    target = 1.3
    found = epsilons_at(base, seen, 1e-5, target=target, resolution=5)
    count = int((found <= target).sum())
    assert 0 < count < 200

    def single(p: float) -> float:
        return float(epsilons_at(base, [p], 1e-5)[0])

    assert single(seen[count - 1]) <= target < single(seen[count])


def test_extremes() -> None:
    assert epsilons_at(plan(noise_multiplier=0.0), [0.0, 0.5], 1e-5).tolist() == [0.0, np.inf]
    assert epsilons_at(plan(), [], 1e-5).shape == (0,)
    # So rarely seen that delta alone covers it.
    assert epsilons_at(plan(steps=1), [1e-9], 1e-5)[0] == 0
    whole = plan().image_level()
    assert epsilons_at(plan(), [1.0], 1e-5)[0] == pytest.approx(whole.epsilon(1e-5), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "seen", "said"),
    [
        ({"images_per_person": 2}, [0.5], "images_per_person=2"),
        ({"pixel_noise": PixelNoise(std=1.0, channels=3, value_range=1.0)}, [0.5], "pixel_noise"),
        ({}, [1.5], "between 0 and 1"),
        ({}, [np.nan], "between 0 and 1"),
    ],
)
def test_refused(changes: dict, seen: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        epsilons_at(plan(**changes), seen, 1e-5)
