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

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from patchdp._version import __version__

if TYPE_CHECKING:  # what `__getattr__` below imports when it is first used
    from patchdp import interop
    from patchdp.audit.one_run import one_run_audit
    from patchdp.banded import banded
    from patchdp.geometry import (
        AtMost,
        CenterCrop,
        ChoiceCrop,
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
        best_crop,
        diversity,
        inclusion,
        inclusion_map,
    )
    from patchdp.guarantee import Bounds, Profile
    from patchdp.interop.dp_accounting.amplify import amplify_one_step
    from patchdp.omitted import Omitted, omitted
    from patchdp.plan import Composition, TrainingPlan
    from patchdp.step import FixedSize, PixelNoise, Poisson, RandomAllocation, Shuffle
    from patchdp.sweeps import Grid, Sweep, epsilons, sweep
    from patchdp.sweeps.design import Design, design

__all__ = [
    "AtMost",
    "Bounds",
    "CenterCrop",
    "ChoiceCrop",
    "Composition",
    "Crop",
    "Cutout",
    "Design",
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
    "best_crop",
    "design",
    "diversity",
    "epsilons",
    "inclusion",
    "inclusion_map",
    "interop",
    "omitted",
    "one_run_audit",
    "sweep",
]

# Where each public name lives. Nothing is imported before it is used: a question of milliseconds
# shall not wait for rooms that it does not enter.
_ROOMS = {
    "patchdp.audit.one_run": "one_run_audit",
    "patchdp.sweeps.design": "Design design",
    "patchdp.geometry": (
        "AtMost CenterCrop ChoiceCrop Crop Cutout Disk FiveCrop FixedCrop GridCrop Inclusion Mask "
        "NestedCrop OneOf Patch PatchUnion RandomApply RandomCrop RandomErasing "
        "RandomResizedCrop RandomScale RandomSizeCrop Resize ResizedCrop SceneCrop StridedClip "
        "TenCrop TokenDrop Views WholeImage best_crop diversity inclusion inclusion_map"
    ),
    "patchdp.guarantee": "Bounds Profile",
    "patchdp.interop.dp_accounting.amplify": "amplify_one_step",
    "patchdp.banded": "banded",
    "patchdp.omitted": "Omitted omitted",
    "patchdp.plan": "Composition TrainingPlan",
    "patchdp.step": "FixedSize PixelNoise Poisson RandomAllocation Shuffle",
    "patchdp.sweeps": "Grid Sweep epsilons sweep",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    module = f"{__name__}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise  # a library behind it is not installed
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
