"""One person in several images, views clipped apart, pixel noise: plans against brute force."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from strategies import inclusions, noises

import patchdp as pdp
from patchdp.geometry import RandomResizedCrop
from patchdp.step import FixedSize, PixelNoise, Poisson, images_per_person, step_profile

Array = npt.NDArray[np.float64]

samplings = st.sampled_from(
    [Poisson(1, 50), Poisson(7, 20), Poisson(10, 10), FixedSize(1, 50), FixedSize(7, 20),
     FixedSize(10, 10)]
)  # fmt: skip
EPSILONS = np.array([0.0, 0.01, 0.3, 1.0, 3.0])


def plan(**options: Any) -> pdp.TrainingPlan:
    given = {
        "image": (12, 12),
        "crop": pdp.RandomCrop((4, 4)),
        "patch": pdp.Patch((2, 2)),
        "sampling": pdp.Poisson(5, 20),
        "noise_multiplier": 1.0,
        "steps": 10,
    }
    return pdp.TrainingPlan(**{**given, **options})


def gaussian(distance: float, epsilon: Array) -> Array:
    """The profile of two unit normal laws at a distance."""
    if distance == 0:
        return np.zeros_like(epsilon)
    half, share = distance / 2, epsilon / distance
    return special.ndtr(half - share) - np.exp(epsilon) * special.ndtr(-half - share)


@given(samplings, inclusions, noises)
def test_one_image_is_the_plain_patch(sampling: Any, inclusion: Fraction, noise: float) -> None:
    one = images_per_person(sampling, inclusion=inclusion, mu=1 / noise, images=1)
    plain = step_profile(sampling, inclusion_probability=inclusion, noise_multiplier=noise)
    # Below 1e-290 both run out of numbers.
    assert one.delta(EPSILONS) == pytest.approx(plain.delta(EPSILONS), rel=1e-9, abs=1e-290)


def test_one_image_in_a_plan() -> None:
    assert plan(images_per_person=1) == plan()
    assert plan(images_per_person=1).epsilon(delta=1e-5) == plan().epsilon(delta=1e-5)


@settings(max_examples=25)
@given(samplings, inclusions, noises, st.integers(1, 4))
def test_more_images_never_give_less(
    sampling: Any, inclusion: Fraction, noise: float, images: int
) -> None:
    fewer, more = (
        images_per_person(sampling, inclusion=inclusion, mu=1 / noise, images=k).delta(EPSILONS)
        for k in (images, images + 1)
    )
    assert np.all(more >= fewer * (1 - 1e-9))


def test_more_images_never_give_less_in_a_plan() -> None:
    for sampling in (pdp.Poisson(5, 20), pdp.FixedSize(5, 20)):
        found = [
            plan(sampling=sampling, images_per_person=k).epsilon(delta=1e-5) for k in (1, 2, 3)
        ]
        assert found == sorted(found)
        assert found[0] < found[2]


@settings(max_examples=25)
@given(samplings, inclusions, noises, st.integers(2, 4))
def test_at_epsilon_0_never_above_group_privacy(
    sampling: Any, inclusion: Fraction, noise: float, images: int
) -> None:
    # k replacements one after the other: total variation distances add up.
    one = images_per_person(sampling, inclusion=inclusion, mu=1 / noise, images=1)
    group = images_per_person(sampling, inclusion=inclusion, mu=1 / noise, images=images)
    assert group.delta(0.0) <= min(images * one.delta(0.0), 1) * (1 + 1e-9)


def chain(one: float, epsilon: float, images: int) -> float:
    """Group privacy: delta of `images` images at `images * epsilon` from that of one at epsilon."""
    return one * sum(math.exp(j * epsilon) for j in range(images))


@settings(max_examples=12)
@given(
    st.sampled_from([pdp.Poisson(1, 50), pdp.Poisson(7, 20), pdp.FixedSize(1, 50),
                     pdp.FixedSize(7, 20)]),
    st.sampled_from([2.0, 5.0, 100.0]), st.integers(2, 4), st.sampled_from([1, 10, 100]),
    st.sampled_from([1e-2, 1e-5, 1e-9]),
)  # fmt: skip
def test_never_above_group_privacy(
    sampling: Any, noise: float, images: int, steps: int, delta: float
) -> None:
    one = plan(sampling=sampling, noise_multiplier=noise, steps=steps)
    group = one.replace(images_per_person=images)
    each = one.epsilon(delta)
    promised = chain(one.delta(each), each, images)
    assert group.delta(images * each) <= promised * (1 + 1e-3)
    if promised < 1:
        # beside a delta that just suffices for epsilon 0, a ten-thousandth of it is nothing
        assert group.epsilon(promised) <= images * each * (1 + 5e-3) + 1e-4


def test_group_privacy_is_the_better_bound_under_weak_sampling() -> None:
    one = plan(
        sampling=pdp.FixedSize(40, 2000), noise_multiplier=2.0, crop=pdp.RandomCrop((12, 12))
    )
    group = one.replace(images_per_person=3)
    # The mixture of amplified pairs alone: 7.7; the chain: three times 1.62.
    assert 4.85 < group.epsilon(1e-6) < 4.87
    assert group.epsilon(1e-6, method="composed") == group.epsilon(1e-6)
    assert group.certificate(1e-6).prover == "group privacy"
    each = group.epsilon(1e-6) / 3
    assert chain(one.delta(each), each, 3) == pytest.approx(1e-6, rel=0.05)
    found = pdp.epsilons([one, group], 1e-6, method="exact_estimate")
    assert found[1] == pytest.approx(4.858, abs=0.003)
    solved = group.solve("noise_multiplier", epsilon=2.0, delta=1e-6)
    assert 1.99 < solved.epsilon(1e-6) <= 2.0
    both = group + group.replace(noise_multiplier=3.0, steps=5)
    assert group.epsilon(1e-6) < both.epsilon(1e-6) < 1.5 * group.epsilon(1e-6)


def divergence(
    p: list[tuple[float, Array]], q: list[tuple[float, Array]], epsilon: float, step: float = 0.1
) -> float:
    """Hockey-stick divergence of two mixtures of unit normal laws in the plane, on a grid."""
    reach = 8 + max(float(np.abs(mean).max()) for _, mean in [*p, *q])
    axis = np.arange(-reach, reach, step)
    x, y = np.meshgrid(axis, axis)

    def density(mixture: list[tuple[float, Array]]) -> Array:
        total = np.zeros_like(x)
        for weight, mean in mixture:
            if weight > 0:
                total += weight * np.exp(-((x - mean[0]) ** 2 + (y - mean[1]) ** 2) / 2)
        return total / (2 * math.pi)

    excess = density(p) - math.exp(epsilon) * density(q)
    return float(np.maximum(excess, 0).sum() * step * step)


def in_disk(rng: np.random.Generator, count: int, radius: float) -> Array:
    """Points on the circle or inside, or the extreme pair of directions."""
    angle = rng.uniform(0, 2 * math.pi, count)
    if rng.random() < 0.4:
        angle = rng.choice([0.0, math.pi], count)
    size = radius * (1.0 if rng.random() < 0.7 else np.sqrt(rng.random(count)))
    return np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)


def outcomes(
    rates: list[tuple[float, tuple[int, ...]]],
    hit: float,
    seen: Array,
    missed: Array,
    other: Array | None,
) -> list[tuple[float, Array]]:
    """The mixture of one step: which images are in the batch, which of their crops hit."""
    found = []
    for share, batch in rates:
        for hits in itertools.product((0, 1), repeat=len(batch)):
            weight = share * math.prod(hit if h else 1 - hit for h in hits)
            total = np.zeros(2)
            for image, h in zip(batch, hits, strict=True):
                total = total + (seen[image] if h else missed[image])
            if other is not None:  # the rest of the batch is filled with other images
                total = total + (len(missed) - len(batch)) * other
            found.append((weight, total))
    return found


def batches(sampling: Poisson | FixedSize, images: int) -> list[tuple[float, tuple[int, ...]]]:
    """Which of the person's images are in the batch, with the probability of just that."""
    found = []
    for size in range(images + 1):
        for batch in itertools.combinations(range(images), size):
            if isinstance(sampling, Poisson):
                q = float(sampling.probability)
                share = q**size * (1 - q) ** (images - size)
            else:
                rest = sampling.dataset_size - images, sampling.batch_size - size
                share = (
                    math.comb(*rest) / math.comb(sampling.dataset_size, sampling.batch_size)
                    if 0 <= rest[1] <= rest[0]
                    else 0.0
                )
            found.append((share, batch))
    return found


