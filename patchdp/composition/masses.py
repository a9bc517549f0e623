"""Connect-the-dots discretisation of a step's privacy loss, without cancellation.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
>>> masses = loss_masses(step, interval=0.01, log_tail=-40.0)
>>> probabilities, infinity = masses.linear()
>>> round(float(probabilities.sum() + infinity), 12)
1.0

The profile of the discrete loss is the chord polygon of the true profile through the grid's
`e^{kh}`: it lies above the truth everywhere, so every composition of it is an upper bound
(`docs/theory.md`, "Connect the dots"). Usual implementations take second differences of the
profile, which cancel; here each cell's mass is integrated and shared between its two ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = [
    "LargeMasses",
    "LossMasses",
    "large_masses",
    "largest_loss",
    "loss_masses",
    "small_masses",
]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
# Relative error of one computed mass near the centre: quadrature 2e-15, the rest is rounding.
RELATIVE_ERROR = 2e-14
_RULES = {n: np.polynomial.legendre.leggauss(n) for n in (3, 4, 8)}


@dataclass(frozen=True, eq=False)
class LossMasses:
    """The discretised loss of one step on the grid `k * interval`, `-n <= k <= n`.

    >>> LossMasses(0.1, np.log([0.1, 0.2]), -0.4, -60.0, -70.0).size
    2

    Args:
      interval: Grid spacing `h`.
      log_positive: `log m_k`, `k = 0..n`: P-mass of positive losses, shared onto `k h`.
      log_atom: Log of the mass that sits at loss 0 exactly.
      log_infinity: Log of the P-mass of losses above the grid; it goes to infinity.
      log_bottom: Log of the mass of losses below the grid; it goes to the lowest point.
      rounding: Bound on the relative error of the masses.
      loss_rounding: Bound on the relative error of the losses that they were computed from.
    """

    interval: float
    log_positive: Array
    log_atom: float
    log_infinity: float
    log_bottom: float
    rounding: float = RELATIVE_ERROR
    loss_rounding: float = 4 * _UNIT

    @property
    def size(self) -> int:
        """Number of grid points with `k >= 0`."""
        return len(self.log_positive)

    @cached_property
    def log_probabilities(self) -> Array:
        """`log p_k` for `k = -n..n`; the mirrored half carries `m_k e^{-kh}` at `-kh`."""
        losses = self.interval * np.arange(self.size)
        mirrored = self.log_positive - losses
        mirrored[-1] = np.logaddexp(mirrored[-1], self.log_bottom)
        zero = np.logaddexp(self.log_atom, self.log_positive[0] + np.log(2.0))
        return np.concatenate([mirrored[:0:-1], [zero], self.log_positive[1:]])

    @cached_property
    def losses(self) -> Array:
        """The grid, from `-n h` to `n h`."""
        n = self.size - 1
        return np.asarray(self.interval * np.arange(-n, n + 1), dtype=np.float64)

    def linear(self) -> tuple[Array, float]:
        """The masses `p_k`, `k = -n..n`, and the mass at infinity."""
        return np.exp(self.log_probabilities), float(np.exp(self.log_infinity))

    def log_mgf(self, tilt: float) -> float:
        """`log sum_k p_k e^{tilt k h}`, without the mass at infinity."""
        return _log_sum(self.log_probabilities + tilt * self.losses)

    def tilted_moments(self, tilt: float) -> tuple[float, float, float]:
        """`log M(tilt)` with mean and variance of the loss under the tilted masses."""
        terms = self.log_probabilities + tilt * self.losses
        peak = float(np.max(terms))
        weights = np.exp(terms - peak)
        total = float(weights.sum())
        mean = float(weights @ self.losses) / total
        variance = float(weights @ np.square(self.losses - mean)) / total
        return peak + float(np.log(total)), mean, variance


def _top(pair: MixturePair, log_tail: float) -> float:
    """An `x` beyond which `P` has at most `exp(log_tail)`, by `Phi(-y) <= e^{-y^2/2}/2`."""
    mean = max(pair.p_means)
    return mean + float(np.sqrt(max(-2.0 * (log_tail + np.log(2.0)), 1.0)))


def _log_cells(pair: MixturePair, x: Array, base: Array, h: float) -> tuple[Array, Array, Array]:
    """P-mass per length at nodes `x`, shared between the ends of their cells: up, down, log scale.

    `base` is the loss at each cell's lower end; one row per panel, and one scale per row.
    """
    span = -np.expm1(-h)
    loss = pair.loss(x)
    log_density = pair.log_q(x) + loss
    scale = log_density.max(axis=1)
    mass = np.exp(log_density - scale[:, None])
    share = np.clip(-np.expm1(base - loss) / span, 0.0, 1.0)
    rest = np.clip(np.exp(-h) * np.expm1(base + h - loss) / span, 0.0, 1.0)
    return mass * share, mass * rest, scale


def _plain_cells(pair: MixturePair, x: Array, base: Array, h: float) -> tuple[Array, Array, Array]:
    """The same without logarithms, several times as quick, where nothing under- or overflows.

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


