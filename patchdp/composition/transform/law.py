"""Quadrature nodes for the law of one step's privacy loss, and its cumulants under a tilt.

Every law used here (symmetric, forward, backward) satisfies `E[e^{-L}] = 1`, so that
`M(t) - 1 = E[q(t L)] + t E[q(-L)]` with `q(u) = e^u - 1 - u >= 0`: a sum of positive terms,
accurate relative to its size however small the step's privacy loss is.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> law = loss_laws([step], np.array([12.0]), "symmetric")
>>> log_m, _, _ = law.cumulants(np.array([[3.0]]))
>>> round(float(log_m[0, 0]), 12)  # t (t + 1) 2 mu^2 for a Gaussian mechanism
6.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.step import MixturePair, StepProfile

__all__ = [
    "NODES_PER_PANEL",
    "LossLaw",
    "NoLine",
    "Pairs",
    "Run",
    "Side",
    "cached_law",
    "gauss_nodes",
    "gauss_weights",
    "log_sum",
    "loss_laws",
    "margin",
    "small_exp",
    "widest_shift",
]

Array = npt.NDArray[np.float64]
Side = Literal["symmetric", "forward", "backward"]
# Steps and how often each is taken.
Run: TypeAlias = Sequence[tuple[StepProfile, int]]

NODES_PER_PANEL = 20
gauss_nodes, gauss_weights = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
# Mass of a unit normal law beyond this distance is below 1e-23.
margin = 10.0
_MOST_NODES = 40_000


class NoLine(ValueError):
    """No line decays, or its error bar is too wide: the grid has to answer."""


def _pad(rows: Sequence[Sequence[float]]) -> Array:
    """One row per entry, by components first: shape `(components, rows, 1)`."""
    width = max(len(row) for row in rows)
    return np.array([list(row) + [0.0] * (width - len(row)) for row in rows]).T[:, :, None]


def log_sum(logs: Array) -> Array:
    """`log sum exp` over the first, short axis."""
    if len(logs) == 1:
        return np.asarray(logs[0])
    top = np.maximum(logs.max(axis=0), -1e300)
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(np.exp(logs - top).sum(axis=0)))


class Pairs:
    """Several mixture pairs evaluated at once, one row of positions each."""

    def __init__(self, pairs: Sequence[MixturePair]) -> None:
        with np.errstate(divide="ignore"):
            self.log_gain = np.log(_pad([m.gains for m in pairs]))
            self.log_q = np.log(_pad([m.q_weights for m in pairs]))
            self.log_p = np.log(_pad([m.p_weights for m in pairs]))
        self.shift = _pad([m.shifts for m in pairs])
        self.q_mean = _pad([m.q_means for m in pairs])
        self.p_mean = _pad([m.p_means for m in pairs])

    def log_q_and_loss(self, x: Array) -> tuple[Array, Array]:
        """Log-density of `Q` and the loss at positions `x`, shape `(pairs, positions)`."""
        mixture = log_sum(self.log_q + self.q_mean * (x - 0.5 * self.q_mean))
        y = np.abs(x) * self.shift
        with np.errstate(divide="ignore", invalid="ignore"):
            # 2 sinh(y) = e^y (1 - e^{-2y}); padded components have gain and shift 0
            sinh = y + np.log(-np.expm1(-2 * y))
            ratio = self.log_gain - 0.5 * np.square(self.shift) + sinh
        excess = log_sum(np.where(np.isnan(ratio), -np.inf, ratio)) - mixture
        loss = np.logaddexp(0.0, excess)
        left = x < 0
        if np.any(left):
            fall = np.exp(np.minimum(excess, 0.0))
            upper = log_sum(self.log_p + self.p_mean * (x - 0.5 * self.p_mean))
            mild = fall < 0.5
            below = np.where(mild, np.log1p(-np.where(mild, fall, 0.0)), upper - mixture)
            loss = np.where(left, below, loss)
        return mixture - 0.5 * np.square(x) - _HALF_LOG_2PI, loss


def small_exp(u: Array) -> Array:
    """`q(u) = e^u - 1 - u`, to a few ulps for `u` below overflow."""
    near = np.abs(u) < 0.4
    v = np.where(near, u, 0.0)
    series = np.full_like(v, 1.0 / 14)
    for k in range(13, 2, -1):
        series = (1 + v * series) / k
    series = 0.5 * v * v * (1 + v * series)
    return np.where(near, series, np.expm1(u) - u)


@dataclass(frozen=True)
class LossLaw:
    """Discretised laws of the loss, one row per step: nodes `loss` of mass `exp(log_mass)`.

    The remaining mass sits at loss 0. For the symmetric side, node `j + n/2` is the mirror image
    of node `j`: loss `-loss[j]`, mass `mass[j] e^{-loss[j]}`.

    Args:
      loss, log_mass: Shape `(steps or 1, n)`.
      position, half_width: Nodes on the axis of the pair, and half the width of its panels.
      reach: Largest position covered.
      shift: Largest distance of a component from the centre, `mu`.
      profiles, side: Where the laws come from.
      cut: Whether what lies beyond `reach` is left out however large the tilt: see `beyond`.
    """

    loss: Array
    log_mass: Array
    position: Array
    half_width: Array
    reach: Array
    shift: Array
    profiles: tuple[StepProfile, ...]
    side: Side
    cut: bool = False

    @property
    def folded(self) -> bool:
        """Whether the law is symmetric."""
        return self.side == "symmetric"

    @property
    def largest_tilt(self) -> Array:
        """The largest `t` for which `E[e^{tL}]` has its mass inside the nodes."""
        inside = (self.reach - margin - self.shift) / (2 * self.shift)
        if self.cut:
            return np.asarray(np.maximum(inside, 5e3 / np.max(np.abs(self.loss), axis=1)))
        return np.asarray(inside)

    @cached_property
    def beyond(self) -> float:
        """The chance of a position beyond `reach`, under `P` and `Q` together, of a one-row law.

        The nodes have this mass at loss 0.
        """
        total, reach = 0.0, float(self.reach[0])
        for weight, pair in self.profiles[0].parts:
            for weights, means in ((pair.p_weights, pair.p_means), (pair.q_weights, pair.q_means)):
                tails = special.ndtr(np.array(means) - reach)
                if not self.folded:
                    tails = tails + special.ndtr(-np.array(means) - reach)
                total += weight * float(np.dot(weights, tails))
        return 1.001 * total

    @cached_property
    def _bend(self) -> Array:
        """`E[q(-L)]`, one entry per row."""
        near = np.abs(self.loss) < 0.4
        mass = np.exp(self.log_mass)
        small = mass * small_exp(np.where(near, -self.loss, 0.0))
        far = np.exp(self.log_mass - self.loss) - mass * (1 - self.loss)
        return np.asarray(np.sum(np.where(near, small, far), axis=-1))

    def excess(self, t: Array) -> tuple[Array, Array, Array, Array]:
        """`(M - 1, M', M'') e^{-scale}` and `scale` at tilts `t` of shape `(rows, k)`."""
        if self._mild(t):
            return self._folded_excess(t)
        loss, log_mass = self.loss[:, None, :], self.log_mass[:, None, :]
        power = t[..., None] * loss
        exponent = log_mass + power
        scale = np.maximum(np.max(exponent, axis=-1), 0.0)
        shift = scale[..., None]
        mass, tilted = np.exp(log_mass - shift), np.exp(exponent - shift)
        near = np.abs(power) < 0.4
        u = np.where(near, power, 0.0)
        bend = small_exp(u)
        part = np.where(near, mass * bend, tilted - mass * (1 + power))
        slope = np.where(near, mass * (bend + u), tilted - mass)
        rest = self._bend[:, None] * np.exp(-scale)
        excess = np.sum(part, axis=-1) + t * rest
        first = np.sum(slope * loss, axis=-1) + rest
        return excess, first, np.sum(tilted * np.square(loss), axis=-1), scale

    def _mild(self, t: Array) -> bool:
        """Whether the law is symmetric and `e^{(t + 1/2) L}` no overflow."""
        return self.folded and bool((np.max(t) + 0.5) * self._largest_loss < 600.0)

    @cached_property
    def _largest_loss(self) -> float:
        return float(np.max(self.loss)) + 1e-300

    @cached_property
    def _geometric_mass(self) -> Array:
        """`sqrt(P Q)` at the nodes of one half."""
        half = self.loss.shape[1] // 2
        return np.exp(0.5 * (self.log_mass[:, :half] + self.log_mass[:, half:]))[:, None, :]

    @cached_property
    def _half_rise(self) -> Array:
        """`e^{L/2} - 1` at the nodes of one half."""
        half = self.loss.shape[1] // 2
        return np.expm1(0.5 * self.loss[:, None, :half])

    def _sinhs(self, t: Array) -> tuple[Array, ...]:
        """`e^{tL/2} - 1`, `e^{(t+1)L/2} - 1`, and twice the hyperbolic sines of the exponents."""
        rise = self._half_rise
        up = np.expm1(0.5 * t[..., None] * self.loss[:, None, : rise.shape[2]])
        above = up + rise + up * rise
        return up, above, up + up / (1 + up), above + above / (1 + above)

    def _folded_excess(self, t: Array) -> tuple[Array, Array, Array, Array]:
        # (e^{tL} - 1) P + (e^{-tL} - 1) Q = 4 sqrt(PQ) sinh(tL/2) sinh((t+1)L/2)
        up, above, sinh_low, sinh_high = self._sinhs(t)
        grow = (1 + up) * (1 + above)
        weight = self._geometric_mass
        full = up + above + up * above
        loss = self.loss[:, None, : weight.shape[2]]
        weighted = weight * loss
        excess = np.sum(weight * sinh_low * sinh_high, axis=-1)
        first = np.sum(weighted * (full + full / grow), axis=-1)
        second = np.sum(weighted * loss * (grow + 1 / grow), axis=-1)
        return excess, first, second, np.zeros_like(excess)

    def log_mgf(self, t: Array) -> Array:
        """`log M` at tilts `t` of shape `(rows, k)`."""
        if not self._mild(t):
            return self.cumulants(t)[0]
        _, _, sinh_low, sinh_high = self._sinhs(t)
        return np.asarray(np.log1p(np.sum(self._geometric_mass * sinh_low * sinh_high, axis=-1)))

    def cumulants(self, t: Array) -> tuple[Array, Array, Array]:
        """`log M`, its first and second derivative at tilts `t` of shape `(rows, k)`."""
        excess, first, second, scale = self.excess(t)
        floor = np.exp(-scale)
        total = floor + excess
        with np.errstate(divide="ignore"):
            log_m = np.where(scale == 0, np.log1p(excess), scale + np.log(total))
        mean = first / total
        return log_m, mean, np.maximum(second / total - np.square(mean), 0.0)


def widest_shift(profiles: Sequence[StepProfile]) -> Array:
    """The largest distance of a component from the centre, one entry per profile."""
    return np.array([max(max(pair.shifts) for _, pair in p.parts) for p in profiles])


def loss_laws(
    profiles: Sequence[StepProfile],
    reach: Array,
    side: Side,
    *,
    refinement: float = 1.0,
    cut: bool = False,
) -> LossLaw:
    """Nodes for the laws of several profiles with equally many parts.

    Composite Gauss-Legendre panels on `[0, reach]` (`[-reach, reach]` for one direction of the
    pair). Panels are narrow against 1, the scale of the normal densities, and against the distance
    `pi/(2 mu)` of the nearest singularity of the loss.
    """
    shift = widest_shift(profiles)
    width = np.minimum(2.5, 1.6 / shift) / refinement
    panels = int(np.max(np.ceil(reach / width)))
    if panels * NODES_PER_PANEL > _MOST_NODES:
        raise NoLine("the line would need too many quadrature nodes")
    half = 0.5 * reach / panels
    centres = (2 * np.arange(panels) + 1.0)[:, None] + gauss_nodes
    x = half[:, None] * centres.ravel()
    log_w = np.log(half)[:, None] + np.tile(np.log(gauss_weights), panels)
    if side != "symmetric":
        x, log_w = np.concatenate([-x[:, ::-1], x], 1), np.concatenate([log_w[:, ::-1], log_w], 1)
    losses, masses, places = [], [], []
    for index in range(len(profiles[0].parts)):
        parts = [p.parts[index] for p in profiles]
        log_q, loss = Pairs([pair for _, pair in parts]).log_q_and_loss(x)
        log_q = log_q + log_w + np.log([w for w, _ in parts])[:, None]
        losses.append(-loss if side == "backward" else loss)
        masses.append(log_q if side == "backward" else log_q + loss)
        places.append(x)
    loss, log_mass, place = (np.concatenate(a, axis=1) for a in (losses, masses, places))
    if side == "symmetric":
        log_mass = np.concatenate([log_mass, log_mass - loss], axis=1)
        loss = np.concatenate([loss, -loss], axis=1)
        place = np.concatenate([place, place], axis=1)
    return LossLaw(loss, log_mass, place, half, reach, shift, tuple(profiles), side, cut)


@lru_cache(maxsize=256)
def cached_law(
    profile: StepProfile, reach: float, side: Side, refinement: float, cut: bool
) -> LossLaw:
    """`loss_laws` of one profile, kept."""
    return loss_laws([profile], np.array([reach]), side, refinement=refinement, cut=cut)
