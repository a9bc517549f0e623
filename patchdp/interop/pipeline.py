"""A chain of another library's transforms, read in order, and the patchdp crop it amounts to.

Before the crop, what moves or copies pixels changes how likely the patch is seen; after the crop,
whatever acts on each image by itself only post-processes what was seen and is free.

>>> from patchdp.geometry import RandomCrop
>>> chain = Pipeline((1024, 2048))
>>> chain.flip(1, "RandomHorizontalFlip")
>>> chain.crop_by(RandomCrop((505, 505)), "RandomCrop")
>>> chain.statistics("ColorJitter")
>>> chain.result()
RandomCrop((505, 505))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

from patchdp.geometry import (
    AtMost,
    CenterCrop,
    Crop,
    NestedCrop,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    ResizedCrop,
    WholeImage,
)
from patchdp.geometry.hits import as_images
from patchdp.geometry.reading import Interpolation, PaddingMode
from patchdp.geometry.rescale import Resizing

__all__ = ["Pipeline", "UnsupportedTransform", "is_vouched"]

Size = tuple[int, ...]


class UnsupportedTransform(ValueError):
    """The crop of a transform is chosen by content, or its distribution is not known."""


def is_vouched(transform: object, vouched: Collection[str]) -> bool:
    """Whether the user has said, by class name, that a transform acts pixel by pixel."""
    return type(transform).__name__ in vouched


class Pipeline:
    """What transforms have done so far to images of the given sizes.

    Args:
      image: Image size as the data set has it, or a list of sizes.
    """

    def __init__(self, image: Any) -> None:
        self.images: list[Size] = [tuple(size) for size in as_images(image)]
        self.axes = len(self.images[0])
        self._resizes: list[tuple[Resizing, Interpolation, bool]] = []
        self._padding: tuple[tuple[int, int], ...] | None = None
        self._padding_mode: PaddingMode = "constant"
        self._flips: list[tuple[int, str]] = []
        self._crop: Crop | None = None
        # Since the crop: has anything moved pixels (so that a second crop sees something else)?
        self._moved = False

    @property
    def cropped(self) -> bool:
        """Whether a crop has been met: what follows acts on what it shows."""
        return self._crop is not None

    @property
    def changes_size(self) -> bool:
        """Whether images have been resized or padded before any crop."""
        return bool(self._resizes) or self._padding is not None

    def pointwise(self, name: str) -> None:
        """A map of each pixel by itself, the same for all or drawn at random: free anywhere."""

    def flip(self, axis: int, name: str) -> None:
        """A mirror image with some chance."""
        if not self.cropped:
            self._flips.append((axis, name))

    def neighbourhood(self, name: str) -> None:
        """A map that spreads a pixel over its neighbours: blurs, warps, compression."""
        self._free_after_crop(name, "spreads the patch over neighbouring pixels")

    def statistics(self, name: str) -> None:
        """A map that depends on the whole image: contrast, equalisation, whitening."""
        self._free_after_crop(name, "lets every pixel depend on the whole image, the patch too")

    def _free_after_crop(self, name: str, why: str) -> None:
        if not self.cropped:
            raise UnsupportedTransform(f"{name} before the crop {why}; move it behind the crop")
        self._moved = True

    def pad(self, padding: Sequence[tuple[int, int]], mode: PaddingMode, name: str) -> None:
        """Pixels added on every side, one `(before, after)` pair per axis."""
        if self.cropped:
            self._moved = True
            return
        if self._padding is not None or (self._resizes and mode != "constant"):
            raise UnsupportedTransform(f"{name} after another change of size is not supported")
        self._padding, self._padding_mode = tuple(padding), mode

    def resize(
        self, resizing: Resizing, interpolation: Interpolation, name: str, *, bound: bool = False
    ) -> None:
        """A change of size; `bound` where the kernel is only known to be covered by this one."""
        if self.cropped:
            self._moved = True
            return
        if self._padding is not None:
            raise UnsupportedTransform(f"{name} after padding is not supported; resize first")
        self._resizes.append((resizing, interpolation, bound))

    def crop_by(self, crop: Crop, name: str) -> None:
        """A crop, drawn for each image on its own."""
        if self._crop is None:
            self._crop = self._with_padding(crop, name)
        elif isinstance(self._crop, RandomCrop | CenterCrop) and not self._moved:
            nested = NestedCrop(self._crop, crop)
            try:
                self.over_resizes(nested, check=True)
            except ValueError:
                nested = None  # type: ignore[assignment]
            # A part of what the first crop shows: its probability stays a bound.
            self._crop = AtMost(self._crop) if nested is None else nested
            self._moved = nested is None
        else:
            self._crop = AtMost(self._crop)
            self._moved = True

    def resized_after_crop(self) -> None:
        """The crop is resized, or is several views: a second crop counts as a bound only."""
        self._moved = True

    def _with_padding(self, crop: Crop, name: str) -> Crop:
        if self._padding is None:
            return crop
        padding, self._padding = self._padding, None
        if not isinstance(crop, RandomCrop) or (
            crop.padding and crop.padding_mode != self._padding_mode
        ):
            raise UnsupportedTransform(f"{name} of a padded image is not supported")
        if crop.padding and self._padding_mode != "constant":
            raise UnsupportedTransform(f"{name} pads an image that has been padded by copies")
        sides = tuple(
            (before + crop.margins(axis)[0], after + crop.margins(axis)[1])
            for axis, (before, after) in enumerate(padding)
        )
        return dataclasses.replace(crop, padding=sides, padding_mode=self._padding_mode)

    def erase(self, probability: float, scale: Any, ratio: Any, name: str) -> None:
        """A random box blanked, as torchvision draws it."""
        crop = self._crop
        usable = (
            isinstance(crop, RandomCrop)
            and crop.padding_mode == "constant"
            and not crop.pad_if_needed
            and not self._moved
            and not self._resizes
            and len(crop.size) == 2
        )
        if usable and isinstance(crop, RandomCrop):
            self._crop = RandomErasing(crop, probability, scale=tuple(scale), ratio=tuple(ratio))
        elif crop is not None:
            self._crop = AtMost(crop)  # erasing only hides more

    def maybe(self, probability: float, inside: Callable[[Pipeline], None], name: str) -> None:
        """Transforms applied together with some chance, a coin for each image."""
        branch = Pipeline(self.images)
        if self.cropped:
            branch._crop, branch._moved = self._crop, self._moved
        inside(branch)
        if self.cropped:
            if branch._crop is not self._crop:
                assert self._crop is not None
                self._crop = AtMost(self._crop)
            self._moved = self._moved or branch._moved
            return
        if branch._resizes or branch._padding is not None:
            raise UnsupportedTransform(
                f"{name} changes the image's size with some chance before the crop"
            )
        self._flips += branch._flips
        if branch._crop is not None:
            if self._resizes or self._padding is not None:
                raise UnsupportedTransform(f"{name} crops a resized or padded image by chance")
            self._crop = (
                branch._crop if probability == 1 else RandomApply(branch._crop, probability)
            )
            self._moved = True

    def over_resizes(self, crop: Crop, *, check: bool = False) -> Crop:
        """`crop` of the resized image as a crop of the original one."""
        for resizing, interpolation, bound in reversed(self._resizes):
            crop = ResizedCrop(crop, resizing, interpolation=interpolation)
            crop = AtMost(crop) if bound else crop
        if check:
            for image in self.images:
                crop.laws(image)
        return crop

    def result(self) -> Crop:
        """The crop of the original image that the chain amounts to.

        Raises:
          UnsupportedTransform: A mirror image before a crop that is not symmetric.
          ValueError: The crop does not fit the image.
        """
        crop = WholeImage() if self._crop is None else self._crop
        for axis, name in self._flips:
            if not self._symmetric(crop, axis):
                raise UnsupportedTransform(
                    f"{name} before {crop!r}, which treats the two sides differently; "
                    "flip behind the crop"
                )
        return self.over_resizes(crop, check=True)

    def _symmetric(self, crop: Crop, axis: int) -> bool:
        if isinstance(crop, AtMost | RandomApply | RandomErasing):
            return self._symmetric(crop.crop, axis)
        if isinstance(crop, NestedCrop):
            return self._symmetric(crop.outer, axis) and isinstance(crop.inner, RandomCrop)
        if isinstance(crop, RandomCrop):
            before, after = crop.margins(axis)
            return before == after
        if isinstance(crop, CenterCrop):
            return not self._resizes and all(
                (image[axis] - crop.size[axis]) % 2 == 0 for image in self.images
            )
        return isinstance(crop, WholeImage | RandomResizedCrop)
