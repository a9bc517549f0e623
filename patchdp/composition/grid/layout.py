"""How to tilt a composition and how fine a grid it takes: estimates, no bounds.

Nothing here is certified, and nothing certified depends on it: any tilt and any grid gives valid
bounds (`docs/theory.md`, "Tilted composition"). These choices decide how far they are apart, and
what they cost.

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> layout = Layout([(step, 1)], log_delta=-40.0)
>>> round(float(layout.cumulant(np.array([3.0]), 0.0)[0]), 6)  # t (t + 1) D^2 / 2, distance D = 1
6.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchdp.composition.chernoff import least_exponent, log_kernel_peak
from patchdp.composition.grid.masses import GridLaw
from patchdp.composition.numeric import log_sums
from patchdp.composition.transform.law import Pairs, Run, Side
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile

__all__ = ["Layout"]

Array = npt.NDArray[np.float64]

_LEAST_TILT, _MOST_TILT = 1e-9, 1e13
_GAUSS, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_PANEL = 0.25
_MOST_NODES = 2000


def _positions(pair: MixturePair, far: float) -> tuple[Array, Array]:
    """Nodes around every component, and logs of their weights."""
    means = sorted({*pair.p_means, *pair.q_means, *pair.shifts, 0.0})
    ends: list[list[float]] = []
    for mean in means:
        if ends and mean - far <= ends[-1][1]:
            ends[-1][1] = mean + far
        else:
            ends.append([mean - far, mean + far])
    width = min(_PANEL, 0.5 / max(pair.shifts)) if max(pair.shifts) < 4 else _PANEL
    starts, sizes = [], []
    for low, high in ends:
        count = math.ceil((high - low) / width)
        starts.append(np.linspace(low, high, count, endpoint=False))
        sizes.append(np.full(count, (high - low) / count))
    half = 0.5 * np.concatenate(sizes)[:, None]
    x = np.concatenate(starts)[:, None] + half * (1 + _GAUSS)
    return x.ravel(), np.log(half * _WEIGHTS).ravel()


def _nodes(profile: StepProfile, far: float, side: Side) -> tuple[Array, Array]:
    """Losses of one step, and logs of their masses."""
    losses, masses = [], []
    for weight, pair in profile.parts:
        x, log_w = _positions(pair, far)
        if side == "symmetric":
            x, log_w = x[x > 0], log_w[x > 0]
        log_q, loss = (v[0] for v in Pairs([pair]).log_q_and_loss(x[None]))
        log_q = log_q + log_w + math.log(weight)
        if side == "backward":
            losses.append(-loss)
            masses.append(log_q)
            continue
        losses.append(loss)
        masses.append(log_q + loss)
        if side == "symmetric":
            losses.append(-loss)
            masses.append(log_q)
    return np.concatenate(losses), np.concatenate(masses)


class Layout:
    """The laws of the losses of some steps by a few hundred nodes each.

    Args:
      run: Steps and how often each is applied.
      log_delta: Log of a delta; positions too rare to matter for it are left out.
      side: The symmetric law, or one direction of the pair.
    """

    def __init__(self, run: Run, log_delta: float, side: Side = "symmetric") -> None:
        log_steps = math.log(sum(count for _, count in run))
        self.rows: list[tuple[Array, Array, int]] = []
        for profile, count in run:
            far = math.sqrt(2 * (log_steps - log_delta + 20.0)) + 1.0
            self.rows.append((*_nodes(profile, far, side), count))

    @classmethod
    def of_masses(cls, rows: Sequence[tuple[GridLaw, int]]) -> Layout:
        """The same of laws that are on a grid already, some points taken together."""
        layout = cls.__new__(cls)
        layout.rows = []
        for law, count in rows:
            loss, logs = law.losses + law.offset, law.log_probabilities
            if len(loss) > _MOST_NODES:
                starts = np.linspace(0, len(loss), _MOST_NODES, endpoint=False).astype(np.intp)
                middle = np.minimum(starts + len(loss) // (2 * _MOST_NODES), len(loss) - 1)
                loss, logs = loss[middle], log_sums(logs, starts)
            layout.rows.append((loss, logs, count))
        return layout

    def _moving(self, tilt: Array, cut: float) -> list[tuple[Array, Array, int]]:
        """Moments of a step's losses up to a cut and beyond it, by steps."""
        found = []
        with np.errstate(over="ignore"):
            for loss, log_mass, count in self.rows:
                far = np.abs(loss) > cut
                near = ~far
                mass = np.exp(log_mass[near])
                moment = np.exp(log_mass[far] + tilt[:, None] * loss[far]).sum(axis=1)
                still = 1 - float(np.exp(log_mass[far]).sum())
                small = still + np.expm1(tilt[:, None] * loss[near]) @ mass
                found.append((np.maximum(small, 1e-300), moment, count))
        return found

    def cumulant(self, tilt: Array, cut: float) -> Array:
        """Log of the composed moment of the runs in which some loss lies beyond the cut."""
        base, ratio = np.zeros(len(tilt)), np.zeros(len(tilt))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            for small, moment, count in self._moving(tilt, cut):
                base = base + count * np.log(small)
                ratio = ratio + count * np.log1p(moment / small)
            grown = np.where(ratio > 30, ratio, np.log(np.expm1(np.minimum(ratio, 30.0))))
        return np.asarray(base + grown)

    def reach(self, epsilon: float, cut: float) -> float:
        """About the log of what the runs without a loss beyond the cut have for delta."""

        def bound(tilt: Array) -> Array:
            rows = self._moving(tilt, cut)
            total = sum((count * np.log(small) for small, _, count in rows), np.zeros(len(tilt)))
            return np.asarray(total + log_kernel_peak(tilt) - tilt * epsilon)

        return least_exponent(bound, low=_LEAST_TILT, high=_MOST_TILT)[1]

    def spread(self, tilt: float, h: float) -> float:
        """What both roundings do to the second moment of the loss, in the runs that decide delta.

        Between two points `h` apart a loss `l` above the lower one is off by `l (h - l)` in the
        mean square where it is rounded up, by half of that, on average, where it goes down.
        """
        total = movers = 0.0
        at = np.array([tilt])
        moving = self._moving(at, 0.5 * h)
        for (loss, log_mass, _), (small, moment, count) in zip(self.rows, moving, strict=True):
            size = np.abs(loss)
            near = size < h
            off = np.where(near, size * (h - np.minimum(size, h)), h * h / 6)
            with np.errstate(over="ignore"):
                part = float(np.exp(log_mass + tilt * loss) @ off)
            whole = float(small[0] + moment[0])
            total += 1.5 * count * part / whole
            movers += count * float(moment[0]) / whole
        return total / -math.expm1(-movers) if movers > 1e-12 else h * h / 4

    def epsilon(self, log_delta: float, cut: float) -> float:
        """A rough upper bound on epsilon at `log_delta`."""

        def bound(tilt: Array) -> Array:
            return (self.cumulant(tilt, cut) + log_kernel_peak(tilt) - log_delta) / tilt

        return max(least_exponent(bound, low=_LEAST_TILT, high=_MOST_TILT)[1], 0.0)

    def aim(self, epsilon: float, cut: float) -> tuple[float, float]:
        """The tilt for `epsilon`, and a rough upper bound on log delta there."""

        def bound(tilt: Array) -> Array:
            return self.cumulant(tilt, cut) + log_kernel_peak(tilt) - tilt * epsilon

        return least_exponent(bound, low=_LEAST_TILT, high=_MOST_TILT)

    def interval(self, tilt: float, allowed: float, h: float) -> float:
        """The coarsest grid, up to `h`, on which rounding moves log delta by about `allowed`."""
        for _ in range(60):
            cost = 0.5 * tilt * (tilt + 1) * self.spread(tilt, h)
            if cost <= allowed:
                return h
            # between the first and the second power of the interval
            h *= min(max(math.sqrt(0.9 * allowed / cost), 1e-2), 0.9)
        return h
