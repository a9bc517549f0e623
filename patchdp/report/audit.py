"""A statistical audit: run the worst-case model for real and bound epsilon from below.

The worst case of the analysis is a model whose clipped gradient is `+C e` when the crop shows the
patch of the first data set and `-C e` otherwise. The audit draws real batches and real crops, adds
real noise, lets an attacker who knows everything but the data set vote by likelihood ratio, and
turns the votes into a Clopper-Pearson lower bound on epsilon. A certified upper bound below it
would be wrong.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(8, 8), crop=pdp.RandomCrop((4, 4)), patch=pdp.Patch((2, 2)),
...     sampling=pdp.Poisson(sampling_probability=0.5), noise_multiplier=1.0, steps=10,
... )
>>> found = audit(plan, delta=1e-3, runs=4000, seed=1)
>>> 0 < found.epsilon_lower < found.epsilon_upper
True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import stats

from patchdp import _checks
from patchdp.geometry import RandomCrop
from patchdp.plan import TrainingPlan
from patchdp.step import FixedSize, Poisson

__all__ = ["Audit", "audit"]

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# Draws a crop for every entry of a shape and says which crops show the worst patch.
Hits = Callable[[np.random.Generator, tuple[int, ...]], Flags]

# Random numbers held at once.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    >>> Audit(1.2, 2.0, 1e-5, 1000, 0.999, 0.4, 0.1).passed
    True

    Args:
      epsilon_lower: With the stated confidence, no valid epsilon is below this.
      epsilon_upper: The certified epsilon.
      delta: The delta of both.
      runs: Trainings simulated under each of the two data sets.
      confidence: Probability that `epsilon_lower` holds, at least.
      true_positive_rate, false_positive_rate: Of the attack that gave the bound, observed.
    """

    epsilon_lower: float
    epsilon_upper: float
    delta: float
    runs: int
    confidence: float
    true_positive_rate: float
    false_positive_rate: float

    @property
    def passed(self) -> bool:
        """Whether the certified epsilon is above what the attack achieved."""
        return self.epsilon_lower <= self.epsilon_upper


def numpy_hits(plan: TrainingPlan) -> Hits:
    """Crop offsets drawn by NumPy, compared with the worst patch pixel by pixel range."""
    place, size = plan.inclusion.worst_position, getattr(plan.patch, "size", None)
    crop = plan.crop
    if place is None or size is None or not plan.inclusion.attained:
        raise ValueError("an audit needs a box patch whose worst place attains the probability")
    if not isinstance(crop, RandomCrop) or crop.padding_mode != "constant":
        raise ValueError(f"an audit needs a RandomCrop with constant padding, got {crop!r}")
    windows = crop.windows(plan.inclusion.worst_image)

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Flags:
        hit = np.ones(shape, dtype=bool)
        for window, start, extent in zip(windows, place, size, strict=True):
            first = rng.integers(window.first, window.last + 1, size=shape)
            hit &= (first < start + extent) & (first + window.length > start)
        return hit

    return draw


def _participation(plan: TrainingPlan, rng: np.random.Generator, shape: tuple[int, int]) -> Flags:
    """Whether image 0 is in the batch, for `shape` runs and applications, by a real sampler."""
    sampling = plan.sampling
    if isinstance(sampling, Poisson):
        return rng.random(shape) < float(sampling.probability)
    if isinstance(sampling, FixedSize):
        # b of N and its lowest terms give image 0 the same law; sort keys, take the first b.
        ratio = sampling.probability
        keys = rng.random((*shape, ratio.denominator))
        return np.asarray(
            np.sum(keys[..., 1:] < keys[..., :1], axis=-1) < ratio.numerator, dtype=bool
        )
    return np.ones(shape, dtype=bool)


