"""Where: how likely a random crop is to see a private patch. Integers and fractions, no privacy.

>>> from patchdp.geometry import Patch, RandomCrop, inclusion
>>> inclusion((1024, 2048), RandomCrop((505, 505)), Patch((10, 10))).probability
Fraction(66049, 200720)
"""

from patchdp.geometry.at_most import AtMost
from patchdp.geometry.choice import ChoiceCrop
from patchdp.geometry.clips import SceneCrop, StridedClip
from patchdp.geometry.crop import Crop, RandomCrop
from patchdp.geometry.diversity import Diversity, diversity
from patchdp.geometry.erase import Cutout, RandomErasing
from patchdp.geometry.fixed import CenterCrop, FixedCrop, WholeImage
from patchdp.geometry.grid import GridCrop, best_crop
from patchdp.geometry.hits import Inclusion, hit_probability, inclusion, inclusion_map
from patchdp.geometry.nested import NestedCrop
from patchdp.geometry.patch import Disk, Mask, Patch, PatchUnion
from patchdp.geometry.random_resized import RandomResizedCrop
from patchdp.geometry.random_size import RandomSizeCrop
from patchdp.geometry.rescale import OneOf, RandomScale, Resize, ResizedCrop
from patchdp.geometry.token_drop import TokenDrop
from patchdp.geometry.views import FiveCrop, RandomApply, TenCrop, Views

__all__ = [
    "AtMost",
    "CenterCrop",
    "ChoiceCrop",
    "Crop",
    "Cutout",
    "Disk",
    "Diversity",
    "FiveCrop",
    "FixedCrop",
    "GridCrop",
    "Inclusion",
    "Mask",
    "NestedCrop",
    "OneOf",
    "Patch",
    "PatchUnion",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "RandomScale",
    "RandomSizeCrop",
    "Resize",
    "ResizedCrop",
    "SceneCrop",
    "StridedClip",
    "TenCrop",
    "TokenDrop",
    "Views",
    "WholeImage",
    "best_crop",
    "diversity",
    "hit_probability",
    "inclusion",
    "inclusion_map",
]
