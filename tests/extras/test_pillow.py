"""Shapes of LabelMe and Cityscapes as their own tools draw them: with Pillow."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, ImageDraw

from patchdp.objects import read_annotations

HEIGHT, WIDTH = 60, 80


def drawn(kind: str, points: list[list[float]]) -> np.ndarray:
    """As labelme's `shape_to_mask` draws."""
    image = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(image)
    corners = [tuple(point) for point in points]
    if kind == "polygon":
        pen.polygon(xy=corners, outline=1, fill=1)
    elif kind == "rectangle":
        pen.rectangle(sorted(corners), outline=1, fill=1)
    else:
        (x, y), edge = points
        reach = math.hypot(edge[0] - x, edge[1] - y)
        pen.ellipse([x - reach, y - reach, x + reach, y + reach], outline=1, fill=1)
    return np.array(image, dtype=bool)


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "circle"])
def test_shapes_hold_what_labelme_draws(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(7)
    shapes = []
    for number in range(150):
        points = rng.uniform(5, 45, (int(rng.integers(3, 8)) if kind == "polygon" else 2, 2))
        if kind == "rectangle":
            points = np.sort(points, axis=0)
        # Whole numbers and halves among them: where rounding decides.
        points = (points * (1, 2, 100)[number % 3]).round() / (1, 2, 100)[number % 3]
        shapes.append({"label": "x", "shape_type": kind, "points": points.tolist()})
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH}))
    found = read_annotations(path)
    assert len(found) == len(shapes)
    for k, record in enumerate(shapes):
        theirs = drawn(kind, record["points"])
        top, left, bottom, right = found.boxes[k].tolist()
        box = np.zeros_like(theirs)
        box[top:bottom, left:right] = True
        assert not (theirs & ~box).any()
        shape = found.shapes[k]
        if shape is not None:
            ours = np.zeros_like(theirs)
            ours[top:bottom, left:right] = shape.pixels((top, left, bottom, right))
            assert not (theirs & ~ours).any()


def test_polygons_hold_what_cityscapesscripts_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rings = [rng.integers(5, 45, (int(rng.integers(3, 8)), 2)).tolist() for _ in range(150)]
    path = tmp_path / "c.json"
    objects = [{"label": "x", "polygon": ring} for ring in rings]
    path.write_text(json.dumps({"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}))
    found = read_annotations(path)
    for k, ring in enumerate(rings):
        theirs = drawn("polygon", ring)
        top, left, bottom, right = found.boxes[k].tolist()
        shape = found.shapes[k]
        ours = np.zeros_like(theirs)
        inside = (slice(top, bottom), slice(left, right))
        ours[inside] = True if shape is None else shape.pixels((top, left, bottom, right))
        assert not (theirs & ~ours).any()
