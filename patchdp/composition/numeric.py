"""Arithmetic that several rooms share: unit roundoff, sums of exponentials, complex logarithms.

>>> float(np.round(log_sum(np.log([0.25, 0.5])), 12)) == round(math.log(0.75), 12)
True
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["UNIT", "expm1_complex", "log1p_complex", "log_diff", "log_sum", "log_sums", "round_up"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

# Unit roundoff of double precision.
UNIT = 2.0**-53


def log_sum(values: Array) -> float:
    """Log of the sum of `exp(values)`; minus infinity where all of them are.

    >>> log_sum(np.array([-math.inf, -math.inf]))
    -inf
    """
    peak = float(values.max()) if len(values) else -math.inf
    if math.isinf(peak):
        return peak
    return peak + math.log(float(np.exp(values - peak).sum()))


def log_diff(larger: float, smaller: float) -> float:
    """`log(e^larger - e^smaller)`; minus infinity where nothing is left.

    >>> round(log_diff(math.log(3.0), math.log(1.0)), 12) == round(math.log(2.0), 12)
    True
    """
    if not smaller < larger:
        return -math.inf
    return larger + math.log(-math.expm1(smaller - larger))


def log_sums(values: Array, starts: npt.NDArray[np.intp]) -> Array:
    """Logs of the sums of `exp(values)` over consecutive groups beginning at `starts`.

    >>> log_sums(np.log([1.0, 2.0, 4.0]), np.array([0, 2])).round(12).tolist()
    [1.098612288668, 1.38629436112]
    """
    if len(starts) == len(values):
        return values
    peaks = np.maximum.reduceat(values, starts)
    safe = np.where(np.isfinite(peaks), peaks, 0.0)
    counts = np.diff(np.append(starts, len(values)))
    with np.errstate(divide="ignore"):
        sums = np.add.reduceat(np.exp(values - np.repeat(safe, counts)), starts)
        return np.asarray(safe + np.log(sums))


def log1p_complex(z: Complex) -> Complex:
    """`log(1 + z)`, accurate beside `|z|`.

    >>> complex(log1p_complex(np.array(1e-20 + 0j)))
    (1e-20+0j)
    """
    x, y = z.real, z.imag
    with np.errstate(divide="ignore"):
        real = 0.5 * np.log1p(np.maximum(x * (2 + x) + y * y, -1.0))
    return np.asarray(real + 1j * np.arctan2(y, 1 + x))


def expm1_complex(z: Complex) -> Complex:
    """`e^z - 1`, accurate beside `|z|`.

    >>> complex(expm1_complex(np.array(1e-20 + 0j)))
    (1e-20+0j)
    """
    x, y = z.real, z.imag
    real = np.expm1(x) * np.cos(y) - 2 * np.square(np.sin(0.5 * y))
    return np.asarray(real + 1j * np.exp(x) * np.sin(y))


def round_up(value: float) -> float:
    """A number above `value` by a few units in the last place, for what sums of them may lose.

    >>> round_up(0.0), round_up(1.0) > 1.0
    (0.0, True)
    """
    if value == 0 or math.isinf(value):
        return value
    return math.nextafter(value + 1e-14 * abs(value), math.inf)
