"""Optimal composition: an epsilon or delta with what bounds it from both sides.

>>> from patchdp.composition.adaptive.steps import OptimalStep
>>> step = OptimalStep("fixed", rate=0.5, inclusion=0.5, mu=0.25)
>>> found = optimal_bounds([(step, 20)], 1e-5)
>>> found.lower < found.upper < 1.02 * found.lower
True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition.adaptive.attained import Attained
from patchdp.composition.adaptive.planning import settings as settings_for
from patchdp.composition.adaptive.run import Run, attained, run
from patchdp.composition.adaptive.steps import Steps, merged

__all__ = ["OptimalBounds", "OptimalProfile", "optimal_bounds", "optimal_profile"]

Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class OptimalProfile:
    """The privacy profile of a training at every epsilon, from both sides, from one run.

    >>> from patchdp.composition.adaptive.steps import OptimalStep
    >>> step = OptimalStep("fixed", rate=1.0, inclusion=0.5, mu=0.5)
    >>> profile = optimal_profile([(step, 20)], 1e-5)
    >>> bool(profile.attained(1.0) <= profile.delta(1.0) < 1.02 * profile.attained(1.0))
    True

    It is sharp about the target and certified everywhere.

    Args:
      run: The certified value, and what it took.
      policies: What some policies attain.
    """

    run: Run
    policies: tuple[Attained, ...]

    def delta(self, epsilon: npt.ArrayLike) -> Array:
        """A certified upper bound on delta at every real epsilon."""
        eps = np.asarray(epsilon, dtype=np.float64)
        right = self._right(np.abs(eps).ravel()).reshape(eps.shape)
        left = 1 - np.exp(-np.abs(eps)) * (1 - right) + 1e-15
        return np.minimum(np.where(eps >= 0, right, left), 1.0)

    def _right(self, epsilon: Array) -> Array:
        # delta is convex in e^epsilon, so it is below the chords through the lattice's points.
        h = self.run.settings.plan.lattice.interval
        deltas = self.run.deltas()
        last = len(deltas) - 1
        index = np.minimum((epsilon / h).astype(np.int64), last - 1)
        share = np.clip(np.expm1(epsilon - h * index) / math.expm1(h), 0.0, 1.0)
        return np.asarray((deltas[index] * (1 - share) + deltas[index + 1] * share) * (1 + 1e-12))

    def attained(self, epsilon: npt.ArrayLike) -> Array:
        """What some adaptive training attains at epsilons of at least 0."""
        eps = np.asarray(epsilon, dtype=np.float64)
        found = [policy.delta(eps.ravel()) for policy in self.policies]
        return np.asarray(np.max(found, axis=0)).reshape(eps.shape)

    def epsilon_upper(self, delta: float) -> float:
        """The smallest certified epsilon of at least 0; infinity where the lattice shows none."""
        deltas = self.run.deltas()
        met = np.flatnonzero(deltas <= delta)
        if not len(met):
            return math.inf
        i = int(met[0])
        if i == 0:
            return 0.0
        h = self.run.settings.plan.lattice.interval
        share = (deltas[i - 1] - delta) / (deltas[i - 1] - deltas[i])
        root, climb = h * (i - 1) + math.log1p(share * math.expm1(h)), 1e-13
        # The share may have lost digits: climb until the bound is met, at the latest at the point.
        while root < h * i and float(self.delta(root)) > delta:
            root, climb = root * (1 + climb) + 1e-300, 2 * climb
        return min(root, h * i) * (1 + 1e-13)

    def epsilon_lower(self, delta: float) -> float:
        """An epsilon below which no guarantee at `delta` is true; 0 where none is found."""
        return max(policy.epsilon(math.log(delta) + 1e-13) for policy in self.policies)


@dataclass(frozen=True, eq=False)
class OptimalBounds:
    """A certified epsilon, and one that an adaptive training attains.

    Args:
      upper: No training of this kind has a larger epsilon; infinity where nothing was certified.
      lower: Some training has at least this one.
      profile: Both at every epsilon.
    """

    upper: float
    lower: float
    profile: OptimalProfile

    @property
    def gap(self) -> float:
        """`upper / lower - 1`; 0 where both are 0."""
        if self.lower == 0:
            return 0.0 if self.upper == 0 else math.inf
        return self.upper / self.lower - 1

    @property
    def work(self) -> int:
        """Lattice points times cells, summed over the blocks; at most `WORK`."""
        return self.profile.run.work


def _target(delta: float | Fraction) -> float:
    target = float(_checks.probability("delta", delta, open_ends=True))
    if Fraction(target) > Fraction(delta):
        target = math.nextafter(target, 0.0)
    if target < 1e-300:
        raise ValueError(f"delta must lie between 1e-300 and 1, got {delta!r}")
    return target


def optimal_profile(
    steps: Steps,
    delta: float | Fraction,
    *,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> OptimalProfile:
    """The privacy profile against every adaptive adversary.

    Args:
      steps: Steps and how often each is applied, in the order of the training.
      delta: Where the profile is to be sharp, in (0, 1).
      effort: Scales lattice and cover: 1 is the default, 2 takes about four times as long.
      progress: Called with the finished fraction.

    Raises:
      ValueError: An argument is out of its range, or the run takes more than `WORK`.
    """
    joined = merged(steps)
    scale = _checks.positive("effort", effort)
    log_delta = math.log(_target(delta))
    chosen = settings_for(joined, log_delta, scale)
    policies = attained(joined, chosen)
    # Blocks are built on the law that does best on its own.
    base = max(policies, key=lambda name: policies[name].epsilon(log_delta))
    return OptimalProfile(run(joined, chosen, base, progress), tuple(policies.values()))


def optimal_bounds(
    steps: Steps,
    delta: float | Fraction,
    *,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> OptimalBounds:
    """Epsilon at `delta` against every adaptive adversary, from both sides.

    >>> from patchdp.composition.adaptive.steps import OptimalStep
    >>> step = OptimalStep("poisson", rate=0.1, inclusion=0.5, mu=0.5)
    >>> found = optimal_bounds([(step, 200)], 1e-5)
    >>> found.gap < 0.01
    True

    The same question has the same answer on every machine: effort is bounded by the number of
    lattice points, blocks and cells, not by time.

    Args:
      steps: Steps and how often each is applied, in the order of the training.
      delta: In (0, 1).
      effort: Scales lattice and cover: 1 is the default, 2 takes about four times as long.
      progress: Called with the finished fraction.

    Raises:
      ValueError: An argument is out of its range, or the run takes more than `WORK`.
    """
    target = _target(delta)
    profile = optimal_profile(steps, delta, effort=effort, progress=progress)
    return OptimalBounds(profile.epsilon_upper(target), profile.epsilon_lower(target), profile)
