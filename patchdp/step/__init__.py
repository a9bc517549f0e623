"""ONE STEP: the privacy profile of one DP-SGD step."""

from patchdp.step.group import images_per_person, views_clipped_apart
from patchdp.step.mixture import MixturePair
from patchdp.step.pixel_noise import PixelNoise
from patchdp.step.profile import StepProfile, fixed_size_pair, poisson_pair, step_profile
from patchdp.step.sampling import FixedSize, Poisson, Sampling, Shuffle

__all__ = [
    "FixedSize",
    "MixturePair",
    "PixelNoise",
    "Poisson",
    "Sampling",
    "Shuffle",
    "StepProfile",
    "fixed_size_pair",
    "images_per_person",
    "poisson_pair",
    "step_profile",
    "views_clipped_apart",
]
