"""Bounds that come from the loss being analytic in a strip around the real axis.

With `mu` the largest distance of a component from the centre and `|Im x| <= a`, `mu a < pi/2`,
every mixture with means in `[-mu, mu]` satisfies
`cos(mu a) <= |mixture(x + ia)| / mixture(x) <= 1` up to the factor `e^{a^2/2}` of the normal
density, so `|Re L(x + ia) - L(x)| <= -log cos(mu a)` and `|Im L(x + ia)| <= 2 mu a`. From this
follow a remainder for Gauss-Legendre panels (`quadrature_remainders`) and a bound on the
oscillating integrals that decreases in `y` (`OscillationBound`). Proofs: `docs/theory.md`,
"The exact engine".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from patchdp.composition.transform.law import (
    NODES_PER_PANEL,
    LossLaw,
    NoLine,
    Pairs,
    gauss_weights,
    log_sum,
)
from patchdp.composition.transform.tilted import TiltedLaw
from patchdp.step import MixturePair

__all__ = [
    "OscillationBound",
    "Remainder",
    "SlopeBound",
    "quadrature_remainders",
    "turning",
    "widest_mean",
]

Array = npt.NDArray[np.float64]

_ELLIPSES = (2.0, 2.8, 4.0, 6.0, 9.0)
_PER_HALF = 3  # grid points for the maximum on an ellipse, per half panel
_STEEPEST = 1.45  # largest mu * a
_STEEPEST_RISE = 20.0  # log of what a density may grow by where it is moved, at its far end


def widest_mean(law: LossLaw) -> float:
    """The largest distance of any component of a one-row law from the centre."""
    pairs = [pair for _, pair in law.profiles[0].parts]
    return max(abs(m) for pair in pairs for m in (*pair.shifts, *pair.p_means, *pair.q_means))


@dataclass(frozen=True)
class Remainder:
    """Bounds on the Gauss-Legendre error of sums on `Re z = t`, relative to `M(t)`.

    `moments`, `masses`, `growths` hold one row per ellipse and one column per panel:
    `e^{moments + growths |y|}` bounds a sum whose terms vanish like `L^2`, up to a factor,
    `e^masses` one of masses. `weights` are the masses of the panels, infinite beyond them.
    `t` is the highest tilt.
    """

    t: float
    moments: Array
    masses: Array
    growths: Array
    weights: Array

    def characteristic(self, y: Array) -> Array:
        """Of `M(t + iy)/M(t) - 1`, for `y > 0`: no panel errs by more than four times its mass."""
        factor = np.log(4 * y * (self.t + 1 + y))[:, None]
        logs = np.full((len(y), len(self.weights)), np.inf)
        for level, growth in zip(self.moments, self.growths, strict=True):
            logs = np.minimum(logs, level + growth * y[:, None])
        return np.asarray(
            np.sum(np.minimum(np.exp(np.minimum(logs + factor, 600.0)), 4 * self.weights), axis=1)
        )

    def excess(self) -> float:
        """Of `M(t) - 1`, relative to `M(t)`."""
        return self.t * (self.t + 1) * self._sum(self.moments)

    def mass(self) -> float:
        """Of sums of masses: both signs of the loss together weigh at most twice the bound."""
        return 2 * self._sum(self.masses)

    def mean(self) -> float:
        """Of sums of masses times `L`."""
        return 2 * self._sum(0.5 * (self.masses + self.moments))

    def second(self) -> float:
        """Of sums of masses times `L^2`."""
        return 2 * self._sum(self.moments)

    @staticmethod
    def _sum(logs: Array) -> float:
        """Over the panels, from the best ellipse of each; what exceeds e^600 is useless anyway."""
        return float(np.sum(np.exp(np.minimum(np.min(logs, axis=0), 600.0))))


def quadrature_remainders(tilted: TiltedLaw, highest: float) -> Remainder:
    """Remainders of the Gauss-Legendre panels of a one-row law, relative to `M(t) = e^log_m`.

    They hold at `t` and, for the excess, at every tilt up to `highest >= t`: the bounds on the
    integrand increase with the tilt.

    On a panel of half-width `H` an analytic integrand bounded by `B` on the ellipse with foci at
    the ends and semi-axes `H (rho +- 1/rho)/2` is integrated by `n` nodes up to
    `8 H B rho^{-2n}/(1 - rho^{-2})`.
    """
    law, log_m = tilted.law, float(tilted.log_m[0])
    half, mu = float(law.half_width[0]), widest_mean(law)
    reach = float(law.reach[0])
    spacing = half / _PER_HALF
    pad = int(np.ceil(_PER_HALF * 0.5 * (max(_ELLIPSES) + 1 / max(_ELLIPSES)))) + 2
    start = 0.0 if law.folded else -reach
    panels = round((reach - start) / (2 * half))
    x: Array = np.asarray(
        start + spacing * np.arange(-pad, 2 * _PER_HALF * panels + pad + 1), dtype=np.float64
    )
    centres = np.asarray(pad + _PER_HALF * (2 * np.arange(panels) + 1))
    # one row per ellipse
    rho = np.array(_ELLIPSES)[:, None]
    rho = rho[mu * 0.5 * half * (rho - 1 / rho) <= _STEEPEST][:, None]
    a = 0.5 * half * (rho - 1 / rho)
    theta = mu * a
    points = 2 * np.ceil(_PER_HALF * 0.5 * (rho + 1 / rho) + 1).astype(int) + 1
    factor = np.log(8 * half) - 2 * NODES_PER_PANEL * np.log(rho) - np.log1p(-1 / rho**2)
    factor = factor + 0.5 * a * a - log_m
    bend = np.exp(spacing * (4 * mu + 1 / a))  # the slope between grid points
    found = []
    for weight, pair in law.profiles[0].parts:
        part = _Grid(pair, weight, law, highest, x)
        size = np.abs(part.loss)
        turn = a * part.slope(a, theta)
        steep = np.abs(x) + 3 * mu + highest * np.minimum(turn * bend / a, 2 * mu)
        level = factor + part.log_density + 0.5 * spacing * (steep + 2 * (3 * mu + 1 / a))
        level = level + (highest + 1) * np.minimum(turn * bend, -np.log(np.cos(theta)))
        squared = level + 2 * np.log(size + turn)
        values = np.stack([squared, level, np.minimum(turn * bend, 2 * theta)], axis=1)
        maxima = [
            ndimage.maximum_filter1d(value, int(count), axis=1)[:, centres]
            for value, count in zip(values, points[:, 0], strict=True)
        ]
        found.append(np.stack(maxima))
        # What lies beyond the nodes: the log-density falls at least at rate `fall`.
        for edge in [-1 - pad] if law.folded else [-1 - pad, pad]:
            at = float(size[edge])
            fall = reach - mu * (1 + 2 * max(highest, 1.0)) - min(4 * mu + 2 / reach, 4 * mu / at)
            rest = float(part.log_density[edge]) - log_m
            beyond = rest - np.log(fall) if fall > 0.1 else np.inf
            beyond = -np.inf if law.cut else beyond  # that mass sits at loss 0
            column = np.array([beyond + 2 * np.log(at), beyond, 0.0])
            found.append(np.broadcast_to(column[:, None], (len(rho), 3, 1)))
    moments, masses, growths = np.moveaxis(np.concatenate(found, axis=2), 1, 0)
    # upper bounds on the masses of the panels
    mass = np.sum(tilted.even.reshape(len(law.profiles[0].parts), -1, NODES_PER_PANEL), axis=2)
    weights = np.full((len(mass), moments.shape[1] // len(mass)), np.inf)
    weights[:, :panels] = 1.1 * mass + 1e-300
    return Remainder(highest, moments, masses, growths, weights.ravel())


class SlopeBound:
    """A pair at real positions `x`, any shape, and a bound on the slope of its loss beside them."""

    def __init__(self, pair: MixturePair, x: Array) -> None:
        pairs = Pairs([pair]).log_q_and_loss(x.reshape(1, -1))
        self.log_q, self.loss = (v[0].reshape(x.shape) for v in pairs)
        components = (-1, *(1,) * x.ndim)
        gain, shift = (np.reshape(v, components) for v in (pair.gains, pair.shifts))
        log_mixture = self.log_q + 0.5 * np.square(x) + 0.5 * np.log(2 * np.pi)
        at = np.abs(x) * shift
        # derivative of P - Q over Q e^L = P: sum gains 2 s cosh(s x) e^{-s^2/2} / P
        cosh = np.log(gain * shift) - 0.5 * np.square(shift) + at + np.log1p(np.exp(-2 * at))
        rise = log_sum(cosh) - log_mixture - self.loss
        self._rise = np.exp(np.minimum(rise, 700.0))
        self._excess = np.abs(np.expm1(np.minimum(-self.loss, 700.0)))
        self._mean = max(abs(m) for m in pair.q_means)
        self._widest = max(abs(m) for m in (*pair.shifts, *pair.p_means, *pair.q_means))

    def slope(self, a: Array, theta: Array) -> Array:
        """A bound on `|L'(x + is)|`, `|s| <= a`: `L' = (E' - ...)/(1 + E)`, `E = (P - Q)/Q`."""
        narrow = np.cos(0.5 * theta)
        size = (self._excess + a * self._rise) / narrow
        near = (self._rise + self._mean * size) / narrow
        return np.asarray(np.minimum(near, 2 * self._widest) / np.cos(theta))


class _Grid(SlopeBound):
    """One part of a step on a grid of real positions, and bounds at `x + ia` from it."""

    def __init__(self, pair: MixturePair, weight: float, law: LossLaw, t: float, x: Array) -> None:
        super().__init__(pair, x)
        own = self.log_q if law.side == "backward" else self.log_q + self.loss
        signed = -self.loss if law.side == "backward" else self.loss
        if law.folded:
            log_density = self.log_q + 0.5 * self.loss + (t + 0.5) * np.abs(self.loss)
        else:
            log_density = own + np.maximum(np.maximum(t * signed, 0.0), -signed)
        self.log_density = log_density + np.log(weight)


def turning(pair: MixturePair, x: Array, a: float | Array) -> Array:
    """A lower bound on `Im L(x + ia)`, from `Im(P conj Q)/(P Q)`, dropping terms of either sign.

    `x` of shape `(n,)`, `a` a number or of shape `(m, 1)`. Valid for `x >= 0`, and on the whole
    line where no mean of `Q` exceeds a shift in size.
    """

    def logs(weights: Sequence[float], means: Sequence[float]) -> Array:
        w, m = np.array(weights)[:, None], np.array(means)[:, None]
        return np.asarray(np.log(w) + m * (x - 0.5 * m))

    parts_q = logs(pair.q_weights, pair.q_means)
    below = log_sum(logs(pair.p_weights, pair.p_means)) + log_sum(parts_q)
    total = np.zeros(np.broadcast_shapes(x.shape, np.shape(a)))
    for gain, shift in zip(pair.gains, pair.shifts, strict=True):
        rest = np.log(gain) - 0.5 * shift**2 - below
        for part, mean in zip(parts_q, pair.q_means, strict=True):
            if shift < -mean:
                continue
            total += np.exp(rest + part + shift * x) * np.sin((shift - mean) * a)
            total += np.exp(rest + part - shift * x) * np.sin((shift + mean) * a)
    return total


class OscillationBound:
    """Bounds on `phi(y) = M(t + iy)/M(t)` that need no samples.

    `|phi| <= 1 - (mass right of a cut) + B(y)` for the best of many cuts: `B` decreases in `y`, it
    is the integral right of the cut, moved up by `a`, and the vertical piece. And where losses `L`,
    `L'` of the same law stay within `l` of 0,
    `1 - |phi|^2 = E[1 - cos(y (L - L'))] >= (y^2/2 - l^2 y^4/6) E[(L - L')^2]`.
    """

    def __init__(self, tilted: TiltedLaw, remainder: Remainder) -> None:
        law, t, self._mass_error = tilted.law, float(tilted.t[0]), remainder.mass()
        parts = [pair for _, pair in law.profiles[0].parts]
        mu = widest_mean(law)
        if not law.folded and any(s < -m for p in parts for s in p.shifts for m in p.q_means):
            raise NoLine("one direction of the pair needs shifts as large as the means of Q")
        mass = tilted.even[0]
        count = len(mass)
        x = law.position[0, :count]
        width = np.tile(gauss_weights * float(law.half_width[0]), count // NODES_PER_PANEL)
        self._shape = shape = (len(parts), -1, NODES_PER_PANEL)
        pieces = list(zip(parts, x.reshape(len(parts), -1), strict=True))
        # one row per height `a` of the moved contour
        a = np.minimum(np.array([[0.5], [1.2]]) / mu, np.array([[0.8], [1.8]]))
        theta = mu * a
        slope = np.concatenate([SlopeBound(*piece).slope(a, theta) for piece in pieces], axis=1)
        slope = np.minimum(slope * np.exp(width * (4 * mu + 1 / a)), 2 * mu / np.cos(theta))
        # |P e^{zL}| grows by e^{t (Re L(x + ia) - L(x))} at most, and by e^{a^2/2}
        rise = t * np.minimum(a * slope, -np.log(np.cos(theta)))
        rise += (np.abs(x) + width + mu + t * np.minimum(slope, 2 * mu)) * width
        # panels at the right end that grow too much stay where they are
        steep = np.max(rise.reshape(len(a), *shape), axis=-1) > _STEEPEST_RISE
        left = np.logical_and.accumulate(steep[..., ::-1], axis=-1)[..., ::-1]
        moved = np.repeat(~left, NODES_PER_PANEL, axis=-1).reshape(rise.shape)
        grown = np.log(mass + 1e-300) + np.where(rise < 300, rise, np.inf)
        self._log_mass = np.where(moved, grown, -np.inf)
        self._rate = np.concatenate([turning(*piece, a) for piece in pieces], axis=1)
        self._rate *= np.exp(-3 * mu * width)
        # masses right of panel edges, part by part
        self._suffix = _from_the_right(np.sum((mass * moved).reshape(len(a), *shape), axis=-1))
        with np.errstate(over="ignore"):
            density = np.exp(self._log_mass - np.log(width)).reshape(len(a), *shape)
        rate = self._rate.reshape(density.shape)
        self._first, self._first_rate = density[..., 0], rate[..., 0]
        last = np.maximum(np.sum(~left, axis=-1, keepdims=True) - 1, 0)
        self._last, self._last_rate = (
            np.take_along_axis(v[..., -1], last, axis=-1) for v in (density, rate)
        )
        self._a, self._lift = a, np.exp(0.5 * a * a)
        # the end of the nodes bounds what is beyond them, too
        self._whole = ~left[..., -1:]
        self._small_losses(tilted, np.min(slope, axis=0) * width, remainder)

    def _small_losses(self, tilted: TiltedLaw, change: Array, remainder: Remainder) -> None:
        """What panels with losses within `l` give, the panels of the smallest losses first."""

        def by_panels(values: Array) -> Array:
            return values.reshape(-1, NODES_PER_PANEL)

        loss, even, odd = tilted.loss[0], tilted.even[0], tilted.odd[0]
        size = np.abs(loss)
        farthest = np.max(by_panels(size + change), axis=1)
        order = np.argsort(farthest)
        moments = (even, even * size, odd * loss, even * np.square(loss))
        mass, absolute, mean, second = (
            np.cumsum(np.sum(by_panels(v), axis=1)[order]) for v in moments
        )
        mass = np.maximum((1 - 1e-9) * mass - remainder.mass(), 0.0)
        second = np.maximum((1 - 1e-9) * second - remainder.second(), 0.0)
        mean = np.abs(mean) + 1e-9 * absolute + remainder.mean()
        self._within = farthest[order]
        self._spread = np.maximum(mass * second - np.square(mean), 0.0)

    def square_between(self, low: Array, high: Array) -> Array:
        """An upper bound on `|M(t + iy)/M(t)|^2` for `low <= y <= high`, shape of both."""
        least = np.full((len(low), len(self._within)), np.inf)
        for y in (low, high):  # concave in y^2
            square = np.square(y)[:, None]
            least = np.minimum(least, square - square**2 * np.square(self._within) / 3)
        return np.asarray(np.clip(1 - np.max(least * self._spread, axis=1), 0.0, 1.0))

    def modulus(self, y: Array) -> Array:
        """An upper bound on `|M(t + iy')|/M(t)` for all `y' >= y`, shape of `y`."""
        at = y[:, None, None]
        with np.errstate(over="ignore"):  # infinite: no cut there
            fading = np.exp(self._log_mass - at * self._rate)
            panels = np.sum(fading.reshape(*fading.shape[:2], *self._shape), axis=-1)
            panels = _from_the_right(panels)
        lift = self._lift[:, :, None]
        edges, end = self._vertical(y)
        # sums of positive terms, each good to 1e-10
        loss = lift * (panels + edges + end)
        gain = np.max((1 - 1e-10) * self._suffix - (1 + 1e-10) * loss, axis=-1)
        kept = np.sum(np.maximum(gain, 0.0), axis=-1) * (1 - 1e-9)
        return np.asarray(np.clip(1 - np.max(kept, axis=1) + self._mass_error, 0.0, 1.0))

    def _vertical(self, y: Array) -> tuple[Array, Array]:
        """The vertical pieces at the left edge of every panel and at the end of what is moved."""
        at, a = y[:, None, None, None], self._a[:, :, None]

        def piece(density: Array, rate: Array) -> Array:
            return np.asarray(density * np.minimum(a, a / (at * rate + 1e-300)))

        end = np.where(self._whole, (a + 1) * self._last, piece(self._last, self._last_rate))
        return piece(self._first, self._first_rate), end


def _from_the_right(values: Array) -> Array:
    """Cumulative sums from the last entry on."""
    return np.asarray(np.cumsum(values[..., ::-1], axis=-1)[..., ::-1])
