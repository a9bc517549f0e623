"""Privacy profile of a composition by inverting its moment generating function on a vertical line.

`delta(eps) = (1/2 pi i) int exp(sum_i T_i log M_i(z) - z eps) / (z (z + 1)) dz` along
`Re z = t > 0`, with the trapezoid rule. Its cost does not depend on the number of steps. By Poisson
summation the rule of period `D = 2 pi / step` returns exactly
`sum_k delta(eps + k D) e^{k D t}`, whose unwanted terms are non-negative and bounded by Chernoff's
inequality: see `docs/theory.md`, "The exact engine".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp.composition.loss_law import LossLaw, Side, cached_law, loss_laws, margin, widest_shift
from patchdp.step import StepProfile

__all__ = ["Composition", "Line", "TiltedLaw", "farthest_position", "log_kernel_peak"]

Array = npt.NDArray[np.float64]
Plan: TypeAlias = Sequence[tuple[StepProfile, int]]

_ALIASES = 8
_TARGET = -34.0  # log of the relative size of what the trapezoid rule may add
_BUDGET = 3_000_000  # entries of one temporary array


def log_kernel_peak(t: Array) -> Array:
    """`log max_u e^{-t u} (1 - e^{-u})`: Chernoff's bound gains this factor for `delta`."""
    return np.asarray(t * np.log(t) - (1 + t) * np.log1p(t))


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

    def take(self, rows: npt.NDArray[np.intp]) -> Composition:
        """Some of the rows."""
        counts = [c if len(c) == 1 else c[rows] for c in self.counts]
        farthest = self.farthest
        if farthest is not None and len(farthest) > 1:
            farthest = farthest[rows]
        return Composition([law.take(rows) for law in self.laws], counts, farthest)

    def cumulants(self, t: Array) -> tuple[Array, Array, Array]:
        """`K = sum T log M` and two derivatives at tilts of shape `(rows, k)`."""
        parts = [law.cumulants(t) for law in self.laws]
        scaled = [
            [c[:, None] * value for value in part]
            for c, part in zip(self.counts, parts, strict=True)
        ]
        k, k1, k2 = (np.asarray(sum(column)) for column in zip(*scaled, strict=True))
        return k, k1, k2

    def log_characteristic(self, t: Array, coarse: Array, fine: Array) -> tuple[Array, Array]:
        """Real and imaginary part of `sum T log(M(t + iy)/M(t))` at `y = coarse_i + fine_j`.

        `coarse` and `fine` have shapes `(rows, i)` and `(rows, j)`, the results `(rows, i * j)`.
        """
        shape = (len(t), coarse.shape[1] * fine.shape[1])
        real, phase = np.zeros(shape), np.zeros(shape)
        for law, count in zip(self.laws, self.counts, strict=True):
            drop, turn = TiltedLaw(law, t).characteristic(coarse, fine)
            with np.errstate(divide="ignore"):
                size = np.log1p(np.maximum(drop * (drop - 2) + turn * turn, -1.0))
            real += 0.5 * count[:, None] * size
            phase += count[:, None] * np.arctan2(turn, 1 - drop)
        return real, phase


class TiltedLaw:
    """A law under a tilt, ready for its transform on the line `Re z = t`."""

    def __init__(self, law: LossLaw, t: Array) -> None:
        tilted, scale = law.tilted(t)
        excess, first, _, own = law.excess(t[:, None])
        # Both are scaled, not necessarily alike: bring them to the scale of `tilted`.
        same = np.exp(own - scale[:, None])
        self._total, self._first = (np.exp(-own) + excess) * same, first * same
        self._folded = law.folded
        loss = law.loss
        if law.folded:
            half = loss.shape[1] // 2
            loss, up = loss[:, :half], tilted[:, :half]
            even = up + tilted[:, half:]
            odd = -up * np.expm1(-(2 * t[:, None] + 1) * loss)
        else:
            even = odd = tilted
        if len(tilted) == 1:
            keep = _relevant(loss[0], even[0])
            loss, even, odd = loss[:, keep], even[:, keep], odd[:, keep]
        self._loss, self._even, self._odd = loss, even, odd

    def characteristic(self, coarse: Array, fine: Array) -> tuple[Array, Array]:
        """`1 - Re` and `Im` of `M(t + iy)/M(t)`, each accurate relative to its own size.

        `e^{i(a+b)} - 1 = (e^{ia} - 1)(e^{ib} - 1) + (e^{ia} - 1) + (e^{ib} - 1)` turns the sums
        over the loss into matrix products.
        """
        even, odd = self._even, self._odd
        drop_a, sine_a, turn_a = _turn(self._loss, coarse, self._folded)
        drop_b, sine_b, turn_b = _turn(self._loss, fine, self._folded)
        weight_a, odd_a = drop_a * even[:, None, :], sine_a * odd[:, None, :]
        swap = (0, 2, 1)
        drop_bt, sine_bt = drop_b.transpose(swap), sine_b.transpose(swap)
        drop = (sine_a * even[:, None, :]) @ sine_bt - weight_a @ drop_bt
        drop += np.sum(weight_a, axis=-1)[:, :, None] + (drop_b @ even[:, :, None]).transpose(swap)
        turn = -(odd_a @ drop_bt) - (drop_a * odd[:, None, :]) @ sine_bt
        turn += (turn_a @ odd[:, :, None]) + (turn_b @ odd[:, :, None]).transpose(swap)
        if not self._folded:
            turn += (coarse[:, :, None] + fine[:, None, :]) * self._first[:, :, None]
        shape = (len(even), coarse.shape[1] * fine.shape[1])
        return drop.reshape(shape) / self._total, turn.reshape(shape) / self._total


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


