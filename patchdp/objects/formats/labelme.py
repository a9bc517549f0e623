"""LabelMe: one JSON file of drawn shapes per image.

`shapes` holds polygons, rectangles, circles, lines, points and masks, each as a list of points of x
and y; `imageHeight` and `imageWidth` state the size. LabelMe's own masks include the pixels that
the last coordinates name, so a pixel is added below and to the right. Lines, points and masks are
bounded by their box. Format: labelme's `LabelFile` and `shape_to_mask`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp.objects.formats.json_walk import Document
from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import image_size, points, short
from patchdp.objects.shapes import Grown, outline
from patchdp.objects.table import Annotations, Gathered

__all__ = ["read"]

_LAST_PIXEL = (0, 0, 1, 1)
# How many points a kind has, None for any number.
_KINDS: dict[str, tuple[int, int | None]] = {
    "polygon": (1, None),
    "rectangle": (2, 4),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (1, None),
    "point": (1, 1),
    "points": (1, None),
    "mask": (2, 2),
}


def read(documents: Iterable[tuple[str, Document]], told: Told) -> Annotations:
    """The objects of files, given with the names of their images."""
    told.only("labelme")
    gathered = Gathered("labelme", image=told.image)
    for name, document in documents:
        path = document.path
        gathered.reads(path)
        head, records = document.parts("shapes")
        whole = isinstance(head.get("shapes"), list)
        if not whole or not all(isinstance(r, dict) for _, r in records):
            raise ValueError(f"{path} is not a LabelMe file: it needs a list of objects 'shapes'")
        for key in ("annotations", "objects", "frames"):
            if isinstance(head.get(key), list):
                raise ValueError(f"{path}: a LabelMe file has no {key!r}")
        size = image_size(head.get("imageHeight"), head.get("imageWidth"), str(path))
        stated = head.get("imagePath")
        title = PurePath(stated.replace("\\", "/")).name if isinstance(stated, str) else ""
        image = gathered.image(title or name, size, owner=str(path))
        for k, (line, record) in enumerate(records):
            _shape(gathered, image, record, f"{path}, line {line}: shape {k + 1}", line, k)
    return gathered.done()


def _shape(
    gathered: Gathered, image: int, record: dict[str, Any], owner: str, line: int, k: int
) -> None:
    label = str(record.get("label") or "object")
    kind = record.get("shape_type") or "polygon"
    if kind not in _KINDS:
        raise ValueError(
            f"{owner}: shape_type must be one of {', '.join(_KINDS)}, got {short(kind)}"
        )
    ring = points(record.get("points"), "points", f"{owner} ({label})")
    least, most = _KINDS[kind]
    if len(ring) < least or (most is not None and len(ring) > most):
        raise ValueError(f"{owner}: a {kind} has not {len(ring)} points")
    if kind == "circle":
        reach = math.hypot(*(ring[1] - ring[0]).tolist())
        ring = np.stack([ring[0] - reach, ring[0] + reach])
    left, top, right, bottom = _reach(ring)
    drawn = outline([ring]) if kind in ("polygon", "oriented_rectangle") else None
    gathered.add(
        image, (top, left, bottom, right), label, str(k + 1), line=line,
        shape=None if drawn is None else Grown(drawn), doubt=_LAST_PIXEL,
    )  # fmt: skip


def _reach(ring: npt.NDArray[np.float64]) -> list[float]:
    return [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()]
