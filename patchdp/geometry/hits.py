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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp.geometry.crop import RandomCrop
from patchdp.geometry.dilation import mask_hits
from patchdp.geometry.patch import Disk, Mask, Patch, PatchUnion, PrivatePatch
from patchdp.geometry.sizes import Interval, Size, as_size, spelled

__all__ = ["Inclusion", "hit_probability", "inclusion", "inclusion_map"]

ImageSizes: TypeAlias = Sequence[int] | Iterable[Sequence[int]]


@dataclass(frozen=True)
class Inclusion:
    """The largest probability that a crop hits the patch, and where it is attained.

    Attributes:
        probability: an upper bound; a `Fraction`, exact, wherever the crop's law is rational.
        worst_position: first corner of the patch's bounding box in the unpadded image, the first
            in reading order among the worst; None for a `PatchUnion`.
        worst_image: the image size at which it is attained.
        attained: whether one patch at `worst_position` has exactly `probability`.
    """

    probability: Fraction | float
    worst_position: Size | None
    worst_image: Size
    attained: bool


def inclusion(image: ImageSizes, crop: RandomCrop, patch: PrivatePatch) -> Inclusion:
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

    Source: counting as in arXiv:2603.24695, here per axis and at every position; see the
    section on geometry in docs/theory.md.
    """
    sizes = as_images(image)
    if len(sizes) == 1:
        found = _worst(sizes[0], crop, patch)
    else:
        found = _worst_of_sizes(sizes, crop, patch)
    if isinstance(patch, PatchUnion):
        return Inclusion(found.probability, None, found.worst_image, found.attained)
    if patch.count > 1:
        bound = min(Fraction(1), patch.count * Fraction(found.probability))
        return Inclusion(bound, found.worst_position, found.worst_image, False)
    return found


def inclusion_map(
    image: Sequence[int], crop: RandomCrop, patch: PrivatePatch
) -> npt.NDArray[np.float64]:
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
    windows = crop.windows(size)
    shape, corners = _extent(size, patch)
    total = math.prod(law.total for law in windows)
    if not isinstance(patch, Patch):
        return mask_hits(_pixels(patch, len(size)), windows, corners) / total
    result = np.ones((1,) * len(size))
    for axis, law in enumerate(windows):
        start = np.arange(corners[axis][0], corners[axis][1] + 1, dtype=np.int64)
        share = law.hits_at(start, start + shape[axis]) / law.total
        result = result * share.reshape(tuple(-1 if k == axis else 1 for k in range(len(size))))
    return result


def hit_probability(
    image: Sequence[int],
    crop: RandomCrop,
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
        Float array of shape `(n,)`.

    Raises:
        ValueError: shapes that do not match, or a box that leaves the image.
    """
    size = as_size("image", image)
    windows = crop.windows(size)
    start, stop = _as_boxes(size, corners, sizes)
    result = np.ones(len(start))
    for axis, law in enumerate(windows):
        result *= law.hits_at(start[:, axis], stop[:, axis]) / law.total
    return result


def as_images(image: ImageSizes) -> list[Size]:
    """One size or many as a list of distinct sizes, in the order given."""
    if type(image) is tuple and image and type(image[0]) is int:
        return [as_size("image", image)]
    if isinstance(image, np.ndarray):
        image = image.tolist()
    if isinstance(image, str | bytes) or not isinstance(image, Iterable):
        raise ValueError(f"image must be a size as (1024, 2048), or a list of sizes, got {image!r}")
    entries = list(image)
    if not entries or not isinstance(entries[0], Iterable):
        return [as_size("image", entries)]
    sizes = list(dict.fromkeys(as_size("image", entry) for entry in entries))
    axes = {len(size) for size in sizes}
    if len(axes) > 1:
        raise ValueError(f"image sizes must have the same number of axes, got {sorted(axes)}")
    return sizes


def _worst(image: Size, crop: RandomCrop, patch: PrivatePatch) -> Inclusion:
    windows = crop.windows(image)
    shape, corners = _extent(image, patch)
    total = math.prod([law.total for law in windows])
    if isinstance(patch, Patch):
        found = [
            law.worst(width, lowest, highest)
            for law, width, (lowest, highest) in zip(windows, shape, corners, strict=True)
        ]
        most = math.prod([count for count, _ in found])
        # Where every position has count 0 the first of all is the first of the worst.
        where = tuple([pair[0] for pair in corners] if most == 0 else [at for _, at in found])
    else:
        counts = mask_hits(_pixels(patch, len(image)), windows, corners)
        flat = int(counts.argmax())
        most = int(counts.flat[flat])
        index = np.unravel_index(flat, counts.shape)
        where = tuple(low + int(i) for i, (low, _) in zip(index, corners, strict=True))
    return Inclusion(Fraction(most, total), where, image, True)


def _worst_of_sizes(sizes: list[Size], crop: RandomCrop, patch: PrivatePatch) -> Inclusion:
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


def _box_bounds(
    sizes: list[Size], crop: RandomCrop, patch: PrivatePatch
) -> npt.NDArray[np.float64]:
    """For every size the inclusion probability of the patch's bounding box, as a float."""
    shape, _ = _extent(sizes[0], patch)
    table = np.array(sizes, dtype=np.int64)
    bounds = np.ones(len(sizes))
    for axis, width in enumerate(shape):
        lengths, first, inverse = np.unique(table[:, axis], return_index=True, return_inverse=True)
        shares = np.empty(len(lengths))
        for k, index in enumerate(first):
            image = sizes[index]
            law = crop.windows(image)[axis]
            lowest, highest = _extent(image, patch)[1][axis]
            shares[k] = law.worst(width, lowest, highest)[0] / law.total
        bounds *= shares[inverse]
    return bounds


def _extent(image: Size, patch: PrivatePatch) -> tuple[Size, list[Interval]]:
    """Bounding box of the patch, and the range of its first corner (inclusive) per axis."""
    axes = len(image)
    if isinstance(patch, PatchUnion):
        patch = patch.placed(axes)
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
    start, extent = np.asarray(corners), np.asarray(sizes)
    axes = len(image)
    if start.ndim != 2 or start.shape[1] != axes or start.dtype.kind not in "iu":
        raise ValueError(f"corners must be whole numbers of shape (n, {axes}), got {start.shape}")
    if extent.shape not in {(axes,), start.shape} or extent.dtype.kind not in "iu":
        raise ValueError(
            f"sizes must be whole numbers of shape ({axes},) or {start.shape}, got {extent.shape}"
        )
    start = start.astype(np.int64)
    stop = start + extent
    wrong = ((start < 0) | (stop > np.array(image)) | (stop <= start)).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"box {row} at {tuple(start[row].tolist())} of size "
            f"{spelled((stop - start)[row].tolist())} does not lie inside image {spelled(image)}"
        )
    return start, stop