@pytest.mark.parametrize("images", [2, 3])
@pytest.mark.parametrize("sampling", [Poisson(6, 20), Poisson(20, 20), FixedSize(6, 20)])
def test_no_adversary_in_the_plane_exceeds_the_profile(sampling: Any, images: int) -> None:
    rng = np.random.default_rng(images)
    closest = 0.0
    for trial in range(20):
        hit, noise = rng.choice([0.2, 0.5, 0.9]), rng.choice([0.6, 1.0, 2.5])
        mu = 1 / noise
        before, after, missed = (in_disk(rng, images, mu) for _ in range(3))
        if trial < 4:  # the worst that is known: all hits one way, before and after opposite
            before, after = (sign * np.array([[mu, 0.0]] * images) for sign in (1, -1))
            missed = after if trial % 2 else np.zeros((images, 2))
        # With a fixed size every image that is out of the batch has another in its place.
        other = None if isinstance(sampling, Poisson) else in_disk(rng, 1, mu)[0]
        if other is not None and trial < 4:
            other = np.array([-mu, 0.0])
        rates = batches(sampling, images)
        p = outcomes(rates, hit, before, missed, other)
        q = outcomes(rates, hit, after, missed, other)
        profile = images_per_person(sampling, inclusion=Fraction(hit), mu=mu, images=images)
        for epsilon in (0.0, 0.4, 1.2):
            claimed = float(profile.delta(epsilon))
            # The edge of the positive part costs the grid about step^2 / 100, relatively.
            found = divergence(p, q, epsilon)
            assert found <= claimed * (1 + 5e-4) + 1e-7, (trial, epsilon)
            closest = max(closest, found / claimed)
    # The bound is not empty: some adversary comes near.
    assert closest > 0.8


