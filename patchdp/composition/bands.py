"""Inversion in bands: by the largest loss of any step, from the largest down.

The measure of the total loss is a sum of positive parts: in part `k` no step's loss lies above the
windows `k` and at least one lies in the band below them. Its transform is
`prod N^T - prod (N - M)^T`, which decays as fast as the smooth `M`, however few steps there are and
however small the rate. What is left below a window is inverted on one line too, where it is a sum
of so many losses that this decays, or contributes at most a Chernoff bound. Proofs:
`docs/theory/exact.md`, "Few participations".

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-4, mu=0.5)),), attainable=True)
>>> bands = Bands([(step, 3)], 0.1, "symmetric")
>>> lower, upper = bands.bounds(0.1)
>>> bool(upper - lower < 1e-6)
True
"""

from __future__ import annotations

import contextlib
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import Plan, log_kernel_peak
from patchdp.composition.loss_law import ExactEngineError, Side
from patchdp.composition.parts import Exactly, Level, MoreThan, Part
from patchdp.composition.window_law import WindowedLaw

__all__ = ["Bands", "first_epsilon"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
# Ratios of the places of neighbouring windows: closer where one tilt must serve a steeper tail
_RATIOS = ((-40.0, 4.0), (-120.0, 2.0), (-np.inf, 1.5))
_MOST_BANDS = 40
_MOST_MOVES = 60
_HIGHEST = 64.0  # of the frequencies that nodes resolve at first, over the place of the part
_MARGIN = 9.0  # positions beyond the rarest that matter, for tilted densities
_LEFT = 28.0  # minus log of the positions that nodes leave out, relative to delta
_WIDE = 1e-6  # a bar for which losses are counted
_COUNTED = (0.45, 0.2)  # of epsilon: the losses that are counted then
_MOST_COUNTED = 4


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
        self._phases, self._side = phases, side
        start = -40.0 if level is None else level - 12.0
        for least in (start, start - 60.0, start - 400.0, -np.inf):
            self._ladder = _Ladder(phases, epsilon, side, least)
            self._aim(epsilon)
            if search or self._goal > least:
                break
        if search and level is not None:
            self._search(epsilon, level)
        self.move(self._epsilon)

    def move(self, epsilon: float) -> None:
        """The same parts, set up for another epsilon."""
        self._aim(epsilon)
        self._invert()
        if self._narrow() or self._ladder.counts_losses or epsilon == 0.0:
            return
        if len(self._phases) > 1:  # no tilt's unit is common to all the ways of counting then
            return
        usual = vars(self).copy()
        for share in _COUNTED:
            with contextlib.suppress(ExactEngineError):
                least = self._ladder.least
                counted = share * epsilon
                self._ladder = _Ladder(self._phases, epsilon, self._side, least, counted=counted)
                self._aim(epsilon)
                self._invert()
                if self._narrow():
                    return
        vars(self).update(usual)

    def _narrow(self) -> bool:
        """Whether the error bar is narrow where the parts are set up."""
        lower, upper = self.bounds(self._epsilon)
        return upper - lower < _WIDE

    def _aim(self, epsilon: float) -> None:
        """As many parts as count at `epsilon`, and estimates of them."""
        self._epsilon, self.parts = epsilon, []
        for part in self._ladder.counted:
            part.aim(epsilon)
            self.parts.append(part)
        self._depth = 1 if self.parts else 0
        while True:
            level, goal = self._ladder.level(self._depth), max(self._ladder.least, self._goal)
            if level.whole.ends(epsilon, goal):
                break
            if self._depth == _MOST_BANDS:
                raise ExactEngineError(
                    f"the exact engine's parts do not end at epsilon {epsilon:.6g}; "
                    "use method 'pld'"
                )
            level.band.aim(epsilon)
            self.parts.append(level.band)
            self._depth += 1
        self.parts.append(level.whole)

    @property
    def _goal(self) -> float:
        """Log of the largest part, about."""
        estimates = (part.estimate for part in self.parts if not part.only_bounded)
        return max(estimates, default=-np.inf)

    def _search(self, epsilon: float, level: float) -> None:
        """Move to where the estimates of the parts add up to `level`."""
        low, high = 0.0, np.inf
        for _ in range(_MOST_MOVES):
            sizes = np.array([part.estimate for part in self.parts])
            total = float(np.logaddexp.reduce(sizes))
            slope = float(np.exp(sizes - total) @ [-part.t for part in self.parts])
            miss = total - level
            if abs(miss) < 0.1 or (epsilon == 0.0 and miss <= 0):
                break
            low, high = (epsilon, high) if miss > 0 else (low, epsilon)
            epsilon = max(epsilon - miss / slope, 0.0)
            if not low <= epsilon <= high:
                epsilon = 0.5 * (low + high) if np.isfinite(high) else 2 * low + 1e-6
            self._aim(epsilon)

    def _invert(self) -> None:
        epsilon, goal = self._epsilon, self._goal
        while not self._ladder.level(self._depth).whole.completes(epsilon, goal):
            self._aim(epsilon)
            goal = self._goal
        for part in self.parts[:-1]:
            part.invert(epsilon, goal)
        used = range(self._depth + 1)
        self._dropped = sum(self._ladder.level(k).dropped for k in used)

    @property
    def epsilon(self) -> float:
        """Where the parts are set up."""
        return self._epsilon

    def near(self, epsilon: float) -> bool:
        """Whether the bounds of what is not inverted are still good at `epsilon`."""
        tilts = [part.bounded.tilt for part in self.parts if not part.counts_for_something]
        return bool(abs(epsilon - self._epsilon) * max(tilts, default=0.0) < 0.5)

    @property
    def reach(self) -> float:
        """How far epsilon may move before the lines should be chosen anew."""
        return 2.0 / max([part.t for part in self.parts if part.counts_for_something], default=1.0)

    @property
    def _inverted(self) -> list[Part]:
        found = [part for part in self.parts if part.counts_for_something]
        if not found:
            raise ExactEngineError("the exact engine's parts are all too small; use method 'pld'")
        return found

    def log_delta(self, epsilon: float) -> tuple[float, float]:
        """`log delta` and its derivative, without an error bar."""
        parts = self._inverted
        values, slopes = zip(*(part.value(epsilon) for part in parts), strict=True)
        top = max(part.top(epsilon) for part in parts)
        sizes = [np.exp(part.top(epsilon) - top) for part in parts]
        total = float(np.dot(values, sizes))
        slope = float(np.dot(slopes, sizes))
        if not 0 < total < np.inf:
            raise ExactEngineError("the exact engine's parts add up to nothing; use method 'pld'")
        return top + float(np.log(total)), slope / total

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on `log delta(epsilon)`."""
        parts = self._inverted
        top = max(part.top(epsilon) for part in parts)
        low = high = 0.0
        for part in parts:
            below, above = part.bounds(epsilon)
            size = float(np.exp(part.top(epsilon) - top))
            low += max(below, 0.0) * size
            high += above * size
        logs = [p.bounded.log_bound(epsilon) for p in self.parts if not p.counts_for_something]
        with np.errstate(divide="ignore"):
            logs.append(float(np.log(self._dropped)))
        high += float(np.sum(np.exp(np.minimum(np.array(logs) - top, 600.0))))
        ulps = 8 * _UNIT * (abs(top) + 10)
        if not (np.isfinite(low) and np.isfinite(high)):
            return -np.inf, np.inf
        with np.errstate(divide="ignore"):
            lower, upper = float(np.log(low)) + top - ulps, float(np.log(high)) + top + ulps
        # No delta is above 1: then some transform overflowed, and neither bound means anything.
        return (-np.inf, np.inf) if lower > 1e-6 else (lower, upper)


class _Ladder:
    """The parts of a composition from the largest losses down, made when they are wanted.

    `least` is the log of the smallest delta that they serve. Losses above `counted`, if that is
    given, are not parted by their size but by their number.
    """

    def __init__(
        self,
        phases: Plan,
        epsilon: float,
        side: Side,
        least: float,
        *,
        counted: float | None = None,
    ) -> None:
        self.counts_losses = counted is not None
        steps = float(sum(count for _, count in phases))
        self.least = max(least, *(float(profile.log_delta(epsilon)) for profile, _ in phases))
        self._log_rest = self.least - np.log(steps) - _LEFT
        shift = max(max(pair.shifts) for p, _ in phases for _, pair in p.parts)
        reach = shift + np.sqrt(-2 * self._log_rest) + _MARGIN
        # Tilted densities e^{tL} must not outgrow a window's tail: t l is at most about -log delta.
        width = 0.55 / np.sqrt(max(-self.least, 1.0))
        self._laws = [
            WindowedLaw.whole(profile, side, reach=reach, relative_width=width)
            for profile, _ in phases
        ]
        self._counts = np.array([float(count) for _, count in phases])
        self._ratio = next(ratio for above, ratio in _RATIOS if self.least >= above)
        # The first part is next to nothing; losses there may be far above its place.
        pairs = [pair for p, _ in phases for _, pair in p.parts]
        self._place = counted or max(float(pair.loss(reach - _MARGIN)) for pair in pairs)
        self._highest = _HIGHEST / max(float(pair.loss(reach)) for pair in pairs)
        self._levels: list[Level] = []

    def level(self, number: int) -> Level:
        """What the windows above number `number` leave."""
        while len(self._levels) <= number:
            self._laws = [law.below(self._place) for law in self._laws]
            level = Level(self._laws, self._counts, self._place, self._highest, self._log_rest)
            self._levels.append(level)
            self._place /= self._ratio
            self._highest = _HIGHEST / self._place
        return self._levels[number]

    @cached_property
    def counted(self) -> list[Part]:
        """The losses above the first window, if they are counted."""
        if not self.counts_losses:
            return []
        steps, levels = np.sum(self._counts), (self.level(0), self.level(1))
        most = int(min(steps, _MOST_COUNTED))
        parts: list[Part] = [Exactly(j, *levels) for j in range(1, most + 1)]
        return [*parts, MoreThan(most, *levels)] if most < steps else parts


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
