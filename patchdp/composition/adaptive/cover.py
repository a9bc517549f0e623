"""A finite cover of all triangles, and what each of its cells adds in one step to a state.

The lambda lemma needs one look per block: for every cell a convex combination of the base and its
rivals that is nearly as good, and a bound of what remains, at every real loss. The loss is probed
at some of the lattice's points; between them the density's kinks bound what the chord misses.
Source: `docs/theory/adaptive.md`, "Cells, once per block".
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.composition.adaptive.cells import Cell, side_profile
from patchdp.composition.adaptive.phase import Phase

__all__ = ["Cover", "View"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_HALF_PI = 0.5 * math.pi
# Quality by depth: every how many knots a profile is evaluated, and the width of its bins.
_LEVELS = ((8, 0.2), (4, 0.12), (2, 0.08), (1, 0.05), (1, 0.03))
# Share of the largest gain that a chord between probes may miss, and the widest gap.
_MISSED, _WIDEST = 0.03, 64.0
_QUADRATURE = 1e-10


@dataclass(frozen=True, eq=False)
class View:
    """A state as the cover sees it.

    Args:
      probes: Indices of the lattice's points at which losses are probed, ascending.
      moments: Integrals of the state against the tents, shape `(knots, probes)`.
      base: What the base law gains at the probes.
      rivals: What each rival gains on it, shape `(rivals, probes)`.
      bends: Like `moments`, for what a chord to the next probe may miss per unit of gain.
      missed: The same for the laws' chords, summed.
      importance: How much a gain at a probe matters in the end; steers only.
    """

    probes: Index
    moments: Array
    base: Array
    rivals: Array
    bends: Array
    missed: Array
    importance: Array


class Cover:
    """Cells that cover all triangles of one kind of step.

    Args:
      phase: The step.
    """

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self._acute = phase.step.weights.out == 0
        self._right = phase.tents.knots[len(phase.tents.knots) // 2 :]
        self._sides: dict[tuple[Cell, int], Array] = {}
        edges = np.linspace(0.0, _HALF_PI, 5).tolist()
        self.cells = [
            (Cell(a, b, c, d), 0)
            for a, b in itertools.pairwise(edges)
            for c, d in itertools.pairwise(edges)
        ]
        self.cells = [(c, n) for c, n in self.cells if not (self._acute and c.obtuse_at_m())]
        self.gains = np.array([self._row(*cell) for cell in self.cells])
        count = len(phase.rivals)
        parts = 8 if count == 1 else 4
        shares = [s for s in itertools.product(range(parts + 1), repeat=count) if sum(s) <= parts]
        self._shares = np.array(shares, dtype=np.float64) / parts

    def _side(self, cell: Cell, level: int) -> Array:
        found = self._sides.get((cell, level))
        if found is None:
            every, fineness = _LEVELS[min(level, len(_LEVELS) - 1)]
            losses, step = self._right, self.phase.step
            at = np.unique(np.append(np.arange(0, len(losses), every), len(losses) - 1))
            values = side_profile(step.weights, step.mu, cell, losses[at], fineness=fineness)
            # Between its nodes a convex function of `a` is below its chord.
            values = np.interp(np.exp(losses), np.exp(losses[at]), values) * (1 + 1e-12)
            found = self._sides[cell, level] = np.minimum(values, self.phase.top)
        return found

    def _row(self, cell: Cell, level: int) -> Array:
        decay = np.exp(-0.5 * self._right)
        left = self._side(cell.mirrored(), level) * decay
        return np.concatenate([left[:0:-1], self._side(cell, level) * decay])

    def view(self, dots: Array, left_only: bool, share: float) -> View:
        """What is needed of a state to bound every cell's gain.

        Args:
          dots: The state.
          left_only: Whether one step is to be bounded: then losses up to 0 matter.
          share: Share of the run's variance that lies behind; steers only.
        """
        phase, tents = self.phase, self.phase.tents
        lattice = phase.plan.lattice
        h = lattice.interval
        kinks = np.convolve(dots, [0.5, -math.cosh(0.5 * h), 0.5])[1:-1]
        kinks = np.abs(kinks) / (math.sinh(0.5 * h) * h)
        # A second hat moves every kink by up to h: 1/2, 3/4, 1/2 of it at most into each cell.
        kinks = np.convolve(kinks, np.array([0.5, 0.75, 0.5]) * (1 + h * h))[1:-1]
        probes = self._probes(dots, kinks, left_only)
        windows = tents.windows(dots, probes)
        base = phase.dot_gains[phase.base] @ windows
        rivals = np.array([phase.dot_gains[r] @ windows - base for r in phase.rivals])
        bends = np.zeros((len(tents.knots), len(probes)))
        missed = np.zeros(len(probes))
        gaps = np.diff(probes)
        for gap in np.unique(gaps):
            if gap == 1 and left_only:
                continue  # after one step only the values at the lattice's points matter
            at = np.flatnonzero(gaps == gap)
            ahead = np.convolve(kinks, np.ones(gap))
            ahead = np.concatenate([ahead[gap:], np.zeros(gap)])[: len(kinks)]
            boxes = tents.windows(ahead, probes[at]) * math.tanh(0.25 * gap * h)
            bends[:, at] = tents.cells @ boxes
            missed[at] = sum(phase.chord_gaps.values()) @ boxes
        return View(
            probes,
            np.asarray(tents.matrix @ windows),
            base,
            rivals,
            bends,
            missed,
            self._importance(lattice.losses[probes], share),
        )

    def _probes(self, dots: Array, kinks: Array, left_only: bool) -> Index:
        """Points so dense that a chord between them misses little against the largest gain."""
        phase, lattice = self.phase, self.phase.plan.lattice
        n, h, s = lattice.size, lattice.interval, self.phase.sampler
        gain, bend = phase.probing
        gains = np.abs(s.gather(gain * s.spread(dots)))
        bends = np.abs(s.gather(bend * s.spread(kinks))) * (0.25 * h)
        gaps = np.sqrt(_MISSED * gains / np.maximum(bends, 1e-300))
        # Steps of powers of two: few different gaps.
        gaps = np.exp2(np.floor(np.log2(np.clip(gaps, 1.0, _WIDEST))))
        sides = []
        for side in (gaps[: n + 1][::-1], gaps[n:]):
            steps, points, i = side.tolist(), [0], 0
            while i < n:
                step = int(steps[i])
                while step > 1 and min(steps[i : i + step + 1]) < step:
                    step //= 2
                i = min(i + step, n)
                points.append(i)
            sides.append(np.array(points))
        left = n - sides[0][::-1]
        return left if left_only else np.concatenate([left, n + sides[1][1:]])

    def _importance(self, losses: Array, share: float) -> Array:
        plan = self.phase.plan
        share = min(max(share, 0.02), 0.98)
        centre = losses + plan.epsilon * share
        spread = 2 * plan.deviation**2 * share * (1 - share)
        log = -plan.saddle * losses - np.square(centre) / spread
        return np.asarray(np.exp(log - log.max()) * np.gradient(losses))

    def remainders(self, view: View) -> Array:
        """What each cell gains beyond its combination: bounds up to the next probe, too."""
        phase = self.phase
        gains = self.gains @ view.moments - view.base
        combined = self._shares @ view.rivals
        cost = np.stack([np.maximum(gains - row, 0.0) @ view.importance for row in combined], 1)
        chosen = np.argmin(cost, axis=1)
        shares = self._shares[chosen]
        differences = self.gains - (1 - shares.sum(1))[:, None] * phase.knot_gains[phase.base]
        for i, name in enumerate(phase.rivals):
            differences -= shares[:, i : i + 1] * phase.knot_gains[name]
        ahead = np.abs(differences) @ view.bends + view.missed
        behind = np.concatenate([np.zeros((len(ahead), 1)), ahead[:, :-1]], axis=1)
        result = gains - combined[chosen] + np.maximum(ahead, behind) * self._join(view)
        return np.asarray(result + _QUADRATURE * (phase.top_gain @ view.moments + view.base))

    def _join(self, view: View) -> Array:
        """`cosh(gap/4)`: two neighbouring chord functions add up to at least its inverse."""
        gaps = np.diff(view.probes)
        wide = np.maximum(np.append(gaps, 0), np.append(0, gaps)) * self.phase.plan.lattice.interval
        found: Array = np.cosh(0.25 * wide)
        return found

    def excess(self, view: View) -> tuple[Array, float]:
        """Bound at the probes of every triangle's remainder, and roughly what it costs."""
        most = np.maximum(self.remainders(view).max(axis=0), 0.0)
        return most, float(most @ view.importance) / self._scale(view)

    def _scale(self, view: View) -> float:
        return max(float(np.maximum(view.base, 0.0) @ view.importance), 1e-300)

    def refine(self, views: list[tuple[float, View]], tolerance: float, most: int) -> float:
        """Split the cells that cost most until the cost is within the tolerance.

        Args:
          views: States on the way, and the share of the steps for which each stands.
          tolerance: Of the rough share of the gains that the remainders add.
          most: Cells.

        Returns:
          That share.
        """
        while True:
            blame, total = np.zeros(len(self.cells)), 0.0
            for weight, view in views:
                remainders = self.remainders(view)
                owner = remainders.argmax(axis=0)
                excess = np.maximum(remainders[owner, np.arange(len(owner))], 0.0)
                cost = excess * view.importance * (weight / self._scale(view))
                blame += np.bincount(owner, weights=cost, minlength=len(blame))
                total += float(cost.sum())
            chosen = blame > max(0.1 * float(blame.max()), 0.02 * tolerance)
            if total <= tolerance or not chosen.any() or len(self.cells) + 3 * chosen.sum() > most:
                return total
            cells, rows = [], []
            for (cell, level), row, split in zip(self.cells, self.gains, chosen, strict=True):
                if not split:
                    cells.append((cell, level))
                    rows.append(row)
                    continue
                for part in cell.split():
                    if not (self._acute and part.obtuse_at_m()):
                        cells.append((part, level + 1))
                        rows.append(self._row(part, level + 1))
            self.cells, self.gains = cells, np.array(rows)
