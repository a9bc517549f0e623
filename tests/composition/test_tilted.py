"""Tilted composition against exact convolutions of small discrete laws, at any tilt and window."""

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

from patchdp.composition import tilted
from patchdp.composition.masses import LossMasses, loss_masses
from patchdp.step import StepProfile, fixed_size_pair

mp.mp.dps = 40


def small_masses(weights: list[int], infinity: int, h: float) -> LossMasses:
    """A symmetric loss law on `-n..n` whose masses are exact multiples of one small number."""
    scale = 2.0 * sum(weights) + infinity + 1
    log_m = np.log(np.maximum(np.array(weights, dtype=float), 1e-200) / scale)
    n = len(weights) - 1
    used = sum(w / scale * (1 + math.exp(-k * h)) for k, w in enumerate(weights))
    atom = 1 - used - infinity / scale
    assert n >= 1 and atom > 0
    return LossMasses(
        h, log_m, math.log(atom), math.log(infinity / scale) if infinity else -math.inf, -math.inf
    )


def convolve(phases: list[tuple[LossMasses, int]]) -> tuple[dict[int, Fraction], Fraction]:
    """The composed law by exact rational arithmetic of the floats, and the mass not at infinity."""
    total: dict[int, Fraction] = {0: Fraction(1)}
    finite = Fraction(1)
    for masses, count in phases:
        one = [(k - masses.size + 1, Fraction(float(p)))
               for k, p in enumerate(masses.linear()[0])]  # fmt: skip
        for _ in range(count):
            fresh: Counter[int] = Counter()
            for i, p in total.items():
                for k, w in one:
                    fresh[i + k] += p * w
            total = fresh
            finite *= 1 - Fraction(masses.linear()[1])
    return total, finite


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 50), min_size=2, max_size=5),
            st.sampled_from([0, 0, 1]),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([0.05, 0.5, 3.0]),
    st.floats(0.05, 60.0),
    st.floats(-200.0, -1.0),
    st.floats(0.0, 1.05),
)
@settings(max_examples=80)
def test_any_tilt_and_window_stays_above_the_exact_convolution(
    laws: list[tuple[list[int], int, int]], h: float, tilt: float, target: float, where: float
) -> None:
    phases = [(small_masses(weights, infinity, h), count) for weights, infinity, count in laws]
    composed = tilted.compose(phases, tilt=tilt, log_target=target)
    law, finite = convolve(phases)
    epsilon = where * h * max(law)
    truth = mp.mpf(1) - mp.mpf(finite.numerator) / finite.denominator
    for k, p in law.items():
        gap = mp.mpf(k) * mp.mpf(h) - mp.mpf(epsilon)
        if gap > 0:
            truth += mp.mpf(p.numerator) / p.denominator * -mp.expm1(-gap)
    if truth > 0:
        assert composed.log_delta_upper(epsilon) >= float(mp.log(truth)) - 1e-12


def test_the_right_tilt_is_sharp() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=0.02, mu=0.5)),), attainable=True)
    masses = loss_masses(step, interval=5e-3, log_tail=-80.0)
    phases = [(masses, 300)]
    tilt = tilted.saddle(phases, log_delta=-14.0)
    composed = tilted.compose(phases, tilt=tilt, log_target=-14.0)
    epsilon = composed.epsilon_upper(-14.0)
    plain = np.array([1.0])
    probabilities = masses.linear()[0]
    # Repeated squaring of the plain law: an FFT-free convolution is exact to rounding of positives.
    power, law, count = probabilities, plain, 3
    while count:
        if count & 1:
            law = np.convolve(law, power)
        count >>= 1
        if count:
            power = np.convolve(power, power)
    three = tilted.compose([(masses, 3)], tilt=tilt, log_target=-14.0)
    losses = masses.interval * (np.arange(len(law)) - 3 * (masses.size - 1))
    above = losses > 1.0
    truth = math.log(float(law[above] @ -np.expm1(1.0 - losses[above])))
    assert truth <= three.log_delta_upper(1.0) < truth + 1e-4
    _, sharp = composed.log_delta_sharpness(epsilon)
    assert sharp
    assert composed.log_delta_upper(epsilon) <= -14.0 < composed.log_delta_upper(epsilon * 0.999)


def test_below_the_window_nothing_is_claimed() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    masses = loss_masses(step, interval=0.01, log_tail=-80.0)
    composed = tilted.compose([(masses, 400)], tilt=3.0, log_target=-60.0)
    assert composed.first > 0
    assert composed.log_delta_upper(composed.first * 0.01 - 1e-6) == 0.0


def test_cells_beyond_the_memory_cap_are_refused() -> None:
    step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    masses = loss_masses(step, interval=1e-4, log_tail=-60.0)
    with pytest.raises(tilted.GridTooLarge, match="grid points"):
        tilted.compose([(masses, 10**12)], tilt=1.0, log_target=-10.0)


def test_losses_known_up_to_a_share_cost_that_share_of_every_step_and_of_epsilon() -> None:
    step, share, steps = StepProfile(((1.0, fixed_size_pair(rate=0.2, mu=1.0)),), True), 1e-3, 40
    exact_losses = replace(loss_masses(step, interval=0.02, log_tail=-40.0), loss_rounding=0.0)
    moved = replace(exact_losses, loss_rounding=share)
    tilt = tilted.saddle([(exact_losses, steps)], log_delta=-14.0)
    plain, slack = (
        tilted.compose([(masses, steps)], tilt=tilt, log_target=-14.0)
        for masses in (exact_losses, moved)
    )
    middle = plain.epsilon_upper(-14.0)
    for epsilon in (0.97 * middle, middle, 1.03 * middle):
        least = plain.log_delta_upper(epsilon * (1 - share)) + 0.74 * share * steps
        assert slack.log_delta_upper(epsilon) >= least
        # and each of the two is needed
        assert least > plain.log_delta_upper(epsilon) + 0.74 * share * steps + 1e-4
