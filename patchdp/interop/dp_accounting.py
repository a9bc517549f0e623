"""Patch-level accounting inside Google's dp-accounting: an event, an accountant, and the way out.

>>> import dp_accounting
>>> from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent
>>> step = dp_accounting.PoissonSampledDpEvent(8 / 119, dp_accounting.GaussianDpEvent(2.0))
>>> training = dp_accounting.SelfComposedDpEvent(step, 1500)
>>> event = RandomCropDpEvent(66049 / 200720, training)
>>> 3.731 < PatchPrivacyAccountant().compose(event).get_epsilon(1e-5) < 3.736
True

What is inside `RandomCropDpEvent` sees a fresh crop of every image at every application of every
leaf; what is outside sees whole images. Both compose in one accountant, whose neighbouring relation
is the replacement of one patch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

import attr
import numpy as np
from dp_accounting import dp_event
from dp_accounting.privacy_accountant import NeighboringRelation, PrivacyAccountant
from scipy import stats

from patchdp import _checks
from patchdp.composition import mixed
from patchdp.composition.mixed import Leaf
from patchdp.composition.pure import LaplaceStep, RandomizedResponseStep, RevealingStep
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

if TYPE_CHECKING:
    from patchdp.plan import Composition, TrainingPlan

__all__ = ["Engine", "PatchPrivacyAccountant", "RandomCropDpEvent", "to_dp_event"]

Engine = Literal["rdp", "pld", "patchdp"]

# Binomial probabilities are computed to about 1e-12; rates and weights are raised by more.
_MARGIN = 1 + 1e-11
# A tail of the number of times an image is drawn that may count as a breach.
_NEGLIGIBLE = 1e-40
_FULLY_PRIVATE: Final = "no privacy cost"
_NOT_PRIVATE: Final = "no privacy"


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


class _Unsupported(Exception):
    """Carries the event that has no known patch-level analysis, and the reason."""

    def __init__(self, event: dp_event.DpEvent, reason: str) -> None:
        super().__init__(reason)
        self.event, self.reason = event, reason


Cost = list[Leaf] | Literal["no privacy cost", "no privacy"]


def _profile(*parts: tuple[float, Any]) -> StepProfile:
    return StepProfile(tuple(part for part in parts if part[0] > 0), attainable=False)


def _noise(event: dp_event.DpEvent, value: float) -> float:
    try:
        noise = _checks.nonnegative("noise_multiplier", value)
    except ValueError as error:
        raise _Unsupported(event, str(error)) from None
    # With less noise every epsilon is above 10^5, too large to matter: call it infinite.
    return noise if noise >= 1e-5 else 0.0


def _chance(event: dp_event.DpEvent, name: str, value: Any) -> Fraction:
    if not (isinstance(value, int | float | Fraction | np.floating) and 0 <= value <= 1):
        raise _Unsupported(event, f"{name} must be between 0 and 1, got {value!r}")
    return value if isinstance(value, Fraction) else Fraction(float(value))


def _whole(event: dp_event.DpEvent, name: str, value: Any, least: int = 0) -> int:
    try:
        return _checks.whole(name, value, least=least)
    except ValueError as error:
        raise _Unsupported(event, str(error)) from None


def _mu(noise: float) -> float:
    return math.nextafter(1 / noise, math.inf)


def _single(event: dp_event.DpEvent, rate: Fraction) -> Cost:
    """The cost of a leaf whose changed record takes part with chance `rate`, else nothing changes.

    Source: `docs/theory.md`, "Crop amplification"; it asks for a replace-one guarantee only.
    """
    if rate == 0:
        return _FULLY_PRIVATE
    if isinstance(event, dp_event.RandomizedResponseDpEvent):
        return _randomized_response(event, rate)
    if not isinstance(event, dp_event.GaussianDpEvent | dp_event.LaplaceDpEvent):
        raise _Unsupported(event, _explain(event))
    noise = _noise(event, event.noise_multiplier)
    if noise == 0:
        return _NOT_PRIVATE
    if isinstance(event, dp_event.LaplaceDpEvent):
        return [LaplaceStep(distance=math.nextafter(2 / noise, math.inf), rate=rate)]
    return [_profile((1.0, fixed_size_pair(rate=rate, mu=_mu(noise))))]


def _randomized_response(event: dp_event.RandomizedResponseDpEvent, rate: Fraction) -> Cost:
    uniform = _chance(event, "noise_parameter", event.noise_parameter)
    buckets = _whole(event, "num_buckets", event.num_buckets, 1)
    if buckets == 1:
        return _FULLY_PRIVATE
    if uniform == 0:
        return _NOT_PRIVATE
    return [RandomizedResponseStep(float(uniform), buckets, rate)]


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
                return _NOT_PRIVATE
            return [_profile((1.0, poisson_pair(rate=q, inclusion=inclusion, mu=_mu(noise))))]
        case dp_event.LaplaceDpEvent():
            # An absent image contributes 0, a content like any other: the batch with it, before
            # and after, and without it are pairwise at most a replacement apart.
            return _single(inner, q * inclusion)
        case dp_event.RandomizedResponseDpEvent():
            raise _Unsupported(inner, "under Poisson sampling the number of answers is revealed")
    raise _Unsupported(inner, _explain(inner))


def _without_replacement(
    event: dp_event.SampledWithoutReplacementDpEvent, inclusion: Fraction
) -> Cost:
    size = _whole(event, "source_dataset_size", event.source_dataset_size)
    batch = _whole(event, "sample_size", event.sample_size)
    if batch > size:
        raise _Unsupported(event, f"sample_size {batch} is larger than source_dataset_size {size}")
    # Batches with and without the image differ in one exchange: a replacement.
    return _single(event.event, inclusion * Fraction(batch, size) if batch else Fraction(0))


def _with_replacement(event: dp_event.SampledWithReplacementDpEvent, inclusion: Fraction) -> Cost:
    """`J ~ Binomial(batch, p / N)` draws show the patch; exchanging them moves the sum by `2 J C`.

    Source: `docs/theory.md`, "One person in several images", with replacement.
    """
    size = _whole(event, "source_dataset_size", event.source_dataset_size)
    batch = _whole(event, "sample_size", event.sample_size)
    inner = event.event
    if batch and not size:
        raise _Unsupported(event, "source_dataset_size must be at least 1, got 0")
    if not isinstance(inner, dp_event.GaussianDpEvent):
        raise _Unsupported(inner, "with replacement, only a GaussianDpEvent can be sampled")
    noise = _noise(inner, inner.noise_multiplier)
    if batch == 0 or inclusion == 0:
        return _FULLY_PRIVATE
    if noise == 0:
        return _NOT_PRIVATE
    rate = _checks.round_up(inclusion / size)
    last = 1
    while last < batch and stats.binom.sf(last, batch, rate) > _NEGLIGIBLE:
        last += 1
    chances = stats.binom.pmf(np.arange(1, last + 1), batch, rate)
    hit = min(-math.expm1(batch * math.log1p(-rate)) * _MARGIN, 1.0) if rate < 1 else 1.0
    weights = chances / chances.sum()
    leaves: list[Leaf] = [
        _profile(
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
    size = _whole(event, "dataset_size", event.dataset_size)
    most = _whole(event, "truncated_batch_size", event.truncated_batch_size)
    q = _chance(event, "sampling_probability", event.sampling_probability)
    noise = _noise(event, event.noise_multiplier)
    if 0 in (size, most, q, inclusion):
        return _FULLY_PRIVATE
    if noise == 0:
        return _NOT_PRIVATE
    mu = _mu(noise)
    # The number of other images that are drawn is binomial in `size - 1` trials.
    poisson = poisson_pair(rate=q, inclusion=inclusion, mu=mu)
    full = float(stats.binom.sf(most - 1, size - 1, float(q)))
    if size - 1 < most:
        return [_profile((1.0, poisson))]
    if full < 1e-290:  # too rare for quotients of floats: let the image be in every such batch
        return [
            _profile((1.0, poisson), (1e-290, poisson_pair(rate=1, inclusion=inclusion, mu=2 * mu)))
        ]
    # Pr(drawn, full, kept) = E[B/(B + more)] over batches beyond B, counted by Pr(X > B) B / N.
    place = float(stats.binom.sf(most, size, float(q))) * most / (full * size)
    place = min(place * _MARGIN, 1.0)
    exchanged = poisson_pair(rate=place, inclusion=inclusion, mu=2 * mu)
    free = float(stats.binom.cdf(most - 1, size - 1, float(q)))
    return [_profile((min(free * _MARGIN, 1.0), poisson), (min(full * _MARGIN, 1.0), exchanged))]


def _cost(event: dp_event.DpEvent, inclusion: Fraction) -> Cost:
    """What one application of a leaf costs at patch level."""
    if isinstance(event, dp_event.NoOpDpEvent):
        return _FULLY_PRIVATE
    if isinstance(event, dp_event.NonPrivateDpEvent):
        return _NOT_PRIVATE
    sampled: dict[type[dp_event.DpEvent], Callable[[Any, Fraction], Cost]] = {
        dp_event.PoissonSampledDpEvent: _poisson,
        dp_event.SampledWithoutReplacementDpEvent: _without_replacement,
        dp_event.SampledWithReplacementDpEvent: _with_replacement,
        dp_event.TruncatedSubsampledGaussianDpEvent: _truncated,
    }
    return sampled.get(type(event), _single)(event, inclusion)


def _walk(
    event: dp_event.DpEvent,
    count: int,
    inclusion: Fraction | None,
    visit: Callable[[Cost, int], None],
) -> None:
    """Every leaf of a tree of events, with how often it is applied."""
    match event:
        case dp_event.SelfComposedDpEvent(event=inner, count=times):
            _walk(inner, count * _whole(event, "count", times), inclusion, visit)
        case dp_event.ComposedDpEvent(events=events):
            for inner in events:
                _walk(inner, count, inclusion, visit)
        case RandomCropDpEvent(inclusion_probability=value, event=inner) if inclusion is None:
            _walk(inner, count, _chance(event, "inclusion_probability", value), visit)
        case RandomCropDpEvent():
            raise _Unsupported(event, _explain(event))
        case _:
            visit(_cost(event, Fraction(1) if inclusion is None else inclusion), count)


class PatchPrivacyAccountant(PrivacyAccountant):  # type: ignore[misc]
    """Composes trees of events when one patch of one image is replaced.

    >>> import dp_accounting
    >>> accountant = PatchPrivacyAccountant()
    >>> release = dp_accounting.GaussianDpEvent(20.0)  # of whole images
    >>> steps = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(4.0), 10)
    >>> _ = accountant.compose(release).compose(RandomCropDpEvent(0.1, steps))
    >>> 0.88 < accountant.get_epsilon(1e-5) < 0.89
    True

    Inside `RandomCropDpEvent` every application of a leaf is amplified by the crop, outside none:
    there the whole image counts (replace-one, as everywhere here; noise multipliers are relative to
    the clipping norm and a replacement moves a sum by twice that). Leaves: Gaussian and Laplace,
    plain, Poisson-sampled or sampled without replacement; Gaussian sampled with replacement;
    truncated Poisson-sampled Gaussian; randomised response, plain or sampled without replacement.

    Args:
      tolerance: Excess over the exact value of this analysis that is aimed at, relative.

    Raises:
      ValueError: `tolerance` is not above 0.
    """

    def __init__(self, *, tolerance: float = 1e-3) -> None:
        super().__init__(NeighboringRelation.REPLACE_ONE)
        self._tolerance = _checks.positive("tolerance", tolerance)
        self._private = True
        self._counts: dict[Leaf, int] = {}
        # Gaussians without sampling or crop compose to one at distance 2 sqrt(sum of 1/sigma^2).
        self._gaussian = Fraction(0)

    def _add(self, cost: Cost, count: int) -> None:
        if isinstance(cost, str) or count == 0:
            self._private &= cost != _NOT_PRIVATE or count == 0
            return
        for leaf in cost:
            mu = _plain_gaussian(leaf)
            if mu is not None:
                self._gaussian += count * Fraction(mu) ** 2
            else:
                self._counts[leaf] = self._counts.get(leaf, 0) + count

    def _maybe_compose(self, event: dp_event.DpEvent, count: int, do_compose: bool) -> Any:
        costs: list[tuple[Cost, int]] = []
        try:
            times = _whole(event, "count", count)
            _walk(event, times, None, lambda cost, number: costs.append((cost, number)))
        except _Unsupported as error:
            return self.CompositionErrorDetails(
                invalid_event=error.event, error_message=error.reason
            )
        if do_compose:
            for cost, number in costs:
                self._add(cost, number)
        return None

    @property
    def _leaves(self) -> list[tuple[Leaf, int]]:
        leaves = list(self._counts.items())
        if self._gaussian:
            mu = math.sqrt(self._gaussian) * (1 + 4e-16)
            leaves.append((_profile((1.0, fixed_size_pair(rate=1, mu=mu))), 1))
        return leaves

    def get_epsilon(self, target_delta: float) -> float:
        """A certified epsilon: an upper bound, infinity where there is none.

        Args:
          target_delta: In [0, 1].

        Raises:
          ValueError: `target_delta` is out of its range, or the composition is too large.
        """
        if not 0 <= target_delta <= 1:
            raise ValueError(f"target_delta must be between 0 and 1, got {target_delta!r}")
        if not self._private:
            return math.inf
        if target_delta == 1 or not self._leaves:
            return 0.0
        log_delta = math.log(target_delta) * (1 + 4e-16) if target_delta > 0 else -math.inf
        return mixed.epsilon_upper(self._leaves, log_delta=log_delta, tolerance=self._tolerance)

    def get_delta(self, target_epsilon: float) -> float:
        """A certified delta: an upper bound.

        Args:
          target_epsilon: Any real number or infinity; below 0 by the relation's symmetry.

        Raises:
          ValueError: `target_epsilon` is not a number, or the composition is too large.
        """
        if math.isnan(target_epsilon):
            raise ValueError(f"target_epsilon must be a number, got {target_epsilon!r}")
        if not self._private:
            return 1.0
        leaves, size = self._leaves, abs(target_epsilon)
        log_delta = -math.inf
        if leaves and math.isfinite(size):
            log_delta = mixed.log_delta_upper(leaves, epsilon=size, tolerance=self._tolerance)
        if leaves and math.isinf(size):
            log_delta = _log_breach(leaves)
        delta = 0.0 if log_delta == -math.inf else max(math.exp(log_delta) * (1 + 1e-13), 5e-324)
        if target_epsilon < 0:
            delta = -math.expm1(-size) + math.exp(-size) * delta
        return min(delta, 1.0)


def _plain_gaussian(leaf: Leaf) -> float | None:
    """`1/sigma` of a Gaussian that every record of every application enters, else None."""
    if not isinstance(leaf, StepProfile) or len(leaf.parts) != 1:
        return None
    (weight, pair) = leaf.parts[0]
    whole = weight == 1 and pair == fixed_size_pair(rate=1, mu=pair.shifts[0])
    return pair.shifts[0] if whole else None


def _log_breach(leaves: list[tuple[Leaf, int]]) -> float:
    """Log of the chance that everything is revealed: delta at infinite epsilon."""
    total = sum(n * s.probability for s, n in leaves if isinstance(s, RevealingStep))
    return math.log(min(total, 1.0)) if total > 0 else -math.inf


def to_dp_event(plan: TrainingPlan | Composition, *, engine: Engine) -> dp_event.DpEvent:
    """The plan as an event for one of dp-accounting's engines, or for `PatchPrivacyAccountant`.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
    ...     sampling=pdp.FixedSize(batch_size=64, dataset_size=60000),
    ...     noise_multiplier=1.0, steps=1000,
    ... )
    >>> to_dp_event(plan, engine="rdp").event.event
    GaussianDpEvent(noise_multiplier=0.5)

    One event means two sensitivities in dp-accounting 0.6: under REPLACE_ONE its RDP engine takes a
    replacement to move a sum by one clipping norm, its PLD engine by two. So the event is made for
    one engine, which must be created with `neighboring_relation=REPLACE_ONE`; handed to the other
    it means something else.

    Args:
      plan: A training, or several phases.
      engine: `"rdp"` (`dp_accounting.rdp.RdpAccountant`), `"pld"`
        (`dp_accounting.pld.PLDAccountant`) or `"patchdp"` (`PatchPrivacyAccountant`).

    Returns:
      An event whose epsilon by that engine is valid for the plan. The RDP engine's is looser than
      `plan.epsilon`.

    Raises:
      ValueError: That engine has no event that bounds the plan: RDP none for Poisson batches, PLD
        none where a crop may miss the patch or batches have a fixed size, and none of them for
        several images per person or views clipped apart.
    """
    if engine not in ("rdp", "pld", "patchdp"):
        raise ValueError(f"engine must be one of rdp, pld, patchdp, got {engine!r}")
    phases = getattr(plan, "plans", None)
    if phases is not None:
        return dp_event.ComposedDpEvent([to_dp_event(phase, engine=engine) for phase in phases])
    return _phase_event(plan, engine)  # type: ignore[arg-type]


def _phase_event(plan: TrainingPlan, engine: Engine) -> dp_event.DpEvent:
    from patchdp.step import AllocationProfile, FixedSize, Poisson, step_profile

    if plan.noiseless:
        return dp_event.NonPrivateDpEvent()
    if not plan.phases:
        return dp_event.NoOpDpEvent()
    probability, sampling = plan.hit_probability, plan.sampling
    if isinstance(plan.step, AllocationProfile):
        raise ValueError(
            "no dp-accounting event describes an epoch under random allocation; use plan.pld() or "
            "plan.epsilon()"
        )
    ordinary = step_profile(
        sampling, inclusion_probability=probability, noise_multiplier=plan.noise_multiplier
    )
    if plan.step != ordinary:
        raise ValueError(
            "no dp-accounting event describes several images per person or views clipped apart; "
            "use plan.pld() or plan.epsilon()"
        )
    sigma, times = plan.noise_multiplier, plan.applications
    if engine == "patchdp":
        step: dp_event.DpEvent = dp_event.GaussianDpEvent(sigma)
        if isinstance(sampling, Poisson):
            step = dp_event.PoissonSampledDpEvent(sampling.probability, step)
        elif isinstance(sampling, FixedSize):
            step = dp_event.SampledWithoutReplacementDpEvent(
                sampling.dataset_size, sampling.batch_size, step
            )
        return RandomCropDpEvent(probability, dp_event.SelfComposedDpEvent(step, times))
    rate = probability * sampling.probability
    poisson = isinstance(sampling, Poisson) and sampling.probability < 1
    if engine == "pld":
        gaussian = dp_event.GaussianDpEvent(sigma)
        if rate == 1:
            return dp_event.SelfComposedDpEvent(gaussian, times)
        if poisson and probability == 1:
            q = _checks.round_up(sampling.probability)
            return dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(q, gaussian), times)
        raise ValueError(
            "dp-accounting's PLD engine has no event for "
            + (
                "a crop that may miss the patch"
                if probability < 1
                else "batches of a fixed size under replacement"
            )
            + "; use plan.pld(), or PatchPrivacyAccountant"
        )
    if poisson:
        raise ValueError(
            "dp-accounting's RDP engine refuses Poisson batches under replacement; "
            "use plan.rdp(), or PatchPrivacyAccountant"
        )
    # This engine moves a sum by one clipping norm per replacement: half the noise makes up for it.
    gaussian = dp_event.GaussianDpEvent(0.5 * sigma)
    step = gaussian
    if rate < 1:
        step = dp_event.SampledWithoutReplacementDpEvent(rate.denominator, rate.numerator, gaussian)
    return dp_event.SelfComposedDpEvent(step, times)
