"""One Poisson step when the patch is omitted, not replaced: profiles of both directions.

>>> from fractions import Fraction
>>> step = OmittedProfile(rate=Fraction(3, 10), inclusion=Fraction(2, 5), mu=1.0)
>>> [round(float(step.delta(0.1, side)), 7) for side in ("remove", "add")]
[0.0269398, 0.0044702]

Source: `docs/theory/omitted.md`, "One step".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp import _checks

__all__ = ["OmittedProfile", "Side"]

Array = npt.NDArray[np.float64]
Side: TypeAlias = Literal["remove", "add"]

# Noise so little that densities leave the range of floats.
_LOUD = 20.0
# Relative accuracy of the few values of the normal distribution function that enter, generously.
_RELATIVE_ERROR = 1e-13


@dataclass(frozen=True)
class OmittedProfile:
    """Profiles of a step on images with the patch against the same step where it is omitted.

    Under the mark every crop that shows the patch contributes gradient 0. `"remove"` compares the
    step with the patch to the step without it, `"add"` the other way round.

    Args:
      rate: Chance `q` in (0, 1] that the image is in the batch.
      inclusion: Chance `p` in (0, 1] that its crop shows the patch.
      mu: `1/noise_multiplier`.

    Source: `docs/theory/omitted.md`, "One step" (Theorem 41).
    """

    rate: Fraction
    inclusion: Fraction
    mu: float

    def __post_init__(self) -> None:
        for name in ("rate", "inclusion"):
            object.__setattr__(self, name, _checks.probability(name, getattr(self, name)))
        object.__setattr__(self, "mu", _checks.positive("mu", self.mu, up=True))

    @property
    def loud(self) -> bool:
        """Whether there is too little noise for these closed forms."""
        return self.mu > _LOUD

    def delta(self, epsilon: npt.ArrayLike, side: Side) -> Array:
        """Upper bounds of delta at each `epsilon >= 0`; 1 where the step is loud."""
        eps = np.asarray(epsilon, dtype=np.float64)
        if self.loud:
            return np.ones(eps.shape)
        excess = np.expm1(eps)  # a - 1
        q, p, mu = self.rate, self.inclusion, self.mu
        out, hit = float(1 - q), _checks.round_up(q * p)
        if side == "remove":
            # hit G - excess miss U - constant, increasing in x.
            miss = float(q * (1 - p))
            constant = excess * (out + hit) + hit
            # Half of the sum of the two roots, and the product of them, by logarithms.
            with np.errstate(divide="ignore"):
                half = np.log(0.5 * constant) + 0.5 * mu * mu
                product = np.log(hit * excess * miss)
            root = 0.5 * np.logaddexp(2 * half, product)
            x = (np.logaddexp(half, root) - np.log(hit)) / mu
            gain = hit * special.ndtr(mu - x)
            loss = excess * miss * special.ndtr(-x - mu) + constant * special.ndtr(-x)
        else:
            # constant - q (a - 1 + p) U, increasing in x; never positive for large a.
            constant = hit - excess * out
            # Delta grows with it: raised by what cancellation may have cost.
            constant = constant + _RELATIVE_ERROR * (hit + excess * out)
            slope = float(q) * excess + hit
            with np.errstate(divide="ignore", invalid="ignore"):
                x = np.where(
                    constant > 0,
                    -(np.log(np.maximum(constant, 1e-300) / slope) + 0.5 * mu * mu) / mu,
                    np.inf,
                )
            gain = np.maximum(constant, 0.0) * special.ndtr(-x)
            loss = slope * special.ndtr(-x - mu)
        # A threshold that is off by its rounding costs the square of that.
        found = np.maximum(gain - loss, 0.0) + _RELATIVE_ERROR * (gain + loss)
        return np.asarray(np.minimum(found + 1e-300, 1.0))
