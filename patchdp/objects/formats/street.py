"""Cityscapes and Mapillary Vistas: one JSON file of polygons per image.

Both hold a list `objects` of `label` and `polygon`; Cityscapes states the size as `imgHeight` and
`imgWidth`, Mapillary as `height` and `width`. Vertices are numbers of pixels, the last one belongs
to the object, or points of the plane: the pixels of both readings count, and with them all that
cityscapesscripts draws. CityPersons' files have `bbox` (x, y, width, height) instead of polygons.
Format: Cordts et al. 2016, arXiv:1604.01685, and its cityscapesscripts; Neuhold et al. 2017.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from patchdp.objects.formats.json_walk import Document
from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import finite, image_size, points, short
from patchdp.objects.shapes import Grown, Shape, outline
from patchdp.objects.table import Annotations, Edges, Gathered

__all__ = ["read"]

# The pixel that a vertex names lies below and to the right of it.
_LAST_PIXEL = (0, 0, 1, 1)


def read(documents: Iterable[tuple[str, Document]], kind: str, told: Told) -> Annotations:
    """The objects of files, given with the names of their images."""
    told.only(kind)
    gathered = Gathered(kind, image=told.image)
    for name, document in documents:
        gathered.reads(document.path)
        head, records = document.parts("objects")
        _file(gathered, name, document.path, head, records)
    return gathered.done()


def _file(
    gathered: Gathered, name: str, path: Path, head: dict[str, Any], records: list[tuple[int, Any]]
) -> None:
    whole = isinstance(head.get("objects"), list) and all(isinstance(r, dict) for _, r in records)
    if not whole:
        raise ValueError(
            f"{path} is not a {gathered.kind} file: it needs a list of objects 'objects'"
        )
    for key in ("annotations", "shapes", "frames"):
        if isinstance(head.get(key), list):
            raise ValueError(f"{path}: a {gathered.kind} file has no {key!r}")
    image = gathered.image(name, _size(head, path), owner=str(path))
    for k, (line, record) in enumerate(records):
        title = str(record.get("id", k + 1))
        label = str(record.get("label") or "object")
        owner = f"{path}, line {line}: object {title} ({label})"
        deleted = record.get("deleted", 0)
        if deleted not in (0, 1, None):
            raise ValueError(f"{owner}: deleted must be 0 or 1, got {short(deleted)}")
        if deleted:
            gathered.left_out["marked as deleted in the file"] += 1
            continue
        edges, shape = _place(record, owner)
        gathered.add(image, edges, label, title, line=line, shape=shape, doubt=_LAST_PIXEL)


def _size(head: dict[str, Any], path: Path) -> tuple[int, int] | None:
    sizes = {
        image_size(head.get(height), head.get(width), str(path))
        for height, width in (("imgHeight", "imgWidth"), ("height", "width"))
    } - {None}
    if len(sizes) > 1:
        raise ValueError(f"{path}: imgHeight and imgWidth contradict height and width")
    return sizes.pop() if sizes else None


def _place(record: dict[str, Any], owner: str) -> tuple[Edges, Shape | None]:
    if "polygon" not in record and "bbox" in record:
        x, y, width, height = finite(record["bbox"], 4, "bbox", owner)
        if width < 0 or height < 0:
            raise ValueError(f"{owner}: width and height of bbox must be at least 0")
        return (y, x, y + height, x + width), None
    ring = points(record.get("polygon"), "polygon", owner)
    (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    drawn = outline([ring])
    if drawn is None:
        return (top, left, bottom, right), None
    return (top, left, bottom, right), Grown(drawn)
