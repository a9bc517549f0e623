"""A statistical audit: run the worst-case model for real and bound epsilon from below.

The worst case of the analysis is a model whose clipped gradient is `+C e` when the crop shows the
patch of the first data set and `-C e` otherwise. The audit draws batches, crops the pixels of a
marked image, adds noise, lets an attacker who knows everything but the data set vote by likelihood
ratio, and turns the votes into Clopper-Pearson lower bounds on epsilon. A certified epsilon below
one of them would be wrong.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(8, 8), crop=pdp.RandomCrop((4, 4)), patch=pdp.Patch((2, 2)),
...     sampling=pdp.Poisson(sampling_probability=0.5), noise_multiplier=1.0, steps=10,
... )
>>> found = audit(plan, delta=1e-3, runs=8000, seed=1)
>>> found.passed, found.points[0].delta, found.points[0].epsilon_lower > 1
(True, 0.001, True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from patchdp import _checks
from patchdp.geometry import Disk, Mask, Patch, RandomCrop
from patchdp.guarantee import Guarantee
from patchdp.plan import Composition, TrainingPlan
from patchdp.step import FixedSize, Poisson, RandomAllocation, StepProfile

__all__ = ["Audit", "AuditPoint", "audit", "numpy_crops", "torchvision_crops"]

Array = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
# Crops the marked image so many times and says which crops show a marked pixel.
Hits = Callable[[np.random.Generator, int], Flags]

# Outputs held at once, and entries of the table of losses.
_BLOCK = 2_000_000
_TABLE = 1 << 15
# Small deltas are out of reach of a few hundred thousand runs: errors show at these as well.
_DELTAS = (1e-3, 1e-2, 3e-2, 1e-1)
_PADDED_BY_NUMPY = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "circular": "wrap",
}


class AuditPoint(NamedTuple):
    """What the audit says at one delta.

    `true_positive_rate` and `false_positive_rate` are those of the attack behind `epsilon_lower`,
    as observed.
    """

    delta: float
    epsilon_lower: float
    epsilon_upper: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    >>> Audit((AuditPoint(1e-5, 1.2, 2.0, 0.4, 0.1),), runs=1000, confidence=0.999).passed
    True

    Args:
      points: One per delta, the requested delta first: what was attained beside what is claimed.
      runs: Trainings simulated under each of the two data sets.
      confidence: Probability that all lower bounds hold at once, at least.
    """

    points: tuple[AuditPoint, ...]
    runs: int
    confidence: float

    @property
    def passed(self) -> bool:
        """Whether every claimed epsilon is at least what the attack achieved."""
        return all(point.epsilon_lower <= point.epsilon_upper for point in self.points)


def _marked(plan: TrainingPlan) -> tuple[npt.NDArray[np.uint8], RandomCrop]:
    """An image that is 1 in the worst patch and 0 elsewhere, and the crop."""
    crop, patch, place = plan.crop, plan.patch, plan.inclusion.worst_position
    if type(crop) is not RandomCrop or crop.pad_if_needed:
        raise ValueError(f"an audit crops by RandomCrop without pad_if_needed, got {crop!r}")
    if place is None or not isinstance(patch, (Patch, Mask, Disk)):
        raise ValueError(f"an audit needs a single patch with a worst place, got {patch!r}")
    image = np.zeros(plan.inclusion.worst_image, dtype=np.uint8)
    pixels = patch.pixels(image.ndim)
    image[tuple(slice(at, at + n) for at, n in zip(place, pixels.shape, strict=True))] = pixels
    return image, crop


