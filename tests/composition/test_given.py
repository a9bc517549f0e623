"""Epochs under random allocation composed: stated values, other engines, both roundings."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest

from patchdp.composition import given, prove
from patchdp.composition.given_lower import _atoms, _on_grid, epsilon_lower
from patchdp.step import Poisson, Shuffle, step_profile
from patchdp.step.random_allocation import AllocationProfile

CITYSCAPES = Fraction(66049, 200720)
VALUES = [
    (CITYSCAPES, 1.0, 15, 100, 2975, 8.69, 0.09),
    (CITYSCAPES, 2.0, 15, 100, 2975, 3.124, 0.05),
    (CITYSCAPES, 4.0, 15, 100, 2975, 1.314, 0.03),
    (Fraction(1, 8), 2.0, 15, 100, 2975, 1.031, 0.07),
    (Fraction(66049, 249216), 1.0, 93, 25, 18557, 1.086, 0.03),
]


@pytest.mark.parametrize(("p", "sigma", "rounds", "epochs", "size", "stated", "gap"), VALUES)
def test_stated_values(
    p: Fraction, sigma: float, rounds: int, epochs: int, size: int, stated: float, gap: float
) -> None:
    """Theorem 37 and Theorem 40: the bound, and what is attained beside it."""
    epoch, log_delta = AllocationProfile(p, 1 / sigma, rounds), -math.log(size)
    upper = given.epsilon_upper([(epoch, epochs)], log_delta)
    # Stated as bounds that are up to 0.4 % off; what is proved here is at most that.
    assert stated * (1 - 4e-3) <= upper <= stated + 3e-3
    lower = epsilon_lower(epoch, epochs, log_delta, near=upper)
    assert (1 - gap) * upper <= lower <= upper


@pytest.mark.parametrize(
    ("sigma", "epochs", "delta"), [(1.0, 1, 1e-5), (2.0, 40, 1e-4), (4.0, 300, 1e-6)]
)
def test_one_step_an_epoch_agrees_with_the_other_engines(
    sigma: float, epochs: int, delta: float
) -> None:
    """Polygons through values against masses that are integrated: the same profile, Shuffle's."""
    p = Fraction(1, 3)
    step = step_profile(Shuffle(), inclusion_probability=p, noise_multiplier=sigma)
    epoch, log_delta = AllocationProfile(p, 1 / sigma, 1), math.log(delta)
    truth = prove.estimate_epsilon([(step, epochs)], log_delta)
    found = given.epsilon_upper([(epoch, epochs)], log_delta)
    assert truth * (1 - 1e-7) <= found <= truth * 1.002


