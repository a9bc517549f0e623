"""Plans, sweeps, statements, audits and the shell with random allocation."""

from __future__ import annotations

import json
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

import patchdp as pdp
from patchdp.audit import audit
from patchdp.cli import cli
from patchdp.composition.certificate import Refused
from patchdp.interop.dp_accounting import to_dp_event
from patchdp.objects import epsilons_at
from patchdp.report.statement import assumptions, statement

PLAN = pdp.TrainingPlan(
    image=(1024, 2048),
    crop=pdp.RandomCrop((505, 505)),
    patch=pdp.Patch((10, 10)),
    sampling=pdp.RandomAllocation(batch_size=200, dataset_size=2975),
    noise_multiplier=2.0,
    epochs=100,
)
DELTA = 1 / 2975
FLAGS = (
    *("--image", "1024x2048", "--crop", "505x505", "--patch", "10x10", "--noise-multiplier", "2"),
    *("--sampling", "allocation", "--batch-size", "200", "--dataset-size", "2975"),
    *("--epochs", "100", "--delta", "1/2975"),
)


def test_the_sampling_scheme() -> None:
    assert PLAN.sampling.steps_per_epoch == 15  # type: ignore[union-attr]
    assert PLAN.applications == 100 and PLAN.effective_sampling_probability == Fraction(
        66049, 200720
    )
    assert eval(repr(PLAN.sampling), {"RandomAllocation": pdp.RandomAllocation}) == PLAN.sampling
    with pytest.raises(ValueError, match="batch_size 300 is larger than dataset_size 200"):
        pdp.RandomAllocation(batch_size=300, dataset_size=200)
    with pytest.raises(ValueError, match="RandomAllocation is accounted per epoch"):
        PLAN.replace(steps=100)
    with pytest.raises(ValueError, match="not proved for RandomAllocation"):
        PLAN.replace(images_per_person=2)


def test_between_poisson_and_shuffle() -> None:
    bounds = PLAN.epsilon_bounds(DELTA)
    assert bounds.lower is not None and 0.95 * bounds.upper < bounds.lower < bounds.upper
    assert abs(bounds.upper - 3.124) <= 3e-3
    poisson = PLAN.replace(sampling=pdp.Poisson(200, 2975)).epsilon(DELTA)
    assert poisson < bounds.upper < PLAN.replace(sampling=pdp.Shuffle()).epsilon(DELTA) / 7
    assert PLAN.epsilon(DELTA, method="composed") == bounds.upper
    found = PLAN.certificate(DELTA)
    assert found.prover == "grid" and (found.lower, found.upper) == bounds and not found.tight
    assert "not proved" in found.note
    # One step an epoch is Shuffle, bounds and all.
    whole = PLAN.replace(sampling=pdp.RandomAllocation(2975, 2975), epochs=3)
    assert whole.epsilon_bounds(DELTA) == whole.replace(sampling=pdp.Shuffle()).epsilon_bounds(
        DELTA
    )


def test_monotone_in_epochs_noise_and_batches() -> None:
    epsilons = [PLAN.replace(epochs=n).epsilon(DELTA) for n in (1, 10, 100, 1000)]
    assert np.all(np.diff(epsilons) > 0)
    epsilons = [PLAN.replace(noise_multiplier=s).epsilon(DELTA) for s in (0.6, 1.0, 3.0, 30.0)]
    assert np.all(np.diff(epsilons) < 0)
    sizes = [PLAN.replace(sampling=pdp.RandomAllocation(b, 2975)) for b in (20, 200, 1500)]
    assert np.all(np.diff([plan.epsilon(DELTA) for plan in sizes]) > 0)
    assert PLAN.image_level().epsilon(DELTA) > PLAN.epsilon(DELTA)


