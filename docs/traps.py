"""The numbers of docs/traps.md: what common mistakes report, beside what is proved and attained.

Run `python docs/traps.py`. The table it prints is the one in the page; tests/test_docs.py compares.
"""

from __future__ import annotations

import math
from fractions import Fraction

import dp_accounting
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

import patchdp as pdp
from patchdp.composition import prove
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair

REPLACE_ONE = dp_accounting.NeighboringRelation.REPLACE_ONE
ADD_OR_REMOVE = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
DELTA = 1e-5


def street(sampling: pdp.Poisson | pdp.FixedSize, **changes: object) -> pdp.TrainingPlan:
    """Street scenes: 1500 steps of batch 200 of 2975, noise multiplier 2, a 10x10 patch."""
    settings: dict[str, object] = {
        "image": (1024, 2048),
        "crop": pdp.RandomCrop((505, 505)),
        "patch": pdp.Patch((10, 10)),
        "noise_multiplier": 2.0,
        "steps": 1500,
    }
    return pdp.TrainingPlan(sampling=sampling, **{**settings, **changes})  # type: ignore[arg-type]


POISSON = street(pdp.Poisson(batch_size=200, dataset_size=2975))
FIXED = street(pdp.FixedSize(batch_size=200, dataset_size=2975))
# A training in which every step counts, for the traps that a long one hides.
COARSE = pdp.TrainingPlan(
    image=(10,),
    crop=pdp.RandomCrop((1,)),
    patch=pdp.Patch((3,)),  # seen by 3 of 10 windows
    sampling=pdp.Poisson(sampling_probability=0.5),
    noise_multiplier=2.0,
    steps=20,
)
# Without crops: batches of 100 of 10 000 images.
PLAIN = pdp.TrainingPlan(
    image=(8, 8),
    crop=pdp.RandomCrop((8, 8)),
    patch=pdp.Patch((8, 8)),
    sampling=pdp.FixedSize(batch_size=100, dataset_size=10_000),
    noise_multiplier=2.0,
    steps=1000,
)


def naive(plan: pdp.TrainingPlan, relation: dp_accounting.NeighboringRelation) -> float:
    """Sampling rate times inclusion probability, handed to a PLD accountant."""
    rate = float(plan.effective_sampling_probability)
    event = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(plan.noise_multiplier))
    accountant = PLDAccountant(relation)
    accountant.compose(event, plan.applications)
    return float(accountant.get_epsilon(DELTA))


def rdp_without_replacement(noise_multiplier: float) -> float:
    """dp-accounting's RDP engine on sampling without replacement under REPLACE_ONE."""
    event = dp_event.SampledWithoutReplacementDpEvent(
        10_000, 100, dp_event.GaussianDpEvent(noise_multiplier)
    )
    accountant = RdpAccountant(neighboring_relation=REPLACE_ONE)
    accountant.compose(event, 1000)
    return float(accountant.get_epsilon(DELTA))


def gaussian(engine: type[PLDAccountant] | type[RdpAccountant]) -> float:
    """100 Gaussian mechanisms of noise multiplier 5 under REPLACE_ONE."""
    accountant = engine(neighboring_relation=REPLACE_ONE)
    accountant.compose(dp_event.GaussianDpEvent(5.0), 100)
    return float(accountant.get_epsilon(DELTA))


def shared_crop() -> tuple[float, float]:
    """Delta at epsilon 0.5, p = 0.33, full batch: the formula for fresh crops, and the truth."""
    p, epsilon, mu = 0.33, 0.5, 0.5
    fresh = StepProfile(((1.0, fixed_size_pair(rate=p, mu=mu)),), attainable=True)
    image = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=mu)),), attainable=True)
    return float(fresh.delta(epsilon)), p * float(image.delta(epsilon))


def total_amplified() -> tuple[float, float]:
    """Delta at epsilon 1 of 50 full-batch steps, p = 0.1, noise multiplier 0.1.

    The crop formula around the composed total, which tends to p, and the truth from below: the
    chance that some step shows the patch, less what the noise still hides.
    """
    p, steps, mu = 0.1, 50, 10.0
    whole = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=mu * math.sqrt(steps))),), True)
    wrong = p * float(whole.delta(math.log1p((math.e - 1) / p)))
    step = StepProfile(((1.0, poisson_pair(rate=1.0, inclusion=p, mu=mu)),), attainable=True)
    # Post-processing: did any step's output exceed 0? Under Q that is rare, under P likely.
    upper = 1 - (1 - p * 0.5 * math.erfc(-mu / math.sqrt(2))) ** steps
    lower = steps * 0.5 * math.erfc(mu / math.sqrt(2))
    assert step.attainable
    return wrong, upper - math.e * lower


def padding(mode: str) -> Fraction | float:
    """Inclusion probability of a 4x4 patch at (4, 4), 32x32 images padded by 8, 8x8 crops."""
    crop = pdp.RandomCrop((8, 8), padding=8, padding_mode=mode)  # type: ignore[arg-type]
    patch = pdp.Patch((4, 4), at=(4, 4))
    return pdp.inclusion((32, 32), crop, patch).probability


def both(plan: pdp.TrainingPlan) -> tuple[str, str]:
    """What an execution attains (rounded down) and what is proved (rounded up)."""
    attained = prove.attained_epsilon(plan.phases, math.log(DELTA), tolerance=1e-4)
    assert attained is not None
    proved = plan.epsilon(DELTA, tolerance=1e-4)
    return f"{math.floor(attained * 1e3) / 1e3:.3f}", f"{math.ceil(proved * 1e3) / 1e3:.3f}"


def table() -> str:
    """Reported, attained and proved epsilon at delta 1e-5."""
    rows = [
        ("rate times p, Poisson add/remove", naive(POISSON, ADD_OR_REMOVE), POISSON),
        ("rate times p, Poisson replace-one", naive(POISSON, REPLACE_ONE), POISSON),
        ("  the same, q = 0.5, p = 0.3, 20 steps", naive(COARSE, REPLACE_ONE), COARSE),
        ("fixed-size bound, Poisson sampler", FIXED.epsilon(DELTA, tolerance=1e-4), POISSON),
        ("image level, Poisson", POISSON.image_level().epsilon(DELTA, tolerance=1e-4), POISSON),
        ("RDP engine, without replacement, sigma", rdp_without_replacement(2.0), PLAIN),
        ("  the same with sigma / 2", rdp_without_replacement(1.0), PLAIN),
    ]
    lines = [f"{'what someone does':40} {'reports':>8} {'attained':>9} {'proved':>8}"]
    for name, reported, plan in rows:
        attained, proved = both(plan)
        lines.append(f"{name:40} {reported:8.3f} {attained:>9} {proved:>8}")
    return "\n".join(lines)


def others() -> str:
    """The traps whose numbers are not epsilons of one plan."""
    fresh, shared = shared_crop()
    total, several = total_amplified()
    gauss = gaussian(RdpAccountant), gaussian(PLDAccountant)
    copies = {mode: float(padding(mode)) for mode in ("constant", "reflect", "circular")}
    return "\n".join(
        [
            f"one Gaussian, REPLACE_ONE     RDP engine {gauss[0]:.2f}, PLD engine {gauss[1]:.2f}",
            f"one crop for the batch        formula {fresh:.4f}, true delta {shared:.4f}",
            f"formula around 50 steps       formula {total:.4f}, true delta at least {several:.4f}",
            "padding, 4x4 patch at (4, 4)  "
            + ", ".join(f"{mode} {p:.4f}" for mode, p in copies.items()),
        ]
    )


if __name__ == "__main__":
    print(table())
    print()
    print(others())
