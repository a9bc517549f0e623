"""Windows along one axis, and how many of them touch an interval: plain integer counting.

>>> from patchdp.geometry.windows import AxisWindows
>>> rows = AxisWindows(length=505, first=0, last=519)     # 505 rows out of 1024
>>> rows.hits(0, 10), rows.hits(507, 517), rows.total     # at the border, in the middle, of all
(10, 514, 520)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["AxisWindows"]


@dataclass(frozen=True)
class AxisWindows:
    """Windows of one length whose first pixel is uniform on `first`, ..., `last`.

    >>> AxisWindows(length=3, first=-1, last=2).hits(0, 1)
    2

    Positions are pixels of the image; a negative one lies in the padding before it.

    Args:
        length: pixels in a window.
        first: smallest first pixel of a window.
        last: largest first pixel of a window.
    """

    length: int
    first: int
    last: int

    @property
    def total(self) -> int:
        """Number of windows."""
        return self.last - self.first + 1

    def hits(self, start: int, stop: int) -> int:
        """Number of windows that contain a pixel of `start`, ..., `stop - 1`."""
        return max(0, min(self.last, stop - 1) - max(self.first, start - self.length + 1) + 1)

    def hits_at(
        self, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """`hits` of many intervals at once: arrays of one shape in, counts of that shape out."""
        last = np.minimum(self.last, stops - 1)
        counts: npt.NDArray[np.int64] = last - np.maximum(self.first, starts - self.length + 1) + 1
        return np.maximum(counts, 0)

    def worst(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        """The largest `hits` of an interval of `width` pixels, and the first start that has it.

        The start ranges over `lowest`, ..., `highest`. As a function of the start the count rises
        by one, stays, and falls by one: it is enough to look where it stops rising.
        """
        stops_rising = min(self.last - width + 1, self.first + self.length - 1)
        start = min(max(stops_rising, lowest), highest)
        most = self.hits(start, start + width)
        return (most, start) if most else (0, lowest)
