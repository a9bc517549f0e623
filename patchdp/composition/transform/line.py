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

from patchdp.composition.transform.tilted import TiltedLaw, TiltedSum

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
