"""Work is counted before it is done: huge questions get an answer or one sentence, in no time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp._budget import MOST_NUMBERS, MOST_WORK, afford, affordable
from patchdp.geometry import (
    Cutout,
    Disk,
    FiveCrop,
    FixedCrop,
    GridCrop,
    NestedCrop,
    OneOf,
    Patch,
    PatchUnion,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomScale,
    RandomSizeCrop,
    Resize,
    ResizedCrop,
    Views,
    best_crop,
    hit_probability,
    inclusion,
    inclusion_map,
)
from patchdp.geometry.choice import ChoiceCrop
from patchdp.step import FixedSize, Poisson, images_per_person, views_clipped_apart
from patchdp.step.moments import log_mgf

MANY, MILLION, HUGE = 10**5, 10**6, 2**31
SQUARE, GIANT = (MILLION, MILLION), (HUGE, HUGE)
BOX = Patch((10, 10))
THIRD = Fraction(1, 3)
BOTH = Fraction(10**6 * (10**6 - 1), 10**7 * (10**7 - 1))  # of two images in a batch

Question = Callable[[], Any]


def p(image: tuple[int, ...], crop: pdp.Crop, patch: Any = BOX) -> Any:
    return inclusion(image, crop, patch).probability


def copies(mode: Any, padding: int, image: tuple[int, ...] = (64, 64)) -> Any:
    return p(image, RandomCrop((32, 32), padding=padding, padding_mode=mode), Patch((1, 1)))


def resized(image: tuple[int, ...], resizing: Any) -> Any:
    return p(image, ResizedCrop(RandomCrop((64, 64)), resizing, interpolation="bilinear"))


ANSWERED: dict[str, tuple[Question, object]] = {
    "disk, its bounding box": (
        lambda: p(SQUARE, RandomCrop((1000, 1000)), Disk(30_000)),
        Fraction(61_000**2, 999_001**2),
    ),
    "small disk, exactly": (
        lambda: p(SQUARE, RandomCrop((1000, 1000)), Disk(50)),
        p((5000, 5000), RandomCrop((1000, 1000)), Disk(50)) * Fraction(4001**2, 999_001**2),
    ),
    "grid": (
        lambda: p(GIANT, GridCrop((505, 505), stride=(514, 514))),
        Fraction(1, ((HUGE - 505) // 514 + 1) ** 2),
    ),
    "best": (
        lambda: p(GIANT, best_crop(GIANT, (505, 505), patch=BOX)),
        Fraction(1, ((HUGE - 505) // 514 + 1) ** 2),
    ),
    "touching tiles": (
        lambda: p(GIANT, GridCrop((5, 5), stride=(5, 5))),
        Fraction(3, (HUGE - 5) // 5 + 1) ** 2,
    ),
    "nested": (
        lambda: p(
            (MILLION,), NestedCrop(RandomCrop((500_000,)), RandomCrop((1000,))), Patch((10,))
        ),
        # All pairs of offsets whose sum is one of the 1009 around the middle of 0 ... 999,000.
        Fraction(
            sum(min(s, 999_000 - s, 499_000) + 1 for s in range(498_996, 500_005)),
            500_001 * 499_001,
        ),
    ),
    "union of far boxes": (
        lambda: p(
            SQUARE,
            RandomCrop((1000, 1000)),
            PatchUnion((Patch((10, 10), at=(0, 0)), Patch((10, 10), at=(MILLION - 10,) * 2))),
        ),
        Fraction(200, 999_001**2),
    ),
    "many views": (lambda: p((1024, 2048), Views((RandomCrop((505, 505)),) * MANY)), 1.0),
    "views of a rare hit": (
        lambda: p(SQUARE, Views((RandomCrop((1, 1)),) * MANY), Patch((1, 1))),
        pytest.approx(1e-7, rel=1e-6),
    ),
    "chance of many views": (
        lambda: p((64, 64), RandomApply(Views((RandomCrop((9, 9)),) * MANY), Fraction(1, 7))),
        1.0,
    ),
    "two laws of one line each": (
        lambda: p(
            (20_000,),
            Views(tuple(RandomCrop((2,), padding=(pad,)) for pad in ((0, 20_000), (20_000, 0)))),
            Patch((10,)),
        ),
        1 - (1 - Fraction(11, 39_999)) ** 2,
    ),
    "a law of four corners": (lambda: p((MANY, MANY), FiveCrop((224, 224))), 1),
    "copies at the edge": (
        lambda: copies("edge", 10**6, (2, 2)),
        Fraction(1_000_001, 2_000_002 - 31) ** 2,
    ),
    "two images of ten million": (
        lambda: images_per_person(
            FixedSize(10**6, 10**7), inclusion=THIRD, mu=0.5, images=2
        ).parts[1][0],
        # Both in the batch and hit, of those with any hit.
        pytest.approx(float(BOTH / 9 / (2 * Fraction(1, 30) - BOTH / 9)), rel=1e-14),
    ),
    "a thousand images": (
        lambda: len(
            images_per_person(Poisson(200, 2975), inclusion=THIRD, mu=0.5, images=1000).parts
        )
        <= 32,
        True,
    ),
    "ten thousand views": (
        lambda: len(views_clipped_apart(inclusion=THIRD, mu=0.5, views=10_000).parts) <= 256,
        True,
    ),
    "union of far shapes, part by part": (
        lambda: p(
            SQUARE,
            RandomCrop((9, 9)),
            PatchUnion((Disk(3, at=(0, 0)), Patch((2, 2), at=(99_999, 99_999)))),
        ),
        # Four rows of first pixels reach the disk's widest row, the others reach shorter ones.
        Fraction(4 * 7 + 6 + 6 + 4 + 10 * 10, 999_992**2),
    ),
    "a million views of a plan": (
        lambda: pdp.TrainingPlan(
            image=(64, 64), crop=RandomCrop((9, 9)), patch=BOX, sampling=pdp.Shuffle(),
            noise_multiplier=1.0, epochs=1, views=MILLION, views_clipped="together",
        ).hit_probability,
        1,
    ),
    "moments of little noise": (
        lambda: log_mgf(views_clipped_apart(inclusion=THIRD, mu=1e8, views=1), 2.0),
        pytest.approx(2 * 2 * 3 * 1e16),
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[Question, str]] = {
    "map of all places": (
        lambda: inclusion_map(SQUARE, RandomCrop((9, 9)), BOX),
        "a region by within=",
    ),
    "map of a disk": (lambda: inclusion_map(SQUARE, RandomCrop((9, 9)), Disk(3)), "within="),
    "shifts beyond 64 bits": (
        lambda: p((2**50,), GridCrop((5,), stride=(5,), jitter=(2**49,)), Patch((1,))),
        "larger stride",
    ),
    "reflected": (lambda: copies("reflect", 10**8), "less padding"),
    "copied in circles": (lambda: copies("circular", 10**6, (2, 2)), "less padding"),
    "sides": (lambda: p(SQUARE, RandomResizedCrop()), "smaller image"),
    "map of sides": (lambda: inclusion_map((2600, 2600), RandomResizedCrop(), BOX), "narrower"),
    "lengths": (lambda: p(SQUARE, RandomSizeCrop((1, 1))), "RandomCrop of the largest"),
    "many lengths and places": (
        lambda: p((20_000,), RandomSizeCrop((1,)), Patch((1,))),
        "at= or within=",
    ),
    "erased": (lambda: p(SQUARE, RandomErasing(RandomCrop((9999, 9999)), 0.5)), "smaller image"),
    "cut out": (
        lambda: p(GIANT, Cutout(RandomCrop((2**29, 9)), (2, 2)), Patch((1, 1), at=(0, 0))),
        "smaller crop",
    ),
    "cut out anywhere": (lambda: p(SQUARE, Cutout(RandomCrop((505, 505)), (9, 9))), "within="),
    "scaled": (lambda: resized(SQUARE, RandomScale(0.5, 2)), "narrower range"),
    "scaled or not": (lambda: resized(SQUARE, OneOf((RandomScale(1, 2), Resize(64)))), "narrower"),
    "enlarged": (lambda: resized((100, 100), Resize(10**9)), "smaller image"),
    "five on a giant": (lambda: p(GIANT, FiveCrop((224, 224))), "at= or within="),
    "windows, one here, one there": (
        lambda: p((1024, 2048), Views(tuple(FixedCrop((5, 5), at=(i, i)) for i in range(1000)))),
        "within=",
    ),
    "choices on a giant": (
        lambda: p(
            GIANT, ChoiceCrop((RandomCrop((9, 9)), GridCrop((9, 9), stride=(9, 9))), (0.5, 0.5))
        ),
        "within=",
    ),
    "images per person": (
        lambda: images_per_person(FixedSize(9, 10**9), inclusion=THIRD, mu=1.0, images=10**8),
        "group privacy",
    ),
    "views apart": (lambda: views_clipped_apart(inclusion=THIRD, mu=1.0, views=10**9), "fewer"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _within_the_budget() -> Any:
    tracemalloc.start()
    begun = time.process_time()
    yield
    seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Tracing costs several times the work itself.
    assert seconds < 20
    assert peak < 1 << 30


@pytest.mark.parametrize("name", ANSWERED)
def test_a_huge_question_is_answered(name: str) -> None:
    ask, expected = ANSWERED[name]
    assert ask() == expected


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_beyond_the_budget_is_refused_in_one_sentence(name: str) -> None:
    ask, instead = REFUSED[name]
    with pytest.raises(ValueError, match=instead) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said
    assert f"{MOST_NUMBERS:,}" in said or f"{MOST_WORK:,}" in said or "64 bits" in said


def test_many_boxes_under_many_sizes_are_one_table() -> None:
    rng = np.random.default_rng(0)
    corners, sizes = rng.integers(0, 900, (50_000, 2)), rng.integers(1, 100, (50_000, 2))
    found = hit_probability((1024, 2048), RandomResizedCrop(), corners, sizes)
    few = hit_probability((1024, 2048), RandomResizedCrop(), corners[:200], sizes[:200])
    assert np.all(np.abs(found[:200] - few) <= 1e-11)
    assert np.all(found[:200] >= few * (1 - 3e-12))


def test_the_budget_is_counted_on_both_accounts() -> None:
    assert affordable(MOST_NUMBERS, MOST_WORK)
    assert not affordable(MOST_NUMBERS + 1)
    assert not affordable(0, MOST_WORK + 1)
    for numbers, work in ((MOST_NUMBERS + 1, 0), (0, MOST_WORK + 1), (10**5000, 0)):
        with pytest.raises(ValueError, match=r"the map takes .* more than the .*: ask for less"):
            afford(numbers, "the map", "ask for less", work=work)
