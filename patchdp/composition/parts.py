"""Parts of the measure of the total loss, each inverted on its own line with its own error bar.

`AtLeastOne` loss in a band and none above it (Theorem 34), or `Exactly` so many (Theorem 36); none
at all means all that is left below a window (Theorem 35). Proofs: `docs/theory/exact.md`,
"Few participations".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import log_kernel_peak
from patchdp.composition.loss_law import ExactEngineError
from patchdp.composition.window_law import WindowedLaw

__all__ = ["AtLeastOne", "Exactly", "Level", "MoreThan", "Part", "Tail"]

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

_UNIT = 2.0**-53
_TILTS = 90  # of the coarse grid
_MOST_NODES = 1 << 17
_MOST_ENTRIES = 400_000_000
_FEW_NODES = 400  # of a line that inverts all that is left
_MARGINS = (9.0, 14.0)  # how far nodes go on, in widths of the density, at first and if need be
_REST = 26.0  # minus log of what one neglected piece may be, relative to delta
_SMALL = -22.0  # log of what a part is relative to delta that is only bounded
_STEEPEST = 8.0  # power of e by which a line that inverts all that is left raises the largest loss


class Level:
    """The laws below the windows so far, with the next one at `place`, and their nodes.

    Args:
      laws, counts: One of each phase.
      place: Where the lowest window stands.
      highest: Frequency that the nodes resolve at first.
      log_rest: Log of the chance of positions that nodes may leave out.
    """

    def __init__(
        self,
        laws: Sequence[WindowedLaw],
        counts: Array,
        place: float,
        highest: float,
        log_rest: float,
    ) -> None:
        self._laws, self.counts, self.place, self._log_rest = laws, counts, place, log_rest
        self.tilts = np.geomspace(1e-8 / place, 1600.0 / place, _TILTS)
        self.dropped = 0.0
        self.resolve(highest, _MARGINS[0])

    def resolve(self, highest: float, margin: float) -> None:
        """Make nodes for frequencies up to `highest`."""
        self.highest, self.margin = highest, margin
        self.nodes = [
            law.nodes(highest=highest, log_rest=self._log_rest, margin=margin) for law in self._laws
        ]
        self._table = self._moments(self.tilts)
        # What the ends of the nodes drop: parts that were sampled on earlier nodes keep those.
        dropped = float(sum(c * n.dropped for c, n in zip(self.counts, self.nodes, strict=True)))
        self.dropped = max(self.dropped, dropped)

    def log_moments(self, t: Array) -> tuple[Array, Array]:
        """`log N(t)` and `log M(t)`, one row per phase."""
        return self._table if t is self.tilts else self._moments(t)

    def _moments(self, t: Array) -> tuple[Array, Array]:
        log_n, log_m = zip(*(n.log_moments(t) for n in self.nodes), strict=True)
        return np.array(log_n), np.array(log_m)

    @cached_property
    def log_mean(self) -> float:
        """Log of a bound on the mean of the positive losses that are left, over all steps."""
        pairs = zip(self.counts, self.nodes, strict=True)
        with np.errstate(divide="ignore"):
            return float(np.log(sum(c * n.mean() for c, n in pairs)))

    @cached_property
    def band(self) -> AtLeastOne:
        """At least one loss in the band that the lowest window takes."""
        return AtLeastOne(self)

    @cached_property
    def whole(self) -> Exactly:
        """All that is left."""
        return Exactly(0, self)


@dataclass(frozen=True)
class Tail:
    """A bound on the delta of a measure: `e^{level - tilt eps}`."""

    level: float
    tilt: float

    def log_bound(self, epsilon: float) -> float:
        """Log of the bound."""
        value = self.level - self.tilt * epsilon
        return np.inf if np.isnan(value) else value


@dataclass(frozen=True)
class _Samples:
    """A part's transform on its line, relative to `e^level`.

    `size` is what its rounding is relative to, by `phase` units; `error` bounds the other errors
    but for a common factor `e^factor`.
    """

    f: ComplexArray
    size: Array
    phase: Array
    error: Array
    factor: float


class Part(ABC):
    """A positive measure with a known transform.

    Args:
      levels: Where its nodes are; the first one's place is its scale.
    """

    only_bounded = False

    def __init__(self, *levels: Level) -> None:
        self.levels = levels
        self.place, self.counts = levels[0].place, levels[0].counts

    @abstractmethod
    def log_mgf(self, t: Array) -> Array:
        """Log of the moment generating function."""

    @abstractmethod
    def _log_mgf_bound(self, tilt: float) -> float:
        """An upper bound on it."""

    @abstractmethod
    def _choose_scale(self) -> tuple[float, float]:
        """Log of the transform's unit at the tilt `t`, and the sizes that it is summed from."""

    @abstractmethod
    def _log_decay(self) -> tuple[Array, Array]:
        """Frequencies and the logs of bounds on the transform there and beyond, in its unit."""

    @abstractmethod
    def _transform(self, coarse: Array, fine: Array) -> _Samples:
        """The transform at `coarse + fine`."""

    def aim(self, epsilon: float) -> None:
        """The minimum of the convex `log mgf - t eps - log t - log(1 + t)`, on finer grids."""
        t = self.levels[0].tilts
        s = np.log(t)
        tilts, logs = [], []
        for _ in range(3):
            log_mgf = np.maximum(self.log_mgf(t), -1e5)
            tilts.append(t)
            logs.append(log_mgf)
            psi = log_mgf - t * epsilon - np.log(t) - np.log1p(t)
            psi = np.where(np.isfinite(psi), psi, np.inf)
            psi = np.minimum(psi, 1e300)
            best = int(np.clip(np.argmin(psi), 1, len(s) - 2))
            centre, gap, last = s[best], s[1] - s[0], t
            s = np.linspace(centre - gap, centre + gap, 11)
            t = np.exp(s)
        order = np.argsort(np.concatenate(tilts))
        self._tilts = np.concatenate(tilts)[order]
        self._logs = np.concatenate(logs)[order]
        self.t = float(last[int(np.argmin(psi))])
        level, step = psi.min(), np.log(last[1] / last[0])
        bend = max(float(psi[best - 1] + psi[best + 1] - 2 * psi[best]) / step**2, 0.1)
        self.estimate = float(level) - 0.5 * np.log(2 * np.pi * bend) + np.log(self.t)
        self.estimate = float(np.min(self._chernoff(epsilon), initial=min(self.estimate, 0.0)))
        self._level, self._magnitude = self._choose_scale()

    def _chernoff(self, epsilon: float) -> Array:
        """Log of Chernoff's bound, about, at all tilts."""
        size = log_kernel_peak(self._tilts) + self._logs - self._tilts * epsilon
        return np.where(np.isfinite(size), size, np.inf)

    def _ceiling(self, _: float) -> float:
        """Log of about what the part is at most."""
        return float(self.estimate)

    def invert(self, epsilon: float, goal: float) -> None:
        """Sample the line, or only bound a part that is nothing against `goal`."""
        self.counts_for_something = False
        if self.only_bounded or self._ceiling(epsilon) < goal + _SMALL:
            bounds = self._bounds_only(epsilon)
            self.bounded = min(bounds, key=lambda bound: bound.log_bound(epsilon))
            if self.only_bounded or self.bounded.log_bound(epsilon) < goal + _SMALL:
                return
        self.counts_for_something = True
        failure, first = ExactEngineError(""), self.levels[0].margin
        for margin in (first, *(m for m in _MARGINS if m != first)):
            try:
                last = 0.0
                for _ in range(4):
                    if self._resolved(last, margin) and last:
                        self._bound_aliases(epsilon)
                        return self._sample(last)
                    self.aim(epsilon)
                    self._choose_period(epsilon, goal)
                    last = self._choose_last(goal, epsilon)
            except ExactEngineError as error:
                failure = error
        raise failure

    def _resolved(self, last: float, margin: float) -> bool:
        """Whether the nodes were fine enough already."""
        poor = [v for v in self.levels if last > 1.05 * v.highest or v.margin != margin]
        for level in poor:
            level.resolve(max(last, level.highest), margin)
        return not poor

    def top(self, epsilon: float) -> float:
        """Log of the unit of `value` and `bounds`."""
        return self._level - self.t * epsilon

    def _choose_period(self, epsilon: float, goal: float) -> None:
        ladder = np.geomspace(0.5 / self.t, 3e4 / self.t + 10 * epsilon, 90)
        t, total = self.t, np.full(len(ladder), -np.inf)
        chernoff = self._chernoff(epsilon)
        for mask in (self._tilts > t * (1 + 1e-9), self._tilts < t * (1 - 1e-9)):
            if not np.any(mask):
                raise ExactEngineError(
                    "the exact engine's line has no saddle point; use method 'pld'"
                )
            with np.errstate(over="ignore", divide="ignore"):
                gap = np.abs(self._tilts[mask] - t) * ladder[:, None]
                size = chernoff[mask] - gap - np.log(-np.expm1(-gap))
            total = np.logaddexp(total, np.min(size, axis=1))
        good = total < goal - _REST
        if not np.any(good):
            raise ExactEngineError("the exact engine's line has no period; use method 'pld'")
        self._period = float(ladder[int(np.argmax(good))])

    def _bound_aliases(self, epsilon: float) -> None:
        """Choose the tilts at which the aliases on both sides are bounded for good."""
        size = self._chernoff(epsilon) - np.abs(self._tilts - self.t) * self._period
        self._sides = []
        for mask in (self._tilts > self.t * (1 + 1e-9), self._tilts < self.t * (1 - 1e-9)):
            tilt = float(self._tilts[mask][int(np.argmin(size[mask]))])
            self._sides.append((tilt, self._log_mgf_bound(tilt)))

    def _bounds_only(self, epsilon: float) -> list[Tail]:
        """Bounds that do without a line."""
        best = int(np.argmin(self._chernoff(epsilon)))
        return [
            Tail(self._log_mgf_bound(tilt) + float(log_kernel_peak(np.array(tilt))), tilt)
            # the smallest one, too, where all that is left of the moments is their error
            for tilt in map(float, self._tilts[[0, best]])
        ]

    def _choose_last(self, goal: float, epsilon: float) -> float:
        """Where the line may end, from the bound on what is beyond; keeps that bound."""
        y, log_size = self._log_decay()
        size = np.exp(np.minimum(log_size, 600.0))
        share = size * np.append(np.diff(y), 0.0) / (np.hypot(self.t, y) * np.hypot(1 + self.t, y))
        share[-1] += size[-1] / y[-1]
        beyond = np.cumsum(share[::-1])[::-1] / np.pi
        good = beyond < np.exp(goal - self.top(epsilon) - _REST)
        if not np.any(good):
            raise ExactEngineError("the exact engine's band does not decay; use method 'pld'")
        first = int(np.argmax(good))
        self._tail = float(beyond[first])
        return float(y[first])

    def _frequencies(self) -> Array:
        """Where a line may end: imaginary parts of losses turn with the losses, up to about 1."""
        return np.geomspace(0.5 / self.place, max(3e3 / self.place, 300.0), 120)

    def _sample(self, last: float) -> None:
        step = 2.0 * np.pi / self._period
        count = max(int(np.ceil(last / step)) + 2, 8)
        widest = max(len(n.x) for level in self.levels for n in level.nodes)
        if count > _MOST_NODES or count * widest > _MOST_ENTRIES:
            raise ExactEngineError("the exact engine would need too many nodes; use method 'pld'")
        fine_count = int(np.ceil(np.sqrt(count)))
        coarse: Array = np.asarray(step * fine_count * np.arange(-(-count // fine_count)))
        fine: Array = np.asarray(step * np.arange(fine_count))
        self._y = y = (coarse[:, None] + fine[None, :]).ravel()
        self._samples = self._transform(coarse, fine)
        if not np.all(np.isfinite(self._samples.f)):
            raise ExactEngineError("the exact engine's transform overflows here; use method 'pld'")
        kernel = np.hypot(self.t, y) * np.hypot(1 + self.t, y)
        self._weight = np.where(y > 0, 1.0, 0.5) * 2 / self._period / kernel
        self._sampling = float(self._weight @ self._samples.error)

    def value(self, epsilon: float) -> tuple[float, float]:
        """The part's delta and its derivative in units of `e^top`."""
        z = self.t + 1j * self._y
        half = np.where(self._y > 0, 1.0, 0.5) * 2 / self._period
        wave = half * self._samples.f * np.exp(-1j * self._y * epsilon)
        return float(np.sum((wave / (z * (1 + z))).real)), -float(np.sum((wave / (1 + z)).real))

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on the part's delta in units of `e^top`."""
        top, samples = self.top(epsilon), self._samples
        value = self.value(epsilon)[0]
        turns = samples.phase + 10 + self._y * epsilon
        rounding = 8 * _UNIT * float(self._weight @ (samples.size * turns))
        spread = self._sampling + self._tail + rounding
        factor = samples.factor + 8 * _UNIT * (self._magnitude + self.t * epsilon + 10)
        alias = 0.0
        for tilt, log_mgf in self._sides:
            gap = abs(tilt - self.t) * self._period
            log_size = float(log_kernel_peak(np.array(tilt))) + log_mgf - tilt * epsilon - top
            alias += float(np.exp(min(log_size - gap - np.log(-np.expm1(-gap)), 600.0)))
        upper = (value + spread) * np.exp(min(factor, 600.0))
        return (value - spread) * np.exp(-factor) - alias, upper


class AtLeastOne(Part):
    """At least one step's loss in the band: `prod N^T - prod (N - M)^T`."""

    def log_mgf(self, t: Array) -> Array:
        log_n, log_m = self.levels[0].log_moments(t)
        ratio = np.exp(np.minimum(log_m - log_n, -1e-17))
        with np.errstate(divide="ignore"):
            fall = self.counts @ np.log1p(-np.minimum(ratio, 1 - 1e-16))
            share = np.logaddexp.reduce(np.log(self.counts)[:, None] + log_m - log_n)
            here = np.where(share < -30, share, np.log(-np.expm1(fall)))
        return np.asarray(self.counts @ log_n + here)

    def _choose_scale(self) -> tuple[float, float]:
        log_n, log_m = (v[:, 0] for v in self.levels[0].log_moments(np.array([self.t])))
        self._log_n, self._share = log_n, np.exp(np.minimum(log_m - log_n, 0.0))
        return float(self.counts @ log_n), float(self.counts @ np.abs(log_n))

    def _log_mgf_bound(self, tilt: float) -> float:
        total, share, size = 0.0, 0.0, 0.0
        for n, count in zip(self.levels[0].nodes, self.counts, strict=True):
            log_n, log_m = (float(v[0]) for v in n.log_moments(np.array([tilt])))
            error, _, of_m = n.errors(tilt, log_n, np.array([1e-12]))
            total += count * (log_n + np.log1p(error))
            size += count * abs(log_n)
            share += count * (np.exp(min(log_m - log_n, 0.0)) + float(of_m[0]))
        ulps = 8 * _UNIT * (size + 10)
        with np.errstate(divide="ignore"):
            return float(total + np.log(min(share * (1 + 1e-9), 1.0)) + ulps)

    def _log_decay(self) -> tuple[Array, Array]:
        y = self._frequencies()
        total = np.zeros_like(y)
        for n, count, log_n in zip(self.levels[0].nodes, self.counts, self._log_n, strict=True):
            total += count * n.oscillation(self.t, float(log_n), y)
        with np.errstate(divide="ignore"):
            return y, np.log(total)

    def _transform(self, coarse: Array, fine: Array) -> _Samples:
        y = (coarse[:, None] + fine[None, :]).ravel()
        power, power_rest, fall = np.zeros((3, len(y)), dtype=complex)
        of_n, of_m, of_full, of_rest = np.zeros((4, len(y)))
        factor = 0.0
        grid, cell = _cells(y)
        for n, times, log_n in zip(self.levels[0].nodes, self.counts, self._log_n, strict=True):
            drop, turn, band = n.on_line(self.t, float(log_n), coarse, fine)
            # `N` and `N - M` on the line, relative to `N(t)`
            phi, psi = 1 - drop + 1j * turn, 1 - (drop + band.real) + 1j * (turn - band.imag)
            log_phi = _log_near_one(drop, turn)
            log_psi = _log_near_one(drop + band.real, turn - band.imag)
            power += times * log_phi
            power_rest += times * log_psi
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                ratio = -band / phi
            close = np.abs(ratio) < 0.5
            ratio = np.where(close, ratio, 0.0)
            fall += times * np.where(
                close, _log_near_one(-ratio.real, ratio.imag), log_psi - log_phi
            )
            zero, wave, wave_m = n.errors(self.t, float(log_n), grid)
            # All is relative to `N(t)`, known up to `zero`: what is no common factor
            short = max(1.0 - zero, 1e-300)
            factor += times * zero / short
            wave = (wave[cell] + zero * np.hypot(drop, turn)) / short
            wave_m = (wave_m[cell] + zero * np.abs(band)) / short
            with np.errstate(divide="ignore", over="ignore"):
                of_full += times * wave / np.abs(phi)
                of_rest += times * (wave + wave_m) / np.abs(psi)
            of_n += times * (wave + wave_m)
            of_m += times * wave_m
        with np.errstate(over="ignore", invalid="ignore"):
            full, rest = np.exp(power), np.exp(power_rest)
            near = np.abs(fall) < 1.0
            f = np.where(near, full * -np.expm1(fall), full - rest)
        size = np.where(near, np.abs(f), np.abs(full) + np.abs(rest))
        of_n[0] = 0.0
        share = float(self.counts @ self._share)
        spread = (of_m + 1.001 * share * of_n) * np.exp(np.minimum(of_n, 600.0))
        apart = np.abs(full) * np.expm1(np.minimum(of_full, 600.0))
        apart += np.abs(rest) * np.expm1(np.minimum(of_rest, 600.0))
        apart[(of_full > 600.0) | (of_rest > 600.0)] = np.inf
        apart[0] = np.inf
        phase = np.maximum(_magnitude(power), _magnitude(power_rest))
        return _Samples(f, size, phase, np.fmin(spread, apart), factor)


class Exactly(Part):
    """So many losses in the band of one level and all others below: `sum prod C M^j R^{T - j}`.

    `R` is the `N` of the level below, where the nodes know it relative to its own size.

    Args:
      number: How many, over all steps; 0 for all that is left at the only level.
      levels: That of the band, unless `number` is 0, and the one below it.
    """

    def __init__(self, number: int, *levels: Level) -> None:
        super().__init__(*levels)
        self.number, self._below = number, levels[-1]
        self._poor = False

    def ends(self, epsilon: float, goal: float) -> bool:
        """Whether all that is left is nothing against `goal`, or one line inverts it cheaply."""
        self.aim(epsilon)
        if self._poor or self._ceiling(epsilon) < goal + _SMALL - 0.3:
            return not self._poor
        goal = max(goal, self.estimate)
        # no step's transform falls below about a half of what it is at y = 0
        least = self.top(epsilon) - 0.7 * np.sum(self.counts)
        if self.t * self.place > _STEEPEST or least > goal - _REST:
            return False
        try:
            self._choose_period(epsilon, goal)
            last = self._choose_last(goal, epsilon)
        except ExactEngineError:
            return False
        return bool(last * self._period < 2 * np.pi * _FEW_NODES)

    def _ceiling(self, epsilon: float) -> float:
        """Of all that is left, by Chernoff's bound or by the mean of its losses."""
        if self.number:
            return float(self.estimate)
        return min(float(np.min(self._chernoff(epsilon))), self._below.log_mean)

    def completes(self, epsilon: float, goal: float) -> bool:
        """Bound or invert all that is left; what fails or cancels is not tried again."""
        try:
            self.invert(epsilon, goal)
        except ExactEngineError:
            self._poor = True
        if not self._poor and self.counts_for_something:
            low, high = self.bounds(epsilon)
            self._poor = not high - low < 4e-7 * max(high, np.exp(goal - 8 - self.top(epsilon)))
        return not self._poor

    def _bounds_only(self, epsilon: float) -> list[Tail]:
        found = super()._bounds_only(epsilon)
        if not self.number:  # the mean of the positive losses, too
            left = [np.log1p(-min(n.lost * (1 - 1e-9), 1 - 1e-12)) for n in self._below.nodes]
            gone = float(self.counts @ left - min(left))
            found.append(Tail(self._below.log_mean + gone, 0.0))
        return found

    def _log_coefficient(self, log_ratio: Array) -> Array:
        """Log of the coefficient of `u^number` in `prod (1 + u ratio)^count`."""
        if not self.number:
            return np.zeros(log_ratio.shape[1:])
        scale = np.maximum(np.max(log_ratio, axis=0), -1e5)
        with np.errstate(divide="ignore"):
            ratio = np.exp(log_ratio - scale)
            logs = np.log(_coefficient(self.counts, ratio, self.number))
        return np.asarray(self.number * scale + logs)

    def _log_ratio(self, t: Array, log_r: Array) -> Array:
        """`log M/R`, one row per phase."""
        return self.levels[0].log_moments(t)[1] - log_r if self.number else 0.0 * log_r

    def log_mgf(self, t: Array) -> Array:
        log_r = self._below.log_moments(t)[0]
        return np.asarray(self.counts @ log_r + self._log_coefficient(self._log_ratio(t, log_r)))

    def _log_mgf_bound(self, tilt: float) -> float:
        at, none = np.array([tilt]), np.array([1e-12])
        log_r, raised = self._below.log_moments(at)[0], []
        ratio = self._log_ratio(at, log_r)
        for n, log_n in zip(self._below.nodes, log_r[:, 0], strict=True):
            raised.append(np.log1p(n.errors(tilt, float(log_n), none)[0]))
        total = self.counts @ (log_r[:, 0] + raised)
        if self.number:  # the errors of `M` are relative to `M` itself
            log_m = ratio[:, 0] + log_r[:, 0]
            nodes = zip(self.levels[0].nodes, log_m, strict=True)
            of_m = [n.errors(tilt, float(log), none)[2][0] for n, log in nodes]
            ratio = ratio + np.log1p(np.array(of_m))[:, None] - np.array(raised)[:, None]
        size = self.counts @ np.abs(log_r[:, 0]) + self.number * np.max(np.abs(ratio))
        return float(total + self._log_coefficient(ratio)[0] + 8 * _UNIT * (size + 10))

    def _choose_scale(self) -> tuple[float, float]:
        at = np.array([self.t])
        log_r = self._below.log_moments(at)[0]
        ratio = self._log_ratio(at, log_r)[:, 0]
        self._log_r = log_r[:, 0]
        self._log_m = ratio + self._log_r
        scale = float(np.max(ratio))
        self._ratio = np.exp(ratio - scale)
        size = self.counts @ np.abs(self._log_r) + self.number * np.max(np.abs(self._log_m))
        size += self.number * np.max(np.abs(self._log_r))
        return float(self.counts @ self._log_r) + self.number * scale, float(size)

    def _log_decay(self) -> tuple[Array, Array]:
        if self.number:
            y = self._frequencies()
            moduli = [
                n.oscillation(self.t, float(log_m), y)
                for n, log_m in zip(self.levels[0].nodes, self._log_m, strict=True)
            ]
            ratio = self._ratio[:, None] * np.array(moduli)
            with np.errstate(divide="ignore"):
                return y, np.log(_coefficient(self.counts, ratio, self.number))
        y = np.geomspace(0.03 * self.t, 3e3 * max(self.t, 1 / self.place), 40)
        nodes = zip(self._below.nodes, self.counts, self._log_r, strict=True)
        drops = [count * np.log1p(-n.drop(self.t, float(log_r), y)) for n, count, log_r in nodes]
        return y, np.asarray(np.sum(drops, axis=0))

    def _transform(self, coarse: Array, fine: Array) -> _Samples:
        y = (coarse[:, None] + fine[None, :]).ravel()
        grid, cell = _cells(y)
        power, growth, factor = np.zeros(len(y), dtype=complex), np.zeros(len(y)), 0.0
        waves, moduli, worst = [], [], np.zeros(len(y))
        log_most = np.zeros(len(y))
        for i, (n, times) in enumerate(zip(self._below.nodes, self.counts, strict=True)):
            log_r = float(self._log_r[i])
            drop, turn, _ = n.on_line(self.t, log_r, coarse, fine)
            zero, wave, _ = n.errors(self.t, log_r, grid)
            if not zero < 1e-3:  # `drop` relies on it
                raise ExactEngineError("the exact engine's nodes are too few; use method 'pld'")
            short = 1.0 - zero
            factor += times * zero / short
            error = (wave[cell] + zero * np.hypot(drop, turn)) / short
            error[0] = 0.0
            log_phi = _log_near_one(drop, turn)
            power += times * log_phi
            with np.errstate(divide="ignore", over="ignore"):
                raised = np.log1p(error * np.exp(-log_phi.real))
            growth += times * raised
            log_most += times * (log_phi.real + raised)
            if self.number:
                upper, log_m = self.levels[0].nodes[i], float(self._log_m[i])
                band = upper.on_line(self.t, log_m, coarse, fine)[2]
                of_m = upper.errors(self.t, log_m, grid)[2][cell]
                modulus = np.abs(band)
                waves.append(self._ratio[i] * band * np.exp(-log_phi))
                least = np.exp(-log_phi.real - raised)
                moduli.append(self._ratio[i] * (modulus + of_m) * least)
                with np.errstate(divide="ignore"):
                    worst = np.maximum(worst, np.log1p(of_m / modulus))
        with np.errstate(over="ignore", invalid="ignore"):
            f, size = np.exp(power), np.exp(np.minimum(log_most, 600.0))
            if self.number:
                f = f * _coefficient(self.counts, np.array(waves), self.number)
                size = size * _coefficient(self.counts, np.array(moduli), self.number)
            error = size * -np.expm1(-growth - self.number * worst)
        phase = _magnitude(power) + 10 * self.number
        return _Samples(f, size, phase, error, factor)


class MoreThan(Exactly):
    """More losses in the band than `number`: only bounded, by `p^j e^p / j!`, `p = sum T M/R`."""

    only_bounded = True

    def _log_coefficient(self, log_ratio: Array) -> Array:
        log_p = np.logaddexp.reduce(np.log(self.counts)[:, None] + log_ratio)
        factorial = float(np.sum(np.log(np.arange(2.0, self.number + 2.0))))
        return np.asarray((self.number + 1) * log_p + np.exp(np.minimum(log_p, 700.0)) - factorial)


def _coefficient(counts: Array, ratio: npt.NDArray[np.generic], number: int) -> Array:
    """The coefficient of `u^number` in `prod (1 + u ratio)^count`, one row of `ratio` per phase."""
    total = [np.ones_like(ratio[0]), *(np.zeros_like(ratio[0]) for _ in range(number))]
    for count, row in zip(counts, ratio, strict=True):
        own = [np.ones_like(row)]
        for j in range(number):
            own.append(own[-1] * row * (max(count - j, 0.0) / (j + 1)))
        total = [sum(total[i] * own[j - i] for i in range(j + 1)) for j in range(number + 1)]
    return np.asarray(total[number])


def _cells(y: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Frequencies at which errors are bounded, and the next one of each node."""
    grid = np.geomspace(y[1], max(y[-1], 2 * y[1]), 24) * (1 + 1e-12)
    return grid, np.minimum(np.searchsorted(grid, y), len(grid) - 1)


def _log_near_one(drop: Array, turn: Array) -> ComplexArray:
    """`log(1 - drop + i turn)`, accurate relative to its size near 1 and near 0."""
    size = np.hypot(1 - drop, turn)
    with np.errstate(divide="ignore"):
        plain = np.log(size)
        close = 0.5 * np.log1p(np.maximum(drop * (drop - 2) + turn * turn, -0.9))
    real = np.where(size < 0.5, np.maximum(plain, -1e6), close)
    return np.asarray(real + 1j * np.arctan2(turn, 1 - drop))


def _magnitude(power: ComplexArray) -> Array:
    """What the rounding of `e^power` grows with, where it is not 0 anyway."""
    return np.asarray(np.abs(power.imag) + np.abs(np.maximum(power.real, -700.0)))
