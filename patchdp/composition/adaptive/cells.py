"""Every choice an adversary has in one step: triangles in a ball, covered by finitely many bounds.

>>> import numpy as np
>>> weights = Weights.fixed(0.5)
>>> losses = np.array([0.0, 1.0])
>>> whole = side_profile(weights, 1.0, Cell(0.0, np.pi / 2, 0.0, np.pi / 2), losses)
>>> point = side_profile(weights, 1.0, Cell(1.0, 1.0, 1.0, 1.0), losses)
>>> bool(np.all(point <= whole))
True

Given the past, one step shows `(1-r) N(m) + r N(g)` or `(1-r) N(m) + r N(g')`, with `m`, `g`, `g'`
in a ball whose radius is the clipping norm. Sources: `docs/theory/optimal.md`, "One step is a
triangle", "Kahane's inequality", "Which triangles".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.adaptive.steps import Weights

__all__ = ["FORWARD", "Cell", "side_profile"]

Array = npt.NDArray[np.float64]

_HALF_PI = 0.5 * math.pi
_UNIT = 2.0**-53
# Conditional deviations are not allowed below this: a larger variance only raises the bound.
_LEAST_DEVIATION = 1e-7
# Weights above, and rounding of the profile's two terms, in units of those terms.
_TERM_ERROR = 1e-12
# Bins of U: below `_FAR` deviations hardly anything is decided, and bins are wider.
_LOW, _FAR, _COARSER = -12.0, -6.5, 3.0


@dataclass(frozen=True)
class Cell:
    """All triangles whose angle at `g'` lies in `[a_low, a_high]`, at `g` in `[b_low, b_high]`.

    >>> FORWARD.entries(acute=True)
    (2.0, 2.0, 4.0)

    The triangles are inscribed in the unit circle: `|g - m| = 2 sin A`, `|g' - m| = 2 sin B`,
    `|g - g'| = 2 sin(A + B)`. A cell of no width is one triangle.
    """

    a_low: float
    a_high: float
    b_low: float
    b_high: float

    def mirrored(self) -> Cell:
        """The same triangles with `g` and `g'` exchanged."""
        return Cell(self.b_low, self.b_high, self.a_low, self.a_high)

    def split(self) -> tuple[Cell, Cell, Cell, Cell]:
        """Four quarters."""
        a, b = 0.5 * (self.a_low + self.a_high), 0.5 * (self.b_low + self.b_high)
        return (
            Cell(self.a_low, a, self.b_low, b),
            Cell(self.a_low, a, b, self.b_high),
            Cell(a, self.a_high, self.b_low, b),
            Cell(a, self.a_high, b, self.b_high),
        )

    def center(self) -> Cell:
        """The triangle in the middle."""
        a, b = 0.5 * (self.a_low + self.a_high), 0.5 * (self.b_low + self.b_high)
        return Cell(a, a, b, b)

    def obtuse_at_m(self) -> bool:
        """Whether no triangle of the cell is acute or right at `m`."""
        return self.a_high + self.b_high < _HALF_PI - 1e-12

    def entries(self, *, acute: bool) -> tuple[float, float, float]:
        """Upper bounds of `|g - m|`, `|g - g'|` and `<g - m, g - g'>` over the cell.

        Args:
          acute: Whether triangles with an obtuse angle at `m` may be left out.
        """
        a0, a1, b0, b1 = self.a_low, self.a_high, self.b_low, self.b_high
        if acute:
            a0, b0 = max(a0, min(_HALF_PI - b1, a1)), max(b0, min(_HALF_PI - a1, b1))
        up, down = 1 + 4 * _UNIT, 1 - 4 * _UNIT
        low_sum, high_sum = a0 + b0, a1 + b1
        if acute:
            low_sum = max(low_sum, _HALF_PI)
        if low_sum <= _HALF_PI <= high_sum:
            d3 = 2.0
        else:
            d3 = 2 * math.sin(high_sum if high_sum < _HALF_PI else low_sum) * up
        d1, d2_least = min(2 * math.sin(a1) * up, 2.0), 2 * math.sin(b0) * down
        c1 = min(
            d1 * d3 * min(math.cos(b0) * up, 1.0) * up,
            # Squares of at most 4 that cancel: their rounding is absolute.
            0.5 * (d1 * d1 + d3 * d3 - d2_least * d2_least) + 32 * _UNIT,
            d1 * d3,
            d3 * d3,
        )
        return d1, min(d3, 2.0), max(c1, 0.0)


FORWARD = Cell(_HALF_PI, _HALF_PI, 0.0, 0.0)
"""`m = g'`: the extreme whose losses have the heavy upper tail."""


def _normal_mass(left: Array, right: Array) -> Array:
    flip = left > 0
    return np.asarray(
        np.where(
            flip,
            special.ndtr(-left) - special.ndtr(-right),
            special.ndtr(right) - special.ndtr(left),
        )
    )


def _bins(shift: float, fineness: float) -> tuple[Array, Array, float]:
    """Points `U_b` and probabilities that dominate `U = exp(shift z - shift^2/2)` convexly.

    Every bin's mass is shared between its two ends so that mass and mean are kept, which can only
    raise the expectation of a convex function of `U`. Last comes the mass below all of them.
    """
    width = min(fineness, 2 * fineness / shift)
    high = 0.5 * shift + 2 * width  # beyond shift/2, U > 1 >= 1/a and nothing is left
    far = np.linspace(_LOW, _FAR, math.ceil((_FAR - _LOW) / (_COARSER * width)) + 1)
    near = np.linspace(_FAR, high, max(math.ceil((high - _FAR) / width), 8) + 1)
    edges = np.concatenate([far[:-1], near])
    log_u = shift * edges - 0.5 * shift * shift
    u = np.exp(log_u)
    left, right = edges[:-1], edges[1:]
    mass = _normal_mass(left, right)
    mean = _normal_mass(left - shift, right - shift)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        above = (mean / u[:-1] - mass) / np.expm1(np.diff(log_u))
    # Where `u` leaves the range of floats all mass stays at the lower end, which is the worse one.
    above = np.where((u[:-1] > 0) & (above > 0), np.minimum(above, mass), 0.0)
    weights = np.zeros(len(edges))
    weights[1:] += above
    weights[:-1] += mass - above
    return log_u, weights, float(special.ndtr(_LOW))


def _threshold(log_k: Array, terms: list[tuple[Array, float]]) -> tuple[Array, Array]:
    """An `x` not left of the root of `sum_i exp(log_a_i + s_i x) = k`, and what is left of it.

    Newton from the right on a convex function: it stays on that side. The second array is
    `sum_i / k - 1` at `x`, at least 0.
    """
    x = np.minimum.reduce([(log_k - log_a) / s for log_a, s in terms])
    if len(terms) == 1:
        return np.asarray(x), np.zeros_like(x)
    (first, s), (second, t) = terms
    for _ in range(40):
        one, two = first + s * x, second + t * x
        total = np.logaddexp(one, two)
        share = np.exp(one - total)
        excess = np.maximum(total - log_k, 0.0)
        if np.fmax.reduce(excess, axis=None, initial=0.0) < 1e-6:
            break
        x = x - excess / (t + share * (s - t))
    return np.asarray(x), np.expm1(np.minimum(excess, 1.0))


def _components(
    weights: Weights, mu: float, cell: Cell
) -> tuple[float, list[tuple[float, float, float]]]:
    """The deviation of `log U`, and weight, exponent of `U` and own deviation of the others."""
    d1, d3, c1 = cell.entries(acute=weights.out == 0)
    shift = mu * d3 * (1 + 4 * _UNIT)
    if shift == 0:
        return 0.0, []
    v3 = shift * shift
    slope = min(c1 / (d3 * d3), 1.0)
    s1 = math.sqrt(max((mu * d1) ** 2 - slope * slope * v3, 0.0)) + _LEAST_DEVIATION * max(mu, 1e-3)
    found = []
    if weights.out > 0:
        s0 = mu * math.sqrt(max(1 - d3 * d3 / 4, 0.0)) + _LEAST_DEVIATION * max(mu, 1e-3)
        # Given U the two residuals are taken as comonotone, with a product that covers cov(m, 0).
        needed = max(mu * mu * d1 * d1 / 2 - slope * v3 / 2, 0.0)
        if s0 * s1 < needed:
            s1 = max(s1, math.sqrt(needed) * (1 + 4 * _UNIT))
            s0 = max(s0, needed / s1 * (1 + 4 * _UNIT))
        found.append((weights.out, 0.5, s0))
    if weights.miss > 0:
        found.append((weights.miss, slope, s1))
    return shift, found


def side_profile(
    weights: Weights, mu: float, cell: Cell, losses: Array, *, fineness: float = 0.1
) -> Array:
    """Upper bounds of `H_a(P||Q)` at `a = e^losses >= 1`, for every triangle of a cell.

    In coordinates centred at `g`, `P - a Q` is `N(g)` times `hit - Y`, where `Y` is a positive
    combination of lognormal variables, so that Kahane's inequality lets every covariance be
    replaced by a larger one. What remains is one integral, bounded above by `_bins`.

    Args:
      weights: The step.
      mu: `1/noise_multiplier`.
      cell: Which triangles.
      losses: Shape `(n,)`, at least 0 and below 600.
      fineness: Width of the bins in noise standard deviations; smaller is sharper.

    Returns:
      Shape `(n,)`, never below the truth.
    """
    shift, components = _components(weights, mu, cell)
    order = np.asarray(losses, dtype=np.float64)
    if shift == 0:
        return np.zeros(len(order))
    log_u, probability, bottom = _bins(shift, fineness)
    # Only bins with a U < 1 count: for each loss the first few of them.
    counts = np.searchsorted(log_u, -order)
    starts = np.cumsum(counts) - counts
    rows = np.repeat(np.arange(len(order)), counts)
    bins = np.arange(len(rows)) - starts[rows]
    log_u_at = log_u[bins]
    share = -np.expm1(np.minimum(order[rows] + log_u_at, 0.0))
    k = weights.hit * share
    if not components:
        plus, minus = k, np.zeros_like(k)
    else:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_k = np.log(k)
            log_excess = np.log(np.expm1(order))[rows]
            terms = []
            for weight, power, s in components:
                drift = power * log_u_at + (0.5 * power * (1 - power) * shift * shift)
                terms.append((log_excess + math.log(weight) + drift, s))
            x, past = _threshold(log_k, [(log_a - 0.5 * s * s, s) for log_a, s in terms])
            # Only 0 - 0 in log space gives NaN; there the bound is k, which is 0 beyond U = 1/a.
            unclear = np.isnan(x) | np.isnan(past)
            x, past = np.where(unclear, np.inf, x), np.where(unclear, 0.0, past)
            # Right of the root the integrand has become negative: at most -past * k each.
            plus = k * special.ndtr(x) * (1 + past)
            minus = np.zeros_like(k)
            for log_a, s in terms:
                part = np.exp(np.minimum(log_a, 700.0)) * special.ndtr(x - s)
                minus += np.where((plus > 0) & ~unclear, np.minimum(part, plus), 0.0)
    weight_at = probability[bins]
    size = len(order)
    # Below all bins nothing is subtracted.
    plus_sum = np.bincount(rows, weights=plus * weight_at, minlength=size) + weights.hit * bottom
    minus_sum = np.bincount(rows, weights=minus * weight_at, minlength=size)
    value = np.maximum(plus_sum - minus_sum, 0.0) + _TERM_ERROR * (plus_sum + minus_sum)
    return np.asarray(np.minimum(value, weights.hit))
