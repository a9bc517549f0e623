"""How many windows touch each translate of a pixel set: one dilation, then box sums.

A window of length `c` that starts at `o` contains a pixel of `M + t` exactly when `o - t` lies in
the Minkowski sum of `M` with `{-(c-1), ..., 0}` on every axis. That set is computed once; the
number of its points in `{first - t, ..., last - t}` is a box sum, for all `t` together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.geometry.sizes import Interval
from patchdp.geometry.windows import AxisWindows

__all__ = ["mask_hits"]


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
