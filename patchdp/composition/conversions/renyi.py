"""The Rényi curve of a run, and the run as dp-accounting's RDP engine can express it.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> [round(r, 9) for r in curve([(step, 1)], [2.0, 10.0]).tolist()]
[1.0, 5.0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition import extremes
from patchdp.composition.chernoff import least_exponent, log_kernel_peak
from patchdp.step.moments import log_mgf
from patchdp.step.profile import StepProfile

__all__ = ["check_orders", "curve", "epsilon", "log_delta"]

# Where the best order is looked for, as its distance from 1.
_LEAST, _MOST = 1e-3, 1e6
# The moments are accurate to about 1e-13; the curve is raised by this much to stay above them.
_MARGIN = 1e-12
# Losses up to about this size are integrated; beyond, what a crop takes off is little beside them.
_FAR = 1e4


def check_orders(orders: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rényi orders as an array, rounded up: the curve does not fall."""
    allowed = "finite numbers above 1"
    alphas = _checks.floats("orders", orders, allowed, up=True)
    if alphas.size == 0 or not np.all(alphas > 1):
        raise ValueError(f"orders must be {allowed}, got {_checks.shown(orders)}")
    return alphas


def curve(
    phases: Sequence[tuple[StepProfile, int]], orders: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Rényi divergence of the run at each order.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.01, mu=1.0)),), attainable=True)
    >>> bool(curve([(step, 100)], [2.0])[0] == 2 * curve([(step, 50)], [2.0])[0])
    True

    Args:
      phases: Steps and how often each is applied.
      orders: Orders above 1, real numbers.

    Returns:
      An array of the shape of `orders`; rounded up.

    Raises:
      ValueError: An order is not above 1.

    Source: `docs/theory.md`, "Rényi curve".
    """
    alphas = check_orders(orders)
    found = [_divergence(phases, alpha) for alpha in alphas.ravel().tolist()]
    return np.array(found, dtype=np.float64).reshape(alphas.shape)


def _divergence(phases: Sequence[tuple[StepProfile, int]], alpha: float) -> float:
    total = 0.0
    for step, count in phases:
        largest = max(max(pair.shifts) for _, pair in step.parts)
        if largest * max(largest, 1.0) * alpha > _FAR:
            total += count * extremes.renyi(step, alpha)
        else:
            total += count * (log_mgf(step, alpha - 1) / (alpha - 1))
    return total * (1 + _MARGIN)


def best_orders(phases: Sequence[tuple[StepProfile, int]], delta: float) -> list[float]:
    """A few orders around the one whose conversion gives the smallest epsilon at `delta`."""

    def converted(log_t: float) -> float:
        t = math.exp(log_t)
        total = _divergence(phases, 1 + t)
        return total - (math.log(delta) + math.log1p(t)) / t + math.log(t / (1 + t))

    from scipy import optimize  # slow to import

    found = optimize.minimize_scalar(
        converted,
        bounds=(math.log(_LEAST), math.log(_MOST)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return [1 + float(t) for t in math.exp(found.x) * np.geomspace(0.9, 1.1, 5)]


def epsilon(phases: Sequence[tuple[StepProfile, int]], delta: float) -> float:
    """Epsilon at `delta` by dp-accounting's conversion of the Rényi curve.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> 4.3 < epsilon([(step, 1)], 1e-5) < 4.9
    True
    """
    orders = best_orders(phases, delta)
    from dp_accounting.rdp import compute_epsilon  # slow to import

    value, _ = compute_epsilon(orders, list(curve(phases, orders)), delta)
    return float(value) if math.isfinite(value) else math.inf


def log_delta(
    phases: Sequence[tuple[StepProfile, int]], epsilon: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Logs of certified deltas from moments alone: quick, and close where delta is tiny.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.005)),), attainable=True)
    >>> bool(-5000 < log_delta([(step, 1)], np.array(0.9)) < -3900)  # a Gaussian 90 deviations out
    True

    Args:
      phases: Steps and how often each is applied.
      epsilon: Array of any shape, at least 0.

    Source: `delta <= E[e^{tL}] e^{-t epsilon} t^t / (1 + t)^{1 + t}` at every `t > 0`, the
    Rényi conversion of `docs/theory.md`, "Rényi curve", before it is solved for epsilon.
    """
    largest = max(max(pair.shifts) for profile, _ in phases for _, pair in profile.parts)
    if largest > 30.0:
        return np.zeros(np.shape(epsilon))  # moments are slow there, and deltas hardly ever tiny
    # The tail of a Gaussian at a tilt of 40 deviations is below every float already.
    tilts = np.geomspace(1e-2, max(60 / largest, 1.0), 40)
    totals = [sum(count * log_mgf(profile, t) for profile, count in phases) for t in tilts]
    gain = tilts * np.log(tilts) - (1 + tilts) * np.log1p(tilts)
    bounds = np.array(totals) * (1 + _MARGIN) + gain - np.multiply.outer(epsilon, tilts)
    return np.asarray(np.minimum(bounds.min(axis=-1), 0.0))


def epsilon_of_moments(phases: Sequence[tuple[StepProfile, int]], log_delta: float) -> float:
    """A certified epsilon from moments alone, at any delta: the bound of `log_delta`, solved.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> 4.4 < epsilon_of_moments([(step, 1)], math.log(1e-5)) < 4.8
    True
    """

    def bound(tilts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        totals = [sum(n * log_mgf(profile, float(t)) for profile, n in phases) for t in tilts]
        return (np.array(totals) * (1 + _MARGIN) + log_kernel_peak(tilts) - log_delta) / tilts

    largest = max(max(pair.shifts) for profile, _ in phases for _, pair in profile.parts)
    found = least_exponent(bound, low=1e-4, high=max(200 / largest, 1.0))[1]
    return max(found * (1 + 1e-12), 0.0)
