"""How likely a crop is to see the patch: exact counting, the worst place, and the whole map.

>>> from patchdp.geometry import Patch, RandomCrop, inclusion
>>> found = inclusion((1024, 2048), RandomCrop((505, 505)), Patch((10, 10)))
>>> found.probability
Fraction(66049, 200720)
>>> found.worst_position
(504, 504)

A crop *hits* a patch when it contains at least one of its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp._budget import afford, affordable
from patchdp._checks import integers, round_up, shown
from patchdp.geometry.crop import Crop, RandomCrop
from patchdp.geometry.dilation import (
    few_corners,
    mask_hits,
    mask_map,
    mask_share,
    mask_work,
    union_hits,
)
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.patch import Disk, Mask, Patch, PatchUnion, PrivatePatch
from patchdp.geometry.search import worst_box
from patchdp.geometry.sizes import ImageSizes, Interval, Size, as_images, as_size, spelled
from patchdp.geometry.windows import AxisWindows, CountedLaw, Counts, SpacedWindows

__all__ = ["Inclusion", "hit_probability", "inclusion", "inclusion_map"]

# What a float bound may exceed the probability by, relative to it, and still count as attained.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Inclusion:
    """The largest probability that a crop hits the patch, and where it is attained.

    Attributes:
        probability: an upper bound; a `Fraction`, exact, wherever the crop's law is rational.
        worst_position: first corner of the patch's bounding box in the unpadded image, the first
            in reading order among the worst; None for a `PatchUnion`.
        worst_image: the image size at which it is attained.
        attained: whether one patch at `worst_position` has exactly `probability`; where that is a
            float, up to its rounding, a relative 1e-12.
    """

    probability: Fraction | float
    worst_position: Size | None
    worst_image: Size
    attained: bool


def inclusion(image: ImageSizes, crop: Crop, patch: PrivatePatch) -> Inclusion:
    """The inclusion probability at the worst position (and the worst of several image sizes).

    >>> from patchdp.geometry import Disk, Patch, RandomCrop
    >>> inclusion([(640, 480), (480, 640)], RandomCrop((224, 224)), Patch((16, 16)))
    Inclusion(probability=Fraction(57121, 107169), worst_position=(223, 223), \
worst_image=(640, 480), attained=True)
    >>> inclusion((1000, 1000), RandomCrop((100, 100)), Disk(50)).probability
    Fraction(37644, 811801)

    Args:
        image: pixels along each axis, or a list of such sizes: the largest probability counts.
        crop: the distribution of the crop.
        patch: what is private, and where it may lie.

    Returns:
        The worst case over every place the patch may take inside the image.

    Raises:
        ValueError: numbers of axes that differ, a patch or a crop that does not fit the image.

    Source: counting as in arXiv:2603.24695, here per axis and at every position; see
    `docs/theory/geometry.md`, "Counting windows" (Theorem 1, Theorem 2, Theorem 3).
    """
    sizes = as_images(image)
    _check_crop(crop)
    _check_patch(patch)
    if len(sizes) == 1:
        found = _worst(sizes[0], crop, patch)
    else:
        found = _worst_of_sizes(sizes, crop, patch)
    if isinstance(patch, PatchUnion):
        return Inclusion(found.probability, None, found.worst_image, found.attained and crop.exact)
    if patch.count > 1:
        exact = min(Fraction(1), patch.count * Fraction(found.probability))
        bound = exact if isinstance(found.probability, Fraction) else round_up(exact)
        return Inclusion(bound, found.worst_position, found.worst_image, False)
    return found if crop.exact else replace(found, attained=False)


def inclusion_map(image: Sequence[int], crop: Crop, patch: PrivatePatch) -> npt.NDArray[np.float64]:
    """The inclusion probability at every place the patch may take.

    >>> from patchdp.geometry import Patch, RandomCrop
    >>> inclusion_map((4,), RandomCrop((2,)), Patch((1,)))
    array([0.33333333, 0.66666667, 0.66666667, 0.33333333])

    Args:
        image: pixels along each axis.
        crop: the distribution of the crop.
        patch: what is private; of `count` patches the map shows one.

    Returns:
        Float array with one entry per admissible first corner of the patch's bounding box: entry
        0 belongs to corner 0, or to the start of the patch's region.

    Raises:
        ValueError: as for `inclusion`, and for a list of image sizes.
    """
    sizes = as_images(image)
    if len(sizes) != 1:
        raise ValueError(f"image must be one size for a map, got {len(sizes)} sizes")
    size = sizes[0]
    _check_crop(crop)
    _check_patch(patch)
    laws = crop.laws(size)
    shape, corners = _extent(size, patch)
    places = math.prod(highest - lowest + 1 for lowest, highest in corners)
    afford(places, f"a map of {places:,} places", "ask for the worst place, or a region by within=")
    if not isinstance(patch, Patch) and affordable(math.prod(shape)):
        exact = [mask_map(law, _pixels(patch, len(size)), size, corners) for law in laws]
        counted = [found for found in exact if found is not None]
        if len(counted) == len(laws):
            return np.clip(crop.combine(counted), 0.0, 1.0)
    found = [law.outer(_keys_along(law, shape, corners)) for law in laws]
    return np.clip(crop.combine(found), 0.0, 1.0)


def hit_probability(
    image: Sequence[int],
    crop: Crop,
    corners: npt.ArrayLike,
    sizes: npt.ArrayLike,
) -> npt.NDArray[np.float64]:
    """The probability that a crop hits each of many boxes at known places.

    >>> from patchdp.geometry import RandomCrop
    >>> hit_probability((8, 8), RandomCrop((4, 4)), [[0, 0], [2, 3]], [[1, 1], [2, 2]])
    array([0.04, 0.8 ])

    Args:
        image: pixels along each axis.
        crop: the distribution of the crop.
        corners: whole numbers, shape `(n, axes)`: first corners in the image.
        sizes: whole numbers, shape `(n, axes)` or `(axes,)`: pixels along each axis.

    Returns:
        Float array of shape `(n,)`: upper bounds. They are off by a relative 1e-12 at most; for
        many boxes under a crop of thousands of sizes by 1e-11 in all.

    Raises:
        ValueError: shapes that do not match, or a box that leaves the image.
    """
    size = as_size("image", image)
    _check_crop(crop)
    laws = crop.laws(size)
    start, stop = _as_boxes(size, corners, sizes)
    found = crop.combine([np.clip(law.rows(start, stop), 0.0, 1.0) for law in laws])
    return np.minimum(found * (1 + 2.0**-48), 1.0)


def _check_crop(crop: object) -> None:
    if not isinstance(crop, Crop):
        raise ValueError(f"crop must be a crop as RandomCrop((32, 32)), got {shown(crop)}")


def _check_patch(patch: object) -> None:
    if not isinstance(patch, PrivatePatch):
        raise ValueError(f"patch must be a Patch, Mask, Disk or PatchUnion, got {shown(patch)}")


def _worst(image: Size, crop: Crop, patch: PrivatePatch) -> Inclusion:
    windows = crop.plain(image)
    laws = () if windows is not None else crop.laws(image)
    shape, corners = _extent(image, patch)
    product = laws[0].product if len(laws) == 1 else windows
    if not isinstance(patch, Patch):
        found = _worst_of_shape(image, crop, patch, windows, product, laws, corners)
        if found is not None:
            return found
    if product is None:
        box = _searched(image, crop, laws, shape, corners)
    else:
        share, where = _worst_of_product(product, shape, corners)
        box = _found(crop.combine([share]), where, image)
    if isinstance(patch, Patch):
        return box
    # Too much to count for another shape: its bounding box is hit more often.
    most = box.probability
    if isinstance(patch, PatchUnion):
        # And so is one of its parts, in all.
        parts = [_worst(image, crop, part).probability for part in patch.parts]
        summed = sum((Fraction(part) for part in parts), Fraction(0))
        exact = all(isinstance(part, Fraction) for part in parts)
        most = min(most, summed if exact else round_up(summed))
    return replace(box, probability=most, attained=False)


def _worst_of_shape(
    image: Size,
    crop: Crop,
    patch: Mask | Disk | PatchUnion,
    windows: Sequence[AxisWindows] | None,
    product: Sequence[CountedLaw] | None,
    laws: Sequence[WindowLaw],
    corners: Sequence[Interval],
) -> Inclusion | None:
    """The worst place of an arbitrary shape, where it can be counted."""
    boxes = patch.boxes() if isinstance(patch, PatchUnion) else None
    if boxes is not None and windows is not None:
        counted = union_hits(boxes, windows)
        if counted is not None:
            return _found(crop.combine([Fraction(*counted)]), boxes[0][0], image)
    shape = patch.shape(len(image))
    plain = [law for law in product or () if isinstance(law, AxisWindows | SpacedWindows)]
    if len(plain) == len(image):
        few = few_corners(shape, plain, corners)
        if affordable(math.prod(shape)) and affordable(*mask_work(shape, plain, few)):
            counts = mask_hits(_pixels(patch, len(image)), plain, few)
            where, index = _first_largest(counts, few)
            total = math.prod(law.total for law in plain)
            return _found(crop.combine([Fraction(int(counts[index]), total)]), where, image)
    elif affordable(math.prod(shape) + math.prod(high - low + 1 for low, high in corners)):
        pixels = _pixels(patch, len(image))
        found = [mask_map(law, pixels, image, corners) for law in laws]
        maps = [probabilities for probabilities in found if probabilities is not None]
        if len(maps) == len(laws):
            return _worst_of_maps(image, crop, laws, pixels, corners, maps)
    return None


def _found(probability: Fraction | float, where: Size, image: Size) -> Inclusion:
    if not isinstance(probability, Fraction):
        probability = min(1.0, probability * (1 + ROUNDING / 4))
    return Inclusion(probability, where, image, True)


def _searched(
    image: Size, crop: Crop, laws: Sequence[WindowLaw], shape: Size, corners: Sequence[Interval]
) -> Inclusion:
    found = worst_box(crop, laws, shape, corners)
    return Inclusion(found.probability, found.position, image, found.error <= ROUNDING)


def _worst_of_maps(
    image: Size,
    crop: Crop,
    laws: Sequence[WindowLaw],
    pixels: npt.NDArray[np.bool_],
    corners: Sequence[Interval],
    maps: Sequence[npt.NDArray[np.float64]],
) -> Inclusion:
    combined = crop.combine(maps)
    where, index = _first_largest(combined, corners)
    if combined.size == 1 and all(law.rational for law in laws):
        shares = [mask_share(law, pixels, image, corners) for law in laws]
        return _found(crop.combine(shares), where, image)
    # Sums of positive terms and few factors: far more than their rounding, beside the weights'.
    slack = 2 * max(law.slack for law in laws)
    bound = min(1.0, float(combined[index]) * (1 + ROUNDING / 2 + slack))
    return Inclusion(bound, where, image, slack <= ROUNDING / 2)


def _worst_of_product(
    laws: Sequence[CountedLaw], shape: Size, corners: Sequence[Interval]
) -> tuple[Fraction, Size]:
    found = [
        law.worst(width, lowest, highest)
        for law, width, (lowest, highest) in zip(laws, shape, corners, strict=True)
    ]
    most = math.prod([count for count, _ in found])
    # Where every position has count 0 the first of all is the first of the worst.
    where = tuple([pair[0] for pair in corners] if most == 0 else [at for _, at in found])
    return Fraction(most, math.prod([law.total for law in laws])), where


def _first_largest(
    values: npt.NDArray[Any], corners: Sequence[Interval]
) -> tuple[Size, tuple[int, ...]]:
    index = tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
    return tuple(low + i for i, (low, _) in zip(index, corners, strict=True)), index


def _worst_of_sizes(sizes: list[Size], crop: Crop, patch: PrivatePatch) -> Inclusion:
    """The worst size: bounding boxes first, exact counting only while they could be worse."""
    bounds = _box_bounds(sizes, crop, patch)
    best: Inclusion | None = None
    for index in np.argsort(-bounds, kind="stable"):
        # A bound is a product of few correctly rounded quotients: 1e-12 covers its rounding.
        if best is not None and bounds[index] * (1 + 1e-12) < float(best.probability):
            break
        found = _worst(sizes[index], crop, patch)
        if best is None or found.probability > best.probability:
            best = found
        if best.probability == 1:
            break
    assert best is not None
    return best


def _box_bounds(sizes: list[Size], crop: Crop, patch: PrivatePatch) -> npt.NDArray[np.float64]:
    """For every size a bound from the patch's bounding box; 1 where the crop is not that simple."""
    if type(crop) is not RandomCrop or crop.padding_mode != "constant":
        return np.ones(len(sizes))
    shape, _ = _extent(sizes[0], patch)
    table = np.array(sizes, dtype=np.int64)
    bounds = np.ones(len(sizes))
    for axis, width in enumerate(shape):
        # The windows along one axis depend on the length of that axis alone.
        lengths, first, inverse = np.unique(table[:, axis], return_index=True, return_inverse=True)
        shares = np.empty(len(lengths))
        for k, index in enumerate(first):
            law = crop.windows(sizes[index])[axis]
            lowest, highest = _extent(sizes[index], patch)[1][axis]
            shares[k] = law.worst(width, lowest, highest)[0] / law.total
        bounds *= shares[inverse]
    return bounds


