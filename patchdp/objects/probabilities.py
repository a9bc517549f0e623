"""Where the objects are, how likely a crop shows each of them.

>>> from patchdp.geometry import RandomCrop
>>> seen = box_probabilities([(1024, 2048)], RandomCrop((505, 505)), [[504, 990, 514, 1000]])
>>> round(float(seen[0]), 4)
0.3291
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from patchdp._checks import choice, integers, round_up
from patchdp.geometry import Crop, Mask, RandomCrop, hit_probability
from patchdp.geometry import inclusion as inclusion_of
from patchdp.geometry.sizes import as_size, as_tuple
from patchdp.objects.table import Annotations

__all__ = ["SMALL_IMAGES", "Seen", "SmallImages", "box_probabilities", "object_probabilities"]

Floats = npt.NDArray[np.float64]

SmallImages = Literal["certain", "pad-if-needed", "skip", "refuse"]
SMALL_IMAGES: tuple[SmallImages, ...] = get_args(SmallImages)
_SKIPPED = "in images smaller than the crop"
# Larger outlines are bounded by their box: their pixels would fill the memory.
_LARGEST_OUTLINE = 1 << 26


def box_probabilities(
    images: Sequence[Sequence[int]],
    crop: Crop,
    boxes: npt.ArrayLike,
    image_index: npt.ArrayLike | None = None,
) -> Floats:
    """The inclusion probability of each of many boxes, in images of any number of sizes.

    >>> from patchdp.geometry import RandomCrop
    >>> box_probabilities([(8, 8), (4, 8)], RandomCrop((4, 4)), [[2, 3, 4, 5]] * 2, [0, 1])
    array([0.8, 1. ])

    Args:
      images: (height, width) of every image.
      crop: The distribution of the crop.
      boxes: Whole numbers of shape `(n, 4)`: top, left, bottom, right; bottom and right are the
        first row and column outside. Inside their images.
      image_index: Shape `(n,)`, the image of each box; left out where there is one image.

    Returns:
      Float array of shape `(n,)`, of a relative accuracy of 1e-12.

    Raises:
      ValueError: Shapes that do not match, a box that leaves its image, or an image that the
        crop does not fit.

    Source: counting as in arXiv:2603.24695, at given places; see
    `docs/theory/geometry.md`, "Counting windows".
    """
    sizes = [as_size("image", size) for size in as_tuple(images) or ()]
    table = integers("boxes", boxes, "whole numbers of shape (n, 4)")
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"boxes must be whole numbers of shape (n, 4), got {table.shape}")
    if image_index is None and len(sizes) != 1:
        raise ValueError(f"image_index must say in which of the {len(sizes)} images each box lies")
    if image_index is None:
        where = np.zeros(len(table), dtype=np.int64)
    else:
        where = integers("image_index", image_index, f"{len(table)} whole numbers")
    if where.shape != (len(table),):
        raise ValueError(f"image_index must be {len(table)} whole numbers, got {where.shape}")
    if len(where) and not 0 <= int(where.min()) <= int(where.max()) < len(sizes):
        raise ValueError(f"image_index must lie between 0 and {len(sizes) - 1}")
    # Images of one size share the law of the crop.
    distinct: dict[tuple[int, ...], int] = {}
    number = np.array([distinct.setdefault(size, len(distinct)) for size in sizes], dtype=np.int64)
    group = number[where] if sizes else where
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(distinct) + 1))
    result = np.empty(len(table))
    for size, k in distinct.items():
        rows = order[ends[k] : ends[k + 1]]
        if len(rows):
            corners = table[rows, :2]
            extents = table[rows, 2:] - corners
            result[rows] = hit_probability(size, crop, corners, extents)
    return result


@dataclass(frozen=True, eq=False)
class Seen:
    """How likely a crop shows each object.

    Attributes:
        objects: the objects, without those that were skipped.
        probabilities: shape `(n,)`, upper bounds.
        exact: shape `(n,)`, whether the probability is that of the object's own pixels.
        small: shape `(n,)`, whether the object's image is smaller than the crop.
        small_images: number of such images.
    """

    objects: Annotations
    probabilities: Floats
    exact: npt.NDArray[np.bool_]
    small: npt.NDArray[np.bool_]
    small_images: int


def object_probabilities(
    objects: Annotations,
    crop: RandomCrop,
    *,
    shapes: Literal["box", "mask"] = "box",
    small_images: SmallImages = "certain",
) -> Seen:
    """The inclusion probability of every annotated object.

    Args:
      objects: As `read_annotations` returns them.
      crop: The distribution of the crop.
      shapes: Whether an object with an outline is bounded by its `"box"` or counted by the pixels
        of its `"mask"`.
      small_images: What the training does with images that the crop does not fit: it pads them
        first (`"pad-if-needed"`), leaves them out (`"skip"`, counted in the objects' `left_out`),
        or that is not known and their objects count as seen for sure (`"certain"`). `"refuse"`
        makes them an error.

    Raises:
      ValueError: A crop that fits no image at all, or not every image where that is refused.
    """
    shapes = choice("shapes", shapes, ("box", "mask"))
    small_images = choice("small_images", small_images, SMALL_IMAGES)
    fits = _fits(objects, crop, refuse=small_images == "refuse")
    small = ~fits[objects.image_index]
    if small_images == "skip" and small.any():
        objects, small = objects.without(small, _SKIPPED), small[~small]
    padded = replace(crop, pad_if_needed=True)
    found = box_probabilities(objects.sizes, padded, objects.boxes, objects.image_index)
    outlined = np.array([shape is not None for shape in objects.shapes], dtype=np.bool_)
    exact = ~outlined
    if shapes == "mask":
        for k in np.flatnonzero(outlined).tolist():
            _by_outline(objects, padded, k, found, exact)
    if small_images == "certain":
        found[small], exact[small] = 1.0, False
    return Seen(objects, found, exact, small, int((~fits).sum()))


def _fits(objects: Annotations, crop: RandomCrop, *, refuse: bool) -> npt.NDArray[np.bool_]:
    """Which images are as large as the crop."""
    said: dict[tuple[int, int], str] = {}
    for size in set(objects.sizes):
        try:
            crop.windows(size)
        except ValueError as error:
            said[size] = str(error)
    fits = np.array([size not in said for size in objects.sizes], dtype=np.bool_)
    if fits.all():
        return fits
    if refuse or not fits.any():
        first = int(np.argmin(fits))
        count = int((~fits).sum())
        more = f" ({count} of {len(fits)} images are smaller than the crop)" if count > 1 else ""
        raise ValueError(f"image {objects.images[first]}: {said[objects.sizes[first]]}{more}")
    return fits


def _by_outline(
    objects: Annotations,
    crop: RandomCrop,
    k: int,
    found: Floats,
    exact: npt.NDArray[np.bool_],
) -> None:
    """One object's probability by the pixels that its outline touches."""
    shape = objects.shapes[k]
    top, left, bottom, right = objects.boxes[k].tolist()
    assert shape is not None
    if (bottom - top) * (right - left) > _LARGEST_OUTLINE:
        return
    pixels = shape.pixels((top, left, bottom, right))
    if not pixels.any():
        return  # an empty mask: its box stands for it
    size = objects.sizes[objects.image_index[k]]
    seen = inclusion_of(size, crop, Mask(pixels, at=(top, left)))
    value = seen.probability
    found[k] = min(found[k], round_up(value) if isinstance(value, Fraction) else value)
    exact[k] = seen.attained
