"""Masks and polygons against the library that COCO's own tools use."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from pycocotools import mask

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
