"""Single steps of pure differential privacy under crop amplification.

>>> step = LaplaceStep(distance=2.0, rate=Fraction(1, 10))
>>> round(step.largest_loss, 6)
0.494029
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from patchdp import _checks
from patchdp.composition.grid.fft import MAX_POINTS, GridTooLarge
from patchdp.composition.grid.masses import LossMasses
from patchdp.interop.dp_accounting.atoms import LossAtoms

__all__ = ["LaplaceStep", "PureStep", "RandomizedResponseStep", "RevealingStep"]


def _amplified(loss: float, rate: Fraction) -> float:
    """`log(1 + rate (e^loss - 1))`, rounded up."""
    r = _checks.round_up(rate)
    value = loss + math.log1p((1 - r) * math.expm1(-loss)) if loss > 1 else 0.0
    value = value if loss > 1 else math.log1p(r * math.expm1(loss))
    return value * (1 + 1e-15)


@dataclass(frozen=True)
class LaplaceStep:
    """Laplace noise on a sum, one contribution replaced, seen with chance `rate`.

    >>> step = LaplaceStep(distance=1.0, rate=Fraction(1))
    >>> losses, masses = step.masses(1e-3).losses, step.masses(1e-3).linear()[0]
    >>> delta = float(np.maximum(-np.expm1(0.5 - losses), 0.0) @ masses)
    >>> round(delta, 6), round(1 - math.exp((0.5 - 1.0) / 2), 6)
    (0.221199, 0.221199)

    Coordinate-wise noise on a vector is covered by the line: for shifts `d1 <= d2` on two
    coordinates and `eps >= 0` the hockey-stick divergence is 0 where `eps >= d1 + d2`,
    `1 - e^{(eps-d1-d2)/2} (1 + (d1+d2-eps)/4)` where `d2 - d1 < eps`, and
    `1 - e^{(eps-d1-d2)/2} (1 + d1/2)` below; none exceeds the line's `1 - e^{(eps-d1-d2)/2}`, and
    dominating pairs may be composed coordinate by coordinate.

    Args:
      distance: L1 distance of the replacement in units of the noise's scale: `2/noise_multiplier`.
      rate: Chance in (0, 1] that the changed content takes part.
    """

    distance: float
    rate: Fraction

    @property
    def largest_loss(self) -> float:
        """The largest privacy loss: the step is purely differentially private."""
        return _amplified(self.distance, self.rate)

    def masses(self, interval: float) -> LossMasses:
        """Pessimistic masses on multiples of `interval`."""
        d, r = self.distance, _checks.round_up(self.rate)
        if self.largest_loss / interval > MAX_POINTS / 4:
            raise GridTooLarge(f"no grid of spacing {interval:.3g} reaches {self.largest_loss:.6g}")
        # Dots at losses that amplification puts on the grid; the density is e^{(l-d)/2}/4 on (0,d).
        dots = interval * np.arange(int(self.largest_loss / interval) + 1)
        dots = np.where(
            dots > 1,
            dots + np.log(1 / r - (1 / r - 1) * np.exp(-dots)),
            np.log1p(np.expm1(dots) / r),
        )
        dots = np.append(dots[dots < d], d)
        width = np.diff(dots)
        scale = np.exp(0.5 * (dots[:-1] - d)) / -np.expm1(-width)
        masses = np.zeros(len(dots))
        masses[:-1] += scale * 0.5 * np.square(np.expm1(-0.5 * width))
        # 2 sinh(w/4)^2 = e^{w/2} (1 - e^{-w/2})^2 / 2
        masses[1:] += (0.5 * np.exp(0.5 * (dots[1:] - d)) / -np.expm1(-width)) * np.square(
            np.expm1(-0.5 * width)
        )
        masses[-1] += 0.5
        # What falls on the dot at loss 0 belongs to the atom there.
        return (
            LossAtoms(np.asarray(dots[1:]), np.asarray(masses[1:]), 0.0)
            .amplify(self.rate)
            .on_grid(interval)
        )


@dataclass(frozen=True)
class RandomizedResponseStep:
    """Randomised response of one image, its content replaced, seen with chance `rate`.

    >>> step = RandomizedResponseStep(noise_parameter=0.5, buckets=2, rate=Fraction(1))
    >>> round(math.exp(step.largest_loss), 12)
    3.0

    Args:
      noise_parameter: Chance in (0, 1] of an answer drawn uniformly.
      buckets: Number of answers, at least 2.
      rate: Chance in (0, 1] that the changed content takes part.
    """

    noise_parameter: float
    buckets: int
    rate: Fraction

    @property
    def _loss(self) -> float:
        # (1 - v + v/k) / (v/k) = 1 + (1 - v) k / v
        v = Fraction(self.noise_parameter)
        return math.log1p(float((1 - v) * self.buckets / v)) * (1 + 1e-15)

    @property
    def largest_loss(self) -> float:
        """The largest privacy loss: the step is purely differentially private."""
        return _amplified(self._loss, self.rate)

    def masses(self, interval: float) -> LossMasses:
        """Pessimistic masses on multiples of `interval`."""
        v = Fraction(self.noise_parameter)
        kept = _checks.round_up(1 - v + v / self.buckets)
        losses, masses = np.array([self._loss]), np.array([kept])
        if self._loss == 0:
            losses, masses = losses[:0], masses[:0]
        return LossAtoms(losses, masses, 0.0).amplify(self.rate).on_grid(interval)


@dataclass(frozen=True)
class RevealingStep:
    """Reveals everything with a small chance, nothing otherwise: where a tail is cut off.

    >>> round(float(np.exp(RevealingStep(1e-20).masses(0.1).log_infinity) / 1e-20), 6)
    1.0
    """

    probability: float

    @property
    def largest_loss(self) -> float:
        """Infinity: there is no pure guarantee."""
        return math.inf

    def masses(self, interval: float) -> LossMasses:
        """The mass at infinity; everything else at 0."""
        nothing = np.zeros(0)
        return LossAtoms(nothing, nothing, self.probability).on_grid(interval)


PureStep = LaplaceStep | RandomizedResponseStep | RevealingStep
