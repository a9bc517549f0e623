"""Masks and polygons against the library that COCO's own tools use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from pycocotools import mask
from pycocotools.coco import COCO

from patchdp.objects import read_annotations
from patchdp.objects.shapes import Polygons, RunLengths


def test_run_lengths_of_pycocotools() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        height, width = (int(n) for n in rng.integers(1, 200, 2))
        pixels = np.asfortranarray(rng.random((height, width)) < rng.random(), dtype=np.uint8)
        encoded = mask.encode(pixels)
        found = RunLengths.of(encoded["counts"].decode(), (height, width))
        assert (found.pixels((0, 0, height, width)) == pixels.astype(bool)).all()


def test_polygons_hold_those_of_pycocotools() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        ring = rng.uniform(5, 95, (int(rng.integers(3, 12)), 2)).round(2)
        theirs = mask.decode(mask.frPyObjects([ring.ravel().tolist()], 100, 100))[:, :, 0] > 0
        ours = Polygons((ring,)).pixels((0, 0, 100, 100))
        # Theirs rounds corners to a fifth of a pixel, and may spill over a border by that.
        grown = ours.copy()
        for axis in (0, 1):
            for shift in (-1, 1):
                grown |= np.roll(ours, shift, axis)
        assert not (theirs & ~grown).any()
        assert (theirs & ~ours).sum() <= 0.02 * ours.sum() + 3


def test_boxes_and_pixels_of_files_hold_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    images = [
        {"id": k, "file_name": f"{k}.jpg", "height": int(h), "width": int(w)}
        for k, (h, w) in enumerate(rng.integers(40, 120, (8, 2)))
    ]
    records = []
    for number in range(200):
        image = images[int(rng.integers(8))]
        height, width = image["height"], image["width"]
        if number % 2:
            ring = rng.uniform(0, 1, (int(rng.integers(3, 9)), 2)) * (width, height)
            segmentation = [ring.round(2).ravel().tolist()]
        else:
            pixels = np.zeros((height, width), dtype=np.uint8)
            top, left = int(rng.integers(height - 3)), int(rng.integers(width - 3))
            part = (slice(top, top + 20), slice(left, left + 20))
            pixels[part] = rng.random(pixels[part].shape) < 0.5
            pixels[top, left] = 1
            encoded = mask.encode(np.asfortranarray(pixels))
            segmentation = {"counts": encoded["counts"].decode(), "size": [height, width]}
        records.append({"id": number, "image_id": image["id"], "category_id": 1, "iscrowd": 0,
                        "segmentation": segmentation})  # fmt: skip
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"images": images, "annotations": records,
                                "categories": [{"id": 1, "name": "x"}]}))  # fmt: skip
    theirs = COCO(str(path))
    ours = read_annotations(path)
    assert len(ours) == 200
    for k, record in enumerate(records):
        pixels = theirs.annToMask({**record}).astype(bool)
        top, left, bottom, right = ours.boxes[k].tolist()
        shape = ours.shapes[k]
        assert shape is not None
        found = np.zeros_like(pixels)
        found[top:bottom, left:right] = shape.pixels((top, left, bottom, right))
        if k % 2 == 0:
            assert (found == pixels).all()
            rows, columns = np.nonzero(pixels)
            assert (top, left) == (rows.min(), columns.min())
            assert (bottom, right) == (rows.max() + 1, columns.max() + 1)
        else:
            # Theirs rounds corners to a fifth of a pixel, and may spill over a border by that.
            assert (pixels & ~found).sum() <= 0.02 * found.sum() + 3


def test_a_ring_of_four_numbers_is_a_box_to_pycocotools() -> None:
    # Why such a ring is never read as a line of two points.
    (encoded,) = mask.frPyObjects(np.array([[50.0, 20.0, 40.0, 30.0]]), 100, 200)
    assert mask.toBbox(encoded).tolist() == [50, 20, 40, 30]
