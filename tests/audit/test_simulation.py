"""The audit: honest accountants pass, broken ones and broken pipelines are caught."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

import patchdp as pdp
from patchdp.audit import Hits, audit, numpy_crops
from patchdp.cli import main

# 1 - 0.999 over the whole of this file's random plans.
CONFIDENCE = 1 - 0.001 / 6

TRAP = pdp.TrainingPlan(
    image=(20,),
    crop=pdp.RandomCrop((11,)),
    patch=pdp.Patch((1,), at=(2,)),
    sampling=pdp.Poisson(sampling_probability=0.5),
    noise_multiplier=2.0,
    steps=20,
)

PLANS = [
    TRAP,
    pdp.TrainingPlan(
        image=(6, 9),
        crop=pdp.RandomCrop((5, 4), padding=((1, 0), (2, 3))),
        patch=pdp.Patch((2, 1)),
        sampling=pdp.Poisson(batch_size=3, dataset_size=10),
        noise_multiplier=0.8,
        steps=6,
    ),
    pdp.TrainingPlan(
        image=(8, 8),
        crop=pdp.RandomCrop((3, 3), padding=2, padding_mode="reflect"),
        patch=pdp.Mask([[0, 1], [1, 0]]),
        sampling=pdp.FixedSize(batch_size=2, dataset_size=5),
        noise_multiplier=1.5,
        steps=10,
    ),
    pdp.TrainingPlan(
        image=(7, 5, 4),
        crop=pdp.RandomCrop((3, 3, 3)),
        patch=pdp.Patch((1, 1, 1)),
        sampling=pdp.Shuffle(),
        noise_multiplier=2.0,
        epochs=8,
    ),
    pdp.TrainingPlan(
        image=(12, 12),
        crop=pdp.RandomCrop((4, 4)),
        patch=pdp.Disk(1),
        sampling=pdp.Poisson(sampling_probability=1.0),
        noise_multiplier=3.0,
        steps=15,
        views=2,
        views_clipped="together",
    ),
    pdp.TrainingPlan(
        image=(5,),
        crop=pdp.RandomCrop((5,)),
        patch=pdp.Patch((1,)),
        sampling=pdp.FixedSize(batch_size=3, dataset_size=3),
        noise_multiplier=1.0,
        steps=1,
    ),
]


@pytest.mark.parametrize("plan", PLANS, ids=range(len(PLANS)))
def test_no_attack_beats_a_certified_epsilon(plan: pdp.TrainingPlan) -> None:
    found = audit(plan, delta=1e-3, runs=60_000, confidence=CONFIDENCE, seed=7)
    assert found.passed
    # The attack is a strong one, where 60,000 runs can see anything.
    (clear,) = [point for point in found.points if point.delta == 0.03]
    assert clear.epsilon_lower > 0.6 * clear.epsilon_upper


def rate_times_p(plan: pdp.TrainingPlan) -> pdp.TrainingPlan:
    """A replace-one accountant for Poisson batches that is told the rate q p."""
    return plan.replace(
        image=(1,),
        crop=pdp.RandomCrop((1,)),
        patch=pdp.Patch((1,)),
        sampling=pdp.Poisson(sampling_probability=plan.effective_sampling_probability),
    )


def test_the_broken_accountant_is_caught_and_the_right_one_is_not() -> None:
    assert TRAP.inclusion.probability == Fraction(3, 10)
    broken = rate_times_p(TRAP)
    assert 2.8009 < broken.epsilon(1e-5) < 2.804
    assert 3.244 < (TRAP.epsilon_bounds(1e-5).lower or 0) < 3.246
    found = audit(TRAP, delta=1e-5, runs=1_000_000, confidence=0.999, seed=3, claim=broken)
    assert not found.passed
    caught = [point for point in found.points if point.epsilon_lower > point.epsilon_upper]
    assert {0.01, 0.03} <= {point.delta for point in caught}
    # The very same votes, held against the certified profile.
    assert all(point.epsilon_lower < TRAP.epsilon(point.delta) for point in found.points)


def test_sensitivity_c_is_caught() -> None:
    for plan in (TRAP, PLANS[3]):
        halved = plan.replace(noise_multiplier=2 * plan.noise_multiplier)
        assert not audit(plan, delta=1e-3, runs=20_000, claim=halved, seed=1).passed
        assert audit(plan, delta=1e-3, runs=20_000, seed=1).passed


def test_a_pipeline_that_keeps_the_patch_in_view_is_caught() -> None:
    def keeps(plan: pdp.TrainingPlan) -> Hits:
        return lambda rng, count: np.ones(count, dtype=bool)

    assert not audit(TRAP, delta=1e-3, runs=20_000, crops=keeps).passed


def test_phases_are_attacked_together() -> None:
    both = TRAP.replace(steps=10) + TRAP.replace(steps=10, noise_multiplier=1.0)
    found = audit(both, delta=1e-3, runs=30_000)
    alone = audit(TRAP.replace(steps=10), delta=1e-3, runs=30_000)
    assert found.passed
    assert found.points[0].epsilon_lower > 1.2 * alone.points[0].epsilon_lower
    assert not audit(both, delta=1e-3, runs=30_000, claim=both.plans[0]).passed


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric", "edge", "circular"])
@pytest.mark.parametrize("patch", [pdp.Patch((2, 3)), pdp.Disk(1), pdp.Mask([[1, 0, 1]])])
def test_crops_of_pixels_hit_as_often_as_the_geometry_says(mode: str, patch: pdp.Patch) -> None:
    crop = pdp.RandomCrop((4, 3), padding=((2, 1), (0, 2)), padding_mode=mode)  # type: ignore[arg-type]
    plan = TRAP.replace(image=(7, 8), crop=crop, patch=patch)
    count = 100_000
    share = float(numpy_crops(plan)(np.random.default_rng(0), count).mean())
    p = float(plan.inclusion.probability)
    # A patch counted twice or a padding on the wrong side moves p by far more than 5 errors.
    assert abs(share - p) <= 5 * (p * (1 - p) / count) ** 0.5
    if plan.inclusion.attained and not isinstance(patch, pdp.Mask):
        other = plan.replace(patch=pdp.Patch((1, 1)))
        q = float(other.inclusion.probability)
        assert q == p or abs(share - q) > 5 * (p * (1 - p) / count) ** 0.5


def test_the_seed_and_nothing_else_decides() -> None:
    first, again, other = (audit(TRAP, delta=0.01, runs=2000, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_progress_reaches_the_end() -> None:
    seen: list[float] = []
    audit(TRAP, delta=0.01, runs=2000, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1


def test_what_cannot_be_audited_is_refused() -> None:
    for plan, word in [
        (TRAP.replace(noise_multiplier=0.0), "noise"),
        (TRAP.replace(images_per_person=2), "real execution"),
        (TRAP.replace(patch=pdp.Patch((1,), count=2)), "real execution"),
        (TRAP.replace(crop=pdp.RandomCrop((30,), pad_if_needed=True)), "pad_if_needed"),
    ]:
        with pytest.raises(ValueError, match=word):
            audit(plan, delta=1e-3, runs=200)
    for wrong, word in [
        ({"delta": 0.0}, "delta"),
        ({"runs": 99}, "runs"),
        ({"confidence": 1.0}, "confidence"),
        ({"seed": -1}, "seed"),
    ]:
        with pytest.raises(ValueError, match=word):
            audit(TRAP, **{"delta": 1e-3, "runs": 200, **wrong})


FLAGS = ["--image", "6x9", "--crop", "4x4", "--patch", "1x1", "--sampling", "shuffle",
         "--epochs", "5", "--noise-multiplier", "1", "--delta", "1/100"]  # fmt: skip


def shell(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["audit", *args])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_shell(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = shell(capsys, *FLAGS, "--runs", "2000", "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["passed"] and result["runs"] == 2000 and result["confidence"] == 0.999
    first = result["points"][0]
    assert first["delta"] == 0.01 and 0 < first["epsilon_lower"] < first["epsilon_upper"]
    status, out, _ = shell(capsys, *FLAGS, "--runs", "2000")
    assert status == 0 and "passed" in out and max(map(len, out.splitlines())) <= 80
    status, out, err = shell(capsys, *FLAGS, "--noise-multiplier", "0")
    assert (status, out) == (2, "") and err.count("\n") == 1


def test_shell_ends_with_1_when_an_attack_wins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdp.TrainingPlan, "epsilon", lambda self, delta: 0.01)
    status, out, _ = shell(capsys, *FLAGS, "--runs", "2000")
    assert status == 1 and "FAILED" in out