def numpy_crops(plan: TrainingPlan) -> Hits:
    """Crops at offsets drawn by NumPy from an image padded by NumPy.

    Raises:
      ValueError: The crop is not a plain `RandomCrop`, or no single place of the patch is worst.
    """
    image, crop = _marked(plan)
    margins = [crop.margins(axis) for axis in range(image.ndim)]
    padded = np.pad(image, margins, mode=_PADDED_BY_NUMPY[crop.padding_mode])  # type: ignore[call-overload]
    # Every window at once: its maximum is 1 where a pixel of it is marked.
    seen = padded
    for axis, side in enumerate(crop.size):
        windows = padded.shape[axis] - side + 1
        largest = ndimage.maximum_filter1d(seen, side, axis=axis, mode="constant")
        seen = np.take(largest, np.arange(side // 2, side // 2 + windows), axis=axis)
    shows = seen.astype(bool)

    def draw(rng: np.random.Generator, count: int) -> Flags:
        offsets = tuple(rng.integers(0, side, size=count) for side in shows.shape)
        return np.asarray(shows[offsets], dtype=bool)

    return draw


def torchvision_crops(plan: TrainingPlan) -> Hits:
    """Crops made by torchvision's own `RandomCrop`, one call each: slow, and nothing is assumed.

    Raises:
      ValueError: As for `numpy_crops`, or the image does not have two axes.
      ImportError: torchvision is not installed, or not for this PyTorch.
    """
    try:
        import torch
        from torchvision.transforms import RandomCrop as TorchvisionCrop
    except (ImportError, RuntimeError) as error:
        # A build of torchvision for another PyTorch stops with a RuntimeError.
        raise ImportError(f"torchvision cannot be imported: {error}") from None
    image, crop = _marked(plan)
    if image.ndim != 2:
        raise ValueError(f"torchvision crops images of two axes, got {image.ndim}")
    if crop.padding_mode == "circular":
        raise ValueError("torchvision's RandomCrop has no padding_mode 'circular'")
    (top, bottom), (left, right) = crop.margins(0), crop.margins(1)
    padding = [left, top, right, bottom]
    transform = TorchvisionCrop(crop.size, padding=padding, padding_mode=crop.padding_mode)
    tensor = torch.from_numpy(image)[None]

    def draw(rng: np.random.Generator, count: int) -> Flags:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return np.array([bool(transform(tensor).any()) for _ in range(count)], dtype=bool)

    return draw


def _in_batch(plan: TrainingPlan, rng: np.random.Generator, shape: tuple[int, int]) -> Flags:
    """Whether the changed image takes part in each application of each run."""
    sampling = plan.sampling
    if isinstance(sampling, Poisson):
        return rng.random(shape) < float(sampling.probability)
    if isinstance(sampling, FixedSize):
        # Shuffle all images and take the first ones: one image lands anywhere, equally likely.
        place = rng.integers(0, sampling.dataset_size, size=shape)
        return np.asarray(place < sampling.batch_size)
    return np.ones(shape, dtype=bool)


@dataclass(frozen=True)
class _Phase:
    """One plan, ready to be simulated: its crops and a table of the attacker's votes."""

    plan: TrainingPlan
    hits: Hits
    table: Singles
    reach: float

    @classmethod
    def of(cls, plan: TrainingPlan, hits: Hits) -> _Phase:
        # The attacker reads the log-likelihood ratio off a table; any vote makes a valid attack.
        reach = 1 / plan.noise_multiplier + 7
        nodes = (np.arange(_TABLE) + 0.5) * (2 * reach / _TABLE) - reach
        step = plan.step
        loss = step.parts[0][1].loss(nodes) if isinstance(step, StepProfile) else 0 * nodes
        return cls(plan, hits, loss.astype(np.float32), reach)

    @property
    def outputs(self) -> int:
        """Outputs of one application: an epoch under random allocation has one for each step."""
        sampling = self.plan.sampling
        return sampling.steps_per_epoch if isinstance(sampling, RandomAllocation) else 1

    def votes(self, rng: np.random.Generator, runs: int, steps: int, *, changed: bool) -> Array:
        """Sum over `steps` applications of the log-likelihood ratio, for each of `runs`."""
        mu = np.float32(1 / self.plan.noise_multiplier)
        if self.outputs > 1:
            return self._epoch_votes(rng, runs, steps, changed=changed)
        inside = _in_batch(self.plan, rng, (runs, steps))
        shown = np.zeros((runs, steps), dtype=bool)
        if not changed:
            # Views averaged before clipping: one that shows the patch is enough.
            shown[inside] = self._shown(rng, int(inside.sum()))
        # Under fixed-size sampling the image that takes the place has gradient -C e as well.
        absent = np.float32(0) if isinstance(self.plan.sampling, Poisson) else -mu
        output = rng.standard_normal((runs, steps), dtype=np.float32)
        output += np.where(shown, mu, np.where(inside, -mu, absent))
        output += np.float32(self.reach)
        output *= np.float32(_TABLE / (2 * self.reach))
        cells = output.astype(np.int32)
        votes = self.table.take(cells, mode="clip").sum(axis=1, dtype=np.float64)
        return np.asarray(votes)

    def _shown(self, rng: np.random.Generator, count: int) -> Flags:
        """Whether the patch is in a view of each of so many images."""
        found = np.zeros(count, dtype=bool)
        for _ in range(self.plan.views):
            found |= self.hits(rng, count)
        return found

    def _epoch_votes(
        self, rng: np.random.Generator, runs: int, epochs: int, *, changed: bool
    ) -> Array:
        """The same over epochs in which the image takes part in one random step."""
        mu, rounds = 1 / self.plan.noise_multiplier, self.outputs
        seen = float(self.plan.hit_probability)
        shape = (runs * epochs,)
        sign = np.full(shape, -1.0)
        if not changed:
            sign[self._shown(rng, len(sign))] = 1.0
        output = rng.standard_normal((*shape, rounds))
        output[np.arange(len(sign)), rng.integers(0, rounds, shape)] += mu * sign
        hit, miss = (special.logsumexp(s * mu * output, axis=1) for s in (1, -1))
        with np.errstate(divide="ignore"):
            votes = np.logaddexp(np.log1p(-seen), np.log(seen) + hit - miss)
        return np.asarray(votes.reshape(runs, epochs).sum(axis=1))


def _scores(
    phases: Sequence[_Phase],
    rng: np.random.Generator,
    runs: int,
    *,
    changed: bool,
    tick: Callable[[int], None],
) -> Array:
    scores = np.zeros(runs)
    for phase in phases:
        steps = phase.plan.applications
        # Long trainings in pieces: whole runs where they fit, else some steps at a time.
        block = max(_BLOCK // phase.outputs, 1)
        rows, columns = max(block // steps, 1), min(steps, block)
        for start in range(0, runs, rows):
            stop = min(start + rows, runs)
            for first in range(0, steps, columns):
                width = min(columns, steps - first)
                scores[start:stop] += phase.votes(rng, stop - start, width, changed=changed)
                tick((stop - start) * width)
    return scores


def _attained(
    positives: npt.NDArray[np.intp],
    false: npt.NDArray[np.intp],
    runs: int,
    delta: float,
    failure: float,
) -> Array:
    """Clopper-Pearson on both rates, each failing with probability at most `failure / 2`."""
    tp, fp = positives.astype(float), false.astype(float)
    low = np.where(tp > 0, special.betaincinv(np.maximum(tp, 1), runs - tp + 1, failure / 2), 0.0)
    room = np.maximum(runs - fp, 1)
    high = np.where(fp < runs, special.betaincinv(fp + 1, room, 1 - failure / 2), 1.0)
    return np.asarray(np.log(np.maximum((low - delta) / high, 1.0)))


def _above(scores: Array, thresholds: Array) -> npt.NDArray[np.intp]:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right")


def _point(
    first: Array, second: Array, tuning: int, delta: float, failure: float
) -> tuple[float, float, float]:
    """The best of two attacks, for `first` and for `second`: epsilon and the two rates."""
    best = (0.0, 0.0, 0.0)
    judged = len(first) - tuning
    tails = np.geomspace(1 / tuning, 0.05, 100)
    shares = np.concatenate([1 - tails, np.linspace(0.0, 0.95, 200)])
    for positive, negative in ((first, second), (-second, -first)):
        # The threshold is chosen on some runs and judged on the others, so the bound is honest.
        grid = np.quantile(negative[:tuning], shares)
        hopes = _attained(
            _above(positive[:tuning], grid),
            _above(negative[:tuning], grid),
            tuning,
            delta,
            failure,
        )
        threshold = grid[[int(np.argmax(hopes))]]
        tp, fp = _above(positive[tuning:], threshold), _above(negative[tuning:], threshold)
        found = float(_attained(tp, fp, judged, delta, failure)[0])
        best = max(best, (found, int(tp[0]) / judged, int(fp[0]) / judged))
    return best


def audit(
    plan: TrainingPlan | Composition,
    *,
    delta: float | Fraction,
    runs: int = 100_000,
    confidence: float = 0.999,
    seed: int = 0,
    claim: Guarantee | None = None,
    crops: Callable[[TrainingPlan], Hits] = numpy_crops,
    progress: Callable[[float], None] | None = None,
) -> Audit:
    """Attack the worst-case training and bound epsilon from below.

    An attack on so many runs can reach an epsilon of about `log(runs)`, and sees little at deltas
    far below `1 / runs`. So larger deltas are audited as well, all at one confidence (Bonferroni).

    Args:
      plan: The training, or its phases; its worst case is a real execution.
      delta: In (0, 1).
      runs: Simulated trainings under each data set, at least 100; a third choose the thresholds.
      confidence: That all lower bounds hold, in (0, 1).
      seed: Of the random numbers.
      claim: Whose epsilons are audited, `plan`'s own unless given: another analysis of the same
        training.
      crops: Makes the crops: `numpy_crops`, `torchvision_crops`, or your own pipeline: it takes a
        plan and returns a function of a generator and a count that crops an image so often and
        returns a boolean array, true where the crop shows the worst patch.
      progress: Called with the finished fraction.

    Raises:
      ValueError: The plan's worst case is not a real execution, or an argument is out of range.

    Source: arXiv:2101.04535 (lower bounds by Clopper-Pearson); the worst case is
    `docs/theory/sampling.md`, "Tightness and lower bounds".
    """
    runs = _checks.whole("runs", runs, least=100)
    seed = _checks.whole("seed", seed, least=0)
    # A bound that holds with more confidence holds. Claim and attack use one and the same float.
    level = _checks.round_up(_checks.probability("confidence", confidence, open_ends=True))
    target = _checks.positive("delta", float(_checks.chance("delta", delta, open_ends=True)))
    if not isinstance(plan, TrainingPlan | Composition):
        raise ValueError(f"plan must be a plan or a composition, got {_checks.shown(plan)}")
    plans = plan.plans if isinstance(plan, Composition) else (plan,)
    if not plan.attainable or not plan.phases:
        raise ValueError(
            "an audit needs noise and a worst case that is a real execution; this plan has only "
            "an upper bound"
        )
    phases = [_Phase.of(p, crops(p)) for p in plans if p.phases]
    rng = np.random.default_rng(seed)
    total = 2 * runs * sum(phase.plan.applications for phase in phases)
    done = 0

    def tick(outputs: int) -> None:
        nonlocal done
        done += outputs
        if progress is not None:
            progress(done / total)

    first = _scores(phases, rng, runs, changed=False, tick=tick)
    second = _scores(phases, rng, runs, changed=True, tick=tick)
    deltas = [target, *(d for d in _DELTAS if d > target)]
    # Two directions at every delta.
    failure = (1 - level) / (2 * len(deltas))
    claimed = plan if claim is None else claim
    points = []
    for d in deltas:
        attained, tpr, fpr = _point(first, second, runs // 3, d, failure)
        points.append(AuditPoint(d, attained, claimed.epsilon(d), tpr, fpr))
    return Audit(tuple(points), runs, level)
