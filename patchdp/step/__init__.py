"""ONE STEP: the privacy profile of one DP-SGD step."""

from patchdp.step.group import images_per_person, views_clipped_apart
from patchdp.step.mixture import MixturePair
from patchdp.step.pixel_noise import PixelNoise
from patchdp.step.profile import StepProfile, fixed_size_pair, poisson_pair, step_profile
from patchdp.step.random_allocation import AllocationProfile
from patchdp.step.sampling import FixedSize, Poisson, RandomAllocation, Sampling, Shuffle

__all__ = [
    "AllocationProfile",
    "FixedSize",
    "MixturePair",
    "PixelNoise",
    "Poisson",
    "RandomAllocation",
    "Sampling",
    "Shuffle",
    "StepProfile",
    "fixed_size_pair",
    "images_per_person",
    "poisson_pair",
    "step_profile",
    "views_clipped_apart",
]
