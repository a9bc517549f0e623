"""A plan as an event of dp-accounting, for one of its engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dp_accounting import dp_event

from patchdp import _checks
from patchdp.interop.dp_accounting.events import RandomCropDpEvent

if TYPE_CHECKING:
    from patchdp.plan import Composition, TrainingPlan

__all__ = ["Engine", "to_dp_event"]

Engine = Literal["rdp", "pld", "patchdp"]


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
    engine = _checks.choice("engine", engine, ("rdp", "pld", "patchdp"))
    phases = getattr(plan, "plans", None)
    if phases is not None:
        return dp_event.ComposedDpEvent([to_dp_event(phase, engine=engine) for phase in phases])
    return _phase_event(plan, engine)  # type: ignore[arg-type]


def _phase_event(plan: TrainingPlan, engine: Engine) -> dp_event.DpEvent:
    from patchdp.step import FixedSize, Poisson, RandomAllocation, step_profile

    if plan.noiseless:
        return dp_event.NonPrivateDpEvent()
    if not plan.phases:
        return dp_event.NoOpDpEvent()
    probability, sampling = plan.hit_probability, plan.sampling
    if isinstance(sampling, RandomAllocation):
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