def _shared(pair: MixturePair, edges: Array, cells: Array, h: float) -> tuple[Array, Array]:
    """Per panel: logs of the P-mass shared to the upper and to the lower end of its cell."""
    left, widths = edges[:-1], np.diff(edges)
    far = max(*pair.shifts, -min(pair.q_means))
    # A Gauss rule with n nodes errs by (width * (|x| + 2.5))^(2n - 1) times a constant, which keeps
    # each of these below 2e-15 (`docs/theory.md`, "Connect the dots").
    reach = widths * (edges[1:] + far + 2.5)
    order = np.where(reach < 0.0125, 3, np.where(reach < 0.11, 4, 8))
    plain = edges[-1] + far < 36.0 and h * (cells[-1] + 1) < 300.0
    upper, lower = np.empty_like(widths), np.empty_like(widths)
    for n, (nodes, weights) in _RULES.items():
        chosen = np.flatnonzero(order == n)
        if not len(chosen):
            continue
        half = 0.5 * widths[chosen][:, None]
        x = left[chosen][:, None] + half * (1.0 + nodes)
        base = h * cells[chosen][:, None]
        up, down, scale = (_plain_cells if plain else _log_cells)(pair, x, base, h)
        with np.errstate(divide="ignore"):
            scale = scale + np.log(half[:, 0])
            upper[chosen] = scale + np.log(up @ weights)
            lower[chosen] = scale + np.log(down @ weights)
    return upper, lower


def _log_sum(values: Array) -> float:
    """Log of the sum of `exp(values)`, at least one of them finite."""
    peak = float(values.max())
    return peak + math.log(float(np.exp(values - peak).sum()))


def _log_sums(values: Array, starts: npt.NDArray[np.intp]) -> Array:
    """Log of the sums of `exp(values)` over consecutive groups beginning at `starts`."""
    if len(starts) == len(values):
        return values
    peaks = np.maximum.reduceat(values, starts)
    safe = np.where(np.isfinite(peaks), peaks, 0.0)
    counts = np.diff(np.append(starts, len(values)))
    with np.errstate(divide="ignore"):
        sums = np.add.reduceat(np.exp(values - np.repeat(safe, counts)), starts)
        return np.asarray(safe + np.log(sums))


def _positive_masses(
    pair: MixturePair, h: float, first: int, last: int, cut: float, top: float
) -> tuple[Array, float]:
    """`log m_k` of the losses between `cut` and `top`, and the position at which they end.

    These are `first h` and `last h`, or a little inside. Their positions are computed from `cut`
    and `top` themselves, so that masses on another grid begin at the same number.
    """
    edges = pair.position(h * np.arange(first, last + 1))
    edges[0] = float(pair.position(np.array([cut]))[0]) if first else 0.0
    edges[-1] = float(pair.position(np.array([top]))[0])
    edges = np.clip(edges, edges[0], edges[-1])
    # Wide cells are cut so that each panel is short against the decay of the normal density.
    steps = []
    x, far, end = float(edges[0]), max(pair.shifts), float(edges[-1])
    while x < end:
        x += min(0.25, 1.2 / (x + far))
        steps.append(x)
    cuts = np.array(steps[:-1])
    at = np.searchsorted(edges, cuts)
    # Losses too close to tell apart in x have equal edges: their cells are empty.
    new = edges[np.minimum(at, len(edges) - 1)] != cuts
    grid = np.insert(edges, at[new], cuts[new])
    owner = np.arange(len(edges) - 1)
    owner = np.insert(owner, at[new], at[new] - 1)
    upper, lower = _shared(pair, grid, (first + owner).astype(np.float64), h)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    log_m = np.full(last - first + 1, -np.inf)
    log_m[:-1] = _log_sums(lower, starts)
    log_m[1:] = np.logaddexp(log_m[1:], _log_sums(upper, starts))
    return log_m, end


def _errors(pair: MixturePair, end: float, h: float) -> tuple[float, float]:
    """Bounds on the relative errors of masses and of losses up to the position `end`.

    Source: `docs/theory.md`, "Connect the dots".
    """
    size = np.square(end + max(*pair.shifts, -min(pair.q_means)))
    # Cells are found through the logarithms of `e^{kh} - 1` and of the gains.
    logs = 4 * (abs(math.log(h)) + abs(math.log(min(pair.gains))))
    return 2e-15 + float(40 + 5 * size) * _UNIT, float(16 + 2 * size + logs) * _UNIT


def _log_above(weights: tuple[float, ...], means: tuple[float, ...], x: float) -> float:
    """Log of the mass of a normal mixture above `x`."""
    with np.errstate(divide="ignore"):
        return float(np.logaddexp.reduce(special.log_ndtr(np.array(means) - x) + np.log(weights)))


def _log_atom(pair: MixturePair) -> float:
    """Log of the mass at loss 0, which `P` and `Q` share."""
    logs = [
        np.log(w) + np.log(special.erf(-m / np.sqrt(2)))
        for w, m in zip(pair.p_weights, pair.p_means, strict=True)
        if m < 0 and w > 0
    ]
    return float(np.logaddexp.reduce(logs)) if logs else -np.inf


