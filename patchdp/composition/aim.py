"""Where to cut the loss, how to tilt it and how fine a grid it takes: estimates, no bounds.

Nothing here is certified, and nothing certified depends on it: any cut, tilt and grid gives an
upper bound (`docs/theory.md`, "Tilted composition" and "Layers of losses"). These choices decide
how far above the truth it is, and what it costs.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> sketch = Sketch([(step, 1)], log_tail=-60.0)
>>> round(sketch.log_moment(3.0), 6)  # t (t + 1) D^2 / 2 for distance D = 1
6.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from patchdp.composition.loss_law import Pairs
from patchdp.composition.masses import largest_loss
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = ["Aim", "Sketch"]

Array = npt.NDArray[np.float64]
Phases = Sequence[tuple[StepProfile, int]]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_NOTHING_LEFT = -1 + 1e-9
_LEAST_TILT, _MOST_TILT = 1e-6, 1e13


@dataclass(frozen=True)
class Aim:
    """A tilt and what to expect there.

    >>> Aim(5.0, -11.5).tilt
    5.0

    Args:
      tilt: The exponent.
      log_delta: An upper bound of log delta, by Chernoff's inequality.
    """

    tilt: float
    log_delta: float


class _Nodes:
    """P-masses and losses of one step at quadrature nodes, increasing."""

    def __init__(self, profile: StepProfile, log_tail: float) -> None:
        losses, logs = [], []
        for weight, pair in profile.parts:
            x, log_w = _positions(pair, log_tail)
            log_q, loss = (a[0] for a in Pairs([pair]).log_q_and_loss(x[None]))
            losses.append(loss)
            logs.append(log_q + loss + log_w + math.log(weight))
        order = np.argsort(np.concatenate(losses))
        self.loss = np.concatenate(losses)[order]
        self.log_mass = np.concatenate(logs)[order]
        self.mass = np.exp(self.log_mass)
        self.mirrored = np.exp(self.log_mass - self.loss)
        self.above = np.cumsum(self.mass[::-1])[::-1]

    def small(self, tilt: float, top: float) -> float:
        """`E[e^{tL}] - 1` where losses of size above `top` are left out."""
        n = int(np.searchsorted(self.loss, top, side="right"))
        loss = self.loss[:n]
        body = np.exp(self.log_mass[:n] + tilt * loss)
        total = float(body @ (np.expm1(-tilt * loss) * np.expm1(-(1 + tilt) * loss)))
        if n < len(self.loss):
            total -= float(self.mirrored[n:].sum()) + float(self.above[n])
        return max(total, _NOTHING_LEFT)  # where all losses are above `top`

    def large(self, tilt: float, cut: float, top: float, interval: float = 0.0) -> float:
        """`E[e^{tL}; cut < |L| <= top]`, on a grid where an interval is given."""
        n, m = np.searchsorted(self.loss, [cut, top], side="right")
        loss, total = self.loss[n:m], 0.0
        for t, masses in ((tilt, self.log_mass[n:m]), (-1 - tilt, self.log_mass[n:m])):
            body = np.exp(masses + t * loss)
            total += float(body.sum())
            if interval:
                total += float(body @ _chord(loss, t, interval))
        return total

    def rise(self, tilt: float, top: float, interval: float) -> float:
        """What rounding to a grid adds to `small`."""
        n = int(np.searchsorted(self.loss, top, side="right"))
        loss = self.loss[:n]
        up = np.exp(self.log_mass[:n] + tilt * loss) @ _chord(loss, tilt, interval)
        down = np.exp(self.log_mass[:n] - (1 + tilt) * loss) @ _chord(loss, -1 - tilt, interval)
        return float(up + down)


def _positions(pair: MixturePair, log_tail: float) -> tuple[Array, Array]:
    far = max(pair.shifts)
    reach = math.sqrt(max(-2.0 * log_tail, 1.0)) + 1.0
    end = max(pair.p_means) + reach
    width = min(0.25, 0.5 / far)
    # Between the two components of a step with little noise there is nothing.
    spans = [(0.0, end)] if far < 3 * reach else [(0.0, reach), (far - reach, end)]
    xs, ws = [], []
    for start, stop in spans:
        panels = math.ceil((stop - start) / width)
        half = 0.5 * (stop - start) / panels
        xs.append((start + half * ((2 * np.arange(panels) + 1.0)[:, None] + _NODES)).ravel())
        ws.append(np.broadcast_to(np.log(half * _WEIGHTS), (panels, 4)).ravel())
    return np.concatenate(xs), np.concatenate(ws)


def _chord(loss: Array, tilt: float, interval: float) -> Array:
    """By how much rounding raises the mean of `e^{tilt L}`, relative to it."""
    down = loss - interval * np.floor(loss / interval)
    up = interval - down
    share = np.expm1(-down) / np.expm1(-interval)
    grow = share * np.expm1(tilt * up) + (1 - share) * np.expm1(-tilt * down)
    return np.asarray(np.maximum(grow, 0.0))


class Sketch:
    """The laws of the losses of some steps by a few hundred nodes.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
    >>> sketch = Sketch([(step, 100)], log_tail=-40.0)
    >>> sketch.interval(4.0, allowed=1e-3) < sketch.interval(4.0, allowed=1e-2)
    True

    Args:
      phases: Steps and how often each is applied.
      log_tail: Log of the mass that may lie above the nodes.
    """

    def __init__(self, phases: Phases, log_tail: float) -> None:
        self.phases = phases
        self.rows = [(_Nodes(profile, log_tail), count) for profile, count in phases]
        self.largest = max(float(nodes.loss[-1]) for nodes, _ in self.rows)

    def top(self, log_mass: float) -> float:
        """A loss above which all steps together have about mass `exp(log_mass)`."""
        log_share = log_mass - math.log(sum(count for _, count in self.phases))
        tops = []
        for (profile, _), (nodes, _) in zip(self.phases, self.rows, strict=True):
            if log_share < -600.0:  # too small for a float
                tops.append(largest_loss(profile, log_share))
                continue
            k = int(np.searchsorted(-nodes.above, -math.exp(log_share)))
            tops.append(float(nodes.loss[min(k, len(nodes.loss) - 1)]))
        return max(tops)

    def mass_above(self, cut: float) -> float:
        """How many losses above `cut` to expect."""
        total = 0.0
        for nodes, count in self.rows:
            k = int(np.searchsorted(nodes.loss, cut, side="right"))
            total += count * (float(nodes.above[k]) if k < len(nodes.loss) else 0.0)
        return total

    def log_moment(self, tilt: float, top: float = math.inf) -> float:
        """Log of the composed moment generating function without losses above `top`."""
        with np.errstate(over="ignore"):
            return sum(count * math.log1p(nodes.small(tilt, top)) for nodes, count in self.rows)

    def log_layer(self, tilt: float, cut: float, top: float, interval: float = 0.0) -> float:
        """The same of the composed law with a loss above `cut`, but none above `top`."""
        base, ratio = 0.0, 0.0
        with np.errstate(over="ignore"):
            for nodes, count in self.rows:
                small = nodes.small(tilt, cut)
                if interval:
                    small += nodes.rise(tilt, cut, interval)
                base += count * math.log1p(small)
                ratio += count * math.log1p(nodes.large(tilt, cut, top, interval) / (1 + small))
        if not 0 < ratio < math.inf:
            return -math.inf if ratio <= 0 else math.inf
        return base + (ratio if ratio > 30 else math.log(math.expm1(ratio)))

    def rise(self, tilt: float, interval: float, top: float = math.inf) -> float:
        """What rounding to a grid adds to `log_moment`."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = sum(
                count * math.log1p(nodes.rise(tilt, top, interval) / (1 + nodes.small(tilt, top)))
                for nodes, count in self.rows
            )
        return math.inf if math.isnan(total) else total

    def aim(self, epsilon: float, top: float = math.inf) -> Aim:
        """The tilt for the losses up to `top`, at `epsilon`."""
        return _lowest(lambda t: self.log_moment(t, top), epsilon)

    def aim_layer(self, epsilon: float, cut: float, top: float) -> Aim:
        """The tilt for the layer of losses between `cut` and `top`, at `epsilon`."""
        return _lowest(lambda t: self.log_layer(t, cut, top), epsilon)

    def epsilon(self, log_delta: float) -> float:
        """A rough upper bound on epsilon at `log_delta`."""

        def bound(log_tilt: float) -> float:
            t = math.exp(log_tilt)
            try:
                moment = self.log_moment(t)
            except (OverflowError, ValueError):
                return 1e300
            value = (moment + _log_kernel(t) - log_delta) / t
            return value if math.isfinite(value) else 1e300

        grid = np.linspace(math.log(1e-4), math.log(1e9), 60)
        best = grid[int(np.argmin([bound(s) for s in grid]))]
        found = optimize.minimize_scalar(
            bound, bounds=(best - 0.6, best + 0.6), method="bounded", options={"xatol": 1e-3}
        )
        return max(float(min(found.fun, bound(best))), 0.0)

    def interval(self, tilt: float, *, allowed: float, top: float = math.inf) -> float:
        """The coarsest grid on which rounding adds about `allowed` to the logarithm."""
        end = min(top, self.largest)
        return _coarsest(lambda h: self.rise(tilt, h, top), allowed, end / 32)

    def interval_of_layer(self, tilt: float, *, allowed: float, cut: float, top: float) -> float:
        """The same for the layer between `cut` and `top`."""
        plain = self.log_layer(tilt, cut, top)
        return _coarsest(
            lambda h: self.log_layer(tilt, cut, top, h) - plain, allowed, min(cut, top - cut) / 16
        )


