"""Probabilities of objects, counted by hand."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import written
from hypothesis import given, settings
from hypothesis import strategies as st

import patchdp as pdp
from patchdp.objects import (
    Annotations,
    box_probabilities,
    by_image,
    object_probabilities,
    read_annotations,
)
from patchdp.objects.groups import any_of


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


def probabilities(path: Path, crop: int, shapes: Any = "box", **told: Any) -> list[float]:
    found = read_annotations(path, **told)
    seen = object_probabilities(found, pdp.RandomCrop((crop, crop)), shapes=shapes)
    return [round(float(p), 4) for p in seen.probabilities]


CSV = (
    "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    "a.jpg,200,100,face,150,60,190,90\nb.jpg,50,50,face,1,1,20,20\n"
)


def test_sizes_in_the_file_are_honoured(tmp_path: Path) -> None:
    # 40 of 69 rows and 50 of 169 columns show a; every window of 32 in 50 shows b.
    path = written(tmp_path, "o.csv", CSV)
    assert probabilities(path, 32) == [0.1715, 1.0]
    assert probabilities(path, 32, image=(50, 50)) == [0.1715, 1.0]


def test_sizes_in_mapillary_files_are_honoured(tmp_path: Path) -> None:
    ring = [[150, 60], [190, 60], [190, 90], [150, 90]]
    files = {
        "a.json": {"height": 100, "width": 200, "objects": [{"label": "f", "polygon": ring}]},
        "b.json": {"height": 50, "width": 50, "objects": [
            {"label": "f", "polygon": [[1, 1], [20, 1], [20, 20], [1, 20]]}]},
    }  # fmt: skip
    path = written(tmp_path, "", files)
    assert read_annotations(path).format == "mapillary"
    assert probabilities(path, 32) == [0.1715, 1.0]
    assert probabilities(path, 32, "mask") == [0.1715, 1.0]


def test_keypoints_do_not_make_a_polygon(tmp_path: Path) -> None:
    path = written(tmp_path, "y.txt", "0 0.5 0.5 0.6 0.6" + " 0.42 0.42" * 3)
    assert read_annotations(path, image=(1000, 1000)).boxes.tolist() == [[200, 200, 800, 800]]
    # 777 offsets along each axis: all from 0 to 776 reach [200, 800).
    assert probabilities(path, 224, image=(1000, 1000)) == [1.0]
    assert probabilities(path, 224, "mask", image=(1000, 1000)) == [1.0]


@pytest.mark.parametrize("ring", [[50, 20, 90, 50], [50, 20, 40, 30], [90, 50, 50, 20]])
def test_a_ring_of_two_points_is_the_box(tmp_path: Path, ring: list[int]) -> None:
    path = written(tmp_path, "c.json", {
        "images": [{"id": 1, "height": 100, "width": 200}],
        "annotations": [{"image_id": 1, "bbox": [50, 20, 40, 30], "segmentation": [ring]}],
    })  # fmt: skip
    # 39 of 91 rows and 49 of 191 columns.
    assert probabilities(path, 10, "mask") == probabilities(path, 10) == [0.1099]


def test_images_smaller_than_the_crop(tmp_path: Path) -> None:
    path = written(tmp_path, "o.csv", CSV)
    objects = read_annotations(path)

    def seen(small: Any) -> tuple[list[float], Annotations]:
        found = object_probabilities(objects, pdp.RandomCrop((60, 40)), small_images=small)
        return [round(float(p), 4) for p in found.probabilities], found.objects

    # a: 40 of 41 offsets along rows show it, and 50 of 161 along columns.
    first = 40 / 41 * 50 / 161
    assert seen("certain")[0] == [round(first, 4), 1.0]
    # b: padded, all of its rows are seen, and all of 11 offsets along columns.
    assert seen("pad-if-needed")[0] == [round(first, 4), 1.0]
    values, kept = seen("skip")
    assert values == [round(first, 4)]
    assert dict(kept.left_out) == {"in images smaller than the crop": 1}
    with pytest.raises(ValueError, match=r"image b\.jpg: crop 60x40 does not fit image 50x50"):
        seen("refuse")
    with pytest.raises(ValueError, match="small_images must be one of"):
        seen("ignore")
    with pytest.raises(ValueError, match=r"image a\.jpg: .* \(2 of 2 images are smaller"):
        object_probabilities(objects, pdp.RandomCrop((300, 300)))


def test_padding_counts_the_axis_that_fits(tmp_path: Path) -> None:
    text = "image,left,top,right,bottom,image_height,image_width\na,0,0,1,1,8,20\nb,0,0,1,1,9,9\n"
    objects = read_annotations(written(tmp_path, "o.csv", text))
    crop = pdp.RandomCrop((9, 9))
    found = object_probabilities(objects, crop, small_images="pad-if-needed")
    assert found.probabilities == pytest.approx([1 / 12, 1.0], rel=1e-14)
    assert found.probabilities[0] >= 1 / 12
    assert found.small.tolist() == [True, False]
    assert object_probabilities(objects, crop).probabilities.tolist() == [1.0, 1.0]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_of_several_boxes_by_counting_windows(data: st.DataObject) -> None:
    image = (data.draw(st.integers(4, 9)), data.draw(st.integers(4, 9)))
    size = (data.draw(st.integers(1, 11)), data.draw(st.integers(1, 4)))
    crop = pdp.RandomCrop(size, padding=data.draw(st.integers(0, 3)), pad_if_needed=True)
    boxes = []
    for _ in range(data.draw(st.integers(1, 5))):
        start = [data.draw(st.integers(0, n - 1)) for n in image]
        boxes.append(
            [*start, *(data.draw(st.integers(s + 1, n)) for s, n in zip(start, image, strict=True))]
        )
    windows = list(
        itertools.product(*(
            [(o, o + law.length) for o in range(law.first, law.last + 1)]
            for law in crop.windows(image)
        ))
    )  # fmt: skip
    hits = sum(
        any(t < e and b > s and x < f and y > g for s, g, e, f in boxes)
        for (t, b), (x, y) in windows
    )
    assert any_of(image, crop, np.array(boxes)) == Fraction(hits, len(windows))


def test_objects_of_one_image_together(tmp_path: Path) -> None:
    text = CSV + "a.jpg,200,100,plate,150,60,190,90\n"
    objects = read_annotations(written(tmp_path, "o.csv", text))
    crop = pdp.RandomCrop((32, 32))
    found = by_image(object_probabilities(objects, crop), crop)
    # Twice at one place is once.
    assert found.probabilities.tolist() == [pytest.approx(2000 / 11661, rel=1e-12), 1.0]
    assert found.objects.ids == ("all 2", "all 1")
    names = [found.objects.categories[k] for k in found.objects.category_index]
    assert names == ["several", "face"]
    crop = pdp.RandomCrop((60, 60))
    assert by_image(object_probabilities(objects, crop), crop).probabilities[1] == 1
