"""Solved plans meet their target, and the next value does not."""

from __future__ import annotations

from typing import Any

import pytest

import patchdp as pdp

DELTA = 1e-5


def base(**changes: Any) -> pdp.TrainingPlan:
    settings: dict[str, Any] = {
        "image": (32, 64),
        "crop": pdp.RandomCrop((10, 20)),
        "patch": pdp.Patch((4, 4)),
        "sampling": pdp.FixedSize(20, 1000),
        "noise_multiplier": 1.5,
        "steps": 300,
    }
    return pdp.TrainingPlan(**{**settings, **changes})


def test_noise_multiplier() -> None:
    solved = base().solve("noise_multiplier", epsilon=1.0, delta=DELTA)
    assert solved.epsilon(DELTA) <= 1.0
    assert base(noise_multiplier=solved.noise_multiplier * 0.998).epsilon(DELTA) > 1.0


@pytest.mark.parametrize(
    ("parameter", "start"),
    [("steps", base()), ("epochs", base(steps=None, epochs=2, sampling=pdp.Shuffle()))],
)
def test_duration(parameter: str, start: pdp.TrainingPlan) -> None:
    solved = start.solve(parameter, epsilon=6.0, delta=DELTA)
    assert solved.epsilon(DELTA) <= 6.0
    longer = max(getattr(solved, parameter) + 1, int(getattr(solved, parameter) * 1.005))
    assert solved.replace(**{parameter: longer}).epsilon(DELTA) > 6.0 * (1 - 1e-3)


def test_crop_keeps_its_aspect() -> None:
    solved = base().solve("crop", epsilon=2.0, delta=DELTA)
    height, width = solved.crop.size
    assert width == pytest.approx(2 * height, abs=1)
    assert solved.epsilon(DELTA) <= 2.0
    larger = base(crop=pdp.RandomCrop((height + 1, width + 2)))
    assert larger.epsilon(DELTA) > 2.0 * (1 - 1e-3)


def test_batch_size_with_epochs_looks_at_every_group() -> None:
    start = base(steps=None, epochs=3, noise_multiplier=2.0)
    solved = start.solve("batch_size", epsilon=1.5, delta=DELTA)
    assert solved.epochs == 3 and solved.epsilon(DELTA) <= 1.5
    batch = solved.sampling.batch_size
    assert batch is not None
    for more in (1, 5, 40):
        if batch + more <= 1000:
            larger = start.replace(sampling=pdp.FixedSize(batch + more, 1000))
            assert larger.epsilon(DELTA) > 1.5 * (1 - 1e-3)


@pytest.mark.parametrize("parameter", ["steps", "crop", "batch_size"])
def test_unreachable_targets_name_what_can_be_reached(parameter: str) -> None:
    start = base(noise_multiplier=0.3)
    with pytest.raises(ValueError, match=r"cannot be met.*nearest reachable"):
        start.solve(parameter, epsilon=1e-6, delta=1e-9)


@pytest.mark.parametrize(("parameter", "word"), [("colour", "solve for"), ("patch", "solve for")])
def test_unknown_parameters_are_refused(parameter: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        base().solve(parameter, epsilon=1.0, delta=DELTA)


def test_shuffle_has_no_steps_to_solve_for() -> None:
    start = base(steps=None, epochs=2, sampling=pdp.Shuffle())
    with pytest.raises(ValueError, match="epoch"):
        start.solve("steps", epsilon=1.0, delta=DELTA)
