"""Value iteration over the adversary's choices on a grid of losses, rounded upwards.

>>> from patchdp.composition.triangles import Weights
>>> from patchdp.step import fixed_size_pair
>>> step = StepBounds(Weights.fixed(0.5), 1.0, fixed_size_pair(rate=0.5, mu=1.0))
>>> grid = Grid(interval=0.05, window=160, reach=400)
>>> values = iterate([(step, 1)], grid, tolerance=1e-2).values
>>> round(float(values[-1]), 6)  # one step at loss 0: r (2 Phi(mu) - 1)
0.341345

`V(s)` is the largest delta at `eps = 0` that an adversary can still reach from accumulated loss
`s`; after `k` steps `V(-eps)` is the privacy profile. With `u = e^s`, `u V` is convex, and the
chord polygon through the grid is above it. Its expectation over one step, for the triangle with
profile `h`, is `V(s_i) + sum_j nu_j g(j - i)`, with `nu_j` the polygon's change of slope at `s_j`
and `g` what `h` adds to `(1 - a)_+`: one convolution of small positive numbers.
Source: `docs/theory/optimal.md`, "The dynamic programme on a grid" and "Rounding".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.composition.grid.fft import fft_unit
from patchdp.composition.triangles import FORWARD, Cell, Weights, side_profile
from patchdp.step.mixture import MixturePair

__all__ = ["Grid", "Run", "StepBounds", "iterate"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Progress = Callable[[float], None]

_UNIT = 2.0**-53
_HALF_PI = 0.5 * math.pi
# Closed forms of the step layer are accurate to this, relatively.
_CLOSED_FORM_ERROR = 1e-11
# Kernels evaluated at once, and the memory their transforms may take.
_CHUNK = 16
_COARSEN_EVERY = 24
_MEMORY = 400e6


@dataclass(frozen=True)
class StepBounds:
    """One step as the dynamic programme sees it.

    >>> from patchdp.step import fixed_size_pair
    >>> StepBounds(Weights.fixed(0.5), 1.0, fixed_size_pair(rate=0.5, mu=1.0)).mu
    1.0

    Args:
      weights: Chances of hit, miss and out.
      mu: `1/noise_multiplier`.
      largest: The pair whose profile at `a >= 1` is the largest of all triangles'.
    """

    weights: Weights
    mu: float
    largest: MixturePair


@dataclass(frozen=True)
class Grid:
    """Losses `s = -window*h .. 0`; kernels reach `reach` points to either side.

    >>> Grid(interval=0.5, window=2, reach=1).losses
    array([-1. , -0.5,  0. ])

    Args:
      interval: Spacing `h`.
      window: Points below 0; further left the value at the left edge is used.
      reach: Points of a step's profile; beyond, it is bounded by its value there.
      tilt: Convolutions act on `e^{-tilt s}` times the values, so that their rounding is small
        against small deltas.
    """

    interval: float
    window: int
    reach: int
    tilt: float = 0.0

    @cached_property
    def losses(self) -> Array:
        """The grid, shape `(window + 1,)`."""
        return np.asarray(self.interval * np.arange(-self.window, 1), dtype=np.float64)

    @cached_property
    def offsets(self) -> Array:
        """Losses `0, h, ..., reach * h`."""
        return np.asarray(self.interval * np.arange(self.reach + 1), dtype=np.float64)

    @cached_property
    def length(self) -> int:
        """Length of the transforms: no output in use wraps around."""
        return int(fft.next_fast_len(self.window + 1 + 2 * self.reach, real=True))

    @cached_property
    def scale(self) -> Array:
        """`e^{tilt s}` on the grid."""
        return np.exp(self.tilt * self.losses)

    @cached_property
    def rounding(self) -> float:
        """Relative rounding of one term `nu_j g(j - i)`: powers of e with these exponents."""
        exponents = 2 * self.tilt * self.window + 4 * (1 + self.tilt) * self.reach
        return 2 * _UNIT * (exponents * self.interval + 16)

    @cached_property
    def _mirror(self) -> tuple[Array, int]:
        n = min(self.reach, self.window)
        losses = self.interval * np.arange(1, n + 1)
        return np.exp(-(1 + self.tilt) * losses), n

    def kernel(self, right: Array, left: Array) -> Array:
        """`g` as an array to transform, from its values at `l >= 0` and (mirrored) at `-l <= 0`."""
        array = np.zeros(self.length)
        up = np.exp(self.tilt * self.offsets)
        down = np.exp(-(1 + self.tilt) * self.offsets[1:])
        array[0] = right[0]
        array[-self.reach :] = (right[1:] * up[1:])[::-1]
        array[1 : self.reach + 1] = left[1:] * down
        return array

    def curvature(self, values: Array) -> tuple[Array, float]:
        """Tilted changes of slope `nu_j e^{-tilt s_j}` of `u V(log u)`, and their rounding error.

        Values at `s > 0` follow from `V(s) = 1 - e^{-s} (1 - V(-s))`.
        """
        h = self.interval
        inverse = 1 / math.expm1(h)
        steps = np.diff(values)
        nu = np.empty(self.window + 1)
        # Left of the grid the value is constant.
        nu[0] = steps[0] * (1 + inverse)
        nu[1:-1] = steps[1:] + (steps[1:] - steps[:-1]) * inverse
        nu[-1] = (1 - values[-2]) - steps[-1] * (1 + 2 * inverse)
        error = np.empty_like(nu)
        size = np.abs(steps) * (1 + 2 * inverse)
        error[:-1] = size
        error[-1] = 1.0
        error[1:] += size
        return nu / self.scale, 6 * _UNIT * float(np.max(error / self.scale))

    def extended(self, nu: Array) -> Array:
        """Tilted changes of slope at `s <= 0` continued to `s > 0` by symmetry, zero-padded."""
        weights, n = self._mirror
        array = np.zeros(self.length)
        size = self.window + 1
        array[:size] = nu
        # nu(s) = e^{-s} nu(-s), and the tilt turns e^{-tilt s} around as well.
        mirrored = nu[-2 : -2 - n : -1] if n < self.window else nu[-2::-1]
        array[size : size + n] = mirrored * weights * np.exp(-self.tilt * self.offsets[1 : n + 1])
        return array


@dataclass(eq=False)
class _Node:
    """A cell of the quadtree and its kernel's transform; the children once it was split."""

    cell: Cell
    depth: int
    hat: Complex
    children: list[_Node] | None = None


