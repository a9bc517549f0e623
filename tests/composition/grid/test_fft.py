"""Composition on a grid against exact convolutions of small laws, at any tilt, window and cut."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.composition.grid.cells import GridTooLarge
from patchdp.composition.grid.fft import compose
from patchdp.composition.grid.masses import GridLaw, loss_masses
from patchdp.step import StepProfile, fixed_size_pair

mp.mp.dps = 40


def law_of(weights: list[int], centre: int, infinity: int, h: float, offset: float) -> GridLaw:
    """A law whose masses are exact multiples of one small number; most of it stays at 0."""
    scale = 4.0 * sum(weights) + infinity + 1
    logs = np.log(np.maximum(np.array(weights, dtype=float), 1e-200) / scale)
    rest = 1 - sum(weights) / scale - infinity / scale
    logs[centre] = math.log(math.exp(logs[centre]) + rest)
    log_infinity = math.log(infinity / scale) if infinity else -math.inf
    return GridLaw(h, -centre, logs, log_infinity, offset, loss_rounding=0.0)


def convolve(rows: list[tuple[GridLaw, int]]) -> tuple[dict[int, Fraction], Fraction]:
    """The composed law by exact rational arithmetic of the floats, and the mass not at infinity."""
    total: dict[int, Fraction] = {0: Fraction(1)}
    finite = Fraction(1)
    for law, count in rows:
        one = [(law.first + k, Fraction(float(np.exp(p))))
               for k, p in enumerate(law.log_probabilities)]  # fmt: skip
        for _ in range(count):
            fresh: Counter[int] = Counter()
            for i, p in total.items():
                for k, w in one:
                    fresh[i + k] += p * w
            total = fresh
            finite *= 1 - Fraction(math.exp(law.log_infinity))
    return total, finite


LAWS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 50), min_size=3, max_size=7),
        st.sampled_from([0, 0, 1]),
        st.integers(1, 3),
        st.integers(0, 2),
        st.floats(-0.3, 0.3),
    ),
    min_size=1,
    max_size=2,
)


@given(
    LAWS,
    st.sampled_from([0.05, 0.5, 3.0]),
    st.floats(0.05, 60.0),
    st.floats(-200.0, -1.0),
    st.floats(0.0, 1.05),
    st.floats(0.0, 0.4),
    st.sampled_from([-1.0, 0.0, 0.3, 0.9]),
)
@settings(max_examples=200, deadline=None)
def test_both_bounds_hold_for_the_exact_convolution(laws, h, tilt, target, where, width, share):
    # Theorem 20, Theorem 21, Theorem 31
    rows = [
        (law_of(weights, centre, infinity, h, offset), count)
        for weights, infinity, count, centre, offset in laws
    ]
    exact, finite = convolve(rows)
    offset = sum(law.offset * count for law, count in rows)
    epsilon = max(where * (h * max(exact) + offset), 0.0)
    aim = (max(epsilon - width, 0.0), epsilon + width)
    composed = compose(rows, tilt=tilt, log_target=target, aim=aim, cut=share * aim[0])
    inside = mp.mpf(0)
    for k, p in exact.items():
        gap = mp.mpf(k) * mp.mpf(h) + mp.mpf(offset) - mp.mpf(epsilon)
        if gap > 0:
            inside += mp.mpf(p.numerator) / p.denominator * -mp.expm1(-gap)
    # what is infinite counts for the upper bound only
    outside = mp.mpf(1) - mp.mpf(finite.numerator) / finite.denominator
    # losses are read at an offset that is off by an ulp or so
    near = 1e-12 + 1e-14 / max(h, 1e-3)
    if offset == 0 and inside + outside > 0:
        upper = composed.log_delta_upper(epsilon)
        assert upper >= float(mp.log(inside + outside)) - near
    lower = composed.log_delta_lower(epsilon)
    assert lower == -math.inf or lower <= float(mp.log(inside)) + near


def test_the_right_tilt_is_sharp_from_both_sides() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=0.02, mu=0.5)),), attainable=True)
    masses = loss_masses(step, interval=5e-3, log_tail=-80.0)
    probabilities = masses.linear()[0]
    law = np.convolve(np.convolve(probabilities, probabilities), probabilities)
    losses = masses.interval * (np.arange(len(law)) - 3 * (masses.size - 1))
    above = losses > 1.0
    truth = math.log(float(law[above] @ -np.expm1(1.0 - losses[above])))
    for cut in (-1.0, 0.0, 0.25):
        three = compose([(masses.law, 3)], tilt=6.0, log_target=-14.0, aim=(0.9, 1.1), cut=cut)
        assert truth <= three.log_delta_upper(1.0) < truth + 2e-4
        assert truth - 2e-4 < three.log_delta_lower(1.0) <= truth


def test_what_is_left_of_rare_large_losses_is_known_relative_to_itself() -> None:
    # A large loss has the chance 1e-80: beside 1 the transform would lose it.
    logs = np.array([-400.0, 0.0, math.log(0.05), -180.0])
    logs[1] = math.log1p(-0.05)
    law = GridLaw(0.5, -1, logs, -math.inf, loss_rounding=0.0)
    composed = compose([(law, 4)], tilt=1.0, log_target=-180.0, aim=(0.9, 0.9), cut=0.5)
    assert composed.apart
    total, _ = convolve([(law, 4)])
    rest = {k: p for k, p in total.items() if 0.5 * k > 2.2}
    assert rest
    # four small losses reach 2, less than the question
    far = compose([(law, 4)], tilt=1.0, log_target=-180.0, aim=(2.2, 2.2), cut=0.5)
    truth = sum(mp.mpf(p.numerator) / p.denominator * -mp.expm1(2.2 - 0.5 * k)
                for k, p in rest.items())  # fmt: skip
    assert float(mp.log(truth)) == pytest.approx(far.log_delta_upper(2.2), abs=1e-9)
    assert float(mp.log(truth)) == pytest.approx(far.log_delta_lower(2.2), abs=1e-9)


def test_outside_the_aim_little_is_claimed() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=0.3, mu=0.5)),), attainable=True)
    masses = loss_masses(step, interval=2e-2, log_tail=-60.0)
    composed = compose([(masses.law, 400)], tilt=3.0, log_target=-60.0, aim=(30.0, 31.0))
    assert composed.log_delta_lower(29.0) == composed.log_delta_lower(32.0) == -math.inf
    low = composed.interval * composed.first - 1.0
    if low > 0:
        assert composed.log_delta_upper(low) == 0.0


def test_windows_beyond_the_budget_are_refused() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    law = loss_masses(step, interval=1e-4, log_tail=-60.0).law
    with pytest.raises(GridTooLarge, match="grid points"):
        compose([(law, 10**12)], tilt=1.0, log_target=-10.0, aim=(1.0, 1.0))


def test_losses_known_up_to_a_share_cost_that_share_of_every_step_and_of_epsilon() -> None:
    step, share, steps = StepProfile(((1.0, fixed_size_pair(rate=0.2, mu=1.0)),), True), 1e-3, 40
    exact = replace(loss_masses(step, interval=0.02, log_tail=-40.0).law, loss_rounding=0.0)
    moved = replace(exact, loss_rounding=share)
    plain, slack = (
        compose([(law, steps)], tilt=0.5, log_target=-14.0, aim=(0.0, 200.0))
        for law in (exact, moved)
    )
    middle = plain.epsilon_upper(-14.0)
    for epsilon in (0.97 * middle, middle, 1.03 * middle):
        least = plain.log_delta_upper(epsilon * (1 - share)) + 0.74 * share * steps
        assert slack.log_delta_upper(epsilon) >= least
        # and each of the two is needed
        assert least > plain.log_delta_upper(epsilon) + 0.74 * share * steps + 1e-4
        most = plain.log_delta_lower(epsilon * (1 + share)) - 0.74 * share * steps
        assert slack.log_delta_lower(epsilon) <= most
