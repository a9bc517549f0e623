"""One transform of an OpenMMLab configuration: its parameters, and the sample that it acts on.

>>> params = Params("mmseg.RandomCrop", {"crop_size": (512, 1024)})
>>> params.pair("crop_size")
(512, 1024)
>>> params.check({"crop_size", "cat_max_ratio"})
>>> Params("mmseg.RandomCrop", {"crop_sise": 8}).check({"crop_size", "cat_max_ratio"})
Traceback (most recent call last):
    ...
patchdp.interop.pipeline.UnsupportedTransform: mmseg.RandomCrop has no parameter 'crop_sise'; the \
nearest is 'crop_size'
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from patchdp import _checks
from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["BOXES", "DEPTH", "EVERYTHING", "FIELDS", "KEYPOINTS", "MASKS", "PAIRED", "PROPOSALS",
           "SEGMENTATION", "Chain", "Params"]  # fmt: skip

# What a sample may hold beside its image. mmsegmentation moves the label maps that are listed in
# seg_fields, and only its own loader lists them.
FIELDS = "the label map in seg_fields"
SEGMENTATION = "gt_seg_map outside seg_fields"
DEPTH = "gt_depth_map"
BOXES = "gt_bboxes"
MASKS = "gt_masks"
KEYPOINTS = "gt_keypoints"
PROPOSALS = "proposals"
PAIRED = "img2"
EVERYTHING = frozenset({FIELDS, SEGMENTATION, DEPTH, BOXES, MASKS, KEYPOINTS, PROPOSALS, PAIRED})


@dataclass(frozen=True)
class Params:
    """The parameters of one transform.

    Args:
      name: Scope and type, for messages.
      values: What the configuration says beside the type.
    """

    name: str
    values: Mapping[str, Any]

    def check(self, known: Collection[str]) -> None:
        """Refuse a parameter that the transform does not have."""
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
                hint = f"; the nearest is {near[0]!r}" if near else ""
                raise UnsupportedTransform(f"{self.name} has no parameter {key!r}{hint}")

    def get(self, key: str, default: Any = None) -> Any:
        """What is said, or the library's default."""
        return self.values.get(key, default)

    def need(self, key: str) -> Any:
        """What must be said."""
        if self.values.get(key) is None:
            raise ValueError(f"{self.name} needs {key}, got {dict(self.values)!r}")
        return self.values[key]

    def flag(self, key: str, default: bool) -> bool:
        """A yes or no."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}: {key} must be True or False, got {value!r}")
        return value

    def count(self, key: str) -> int:
        """A whole number of at least 1."""
        return _checks.count(f"{self.name}: {key}", self.need(key))

    def pair(self, key: str) -> tuple[int, int]:
        """Two whole numbers of at least 1, or one for both."""
        value = self.need(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) != 2:
                raise ValueError(f"{self.name}: {key} must be one or two numbers, got {value!r}")
            first, second = (_checks.count(f"{self.name}: {key}", n) for n in value)
            return first, second
        both = _checks.count(f"{self.name}: {key}", value)
        return both, both

    def chance(self, key: str, default: float) -> Fraction:
        """A probability from 0 to 1."""
        return as_chance(f"{self.name}: {key}", self.get(key, default))


def as_chance(name: str, value: object) -> Fraction:
    """`value` as a probability from 0 to 1."""
    number = _checks.nonnegative(name, value)
    if number > 1:
        raise ValueError(f"{name} must be a probability from 0 to 1, got {value!r}")
    return Fraction(number)


def as_interval(name: str, value: object) -> tuple[float, float]:
    """`value` as two finite numbers above 0, the smaller one first."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, the smaller one first, got {value!r}")
    low, high = (_checks.positive(name, end) for end in value)
    if low > high or not math.isfinite(high):
        raise ValueError(f"{name} must be two numbers, the smaller one first, got {value!r}")
    return low, high


@dataclass
class Chain:
    """What has been read so far.

    Args:
      pipeline: What happened to the pixels.
      carried: The arrays of the sample beside its image.
      scope: The library whose transforms are meant where none is said.
      version: Major version of mmdetection, where it was said.
      loaded: Whether a loader has said what is carried.
    """

    pipeline: Pipeline
    carried: set[str]
    scope: str
    version: int | None = None
    loaded: bool = field(default=False)

    def load(self, arrays: Collection[str]) -> None:
        """A loader adds arrays to the sample; the first one replaces what was assumed."""
        if not self.loaded:
            self.carried.clear()
        self.loaded = True
        self.carried.update(arrays)

    def move(self, name: str, moved: Collection[str]) -> None:
        """Refuse a change of geometry that leaves some array of the sample as it is."""
        left = sorted(self.carried - set(moved))
        if left and not self.pipeline.cropped:
            raise UnsupportedTransform(
                f"{name} leaves {' and '.join(left)} of the sample as it is, which then shows what "
                "the image does not; use the transform of the library that loads it"
            )
