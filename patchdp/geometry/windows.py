"""Windows along one axis, and how many of them touch an interval: plain integer counting.

>>> from patchdp.geometry.windows import AxisWindows
>>> rows = AxisWindows(length=505, first=0, last=519)     # 505 rows out of 1024
>>> rows.hits(0, 10), rows.hits(507, 517), rows.total     # at the border, in the middle, of all
(10, 514, 520)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["AxisLaw", "AxisMixture", "AxisWindows", "Counts", "WeightedWindows", "Windows", "keys"]

Counts: TypeAlias = npt.NDArray[np.int64]


class AxisLaw(ABC):
    """What is seen along one axis, as far as hitting an interval of the image is concerned.

    The probability of a hit is a function of a few whole numbers, the *keys* of the interval. It
    does not decrease in any of them, unless the law says otherwise.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of keys of an interval."""

    @abstractmethod
    def keys(self, starts: Counts, stops: Counts) -> Counts:
        """The keys of `n` intervals `start`, ..., `stop - 1`: shape `(n, m)`."""

    @abstractmethod
    def exact(self, keys: Sequence[int]) -> Fraction:
        """The hit probability of an interval with these keys."""

    @abstractmethod
    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        """`exact` as floats, for keys of shape `(n, m)`."""


class CountedLaw(AxisLaw):
    """A law with one key: how many of `total` equally likely outcomes hit."""

    total: int

    @property
    def width(self) -> int:
        return 1

    @abstractmethod
    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        """Number of outcomes that hit each of many intervals."""

    def keys(self, starts: Counts, stops: Counts) -> Counts:
        return self.hits_at(starts, stops)[:, None]

    def exact(self, keys: Sequence[int]) -> Fraction:
        return Fraction(int(keys[0]), self.total)

    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        result: npt.NDArray[np.float64] = keys[:, 0] / self.total
        return result


class Windows(CountedLaw):
    """Windows of one length in pixels of the image; only their first pixel is random."""

    length: int

    @abstractmethod
    def starts_up_to(self, position: Counts) -> Counts:
        """Number of windows whose first pixel is at `position` or before it."""

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        return self.starts_up_to(stops - 1) - self.starts_up_to(starts - self.length)


@dataclass(frozen=True)
class AxisWindows(Windows):
    """Windows of one length whose first pixel is uniform on `first`, ..., `last`.

    >>> AxisWindows(length=3, first=-1, last=2).hits(0, 1)
    2

    Positions are pixels of the image; a negative one lies in the padding before it.

    Args:
        length: pixels in a window.
        first: smallest first pixel of a window.
        last: largest first pixel of a window.

    Source: `docs/theory.md`, "Geometry" (Theorem 1).
    """

    length: int
    first: int
    last: int

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of windows."""
        return self.last - self.first + 1

    def hits(self, start: int, stop: int) -> int:
        """Number of windows that contain a pixel of `start`, ..., `stop - 1`."""
        return max(0, min(self.last, stop - 1) - max(self.first, start - self.length + 1) + 1)

    def starts_up_to(self, position: Counts) -> Counts:
        return np.clip(position - self.first + 1, 0, self.total)

    def worst(self, width: int, lowest: int, highest: int) -> tuple[int, int]:
        """The largest `hits` of an interval of `width` pixels, and the first start that has it.

        The start ranges over `lowest`, ..., `highest`. As a function of the start the count rises
        by one, stays, and falls by one: it is enough to look where it stops rising.
        """
        stops_rising = min(self.last - width + 1, self.first + self.length - 1)
        start = min(max(stops_rising, lowest), highest)
        most = self.hits(start, start + width)
        return (most, start) if most else (0, lowest)


@dataclass(frozen=True)
class WeightedWindows(Windows):
    """Windows of one length whose first pixel is `first + k` in `weights[k]` outcomes.

    >>> WeightedWindows(length=2, first=0, weights=(1, 2, 1)).hits_at(np.array([0]), np.array([1]))
    array([1])

    Covers grids (weights 0 and 1) and crops of crops (a convolution of two uniform laws).
    """

    length: int
    first: int
    weights: tuple[int, ...]

    @cached_property
    def _prefix(self) -> Counts:
        return np.concatenate([[0], np.cumsum(np.array(self.weights, dtype=np.int64))])

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of outcomes."""
        return sum(self.weights)

    def starts_up_to(self, position: Counts) -> Counts:
        return self._prefix[np.clip(position - self.first + 1, 0, len(self.weights))]


@dataclass(frozen=True)
class AxisMixture(AxisLaw):
    """One of several laws, drawn along this axis alone.

    >>> two = AxisMixture((AxisWindows(1, 0, 3), AxisWindows(4, 0, 0)), (Fraction(1, 2),) * 2)
    >>> two.exact(two.keys(np.array([0]), np.array([1]))[0])
    Fraction(5, 8)

    Args:
        parts: the laws.
        weights: their probabilities.
    """

    parts: tuple[CountedLaw, ...]
    weights: tuple[Fraction, ...]

    @property
    def width(self) -> int:
        return len(self.parts)

    def keys(self, starts: Counts, stops: Counts) -> Counts:
        return keys(self.parts, starts, stops)

    def exact(self, keys: Sequence[int]) -> Fraction:
        triples = zip(self.weights, keys, self.parts, strict=True)
        return sum((w * Fraction(int(k), law.total) for w, k, law in triples), Fraction(0))

    def shares(self, keys: Counts) -> npt.NDArray[np.float64]:
        scale = [float(w / law.total) for w, law in zip(self.weights, self.parts, strict=True)]
        result: npt.NDArray[np.float64] = keys @ np.array(scale)
        return result


def keys(laws: Sequence[AxisLaw], starts: Counts, stops: Counts) -> Counts:
    """The keys of `n` intervals under several laws side by side."""
    if all(type(law) is AxisWindows for law in laws):
        # Hundreds of window lengths (RandomResizedCrop) in one stroke.
        plain = [law for law in laws if isinstance(law, AxisWindows)]
        length, first, last = np.array(
            [(law.length, law.first, law.last) for law in plain], dtype=np.int64
        ).T
        most = np.minimum(last, stops[:, None] - 1)
        counts: Counts = most - np.maximum(first, starts[:, None] - length + 1) + 1
        return np.maximum(counts, 0)
    return np.concatenate([law.keys(starts, stops) for law in laws], axis=1)
