"""What comes in is used as the number that it is, whatever its type: published values and extremes.

The figures of the first tests were wrong while arguments were checked and then used in the type
they came in: numpy's integers wrap around, its short floats round.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp import _checks
from patchdp.composition import extremes
from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent
from patchdp.objects import box_probabilities, epsilons_at

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
    """Every pixel of every image in one step."""
    settings: dict[str, Any] = {
        "sampling": pdp.Poisson(sampling_probability=1),
        "image": (8, 8),
        "crop": pdp.WholeImage(),
        "steps": 1,
    }
    return run(**{**settings, **changes})


@pytest.mark.parametrize("whole", [np.int32, np.int64, np.uint32])
def test_fixed_size_batches_of_any_integer_type(whole: Callable[[int], Any]) -> None:
    plan = run(pdp.FixedSize(whole(101), whole(60000)), steps=whole(1000))
    assert plan == run(pdp.FixedSize(101, 60000))
    assert float(plan.effective_sampling_probability) == pytest.approx(0.0015060, abs=5e-8)
    assert plan.epsilon(DELTA, method="rdp") == pytest.approx(5.2026, abs=5e-5)


def test_every_question_of_numpy_integers_has_a_number() -> None:
    plan = run(pdp.FixedSize(np.int64(101), np.int64(60000)))
    lower, upper = plan.epsilon_bounds(DELTA)
    assert upper == pytest.approx(4.0518, abs=4e-3)
    assert 3.9586 * (1 - 1e-3) < lower <= 3.9587
    assert 0 < plan.delta(1.0) < 1 and 0 < plan.advantage() < 1 and 0 < plan.tradeoff(0.1) < 0.9
    assert np.isfinite(plan.rdp([2.0, 8.0])).all()


def test_poisson_batches_of_numpy_integers() -> None:
    plan = run(pdp.Poisson(np.int64(101), np.int64(60000)))
    assert plan.epsilon(DELTA, method="rdp") == pytest.approx(0.773, abs=5e-4)


def test_epochs_do_not_wrap_around() -> None:
    plan = run(
        pdp.Poisson(64, 300),
        image=(64, 64), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
        steps=None, epochs=np.uint8(100),
    )  # fmt: skip
    assert plan.applications == 500
    # The exact values are 8.00817 and 266.28; what is certified may lie 0.1 % above.
    assert 8.008 < plan.epsilon(DELTA) < 8.008 * 1.001
    longer = plan.replace(epochs=np.uint16(14000))
    assert longer.applications == 70_000
    assert 266.27 < longer.epsilon(DELTA) < 266.28 * 1.001
    assert run(pdp.FixedSize(8, np.uint8(10)), steps=None, epochs=128).applications == 256
    assert run(pdp.Poisson(3, np.int8(100)), steps=None, epochs=4).applications == 136


def test_short_floats_are_the_number_that_they_are() -> None:
    two = full(noise_multiplier=np.float16(1.5), images_per_person=np.int32(2))
    assert two.epsilon(DELTA) == pytest.approx(14.33431, abs=6e-6)
    assert two == full(noise_multiplier=1.5, images_per_person=2)
    for kind in (np.float32, np.float64, np.longdouble):
        views = full(noise_multiplier=kind(1.5), views=np.int64(2), views_clipped="summed")
        assert views == full(noise_multiplier=1.5, views=2, views_clipped="summed")
        assert type(views.noise_multiplier) is float


def test_pixel_noise_of_short_floats() -> None:
    noise = pdp.PixelNoise(std=np.float32(1), channels=3, value_range=np.float32(0.1))
    assert noise.visible(pixels=1) == pytest.approx(0.06901255447, abs=6e-12)
    assert noise.visible(pixels=np.uint8(200)) == noise.visible(pixels=200)


@pytest.mark.parametrize("value", [np.float32(0.01), np.float16(0.01), np.longdouble("0.01")])
def test_a_probability_of_any_float_type_is_its_exact_value(value: Any) -> None:
    exact = Fraction(*map(int, value.as_integer_ratio()))
    assert pdp.Poisson(sampling_probability=value).probability == exact
    crop = pdp.RandomCrop((8, 8))
    assert Fraction(pdp.RandomApply(crop, value).probability) == exact
    assert Fraction(pdp.Cutout(crop, (2, 2), probability=value).probability) == exact
    assert Fraction(pdp.RandomScale(value, 1).low) == exact
    assert pdp.inclusion((16, 16), pdp.RandomApply(crop, value), pdp.Patch((2, 2))).probability > 0


@pytest.mark.parametrize(
    "wrong", [True, np.True_, "0.5", Decimal("0.5"), None, 1j, math.nan, math.inf, -0.5, [0.5],
              np.timedelta64(1, "s"), np.array([0.5])],
)  # fmt: skip
def test_what_is_no_number_is_refused_in_one_sentence(wrong: Any) -> None:
    plan = full()
    questions: list[Callable[[], Any]] = [
        lambda: full(noise_multiplier=wrong),
        lambda: full(steps=wrong),
        lambda: full(views=wrong, views_clipped="summed"),
        lambda: pdp.Poisson(sampling_probability=wrong) if wrong is not None else full(steps=wrong),
        lambda: pdp.FixedSize(wrong, 10),
        lambda: pdp.RandomCrop((wrong, 4)),
        lambda: pdp.RandomApply(pdp.RandomCrop((4, 4)), wrong),
        lambda: pdp.PixelNoise(std=wrong, channels=3, value_range=1.0),
        lambda: pdp.Disk(wrong),
        lambda: plan.epsilon_bounds(wrong),
        lambda: plan.solve("steps", epsilon=wrong, delta=1e-5),
    ]
    for question in questions:
        with pytest.raises(ValueError) as refused:
            question()
        assert " must be " in str(refused.value) or "exactly one" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_arrays_of_any_type_are_their_numbers() -> None:
    plan = full()
    deltas = [Fraction(1, 4), 0.5]
    expected = [plan.epsilon(0.25), plan.epsilon(0.5)]
    for given in (
        deltas, tuple(deltas), np.array(deltas, dtype=object), np.array([0.25, 0.5], np.float16),
        np.array([0.25, 0.5], np.float32),
    ):  # fmt: skip
        assert plan.epsilon(given).tolist() == expected
    for one in (np.float32(0.25), np.array(0.25), np.array(Fraction(1, 4)), Fraction(1, 4)):
        found = plan.epsilon(one)
        assert type(found) is float and found == expected[0]
    whole = plan.delta(np.array([1, 2], np.int8))
    assert whole.tolist() == [plan.delta(1.0), plan.delta(2.0)]
    assert plan.delta([1, Fraction(2)]).tolist() == whole.tolist()
    assert plan.tradeoff(np.array([0.25], np.float32)).tolist() == [plan.tradeoff(0.25)]
    assert plan.attack_success([Fraction(1, 4)]).tolist() == [plan.attack_success(0.25)]
    assert plan.rdp(np.array([2, 3], np.uint8)).tolist() == plan.rdp([2.0, 3.0]).tolist()
    assert plan.profile([1, 2]).delta.tolist() == whole.tolist()
    for wrong in ([True, 0.5], ["0.5"], [math.nan], [[0.5], [0.5, 0.5]], np.array([0.5j])):
        for question in (plan.epsilon, plan.delta, plan.tradeoff, plan.attack_success, plan.rdp):
            with pytest.raises(ValueError, match=r" must be [^\n]*, got [^\n]*$"):
                question(wrong)  # type: ignore[operator]


def test_sizes_of_any_integer_type() -> None:
    crop, patch = pdp.RandomCrop((16, 16), padding=2), pdp.Patch((4, 4), within=((0, 8), (8, 24)))
    plain = pdp.inclusion((32, 32), crop, patch)
    for kind in (np.int8, np.int32, np.int64, np.uint16):
        typed = pdp.RandomCrop(np.array([16, 16], kind), padding=np.array([[2, 2], [2, 2]], kind))
        where = pdp.Patch((kind(4), kind(4)), within=np.array([[0, 8], [8, 24]], kind))
        assert typed == pdp.RandomCrop((16, 16), padding=((2, 2), (2, 2)))
        assert pdp.inclusion(np.array([32, 32], kind), typed, where) == plain
        assert pdp.inclusion([np.array([32, 32], kind)] * 2, typed, where) == plain
        boxes = np.array([[0, 0, 9, 9]], kind)
        assert box_probabilities(np.array([[32, 32]]), crop, boxes) == box_probabilities(
            [(32, 32)], crop, [[0, 0, 9, 9]]
        )
    for wrong in ({32, 31}, {32: 1}, "32", (32.0, 32.0), (True, 32), (), None, np.array(32)):
        with pytest.raises(ValueError, match=r"^image must [^\n]*, got [^\n]*$"):
            pdp.inclusion(wrong, crop, pdp.Patch((4, 4)))


def test_numbers_between_floats_go_to_the_safe_side() -> None:
    third = Fraction(1, 3)
    down, up = _checks.round_down(third), _checks.round_up(third)
    assert Fraction(down) < third < Fraction(up) and up == math.nextafter(down, 1)
    assert full(noise_multiplier=third).noise_multiplier == down
    noise = pdp.PixelNoise(std=third, channels=3, value_range=third)
    assert (noise.std, noise.value_range) == (down, up)
    huge = 2**60 - 1
    assert full(noise_multiplier=huge).noise_multiplier <= huge < float(huge)
    plan = full()
    assert plan.delta([third]).tolist() == [plan.delta(down)]
    assert plan.tradeoff([third]).tolist() == [plan.tradeoff(up)]
    assert plan.rdp([1 + third]).tolist() == [plan.rdp([_checks.round_up(1 + third)])[0]]
    # Guessing is worth most far from even odds.
    assert plan.attack_success(third) == plan.attack_success(down)
    assert plan.attack_success(1 - third) == plan.attack_success(_checks.round_up(1 - third))
    assert epsilons_at(plan, [third], DELTA).tolist() == epsilons_at(plan, [up], DELTA).tolist()


HUGE: dict[str, Callable[[], Any]] = {
    "steps": lambda: full(steps=10**21),
    "steps beyond floats": lambda: full(steps=10**400),
    "steps beyond printing": lambda: full(steps=10**5000),
    "steps of epochs": lambda: run(pdp.Poisson(1, 2**59), steps=None, epochs=2**59),
    "padding": lambda: full(crop=pdp.RandomCrop((4, 4), padding=2**63)),
    "axis": lambda: full(image=(2**64, 8)),
    "size": lambda: pdp.RandomCrop((10**5000, 8)),
    "noise": lambda: full(noise_multiplier=10**400),
    "noise beyond printing": lambda: full(noise_multiplier=Fraction(10**5000, 3)),
    "noise below floats": lambda: full(noise_multiplier=Fraction(1, 10**400)),
    "delta": lambda: full().epsilon(Fraction(1, 10**400)),
    "delta above 1": lambda: full().epsilon(10**400),
    "radius": lambda: pdp.Disk(10**400),
    "boxes": lambda: box_probabilities([(8, 8)], pdp.WholeImage(), [[0, 0, 2**63, 8]]),
}


@pytest.mark.parametrize("name", HUGE)
def test_beyond_the_stated_limits_is_one_sentence(name: str) -> None:
    with pytest.raises(ValueError) as refused:
        HUGE[name]()
    said = str(refused.value)
    assert "\n" not in said and len(said) < 200, said
    assert " must " in said or "may be at most" in said, said


EXTREME: dict[str, dict[str, Any]] = {
    "much noise": {"noise_multiplier": 1e300},
    "most noise": {"noise_multiplier": 1.7e308},
    "little noise": {"noise_multiplier": 1e-300},
    "less noise": {"noise_multiplier": 1e-10},
    "long axis": {"image": (2**60, 32)},
    "far padding": {"crop": pdp.RandomCrop((16, 16), padding=2**59)},
    "many steps": {"steps": 2**60},
    "rare": {"sampling": pdp.Poisson(sampling_probability=1e-20)},
}


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_plans_have_answers(name: str) -> None:
    base = {"crop": pdp.RandomCrop((16, 16)), "steps": 100, **EXTREME[name]}
    plan = run(base.pop("sampling", pdp.Poisson(100, 10000)), **base)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lower, upper = plan.epsilon_bounds(DELTA)
        assert 0 <= (lower or 0.0) <= upper
        assert plan.epsilon(DELTA, method="rdp") >= (lower or 0.0)
        deltas = [plan.delta(e) for e in (5e-324, 1.0, 10**400, Fraction(1, 3))]
        assert 1 >= deltas[0] >= deltas[1] >= deltas[2] > 0
        assert plan.advantage() == deltas[0]
        for alpha in (0.0, 1e-300, 0.1, 1.0):
            assert 0 <= plan.tradeoff(alpha) <= 1 - alpha
        assert 0.7 <= plan.attack_success(0.3) <= 1
        assert not np.isnan(plan.rdp([1 + 1e-15, 2.0, 1e6, 1e300])).any()
        assert plan.profile(np.array([0.0, 1.0])).delta[0] == deltas[0]


def test_an_ordinary_plan_at_extreme_questions() -> None:
    plan = run(pdp.FixedSize(101, 60000))
    assert plan.tradeoff(1e-300) == pytest.approx(plan.tradeoff(0.0), abs=1e-12)
    assert plan.delta(5e-324) == plan.advantage()
    assert plan.delta(10**400) == 5e-324
    assert plan.epsilon(1e-299) > plan.epsilon(1e-200)
    assert plan.epsilon(1 - Fraction(1, 10**30)) == 0.0


def test_accountant_takes_numbers_of_any_type() -> None:
    import dp_accounting

    gaussian = dp_accounting.GaussianDpEvent(np.float32(2.0))
    step = dp_accounting.PoissonSampledDpEvent(np.float32(0.125), gaussian)
    event = RandomCropDpEvent(Fraction(1, 4), dp_accounting.SelfComposedDpEvent(step, np.int8(100)))
    typed = PatchPrivacyAccountant().compose(event, 3)
    plain = PatchPrivacyAccountant().compose(
        RandomCropDpEvent(
            0.25,
            dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(0.125, dp_accounting.GaussianDpEvent(2.0)), 300
            ),
        )
    )
    assert typed.get_epsilon(np.float32(0.125)) == plain.get_epsilon(0.125)
    assert typed.get_delta(np.int8(1)) == plain.get_delta(1.0)
    for wrong in ("1", True, math.nan, [0.5], -1):
        with pytest.raises(ValueError, match="target_delta must be"):
            typed.get_epsilon(wrong)
    refused = PatchPrivacyAccountant().supports(RandomCropDpEvent(True, gaussian))
    assert not refused


def random_phases(rng: np.random.Generator) -> list[tuple[Any, int]]:
    found = []
    for _ in range(int(rng.integers(1, 3))):
        rate = float(np.exp(rng.uniform(-5, 0)))
        scheme: Any = pdp.Poisson(sampling_probability=rate)
        if rng.random() < 0.5:
            scheme = pdp.FixedSize(max(1, round(100 * rate)), 100)
        plan = full(noise_multiplier=float(np.exp(rng.uniform(-1, 2))), sampling=scheme)
        found.append((plan.step, int(rng.integers(1, 200))))
    return found


def test_bounds_by_hits_hold() -> None:
    """Lemma 1: closed bounds against certified ones, at most 0.1 % above the truth."""
    from patchdp.composition import prove
    from patchdp.composition.conversions import renyi

    rng = np.random.default_rng(7)
    close = 0
    for _ in range(12):
        phases = random_phases(rng)
        log_delta = float(rng.uniform(-40, -1))
        closed = extremes.epsilon_upper(phases, log_delta)
        assert closed >= prove.prove_epsilon(phases, log_delta).lower
        epsilon = np.array([0.0, 0.3 * closed, 0.7 * closed])
        lower = np.array([prove.bracket_log_delta(phases, e)[0] for e in epsilon])
        bound = extremes.log_delta_upper(phases, epsilon)
        assert (bound >= lower).all()
        close += bool(bound[0] < lower[0] + 3)
        assert extremes.log_distance(phases) >= bound[0]
        for order in (1 + 1e-9, 1.5, 8.0):
            for step, _count in phases:
                assert extremes.renyi(step, order) >= renyi.curve([(step, 1)], [order])[0] * (
                    1 - 1e-9
                )
    assert close > 3  # the bounds are not vacuous


def test_one_step_that_always_hits_is_the_gaussian_itself() -> None:
    step = full(noise_multiplier=0.5).step
    assert extremes.renyi(step, 3.0) == pytest.approx(3 * (2 * 2.0) ** 2 / 2, rel=1e-10)
    gaussian = np.asarray(step.log_delta(np.array([0.0])))
    assert extremes.log_distance([(step, 1)]) == pytest.approx(float(gaussian[0]), rel=1e-9)
