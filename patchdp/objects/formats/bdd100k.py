"""BDD100K and Scalabel: JSON frames with labels.

A file is a list of frames, or an object with `frames` and `config`; a frame has a `name`, perhaps a
`size`, and `labels` with `box2d` (x1, y1, x2, y2), `poly2d`, `rle` or a `graph`. The older files of
one image have `objects` in their frames. The last pixel belongs to a box, as in Scalabel's own
conversions, and by a pixel more a polygon may be larger. Curves lie within their control points.
Labels without a place in the image are counted. Format: doc.scalabel.ai, "Scalabel Format".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp.objects.formats.json_walk import Document
from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import finite, image_size, points, short
from patchdp.objects.shapes import Grown, RunLengths, Shape, outline
from patchdp.objects.table import Annotations, Edges, Gathered

__all__ = ["read"]

_LAST_PIXEL = (0, 0, 1, 1)
_NOWHERE = "labels without a place in the image"


def read(documents: Iterable[tuple[str, Document]], told: Told) -> Annotations:
    """The objects of files, given with the names of their images."""
    told.only("bdd100k")
    gathered = Gathered("bdd100k", image=told.image)
    for name, document in documents:
        gathered.reads(document.path)
        _Reader(gathered, document, name).read()
    return gathered.done()


class _Reader:
    def __init__(self, gathered: Gathered, document: Document, name: str) -> None:
        self.gathered, self.document, self.path = gathered, document, document.path
        self.name = name
        self.size: tuple[int, int] | None = None
        self.sizeless: list[int] = []

    def read(self) -> None:
        found = False
        old_name: str | None = None
        for key, line, value, element in self.document.walk({"frames"}):
            if key in ("annotations", "shapes", "images") and isinstance(value, list):
                raise ValueError(f"{self.path}, line {line}: a BDD100K file has no {key!r}")
            if key == "config" and isinstance(value, dict):
                self.size = self.stated(value.get("imageSize") or value.get("image_size"), "config")
            elif key == "name" and isinstance(value, str):
                old_name = value
            elif key in (None, "frames"):
                expected: Any = dict if element else list
                if not isinstance(value, expected):
                    break
                found = True
                if element:
                    self.frame(value, line, old_name)
        else:
            found = found or self.document.text.strip() == "[]"
            if found:
                for image in self.sizeless:
                    self.gathered.sizes[image] = self.gathered.sizes[image] or self.size
                return
        raise ValueError(f"{self.path} is not a BDD100K file: it needs a list of frames")

    def stated(self, value: Any, owner: str) -> tuple[int, int] | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ValueError(f"{self.path}: {owner}: a size has width and height")
        return image_size(value.get("height"), value.get("width"), f"{self.path}: {owner}")

    def frame(self, frame: dict[str, Any], line: int, old_name: str | None) -> None:
        owner = f"{self.path}, line {line}"
        name = frame.get("name") or old_name or self.name
        labels = [frame[key] for key in ("labels", "objects") if frame.get(key) is not None]
        if not isinstance(name, str) or len(labels) > 1:
            raise ValueError(f"{owner}: a frame needs a name, and labels or objects")
        size = self.stated(frame.get("size"), f"frame {name}")
        key = None
        if "name" in frame:
            key = (str(frame.get("videoName")), name)
        image = self.gathered.image(name, size, key, owner)
        if self.gathered.sizes[image] is None:
            self.sizeless.append(image)
        records = labels[0] if labels else []
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise ValueError(f"{owner}: labels of frame {name} must be a list of objects")
        for k, record in enumerate(records):
            title = str(record.get("id", k + 1))
            said = f"{owner}: label {title} of frame {name}"
            found = self.place(record, image, said)
            if found is None:
                self.gathered.left_out[_NOWHERE] += 1
                continue
            edges, shape = found
            self.gathered.add(
                image, edges, str(record.get("category") or "object"), title,
                line=line, shape=shape, doubt=_LAST_PIXEL,
            )  # fmt: skip

    def place(
        self, record: dict[str, Any], image: int, owner: str
    ) -> tuple[Edges, Shape | None] | None:
        reach: list[Edges] = []
        shape: Shape | None = None
        if record.get("poly2d"):
            rings, closed = _rings(record["poly2d"], owner)
            every = np.concatenate(rings)
            reach.append(_reach(every))
            drawn = outline(rings) if closed else None
            shape = None if drawn is None else Grown(drawn)
        if record.get("rle"):
            shape = self.mask(record["rle"], image, owner)
            edges = shape.edges()
            if edges is not None:
                reach.append(edges)
        if record.get("graph"):
            nodes = record["graph"].get("nodes") if isinstance(record["graph"], dict) else None
            if not isinstance(nodes, list) or not all(isinstance(n, dict) for n in nodes):
                raise ValueError(f"{owner}: graph must have a list of nodes")
            if nodes:
                places = [node.get("location") for node in nodes]
                reach.append(_reach(points(places, "location of nodes", owner)))
        if record.get("box2d"):
            reach.append(_box(record["box2d"], owner))
            # Beside a box an outline may be what is visible only.
            shape = None
        if not reach:
            return None
        top, left, bottom, right = zip(*reach, strict=True)
        return (min(top), min(left), max(bottom), max(right)), shape

    def mask(self, value: Any, image: int, owner: str) -> RunLengths:
        given = value.get("size") if isinstance(value, dict) else None
        counts = value.get("counts") if isinstance(value, dict) else None
        if not isinstance(given, list) or len(given) != 2 or not isinstance(counts, str | list):
            raise ValueError(f"{owner}: rle must have counts and size")
        size = image_size(given[0], given[1], f"{owner}: rle")
        known = self.gathered.sizes[image] or self.size or self.gathered.given
        assert size is not None
        if known is not None and size != known:
            raise ValueError(
                f"{owner}: its mask is {size[0]}x{size[1]}, its image {known[0]}x{known[1]}"
            )
        try:
            return RunLengths.of(counts, size)
        except ValueError as error:
            raise ValueError(f"{owner}: {error}") from None


def _box(value: Any, owner: str) -> Edges:
    if not isinstance(value, dict):
        raise ValueError(f"{owner}: box2d must have x1, y1, x2, y2, got {short(value)}")
    sides = [value.get(name) for name in ("y1", "x1", "y2", "x2")]
    top, left, bottom, right = finite(sides, 4, "box2d (y1, x1, y2, x2)", owner)
    return top, left, bottom, right


def _rings(value: Any, owner: str) -> tuple[list[npt.NDArray[np.float64]], bool]:
    """The vertices, and whether they are closed polygons of straight lines."""
    rings, closed = [], True
    if not isinstance(value, list):
        raise ValueError(f"{owner}: poly2d must be a list, got {short(value)}")
    if all(isinstance(vertex, list) for vertex in value):
        value = [{"vertices": value}]  # the older files: x, y and the type of each vertex
    for part in value:
        vertices = part.get("vertices") if isinstance(part, dict) else None
        if not isinstance(vertices, list) or not all(isinstance(v, list) for v in vertices):
            raise ValueError(f"{owner}: poly2d must have vertices, got {short(part)}")
        rings.append(points([v[:2] for v in vertices], "vertices", owner))
        types = part.get("types")
        straight = isinstance(types, str) and set(types) <= {"L"}
        closed = closed and straight and part.get("closed") is True
    return rings, closed


def _reach(vertices: npt.NDArray[np.float64]) -> Edges:
    (left, top), (right, bottom) = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
    return top, left, bottom, right
