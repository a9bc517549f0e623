"""The door: what comes in becomes a plain `int`, `float` or `Fraction` once, or is refused.

Every constructor stores, and every function uses, what these functions return: nothing further in
meets a number type of another library, whose arithmetic may wrap around or round to few digits.
A refusal is one sentence that names argument, value and range.

>>> import numpy as np
>>> whole("steps", np.uint8(100), least=1) * 5
500
>>> positive("noise_multiplier", np.float16(1.5))
1.5
>>> count("steps", True)
Traceback (most recent call last):
    ...
ValueError: steps must be a whole number of at least 1, got True
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST",
    "chance",
    "choice",
    "count",
    "exactly_positive",
    "extended",
    "flag",
    "floats",
    "integers",
    "nonnegative",
    "positive",
    "probability",
    "round_down",
    "round_up",
    "share",
    "shown",
    "whole",
]

Exact: TypeAlias = int | float | Fraction
Text = TypeVar("Text", bound=str)

# Whole numbers stop here: sums of a few of them fit 64-bit integers, no training has as many steps
# and no image as many pixels along an axis.
MOST = 1 << 60
# Longest value that a message repeats.
_LONGEST = 60
_LARGEST = sys.float_info.max


def shown(value: object) -> str:
    """A value as a message names it: on one line, and not longer than it takes to know it again.

    >>> shown(10**5000), shown(Fraction(1, 3)), shown(Fraction(0.1))
    ('a whole number of about 5001 digits', '1/3', '0.1')
    """
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of about {_digits(value)} digits"
    if isinstance(value, Fraction):
        if value.denominator < 10**6 and value.numerator < 10**40:
            return str(value)
        if abs(value) > _LARGEST:
            return f"a fraction of about {_digits(int(value))} digits"
        value = float(value)
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a container of whole numbers too long to print
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _digits(value: int) -> int:
    # Python refuses to print the longest ones.
    return int(value.bit_length() * math.log10(2)) + 1


def _plain(value: object) -> Exact | None:
    """`value` as a plain number of exactly the same value; None where it is no real number."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    # Durations count as integers to numpy.
    if isinstance(value, bool | np.bool_ | np.timedelta64):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    return _of_numpy(value) if isinstance(value, np.floating) else None


def _of_numpy(value: np.floating[Any]) -> float | Fraction:
    if not np.isfinite(value):
        return math.nan
    exact = Fraction(*map(int, value.as_integer_ratio()))
    number = _nearest(exact)
    return number if math.isfinite(number) and Fraction(number) == exact else exact


