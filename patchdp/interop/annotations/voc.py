"""Pascal VOC: one XML file of boxes per image.

Pixels are counted from 1 and both ends belong to the box, as in the VOC development kit. A file
whose boxes begin at 0 can only count from 0: then all files are read so, the last pixel still
belonging to the box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from patchdp.interop.annotations.source import image_size, text_of
from patchdp.interop.annotations.table import Annotations, assemble

__all__ = ["read"]

_SIDES = ("ymin", "xmin", "ymax", "xmax")


def read(paths: Sequence[Path], image: tuple[int, int] | None) -> Annotations:
    """The objects of some files."""
    names, sizes, where, corners, labels, ids = [], [], [], [], [], []
    for number, path in enumerate(paths):
        root = _parsed(path)
        names.append((root.findtext("filename") or path.stem).strip())
        sizes.append(_size(root, path))
        for k, element in enumerate(root.iter("object")):
            corners.append([_side(element, side, path, k + 1) for side in _SIDES])
            where.append(number)
            labels.append((element.findtext("name") or "object").strip())
            ids.append(str(k + 1))
    from_zero = any(0 <= start < 1 for box in corners for start in box[:2])
    origin = 0 if from_zero else 1
    edges = [(t - origin, x - origin, b - origin + 1, r - origin + 1) for t, x, b, r in corners]
    for path_number, (top, left, bottom, right) in zip(where, corners, strict=True):
        if bottom < top or right < left:
            raise ValueError(f"{paths[path_number]}: a box ends before it begins")
    return assemble(
        "voc", images=names, sizes=sizes, image_index=where, edges=edges, labels=labels, ids=ids,
        image=image,
    )  # fmt: skip


def _parsed(path: Path) -> ElementTree.Element:
    text = text_of(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path} declares a document type; VOC annotations have none")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not XML: {error}") from None
    if root.tag != "annotation":
        raise ValueError(f"{path} is not a VOC file: it needs <annotation>, got <{root.tag}>")
    return root


def _size(root: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    found: list[float | None] = []
    for side in ("height", "width"):
        text = root.findtext(f"size/{side}")
        found.append(None if text is None else _number(text, f"{path}: size/{side}"))
    # Tools that never opened the image write 0.
    return None if found == [0, 0] else image_size(found[0], found[1], str(path))


def _side(element: ElementTree.Element, side: str, path: Path, number: int) -> float:
    text = element.findtext(f"bndbox/{side}")
    owner = f"{path}: object {number}"
    if text is None:
        raise ValueError(f"{owner} has no bndbox/{side}")
    return _number(text, f"{owner}: bndbox/{side}")


def _number(text: str, owner: str) -> float:
    def refuse() -> NoReturn:
        raise ValueError(f"{owner} must be a finite number, got {text[:40]!r}")

    try:
        value = float(text)
    except ValueError:
        refuse()
    return value if math.isfinite(value) and abs(value) < 1e15 else refuse()