class _Family:
    """All triangles of one step on one grid: a quadtree of cells, some of which cover it."""

    def __init__(self, step: StepBounds, grid: Grid, tolerance: float) -> None:
        self.step, self.grid, self.tolerance = step, grid, tolerance
        self._sides: dict[Cell, Array] = {}
        n = grid.reach
        nodes = [0]
        while nodes[-1] < n:
            nodes.append(min(n, max(nodes[-1] + 1, int(nodes[-1] * 1.05))))
        self._nodes = np.array(nodes)
        # Shares of the two nodes around each point, for chords in `a`.
        every = np.arange(n + 1)
        self._left = np.clip(np.searchsorted(self._nodes, every, "right") - 1, 0, len(nodes) - 2)
        before = grid.interval * (every - self._nodes[self._left])
        after = grid.interval * (self._nodes[self._left + 1] - every)
        self._upper_share = np.expm1(before) / np.expm1(before + after)
        self._lower_share = np.exp(before) * np.expm1(after) / np.expm1(before + after)
        self.top = np.asarray(
            np.exp(step.largest.log_delta(grid.offsets)) * (1 + _CLOSED_FORM_ERROR)
        )
        array = grid.kernel(self.top, self.top)
        self.sum, self.norm = float(array.sum()), float(np.linalg.norm(array))
        self.top_hat = np.asarray(fft.rfft(array))
        self.beyond = float(self.top[-1])
        # The corner around an extreme is inflated by about the square of its width.
        self._deepest = max(1, math.ceil(math.log2(_HALF_PI / math.sqrt(0.25 * tolerance))))
        self._room = int(_MEMORY / (8 * grid.length))
        self.points = [self._make(cell, 0) for cell in (FORWARD, FORWARD.mirrored())]
        self.root = self._make(Cell(0.0, _HALF_PI, 0.0, _HALF_PI), 0)
        self.cover = [self.root]
        self.largest_cover = 1
        self._restack()

    def _restack(self) -> None:
        self.hats = np.stack([node.hat for node in self.points + self.cover])
        self.largest_cover = max(self.largest_cover, len(self.cover))

    def _is_corner(self, cell: Cell) -> bool:
        return (cell.a_high == _HALF_PI and cell.b_low == 0.0) or (
            cell.b_high == _HALF_PI and cell.a_low == 0.0
        )

    def _side(self, cell: Cell) -> Array:
        found = self._sides.pop(cell, None)
        if found is not None:
            return found
        losses, step = self.grid.offsets, self.step
        if self._is_corner(cell):
            side = side_profile(step.weights, step.mu, cell, losses, fineness=0.02)
        else:
            # Between its nodes a convex function of `a` is below its chord.
            coarse = side_profile(step.weights, step.mu, cell, losses[self._nodes], fineness=0.1)
            side = coarse[self._left] * self._lower_share
            side = (side + coarse[self._left + 1] * self._upper_share) * (1 + 64 * _UNIT)
        side = np.minimum(side, self.top)
        self._sides[cell] = side
        return side

    def _make(self, cell: Cell, depth: int) -> _Node:
        self._room -= 1
        array = self.grid.kernel(self._side(cell), self._side(cell.mirrored()))
        return _Node(cell, depth, np.asarray(fft.rfft(array)))

    def _children(self, node: _Node) -> list[_Node]:
        if node.children is None:
            node.children = [
                self._make(part, node.depth + 1)
                for part in node.cell.split()
                if self.step.weights.out > 0 or not part.obtuse_at_m()
            ]
        return node.children

    def gain(self, convolve: Callable[[Complex], Array], allowed: Array) -> Array:
        """Largest expected gain over all triangles, splitting cells that stand out."""
        rows = convolve(self.hats)
        attained = rows[: len(self.points)].max(axis=0)
        table = rows[len(self.points) :]
        if len(self.cover) > 1:
            limit = attained * (1 + self.tolerance) + allowed
            if np.all(table.max(axis=0) <= limit):
                return np.asarray(table.max(axis=0))
        current = dict(zip(self.cover, table, strict=True))
        while self._room > 0:
            limit = attained * (1 + self.tolerance) + allowed
            order = list(current)
            table = np.stack([current[node] for node in order])
            owner = table.argmax(axis=0)
            best = table[owner, np.arange(table.shape[1])]
            chosen = [order[i] for i in np.unique(owner[best > limit])]
            chosen = [node for node in chosen if node.depth < self._deepest]
            if not chosen:
                break
            fresh: list[_Node] = []
            for node in chosen:
                del current[node]
                if node.children is None:
                    self.points.append(self._make(node.cell.center(), 0))
                fresh.extend(self._children(node))
            current.update(zip(fresh, convolve(np.stack([n.hat for n in fresh])), strict=True))
            attained = np.maximum(
                attained, convolve(np.stack([n.hat for n in self.points])).max(axis=0)
            )
        self.cover = list(current)
        self._restack()
        return np.asarray(np.stack(list(current.values())).max(axis=0))

    def coarsen(self, convolve: Callable[[Complex], Array], allowed: Array) -> None:
        """Merge cells whose parents do not stand out either; forget points that attain nothing."""
        rows = convolve(np.stack([n.hat for n in self.points]))
        attained = rows.max(axis=0)
        keep = set(np.unique(rows.argmax(axis=0))) | {0, 1}
        self.points = [p for i, p in enumerate(self.points) if i in keep]
        limit = attained * (1 + 0.7 * self.tolerance) + 0.7 * allowed
        covering = set(self.cover)

        def merge(node: _Node) -> bool:
            if node in covering:
                return True
            assert node.children is not None
            whole = [merge(child) for child in node.children]
            if not all(whole) or node is self.root:
                return False
            if np.any(convolve(node.hat[None])[0] > limit):
                return False
            covering.difference_update(node.children)
            covering.add(node)
            return True

        merge(self.root)
        self.cover = list(covering)
        self._restack()


