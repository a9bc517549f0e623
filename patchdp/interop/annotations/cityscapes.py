"""Cityscapes: one JSON file of polygons per image.

>>> content = {"imgHeight": 1024, "imgWidth": 2048, "objects": [
...     {"label": "person", "polygon": [[10, 20], [19, 20], [19, 49], [10, 49]]}]}
>>> read({"aachen_000000_000019_gtFine_polygons.json": content}, None).boxes
array([[20, 10, 50, 20]])

Vertices are numbers of pixels, both ends belong to the object. Format: Cordts et al. 2016,
arXiv:1604.01685, and its cityscapesscripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchdp.interop.annotations.shapes import Polygons
from patchdp.interop.annotations.source import image_size, points
from patchdp.interop.annotations.table import Annotations, assemble

__all__ = ["read"]


def read(files: Mapping[str, Any], image: tuple[int, int] | None) -> Annotations:
    """The objects of parsed files, by file name; those marked as deleted are left out."""
    sizes, where, labels, ids, shapes = [], [], [], [], []
    for number, (name, content) in enumerate(files.items()):
        objects = content.get("objects") if isinstance(content, dict) else None
        if not isinstance(objects, list) or not all(isinstance(o, dict) for o in objects):
            raise ValueError(f"{name} is not a Cityscapes file: it needs a list 'objects'")
        sizes.append(image_size(content.get("imgHeight"), content.get("imgWidth"), name))
        for k, record in enumerate(objects):
            if record.get("deleted"):
                continue
            label = str(record.get("label", "object"))
            ring = points(record.get("polygon"), "polygon", f"{name}: object {k + 1} ({label})")
            # From pixel numbers to the middle of the pixels.
            shapes.append(Polygons((ring + 0.5,)))
            where.append(number)
            labels.append(label)
            ids.append(str(record.get("id", k + 1)))
    return assemble(
        "cityscapes", images=list(files), sizes=sizes, image_index=where,
        edges=[shape.edges() for shape in shapes], labels=labels, ids=ids, shapes=shapes,
        image=image,
    )  # fmt: skip
