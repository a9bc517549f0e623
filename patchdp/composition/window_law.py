"""The law of one step's privacy loss, cut by smooth windows into losses below, inside and above.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-3, mu=1.0)),), attainable=True)
>>> ladder = WindowedLaw.whole(step, "symmetric", reach=12.0).below(0.5)
>>> law = ladder.nodes(highest=100.0, log_rest=-60.0)
>>> log_n, log_m = law.log_moments(np.array([0.0]))
>>> round(float(np.exp(log_m[0])), 6)  # few losses exceed 0.5
3.6e-05

A window is `W(x) = Phi((x - c)/s)` on the axis of the pair, with `c` where the loss is `l`. It is
analytic and `|Phi((x + ia - c)/s)| <= e^{a^2/2s^2} Phi((x - c)/s)`, so bounds in a strip
(`patchdp.composition.strip`) hold for windowed densities with that factor. Proofs:
`docs/theory/exact.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.loss_law import (
    NODES_PER_PANEL,
    ExactEngineError,
    Pairs,
    Side,
    gauss_nodes,
    gauss_weights,
    small_exp,
)
from patchdp.composition.strip import SlopeBound, turning
from patchdp.step import MixturePair, StepProfile

__all__ = ["WindowNodes", "WindowedLaw"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_PHASE = 12.0  # radians of e^{iyL} that one panel may hold
_ELLIPSES = (1.8, 2.4, 3.4, 5.0)
_POINTS = 17  # for the maximum on an ellipse
_MOST_PANELS = 6000
_STEEPEST = 1.45  # largest mu * a
_FAR_LEFT = 10.0
_BLOCK = 40_000  # entries of an array
_WIDTH = 0.1  # of a window, relative to its place: W(0) is below 1e-23


@dataclass(frozen=True)
class _Windows:
    """Windows of one pair, from the highest down: `v(x) = prod Phi(-(x - c)/s)` is what is left."""

    centres: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()

    def add(self, pair: MixturePair, loss: float, relative_width: float) -> _Windows:
        c = float(pair.position(loss))
        slope = float(pair.loss(c * (1 + 1e-4)) - pair.loss(c * (1 - 1e-4))) / (2e-4 * c)
        s = relative_width * min(c, loss / slope)
        return _Windows((*self.centres, c), (*self.widths, s))

    def log_left(self, x: Array) -> Array:
        """`log v(x)`."""
        total = np.zeros_like(x)
        for c, s in zip(self.centres, self.widths, strict=True):
            total = total + special.log_ndtr(-(x - c) / s)
        return total

    def log_cut(self, x: Array, a: Array) -> Array:
        """Log of a bound on `|1 - v|` at `x + ia`."""
        total = np.zeros_like(x)
        for c, s in zip(self.centres, self.widths, strict=True):
            power = special.log_ndtr((x - c) / s) + 0.5 * np.square(a / s)
            total = total + np.logaddexp(0.0, power)
        with np.errstate(divide="ignore"):
            return np.asarray(total + np.log(-np.expm1(-total)))

    def log_left_near(self, low: Array, high: Array, a: Array) -> Array:
        """Log of a bound on `|v(x + ia')|`, `low <= x <= high`, `a' <= a`."""
        total = np.zeros_like(low)
        for c, s in zip(self.centres, self.widths, strict=True):
            # far left of the window the bound is 1 to the last digit
            some = np.broadcast_to((c - high) / s < 12.0 + a / s, low.shape)
            size = np.broadcast_to(a / s, low.shape)[some]
            total[some] += _log_near((c - low[some]) / s, (c - high[some]) / s, size)
        return total

    def log_inside_near(self, low: Array, high: Array, a: Array) -> Array:
        """The same of `W`, the only window."""
        if not self.centres:
            return np.full_like(low, -np.inf)
        c, s = self.centres[0], self.widths[0]
        return _log_near((high - c) / s, (low - c) / s, a / s)


def _log_near(high: Array, low: Array, a: Array) -> Array:
    """Of `|Phi(u + ia')|` for `low <= u <= high`: `Phi = 1 - Phi(-u)` where `u` is large."""
    growth = 0.5 * np.square(a)
    small = growth + special.log_ndtr(high)
    return np.asarray(np.minimum(small, np.logaddexp(0.0, growth + special.log_ndtr(-low))))


@dataclass(frozen=True)
class WindowedLaw:
    """A step's law without the losses above the windows that were set so far.

    Args:
      profile, side: The law; `"backward"` has no windows (its losses are bounded).
      reach: Largest position of the pair's axis that counts.
      above: Windows of each part that bound what is left from above.
      window: The lowest window of each part: the band is what it takes away next.
      relative_width: Width of the windows, relative to the loss where they stand.
    """

    profile: StepProfile
    side: Side
    reach: float
    above: tuple[_Windows, ...]
    window: tuple[_Windows, ...]
    relative_width: float = _WIDTH

    @classmethod
    def whole(
        cls, profile: StepProfile, side: Side, *, reach: float, relative_width: float = _WIDTH
    ) -> WindowedLaw:
        """Nothing taken away, and no window yet."""
        none = tuple(_Windows() for _ in profile.parts)
        return cls(profile, side, reach, none, none, min(relative_width, _WIDTH))

    def below(self, loss: float) -> WindowedLaw:
        """What is left below the present window, with the next one at `loss`."""
        above = tuple(
            _Windows(a.centres + w.centres, a.widths + w.widths)
            for a, w in zip(self.above, self.window, strict=True)
        )
        window = tuple(
            _Windows().add(pair, loss, self.relative_width) for _, pair in self.profile.parts
        )
        return replace(self, above=above, window=window)

    def nodes(self, *, highest: float, log_rest: float, margin: float = 9.0) -> WindowNodes:
        """Quadrature for the band, resolving `e^{iyL}` up to `y = highest`.

        Args:
          highest: Largest frequency.
          log_rest: Positions beyond which less than this log-probability is left may be dropped.
          margin: How many widths of the density further the nodes go.
        """
        # where windows are narrow tilts are steep
        narrow, pieces = max(self.relative_width / _WIDTH, 0.7), []
        for (weight, pair), above, window in zip(
            self.profile.parts, self.above, self.window, strict=True
        ):
            end = self._end(pair, above, log_rest, margin)
            pieces.append(_Piece(pair, weight, above, window, end, self.side, narrow))
        return WindowNodes(pieces, self.side, highest)

    def _end(self, pair: MixturePair, above: _Windows, log_rest: float, margin: float) -> float:
        """Where the remaining density has fallen by `log_rest`, and some widths further."""
        grids = [np.linspace(0.0, self.reach, 300)]
        for c, s in zip(above.centres, above.widths, strict=True):
            grids.append(c + s * np.arange(0.0, 60.0, 0.5))
        x = np.unique(np.concatenate(grids))
        x = x[x <= self.reach]
        left = above.log_left(x) + special.log_ndtr(max(pair.p_means) - x)
        if not left[-1] < log_rest:
            return self.reach
        first = max(int(np.argmax(left < log_rest)), 1)
        # A tilt adds a straight line, about: what it cannot undo is the curvature.
        slope = (left[first] - left[first - 1]) / (x[first] - x[first - 1])
        bent = left[first] + slope * (x - x[first]) - left >= 0.5 * margin**2
        bent[:first] = False
        return float(x[int(np.argmax(bent))]) if np.any(bent) else self.reach


class _Piece:
    """Panels of one part."""

    def __init__(
        self,
        pair: MixturePair,
        weight: float,
        above: _Windows,
        window: _Windows,
        end: float,
        side: Side,
        narrow: float,
    ) -> None:
        self.pair, self.weight, self.above, self.window = pair, weight, above, window
        self.end, self.side, self.narrow = end, side, narrow
        self.mu = max(abs(m) for m in (*pair.shifts, *pair.p_means, *pair.q_means))
        self.start = 0.0 if side == "symmetric" else -(_FAR_LEFT + self.mu)

    def edges(self, highest: float) -> Array:
        """Panel edges: narrow against the density, the windows and the oscillation."""
        width = self.narrow * min(0.6, 0.4 / self.mu)
        top = float(self.pair.loss(self.end))
        if self.end / width + top * highest / _PHASE > _MOST_PANELS:
            raise ExactEngineError(
                "the exact engine would need too many quadrature nodes here; use method 'pld'"
            )
        start = self.start
        grids = [np.linspace(start, self.end, int(np.ceil((self.end - start) / width)) + 1)]
        grids.append(self.pair.position(np.arange(_PHASE / highest, top, _PHASE / highest)))
        for windows in (self.above, self.window):
            for c, s in zip(windows.centres, windows.widths, strict=True):
                grids.append(c + s * np.arange(-10.0, 40.0, 2.5))
        grids.append(np.zeros(1))
        edges = np.unique(np.concatenate(grids))
        edges = edges[(edges >= start) & (edges <= self.end)]
        keep = np.append(np.diff(edges) > 1e-9 * width, True)  # the end itself is always one
        keep[0] = True
        return np.asarray(edges[keep])


class WindowNodes:
    """Gauss-Legendre nodes for `N(z)`, what is left, and `M(z)`, the band taken from it.

    `N(z) = 1 - lost + E[v (e^{zL} - 1)]` and `M(z) = E[v W e^{zL}]`, `v` the weight left below all
    windows but the lowest, `W` the lowest. Losses and masses have shape `(n,)`.
    """

    def __init__(self, pieces: list[_Piece], side: Side, highest: float) -> None:
        self.pieces, self.side, self.folded = pieces, side, side == "symmetric"
        self._maxima: dict[int, _Ellipses] = {}
        xs, halves, owner = [], [], []
        loss, log_q, log_v, log_w = [], [], [], []
        for number, piece in enumerate(pieces):
            edges = piece.edges(highest)
            half = 0.5 * np.diff(edges)
            x = (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * gauss_nodes).ravel()
            q, own = (a[0] for a in Pairs([piece.pair]).log_q_and_loss(x[None, :]))
            xs.append(x)
            halves.append(half)
            loss.append(own)
            size = np.repeat(half, NODES_PER_PANEL) * np.tile(gauss_weights, len(half))
            log_q.append(q + np.log(size) + np.log(piece.weight))
            log_v.append(piece.above.log_left(x))
            log_w.append(self._log_inside(piece.window, x))
            owner.append(np.full(len(half), number))
        self.x, self.half, self.owner = (np.concatenate(a) for a in (xs, halves, owner))
        self.loss, self.log_q, self.log_v, self.log_w = (
            np.concatenate(a) for a in (loss, log_q, log_v, log_w)
        )
        self.log_p = self.log_q + self.loss
        self.size = np.repeat(self.half, NODES_PER_PANEL) * np.tile(gauss_weights, len(self.half))
        self._cut = -np.expm1(self.log_v)
        tail_p, tail_q, tail_gap = self._tails()
        both = np.exp(self.log_p) + np.exp(self.log_q) if self.folded else np.exp(self.log_p)
        beyond = tail_p + tail_q if self.folded else tail_p
        gain = -np.expm1(-self.loss) * np.exp(self.log_p)
        # mass, and mass times 1 - e^{-L}, that is not left
        self._taken, self._beyond = self._cut * both, beyond
        self.lost = float(np.sum(self._taken)) + beyond
        self.lost_gain = float(self._cut @ gain) + tail_gap
        last = [float(np.exp(p.above.log_left(np.array([p.end]))[0])) for p in pieces]
        # what the end of the nodes drops though no window took it
        self.dropped = max(1.01 * max(last) * beyond, 1e-323)  # never 0 by underflow

    @staticmethod
    def _log_inside(window: _Windows, x: Array) -> Array:
        if not window.centres:
            return np.full_like(x, -np.inf)
        return np.asarray(special.log_ndtr((x - window.centres[0]) / window.widths[0]))

    def _tails(self) -> tuple[float, float, float]:
        """Masses of `P` and `Q` beyond the nodes, and their difference without cancellation."""
        p = q = gap = 0.0
        for piece in self.pieces:
            pair = piece.pair
            shifts = np.array(pair.shifts)
            between = special.ndtr(shifts - piece.end) - special.ndtr(-shifts - piece.end)
            gap += piece.weight * float(np.dot(pair.gains, between))
            p += piece.weight * sum(
                w * float(special.ndtr(m - piece.end))
                for w, m in zip(pair.p_weights, pair.p_means, strict=True)
            )
            q += piece.weight * sum(
                w * float(special.ndtr(m - piece.end))
                for w, m in zip(pair.q_weights, pair.q_means, strict=True)
            )
        return p, q, gap

    def log_moments(self, t: Array) -> tuple[Array, Array]:
        """`log N(t)` and `log M(t)` at real tilts `t`."""
        rows = max(_BLOCK // len(self.x), 1)  # what a processor keeps at hand
        blocks = [self._log_moments(t[i : i + rows]) for i in range(0, len(t), rows)]
        log_n, log_m = (np.concatenate(v) for v in zip(*blocks, strict=True))
        return log_n, log_m

    def _log_moments(self, t: Array) -> tuple[Array, Array]:
        angle = t[:, None] * self.loss
        power = self.log_p + self.log_v + angle
        scale = np.maximum(np.max(power, axis=1), 0.0)
        up = np.exp(power - scale[:, None])
        floor = np.exp(-scale)
        inside = np.exp(self.log_w)
        if self.folded:
            # e^{-tL} - 1 and e^{-(t+1)L} - 1: sums of terms of one sign
            fall = np.expm1(-angle)
            further = fall * np.exp(-self.loss) + np.expm1(-self.loss)
            excess = np.sum(up * fall * further, axis=1) - floor * self.lost
            band = (up * (1 + (1 + fall) * (1 + further))) @ inside
        else:
            mass = np.exp(self.log_p + self.log_v - scale[:, None])
            near = np.abs(angle) < 0.4
            rise = np.where(
                near, mass * small_exp(np.where(near, angle, 0.0)), up - mass * (1 + angle)
            )
            back = float(np.exp(self.log_p + self.log_v) @ self._back) - self.lost_gain
            excess = np.sum(rise, axis=1) + floor * (t * back - self.lost)
            band = up @ inside
        with np.errstate(divide="ignore", invalid="ignore"):
            log_n = np.where(scale == 0, np.log1p(excess), scale + np.log(floor + excess))
            return np.asarray(log_n), np.asarray(scale + np.log(band))

    @cached_property
    def _back(self) -> Array:
        """`q(-L)`."""
        near = np.abs(self.loss) < 0.4
        return np.where(
            near,
            small_exp(np.where(near, -self.loss, 0.0)),
            np.exp(np.minimum(-self.loss, 700.0)) - 1 + self.loss,
        )

    def on_line(self, t: float, log_n: float, coarse: Array, fine: Array) -> tuple[Array, ...]:
        """`1 - Re` and `Im` of `N(t + iy)/N(t)`, and `M(t + iy)/N(t)`, at `y = coarse + fine`.

        `e^{i(a+b)} - 1 = (e^{ia} - 1)(e^{ib} - 1) + (e^{ia} - 1) + (e^{ib} - 1)` turns the sums
        over the loss into matrix products.
        """
        even, odd, even_m, odd_m = self._tilted(t, log_n)
        keep = even + even_m > 1e-26 * np.max(even_m)
        loss, even, odd = self.loss[keep], even[keep], odd[keep]
        even_m, odd_m = even_m[keep], odd_m[keep]
        drop_a, sine_a = _turn(np.outer(coarse, loss))
        drop_b, sine_b = _turn(np.outer(fine, loss))

        def sums(real: Array, imaginary: Array) -> tuple[Array, Array]:
            drop = (sine_a * real) @ sine_b.T - (drop_a * real) @ drop_b.T
            drop += (drop_a @ real)[:, None] + (drop_b @ real)[None, :]
            turn = -(sine_a * imaginary) @ drop_b.T - (drop_a * imaginary) @ sine_b.T
            turn += (sine_a @ imaginary)[:, None] + (sine_b @ imaginary)[None, :]
            return drop.ravel(), turn.ravel()

        drop, turn = sums(even, odd)
        drop_m, turn_m = sums(even_m, odd_m)
        return drop, turn, np.asarray(float(np.sum(even_m)) - drop_m + 1j * turn_m)

    def _tilted(self, t: float, log_n: float) -> tuple[Array, Array, Array, Array]:
        """Masses under the tilt relative to `N(t)`: sum and difference of both signs, twice."""
        up = np.exp(self.log_p + self.log_v + t * self.loss - log_n)
        inside = np.exp(self.log_w)
        if not self.folded:
            return up, up, inside * up, inside * up
        even = up * (1 + np.exp(-(2 * t + 1) * self.loss))
        odd = -up * np.expm1(-(2 * t + 1) * self.loss)
        return even, odd, inside * even, inside * odd

    def _bent(self, t: float, log_n: float) -> Array:
        """Masses times `q(tL) + t q(-L)`, relative to `N(t)`."""
        power, angle = self.log_p + self.log_v - log_n, t * self.loss
        mass, near = np.exp(power), np.abs(angle) < 0.4
        rise = np.where(
            near,
            mass * small_exp(np.where(near, angle, 0.0)),
            np.exp(power + angle) - mass * (1 + angle),
        )
        return np.asarray(rise + t * mass * self._back)

    @cached_property
    def _narrowest(self) -> float:
        """The smallest distance of two components, at most 1."""
        return min(1.0, *(s for piece in self.pieces for s in piece.pair.shifts))

    @cached_property
    def _rounding(self) -> tuple[Array, Array]:
        """Relative errors of losses and of masses."""
        magnitude = np.empty_like(self.x)
        of = np.repeat(self.owner, NODES_PER_PANEL)
        for number, piece in enumerate(self.pieces):
            pair = piece.pair
            least = min(*pair.gains, *pair.p_weights, *pair.q_weights, piece.weight)
            here = of == number
            magnitude[here] = (
                2 * piece.mu * np.abs(self.x[here]) + piece.mu**2 + abs(np.log(least)) + 10
            )
        of_loss = 8 * _UNIT * magnitude
        bend = sum(
            (np.abs(self.x - c) / s) ** 2 * (sign * (self.x - c) > 0) + np.abs(self.x - c) / s
            for piece in self.pieces
            for w, sign in ((piece.above, 1.0), (piece.window, -1.0))
            for c, s in zip(w.centres, w.widths, strict=True)
        )
        of_mass = of_loss + 8 * _UNIT * np.square(self.x) + (100 + len(self.x)) * _UNIT
        return of_loss, of_mass + 8 * _UNIT * bend

    def errors(self, t: float, log_n: float, y: Array) -> tuple[float, Array, Array]:
        """Bounds on the errors of `N(t)`, `N(t + iy) - N(t)` and `M(t + iy)` over `N(t)`."""
        even, odd, even_m, _ = self._tilted(t, log_n)
        of_loss, of_mass = self._rounding
        size = np.abs(self.loss)
        relative = of_mass + of_loss * (2 + (2 * t + 1) * size)
        # the terms of which `log_moments` sums `N(t) - 1`
        small = -np.expm1(-t * size) * odd if self.folded else self._bent(t, log_n)
        unit = float(np.exp(-log_n))
        taken = float(of_mass @ self._taken) + 400 * _UNIT * self._beyond
        if not self.folded:
            # `1 - e^{-L}` is known as well as `L`; and what lies left of the nodes
            gain = float((of_mass + of_loss) @ (self._taken * np.abs(np.expm1(-self.loss))))
            taken += t * (gain + 400 * _UNIT / self._narrowest * abs(self.lost_gain))
            taken += 1e-22 * (1 + t) * (len(self.x) + 200)
        panels, panels_n, panels_m, at_cut = self._remainders(t, log_n, y)
        at_zero = float(relative @ small) + taken * unit + t * panels
        at_zero += at_cut if self.folded else (1 + t) * at_cut
        angle = np.outer(y, size)
        turned = np.minimum(angle, 1.0)
        # cos - 1 goes with the sum of both signs, sin with their difference
        of_n = np.minimum(np.square(angle), 2.0) @ (relative * even) + turned @ (relative * odd)
        of_n += (angle * turned) @ (of_loss * even) + angle @ (of_loss * odd) + y * panels_n
        of_m = float(relative @ even_m) + angle @ (of_loss * even_m) + panels_m
        if not self.folded:  # left of the nodes, where `|L| <= 2 mu |x|`
            widest = max(piece.mu for piece in self.pieces)
            of_n += 2e-23 * unit * np.minimum(1.0, widest * (11 + widest) * y)
            starts = [np.array([-_FAR_LEFT - piece.mu]) for piece in self.pieces]
            pairs = zip(self.pieces, starts, strict=True)
            inside = max(float(self._log_inside(p.window, at)[0]) for p, at in pairs)
            of_m += 1e-22 * math.exp(inside) * unit
        return at_zero, of_n, of_m

    def _remainders(self, t: float, log_n: float, y: Array) -> tuple[float, Array, Array, float]:
        """Gauss-Legendre remainders: of `E[v L e^{tL}]`, its waves, the band's waves, the cut."""
        slopes = [self._ellipses(t, log_n, p, number) for number, p in enumerate(self.pieces)]
        first, band, turn, cut, whole = (
            np.concatenate(a, axis=1) for a in zip(*slopes, strict=True)
        )
        even, _, even_m, _ = self._tilted(t, log_n)
        mass, mass_m = (np.sum(v.reshape(-1, NODES_PER_PANEL), axis=1) for v in (even, even_m))
        # Rule and integral of a wave are at most those of its modulus, which differ by `whole`.
        most_n, most_m = (
            2.01 * size + np.exp(np.minimum(np.min(remainder, axis=0), 600.0))
            for size, remainder in ((mass, whole), (mass_m, band))
        )
        at_zero = float(np.sum(np.exp(np.minimum(np.min(first, axis=0), 600.0))))
        of_n, of_m = np.empty_like(y), np.empty_like(y)
        for i, value in enumerate(y):
            wave = np.exp(np.minimum(np.min(first + value * turn, axis=0), 600.0))
            of_n[i] = np.sum(np.minimum(wave, 2 * most_n / value))
            wave = np.exp(np.minimum(np.min(band + value * turn, axis=0), 600.0))
            of_m[i] = np.sum(np.minimum(wave, most_m))
        return at_zero, of_n, of_m, float(np.sum(np.exp(np.minimum(np.min(cut, axis=0), 600.0))))

    def _ellipses(self, t: float, log_n: float, piece: _Piece, number: int) -> tuple[Array, ...]:
        """Logs of the remainders of each panel (columns) from each ellipse (rows)."""
        if number not in self._maxima:
            chosen = self.owner == number
            centre = self.x.reshape(-1, NODES_PER_PANEL)[chosen].mean(axis=1)
            self._maxima[number] = _Ellipses(piece, self.half[chosen], centre, self.side)
        return self._maxima[number].at(t, log_n)

    def mean(self) -> float:
        """An upper bound on the mean of the positive losses that are left."""
        total = 0.0
        for number, piece in enumerate(self.pieces):
            here = np.repeat(self.owner == number, NODES_PER_PANEL) & (self.x > 0)
            x, size = self.x[here], self.size[here]
            # the j-th node lies in a cell as long as its weight: the extremes in that cell
            log_mass = self.log_p[here] + (np.abs(x) + size + piece.mu) * size
            log_mass += piece.above.log_left(x - size)
            total += float(np.exp(log_mass) @ piece.pair.loss(x + size))
        return total

    def drop(self, t: float, log_n: float, y: Array) -> Array:
        """A lower bound on `1 - |N(t + iy')|/N(t)` for every `y' >= y`.

        Where `N(t)` is known to a part in a thousand: `e^log_n` is the computed one.
        """
        mass, length = self._uniform(t, log_n)
        angle = np.square(np.minimum(0.5 * np.outer(y, length), 2.0))
        return 0.998 * np.asarray(angle / 6 * (1 - angle / 20)) @ mass

    def _uniform(self, t: float, log_n: float) -> tuple[Array, Array]:
        """Masses and lengths of uniform laws which together lie below the tilted law of the loss.

        They are the level sets, intervals around 0, of a step function below its density.
        """
        masses, lengths = [], []
        for number, piece in enumerate(self.pieces):
            # on each side of 0 the lowest step so far, and how far the loss has gone
            sides = [
                (np.minimum.accumulate(p), np.maximum.accumulate(np.abs(piece.pair.loss(ends))))
                for p, ends in self._steps(number, t, log_n)
            ]
            levels = np.sort(np.concatenate([p for p, _ in sides]))
            length = np.zeros_like(levels)
            for p, reach in sides:
                length += np.append(0.0, reach)[np.searchsorted(-p, -levels, side="right")]
            masses.append(np.diff(levels, prepend=0.0) * length)
            lengths.append(length)
        mass, length = np.concatenate(masses), np.concatenate(lengths)
        some = mass > 1e-6 * np.max(mass)  # where a density rises, most are nothing
        return mass[some], length[some]

    def _steps(self, number: int, t: float, log_n: float) -> list[tuple[Array, Array]]:
        """Lower bounds on the density of the tilted loss, over `N(t)`, in cells off 0 on each side.

        With them the far ends of the cells on the axis of the pair.
        """
        piece, here = self.pieces[number], np.repeat(self.owner == number, NODES_PER_PANEL)
        x, size, loss = self.x[here], self.size[here], self.loss[here]
        # the j-th node lies in a cell as long as its weight, and the cells fill the axis
        high = piece.start + np.cumsum(size)
        a = 0.2 / piece.mu
        slope = SlopeBound(piece.pair, x).slope(np.asarray(a), np.asarray(piece.mu * a))
        slope = slope * np.exp(size * (4 * piece.mu + 1 / a))
        level = piece.above.log_left(high) - np.log(size * slope) - log_n
        level = level - (np.abs(x) + size + piece.mu) * size
        p = np.exp(self.log_p[here] + level + t * (loss - slope * size))
        if self.folded:
            q = np.exp(self.log_q[here] + level - t * (loss + slope * size))
            return [(p, high), (q, high)]
        right, left = high > 0.5 * size, high <= 0.5 * size
        return [(p[right], high[right]), (p[left][::-1], (high - size)[left][::-1])]

    def oscillation(self, t: float, log_n: float, y: Array) -> Array:
        """A bound on `|M(t + iy')|/N(t)` for every `y' >= y`."""
        best = np.full(len(y), np.inf)
        _, _, even_m, _ = self._tilted(t, log_n)
        best = np.minimum(best, 1.1 * float(np.sum(even_m)))
        widths = min(p.window.widths[0] for p in self.pieces)
        widest = max(p.mu for p in self.pieces)
        scaled = [widths * k for k in (2.5, 4.5, 6.5, 9.0)]
        slopes = [
            SlopeBound(piece.pair, self.x[np.repeat(self.owner == number, NODES_PER_PANEL)])
            for number, piece in enumerate(self.pieces)
        ]
        for a in sorted({min(v, 1.2 / widest) for v in scaled}):
            best = np.minimum(best, self._shifted(t, log_n, a, y, slopes))
        return np.asarray(best)

    def _shifted(
        self, t: float, log_n: float, a: float, y: Array, slopes: list[SlopeBound]
    ) -> Array:
        """The integral moved up by `a`."""
        total = np.zeros(len(y))
        for number, piece in enumerate(self.pieces):
            here = np.repeat(self.owner == number, NODES_PER_PANEL)
            x, size = self.x[here], self.size[here]
            lift = 0.5 * a * a
            slope = slopes[number].slope(np.asarray(a), np.asarray(piece.mu * a))
            turn = a * slope * np.exp(size * (4 * piece.mu + 1 / a))
            log_mass = t * np.minimum(-np.log(np.cos(piece.mu * a)), turn)
            log_mass += self.log_p[here] + t * self.loss[here] - log_n
            if self.folded:
                log_mass = log_mass + np.log1p(np.exp(-(2 * t + 1) * self.loss[here]))
            # the j-th node lies in a cell as long as its weight: the extremes in that cell
            steep = np.abs(x) + size + piece.mu + t * np.minimum(turn / a, 2 * piece.mu)
            log_mass = log_mass + steep * size
            log_mass = log_mass + piece.above.log_left_near(x - size, x + size, np.asarray(a))
            log_mass = log_mass + piece.window.log_inside_near(x - size, x + size, np.asarray(a))
            rate = turning(piece.pair, x, a) * np.exp(-3 * piece.mu * size)
            heavy = log_mass > np.max(log_mass) - 60.0
            rest = float(np.sum(np.exp(np.minimum(log_mass[~heavy] + lift, 600.0))))
            waves = np.exp(-np.outer(y, rate[heavy])) @ np.exp(log_mass[heavy])
            total += np.exp(min(lift, 600.0)) * waves + rest
            ends = [piece.end] if not self.folded else [0.0, piece.end]
            for at in ends:
                total += self._vertical(piece, at, t, log_n, a, y)
        return total

    def _vertical(
        self, piece: _Piece, at: float, t: float, log_n: float, a: float, y: Array
    ) -> Array:
        """The piece of the contour from `at` to `at + ia`: its exponent is convex along it."""
        windows = (*piece.above.widths, *piece.window.widths)
        grow = 0.5 * a * a * (1 + sum(s**-2.0 for s in windows))
        x = np.array([at])
        log_q, loss = (v[0] for v in Pairs([piece.pair]).log_q_and_loss(x[None, :]))
        level = log_q + loss + t * loss + piece.above.log_left(x) - log_n
        level = level + self._log_inside(piece.window, x) + np.log(2 * piece.weight)
        turn = a * SlopeBound(piece.pair, x).slope(np.asarray(a), np.asarray(piece.mu * a))
        level = level + t * np.minimum(-np.log(np.cos(piece.mu * a)), turn)
        rate = float(turning(piece.pair, x, a)[0])
        return np.asarray(a * np.exp(np.minimum(level + np.maximum(0.0, grow - y * rate), 600.0)))


