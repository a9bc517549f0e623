"""Where: how likely a random crop is to see a private patch. Integers and fractions, no privacy.

>>> from patchdp.geometry import Patch, RandomCrop, inclusion
>>> inclusion((1024, 2048), RandomCrop((505, 505)), Patch((10, 10))).probability
Fraction(66049, 200720)
"""

from patchdp.geometry.crop import RandomCrop
from patchdp.geometry.hits import Inclusion, hit_probability, inclusion, inclusion_map
from patchdp.geometry.patch import Disk, Mask, Patch, PatchUnion

__all__ = [
    "Disk",
    "Inclusion",
    "Mask",
    "Patch",
    "PatchUnion",
    "RandomCrop",
    "hit_probability",
    "inclusion",
    "inclusion_map",
]
