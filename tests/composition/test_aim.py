"""The sketch that chooses grids, against the law itself; and what its choices must achieve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from patchdp.composition import certify, exact, tilted
from patchdp.composition.aim import Sketch
from patchdp.composition.masses import loss_masses, small_masses
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair
from patchdp.step.moments import log_mgf

STEPS = [
    StepProfile(((1.0, fixed_size_pair(rate=1e-4, mu=1.0)),), attainable=True),
    StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.01)),), attainable=True),
    StepProfile(((1.0, poisson_pair(rate=0.1, inclusion=0.3, mu=3.0)),), attainable=True),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("tilt", [0.5, 4.0])
def test_moments_are_those_of_the_law(step: StepProfile, tilt: float) -> None:
    sketch = Sketch([(step, 7)], log_tail=-200.0)
    assert sketch.log_moment(tilt) == pytest.approx(7 * log_mgf(step, tilt), rel=1e-6)


@pytest.mark.parametrize("step", STEPS)
def test_small_and_large_losses_are_those_of_the_masses(step: StepProfile) -> None:
    sketch = Sketch([(step, 1)], log_tail=-60.0)
    top = sketch.top(-14.0)
    masses = small_masses(step, interval=top / 4000, cells=4000)
    assert masses.log_infinity == pytest.approx(-14.0, abs=0.7)
    bare = np.exp(masses.log_probabilities)
    bare[0] -= math.exp(masses.log_bottom)
    assert sketch.log_moment(3.0, top) == pytest.approx(
        math.log(float(bare @ np.exp(3.0 * masses.losses))), rel=0.1
    )


@pytest.mark.parametrize("step", STEPS)
def test_an_interval_costs_about_what_is_allowed(step: StepProfile) -> None:
    count, tilt, allowed = 50, 2.0, 1e-3
    sketch = Sketch([(step, count)], log_tail=-60.0)
    interval = sketch.interval(tilt, allowed=allowed)
    masses = loss_masses(step, interval=interval, log_tail=-60.0)
    rise = count * (masses.log_mgf(tilt) - log_mgf(step, tilt, top=sketch.largest))
    assert 0 < rise < 2 * allowed


def test_steep_lopsided_losses_leave_the_asked_epsilon_in_the_window() -> None:
    """One large loss among tiny ones: under the tilt most mass lies far above epsilon."""
    step = StepProfile(((1.0, fixed_size_pair(rate=1e-5, mu=2.0)),), attainable=True)
    masses = [(loss_masses(step, interval=1e-3, log_tail=-60.0), 3)]
    for epsilon in (0.05, 0.3, 2.0):
        composed = tilted.compose(
            masses, tilt=30.0, log_target=-14.0, aim=(0.9 * epsilon, 1.1 * epsilon)
        )
        assert composed.first * composed.interval <= 0.9 * epsilon
        found = certify.log_delta_upper([(step, 3)], epsilon=np.array([epsilon]))[0]
        # The sum over the steps is nearly all there is.
        near = math.log(3) + float(step.log_delta(epsilon))
        assert near < found < near + 1e-2


@pytest.mark.parametrize(
    ("rate", "mu", "delta"), [(1e-7, 1.0, 1e-9), (1e-6, 2.0, 1e-5), (1e-5, 2.0, 1e-9)]
)
def test_without_a_reference_the_tolerance_is_kept(rate: float, mu: float, delta: float) -> None:
    """Few participations: the certified value beside the exact engine's, which it never saw."""
    step = StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)
    phases, log_delta = [(step, 30_000)], math.log(delta)
    found = certify.epsilon_upper(phases, log_delta=log_delta)
    if found.value > 0:
        log_at, log_below = exact.log_delta_estimate(
            phases, np.array([found.value, found.value / 1.0011 - 1e-8]).clip(0)
        )
        assert log_at <= log_delta + 1e-9
        assert log_below > log_delta - 1e-9