def _nearest(value: int | Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def round_up(value: Fraction | int) -> float:
    """A float that is not below `value`: bounds stay bounds when they leave fractions."""
    nearest = _nearest(value)
    if math.isinf(nearest):
        return nearest if nearest > 0 else -_LARGEST
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def round_down(value: Fraction | int) -> float:
    """A float that is not above `value`."""
    return -round_up(-value)


def _rounded(value: Exact, up: bool) -> float:
    if isinstance(value, float):
        return value
    return round_up(value) if up else round_down(value)


def whole(name: str, value: object, *, least: int, most: int = MOST) -> int:
    """`value` as an int from `least` to `most`."""
    number = _plain(value)
    if not isinstance(number, int) or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {shown(value)}")
    if number > most:
        limit = "2**60" if most == MOST else str(most)
        raise ValueError(f"{name} must be a whole number of at most {limit}, got {shown(value)}")
    return number


def count(name: str, value: object) -> int:
    """`value` as a positive int."""
    return whole(name, value, least=1)


def _finite(name: str, value: object, allowed: str) -> Exact:
    number = _plain(value)
    if number is None or (isinstance(number, float) and not math.isfinite(number)):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def _at_least_0(name: str, value: object, *, up: bool, open_end: bool) -> float:
    allowed = f"a finite number {'above' if open_end else 'of at least'} 0"
    exact = _finite(name, value, allowed)
    number = _rounded(exact, up)
    if not 0 <= exact <= _LARGEST or (open_end and exact == 0):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    if number == 0 and exact > 0:
        raise ValueError(f"{name} must be 5e-324, the smallest float, or more, got less")
    return number


def positive(name: str, value: object, *, up: bool = False) -> float:
    """`value` as a finite float above 0: rounded down where it is no float, or with `up` up."""
    return _at_least_0(name, value, up=up, open_end=True)


def nonnegative(name: str, value: object, *, up: bool = False) -> float:
    """`value` as a finite float of at least 0: rounded down where it is no float, or up."""
    return _at_least_0(name, value, up=up, open_end=False)


def exactly_positive(name: str, value: object, *, zero: bool = False) -> Exact:
    """`value` as a plain number above 0, or of at least 0 with `zero`, of the same value."""
    allowed = f"a finite number {'of at least' if zero else 'above'} 0"
    number = _finite(name, value, allowed)
    if number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def chance(name: str, value: object, *, open_ends: bool = False) -> float | Fraction:
    """`value` as a float or fraction of the same value in (0, 1], or in (0, 1) with `open_ends`."""
    allowed = "strictly between 0 and 1" if open_ends else "above 0 and at most 1"
    number = _finite(name, value, allowed)
    if not 0 < number <= 1 or (open_ends and number == 1):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return float(number) if isinstance(number, int) else number


def probability(name: str, value: object, *, open_ends: bool = False) -> Fraction:
    """`value` as an exact fraction in (0, 1], or in (0, 1) with `open_ends`."""
    return Fraction(chance(name, value, open_ends=open_ends))


def share(name: str, value: object) -> float | Fraction:
    """`value` as a float or fraction of the same value in [0, 1]."""
    number = _finite(name, value, "between 0 and 1")
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be between 0 and 1, got {shown(value)}")
    return float(number) if isinstance(number, int) else number


def extended(name: str, value: object) -> float:
    """`value` as a float, infinities among them: rounded down where it is none."""
    number = _plain(value)
    if number is None or (isinstance(number, float) and math.isnan(number)):
        raise ValueError(f"{name} must be a number, got {shown(value)}")
    return _rounded(number, up=False)


def flag(name: str, value: object) -> bool:
    """`value` as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def choice(name: str, value: object, allowed: Sequence[Text]) -> Text:
    """The entry of `allowed` that equals `value`."""
    for known in allowed:
        if isinstance(value, str) and value == known:
            return known
    raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")


def floats(
    name: str,
    value: object,
    allowed: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    up: bool = False,
) -> npt.NDArray[np.float64]:
    """A number or numbers of any type and shape as an array of finite floats in a closed range.

    What is no float is rounded down, or with `up` up; `allowed` says in words what may come in.
    """
    array = _array(value)
    if array is not None and array.dtype.kind == "f" and array.dtype.itemsize <= 8:
        found = array.astype(np.float64)
    else:
        entries = _each(array, _plain)
        if entries is None:
            raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
        # The range is asked of the values themselves: rounding must not bring one inside.
        if not all(least <= entry <= most for entry in entries.flat):
            raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
        found = np.array([_rounded(entry, up) for entry in entries.flat], dtype=np.float64)
        found = found.reshape(entries.shape)
    if not np.all(np.isfinite(found) & (found >= least) & (found <= most)):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return found


def integers(name: str, value: object, allowed: str) -> npt.NDArray[np.int64]:
    """Whole numbers of any type and shape as an array of 64-bit integers, `MOST` in size at most.

    `allowed` says in words what may come in.
    """
    array = _array(value)
    if array is None or array.dtype.kind not in "iuO":
        # An empty list has no type of its own.
        if array is not None and array.size == 0 and isinstance(value, Sequence):
            return np.zeros(array.shape, dtype=np.int64)
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    if array.dtype.kind == "O":
        entries = _each(array, lambda entry: n if isinstance(n := _plain(entry), int) else None)
    else:
        entries = array
    if entries is None or (entries.size and not -MOST <= entries.min() <= entries.max() <= MOST):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return entries.astype(np.int64)


def _array(value: object) -> npt.NDArray[Any] | None:
    """`value` as an array, its entries as they came; None where it is none."""
    if isinstance(value, str | bytes):
        return None
    try:
        # Left to itself numpy makes one type of many: True becomes 1.0, and a huge int a float.
        return np.asarray(value) if hasattr(value, "__array__") else np.array(value, dtype=object)
    except (ValueError, TypeError, RuntimeError):  # rows that differ, a tensor with a gradient
        return None


def _each(
    array: npt.NDArray[Any] | None, change: Callable[[object], Exact | None]
) -> npt.NDArray[Any] | None:
    """An object array of what `change` makes of every entry; None where one has no answer."""
    if array is None or array.dtype.kind in "mM":
        return None
    found = np.empty(array.shape, dtype=object)
    for index, entry in np.ndenumerate(array):
        number = change(entry)
        if number is None:
            return None
        found[index] = number
    return found
