"""Mass of the privacy loss of one step in half cells of a grid, by quadrature of positive terms.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
>>> cells = half_cells(step, interval=0.1, cells=20)
>>> len(cells.log_up), round(float(np.exp(np.logaddexp(cells.log_up, cells.log_down)).sum()), 6)
(40, 0.346817)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.numeric import UNIT, log_sums
from patchdp.composition.transform.law import Pairs
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = ["GridTooLarge", "HalfCells", "half_cells", "largest_loss"]

Array = npt.NDArray[np.float64]

_RULES = {n: np.polynomial.legendre.leggauss(n) for n in (3, 4, 8)}
_CHUNK = 1 << 17  # panels integrated at once
_MOST_PANELS = 1 << 21
_LEFT_TAIL = 26.0  # log of the mass that may be left out at the far end of the left half


class GridTooLarge(ValueError):
    """A composition would need more grid points than the budget allows."""


@dataclass(frozen=True, eq=False)
class HalfCells:
    """Mass of the losses of one sign between `j h/2` and `(j + 1) h/2`, `j = 0..2n-1`.

    On the right half, `L > 0`, it is P-mass at losses `L`; on the left half, `L < 0`, Q-mass at
    losses `-L`: what the reversed pair has on its right. In either case the other law has mass
    `w e^{-l}` beside the mass `w` at `l`. The mass of each half cell is shared between its ends so
    that both laws keep theirs.

    Args:
      interval: The full cell `h`.
      log_up, log_down: Logs of the mass shared to the upper and to the lower end.
      log_atom: Log of the mass at loss 0 exactly, of the symmetric law.
      log_above: Log of the mass of losses beyond the cells.
      log_below: Log of the mass that the other law has there.
      rounding: Bound on the relative error of the masses.
      loss_rounding: Bound on the relative error of the losses that they were computed from.
    """

    interval: float
    log_up: Array
    log_down: Array
    log_atom: float
    log_above: float
    log_below: float
    rounding: float
    loss_rounding: float

    @property
    def cells(self) -> int:
        """Number of full cells."""
        return len(self.log_up) // 2


def _log_cells(log_mass: Array, loss: Array, base: Array, h: float) -> tuple[Array, Array, Array]:
    """Mass per length at nodes, shared between the ends of their cells: up, down, log scale.

    `base` is the loss at each cell's lower end; one row per panel, and one scale per row.
    """
    span = -np.expm1(-h)
    scale = log_mass.max(axis=1)
    mass = np.exp(log_mass - scale[:, None])
    share = np.clip(-np.expm1(base - loss) / span, 0.0, 1.0)
    rest = np.clip(np.exp(-h) * np.expm1(base + h - loss) / span, 0.0, 1.0)
    return mass * share, mass * rest, scale


def _plain_cells(pair: MixturePair, x: Array, base: Array, h: float) -> tuple[Array, Array, Array]:
    """The same of the right half without logarithms, where nothing under- or overflows.

    With `E = e^L - 1` and `B` its value at the lower end, P has density `q (1 + E)` and the upper
    end's share of it is `(E - B) / ((1 + E) (1 - e^{-h}))`.
    """
    ratio = _mixture(x, pair.q_weights, pair.q_means)
    if len(pair.gains) == 1 and pair.q_means == (-pair.shifts[0],) and pair.q_weights == (1.0,):
        excess = pair.gains[0] * np.expm1(2 * pair.shifts[0] * x)
    else:
        rise = sum(
            2 * g * np.exp(-0.5 * s * s) * np.sinh(s * x)
            for g, s in zip(pair.gains, pair.shifts, strict=True)
        )
        excess = rise / ratio
    mass = np.exp(-0.5 * np.square(x)) * ratio * (1 / np.sqrt(2 * np.pi) / -np.expm1(-h))
    low = np.expm1(base)
    # The upper end's `e^{loss} - 1`, and what is left to the lower end, times e^{-h}.
    up = np.clip(excess - low, 0.0, None)
    down = np.clip(np.exp(-h) * (np.expm1(base + h) - excess), 0.0, None)
    return mass * up, mass * down, np.zeros(len(x))


def _mixture(x: Array, weights: tuple[float, ...], means: tuple[float, ...]) -> Array:
    """Density of a normal mixture relative to the one with mean 0."""
    total = np.zeros_like(x)
    for w, m in zip(weights, means, strict=True):
        total += w if m == 0 else w * np.exp(m * (x - 0.5 * m))
    return total


class _Half:
    """One half of a pair as a function of the distance from its centre."""

    def __init__(self, pair: MixturePair, side: Literal["right", "left"]) -> None:
        self.pair, self.right = pair, side == "right"
        self.far = max(*pair.shifts, -min(pair.q_means))
        self._pairs = Pairs([pair])

    def edges(self, losses: Array) -> Array:
        """Distances at which the losses are reached; the end of the half where they never are."""
        if self.right:
            return np.asarray(self.pair.position(losses))
        end = self.far + math.sqrt(2 * (_LEFT_TAIL + 15.0))
        return np.asarray(np.minimum(_left_position(self.pair, losses), end))

    def log_mass_and_loss(self, y: Array) -> tuple[Array, Array]:
        """Log-density of the mass, and the loss, at distances `y`."""
        x = y.reshape(1, -1) if self.right else -y.reshape(1, -1)
        log_q, loss = (v.reshape(y.shape) for v in self._pairs.log_q_and_loss(x))
        return (log_q + loss, loss) if self.right else (log_q, -loss)

    @property
    def weights(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Weights and means of the mass, and of the other law's, in distances from the centre."""
        p = (self.pair.p_weights, self.pair.p_means)
        q = (self.pair.q_weights, self.pair.q_means)
        if self.right:
            return p, q
        return (q[0], tuple(-m for m in q[1])), (p[0], tuple(-m for m in p[1]))

    def beyond(self, y: float) -> tuple[float, float]:
        """Logs of the mass beyond a distance, and of the other law's."""
        own, other = self.weights
        return _log_above(*own, y), _log_above(*other, y)


