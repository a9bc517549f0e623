"""The omitted patch: closed forms against the line, adversaries, composition, the shell."""

from __future__ import annotations

import json
import math
import warnings
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from dp_accounting.pld import privacy_loss_distribution
from scipy import stats

import patchdp as pdp
from patchdp.cli import cli
from patchdp.composition import two_sided
from patchdp.step.omitted import OmittedProfile

Array = npt.NDArray[np.float64]
LINE = np.linspace(-13.0, 13.0, 200_001)
STEP = float(LINE[1] - LINE[0])
PLAN = pdp.TrainingPlan(
    image=(1024, 2048),
    crop=pdp.RandomCrop((505, 505)),
    patch=pdp.Patch((10, 10)),
    sampling=pdp.Poisson(batch_size=200, dataset_size=2975),
    noise_multiplier=2.0,
    epochs=100,
)


def mixture(*parts: tuple[float, float]) -> Array:
    return np.asarray(sum(weight * stats.norm.pdf(LINE - mean) for weight, mean in parts))


def divergence(p: Array, q: Array, a: float) -> float:
    return float(np.maximum(p - a * q, 0.0).sum() * STEP)


@pytest.mark.parametrize(("q", "p", "mu"), [(0.3, 0.4, 1.0), (1.0, 0.4, 0.7), (0.05, 1.0, 2.0)])
def test_profiles_on_the_line(q: float, p: float, mu: float) -> None:
    """Theorem 41: the stated pairs, in both directions."""
    seen = mixture((1 - q, 0.0), (q * (1 - p), -mu), (q * p, mu))
    marked = mixture((1 - q + q * p, 0.0), (q * (1 - p), -mu))
    other = mixture((1 - q, 0.0), (q, -mu))
    step = OmittedProfile(Fraction(q), Fraction(p), mu)
    for epsilon in (0.0, 0.02, 0.1, 0.5, 2.0):
        for side, pair in (("remove", (seen, marked)), ("add", (marked, other))):
            truth = divergence(*pair, math.exp(epsilon))
            found = float(step.delta(epsilon, side))  # type: ignore[arg-type]
            assert math.isclose(found, truth, rel_tol=1e-6, abs_tol=1e-10)
            assert found >= truth - 1e-9


def test_the_stated_values_of_one_step() -> None:
    step = OmittedProfile(Fraction(3, 10), Fraction(2, 5), 1.0)
    assert round(float(step.delta(0.1, "remove")), 7) == 0.0269398
    assert round(float(step.delta(0.1, "add")), 7) == 0.0044702


def test_no_adversary_on_a_line_or_in_the_plane_exceeds_it() -> None:
    """Theorem 41: misses and hits anywhere in the ball."""
    rng = np.random.default_rng(8)
    plane = np.linspace(-8.0, 8.0, 321)
    area = float(plane[1] - plane[0]) ** 2

    def at(point: Array) -> Array:
        x, y = (stats.norm.pdf(plane - c) for c in point)
        return np.outer(x, y)

    q, p, mu = 0.5, 0.4, 1.2
    step = OmittedProfile(Fraction(q), Fraction(p), mu)
    centre = at(np.zeros(2))
    for _ in range(60):
        angle, size = rng.uniform(0, 2 * np.pi, 2), mu * rng.choice([1.0, 0.7, 0.0], 2)
        miss, hit = (
            at(s * np.array([np.cos(t), np.sin(t)])) for s, t in zip(size, angle, strict=True)
        )
        seen = (1 - q) * centre + q * (1 - p) * miss + q * p * hit
        marked = (1 - q + q * p) * centre + q * (1 - p) * miss
        for epsilon in (0.0, 0.2, 1.0):
            a = math.exp(epsilon)
            removed = float(np.maximum(seen - a * marked, 0).sum()) * area
            added = float(np.maximum(marked - a * seen, 0).sum()) * area
            assert removed <= float(step.delta(epsilon, "remove")) + 1e-7
            assert added <= float(step.delta(epsilon, "add")) + 1e-7


@pytest.mark.parametrize(("sigma", "stated"), [(1.0, 4.310), (2.0, 1.422), (4.0, 0.592)])
def test_the_stated_values_of_a_training(sigma: float, stated: float) -> None:
    found = pdp.omitted(PLAN.replace(noise_multiplier=sigma), 1 / 2975)
    assert abs(found.epsilon - stated) <= 1e-3
    assert (
        found.epsilon
        < found.replaced.upper
        == PLAN.replace(noise_multiplier=sigma).epsilon(1 / 2975)
    )


@pytest.mark.parametrize("count", [1, 30])
def test_composition_against_dp_accounting(count: int) -> None:
    """Every crop shows the patch and every image takes part: a Gaussian at distance 1, and more."""
    whole = OmittedProfile(Fraction(1), Fraction(1), 0.5)
    other = privacy_loss_distribution.from_gaussian_mechanism(2.0).self_compose(count)
    truth = other.get_epsilon_for_delta(1e-5)
    found = two_sided.epsilon_upper([(whole, count)], math.log(1e-5))
    assert truth * 0.9995 <= found <= truth * 1.003
    # With every crop a hit it is ordinary add-or-remove under Poisson sampling.
    sampled = OmittedProfile(Fraction(1, 10), Fraction(1), 0.5)
    other = privacy_loss_distribution.from_gaussian_mechanism(2.0, sampling_prob=0.1)
    truth = other.self_compose(count).get_epsilon_for_delta(1e-6)
    found = two_sided.epsilon_upper([(sampled, count)], math.log(1e-6))
    assert truth * 0.999 <= found <= truth * 1.003