@dataclass(frozen=True, eq=False)
class Run:
    """Values after all steps, and what it took.

    Args:
      grid: The grid.
      values: Certified `V` on the grid, not decreasing in `s` up to rounding.
      cells: Largest number of cells in use for one step.
      snapshots: Values after the numbers of steps that were asked for.
    """

    grid: Grid
    values: Array
    cells: int
    snapshots: dict[int, Array] = field(default_factory=dict)


def _convex(values: Array, u: Array) -> Array:
    """The convex minorant of `u V`, which is above the convex truth as well, over `u`.

    Without it rounding would grow from step to step, by the changes of slope that it turns
    negative.
    """
    # Far left, where products would leave the range of floats, the values stay.
    first = int(np.searchsorted(u, 1e-250))
    kept, values, u = values[:first], values[first:], u[first:]
    heights, points = (u * values).tolist(), u.tolist()
    hull: list[int] = []
    for i, (x, y) in enumerate(zip(points, heights, strict=True)):
        while len(hull) > 1:
            j, k = hull[-2], hull[-1]
            left = (heights[k] - heights[j]) * (x - points[k])
            if left < (y - heights[k]) * (points[k] - points[j]):
                break
            hull.pop()
        hull.append(i)
    convex = np.interp(u, u[hull], (u * values)[hull]) / u * (1 + 16 * _UNIT)
    return np.concatenate([kept, np.minimum(convex, values)])


