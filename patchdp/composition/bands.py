"""Inversion in bands: by the largest loss of any step, from the largest down.

The measure of the total loss is a sum of positive parts: in part `k` no step's loss lies above the
windows `k` and at least one lies in the band below them. Its transform is
`prod N^T - prod (N - M)^T`, which decays as fast as the smooth `M`, however few steps there are and
however small the rate. What is left below the lowest window contributes to delta at most a Chernoff
bound. Proofs: `docs/theory/exact.md`, "Few participations".

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-4, mu=0.5)),), attainable=True)
>>> bands = Bands([(step, 3)], 0.1, "symmetric")
>>> lower, upper = bands.bounds(0.1)
>>> bool(upper - lower < 1e-6)
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import Plan, log_kernel_peak
from patchdp.composition.loss_law import ExactEngineError, Side
from patchdp.composition.window_law import WindowedLaw, WindowNodes

__all__ = ["Bands", "first_epsilon"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
# Ratios of the places of neighbouring windows: closer where one tilt must serve a steeper tail
_RATIOS = ((-40.0, 4.0), (-120.0, 2.0), (-np.inf, 1.5))
_MOST_BANDS = 40
_TILTS = 90  # of the coarse grid
_MOST_MOVES = 60
_HIGHEST = 64.0  # of the frequencies that nodes resolve at first, over the place of the part
_MOST_NODES = 1 << 17
_MOST_ENTRIES = 400_000_000
_MARGINS = (9.0, 14.0, 20.0, 4.0, 0.0)
_REST = 26.0  # minus log of what one neglected part may be, relative to delta
_SMALL = -22.0  # log of what a part is relative to delta that is only bounded
_CLOSE = 3e-10  # of the last part, which is only bounded


class Bands:
    """Delta near one epsilon as a sum of parts, each with its own line and its own error bar.

    Args:
      phases: Steps and how often each is taken.
      epsilon: Where delta is wanted; `bounds` and `log_delta` hold elsewhere too but widen.
      side: `"symmetric"` or `"forward"`.
      level: The log of delta, about, where it is known.
      search: Whether to begin at the epsilon that has this level, about, instead of `epsilon`.

    Raises:
      ExactEngineError: A line would need too many nodes, or the parts do not end.
    """

    def __init__(
        self,
        phases: Plan,
        epsilon: float,
        side: Side,
        *,
        level: float | None = None,
        search: bool = False,
    ) -> None:
        if side == "backward":
            raise ExactEngineError(
                "the exact engine has no windows for the reversed pair, whose losses are bounded; "
                "use method 'pld'"
            )
        start = -40.0 if level is None else level - 12.0
        for least in (start, start - 60.0, start - 400.0, -np.inf):
            self._ladder = _Ladder(phases, epsilon, side, least)
            self._aim(epsilon)
            if search or self._goal > least:
                break
        if search and level is not None:
            self._search(epsilon, level)
        self._invert()

    def move(self, epsilon: float) -> None:
        """The same parts, set up for another epsilon."""
        self._aim(epsilon)
        self._invert()

    def _aim(self, epsilon: float) -> None:
        """As many parts as count at `epsilon`, and estimates of them."""
        self._epsilon = epsilon
        self.parts: list[_Band] = []
        goal = self._ladder.least
        while not self.parts or self._below.log_rest(epsilon) > goal + np.log(_CLOSE) + 0.3:
            goal = max(goal, self._add_part())
        self._goal = min(max(band.estimate for band in self.parts), 0.0)

    def _add_part(self) -> float:
        """One more part; its log delta, about."""
        number = len(self.parts)
        if number == _MOST_BANDS:
            raise ExactEngineError(
                f"the exact engine's parts do not end at epsilon {self._epsilon:.6g}; "
                "use method 'pld'"
            )
        band, self._below = self._ladder.band(number), self._ladder.band(number + 1)
        band.aim(self._epsilon)
        self.parts.append(band)
        return float(min(band.estimate, 0.0))

    def _search(self, epsilon: float, level: float) -> None:
        """Move to where the estimates of the parts add up to `level`."""
        low, high = 0.0, np.inf
        for _ in range(_MOST_MOVES):
            sizes = np.array([band.estimate for band in self.parts])
            total = float(np.logaddexp.reduce(sizes))
            slope = float(np.exp(sizes - total) @ [-band.t for band in self.parts])
            miss = total - level
            if abs(miss) < 0.1 or (epsilon == 0.0 and miss <= 0):
                break
            low, high = (epsilon, high) if miss > 0 else (low, epsilon)
            epsilon = max(epsilon - miss / slope, 0.0)
            if not low <= epsilon <= high:
                epsilon = 0.5 * (low + high) if np.isfinite(high) else 2 * low + 1e-6
            self._aim(epsilon)

    def _invert(self) -> None:
        epsilon, counts = self._epsilon, self._ladder.counts
        while True:
            place = self._below.place * self._ladder.ratio
            self._rest = _rest(self._below.nodes, counts, epsilon, place)
            if self._rest.log_bound(epsilon) < self._goal + np.log(_CLOSE):
                break
            self._add_part()
        for band in self.parts:
            band.invert(epsilon, self._goal)
        self._dropped = self._below.dropped + sum(band.dropped for band in self.parts)

    @property
    def epsilon(self) -> float:
        """Where the parts are set up."""
        return self._epsilon

    def near(self, epsilon: float) -> bool:
        """Whether the bounds of what is not inverted are still good at `epsilon`."""
        tilts = [band.bounded.tilt for band in self.parts if not band.counts_for_something]
        return bool(abs(epsilon - self._epsilon) * max([self._rest.tilt, *tilts]) < 0.5)

    @property
    def reach(self) -> float:
        """How far epsilon may move before the lines should be chosen anew."""
        return 2.0 / max([band.t for band in self.parts if band.counts_for_something], default=1.0)

    @property
    def _inverted(self) -> list[_Band]:
        found = [band for band in self.parts if band.counts_for_something]
        if not found:
            raise ExactEngineError("the exact engine's parts are all too small; use method 'pld'")
        return found

    def log_delta(self, epsilon: float) -> tuple[float, float]:
        """`log delta` and its derivative, without an error bar."""
        parts = self._inverted
        values, slopes = zip(*(band.value(epsilon) for band in parts), strict=True)
        top = max(band.top(epsilon) for band in parts)
        sizes = [np.exp(band.top(epsilon) - top) for band in parts]
        total = float(np.dot(values, sizes))
        slope = float(np.dot(slopes, sizes))
        if not 0 < total < np.inf:
            raise ExactEngineError("the exact engine's parts add up to nothing; use method 'pld'")
        return top + float(np.log(total)), slope / total

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on `log delta(epsilon)`."""
        parts = self._inverted
        top = max(band.top(epsilon) for band in parts)
        low = high = 0.0
        for band in parts:
            below, above = band.bounds(epsilon)
            size = float(np.exp(band.top(epsilon) - top))
            low += max(below, 0.0) * size
            high += above * size
        for band in self.parts:
            if not band.counts_for_something:
                high += float(np.exp(min(band.bounded.log_bound(epsilon) - top, 600.0)))
        high += float(np.exp(min(self._rest.log_bound(epsilon) - top, 600.0)))
        if self._dropped > 0:
            high += float(np.exp(min(np.log(self._dropped) - top, 600.0)))
        ulps = 8 * _UNIT * (abs(top) + 10)
        if not (np.isfinite(low) and np.isfinite(high)):
            return -np.inf, np.inf
        with np.errstate(divide="ignore"):
            lower, upper = float(np.log(low)) + top - ulps, float(np.log(high)) + top + ulps
        # No delta is above 1: then some transform overflowed, and neither bound means anything.
        return (-np.inf, np.inf) if lower > 1e-6 else (lower, upper)


