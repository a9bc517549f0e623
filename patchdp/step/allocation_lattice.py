"""The law of one step's term under random allocation, on a lattice and larger in convex order.

`W = G - k U` with `G = e^{mu Z - mu^2/2}`, `U = e^{-mu Z - mu^2/2}`, `Z` normal. Each cell's mass
goes to the two lattice points around it, its mean kept; what is computed of it is raised by a bound
of its rounding.

>>> import numpy as np
>>> one = lattice_of(0.5, np.array([1.0]), 8.5, 8.5, np.array([0.1]), np.array([-40.0]))
>>> bool(np.isclose(one.masses.sum(), 1.0)), bool(abs((one.masses * one.values).sum()) < 1e-9)
(True, True)

Source: `docs/theory/allocation.md`, "The certified value of an epoch".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = [
    "FAR",
    "RELATIVE_ERROR",
    "Lattice",
    "circle",
    "inverse",
    "lattice_of",
    "moments",
    "power",
    "shares",
]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

# Relative accuracy of the normal distribution function and of what is made of a few of its values.
RELATIVE_ERROR = 1e-13
# Terms above `mu + 13` are bounded by their mean, 6e-39.
FAR = 13.0


def inverse(w: Array, k: Array, mu: float) -> Array:
    """The `z` with `G(z) - k U(z) = w`, shaped like `w`; `k` is broadcast."""
    half = 0.5 * w * math.exp(0.5 * mu * mu)
    root = np.sqrt(half * half + k)
    return np.asarray(
        np.log(np.where(half >= 0, 1.0, k) * (np.abs(half) + root) ** np.where(half >= 0, 1, -1))
        / mu
    )


def _tails(z: Array, mu: float) -> tuple[Array, Array, Array]:
    """Masses of the laws N(0), N(mu), N(-mu) above `z` where `z > 0` and below it elsewhere."""
    sign = np.where(z > 0, -1.0, 1.0)
    return (special.ndtr(sign * z), special.ndtr(sign * (z - mu)), special.ndtr(sign * (z + mu)))


@dataclass(frozen=True, eq=False)
class Lattice:
    """Laws of the small terms on lattices, one row for each multiple.

    Args:
      step: Spacings, shape `(rows, 1)`.
      start: Lattice numbers of the first points, likewise.
      masses: Shape `(rows, points)`; at least those of a law that is larger in convex order.
    """

    step: Array
    start: npt.NDArray[np.int64]
    masses: Array

    @property
    def tops(self) -> Array:
        """The largest value of each row, or a little more."""
        points = self.masses.shape[1]
        empty = np.argmax(self.masses[:, ::-1] > 0, axis=1)
        return np.asarray(self.step[:, 0] * (self.start[:, 0] + points - empty))

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.start + np.arange(self.masses.shape[1]))

    @property
    def values(self) -> Array:
        return np.asarray(self.step * self.numbers)

    def coarser(self, group: int) -> Lattice:
        """A law on every so many points that is larger in convex order."""
        lead = self.start[:, 0] % group
        count = -(-(self.masses.shape[1] + group) // group)
        wide = np.zeros((len(self.masses), count * group))
        for row, mass in enumerate(self.masses):
            wide[row, lead[row] : lead[row] + len(mass)] = mass
        grouped = wide.reshape(len(wide), count, group)
        share = np.arange(group) / group
        masses = np.zeros((len(wide), count + 1))
        masses[:, :-1] += grouped @ (1 - share)
        masses[:, 1:] += grouped @ share
        return Lattice(self.step * group, self.start // group, masses)


def shares(
    edges: Array, k: Array, mu: float, low: Array, width: Array, index: Array
) -> tuple[Array, Array]:
    """Shares of the cells between `edges` that go to their lower and upper ends, rounded up.

    `low` is the value at the lower end, `width` the cell's, `index` a bound of `|low| / width`.
    """
    m, g, u = _tails(edges, mu)
    left, right = edges[:, :-1], edges[:, 1:]
    across = (left <= 0) & (right > 0)
    below = right <= 0

    def mass(tail: Array) -> tuple[Array, Array]:
        a, b = tail[:, :-1], tail[:, 1:]
        # `z <= 0` holds the mass below, `z > 0` the mass above: across 0 both are given up.
        return np.where(across, 1.0 - a - b, np.where(below, b - a, a - b)), a + b

    (m, m_size), (g, g_size), (u, u_size) = mass(m), mass(g), mass(u)
    pad = RELATIVE_ERROR * ((index + 2) * (m_size + across) + (g_size + k * u_size) / width)
    pad += RELATIVE_ERROR * across * (1 + k) / width
    up = (g - k * u - low * m) / width
    return np.maximum(m - up, 0.0) + pad, np.maximum(up, 0.0) + pad


def lattice_of(mu: float, k: Array, cut: float, far: float, step: Array, floor: Array) -> Lattice:
    """The law of `W = G - k U` where `Z <= cut`, one row for each `k`.

    Args:
      mu: `1/noise_multiplier`.
      k: Multiples, shape `(rows,)`.
      cut: Terms above it are left out.
      far: Terms above it count as 0.
      step: Spacings, shape `(rows,)`.
      floor: Negative numbers; values below them are raised to them. Shape `(rows,)`.
    """
    d, k = step[:, None], k[:, None]
    top = math.exp(mu * cut - 0.5 * mu * mu) - k * math.exp(-mu * cut - 0.5 * mu * mu)
    start = np.floor(floor[:, None] / d).astype(np.int64)
    last = np.maximum(np.ceil(top / d), 1).astype(np.int64)
    count = int(np.max(last - start)) + 1
    numbers = start + np.arange(count)
    z = np.minimum(inverse(numbers * d, k, mu), cut)
    z[numbers >= last] = cut
    inside = numbers[:, :-1] < last
    index = np.abs(numbers[:, :-1]).astype(np.float64)
    lower, upper = shares(z, k, mu, (numbers * d)[:, :-1], d, index)
    masses = np.zeros(numbers.shape)
    masses[:, :-1] += np.where(inside, lower, 0.0)
    masses[:, 1:] += np.where(inside, upper, 0.0)
    masses[:, 0] += special.ndtr(z[:, 0]) * (1 + RELATIVE_ERROR)
    masses[np.arange(len(k)), -start[:, 0]] += special.ndtr(-far) * (1 + RELATIVE_ERROR)
    return Lattice(d, start, masses)


def moments(lattice: Lattice, tilt: Array) -> tuple[Array, Array, Array, Array]:
    """Log of the moment generating function, mean and variance under the tilt; tilted masses."""
    values = lattice.values
    peak = (tilt * lattice.tops)[:, None]
    weights = lattice.masses * np.exp(np.minimum(tilt[:, None] * values - peak, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    mean = np.einsum("ij,ij->i", weights, values)
    square = np.einsum("ij,ij,ij->i", weights, values, values)
    return np.log(total[:, 0]) + peak[:, 0], mean, square - mean * mean, weights


def circle(lattice: Lattice, masses: Array, points: int) -> Array:
    """Masses laid around circles of `points` places."""
    rows, count = masses.shape
    circles = np.zeros((rows, points))
    for row in range(rows):
        place = int(lattice.start[row, 0]) % points
        done = 0
        while done < count:
            some = min(points - place, count - done)
            circles[row, place : place + some] += masses[row, done : done + some]
            place, done = 0, done + some
    return circles


def power(base: Complex, exponent: int) -> Complex:
    """`base**exponent` by squaring: relative error at most `3 * exponent` units of rounding."""
    result: Complex | None = None
    while exponent:
        if exponent & 1:
            result = base.copy() if result is None else result * base
        exponent >>= 1
        if exponent:
            base = base * base
    return np.ones_like(base) if result is None else result
