"""CVAT for images and for videos, version 1.1: one XML file of drawn shapes in many images.

Boxes and ellipses may be turned by `rotation` degrees about their centre; polygons, polylines and
points are lists of x and y; masks are runs of pixels, row after row; skeletons and cuboids are
bounded by their box. In a video every frame of a track is an object in an image; frames in which
the object is outside are counted, as are tags, which have no place. Format: docs.cvat.ai, "XML
annotation format".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchdp.objects.formats.options import Told
from patchdp.objects.formats.text import number, short, whole_size
from patchdp.objects.formats.xml_walk import Element, walk
from patchdp.objects.shapes import RowRuns, Shape, outline
from patchdp.objects.table import Annotations, Edges, Gathered, file_key

__all__ = ["read"]

_NOWHERE = "tags, which have no place in the image"
_AWAY = "marked as outside the frame of a video"
_CORNERS = [f"{name}{k}" for k in (1, 2) for name in ("tl", "bl", "tr", "br")]


class _Place(NamedTuple):
    edges: Edges
    shape: Shape | None = None


def read(paths: Sequence[Path], told: Told) -> Annotations:
    """The objects of some files."""
    told.only("cvat")
    gathered = Gathered("cvat", image=told.image)
    for path in paths:
        gathered.reads(path)
        _file(gathered, path)
    return gathered.done()


def _file(gathered: Gathered, path: Path) -> None:
    parts = walk(path)
    root = next(parts)
    if root.tag != "annotations":
        raise ValueError(f"{path} is not a CVAT file: it needs <annotations>, got <{root.tag}>")
    video: tuple[int, int] | None = None
    for part in parts:
        owner = f"{path}, line {part.line}"
        if part.tag == "meta":
            video = _video_size(part, path)
        elif part.tag == "image":
            name = part.attributes.get("name") or part.attributes.get("id")
            if not name:
                raise ValueError(f"{owner}: <image> needs a name")
            size = whole_size(part.attributes.get("height"), part.attributes.get("width"), owner)
            # A project's tasks may have images of one name.
            key = (*(part.attributes.get(k, "") for k in ("task_id", "subset")), file_key(name))
            image = gathered.image(name, size, (path, *key), owner)
            for k, element in enumerate(c for c in part.children if c.tag != "attribute"):
                _object(gathered, path, image, element, element.attributes, str(k + 1))
        elif part.tag == "track":
            title = part.attributes.get("id", "")
            for element in part.children:
                frame = element.attributes.get("frame")
                if element.tag == "attribute":
                    continue
                if frame is None or not frame.isdecimal():
                    raise ValueError(f"{path}, line {element.line}: a frame's number is missing")
                count = int(frame)
                image = gathered.image(
                    f"frame_{count:06d}", video, (path, count), f"{path}, frame {count}"
                )
                _object(gathered, path, image, element, part.attributes, title)
        elif part.tag not in ("version", "attribute"):
            raise ValueError(f"{owner}: <{part.tag}> is not known; images and tracks are expected")


def _video_size(meta: Element, path: Path) -> tuple[int, int] | None:
    for holder in ("task", "job", "project"):
        found = meta.only(path, holder, "original_size")
        if found is not None:
            return whole_size(
                found.said(path, "height"), found.said(path, "width"),
                f"{path}, line {found.line}: original_size",
            )  # fmt: skip
    return None


def _object(
    gathered: Gathered, path: Path, image: int, element: Element, holder: dict[str, str], name: str
) -> None:
    owner = f"{path}, line {element.line}: <{element.tag}>"
    if element.tag == "tag":
        gathered.left_out[_NOWHERE] += 1
        return
    if element.attributes.get("outside") == "1":
        gathered.left_out[_AWAY] += 1
        return
    if element.tag not in _PLACES:
        raise ValueError(f"{owner} is not known; {', '.join(_PLACES)} are expected")
    place = _PLACES[element.tag](element, owner)
    if place is None:
        gathered.left_out[_AWAY] += 1
        return
    label = element.attributes.get("label") or holder.get("label") or "object"
    gathered.add(image, place.edges, label, name, line=element.line, shape=place.shape)


def _numbers(element: Element, owner: str, *names: str) -> list[float]:
    found = []
    for name in names:
        text = element.attributes.get(name)
        if text is None:
            raise ValueError(f"{owner} needs {name}")
        found.append(number(text, f"{owner}: {name}"))
    return found


def _turn(element: Element, owner: str) -> float:
    return math.radians(number(element.attributes.get("rotation", "0"), f"{owner}: rotation"))


def _box(element: Element, owner: str) -> _Place:
    top, left, bottom, right = _numbers(element, owner, "ytl", "xtl", "ybr", "xbr")
    if bottom < top or right < left:
        raise ValueError(f"{owner}: the box ends before it begins, xtl to xbr and ytl to ybr")
    angle = _turn(element, owner)
    if angle == 0:
        return _Place((top, left, bottom, right))
    middle = np.array([left + right, top + bottom]) / 2
    arms = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - middle
    cosine, sine = math.cos(angle), math.sin(angle)
    return _polygon(arms @ np.array([[cosine, sine], [-sine, cosine]]) + middle)


def _ellipse(element: Element, owner: str) -> _Place:
    x, y, across, down = _numbers(element, owner, "cx", "cy", "rx", "ry")
    if across < 0 or down < 0:
        raise ValueError(f"{owner}: rx and ry must be at least 0")
    angle = _turn(element, owner)
    wide = math.hypot(across * math.cos(angle), down * math.sin(angle))
    high = math.hypot(across * math.sin(angle), down * math.cos(angle))
    return _Place((y - high, x - wide, y + high, x + wide))


def _polygon(ring: npt.NDArray[np.float64]) -> _Place:
    return _Place(_reach(ring), outline([ring]))


def _points(element: Element, owner: str) -> npt.NDArray[np.float64]:
    text = element.attributes.get("points", "")
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{owner}: points must be x,y;x,y;..., got {short(text)}")
    return np.array([[number(v, f"{owner}: points") for v in pair] for pair in pairs])


def _reach(ring: npt.NDArray[np.float64]) -> Edges:
    (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return top, left, bottom, right


def _mask(element: Element, owner: str) -> _Place:
    numbers = _numbers(element, owner, "top", "left", "height", "width")
    if any(v != int(v) for v in numbers) or min(numbers[2:]) < 1:
        raise ValueError(f"{owner}: top, left, height and width of a mask must be whole numbers")
    top, left, height, width = map(int, numbers)
    text = element.attributes.get("rle", "")
    try:
        counts = [int(run) for run in text.split(",")]
        mask = RowRuns.of(counts, (height, width), (top, left))
    except ValueError:
        raise ValueError(
            f"{owner}: rle must be runs that add up to {height * width} pixels, got {short(text)}"
        ) from None
    edges = mask.edges()
    if edges is None:
        return _Place((top, left, top + height, left + width))
    return _Place(edges, mask)


def _skeleton(element: Element, owner: str) -> _Place | None:
    seen = [c for c in element.children if c.tag == "points" and c.attributes.get("outside") != "1"]
    if not seen:
        return None
    return _Place(_reach(np.concatenate([_points(child, owner) for child in seen])))


def _cuboid(element: Element, owner: str) -> _Place:
    corners = [_numbers(element, owner, f"x{name}", f"y{name}") for name in _CORNERS]
    return _Place(_reach(np.array(corners)))


_PLACES: dict[str, Callable[[Element, str], _Place | None]] = {
    "box": _box,
    "polygon": lambda element, owner: _polygon(_points(element, owner)),
    "polyline": lambda element, owner: _Place(_reach(_points(element, owner))),
    "points": lambda element, owner: _Place(_reach(_points(element, owner))),
    "ellipse": _ellipse,
    "mask": _mask,
    "skeleton": _skeleton,
    "cuboid": _cuboid,
}
