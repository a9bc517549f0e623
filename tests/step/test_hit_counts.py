"""The law of the number of hits: exact for few, never below the truth and hardly above for many."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from patchdp.step import FixedSize, Poisson, hit_counts, images_per_person
from patchdp.step.hit_counts import binomial, hits_of_fixed_batches, lumped, total

P = Fraction(66049, 200720)
LEAST = Fraction(1, 2**370)


def drawn(images: int, batch: int, size: int, inclusion: Fraction) -> list[Fraction]:
    """By definition, with whole binomial coefficients."""
    found = [Fraction(0)] * (images + 1)
    for k in range(max(0, batch - size + images), min(images, batch) + 1):
        share = Fraction(
            math.comb(images, k) * math.comb(size - images, batch - k), math.comb(size, batch)
        )
        for j in range(k + 1):
            found[j] += share * math.comb(k, j) * inclusion**j * (1 - inclusion) ** (k - j)
    return found


CASES = [(1, 1, 1), (3, 2, 7), (5, 9, 10), (6, 10, 10), (10, 3, 12), (12, 100, 1000), (2, 1, 2)]


@pytest.mark.parametrize(("images", "batch", "size"), CASES)
def test_small_laws_are_exact_and_rounded_ones_just_above(
    images: int, batch: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for inclusion in (P, Fraction(1, 10**9), Fraction(0.9), Fraction(1)):
        truth = drawn(images, batch, size, inclusion)
        found = hits_of_fixed_batches(images, batch=batch, size=size, inclusion=inclusion)
        assert found == truth
        law = [
            math.comb(images, j) * inclusion**j * (1 - inclusion) ** (images - j)
            for j in range(images + 1)
        ]
        assert binomial(images, inclusion) == law
        with monkeypatch.context() as patched:
            patched.setattr(hit_counts, "_MOST_EXACT", 0)
            rounded = hits_of_fixed_batches(images, batch=batch, size=size, inclusion=inclusion)
            assert all(
                0 <= up - t <= t / 2**170 + LEAST for up, t in zip(rounded, truth, strict=True)
            )
            rounded = binomial(images, inclusion)
            assert all(
                0 <= up - t <= t / 2**170 + LEAST for up, t in zip(rounded, law, strict=True)
            )


def number(value: Fraction) -> mp.mpf:
    return mp.mpf(value.numerator) / value.denominator


@pytest.mark.parametrize("trials", [65, 1000, 10_000])
@pytest.mark.parametrize("chance", [P, Fraction(1, 10**12), Fraction(0.999)])
def test_long_binomial_laws_against_70_digits(trials: int, chance: Fraction) -> None:
    law = binomial(trials, chance)
    with mp.workdps(70):
        for j in {0, 1, 2, trials // 3, int(trials * chance), trials - 1, trials}:
            truth = (
                mp.binomial(trials, j) * number(chance) ** j * number(1 - chance) ** (trials - j)
            )
            assert truth * (1 - mp.mpf(10) ** -60) <= number(law[j])
            assert number(law[j]) <= truth * (1 + mp.mpf(10) ** -50) + mp.mpf(2) ** -384


@pytest.mark.parametrize(("batch", "size"), [(200, 2975), (10**6, 10**7), (10**7 - 5, 10**7)])
def test_long_hypergeometric_laws_against_70_digits(batch: int, size: int) -> None:
    images = 100
    law = hits_of_fixed_batches(images, batch=batch, size=size, inclusion=Fraction(1))
    with mp.workdps(70):
        for j in (0, 1, 7, 50, 94, 95, 96, 99, 100):
            truth = (
                mp.binomial(images, j)
                * mp.binomial(size - images, batch - j)
                / mp.binomial(size, batch)
                if batch - j <= size - images
                else mp.mpf(0)
            )
            assert truth * (1 - mp.mpf(10) ** -55) <= number(law[j])
            # What is negligible counts as hits of all that were drawn.
            assert number(law[j]) <= truth * (1 + mp.mpf(10) ** -45) + mp.mpf(2) ** -190


def test_lumping_moves_probability_up_and_loses_none() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        law = [Fraction(int(n), 1000) for n in rng.integers(0, 4, rng.integers(2, 40))]
        law += [Fraction(1, 2**300)] * int(rng.integers(0, 5))
        most = int(rng.integers(2, 12))
        found = lumped(law, most)
        assert len(found) <= most
        assert sum(found.values()) == sum(law[1:])
        for j in range(1, len(law)):
            above = sum((c for k, c in found.items() if k >= j), Fraction(0))
            assert above >= sum(law[j:])
        if sum(c > 0 for c in law[1:]) <= most:
            assert found == {j: c for j, c in enumerate(law) if j and c}
    assert total([Fraction(2, 3)] * 2) == 1


def test_more_parts_than_a_profile_has_are_an_upper_bound_and_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Theorem 27 and Theorem 28: probability moved to more hits is never below the whole law."""
    epsilons = np.array([0.0, 0.3, 1.0, 3.0])
    for sampling in (Poisson(200, 2975), Poisson(9, 9), FixedSize(200, 2975)):
        short = images_per_person(sampling, inclusion=P, mu=0.3, images=45).delta(epsilons)
        with monkeypatch.context() as patched:
            for name in ("_MOST_PARTS", "_MOST_MIXTURES"):
                patched.setattr(f"patchdp.step.group.{name}", 1000)
            full = images_per_person(sampling, inclusion=P, mu=0.3, images=45).delta(epsilons)
        assert np.all(short >= full * (1 - 1e-12))
        assert np.all(short <= 1.5 * full)
