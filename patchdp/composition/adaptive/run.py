"""A whole training, backwards, from both sides.

Source: `docs/theory/adaptive.md`, "The algorithm".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from patchdp.composition.adaptive.attained import Attained, attain
from patchdp.composition.adaptive.cover import Cover, View
from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.phase import Phase, laws_of
from patchdp.composition.adaptive.planning import WORK, Settings, WorkExceeded
from patchdp.composition.adaptive.steps import OptimalStep, Steps
from patchdp.composition.adaptive.upper import State, advance, first, nothing, schedule

__all__ = ["Run", "attained", "run"]

Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]

# Up to this share of the run blocks grow faster.
_EARLY = 1 / 64


@dataclass(eq=False)
class Run:
    """The certified value of the best adversary and what it took.

    Args:
      settings: How the run was gone through.
      state: The value at the start of the training.
      blocks: Number of blocks.
      cells: Largest number of cells that covered all triangles in a block.
      work: Lattice points times cells, summed over the blocks.
      added: Rough share that the covers added to the gains.
    """

    settings: Settings
    state: State
    blocks: int = 0
    cells: int = 0
    work: int = 0
    added: float = 0.0

    def deltas(self) -> Array:
        """Certified deltas at epsilons `0, h, 2h, ...`."""
        lattice = self.settings.plan.lattice
        values = lattice.values(self.state.dots, self.state.infinite)
        return np.minimum(values[lattice.size :: -1] * (1 + 1e-11), 1.0)


@dataclass(eq=False)
class _Runner:
    """Goes through the blocks of a training, with or without the cover of all triangles."""

    settings: Settings
    steps: Steps
    base: str
    progress: Progress | None
    covers: dict[OptimalStep, Cover] = field(default_factory=dict)
    views: dict[OptimalStep, list[tuple[float, View]]] = field(default_factory=dict)
    blocks: int = 0
    cells: int = 0
    work: int = 0
    added: float = 0.0

    def __post_init__(self) -> None:
        self.total = sum(count for _, count in self.steps)
        for step, _ in self.steps:
            if step not in self.covers:
                self.covers[step] = Cover(Phase(step, self.settings.plan, self.base))

    def through(self, covered: bool) -> State:
        """The value of the whole training; the first time, uncovered, views are collected."""
        longest = 1 << int(math.log2(max(1.0, self.settings.growth * self.total)))
        state: State | None = None
        known: dict[OptimalStep, list[State]] = {}
        for step, count in reversed(self.steps):
            phase = self.covers[step].phase
            alone = known.setdefault(step, [nothing(phase)])
            if state is None:
                alone.append(first(phase))
                state = self._go(step, alone[-1], count - 1, alone, covered, True)
                continue
            # Blocks of another kind of step need the values after such steps alone.
            needed = min(count, longest)
            if len(alone) == 1:
                alone.append(first(phase))
            if alone[-1].steps < needed:
                self._go(step, alone[-1], needed - alone[-1].steps, alone, covered, True)
            state = self._go(step, state, count, alone, covered, False)
        assert state is not None
        return state

    def _go(
        self,
        step: OptimalStep,
        state: State,
        count: int,
        behind: list[State],
        covered: bool,
        alone: bool,
    ) -> State:
        cover, growth = self.covers[step], self.settings.growth
        phase, start, check = cover.phase, state.steps, state.steps
        points, views = 2 * phase.plan.lattice.size + 1, self.views.setdefault(step, [])
        for k in schedule(count, growth, start, behind, _EARLY * self.total):
            share = state.steps / self.total
            if not covered and state.steps >= check:
                stands = min(state.steps, start + count - state.steps) / self.total
                views.append((stands, cover.view(state.dots, k == 1, share)))
                check = 2 * state.steps
            state, cost = advance(phase, cover if covered else None, state, k, behind, share)
            if alone:
                behind.append(state)
            self.work += points * (len(cover.cells) if covered else 1)
            if self.work > WORK:
                raise WorkExceeded(
                    f"optimal composition would take more than WORK = {WORK} lattice points times "
                    "cells; use method pld"
                )
            if covered:
                self.blocks, self.cells = self.blocks + 1, max(self.cells, len(cover.cells))
                self.added += cost * k / self.total
                if self.progress is not None:
                    self.progress(min(state.steps / self.total, 1.0))
        return state


def run(steps: Steps, settings: Settings, base: str = "f", progress: Progress | None = None) -> Run:
    """The certified value of the best adversary.

    The first pass leaves out all triangles but the base and its rivals; its states say where the
    cover has to be fine.

    Args:
      steps: Steps and how often each is applied, in the order of the training.
      settings: How to go through it.
      base: Law on which the blocks are built, `"f"` or, for Poisson sampling, `"i"`.
      progress: Called with the finished fraction.

    Raises:
      WorkExceeded: It would take more than `WORK`.
    """
    runner = _Runner(settings, steps, base, progress)
    runner.through(covered=False)
    for step, cover in runner.covers.items():
        cover.refine(runner.views[step], settings.tolerance, settings.cells)
    state = runner.through(covered=True)
    return Run(settings, state, runner.blocks, runner.cells, runner.work, runner.added)


def attained(steps: Steps, settings: Settings) -> dict[str, Attained]:
    """What policies that are constant over blocks attain, by the law played up to loss 0."""
    plan = settings.plan
    lattice = Lattice(plan.lattice.interval / 5, 5 * plan.lattice.size)
    laws = [(laws_of(step, plan.log_tail), count) for step, count in steps]
    names = ["f", "i"] if all("i" in found for found, _ in laws) else ["f"]
    return {
        name: attain([(found[name], count) for found, count in laws], lattice, plan.saddle)
        for name in names
    }
