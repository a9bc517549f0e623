"""patchdp: how private a patch of an image is when a model is trained on random crops.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048),
...     crop=pdp.RandomCrop((505, 505)),
...     patch=pdp.Patch((10, 10)),
...     sampling=pdp.Poisson(batch_size=200, dataset_size=2975),
...     noise_multiplier=2.0,
...     steps=1500,
... )
>>> plan.inclusion.probability
Fraction(66049, 200720)
"""

from patchdp import interop
from patchdp._version import __version__
from patchdp.banded import banded
from patchdp.batch import epsilons
from patchdp.composition.amplify import amplify_one_step
from patchdp.geometry import (
    AtMost,
    CenterCrop,
    Crop,
    Cutout,
    Disk,
    FiveCrop,
    FixedCrop,
    GridCrop,
    Inclusion,
    Mask,
    NestedCrop,
    OneOf,
    Patch,
    PatchUnion,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomScale,
    RandomSizeCrop,
    Resize,
    ResizedCrop,
    SceneCrop,
    StridedClip,
    TenCrop,
    TokenDrop,
    Views,
    WholeImage,
    inclusion,
    inclusion_map,
)
from patchdp.grid import Grid
from patchdp.guarantee import Bounds, Profile
from patchdp.omitted import Omitted, omitted
from patchdp.plan import Composition, TrainingPlan
from patchdp.step import FixedSize, PixelNoise, Poisson, RandomAllocation, Shuffle
from patchdp.sweep import Sweep, sweep

__all__ = [
    "AtMost",
    "Bounds",
    "CenterCrop",
    "Composition",
    "Crop",
    "Cutout",
    "Disk",
    "FiveCrop",
    "FixedCrop",
    "FixedSize",
    "Grid",
    "GridCrop",
    "Inclusion",
    "Mask",
    "NestedCrop",
    "Omitted",
    "OneOf",
    "Patch",
    "PatchUnion",
    "PixelNoise",
    "Poisson",
    "Profile",
    "RandomAllocation",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "RandomScale",
    "RandomSizeCrop",
    "Resize",
    "ResizedCrop",
    "SceneCrop",
    "Shuffle",
    "StridedClip",
    "Sweep",
    "TenCrop",
    "TokenDrop",
    "TrainingPlan",
    "Views",
    "WholeImage",
    "__version__",
    "amplify_one_step",
    "banded",
    "epsilons",
    "inclusion",
    "inclusion_map",
    "interop",
    "omitted",
    "sweep",
]