def _scores(
    plan: TrainingPlan, hits: Hits, rng: np.random.Generator, runs: int, *, changed: bool
) -> Array:
    """Total log-likelihood ratio of each run; the crop shows the patch's first content or not."""
    applications = plan.applications
    mu = 1 / plan.noise_multiplier
    pair = plan.step.parts[0][1]
    cost = applications * (
        plan.sampling.probability.denominator if isinstance(plan.sampling, FixedSize) else 1
    )
    block = max(_BLOCK // cost, 1)
    scores = np.empty(runs)
    for start in range(0, runs, block):
        stop = min(start + block, runs)
        shape = (stop - start, applications)
        inside = _participation(plan, rng, shape)
        positive = hits(rng, shape) if not changed else np.zeros(shape, dtype=bool)
        signal = np.where(positive, mu, -mu)
        if isinstance(plan.sampling, Poisson):
            signal = np.where(inside, signal, 0.0)
        else:
            # The image that takes the place in the batch has gradient -C e.
            signal = np.where(inside, signal, -mu)
        output = signal + rng.standard_normal(shape)
        scores[start:stop] = pair.loss(output.ravel()).reshape(shape).sum(axis=1)
    return scores


def _epsilon_from(tpr: int, fpr: int, runs: int, delta: float, failure: float) -> float:
    """Clopper-Pearson on both rates, each failing with probability at most `failure / 2`."""
    low = float(stats.beta.ppf(failure / 2, tpr, runs - tpr + 1)) if tpr else 0.0
    high = float(stats.beta.ppf(1 - failure / 2, fpr + 1, runs - fpr)) if fpr < runs else 1.0
    return math.log((low - delta) / high) if low - delta > high else 0.0


def audit(
    plan: TrainingPlan,
    *,
    delta: float | Fraction,
    runs: int = 20_000,
    confidence: float = 0.999,
    seed: int = 0,
    hits: Hits | None = None,
) -> Audit:
    """Attack the worst-case training and bound epsilon from below.

    Args:
      plan: The plan; its patch is a box and its bound attainable.
      delta: In (0, 1).
      runs: Simulated trainings under each data set; half of them choose the attack's threshold.
      confidence: Of the lower bound.
      seed: Of the random numbers.
      hits: Another way to draw crops (another library's), see `numpy_hits`.

    Raises:
      ValueError: The plan has no attainable worst case, or an argument is out of range.
    """
    _checks.whole("runs", runs, least=100)
    level = float(_checks.probability("confidence", confidence, open_ends=True))
    d = float(_checks.probability("delta", delta, open_ends=True))
    if not plan.attainable or not plan.phases or len(plan.step.parts) != 1:
        raise ValueError("an audit needs a plan with noise whose worst case is a real execution")
    draw = numpy_hits(plan) if hits is None else hits
    rng = np.random.default_rng(seed)
    first = _scores(plan, draw, rng, runs, changed=False)
    second = _scores(plan, draw, rng, runs, changed=True)
    half = runs // 2
    best: tuple[float, int, int] = (0.0, 0, 0)
    failure = (1 - level) / 2  # two directions
    for positive, negative in ((first, second), (-second, -first)):
        # The threshold is chosen on one half and judged on the other, so the bound is honest.
        grid = np.quantile(
            np.concatenate([positive[:half], negative[:half]]), np.linspace(0, 1, 400)
        )
        tuned = [
            _epsilon_from(
                int((positive[:half] > c).sum()), int((negative[:half] > c).sum()), half, d, failure
            )
            for c in grid
        ]
        threshold = grid[int(np.argmax(tuned))]
        tp, fp = int((positive[half:] > threshold).sum()), int((negative[half:] > threshold).sum())
        best = max(best, (_epsilon_from(tp, fp, runs - half, d, failure), tp, fp))
    value, tp, fp = best
    return Audit(
        epsilon_lower=value,
        epsilon_upper=plan.epsilon(delta),
        delta=d,
        runs=runs,
        confidence=level,
        true_positive_rate=tp / (runs - half),
        false_positive_rate=fp / (runs - half),
    )
