"""A law under a tilt: sums of exponentials of its losses along a vertical line.

>>> bool(np.allclose(_sine_defect(np.array([0.0, 1.0])), [0.0, 1.0 - np.sin(1.0)]))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.law import LossLaw

__all__ = ["TiltedLaw", "TiltedSum"]

Array = npt.NDArray[np.float64]
_BUDGET = 3_000_000  # entries of one temporary array
_NOTHING = 1e-23  # of the second moment: nodes below are left out of sums along the line


class TiltedSum:
    """A composition under a tilt, ready for its transform on the line `Re z = t`."""

    def __init__(self, laws: Sequence[TiltedLaw], counts: Sequence[Array]) -> None:
        self.laws, self.counts = list(laws), list(counts)

    @property
    def log_m(self) -> Array:
        """`K(t)`, one entry per row."""
        return np.asarray(sum(c * law.log_m for c, law in zip(self.counts, self.laws, strict=True)))

    @property
    def variance(self) -> Array:
        """Of the tilted loss."""
        pairs = zip(self.counts, self.laws, strict=True)
        return np.asarray(sum(c * law.variance for c, law in pairs))

    def log_characteristic(self, coarse: Array, fine: Array) -> tuple[Array, Array]:
        """Real and imaginary part of `sum T log(M(t + iy)/M(t))` at `y = coarse_i + fine_j`.

        `coarse` and `fine` have shapes `(rows, i)` and `(rows, j)`, the results `(rows, i * j)`.
        """
        rows, steps = coarse.shape
        widest = max(law.loss.shape[1] for law in self.laws)
        width = widest * max(steps, fine.shape[1])
        if rows * width <= _BUDGET:
            return self._log_characteristic(coarse, fine)
        some_rows, some_steps = max(1, _BUDGET // width), min(steps, max(16, _BUDGET // widest))
        reals, phases = [], []
        for i in range(0, rows, some_rows):
            chosen = np.arange(i, min(i + some_rows, rows))
            counts = [c if len(c) == 1 else c[chosen] for c in self.counts]
            part = TiltedSum([law.take(chosen) for law in self.laws], counts)
            pieces = [
                part._log_characteristic(coarse[chosen, j : j + some_steps], fine[chosen])
                for j in range(0, steps, some_steps)
            ]
            reals.append(np.concatenate([real for real, _ in pieces], axis=1))
            phases.append(np.concatenate([phase for _, phase in pieces], axis=1))
        return np.concatenate(reals), np.concatenate(phases)

    def _log_characteristic(self, coarse: Array, fine: Array) -> tuple[Array, Array]:
        shape = (len(coarse), coarse.shape[1] * fine.shape[1])
        real, phase = np.zeros(shape), np.zeros(shape)
        for law, count in zip(self.laws, self.counts, strict=True):
            drop, turn = law.characteristic(coarse, fine)
            with np.errstate(divide="ignore"):
                size = np.log1p(np.maximum(drop * (drop - 2) + turn * turn, -1.0))
            real += 0.5 * count[:, None] * size
            phase += count[:, None] * np.arctan2(turn, 1 - drop)
        return real, phase


class TiltedLaw:
    """A law under a tilt `t`: masses relative to `M(t)`, one row per tilt.

    `log_m`, `mean` and `variance` are those of the tilted loss; `even` and `odd` the sum and the
    difference of the masses at `loss` and `-loss` for the symmetric law, both the mass otherwise;
    `kept` the nodes that are not nothing (of one row; all of several).
    """

    def __init__(self, law: LossLaw, t: Array) -> None:
        self.law, self.t = law, t
        self.log_m, self.mean, self.variance = (v[:, 0] for v in law.cumulants(t[:, None]))
        nodes = law.loss.shape[1] // 2 if law.folded else law.loss.shape[1]
        self.loss = law.loss[:, :nodes]
        mass = np.exp(law.log_mass[:, :nodes] + t[:, None] * self.loss - self.log_m[:, None])
        if law.folded:
            fall = np.expm1(-(2 * t[:, None] + 1) * self.loss)
            self.even, self.odd = mass * (2 + fall), -mass * fall
        else:
            self.even = self.odd = mass
        self.kept: slice | npt.NDArray[np.bool_] = slice(None)
        if len(mass) == 1:
            second = (self.even * np.square(self.loss))[0]
            self.kept = second > _NOTHING * np.sum(second)

    @cached_property
    def _nodes(self) -> tuple[Array, ...]:
        """Those that are kept."""
        return tuple(v[:, self.kept] for v in (self.loss, self.even, self.odd))

    def take(self, rows: npt.NDArray[np.intp]) -> TiltedLaw:
        """Some of the rows."""
        if len(self.t) == 1:
            return self
        part = copy(self)
        part.__dict__.pop("_nodes", None)
        for name in ("t", "log_m", "mean", "variance", "even", "odd"):
            setattr(part, name, getattr(self, name)[rows])
        part.loss = self.loss if len(self.loss) == 1 else self.loss[rows]
        return part

    def characteristic(self, coarse: Array, fine: Array) -> tuple[Array, Array]:
        """`1 - Re` and `Im` of `M(t + iy)/M(t)`, each accurate relative to its own size.

        `e^{i(a+b)} - 1 = (e^{ia} - 1)(e^{ib} - 1) + (e^{ia} - 1) + (e^{ib} - 1)` turns the sums
        over the loss into matrix products.
        """
        (loss, even, odd), folded = self._nodes, self.law.folded
        drop_a, sine_a, turn_a = _turn(loss, coarse, folded)
        drop_b, sine_b, turn_b = _turn(loss, fine, folded)
        weight_a, odd_a = drop_a * even[:, None, :], sine_a * odd[:, None, :]
        swap = (0, 2, 1)
        drop_bt, sine_bt = drop_b.transpose(swap), sine_b.transpose(swap)
        drop = (sine_a * even[:, None, :]) @ sine_bt - weight_a @ drop_bt
        drop += np.sum(weight_a, axis=-1)[:, :, None] + (drop_b @ even[:, :, None]).transpose(swap)
        turn = -(odd_a @ drop_bt) - (drop_a * odd[:, None, :]) @ sine_bt
        turn += (turn_a @ odd[:, :, None]) + (turn_b @ odd[:, :, None]).transpose(swap)
        if not folded:
            turn += (coarse[:, :, None] + fine[:, None, :]) * self.mean[:, None, None]
        shape = (len(even), coarse.shape[1] * fine.shape[1])
        return drop.reshape(shape), turn.reshape(shape)


def _turn(loss: Array, y: Array, folded: bool) -> tuple[Array, Array, Array]:
    """`1 - cos(yL)`, `sin(yL)`, and the latter again or, unless folded, `sin(yL) - yL`.

    `E[e^{-L}] = 1` lets the first order of the sine be replaced by the tilted mean.
    """
    angle = (0.5 * y[:, :, None]) * loss[:, None, :]
    sine, cosine = np.sin(angle), np.cos(angle)
    drop, full = 2 * np.square(sine), 2 * sine * cosine
    if folded:
        return drop, full, full
    angle *= 2
    return drop, full, np.where(np.abs(angle) < 0.4, _sine_defect(angle), full - angle)


def _sine_defect(u: Array) -> Array:
    """`sin(u) - u` for small `u`."""
    v = u * u
    series = 1 - v / 20 * (1 - v / 42 * (1 - v / 72 * (1 - v / 110 * (1 - v / 156))))
    return np.asarray(-u * v / 6 * series)