def _relevant(loss: Array, mass: Array) -> npt.NDArray[np.bool_]:
    second = mass * np.square(loss)
    return np.asarray(second > 1e-23 * np.sum(second))


def _sine_defect(u: Array) -> Array:
    """`sin(u) - u` for small `u`."""
    v = u * u
    series = 1 - v / 20 * (1 - v / 42 * (1 - v / 72 * (1 - v / 110 * (1 - v / 156))))
    return np.asarray(-u * v / 6 * series)


@dataclass(frozen=True)
class Line:
    """The integrand on the line `Re z = t`, sampled: everything about delta near one epsilon.

    All arrays have one row per target: `t`, `log_m` (the `K(t)`), `period` and `chosen_for` (that
    epsilon) of shape `(rows,)`; `y`, `real`, `phase` of shape `(rows, nodes)`; `tilts`,
    increasing, and `chernoff` (`K` there) bound the aliases.
    """

    t: Array
    log_m: Array
    period: Array
    chosen_for: Array
    tilts: Array
    chernoff: Array
    y: Array
    real: Array
    phase: Array

    def log_delta(self, epsilon: Array) -> tuple[Array, Array]:
        """`log delta` and its derivative at `epsilon`, shape `(rows,)`."""
        t = self.t[:, None]
        y = self.y
        wave = np.exp(self.real + 1j * (self.phase - y * epsilon[:, None]))
        wave[:, 0] *= 0.5
        slope = np.sum((wave / (1 + t + 1j * y)).real, axis=-1) * 2 / self.period
        value = np.sum((wave / ((t + 1j * y) * (1 + t + 1j * y))).real, axis=-1) * 2 / self.period
        top = self.log_m - self.t * epsilon
        known, known_slope = self.known_aliases(epsilon, top)
        value, slope = value - known, -slope - known_slope
        with np.errstate(divide="ignore", invalid="ignore"):
            return top + np.log(np.maximum(value, 0.0)), slope / value

    def known_aliases(self, epsilon: Array, top: Array) -> tuple[Array, Array]:
        """The part `1 - e^v` of the aliases at `v = epsilon - k D < 0`, in units of `e^top`."""
        k = np.arange(1, _ALIASES + 1.0)
        shift = k * self.period[:, None]
        v = epsilon[:, None] - shift
        size = np.exp(np.minimum(-shift * self.t[:, None] - top[:, None], 600.0))
        level = np.where(v < 0, -np.expm1(np.minimum(v, 0.0)), 0.0)
        fall = np.where(v < 0, -np.exp(np.minimum(v, 0.0)), 0.0)
        return np.sum(size * level, axis=-1), np.sum(size * fall, axis=-1)


