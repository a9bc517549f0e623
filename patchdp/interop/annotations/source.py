"""Reading what others wrote: text as it is, numbers that are numbers, or one sentence.

>>> finite([1, 2.5], 2, "bbox", "object 7")
[1.0, 2.5]
>>> finite([1, "x"], 2, "bbox", "object 7")
Traceback (most recent call last):
    ...
ValueError: object 7: bbox must be 2 finite numbers, got [1, 'x']
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["finite", "image_size", "points", "text_of"]


def text_of(path: Path) -> str:
    """The text of a file, as UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a UTF-8 text file") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _number(value: Any) -> bool:
    # A whole number may be too long for a float.
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)


def finite(value: Any, count: int, name: str, owner: str) -> list[float]:
    """`value` as so many finite numbers of a size that pixels can have."""
    if isinstance(value, list) and len(value) == count and all(_number(v) for v in value):
        return [float(v) for v in value]
    raise ValueError(f"{owner}: {name} must be {count} finite numbers, got {_short(value)}")


def image_size(height: Any, width: Any, owner: str) -> tuple[int, int] | None:
    """A size of positive whole numbers; None where neither is given."""
    if height is None and width is None:
        return None
    for value in (height, width):
        if not _number(value) or value != int(value) or value < 1:
            raise ValueError(
                f"{owner}: height and width must be whole numbers of at least 1, "
                f"got {_short(height)} and {_short(width)}"
            )
    return int(height), int(width)


def points(value: Any, name: str, owner: str) -> npt.NDArray[np.float64]:
    """Pairs of numbers, nested or flat, as an array of shape `(n, 2)`."""
    flat = value
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        if any(len(v) != 2 for v in value):
            flat = None
        else:
            flat = [number for pair in value for number in pair]
    if not isinstance(flat, list) or not flat or len(flat) % 2 or not all(map(_number, flat)):
        raise ValueError(f"{owner}: {name} must be pairs of finite numbers, got {_short(value)}")
    return np.array(flat, dtype=np.float64).reshape(-1, 2)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