def test_the_general_form_by_fixed_size() -> None:
    # Two images of four, batches of two, written out.
    sampling, hit, mu = FixedSize(2, 4), Fraction(1, 3), 0.7
    drawn = {0: Fraction(1, 6), 1: Fraction(4, 6), 2: Fraction(1, 6)}
    two = drawn[2] * hit**2
    one = drawn[1] * hit + drawn[2] * 2 * hit * (1 - hit)
    eta = float(one + two)
    profile = images_per_person(sampling, inclusion=hit, mu=mu, images=2)
    outer = np.log1p(eta * np.expm1(EPSILONS))
    expected = float(one) * gaussian(2 * mu, EPSILONS) + float(two) * gaussian(4 * mu, EPSILONS)
    assert profile.delta(outer) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("clipped", "distance"), [("summed", 1.0), ("averaged", 1 / 3)])
def test_views_clipped_apart(clipped: Any, distance: float) -> None:
    sampling = pdp.FixedSize(20, 20)
    found = plan(sampling=sampling, views=3, views_clipped=clipped)
    p = float(found.inclusion.probability)
    eta = 1 - (1 - p) ** 3
    outer = np.log1p(eta * np.expm1(EPSILONS))
    expected = sum(
        math.comb(3, j) * p**j * (1 - p) ** (3 - j) * gaussian(2 * j * distance, EPSILONS)
        for j in (1, 2, 3)
    )
    assert found.step.delta(outer) == pytest.approx(expected, rel=1e-9)
    # Never more than one clipping norm for each view, all of them hit at once.
    coarse = step_profile(
        sampling,
        inclusion_probability=found.hit_probability,
        noise_multiplier=1 / (3 * distance),
    )
    assert np.all(found.step.delta(EPSILONS) <= coarse.delta(EPSILONS) * (1 + 1e-9))


