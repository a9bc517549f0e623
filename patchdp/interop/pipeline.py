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
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from patchdp.geometry import (
    AtMost,
    CenterCrop,
    Crop,
    FixedCrop,
    NestedCrop,
    RandomApply,
    RandomCrop,
    RandomErasing,
    ResizedCrop,
    WholeImage,
)
from patchdp.geometry.by_size import by_size
from patchdp.geometry.choice import ChoiceCrop
from patchdp.geometry.reading import Interpolation, PaddingMode
from patchdp.geometry.rescale import Resizing
from patchdp.geometry.sizes import Size, as_images
from patchdp.geometry.symmetry import mirrored_alike, turned_alike

__all__ = ["Inside", "Pipeline", "UnsupportedTransform", "for_each_size"]

Kernels = Interpolation | tuple[Interpolation, ...]


class UnsupportedTransform(ValueError):
    """The crop of a transform is chosen by content, or its distribution is not known."""


class Pipeline:
    """What transforms have done so far to images of the given sizes.

    Args:
      image: Image size as the data set has it, or a list of sizes.
    """

    def __init__(self, image: Any) -> None:
        self.images: list[Size] = [tuple(size) for size in as_images(image)]
        self.axes = len(self.images[0])
        self._resizes: list[tuple[Resizing, Kernels, bool]] = []
        self._padding: tuple[tuple[int, int], ...] | None = None
        self._padding_mode: PaddingMode = "constant"
        self._flips: list[tuple[int, str]] = []
        self._turns: list[tuple[tuple[int, int], str]] = []
        self._crop: Crop | None = None
        # Size of what the crop shows, while that is one size and its pixels are where they were.
        self._shown: Size | None = None
        self._flipped_since: set[int] = set()
        # Something may have been blanked before the crop.
        self._hidden = False

    @property
    def cropped(self) -> bool:
        """Whether a crop has been met: what follows acts on what it shows."""
        return self._crop is not None

    def sizes(self) -> list[Size]:
        """The sizes that images have now.

        Raises:
          UnsupportedTransform: They are drawn at random or not known.
        """
        if self.cropped:
            if self._shown is None:
                raise UnsupportedTransform(
                    "the size of what an earlier crop shows is not known here; crop only once"
                )
            return [self._shown]
        found = list(self.images)
        for resizing, _, _ in self._resizes:
            drawn = [resizing.sizes(size) for size in found]
            if any(len(outcomes) > 1 for outcomes in drawn):
                raise UnsupportedTransform(
                    "a size that depends on that of an image of random size is not supported"
                )
            found = [outcomes[0][1] for outcomes in drawn]
        margins = self._padding or ((0, 0),) * self.axes
        return [
            tuple(n + sum(pair) for n, pair in zip(size, margins, strict=True)) for size in found
        ]

    def one_size(self, name: str) -> Size:
        """The size of all images, for what depends on it."""
        sizes = set(self.sizes())
        if len(sizes) > 1:
            raise UnsupportedTransform(
                f"{name} depends on the image's size; give one image size at a time"
            )
        return sizes.pop()

    def pointwise(self, name: str) -> None:
        """A map of each pixel by itself, the same for all or drawn at random: free anywhere."""

    def flip(self, axis: int, name: str) -> None:
        """A mirror image, with some chance or always."""
        if self.cropped:
            self._flipped_since.add(axis)
            return
        self._check_padding([axis], name)
        self._flips.append((axis, name))

    def turn(self, axes: tuple[int, int], name: str) -> None:
        """Quarter turns or exchanged axes, with some chance or always."""
        if self.cropped:
            self._shown = None
            return
        self._check_padding(axes, name)
        self._turns.append((axes, name))

    def _check_padding(self, axes: Sequence[int], name: str) -> None:
        """The image must lie in the middle of its padding, or it has moved."""
        sides = {n for axis in axes for n in (self._padding[axis] if self._padding else ())}
        if len(sides) > 1:
            raise UnsupportedTransform(
                f"{name} of an unevenly padded image is not supported; turn or flip first"
            )

    def neighbourhood(self, name: str) -> None:
        """A map that spreads a pixel over its neighbours: blurs, warps, compression."""
        self._free_after_crop(name, "spreads the patch over neighbouring pixels")

    def statistics(self, name: str) -> None:
        """A map that depends on the whole image: contrast, equalisation, whitening."""
        self._free_after_crop(name, "lets every pixel depend on the whole image, the patch too")

    def _free_after_crop(self, name: str, why: str) -> None:
        if not self.cropped:
            raise UnsupportedTransform(f"{name} before the crop {why}; move it behind the crop")
        self._shown = None

    def pad(self, padding: Sequence[tuple[int, int]], mode: PaddingMode, name: str) -> None:
        """Pixels added on every side, one `(before, after)` pair per axis."""
        if not any(before or after for before, after in padding):
            return
        if self.cropped:
            self._shown = None
            return
        if any(min(pair) < 0 for pair in padding):
            raise UnsupportedTransform(f"{name} with negative padding is not supported; crop")
        if self._padding is not None or (self._resizes and mode != "constant"):
            raise UnsupportedTransform(f"{name} after another change of size is not supported")
        self._padding, self._padding_mode = tuple(padding), mode

    def resize(
        self, resizing: Resizing, interpolation: Kernels, name: str, *, antialias: bool = True
    ) -> None:
        """A change of size, by these kernels (of image and mask, say) or some that read less."""
        if self.cropped:
            self._shown = None
            return
        if self._padding is not None:
            raise UnsupportedTransform(f"{name} after padding is not supported; resize first")
        self._resizes.append((resizing, interpolation, antialias))

    def crop_by(self, crop: Crop, name: str, *, resized: bool = False) -> None:
        """A crop, drawn for each image on its own; `resized` when what it shows then is."""
        if self._crop is None:
            self._crop = self._with_padding(crop, name)
            self._shown = None if resized else _size_of(crop)
            return
        # A part of what the first crop shows: its probability stays a bound.
        nested = self._nested(crop) or AtMost(self._crop)
        self._shown = _size_of(crop) if isinstance(nested, NestedCrop) and not resized else None
        self._crop = nested

    def _nested(self, crop: Crop) -> NestedCrop | None:
        if self._shown is None or not isinstance(self._crop, RandomCrop | CenterCrop | FixedCrop):
            return None
        nested = NestedCrop(self._crop, crop)
        try:
            self._over_resizes(nested)
            alike = all(mirrored_alike(crop, self._shown, axis) for axis in self._flipped_since)
        except ValueError:
            return None
        return nested if alike else None

    def center(self, size: Size, corner: Callable[[int, int], int], name: str) -> None:
        """A crop in the middle; `corner(length, size)` is its first pixel along an axis."""
        images = self.sizes()

        def first(image: Size) -> Size:
            pairs = zip(image, size, strict=True)
            return tuple(corner(n, c) if c < n else 0 for n, c in pairs)

        plain = CenterCrop(size)
        if all(plain.corner(image) == first(image) for image in images) and (
            self.cropped or self._padding is None
        ):
            self.crop_by(plain, name)
            return
        at = first(self.one_size(name))
        seen = tuple(min(pair) for pair in zip(size, images[0], strict=True))
        if not self.cropped and self._padding is not None:
            if self._padding_mode != "constant":
                raise UnsupportedTransform(f"{name} of an image padded by copies is not supported")
            at = tuple(n - before for n, (before, _) in zip(at, self._padding, strict=True))
            self._padding = None
        self.crop_by(FixedCrop(seen, at=at), name)

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

    def erase(
        self, probability: float, scale: Sequence[float], ratio: Sequence[float], name: str
    ) -> None:
        """A random box blanked, as torchvision draws it."""
        crop = self._crop
        usable = (
            isinstance(crop, RandomCrop)
            and self._shown == crop.size
            and crop.padding_mode == "constant"
            and not crop.pad_if_needed
            and not self._resizes
            and len(crop.size) == 2
            and scale[0] > 0
        )
        if probability == 0:
            return
        if usable and isinstance(crop, RandomCrop):
            self._crop = RandomErasing(
                crop, probability, scale=(scale[0], scale[1]), ratio=(ratio[0], ratio[1])
            )
        else:
            self.hide(name)

    def hide(self, name: str) -> None:
        """Parts of the image blanked, wherever they are, but not chosen by content."""
        if self._crop is None:
            self._hidden = True
        else:
            self._crop = AtMost(self._crop)

    def maybe(self, probability: float, inside: Inside, name: str) -> None:
        """Transforms applied together with some chance, a coin for each image."""
        if probability == 1:
            inside(self)
        elif probability > 0:
            self.choose([(probability, inside), (1 - Fraction(probability), _nothing)], name)

    def choose(self, branches: Sequence[tuple[float | Fraction, Inside]], name: str) -> None:
        """One of several sequences of transforms, with these chances, drawn for each image."""
        read = [(weight, self._branch(inside)) for weight, inside in branches if weight > 0]
        if self._crop is not None:
            if any(branch._crop is not self._crop for _, branch in read):
                self._crop = AtMost(self._crop)  # whichever crop comes next shows a part of it
            if any(branch._shown != self._shown for _, branch in read):
                self._shown = None
            self._flipped_since.update(*(branch._flipped_since for _, branch in read))
            return
        crops = [branch._crop or WholeImage() for _, branch in read]
        if any(branch.cropped for _, branch in read) and (self._resizes or self._padding):
            raise UnsupportedTransform(f"{name} crops a resized or padded image by chance")
        if any(
            branch._resizes != self._resizes or branch._padding != self._padding
            for _, branch in read
        ):
            raise UnsupportedTransform(
                f"{name} changes the image's size with some chance before the crop"
            )
        for _, branch in read:
            self._flips += branch._flips
            self._turns += branch._turns
            self._hidden = self._hidden or branch._hidden
        if all(branch._crop is None for _, branch in read):
            return
        weights = [weight for weight, _ in read]
        if len(crops) == 2 and isinstance(crops[1], WholeImage):
            self._crop = RandomApply(crops[0], weights[0])
        else:
            self._crop = ChoiceCrop(tuple(crops), tuple(weights))

    def in_any_order(self, parts: Sequence[Inside], name: str) -> None:
        """All of several transforms, or some of them, in an order drawn for each image."""
        before = self.cropped
        for part in parts:
            # A half stands for any chance: no crop in here may be taken for certain.
            self.choose([(Fraction(1, 2), part), (Fraction(1, 2), _nothing)], name)
            if self.cropped and not before:
                raise UnsupportedTransform(f"{name} of transforms that crop is not supported")

    def _branch(self, inside: Inside) -> Pipeline:
        branch = Pipeline(self.images)
        branch._resizes, branch._padding = list(self._resizes), self._padding
        branch._padding_mode = self._padding_mode
        branch._crop, branch._shown = self._crop, self._shown
        branch._flipped_since = set(self._flipped_since)
        inside(branch)
        return branch

    def _over_resizes(self, crop: Crop) -> Crop:
        """`crop` of the resized image as a crop of the original one; it must fit."""
        for resizing, interpolation, antialias in reversed(self._resizes):
            crop = ResizedCrop(crop, resizing, interpolation=interpolation, antialias=antialias)
        for image in self.images:
            crop.laws(image)
        return crop

    def result(self) -> Crop:
        """The crop of the original image that the chain amounts to.

        Raises:
          UnsupportedTransform: A mirror image before a crop that is not symmetric.
          ValueError: The crop does not fit the image.
        """
        crop = self._over_resizes(WholeImage() if self._crop is None else self._crop)
        if isinstance(crop, WholeImage):
            self._flips, self._turns = [], []
        for axis, name in self._flips:
            if not all(mirrored_alike(crop, image, axis) for image in self.images):
                raise UnsupportedTransform(
                    f"{name} before {crop!r}, which treats the two sides differently; "
                    "flip behind the crop"
                )
        for axes, name in self._turns:
            if not all(turned_alike(crop, image, axes) for image in self.images):
                raise UnsupportedTransform(
                    f"{name} before {crop!r} is supported for square images and square windows "
                    "only; turn behind the crop"
                )
        return AtMost(crop) if self._hidden else crop


Inside = Callable[[Pipeline], None]


def for_each_size(image: Any, plan: Callable[[Size], Crop]) -> Crop:
    """What `plan` makes of each size of the images, as one crop.

    >>> from patchdp.geometry import RandomCrop
    >>> for_each_size([(8,), (5,)], lambda size: RandomCrop((min(6, *size),)))
    BySize(((8,), (5,)), (RandomCrop((6,)), RandomCrop((5,))))
    """
    sizes: list[Size] = list(dict.fromkeys(tuple(size) for size in as_images(image)))
    crops = [plan(size) for size in sizes]
    try:
        return by_size(sizes, crops)
    except ValueError as error:
        raise UnsupportedTransform(str(error)) from None


def _nothing(pipeline: Pipeline) -> None:
    """The branch that leaves the image as it is."""


def _size_of(crop: Crop) -> Size | None:
    """The size of what a crop shows, where it always is the same."""
    if isinstance(crop, CenterCrop | FixedCrop):
        return crop.size
    return crop.size if isinstance(crop, RandomCrop) else None
