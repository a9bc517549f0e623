"""Layers against exact convolutions, against the masses they split, and one grid for all losses."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import profiles

from patchdp.composition import certify, layers, tilted
from patchdp.composition.masses import (
    LargeMasses,
    LossMasses,
    large_masses,
    largest_loss,
    small_masses,
)
from patchdp.step import StepProfile, fixed_size_pair

mp.mp.dps = 40

Law = dict[int, Fraction]


def step(rate: float | Fraction, mu: float) -> StepProfile:
    return StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)


def law(logs: np.ndarray, first: int) -> Law:
    return {first + k: Fraction(float(p)) for k, p in enumerate(np.exp(logs)) if p > 0}


def two_sided(large: LargeMasses) -> Law:
    upper = law(large.log_positive, large.first)
    lower = law(large.log_negative[::-1], -large.first - len(large.log_positive) + 1)
    return dict(Counter(upper) + Counter(lower))


def power(rows: list[tuple[Law, int]]) -> Law:
    total: Law = {0: Fraction(1)}
    for one, count in rows:
        for _ in range(count):
            fresh: Counter[int] = Counter()
            for i, p in total.items():
                for k, w in one.items():
                    fresh[i + k] += p * w
            total = fresh
    return total


def log_delta(total: Law, h: float, epsilon: float) -> mp.mpf:
    found = mp.mpf(0)
    for k, p in total.items():
        gap = mp.mpf(k) * mp.mpf(h) - mp.mpf(epsilon)
        if gap > 0:
            found += mp.mpf(p.numerator) / p.denominator * -mp.expm1(-gap)
    return mp.log(found) if found > 0 else mp.mpf("-inf")


@example(kinds=[([1, 1, 1, 1], [1], 1e-30, 1)], h=3.0, tilt=38.0, where=0.0)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 50), min_size=2, max_size=4),
            st.lists(st.integers(1, 50), min_size=1, max_size=4),
            st.sampled_from([1e-30, 1e-12, 1e-3, 1.0, 30.0]),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([0.05, 0.5, 3.0]),
    st.floats(0.05, 40.0),
    st.floats(0.0, 1.02),
)
@settings(max_examples=80)
def test_a_layer_stays_above_the_exact_difference_of_convolutions(
    kinds: list[tuple[list[int], list[int], float, int]], h: float, tilt: float, where: float
) -> None:
    rows = []
    for below, above, size, count in kinds:
        scale = 2.0 * sum(below) + size * sum(above) + 1
        n = len(below) - 1
        logs = np.log(np.array(below, dtype=float) / scale)
        used = sum(w / scale * (1 + math.exp(-k * h)) for k, w in enumerate(below))
        atom = 1 - used - size * sum(above) / scale
        atom = max(atom, 1e-3)  # no probability law then, but the bound holds for any masses
        small = LossMasses(h, logs, math.log(atom), -math.inf, -math.inf)
        large = LargeMasses(h, n, np.log(size * np.array(above) / scale), -math.inf)
        rows.append((small, large, count))
    laws = [(law(s.log_probabilities, 1 - s.size), two_sided(w), n) for s, w, n in rows]
    small_law = power([(s, n) for s, _, n in laws])
    both = [(Counter(s) + Counter(w), n) for s, w, n in laws]
    total = power([(dict(b), n) for b, n in both])
    exact = {k: p - small_law.get(k, Fraction(0)) for k, p in total.items()}
    epsilon = where * h * max(total)
    truth = log_delta(exact, h, epsilon)
    layer = layers.compose_layer(rows, tilt=tilt, log_target=-20.0, aim=(epsilon, epsilon))
    # Chernoff's bound at the window's end may stand for mass far below the target, no more.
    assert layer.log_delta_upper(epsilon) >= min(truth, 0) - mp.mpf(1e-12)


def test_a_thin_layer_is_known_relative_to_its_own_mass() -> None:
    """The transform of 1e-30 beside a body of 1: the error must not be 1e-16 of the body."""
    small = small_masses(step(1e-3, 0.5), interval=0.01, cells=30)
    thin = LargeMasses(0.01, 30, np.log([1e-30, 2e-30]), -math.inf)
    layer = layers.compose_layer([(small, thin, 7)], tilt=2.0, log_target=-70.0, aim=(0.2, 0.2))
    body = law(small.log_probabilities, 1 - small.size)
    others = power([(body, 6)])
    exact = Counter()
    for i, p in others.items():
        for k, w in two_sided(thin).items():
            exact[i + k] += 7 * p * w
    truth = log_delta(dict(exact), 0.01, 0.2)
    found, sharp = layer.log_delta_sharpness(0.2)
    assert truth <= found <= truth + 2e-3
    assert sharp


@given(profiles(), st.floats(0.05, 0.9), st.integers(2, 40))
@settings(max_examples=40)
def test_small_and_large_masses_are_the_masses_cut_in_two(
    profile: StepProfile, where: float, cells: int
) -> None:
    top = largest_loss(profile, -60.0)
    h = top / 97
    first = max(int(where * 97), 1)
    whole = small_masses(profile, interval=h, cells=97)
    small = small_masses(profile, interval=h, cells=first)
    large = large_masses(profile, interval=h, first=first, last=97)
    joined = np.full(98, -np.inf)
    joined[: first + 1] = small.log_positive
    joined[first:] = np.logaddexp(joined[first:], large.log_positive)
    np.testing.assert_allclose(joined, whole.log_positive, atol=1e-11, rtol=0)
    assert large.log_infinity == pytest.approx(whole.log_infinity, abs=1e-12)
    # what the small masses send to infinity is the large masses and their infinity, on any grid
    coarse = large_masses(
        profile,
        interval=first * h / cells,
        first=cells,
        last=math.ceil(97 * cells / first),
        cut=first * h,
        top=97 * h,
    )
    rest = np.logaddexp(np.logaddexp.reduce(coarse.log_positive), coarse.log_infinity)
    assert rest == pytest.approx(small.log_infinity, abs=1e-11)
    mirrored = np.logaddexp.reduce(coarse.log_negative)
    assert mirrored == pytest.approx(small.log_bottom, abs=1e-11)


@pytest.mark.parametrize(
    ("rate", "mu", "steps", "delta"),
    [
        (1e-6, 1.0, 40, 1e-5),  # delta lies just below the total variation distance
        (1e-6, 1.0, 40, 1e-12),
        (1.83e-7, 4 / 3, 10**5, 1e-5),
        (4.5e-7, 2.0, 10**5, 1e-7),
    ],
)
def test_few_participations_lie_above_one_large_loss_and_settle(
    rate: float, mu: float, steps: int, delta: float
) -> None:
    one = step(rate, mu)
    loose, tight = (
        certify.epsilon_upper([(one, steps)], log_delta=math.log(delta), tolerance=t)
        for t in (1e-2, 1e-3)
    )
    assert tight.value <= loose.value * 1.001
    assert loose.value == pytest.approx(tight.value, rel=1.1e-2)
    # A single step's delta is a lower bound, and all steps' sum an upper one, at epsilon 0.
    assert float(one.log_delta(tight.value)) <= math.log(delta)


def test_layers_agree_with_one_grid_where_both_can() -> None:
    one = step(3e-6, 1.0)
    phases, log_delta_ = [(one, 10**4)], math.log(1e-5)
    layered = certify.epsilon_upper(phases, log_delta=log_delta_, tolerance=1e-4)
    assert layered.engine == "layers"
    masses = [(small_masses(one, interval=2e-5, cells=150_000), 10**4)]
    tilt = tilted.saddle(masses, epsilon=layered.value)
    single = tilted.compose(masses, tilt=tilt, log_target=log_delta_).epsilon_upper(log_delta_)
    assert layered.value == pytest.approx(single, rel=5e-3)