class _Ellipses:
    """Maxima around the panels of one part; logarithms are straight lines in the tilt `t >= 0`."""

    def __init__(self, piece: _Piece, half: Array, centre: Array, side: Side) -> None:
        mu = piece.mu
        rho = np.array(_ELLIPSES)[:, None]
        a = (0.5 * half * (rho - 1 / rho))[..., None]
        stretch = (0.5 * half * (rho + 1 / rho))[..., None]
        x = centre[:, None] + stretch * np.linspace(-1, 1, _POINTS)
        gap = stretch / (_POINTS - 1)  # half the spacing
        theta = np.minimum(mu * a, _STEEPEST)
        strip = SlopeBound(piece.pair, x)
        turn = a * strip.slope(a, theta) * np.exp(2 * gap * (4 * mu + 1 / a))
        turn = np.minimum(turn, 2 * theta)
        rise = np.minimum(-np.log(np.cos(theta)), turn)
        rule = gap * (np.abs(x) + gap + 3 * mu) + 0.5 * np.square(a) + np.log(piece.weight)
        rule = rule + np.log(16 * half)[:, None] - 2 * NODES_PER_PANEL * np.log(rho)[..., None]
        rule = rule - np.log1p(-1 / rho**2)[..., None] + strip.log_q + rise
        rule = np.where(mu * a > _STEEPEST, np.inf, rule)
        loss, size = strip.loss, np.abs(strip.loss)
        # a density that bounds both P e^{zL} and Q e^{-zL} or, one-sided, 1 beside e^{zL}
        level = rule + 0.5 * (loss + size) if side == "symmetric" else rule + np.maximum(loss, 0.0)
        left = level + piece.above.log_left_near(x - gap, x + gap, a)
        self._whole = left
        self._first = left + np.log(size + turn + rise + 4 * gap * mu)
        self._band = left + piece.window.log_inside_near(x - gap, x + gap, a)
        self._cut = rule + np.maximum(loss, 0.0) + piece.above.log_cut(x + gap, a)
        self._bend = gap * np.minimum(turn / a, 2 * mu)
        growing = size if side == "symmetric" else np.maximum(loss, 0.0)
        self._growth = self._bend + growing + rise
        self._turn = np.max(turn, axis=2)

    def at(self, t: float, log_n: float) -> tuple[Array, ...]:
        """Logs of what `WindowNodes._remainders` sums, at one tilt."""
        grown = t * self._growth - log_n
        return (
            np.max(self._first + grown, axis=2),
            np.max(self._band + grown, axis=2),
            self._turn,
            np.max(self._cut + t * self._bend - log_n, axis=2),
            np.max(self._whole + grown, axis=2),
        )


def _turn(angle: Array) -> tuple[Array, Array]:
    """`1 - cos` and `sin`."""
    half = 0.5 * angle
    sine = np.sin(half)
    return 2 * np.square(sine), 2 * sine * np.cos(half)
