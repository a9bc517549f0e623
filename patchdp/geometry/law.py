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
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp._budget import MOST_NUMBERS, STEP, afford
from patchdp.geometry.windows import AxisLaw, AxisWindows, CountedLaw, Counts, Windows, keys

__all__ = ["Floats", "WindowLaw"]

Floats: TypeAlias = npt.NDArray[np.float64]

# Sums of more fractions than this are kept as floats: their common denominators explode.
MOST_FRACTIONS = 64
# The same along one axis, where the denominators are at most as long as the image.
MOST_PARTS = 4096
# Entries of intermediate arrays when many boxes are asked about.
ROWS_AT_ONCE = 4_000_000
# Multiplications of a matrix product that take as long as touching one number.
PRODUCTS = 50
# Products spent on sums without differences for many boxes, half a second's worth.
MOST_PRODUCTS = 1 << 31
UNIT = 2.0**-53
FEWER = "use a smaller image, a narrower range of sizes, or a crop of one size"


@dataclass(frozen=True, eq=False)
class WindowLaw:
    """The hit probability `sum_k weight_k prod_axis share_k,axis` of one crop.

    Attributes:
        axes: the different laws along each axis.
        index: whole numbers of shape `(components, axes)`: which law each component has.
        weights: probability of each component; fractions, or floats.
        monotone: whether the sum does not decrease in any key.
        slack: relative error of float weights, in either direction.
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
    def product(self) -> tuple[CountedLaw, ...] | None:
        """The law along each axis, where they are independent and count equal outcomes."""
        if len(self.weights) != 1 or self.weights[0] != 1:
            return None
        only = tuple(laws[0] for laws in self.axes)
        counted = tuple(law for law in only if isinstance(law, CountedLaw))
        return counted if len(counted) == len(only) else None

    @property
    def rational(self) -> bool:
        """Whether `exact` is to be had."""
        return isinstance(self.weights, tuple) and self._widest <= MOST_PARTS

    @property
    def _rounding(self) -> float:
        # Each product has a few roundings; pairwise sums have fewer than 16 + log2(terms).
        terms = min(len(self.weights), 96) + self._widest
        return self.slack + (8 + 2 * len(self.axes) + terms) * UNIT

    @cached_property
    def _widest(self) -> int:
        return max(law.width for laws in self.axes for law in laws)

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

    def at(self, keys: Sequence[Counts]) -> tuple[float, float]:
        """The hit probability of one box (keys of shape `(1, m)`), raised past its rounding.

        Second, by how much that may exceed it, relative to it.
        """
        terms = np.array(self.weights, dtype=np.float64)
        for axis, row in enumerate(keys):
            terms = terms * self._shares(axis, row)[0, self.index[:, axis]]
        error = self._rounding * float(np.abs(terms).sum())
        found = float(terms.sum())
        if error == 0:
            return 0.0, 0.0
        least = max(0.0, found - error)
        return min(1.0, max(0.0, found + error)), 2 * error / least if least else math.inf

    def outer(self, keys: Sequence[Counts]) -> Floats:
        """Hit probabilities of all boxes with the given keys along each axis: one axis each."""
        sizes = [len(rows) for rows in keys]
        places = math.prod(sizes)
        afford(places, f"{places:,} places of the patch", "ask for fewer places, by within=")
        shares = [self._shares(axis, rows) for axis, rows in enumerate(keys)]
        weights = np.array(self.weights, dtype=np.float64)
        if len(shares) == 2:
            table = math.prod(len(laws) for laws in self.axes)
            if table <= min(MOST_NUMBERS, len(weights) * len(self.axes[1])):
                self._afford_products(sizes)
                dense = self._dense(weights)
                if sizes[0] * dense.shape[1] <= sizes[1] * dense.shape[0]:
                    return (shares[0] @ dense) @ shares[1].T
                return shares[0] @ (dense @ shares[1].T)
            most = max(sizes) * len(weights)
            afford(most, f"a mixture of {len(weights):,} kinds of windows", FEWER)
            left, right = (s[:, self.index[:, axis]] for axis, s in enumerate(shares))
            return (left * weights) @ right.T
        work = len(weights) * (STEP + places)
        afford(0, f"a mixture of {len(weights):,} kinds of windows", FEWER, work=work)
        result: Floats = np.zeros(tuple(len(share) for share in shares))
        for weight, component in zip(weights, self.index, strict=True):
            term = np.array(weight)
            for share, k in zip(shares, component, strict=True):
                term = np.multiply.outer(term, share[:, k])
            result += term
        return result

    def rows(self, starts: Counts, stops: Counts) -> Floats:
        """Hit probabilities of `n` boxes, raised past their rounding.

        Corners and ends have shape `(n, axes)`. Few boxes are raised by a relative `1e-12` at
        most; many under a mixture of plain windows by some `1e-12` in all.
        """
        if len(self.axes) == 2 and len(self.weights) > 8:
            sizes = [len(laws) for laws in self.axes]
            table = math.prod(sizes)
            afford(table, f"a mixture over {table:,} pairs of sides", FEWER)
            spans, place = np.unique(
                np.stack([starts[:, 0], stops[:, 0]], axis=1), axis=0, return_inverse=True
            )
            plain = all(isinstance(law, Windows) for laws in self.axes for law in laws)
            if plain and len(spans) * table > MOST_PRODUCTS:
                return self._rows_from_tables(starts, stops)
            return self._rows_without_differences(spans, place, starts, stops)
        weights = np.array(self.weights, dtype=np.float64)
        result = np.empty(len(starts))
        error = self._rounding
        step = 1 + ROWS_AT_ONCE // len(weights)
        for begin in range(0, len(starts), step):
            cut = slice(begin, begin + step)
            terms: Floats = weights[None, :]
            for axis in range(len(self.axes)):
                found = self.keys(axis, starts[cut, axis], stops[cut, axis])
                terms = terms * self._shares(axis, found)[:, self.index[:, axis]]
            result[cut] = terms.sum(axis=1) + error * np.abs(terms).sum(axis=1)
        return result

    def _rows_without_differences(
        self, spans: Counts, place: Counts, starts: Counts, stops: Counts
    ) -> Floats:
        # Boxes that share their rows share the sum over the laws of the rows.
        weights = self._dense(np.array(self.weights, dtype=np.float64))
        signs = np.sign(weights).min() < 0
        error = self.slack + (sum(weights.shape) + 32) * UNIT
        result = np.empty(len(starts))
        order = np.argsort(place.ravel(), kind="stable")
        step = 1 + ROWS_AT_ONCE // max(weights.shape)
        for begin in range(0, len(starts), step):
            rows = order[begin : begin + step]
            used, line = np.unique(place.ravel()[rows], return_inverse=True)
            left = self._shares(0, self.keys(0, spans[used, 0], spans[used, 1]))
            right = self._shares(1, self.keys(1, starts[rows, 1], stops[rows, 1]))
            sums = np.einsum("ij,ij->i", (left @ weights)[line], right)
            size = sums
            if signs:
                size = np.einsum("ij,ij->i", (left @ np.abs(weights))[line], right)
            result[rows] = sums + error * size
        return result

    def _rows_from_tables(self, starts: Counts, stops: Counts) -> Floats:
        # A share is the difference of "started before the interval ends" and "ended before it
        # starts", each a function of one end. Two axes leave four tables over pairs of ends. The
        # differences cancel: what that may cost is added.
        ends = []
        for axis, laws in enumerate(self.axes):
            position = np.arange(int(stops[:, axis].max(initial=0)) + 1, dtype=np.int64)
            windows = [law for law in laws if isinstance(law, Windows)]
            upper = [law.starts_up_to(position - 1) / law.total for law in windows]
            lower = [law.starts_up_to(position - law.length) / law.total for law in windows]
            ends.append((np.stack(upper, axis=1), np.stack(lower, axis=1)))
        weights = self._dense(np.array(self.weights, dtype=np.float64))
        error = self.slack + (sum(weights.shape) + 32) * UNIT
        result, size = np.zeros(len(starts)), np.zeros(len(starts))
        for k, row in enumerate((stops[:, 0], starts[:, 0])):
            left = ends[0][k] @ weights
            for m, column in enumerate((stops[:, 1], starts[:, 1])):
                found = (left @ ends[1][m].T)[row, column]
                result += (-1) ** (k + m) * found
                size += found
        return np.maximum(result, 0.0) + error * size

    def _afford_products(self, sizes: Sequence[int]) -> None:
        first, second = (len(laws) for laws in self.axes)
        products = min(
            sizes[0] * second * (first + sizes[1]), sizes[1] * first * (second + sizes[0])
        )
        afford(
            0,
            f"a mixture over {first:,} x {second:,} pairs of sides",
            FEWER,
            work=products // PRODUCTS,
        )

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
