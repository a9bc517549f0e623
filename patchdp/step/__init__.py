"""ONE STEP: the privacy profile of one DP-SGD step."""

from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile, fixed_size_pair, poisson_pair, step_profile
from patchdp.step.sampling import FixedSize, Poisson, Sampling, Shuffle

__all__ = [
    "FixedSize",
    "MixturePair",
    "Poisson",
    "Sampling",
    "Shuffle",
    "StepProfile",
    "fixed_size_pair",
    "poisson_pair",
    "step_profile",
]
