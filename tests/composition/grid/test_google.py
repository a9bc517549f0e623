"""What Google's engine makes of the masses, and whether the stated rounding covers it."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
from dp_accounting.pld import privacy_loss_distribution as google

from patchdp.composition.grid import google as pld
from patchdp.composition.grid.masses import loss_masses
from patchdp.step import StepProfile, fixed_size_pair


def step(rate: float, mu: float) -> StepProfile:
    return StepProfile(((1.0, fixed_size_pair(rate=rate, mu=mu)),), attainable=True)


@pytest.mark.parametrize("steps", [1, 2, 100])
def test_agrees_with_googles_own_gaussian(steps: int) -> None:
    ours = pld.privacy_loss_distribution(
        [(loss_masses(step(1.0, 0.5), interval=1e-3, log_tail=-60.0), steps)]
    )
    theirs = google.from_gaussian_mechanism(1.0, value_discretization_interval=1e-3).self_compose(
        steps
    )
    for epsilon in (0.1, 1.0, 5.0):
        assert ours.get_delta_for_epsilon(epsilon) == pytest.approx(
            theirs.get_delta_for_epsilon(epsilon), rel=1e-3
        )


@pytest.mark.parametrize(("mu", "steps", "delta"), [(0.0005, 10**6, 1e-8), (0.5, 100, 1e-6)])
def test_rounding_bound_covers_what_the_fft_loses(mu: float, steps: int, delta: float) -> None:
    interval = 1e-5 if mu < 0.01 else 1e-2
    masses = loss_masses(step(1.0, mu), interval=interval, log_tail=math.log(delta / steps) - 12)
    points = pld.composed_size(masses, steps)
    bound = pld.rounding_bound(masses, steps, points)
    run = pld.privacy_loss_distribution([(masses, steps)])
    distance = 2 * mp.mpf(mu) * mp.sqrt(steps)
    for epsilon in (0.5, 2.0, 5.0):
        truth = mp.ncdf(distance / 2 - epsilon / distance) - mp.exp(epsilon) * mp.ncdf(
            -distance / 2 - epsilon / distance
        )
        assert run.get_delta_for_epsilon(epsilon) + bound >= truth


def test_nothing_to_compose_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one phase"):
        pld.privacy_loss_distribution([])