def test_views_and_pixel_noise() -> None:
    together = PLAN.replace(views=2, views_clipped="together")
    p = PLAN.inclusion.probability
    assert together.hit_probability == 1 - (1 - p) ** 2
    assert together.epsilon_bounds(DELTA).lower is not None
    summed = PLAN.replace(views=2, views_clipped="summed")
    assert summed.step == PLAN.replace(noise_multiplier=1.0, views=2, views_clipped="averaged").step
    assert summed.epsilon_bounds(DELTA).lower is None
    noisy = PLAN.replace(pixel_noise=pdp.PixelNoise(std=1.0, channels=3, value_range=0.2))
    assert noisy.epsilon(DELTA) < PLAN.epsilon(DELTA)
    assert noisy.epsilon_bounds(DELTA).lower is None


def test_phases() -> None:
    later = PLAN.replace(noise_multiplier=3.0, epochs=50)
    both = PLAN + later
    assert PLAN.epsilon(DELTA) < both.epsilon(DELTA) < PLAN.epsilon(DELTA) + later.epsilon(DELTA)
    twice = (PLAN.replace(epochs=60) + PLAN.replace(epochs=40)).epsilon(DELTA)
    assert math.isclose(twice, PLAN.epsilon(DELTA), rel_tol=1e-12)
    poisson = PLAN.replace(sampling=pdp.Poisson(200, 2975))
    mixed = (PLAN.replace(epochs=50) + poisson.replace(epochs=50)).epsilon(DELTA)
    assert poisson.epsilon(DELTA) < mixed < PLAN.epsilon(DELTA)


def test_what_is_not_offered_is_refused() -> None:
    found = f"{PLAN.epsilon(DELTA):.6g}"
    for method in ("exact", "rdp", "optimal", "pld"):
        with pytest.raises(Refused, match=f"RandomAllocation.* 'auto' proves epsilon {found}"):
            PLAN.epsilon(DELTA, method=method)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="RandomAllocation"):
        PLAN.epsilon(DELTA, tolerance=1e-4)
    with pytest.raises(ValueError, match="RandomAllocation"):
        PLAN.rdp([2.0])
    with pytest.raises(Refused, match=r"RandomAllocation.* 'auto' proves delta 0\.0"):
        PLAN.delta(1.0, method="exact")
    with pytest.raises(ValueError, match="random allocation"):
        to_dp_event(PLAN, engine="pld")
    with pytest.raises(ValueError, match="solve for epochs"):
        PLAN.solve("steps", epsilon=1.0, delta=DELTA)


def test_every_other_question() -> None:
    assert math.isclose(PLAN.delta(PLAN.epsilon(DELTA)), DELTA, rel_tol=0.02)
    deltas = PLAN.profile().delta
    assert np.all(np.diff(deltas) <= 0)
    assert 0.3 < PLAN.advantage() < 0.4
    assert 0.9 < PLAN.tradeoff(0.01) < 0.99
    pld = PLAN.pld(delta=1e-6).get_epsilon_for_delta(DELTA)
    assert math.isclose(pld, PLAN.epsilon(DELTA), rel_tol=3e-3)
    many = pdp.epsilons([PLAN, PLAN.replace(sampling=pdp.Shuffle())], DELTA)
    assert many[0] == PLAN.epsilon(DELTA) and many[1] > 20


@pytest.mark.parametrize("parameter", ["noise_multiplier", "epochs", "batch_size", "crop"])
def test_solve(parameter: str) -> None:
    solved = PLAN.solve(parameter, epsilon=2.0, delta=DELTA)
    assert 1.0 < solved.epsilon(DELTA) <= 2.0
    if parameter == "batch_size":
        larger = pdp.RandomAllocation(solved.sampling.batch_size + 1, 2975)  # type: ignore[operator,union-attr]
        assert solved.replace(sampling=larger).epsilon(DELTA) > 2.0


def test_little_noise_never_exceeds_shuffle_and_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in (0.05, 0.21, 0.4):
            plan = PLAN.replace(noise_multiplier=sigma, epochs=2)
            known = plan.replace(sampling=pdp.Shuffle())
            assert plan.epsilon(1e-5) <= known.epsilon(1e-5) * (1 + 1e-9)
    least = PLAN.replace(noise_multiplier=0.05)
    assert any("accounted as Shuffle" in line for line in assumptions(least))
    assert least.epsilon_bounds(1e-5).lower is None
    long = PLAN.replace(noise_multiplier=0.5, sampling=pdp.RandomAllocation(1, 2975))
    assert any("an epoch of 1024 steps" in line for line in assumptions(long))
    assert not any("accounted as" in line for line in assumptions(PLAN))


