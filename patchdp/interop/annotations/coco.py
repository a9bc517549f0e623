"""COCO: one JSON file with `images`, `annotations` and `categories`.

>>> from pathlib import Path
>>> content = {
...     "images": [{"id": 7, "file_name": "a.jpg", "height": 60, "width": 80}],
...     "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10.5, 20, 4, 5]}],
...     "categories": [{"id": 3, "name": "face"}],
... }
>>> read(content, Path("instances.json"), None).boxes
array([[20, 10, 25, 15]])

`bbox` is x, y, width, height; where a polygon or mask reaches beyond it, the box is widened to
hold both. Format: cocodataset.org, "Data format"; run lengths as in pycocotools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchdp.interop.annotations.shapes import Polygons, RunLengths, Shape
from patchdp.interop.annotations.source import finite, image_size, points
from patchdp.interop.annotations.table import Annotations, assemble

__all__ = ["read"]


def read(content: Any, path: Path, image: tuple[int, int] | None) -> Annotations:
    """The objects of one parsed file."""
    images, annotations = (_records(content, key, path) for key in ("images", "annotations"))
    sizes, names = [], []
    index: dict[str | int, int] = {}
    for record in images:
        key = _key(record, "id", f"{path}: an image")
        names.append(str(record.get("file_name", key)))
        sizes.append(
            image_size(record.get("height"), record.get("width"), f"{path}: image {names[-1]}")
        )
        index[key] = len(index)
        if len(index) < len(names):
            raise ValueError(f"{path}: two images have the id {key}")
    categories = _records(content, "categories", path) if "categories" in content else []
    labels = {_key(c, "id", f"{path}: a category"): str(c.get("name", c["id"])) for c in categories}
    where, edges, kinds, ids, shapes = [], [], [], [], []
    for number, record in enumerate(annotations):
        name = str(record.get("id", number + 1))
        owner = f"{path}: object {name}"
        found = index.get(_key(record, "image_id", owner))
        if found is None:
            raise ValueError(f"{owner}: image {record['image_id']} is not among the images")
        shape = _shape(record.get("segmentation"), sizes[found] or image, owner)
        where.append(found)
        edges.append(_edges(record, shape, owner))
        category = record.get("category_id", "object")
        kinds.append(labels.get(category, str(category)) if _hashable(category) else "object")
        ids.append(name)
        shapes.append(shape)
    return assemble(
        "coco", images=names, sizes=sizes, image_index=where, edges=edges, labels=kinds, ids=ids,
        shapes=shapes, image=image,
    )  # fmt: skip


def _records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    records = content.get(key) if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ValueError(f"{path} is not a COCO file: it needs a list of objects {key!r}")
    return records


def _hashable(value: Any) -> bool:
    return isinstance(value, str | int)


def _key(record: dict[str, Any], name: str, owner: str) -> str | int:
    value = record.get(name)
    if not isinstance(value, str | int):
        raise ValueError(f"{owner} needs {name}, a number or text")
    return value


def _edges(record: dict[str, Any], shape: Shape | None, owner: str) -> tuple[float, ...]:
    drawn = None if shape is None else shape.edges()
    box = record.get("bbox")
    if box is None:
        if drawn is None:
            raise ValueError(f"{owner}: it has neither a bbox nor a segmentation")
        return drawn
    x, y, width, height = finite(box, 4, "bbox", owner)
    given = (y, x, y + height, x + width)
    if drawn is None or width < 0 or height < 0:
        return given
    return (*map(min, given[:2], drawn[:2]), *map(max, given[2:], drawn[2:]))


def _shape(value: Any, size: tuple[int, int] | None, owner: str) -> Shape | None:
    if not value:
        return None
    if isinstance(value, list):
        return Polygons(tuple(points(ring, "segmentation", owner) for ring in value))
    if not isinstance(value, dict) or not isinstance(value.get("counts"), str | list):
        raise ValueError(f"{owner}: segmentation must be polygons or run lengths (counts and size)")
    given = value.get("size")
    height, width = given if isinstance(given, list) and len(given) == 2 else (0, 0)
    own = image_size(height, width, f"{owner}: its mask")
    assert own is not None
    if size is not None and own != size:
        raise ValueError(f"{owner}: its mask is {own[0]}x{own[1]}, its image {size[0]}x{size[1]}")
    try:
        return RunLengths.of(value["counts"], own)
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from None
