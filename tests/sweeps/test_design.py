"""The designer: which sizes it lists, what each costs, and which it recommends."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import patchdp as pdp
from patchdp.geometry import diversity

IMAGE, BOX = (1024, 2048), pdp.Patch((10, 10))


def plan(**options: Any) -> pdp.TrainingPlan:
    given = {
        "image": IMAGE,
        "crop": pdp.RandomCrop((505, 505)),
        "patch": BOX,
        "sampling": pdp.Poisson(200, 2975),
        "noise_multiplier": 2.0,
        "epochs": 100,
    }
    return pdp.TrainingPlan(**{**given, **options})


def test_the_two_laws_on_cityscapes() -> None:
    found = pdp.design(plan(), min_crop=(400, 400), delta=Fraction(1, 2975))
    rows = {(c.law, c.size[0]): c for c in found}
    planned = found.candidates[0]
    assert (planned.law, planned.crop) == ("planned", pdp.RandomCrop((505, 505)))
    assert 2.93 < planned.epsilon == rows["uniform", 505].epsilon < 2.94
    best = rows["best", 505]
    assert (best.inclusion, best.diversity.windows, best.roomy) == (Fraction(1, 8), 96, False)
    assert 0.949 < best.epsilon < 0.9505
    roomy = rows["best", 483]
    assert (roomy.inclusion, roomy.epsilon, roomy.roomy) == (best.inclusion, best.epsilon, True)
    assert roomy.diversity.windows == 36_000
    assert found.recommended == roomy
    assert roomy in found.front
    for candidate in found:
        assert candidate.inclusion == pdp.inclusion(IMAGE, candidate.crop, BOX).probability
        assert candidate.diversity == diversity(IMAGE, candidate.crop)
        assert candidate.area == candidate.size[0] ** 2 / (1024 * 2048)
        assert candidate.noise_multiplier == 2.0


def test_the_staircase_is_listed_step_by_step() -> None:
    image, patch = (40, 60), pdp.Patch((3, 2))
    found = pdp.design(plan(image=image, patch=patch, crop=pdp.RandomCrop((9, 9))),
                       min_crop=(8, 12), delta=1e-3, room=0.2, laws="best")  # fmt: skip
    sizes = [c.size for c in found][1:]
    assert sizes == sorted(sizes)
    tiles = {
        (h, h * 3 // 2): pdp.best_crop(image, (h, h * 3 // 2), patch=patch).tiles(image)
        for h in range(8, 41)
        if h * 3 // 2 <= 60
    }
    ends = {max(s for s in tiles if tiles[s] == n) for n in set(tiles.values())}
    assert ends <= set(sizes)
    for candidate in found.candidates[1:]:
        jitter = candidate.crop.jitters(image)  # type: ignore[attr-defined]
        enough = all(j >= 0.2 * n for j, n in zip(jitter, candidate.size, strict=True))
        assert candidate.roomy == enough or candidate.size in ends
        assert candidate.inclusion == Fraction(1, tiles[candidate.size])


def test_a_target_is_met_by_the_least_noise() -> None:
    found = pdp.design(
        plan(), min_crop=(480, 480), max_crop=(505, 505), delta=Fraction(1, 2975), epsilon=1.0
    )
    noises = {(c.law, c.size[0]): c.noise_multiplier for c in found}
    assert 1.9155 < noises["best", 505] < 1.917
    assert 4.954 < noises["uniform", 505] < 4.958
    assert noises["best", 483] == noises["best", 505]
    assert all(c.epsilon == found.target == 1.0 for c in found)
    check = plan(crop=found.recommended.crop, noise_multiplier=found.recommended.noise_multiplier)
    assert check.epsilon(1 / 2975) <= 1.0


def test_laws_between_the_extremes_lie_between() -> None:
    found = pdp.design(
        plan(), min_crop=(480, 480), max_crop=(480, 480), delta=1e-4,
        laws=("uniform", "mixture:1/2", "axis:0", "axis:1", "best"),
    )  # fmt: skip
    by = {c.law: c for c in found}
    assert by["best"].inclusion < min(by[k].inclusion for k in ("mixture:1/2", "axis:0", "axis:1"))
    assert by["uniform"].inclusion > max(
        by[k].inclusion for k in ("mixture:1/2", "axis:0", "axis:1")
    )
    uniform = by["uniform"].inclusion
    assert by["mixture:1/2"].inclusion == (Fraction(1, 8) + uniform) / 2
    assert by["axis:1"].inclusion == Fraction(489, 545) * Fraction(1, 4)
    assert by["axis:0"].inclusion == Fraction(489, 1569) * Fraction(1, 2)
    assert by["axis:1"].epsilon > by["best"].epsilon
    assert all(not c.beats(c) for c in found)


def test_several_image_sizes_count_the_worst() -> None:
    sizes = [(300, 400), (200, 500)]
    training = plan(image=sizes, crop=pdp.RandomCrop((90, 90)))
    found = pdp.design(training, min_crop=(90, 90), max_crop=(120, 120), delta=1e-4)
    for candidate in found.candidates[1:]:
        each = [pdp.inclusion(size, candidate.crop, BOX).probability for size in sizes]
        assert candidate.inclusion == max(each)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"laws": ("best", "worst")}, "laws must be 'uniform', 'best', 'axis:K' .* got 'worst'"),
        ({"laws": ("axis:2",)}, "an axis below 2"),
        ({"laws": ("mixture:1",)}, "strictly between 0 and 1"),
        ({"laws": ("mixture:x",)}, "strictly between 0 and 1"),
        ({"laws": (3,)}, "got 3"),
        ({"min_crop": (600, 600), "max_crop": (500, 700)}, "min_crop 600x600 must fit max_crop"),
        ({"min_crop": (2000, 600)}, "the smallest of which is 1024x2048"),
        ({"min_crop": (600,)}, "must have 2 axes"),
        ({"room": 0}, "room must be a finite number above 0"),
        ({"epsilon": -1.0}, "epsilon must be a finite number above 0"),
        ({"delta": 0}, "delta must be strictly between 0 and 1"),
    ],
)
def test_what_cannot_be_designed_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pdp.design(plan(), **{"min_crop": (480, 480), "delta": 1e-4, **options})


def test_a_placed_patch_or_a_disk_has_no_design() -> None:
    for patch in (pdp.Patch((10, 10), at=(0, 0)), pdp.Disk(5)):
        with pytest.raises(ValueError, match="patch must be a box"):
            pdp.design(plan(patch=patch), min_crop=(480, 480), delta=1e-4)
