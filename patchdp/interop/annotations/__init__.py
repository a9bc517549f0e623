"""Annotated objects from COCO, Cityscapes, YOLO, Pascal VOC and CSV files.

>>> import pathlib, tempfile
>>> file = pathlib.Path(tempfile.mkdtemp()) / "faces.csv"
>>> _ = file.write_text("image,left,top,right,bottom,category\\na.png,10,20,30,50,face\\n")
>>> objects = read_annotations(file, image=(1024, 2048))
>>> objects.boxes                                     # top, left, bottom, right
array([[20, 10, 50, 30]])
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from patchdp.interop.annotations import cityscapes, coco, delimited, voc, yolo
from patchdp.interop.annotations.source import text_of
from patchdp.interop.annotations.table import Annotations

__all__ = ["FORMATS", "Annotations", "read_annotations"]

FORMATS = ("coco", "cityscapes", "yolo", "voc", "csv")

_ENDINGS = {".xml": "voc", ".txt": "yolo", ".csv": "csv"}


def read_annotations(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    image: tuple[int, int] | None = None,
) -> Annotations:
    """Read annotated objects.

    Args:
        path: a file, or for Cityscapes, YOLO and Pascal VOC also a folder of files (searched with
            its subfolders).
        format: one of `FORMATS`; told by the ending and the content where left out.
        image: (height, width) of images whose size the files do not state.

    Returns:
        Objects with boxes of whole pixels, rounded outwards and cut at the border of the image.

    Raises:
        ValueError: files that cannot be read as that format (the message says where), no objects,
            or an image whose size is not known.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    source = Path(path)
    if not source.exists():
        raise ValueError(f"there is no annotation file {source}")
    found = _folder(source, format, image) if source.is_dir() else _file(source, format, image)
    if not len(found) and not found.outside:
        raise ValueError(f"annotations {source} hold no objects")
    return found


def _file(path: Path, kind: str | None, image: tuple[int, int] | None) -> Annotations:
    kind = kind or _ENDINGS.get(path.suffix.lower())
    if kind == "csv":
        return delimited.read(path, image)
    if kind == "voc":
        return voc.read([path], image)
    if kind == "yolo":
        return yolo.read([path], image)
    if kind is None and path.suffix.lower() != ".json":
        raise ValueError(
            f"cannot tell the format of {path} by its ending; give --format {'|'.join(FORMATS)}"
        )
    content = _json(path)
    if kind == "cityscapes" or (kind is None and _is_cityscapes(content)):
        return cityscapes.read({path.name: content}, image)
    return coco.read(content, path, image)


def _is_cityscapes(content: Any) -> bool:
    return isinstance(content, dict) and "objects" in content and "annotations" not in content


def _folder(path: Path, kind: str | None, image: tuple[int, int] | None) -> Annotations:
    patterns = {
        "cityscapes": ["*_polygons.json", "*.json"],
        "voc": ["*.xml"],
        "yolo": ["*.txt"],
    }
    if kind in ("coco", "csv"):
        raise ValueError(f"{kind} annotations are one file, {path} is a folder")
    files: dict[str, list[Path]] = {}
    for name, endings in patterns.items():
        if kind in (None, name):
            found = [sorted(path.rglob(ending)) for ending in endings]
            files[name] = next((group for group in found if group), [])
    files["yolo"] = [f for f in files.get("yolo", []) if f.name not in yolo.NOT_LABELS]
    present = [name for name, group in files.items() if group]
    if not present:
        raise ValueError(f"folder {path} holds no {kind or 'Cityscapes, YOLO or VOC'} annotations")
    if len(present) > 1:
        raise ValueError(f"folder {path} holds {' and '.join(present)} files: give --format")
    group = files[present[0]]
    if present[0] == "voc":
        return voc.read(group, image)
    if present[0] == "yolo":
        return yolo.read(group, image)
    return cityscapes.read({str(f.relative_to(path)): _json(f) for f in group}, image)


def _json(path: Path) -> Any:
    try:
        return json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise ValueError(
                f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            ) from None
        raise ValueError(f"{path} cannot be read: {error}") from None
