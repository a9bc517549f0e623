"""The worst place of a box under any crop.

Every hit probability here is a non-decreasing function of the keys along each axis. So the worst
place is found among the places whose keys no other place on that axis exceeds, usually one per
axis, and the map over all pairs of places is never built.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from patchdp.geometry.crop import Crop
from patchdp.geometry.law import Floats, WindowLaw
from patchdp.geometry.sizes import Interval, Size
from patchdp.geometry.windows import Counts

__all__ = ["worst_box"]

# Floats that differ by less than this may belong to equal fractions.
TIE = 1e-12
# So many places that tie are told apart exactly; beyond, the bound is a float rounded up.
MOST_TIES = 512


def worst_box(
    crop: Crop, laws: Sequence[WindowLaw], shape: Size, corners: Sequence[Interval]
) -> tuple[Fraction | float, Size]:
    """The largest hit probability of a box, and the first corner in reading order that has it.

    Args:
        crop: combines the probabilities of `laws` into one.
        laws: the laws of the crop on the image at hand.
        shape: pixels of the box along each axis.
        corners: the first and the last position of its first corner, inclusive, per axis.
    """
    search = _Search(crop, laws, shape, corners)
    fronts = [search.front(axis) for axis in range(len(shape))]
    values = search.values(fronts)
    best = float(values.max()) * (1 - TIE) - search.noise
    ties = [
        [int(front[k]) for front, k in zip(fronts, tie, strict=True)]
        for tie in np.argwhere(values >= best)
    ]
    exact = search.exact_maximum(ties)
    # Reading order: the first row in which some place is as bad as the worst, then the first
    # column, and so on; on the axes still open the front suffices.
    where: list[Counts] = []
    for axis in range(len(shape)):
        every = np.arange(search.lengths[axis], dtype=np.int64)
        choice = [*where, every, *fronts[axis + 1 :]]
        found = search.values(choice).reshape(len(every), -1)
        where.append(np.array([search.first(choice, axis, found, best, exact)], dtype=np.int64))
    position = tuple(int(w[0]) + low for w, (low, _) in zip(where, corners, strict=True))
    return (search.bound(ties) if exact is None else exact), position


class _Search:
    def __init__(
        self, crop: Crop, laws: Sequence[WindowLaw], shape: Size, corners: Sequence[Interval]
    ) -> None:
        self.crop, self.laws = crop, laws
        self.lengths = [highest - lowest + 1 for lowest, highest in corners]
        self.rational = all(law.rational for law in laws)
        # Positive terms keep relative accuracy; where terms are subtracted, only absolute.
        self.noise = 0.0 if all(law.monotone for law in laws) else TIE
        self.keys: list[list[Counts]] = []
        for axis, (lowest, highest) in enumerate(corners):
            starts = np.arange(lowest, highest + 1, dtype=np.int64)
            self.keys.append([law.keys(axis, starts, starts + shape[axis]) for law in laws])

    def front(self, axis: int) -> Counts:
        """Places on one axis whose keys no other place exceeds."""
        rows = np.concatenate(self.keys[axis], axis=1)
        if not all(law.monotone for law in self.laws):
            _, first = np.unique(rows, axis=0, return_index=True)
            return np.sort(first).astype(np.int64)
        ideal = (rows == rows.max(axis=0)).all(axis=1)
        if ideal.any():
            return np.array([int(ideal.argmax())], dtype=np.int64)
        # From the largest sum down, a row can only be exceeded by one that was kept before it; of
        # equal rows the first is kept. A few columns settle most comparisons.
        few = slice(None, None, 1 + rows.shape[1] // 64)
        kept: list[int] = []
        best, best_few = np.empty_like(rows), np.empty_like(rows[:, few])
        for place in np.argsort(-rows.sum(axis=1), kind="stable"):
            row = rows[place]
            maybe = np.flatnonzero((best_few[: len(kept)] >= row[few]).all(axis=1))
            if not any((best[k] >= row).all() for k in maybe):
                best[len(kept)], best_few[len(kept)] = row, row[few]
                kept.append(int(place))
        return np.sort(np.array(kept, dtype=np.int64))

    def values(self, places: Sequence[Counts]) -> Floats:
        """Hit probabilities at all combinations of the places, as floats."""
        found = [
            law.outer([self.keys[axis][k][place] for axis, place in enumerate(places)])
            for k, law in enumerate(self.laws)
        ]
        return self.crop.combine(found)

    def exact(self, place: Sequence[int]) -> Fraction:
        return self.crop.combine(
            [
                law.exact([self.keys[axis][k][at].tolist() for axis, at in enumerate(place)])
                for k, law in enumerate(self.laws)
            ]
        )

    def exact_maximum(self, ties: Sequence[Sequence[int]]) -> Fraction | None:
        if not self.rational:
            return None
        # Where all places tie at 0, one of them is as good as all.
        if len(ties) > MOST_TIES and (self.noise or self.exact(ties[0]) != 0):
            return None
        return max(self.exact(tie) for tie in ties[:MOST_TIES])

    def bound(self, ties: Sequence[Sequence[int]]) -> float:
        """An upper bound on the probabilities at places that tie as far as floats can tell."""
        raised = 1 + (2.0**-50 if len(ties) <= MOST_TIES else 2 * TIE)
        best = max(
            self.crop.combine(
                [
                    law.at([self.keys[axis][k][[at]] for axis, at in enumerate(tie)])
                    for k, law in enumerate(self.laws)
                ]
            )
            for tie in ties[:MOST_TIES]
        )
        return float(min(1.0, best * raised))

    def first(
        self,
        choice: Sequence[Counts],
        axis: int,
        found: Floats,
        best: float,
        exact: Fraction | None,
    ) -> int:
        for place in np.flatnonzero(found.max(axis=1) >= best):
            if exact is None:
                return int(place)
            later = itertools.product(*choice[axis + 1 :])
            before = [int(fixed[0]) for fixed in choice[:axis]]
            if any(self.exact([*before, int(place), *rest]) == exact for rest in later):
                return int(place)
        raise AssertionError("the worst place was found on the front")
