"""One step of a training as optimal composition takes it.

>>> OptimalStep("poisson", rate=0.1, inclusion=0.5, mu=1.0).pair.gains
(0.05,)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, TypeAlias

from patchdp import _checks
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile, fixed_size_pair, poisson_pair

__all__ = ["OptimalStep", "Steps", "Weights", "merged"]


@dataclass(frozen=True)
class Weights:
    """Chances of one step: `hit` shows the patch, `miss` the image without it, `out` neither.

    >>> Weights.fixed(0.25)
    Weights(hit=0.25, miss=0.75, out=0.0)

    The noise of a step is centred at `g` or `g'` (hit), at `m` (miss) or, under Poisson sampling,
    at the sum of the other images alone (out), which is distance at most 1 from the others.
    """

    hit: float
    miss: float
    out: float

    @staticmethod
    def fixed(rate: float | Fraction) -> Weights:
        """Fixed-size batches, shuffled epochs and full batches: one rate `r`."""
        r = _checks.probability("rate", rate)
        return Weights(_checks.round_up(r), _round_down(1 - r), 0.0)

    @staticmethod
    def poisson(rate: float | Fraction, inclusion: float | Fraction) -> Weights:
        """Poisson batches: an image is drawn with chance `rate`, its crop hits with `inclusion`."""
        q, p = _checks.probability("rate", rate), _checks.probability("inclusion", inclusion)
        if q == 1:
            return Weights.fixed(p)
        return Weights(_checks.round_up(q * p), _round_down(q * (1 - p)), _round_down(1 - q))


def _round_down(value: Fraction) -> float:
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, 0.0)


@dataclass(frozen=True)
class OptimalStep:
    """One step of training.

    >>> OptimalStep("fixed", rate=1.0, inclusion=0.5, mu=1.0).weights
    Weights(hit=0.5, miss=0.5, out=0.0)

    Args:
      scheme: `"fixed"` for fixed-size batches of at most N - 1 of N images, for shuffled epochs and
        for full batches (rate 1); `"poisson"`.
      rate: Chance in (0, 1] that the image takes part in the step.
      inclusion: Chance in (0, 1] that its crop shows the patch.
      mu: `1/noise_multiplier`, above 0.

    Raises:
      ValueError: An argument is out of its range.
    """

    scheme: Literal["fixed", "poisson"]
    rate: float | Fraction
    inclusion: float | Fraction
    mu: float

    def __post_init__(self) -> None:
        scheme = _checks.choice("scheme", self.scheme, ("fixed", "poisson"))
        object.__setattr__(self, "scheme", scheme)
        for name in ("rate", "inclusion"):
            object.__setattr__(self, name, _checks.chance(name, getattr(self, name)))
        object.__setattr__(self, "mu", _checks.positive("mu", self.mu, up=True))

    @cached_property
    def pair(self) -> MixturePair:
        """The pair of the triangle `m = g'`; no triangle has a larger profile at `a >= 1`."""
        q, p = Fraction(self.rate), Fraction(self.inclusion)
        if self.scheme == "fixed":
            return fixed_size_pair(rate=q * p, mu=self.mu)
        return poisson_pair(rate=q, inclusion=p, mu=self.mu)

    @cached_property
    def symmetric(self) -> StepProfile:
        """The composed bound's profile of the step."""
        return StepProfile(((1.0, self.pair),), attainable=True)

    @cached_property
    def weights(self) -> Weights:
        """The chances of hit, miss and out, rounded so that every profile grows."""
        q, p = Fraction(self.rate), Fraction(self.inclusion)
        return Weights.fixed(q * p) if self.scheme == "fixed" else Weights.poisson(q, p)


Steps: TypeAlias = Sequence[tuple[OptimalStep, int]]


def merged(steps: Steps) -> list[tuple[OptimalStep, int]]:
    """The same run with equal neighbours joined.

    Raises:
      ValueError: There is no step, or a number of steps is not a positive whole number.
    """
    found: list[tuple[OptimalStep, int]] = []
    for step, number in steps:
        count = _checks.count("steps", number)
        if found and found[-1][0] == step:
            found[-1] = (step, found[-1][1] + count)
        else:
            found.append((step, count))
    if not found:
        raise ValueError("steps must name at least one step")
    return found
