"""The symmetric loss of one replace-one step as atoms, and crop amplification of it.

A profile that is a polygon in `a = e^eps` belongs to a loss with finitely many values. Crop
amplification `delta(eps) = p h(log(1 + (e^eps - 1)/p))` maps polygons to polygons: an atom of mass
`m` at `l > 0` moves to `l' = log(1 + p (e^l - 1))` and keeps its Q-mass, so that its P-mass becomes
`m e^{l' - l}`; mass at infinity is multiplied by `p`. Nothing is subtracted and nothing is lost.

>>> import numpy as np
>>> coin = LossAtoms(np.log([3.0]), np.array([0.75]), 0.0)  # randomised response, 3 to 1
>>> half = coin.amplify(Fraction(1, 2))
>>> np.exp(half.losses).round(12).tolist(), half.masses.round(12).tolist()
([2.0], [0.5])
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition.grid.fft import MAX_POINTS, GridTooLarge
from patchdp.composition.grid.masses import LossMasses

__all__ = ["LossAtoms"]

Array = npt.NDArray[np.float64]
_UNIT = 2.0**-52


@dataclass(frozen=True, eq=False)
class LossAtoms:
    """A symmetric privacy loss with finitely many values: the side of the positive ones.

    >>> import numpy as np
    >>> LossAtoms(np.array([1.0]), np.array([0.5]), 0.0).delta(0.0).round(6).item()
    0.31606

    The mirrored half carries `m e^{-l}` at `-l`; what is missing to 1 sits at loss 0.

    Args:
      losses: Values above 0, any order.
      masses: Their P-masses.
      infinity: P-mass at infinity.

    Raises:
      ValueError: The masses and their mirror image exceed 1: this is no replace-one profile.
    """

    losses: Array
    masses: Array
    infinity: float

    def __post_init__(self) -> None:
        if self._total() > 1 + 1e-9:
            raise ValueError(
                "the privacy loss distribution is not that of a symmetric (replace-one) relation: "
                f"with its mirror image it has mass {self._total():.9g}; 1 is allowed"
            )

    def _total(self) -> float:
        return float(self.masses @ (1 + np.exp(-self.losses))) + self.infinity

    def delta(self, epsilon: npt.ArrayLike) -> Array:
        """The hockey-stick divergence at each `epsilon >= 0`, shaped like `epsilon`."""
        eps = np.asarray(epsilon, dtype=np.float64)
        above = np.maximum(self.losses - eps[..., None], 0.0)
        return np.asarray(-np.expm1(-above) @ self.masses + self.infinity)

    def amplify(self, inclusion: Fraction) -> LossAtoms:
        """The loss when the changed content is seen with probability `inclusion` only.

        Rounded up: losses and masses are at least the true ones.

        Source: `docs/theory/one_step.md`, "Crop amplification".
        """
        if inclusion == 1:
            return self
        p = _checks.round_up(inclusion)
        small = self.losses < 1.0
        near = np.log1p(p * np.expm1(np.where(small, self.losses, 0.0)))
        far = self.losses + np.log(p + (1 - p) * np.exp(-self.losses))
        losses = np.where(small, near, far) * (1 + 8 * _UNIT)
        # e^{l'-l} = p + (1 - p) e^{-l}: a sum of positive terms.
        masses = self.masses * (p + (1 - p) * np.exp(-self.losses)) * (1 + 8 * _UNIT)
        return LossAtoms(losses, masses, min(self.infinity * p * (1 + _UNIT), 1.0))

    def on_grid(self, interval: float) -> LossMasses:
        """Pessimistic masses on multiples of `interval`: every atom is shared by its neighbours.

        Shares keep P-mass and Q-mass ("connect the dots", arXiv:2207.04380).

        Raises:
          GridTooLarge: The largest loss lies beyond the largest grid.
        """
        top = float(np.max(self.losses, initial=0.0))
        if top / interval > MAX_POINTS / 4:
            raise GridTooLarge(
                f"a grid of spacing {interval:.3g} for losses up to {top:.6g} has more than "
                f"{MAX_POINTS // 4} points"
            )
        size = int(top / interval) + 3
        below = np.floor(self.losses / interval).astype(np.intp)
        # The place within the cell is known up to the rounding of the loss: take it high.
        place = self.losses - below * interval + 4 * _UNIT * self.losses
        place = np.clip(place, 0.0, interval)
        span = -math.expm1(-interval)
        upper = np.minimum(-np.expm1(-place) / span, 1.0)
        # e^{-s} - e^{-h} = e^{-h} (e^{h - s} - 1)
        lower = math.exp(-interval) * np.expm1(interval - place) / span
        positive = np.bincount(below, self.masses * lower, size)
        positive += np.bincount(below + 1, self.masses * upper, size)
        losses = interval * np.arange(size)
        atom = 1 - self.infinity - float(positive @ (1 + np.exp(-losses)))
        with np.errstate(divide="ignore"):
            return LossMasses(
                interval,
                np.log(positive),
                # Sums of this many terms may fall short of 1 by rounding; mass at 0 is harmless.
                math.log(max(atom, 0.0) + 1e-14),
                math.log(self.infinity) if self.infinity > 0 else -math.inf,
                -math.inf,
            )
