"""One step's losses as finitely many outcomes that are no better for the attacker than the truth.

>>> from patchdp.step import fixed_size_pair
>>> law = pair_law(fixed_size_pair(rate=0.3, mu=1.0), top=8.0)
>>> bool(abs(float(np.sum(law.masses * np.exp(0.5 * law.losses))) - 1) < 1e-12)
True

Outcomes are merged: interval by interval on the line, box by box in the plane. Whoever sees only
which interval an outcome fell into knows less, so a merged law is below the true one for every
f-divergence, whatever the edges. Masses are half-tilted: `sqrt(P Q)` of every merged outcome.
Source: `docs/theory/adaptive.md`, "Laws".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.step.mixture import MixturePair

__all__ = ["Law", "isosceles_law", "pair_law"]

Array = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_WIDTH = 0.03
_BOX = 0.1
# Masses and losses of merged outcomes are known to this, relatively.
RELATIVE_ERROR = 3e-14


@dataclass(frozen=True, eq=False)
class Law:
    """Losses `l_m`, in ascending order, and half-tilted masses `k_m = sqrt(P_m Q_m)`."""

    losses: Array
    masses: Array

    @cached_property
    def mirrored(self) -> Law:
        """The same outcomes with the data sets exchanged."""
        return Law(-self.losses[::-1], self.masses[::-1].copy())

    def log_transform(self, exponent: float) -> float:
        """Log of `sum_m k_m exp(exponent l_m)`: 0 at -1/2 and 1/2."""
        return float(special.logsumexp(exponent * self.losses, b=self.masses))

    def gain(self, y: Array) -> Array:
        """`e^{-y/2} (H(e^y) - (1 - e^y)_+)`, from positive terms, at every `y`."""
        # k_m 2 sinh((l_m - y)/2) for l_m > y >= 0, and mirrored for y < 0.
        result = np.empty(len(y))
        for right in (True, False):
            at = np.flatnonzero((y >= 0) == right)
            law = self if right else self.mirrored
            first = int(np.searchsorted(law.losses, 0.0, "right"))
            far = law.losses[first:] - np.abs(y[at])[:, None]
            result[at] = (2 * np.sinh(0.5 * np.maximum(far, 0.0))) @ law.masses[first:]
        return result


def _law(q: Array, excess: Array, p: Array | None = None) -> Law:
    """From Q-masses and P-masses minus Q-masses, in the order of the losses.

    Where next to nothing of Q is left in P, the difference has lost it: `p` has not.
    """
    ratio = excess / q
    if p is None:
        loss = np.log1p(ratio)
    else:
        mild = ratio > -0.5
        loss = np.where(mild, np.log1p(np.where(mild, ratio, 0.0)), np.log(p) - np.log(q))
    return Law(loss, q * np.exp(0.5 * loss))


def pair_law(pair: MixturePair, top: float, width: float = _WIDTH) -> Law:
    """A pair on the line, merged over intervals of the outcome.

    Args:
      pair: The pair.
      top: Outcomes beyond this many deviations right of the rightmost mean are one.
      width: Of the intervals, in noise standard deviations.
    """
    far = max(pair.shifts)
    low, high = -(far + 8.5), far + top
    down = np.arange(1, math.ceil(-low / width) + 1) * -width
    up = np.arange(0, math.ceil(high / width) + 1) * width
    edges = np.concatenate([down[::-1], up])
    x = edges[:-1, None] + 0.5 * width * (1 + _NODES)
    weights = 0.5 * width * _WEIGHTS
    density = np.exp(pair.log_q(x))
    q = density @ weights
    excess = (density * np.expm1(pair.loss(x))) @ weights
    p = np.exp(pair.log_p(x)) @ weights
    gains, shifts = np.array(pair.gains), np.array(pair.shifts)
    (w, m), (v, n) = (
        (np.array(pair.q_weights), np.array(pair.q_means)),
        (np.array(pair.p_weights), np.array(pair.p_means)),
    )

    def outer(edge: float, sign: int) -> tuple[float, float, float]:
        tail = special.ndtr(sign * (m - edge)) @ w
        other = special.ndtr(sign * (n - edge)) @ v
        more = special.ndtr(sign * (shifts - edge)) - special.ndtr(sign * (-shifts - edge))
        return float(tail), float(more @ gains), float(other)

    ends = outer(edges[0], -1), outer(edges[-1], 1)
    inner = (q, excess, p)
    return _law(
        *(np.concatenate([[a], b, [c]]) for a, b, c in zip(ends[0], inner, ends[1], strict=True))
    )


def isosceles_law(
    hit: float, miss: float, out: float, mu: float, top: float, width: float = _BOX
) -> Law:
    """The triangle with two angles of 45 degrees: `m` at right angles to `g` and `g' = -g`."""
    high = mu + top
    xs = np.asarray(np.arange(0, math.ceil(high / width) + 1) * width, dtype=np.float64)
    low_y, high_y = -8.0, mu + 8.0
    ys = np.linspace(low_y, high_y, math.ceil((high_y - low_y) / width) + 1, dtype=np.float64)

    def axis(edges: Array, mean: float) -> Array:
        half = 0.5 * np.diff(edges)[:, None]
        z = edges[:-1, None] + half * (1 + _NODES) - mean
        return np.asarray((np.exp(-0.5 * z * z) @ _WEIGHTS) * half[:, 0] / math.sqrt(2 * math.pi))

    def ends(edges: Array, mean: float) -> Array:
        """Masses with both outer intervals."""
        return np.concatenate(
            [[special.ndtr(edges[0] - mean)], axis(edges, mean), [special.ndtr(mean - edges[-1])]]
        )

    # x > 0 only; the other half is the mirror image.
    right = np.concatenate([axis(xs, mu), [special.ndtr(mu - xs[-1])]])
    left = np.concatenate([axis(xs, -mu), [special.ndtr(-mu - xs[-1])]])
    middle = np.concatenate([axis(xs, 0.0), [special.ndtr(-xs[-1])]])
    z = xs[:-1, None] + 0.5 * width * (1 + _NODES)
    sinh = 2 * np.sinh(mu * z) * np.exp(-0.5 * (z * z + mu * mu)) / math.sqrt(2 * math.pi)
    difference = np.concatenate([(sinh @ _WEIGHTS) * 0.5 * width, [right[-1] - left[-1]]])
    zero, up = ends(ys, 0.0), ends(ys, mu)
    common = np.outer(middle, out * zero + miss * up)
    q = (common + hit * np.outer(left, zero)).ravel()
    excess = (hit * np.outer(difference, zero)).ravel()
    loss = np.log1p(excess / q)
    order = np.argsort(loss, kind="stable")
    # Outcomes of nearly equal losses are merged again.
    scale = float(np.sum(excess)) / float(np.sum(q))
    group = np.floor(np.log1p(loss[order] / scale) * 40).astype(np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    half = _law(np.add.reduceat(q[order], starts), np.add.reduceat(excess[order], starts))
    return Law(
        np.concatenate([-half.losses[::-1], half.losses]),
        np.concatenate([half.masses[::-1], half.masses]),
    )
