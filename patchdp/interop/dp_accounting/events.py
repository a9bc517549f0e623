"""What dp-accounting's events cost at patch level, crop by crop.

>>> from dp_accounting import dp_event
>>> RandomCropDpEvent(0.25, dp_event.GaussianDpEvent(1.0)).inclusion_probability
0.25
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, Literal

import attr
import numpy as np
from dp_accounting import dp_event
from scipy import stats

from patchdp import _checks
from patchdp.interop.dp_accounting.mixed import Leaf
from patchdp.interop.dp_accounting.pure import LaplaceStep, RandomizedResponseStep, RevealingStep
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

__all__ = [
    "NOT_PRIVATE",
    "Cost",
    "RandomCropDpEvent",
    "UnsupportedEvent",
    "profile_of_parts",
    "walk",
    "whole",
]

# Binomial probabilities are computed to about 1e-12; rates and weights are raised by more.
_MARGIN = 1 + 1e-11
# A tail of the number of times an image is drawn that may count as a breach.
_NEGLIGIBLE = 1e-40
_FULLY_PRIVATE: Final = "no privacy cost"
NOT_PRIVATE: Final = "no privacy"


@attr.s(frozen=True, slots=True, auto_attribs=True)
class RandomCropDpEvent(dp_event.DpEvent):
    """Every application of every leaf of `event` sees a fresh crop of each image.

    >>> RandomCropDpEvent(0.25, dp_event.GaussianDpEvent(1.0))
    RandomCropDpEvent(inclusion_probability=0.25, event=GaussianDpEvent(noise_multiplier=1.0))

    The crop of an image is drawn independently of its content, of the other images' crops and of
    earlier ones. `event` describes the training as a function of the cropped images; whether they
    are sampled, how and how often, is inside it.

    Attributes:
      inclusion_probability: Largest chance that a crop shows a given patch (an upper bound will
        do), in [0, 1]; `plan.inclusion.probability`, or `pdp.inclusion(...).probability`.
      event: What is applied to the crops.
    """

    inclusion_probability: float | Fraction
    event: dp_event.DpEvent


class UnsupportedEvent(Exception):
    """Carries the event that has no known patch-level analysis, and the reason."""

    def __init__(self, event: dp_event.DpEvent, reason: str) -> None:
        super().__init__(reason)
        self.event, self.reason = event, reason


Cost = list[Leaf] | Literal["no privacy cost", "no privacy"]


def profile_of_parts(*parts: tuple[float, Any]) -> StepProfile:
    return StepProfile(tuple(part for part in parts if part[0] > 0), attainable=False)


def _noise(event: dp_event.DpEvent, value: float) -> float:
    try:
        noise = _checks.nonnegative("noise_multiplier", value)
    except ValueError as error:
        raise UnsupportedEvent(event, str(error)) from None
    # With less noise every epsilon is above 10^5, too large to matter: call it infinite.
    return noise if noise >= 1e-5 else 0.0


def _chance(event: dp_event.DpEvent, name: str, value: Any) -> Fraction:
    try:
        return Fraction(_checks.share(name, value))
    except ValueError as error:
        raise UnsupportedEvent(event, str(error)) from None


def whole(event: dp_event.DpEvent, name: str, value: Any, least: int = 0) -> int:
    try:
        return _checks.whole(name, value, least=least)
    except ValueError as error:
        raise UnsupportedEvent(event, str(error)) from None


def _mu(noise: float) -> float:
    return math.nextafter(1 / noise, math.inf)


def _single(event: dp_event.DpEvent, rate: Fraction) -> Cost:
    """The cost of a leaf whose changed record takes part with chance `rate`, else nothing changes.

    Source: `docs/theory/one_step.md`, "Crop amplification"; it asks for replace-one only.
    """
    if rate == 0:
        return _FULLY_PRIVATE
    if isinstance(event, dp_event.RandomizedResponseDpEvent):
        return _randomized_response(event, rate)
    if not isinstance(event, dp_event.GaussianDpEvent | dp_event.LaplaceDpEvent):
        raise UnsupportedEvent(event, _explain(event))
    noise = _noise(event, event.noise_multiplier)
    if noise == 0:
        return NOT_PRIVATE
    if isinstance(event, dp_event.LaplaceDpEvent):
        return [LaplaceStep(distance=math.nextafter(2 / noise, math.inf), rate=rate)]
    return [profile_of_parts((1.0, fixed_size_pair(rate=rate, mu=_mu(noise))))]


def _randomized_response(event: dp_event.RandomizedResponseDpEvent, rate: Fraction) -> Cost:
    uniform = _chance(event, "noise_parameter", event.noise_parameter)
    buckets = whole(event, "num_buckets", event.num_buckets, 1)
    if buckets == 1:
        return _FULLY_PRIVATE
    # With less the loss is above 600: call it infinite.
    if uniform < 1e-280:
        return NOT_PRIVATE
    return [RandomizedResponseStep(_checks.round_down(uniform), buckets, rate)]


def _explain(event: dp_event.DpEvent) -> str:
    match event:
        case RandomCropDpEvent():
            return (
                "a crop may not be sampled from or cropped again: put RandomCropDpEvent around the "
                "whole training, outside of any sampling and of any other crop"
            )
        case dp_event.ComposedDpEvent() | dp_event.SelfComposedDpEvent():
            return (
                "one sample of records used several times is not supported; compose the sampled "
                "event instead, if each application draws its own sample"
            )
        case dp_event.MixtureOfGaussiansDpEvent():
            return "it is defined for one direction of add-or-remove; a patch is replaced"
        case dp_event.RepeatAndSelectDpEvent():
            return "it has no privacy loss distribution; compose every run that was made instead"
        case dp_event.DiscreteLaplaceDpEvent():
            return "no replace-one guarantee of it is known to this accountant"
    return "Unsupported event."


def _poisson(event: dp_event.PoissonSampledDpEvent, inclusion: Fraction) -> Cost:
    q = _chance(event, "sampling_probability", event.sampling_probability)
    inner = event.event
    if q == 0 or inclusion == 0:
        return _FULLY_PRIVATE
    match inner:
        case dp_event.GaussianDpEvent(noise_multiplier=value):
            noise = _noise(inner, value)
            if noise == 0:
                return NOT_PRIVATE
            return [
                profile_of_parts((1.0, poisson_pair(rate=q, inclusion=inclusion, mu=_mu(noise))))
            ]
        case dp_event.LaplaceDpEvent():
            # An absent image contributes 0, a content like any other: the batch with it, before
            # and after, and without it are pairwise at most a replacement apart.
            return _single(inner, q * inclusion)
        case dp_event.RandomizedResponseDpEvent():
            raise UnsupportedEvent(
                inner, "under Poisson sampling the number of answers is revealed"
            )
    raise UnsupportedEvent(inner, _explain(inner))


def _without_replacement(
    event: dp_event.SampledWithoutReplacementDpEvent, inclusion: Fraction
) -> Cost:
    size = whole(event, "source_dataset_size", event.source_dataset_size)
    batch = whole(event, "sample_size", event.sample_size)
    if batch > size:
        raise UnsupportedEvent(
            event, f"sample_size {batch} is larger than source_dataset_size {size}"
        )
    # Batches with and without the image differ in one exchange: a replacement.
    return _single(event.event, inclusion * Fraction(batch, size) if batch else Fraction(0))


def _with_replacement(event: dp_event.SampledWithReplacementDpEvent, inclusion: Fraction) -> Cost:
    """`J ~ Binomial(batch, p / N)` draws show the patch; exchanging them moves the sum by `2 J C`.

    Source: `docs/theory/several.md`, "One person in several images", with replacement.
    """
    size = whole(event, "source_dataset_size", event.source_dataset_size)
    batch = whole(event, "sample_size", event.sample_size)
    inner = event.event
    if batch and not size:
        raise UnsupportedEvent(event, "source_dataset_size must be at least 1, got 0")
    if not isinstance(inner, dp_event.GaussianDpEvent):
        raise UnsupportedEvent(inner, "with replacement, only a GaussianDpEvent can be sampled")
    noise = _noise(inner, inner.noise_multiplier)
    if batch == 0 or inclusion == 0:
        return _FULLY_PRIVATE
    if noise == 0:
        return NOT_PRIVATE
    rate = _checks.round_up(inclusion / size)
    last = 1
    while last < batch and stats.binom.sf(last, batch, rate) > _NEGLIGIBLE:
        last += 1
    chances = stats.binom.pmf(np.arange(1, last + 1), batch, rate)
    hit = min(-math.expm1(batch * math.log1p(-rate)) * _MARGIN, 1.0) if rate < 1 else 1.0
    weights = chances / chances.sum()
    leaves: list[Leaf] = [
        profile_of_parts(
            *(
                (float(w), fixed_size_pair(rate=hit, mu=j * _mu(noise)))
                for j, w in enumerate(weights, 1)
            )
        )
    ]
    beyond = float(stats.binom.sf(last, batch, rate)) if last < batch else 0.0
    if beyond > 0:
        leaves.append(RevealingStep(beyond * 2))
    return leaves


def _truncated(event: dp_event.TruncatedSubsampledGaussianDpEvent, inclusion: Fraction) -> Cost:
    """Poisson sampling whose batches beyond a size are cut down to it at random.

    Condition on the number of *other* images that were drawn. With fewer of them than the largest
    batch has, the image joins with probability `q` and the others stay: Poisson. With at least that
    many the batch is full, and the image's place would be another's: measured from the batch
    without it, the sum moves by up to `2 C` before and after, at rate
    `Pr(image in batch | batch full)`: Poisson at half the noise. Source: arXiv:2508.15089, whose
    bound under replacement this is where no crop misses; the case distinction does not depend on
    the content.
    """
    size = whole(event, "dataset_size", event.dataset_size)
    most = whole(event, "truncated_batch_size", event.truncated_batch_size)
    q = _chance(event, "sampling_probability", event.sampling_probability)
    noise = _noise(event, event.noise_multiplier)
    if 0 in (size, most, q, inclusion):
        return _FULLY_PRIVATE
    if noise == 0:
        return NOT_PRIVATE
    mu = _mu(noise)
    # The number of other images that are drawn is binomial in `size - 1` trials.
    poisson = poisson_pair(rate=q, inclusion=inclusion, mu=mu)
    full = float(stats.binom.sf(most - 1, size - 1, float(q)))
    if size - 1 < most:
        return [profile_of_parts((1.0, poisson))]
    if full < 1e-290:  # too rare for quotients of floats: let the image be in every such batch
        return [
            profile_of_parts(
                (1.0, poisson), (1e-290, poisson_pair(rate=1, inclusion=inclusion, mu=2 * mu))
            )
        ]
    # Pr(drawn, full, kept) = E[B/(B + more)] over batches beyond B, counted by Pr(X > B) B / N.
    place = float(stats.binom.sf(most, size, float(q))) * most / (full * size)
    place = min(place * _MARGIN, 1.0)
    exchanged = poisson_pair(rate=place, inclusion=inclusion, mu=2 * mu)
    free = float(stats.binom.cdf(most - 1, size - 1, float(q)))
    return [
        profile_of_parts((min(free * _MARGIN, 1.0), poisson), (min(full * _MARGIN, 1.0), exchanged))
    ]


def _cost(event: dp_event.DpEvent, inclusion: Fraction) -> Cost:
    """What one application of a leaf costs at patch level."""
    if isinstance(event, dp_event.NoOpDpEvent):
        return _FULLY_PRIVATE
    if isinstance(event, dp_event.NonPrivateDpEvent):
        return NOT_PRIVATE
    sampled: dict[type[dp_event.DpEvent], Callable[[Any, Fraction], Cost]] = {
        dp_event.PoissonSampledDpEvent: _poisson,
        dp_event.SampledWithoutReplacementDpEvent: _without_replacement,
        dp_event.SampledWithReplacementDpEvent: _with_replacement,
        dp_event.TruncatedSubsampledGaussianDpEvent: _truncated,
    }
    return sampled.get(type(event), _single)(event, inclusion)


def walk(
    event: dp_event.DpEvent,
    count: int,
    inclusion: Fraction | None,
    visit: Callable[[Cost, int], None],
) -> None:
    """Every leaf of a tree of events, with how often it is applied."""
    match event:
        case dp_event.SelfComposedDpEvent(event=inner, count=times):
            total = count * whole(event, "count", times)
            walk(inner, whole(event, "count of all repetitions", total), inclusion, visit)
        case dp_event.ComposedDpEvent(events=events):
            for inner in events:
                walk(inner, count, inclusion, visit)
        case RandomCropDpEvent(inclusion_probability=value, event=inner) if inclusion is None:
            walk(inner, count, _chance(event, "inclusion_probability", value), visit)
        case RandomCropDpEvent():
            raise UnsupportedEvent(event, _explain(event))
        case _:
            visit(_cost(event, Fraction(1) if inclusion is None else inclusion), count)
