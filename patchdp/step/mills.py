"""Mills' ratio of the normal law, and differences of it, without cancellation.

`R(x) = Phi(-x) / phi(x)`. Every closed form of a hockey-stick divergence between Gaussian mixtures
is a positive combination of differences `R(u) - R(v)`, `u < v`; computing those accurately is what
keeps a privacy profile accurate deep in its tail.

>>> import numpy as np
>>> float(np.exp(log_mills_difference(np.array(30.0), np.array(30.001))))  # doctest: +ELLIPSIS
1.1073...e-06
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["log_mills", "log_mills_difference", "log_phi"]

Array = npt.NDArray[np.float64]

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
# Below this gap the difference is integrated; above it the logarithms differ enough to subtract.
_NARROW = 0.25


def log_phi(x: Array) -> Array:
    """Logarithm of the standard normal density."""
    return np.asarray(-0.5 * np.square(x) - _HALF_LOG_2PI)


def log_mills(x: Array) -> Array:
    """Logarithm of `Phi(-x) / phi(x)`, any real `x`."""
    x = np.asarray(x, dtype=np.float64)
    right = np.log(special.erfcx(np.maximum(x, -1.0) / np.sqrt(2))) + 0.5 * np.log(np.pi / 2)
    left = special.log_ndtr(-np.minimum(x, -1.0)) - log_phi(np.minimum(x, -1.0))
    return np.asarray(np.where(x >= -1.0, right, left))


def _log_slope(s: Array) -> Array:
    """`log(-R'(s)) = log(1 - s R(s))`: positive terms for s < 0, mild cancellation above."""
    positive = np.maximum(s, 0.0)
    # 1 - s R(s) ~ 1/s^2 loses about s^2 ulps: beyond 50 its asymptotic series is the better one.
    near = np.minimum(positive, 50.0)
    direct = np.log1p(-near * np.exp(log_mills(near)))
    far = np.maximum(positive, 50.0)
    inverse = 1 / np.square(far)
    series = np.log(inverse) + np.log1p(-inverse * (3 - inverse * (15 - 105 * inverse)))
    negative = np.minimum(s, 0.0)
    with np.errstate(divide="ignore"):
        left = np.logaddexp(0.0, np.log(-negative) + log_mills(negative))
    return np.asarray(np.where(s < 0, left, np.where(s <= 50.0, direct, series)))


def log_mills_difference(u: Array, v: Array) -> Array:
    """`log(R(u) - R(v))` for `u <= v`, elementwise, to about 1e-12 relative in `R(u) - R(v)`."""
    u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
    gap = v - u
    with np.errstate(divide="ignore", invalid="ignore"):
        wide_u = log_mills(u)
        wide = wide_u + np.log(-np.expm1(np.minimum(log_mills(v) - wide_u, 0.0)))
        narrow = gap < _NARROW
        if not np.any(narrow):
            return wide
        a, d = u[narrow], gap[narrow]
        s = a[..., None] + d[..., None] * (0.5 + 0.5 * _NODES)
        inner = special.logsumexp(_log_slope(s), b=0.5 * _WEIGHTS, axis=-1)
        result = np.array(wide)
        result[narrow] = np.log(d) + inner
    return result
