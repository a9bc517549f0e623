"""Numbers in a few digits, rounded to the side on which the statement stays true.

>>> at_most(3.731905), at_least(3.66208, 3), at_most(float("inf"))
('3.73191', '3.66', 'inf')
>>> at_most(0.3290603, 3)
'0.33'
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from fractions import Fraction

__all__ = ["at_least", "at_most", "exactly"]


def _digits(value: float, digits: int, rounding: str) -> str:
    if math.isinf(value):
        return "inf"
    return f"{float(Context(digits, rounding).create_decimal_from_float(value)):.{digits}g}"


def at_most(value: float, digits: int = 6) -> str:
    """An upper bound in a few digits, rounded up: what is printed is still a bound."""
    return _digits(value, digits, ROUND_CEILING)


def at_least(value: float, digits: int = 6) -> str:
    """A lower bound in a few digits, rounded down."""
    return _digits(value, digits, ROUND_FLOOR)


def exactly(value: float | Fraction) -> str:
    """A number as a person would write it: `1e-05`, or `1/2975`; else rounded up.

    >>> exactly(Fraction(1, 2975)), exactly(1e-5), exactly(Fraction("1e-5"))
    ('1/2975', '1e-05', '1e-05')
    """
    short = f"{float(value):.6g}"
    if isinstance(value, float):
        return short if float(short) == value else at_most(value)
    if Fraction(short) == value:
        return short
    if value.denominator < 10**9:
        return f"{value.numerator}/{value.denominator}"
    near = float(value)
    return at_most(near if Fraction(near) >= value else math.nextafter(near, math.inf))