def largest_loss(profile: StepProfile, log_tail: float) -> float:
    """A loss above which the step has at most mass `exp(log_tail)`."""
    return max(float(pair.loss(_top(pair, log_tail))) for _, pair in profile.parts)


def loss_masses(profile: StepProfile, *, interval: float, log_tail: float) -> LossMasses:
    """Discretise the loss of one step pessimistically.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> loss_masses(step, interval=0.1, log_tail=-50.0).size
    106

    Args:
      profile: The step.
      interval: Grid spacing, above 0.
      log_tail: Losses whose mass is at most `exp(log_tail)` may go to infinity.
    """
    return small_masses(
        profile,
        interval=interval,
        cells=max(math.ceil(largest_loss(profile, log_tail) / interval), 1),
    )


def small_masses(
    profile: StepProfile, *, interval: float, cells: int, top: float | None = None
) -> LossMasses:
    """Discretise the losses of size up to `cells * interval`; those above go to infinity.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> small_masses(step, interval=0.1, cells=20).size
    21

    Args:
      profile: The step.
      interval: Grid spacing, above 0.
      cells: Number of cells of the positive half.
      top: The largest loss, where it is not quite `cells * interval`.
    """
    rows: list[tuple[Any, ...]] = []
    top = cells * interval if top is None else top
    for weight, pair in profile.parts:
        log_m, end = _positive_masses(pair, interval, 0, cells, 0.0, top)
        above = _log_above(pair.p_weights, pair.p_means, end)
        below = _log_above(pair.q_weights, pair.q_means, end)
        rows.append(
            (math.log(weight), log_m, _log_atom(pair), above, below, *_errors(pair, end, interval))
        )
    return LossMasses(
        interval,
        np.logaddexp.reduce(np.array([w + m for w, m, *_ in rows])),
        *(float(np.logaddexp.reduce([row[0] + row[i] for row in rows])) for i in (2, 3, 4)),
        *(max(row[i] for row in rows) for i in (5, 6)),
    )


@dataclass(frozen=True, eq=False)
class LargeMasses:
    """P-mass of the losses beyond a cut on the grid `k * interval`, `first <= |k| <= last`.

    >>> LargeMasses(0.1, 7, np.log([0.1, 0.2]), -70.0).losses.round(1).tolist()
    [0.7, 0.8]

    Args:
      interval: Grid spacing `h`.
      first: Index of the cut.
      log_positive: `log m_k`, `k = first..last`; the mirrored half carries `m_k e^{-kh}` at `-kh`.
      log_infinity: Log of the P-mass above the grid.
      log_bottom: Log of the mass of losses below `-last`.
      rounding, loss_rounding: As in `LossMasses`.
    """

    interval: float
    first: int
    log_positive: Array
    log_infinity: float
    log_bottom: float = -math.inf
    rounding: float = RELATIVE_ERROR
    loss_rounding: float = 4 * _UNIT

    @cached_property
    def losses(self) -> Array:
        """The grid, from the cut up."""
        return np.asarray(self.interval * (self.first + np.arange(len(self.log_positive))))

    @cached_property
    def log_negative(self) -> Array:
        """Logs of the masses at `-losses`; what lies below the grid is at its lowest point."""
        mirrored = self.log_positive - self.losses
        mirrored[-1] = np.logaddexp(mirrored[-1], self.log_bottom)
        return np.asarray(mirrored)

    def log_mgf(self, tilt: float) -> float:
        """`log` of the sum of masses times `e^{tilt k h}`."""
        above = _log_sum(self.log_positive + tilt * self.losses)
        return float(np.logaddexp(above, _log_sum(self.log_negative - tilt * self.losses)))


def large_masses(
    profile: StepProfile,
    *,
    interval: float,
    first: int,
    last: int,
    cut: float | None = None,
    top: float | None = None,
) -> LargeMasses:
    """Discretise the losses beyond `first * interval`: what `small_masses` sends to its ends.

    >>> from patchdp.step import fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> small = small_masses(step, interval=0.1, cells=20)
    >>> large = large_masses(step, interval=0.1, first=20, last=120)
    >>> bool(np.isclose(np.exp(large.log_positive).sum(), np.exp(small.log_infinity), rtol=1e-12))
    True

    Args:
      profile: The step.
      interval: Grid spacing, above 0.
      first, last: Indices of the cut and of the end of the grid.
      cut, top: The smallest and the largest loss, where they are not quite on the grid.
    """
    rows: list[tuple[Any, ...]] = []
    cut = first * interval if cut is None else cut
    top = last * interval if top is None else top
    for weight, pair in profile.parts:
        log_m, end = _positive_masses(pair, interval, first, last, cut, top)
        above = _log_above(pair.p_weights, pair.p_means, end)
        below = _log_above(pair.q_weights, pair.q_means, end)
        rows.append((math.log(weight), log_m, above, below, *_errors(pair, end, interval)))
    return LargeMasses(
        interval,
        first,
        np.logaddexp.reduce(np.array([w + m for w, m, *_ in rows])),
        *(float(np.logaddexp.reduce([row[0] + row[i] for row in rows])) for i in (2, 3)),
        *(max(row[i] for row in rows) for i in (4, 5)),
    )
