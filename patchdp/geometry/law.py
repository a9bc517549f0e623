"""The law of one crop: a mixture of windows, independent along the axes within each component.

>>> from fractions import Fraction
>>> from patchdp.geometry.law import WindowLaw
>>> from patchdp.geometry.windows import AxisWindows
>>> half = Fraction(1, 2)
>>> law = WindowLaw.mixture([(half, (AxisWindows(1, 0, 3),)), (half, (AxisWindows(4, 0, 0),))])
>>> law.exact([[2, 1]])                         # of 4 windows 2 hit, of 1 window 1 hits
Fraction(3, 4)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp.geometry.windows import AxisLaw, AxisWindows, Counts, Windows, keys

__all__ = ["Floats", "WindowLaw"]

Floats: TypeAlias = npt.NDArray[np.float64]

# Sums of more fractions than this are kept as floats: their common denominators explode.
MOST_FRACTIONS = 64
# Dense weight tables up to this many entries are contracted as matrices.
MOST_DENSE = 20_000_000
# Entries of intermediate arrays when many boxes are asked about.
ROWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class WindowLaw:
    """The hit probability `sum_k weight_k prod_axis share_k,axis` of one crop.

    Attributes:
        axes: the different laws along each axis.
        index: whole numbers of shape `(components, axes)`: which law each component has.
        weights: probability of each component; fractions, or floats.
        monotone: whether the sum does not decrease in any key.
        slack: relative error of float weights; the probability is raised by it.
    """

    axes: tuple[tuple[AxisLaw, ...], ...]
    index: Counts
    weights: tuple[Fraction, ...] | Floats
    monotone: bool = True
    slack: float = 0.0

    @staticmethod
    def single(laws: Iterable[AxisLaw]) -> WindowLaw:
        """One component: axes that are independent of each other."""
        axes = tuple((law,) for law in laws)
        return WindowLaw(axes, np.zeros((1, len(axes)), dtype=np.int64), (Fraction(1),))

    @staticmethod
    def mixture(
        components: Sequence[tuple[Fraction, Sequence[AxisLaw]]], *, monotone: bool = True
    ) -> WindowLaw:
        """Several components with their probabilities."""
        found: list[dict[AxisLaw, int]] = [{} for _ in components[0][1]]
        index = [
            [seen.setdefault(law, len(seen)) for seen, law in zip(found, laws, strict=True)]
            for _, laws in components
        ]
        weights: tuple[Fraction, ...] | Floats = tuple(weight for weight, _ in components)
        if len(components) > MOST_FRACTIONS:
            weights = np.array([float(weight) for weight in weights])
        axes = tuple(tuple(seen) for seen in found)
        return WindowLaw(axes, np.array(index, dtype=np.int64), weights, monotone, slack=1e-15)

    @property
    def plain(self) -> tuple[AxisWindows, ...] | None:
        """The uniform windows along each axis, where that is all there is to the law."""
        if len(self.weights) != 1 or self.weights[0] != 1:
            return None
        only = [laws[0] for laws in self.axes]
        windows = tuple(law for law in only if isinstance(law, AxisWindows))
        return windows if len(windows) == len(only) else None

    @property
    def rational(self) -> bool:
        """Whether `exact` is to be had."""
        return isinstance(self.weights, tuple)

    def keys(self, axis: int, starts: Counts, stops: Counts) -> Counts:
        """Keys of intervals along one axis, all laws side by side: shape `(n, m)`."""
        return keys(self.axes[axis], starts, stops)

    def exact(self, keys: Sequence[Sequence[int]]) -> Fraction:
        """The hit probability of a box, from its keys along each axis."""
        assert isinstance(self.weights, tuple)
        shares = []
        for laws, row in zip(self.axes, keys, strict=True):
            cuts = self._cuts(laws)
            shares.append([law.exact(row[cut]) for law, cut in zip(laws, cuts, strict=True)])
        total = Fraction(0)
        for weight, component in zip(self.weights, self.index.tolist(), strict=True):
            total += weight * math.prod(
                (shares[axis][k] for axis, k in enumerate(component)), start=Fraction(1)
            )
        return total

    def at(self, keys: Sequence[Counts]) -> float:
        """The hit probability of one box (keys of shape `(1, m)`), raised past its rounding."""
        terms = np.array(self.weights, dtype=np.float64)
        for axis, row in enumerate(keys):
            terms = terms * self._shares(axis, row)[0, self.index[:, axis]]
        # Each product has a few roundings; pairwise sums have fewer than 16 + log2(terms).
        error = (self.slack + 64 * 2.0**-52) * float(np.abs(terms).sum())
        return min(1.0, max(0.0, float(terms.sum()) + error))

    def outer(self, keys: Sequence[Counts]) -> Floats:
        """Hit probabilities of all boxes with the given keys along each axis: one axis each."""
        shares = [self._shares(axis, rows) for axis, rows in enumerate(keys)]
        weights = np.array(self.weights, dtype=np.float64)
        if len(shares) == 2:
            table = math.prod(len(laws) for laws in self.axes)
            if table <= min(MOST_DENSE, len(weights) * len(self.axes[1])):
                return shares[0] @ self._dense(weights) @ shares[1].T
            left, right = (s[:, self.index[:, axis]] for axis, s in enumerate(shares))
            return (left * weights) @ right.T
        result: Floats = np.zeros(tuple(len(share) for share in shares))
        for weight, component in zip(weights, self.index, strict=True):
            term = np.array(weight)
            for share, k in zip(shares, component, strict=True):
                term = np.multiply.outer(term, share[:, k])
            result += term
        return result

    def rows(self, starts: Counts, stops: Counts) -> Floats:
        """Hit probabilities of `n` boxes: corners and ends of shape `(n, axes)`."""
        axes = range(len(self.axes))
        if (
            len(axes) == 2
            and len(self.weights) > 8
            and all(isinstance(law, Windows) for laws in self.axes for law in laws)
        ):
            return self._rows_from_tables(starts, stops)
        weights = np.array(self.weights, dtype=np.float64)
        result = np.empty(len(starts))
        step = 1 + ROWS_AT_ONCE // len(weights)
        for begin in range(0, len(starts), step):
            cut = slice(begin, begin + step)
            terms: Floats = weights[None, :]
            for axis in axes:
                found = self.keys(axis, starts[cut, axis], stops[cut, axis])
                terms = terms * self._shares(axis, found)[:, self.index[:, axis]]
            result[cut] = terms.sum(axis=1)
        return result

    def _rows_from_tables(self, starts: Counts, stops: Counts) -> Floats:
        # A share is the difference of "started before the interval ends" and "ended before it
        # starts", each a function of one end. Two axes leave four tables over pairs of ends.
        ends = []
        for axis, laws in enumerate(self.axes):
            position = np.arange(int(stops[:, axis].max(initial=0)) + 1, dtype=np.int64)
            windows = [law for law in laws if isinstance(law, Windows)]
            upper = [law.starts_up_to(position - 1) / law.total for law in windows]
            lower = [law.starts_up_to(position - law.length) / law.total for law in windows]
            ends.append((np.stack(upper, axis=1), np.stack(lower, axis=1)))
        weights = self._dense(np.array(self.weights, dtype=np.float64))
        result = np.zeros(len(starts))
        for k, row in enumerate((stops[:, 0], starts[:, 0])):
            left = ends[0][k] @ weights
            for m, column in enumerate((stops[:, 1], starts[:, 1])):
                result += (-1) ** (k + m) * (left @ ends[1][m].T)[row, column]
        return result

    def _dense(self, weights: Floats) -> Floats:
        table = np.zeros(tuple(len(laws) for laws in self.axes))
        np.add.at(table, tuple(self.index.T), weights)
        return table

    def _shares(self, axis: int, rows: Counts) -> Floats:
        """Shares of shape `(n, laws)` from keys of shape `(n, m)`."""
        laws = self.axes[axis]
        if all(type(law) is AxisWindows for law in laws):
            totals = [law.total for law in laws if isinstance(law, AxisWindows)]
            return rows / np.array(totals, dtype=np.float64)
        cuts = self._cuts(laws)
        return np.stack([law.shares(rows[:, c]) for law, c in zip(laws, cuts, strict=True)], axis=1)

    @staticmethod
    def _cuts(laws: Sequence[AxisLaw]) -> list[slice]:
        cuts, begin = [], 0
        for law in laws:
            cuts.append(slice(begin, begin + law.width))
            begin += law.width
        return cuts
