"""Banded noise with disjoint bands: plans, JAX-Privacy's numbers, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import patchdp as pdp

PLAN = pdp.TrainingPlan(
    image=(64, 64),
    crop=pdp.RandomCrop((32, 32)),
    patch=pdp.Patch((4, 4)),
    sampling=pdp.Poisson(batch_size=100, dataset_size=1000),
    noise_multiplier=3.0,
    steps=130,
)


def test_cyclic_poisson_counts_rounds() -> None:
    """Theorem 45."""
    found = pdp.banded(PLAN, bands=4)
    assert found.sampling.probability == Fraction(4, 10) and found.applications == 33
    assert found.epsilon(1e-6) > PLAN.epsilon(1e-6)  # fewer, but likelier participations
    assert pdp.banded(PLAN, bands=1) == PLAN
    epochs = pdp.banded(PLAN.replace(epochs=13), bands=4)
    assert epochs == found


def test_one_participation_is_a_gaussian_at_its_distance() -> None:
    """The rows of one column, other contributions adapting to earlier rows, by quadrature."""
    column, mu = np.array([0.8, 0.6]), 0.7
    x = np.linspace(-9.0, 9.0, 1201)
    step = float(x[1] - x[0])

    def density(sign: float) -> np.ndarray:
        first = np.exp(-0.5 * np.square(x - sign * mu * column[0]))
        other = np.tanh(x)[:, None]  # what other images add, given the first row
        second = np.exp(-0.5 * np.square(x[None] - sign * mu * column[1] - other))
        return np.asarray(first[:, None] * second) / (2 * math.pi)

    plan = PLAN.replace(
        crop=pdp.WholeImage(), sampling=pdp.Shuffle(), noise_multiplier=1 / mu, epochs=1
    )
    for epsilon in (0.0, 0.5, 2.0):
        gap = density(1.0) - math.exp(epsilon) * density(-1.0)
        real = float(np.maximum(gap, 0.0).sum()) * step**2
        assert math.isclose(real, plan.delta(epsilon), rel_tol=1e-4)


def test_jax_privacys_bands_are_the_same() -> None:
    from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent

    events = pytest.importorskip("jax_privacy.experimental.accounting")
    event = events.amplified_bandmf_event(3.0, 128, num_bands=4, sampling_prob=0.4)
    p = PLAN.inclusion.probability
    theirs = PatchPrivacyAccountant().compose(RandomCropDpEvent(p, event)).get_epsilon(1e-6)
    ours = pdp.banded(PLAN.replace(steps=128), bands=4).epsilon(1e-6)
    assert math.isclose(theirs, ours, rel_tol=1e-3)


def test_one_fixed_order() -> None:
    plan = PLAN.replace(sampling=pdp.Shuffle(batch_size=100, dataset_size=1050), epochs=5)
    assert pdp.banded(plan, bands=10) == plan
    with pytest.raises(ValueError, match="bands 11 overlap: an image comes back after 10 steps"):
        pdp.banded(plan, bands=11)


def test_strategies_are_checked() -> None:
    column = np.array([0.8, 0.6, 0.0, 0.0])
    matrix = np.array([[0.8, 0, 0], [0.6, 0.8, 0], [0, 0.6, 1.0]])
    for strategy in (column, matrix):
        assert pdp.banded(PLAN, bands=2, strategy=strategy).steps == 65
    with pytest.raises(ValueError, match="has 2 bands, more than the declared 1"):
        pdp.banded(PLAN, bands=1, strategy=matrix)
    with pytest.raises(ValueError, match=r"a column of length 1\.6"):
        pdp.banded(PLAN, bands=2, strategy=2 * column[:2] * 0.8)
    with pytest.raises(ValueError, match="lower triangular"):
        pdp.banded(PLAN, bands=2, strategy=matrix.T)
    with pytest.raises(ValueError, match="square matrix or a column"):
        pdp.banded(PLAN, bands=2, strategy=np.ones((2, 3)))


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (pdp.FixedSize(100, 1000), "got FixedSize: it may draw an image again"),
        (pdp.RandomAllocation(100, 1000), "got RandomAllocation: it may draw an image again"),
        (pdp.Poisson(sampling_probability=0.1), "need batch_size and dataset_size"),
        (pdp.Poisson(600, 1000), "fewer than batch_size 600"),
    ],
)
def test_what_may_overlap_is_refused(sampling: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pdp.banded(PLAN.replace(sampling=sampling, epochs=3), bands=4)
    with pytest.raises(ValueError, match="bands must be a whole number"):
        pdp.banded(PLAN, bands=0)
