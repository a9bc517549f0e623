"""The privacy profile of one DP-SGD step: image-level pair, crop amplification, law of the loss.

>>> from fractions import Fraction
>>> from patchdp.step import Poisson, step_profile
>>> profile = step_profile(
...     Poisson(sampling_probability=0.1),
...     inclusion_probability=Fraction(1, 3),
...     noise_multiplier=1.0,
... )
>>> round(float(profile.delta(0.5)), 9)
7.6428e-05
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp import _checks
from patchdp.step.mixture import MixturePair
from patchdp.step.sampling import FixedSize, Poisson, Sampling, Shuffle

__all__ = ["StepProfile", "fixed_size_pair", "poisson_pair", "step_profile"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepProfile:
    """The symmetric privacy profile of one step, a weighted sum of profiles of mixture pairs.

    >>> profile = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=1.0)),), attainable=True)
    >>> float(profile.delta(-1.0) - (1 - np.exp(-1.0) + np.exp(-1.0) * profile.delta(1.0)))
    0.0

    Args:
      parts: Pairs `(weight, pair)`; the weights sum to 1 (one part in the ordinary case).
      attainable: Whether the single pair of `parts` is a real execution, so that it also gives a
        lower bound on any valid epsilon.

    Source: `docs/theory/one_step.md`, "Symmetry of profiles" (Theorem 7).
    """

    parts: tuple[tuple[float, MixturePair], ...]
    attainable: bool

    def __post_init__(self) -> None:
        parts = tuple((_checks.positive("weight", weight), pair) for weight, pair in self.parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "attainable", _checks.flag("attainable", self.attainable))

    def log_delta(self, epsilon: npt.ArrayLike) -> Array:
        """`log delta(epsilon)` at every real epsilon, shaped like `epsilon`."""
        eps = np.asarray(epsilon, dtype=np.float64)
        size = np.abs(eps)
        logs = np.stack([np.log(w) + pair.log_delta(size) for w, pair in self.parts])
        right = np.asarray(special.logsumexp(logs, axis=0))
        if np.all(eps >= 0):
            return right
        # The relation is symmetric: delta(-e) = 1 - e^{-e} + e^{-e} delta(e).
        with np.errstate(divide="ignore"):
            left = np.logaddexp(np.log(-np.expm1(-size)), right - size)
        return np.asarray(np.where(eps >= 0, right, left))

    def delta(self, epsilon: npt.ArrayLike) -> Array:
        """The smallest `delta` proved for one step at `epsilon` (any real number)."""
        return np.exp(self.log_delta(_checks.floats("epsilon", epsilon, "finite numbers")))


def fixed_size_pair(*, rate: float | Fraction, mu: float) -> MixturePair:
    """`(1-r) N(-mu) + r N(mu)` against `N(-mu)`: image-level replacement seen with chance `rate`.

    >>> pair = fixed_size_pair(rate=1.0, mu=0.5)  # the Gaussian mechanism at distance 1
    >>> round(float(pair.delta(1.0)), 12)
    0.126936737507

    Args:
      rate: Chance in (0, 1] that the changed content takes part in the step.
      mu: Half the distance of the replacement in noise standard deviations, `1/noise_multiplier`.

    Source: `docs/theory/sampling.md`, "Fixed-size batches".
    """
    r, mu = _checks.probability("rate", rate), _checks.positive("mu", mu, up=True)
    rest = float(1 - r)
    return MixturePair(
        gains=(_checks.round_up(r),),
        shifts=(mu,),
        q_weights=(1.0,),
        q_means=(-mu,),
        p_weights=(_checks.round_up(r), rest) if rest else (1.0,),
        p_means=(mu, -mu) if rest else (mu,),
    )


def poisson_pair(*, rate: float | Fraction, inclusion: float | Fraction, mu: float) -> MixturePair:
    """`(1-q) N(0) + q(1-p) N(-mu) + q p N(mu)` against `(1-q) N(0) + q N(-mu)`.

    >>> poisson_pair(rate=1.0, inclusion=1.0, mu=0.5) == fixed_size_pair(rate=1.0, mu=0.5)
    True

    Args:
      rate: Chance `q` in (0, 1] that the image is in the batch.
      inclusion: Chance `p` in (0, 1] that its crop shows the patch.
      mu: `1/noise_multiplier`.

    Source: `docs/theory/sampling.md`, "Poisson batches".
    """
    q, p = _checks.probability("rate", rate), _checks.probability("inclusion", inclusion)
    mu = _checks.positive("mu", mu, up=True)
    if q == 1:
        return fixed_size_pair(rate=p, mu=mu)
    out, miss = float(1 - q), float(q * (1 - p))
    hit = _checks.round_up(q * p)
    return MixturePair(
        gains=(hit,),
        shifts=(mu,),
        q_weights=(out, float(q)),
        q_means=(0.0, -mu),
        p_weights=(out, miss, hit) if miss else (out, hit),
        p_means=(0.0, -mu, mu) if miss else (0.0, mu),
    )


def step_profile(
    sampling: Sampling,
    *,
    inclusion_probability: float | Fraction,
    noise_multiplier: float | Fraction,
) -> StepProfile:
    """The patch-level profile of one application: a step, or for `Shuffle` one epoch.

    >>> from patchdp.step import Shuffle
    >>> one_epoch = step_profile(Shuffle(), inclusion_probability=0.5, noise_multiplier=1.0)
    >>> round(float(one_epoch.delta(0.0)), 6)
    0.341345

    Args:
      sampling: The sampling scheme.
      inclusion_probability: Chance in (0, 1] that the crop shows the patch; a bound will do.
      noise_multiplier: Noise standard deviation over clipping norm, above 0.

    Raises:
      ValueError: An argument is out of its range.
    """
    p = _checks.probability("inclusion_probability", inclusion_probability)
    if not isinstance(sampling, Poisson | FixedSize | Shuffle):
        raise ValueError(
            f"sampling must be Poisson, FixedSize or Shuffle, got {_checks.shown(sampling)}"
        )
    noise = _checks.positive("noise_multiplier", noise_multiplier)
    mu = math.nextafter(1 / noise, math.inf)
    if not math.isfinite(mu):
        raise ValueError(f"noise_multiplier {noise!r} is too small to represent")
    if isinstance(sampling, Poisson):
        pair = poisson_pair(rate=sampling.probability, inclusion=p, mu=mu)
    else:
        pair = fixed_size_pair(rate=sampling.probability * p, mu=mu)
    return StepProfile(((1.0, pair),), attainable=True)
