"""Attacks on optimal composition that share no code with it: brute force over points in space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

_AXIS, _STEP = np.linspace(-7.5, 7.5, 301, retstep=True)
_WEIGHT = np.exp(-0.5 * _AXIS**2) / np.sqrt(2 * np.pi) * _STEP


def _plane(points: Array) -> Array:
    """Isometric coordinates of points (rows) in as few dimensions as they span."""
    centred = points - points[0]
    _, values, rows = np.linalg.svd(centred)
    kept = max(int(np.sum(values > 1e-9)), 1)
    return np.asarray(centred @ rows[:kept].T)


def step_law(
    weights: tuple[float, float, float], mu: float, m: Array, g: Array, g2: Array, stride: int = 6
) -> tuple[Array, Array]:
    """Losses and probabilities under P of a step on a grid of outcomes, for points in any space.

    `weights` are the chances of hit (g against g2), miss (m) and out (the origin); in three
    dimensions every `stride`-th point of the axes is used.
    """
    hit, miss, out = weights
    points = np.stack([g, g2, m] + ([np.zeros_like(g)] if out else []))
    at = mu * _plane(points)
    dim = at.shape[1]
    if dim == 3:
        axis, weight = _AXIS[::stride], _WEIGHT[::stride] * stride
    else:
        axis, weight = _AXIS, _WEIGHT
    mesh = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), -1).reshape(-1, dim)
    mass = weight
    for _ in range(dim - 1):
        mass = np.multiply.outer(mass, weight)
    centre = at.mean(axis=0)
    # Integrate against a standard normal at the points' centre; ratios to it are exponentials.
    ratio = np.exp(mesh @ (at - centre).T - 0.5 * np.sum((at - centre) ** 2, axis=1))
    common = miss * ratio[:, 2] + (out * ratio[:, 3] if out else 0.0)
    p, q = common + hit * ratio[:, 0], common + hit * ratio[:, 1]
    return np.log(p / q), p * mass.ravel()


def hockey_stick(
    weights: tuple[float, float, float],
    mu: float,
    m: Array,
    g: Array,
    g2: Array,
    losses: Array,
    stride: int = 6,
) -> Array:
    """`H_a(P||Q)` at `a = e^losses` by summing over the grid of outcomes."""
    loss, mass = step_law(weights, mu, m, g, g2, stride)
    return np.array([np.sum(mass * np.maximum(-np.expm1(x - loss), 0.0)) for x in losses])


def ball(rng: np.random.Generator, dim: int) -> Array:
    """A point in the unit ball; half of the time on its sphere."""
    direction = rng.normal(size=dim)
    direction /= np.linalg.norm(direction)
    return direction * (1.0 if rng.random() < 0.5 else rng.random() ** (1 / dim))


def inscribed(a: float, b: float) -> tuple[Array, Array, Array]:
    """`m`, `g`, `g'` on the unit circle with angle `a` at `g'` and `b` at `g`."""
    m = np.array([1.0, 0.0])
    g = np.array([np.cos(2 * a), np.sin(2 * a)])
    g2 = np.array([np.cos(2 * b), -np.sin(2 * b)])
    return m, g, g2


def line_profile(rate: float, mu: float, forward: bool, eps: Array) -> Array:
    """Closed form of `H_{e^eps}` for `m = g'` (forward) or `m = g`, from scratch."""
    a = np.exp(eps)
    with np.errstate(invalid="ignore", divide="ignore"):
        if forward:  # (1-r) N(0) + r N(2mu) against N(0)
            x = (np.log((a - 1 + rate) / rate) + 2 * mu**2) / (2 * mu)
            x = np.where(a <= 1 - rate, -np.inf, x)
            return np.asarray((1 - rate - a) * special.ndtr(-x) + rate * special.ndtr(2 * mu - x))
        x = (np.log((1 / a - 1 + rate) / rate) + 2 * mu**2) / (2 * mu)
        x = np.where(1 / a <= 1 - rate, -np.inf, x)
    return np.asarray((1 - a + a * rate) * special.ndtr(x) - a * rate * special.ndtr(x - 2 * mu))


class Adversary:
    """Backward recursion over a list of triangles by quadrature over their outcomes."""

    def __init__(self, weights, mu, triples, nodes=241):
        # Chords between nodes are above the values: the grid has to be fine against mu.
        span = min(6.0, 8 * mu)
        self.losses = np.linspace(-span, span, nodes)
        self.operators = []
        for triple in triples:
            # Merging outcomes into their mean (under Q) only weakens the attack.
            loss, mass = step_law(weights, mu, *triple)
            inside = np.abs(loss) < 8
            q, edges = np.histogram(loss[inside], bins=1600, weights=(mass * np.exp(-loss))[inside])
            p, _ = np.histogram(loss[inside], bins=edges, weights=mass[inside])
            used = q > 1e-13
            self.operators.append((np.log(p[used] / q[used]), p[used]))
        self.last = np.stack(
            [
                np.maximum(-np.expm1(-self.losses[:, None] - loss), 0.0) @ mass
                for loss, mass in self.operators
            ]
        )

    def expectation(self, index, values):
        loss, mass = self.operators[index]
        at = self.losses[:, None] + loss
        return np.interp(at, self.losses, values) @ mass

    def play(self, steps, choose):
        """Values after `steps`; `choose(table)` picks, for each loss, a row of the table."""
        values = choose(self.last)
        for _ in range(steps - 1):
            values = choose(
                np.stack([self.expectation(i, values) for i in range(len(self.operators))])
            )
        return values