def test_one_step_is_its_profile() -> None:
    step = OmittedProfile(Fraction(3, 10), Fraction(2, 5), 1.0)
    found = two_sided.epsilon_upper([(step, 1)], math.log(1e-3))
    assert float(step.delta(found, "remove")) <= 1e-3 <= float(step.delta(found * 0.997, "remove"))


def test_phases_and_edges() -> None:
    both = pdp.omitted(PLAN + PLAN.replace(noise_multiplier=3.0), 1e-4)
    assert pdp.omitted(PLAN, 1e-4).epsilon < both.epsilon < both.replaced.upper
    nothing = PLAN.replace(noise_multiplier=0)
    assert math.isinf(pdp.omitted(nothing, 1e-4).epsilon)
    unseen = PLAN.replace(crop=pdp.CenterCrop((10, 10)), patch=pdp.Patch((2, 2), at=(0, 0)))
    assert pdp.omitted(unseen, 1e-4).epsilon == 0
    # Two omissions make a replacement: the smaller number is more than half the way there.
    assert pdp.omitted(PLAN, 1e-9).epsilon > 0.3 * PLAN.epsilon(1e-9)


def test_far_losses_with_little_noise() -> None:
    """The pairs' Gaussians are 20 deviations apart: a hit shows at losses of hundreds."""
    step = OmittedProfile(Fraction(1, 2), Fraction(1, 2), 20.0)
    # Thresholds in place of the best one attain no more.
    for epsilon, least in ((100.0, 0.1), (200.0, 0.1), (300.0, 1e-8), (600.0, 1e-100)):
        # Beyond 38 deviations what is lost leaves the range of floats, and is left out.
        over = 1.01 if epsilon < 500 else 3.0
        x = np.linspace(0.0, 45.0, 400_001)
        hit, miss, out = (stats.norm.logcdf(-x + m) for m in (20.0, -20.0, 0.0))
        kept = 0.25 * np.exp(hit) + 0.25 * np.exp(miss) + 0.5 * np.exp(out)
        lost = np.logaddexp(miss + math.log(0.25), out + math.log(0.75)) + epsilon
        attained = float(np.max(kept - np.exp(np.minimum(lost, 700.0))))
        assert attained > least
        assert attained <= float(step.delta(epsilon, "remove")) <= attained * over


@pytest.mark.parametrize("sigma", [1e-300, 1e-3, 0.01, 0.06, 0.2, 1e3, 1e8, 1e300])
def test_every_noise_has_a_bound(sigma: float) -> None:
    """No epsilon is lost where densities leave the range of floats, and none rises with noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pdp.omitted(PLAN.replace(noise_multiplier=sigma), 1e-5)
        assert found.epsilon <= found.replaced.upper
        if sigma < 100:
            assert found.epsilon > 0.4 * (found.replaced.lower or 0.0)
            assert found.epsilon > pdp.omitted(PLAN.replace(noise_multiplier=500.0), 1e-5).epsilon


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": pdp.FixedSize(200, 2975)}, "Poisson sampling, got FixedSize"),
        ({"sampling": pdp.Shuffle()}, "Poisson sampling, got Shuffle"),
        ({"images_per_person": 2}, "images_per_person=1, got 2"),
        ({"views": 2, "views_clipped": "together"}, "views=1, got 2"),
    ],
)
def test_refusals(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pdp.omitted(PLAN.replace(**changes), 1e-5)


def test_the_number_never_stands_alone() -> None:
    said = str(pdp.omitted(PLAN, 1 / 2975))
    assert "omitted   epsilon" in said and "replaced  epsilon" in said
    assert "not what it shows" in said
    flags = (
        *("--image", "1024x2048", "--crop", "505x505", "--patch", "10x10", "--epochs", "100"),
        *("--noise-multiplier", "2", "--sampling", "poisson", "--batch-size", "200"),
        *("--dataset-size", "2975", "--delta", "1/2975", "--neighbours", "omitted"),
    )
    shown = CliRunner().invoke(cli, ["epsilon", *flags]).stdout
    assert "epsilon    2.93" in shown and "omitted    1.42" in shown
    assert "not what it shows" in " ".join(shown.split())
    data = json.loads(CliRunner().invoke(cli, ["epsilon", *flags, "--json"]).stdout)
    assert data["epsilon"] > 2 * data["epsilon_omitted"] > 0
    assert "not what it shows" in data["omitted_protects"]
    wrong = CliRunner().invoke(cli, ["epsilon", *flags[:-1], "added"])
    assert "neighbours must be one of replaced, omitted, got 'added'" in str(wrong.exception)
