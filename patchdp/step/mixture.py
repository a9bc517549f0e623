"""A dominating pair of Gaussian mixtures on the line, and its privacy profile.

>>> from patchdp.step import fixed_size_pair
>>> pair = fixed_size_pair(rate=0.02, mu=0.5)
>>> round(float(pair.delta(0.1)), 7)
0.0005956
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp import _checks
from patchdp.step.mills import log_mills_difference, log_phi

__all__ = ["MixturePair"]

Array = npt.NDArray[np.float64]


def _log_mixture(x: Array, weights: Array, means: Array) -> Array:
    with np.errstate(divide="ignore"):
        terms = np.log(weights) + means * x[..., None] - 0.5 * np.square(means)
    return np.asarray(special.logsumexp(terms, axis=-1))


@dataclass(frozen=True)
class MixturePair:
    """`P` and `Q`, mixtures of unit-variance normal laws, with loss `L(x) = log P(x)/Q(x)`.

    >>> pair = MixturePair((0.1,), (1.0,), (1.0,), (-1.0,), (0.9, 0.1), (-1.0, 1.0))
    >>> float(pair.loss(0.0))
    0.0

    The axis is centred so that `L` increases and vanishes at `x = 0`, and
    `P - Q = sum_i gains[i] (N(shifts[i]) - N(-shifts[i]))`: written this way no formula below
    subtracts nearly equal numbers.

    Args:
      gains: Weights of the differences, above 0.
      shifts: Their distances from the centre in noise standard deviations, above 0.
      q_weights, q_means: The mixture `Q`; every mean is at most 0.
      p_weights, p_means: The mixture `P`, the same as `Q` plus the differences.

    Source: `docs/theory/one_step.md`, "Gaussian mixtures": Theorems 11 and 12, by Theorem 10.
    """

    gains: tuple[float, ...]
    shifts: tuple[float, ...]
    q_weights: tuple[float, ...]
    q_means: tuple[float, ...]
    p_weights: tuple[float, ...]
    p_means: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, value in vars(self).copy().items():
            if type(value) is not tuple or any(type(entry) is not float for entry in value):
                plain = _checks.floats(name, value, "a tuple of finite numbers").ravel()
                object.__setattr__(self, name, tuple(plain.tolist()))

    @cached_property
    def _arrays(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        fields = (self.gains, self.shifts, self.q_weights, self.q_means)
        g, s, qw, qm = (np.array(f, dtype=np.float64) for f in fields)
        return g, s, qw, qm, np.array(self.p_weights), np.array(self.p_means)

    def log_p(self, x: npt.ArrayLike) -> Array:
        """Log-density of `P` at `x`."""
        x = np.asarray(x, dtype=np.float64)
        return log_phi(x) + _log_mixture(x, *self._arrays[4:])

    def log_q(self, x: npt.ArrayLike) -> Array:
        """Log-density of `Q` at `x`."""
        x = np.asarray(x, dtype=np.float64)
        return log_phi(x) + _log_mixture(x, *self._arrays[2:4])

    def log_excess(self, x: npt.ArrayLike) -> Array:
        """`log(e^L(x) - 1)` for `x >= 0`; minus infinity at 0."""
        x = np.asarray(x, dtype=np.float64)
        g, s, qw, qm, _, _ = self._arrays
        y = x[..., None] * s
        with np.errstate(divide="ignore"):
            # 2 sinh(y) = e^y (1 - e^{-2y})
            terms = np.log(g) - 0.5 * np.square(s) + y + np.log(-np.expm1(-2 * y))
        return np.asarray(special.logsumexp(terms, axis=-1)) - _log_mixture(x, qw, qm)

    def loss(self, x: npt.ArrayLike) -> Array:
        """`L(x)`, accurate relative to its size near 0 and where `P` and `Q` differ widely."""
        x = np.asarray(x, dtype=np.float64)
        right = np.logaddexp(0.0, self.log_excess(np.maximum(x, 0.0)))
        if np.all(x >= 0):
            return np.asarray(right)
        g, s, qw, qm, pw, pm = self._arrays
        x_left = np.minimum(x, 0.0)
        y = x_left[..., None] * s
        with np.errstate(divide="ignore"):
            drop = np.log(g) - 0.5 * np.square(s) - y + np.log(-np.expm1(2 * y))
        log_q = _log_mixture(x_left, qw, qm)
        relative = -np.exp(np.minimum(special.logsumexp(drop, axis=-1) - log_q, 0.0))
        mild = relative > -0.5
        left = np.where(
            mild,
            np.log1p(np.where(mild, relative, 0.0)),
            _log_mixture(x_left, pw, pm) - log_q,
        )
        return np.asarray(np.where(x >= 0, right, left))

    def position(self, epsilon: npt.ArrayLike) -> Array:
        """The `x >= 0` with `L(x) = epsilon`, for `epsilon >= 0`."""
        eps = np.asarray(epsilon, dtype=np.float64)
        with np.errstate(divide="ignore"):
            target = eps + np.log(-np.expm1(-eps))  # log(e^eps - 1)
        if len(self.shifts) == 1 and set(self.q_means) <= {0.0, -self.shifts[0]}:
            return self._position_quadratic(target)
        return self._position_newton(target)

    def _position_quadratic(self, target: Array) -> Array:
        # With t = e^{s x} and E = (e^eps - 1)/gain the equation L(x) = eps is
        # t^2 - 2 A t - (1 + E b1) = 0, A = E b0 e^{s^2/2}/2; b0, b1 the weights of Q at 0, -s.
        s = self.shifts[0]
        weight = dict(zip(self.q_means, self.q_weights, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_e = target - np.log(self.gains[0])
            half_b = 0.5 * np.logaddexp(0.0, log_e + np.log(weight.get(-s, 0.0)))
            y = log_e + np.log(weight.get(0.0, 0.0)) + 0.5 * s * s - np.log(2.0) - half_b
            large = y > 300.0
            asinh = np.where(large, y + np.log(2.0), np.arcsinh(np.exp(np.where(large, 0.0, y))))
        return np.asarray((half_b + asinh) / s)

    def _position_newton(self, target: Array) -> Array:
        g, s, qw, qm, _, _ = self._arrays
        goal = np.atleast_1d(target)
        low, high = np.zeros_like(goal), np.ones_like(goal)
        for _ in range(80):  # losses grow at least linearly, so doubling reaches any goal
            short = self.log_excess(high) < goal
            if not np.any(short):
                break
            low, high = np.where(short, high, low), np.where(short, 2 * high, high)
        x = 0.5 * (low + high)
        left = np.flatnonzero(np.isfinite(goal))  # the points that have not settled
        for _ in range(200):
            at, lo, hi = x[left], low[left], high[left]
            value = self.log_excess(at) - goal[left]
            lo, hi = np.where(value < 0, at, lo), np.where(value < 0, hi, at)
            y = at[:, None] * s
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                up = np.log(g) - 0.5 * s * s + y + np.log(-np.expm1(-2 * y))
                slope_up = np.sum(special.softmax(up, axis=-1) * s / np.tanh(y), axis=-1)
                down = np.log(qw) + qm * at[:, None] - 0.5 * qm * qm
                slope = slope_up - np.sum(special.softmax(down, axis=-1) * qm, axis=-1)
                step = at - value / slope
            inside = (step > lo) & (step < hi)
            new = np.where(inside, step, 0.5 * (lo + hi))
            x[left], low[left], high[left] = new, lo, hi
            # Newton's method squares the error: after a step this small only rounding is left.
            settled = (inside & (np.abs(new - at) <= 1e-9 * new)) | (hi - lo <= 4e-16 * hi)
            left = left[~settled]
            if not len(left):
                break
        return np.asarray(np.where(np.isneginf(goal), 0.0, x).reshape(np.shape(target)))

    def log_delta(self, epsilon: npt.ArrayLike) -> Array:
        """Log of the hockey-stick divergence `H_{e^eps}(P||Q)` for `epsilon >= 0`.

        With `x` the point where `L = eps`, `U = sum gains N(shifts)` and
        `V = sum gains N(-shifts) + (e^eps - 1) Q` agree there, and
        `delta = U(>x) - V(>x) = sum over pairs of weights times differences of Mills' ratios`, all
        positive.
        """
        eps = np.asarray(epsilon, dtype=np.float64)
        g, s, qw, qm, _, _ = self._arrays
        x = self.position(eps)[..., None]
        with np.errstate(divide="ignore"):
            excess = (eps + np.log(-np.expm1(-eps)))[..., None]
            log_u = np.log(g) + log_phi(x - s)
            log_v = np.concatenate(
                [np.log(g) + log_phi(x + s), excess + np.log(qw) + log_phi(x - qm)], axis=-1
            )
        log_v = log_v - special.logsumexp(log_v, axis=-1, keepdims=True)
        means_v = np.concatenate([-s, qm])
        gaps = log_mills_difference(
            x[..., None] - s[:, None], np.maximum(x[..., None] - means_v, x[..., None] - s[:, None])
        )
        terms = log_u[..., :, None] + log_v[..., None, :] + gaps
        return np.asarray(special.logsumexp(terms, axis=(-2, -1)))

    def delta(self, epsilon: npt.ArrayLike) -> Array:
        """The hockey-stick divergence for `epsilon >= 0`."""
        return np.exp(self.log_delta(epsilon))
