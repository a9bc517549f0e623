"""Values of the best adversary on a lattice of losses, as measures that spread over hats.

>>> lattice = Lattice(0.1, 40)
>>> dots = np.zeros(81)
>>> dots[40] = 1.0
>>> round(float(lattice.values(dots, 0.0)[50]), 6)  # (1 - e^{-s})_+ at s = 1
0.632121

A value function is `V(s) = c + sum_j W_j (e^{-t_j/2} - e^{t_j/2 - s})_+`: dots `W_j` at the
lattice's points `t_j` in half-tilted units, and the mass `c` at infinite loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Lattice"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_UNIT = 2.0**-53
# Dots this near to 0 are spread, in so many rounds.
_REACH, _ROUNDS = 16, 6


def _cubic(z: Array) -> Array:
    """`2 z cosh(z/2) - 4 sinh(z/2)` for `0 <= z <= 1`: a series, because the terms cancel."""
    square = z * z
    inner = 1 / 4480 + square * (1 / 967680 + square / 340623360)
    terms = 1.0 + square * (1 / 40 + square * inner)
    return np.asarray(z * square / 6 * terms)


@dataclass(frozen=True)
class Lattice:
    """Losses `-size h .. size h`.

    Args:
      interval: Spacing `h`.
      size: Points on either side of 0.
    """

    interval: float
    size: int

    @cached_property
    def losses(self) -> Array:
        """The points, shape `(2 size + 1,)`."""
        return np.asarray(self.interval * np.arange(-self.size, self.size + 1), dtype=np.float64)

    @cached_property
    def half(self) -> Array:
        """`e^{s/2}` at the points."""
        return np.exp(0.5 * self.losses)

    def hat(self, z: Array) -> Array:
        """The chord function: combinations of `e^{s/2}, e^{-s/2}`, 1 at 0 and 0 beyond `h`."""
        h = self.interval
        return np.sinh(0.5 * np.maximum(h - np.abs(z), 0.0)) / math.sinh(0.5 * h)

    def double_hat(self, z: Array) -> Array:
        """The density of a dot spread by two hats, per unit; 0 beyond `2 h`."""
        h = self.interval
        wide = _cubic(np.maximum(2 * h - np.abs(z), 0.0))
        narrow = _cubic(np.maximum(h - np.abs(z), 0.0))
        scale = (2 * h * math.sinh(0.5 * h)) ** 2
        return np.asarray(np.maximum(wide - 4 * math.cosh(0.5 * h) * narrow, 0.0) / scale)

    @cached_property
    def lift(self) -> float:
        """How much a hat in place of a dot raises `e^{s/2} V` where the dot is, per unit."""
        h = self.interval
        if h < 0.02:
            return h / 6 * (1 + h * h)
        return 1 / math.tanh(0.5 * h) - 2 / h

    def values(self, dots: Array, infinite: float) -> Array:
        """`V` at the points: two running sums of positive terms."""
        u = np.exp(self.losses)
        slopes = infinite + np.cumsum(dots / self.half)
        rises = slopes[:-1] * u[:-1] * math.expm1(self.interval)
        return np.asarray(
            np.concatenate([[infinite * u[0]], infinite * u[0] + np.cumsum(rises)]) / u
        )

    def close(self, dots: Array, infinite: float) -> Array:
        """Symmetric dots from those left of 0, whose values nowhere fall below.

        The dot at 0 follows from `V(s) = 1 - e^{-s}(1 - V(-s))`. Where it would be negative the
        chord over a symmetric interval replaces it: still above the convex truth.
        """
        n, half = self.size, self.half
        left = dots[:n][::-1]  # at -h, -2h, ...
        pull = left * (half[n + 1 :] + 1 / half[n + 1 :])
        total = float(np.sum(pull))
        middle = 1.0 - infinite - total + (4 * n + 16) * _UNIT
        left = left.copy()
        if middle < 0:
            sums = middle + np.cumsum(pull)
            m = int(np.argmax(sums >= 0))
            if sums[m] < 0:
                m = n - 1
            left[:m] = 0.0
            left[m] = max(sums[m], 0.0) / (half[n + 1 + m] + 1 / half[n + 1 + m])
            middle = 0.0
        return np.concatenate([left[::-1], [middle], left])

    def smooth(self, dots: Array) -> Array:
        """The same dots with those near 0 spread over their neighbours, mass and mean kept.

        Closing leaves a corner at 0, and every kink has to be paid for between the points.
        """
        reach, n = min(_REACH, self.size - 1), self.size
        share = 0.5 * np.square(np.cos(0.5 * math.pi * np.arange(-reach, reach + 1) / (reach + 1)))
        result = dots.copy()
        near = slice(n - reach, n + reach + 1)
        for _ in range(_ROUNDS):
            given = share * result[near]
            result[near] -= given
            given = given * ((1 + 4 * _UNIT) / (2 * math.cosh(0.5 * self.interval)))
            result[n - reach - 1 : n + reach] += given
            result[n - reach + 1 : n + reach + 2] += given
        return result

    def scatter(self, dots: Array, at: Index) -> Array:
        """Dots at some of the points, spread as far as their nearer neighbour; mass and mean kept.

        Lumps would be kinks at the next look.
        """
        gaps = np.diff(at)
        width = np.minimum(np.append(gaps, gaps[-1:]), np.append(gaps[:1], gaps))
        result = np.zeros(2 * self.size + 1)
        for gap in np.unique(width):
            reach = np.arange(-gap + 1, gap)
            shape = np.sinh(0.5 * self.interval * (gap - np.abs(reach)))
            shape *= (1 + 16 * _UNIT) / float(shape @ np.exp(0.5 * self.interval * reach))
            chosen = width == gap
            padded = np.zeros(2 * self.size + 2 * gap - 1)
            padded[at[chosen] + gap - 1] = dots[chosen]
            spread = np.convolve(padded, shape)[gap - 1 : len(padded) + gap - 1]
            result += spread[gap - 1 : len(padded) - gap + 1]
            # What would leave the lattice stays at its ends.
            if gap > 1:
                result[0] += float(dots[chosen & (at < gap - 1)].sum())
                result[-1] += float(dots[chosen & (at > 2 * self.size - gap + 1)].sum())
        return result
