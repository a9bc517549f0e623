"""Probabilities of objects, counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patchdp as pdp
from patchdp.objects import box_probabilities


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_boxes_by_counting_windows(data: st.DataObject) -> None:
    crop = pdp.RandomCrop((data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))))
    lengths = st.integers(4, 9)
    images = data.draw(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=4))
    where = data.draw(st.lists(st.integers(0, len(images) - 1), min_size=1, max_size=8))
    boxes, expected = [], []
    for k in where:
        start = [data.draw(st.integers(0, n - 1)) for n in images[k]]
        stop = [data.draw(st.integers(s + 1, n)) for s, n in zip(start, images[k], strict=True)]
        boxes.append([*start, *stop])
        ranges = [range(n - c + 1) for n, c in zip(images[k], crop.size, strict=True)]
        hits = [
            all(o < e and o + c > s for o, c, s, e in zip(at, crop.size, start, stop, strict=True))
            for at in itertools.product(*ranges)
        ]
        expected.append(sum(hits) / len(hits))
    np.testing.assert_allclose(box_probabilities(images, crop, boxes, where), expected, rtol=1e-12)


def test_boxes_that_do_not_fit() -> None:
    crop = pdp.RandomCrop((4, 4))
    with pytest.raises(ValueError, match="image_index"):
        box_probabilities([(8, 8), (9, 9)], crop, [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="between 0 and 0"):
        box_probabilities([(8, 8)], crop, [[0, 0, 1, 1]], [1])
    with pytest.raises(ValueError, match="does not lie inside"):
        box_probabilities([(8, 8)], crop, [[0, 0, 9, 1]])
    with pytest.raises(ValueError, match="shape"):
        box_probabilities([(8, 8)], crop, [[0.5, 0, 1, 1]])
