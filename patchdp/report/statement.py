"""The guarantee in words and numbers: what was proved, and what it takes for granted.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
...     sampling=pdp.Shuffle(), noise_multiplier=4.0, epochs=15,
... )
>>> print(assumptions(plan)[1])
Per-image clipping, Gaussian noise of std 4 x the clipping norm on the summed gradients.
>>> print(statement(plan, delta=1e-5).sentence.split(" = ")[0])
The training described here is differentially private at patch level with ε
"""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp._version import __version__
from patchdp.composition.conversions import tradeoff
from patchdp.geometry import Disk, Patch, PatchUnion
from patchdp.geometry.sizes import spelled
from patchdp.guarantee import METHODS, Bounds, Method, Profile, Progress
from patchdp.plan import Composition, TrainingPlan
from patchdp.report.rounding import at_most, exactly
from patchdp.step import AllocationProfile, FixedSize, Poisson, RandomAllocation

__all__ = ["Attack", "Statement", "assumptions", "neighbours", "statement"]

Array = npt.NDArray[np.float64]

# False-positive rates of the table of attacks.
_RATES = (0.001, 0.01, 0.05, 0.1)
_TOLERANCES: dict[Method, str] = {
    "auto": "at most 0.1 % above the exact value of the analysis",
    "composed": "at most 0.1 % above the exact value of the analysis",
    "pld": "at most 0.1 % above the exact value of the analysis",
    "exact": "the error bar is at most 1e-6 of delta",
    "rdp": "",
    "optimal": "aims at 1 % above the largest epsilon that an adaptive training attains",
}


class Attack(NamedTuple):
    """The best any attacker can do at one false-positive rate: upper bounds.

    `image_level` is the same for an attacker who looks for a whole image.
    """

    false_positive_rate: float
    true_positive_rate: float
    image_level: float


@dataclass(frozen=True, eq=False)
class Statement:
    """What a report says, as numbers and sentences: `statement` makes it.

    Args:
      sentence: The guarantee, to be quoted; its numbers are rounded up.
      plans: The phases.
      delta: As a number, and
      delta_text: as a person writes it.
      bounds: The certified epsilon, and the largest attained one where one is known.
      image_level: The same if the whole image were private.
      profile: Certified deltas at a grid of epsilons, and
      image_profile: for the whole image.
      tradeoff: False-positive rates and lower bounds on the false-negative rate, and
      image_tradeoff: for the whole image.
      advantage: Largest true-positive minus false-positive rate.
      guess: Chance to name the right one of two equally likely contents.
      attacks: True-positive rates at a few false-positive rates.
      assumptions: What must hold, one sentence each.
      settings: For each phase, names and values.
      method: The engine of the headline epsilon, and
      tolerance: how sharp it is; empty where nothing is known.
      versions: Names and versions of the software.
    """

    sentence: str
    plans: tuple[TrainingPlan, ...]
    delta: float
    delta_text: str
    bounds: Bounds
    image_level: Bounds
    profile: Profile
    image_profile: Profile
    tradeoff: tuple[Array, Array]
    image_tradeoff: tuple[Array, Array]
    advantage: float
    guess: float
    attacks: tuple[Attack, ...]
    assumptions: tuple[str, ...]
    settings: tuple[tuple[tuple[str, str], ...], ...]
    method: Method
    tolerance: str
    versions: tuple[tuple[str, str], ...]


def _private(plan: TrainingPlan) -> str:
    """What is private in one image, as the end of "inside"."""
    patch = plan.patch
    if isinstance(patch, PatchUnion):
        return f"the {len(patch.parts)} pixel sets at known places, together {_pixels(plan)} pixels"
    size = patch.shape(len(plan.inclusion.worst_image))
    if isinstance(patch, Patch):
        kind, plural = f"box of at most {spelled(size)} pixels", f"boxes of at most {spelled(size)}"
    elif isinstance(patch, Disk):
        radius = f"{float(patch.radius):g}"
        kind, plural = f"disk of radius {radius} pixels", f"disks of radius {radius}"
    else:
        said = f"of {_pixels(plan)} pixels within {spelled(size)}"
        kind, plural = f"pixel set {said}", f"pixel sets {said}"
    if patch.at is not None:
        return f"the {kind} whose first corner is at {patch.at}"
    where = "anywhere in the image" if patch.within is None else f"within {patch.within}"
    if patch.count > 1:
        return f"up to {patch.count} patches ({plural} each), {where}"
    return f"one {kind}, {where}"


def _pixels(plan: TrainingPlan) -> int:
    patch, axes = plan.patch, len(plan.inclusion.worst_image)
    mask = patch.placed(axes) if isinstance(patch, PatchUnion) else patch
    return int(mask.pixels(axes).sum())


def _images(plan: TrainingPlan) -> str:
    people = plan.images_per_person
    return "one image" if people == 1 else f"each of up to {people} images"


def neighbours(plan: TrainingPlan) -> str:
    """Which two data sets the guarantee compares."""
    return (
        f"Neighbours: same images, except that {_images(plan)} may differ arbitrarily inside "
        f"{_private(plan)}."
    )