class _Iteration:
    def __init__(self, grid: Grid, allowed: Array | float) -> None:
        self.grid = grid
        self.allowed = allowed / grid.scale
        self.done = 0

    def step(self, family: _Family, values: Array) -> Array:
        """One step back in time."""
        grid = self.grid
        nu, error = grid.curvature(values)
        if nu.min() < 0:
            values = _convex(values, np.exp(grid.losses))
            nu, error = grid.curvature(values)
        extended = grid.extended(nu)
        hat = np.asarray(fft.rfft(extended))

        def convolve(kernels: Complex, hat: Complex = hat) -> Array:
            """Rows `sum_j nu_j g(j - i)` in tilted units, one for each kernel."""
            rows = np.empty((len(kernels), grid.window + 1))
            for i in range(0, len(kernels), _CHUNK):
                product = kernels[i : i + _CHUNK] * hat
                rows[i : i + _CHUNK] = fft.irfft(product, grid.length, axis=-1, overwrite_x=True)[
                    :, : grid.window + 1
                ]
            return rows

        gain = family.gain(convolve, self.allowed)
        self.done += 1
        if self.done % _COARSEN_EVERY == 0:
            family.coarsen(convolve, self.allowed)
        total = float(np.abs(extended).sum())
        norm = float(np.linalg.norm(extended))
        # The kernels bound profiles from above: where rounding turned a change of slope negative,
        # the largest of them bounds what was taken off too much.
        negative = grid.extended(np.maximum(-nu, 0.0))
        if negative.any():
            gain = gain + convolve(family.top_hat[None], np.asarray(fft.rfft(negative)))[0]
        # FFT rounding, and that of the changes of slope.
        slack = 2 * fft_unit(grid.length) * (2 * total * family.sum + norm * family.norm)
        slack += 2 * error * family.sum
        raised = np.maximum(gain, 0.0) * (1 + grid.rounding) + slack
        # The positive changes of slope add up to at most 1 plus the negative ones.
        beyond = family.beyond * (1 + 2 * float(np.sum(np.maximum(-nu, 0.0) * grid.scale)))
        new = (values + raised * grid.scale + beyond) * (1 + 8 * _UNIT)
        return np.minimum(new, 1.0)


def iterate(
    phases: Sequence[tuple[StepBounds, int]],
    grid: Grid,
    *,
    tolerance: float,
    negligible: Array | float = 0.0,
    snapshots: Sequence[int] = (),
    progress: Progress | None = None,
    keep_going: Callable[[int], bool] | None = None,
) -> Run:
    """Certified values of the best adaptive adversary.

    Args:
      phases: Steps and how often each is applied, in the order of the training.
      grid: The grid of losses.
      tolerance: Cells are split until their bound is within this fraction of what some triangle
        attains, step by step.
      negligible: Absolute excess of `V` per step that is not worth a split.
      snapshots: Numbers of steps, counted from the end of the training, whose values to keep.
      progress: Called with the finished fraction.
      keep_going: Asked after every step, with the number of steps done; False ends the run.
    """
    families: dict[StepBounds, _Family] = {}
    iteration = _Iteration(grid, negligible)
    values = np.zeros(grid.window + 1)
    kept: dict[int, Array] = {}
    wanted = set(snapshots)
    done, total = 0, sum(count for _, count in phases)
    stopped = False
    for step, count in reversed(phases):
        family = families.get(step)
        if family is None:
            family = families[step] = _Family(step, grid, tolerance)
        for _ in range(count):
            values = iteration.step(family, values)
            done += 1
            if done in wanted:
                kept[done] = values
            if progress is not None and done % 16 == 0:
                progress(done / total)
            if keep_going is not None and not keep_going(done):
                stopped = True
                break
        if stopped:
            break
    cells = max(f.largest_cover for f in families.values())
    return Run(grid, values, cells, kept)
