"""Windows that people draw along time and from scenes: strided clips, scenes by their area.

>>> from patchdp.geometry import Patch, StridedClip, inclusion
>>> inclusion((300,), StridedClip(16, stride=4), Patch((1,))).probability
Fraction(1, 15)
>>> inclusion((300,), StridedClip(16, stride=4), Patch((10,))).probability
Fraction(7, 24)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from patchdp._budget import STEP, afford
from patchdp._checks import count, flag, shown
from patchdp.geometry.crop import Crop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_size, as_tuple, spelled
from patchdp.geometry.windows import AxisWindows, CountedLaw, Counts

__all__ = ["SceneCrop", "StridedClip"]


@dataclass(frozen=True)
class StridedWindows(CountedLaw):
    """Runs of `frames` frames, `stride` apart, the first one uniform on `0`, ..., `last`."""

    frames: int
    stride: int
    last: int

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of first frames."""
        return self.last + 1

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        work = self.frames * (STEP + starts.size)
        afford(0, f"a clip of {self.frames:,} frames", "sample fewer frames", work=work)
        counts = np.zeros(starts.shape, dtype=np.int64)
        # Each frame is in the interval for a run of first frames; a run that begins before the one
        # of the frame before has ended adds only what is new.
        behind = np.full(starts.shape, -1, dtype=np.int64)
        for frame in range(self.frames - 1, -1, -1):
            low = np.maximum(starts - frame * self.stride, behind + 1)
            high = np.minimum(stops - 1 - frame * self.stride, self.last)
            counts += np.maximum(high - np.maximum(low, 0) + 1, 0)
            behind = np.maximum(behind, high)
        return counts


@dataclass(frozen=True, repr=False)
class StridedClip(Crop):
    """Every so-many-th frame of a video, from a uniformly drawn one on; the other axes by a crop.

    >>> from patchdp.geometry import RandomCrop
    >>> StridedClip(16, stride=4, crop=RandomCrop((112, 112)))
    StridedClip(16, stride=4, crop=RandomCrop((112, 112)))

    The first axis of the image is time. An event between two sampled frames is not seen: counting
    the clip as a window without gaps would overstate an event shorter than the stride.

    Args:
        frames: frames of the clip.
        stride: distance of two of them.
        crop: the crop of the other axes, one window for all frames; without it the whole of them.

    Raises:
        ValueError: a number below 1; on use, a video shorter than the clip.

    Source: `docs/theory/windows.md`, "Clips" (Theorem 43).
    """

    frames: int
    stride: int = field(kw_only=True)
    crop: Crop | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("frames", "stride"):
            object.__setattr__(self, name, count(name, getattr(self, name)))
        if self.crop is not None and not isinstance(self.crop, Crop):
            raise ValueError(f"crop must be a crop of the other axes, got {shown(self.crop)}")

    @property
    def exact(self) -> bool:
        return self.crop is None or self.crop.exact

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        last = image[0] - (self.frames - 1) * self.stride - 1
        if last < 0:
            raise ValueError(
                f"a clip of {self.frames} frames, {self.stride} apart, does not fit a video of "
                f"{image[0]} frames"
            )
        time = StridedWindows(self.frames, self.stride, last)
        if self.crop is None:
            return (WindowLaw.single([time, *(AxisWindows(n, 0, 0) for n in image[1:])]),)
        found = self.crop.laws(image[1:])
        if len(found) > 1 or self.crop.combine([0.25]) != 0.25:
            raise ValueError(f"the crop of a clip must be one window, got {self.crop!r}")
        inner = found[0]
        first = np.zeros((len(inner.index), 1), dtype=np.int64)
        index = np.concatenate([first, inner.index], axis=1)
        axes = ((time,), *inner.axes)
        return (WindowLaw(axes, index, inner.weights, inner.monotone, inner.slack),)

    def __repr__(self) -> str:
        crop = "" if self.crop is None else f", crop={self.crop!r}"
        return f"StridedClip({self.frames!r}, stride={self.stride!r}{crop})"


@dataclass(frozen=True, repr=False)
class SceneCrop(Crop):
    """A window of one of several scenes, drawn by area, then at a uniform offset in it.

    >>> SceneCrop((256, 256), scenes=((1000, 1000), (2000, 500)))
    SceneCrop((256, 256), scenes=((1000, 1000), (2000, 500)))

    The images of a plan with it are the scenes: `image=list(crop.scenes)`. Windows that are drawn
    with replacement are views of one data set that is used in full at every step
    (`docs/howto/text.md`).

    Args:
        size: pixels of the window along each axis.
        scenes: the sizes of all scenes, repeated where several have one size; none is smaller than
            the window.
        last_offset: whether the last offset is ever drawn; torchgeo's `RandomGeoSampler` rounds
            down a uniform number and never draws it.

    Raises:
        ValueError: no scenes, a scene smaller than the window; on use, an image that is no scene.

    Source: `docs/theory/windows.md`, "Streams and scenes" (Theorem 44).
    """

    size: Size
    scenes: tuple[Size, ...] = field(kw_only=True)
    last_offset: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("crop", self.size))
        scenes = as_tuple(self.scenes)
        if not scenes:
            raise ValueError(f"scenes must name at least one scene, got {shown(self.scenes)}")
        object.__setattr__(self, "scenes", tuple(as_size("scene", s) for s in scenes))
        object.__setattr__(self, "last_offset", flag("last_offset", self.last_offset))
        for scene in self.scenes:
            same_axes(self.size, scene)
            if any(n < c for n, c in zip(scene, self.size, strict=True)):
                raise ValueError(
                    f"crop {spelled(self.size)} does not fit scene {spelled(scene)}; leave the "
                    "scene out, as its sampler must"
                )

    def share(self, scene: Size) -> Fraction:
        """Chance that the window is of one scene of this size."""
        return Fraction(math.prod(scene), sum(math.prod(each) for each in self.scenes))

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        if tuple(image) not in self.scenes:
            raise ValueError(
                f"image {spelled(image)} is none of the scenes; give image=list(crop.scenes)"
            )
        windows = [
            AxisWindows(c, 0, n - c - (0 if self.last_offset or n == c else 1))
            for n, c in zip(image, self.size, strict=True)
        ]
        return (WindowLaw.mixture([(self.share(image), windows)]),)

    def __repr__(self) -> str:
        last = "" if self.last_offset else ", last_offset=False"
        return f"SceneCrop({self.size!r}, scenes={self.scenes!r}{last})"
