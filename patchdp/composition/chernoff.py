"""Chernoff's bound: what a tail or a delta is at most, from the moments of the loss.

>>> round(float(np.exp(log_kernel_peak(1.0))), 12)  # the largest (1 - e^-u) e^-u
0.25
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["least_exponent", "log_kernel_peak"]

Array = npt.NDArray[np.float64]


def log_kernel_peak(t: npt.ArrayLike) -> Array:
    """`log max_u e^{-t u} (1 - e^{-u})`: Chernoff's bound gains this factor for `delta`."""
    tilt = np.asarray(t, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = -np.log1p(tilt) - tilt * np.log1p(1 / tilt)
    return np.asarray(np.where(tilt > 0, gain, 0.0))


def least_exponent(
    exponent: Callable[[Array], Array], *, low: float = 1e-6, high: float = 1e13
) -> tuple[float, float]:
    """The tilt at which an exponent with one valley is least, and its value there.

    >>> tilt, value = least_exponent(lambda t: t * t - 4 * t)
    >>> round(tilt, 3), round(value, 6)
    (2.0, -4.0)

    Args:
      exponent: A function of an array of tilts; what is not finite counts as infinite.
      low, high: Where to look.
    """
    left, right = math.log(low), math.log(high)
    best = (math.exp(0.5 * (left + right)), math.inf)
    for count in (48, 12, 12, 12):
        logs = np.linspace(left, right, count)
        with np.errstate(all="ignore"):
            values = np.asarray(exponent(np.exp(logs)), dtype=np.float64)
        values = np.where(np.isfinite(values), values, np.inf)
        k = int(np.argmin(values))
        if values[k] < best[1]:
            best = (float(np.exp(logs[k])), float(values[k]))
        left, right = float(logs[max(k - 1, 0)]), float(logs[min(k + 1, count - 1)])
    return best
