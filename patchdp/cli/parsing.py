"""Text and TOML values as what they say: sizes, numbers, patches; one sentence for all else.

>>> parse_size("image", "1024×2048"), parse_fraction("delta", "1/2975")
((1024, 2048), Fraction(1, 2975))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from patchdp import _checks
from patchdp._checks import shown
from patchdp.geometry import Disk, Mask, Patch
from patchdp.geometry.patch import PrivatePatch
from patchdp.geometry.sizes import as_region, as_size
from patchdp.guarantee import METHODS

__all__ = [
    "PARSERS",
    "parse_fraction",
    "parse_image",
    "parse_patch",
    "parse_positive",
    "parse_size",
]


def parse_size(name: str, value: Any) -> tuple[int, ...]:
    """`1024x2048` (or with `×`), or a list of whole numbers from TOML."""
    parts = value.lower().replace("×", "x").split("x") if isinstance(value, str) else value
    if isinstance(value, int) and not isinstance(value, bool):
        parts = [value]
    try:
        sizes = tuple(int(p) if isinstance(p, str) else p for p in parts)
    except (ValueError, TypeError):
        sizes = ()
    if not sizes or any(isinstance(s, bool) or not isinstance(s, int) for s in sizes):
        raise ValueError(f"{name} must be a size such as 1024x2048, got {shown(value)}")
    return as_size(name, sizes)


def parse_image(name: str, value: Any) -> Any:
    """One size or several."""
    sizes = list(value) if isinstance(value, list | tuple) else [value]
    if not sizes or all(isinstance(s, int) for s in sizes):
        return parse_size(name, sizes)
    parsed = [parse_size(name, s) for s in sizes]
    return parsed[0] if len(parsed) == 1 else parsed


def parse_fraction(name: str, value: Any) -> Fraction:
    """A number, or a quotient such as `1/2975`, exactly as it is written."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        if isinstance(value, str) and "/" in value:
            return Fraction(value)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise ValueError(
            f"{name} must be a number such as 1e-5 or 1/2975, got {shown(value)}"
        ) from None
    # Spelled out, an exponent of a billion would fill the memory with zeros.
    return Fraction(value) if _told_from_0(name, value, number) else Fraction(0)


def _told_from_0(name: str, value: Any, number: float) -> bool:
    """Whether a number is not 0; one that only rounds to it is refused."""
    written = value.lower().split("e")[0] if isinstance(value, str) else ""
    if number == 0 and any(digit in written for digit in "123456789"):
        raise ValueError(f"{name} must be 0 or at least 5e-324 in size, got {shown(value)}")
    return number != 0


def parse_number(name: str, value: Any) -> float:
    """A finite number."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be a finite number, got {shown(value)}") from None
    _told_from_0(name, value, number)
    return number


def parse_whole(name: str, value: Any, *, least: int = 1) -> int:
    """A whole number: also one that is written `1e3`."""
    number = parse_number(name, value)
    if number != int(number):
        raise ValueError(f"{name} must be a whole number, got {shown(value)}")
    exact = value if isinstance(value, int) else int(Fraction(str(value)))
    return _checks.whole(name, exact, least=least)


def parse_padding(name: str, value: Any) -> Any:
    """One number of pixels, or a pair per axis."""
    if not isinstance(value, list):
        return parse_whole(name, value, least=0)
    if not all(isinstance(v, int) or (isinstance(v, list) and len(v) == 2) for v in value):
        raise ValueError(
            f"{name} must be a number of pixels, or one [before, after] pair per axis, "
            f"got {shown(value)}"
        )
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)


def parse_within(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """`512:1024,0:2048`, or a list of pairs."""
    try:
        if isinstance(value, str):
            value = [[int(v) for v in part.split(":")] for part in value.split(",")]
        pairs = tuple((start, stop) for start, stop in value)
        if any(type(v) is not int for pair in pairs for v in pair):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError(
            f"{name} must be START:STOP per axis such as 512:1024,0:2048, got {shown(value)}"
        ) from None
    return as_region(name, pairs, None)


def parse_patch(name: str, value: Any, within: Any = None) -> PrivatePatch:
    """A size, `disk:RADIUS`, or a mask in a file."""
    if isinstance(value, str) and value.startswith("disk:"):
        radius = parse_whole("disk radius", value.removeprefix("disk:"), least=0)
        return Disk(radius, within=within)
    if isinstance(value, str) and value.endswith(".npy"):
        return Mask(_read_mask(name, value), within=within)
    return Patch(parse_size(name, value), within=within)


def _read_mask(name: str, path: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    try:
        # Read here: numpy guesses what another kind of file may be, and advises to trust it.
        with Path(path).open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise ValueError(f"{name} {path} cannot be read: {error.strerror}") from None
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError):
        raise ValueError(
            f"{name} {path} is not an array of booleans as numpy.save writes it"
        ) from None
    if array.dtype.kind not in "biu":
        raise ValueError(f"{name} {path} must hold booleans or whole numbers, got {array.dtype}")
    return array.astype(np.bool_)


def _noise(name: str, value: Any) -> float:
    return _checks.nonnegative(name, parse_number(name, value))


def _chance(name: str, value: Any) -> Fraction:
    return _checks.probability(name, parse_fraction(name, value))


def _delta(name: str, value: Any) -> Fraction:
    return _checks.probability(name, parse_fraction(name, value), open_ends=True)


def parse_positive(name: str, value: Any) -> float:
    """A number above 0; a quotient that is no float is rounded down."""
    quotient = isinstance(value, str) and "/" in value
    return _checks.positive(name, (parse_fraction if quotient else parse_number)(name, value))


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    return lambda name, value: _checks.choice(name, value, allowed)


# How the value of each key is read; each refuses in one sentence what is not of its kind.
PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "image": parse_image,
    "crop": parse_size,
    "padding": parse_padding,
    "patch": parse_patch,
    "within": parse_within,
    "sampling": _one_of("poisson", "fixed", "allocation", "shuffle"),
    "batch_size": parse_whole,
    "dataset_size": parse_whole,
    "sampling_probability": _chance,
    "steps": parse_whole,
    "epochs": parse_whole,
    "noise_multiplier": _noise,
    "images_per_person": parse_whole,
    "views": parse_whole,
    "views_clipped": _one_of("together", "summed", "averaged"),
    "pixel_noise": parse_positive,
    "pixel_channels": parse_whole,
    "pixel_range": parse_positive,
    "delta": _delta,
    "epsilon": parse_positive,
    "method": _one_of(*METHODS),
    "tolerance": parse_positive,
    "neighbours": _one_of("replaced", "omitted"),
}
