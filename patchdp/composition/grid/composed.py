"""A composed loss on a grid, and both bounds on delta that are read off it.

>>> masses = np.array([0.25, 0.5, 0.25])
>>> law = ComposedMasses(1.0, -1, 1.0, masses * np.exp([-1.0, 0.0, 1.0]), 0.0, 0.0, 0.0, -math.inf)
>>> round(math.exp(law.log_delta_upper(0.0)), 6)  # 0.25 (1 - 1/e)
0.15803
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.numeric import UNIT, log_diff
from patchdp.composition.roots import greatest_epsilon, least_epsilon

__all__ = ["ComposedMasses"]

Array = npt.NDArray[np.float64]

# Where in a range of epsilons a lower bound is looked for first.
_PROBES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)


@dataclass(frozen=True, eq=False)
class ComposedMasses:
    """The composed loss near the region that decides delta, as tilted masses.

    The mass at loss `offset + l_j`, `l_j = (first + j) h`, is `exp(log_scale - tilt l_j) tilted[j]`
    but for `error` and for what was folded into the window.

    Args:
      interval: Grid spacing `h`.
      first: Index of the first grid point of the window.
      tilt: The exponent `t`.
      tilted: Composed tilted masses in the window, non-negative.
      log_scale: Sum of `count * log M(t)`.
      error: Bound on the Euclidean norm of the error of `tilted`.
      slack: Relative bound for everything else (rounding of masses and sums).
      log_outside: Log of a bound on the mass above the window and at infinity.
      log_folded: Log of a bound on what folding adds to delta, at the epsilons of `aim`.
      aim: The epsilons for which the window is wide enough to be sharp.
      loss_rounding: Bound on the relative error of the losses: delta is read at an epsilon that is
        off by as much.
      offset: Where the grid's 0 lies.
      apart: Whether the runs without a loss beyond a cut were taken off.
    """

    interval: float
    first: int
    tilt: float
    tilted: Array
    log_scale: float
    error: float
    slack: float
    log_outside: float
    log_folded: float = -math.inf
    aim: tuple[float, float] = (0.0, math.inf)
    loss_rounding: float = 0.0
    offset: float = 0.0
    apart: bool = False

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        # Where the first point lies g above epsilon, the j-th one after it weighs
        # e^{-tjh} (1 - e^{-(g + jh)}) = e^{-tjh} (1 - e^{-jh}) + (1 - e^{-g}) e^{-tjh} e^{-jh}.
        # Weights below e^-300 are left out: arithmetic on the smallest floats is slow.
        count = min(len(self.tilted), 1 + int(300.0 / (self.tilt * self.interval)))
        steps = self.interval * np.arange(count)
        decay = np.exp(-self.tilt * steps)
        return -decay * np.expm1(-steps), decay * np.exp(-np.minimum(steps, 50.0))

    @property
    def top(self) -> float:
        """The loss just above the window."""
        return self.offset + self.interval * (self.first + len(self.tilted))

    def _read(self, epsilon: float) -> tuple[float, float, float]:
        """Sum over the window at a loss counted from the offset, its error, and log of its unit."""
        start = max(math.floor(epsilon / self.interval) + 1 - self.first, 0)
        gap = max(self.interval * (self.first + start) - epsilon, 0.0)
        far, near = self._weights
        values = self.tilted[start : start + len(far)]
        weights = far[: len(values)] - math.expm1(-gap) * near[: len(values)]
        body = float(weights @ values)
        # Weights that were left out: less than 1e-120 in all.
        error = self.error * math.sqrt(float(weights @ weights)) + 1e-120
        return body, error, self.log_scale - self.tilt * (epsilon + gap)

    def log_delta_upper(self, epsilon: float) -> float:
        """Log of a certified upper bound on delta at `epsilon >= 0`."""
        return self.log_delta_and_error(epsilon)[0]

    def log_delta_and_error(self, epsilon: float) -> tuple[float, float]:
        """The bound of `log_delta_upper`, and log of what it owes to rounding and cut tails.

        That is infinite where the window was not chosen for this epsilon.
        """
        reached = epsilon >= self.aim[0]
        aimed = reached and epsilon <= self.aim[1]
        epsilon *= 1 - self.loss_rounding
        if epsilon < self.interval * self.first or (self.apart and not reached):
            return 0.0, math.inf  # masses below the window were not kept
        if epsilon >= self.interval * (self.first + len(self.tilted)):
            return min(self.log_outside, 0.0), self.log_outside
        body, error, scale = self._read(epsilon)
        scale += self.slack + self.loss_rounding + UNIT * len(self.tilted)
        found = float(np.logaddexp(scale + math.log(body + error), self.log_outside))
        if not aimed:
            return min(found, 0.0), math.inf
        return min(found, 0.0), float(np.logaddexp(scale + math.log(error), self.log_outside))

    def log_delta_lower(self, epsilon: float) -> float:
        """Log of a certified lower bound on delta at `epsilon >= 0`; minus infinity if it is 0."""
        if not self.aim[0] <= epsilon <= self.aim[1]:
            return -math.inf
        margin = self.loss_rounding / (1 - self.loss_rounding)
        epsilon = epsilon * (1 + 2 * margin)
        at = epsilon - self.offset + 4 * UNIT * (abs(epsilon) + abs(self.offset))
        at = max(at, self.interval * self.first)
        if at >= self.interval * (self.first + len(self.tilted)):
            return -math.inf
        body, error, scale = self._read(at)
        body -= error
        scale -= self.slack + self.loss_rounding + UNIT * len(self.tilted)
        return log_diff(scale + math.log(body), self.log_folded) if body > 0 else -math.inf

    def epsilon_upper(self, log_delta: float) -> float:
        """The smallest certified epsilon at `log_delta`; infinity if none in the window."""
        low = max(self.interval * self.first, self.aim[0], 0.0)
        if self.log_delta_upper(low) <= log_delta:
            return low
        return least_epsilon(
            self.log_delta_upper, log_delta, low=low, high=self.top, slope=self.tilt
        )

    def epsilon_lower(self, log_delta: float) -> float:
        """The largest epsilon of `aim` at which delta is at least `log_delta` for certain, or 0."""
        low, high = self.aim[0], min(self.aim[1], max(self.top, self.aim[0]))
        # Far from the tilt's own epsilon rounding hides delta: look from the top down.
        probes = [high - share * (high - low) for share in _PROBES]
        for above, probe in zip([high, *probes], probes, strict=False):
            if self.log_delta_lower(probe) >= log_delta:
                low, high = probe, above
                break
        else:
            return 0.0
        return greatest_epsilon(
            self.log_delta_lower, log_delta, low=low, high=high, slope=self.tilt
        )
