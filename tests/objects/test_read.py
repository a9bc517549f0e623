"""Reading annotated objects: formats by hand, and damaged files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchdp.objects import read_annotations

COCO = {
    "images": [
        {"id": 5, "file_name": "a.jpg", "height": 20, "width": 30},
        {"id": 9, "file_name": "b.jpg", "height": 40, "width": 10},
    ],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 2, "bbox": [3.5, 4, 6, 7.25]},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [-2, 38, 5, 5]},
        {"id": 3, "image_id": 9, "category_id": 1, "bbox": [10, 0, 4, 4]},
        {"id": 4, "image_id": 5, "category_id": 2, "bbox": [1, 1, 2, 2],
         "segmentation": [[1, 1, 4.5, 1, 1, 3]]},
        {"id": 5, "image_id": 5, "category_id": 1,
         "segmentation": {"counts": [21, 3, 576], "size": [20, 30]}},
    ],
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "face"}],
}  # fmt: skip
CITY = {
    "imgHeight": 16, "imgWidth": 32,
    "objects": [{"label": "person", "polygon": [[2, 3], [5, 3], [5, 9]]},
                {"label": "road", "polygon": [[0, 0], [31, 15], [0, 15]], "deleted": 1}],
}  # fmt: skip
VOC = """<annotation><filename>v.jpg</filename>
<size><width>30</width><height>20</height><depth>3</depth></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>20</ymax></bndbox>
</object></annotation>"""
CSV = "image,left,top,right,bottom,category,image_height,image_width\na,1,2,3.5,4,x,10,12\n"


@pytest.fixture
def write(tmp_path: Path):
    def put(name: str, content: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return put


def test_coco(write) -> None:
    found = read_annotations(write("c.json", COCO))
    assert found.format == "coco"
    assert found.boxes.tolist() == [
        [4, 3, 12, 10],  # rounded outwards
        [38, 0, 40, 3],  # cut at two borders
        [1, 1, 3, 5],  # widened to its polygon
        [1, 1, 4, 2],  # from its mask
    ]
    assert (found.clipped, found.left_out) == (1, {"outside their image": 1})
    assert [found.images[k] for k in found.image_index] == ["a.jpg", "b.jpg", "a.jpg", "a.jpg"]
    assert [found.categories[k] for k in found.category_index] == ["face", "car", "face", "car"]
    assert found.ids == ("1", "2", "4", "5")
    assert [shape is not None for shape in found.shapes] == [False, False, True, True]


def test_cityscapes_file_and_folder(write) -> None:
    path = write("city/ulm/ulm_0_gtFine_polygons.json", CITY)
    write("city/ulm/ulm_1_gtFine_polygons.json", {**CITY, "imgWidth": 4})
    assert read_annotations(path).boxes.tolist() == [[3, 2, 10, 6]]
    found = read_annotations(path.parent.parent)
    assert found.boxes.tolist() == [[3, 2, 10, 6], [3, 2, 10, 4]]
    assert found.sizes == ((16, 32), (16, 4))
    assert (len(found.images), found.clipped) == (2, 1)


def test_voc_counts_from_zero_or_one_as_far_as_a_file_tells(write) -> None:
    one = write("voc/1.xml", VOC)
    assert read_annotations(one).boxes.tolist() == [[1, 0, 20, 5]]
    assert read_annotations(one, origin=1).boxes.tolist() == [[1, 0, 20, 4]]
    assert read_annotations(one, origin=0).boxes.tolist() == [[2, 1, 20, 5]]
    write("voc/2.xml", VOC.replace("<xmin>1<", "<xmin>0<").replace("v.jpg", "w.jpg"))
    found = read_annotations(one.parent)
    assert found.boxes.tolist() == [[1, 0, 20, 5], [2, 0, 20, 5]]
    assert list(found.remarks.values()) == [1]
    with pytest.raises(ValueError, match=r"2\.xml, line 3: object 1: pixels count from 1"):
        read_annotations(one.parent, origin=1)


def test_voc_without_a_size(write) -> None:
    path = write("1.xml", VOC.replace(">20</height>", ">0</height>").replace(">30</w", ">0</w"))
    with pytest.raises(ValueError, match=r"v\.jpg is not in the voc annotations"):
        read_annotations(path)
    assert read_annotations(path, image=(18, 30)).boxes.tolist() == [[1, 0, 18, 5]]


def test_yolo(write) -> None:
    write("y/classes.txt", "cat\ndog\n")
    write("y/labels/a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.5 0.5 0.25 0.5 0.93\n")
    write("y/labels/b.txt", "7 0 0 0.5 0 0.5 0.25\n")
    with pytest.raises(ValueError, match="--image"):
        read_annotations(write("y/classes.txt", "cat\ndog\n").parent)
    found = read_annotations(write("y/classes.txt", "cat\ndog\n").parent, image=(20, 40))
    assert found.boxes.tolist() == [[5, 15, 15, 25], [5, 15, 15, 25], [0, 0, 5, 20]]
    assert [found.categories[k] for k in found.category_index] == ["dog", "cat", "7"]


def test_csv(write) -> None:
    found = read_annotations(write("o.csv", CSV))
    assert found.boxes.tolist() == [[2, 1, 4, 4]]
    assert found.sizes == ((10, 12),)


def test_a_point_is_a_pixel(write) -> None:
    record = {**COCO, "annotations": [{"id": 1, "image_id": 5, "bbox": [3, 4, 0, 0]}]}
    assert read_annotations(write("c.json", record)).boxes.tolist() == [[4, 3, 5, 4]]


BROKEN = [
    ("c.json", "{", "not JSON"),
    ("c.json", "[]", "no annotation file that is known"),
    ("c.json", {**COCO, "images": [3]}, "not a COCO file"),
    ("c.json", {**COCO, "images": [{"id": 5}]}, "give it with --image|not among"),
    ("c.json", {**COCO, "annotations": [{"id": 1, "image_id": 77, "bbox": [0, 0, 1, 1]}]}, "77"),
    ("c.json", {**COCO, "annotations": [{"image_id": 5, "bbox": [0, 0, -1, 1]}]}, "at least 0"),
    ("c.json", {**COCO, "annotations": [{"image_id": 5, "bbox": [0, 0, 1]}]}, "4 finite numbers"),
    ("c.json", {**COCO, "annotations": [{"image_id": 5, "bbox": [0, 0, 1, 10**400]}]}, "finite"),
    ("c.json", {**COCO, "annotations": [{"image_id": 5}]}, "neither a bbox"),
    ("c.json", {**COCO, "annotations": []}, "hold no objects"),
    ("c.json", {**COCO, "annotations": [
        {"image_id": 5, "segmentation": {"counts": [1, 2], "size": [20, 30]}}]}, "add up to 600"),
    ("c.json", {**COCO, "annotations": [
        {"image_id": 5, "segmentation": {"counts": [9], "size": [3, 3]}}]}, "its mask is 3x3"),
    ("c.json", {**COCO, "annotations": [
        {"image_id": 5, "segmentation": [[1, 2, 3]]}]}, "pairs of finite"),
    ("d.json", {"imgHeight": 0, "imgWidth": 4, "objects": []}, "height and width"),
    ("d.json", {**CITY, "objects": [{"polygon": [[1, "x"]]}]}, "pairs of finite"),
    ("v.xml", "<annotation>", "not XML"),
    ("v.xml", "<html/>", "needs <annotation>"),
    ("v.xml", VOC.replace(">4<", ">four<"), "bndbox/xmax must be a finite number"),
    ("v.xml", VOC.replace(">4<", ">-9<"), "ends before it begins"),
    ("v.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]>" + VOC, "document type"),
    ("y.txt", "1 0.5 0.5\n", "got 2"),
    ("y.txt", "face 0 0 1 1\n", "class number"),
    ("y.txt", "0 0.5 0.5 -0.1 0.1\n", "from 0 to 1"),
    ("o.csv", "image,left,top,right\n", "no column 'bottom'"),
    ("o.csv", CSV + "a,1\n", "8 cells expected, got 2"),
    ("o.csv", CSV + "a,1,nan,2,3,x,10,12\n", r"o\.csv, line 3: top"),
    ("o.csv", CSV + "a,1,2,2,3,x,99,12\n", "two sizes"),
    ("o.csv", "", "no column"),
    ("o.bin", "", "cannot tell the format"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), BROKEN)
def test_broken_files_are_one_sentence(write, name: str, content: object, said: str) -> None:
    image = (20, 30) if name == "y.txt" else None
    with pytest.raises(ValueError, match=said):
        read_annotations(write(name, content), image=image)


@pytest.mark.parametrize(("name", "content"), [
    ("c.json", json.dumps(COCO)), ("d.json", json.dumps(CITY)), ("v.xml", VOC), ("o.csv", CSV),
    ("y.txt", "1 0.5 0.5 0.25 0.5\n7 0 0 0.5 0 0.5 0.25\n"),
    ("m.json", json.dumps({"height": 20, "width": 30, "objects": CITY["objects"]})),
    ("l.json", '{"shapes": [{"label": "x", "points": [[1, 2], [9, 2], [9, 9]], "shape_type": '
     '"polygon"}, {"points": [[1, 2], [3, 4]], "shape_type": "circle"}], "imageHeight": 20}'),
    ("b.json", '[{"name": "a", "labels": [{"box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}, '
     '{"poly2d": [{"vertices": [[1, 2], [9, 2], [9, 9]], "types": "LLL", "closed": true}]}]}]'),
    ("v.xml", '<annotations><image name="a" width="30" height="20"><box xtl="1" ytl="2" xbr="9" '
     'ybr="9" rotation="30"/><mask rle="1,2,1" left="5" top="2" width="2" height="2"/></image>'
     '<track label="x"><polygon frame="0" points="1,2;9,2;9,9"/></track></annotations>'),
    ("o.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\na,x,0.25,0.5,0,1\nb,y,0,0.1,0.5,0.75\n"),
])  # fmt: skip
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str, content: str, data) -> None:
    raw = bytearray(content.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        stop = min(len(raw), start + data.draw(st.integers(0, 6)))
        raw[start:stop] = data.draw(
            st.sampled_from([b"", b"-", b"null", b"1e999", b"9" * 40, b"[]", b"{}", b"\xff", b'""'])
        )
    path = tmp_path / name
    path.write_bytes(bytes(raw))
    try:
        found = read_annotations(path, image=(20, 30))
    except ValueError as error:
        assert str(error)
    else:
        sizes = np.array(found.sizes).reshape(-1, 2)[found.image_index]
        assert (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2:] <= sizes).all()
        assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()


def test_large_files_are_never_held_as_objects(tmp_path: Path) -> None:
    points = [300.5 + k for k in range(51)]
    box = {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": points}
    text = json.dumps({**COCO, "annotations": [{"id": k, **box} for k in range(2000)]})
    mark = '<box label="a" xtl="1" ytl="2" xbr="9" ybr="9"/>'
    image = '<image name="{}" width="30" height="20">' + 20 * mark + "</image>"
    files = {
        "c.json": text,
        "v.xml": f"<annotations>{''.join(image.format(k) for k in range(100))}</annotations>",
    }
    tracemalloc.start()
    try:
        json.loads(text)
        whole = tracemalloc.get_traced_memory()[1] - len(text)
        for name, content in files.items():
            (tmp_path / name).write_text(content)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            assert len(read_annotations(tmp_path / name)) == 2000
            # Beside the text and its bytes, the arrays: less than half of the parsed file.
            peak = tracemalloc.get_traced_memory()[1] - before - 2 * len(content)
            assert peak < whole / 2
    finally:
        tracemalloc.stop()


def test_an_unreadable_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no annotation file"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(ValueError, match="holds no"):
        read_annotations(tmp_path)
    (tmp_path / "a.xml").write_text(VOC)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(ValueError, match="voc and yolo"):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, format="voc")) == 1
