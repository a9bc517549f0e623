"""Reading what others wrote: text in its encoding, numbers that are numbers, or one sentence.

>>> finite([1, 2.5], 2, "bbox", "object 7")
[1.0, 2.5]
>>> finite([1, "x"], 2, "bbox", "object 7")
Traceback (most recent call last):
    ...
ValueError: object 7: bbox must be 2 finite numbers, got [1, 'x']
>>> number("12,5", "a.xml, line 3: xmin")
Traceback (most recent call last):
    ...
ValueError: a.xml, line 3: xmin must be a finite number (with a point, not a comma), got '12,5'
"""

from __future__ import annotations

import codecs
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["finite", "identity", "image_size", "number", "points", "short", "text_of", "whole_size"]

# No image has as many pixels along an axis, and floats are exact up to here.
LARGEST = 1e15

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_of(path: Path) -> str:
    """The text of a file: UTF-8, or what its byte order mark says; line ends as they are."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(
            f"{path} is not a text file: UTF-8, or UTF-16 with a byte order mark, is expected"
        )
    return text


def _finite(value: Any) -> bool:
    # A whole number may be too long for a float.
    return type(value) in (int, float) and abs(value) < LARGEST and math.isfinite(value)


def finite(value: Any, count: int, name: str, owner: str) -> list[float]:
    """`value` as so many finite numbers of a size that pixels can have."""
    if isinstance(value, list) and len(value) == count and all(_finite(v) for v in value):
        return [float(v) for v in value]
    raise ValueError(f"{owner}: {name} must be {count} finite numbers, got {short(value)}")


def number(text: str, owner: str) -> float:
    """`text` as a finite number of a size that pixels can have."""
    try:
        # Python reads 1_000, which no annotation tool writes.
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if abs(value) < LARGEST:
        return value
    hint = " (with a point, not a comma)" if "," in text else ""
    raise ValueError(f"{owner} must be a finite number{hint}, got {short(text)}")


def image_size(height: Any, width: Any, owner: str) -> tuple[int, int] | None:
    """A size of positive whole numbers; None where neither is given."""
    if height is None and width is None:
        return None
    for value in (height, width):
        if not _finite(value) or value != int(value) or value < 1:
            raise ValueError(
                f"{owner}: height and width must be whole numbers of at least 1, "
                f"got {short(height)} and {short(width)}"
            )
    return int(height), int(width)


def whole_size(height: str | None, width: str | None, owner: str) -> tuple[int, int] | None:
    """`image_size` of texts."""
    if height is None and width is None:
        return None
    if height is None or width is None:
        raise ValueError(f"{owner}: of height and width only one is given")
    return image_size(number(height, f"{owner}: height"), number(width, f"{owner}: width"), owner)


def points(value: Any, name: str, owner: str) -> npt.NDArray[np.float64]:
    """Pairs of numbers, nested or flat, as an array of shape `(n, 2)`."""
    flat = value
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        if any(len(v) != 2 for v in value):
            flat = None
        else:
            flat = [entry for pair in value for entry in pair]
    if not isinstance(flat, list) or not flat or len(flat) % 2 or not all(map(_finite, flat)):
        raise ValueError(f"{owner}: {name} must be pairs of finite numbers, got {short(value)}")
    return np.array(flat, dtype=np.float64).reshape(-1, 2)


def identity(value: Any, name: str, owner: str) -> str | int:
    """What names a record: text or a whole number, which may be written as 1.0."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{owner}: {name} must be a whole number or text, got {short(value)}")
    return value


def short(value: Any) -> str:
    """A value for a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
