"""What a report says: every number on its safe side, every claim named."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest

import patchdp as pdp
from patchdp.report.statement import assumptions, neighbours, statement
from patchdp.step import PixelNoise

PLAN = pdp.TrainingPlan(
    image=(40, 60),
    crop=pdp.RandomCrop((12, 12)),
    patch=pdp.Patch((3, 3)),
    sampling=pdp.Poisson(batch_size=200, dataset_size=1000),
    noise_multiplier=1.0,
    steps=100,
)


def test_the_sentence_is_true_as_printed() -> None:
    found = statement(PLAN, delta=Fraction(1, 2975))
    printed = re.search(r"ε = ([\d.]+) and δ = (\S+):", found.sentence)
    factor = re.search(r"at most e\^([\d.]+) \(that is, ([\d.]+)\) times", found.sentence)
    assert printed is not None and factor is not None
    assert float(printed[1]) >= PLAN.epsilon(Fraction(1, 2975)) and printed[2] == "1/2975"
    assert factor[1] == printed[1] and float(factor[2]) >= math.exp(float(printed[1]))
    assert float(factor[2]) < 1.01 * math.exp(float(printed[1]))


def test_curves_are_certified_and_sharp() -> None:
    found = statement(PLAN, delta=1e-5)
    for plan, profile in ((PLAN, found.profile), (PLAN.image_level(), found.image_profile)):
        certified = plan.delta(profile.epsilon)
        # Chords between certified points: above the exact profile, hardly above the certified.
        assert np.all(profile.delta >= 0.998 * certified)
        assert np.all(profile.delta <= 1.02 * certified)
    rates, misses = found.tradeoff
    assert np.all(np.diff(misses) <= 0) and misses[-1] == 0
    asked = np.array([0.001, 0.05, 0.3])
    direct = PLAN.tradeoff(asked)
    assert np.interp(asked, rates, misses) == pytest.approx(direct, abs=2e-3)
    for attack in found.attacks:
        assert attack.false_positive_rate < attack.true_positive_rate <= attack.image_level
        best = 1 - PLAN.tradeoff(attack.false_positive_rate)
        assert best - 1e-4 <= attack.true_positive_rate <= best * 1.01
    assert found.advantage == pytest.approx(PLAN.advantage(), rel=2e-3)
    assert found.guess == pytest.approx(PLAN.attack_success(0.5), rel=2e-3)


def test_bounds_of_both_kinds() -> None:
    found = statement(PLAN, delta=1e-5)
    assert found.bounds == PLAN.epsilon_bounds(1e-5)
    assert found.image_level == PLAN.image_level().epsilon_bounds(1e-5)
    noisy = PLAN.replace(pixel_noise=PixelNoise(std=1.0, channels=3, value_range=1.0))
    assert statement(noisy, delta=1e-5).bounds.lower is None


def test_extremes_are_stated() -> None:
    nothing = statement(PLAN.replace(noise_multiplier=0.0), delta=1e-5)
    assert "no finite ε" in nothing.sentence and nothing.advantage == 1
    assert all(attack.true_positive_rate == 1 for attack in nothing.attacks)
    loud = statement(PLAN.replace(noise_multiplier=1000.0, steps=1), delta=0.5)
    assert loud.bounds.upper == 0 and "ε = 0 and" in loud.sentence
    assert "at most 1 times" in loud.sentence


def test_phases_say_what_holds_when() -> None:
    both = PLAN + PLAN.replace(noise_multiplier=2.0)
    lines = assumptions(both)
    assert sum(line.startswith("In phase 1: Per-image clipping") for line in lines) == 1
    assert sum(line.startswith("In phase 2: Per-image clipping") for line in lines) == 1
    assert sum("Poisson sampling" in line for line in lines) == 1
    found = statement(both, delta=1e-5)
    assert len(found.settings) == 2 and "all its 2 phases together" in found.sentence


def test_phases_whose_worst_sizes_differ() -> None:
    one = PLAN.replace(image=((40, 60), (80, 30)))
    other = one.replace(crop=pdp.RandomCrop((20, 20), padding=2))
    assert one.inclusion.worst_image != other.inclusion.worst_image
    whole = (one + other).image_level().epsilon(1e-5)
    assert whole == pytest.approx((PLAN + PLAN).image_level().epsilon(1e-5), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images_per_person": 3}, "each of up to 3 images"),
        ({"patch": pdp.Disk(2)}, "disk of radius 2"),
        ({"patch": pdp.Mask([[1, 0], [1, 1]])}, "pixel set of 3 pixels within 2x2"),
        ({"patch": pdp.Patch((3, 3), at=(1, 2))}, "first corner is at (1, 2)"),
        ({"patch": pdp.Patch((3, 3), count=2)}, "up to 2 patches"),
        ({"patch": pdp.Patch((3, 3), within=((0, 20), (0, 60)))}, "within ((0, 20), (0, 60))"),
        (
            {"patch": pdp.PatchUnion((pdp.Patch((2, 2), at=(0, 0)), pdp.Disk(1, at=(9, 9))))},
            "the 2 pixel sets at known places",
        ),
    ],
)
def test_who_is_a_neighbour(changes: dict, words: str) -> None:
    assert words in neighbours(PLAN.replace(**changes))


def test_assumptions_that_only_some_trainings_have() -> None:
    views = assumptions(PLAN.replace(views=3, views_clipped="summed"))
    assert any("3 independent crops" in line for line in views)
    assert any("clipped on its own and all are summed" in line for line in views)
    assert not any("Per-image clipping" in line for line in views)
    noise = PixelNoise(std=0.5, channels=3, value_range=1.0)
    assert any("std 0.5 on every pixel" in x for x in assumptions(PLAN.replace(pixel_noise=noise)))
    assert not any("crops of each image" in line for line in assumptions(PLAN))
