"""A lower bound on epsilon from a single training with canaries.

Put canary patches into the data, each with one of two contents by the toss of a fair coin, train
once, and guess some of the coins from the trained model. Each coin is the replacement of one patch,
so an (epsilon, delta) guarantee limits how many guesses come out right; more of them refute it.

>>> round(one_run_audit(correct=150, guesses=200, canaries=1000, delta=1e-5, confidence=0.95), 4)
0.82

Source: Steinke, Nasr, Jagielski, *Privacy Auditing with One (1) Training Run*, NeurIPS 2023,
arXiv:2305.08846, Theorem 5.2; `docs/theory/audit.md`, "One training run".
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from patchdp import _checks

__all__ = ["one_run_audit"]

# Binomial probabilities are good to about 1e-12, relative to each; the bound allows for more.
_MARGIN = 1 + 1e-9
# Tables of probabilities stay small.
_MOST = 10**7
# With at most that many guesses, no number of right ones refutes an epsilon this large.
_LARGEST = 40.0


def one_run_audit(
    *,
    correct: int,
    guesses: int,
    canaries: int,
    delta: float | Fraction,
    confidence: float,
) -> float:
    """The largest epsilon that a single training refutes.

    >>> one_run_audit(correct=100, guesses=200, canaries=1000, delta=1e-5, confidence=0.95)
    0.0

    Args:
      correct: How many guesses named the right content.
      guesses: How many of the canaries' coins were guessed; the rest were abstained from. Which
        ones must not depend on the coins themselves, only on the trained model.
      canaries: How many canary patches there were, each in an image of its own, each with its
        content drawn by an independent fair coin.
      delta: Delta of the guarantee that is tested, in [0, 1).
      confidence: Probability, in (0, 1), with which the returned value is below the epsilon of
        every (epsilon, delta) guarantee that the training really has.

    Returns:
      A lower bound on epsilon, at least 0: 0 where the guesses refute nothing.

    Raises:
      ValueError: A count is negative, above 10^7 or larger than what it is part of, or `delta` or
        `confidence` is out of range.
    """
    total = _counted("canaries", canaries, _MOST)
    guessed = _counted("guesses", guesses, total)
    right = _counted("correct", correct, guessed)
    leak = _checks.nonnegative("delta", delta)
    if leak >= 1:
        raise ValueError(f"delta must be at least 0 and below 1, got {delta!r}")
    doubt = 1 - _checks.probability("confidence", confidence, open_ends=True)
    allowed = float(doubt) * (1 - 1e-15)
    if right == 0 or _chance(right, guessed, total, leak, 0.0) > allowed:
        return 0.0
    low, high = 0.0, _LARGEST
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        if _chance(right, guessed, total, leak, middle) <= allowed:
            low = middle
        else:
            high = middle
    return low


def _counted(name: str, value: object, most: int) -> int:
    number = _checks.whole(name, value, least=0)
    if number > most:
        raise ValueError(f"{name} must be a whole number of at most {most}, got {number}")
    return number


def _chance(right: int, guessed: int, canaries: int, delta: float, epsilon: float) -> float:
    """A bound on the chance of that many right guesses, under an (epsilon, delta) guarantee."""
    from scipy import stats  # slow to import, and only needed here

    law = stats.binom(guessed, 1 / (1 + math.exp(-epsilon)))
    bound = float(law.sf(right - 1))
    if delta > 0:
        # Pr[right > Bin >= right - i] for i = 1, ..., right; beyond that only i grows.
        below = np.cumsum(law.pmf(np.arange(right - 1, -1, -1)))
        bound += delta * canaries * float(np.max(2 * below / np.arange(1, right + 1)))
    return bound * _MARGIN