def test_sweep_and_statement() -> None:
    grid = pdp.Grid(PLAN, {"sampling": ["poisson", "fixed", "allocation"], "delta": DELTA})
    found = pdp.sweep(grid).rows
    assert [row["sampling"] for row in found] == ["poisson", "fixed", "allocation"]
    assert found[2]["epsilon"] == PLAN.epsilon(DELTA) and found[2]["applications"] == 100
    said = statement(PLAN, delta=DELTA)
    assert "exactly one of the 15 steps" in " ".join(said.assumptions)
    assert said.bounds.upper == PLAN.epsilon(DELTA)


def test_an_audit_stays_below() -> None:
    small = pdp.TrainingPlan(
        image=(8, 8),
        crop=pdp.RandomCrop((5, 5)),
        patch=pdp.Patch((2, 2)),
        sampling=pdp.RandomAllocation(batch_size=5, dataset_size=20),
        noise_multiplier=0.7,
        epochs=5,
    )
    found = audit(small, delta=1e-3, runs=20_000, seed=2)
    assert found.passed
    # The attack is the best one: it comes close.
    best = max(point.epsilon_lower / point.epsilon_upper for point in found.points)
    assert best > 0.6
    # A claim for Poisson batches would be refuted at some delta, or nearly so.
    assert small.epsilon(1e-3) > small.replace(sampling=pdp.Poisson(5, 20)).epsilon(1e-3)


def test_the_shell() -> None:
    found = CliRunner().invoke(cli, ["epsilon", *FLAGS, "--json"])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["sampling"] == "allocation" and data["steps"] == 100
    assert data["epsilon"] == PLAN.epsilon(Fraction(1, 2975))
    table = CliRunner().invoke(cli, ["compare", *FLAGS])
    assert table.exit_code == 0, table.output
    assert "patch, allocation" in table.output and "image, allocation" in table.output
    assert all(len(line) <= 80 for line in table.output.splitlines())
    short = [flag for flag in FLAGS if flag not in ("--batch-size", "200")]
    refused = CliRunner().invoke(cli, ["epsilon", *short])
    assert refused.exit_code != 0
    assert "sampling allocation needs batch_size" in str(refused.exception)


def test_every_setting_has_an_answer_within_the_budget() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in (1e-300, 1e-3, 1e8):
            plan = PLAN.replace(noise_multiplier=sigma)
            known = plan.replace(sampling=pdp.Shuffle())
            assert plan.epsilon(1e-5) <= known.epsilon(1e-5)
        many = PLAN.replace(epochs=20_000).certificate(DELTA)
        assert many.lower is None and "past the budget" in many.note
        assert PLAN.replace(epochs=2**60).epsilon(DELTA) < math.inf
        mixed = (PLAN + PLAN.replace(sampling=pdp.Poisson(200, 2975))).certificate(DELTA)
        assert mixed.lower is None and "beside other phases" in mixed.note
        # Where another phase is beyond the grid, it is beyond it with the epochs as well.
        loud = (PLAN + PLAN.replace(sampling=pdp.Poisson(200, 2975), noise_multiplier=1e-3)).epsilon
        assert PLAN.epsilon(DELTA) < loud(DELTA) < math.inf


def test_design_and_objects() -> None:
    small = PLAN.replace(image=(64, 64), crop=pdp.RandomCrop((32, 32)), patch=pdp.Patch((4, 4)))
    found = pdp.design(small, min_crop=(24, 24), max_crop=(40, 40), delta=DELTA, epsilon=2.0)
    assert found.candidates
    levels = epsilons_at(small, probabilities=(0.1, 0.5), delta=DELTA, target=50.0, resolution=8)
    assert levels[0] < levels[1]
