"""What an adaptive adversary attains for certain: value iteration over two triangles, rounded down.

>>> from patchdp.composition.value_iteration import Grid
>>> from patchdp.step import fixed_size_pair
>>> grid = Grid(interval=0.01, window=400, reach=400)
>>> values = attain([(fixed_size_pair(rate=0.5, mu=0.5), 1)], grid)
>>> bool(0.19 < values[-1] < 0.191463)  # one step at loss 0 attains r (2 Phi(mu) - 1)
True

The two are `m = g'` and `m = g`: the pair whose losses have the heavy upper tail, and the same pair
the other way round. A gradient oracle that picks one of them from the past is a real training run.
Source: `docs/theory/optimal.md`, "The lower bound".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from patchdp.composition.grid.fft import fft_unit
from patchdp.composition.value_iteration import Grid
from patchdp.step.mixture import MixturePair

__all__ = ["attain"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
# Relative accuracy of the normal cdf and of the sums made of it, generously.
_RELATIVE_ERROR = 1e-13


def _positions(pair: MixturePair, losses: Array) -> Array:
    """Roughly the `x <= 0` where `L(x) = -losses`; any `x` gives a valid line."""
    low, high = np.full(losses.shape, -60.0 - 4 * max(pair.shifts)), np.zeros(losses.shape)
    for _ in range(50):
        x = 0.5 * (low + high)
        left = pair.loss(x) < -losses
        low, high = np.where(left, x, low), np.where(left, high, x)
    return np.asarray(0.5 * (low + high))


def _below_lines(pair: MixturePair, grid: Grid) -> tuple[Array, Array]:
    """Gains of a discrete pair with losses on the grid and a profile below the true one.

    For every `x` the line `P(X > x) - a Q(X > x)` is below the profile, and so is `(1 - a)_+`. One
    of them is drawn over each interval of the grid, and each node takes the lower of its two.
    """
    h, n = grid.interval, grid.reach
    middle = np.asarray(h * (np.arange(n) + 0.5), dtype=np.float64)
    nodes = np.asarray(h * np.arange(n + 1), dtype=np.float64)
    gains, shifts = np.array(pair.gains), np.array(pair.shifts)
    weights, means = np.array(pair.q_weights), np.array(pair.q_means)

    def line(x: Array, excess: Array, tail: Array) -> Array:
        spread = special.ndtr(shifts - np.abs(x)[:, None]) - special.ndtr(
            -shifts - np.abs(x)[:, None]
        )
        advantage = spread @ gains
        return np.asarray(advantage * (1 - _RELATIVE_ERROR) - excess * tail * (1 + _RELATIVE_ERROR))

    # Gain at e^l above 1: G - (a - 1) Q(X > x); at e^-l below 1: G - (1 - a) Q(X <= x).
    def lowest(
        at: Callable[[Array], Array], beyond: Callable[[Array], Array], excess: Array
    ) -> Array:
        near, far = np.zeros(n), np.zeros(n)
        # A line falls outwards. Where the tangent in the middle ends below 0 the one at the end is
        # drawn, and gain 0 where rounding leaves that below 0 too.
        for losses in (middle, nodes[1:]):
            x, todo = at(losses), far <= 0
            tail = beyond(x[todo])
            near[todo] = line(x[todo], excess[:-1][todo], tail)
            far[todo] = line(x[todo], excess[1:][todo], tail)
        near, far = np.where(far > 0, near, 0.0), np.maximum(far, 0.0)
        return np.concatenate([near[:1], np.minimum(far[:-1], near[1:]), [0.0]])

    right = lowest(
        pair.position, lambda x: special.ndtr(means - x[:, None]) @ weights, np.expm1(nodes)
    )
    left = lowest(
        lambda losses: _positions(pair, losses),
        lambda x: special.ndtr(x[:, None] - means) @ weights,
        -np.expm1(-nodes),
    )
    right[0] = left[0] = min(right[0], left[0])
    gains_found = _convex_minorant(nodes, right, left)
    return gains_found[n:], gains_found[n::-1]


def _convex_minorant(nodes: Array, right: Array, left: Array) -> Array:
    """Gains over `(1 - a)_+` of the convex minorant of a profile, from `-nodes[-1]` to `nodes[-1]`.

    Convexity in `a` of the profile is convexity of its gain on each side of `a = 1`; below 1 it is
    judged in the coordinate `1/a`, in which small gains keep their accuracy.
    """
    n = len(nodes) - 1
    losses = np.concatenate([-nodes[:0:-1], nodes])
    gains = np.concatenate([left[:0:-1], right])
    a = np.exp(losses)
    profile = gains + np.maximum(-np.expm1(losses), 0.0)
    turned, inverse = gains / a, -1 / a  # increasing, like a

    def coordinates(first: int, last: int) -> tuple[Array, Array]:
        if last <= n:
            return inverse, turned
        return (a, gains) if first >= n else (a, profile)

    hull: list[int] = []
    for i in range(len(a)):
        while len(hull) > 1:
            j, k = hull[-2], hull[-1]
            x, y = coordinates(j, i)
            if (y[k] - y[j]) * (x[i] - x[k]) < (y[i] - y[k]) * (x[k] - x[j]):
                break
            hull.pop()
        hull.append(i)
    result = gains.copy()
    for j, i in itertools.pairwise(hull):
        if i > j + 1:
            x, y = coordinates(j, i)
            between = np.arange(j + 1, i)
            chord = y[j] + (y[i] - y[j]) * ((x[between] - x[j]) / (x[i] - x[j]))
            if i <= n:
                chord = chord * a[between]
            elif j < n:
                chord = chord - np.maximum(-np.expm1(losses[between]), 0.0)
            result[between] = np.clip(chord, 0.0, gains[between])
    return result


def _negative_mass(right: Array, left: Array, interval: float) -> float:
    """How much negative probability rounding leaves in the discrete pair."""
    gains = np.concatenate([left[:0:-1], right])
    n = len(right) - 1
    inverse = 1 / math.expm1(interval)
    falls = -np.diff(gains)  # from loss l - h to l
    masses = falls[:-1] + (falls[:-1] - falls[1:]) * inverse
    masses[n - 1] += 1.0
    noise = 4 * _UNIT * (1 + 2 * inverse) * float(np.sum(np.abs(falls)))
    return float(np.sum(np.maximum(-masses, 0.0))) + noise


def attain(
    phases: Sequence[tuple[MixturePair, int]],
    grid: Grid,
    *,
    ceiling: Array | float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> Array:
    """Values `V(s)` on the grid that some adaptive adversary reaches, shape `(window + 1,)`.

    Args:
      phases: The pair of each phase and its number of steps, in the order of the training.
      grid: The grid of losses.
      ceiling: Upper bounds of the best adversary's value one kernel's reach to the right of every
        node: what a unit of negative mass, left by rounding, could take away.
      progress: Called with the finished fraction.
    """
    total, done = sum(count for _, count in phases), 0
    values = np.zeros(grid.window + 1)
    for pair, count in reversed(phases):
        right, left = _below_lines(pair, grid)
        # The same pair the other way round: its profile at a is a times the other's at 1/a.
        turned = left * np.exp(grid.offsets)
        arrays = np.stack([grid.kernel(right, turned), grid.kernel(turned, right)])
        kernels = np.asarray(fft.rfft(arrays))
        size = float(np.abs(arrays).sum(axis=1).max())
        norm, largest = float(np.linalg.norm(arrays, axis=1).max()), float(arrays.max())
        lost = max(
            _negative_mass(right, left, grid.interval),
            _negative_mass(turned, right * np.exp(-grid.offsets), grid.interval),
        )
        for _ in range(count):
            nu, error = grid.curvature(values)
            extended = grid.extended(nu)
            rows = fft.irfft(kernels * fft.rfft(extended), grid.length, axis=-1)
            gain = rows[:, : grid.window + 1].max(axis=0)
            summed, length = float(np.abs(extended).sum()), float(np.linalg.norm(extended))
            slack = fft_unit(grid.length) * (2 * summed * size + length * norm) + 2 * error * size
            # Rounding is relative to the positive terms: the gain and what was taken off it.
            off = summed - float(extended.sum())
            slack += grid.rounding * off * largest
            lowered = gain - grid.rounding * np.abs(gain) - slack
            values = (values + lowered * grid.scale - lost * ceiling) * (1 - 8 * _UNIT)
            values = np.maximum(values, 0.0)
            values[0] = 0.0  # left of the grid nothing is claimed
            done += 1
            if progress is not None and done % 64 == 0:
                progress(done / total)
    return values