def sample_line(
    composition: Composition, t: Array, epsilon: Array, *, most_nodes: int
) -> tuple[Line, npt.NDArray[np.bool_]]:
    """Sample the integrand at tilt `t` for targets near `epsilon`; also which rows decayed."""
    log_m, _, curvature = (a[:, 0] for a in composition.cumulants(t[:, None]))
    deviation = np.sqrt(np.maximum(curvature, 1e-300))
    tilts = chernoff_tilts(composition, t, deviation)
    chernoff = composition.cumulants(tilts)[0]
    period, faithful = choose_period(tilts, chernoff, t, epsilon, log_m, deviation)
    step = 2 * np.pi / period
    count = int(np.clip(np.max(np.ceil(8.7 / (deviation * step))), 16, 512))
    ys, reals, phases = [], [], []
    start = 0
    while True:
        fine_count = int(np.ceil(np.sqrt(count)))
        coarse_count = -(-count // fine_count)
        coarse = step[:, None] * (start + fine_count * np.arange(coarse_count))
        fine = step[:, None] * np.arange(fine_count)
        real, phase = _in_chunks(composition, t, coarse, fine)
        count = coarse_count * fine_count
        y = step[:, None] * np.arange(start, start + count)
        ys.append(y)
        reals.append(real)
        phases.append(phase)
        start += count
        size = real - np.log(np.hypot(t[:, None], y) / t[:, None])
        size -= np.log(np.hypot(1 + t[:, None], y) / (1 + t[:, None]))
        done = np.max(size[:, -max(count // 4, 4) :], axis=-1) < _TARGET
        if np.all(done | ~faithful) or 2 * start > most_nodes:
            break
        count = max(start // 2, count) if len(ys) < 4 else start
    sampled = (np.concatenate(a, axis=1) for a in (ys, reals, phases))
    line = Line(t, log_m, period, epsilon, tilts, chernoff, *sampled)
    return line, done & faithful


def resample(composition: Composition, line: Line, *, nodes: int) -> Line:
    """The same line at its first `nodes` nodes, from another quadrature of the same laws."""
    count = nodes
    fine_count = int(np.ceil(np.sqrt(count)))
    coarse_count = -(-count // fine_count)
    step = line.y[:, 1:2]
    coarse = step * (fine_count * np.arange(coarse_count))
    real, phase = _in_chunks(composition, line.t, coarse, step * np.arange(fine_count))
    log_m = composition.cumulants(line.t[:, None])[0][:, 0]
    y = step * np.arange(coarse_count * fine_count)
    return replace(line, log_m=log_m, y=y, real=real, phase=phase)


def _in_chunks(
    composition: Composition, t: Array, coarse: Array, fine: Array
) -> tuple[Array, Array]:
    widest = max(law.loss.shape[1] for law in composition.laws)
    rows, steps = coarse.shape
    width = max(steps, fine.shape[1])
    if rows * width * widest <= _BUDGET:
        return composition.log_characteristic(t, coarse, fine)
    some_rows = max(1, _BUDGET // (width * widest))
    some_steps = min(steps, max(16, _BUDGET // widest))
    reals, phases = [], []
    for i in range(0, rows, some_rows):
        chosen = np.arange(i, min(i + some_rows, rows))
        part = composition.take(chosen)
        pieces = [
            part.log_characteristic(t[chosen], coarse[chosen, j : j + some_steps], fine[chosen])
            for j in range(0, steps, some_steps)
        ]
        reals.append(np.concatenate([real for real, _ in pieces], axis=1))
        phases.append(np.concatenate([phase for _, phase in pieces], axis=1))
    return np.concatenate(reals), np.concatenate(phases)


def choose_period(
    tilts: Array, chernoff: Array, t: Array, epsilon: Array, log_m: Array, deviation: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The smallest period on a ladder whose aliases are small enough, and where there is one."""
    shortest = 6 * deviation
    longest = np.maximum(250 * deviation, 2 * np.maximum(epsilon, 0.0) + 80 / t)
    ladder = np.geomspace(shortest, longest, 44, axis=1)
    log_size = np.log(t) + np.log1p(t)  # delta is about e^{K - t eps} / (t (1 + t) deviation)
    log_delta = log_m - t * epsilon - log_size - np.log1p(deviation)
    errors = alias_bound(tilts, chernoff, t, epsilon, ladder)
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


def alias_bound(tilts: Array, chernoff: Array, t: Array, epsilon: Array, period: Array) -> Array:
    """Log of a bound on all that the trapezoid rule adds beyond `Line.known_aliases`.

    `tilts`, `chernoff` (`K` there) have shape `(rows, k)`, `period` `(rows, m)`; the result has
    the shape of `period`.
    """
    base = chernoff + log_kernel_peak(tilts)

    def log_tail(v: Array) -> Array:
        """Log of Chernoff's bound on `delta(v)`, shape of `v`."""
        bound = np.min(base[:, None, :] - tilts[:, None, :] * v[..., None], axis=-1)
        return np.asarray(np.minimum(bound, 0.0))

    at, eps = t[:, None], epsilon[:, None]
    terms = []
    gap = tilts[:, None, :] - at[..., None]
    right = base[:, None, :] - tilts[:, None, :] * (eps + period)[..., None]
    right = right + at[..., None] * period[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = np.log(-np.expm1(-np.maximum(gap, 0.0) * period[..., None]))
        terms.append(np.min(np.where(gap > 0, right - shrink, np.inf), axis=-1))
    for k in range(1, _ALIASES + 1):
        v = eps - k * period
        terms.append(-k * period * at + np.minimum(v, 0.0) + log_tail(np.abs(v)))
    rest = -(_ALIASES + 1) * period * at
    terms.append(rest - np.log(-np.expm1(-period * at)))
    return np.asarray(np.logaddexp.reduce(np.stack(terms), axis=0))


def farthest_position(plans: Sequence[Plan], log_delta: Array) -> Array:
    """A position that no step exceeds but for a chance far below delta, one entry per row."""
    rows = []
    for plan in plans:
        shift = float(np.max(widest_shift([profile for profile, _ in plan])))
        rows.append((shift, np.log(sum(count for _, count in plan))))
    shift, log_steps = np.array(rows).T
    return np.asarray(shift + np.sqrt(2 * (log_steps - log_delta + 30.0)) + 3.0)


def compose(
    plans: Sequence[Plan],
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
