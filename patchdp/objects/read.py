"""Annotated objects from files: which format it is, and which reader reads it.

>>> import pathlib, tempfile
>>> file = pathlib.Path(tempfile.mkdtemp()) / "faces.csv"
>>> _ = file.write_text("image,left,top,right,bottom,category\\na.png,10,20,30,50,face\\n")
>>> objects = read_annotations(file, image=(1024, 2048))
>>> objects.boxes                                     # top, left, bottom, right
array([[20, 10, 50, 30]])
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from patchdp.objects.formats import bdd100k, coco, cvat, delimited, labelme, street, voc, yolo
from patchdp.objects.formats.json_walk import Document
from patchdp.objects.formats.options import Told
from patchdp.objects.formats.xml_walk import walk
from patchdp.objects.table import Annotations

__all__ = ["FORMATS", "read_annotations"]

# The ending of each format's files, and whether a folder of them is read.
_ENDINGS = {
    "coco": (".json", False),
    "cityscapes": (".json", True),
    "mapillary": (".json", True),
    "labelme": (".json", True),
    "bdd100k": (".json", True),
    "voc": (".xml", True),
    "cvat": (".xml", True),
    "yolo": (".txt", True),
    "csv": (".csv", False),
    "openimages": (".csv", False),
}
FORMATS = tuple(_ENDINGS)
# What tells a JSON file: the first of these keys.
_TELLING = {
    "images": "coco",
    "annotations": "coco",
    "categories": "coco",
    "shapes": "labelme",
    "frames": "bdd100k",
    "objects": "cityscapes",
}
_ROOTS = {"annotation": "voc", "annotations": "cvat"}


def read_annotations(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    image: tuple[int, int] | None = None,
    units: str | None = None,
    origin: int | None = None,
    columns: str | None = None,
) -> Annotations:
    """Read annotated objects.

    Args:
        path: a file, or for formats of one file per image also a folder of files (searched with
            its subfolders).
        format: one of `FORMATS`; told by the ending and the content where left out.
        image: (height, width) of images whose size the files do not state.
        units: YOLO and CSV: whether numbers are `"pixels"` or `"parts"` of the image; left out, a
            YOLO file's and Open Images' are parts, another CSV file's pixels.
        origin: VOC: whether the first pixel is 0 or 1; left out, boxes hold both readings where a
            file does not tell.
        columns: YOLO: whether the first four numbers of a line that could be either are a `"box"`
            or the line is a `"polygon"`; left out, its box holds both readings.

    Returns:
        Objects with boxes of whole pixels, rounded outwards and cut at the border of the image.
        What was left out is counted in `left_out`, what was doubtful in `remarks`.

    Raises:
        ValueError: what cannot be read as that format or contradicts itself (the message says file
            and line), no objects, an image whose size is not known, or an option that the format
            has no use for.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    told = Told(image=image, units=units, origin=origin, columns=columns)
    source = Path(path)
    if not source.exists():
        raise ValueError(f"there is no annotation file {source}")
    if source.is_dir():
        kind, files = _folder(source, format)
    else:
        kind, files = format or _kind(source), [source]
    found = _read(kind, source, files, told)
    if format is not None and found.format != format:
        raise ValueError(f"{source} is not {format}; it looks like {found.format}")
    if not len(found) and not found.left_out:
        raise ValueError(f"annotations {source} hold no objects")
    return found


def _read(kind: str, source: Path, files: Sequence[Path], told: Told) -> Annotations:
    root = source if source.is_dir() else source.parent
    documents = ((str(file.relative_to(root)), Document(file)) for file in files)
    readers: dict[str, Callable[[], Annotations]] = {
        "coco": lambda: coco.read(Document(files[0]), told),
        "labelme": lambda: labelme.read(documents, told),
        "bdd100k": lambda: bdd100k.read(documents, told),
        "voc": lambda: voc.read(files, told),
        "cvat": lambda: cvat.read(files, told),
        "yolo": lambda: yolo.read(files, told),
        "csv": lambda: delimited.read(files[0], told),
        "openimages": lambda: delimited.read(files[0], told),
    }
    return readers.get(kind, lambda: street.read(documents, kind, told))()


def _kind(path: Path) -> str:
    """The format of a file, by its ending and content."""
    ending = path.suffix.lower()
    if ending == ".json":
        return _kind_of_json(path)
    if ending == ".xml":
        root = next(walk(path)).tag
        if root not in _ROOTS:
            raise ValueError(
                f"{path} is neither VOC nor CVAT: it needs <annotation> or <annotations>, "
                f"got <{root}>"
            )
        return _ROOTS[root]
    if ending in (".txt", ".csv"):
        return "yolo" if ending == ".txt" else "csv"
    raise ValueError(
        f"cannot tell the format of {path} by its ending; give --format {'|'.join(FORMATS)}"
    )


def _kind_of_json(path: Path) -> str:
    keys: set[str] = set()
    for member in Document(path).walk(set(_TELLING)):
        if member.key is None:
            first = member.value
            if isinstance(first, dict) and {"labels", "name"} & set(first):
                return "bdd100k"
            break
        keys.add(member.key)
        kind = _TELLING.get(member.key)
        if kind == "cityscapes":
            continue  # Mapillary's files differ in how they state the size
        if kind is not None:
            return kind
    if "objects" in keys:
        mapillary = {"height", "width"} <= keys and not {"imgHeight", "imgWidth"} & keys
        return "mapillary" if mapillary else "cityscapes"
    raise ValueError(
        f"{path} is no annotation file that is known: it needs {', '.join(_TELLING)} or a list of "
        "frames"
    )


def _folder(path: Path, kind: str | None) -> tuple[str, list[Path]]:
    """The format of a folder's files, and the files."""
    if kind is not None and not _ENDINGS[kind][1]:
        raise ValueError(f"{kind} annotations are one file, {path} is a folder")
    wanted = {ending for name, (ending, many) in _ENDINGS.items() if many and kind in (None, name)}
    files: dict[str, list[Path]] = {}
    # Names that begin with a dot are the file system's.
    for file in sorted(f for f in path.rglob("*") if not f.name.startswith(".") and f.is_file()):
        ending = file.suffix.lower()
        if ending in wanted and (ending != ".txt" or yolo.is_label_file(file)):
            files.setdefault(ending, []).append(file)
    if not files:
        raise ValueError(f"folder {path} holds no {kind or 'known'} annotations")
    if len(files) > 1:
        kinds = " and ".join(sorted(kind or _kind(group[0]) for group in files.values()))
        raise ValueError(f"folder {path} holds {kinds} files: give --format")
    (group,) = files.values()
    polygons = [f for f in group if f.name.endswith("_polygons.json")]
    group = polygons or group
    found = kind or _kind(group[0])
    if not _ENDINGS[found][1]:
        raise ValueError(f"{found} annotations are one file, {path} is a folder")
    return found, group
