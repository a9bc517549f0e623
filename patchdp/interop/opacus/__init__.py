"""Patch-level accounting for Opacus: an accountant, an engine, and a check before training.

Needs `pip install patchdp[opacus]`.

>>> import patchdp as pdp
>>> from patchdp.interop import opacus
>>> name = opacus.register(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((2, 2)),
...     sampling=pdp.Poisson,
... )
>>> from opacus.accountants import create_accountant
>>> accountant = create_accountant(name)             # what PrivacyEngine(accountant=name) does
>>> accountant.step(noise_multiplier=1.0, sample_rate=1 / 75)
>>> 0 < accountant.get_epsilon(delta=1e-5) < 1
True
"""

from patchdp.interop.opacus.accountant import PatchAccountant, register
from patchdp.interop.opacus.claim import Claim
from patchdp.interop.opacus.engine import PatchPrivacyEngine
from patchdp.interop.opacus.guard import CheckReport, PatchPrivacyWarning, check
from patchdp.interop.opacus.samplers import FixedSizeBatchSampler

__all__ = [
    "CheckReport",
    "Claim",
    "FixedSizeBatchSampler",
    "PatchAccountant",
    "PatchPrivacyEngine",
    "PatchPrivacyWarning",
    "check",
    "register",
]
