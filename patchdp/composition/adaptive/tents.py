"""Gains that are known at some losses, integrated against a state's density.

>>> from patchdp.composition.adaptive.lattice import Lattice
>>> tents = Tents(Lattice(0.1, 20), np.array([-0.3, 0.0, 0.3]))
>>> round(float(tents.matrix.sum()), 3)  # the polygon through ones, integrated
0.602

A gain is a polygon in `a = e^loss`; in half-tilted units it is, like the density, a combination
of `e^{y/2}` and `e^{-y/2}` between knots. Source: `docs/theory/adaptive.md`, "Gains".
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from patchdp.composition.adaptive.lattice import Lattice
from patchdp.step.mixture import MixturePair

__all__ = ["Tents", "knots"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Matrix: TypeAlias = Any  # scipy's sparse matrices are not typed

# Four Gauss-Legendre nodes on pieces of at most half a unit: 1e-11 of the integral.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


def knots(pair: MixturePair, top: float, width: float) -> Array:
    """Losses, symmetric about 0, at which gains are evaluated.

    The losses of outcomes `width` apart, on both sides of 0 and mirrored.
    """
    far = max(pair.shifts)
    x = np.concatenate(
        [np.arange(0, 4 + far, width), np.arange(4 + far, far + top + 0.3, 4 * width)]
    )
    losses = np.unique(np.concatenate([pair.loss(x), -pair.loss(-x)]))
    kept = [0.0]
    for loss in losses[1:].tolist():
        if loss > kept[-1] * (1 + 0.5 * width) + 1e-6 * losses[-1] * width:
            kept.append(loss)
    right = np.array(kept)
    return np.concatenate([-right[:0:-1], right])


class Tents:
    """Integrals of a lattice's hats against the tents over some losses.

    Args:
      lattice: The lattice; its interval is at most 1/2.
      at: Losses at which gains are known, ascending, symmetric about 0.
    """

    def __init__(self, lattice: Lattice, at: Array) -> None:
        h, top = lattice.interval, float(at[-1])
        self.lattice, self.knots = lattice, at
        self.reach = math.ceil(top / h) + 2
        self.size = 2 * self.reach + 1
        grid = h * np.arange(-self.reach, self.reach + 1)
        edges = np.unique(np.concatenate([grid[np.abs(grid) < top], at]))
        half = 0.5 * np.diff(edges)[:, None]
        y = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        weights = (half * _WEIGHTS).ravel()
        self.points = y
        m = np.clip(np.searchsorted(at, y, "right") - 1, 0, len(at) - 2)
        width = np.sinh(0.5 * (at[m + 1] - at[m]))
        upper, lower = np.sinh(0.5 * (y - at[m])) / width, np.sinh(0.5 * (at[m + 1] - y)) / width
        j = np.floor(y / h).astype(np.int64)
        cell = j + self.reach
        index = np.arange(len(y))
        around = (-1, 0, 1, 2)
        density = [lattice.double_hat(y - h * (j + i)) for i in around]
        columns = [cell + i for i in around]
        size = self.size

        def matrix(rows: list[Index], at: list[Index], entries: list[Array], shape: int) -> Matrix:
            parts = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(at)))
            return sparse.csr_matrix(parts, shape=(shape, size))

        self.matrix = matrix(
            [m] * 4 + [m + 1] * 4,
            columns * 2,
            [lower * weights * d for d in density] + [upper * weights * d for d in density],
            len(at),
        )
        """Of tents (rows) against spread dots, by their offset from `-reach`."""
        self.cells = matrix([m, m + 1], [cell, cell], [lower * weights, upper * weights], len(at))
        """Of tents over the lattice's cells, by the offset of their left end."""
        self._dots = matrix([index] * 4, columns, [weights * d for d in density], len(y))
        self._cell, self._weights = cell, weights

    def dots(self, values: Array) -> Array:
        """Integrals of spread dots against a function given at `points`, by offset."""
        return np.asarray(self._dots.T @ values)

    def over_cells(self, values: Array) -> Array:
        """Integrals over the lattice's cells of a function given at `points`."""
        found = np.bincount(self._cell, weights=values * self._weights, minlength=self.size)
        return np.asarray(found, dtype=np.float64)

    def windows(self, array: Array, at: Index) -> Array:
        """Columns `array[i - reach .. i + reach]` around the lattice's indices `at`."""
        padded = np.pad(array, self.reach)
        return np.asarray(padded[np.add.outer(np.arange(self.size), at)])
