"""Optimal composition asked of plans: what it takes, what it refuses, and where it lies."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

import patchdp as pdp
from patchdp.cli import cli

DELTA = 1e-4


def plan(sampling, **changes):
    fields = {
        "image": (28, 28),
        "crop": pdp.RandomCrop((10, 10)),
        "patch": pdp.Patch((3, 3)),
        "sampling": sampling,
        "noise_multiplier": 2.5,
        "steps": 40,
    }
    return pdp.TrainingPlan(**{**fields, **changes})


FIXED = pdp.FixedSize(batch_size=20, dataset_size=200)
PLANS = {
    "fixed-size": plan(FIXED),
    "full batch": plan(pdp.FixedSize(batch_size=200, dataset_size=200), steps=12),
    "poisson": plan(pdp.Poisson(batch_size=20, dataset_size=200)),
    "shuffled": plan(pdp.Shuffle(), steps=None, epochs=12),
    "two views": plan(FIXED, views=2, views_clipped="together"),
    "phases": plan(FIXED, steps=20) + plan(FIXED, steps=15, noise_multiplier=4.0),
}


@pytest.mark.parametrize("name", PLANS)
def test_between_the_attack_and_the_composed_bound(name):
    question = PLANS[name]
    best = question.epsilon_bounds(DELTA, method="optimal", tolerance=0.04)
    composed = question.epsilon_bounds(DELTA)
    assert composed.lower * (1 - 1e-9) <= best.lower <= best.upper <= composed.upper
    assert best.upper <= 1.05 * best.lower
    if name in ("fixed-size", "two views", "phases"):
        assert best.upper < 0.98 * composed.upper
    assert question.epsilon(DELTA, method="optimal", tolerance=0.04) == pytest.approx(
        best.upper, rel=0.04
    )


def test_what_is_not_proved_is_refused():
    for changes in (
        {"images_per_person": 2},
        {"views": 2, "views_clipped": "summed"},
        {"views": 2, "views_clipped": "averaged"},
    ):
        question = plan(FIXED, **changes)
        for refused in (question, question + plan(FIXED, **changes)):
            with pytest.raises(ValueError, match="one image per person and views clipped together"):
                refused.epsilon(DELTA, method="optimal")


def test_without_noise_or_without_hits():
    assert math.isinf(plan(FIXED, noise_multiplier=0.0).epsilon(DELTA, method="optimal"))
    assert plan(FIXED, noise_multiplier=1e6).epsilon(0.01, method="optimal") == 0.0


def test_solving_needs_less_noise_and_meets_the_target():
    question = plan(FIXED)
    best = question.solve("noise_multiplier", epsilon=1.5, delta=DELTA, method="optimal")
    assert 1.5 * (1 - 6e-3) <= best.epsilon(DELTA, method="optimal") <= 1.5
    # By the composed bound even 2 % more noise is not enough.
    assert best.replace(noise_multiplier=1.02 * best.noise_multiplier).epsilon(DELTA) > 1.5


def test_on_the_command_line():
    flags = "--image 28x28 --crop 10x10 --patch 3x3 --sampling fixed --batch-size 20 "
    flags += "--dataset-size 200 --steps 40 --noise-multiplier 2.5 --delta 1e-4 --json"
    answers = {}
    for method in ("optimal", "pld"):
        done = CliRunner().invoke(cli, ["epsilon", *flags.split(), "--method", method])
        assert done.exit_code == 0, done.output
        answers[method] = json.loads(done.output)
    assert answers["optimal"]["method"] == "optimal"
    assert (
        answers["pld"]["epsilon_lower"]
        <= answers["optimal"]["epsilon_lower"]
        <= answers["optimal"]["epsilon"]
        < answers["pld"]["epsilon"]
    )


def test_bad_tolerances_are_named():
    for tolerance in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="tolerance must be"):
            plan(FIXED).epsilon(DELTA, method="optimal", tolerance=tolerance)


def test_where_the_composed_bound_stands_in_the_certificate_says_so():
    loud = plan(FIXED).replace(noise_multiplier=0.2)
    found, composed = loud.certificate(DELTA, method="optimal"), loud.certificate(DELTA)
    assert found.upper == composed.upper > 100
    assert found.prover == composed.prover != "optimal"
    assert not found.tight
    assert "composed bound" in found.note
