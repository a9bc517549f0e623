"""Moments of the privacy loss of one step: the curve behind RDP and behind every tilt.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> round(log_mgf(gaussian, 3.0), 12)  # t (t + 1) D^2 / 2 for distance D = 1
6.0
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp._budget import MOST_NUMBERS
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = ["log_mgf"]

Array = npt.NDArray[np.float64]

# Beyond, the moment is bounded and not integrated: as much as one question may hold.
_MOST_PANELS = MOST_NUMBERS // 512
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def _log_sinh(y: Array) -> Array:
    """`log sinh(y)` for `y >= 0`."""
    with np.errstate(divide="ignore"):
        return y + np.log(-np.expm1(-2.0 * y)) - math.log(2.0)


def _log_excess_moment(pair: MixturePair, t: float, top: float) -> float:
    # (e^{tL} - 1) P + (e^{-tL} - 1) Q = 4 Q e^{L/2} sinh(tL/2) sinh((t+1)L/2): no cancellation.
    far = max(pair.shifts)
    # L(x) <= 2 far x, so beyond this point the integrand holds less than e^-60 in all.
    end = far * (1 + 2 * t) + math.sqrt(2 * (2 * far * far * t * (t + 1) + 60.0))
    if math.isfinite(top):
        end = min(end, float(pair.position(top)))
    # L is analytic within pi/(2 far) of the real axis; the normal density varies on scale 1.
    width = min(0.8, 1.2 / far)
    if end / width > _MOST_PANELS:
        # At most the moment of the Gaussian at the largest distance, without any amplification.
        most = 2 * t * (t + 1) * far**2
        return most + math.log(-math.expm1(-most))
    edges = np.linspace(0.0, end, math.ceil(end / width) + 1)
    half = 0.5 * (edges[1] - edges[0])
    x = (edges[:-1, None] + half * (1.0 + _NODES)).ravel()
    loss = pair.loss(x)
    terms = pair.log_q(x) + 0.5 * loss + _log_sinh(0.5 * t * loss) + _log_sinh(0.5 * (t + 1) * loss)
    weights = np.broadcast_to(4.0 * half * _WEIGHTS, (len(edges) - 1, 16)).ravel()
    return float(special.logsumexp(terms, b=weights))


def log_mgf(profile: StepProfile, t: float, *, top: float = math.inf) -> float:
    """`log E[e^{tL}]` of the symmetric loss of one step, for `t > 0`, to about 1e-13.

    An upper bound where noise is so small that the integral would be too long: that of the same
    step without amplification, which then hardly matters.

    >>> from patchdp.step import StepProfile, poisson_pair
    >>> step = StepProfile(
    ...     ((1.0, poisson_pair(rate=1e-3, inclusion=0.5, mu=1.0)),), attainable=True
    ... )
    >>> 0 < log_mgf(step, 1.0) < 1e-5
    True

    Args:
      profile: The step.
      t: Exponent, above 0 (the Rényi order minus 1).
      top: Losses beyond `top`, in size, are counted as 0.

    Source: `docs/theory.md`, "Rényi curve"; arXiv:1702.07476 for the Rényi order.
    """
    logs = [math.log(w) + _log_excess_moment(pair, t, top) for w, pair in profile.parts]
    return float(np.logaddexp(0.0, special.logsumexp(logs)))
