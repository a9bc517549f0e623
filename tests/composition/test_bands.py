"""Theorem 34: every term of the exact engine's bounds in parts, made so large that it decides.

By default each of them is a part in 10^10 of delta or less, and a bound that forgot one would still
hold everywhere one looks. Here the rules that keep them small are relaxed, one at a time: the
numbers become rough, and the bounds have to stay bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest

from patchdp.composition import bands
from patchdp.composition.bands import Bands
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

RARE = StepProfile(((1.0, fixed_size_pair(rate=1e-4, mu=0.5)),), attainable=True)
POISSON = StepProfile(((1.0, poisson_pair(rate=0.02, inclusion=0.1, mu=1.0)),), attainable=True)

PLANS = {
    "one": ([(RARE, 1)], 0.1),
    "one, Poisson": ([(POISSON, 1)], 0.5),
    "many": ([(RARE, 1000)], 0.3),
    "phases": ([(RARE, 300), (POISSON, 5)], 0.5),
}


@cache
def _delta(name: str) -> float:
    """Delta to nine digits at least: of one step by its closed form."""
    phases, epsilon = PLANS[name]
    if sum(count for _, count in phases) == 1:
        return float(phases[0][0].delta(epsilon))
    lower, upper = Bands(phases, epsilon, "symmetric").bounds(epsilon)
    assert upper - lower < 1e-6
    return math.exp(0.5 * (lower + upper))


def _value(found: Bands, epsilon: float) -> float:
    return math.exp(found.log_delta(epsilon)[0])


def _ends(found: Bands, epsilon: float) -> tuple[float, float]:
    lower, upper = found.bounds(epsilon)
    return math.exp(lower), math.exp(upper)


@contextmanager
def _roughly(method: str, rest: float) -> Iterator[None]:
    """One rule of the parts content with an error of `e^{-rest}` of delta."""
    rule = getattr(bands._Band, method)
    usual = bands._REST

    def rough(self: bands._Band, *args: float) -> object:
        bands._REST = rest
        try:
            return rule(self, *args)
        finally:
            bands._REST = usual

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands._Band, method, rough)
        yield


@pytest.mark.parametrize("name", PLANS)
def test_what_is_left_below_the_windows_is_in_the_upper_bound(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, (phases, epsilon) = _delta(name), PLANS[name]
    monkeypatch.setattr(bands, "_CLOSE", 1e6)
    found = Bands(phases, epsilon, "symmetric")
    lower, upper = _ends(found, epsilon)
    assert lower <= truth <= upper
    assert _value(found, epsilon) < truth * (1 - 5e-6)  # windows ended before all was taken


@pytest.mark.parametrize("name", PLANS)
def test_what_the_ends_of_the_nodes_drop_is_in_the_upper_bound(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases, epsilon = PLANS[name]
    lower, upper = _ends(Bands(phases, epsilon, "symmetric"), epsilon)
    prepare = bands._Band._prepare

    def drops(self: bands._Band, *args: float) -> None:
        prepare(self, *args)
        self.dropped += 1e-3 * upper

    monkeypatch.setattr(bands._Band, "_prepare", drops)
    found = Bands(phases, epsilon, "symmetric")
    # The parts, and what is left below them.
    raised = (1 + 1e-3 * (len(found.parts) + 1)) * upper
    assert _ends(found, epsilon) == pytest.approx((lower, raised), rel=1e-8, abs=0)
    found._dropped += 1e-2 * upper
    assert _ends(found, epsilon)[1] == pytest.approx(raised + 1e-2 * upper, rel=1e-8, abs=0)


@pytest.mark.parametrize("name", PLANS)
def test_aliases_are_taken_off_the_lower_bound(name: str) -> None:
    truth, (phases, epsilon) = _delta(name), PLANS[name]
    with _roughly("_choose_period", 1.0):
        found = Bands(phases, epsilon, "symmetric")
    lower, upper = _ends(found, epsilon)
    assert lower <= truth <= upper
    assert _value(found, epsilon) > truth * (1 + 1e-5)  # the aliases are there


@pytest.mark.parametrize("name", PLANS)
def test_a_line_that_ends_early_has_a_wider_bar(name: str) -> None:
    truth, (phases, epsilon) = _delta(name), PLANS[name]
    off = []
    for rest in (0.0, 2.0, 4.0, 7.0):
        with _roughly("_choose_last", rest):
            found = Bands(phases, epsilon, "symmetric")
        lower, upper = _ends(found, epsilon)
        assert lower <= truth <= upper
        off.append(abs(_value(found, epsilon) / truth - 1))
    assert max(off) > 1e-3


@pytest.mark.parametrize("name", PLANS)
def test_parts_too_small_to_invert_are_in_the_upper_bound(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, (phases, epsilon) = _delta(name), PLANS[name]
    monkeypatch.setattr(bands, "_SMALL", -1.0)
    found = Bands(phases, epsilon, "symmetric")
    lower, upper = _ends(found, epsilon)
    assert lower <= truth <= upper
    assert not all(band.counts_for_something for band in found.parts)


def test_bounds_without_any_term_are_the_value() -> None:
    phases, epsilon = PLANS["many"]
    found = Bands(phases, epsilon, "symmetric")
    lower, upper = found.bounds(epsilon)
    assert lower < found.log_delta(epsilon)[0] < upper
    assert np.isfinite(found.log_delta(epsilon)[1])