def _sampling_words(plan: TrainingPlan) -> str:
    """The claim about the data loader."""
    sampling = plan.sampling
    if isinstance(sampling, Poisson):
        return (
            "Poisson sampling: every image enters every batch independently with probability "
            f"{float(sampling.probability):.6g}."
        )
    if isinstance(sampling, FixedSize):
        return (
            f"Fixed-size sampling: every step draws {sampling.batch_size} of "
            f"{sampling.dataset_size} images afresh, uniformly, without replacement."
        )
    if isinstance(sampling, RandomAllocation):
        return (
            "Random allocation: in every epoch each image is used in exactly one of the "
            f"{sampling.steps_per_epoch} steps, drawn uniformly, independently of the other images "
            f"and of earlier epochs.{_stand_in(plan)}"
        )
    return "Shuffle: every image is used exactly once per epoch, in an order that no image decides."


def _stand_in(plan: TrainingPlan) -> str:
    """Which epoch stands in for one that is too long to be certified as it is."""
    if plan.noiseless or not plan.phases:
        return ""
    step = plan.step
    if not isinstance(step, AllocationProfile):
        return "" if step.attainable else " It is accounted as Shuffle, which bounds it."
    if step.accounted_rounds == step.rounds:
        return ""
    return f" It is accounted as an epoch of {step.accounted_rounds} steps, which bounds it."


def _mechanism(plan: TrainingPlan) -> list[str]:
    """Clipping, noise and sampling of one phase."""
    noise = f"Gaussian noise of std {plan.noise_multiplier:g} x the clipping norm"
    if plan.views_clipped == "summed":
        clipped = "Every crop's gradient is clipped on its own and all are summed"
    elif plan.views_clipped == "averaged":
        clipped = "Every crop's gradient is clipped on its own and those of an image are averaged"
    else:
        clipped = "Per-image clipping"
    lines = [f"{clipped}, {noise} on the summed gradients.", _sampling_words(plan)]
    if plan.views > 1:
        averaged = "; their gradients are averaged, then clipped once per image"
        lines.append(
            f"{plan.views} independent crops of each image in a step"
            + (averaged if plan.views_clipped == "together" else "")
            + "."
        )
    if plan.pixel_noise is not None:
        noise = f"Fresh Gaussian noise of std {plan.pixel_noise.std:g} on every pixel of each crop"
        lines.append(
            f"{noise}, where a pixel's {plan.pixel_noise.channels} values change by at most "
            f"{plan.pixel_noise.value_range:g} each."
        )
    return lines


def assumptions(plan: TrainingPlan | Composition) -> tuple[str, ...]:
    """What must hold for the guarantee, one sentence each.

    What holds in some phases only says in which.

    Args:
      plan: The plan, or phases of one training.
    """
    plans = _phases(plan)
    where: dict[str, list[int]] = {}
    for number, phase in enumerate(plans, start=1):
        for line in _mechanism(phase):
            where.setdefault(line, []).append(number)
    lines = [neighbours(plans[0])]
    for line, found in where.items():
        if len(found) == len(plans):
            lines.append(line)
        else:
            some = "phase" if len(found) == 1 else "phases"
            lines.append(f"In {some} {', '.join(map(str, found))}: {line}")
    return (
        *lines,
        "Every image gets a fresh crop at every step, on its own and independent of all content.",
        "The patch reaches training only through crops of its image: no batch normalisation, no "
        "mixing of images, no whole-image statistics, no label from outside the crop.",
        "The noise is taken as real-valued: attacks on floating point are not covered.",
    )


def _phases(plan: TrainingPlan | Composition) -> tuple[TrainingPlan, ...]:
    return plan.plans if isinstance(plan, Composition) else (plan,)


def _sampler(plan: TrainingPlan) -> str:
    """The sampling scheme with what was given of it."""
    given = dataclasses.asdict(plan.sampling)
    said = [f"{k.replace('_', ' ')} {v}" for k, v in given.items() if v is not None]
    return ", ".join([type(plan.sampling).__name__, *said])


def _settings(plan: TrainingPlan) -> tuple[tuple[str, str], ...]:
    """Names and values of one phase."""
    sizes = plan.image if isinstance(plan.image[0], tuple) else (plan.image,)
    some = ", ".join(spelled(size) for size in sizes[:4])
    shown = some if len(sizes) <= 4 else f"{some} and {len(sizes) - 4} more sizes"
    share = plan.inclusion.probability
    seen = at_most(float(share) * (1 + 1e-15) if 0 < share < 1 else float(share))
    if isinstance(share, Fraction) and share.denominator < 10**9 and 0 < share < 1:
        seen = f"{share} ≤ {seen}"
    rows = [
        ("Image", shown),
        ("Crop", repr(plan.crop)),
        ("Private patch", _private(plan)),
        ("Sampling", _sampler(plan)),
        ("Noise multiplier (std over clipping norm)", f"{plan.noise_multiplier!r}"),
        ("Length", f"{plan.epochs} epochs" if plan.epochs is not None else f"{plan.steps} steps"),
        ("Steps composed", f"{plan.applications}"),
        ("A crop shows the patch with probability", seen),
    ]
    if plan.images_per_person > 1:
        rows.append(("Images per person", f"{plan.images_per_person}"))
    if plan.views > 1:
        rows.append(("Crops of an image in a step", f"{plan.views}, clipped {plan.views_clipped}"))
    if plan.pixel_noise is not None:
        rows.append(("Noise on pixels", repr(plan.pixel_noise)))
    return tuple(rows)


