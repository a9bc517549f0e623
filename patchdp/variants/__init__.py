"""The same training seen otherwise: another neighbouring relation, or noise that is correlated.

`omitted_patch` asks what is protected when a patch is left out in place of being replaced;
`banded_noise` counts participations under disjoint bands of correlated noise.
"""

from patchdp.variants.banded_noise import banded
from patchdp.variants.omitted_patch import Omitted, omitted

__all__ = ["Omitted", "banded", "omitted"]
