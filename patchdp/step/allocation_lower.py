"""What an attacker attains on one epoch under random allocation: tests of two real executions.

The image's clipped gradient is `+C` in one execution and `-C` in the other, in the one step that
draws it; the crop is left out here. A test says "before" where a sum over the steps is positive,
and each of its two error rates is the chance of a sum of independent lattice variables. Any sum
makes a valid test; that of `G - k U`, rounded, is the best one at the multiple `k` but for the
rounding.

>>> import numpy as np
>>> hit, false = attained(mu=1.0, rounds=2, multiples=np.array([1.6487212707]))
>>> bool(0.398 < hit[0] - 1.6487212707 * false[0] < 0.40006)
True

Source: `docs/theory/allocation.md`, "What is attained".
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from patchdp.step.allocation_lattice import inverse, power

__all__ = ["attained"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_RELATIVE_ERROR = 1e-13
# The lattice: spacing in standard deviations of a term, and its longest transform.
_FINENESS, _LONGEST = 0.15, 1 << 16


def _laws(mu: float, edges: Array) -> tuple[Array, Array, Array]:
    """Masses between `edges` (the first and last cell are open) under N(0), N(mu), N(-mu)."""

    def masses(mean: float) -> Array:
        below = np.concatenate([[0.0], special.ndtr(edges - mean), [1.0]])
        return np.diff(below)

    return masses(0.0), masses(mu), masses(-mu)


def attained(*, mu: float, rounds: int, multiples: Array) -> tuple[Array, Array]:
    """Rates of a test for each multiple: a lower bound of `P`'s and an upper bound of `Q`'s.

    `P` and `Q` are the means over `i` of the normal laws about `mu e_i` and `-mu e_i` in as many
    dimensions as an epoch has steps.

    Args:
      mu: `1/noise_multiplier`.
      rounds: Steps of an epoch.
      multiples: The `k >= 1` that the tests are made for.
    """
    found = [_test(mu, rounds, float(k)) for k in multiples]
    return np.array([p for p, _ in found]), np.array([q for _, q in found])


def _test(mu: float, rounds: int, k: float) -> tuple[float, float]:
    # Terms beyond what most sums can hold decide alone: the lattice ends there.
    common = min(mu + 4.0, -float(special.ndtri(1e-2 / rounds)))
    top = math.exp(mu * common - 0.5 * mu * mu)
    square = math.exp(mu * mu) * float(special.ndtr(common - 2 * mu))
    deviation = math.sqrt(max((1 + k * k) * square - 2 * k * math.exp(-mu * mu), k * mu * mu / 4))
    spread = deviation * math.sqrt(rounds)
    mean = 1 - k
    half = 9 * spread + rounds * abs(mean) + 3 * top
    step = max(_FINENESS * deviation, 3 * half / _LONGEST)
    reach = max(math.ceil(half / step), 4)
    points = 1 << math.ceil(math.log2(3 * reach + 2))
    # Values are rounded to the nearest point; those beyond the ends go to the ends.
    last = min(reach, max(math.ceil(k * math.exp(7 * mu) / step), 1))
    first = -last
    last = min(reach, max(math.ceil(math.exp(7 * mu) / step), 1))
    between = np.asarray((np.arange(first, last) + 0.5) * step, dtype=np.float64)
    edges = inverse(between, np.array(k), mu)
    spectra = []
    for law in _laws(mu, edges):
        circle = np.zeros(points)
        circle[np.arange(first, last + 1) % points] = law
        spectra.append(fft.rfft(circle))
    alone, hit, miss = spectra
    others = power(alone, rounds - 1)
    # Positive sums are the places 1 .. points/2. Sums beyond the circle come out at the wrong
    # place: under P those from below are taken off, under Q those from above are added.
    place = slice(1, points // 2 + 1)
    rates = [float(fft.irfft(others * s, points)[place].sum()) for s in (hit, miss)]
    unit = 8 * _UNIT * math.log2(points)
    error = (rounds * (3 * unit + 4 * _RELATIVE_ERROR) + 1e-12) * math.sqrt(points)
    numbers = np.arange(first, last + 1)
    laws = _laws(mu, edges)
    low = _beyond(-numbers, laws[0], laws[1], rounds, points // 2)
    high = _beyond(numbers, laws[0], laws[2], rounds, points // 2)
    return max(rates[0] - error - low, 0.0), min(rates[1] + error + high, 1.0)


def _beyond(numbers: npt.NDArray[np.int64], law: Array, own: Array, rounds: int, end: int) -> float:
    """Chance that a sum reaches `end`, by Chernoff's inequality at a few tilts.

    All but one term have the law `law`, one has the law `own`.
    """
    best = 0.0
    for tilt in np.geomspace(0.5, 60.0, 12) / end:
        weight = np.exp(tilt * numbers)
        log_chance = (rounds - 1) * math.log(float(law @ weight))
        best = min(best, log_chance + math.log(float(own @ weight)) - tilt * end)
    return math.exp(best) * (1 + 1e-9)
