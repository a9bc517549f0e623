"""All objects of one image together: the probability that a crop shows any of them.

>>> import numpy as np
>>> from patchdp.geometry import RandomCrop
>>> any_of((8, 8), RandomCrop((4, 4)), np.array([[0, 0, 1, 1], [7, 7, 8, 8]]))
Fraction(2, 25)

A crop's window is given by its corner. The corners whose windows touch a box are a rectangle of
whole numbers; those that touch any of the boxes are the union of the rectangles, counted here.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from patchdp._checks import round_up
from patchdp.geometry import RandomCrop
from patchdp.objects.probabilities import Seen

__all__ = ["any_of", "by_image"]

# With more boxes the sum of their probabilities bounds that of any of them.
_TOGETHER = 1000


def any_of(image: tuple[int, int], crop: RandomCrop, boxes: npt.NDArray[np.int64]) -> Fraction:
    """The probability that a crop touches any of some boxes.

    Args:
      image: (height, width).
      crop: The distribution of the crop; what it pads with shows nothing.
      boxes: Shape `(n, 4)`: top, left, bottom, right.

    Raises:
      ValueError: A crop that does not fit, or that pads with copies of the image.
    """
    laws = crop.plain(image)
    if laws is None:
        raise ValueError(f"padding_mode={crop.padding_mode!r} shows pixels at several places")
    begin, end = [], []
    for axis, law in enumerate(laws):
        begin.append(np.clip(boxes[:, axis] - law.length + 1, law.first, law.last + 1))
        end.append(np.clip(boxes[:, axis + 2], law.first, law.last + 1))
    marks = [np.unique(np.concatenate(pair)) for pair in zip(begin, end, strict=True)]
    covered = np.zeros([max(len(mark) - 1, 0) for mark in marks], dtype=np.bool_)
    first, last = (
        [np.searchsorted(mark, side) for mark, side in zip(marks, sides, strict=True)]
        for sides in (begin, end)
    )
    for top, bottom, left, right in zip(first[0], last[0], first[1], last[1], strict=True):
        covered[top:bottom, left:right] = True
    rows, columns = (np.diff(mark) for mark in marks)
    hits = sum(
        int(length) * int(columns[line].sum())
        for length, line in zip(rows.tolist(), covered, strict=True)
    )
    return Fraction(hits, laws[0].total * laws[1].total)


def by_image(seen: Seen, crop: RandomCrop) -> Seen:
    """One row for each image that has objects, in place of one for each object.

    Its box holds all of its objects, its category is theirs if they have one, and its probability
    is that of a crop that shows any of them.
    """
    objects = seen.objects
    padded = replace(crop, pad_if_needed=True)
    order = np.argsort(objects.image_index, kind="stable")
    images, starts = np.unique(objects.image_index[order], return_index=True)
    groups = np.split(order, starts[1:])
    values, boxes, categories, ids = [], [], [], []
    exact = np.ones(len(groups), dtype=np.bool_)
    names = sorted({*objects.categories, "several"})
    for k, (image, rows) in enumerate(zip(images.tolist(), groups, strict=True)):
        own = objects.boxes[rows]
        value = min(1.0, float(seen.probabilities[rows].sum()) * (1 + 1e-12))
        certain = bool(seen.small[rows[0]]) and float(seen.probabilities[rows].min()) == 1
        if len(rows) <= _TOGETHER and not certain:
            value = min(value, round_up(any_of(objects.sizes[image], padded, own)))
        exact[k] = len(rows) <= _TOGETHER and bool(seen.exact[rows].all())
        values.append(value)
        boxes.append([*own[:, :2].min(axis=0), *own[:, 2:].max(axis=0)])
        kinds = set(objects.category_index[rows].tolist())
        category = objects.categories[kinds.pop()] if len(kinds) == 1 else "several"
        categories.append(names.index(category))
        ids.append(f"all {len(rows)}")
    grouped = replace(
        objects,
        image_index=images,
        boxes=np.array(boxes, dtype=np.int64).reshape(-1, 4),
        categories=tuple(names),
        category_index=np.array(categories, dtype=np.int64),
        ids=tuple(ids),
        shapes=(None,) * len(groups),
    )
    small = np.array([seen.small[rows[0]] for rows in groups], dtype=np.bool_)
    return Seen(grouped, np.array(values), exact, small, seen.small_images)