@pytest.mark.parametrize(
    ("p", "mu", "rounds", "epochs", "size"), [(*v[:1], 1 / v[1], *v[2:5]) for v in VALUES]
)
def test_the_price_of_the_discretisation(
    p: Fraction, mu: float, rounds: int, epochs: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tests attain in one epoch, composed like the bounds of it, is at most 0.2 % below."""
    epoch, log_delta = AllocationProfile(p, mu, rounds), -math.log(size)
    upper = given.epsilon_upper([(epoch, epochs)], log_delta)

    def attained(self: AllocationProfile, epsilon: np.ndarray, _: object = None) -> np.ndarray:
        hit, false = self.tests(np.ravel(epsilon))
        found = float(p) * (hit - self.multiples(np.ravel(epsilon)) * false)
        return np.maximum(found, 1e-11)

    given._masses.cache_clear()
    monkeypatch.setattr(AllocationProfile, "delta", attained)
    lower = given.epsilon_upper([(epoch, epochs)], log_delta)
    given._masses.cache_clear()
    assert 0.997 * upper <= lower <= upper


def test_phases_of_different_kinds() -> None:
    """With epochs of one step, all of it can be had from the other engine."""
    p = Fraction(1, 4)
    poisson = step_profile(
        Poisson(sampling_probability=0.1), inclusion_probability=p, noise_multiplier=1.5
    )
    shuffle = step_profile(Shuffle(), inclusion_probability=p, noise_multiplier=2.0)
    log_delta = math.log(1e-5)
    truth = prove.prove_epsilon([(poisson, 200), (shuffle, 20)], log_delta).upper
    mixed: list[tuple[given.Step, int]] = [(poisson, 200), (AllocationProfile(p, 0.5, 1), 20)]
    assert truth * 0.999 <= given.epsilon_upper(mixed, log_delta) <= truth * 1.003


def test_delta_is_the_inverse_of_epsilon() -> None:
    epoch = AllocationProfile(Fraction(1, 3), 0.5, 15)
    for log_delta in (-5.0, -9.0, -16.0):
        epsilon = given.epsilon_upper([(epoch, 50)], log_delta)
        back = float(given.log_delta_upper([(epoch, 50)], np.array(epsilon)))
        assert log_delta - 0.01 <= back <= log_delta + 0.06
    logs = given.log_delta_upper([(epoch, 50)], np.linspace(0.0, 6.0, 7))
    assert np.all(np.diff(logs) <= 0) and logs[0] < 0


def test_one_epoch_is_its_own_profile() -> None:
    epoch = AllocationProfile(CITYSCAPES, 1.0, 15)
    epsilon = given.epsilon_upper([(epoch, 1)], math.log(1e-4))
    assert float(epoch.delta(epsilon)) <= 1e-4 * (1 + 1e-9)
    assert float(epoch.delta(0.995 * epsilon)) > 1e-4


def test_polygons_lie_above_their_points() -> None:
    losses = np.array([0, 3, 7, 15, 40])
    interval = 0.05
    truth = step_profile(Shuffle(), inclusion_probability=Fraction(1, 2), noise_multiplier=2.0)
    values = truth.delta(interval * losses)
    masses = given.polygon_masses(losses, values, interval)
    probabilities, infinity = masses.linear()
    assert math.isclose(float(probabilities.sum()) + infinity, 1.0, rel_tol=1e-12)
    for epsilon in np.linspace(-1.5, 2.5, 37):
        rest = -np.expm1(epsilon - masses.losses)
        delta = float(probabilities @ np.maximum(rest, 0.0)) + infinity
        assert float(truth.delta(epsilon)) <= delta * (1 + 1e-12)
    # A value that is far too high at 0 must not leave a negative mass there.
    steep = given.polygon_masses(losses, np.array([0.9, 0.1, 0.05, 0.01, 1e-3]), interval)
    assert float(np.exp(steep.log_atom)) >= 0


def test_merged_outcomes_attain_less() -> None:
    epoch = AllocationProfile(CITYSCAPES, 0.5, 15)
    p, q = _atoms(epoch, 2.0)
    interval = 0.01
    numbers, mass, other = _on_grid(p, q, interval)
    assert np.allclose(np.log(mass / other), interval * numbers, atol=1e-9)
    assert mass.sum() > 0.999
    for a in np.exp(np.linspace(-1.0, 2.0, 31)):
        before = float(np.maximum(p - a * q, 0.0).sum())
        after = float(np.maximum(mass - a * other, 0.0).sum())
        assert 0.85 * before - 1e-6 <= after <= before + 1e-12


def test_what_is_attained_by_fixed_executions_is_not_above() -> None:
    """At one step an epoch: the exact engine's lower bound, of a fixed execution."""
    p, log_delta = Fraction(1, 3), math.log(1e-4)
    step = step_profile(Shuffle(), inclusion_probability=p, noise_multiplier=2.0)
    fixed = prove.attained_epsilon([(step, 30)], log_delta)
    assert fixed is not None
    upper = given.epsilon_upper([(AllocationProfile(p, 0.5, 1), 30)], log_delta)
    adaptive = epsilon_lower(AllocationProfile(p, 0.5, 1), 30, log_delta, near=upper)
    assert 0.985 * fixed <= adaptive <= upper


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("rounds", [2, 93, 100_000])
def test_every_setting_has_an_answer(sigma: float, rounds: int) -> None:
    """Finite, falling with the noise, never above Shuffle; and quick."""
    epoch, log_delta = AllocationProfile(CITYSCAPES, 1 / sigma, rounds), math.log(1e-5)
    start = time.process_time()
    found = given.epsilon_upper([(epoch, 50)], log_delta)
    assert time.process_time() - start < 5.0
    known = step_profile(Shuffle(), inclusion_probability=CITYSCAPES, noise_multiplier=sigma)
    assert 0 < found <= 1.003 * prove.estimate_epsilon([(known, 50)], log_delta)
    quieter = AllocationProfile(CITYSCAPES, 0.8 / sigma, rounds)
    assert given.epsilon_upper([(quieter, 50)], log_delta) < found
