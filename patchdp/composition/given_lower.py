"""What an attacker attains over many epochs under random allocation: real executions, composed.

>>> import math
>>> from fractions import Fraction
>>> from patchdp.step.random_allocation import AllocationProfile
>>> epoch = AllocationProfile(inclusion=Fraction(1, 8), mu=0.5, rounds=15)
>>> bool(0.96 < epsilon_lower(epoch, 100, -math.log(2975), near=1.0314) < 1.0314)
True

Source: `docs/theory/allocation.md`, "What is attained".
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.step.random_allocation import AllocationProfile

__all__ = ["epsilon_lower"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_TESTS = 80
_MOST_NODES = 1 << 13
# The budget: points of all epochs together.
_MOST_WORK = 1 << 27


def _atoms(epoch: AllocationProfile, top: float) -> tuple[Array, Array]:
    """Masses of the pair that the best mixture of some tests leaves: of the hit and of the miss."""
    epsilon = np.concatenate(
        [[0.0], np.geomspace(0.05 * epoch.scale, max(top, epoch.scale), _TESTS)]
    )
    p, q = epoch.tests(epsilon)
    # A test of the two the other way round is one as well: the two executions mirror each other.
    hits = np.concatenate([[0.0, 1.0], p, 1 - q])
    false = np.concatenate([[0.0, 1.0], q, 1 - p])
    order = np.lexsort((-hits, false))
    kept: list[int] = []
    for i in order:
        if kept and hits[i] <= hits[kept[-1]]:
            continue
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            rise = (hits[b] - hits[a]) * (false[i] - false[a])
            if rise > (hits[i] - hits[a]) * (false[b] - false[a]):
                break
            kept.pop()
        kept.append(int(i))
    return np.diff(hits[kept]), np.diff(false[kept])


def _on_grid(p: Array, q: Array, interval: float) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """The same pair with outcomes merged until every loss lies on the grid: losses, masses.

    From the largest loss down, each outcome takes in a part of the next one until its loss is the
    grid point below. Merging outcomes is post-processing, so the pair attains less.
    """
    numbers: list[int] = []
    masses: list[tuple[float, float]] = []
    mine, other, target = 0.0, 0.0, 0  # what is being merged, and the loss it shall have
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        rest = 1.0
        if mine > 0 and other > 0:
            grown = math.exp(target * interval)
            short = grown * b - a
            share = (mine - grown * other) / short if short > 0 else math.inf
            if share < 1:
                share = max(share, 0.0)
                numbers.append(target)
                masses.append((mine + share * a, other + share * b))
                mine, other, rest = 0.0, 0.0, 1 - share
        emptied = mine == 0
        mine, other = mine + rest * a, other + rest * b
        if emptied and mine > 0 and other > 0:
            target = math.floor(math.log(mine / other) / interval - 1e-9)
        elif emptied and mine == 0:
            other = 0.0
    # What is left over is dropped: mass is only taken from the attacker.
    found = np.array(masses).reshape(-1, 2)
    return np.array(numbers, dtype=np.int64), found[:, 0], found[:, 1]


def _kernel(numbers: npt.NDArray[np.int64], mass: Array, points: int) -> Array:
    """Row whose circular convolution with values gives `sum_j mass_j values[i + numbers_j]`."""
    row = np.zeros(points)
    np.add.at(row, -numbers % points, mass)
    return row


def epsilon_lower(
    epoch: AllocationProfile, count: int, log_delta: float, *, near: float
) -> float | None:
    """An epsilon that no valid analysis of `count` epochs can go below; None past the budget.

    In every epoch the attacker's model plays one of two executions, that whose hit is `+C` before
    the change or that whose hit is `+C` after it, as the loss of the epochs so far says.

    Args:
      epoch: The profile of one epoch.
      count: Number of epochs.
      log_delta: Natural logarithm of delta.
      near: The certified epsilon, which says where to look; any number is sound.
    """
    if not 0 < near < math.inf:
        return 0.0
    hit, miss = _atoms(epoch, near)
    p = float(epoch.inclusion)
    before = (1 - p) * miss + p * hit
    interval = max(min(epoch.scale / 16, near / 600), near / _MOST_NODES)
    up = _on_grid(before, miss, interval)
    down = _on_grid(miss[::-1], before[::-1], interval)
    if not len(up[0]) or not len(down[0]):
        return 0.0  # no test tells the two apart
    reach = int(max(np.max(np.abs(n)) for n, *_ in (up, down)))
    half = math.ceil(1.6 * near / interval) + 1
    points = int(fft.next_fast_len(2 * half + 1 + 2 * reach, real=True))
    if count * points > _MOST_WORK:
        return None
    kernels = np.stack([_kernel(up[0], up[1], points), _kernel(down[0], down[1], points)])
    spectra = fft.rfft(kernels, axis=1)
    # `values[i]` bounds from below what can still be made of the loss `(i - half) * interval`.
    losses = interval * (np.arange(2 * half + 1) - half)
    values = -np.expm1(-np.maximum(losses, 0.0))
    unit = 8 * _UNIT * math.log2(points)
    for _ in range(count):
        line = np.zeros(points)
        line[: 2 * half + 1] = values
        line[2 * half + 1 : 2 * half + 1 + reach] = values[-1]  # values grow with the loss
        rows = fft.irfft(spectra * fft.rfft(line), points, axis=1)[:, : 2 * half + 1]
        slack = (
            4 * unit * float(np.linalg.norm(line)) * float(np.linalg.norm(kernels, axis=1).max())
        )
        values = np.maximum(rows.max(axis=0) * (1 - 1e-13) - slack - 1e-300, 0.0)
    attained = np.flatnonzero(values[half::-1] > math.exp(log_delta) * (1 + 1e-12))
    return float(interval * attained[-1]) if len(attained) else 0.0
