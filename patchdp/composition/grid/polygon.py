"""The polygon below the tangents of a profile: its masses without second differences.

>>> from patchdp.composition.grid.cells import half_cells
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
>>> polygon = Polygon.of(half_cells(step, interval=0.1, cells=40))
>>> polygon.first, len(polygon.lines(0.0).log_masses)
(1, 39)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchdp.composition.grid.cells import HalfCells
from patchdp.composition.numeric import UNIT

__all__ = ["Lines", "Polygon"]

Array = npt.NDArray[np.float64]


class Lines(NamedTuple):
    """Masses at the nodes `1..n` of one half, and what they take from the node 0."""

    log_masses: Array
    taken: float


class _Nodes(NamedTuple):
    """Mass of the cells of some nodes, and both halves of the residual relative to it.

    Both halves of a cell as logs, and `gap`, the distance of the first node from the node 0.
    """

    log_lower: Array
    log_upper: Array
    log_below: Array
    log_above: Array
    gap: float

    def between(self, first: int, last: int, h: float) -> tuple[_Nodes, float]:
        """The nodes from `first` to `last - 1`, and the share of the half cell below that is left.

        Where most losses are far below, the first node would find too many at its lower side; the
        last one, whose next tangent is 0, keeps its upper half only.
        """
        lower, upper, below, above = (v[first:last].copy() for v in self[:4])
        kept = 0.0
        if last > first:
            kept = math.exp(min(float(above[0] - below[0]), 0.0)) if above[0] > -math.inf else 0.0
            scale = math.log(kept) if kept > 0 else -math.inf
            lower[0] += scale
            below[0] += scale
            lower[-1] = below[-1] = -np.inf
        return _Nodes(lower, upper, below, above, h * (first + 1)), 1 - kept

    def residuals(self, shift: float) -> tuple[Array, Array, Array]:
        """Logs of the masses; the residuals, and the size of their terms, relative to those."""
        log_p = np.logaddexp(self.log_lower, self.log_upper)
        above, below = np.exp(self.log_above - log_p), np.exp(self.log_below - log_p)
        residual = above - below
        moved = math.expm1(shift)
        return log_p, residual - moved * (1 - residual), above + below + abs(moved)

    def ratios(self, h: float, shift: float, rounding: float) -> Array:
        """The polygon's masses relative to the cells', rounded down."""
        log_p, residual, spread = self.residuals(shift)
        if len(log_p) == 0:
            return np.zeros(0)
        over, under = np.maximum(-residual, 0.0), np.maximum(residual, 0.0)
        # Reciprocals of the slopes of the polygon's pieces, after and before every node.
        after = np.full(len(log_p), 1 / math.expm1(h))
        before = np.full(len(log_p), -1 / math.expm1(-h))
        before[0] = -1 / math.expm1(-self.gap)
        # What a neighbour's cell holds relative to this one's.
        up = np.exp(np.minimum(np.diff(log_p, append=-np.inf), 300.0))
        down = np.exp(np.minimum(-np.diff(log_p, prepend=-np.inf), 300.0))
        down[0] = 0.0
        ratio = 1 - residual + (over - np.append(under[1:], 0.0) * up) * after
        ratio -= (np.append(0.0, over[:-1]) * down - under) * before
        terms = 1 + spread + (spread + np.append(spread[1:], 0.0) * up) * after
        terms += (np.append(0.0, spread[:-1]) * down + spread) * before
        return np.asarray(ratio - (rounding + 8 * UNIT) * terms)


@dataclass(frozen=True, eq=False)
class Polygon:
    """Nodes of one half at `kh`, and what they leave to the node 0.

    That is all losses up to the middle below the node `first`, and the share `left` of the half
    cell above that.
    """

    half: HalfCells
    every: _Nodes
    first: int
    last: int
    left: float

    @classmethod
    def of(cls, half: HalfCells) -> Polygon:
        """Nodes at which the density does not fall too steeply for the grid."""
        h, n = half.interval, half.cells - 1
        inside = np.logaddexp(half.log_up, half.log_down)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            every = _Nodes(
                inside[1 : 2 * n : 2],
                inside[2 : 2 * n + 1 : 2],
                half.log_down[1 : 2 * n : 2] + _log_expm1(0.5 * h),
                half.log_up[2 : 2 * n + 1 : 2] + math.log(-math.expm1(-0.5 * h)),
                h,
            )
            first, last = _longest(every.ratios(h, 0.0, half.rounding) > 0)
            while last > first:
                nodes, left = every.between(first, last, h)
                ratio = nodes.ratios(h, 0.0, half.rounding)
                if _sound(nodes, ratio, 0.0):
                    return cls(half, every, first + 1, last, left)
                # A bad first node is left out; so is the last one, whatever is bad beside it.
                first, last = (first + 1, last) if not ratio[0] > 0 else (first, last - 1)
        return cls(half, every, 1, 0, 0.0)

    @classmethod
    def lumped(cls, half: HalfCells) -> Polygon:
        """No node at all: every loss is left to the node 0."""
        none = np.zeros(0)
        return cls(half, _Nodes(none, none, none, none, half.interval), half.cells, 0, 0.0)

    def lines(self, shift: float) -> Lines:
        """Masses of the polygon below the tangents in the middles of cells, nodes moved by `shift`.

        At a node the two tangents beside it differ by `|R|`, `R` the integral of `1 - e^{node - l}`
        over the node's cell, from the middle below it to the middle above; the polygon takes the
        lower one. Its second differences are the masses. Losses beyond the last node's cell are
        dropped, and so are those of a last node that the shift makes bad.
        """
        h, last = self.half.interval, self.last
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            while last >= self.first:
                nodes, _ = self.every.between(self.first - 1, last, h)
                ratio = nodes.ratios(h, shift, self.half.rounding)
                if _sound(nodes, ratio, shift):
                    log_p, residual, _ = nodes.residuals(shift)
                    taken = (1 + 1e-12) * max(float(residual[0]), 0.0) * math.exp(log_p[0])
                    taken *= -math.exp(-nodes.gap) / math.expm1(-nodes.gap)
                    before = np.full(self.first - 1, -np.inf)
                    return Lines(np.concatenate([before, log_p + np.log(ratio)]), taken)
                last -= 1 + (last - self.first) // 4
        return Lines(np.zeros(0), 0.0)

    @property
    def centre(self) -> tuple[float, float, float]:
        """Mass that is left to the node 0: of this law, of the other, and the difference."""
        count, step = 2 * self.first - 1, 0.5 * self.half.interval
        up, down = np.exp(self.half.log_up[: count + 1]), np.exp(self.half.log_down[: count + 1])
        up[count:] *= self.left
        down[count:] *= self.left
        base = step * np.arange(len(up))
        own = float(np.sum(up + down))
        other = float(np.sum(np.exp(-base) * (down + math.exp(-step) * up)))
        gain = float(np.sum(-np.expm1(-base) * down - np.expm1(-base - step) * up))
        return own, other, gain


def _log_expm1(x: float) -> float:
    return x + math.log(-math.expm1(-x))


def _longest(good: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The longest run of true entries."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    k = int(np.argmax(ends - starts))
    return int(starts[k]), int(ends[k])


def _sound(nodes: _Nodes, ratio: Array, shift: float) -> bool:
    """Whether all masses are positive, and the last tangent, 0, is not above its polygon."""
    _, residual, _ = nodes.residuals(shift)
    return bool(np.all(ratio > 0)) and float(residual[-1]) >= 0
