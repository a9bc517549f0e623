"""What an adaptive adversary attains for certain: a policy that is constant over blocks.

At the start of a block the adversary plays `m = g'` (under Poisson sampling the isosceles triangle)
if the loss so far is at most 0, else its mirror image, and keeps to it: a real training. Its value
runs over a finer lattice without corrections; beside it runs a bound of what spreading dots has
added to it, and the difference of the two is attained.
Source: `docs/theory/adaptive.md`, "The lower bound".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.laws import Law
from patchdp.composition.adaptive.powers import Powers, Sampler

__all__ = ["Attained", "attain"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_FOLDS = 10
# The first block is so large a share of the run, later ones of what lies behind.
_FIRST, _GROWTH = 1 / 128, 0.12


@dataclass(frozen=True, eq=False)
class Attained:
    """Values that the policy attains.

    Args:
      lattice: The lattice.
      values: `V` at its points up to 0.
      excess: For each point `s_i` up to 0, `e^{-tau s}` times what `e^{s/2} V(s)` may exceed the
        attained value by, at most, for `s` in `[s_i, s_{i+1})`.
      tilt: `tau`.
      blocks: Number of blocks.
    """

    lattice: Lattice
    values: Array
    excess: Array
    tilt: float
    blocks: int

    def delta(self, epsilon: Array) -> Array:
        """Deltas that are attained at epsilons of at least 0."""
        n, h = self.lattice.size, self.lattice.interval
        u = np.exp(self.lattice.losses[: n + 1])
        at = np.exp(-epsilon)
        polygon = np.interp(at, u, u * self.values, left=0.0) / at
        # Either cell where rounding leaves open in which one epsilon lies.
        place = -epsilon / h + n
        cells = [np.clip(np.floor(place + d).astype(np.int64), 0, n) for d in (-1e-9, 1e-9)]
        excess = np.maximum(self.excess[cells[0]], self.excess[cells[1]])
        error = excess * np.exp(-(self.tilt - 0.5) * epsilon) * (1 + 1e-9)
        return np.asarray(np.maximum(polygon * (1 - 1e-12) - error, 0.0))

    def epsilon(self, log_delta: float) -> float:
        """An epsilon at which more than delta is attained; 0 where none is found."""
        n, h = self.lattice.size, self.lattice.interval
        target = math.exp(log_delta)
        broken = np.flatnonzero(self.delta(-self.lattice.losses[n::-1]) > target)
        if not len(broken):
            return 0.0
        start = h * float(broken[-1])
        fine = np.asarray(start + h / 32 * np.arange(32), dtype=np.float64)
        return float(fine[self.delta(fine) > target].max(initial=start)) * (1 - 4 * _UNIT)


def _lengths(count: int, first: int) -> list[int]:
    done, found = 0, []
    while done < count:
        k = 1 << int(math.log2(max(1.0, _GROWTH * done, first if done == 0 else 0)))
        while k > count - done:
            k //= 2
        found.append(k)
        done += k
    return found


def _largest(values: Array, back: int, ahead: int) -> Array:
    """The largest from `back` points before to `ahead` points after every point."""
    padded = np.pad(values, (back, ahead))
    windows = np.lib.stride_tricks.sliding_window_view(padded, back + ahead + 1)
    return np.asarray(windows.max(axis=1))


def _wrapped(law: Law, sampler: Sampler, k: int, log_mass: float) -> float:
    """Bound of aliases in space of a successor's tilted samples, over the tilted mass."""
    t, h = sampler.tilt, sampler.lattice.interval
    end, best = 0.5 * sampler.length * h, math.inf
    for i in range(24):
        u = t + 1.3**i / end
        left = k * law.log_transform(u) + 3 * u * h - (u - t) * end
        right = k * law.log_transform(-u) + 3 * u * h - (u + t) * end
        best = min(best, float(np.logaddexp(left, right)) - k * log_mass)
    return 2 * math.exp(min(best, 0.0))


def attain(phases: Sequence[tuple[Law, int]], lattice: Lattice, tilt: float) -> Attained:
    """Value of the policy after all steps.

    Args:
      phases: The law that is played while the loss is at most 0, and how many steps, in the order
        of the training.
      lattice: The lattice.
      tilt: Exponent above 1/2 under which what is added is kept small: that of the target.
    """
    n, h = lattice.size, lattice.interval
    sampler = Sampler(lattice, tilt, _FOLDS, 8)
    # sum over m >= 1 of 2 sinh(m h/2) e^{-tau m h}: what an error of all dots makes of the value.
    growth = 1 / math.expm1((tilt - 0.5) * h) - 1 / math.expm1((tilt + 0.5) * h)
    rounding = (4 * n + 16) * _UNIT
    weight = np.exp(-tilt * lattice.losses)
    dots = np.zeros(2 * n + 1)
    dots[n] = 1.0
    excess = _spread(lattice, dots, tilt)
    values, blocks = np.zeros(n + 1), 0
    first = max(1, int(_FIRST * sum(count for _, count in phases)))
    for law, count in reversed(phases):
        powers, kernels = Powers(sampler, law), {}
        for k in _lengths(count, 1 if blocks else first):
            if k not in kernels:
                array, error = powers.successor(k)
                error += _wrapped(law, sampler, k, powers.log_mass)
                padded = np.zeros(sampler.length)
                padded[: 4 * n + 1] = np.maximum(array, 0.0)
                size = float(padded.sum())
                kernels[k] = (fft.rfft(np.roll(padded, -2 * n)), error + 3 * sampler.unit * size)
            transform, error = kernels[k]
            scale = math.exp(k * powers.log_mass) * (1 + 1e-12)
            # What had been added, carried through the block: cells four away cover every shift.
            whole = np.concatenate([excess[:n], _mirrored(excess, lattice, tilt), [0.0]])
            cover = _largest(whole, 4, 4)
            padded = np.zeros(sampler.length)
            padded[: 2 * n + 1] = cover
            carried = sampler.gather(transform * fft.rfft(padded))[: n + 1]
            carried = (np.maximum(carried, 0.0) + error * float(cover.sum())) * scale
            found = sampler.gather(transform * sampler.spread(dots))
            wrong = error * float(np.sum(dots * weight)) * scale
            made = np.maximum(found, 0.0) * (scale * (1 - 4e-12))
            made[:4] = 0.0  # nothing is claimed left of the lattice
            dots = lattice.close(made / weight, 0.0)
            values = lattice.values(dots, 0.0)[: n + 1]
            chord = (made[: n + 1] + made[1 : n + 2] * math.exp(tilt * h)) * math.sinh(0.25 * h)
            chord += 4 * wrong * math.sinh(0.25 * h) * math.exp(tilt * h)
            excess = carried + chord + _spread(lattice, dots, tilt) + wrong * growth + rounding
            blocks += 1
    return Attained(lattice, values, excess, tilt, blocks)


def _spread(lattice: Lattice, dots: Array, tilt: float) -> Array:
    """What two hats add to dots in the cells up to 0, tilted."""
    most = _largest(dots, 1, 2)[: lattice.size + 1]
    return np.asarray(2 * lattice.lift * most * np.exp(-tilt * lattice.losses[: lattice.size + 1]))


def _mirrored(excess: Array, lattice: Lattice, tilt: float) -> Array:
    """An even function's bound in the cells right of 0, from that in the cells up to 0."""
    n = lattice.size
    # The mirror image of a cell is closed on its other side.
    both = np.maximum(excess[:n], excess[1:])[::-1]
    return np.asarray(both * np.exp(-2 * tilt * lattice.losses[n : 2 * n]))
