"""Validation shared by every constructor: one sentence that names argument, value and range."""

from __future__ import annotations

import math
import numbers
from fractions import Fraction

__all__ = ["count", "nonnegative", "positive", "probability", "round_up", "whole"]


def whole(name: str, value: object, *, least: int) -> int:
    """`value` as an int that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def count(name: str, value: object) -> int:
    """`value` as a positive int."""
    return whole(name, value, least=1)


def _finite(name: str, value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return number


def positive(name: str, value: object) -> float:
    """`value` as a finite float above 0."""
    number = _finite(name, value, "a finite number above 0")
    if number <= 0:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return number


def nonnegative(name: str, value: object) -> float:
    """`value` as a finite float of at least 0."""
    number = _finite(name, value, "a finite number of at least 0")
    if number < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return number


def probability(name: str, value: object, *, open_ends: bool = False) -> Fraction:
    """`value` as an exact fraction in (0, 1], or in (0, 1) with `open_ends`."""
    allowed = "strictly between 0 and 1" if open_ends else "above 0 and at most 1"
    if not isinstance(value, Fraction):
        value = Fraction(_finite(name, value, allowed))
    if not 0 < value <= 1 or (open_ends and value == 1):
        raise ValueError(f"{name} must be {allowed}, got {_readable(value)}")
    return value


def _readable(value: Fraction) -> str:
    return str(value) if value.denominator < 10**6 else repr(float(value))


def round_up(value: Fraction) -> float:
    """A float that is not below `value`: bounds stay bounds when they leave fractions."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)
