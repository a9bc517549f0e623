"""How many windows touch each translate of a pixel set: one dilation, then box sums.

A window of length `c` that starts at `o` contains a pixel of `M + t` exactly when `o - t` lies in
the Minkowski sum of `M` with `{-(c-1), ..., 0}` on every axis. That set is computed once; the
number of its points in `{first - t, ..., last - t}` is a box sum, for all `t` together.
Source: `docs/theory/geometry.md`, "Arbitrary pixel sets" (Theorem 4).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from patchdp._budget import STEP, affordable
from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.reading import ReadWindows
from patchdp.geometry.sizes import Interval, Size
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows, SpacedWindows

__all__ = ["few_corners", "mask_hits", "mask_map", "mask_share", "mask_work", "union_hits"]

Plain = AxisWindows | SpacedWindows
Part = Plain | ReadWindows


def few_corners(
    shape: Size, windows: Sequence[Plain], corners: Sequence[Interval]
) -> list[Interval]:
    """The corners among which the first of the worst is, for any set of pixels of that shape.

    >>> few_corners((3,), [AxisWindows(length=2, first=0, last=100)], [(0, 99)])
    [(0, 1)]

    Where along an axis all windows that could touch the set exist, it does not matter where the
    set is: the first such corner will do for all of them and those after it.
    """
    found = []
    for size, law, (lowest, highest) in zip(shape, windows, corners, strict=True):
        # The set at t is touched by windows from t - length + 1 to t + size - 1.
        full = max(lowest, law.first + law.length - 1)
        inside = isinstance(law, AxisWindows) and full + size - 1 <= law.last
        found.append((lowest, min(highest, full) if inside else highest))
    return found


def mask_work(
    shape: Size, windows: Sequence[Plain], corners: Sequence[Interval]
) -> tuple[int, int]:
    """Numbers that `mask_hits` holds in its largest array, and numbers it touches."""
    counts = [n + law.length - 1 for n, law in zip(shape, windows, strict=True)]
    held = work = math.prod(counts)
    for axis, (lowest, highest) in enumerate(corners):
        counts[axis] = highest - lowest + 1
        here = math.prod(counts)
        held, work = max(held, here), work + here * _stretch_count(windows[axis])
    return held, work


def mask_hits(
    pixels: npt.NDArray[np.bool_],
    windows: Sequence[Plain],
    corners: Sequence[Interval],
) -> npt.NDArray[np.int64]:
    """Number of windows that contain a pixel of the set, for every first corner.

    >>> import numpy as np
    >>> windows = [AxisWindows(length=2, first=0, last=2)]
    >>> mask_hits(np.array([True, False, True]), windows, [(0, 1)])
    array([3, 3])

    Args:
        pixels: boolean array, true inside the set.
        windows: the windows along each axis.
        corners: the first and the last position of the set's first corner, inclusive, per axis.

    Returns:
        Exact counts, of the shape of the range of corners.
    """
    touched = pixels
    for axis, law in enumerate(windows):
        touched = _window_sums(touched, axis, _sides(touched.shape[axis], law.length)) > 0
    counts: npt.NDArray[np.int64] = touched.astype(np.int64)
    for axis, (law, (lowest, highest)) in enumerate(zip(windows, corners, strict=True)):
        shift = law.length - 1 - np.arange(lowest, highest + 1, dtype=np.int64)
        size, prefix = counts.shape[axis], _prefix_sums(counts, axis)
        counts = np.zeros((1,), dtype=np.int64)
        for first, last in _stretches(law):
            start = np.clip(first + shift, 0, size)
            stop = np.maximum(start, np.clip(last + shift + 1, 0, size))
            counts = counts + _between(prefix, axis, (start, stop))
    return counts


def union_hits(
    boxes: Sequence[tuple[Size, Size]], windows: Sequence[AxisWindows]
) -> tuple[int, int] | None:
    """Number of windows that contain a pixel of one of the boxes, and of all windows.

    >>> rows = AxisWindows(length=2, first=0, last=6)
    >>> union_hits([((0,), (1,)), ((5,), (3,))], [rows])
    (4, 7)

    Each box is hit from a box of first pixels; the union of those is counted on the grid of their
    ends. None where there are too many boxes.

    Args:
        boxes: first corner and size of each.
        windows: the windows along each axis.
    """
    axes = range(len(windows))
    if not affordable((2 * len(boxes) + 1) ** len(axes), STEP * len(boxes) * 2 ** len(axes)):
        return None
    ends = [
        [
            (max(law.first, at[k] - law.length + 1), min(law.last, at[k] + size[k] - 1) + 1)
            for at, size in boxes
        ]
        for k, law in enumerate(windows)
    ]
    edges = [sorted({e for pair in pairs for e in pair}) for pairs in ends]
    begun = np.zeros([len(line) for line in edges], dtype=np.int64)
    for pairs in zip(*ends, strict=True):
        if all(start < stop for start, stop in pairs):
            for corner in itertools.product((0, 1), repeat=len(axes)):
                index = tuple(edges[k].index(pairs[k][side]) for k, side in enumerate(corner))
                begun[index] += (-1) ** sum(corner)
    for axis in axes:
        begun = np.cumsum(begun, axis=axis)
    # Lengths beyond 64 bits are multiplied as Python's own numbers, one axis at a time.
    count: Any = (begun > 0).astype(object)
    for line in edges:
        widths = np.array([b - a for a, b in itertools.pairwise(line)] + [0], dtype=object)
        count = np.tensordot(widths, count, axes=(0, 0))
    return int(count), math.prod(law.total for law in windows)


def _stretches(law: Plain) -> list[Interval]:
    """Runs of equally likely first pixels that make up the law."""
    if isinstance(law, AxisWindows):
        return [(law.first, law.last)]
    runs = _stretch_count(law)
    ahead = law.total // runs - 1
    starts = (law.first + k * law.stride for k in range(runs))
    return [(start, start + ahead) for start in starts]


def _stretch_count(law: Plain) -> int:
    if isinstance(law, AxisWindows):
        return 1
    # Shifts and tiles of a stride of 1 are the same thing.
    return min(law.tiles, law.shifts) if law.stride == 1 else law.tiles


def mask_map(
    law: WindowLaw,
    pixels: npt.NDArray[np.bool_],
    image: Size,
    corners: Sequence[Interval],
) -> Floats | None:
    """Probability that a window hits the set, for every first corner, under a mixture.

    None where the law has parts that cannot be counted for an arbitrary shape, or too many.
    """
    result = np.zeros(tuple(highest - lowest + 1 for lowest, highest in corners))
    components = _components(law, pixels.shape, image, corners)
    if components is None:
        return None
    for weight, laws in components:
        total = math.prod(part.total for part in laws)
        result += float(weight) * (_read_hits(pixels, laws, image, corners) / total)
    return result


def mask_share(
    law: WindowLaw,
    pixels: npt.NDArray[np.bool_],
    image: Size,
    corners: Sequence[Interval],
) -> Fraction:
    """`mask_map` at a single corner, as a fraction."""
    components = _components(law, pixels.shape, image, corners)
    assert components is not None
    share = Fraction(0)
    for weight, laws in components:
        count = int(_read_hits(pixels, laws, image, corners).item())
        share += Fraction(weight) * Fraction(count, math.prod(part.total for part in laws))
    return share


def _components(
    law: WindowLaw, shape: Size, image: Size, corners: Sequence[Interval]
) -> list[tuple[Fraction | float, tuple[Part, ...]]] | None:
    places = math.prod(highest - lowest + 1 for lowest, highest in corners)
    mixed = len(law.weights) * math.prod(max(p.width for p in laws) for laws in law.axes)
    # The least that any of them costs, before they are listed.
    if not affordable(0, mixed * (STEP + places)):
        return None
    found: list[tuple[Fraction | float, tuple[Part, ...]]] = []
    total = 0
    for weight, component in zip(law.weights, law.index.tolist(), strict=True):
        alternatives = [_unmixed(law.axes[axis][k]) for axis, k in enumerate(component)]
        for choice in itertools.product(*alternatives):
            parts = tuple(p for _, p in choice if _is_counted(p))
            if len(parts) < len(choice):
                return None
            held, work = _read_work(parts, shape, image, corners)
            total += work
            if not affordable(held, total):
                return None
            found.append((weight * math.prod([w for w, _ in choice]), parts))
    return found


# Calls of numpy for one place that is read through copies or resizing.
_CALLS = 16


def _read_work(
    parts: Sequence[Part], shape: Size, image: Size, corners: Sequence[Interval]
) -> tuple[int, int]:
    plain = [part.windows if isinstance(part, ReadWindows) else part for part in parts]
    windows = [part for part in plain if isinstance(part, Plain)]
    if not any(isinstance(part, ReadWindows) for part in parts):
        return mask_work(shape, windows, corners)
    places = math.prod(highest - lowest + 1 for lowest, highest in corners)
    read = tuple(
        len(part.reading.low) if isinstance(part, ReadWindows) else n
        for part, n in zip(parts, image, strict=True)
    )
    held, work = mask_work(read, windows, [(0, 0)] * len(windows))
    return max(held, math.prod(image)), places * (_CALLS * STEP + work + math.prod(image))


def _is_counted(part: AxisLaw) -> TypeGuard[Part]:
    return isinstance(part.windows if isinstance(part, ReadWindows) else part, Plain)


def _unmixed(law: AxisLaw) -> list[tuple[Fraction, AxisLaw]]:
    if isinstance(law, AxisMixture):
        return list(zip(law.weights, law.parts, strict=True))
    return [(Fraction(1), law)]


def _read_hits(
    pixels: npt.NDArray[np.bool_],
    laws: Sequence[Part],
    image: Size,
    corners: Sequence[Interval],
) -> npt.NDArray[np.int64]:
    """`mask_hits` where some axes read the image through copies or resizing.

    The coordinates that read a pixel of the set are a set again, in coordinates of the axes that
    are cropped; it depends on the place, so places are taken one by one.
    """
    windows = [part.windows if isinstance(part, ReadWindows) else part for part in laws]
    plain = [law for law in windows if isinstance(law, Plain)]
    if not any(isinstance(part, ReadWindows) for part in laws):
        return mask_hits(pixels, plain, corners)
    counts = np.zeros(tuple(high - low + 1 for low, high in corners), dtype=np.int64)
    for index in np.ndindex(counts.shape):
        place = [low + k for k, (low, _) in zip(index, corners, strict=True)]
        touched = np.zeros(image, dtype=np.bool_)
        cut = (slice(at, at + n) for at, n in zip(place, pixels.shape, strict=True))
        touched[tuple(cut)] = pixels
        begins = []
        for axis, part in enumerate(laws):
            begins.append(0)
            if isinstance(part, ReadWindows):
                reading = part.reading
                begins[-1] = reading.begin
                touched = _window_sums(touched, axis, (reading.low, reading.high)) > 0
        counts[index] = mask_hits(touched, plain, [(b, b) for b in begins]).item()
    return counts


def _sides(size: int, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # Entry k of the dilated axis gathers the entries k - length + 1, ..., k.
    k = np.arange(size + length - 1, dtype=np.int64)
    return np.maximum(k - length + 1, 0), np.minimum(k + 1, size)


def _window_sums(
    values: npt.NDArray[np.int64] | npt.NDArray[np.bool_],
    axis: int,
    sides: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    return _between(_prefix_sums(values, axis), axis, sides)


def _prefix_sums(
    values: npt.NDArray[np.int64] | npt.NDArray[np.bool_], axis: int
) -> npt.NDArray[np.int64]:
    shape = list(values.shape)
    shape[axis] += 1
    prefix = np.zeros(shape, dtype=np.int64)
    inner = tuple(slice(1, None) if k == axis else slice(None) for k in range(values.ndim))
    np.cumsum(values, axis=axis, dtype=np.int64, out=prefix[inner])
    return prefix


def _between(
    prefix: npt.NDArray[np.int64],
    axis: int,
    sides: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    start, stop = sides
    sums: npt.NDArray[np.int64] = np.take(prefix, stop, axis=axis)
    return sums - np.take(prefix, start, axis=axis)