class _Ladder:
    """The parts of a composition from the largest losses down, made when they are wanted.

    `least` is the log of the smallest delta that they serve, `ratio` that of neighbouring places.
    """

    def __init__(self, phases: Plan, epsilon: float, side: Side, least: float) -> None:
        steps = float(sum(count for _, count in phases))
        self.least = max(least, *(float(profile.log_delta(epsilon)) for profile, _ in phases))
        self._log_rest = self.least - np.log(steps) - _REST - 2.0
        shift = max(max(pair.shifts) for p, _ in phases for _, pair in p.parts)
        reach = shift + np.sqrt(-2 * self._log_rest) + _MARGINS[0]
        # Tilted densities e^{tL} must not outgrow a window's tail: t l is at most about -log delta.
        width = 0.55 / np.sqrt(max(-self.least, 1.0))
        self._laws = [
            WindowedLaw.whole(profile, side, reach=reach, relative_width=width)
            for profile, _ in phases
        ]
        self.counts = np.array([float(count) for _, count in phases])
        self.ratio = next(ratio for above, ratio in _RATIOS if self.least >= above)
        # The first part is next to nothing; losses there may be far above its place.
        pairs = [pair for p, _ in phases for _, pair in p.parts]
        self._place = max(float(pair.loss(reach - _MARGINS[0])) for pair in pairs)
        self._highest = _HIGHEST / max(float(pair.loss(reach)) for pair in pairs)
        self._bands: list[_Band] = []

    def band(self, number: int) -> _Band:
        """Part `number`, made from what the parts above it leave."""
        while len(self._bands) <= number:
            self._laws = [law.below(self._place) for law in self._laws]
            band = _Band(self._laws, self.counts, self._place, self._highest, self._log_rest)
            self._bands.append(band)
            self._place /= self.ratio
            self._highest = _HIGHEST / self._place
        return self._bands[number]


