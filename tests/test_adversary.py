"""Whole trainings against simulated adversaries: no test of a real execution beats the bound."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting.pld import pld_pmf

import patchdp as pdp
from patchdp.composition import prove
from patchdp.step import step_profile


def composed(high: np.ndarray, low: np.ndarray, dx: float, steps: int, delta: float) -> float:
    """Epsilon attained by repeating one fixed pair of outputs, rounded down."""
    h = 2e-4
    cells = np.floor(np.log(high / low) / h).astype(int)
    mass = np.bincount(cells - cells.min(), weights=high * dx)
    pmf = pld_pmf.DensePLDPmf(h, int(cells.min()), mass, 0.0, pessimistic_estimate=False)
    return float(pmf.self_compose(steps).get_epsilon_for_delta(delta))


X = np.linspace(-14, 14, 140_001)
DX = X[1] - X[0]


def normal(mean: float) -> np.ndarray:
    return np.exp(-0.5 * (X - mean) ** 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("steps", [1, 10, 60])
@pytest.mark.parametrize("kind", ["poisson", "fixed"])
def test_no_repeated_execution_beats_the_certified_epsilon(kind: str, steps: int) -> None:
    rng = np.random.default_rng(steps)
    q, p, sigma, delta = Fraction(2, 5), Fraction(1, 3), 1.2, 1e-4
    sampling = pdp.Poisson(2, 5) if kind == "poisson" else pdp.FixedSize(2, 5)
    step = step_profile(sampling, inclusion_probability=p, noise_multiplier=sigma)
    bound = prove.prove_epsilon([(step, steps)], math.log(delta)).upper
    mu, best = 1 / sigma, 0.0
    gradients = [(-mu, mu, -mu), (-mu, -mu, mu)] + [
        tuple(rng.uniform(-mu, mu, 3)) for _ in range(6)
    ]
    for miss, hit, after in gradients:
        if kind == "poisson":
            common = float(1 - q) * normal(0.0) + float(q * (1 - p)) * normal(miss)
        else:
            common = float(1 - p * q) * normal(miss)
        pair = [common + float(p * q) * normal(g) for g in (hit, after)]
        attained = composed(pair[0], pair[1], DX, steps, delta)
        assert attained <= bound
        best = max(best, attained)
    # The worst of them is near the bound, so that the comparison has teeth.
    assert best > 0.75 * bound


def test_a_crop_cached_over_steps_is_not_covered() -> None:
    """Drawn once for all steps, the coin amplifies the composed total only, which is far worse."""
    p, steps, delta = 0.1, 50, 1e-5
    fresh = step_profile(pdp.Shuffle(), inclusion_probability=p, noise_multiplier=5.0)
    bound = prove.prove_epsilon([(fresh, steps)], math.log(delta)).upper
    distance = 2 * math.sqrt(steps) / 5.0
    cached = step_profile(pdp.Shuffle(), inclusion_probability=p, noise_multiplier=2 / distance)
    assert float(cached.delta(bound)) > 100 * delta
