"""COCO: one JSON file with `images`, `annotations` and `categories`.

`bbox` is x, y, width, height in pixels, a segmentation a list of polygons or a run-length mask;
panoptic files hold `segments_info` in their annotations. Where the outline reaches beyond the box,
the box is widened to hold both; an outline that fills less than the box, or that has no inside,
does not count as one. Images of one file name are one image. Format: cocodataset.org, "Data
format"; run lengths as in pycocotools.
"""

from __future__ import annotations

from typing import Any

from patchdp.objects.formats.json_walk import Document
from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import finite, identity, image_size, points, short
from patchdp.objects.shapes import RunLengths, Shape, outline
from patchdp.objects.table import Annotations, Edges, Gathered, file_key

__all__ = ["read"]

_LISTS = ("images", "annotations", "categories")
_FOREIGN = ("shapes", "objects", "frames")
# By so many pixels a box is wider than the outline that it was drawn around.
_SPARE = 2.0
_UNFILLED = "have an outline that does not fill their bbox: the box that holds both counts"


def read(document: Document, told: Told) -> Annotations:
    """The objects of one file."""
    told.only("coco")
    return _Reader(document, told).objects()


class _Reader:
    def __init__(self, document: Document, told: Told) -> None:
        self.document, self.path = document, document.path
        self.gathered = Gathered("coco", image=told.image)
        self.gathered.reads(self.path)
        self.index: dict[str | int, int] = {}
        self.categories: dict[str | int, str] = {}
        self.kinds: list[str | int] = []

    def objects(self) -> Annotations:
        seen: set[str] = set()
        early: list[tuple[int, dict[str, Any]]] = []
        for key, line, value, element in self.document.walk(_LISTS):
            if key in _FOREIGN and isinstance(value, list):
                raise ValueError(f"{self.path}, line {line}: a COCO file has no {key!r}")
            if key is None:
                break  # a list in place of the object
            if key not in _LISTS:
                continue
            expected: Any = dict if element else list
            if not isinstance(value, expected):
                raise self.not_coco(key)
            seen.add(key)
            if key == "annotations" and element and "images" not in seen:
                early.append((line, value))
            elif element:
                self.record(key, line, value)
        for key in ("images", "annotations"):
            if key not in seen:
                raise self.not_coco(key)
        for line, value in early:
            self.annotation(value, line)
        # Categories often come last.
        names = [self.categories.get(key, str(key)) for key in self.kinds]
        self.gathered.labels = names
        return self.gathered.done()

    def record(self, key: str, line: int, value: dict[str, Any]) -> None:
        owner = f"{self.path}, line {line}: "
        if key == "images":
            self.image(value, owner)
        elif key == "categories":
            self.category(value, owner)
        else:
            self.annotation(value, line)

    def not_coco(self, key: str) -> ValueError:
        return ValueError(f"{self.path} is not a COCO file: it needs a list of objects {key!r}")

    def image(self, record: dict[str, Any], owner: str) -> None:
        key = identity(record.get("id"), "id", f"{owner}an image")
        if key in self.index:
            raise ValueError(f"{owner}two images have the id {key}")
        name = record.get("file_name")
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{owner}file_name must be text, got {short(name)}")
        size = image_size(record.get("height"), record.get("width"), f"{owner}image {name or key}")
        self.index[key] = self.gathered.image(
            name or str(key), size, file_key(name) if name else None, f"{owner}image {key}"
        )

    def category(self, record: dict[str, Any], owner: str) -> None:
        key = identity(record.get("id"), "id", f"{owner}a category")
        name = str(record.get("name", key))
        if self.categories.setdefault(key, name) != name:
            raise ValueError(
                f"{owner}category {key} is {short(name)} here and "
                f"{short(self.categories[key])} before"
            )

    def annotation(self, record: dict[str, Any], line: int) -> None:
        name = str(record.get("id", len(self.gathered.ids) + 1))
        key = record.get("image_id")
        if type(key) is not int:
            key = identity(key, "image_id", self.owner(name, line))
        image = self.index.get(key)
        if image is None:
            raise ValueError(
                f"{self.owner(name, line)}: image {short(key)} is not among the images"
            )
        segments = record.get("segments_info")
        if segments is None:
            self.one(record, image, name, line)
            return
        if not isinstance(segments, list) or not all(isinstance(s, dict) for s in segments):
            raise ValueError(f"{self.owner(name, line)}: segments_info must be a list of objects")
        for segment in segments:
            self.one(segment, image, f"{segment.get('id', name)}", line)

    def owner(self, name: str, line: int) -> str:
        return f"{self.path}, line {line}: object {name}"

    def one(self, record: dict[str, Any], image: int, name: str, line: int) -> None:
        owner = self.owner(name, line)
        shape, drawn = self.shape(record.get("segmentation"), record.get("bbox"), image, owner)
        edges, filled = _edges(record, drawn, owner)
        if drawn is not None and not (shape is not None and filled):
            shape = None
            self.gathered.remarks[_UNFILLED] += 1
        category = record.get("category_id")
        self.kinds.append(
            "object" if category is None else identity(category, "category_id", owner)
        )
        self.gathered.add(image, edges, "", name, line=line, shape=shape)

    def shape(
        self, value: Any, bbox: Any, image: int, owner: str
    ) -> tuple[Shape | None, Edges | None]:
        """The outline, None where it has no inside, and what it reaches."""
        if value is None or value in ([], {}):
            return None, None
        if isinstance(value, list):
            rings = [points(ring, "segmentation", owner) for ring in value]
            if any(len(ring) < 3 for ring in rings):
                # Some write the box itself: by two corners, or as bbox does.
                if not bbox:
                    raise ValueError(
                        f"{owner}: a polygon of its segmentation has less than 3 points, and there "
                        "is no bbox"
                    )
                rings = [ring for ring in rings if ring.ravel().tolist() != bbox]
                if not rings:
                    return None, None
            sides = [(*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()) for ring in rings]
            left, top, right, bottom = zip(*sides, strict=True)
            return outline(rings), (min(top), min(left), max(bottom), max(right))
        if not isinstance(value, dict) or not isinstance(value.get("counts"), str | list):
            raise ValueError(
                f"{owner}: segmentation must be polygons or run lengths (counts and size)"
            )
        given = value.get("size")
        height, width = given if isinstance(given, list) and len(given) == 2 else (0, 0)
        own = image_size(height, width, f"{owner}: its mask")
        assert own is not None
        size = self.gathered.size_of(image)
        if size is not None and own != size:
            raise ValueError(
                f"{owner}: its mask is {own[0]}x{own[1]}, its image {size[0]}x{size[1]}"
            )
        try:
            mask = RunLengths.of(value["counts"], own)
        except ValueError as error:
            raise ValueError(f"{owner}: {error}") from None
        drawn = mask.edges()
        return (None if drawn is None else mask), drawn


def _edges(record: dict[str, Any], drawn: Edges | None, owner: str) -> tuple[Edges, bool]:
    """The box that holds bbox and outline, and whether the outline fills it."""
    box = record.get("bbox")
    if box is None or box == []:
        if drawn is None:
            raise ValueError(f"{owner}: it has neither a bbox nor a segmentation with pixels")
        return drawn, True
    x, y, width, height = finite(box, 4, "bbox", owner)
    if width < 0 or height < 0:
        raise ValueError(
            f"{owner}: bbox must be x, y, width, height, the last two at least 0, got {short(box)}"
        )
    given = (y, x, y + height, x + width)
    if drawn is None or (width == 0 and height == 0):
        return drawn or given, True
    top, left, bottom, right = given
    spare = max(drawn[0] - top, drawn[1] - left, bottom - drawn[2], right - drawn[3])
    widest = (
        min(top, drawn[0]),
        min(left, drawn[1]),
        max(bottom, drawn[2]),
        max(right, drawn[3]),
    )
    return widest, spare <= _SPARE
