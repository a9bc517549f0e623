"""The Rényi curve against 40-digit integrals and dp-accounting's own."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import pytest
from dp_accounting.rdp import compute_epsilon

from patchdp.composition import prove
from patchdp.composition.conversions import renyi
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

mp.mp.dps = 40


def wrap(pair) -> StepProfile:
    return StepProfile(((1.0, pair),), attainable=True)


@pytest.mark.parametrize("order", [1.01, 1.5, 2.0, 17.0, 200.0])
@pytest.mark.parametrize("mu", [0.01, 0.5, 3.0])
def test_gaussian_curve_is_the_closed_form(order: float, mu: float) -> None:
    truth = order * (2 * mu) ** 2 / 2
    value = float(renyi.curve([(wrap(fixed_size_pair(rate=1.0, mu=mu)), 1)], [order])[0])
    assert truth * (1 - 1e-13) <= value <= truth * (1 + 1e-10)


@pytest.mark.parametrize("order", [1.1, 3.0, 9.0])
@pytest.mark.parametrize(
    "pair",
    [
        fixed_size_pair(rate=Fraction(1, 1000), mu=1.0),
        poisson_pair(rate=Fraction(1, 10), inclusion=Fraction(1, 3), mu=0.5),
    ],
)
def test_curve_is_the_moment_of_the_symmetric_loss(pair, order: float) -> None:
    q = list(zip(pair.q_weights, pair.q_means, strict=True))

    def law(x: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
        low = sum(mp.mpf(w) * mp.npdf(x, m, 1) for w, m in q)
        gain = sum(
            mp.mpf(g) * (mp.npdf(x, s, 1) - mp.npdf(x, -s, 1))
            for g, s in zip(pair.gains, pair.shifts, strict=True)
        )
        return low + gain, low

    t = mp.mpf(order) - 1

    def integrand(x: mp.mpf) -> mp.mpf:
        p_, q_ = law(x)
        ratio = p_ / q_
        return p_ * (ratio**t - 1) + q_ * (ratio**-t - 1)

    end = 12 + 2 * float(t) * max(pair.shifts)
    moment = mp.quad(integrand, mp.linspace(0, end, 20))
    truth = float(mp.log1p(moment) / t)
    value = float(renyi.curve([(wrap(pair), 1)], [order])[0])
    assert truth * (1 - 1e-11) <= value <= truth * (1 + 1e-9)


def test_converted_epsilon_lies_above_the_certified_one() -> None:
    phases = [(wrap(fixed_size_pair(rate=0.0223, mu=0.5)), 1500)]
    by_rdp = renyi.epsilon(phases, 1e-5)
    assert by_rdp > prove.prove_epsilon(phases, math.log(1e-5)).upper
    orders = [2.0, 4.0, 8.0]
    theirs, _ = compute_epsilon(orders, list(renyi.curve(phases, orders)), 1e-5)
    assert by_rdp <= theirs


@pytest.mark.parametrize("orders", [[], [1.0], [0.5, 2.0], [math.nan], [math.inf]])
def test_bad_orders_are_refused(orders: list[float]) -> None:
    with pytest.raises(ValueError, match="orders must be"):
        renyi.curve([(wrap(fixed_size_pair(rate=1.0, mu=1.0)), 1)], orders)