def _keys_along(law: WindowLaw, shape: Size, corners: Sequence[Interval]) -> list[Counts]:
    found = []
    for axis, (lowest, highest) in enumerate(corners):
        start = np.arange(lowest, highest + 1, dtype=np.int64)
        found.append(law.keys(axis, start, start + shape[axis]))
    return found


def _extent(image: Size, patch: PrivatePatch) -> tuple[Size, list[Interval]]:
    """Bounding box of the patch, and the range of its first corner (inclusive) per axis."""
    axes = len(image)
    shape = patch.shape(axes)
    if patch.at is not None:
        if any(at + n > length for at, n, length in zip(patch.at, shape, image, strict=True)):
            raise ValueError(
                f"patch {spelled(shape)} at {patch.at} leaves image {spelled(image)}; "
                "it must lie inside"
            )
        return shape, [(at, at) for at in patch.at]
    if patch.within is not None:
        if any(stop > n for (_, stop), n in zip(patch.within, image, strict=True)):
            raise ValueError(
                f"within={patch.within} leaves image {spelled(image)}; it must lie inside"
            )
        pairs = zip(patch.within, shape, strict=True)
        return shape, [(start, stop - n) for (start, stop), n in pairs]
    if any(n > length for n, length in zip(shape, image, strict=True)):
        raise ValueError(
            f"patch {spelled(shape)} does not fit image {spelled(image)}; use a smaller patch"
        )
    return shape, [(0, length - n) for n, length in zip(shape, image, strict=True)]


def _pixels(patch: Mask | Disk | PatchUnion, axes: int) -> npt.NDArray[np.bool_]:
    return (patch.placed(axes) if isinstance(patch, PatchUnion) else patch).pixels(axes)


def _as_boxes(
    image: Size, corners: npt.ArrayLike, sizes: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    axes = len(image)
    start = integers("corners", corners, f"whole numbers of shape (n, {axes})")
    if start.ndim != 2 or start.shape[1] != axes:
        raise ValueError(f"corners must be whole numbers of shape (n, {axes}), got {start.shape}")
    extent = integers("sizes", sizes, f"whole numbers of shape ({axes},) or {start.shape}")
    if extent.shape not in {(axes,), start.shape}:
        raise ValueError(
            f"sizes must be whole numbers of shape ({axes},) or {start.shape}, got {extent.shape}"
        )
    stop = start + extent
    wrong = ((start < 0) | (stop > np.array(image)) | (stop <= start)).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"box {row} at {tuple(start[row].tolist())} of size "
            f"{spelled((stop - start)[row].tolist())} does not lie inside image {spelled(image)}"
        )
    return start, stop
