"""The worst place of a box under any crop.

Every hit probability here is a non-decreasing function of the keys along each axis. So the worst
place is found among the places whose keys no other place on that axis exceeds, usually one per
axis, and the map over all pairs of places is never built.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from patchdp._budget import STEP, afford
from patchdp.geometry.crop import Crop
from patchdp.geometry.law import FEWER, Floats, WindowLaw
from patchdp.geometry.sizes import Interval, Size
from patchdp.geometry.windows import FEWER_PLACES, Counts, afford_places

__all__ = ["Worst", "worst_box"]

# Floats that differ by less than this may belong to equal fractions.
TIE = 1e-12
# So many places that tie are told apart exactly; beyond, the bound is a float rounded up.
MOST_TIES = 512
# From so many places on it pays to look for equal ones first.
MANY = 4096


@dataclass(frozen=True)
class Worst:
    """The largest hit probability of a box, and the first corner in reading order that has it.

    Attributes:
        probability: an upper bound; exact where it is a fraction.
        position: the corner.
        error: by how much the bound may exceed the probability, relative to it.
    """

    probability: Fraction | float
    position: Size
    error: float


def worst_box(
    crop: Crop, laws: Sequence[WindowLaw], shape: Size, corners: Sequence[Interval]
) -> Worst:
    """The worst place of a box.

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
    tied = np.argwhere(values >= best)[: MOST_TIES + 1]
    ties = [[int(front[k]) for front, k in zip(fronts, tie, strict=True)] for tie in tied]
    exact, known = search.exact_maximum(ties)
    # Reading order: the first row in which some place is as bad as the worst, then the first
    # column, and so on; on the axes still open the front suffices.
    for axis in range(len(shape)):
        every = np.arange(search.lengths[axis], dtype=np.int64)
        settled = [np.array([place], dtype=np.int64) for place in known[:axis]]
        choice = [*settled, every, *fronts[axis + 1 :]]
        found = search.values(choice).reshape(len(every), -1)
        known = search.first(choice, axis, known, found, best, exact)
    position = tuple(at + low for at, (low, _) in zip(known, corners, strict=True))
    if isinstance(exact, Fraction):
        return Worst(exact, position, 0.0)
    bound, error = search.bound(ties)
    return Worst(bound, position, error)


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
            widths = [part.width for law in laws for part in law.axes[axis]]
            afford(0, f"a mixture of {len(widths):,} laws", FEWER, work=len(widths) * STEP)
            afford_places(self.lengths[axis], sum(widths))
            starts = np.arange(lowest, highest + 1, dtype=np.int64)
            self.keys.append([law.keys(axis, starts, starts + shape[axis]) for law in laws])

    def front(self, axis: int) -> Counts:
        """Places on one axis whose keys no other place exceeds."""
        rows = np.concatenate(self.keys[axis], axis=1)
        monotone = all(law.monotone for law in self.laws)
        if monotone:
            ideal = (rows == rows.max(axis=0)).all(axis=1)
            if ideal.any():
                return np.array([int(ideal.argmax())], dtype=np.int64)
        if not monotone or len(rows) > MANY:
            distinct, first = np.unique(rows, axis=0, return_index=True)
            order = np.argsort(first)
            rows, first = distinct[order], first[order].astype(np.int64)
        else:
            first = np.arange(len(rows), dtype=np.int64)
        return first[self._unexceeded(rows)] if monotone else first

    def _unexceeded(self, rows: Counts) -> Counts:
        # From the largest sum down, a row can only be exceeded by one that was kept before it; of
        # equal rows the first is kept. A few columns settle most comparisons.
        few = slice(None, None, 1 + rows.shape[1] // 64)
        kept: list[int] = []
        best, best_few = np.empty_like(rows), np.empty_like(rows[:, few])
        work = 0
        for place in np.argsort(-rows.sum(axis=1), kind="stable"):
            row = rows[place]
            work += STEP // 4 + len(kept) * best_few.shape[1] // 10
            afford(0, f"comparing {len(rows):,} places of the patch", FEWER_PLACES, work=work)
            maybe = np.flatnonzero((best_few[: len(kept)] >= row[few]).all(axis=1))
            if not any((best[k] >= row).all() for k in maybe):
                best[len(kept)], best_few[len(kept)] = row, row[few]
                kept.append(int(place))
        return np.sort(np.array(kept, dtype=np.int64))

    def values(self, places: Sequence[Counts]) -> Floats:
        """Hit probabilities at all combinations of the places, as floats."""
        number = math.prod(len(at) for at in places) * len(self.laws)
        afford(number, f"{len(self.laws):,} windows at once, at every place", FEWER_PLACES)
        found = [
            law.outer([self.keys[axis][k][place] for axis, place in enumerate(places)])
            for k, law in enumerate(self.laws)
        ]
        return self.crop.combine(found)

    def exact(self, place: Sequence[int]) -> Fraction | float:
        return self.crop.combine(
            [
                law.exact([self.keys[axis][k][at].tolist() for axis, at in enumerate(place)])
                for k, law in enumerate(self.laws)
            ]
        )

    def exact_maximum(
        self, ties: Sequence[Sequence[int]]
    ) -> tuple[Fraction | float | None, Sequence[int]]:
        """The largest of the ties and one of them that has it; None where floats must do."""
        if not self.rational:
            return None, ties[0]
        # Where all places tie at 0, one of them is as good as all.
        if len(ties) > MOST_TIES and (self.noise or self.exact(ties[0]) != 0):
            return None, ties[0]
        found = [self.exact(tie) for tie in ties[:MOST_TIES]]
        most = max(found)
        return most, ties[found.index(most)]

    def bound(self, ties: Sequence[Sequence[int]]) -> tuple[float, float]:
        """An upper bound on the probabilities at places that tie as far as floats can tell.

        Second, by how much it may exceed the largest of them, relative to it.
        """
        raised = 2.0**-48 if len(ties) <= MOST_TIES else 2 * TIE
        best, error = 0.0, 0.0
        for tie in ties[:MOST_TIES]:
            found = [
                law.at([self.keys[axis][k][[at]] for axis, at in enumerate(tie)])
                for k, law in enumerate(self.laws)
            ]
            best = max(best, float(self.crop.combine([bound for bound, _ in found])))
            error = max(error, *(off for _, off in found))
        return min(1.0, best * (1 + raised)), error + raised

    def first(
        self,
        choice: Sequence[Counts],
        axis: int,
        known: Sequence[int],
        found: Floats,
        best: float,
        exact: Fraction | float | None,
    ) -> Sequence[int]:
        """A worst place among `choice`, where `axis` is the first open one: the first along it.

        Where too many places tie as far as floats can tell, the one that is known stays.
        """
        tries = 0
        for place in np.flatnonzero(found.max(axis=1) >= best).tolist():
            before = known[:axis]
            for rest in itertools.product(*(places.tolist() for places in choice[axis + 1 :])):
                if exact is None or self.exact([*before, place, *rest]) == exact:
                    return [*before, place, *rest]
                tries += 1
                if tries == MOST_TIES:
                    return known
        return known
