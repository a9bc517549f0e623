"""Pascal VOC: one XML file of boxes per image.

The VOC development kit counts pixels from 1 and both ends belong to the box; many tools count from
0. A box that begins at 0 tells that its file counts from 0; where a file does not tell, and no
`origin` is given, its boxes hold both readings. Whether the last pixel of a file that counts from
0 belongs to the box is never told: it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import number, short, whole_size
from patchdp.objects.formats.xml_walk import Element, walk
from patchdp.objects.table import Annotations, Edges, Gathered, file_key

__all__ = ["read"]

_SIDES = ("ymin", "xmin", "ymax", "xmax")
_ORIGIN = (
    "count pixels from 0 or from 1, their files do not tell: their boxes hold both "
    "(--origin 0 or 1 tells)"
)
# By how many pixels a box grows at top, left, bottom and right, from numbers taken as they are.
_GROWN = {1: (1, 1, 0, 0), 0: (0, 0, 1, 1), None: (1, 1, 1, 1)}


def read(paths: Sequence[Path], told: Told) -> Annotations:
    """The objects of some files."""
    told.only("voc", "origin")
    gathered = Gathered("voc", image=told.image)
    for path in paths:
        gathered.reads(path)
        _file(gathered, path, told.origin)
    return gathered.done()


def _file(gathered: Gathered, path: Path, origin: int | None) -> None:
    root, *parts = walk(path)
    if root.tag != "annotation":
        raise ValueError(f"{path} is not a VOC file: it needs <annotation>, got <{root.tag}>")
    root.children = parts
    name = root.said(path, "filename") or path.stem
    size = (
        whole_size(
            root.said(path, "size", "height"), root.said(path, "size", "width"), f"{path}: size"
        )
        if not _unknown(root, path)
        else None
    )
    # One image may have several files; folders may have images of one name.
    image = gathered.image(name, size, (path.parent, file_key(name)), owner=str(path))
    boxes: list[tuple[Element, Edges]] = []
    for part in parts:
        if part.tag == "object":
            boxes.append((part, _box(part, path, len(boxes) + 1)))
        elif _holds_objects(part):
            raise ValueError(f"{path}, line {part.line}: <object> must stand in <annotation>")
    if origin is None and any(0 <= start < 1 for _, edges in boxes for start in edges[:2]):
        origin = 0
    for k, (part, edges) in enumerate(boxes):
        owner = f"{path}, line {part.line}: object {k + 1}"
        if origin == 1 and min(edges[:2]) < 1:
            raise ValueError(
                f"{owner}: pixels count from 1, got a box that begins at {min(edges[:2]):g}"
            )
        gathered.add(
            image, edges, part.said(path, "name") or "object", str(k + 1),
            line=part.line, doubt=_GROWN[origin],
        )  # fmt: skip
    if origin is None and boxes:
        gathered.remarks[_ORIGIN] += len(boxes)


def _unknown(root: Element, path: Path) -> bool:
    """Whether the size is 0x0, as tools write that never opened the image."""
    sides = [root.said(path, "size", side) for side in ("height", "width")]
    return all(side is not None and side.strip("0.") == "" and side != "" for side in sides)


def _box(part: Element, path: Path, count: int) -> Edges:
    owner = f"{path}, line {part.line}: object {count}"
    found = []
    for side in _SIDES:
        text = part.said(path, "bndbox", side)
        if text is None:
            raise ValueError(f"{owner} has no bndbox/{side}")
        found.append(number(text, f"{owner}: bndbox/{side}"))
    top, left, bottom, right = found
    if bottom < top or right < left:
        raise ValueError(
            f"{owner}: the box ends before it begins, "
            f"{short(tuple(found))} (ymin, xmin, ymax, xmax)"
        )
    return top, left, bottom, right


def _holds_objects(part: Element) -> bool:
    return any(child.tag == "object" or _holds_objects(child) for child in part.children)
