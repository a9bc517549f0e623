"""Many objects in one training: the certified epsilon of each, from its inclusion probability.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048), crop=pdp.RandomCrop((505, 505)), patch=pdp.Patch((10, 10)),
...     sampling=pdp.Poisson(batch_size=200, dataset_size=2975), noise_multiplier=2.0, steps=1500,
... )
>>> epsilons_at(plan, [0.0001, 0.3291], delta=1e-5).round(2)
array([0.  , 3.73])
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp._checks import chance, count, floats, positive, shown
from patchdp.geometry import Patch, RandomCrop
from patchdp.plan import TrainingPlan

__all__ = ["epsilons_at"]

Floats = npt.NDArray[np.float64]

# hit_probability multiplies and adds a few correctly rounded terms: this is far more than it errs.
_ROUNDING = 1e-12
# Probabilities are rounded up to whole multiples of 1 / _LINE.
_LINE = 1 << 60
# Below the first even step of the grid there are two more, at these parts of it.
_SMALLER = (4.0, 2.0)


def epsilons_at(
    plan: TrainingPlan,
    probabilities: npt.ArrayLike,
    delta: float | Fraction,
    *,
    target: float | None = None,
    resolution: int = 48,
) -> Floats:
    """A certified epsilon for each of many inclusion probabilities in the same training.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
    ...     sampling=pdp.Shuffle(), noise_multiplier=4.0, epochs=15,
    ... )
    >>> epsilons_at(plan, [0.0, 0.1, 1.0], delta=1e-5).round(2)
    array([0.  , 0.98, 9.61])

    Epsilon grows with the inclusion probability, so it is certified at some probabilities, the
    largest among them, and every other one takes the value of the next larger: an upper bound
    always, and the certified value itself where there are no more than `resolution` distinct
    ones.

    Args:
      plan: The training; its image, crop and patch do not matter here.
      probabilities: In [0, 1], any shape.
      delta: In (0, 1).
      target: Where given, one more probability is certified: the largest of all that meets this
        epsilon. Then the entries of at most `target` are all that can be certified to be so.
      resolution: How many probabilities are certified.

    Returns:
      Upper bounds, of the shape of `probabilities`; 0 where it is 0.

    Raises:
      ValueError: A probability outside [0, 1], a plan with pixel noise or several images per
        person (one object's probability does not decide those), or no certified number for the
        largest probability.
    """
    seen = floats("probabilities", probabilities, "between 0 and 1", least=0.0, most=1.0, up=True)
    if not isinstance(plan, TrainingPlan):
        raise ValueError(f"plan must be a TrainingPlan, got {shown(plan)}")
    exact_delta = chance("delta", delta, open_ends=True)
    resolution = count("resolution", resolution)
    if target is not None:
        target = positive("target", target)
    if plan.pixel_noise is not None:
        raise ValueError("pixel_noise depends on each object's number of pixels: leave it out here")
    if plan.images_per_person > 1:
        raise ValueError(
            f"images_per_person={plan.images_per_person} would need the probabilities of all of a "
            "person's objects; epsilons of single objects are for images_per_person=1"
        )
    values, inverse = np.unique(seen, return_inverse=True)
    result = np.zeros(len(values))
    positives = np.flatnonzero(values > 0)
    if len(positives):
        result[positives] = _Ladder(plan, exact_delta, values[positives]).epsilons(
            resolution, target
        )
    return result[inverse].reshape(seen.shape)


class _Ladder:
    """Certified epsilons at some of many increasing probabilities."""

    def __init__(self, plan: TrainingPlan, delta: float | Fraction, values: Floats) -> None:
        self.plan, self.delta, self.values = plan, delta, values
        self.known: dict[int, float] = {}

    def epsilons(self, resolution: int, target: float | None) -> Floats:
        last = len(self.values) - 1
        if math.isinf(self.at(last)) and not self.plan.noiseless:
            self.certified(last)  # says why there is no number
        for rung in _rungs(self.values, resolution):
            self.at(rung)
        if target is not None:
            self.search(target)
        rungs = np.array(sorted(self.known))
        found = np.array([self.known[rung] for rung in rungs])
        # Any larger probability's epsilon holds for a smaller one.
        found = np.minimum.accumulate(found[::-1])[::-1]
        bounds: Floats = found[np.searchsorted(rungs, np.arange(last + 1))]
        return bounds

    def search(self, target: float) -> None:
        """Certify the largest probability whose epsilon is at most the target."""
        good = max((k for k, value in self.known.items() if value <= target), default=-1)
        bad = min((k for k in self.known if k > good), default=len(self.values))
        while bad - good > 1:
            middle = (good + bad) // 2
            if self.at(middle) <= target:
                good = middle
            else:
                bad = middle

    def at(self, index: int) -> float:
        """The certified epsilon; infinity where none can be had."""
        if index not in self.known:
            try:
                self.known[index] = self.certified(index)
            except ValueError:
                self.known[index] = math.inf
        return self.known[index]

    def certified(self, index: int) -> float:
        value = Fraction(float(self.values[index])) * Fraction(1 + _ROUNDING)
        pixels = min(math.ceil(value * _LINE), _LINE)
        # On a line of so many pixels a crop of one pixel hits a run of `pixels` of them with
        # exactly this probability.
        plan = self.plan.replace(
            image=(_LINE,), crop=RandomCrop((1,)), patch=Patch((pixels,), at=(0,))
        )
        return plan.epsilon(self.delta)


def _rungs(values: Floats, resolution: int) -> list[int]:
    """Indices to certify: even steps of the probability, even steps of rank, and a few small."""
    count = len(values)
    if count <= resolution:
        return list(range(count))
    steps = max(resolution // 2, 1)
    marks = values[-1] * np.arange(1, steps + 1) / steps
    small = marks[0] / np.array(_SMALLER)
    by_value = np.searchsorted(values, np.concatenate([small, marks[:-1]]), side="right") - 1
    by_rank = np.linspace(0, count - 1, resolution - steps + 1)[1:].astype(np.int64)
    # Small probabilities take the engines longest, and there is little to tell apart.
    by_rank = by_rank[values[by_rank] >= marks[0]]
    return sorted({*by_value[by_value >= 0].tolist(), *by_rank.tolist(), count - 1})
