"""Pascal VOC and YOLO files that contradict themselves, or almost do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile import Case, check

SIZE = "<size><width>200</width><height>100</height></size>"


def voc(*boxes: Any, size: str = SIZE, name: str = "v.jpg", more: str = "") -> str:
    """Boxes as xmin, ymin, xmax, ymax; a line each, the first on line 3."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = [
        "<object><name>o</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=False))
        + "</bndbox></object>"
        for box in boxes
    ]
    return "\n".join(
        ["<annotation>", f"<filename>{name}</filename>{size}", *objects, more, "</annotation>"]
    )


VOC = [
    Case("both readings", voc((50, 20, 90, 60)), [[19, 49, 61, 91]], remarked=1),
    Case("counts from 1", voc((50, 20, 90, 60)), [[19, 49, 60, 90]], {"origin": 1}),
    Case("counts from 0", voc((50, 20, 90, 60)), [[20, 50, 61, 91]], {"origin": 0}),
    Case("begins at 0", voc((0, 20, 90, 60)), [[20, 0, 61, 91]]),
    Case("one box tells for the file", voc((50, 20, 90, 60), (0, 0, 5, 5)),
         [[20, 50, 61, 91], [0, 0, 6, 6]]),
    Case("one file does not tell for another", {"a.xml": voc((0, 0, 5, 5), name="a"),
         "b.xml": voc((1, 1, 5, 5), name="b")}, [[0, 0, 6, 6], [0, 0, 6, 6]], remarked=1),
    Case("told 1, begins at 0", voc((0, 20, 90, 60)), "v.xml:3 object 1: pixels count from 1",
         {"origin": 1}),
    Case("whole image from 1", voc((1, 1, 200, 100)), [[0, 0, 100, 200]], remarked=1),
    Case("last pixel from 1", voc((200, 100, 200, 100)), [[99, 199, 100, 200]], remarked=1),
    Case("whole image from 0", voc((0, 0, 199, 99)), [[0, 0, 100, 200]]),
    Case("beyond the image", voc((150, 20, 250, 60), ), [[19, 149, 61, 200]], remarked=1),
    Case("outside", voc((202, 20, 250, 60)), [], left_out=1, remarked=1),
    Case("halves", voc((50.5, 20.5, 90.5, 60.5)), [[19, 49, 62, 92]], remarked=1),
    Case("negative start", voc((-3, 20, 90, 60)), [[19, 0, 61, 91]], remarked=1),
    Case("runs backwards", voc((90, 20, 50, 60)), "v.xml:3 object 1: the box ends before"),
    Case("second box runs backwards", voc((1, 1, 5, 5), (1, 9, 5, 5)), "v.xml:4 object 2: the box"),
    Case("decimal comma", voc(("50,5", 20, 90, 60)), "with a point, not a comma"),
    Case("nan", voc(("nan", 20, 90, 60)), "v.xml:3 object 1: bndbox/xmin must be a finite"),
    Case("inf", voc((1, 20, "inf", 60)), "bndbox/xmax must be a finite number"),
    Case("1_000", voc((1, 20, "1_000", 60)), "bndbox/xmax must be a finite number"),
    Case("no side", voc((1, 2, 3)), "v.xml:3 object 1 has no bndbox/ymax"),
    Case("side twice", voc(more="<object><bndbox><ymin>1</ymin><ymin>2</ymin></bndbox></object>"),
         "v.xml:3 <ymin> is given twice"),
    Case("two boxes of one object", voc(more="<object><bndbox/><bndbox/></object>"),
         "<bndbox> is given twice"),
    Case("parts of the image", voc((0.2, 0.1, 0.9, 0.8)), "parts of the image"),
    Case("parts of a person have boxes too", voc(more="<object><name>p</name><bndbox><xmin>0</xmin>"
         "<ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox><part><name>hand</name><bndbox>"
         "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"),
         [[0, 0, 10, 10]]),
    Case("objects hidden in a list", voc(more="<objects><object/></objects>"),
         "<object> must stand in <annotation>"),
    Case("size 0x0", voc((5, 5, 9, 9), size="<size><width>0</width><height>0</height></size>"),
         "give it with --image"),
    Case("size 0x0, told", voc((5, 5, 9, 9),
         size="<size><width>0</width><height>0</height></size>"), [[4, 4, 10, 10]],
         {"image": (50, 50)}, remarked=1),
    Case("width 0 only", voc((5, 5, 9, 9), size="<size><width>0</width><height>9</height></size>"),
         "must be whole numbers of at least 1"),
    Case("width only", voc((5, 5, 9, 9), size="<size><width>9</width></size>"),
         "of height and width only one is given"),
    Case("size twice", voc((5, 5, 9, 9), size=SIZE * 2), "<size> is given twice"),
    Case("one image in two files", {"a.xml": voc((50, 20, 90, 60)), "b.xml": voc((0, 0, 5, 5))},
         [[19, 49, 61, 91], [0, 0, 6, 6]], remarked=1),
    Case("one image, two sizes", {"a.xml": voc((50, 20, 90, 60)), "b.xml": voc((0, 0, 5, 5),
         size="<size><width>100</width><height>100</height></size>")}, "an image has one size"),
    Case("one name in two folders", {"a/1.xml": voc((0, 0, 5, 5)), "b/1.xml": voc((0, 0, 5, 5),
         size="<size><width>100</width><height>100</height></size>")}, [[0, 0, 6, 6]] * 2),
    Case("ending in capitals", {"1.XML": voc((0, 0, 5, 5)), "2.xml": voc((0, 0, 5, 5), name="w")},
         [[0, 0, 6, 6]] * 2),
    Case("entities", "<!DOCTYPE a [<!ENTITY b 'ha'>]>" + voc((0, 0, 5, 5)),
         "v.xml:1 it declares a document type"),
    Case("a bomb", "<!DOCTYPE lolz [<!ENTITY a 'ha'>" + "".join(
         f"<!ENTITY a{k} '{f'&a{k - 1};' * 10}'>" for k in range(1, 9)) + "]>" + voc((1, 1, 2, 2)),
         "document type"),
    Case("nested too deep", "<annotation>" + "<a>" * 100_000, "nested too deep"),
    Case("cut off", voc((0, 0, 5, 5))[:-9], "is not XML"),
    Case("another root", "<html/>", "neither VOC nor CVAT"),
    Case("UTF-16", ('<?xml version="1.0" encoding="utf-16"?>' + voc((0, 0, 5, 5))).encode("utf-16"),
         [[0, 0, 6, 6]]),
    Case("Latin-1", ('<?xml version="1.0" encoding="iso-8859-1"?>' + voc((0, 0, 5, 5), name="\xe4")
         ).encode("latin-1"), [[0, 0, 6, 6]]),
    Case("an encoding of no one", '<?xml version="1.0" encoding="klingon"?>' + voc(), "is not XML"),
    Case("byte order mark, Windows", b"\xef\xbb\xbf" + voc((0, 0, 5, 5)).replace("\n", "\r\n")
         .encode(), [[0, 0, 6, 6]]),
    Case("units told", voc((0, 0, 5, 5)), "units='parts' is not for voc", {"units": "parts"}),
    Case("no objects", voc(), "hold no objects"),
]  # fmt: skip