def _log_kernel(t: float) -> float:
    """Log of the largest `(1 - e^{-g}) e^{-tg}` over `g > 0`."""
    return t * math.log(t) - (1 + t) * math.log1p(t)


def _lowest(cumulant: Callable[[float], float], epsilon: float) -> Aim:
    """The tilt at which `K(t) - t epsilon - log t - log(1 + t)` is least."""

    def exponent(log_tilt: float) -> float:
        t = math.exp(log_tilt)
        try:
            value = cumulant(t) - t * epsilon - log_tilt - math.log1p(t)
        except (OverflowError, ValueError):
            return 1e300
        return float(value) if math.isfinite(value) else 1e300

    # The exponent is convex in t: bracket from a coarse grid, then refine, but not far.
    grid = np.linspace(math.log(_LEAST_TILT), math.log(_MOST_TILT), 23)
    k = int(np.argmin([exponent(s) for s in grid]))
    step = grid[1] - grid[0]
    found = optimize.minimize_scalar(
        exponent,
        bounds=(grid[k] - step, grid[k] + step),
        method="bounded",
        options={"xatol": 0.02},
    )
    tilt = math.exp(float(found.x))
    return Aim(tilt, cumulant(tilt) - tilt * epsilon + _log_kernel(tilt))


def _coarsest(rise: Callable[[float], float], allowed: float, interval: float) -> float:
    """The coarsest interval, up to the given one, at which `rise` is a little below `allowed`."""
    last: tuple[float, float] | None = None
    for _ in range(40):
        value = rise(interval)
        if value <= allowed:
            if last is None or value > 0.5 * allowed:
                return interval
            interval = min(interval * 1.3, 0.5 * (interval + last[0]))
            last = (last[0], last[1])
            if interval > 0.95 * last[0]:
                return interval * 0.9
            continue
        # Between the first and the second power of the interval.
        shrink = math.sqrt(0.8 * allowed / value) if math.isfinite(value) else 0.0
        last = (interval, value)
        interval *= min(max(shrink, 1e-3), 0.9)
    return interval
