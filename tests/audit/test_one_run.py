"""Attacks on the audit from one training: it never claims more than is true."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize, stats

import patchdp as pdp
from patchdp.audit.one_run import _chance


@pytest.mark.parametrize(
    ("correct", "delta", "epsilon"),
    [(150, 0, 0.8214), (150, 1e-5, 0.8200), (180, 0, 1.7989), (180, 1e-5, 1.7963)],
)
def test_reference_values(correct: int, delta: float, epsilon: float) -> None:
    found = pdp.one_run_audit(
        correct=correct, guesses=200, canaries=1000, delta=delta, confidence=0.95
    )
    assert found == pytest.approx(epsilon, abs=5e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0, 9.0])
@pytest.mark.parametrize(("right", "guessed"), [(1, 1), (7, 10), (60, 64), (150, 1000)])
def test_the_chance_is_that_of_the_theorem_in_fifty_digits(
    right: int, guessed: int, epsilon: float
) -> None:
    with mp.workdps(50):
        q = 1 / (1 + mp.exp(-mp.mpf(epsilon)))
        law = [
            mp.binomial(guessed, k) * q**k * (1 - q) ** (guessed - k) for k in range(guessed + 1)
        ]
        tail = mp.fsum(law[right:])
        worst = max(mp.fsum(law[max(right - i, 0) : right]) * 2 / i for i in range(1, 1500))
        truth = tail + mp.mpf("1e-4") * 1500 * worst
        found = mp.mpf(_chance(right, guessed, 1500, 1e-4, epsilon))
    assert truth <= found <= truth * (1 + mp.mpf("2e-9"))


def epsilons(right: np.ndarray, guesses: int, canaries: int, delta: float) -> np.ndarray:
    known = {
        int(v): pdp.one_run_audit(
            correct=int(v), guesses=guesses, canaries=canaries, delta=delta, confidence=0.95
        )
        for v in np.unique(right)
    }
    return np.array([known[int(v)] for v in right])


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_randomised_response_is_refuted_in_one_of_twenty(epsilon: float) -> None:
    # The extreme case of the theorem without delta: every coin is answered with exactly epsilon.
    rng = np.random.default_rng(1)
    right = rng.binomial(300, 1 / (1 + math.exp(-epsilon)), size=20_000)
    claimed = np.mean(epsilons(right, 300, 300, 0.0) > epsilon)
    assert claimed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
    assert claimed > 0.02  # and it is no weaker than it must be


def test_a_leak_of_delta_is_not_held_against_epsilon() -> None:
    # With chance delta a coin is revealed, else answered with epsilon: (epsilon, delta) each.
    rng, epsilon, delta = np.random.default_rng(2), 0.5, 0.05
    open_coins = rng.binomial(400, delta, size=20_000)
    right = open_coins + rng.binomial(400 - open_coins, 1 / (1 + math.exp(-epsilon)))
    assert np.mean(epsilons(right, 400, 400, delta) > epsilon) <= 0.05
    assert np.mean(epsilons(right, 400, 400, 0.0) > epsilon) > 0.1  # delta has to be told


def test_gaussian_trainings_are_refuted_in_at_most_one_of_twenty() -> None:
    """Each of 200 trainings is a Gaussian mechanism; the surest tenth of the coins is guessed."""
    rng, mu, delta = np.random.default_rng(3), 1.0, 1e-5
    plan = pdp.TrainingPlan(
        image=(1,),
        crop=pdp.WholeImage(),
        patch=pdp.Patch((1,)),
        sampling=pdp.Shuffle(),
        noise_multiplier=1 / mu,
        epochs=1,
    )
    epsilon = plan.epsilon(delta)
    coins = rng.choice([-1.0, 1.0], size=(200, 2000))
    scores = mu * coins + rng.normal(size=coins.shape)
    surest = np.argsort(-np.abs(scores), axis=1)[:, :200]
    agrees = np.sign(scores) == coins
    right = np.take_along_axis(agrees, surest, axis=1).sum(axis=1)
    found = epsilons(right, 200, 2000, delta)
    assert np.mean(found > epsilon) <= 0.05
    assert np.median(found) > 0.2 * epsilon


def test_more_right_guesses_never_refute_less() -> None:
    found = epsilons(np.arange(0, 201, 5), 200, 1000, 1e-5)
    assert np.all(np.diff(found) >= 0)
    assert found[20] == 0.0
    exact = optimize.brentq(lambda e: stats.binom.sf(199, 200, 1 / (1 + math.exp(-e))) - 0.05, 1, 9)
    alone = pdp.one_run_audit(correct=200, guesses=200, canaries=200, delta=0, confidence=0.95)
    assert alone == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"correct": 201}, "correct must be a whole number of at most 200, got 201"),
        ({"guesses": 1001}, "guesses must be a whole number of at most 1000"),
        ({"canaries": 10**8}, "canaries must be a whole number of at most 10000000"),
        ({"correct": 1.5}, "correct must be a whole number"),
        ({"delta": 1}, "delta must be at least 0 and below 1"),
        ({"delta": -1e-9}, "delta must be"),
        ({"confidence": 1}, "confidence must be strictly between 0 and 1"),
        ({"confidence": math.nan}, "confidence must be"),
    ],
)
def test_refusals(changed: dict[str, float], words: str) -> None:
    good = {"correct": 150, "guesses": 200, "canaries": 1000, "delta": 1e-5, "confidence": 0.95}
    with pytest.raises(ValueError, match=words):
        pdp.one_run_audit(**{**good, **changed})


def test_types_of_numbers_do_not_matter() -> None:
    plain = pdp.one_run_audit(correct=150, guesses=200, canaries=1000, delta=1e-5, confidence=0.95)
    typed = pdp.one_run_audit(
        correct=np.uint8(150),
        guesses=np.uint8(200),
        canaries=np.int16(1000),
        delta=Fraction(1e-5),
        confidence=np.float64(0.95),
    )
    assert typed == plain