def _sentence(plan: TrainingPlan | Composition, epsilon: float, delta: str) -> str:
    plans = _phases(plan)
    whole = "" if len(plans) == 1 else f", all its {len(plans)} phases together,"
    who = f"The training described here{whole}"
    if math.isinf(epsilon):
        return (
            f"{who} has no finite ε: without noise, nothing is promised about the content of a "
            "patch."
        )
    shown = at_most(epsilon)
    times = f"e^{shown}"
    if epsilon == 0:
        times = "1"
    elif epsilon < 600:
        times += f" (that is, {at_most(math.exp(float(shown)) * (1 + 1e-12), 3)})"
    first = plans[0]
    return (
        f"{who} is differentially private at patch level with ε = {shown} and δ = {delta}: "
        "anything that anyone concludes from the training or from the trained model is at most "
        f"{times} times as likely, plus at most {delta}, as it would have been had {_images(first)}"
        f" differed in any way inside {_private(first)}. This holds whatever else is known about "
        "the data, provided that the conditions listed with it are met."
    )


class _Curves:
    """Everything that is read off one certified profile.

    The exact profile is convex in `e^eps`, so chords between certified points lie above it.
    """

    def __init__(self, plan: TrainingPlan | Composition, epsilon: float) -> None:
        # Closer together near 0; beyond the last, delta is too small to matter to an attacker.
        top = 1.6 * epsilon if 0 < epsilon < math.inf else 1.0
        self.knots = np.union1d(np.linspace(0.0, top, 41), top * np.linspace(0.0, 1.0, 21) ** 2)
        self.values = np.minimum.accumulate(plan.delta(self.knots))
        self.profile = Profile(self.knots, self.values)

    def delta(self, epsilon: Array) -> Array:
        """An upper bound on the profile at any epsilons of at least 0."""
        at = np.clip(np.searchsorted(self.knots, epsilon, side="right") - 1, 0, len(self.knots) - 2)
        low, high = self.knots[at], self.knots[at + 1]
        # Never below the chord: a share that is rounded up would be.
        share = np.expm1(epsilon - low) / np.expm1(high - low) * (1 - 1e-15)
        share = np.clip(share, 0.0, 1.0)
        mixed = (self.values[at] + share * (self.values[at + 1] - self.values[at])) * (1 + 1e-15)
        return np.asarray(np.minimum(mixed, 1.0))


def statement(
    plan: TrainingPlan | Composition,
    *,
    delta: float | Fraction,
    method: Method = "auto",
    progress: Progress | None = None,
) -> Statement:
    """Everything that a report says about a training.

    Args:
      plan: The training, or its phases.
      delta: In (0, 1).
      method: Engine of the headline epsilon; curves are certified by the default one.
      progress: Called with the finished fraction by method `"optimal"`.

    Raises:
      ValueError: What `plan.epsilon_bounds` refuses.
    """
    delta = _checks.chance("delta", delta, open_ends=True)
    method = _checks.choice("method", method, METHODS)
    if not isinstance(plan, TrainingPlan | Composition):
        raise ValueError(f"plan must be a plan or a composition, got {_checks.shown(plan)}")
    whole = plan.image_level()
    bounds = plan.epsilon_bounds(delta, method=method, progress=progress)
    image_level = whole.epsilon_bounds(delta, method=method, progress=progress)
    mine, theirs = _Curves(plan, bounds.upper), _Curves(whole, image_level.upper)
    rates = np.union1d(np.linspace(0.0, 1.0, 101), np.geomspace(1e-4, 0.1, 31))
    asked = np.array(_RATES)
    found = [1 - tradeoff.tradeoff(curves.delta, asked) for curves in (mine, theirs)]
    text = exactly(delta)
    return Statement(
        sentence=_sentence(plan, bounds.upper, text),
        plans=_phases(plan),
        delta=float(delta),
        delta_text=text,
        bounds=bounds,
        image_level=image_level,
        profile=mine.profile,
        image_profile=theirs.profile,
        tradeoff=(rates, tradeoff.tradeoff(mine.delta, rates)),
        image_tradeoff=(rates, tradeoff.tradeoff(theirs.delta, rates)),
        advantage=float(mine.values[0]),
        guess=float(tradeoff.attack_success(mine.delta, 0.5)),
        attacks=tuple(Attack(*map(float, row)) for row in zip(asked, *found, strict=True)),
        assumptions=assumptions(plan),
        settings=tuple(_settings(phase) for phase in _phases(plan)),
        method=method,
        tolerance=_TOLERANCES[method],
        versions=_versions(),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    others = [(name, metadata.version(name)) for name in ("dp-accounting", "numpy", "scipy")]
    python = ".".join(map(str, sys.version_info[:3]))
    return (("patchdp", __version__), *others, ("Python", python))
