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

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = ["LossMasses", "loss_masses"]

Array = npt.NDArray[np.float64]

# Relative error of one computed mass: quadrature below 1e-15, the rest is rounding.
RELATIVE_ERROR = 2e-14
_RULES = {n: np.polynomial.legendre.leggauss(n) for n in (2, 4, 8)}


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
    """

    interval: float
    log_positive: Array
    log_atom: float
    log_infinity: float
    log_bottom: float

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
        return float(special.logsumexp(self.log_probabilities + tilt * self.losses))

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


def _cell_logs(pair: MixturePair, edges: Array, cells: Array, h: float) -> tuple[Array, Array]:
    """Per panel: logs of the P-mass shared to the upper and to the lower end of its cell."""
    left, right = edges[:-1], edges[1:]
    widths = right - left
    # A Gauss rule with n nodes errs by about (width * (|x| + 2))^(2n) times its constant: the
    # normal density's derivatives do not vanish at 0.
    reach = widths * (right + max(pair.shifts) + 2.0)
    order = np.where(reach < 2e-3, 2, np.where(reach < 0.16, 4, 8))
    upper, lower = np.empty_like(widths), np.empty_like(widths)
    span = -np.expm1(-h)
    for n, (nodes, weights) in _RULES.items():
        chosen = order == n
        if not np.any(chosen):
            continue
        half = 0.5 * widths[chosen][:, None]
        x = left[chosen][:, None] + half * (1.0 + nodes)
        loss = pair.loss(x)
        log_density = pair.log_q(x) + loss
        base = h * cells[chosen][:, None]
        peak = log_density.max(axis=1)
        mass = np.exp(log_density - peak[:, None]) * weights
        share = np.clip(-np.expm1(base - loss) / span, 0.0, 1.0)
        rest = np.clip(np.exp(-h) * np.expm1(base + h - loss) / span, 0.0, 1.0)
        scale = peak + np.log(half[:, 0])
        with np.errstate(divide="ignore"):
            upper[chosen] = scale + np.log(np.sum(mass * share, axis=1))
            lower[chosen] = scale + np.log(np.sum(mass * rest, axis=1))
    return upper, lower


def _log_sums(values: Array, starts: npt.NDArray[np.intp]) -> Array:
    """Log of the sums of `exp(values)` over consecutive groups beginning at `starts`."""
    peaks = np.maximum.reduceat(values, starts)
    safe = np.where(np.isfinite(peaks), peaks, 0.0)
    counts = np.diff(np.append(starts, len(values)))
    with np.errstate(divide="ignore"):
        sums = np.add.reduceat(np.exp(values - np.repeat(safe, counts)), starts)
        return np.asarray(safe + np.log(sums))


def _pair_masses(
    pair: MixturePair, interval: float, cells: int, top: float
) -> tuple[Array, float, float, float]:
    edges = pair.position(interval * np.arange(cells + 1))
    edges[0] = 0.0
    # Wide cells are cut so that each panel is short against the decay of the normal density.
    steps = []
    x, far = 0.0, max(pair.shifts)
    while x < edges[-1]:
        x += min(0.4, 2.0 / (x + far))
        steps.append(x)
    cuts = np.array(steps)
    grid = np.unique(np.concatenate([edges, cuts[cuts < edges[-1]]]))
    owner = np.clip(np.searchsorted(edges, grid[:-1], side="right") - 1, 0, cells - 1)
    upper, lower = _cell_logs(pair, grid, owner.astype(np.float64), interval)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    present = owner[starts]
    log_m = np.full(cells + 1, -np.inf)
    log_m[present] = _log_sums(lower, starts)
    log_m[present + 1] = np.logaddexp(log_m[present + 1], _log_sums(upper, starts))
    end = float(edges[-1])
    with np.errstate(divide="ignore"):
        log_atom = special.logsumexp(
            [
                np.log(w) + np.log(special.erf(-m / np.sqrt(2)))
                for w, m in zip(pair.p_weights, pair.p_means, strict=True)
                if m < 0
            ]
            or [-np.inf]
        )
        above = special.logsumexp(
            [
                np.log(w) + special.log_ndtr(m - end)
                for w, m in zip(pair.p_weights, pair.p_means, strict=True)
            ]
        )
        below = special.logsumexp(
            [
                np.log(w) + special.log_ndtr(m - end)
                for w, m in zip(pair.q_weights, pair.q_means, strict=True)
            ]
        )
    return log_m, float(log_atom), float(above), float(below)


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
    top = largest_loss(profile, log_tail)
    cells = max(int(np.ceil(top / interval)), 1)
    rows = [(w, *_pair_masses(pair, interval, cells, top)) for w, pair in profile.parts]
    return LossMasses(
        interval,
        np.asarray(special.logsumexp([np.log(w) + m for w, m, *_ in rows], axis=0)),
        *(float(special.logsumexp([np.log(r[0]) + r[i] for r in rows])) for i in (2, 3, 4)),
    )
