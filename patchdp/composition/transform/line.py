"""Privacy profile of a composition by inverting its moment generating function on a vertical line.

`delta(eps) = (1/2 pi i) int exp(sum_i T_i log M_i(z) - z eps) / (z (z + 1)) dz` along
`Re z = t > 0`, with the trapezoid rule. Its cost does not depend on the number of steps. By Poisson
summation the rule of period `D = 2 pi / step` returns exactly
`sum_k delta(eps + k D) e^{k D t}`, whose unwanted terms are non-negative and bounded by Chernoff's
inequality: see `docs/theory.md`, "The exact engine".
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.chernoff import log_kernel_peak
from patchdp.composition.transform.law import (
    LossLaw,
    Run,
    Side,
    cached_law,
    loss_laws,
    margin,
    widest_shift,
)

__all__ = [
    "Chernoff",
    "Composition",
    "Line",
    "TiltedLaw",
    "TiltedSum",
    "farthest_position",
]

Array = npt.NDArray[np.float64]


_ALIASES = 8  # that are looked at one by one
_LADDER = np.linspace(0.0, 1.0, 28)  # of periods
_EACH_ALIAS = np.arange(1, _ALIASES + 1.0)
_TARGET = -34.0  # log of the relative size of what the trapezoid rule may add
_BUDGET = 3_000_000  # entries of one temporary array
_NOTHING = 1e-23  # of the second moment: nodes below are left out of sums along the line


class Composition:
    """A sum of independent privacy losses, `counts[i]` from `laws[i]`; rows are separate plans.

    `farthest` is the position beyond which nodes are left out, one entry per row.
    """

    def __init__(
        self, laws: Sequence[LossLaw], counts: Sequence[Array], farthest: Array | None = None
    ) -> None:
        self.laws = list(laws)
        self.counts = list(counts)
        self.farthest = farthest

    @property
    def largest_tilt(self) -> Array:
        """The largest tilt whose mass the nodes cover, one entry per row."""
        tilts = np.broadcast_arrays(*(w.largest_tilt for w in self.laws))
        return np.asarray(np.min(np.stack(tilts), axis=0))

    def cumulants(self, t: Array) -> tuple[Array, Array, Array]:
        """`K = sum T log M` and two derivatives at tilts of shape `(rows, k)`."""
        parts = [law.cumulants(t) for law in self.laws]
        scaled = [
            [c[:, None] * value for value in part]
            for c, part in zip(self.counts, parts, strict=True)
        ]
        k, k1, k2 = (np.asarray(sum(column)) for column in zip(*scaled, strict=True))
        return k, k1, k2

    def log_mgf(self, t: Array) -> Array:
        """`K` at tilts of shape `(rows, k)`."""
        pairs = zip(self.counts, self.laws, strict=True)
        return np.asarray(sum(c[:, None] * law.log_mgf(t) for c, law in pairs))

    def under(self, t: Array) -> TiltedSum:
        """The composition under tilts `t`, one per row."""
        return TiltedSum([TiltedLaw(law, t) for law in self.laws], self.counts)


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


@dataclass(frozen=True)
class Chernoff:
    """What bounds the aliases: `K` at some `tilts`, increasing, both of shape `(rows, k)`.

    `symmetric` says whether the law is that of its reversal.
    """

    tilts: Array
    log_mgf: Array
    symmetric: bool

    @cached_property
    def levels(self) -> Array:
        """`delta(v) <= e^{level - tilt v}`, by tilts."""
        return self.log_mgf + log_kernel_peak(self.tilts)

    def aliases(self, t: Array, epsilon: Array, period: Array) -> Array:
        """Log of a bound on all that the trapezoid rule adds beyond `Line.known_aliases`.

        `period` has shape `(rows, m)`, so has the result.
        """
        base, s = self.levels[:, None, :], self.tilts[:, None, :]
        at, eps = t[:, None], epsilon[:, None]
        gap = s - at[..., None]
        right = base - s * (eps + period)[..., None] + (at * period)[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = np.log(-np.expm1(-np.maximum(gap, 0.0) * period[..., None]))
            above = np.min(np.where(gap > 0, right - shrink, np.inf), axis=-1)
        shift = period[..., None] * _EACH_ALIAS
        v = eps[..., None] - shift
        tail = np.min(base[:, None] - s[:, None] * np.abs(v)[..., None], axis=-1)
        # left of 0 it is the reversed law that counts, of which nothing else is known
        tail = np.minimum(tail if self.symmetric else np.where(v < 0, 0.0, tail), 0.0)
        below = -shift * at[..., None] + np.minimum(v, 0.0) + tail
        rest = -(_ALIASES + 1) * period * at - np.log(-np.expm1(-period * at))
        terms = np.concatenate([below, above[..., None], rest[..., None]], axis=-1)
        return np.asarray(np.logaddexp.reduce(terms, axis=-1))


@dataclass(frozen=True)
class Line:
    """The integrand on the line `Re z = t`, sampled: everything about delta near one epsilon.

    `tilted` is the composition. All arrays have one row per target: `t`, `log_m` (the `K(t)`),
    `period` and `chosen_for` (that epsilon) of shape `(rows,)`; `y`, `real`, `phase` of shape
    `(rows, nodes)`; `chernoff` bounds the aliases.
    """

    tilted: TiltedSum
    t: Array
    log_m: Array
    period: Array
    chosen_for: Array
    chernoff: Chernoff
    y: Array
    real: Array
    phase: Array

    @cached_property
    def _wave(self) -> npt.NDArray[np.complex128]:
        """What `e^{-iy eps}` is multiplied with in the sum."""
        z = self.t[:, None] + 1j * self.y
        wave = np.exp(self.real + 1j * self.phase) * (2 / self.period[:, None]) / (z * (1 + z))
        wave[:, 0] *= 0.5
        return np.asarray(wave)

    def sums(self, epsilon: Array) -> tuple[Array, Array, Array]:
        """The rule and its derivative in units of `e^top`, aliases included; and `top`."""
        wave = self._wave * np.exp(-1j * (self.y * epsilon[:, None]))
        value = np.sum(wave.real, axis=-1)
        slope = np.sum(self.y * wave.imag, axis=-1) - self.t * value
        return value, slope, self.log_m - self.t * epsilon

    def log_delta(self, epsilon: Array) -> tuple[Array, Array]:
        """`log delta` and its derivative at `epsilon`, shape `(rows,)`."""
        value, slope, top = self.sums(epsilon)
        known, known_slope = self.known_aliases(epsilon, top)
        value, slope = value - known, slope - known_slope
        with np.errstate(divide="ignore", invalid="ignore"):
            return top + np.log(np.maximum(value, 0.0)), slope / value

    def known_aliases(self, epsilon: Array, top: Array) -> tuple[Array, Array]:
        """The part `1 - e^v` of the aliases at `v = epsilon - k D < 0`, in units of `e^top`."""
        shift = self.period[:, None] * _EACH_ALIAS
        v = np.minimum(epsilon[:, None] - shift, 0.0)
        size = np.exp(np.minimum(-shift * self.t[:, None] - top[:, None], 600.0))
        fall = np.expm1(v)
        return -np.sum(size * fall, axis=-1), -np.sum(size * (1 + fall) * (v < 0), axis=-1)


def sample_line(
    composition: Composition, t: Array, epsilon: Array, *, most_nodes: int
) -> tuple[Line, npt.NDArray[np.bool_]]:
    """Sample the integrand at tilt `t` for targets near `epsilon`; also which rows decayed."""
    tilted = composition.under(t)
    log_m, deviation = tilted.log_m, np.sqrt(np.maximum(tilted.variance, 1e-300))
    tilts = chernoff_tilts(composition, t, deviation)
    chernoff = Chernoff(tilts, composition.log_mgf(tilts), composition.laws[0].folded)
    period, faithful = choose_period(chernoff, t, epsilon, log_m, deviation)
    step = 2 * np.pi / period
    count = int(np.clip(np.max(np.ceil(20 / (deviation * step))), 16, 1024))
    ys, reals, phases = [], [], []
    start = 0
    while True:
        y, real, phase = _nodes(tilted, step[:, None], start, count)
        ys.append(y)
        reals.append(real)
        phases.append(phase)
        count = y.shape[1]
        start += count
        size = real - np.log(np.hypot(t[:, None], y) / t[:, None])
        size -= np.log(np.hypot(1 + t[:, None], y) / (1 + t[:, None]))
        done = np.max(size[:, -max(count // 4, 4) :], axis=-1) < _TARGET
        if np.all(done | ~faithful) or 2 * start > most_nodes:
            break
        count = start
    sampled = (np.concatenate(a, axis=1) for a in (ys, reals, phases))
    line = Line(tilted, t, log_m, period, epsilon, chernoff, *sampled)
    return line, done & faithful


def resample(composition: Composition, line: Line, *, nodes: int) -> Line:
    """The same line at its first `nodes` nodes, from another quadrature of the same laws."""
    tilted = composition.under(line.t)
    y, real, phase = _nodes(tilted, line.y[:, 1:2], 0, nodes)
    return replace(line, tilted=tilted, log_m=tilted.log_m, y=y, real=real, phase=phase)


def _nodes(tilted: TiltedSum, step: Array, start: int, count: int) -> tuple[Array, Array, Array]:
    """`count` nodes or a few more from `start` on, and the logarithm of the integrand there."""
    fine_count = int(np.ceil(np.sqrt(count)))
    coarse_count = -(-count // fine_count)
    coarse = step * (start + fine_count * np.arange(coarse_count))
    real, phase = tilted.log_characteristic(coarse, step * np.arange(fine_count))
    return step * np.arange(start, start + coarse_count * fine_count), real, phase


def choose_period(
    chernoff: Chernoff, t: Array, epsilon: Array, log_m: Array, deviation: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The smallest period on a ladder whose aliases are small enough, and where there is one."""
    shortest = 6 * deviation
    longest = np.maximum(250 * deviation, 2 * np.maximum(epsilon, 0.0) + 80 / t)
    ladder = shortest[:, None] * (longest / shortest)[:, None] ** _LADDER
    log_size = np.log(t) + np.log1p(t)  # delta is about e^{K - t eps} / (t (1 + t) deviation)
    log_delta = log_m - t * epsilon - log_size - np.log1p(deviation)
    errors = chernoff.aliases(t, epsilon, ladder)
    good = errors <= (log_delta + _TARGET)[:, None]
    first = np.where(np.any(good, axis=1), np.argmax(good, axis=1), ladder.shape[1] - 1)
    return np.take_along_axis(ladder, first[:, None], axis=1)[:, 0], np.any(good, axis=1)