def test_how_views_are_clipped_orders_the_guarantees() -> None:
    for sampling in (pdp.Poisson(5, 20), pdp.FixedSize(5, 20), pdp.FixedSize(20, 20)):
        together, averaged, summed = (
            plan(sampling=sampling, views=3, views_clipped=how).epsilon(delta=1e-5)
            for how in ("together", "averaged", "summed")
        )
        one = plan(sampling=sampling).epsilon(delta=1e-5)
        assert one < together < summed
        assert averaged <= together


def test_shuffled_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="images_per_person above 1 is not proved for Shuffle"):
        plan(sampling=pdp.Shuffle(), steps=None, epochs=3, images_per_person=2)
    with pytest.raises(ValueError, match="images_per_person 21 is larger than dataset_size 20"):
        _ = plan(sampling=pdp.FixedSize(5, 20), images_per_person=21).step


@given(st.floats(1e-3, 1e6), st.integers(1, 4), st.floats(1e-3, 100.0), st.integers(1, 10**6))
def test_pixel_noise_is_the_distance_of_two_normal_laws(
    std: float, channels: int, value_range: float, pixels: int
) -> None:
    found = PixelNoise(std=std, channels=channels, value_range=value_range).visible(pixels=pixels)
    with mpmath.workdps(50):
        change = mpmath.mpf(value_range) * mpmath.sqrt(pixels * channels)
        exact = mpmath.erf(change / (mpmath.mpf(std) * mpmath.sqrt(8)))
        assert exact * (1 - mpmath.mpf("1e-15")) <= found <= min(exact * (1 + 1e-13), 1)


def test_pixel_noise_in_a_plan() -> None:
    noise = PixelNoise(std=8.0, channels=3, value_range=1.0)
    quiet, loud = plan(), plan(pixel_noise=noise)
    tau = noise.visible(pixels=4)
    p = quiet.inclusion.probability
    assert float(loud.hit_probability) == pytest.approx(float(p) * tau, rel=1e-12)
    assert loud.epsilon(delta=1e-5) < quiet.epsilon(delta=1e-5)
    assert loud.epsilon_bounds(delta=1e-5).lower is None
    # Noise that hides nothing changes nothing; views bring noise of their own.
    faint = plan(pixel_noise=PixelNoise(std=1e-3, channels=3, value_range=1.0))
    assert faint.epsilon(delta=1e-5) == quiet.epsilon(delta=1e-5)
    views = plan(pixel_noise=noise, views=3, views_clipped="together")
    assert float(views.hit_probability) == pytest.approx(1 - (1 - float(p) * tau) ** 3, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"crop": RandomResizedCrop()}, "neither resize nor copy pixels"),
        ({"crop": pdp.RandomCrop((6, 6), padding=1, padding_mode="edge")}, "nor copy pixels"),
        ({"patch": pdp.Patch((2, 2), count=2)}, "single patch"),
        ({"pixel_noise": 3.0}, "must be PixelNoise"),
    ],
)
def test_where_pixel_noise_is_not_proved(options: dict[str, Any], reason: str) -> None:
    noise = PixelNoise(std=1.0, channels=3, value_range=1.0)
    with pytest.raises(ValueError, match=reason):
        plan(**{"pixel_noise": noise, **options})