@pytest.mark.parametrize("case", VOC, ids=lambda case: case.what)
def test_voc(tmp_path: Path, case: Case) -> None:
    check(tmp_path, "v.xml", case)


M = {"image": (1000, 1000)}
KEYPOINTS = "0 0.5 0.5 0.6 0.6 0.42 0.42"
BOX = [[200, 200, 800, 800]]
TRIANGLE = "0 0.1 0.1 0.3 0.1 0.3 0.4"
YOLO = [
    Case("plain", "0 0.5 0.5 0.6 0.6", BOX, M),
    Case("confidence", "0 0.5 0.5 0.6 0.6 0.93", BOX, M),
    Case("track", "0 0.5 0.5 0.6 0.6 17", BOX, M),
    Case("confidence and track", "0 0.5 0.5 0.6 0.6 0.93 17", BOX, M),
    Case("one keypoint", KEYPOINTS, BOX, M, remarked=1),
    Case("one keypoint, told", KEYPOINTS, BOX, {**M, "columns": "box"}),
    Case("one keypoint, told a polygon", KEYPOINTS, [[420, 420, 600, 600]],
         {**M, "columns": "polygon"}),
    Case("keypoint that is visible", KEYPOINTS + " 2", BOX, M),
    Case("two keypoints that are visible", KEYPOINTS + " 2 0.5 0.45 1", BOX, M),
    Case("keypoints that are not there", "0 0.5 0.5 0.6 0.6" + " 0 0" * 17, [[0, 0, 800, 800]], M,
         remarked=1),
    Case("keypoints that are not there, told", "0 0.5 0.5 0.6 0.6" + " 0 0" * 17, BOX,
         {**M, "columns": "box"}),
    Case("seventeen with visibility", "0 0.5 0.5 0.6 0.6" + " 0.4 0.4 1" * 17, BOX, M),
    Case("four corners", "0 0.2 0.3 0.4 0.3 0.4 0.5 0.2 0.5", [[150, 0, 500, 400]], M, remarked=1),
    Case("four corners, told", "0 0.2 0.3 0.4 0.3 0.4 0.5 0.2 0.5", [[300, 200, 500, 400]],
         {**M, "columns": "polygon"}),
    Case("box and its corners", "0 0.5 0.5 0.6 0.6 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8", BOX, M,
         remarked=1),
    Case("triangle, told", TRIANGLE, [[100, 100, 400, 300]], {**M, "columns": "polygon"}),
    Case("triangle: or a box with a keypoint", TRIANGLE, [[50, 0, 400, 300]], M, remarked=1),
    Case("boxes among polygons", TRIANGLE + "\n0 0.5 0.5 0.6 0.6",
         [[100, 100, 400, 300], [200, 200, 800, 800]], {**M, "columns": "polygon"}),
    Case("odd polygon", TRIANGLE + " 0.5", "y.txt:1 a polygon has an even number of values",
         {**M, "columns": "polygon"}),
    Case("vertex outside", "0 0.1 0.1 0.3 0.1 0.3 1.4", "from 0 to 1, got 1.4",
         {**M, "columns": "polygon"}),
    Case("pixels", "0 120 80 40 30", "y.txt:1 YOLO numbers are parts of the image, from", M),
    Case("pixels, told", "0 120 80 40 30", [[65, 100, 95, 140]], {**M, "units": "pixels"}),
    Case("pixels in a later line", "0 0.5 0.5 0.6 0.6\n\n0 120 80 40 30", "y.txt:3 YOLO", M),
    Case("corners in pixels", "0 200 300 400 300 400 500 200 500", "y.txt:1 YOLO numbers", M),
    Case("corners in pixels, told", "0 200 300 400 300 400 500 200 500",
         [[300, 200, 500, 400]], {**M, "units": "pixels", "columns": "polygon"}),
    Case("told pixels, are parts", "0 0.5 0.5 0.6 0.6", "parts of the image",
         {**M, "units": "pixels"}),
    Case("a hair beyond", "0 0.5 0.5 1.00001 1.00001", [[0, 0, 1000, 1000]], M),
    Case("a centre beyond", "0 1.2 0.5 0.1 0.1", "from 0 to 1, got 1.2", M),
    Case("negative", "0 -0.5 0.5 0.1 0.1", "from 0 to 1, got -0.5", M),
    Case("negative width", "0 0.5 0.5 -0.005 0.1", "width and height must be at least 0", M),
    Case("no width", "0 0.5 0.5 0 0.1", [[450, 500, 550, 501]], M),
    Case("sticks out", "0 0.95 0.5 0.2 0.2", [[400, 850, 600, 1000]], M),
    Case("three numbers", "0 0.5 0.5 0.6", "y.txt:1 a class and 4 numbers of a box", M),
    Case("class 0.0", "0.0 0.5 0.5 0.6 0.6", BOX, M),
    Case("class 0.5", "0.5 0.5 0.5 0.6 0.6", "classes are whole numbers from 0", M),
    Case("class -1", "-1 0.5 0.5 0.6 0.6", "classes are whole numbers from 0", M),
    Case("class by name", "face 0.5 0.5 0.6 0.6", "y.txt:1 a class number and numbers", M),
    Case("no class", "0.5 0.5 0.6 0.6", "classes are whole numbers from 0", M),
    Case("decimal commas", "0 0,5 0,5 0,6 0,6", "with a point, not a comma", M),
    Case("comma separated", "0,0.5,0.5,0.6,0.6", "with a point, not a comma", M),
    Case("nan", "0 nan 0.5 0.6 0.6", "must be a finite number", M),
    Case("inf", "0 0.5 0.5 inf 0.6", "must be a finite number", M),
    Case("huge", "0 0.5 0.5 1e300 0.6", "must be a finite number", M),
    Case("huge class", "9" * 30 + " 0.5 0.5 0.6 0.6", "must be a finite number", M),
    Case("tabs and spaces", "0\t0.5  0.5\t0.6 0.6  ", BOX, M),
    Case("Windows", b"0 0.5 0.5 0.6 0.6\r\n", BOX, M),
    Case("old Macintosh", b"0 0.5 0.5 0.6 0.6\r1 0.5 0.5 0.6 0.6", BOX * 2, M),
    Case("byte order mark", b"\xef\xbb\xbf0 0.5 0.5 0.6 0.6", BOX, M),
    Case("UTF-16", "0 0.5 0.5 0.6 0.6".encode("utf-16"), BOX, M),
    Case("binary", bytes(range(256)), "is not a text file", M),
    Case("no size", "0 0.5 0.5 0.6 0.6", "give it with --image"),
    Case("empty", "", "hold no objects", M),
    Case("an empty file beside", {"a.txt": "", "b.txt": "0 0.5 0.5 0.6 0.6"}, BOX, M),
    Case("lists beside", {"train.txt": "a.jpg", "README.txt": "hi", "b.txt": "0 0.5 0.5 0.6 0.6"},
         BOX, M),
    Case("a stray text beside", {"notes.txt": "hi", "b.txt": "0 0.5 0.5 0.6 0.6"},
         "notes.txt:1 a class number", M),
    Case("ending in capitals", {"A.TXT": "0 0.5 0.5 0.6 0.6"}, BOX, M),
    Case("origin told", "0 0.5 0.5 0.6 0.6", "origin=1 is not for yolo", {**M, "origin": 1}),
    Case("image with three sides", "0 0.5 0.5 0.6 0.6", "image must be (height, width)",
         {"image": (9, 9, 9)}),
    Case("image of no pixel", "0 0.5 0.5 0.6 0.6", "image must be a whole number",
         {"image": (0, 9)}),
]  # fmt: skip


@pytest.mark.parametrize("case", YOLO, ids=lambda case: case.what)
def test_yolo(tmp_path: Path, case: Case) -> None:
    check(tmp_path, "y.txt", case)