def chernoff_tilts(composition: Composition, t: Array, deviation: Array) -> Array:
    """Tilts at which Chernoff's bound is tried, shape `(rows, k)`, the line's own among them."""
    room = np.maximum(0.98 * composition.largest_tilt - t, 0.0)
    widest = np.minimum(12 / deviation, room)
    up = t[:, None] + widest[:, None] * (np.arange(1, 9) / 8.0) ** 1.5
    down = t[:, None] * np.array([0.02, 0.1, 0.3, 0.55, 0.8])
    return np.concatenate([down, t[:, None], up], axis=1)


def farthest_position(plans: Sequence[Run], log_delta: Array) -> Array:
    """A position that no step exceeds but for a chance far below delta, one entry per row."""
    rows = []
    for plan in plans:
        shift = float(np.max(widest_shift([profile for profile, _ in plan])))
        rows.append((shift, np.log(sum(count for _, count in plan))))
    shift, log_steps = np.array(rows).T
    return np.asarray(shift + np.sqrt(2 * (log_steps - log_delta + 30.0)) + 3.0)


def compose(
    plans: Sequence[Run],
    side: Side,
    tilt: Array,
    *,
    refinement: float = 1.0,
    farthest: Array | None = None,
) -> Composition:
    """The composition of each plan's phases, nodes covering tilts up to `tilt`, one per plan.

    Plans have equally many phases. No node lies beyond `farthest`.
    """
    laws, counts = [], []
    for column in zip(*plans, strict=True):
        profiles = [profile for profile, _ in column]
        shift = widest_shift(profiles)
        reach = margin + shift * (1 + 2 * tilt)
        cut = False
        if farthest is not None and np.any(farthest < reach):
            cut, reach = True, np.minimum(reach, farthest)
        if len(plans) == 1:
            laws.append(cached_law(profiles[0], float(np.min(reach)), side, refinement, cut))
        else:
            laws.append(loss_laws(profiles, reach, side, refinement=refinement, cut=cut))
        counts.append(np.array([float(count) for _, count in column]))
    return Composition(laws, counts, farthest)