def _left_position(pair: MixturePair, losses: Array) -> Array:
    """The `y >= 0` with `L(-y) = -losses`, infinite where the loss is never so far below 0.

    Of a pair with one shift `s`, `Q` at 0 and `-s` with weights `b0`, `b1`: with `t = e^{sy}` and
    `E = (1 - e^{-l})/gain` it solves `(1 - E b1) t^2 - E b0 e^{s^2/2} t - 1 = 0`.
    """
    (s,), (gain,) = pair.shifts, pair.gains
    weight = dict(zip(pair.q_means, pair.q_weights, strict=True))
    share = -np.expm1(-losses) / gain
    left = 1 - share * weight.get(-s, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        y = np.log(share * weight.get(0.0, 0.0)) + 0.5 * s * s - math.log(2.0) - 0.5 * np.log(left)
        large = y > 300.0
        asinh = np.where(large, y + math.log(2.0), np.arcsinh(np.exp(np.where(large, 0.0, y))))
        return np.asarray(np.where(left > 0, (asinh - 0.5 * np.log(left)) / s, np.inf))


def _panels(edges: Array, half: _Half) -> tuple[Array, npt.NDArray[np.intp]]:
    """Edges of panels that are short against the normal density, and the cell of each panel."""
    steps = []
    x, far, end = float(edges[0]), max(half.pair.shifts), float(edges[-1])
    while x < end:
        x += min(0.25, 1.2 / (x + far))
        steps.append(x)
    cuts = np.array(steps[:-1])
    at = np.searchsorted(edges, cuts)
    # Losses too close to tell apart in x have equal edges: their cells are empty.
    new = edges[np.minimum(at, len(edges) - 1)] != cuts
    grid = np.insert(edges, at[new], cuts[new])
    owner = np.arange(len(edges) - 1)
    return grid, np.insert(owner, at[new], at[new] - 1)


def _shared(half: _Half, edges: Array, cells: Array, h: float) -> tuple[Array, Array]:
    """Per panel: logs of the mass shared to the upper and to the lower end of its cell."""
    left, widths = edges[:-1], np.diff(edges)
    # A Gauss rule with n nodes errs by (width * (|x| + 2.5))^(2n - 1) times a constant, which keeps
    # each of these below 2e-15 (`docs/theory.md`, "Connect the dots").
    reach = widths * (edges[1:] + half.far + 2.5)
    order = np.where(reach < 0.0125, 3, np.where(reach < 0.11, 4, 8))
    plain = half.right and edges[-1] + half.far < 36.0 and h * (cells[-1] + 1) < 300.0
    upper, lower = np.empty_like(widths), np.empty_like(widths)
    for n, (nodes, weights) in _RULES.items():
        every = np.flatnonzero(order == n)
        for start in range(0, len(every), _CHUNK):
            chosen = every[start : start + _CHUNK]
            wide = 0.5 * widths[chosen][:, None]
            y = left[chosen][:, None] + wide * (1.0 + nodes)
            base = h * cells[chosen][:, None]
            if plain:
                up, down, scale = _plain_cells(half.pair, y, base, h)
            else:
                up, down, scale = _log_cells(*half.log_mass_and_loss(y), base, h)
            with np.errstate(divide="ignore"):
                scale = scale + np.log(wide[:, 0])
                upper[chosen] = scale + np.log(up @ weights)
                lower[chosen] = scale + np.log(down @ weights)
    return upper, lower


def _of_pair(
    pair: MixturePair, h: float, count: int, side: Literal["right", "left"]
) -> tuple[Array, Array, float, float, float, float, float]:
    """Logs of both shares in `count` cells of width `h`, atom, tails, and bounds of errors."""
    half = _Half(pair, side)
    edges = half.edges(np.asarray(h * np.arange(count + 1), dtype=np.float64))
    edges[0] = 0.0
    edges = np.maximum.accumulate(edges)
    end = float(edges[-1])
    size = float(np.square(end + half.far))
    # Cells are found through the logarithms of `e^{kh} - 1` and of the gains.
    logs = 4 * (abs(math.log(h)) + abs(math.log(min(pair.gains))))
    of_loss = (16 + 2 * size + logs) * UNIT
    if end * (end + half.far) > _MOST_PANELS:
        raise GridTooLarge(f"noise of 1/{half.far:.3g} needs too many panels on a grid of {h:.3g}")
    panels, owner = _panels(edges, half)
    shares = _shared(half, panels, owner.astype(np.float64), h)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    up, down = (log_sums(share, starts) for share in shares)
    rounding = 2e-15 + (40 + 5 * size) * UNIT
    return up, down, _log_atom(pair), *half.beyond(end), rounding, of_loss


def _log_above(weights: tuple[float, ...], means: tuple[float, ...], x: float) -> float:
    """Log of the mass of a normal mixture above `x`."""
    with np.errstate(divide="ignore"):
        return float(np.logaddexp.reduce(special.log_ndtr(np.array(means) - x) + np.log(weights)))


def _log_atom(pair: MixturePair) -> float:
    """Log of the mass at loss 0 of the symmetric law, which `P` and `Q` share."""
    logs = [
        np.log(w) + np.log(special.erf(-m / np.sqrt(2)))
        for w, m in zip(pair.p_weights, pair.p_means, strict=True)
        if m < 0 and w > 0
    ]
    return float(np.logaddexp.reduce(logs)) if logs else -np.inf


def largest_loss(profile: StepProfile, log_tail: float) -> float:
    """A loss above which the step has at most mass `exp(log_tail)`.

    By `Phi(-y) <= e^{-y^2/2}/2`, component by component.
    """
    found = 0.0
    for _, pair in profile.parts:
        share = log_tail - math.log(len(pair.p_means) / 2)
        ends = [
            mean + math.sqrt(max(-2.0 * (share - math.log(weight)), 1.0))
            for weight, mean in zip(pair.p_weights, pair.p_means, strict=True)
            if weight > 0
        ]
        found = max(found, float(pair.loss(max(*ends, 1e-3))))
    return found


def half_cells(
    profile: StepProfile,
    *,
    interval: float,
    cells: int,
    side: Literal["right", "left"] = "right",
) -> HalfCells:
    """Integrate the losses of one sign up to `cells * interval`.

    Args:
      profile: The step; of one pair with one shift where `side` is `"left"`.
      interval: Grid spacing, above 0.
      cells: Number of cells.
      side: Which sign; see `HalfCells`.

    Source: `docs/theory.md`, "Connect the dots".
    """
    rows: list[tuple[Any, ...]] = [
        (math.log(weight), *_of_pair(pair, 0.5 * interval, 2 * cells, side))
        for weight, pair in profile.parts
    ]
    return HalfCells(
        interval,
        *(np.logaddexp.reduce(np.array([row[0] + row[i] for row in rows])) for i in (1, 2)),
        *(float(np.logaddexp.reduce([row[0] + row[i] for row in rows])) for i in (3, 4, 5)),
        *(max(row[i] for row in rows) for i in (6, 7)),
    )