def first_epsilon(phases: Plan, log_delta: float, side: Side) -> float:
    """Where to begin looking for epsilon: Chernoff's without the losses too rare to matter."""
    steps = float(sum(count for _, count in phases))
    shift = max(max(pair.shifts) for p, _ in phases for _, pair in p.parts)
    rare = log_delta - np.log(steps) - 2.0
    reach = shift + np.sqrt(-2 * min(rare, -1.0))
    places = [float(pair.loss(reach)) for p, _ in phases for _, pair in p.parts]
    place = max(places)
    tilts = np.geomspace(1e-8 / place, 3e4 / place, 200)
    total = log_kernel_peak(tilts)
    for profile, count in phases:
        law = WindowedLaw.whole(profile, side, reach=reach)
        total = total + count * law.nodes(highest=16 / place, log_rest=rare).log_moments(tilts)[0]
    epsilon = (total - log_delta) / tilts
    return float(max(np.min(np.where(np.isfinite(epsilon), epsilon, np.inf)), 0.0))


@dataclass(frozen=True)
class _Rest:
    """A bound on the delta of a measure: `e^{level - tilt eps}`."""

    level: float
    tilt: float

    def log_bound(self, epsilon: float) -> float:
        """Log of the bound."""
        value = self.level - self.tilt * epsilon
        return np.inf if np.isnan(value) else value


