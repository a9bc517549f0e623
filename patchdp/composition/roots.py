"""Where a falling bound on log delta meets what is asked for.

>>> least_epsilon(lambda epsilon: -2.0 * epsilon, -3.0, low=0.0, high=10.0) >= 1.5
True
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["greatest_epsilon", "least_epsilon"]

Bound = Callable[[float], float]
_TURNS = 200


def least_epsilon(
    bound: Bound, log_delta: float, *, low: float, high: float, slope: float = 1.0
) -> float:
    """An epsilon in `[low, high]`, about the least, at which the bound is at most `log_delta`.

    Infinity where it is larger even at `high`. What is returned has been evaluated: it meets the
    bound, whatever the bound does elsewhere.

    Args:
      bound: An upper bound on log delta that falls with epsilon.
      log_delta: What is asked for.
      low, high: Where to look.
      slope: By how much log delta falls with epsilon, roughly.
    """
    return _search(bound, log_delta, low, high, slope)[1]


def greatest_epsilon(
    bound: Bound, log_delta: float, *, low: float, high: float, slope: float = 1.0
) -> float:
    """An epsilon in `[low, high]`, about the greatest, at which the bound is still `log_delta`.

    Any valid delta there is at least `log_delta`, if the bound is a lower one: no epsilon below
    can be promised. `low` where the bound is smaller everywhere.

    Args:
      bound: A lower bound on log delta.
      log_delta, low, high, slope: As in `least_epsilon`.
    """
    # an epsilon at which the bound equals the goal counts here, not there
    return _search(bound, math.nextafter(log_delta, -math.inf), low, high, slope)[0]


def _search(
    bound: Bound, log_delta: float, low: float, high: float, slope: float
) -> tuple[float, float]:
    """The last epsilon found with a larger bound (or `low`), and the first without."""
    above = bound(low) - log_delta
    if not above > 0:
        return low, low
    below = bound(high) - log_delta
    if not below <= 0:
        return high, math.inf
    left, right = low, high
    # Near the answer log delta falls almost linearly: secants, from below, for the range may
    # reach far above it; halving where they lead out of the bracket or hardly shrink it.
    guess, last = left + above / max(slope, 1e-300), (left, above)
    for turn in range(_TURNS):
        tiny = 2e-13 * max(abs(left), abs(right))
        if right - left <= max(tiny, 1e-300):
            break
        if turn % 8 == 7 or not left < guess < right:
            guess = 0.5 * (left + right)
        excess = bound(guess) - log_delta
        gain = excess - last[1]
        step = -excess * (guess - last[0]) / gain if math.isfinite(gain) and gain != 0 else 0.0
        last = (guess, excess)
        if excess > 0:
            left = guess
        else:
            right = guess
        # a little beyond the root, so that both ends close in
        step += math.copysign(0.25 * tiny, excess)
        guess += step if math.isfinite(step) and step != 0 else math.inf
    return left, right
