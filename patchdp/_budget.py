"""What one question may cost: work whose size an argument decides is counted before it is done.

>>> from patchdp._budget import afford
>>> afford(100, "the map", "ask for less")
>>> afford(10**12, "the map", "ask for less")
Traceback (most recent call last):
    ...
ValueError: the map takes 1,000,000,000,000 numbers, more than the 16,777,216 that one question \
may hold: ask for less
"""

from __future__ import annotations

import math

__all__ = ["MOST_NUMBERS", "MOST_WORK", "STEP", "afford", "affordable"]

# Numbers in one array: an image of 4096 x 4096. A few such arrays are held at a time, below 1 GB.
MOST_NUMBERS = 1 << 24
# Numbers that one question may touch, in all: some seconds.
MOST_WORK = 400_000_000
# What one step of a loop in Python costs, in numbers touched.
STEP = 1000


def affordable(numbers: int, work: int = 0) -> bool:
    """Whether arrays of so many numbers may be held, and so many numbers touched."""
    return numbers <= MOST_NUMBERS and work <= MOST_WORK


def afford(numbers: int, what: str, instead: str, *, work: int = 0) -> None:
    """Refuse what is not `affordable`, in one sentence that ends with the nearest answer."""
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"{what} takes {_said(numbers)} numbers, more than the {MOST_NUMBERS:,} that one "
            f"question may hold: {instead}"
        )
    if work > MOST_WORK:
        raise ValueError(
            f"{what} takes {_said(work)} steps, more than the {MOST_WORK:,} of one question: "
            f"{instead}"
        )


def _said(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"about 10^{int(math.log10(number))}"