def _rest(nodes: Sequence[WindowNodes], counts: Array, epsilon: float, place: float) -> _Rest:
    """A bound on what is left below all windows, by Chernoff or by its mean."""
    tilts = np.geomspace(0.03 / place, 3e3 / place, 60)
    logs = [n.log_moments(tilts)[0] for n in nodes]
    total = sum(count * log_n for count, log_n in zip(counts, logs, strict=True))
    size = log_kernel_peak(tilts) + total - tilts * epsilon
    best = int(np.argmin(np.where(np.isfinite(size), size, np.inf)))
    tilt = float(tilts[best])
    level, mean, gone, least = float(log_kernel_peak(np.array(tilt))), 0.0, 0.0, 0.0
    for n, count, log_ns in zip(nodes, counts, logs, strict=True):
        log_n = float(log_ns[best])
        level += count * (log_n + np.log1p(n.errors(tilt, log_n, np.ones(1))[0]) + 1e-13)
        mean += count * n.mean()
        left = float(np.log1p(-min(n.lost * (1 - 1e-9), 1 - 1e-12)))
        gone, least = gone + count * left, min(least, left)
    with np.errstate(divide="ignore"):
        average = _Rest(float(np.log(mean)) + gone - least, 0.0)
    return min((_Rest(level, tilt), average), key=lambda rest: rest.log_bound(epsilon))


def _log_near_one(drop: Array, turn: Array) -> npt.NDArray[np.complex128]:
    """`log(1 - drop + i turn)`, accurate relative to its size near 1 and near 0."""
    size = np.hypot(1 - drop, turn)
    with np.errstate(divide="ignore"):
        plain = np.log(size)
        close = 0.5 * np.log1p(np.maximum(drop * (drop - 2) + turn * turn, -0.9))
    real = np.where(size < 0.5, np.maximum(plain, -1e6), close)
    return np.asarray(real + 1j * np.arctan2(turn, 1 - drop))


def _magnitude(power: npt.NDArray[np.complex128]) -> Array:
    """What the rounding of `e^power` grows with, where it is not 0 anyway."""
    return np.asarray(np.abs(power.imag) + np.abs(np.maximum(power.real, -700.0)))


