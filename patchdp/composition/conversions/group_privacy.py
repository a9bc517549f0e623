"""Group privacy: what one image's profile promises for several images that change at once.

A chain of `k` data sets, each neighbouring the next in one image, gives
`delta_k(k e) <= (1 + exp(e) + ... + exp((k - 1) e)) delta_1(e)`. The profiles of
`patchdp.step.group` are usually sharper; under weak sampling at a small delta this one can be.
Source: `docs/theory.md`, "Group privacy".

>>> import math
>>> round(float(log_factor(0.0, 3)), 6) == round(math.log(3), 6)
True
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["group_epsilon", "group_log_delta", "log_factor"]

Array = npt.NDArray[np.float64]
Curve = Callable[[float], float]

# How far above the estimated epsilon a proof is tried, relatively; next to 0 as if it were larger.
_MARGINS = (1e-4, 2e-3, 8e-3, 3e-2)
_LEAST = 1e-3  # of the largest epsilon in question


def log_factor(epsilon: float | Array, images: int) -> Array:
    """Log of `1 + exp(epsilon) + ... + exp((images - 1) epsilon)`, rounded up."""
    powers = np.multiply.outer(np.asarray(epsilon), np.arange(images))
    total = special.logsumexp(powers, axis=-1)
    return np.asarray(total + 1e-14 * (1 + np.abs(total)), dtype=np.float64)


def group_log_delta(log_delta: Callable[[Array], Array], epsilon: Array, images: int) -> Array:
    """Logs of the deltas of `images` images, from the certified ones of a single image."""
    each = np.nextafter(epsilon / images, 0.0)
    return log_delta(each) + log_factor(each, images)


def group_epsilon(
    certified: Curve, estimated: Curve, *, images: int, log_delta: float, below: float
) -> float:
    """A certified epsilon of `images` images by group privacy; `below` where it is no better.

    >>> import math
    >>> one = lambda log_delta: max(-log_delta - 1, 0.0)  # delta_1(e) = exp(-1 - e)
    >>> found = group_epsilon(one, one, images=2, log_delta=math.log(0.25), below=math.inf)
    >>> found == math.inf  # delta_1(e) (1 + exp(e)) never falls below exp(-1)
    True

    Args:
      certified: Epsilon of a single image at the logarithm of a delta, proved.
      estimated: The same, not proved, to search with.
      images: How many images change, at least 2.
      log_delta: Logarithm of the delta in question.
      below: A value that holds anyway.
    """

    def excess(each: float) -> float:
        return estimated(log_delta - float(log_factor(each, images))) - each

    most = min(below / images, 600.0 / images)
    if excess(most) >= 0:
        return below
    from scipy import optimize  # slow to import

    root = 0.0 if excess(0.0) <= 0 else float(optimize.brentq(excess, 0.0, most, rtol=1e-9))
    for margin in _MARGINS:
        each = root + margin * max(root, _LEAST * most)
        if each >= most:
            return below
        if certified(log_delta - float(log_factor(each, images))) <= each:
            return min(math.nextafter(each * images * (1 + 1e-15), math.inf), below)
    return below
