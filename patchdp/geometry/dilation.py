"""How many windows touch each translate of a pixel set: one dilation, then box sums.

A window of length `c` that starts at `o` contains a pixel of `M + t` exactly when `o - t` lies in
the Minkowski sum of `M` with `{-(c-1), ..., 0}` on every axis. That set is computed once; the
number of its points in `{first - t, ..., last - t}` is a box sum, for all `t` together.
Source: `docs/theory.md`, "Geometry" (Theorem 4).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.reading import ReadWindows
from patchdp.geometry.sizes import Interval, Size
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows

__all__ = ["mask_hits", "mask_map", "mask_share"]

# Array entries that counting a shape under one law may touch, some seconds' worth.
MOST_ENTRIES = 400_000_000


def mask_hits(
    pixels: npt.NDArray[np.bool_],
    windows: Sequence[AxisWindows],
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
        size = counts.shape[axis]
        start = np.clip(law.first + shift, 0, size)
        stop = np.clip(law.last + shift + 1, 0, size)
        counts = _window_sums(counts, axis, (start, np.maximum(start, stop)))
    return counts


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


_Part = AxisWindows | ReadWindows


def _components(
    law: WindowLaw, shape: Size, image: Size, corners: Sequence[Interval]
) -> list[tuple[Fraction | float, tuple[_Part, ...]]] | None:
    places = math.prod(highest - lowest + 1 for lowest, highest in corners)
    entries = places + math.prod(image) + math.prod(shape)
    read = any(isinstance(part, ReadWindows) for laws in law.axes for part in laws)
    cost = entries * (places if read else 1)
    mixed = math.prod(max(part.width for part in laws) for laws in law.axes)
    if cost * mixed * len(law.weights) > MOST_ENTRIES:
        return None
    found: list[tuple[Fraction | float, tuple[_Part, ...]]] = []
    for weight, component in zip(law.weights, law.index.tolist(), strict=True):
        alternatives = [_unmixed(law.axes[axis][k]) for axis, k in enumerate(component)]
        for choice in itertools.product(*alternatives):
            parts = tuple(p for _, p in choice if _is_counted(p))
            if len(parts) < len(choice):
                return None
            found.append((weight * math.prod([w for w, _ in choice]), parts))  # type: ignore[arg-type]
    return found


def _is_counted(part: AxisLaw) -> bool:
    if isinstance(part, ReadWindows):
        return isinstance(part.windows, AxisWindows)
    return isinstance(part, AxisWindows)


def _unmixed(law: AxisLaw) -> list[tuple[Fraction, AxisLaw]]:
    if isinstance(law, AxisMixture):
        return list(zip(law.weights, law.parts, strict=True))
    return [(Fraction(1), law)]


def _read_hits(
    pixels: npt.NDArray[np.bool_],
    laws: Sequence[_Part],
    image: Size,
    corners: Sequence[Interval],
) -> npt.NDArray[np.int64]:
    """`mask_hits` where some axes read the image through copies or resizing.

    The coordinates that read a pixel of the set are a set again, in coordinates of the axes that
    are cropped; it depends on the place, so places are taken one by one.
    """
    windows = [part.windows if isinstance(part, ReadWindows) else part for part in laws]
    plain = [law for law in windows if isinstance(law, AxisWindows)]
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
    shape = list(values.shape)
    shape[axis] += 1
    prefix = np.zeros(shape, dtype=np.int64)
    inner = tuple(slice(1, None) if k == axis else slice(None) for k in range(values.ndim))
    np.cumsum(values, axis=axis, dtype=np.int64, out=prefix[inner])
    start, stop = sides
    return np.take(prefix, stop, axis=axis) - np.take(prefix, start, axis=axis)
