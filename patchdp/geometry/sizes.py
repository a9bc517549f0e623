"""Reading sizes, corners and regions: tuples of whole numbers, one entry per axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeAlias

import numpy as np

from patchdp._checks import MOST, shown, whole

__all__ = [
    "ImageSizes",
    "Interval",
    "Size",
    "as_corner",
    "as_images",
    "as_pairs",
    "as_region",
    "as_size",
    "as_tuple",
    "spelled",
]

Size: TypeAlias = tuple[int, ...]
Interval: TypeAlias = tuple[int, int]
ImageSizes: TypeAlias = Sequence[int] | Iterable[Sequence[int]]


def spelled(size: Iterable[int]) -> str:
    """A size as people write it.

    >>> spelled((1024, 2048))
    '1024x2048'
    """
    return "x".join(str(length) for length in size)


def as_tuple(value: object) -> tuple[object, ...] | None:
    """The entries of something in order; None where it has none, or no order."""
    unordered = isinstance(value, str | bytes | Mapping | Set)
    number = isinstance(value, np.ndarray) and value.ndim == 0
    return tuple(value) if isinstance(value, Iterable) and not unordered and not number else None


def _entries(name: str, value: object, example: str) -> tuple[object, ...]:
    entries = as_tuple(value)
    if entries is None:
        raise ValueError(
            f"{name} must be a tuple with one entry per axis, as {example}, got {shown(value)}"
        )
    if not entries:
        raise ValueError(f"{name} must have at least one axis, as {example}, got {value!r}")
    return entries


def as_size(name: str, value: object, *, least: int = 1) -> Size:
    """`value` as a tuple of ints of at least `least`, one per axis."""
    if type(value) is tuple and value and all(type(n) is int and least <= n <= MOST for n in value):
        return value
    return tuple(whole(name, entry, least=least) for entry in _entries(name, value, "(64, 64)"))


def as_corner(name: str, value: object, axes: int | None) -> Size:
    """`value` as the first corner of something: ints of at least 0, one per axis."""
    corner = as_size(name, value, least=0)
    if axes is not None and len(corner) != axes:
        raise ValueError(f"{name} must have {axes} axes, one per axis of the patch, got {corner}")
    return corner


def as_pairs(value: object) -> list[tuple[object, object]] | None:
    """`value` as pairs, of whatever they hold; None where it is something else."""
    pairs: list[tuple[object, object]] = []
    for entry in as_tuple(value) or ():
        pair = as_tuple(entry)
        if pair is None or len(pair) != 2:
            return None
        pairs.append((pair[0], pair[1]))
    return pairs or None


def as_region(name: str, value: object, axes: int | None) -> tuple[Interval, ...]:
    """`value` as half-open (start, stop) pairs, one per axis."""
    pairs = as_pairs(value)
    if pairs is None:
        raise ValueError(f"{name} must hold one (start, stop) pair per axis, got {shown(value)}")
    region: list[Interval] = []
    for pair in pairs:
        start = whole(f"{name} start", pair[0], least=0)
        region.append((start, whole(f"{name} stop", pair[1], least=start + 1)))
    if axes is not None and len(region) != axes:
        raise ValueError(
            f"{name} must have {axes} axes, one per axis of the patch, got {shown(value)}"
        )
    return tuple(region)


def as_images(image: ImageSizes) -> list[Size]:
    """One size or many as a list of distinct sizes, in the order given."""
    if type(image) is tuple and image and type(image[0]) is int:
        return [as_size("image", image)]
    entries = as_tuple(image)
    if entries is None:
        raise ValueError(
            f"image must be a size as (1024, 2048), or a list of sizes, got {shown(image)}"
        )
    if not entries or as_tuple(entries[0]) is None:
        return [as_size("image", entries)]
    sizes = list(dict.fromkeys(as_size("image", entry) for entry in entries))
    axes = {len(size) for size in sizes}
    if len(axes) > 1:
        raise ValueError(f"image sizes must have the same number of axes, got {sorted(axes)}")
    return sizes
