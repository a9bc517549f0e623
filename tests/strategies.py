"""Hypothesis strategies that reach the corners of privacy accounting."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

import patchdp as pdp
from patchdp.step import MixturePair, StepProfile, fixed_size_pair, poisson_pair

__all__ = ["inclusions", "noises", "pairs", "plans", "profiles", "rates"]

noises = st.one_of(
    st.sampled_from([0.3, 0.5, 1.0, 2.0, 100.0]),
    st.floats(0.3, 100.0),
)
rates = st.one_of(
    st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 10**6), Fraction(8, 119)]),
    st.fractions(Fraction(1, 10**6), 1, max_denominator=10**7),
)
inclusions = st.one_of(
    st.sampled_from([Fraction(1), Fraction(66049, 200720), Fraction(1, 10**5)]),
    st.fractions(Fraction(1, 10**5), 1, max_denominator=10**6),
)


@st.composite
def pairs(draw: st.DrawFn) -> MixturePair:
    """The pair of one step, of either sampler."""
    mu = 1 / draw(noises)
    rate, inclusion = draw(rates), draw(inclusions)
    if draw(st.booleans()):
        return poisson_pair(rate=rate, inclusion=inclusion, mu=mu)
    return fixed_size_pair(rate=rate * inclusion, mu=mu)


def profiles() -> st.SearchStrategy[StepProfile]:
    """The profile of one step, of either sampler."""
    return pairs().map(lambda pair: StepProfile(((1.0, pair),), attainable=True))


@st.composite
def plans(draw: st.DrawFn) -> pdp.TrainingPlan:
    """Small trainings: crop = image and 1-pixel patches included."""
    side = draw(st.integers(1, 12))
    crop = draw(st.integers(1, side))
    patch = draw(st.one_of(st.just(1), st.integers(1, side)))
    sampling = draw(
        st.sampled_from([pdp.Poisson(3, 10), pdp.Poisson(10, 10), pdp.FixedSize(1, 50)])
    )
    return pdp.TrainingPlan(
        image=(side, side),
        crop=pdp.RandomCrop((crop, crop)),
        patch=pdp.Patch((patch, patch)),
        sampling=sampling,
        noise_multiplier=draw(st.sampled_from([0.5, 1.0, 2.0, 20.0])),
        steps=draw(st.sampled_from([1, 2, 30, 1000])),
    )
