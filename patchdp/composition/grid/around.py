"""Bounds on log delta near one epsilon: the two roundings of one run, composed towards it.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.1, mu=0.5)),), attainable=True)
>>> lower, upper = log_delta_around([(step, 20)], epsilon=1.0, tolerance=1e-2).bounds(1.0)
>>> lower < upper < lower + 1e-2
True
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from patchdp.composition.grid.composed import ComposedMasses
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.grid.prove import DEEPEST, TURNS, Aim, Search
from patchdp.composition.transform.law import Run

__all__ = ["Around", "log_delta_around"]


class Around(NamedTuple):
    """Both bounds on log delta, near the epsilons that they were composed for."""

    above: ComposedMasses
    below: ComposedMasses

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """A lower and an upper bound on log delta."""
        upper = self.above.log_delta_upper(epsilon)
        return min(self.below.log_delta_lower(epsilon), upper), upper


def log_delta_around(run: Run, *, epsilon: float, tolerance: float) -> Around:
    """Bounds on log delta that are at most `tolerance` apart at `epsilon`, and valid everywhere.

    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> lower, upper = log_delta_around([(step, 1)], epsilon=1.0, tolerance=1e-3).bounds(1.0)
    >>> lower < float(step.log_delta(1.0)) < upper < lower + 1e-3
    True

    Args:
      run: Steps and how often each is applied.
      epsilon: At least 0.
      tolerance: In log delta; a wider gap is left where the budget ends.

    Raises:
      GridTooLarge: Not even a coarse grid fits the budget.
    """
    goal = -40.0
    for _ in range(4):
        search = Search(run, goal - 10.0)
        tilt, reached = search.layout.aim(epsilon, min(0.25 * epsilon, 0.5 * search.coarsest))
        if reached > goal:
            break
        goal = max(reached, DEEPEST)
    search.log_delta = max(min(reached, 0.0), DEEPEST) - 3.0
    cut = search.cut(0.75 * epsilon)
    if cut > 0:
        tilt, _ = search.layout.aim(epsilon, cut)
    aim = Aim((0.75 * epsilon, 1.35 * epsilon), search.log_delta, tilt, cut)
    interval = search.interval(tolerance, tilt)
    best: Around | None = None
    width = math.inf
    for _ in range(TURNS):
        try:
            grid = search.grid(interval, tolerance)
            found = Around(grid.above(aim), grid.below(aim))
        except GridTooLarge:
            if best is None:
                raise
            break
        lower, upper = found.bounds(epsilon)
        if best is None or upper - lower < width:
            best, width = found, upper - lower
        if width <= tolerance or search.exhausted(*found):
            break
        if lower < search.log_delta - 2.0 and math.isfinite(lower):
            search.log_delta = lower - 1.0
            aim = replace(aim, log_delta=search.log_delta, cut=search.cut(aim.epsilon[0]))
        shrink = 0.85 * math.sqrt(tolerance / (upper - lower)) if math.isfinite(lower) else 0.4
        interval *= min(max(shrink, 1 / 64), 0.7)
    assert best is not None  # the first turn sets it or raises
    return best
