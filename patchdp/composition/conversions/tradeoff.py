"""Attack risk: trade-off curves (f-DP) read off a certified privacy profile.

An attacker who has to tell apart two contents of a patch, with false-positive rate `alpha`, has a
false-negative rate of at least
`f(alpha) = sup over eps >= 0 of max(0, 1 - delta(eps) - e^eps alpha,
e^{-eps} (1 - delta(eps) - alpha))`.
Every single `eps` gives a valid bound, so any finite choice of them is sound and a good choice is
tight; both families are concave (in `e^eps` and in `e^{-eps}`): the best one is found by zooming.
Source: `docs/theory.md`, "Trade-off curves"; arXiv:1905.02383 (Dong, Roth, Su).

>>> import numpy as np
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> gaussian = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> beta = tradeoff(gaussian.delta, np.array([0.05]))
>>> round(float(beta[0]), 4)  # Phi(Phi^{-1}(1 - alpha) - 1)
0.7405
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from patchdp import _checks

__all__ = ["attack_success", "check_rates", "tradeoff"]

Array = npt.NDArray[np.float64]
Delta = Callable[[Array], Array]

_UNIT = 2.0**-52
# A round that gains less than this, relative to the error rate or absolutely, is the last...
_RELATIVE, _ABSOLUTE = 1e-5, 1e-15
# ... where no epsilon beside the best one could gain this much of what the attacker has.
_ADVANTAGE = 0.02
_LARGEST_EPSILON = 700.0


def check_rates(name: str, value: npt.ArrayLike, *, up: bool = True) -> Array:
    """`value` as an array of rates in [0, 1], rounded up where they are no floats, or down."""
    return _checks.floats(name, value, "between 0 and 1", least=0.0, most=1.0, up=up)


def _families(epsilon: Array, delta: Array, alpha: Array) -> Array:
    """Both lower bounds, shape (2, alphas, epsilons), rounded down."""
    eps, d, a = epsilon[None, :], delta[None, :], alpha[:, None]
    grown = np.exp(eps) * a * (1 + 4 * _UNIT)
    first = (1 - d) - grown - 2 * _UNIT
    second = np.exp(-eps) * (((1 - a) - d) - 2 * _UNIT) * (1 - 4 * _UNIT)
    return np.maximum(np.stack([first, second]), 0.0)


def tradeoff(delta: Delta, alpha: npt.ArrayLike) -> Array:
    """A lower bound on the attacker's false-negative rate at each false-positive rate.

    >>> nothing = tradeoff(lambda epsilon: np.zeros_like(epsilon), [0.0, 0.25, 1.0])
    >>> nothing.round(12).tolist()
    [1.0, 0.75, 0.0]

    Args:
      delta: A profile: upper bounds on delta at an array of epsilons of at least 0.
      alpha: False-positive rates in [0, 1], any shape.

    Returns:
      An array of the shape of `alpha`; never above the true trade-off curve.

    Raises:
      ValueError: A rate is not in [0, 1].
    """
    rates = check_rates("alpha", alpha)
    flat = rates.ravel()
    if np.all(flat == 1):
        return np.zeros(rates.shape)
    # Start with few epsilons, closer together near 0, up to where neither family can grow.
    nodes = 16.0 * np.square(np.linspace(0.0, 1.0, 17))
    deltas = delta(nodes)
    best, calm = np.zeros(len(flat)), np.zeros(len(flat), dtype=np.intp)
    for _ in range(24):
        values = _families(nodes, deltas, flat)
        found = values.max(axis=(0, 2), initial=0.0)
        gain = found - best
        best = np.maximum(best, found)
        # Twice, lest the first zoom happens to miss.
        calm = np.where(gain <= np.maximum(_RELATIVE * best, _ABSOLUTE), calm + 1, 0)
        top = values.argmax(axis=2)  # (2, alphas)
        left = nodes[np.maximum(top - 1, 0)]
        right = np.minimum(top + 1, len(nodes) - 1)
        # delta falls, so between neighbours either family is below this
        least = deltas[right]
        hope = np.maximum(
            1 - least[0] - np.exp(left[0]) * flat, np.exp(-left[1]) * (1 - least[1] - flat)
        )
        right = nodes[right]
        settled = (calm >= 2) & (hope - best <= _ADVANTAGE * (1 - flat - best) + 1e-13)
        # A rate of 0 with nothing found yet needs larger epsilons, if any.
        ends = np.any(values.max(axis=2) > 0, axis=0) & np.any(top == len(nodes) - 1, axis=0)
        hopeless = nodes[-1] >= _LARGEST_EPSILON
        missing = (best == 0) & (flat < 1)
        wider = not hopeless and bool(np.any((ends & ~settled) | missing))
        if np.all(settled & ~missing) or (np.all(settled) and hopeless):
            break
        middle = nodes[top]
        active = ~settled
        parts = np.array([0.25, 0.5, 0.75])
        fresh = [
            (a + (b - a) * parts[:, None, None])[:, :, active].ravel()
            for a, b in ((left, middle), (middle, right))
        ]
        if wider:
            fresh.append(np.linspace(nodes[-1], min(2 * nodes[-1], _LARGEST_EPSILON), 9)[1:])
        new = np.setdiff1d(np.concatenate(fresh), nodes)
        if len(new) == 0:
            break
        order = np.argsort(np.concatenate([nodes, new]), kind="stable")
        deltas = np.concatenate([deltas, delta(new)])[order]
        nodes = np.concatenate([nodes, new])[order]
    return np.minimum(best, 1 - flat).reshape(rates.shape)


def attack_success(delta: Delta, prior: npt.ArrayLike) -> Array:
    """Chance that the best attacker with a prior names the right one of two contents.

    `max(prior, 1 - prior)` is what guessing gives; with `r = min(prior, 1 - prior)` the bound is
    `1 - r + r delta(log((1 - r)/r))`.

    >>> attack_success(lambda epsilon: np.zeros_like(epsilon), [0.5, 0.9]).round(12).tolist()
    [0.5, 0.9]

    Args:
      delta: A symmetric profile: upper bounds on delta at an array of epsilons of at least 0.
      prior: Probability of one of the two contents, in [0, 1], any shape.

    Returns:
      An array of the shape of `prior`; never below the true success.

    Source: arXiv:2407.02191; a test between weighted hypotheses is a hockey-stick divergence.
    """
    # The success does not fall with the distance from 1/2: rounding goes away from it.
    priors = check_rates("prior", prior)
    priors = np.where(priors > 0.5, priors, check_rates("prior", prior, up=False))
    flat = priors.ravel()
    rare = np.minimum(flat, 1 - flat)
    with np.errstate(divide="ignore"):
        odds = np.where(rare > 0, np.log1p(-rare) - np.log(rare), 0.0)
    # A smaller epsilon only raises delta.
    odds = np.maximum(odds * (1 - 4 * _UNIT), 0.0)
    success = np.ones(rare.shape)
    unsure = rare > 0
    if unsure.any():
        some = (1 - rare[unsure]) + rare[unsure] * delta(odds[unsure]) * (1 + 4 * _UNIT)
        success[unsure] = some + 2 * _UNIT * (some < 1)
    return np.minimum(success, 1.0).reshape(priors.shape)