class _Band:
    """One part of the measure of the total loss, inverted on its own line."""

    def __init__(
        self,
        laws: Sequence[WindowedLaw],
        counts: Array,
        place: float,
        highest: float,
        log_rest: float,
    ) -> None:
        self._laws, self._counts, self.place, self._log_rest = laws, counts, place, log_rest
        self._prepare(highest, _MARGINS[0])

    def _prepare(self, highest: float, margin: float) -> None:
        self._made = highest, margin
        self._nodes = [
            law.nodes(highest=highest, log_rest=self._log_rest, margin=margin) for law in self._laws
        ]
        self.dropped = float(
            sum(c * n.dropped for c, n in zip(self._counts, self._nodes, strict=True))
        )
        t = np.geomspace(1e-8 / self.place, 1600.0 / self.place, _TILTS)
        self._coarse = t, *(np.maximum(logs, -1e5) for logs in self._log_mgf(t))

    @property
    def nodes(self) -> list[WindowNodes]:
        """Of each step's law at this part."""
        return self._nodes

    @cached_property
    def _log_mean(self) -> float:
        with np.errstate(divide="ignore"):
            return float(
                np.log(sum(c * n.mean() for c, n in zip(self._counts, self._nodes, strict=True)))
            )

    def log_rest(self, epsilon: float) -> float:
        """Log of about what this part and all below it amount to at most."""
        t, _, log_n = self._coarse
        size = log_kernel_peak(t) + log_n - t * epsilon
        least = float(np.min(np.where(np.isfinite(size), size, np.inf)))
        return min(least, self._log_mean)

    def invert(self, epsilon: float, goal: float) -> None:
        """Sample the line, or only bound a part that is nothing against `goal`."""
        self.counts_for_something = True
        if self.estimate < goal + _SMALL:
            self._bound_only(epsilon)
            if self.bounded.log_bound(epsilon) < goal + _SMALL:
                self.counts_for_something = False
                return
        highest, first = self._made
        failure = ExactEngineError("")
        for margin in (first, *(m for m in _MARGINS if m != first)):
            # nodes that end far out or, where the tilted density grows out there, nearer
            try:
                for _ in range(3):
                    if (highest, margin) != self._made:
                        self._prepare(highest, margin)
                        self.aim(epsilon)
                    self._choose_period(epsilon, goal)
                    last = self._choose_last(goal, epsilon, self.place)
                    if last <= highest * 1.05:
                        self._bound_aliases(epsilon)
                        return self._sample(last)
                    highest = last
            except ExactEngineError as error:
                failure = error
        raise failure

    def _log_mgf(self, t: Array) -> tuple[Array, Array]:
        """`log (prod N^T - prod (N - M)^T)` and `log prod N^T`."""
        total, fall = np.zeros_like(t), np.zeros_like(t)
        share = np.full_like(t, -np.inf)
        for n, count in zip(self._nodes, self._counts, strict=True):
            log_n, log_m = n.log_moments(t)
            total = total + count * log_n
            ratio = np.exp(np.minimum(log_m - log_n, -1e-17))
            with np.errstate(divide="ignore"):
                fall = fall + count * np.log1p(-np.minimum(ratio, 1 - 1e-16))
            share = np.logaddexp(share, np.log(count) + log_m - log_n)
        with np.errstate(divide="ignore"):
            here = total + np.where(share < -30, share, np.log(-np.expm1(fall)))
        return np.asarray(here), np.asarray(total)

    def aim(self, epsilon: float) -> None:
        """The minimum of the convex `log mgf - t eps - log t - log(1 + t)`, on finer grids."""
        t, log_mgf, _ = self._coarse
        s = np.log(t)
        tilts, logs = [], []
        for turn in range(3):
            if turn:
                t = np.exp(s)
                log_mgf = np.maximum(self._log_mgf(t)[0], -1e5)
            tilts.append(t)
            logs.append(log_mgf)
            psi = log_mgf - t * epsilon - np.log(t) - np.log1p(t)
            psi = np.where(np.isfinite(psi), psi, np.inf)
            psi = np.minimum(psi, 1e300)
            best = int(np.clip(np.argmin(psi), 1, len(s) - 2))
            centre, gap = s[best], s[1] - s[0]
            s = np.linspace(centre - gap, centre + gap, 11)
        order = np.argsort(np.concatenate(tilts))
        self._tilts = np.concatenate(tilts)[order]
        self._logs = np.concatenate(logs)[order]
        self.t = float(t[int(np.argmin(psi))])
        level, step = psi.min(), np.log(t[1] / t[0])
        bend = max(float(psi[best - 1] + psi[best + 1] - 2 * psi[best]) / step**2, 0.1)
        chernoff = log_kernel_peak(self._tilts) + self._logs - self._tilts * epsilon
        most = float(np.min(np.where(np.isfinite(chernoff), chernoff, np.inf), initial=0.0))
        self.estimate = float(level) - 0.5 * np.log(2 * np.pi * bend) + np.log(self.t)
        self.estimate = min(self.estimate, most)
        self._log_n = np.array([n.log_moments(np.array([self.t]))[0][0] for n in self._nodes])
        self._level = float(self._counts @ self._log_n)
        self._magnitude = float(self._counts @ np.abs(self._log_n))

    def top(self, epsilon: float) -> float:
        """Log of the unit of `value` and `bounds`."""
        return self._level - self.t * epsilon

    def _choose_period(self, epsilon: float, goal: float) -> None:
        ladder = np.geomspace(0.5 / self.t, 3e4 / self.t + 10 * epsilon, 90)
        allowed = goal - _REST
        t, total = self.t, np.full(len(ladder), -np.inf)
        above, under = self._tilts > t * (1 + 1e-9), self._tilts < t * (1 - 1e-9)
        if not np.any(above) or not np.any(under):
            raise ExactEngineError("the exact engine's line has no saddle point; use method 'pld'")
        for mask in (above, under):
            s, log_mgf = self._tilts[mask][None, :], self._logs[mask][None, :]
            size = log_kernel_peak(s) + log_mgf - s * epsilon
            with np.errstate(over="ignore", divide="ignore"):
                gap = np.abs(s - t) * ladder[:, None]
                size = np.where(np.isfinite(size), size - gap - np.log(-np.expm1(-gap)), np.inf)
            total = np.logaddexp(total, np.min(size, axis=1))
        good = total < allowed
        if not np.any(good):
            raise ExactEngineError("the exact engine's line has no period; use method 'pld'")
        self._period = float(ladder[int(np.argmax(good))])

    def _bound_aliases(self, epsilon: float) -> None:
        """Choose the tilts at which the aliases on both sides are bounded for good."""
        size = log_kernel_peak(self._tilts) + self._logs - self._tilts * epsilon
        size = size - np.abs(self._tilts - self.t) * self._period
        size = np.where(np.isfinite(size), size, np.inf)
        self._sides = []
        for mask in (self._tilts > self.t * (1 + 1e-9), self._tilts < self.t * (1 - 1e-9)):
            tilt = float(self._tilts[mask][int(np.argmin(size[mask]))])
            self._sides.append((tilt, self._safe_mgf(tilt)))

    def _safe_mgf(self, tilt: float) -> float:
        """An upper bound on the log of the part's moment generating function."""
        total, share, size = 0.0, 0.0, 0.0
        for n, count in zip(self._nodes, self._counts, strict=True):
            log_n, log_m = (float(v[0]) for v in n.log_moments(np.array([tilt])))
            error, _, of_m = n.errors(tilt, log_n, np.array([1e-12]))
            total += count * (log_n + np.log1p(error))
            size += count * abs(log_n)
            share += count * (np.exp(min(log_m - log_n, 0.0)) + float(of_m[0]))
        ulps = 8 * _UNIT * (size + 10)
        with np.errstate(divide="ignore"):
            return total + float(np.log(min(share * (1 + 1e-9), 1.0))) + ulps

    def _bound_only(self, epsilon: float) -> None:
        """A part so small that a Chernoff bound will do."""
        size = log_kernel_peak(self._tilts) + self._logs - self._tilts * epsilon
        order = np.argsort(np.where(np.isfinite(size), size, np.inf))
        level, bounds = np.inf, []
        for tilt in [*self._tilts[order[[0, 4, 8]]], self._tilts[0]]:
            level = self._safe_mgf(float(tilt)) + float(log_kernel_peak(np.array(tilt)))
            bounds.append(_Rest(level, float(tilt)))
        self.bounded = min(bounds, key=lambda rest: rest.log_bound(epsilon))

    def _choose_last(self, goal: float, epsilon: float, place: float) -> float:
        """Where the line may end, from the bound on what is beyond; keeps that bound."""
        y = np.geomspace(0.5 / place, 3e3 / place, 120)
        total = np.zeros_like(y)
        for n, count, log_n in zip(self._nodes, self._counts, self._log_n, strict=True):
            total += count * n.oscillation(self.t, float(log_n), y)
        kernel = np.hypot(self.t, y) * np.hypot(1 + self.t, y)
        share = total * np.append(np.diff(y), 0.0) / kernel
        share[-1] += total[-1] / y[-1]
        beyond = np.cumsum(share[::-1])[::-1] / np.pi
        allowed = np.exp(goal - self.top(epsilon) - _REST)
        good = beyond < allowed
        if not np.any(good):
            raise ExactEngineError("the exact engine's band does not decay; use method 'pld'")
        first = int(np.argmax(good))
        self._tail = float(beyond[first])
        return float(y[first])

    def _sample(self, last: float) -> None:  # noqa: PLR0915 - one pass over the line's nodes
        step = 2.0 * np.pi / self._period
        count = max(int(np.ceil(last / step)) + 2, 8)
        widest = max(len(n.x) for n in self._nodes)
        if count > _MOST_NODES or count * widest > _MOST_ENTRIES:
            raise ExactEngineError("the exact engine would need too many nodes; use method 'pld'")
        fine_count = int(np.ceil(np.sqrt(count)))
        coarse: Array = np.asarray(step * fine_count * np.arange(-(-count // fine_count)))
        fine: Array = np.asarray(step * np.arange(fine_count))
        y = (coarse[:, None] + fine[None, :]).ravel()
        self._y = y
        power = np.zeros(len(y), dtype=complex)
        power_rest = np.zeros(len(y), dtype=complex)
        fall = np.zeros(len(y), dtype=complex)
        of_n, of_full, of_rest = np.zeros(len(y)), np.zeros(len(y)), np.zeros(len(y))
        of_m, share, self._factor = np.zeros(len(y)), 0.0, 0.0
        grid = np.geomspace(step, max(y[-1], 2 * step), 24) * (1 + 1e-12)
        cell = np.minimum(np.searchsorted(grid, y), len(grid) - 1)
        for n, times, log_n in zip(self._nodes, self._counts, self._log_n, strict=True):
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
            self._factor += times * zero / short
            wave = (wave[cell] + zero * np.hypot(drop, turn)) / short
            wave_m = (wave_m[cell] + zero * np.abs(band)) / short
            with np.errstate(divide="ignore", over="ignore"):
                of_full += times * wave / np.abs(phi)
                of_rest += times * (wave + wave_m) / np.abs(psi)
            of_n += times * (wave + wave_m)
            of_m += times * wave_m
            share += times * float(
                np.exp(min(n.log_moments(np.array([self.t]))[1][0] - log_n, 0.0))
            )
        with np.errstate(over="ignore", invalid="ignore"):
            full, rest = np.exp(power), np.exp(power_rest)
            lifted = -np.expm1(fall)
            near = np.abs(fall) < 1.0
            self._f = np.where(near, full * lifted, full - rest)
        if not np.all(np.isfinite(self._f)):
            raise ExactEngineError("the exact engine's transform overflows here; use method 'pld'")
        # what the rounding of `f` is relative to
        self._size = np.where(near, np.abs(self._f), np.abs(full) + np.abs(rest))
        of_n[0] = 0.0
        spread = (of_m + 1.001 * share * of_n) * np.exp(np.minimum(of_n, 600.0))
        apart = np.abs(full) * np.expm1(np.minimum(of_full, 600.0))
        apart += np.abs(rest) * np.expm1(np.minimum(of_rest, 600.0))
        apart[0] = np.inf
        spread = np.fmin(spread, apart)
        self._phase = np.maximum(_magnitude(power), _magnitude(power_rest)) + 10
        self._kernel = np.hypot(self.t, y) * np.hypot(1 + self.t, y)
        self._half = np.where(y > 0, 1.0, 0.5) * 2 / self._period
        self._sampling = float(np.sum(self._half * spread / self._kernel))

    def value(self, epsilon: float) -> tuple[float, float]:
        """The part's delta and its derivative in units of `e^top`."""
        z = self.t + 1j * self._y
        wave = self._half * self._f * np.exp(-1j * self._y * epsilon)
        return float(np.sum((wave / (z * (1 + z))).real)), -float(np.sum((wave / (1 + z)).real))

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on the part's delta in units of `e^top`."""
        top = self.top(epsilon)
        value = self.value(epsilon)[0]
        size = self._half * self._size / self._kernel
        rounding = 8 * _UNIT * float(np.sum(size * (self._phase + self._y * epsilon)))
        spread = self._sampling + self._tail + rounding
        factor = self._factor + 8 * _UNIT * (self._magnitude + self.t * epsilon + 10)
        alias = 0.0
        for tilt, log_mgf in self._sides:
            gap = abs(tilt - self.t) * self._period
            log_size = float(log_kernel_peak(np.array(tilt))) + log_mgf - tilt * epsilon - top
            alias += float(np.exp(min(log_size - gap - np.log(-np.expm1(-gap)), 600.0)))
        upper = (value + spread) * np.exp(min(factor, 600.0))
        return (value - spread) * np.exp(-factor) - alias, upper
