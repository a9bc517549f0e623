"""Patch-level accounting inside Google's dp-accounting: an event, an accountant, and the way out.

>>> import dp_accounting
>>> from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent
>>> step = dp_accounting.PoissonSampledDpEvent(8 / 119, dp_accounting.GaussianDpEvent(2.0))
>>> training = dp_accounting.SelfComposedDpEvent(step, 1500)
>>> event = RandomCropDpEvent(66049 / 200720, training)
>>> 3.731 < PatchPrivacyAccountant().compose(event).get_epsilon(1e-5) < 3.736
True

What is inside `RandomCropDpEvent` sees a fresh crop of every image at every application of every
leaf; what is outside sees whole images. Both compose in one accountant, whose neighbouring relation
is the replacement of one patch.
"""

from patchdp.interop.dp_accounting.accountant import PatchPrivacyAccountant
from patchdp.interop.dp_accounting.events import RandomCropDpEvent
from patchdp.interop.dp_accounting.export import Engine, to_dp_event

__all__ = ["Engine", "PatchPrivacyAccountant", "RandomCropDpEvent", "to_dp_event"]
