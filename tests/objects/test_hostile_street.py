"""Cityscapes, Mapillary, LabelMe, BDD100K and CVAT files, odd ones among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile import Case, check

SIZE = {"imgHeight": 100, "imgWidth": 200}
SQUARE = [[50, 20], [90, 20], [90, 60], [50, 60]]
# The last pixel belongs to it, or may.
IT = [[20, 50, 61, 91]]


def street(*objects: Any, **size: Any) -> dict[str, Any]:
    return {**(size or SIZE), "objects": list(objects)}


def person(**record: Any) -> dict[str, Any]:
    return {"label": "person", "polygon": SQUARE, **record}


STREET = [
    Case("Cityscapes", street(person()), IT),
    Case("Mapillary", street(person(), height=100, width=200), IT),
    Case("both sizes", street(person(), **SIZE, height=100, width=200), IT),
    Case("sizes that differ", street(person(), **SIZE, height=200, width=100),
         "imgHeight and imgWidth contradict height and width"),
    Case("sizes behind the objects", {"objects": [person()], "height": 100, "width": 200}, IT),
    Case("only a height", street(person(), height=100), "height and width must be whole"),
    Case("no size", {"objects": [person()]}, "give it with --image"),
    Case("no size, told", {"objects": [person()]}, IT, {"image": (100, 200)}),
    Case("deleted", street(person(), person(deleted=1)), IT, left_out=1),
    Case("deleted true", street(person(deleted=True), person(deleted=0)), IT, left_out=1),
    Case("deleted by a word", street(person(deleted="false")), "deleted must be 0 or 1"),
    Case("all deleted", street(person(deleted=1)), [], left_out=1),
    Case("two points", street(person(polygon=SQUARE[::2])), IT),
    Case("one point", street(person(polygon=[[50, 20]])), [[20, 50, 21, 51]]),
    Case("no points", street(person(polygon=[])), "polygon must be pairs of finite numbers"),
    Case("three numbers", street(person(polygon=[[1, 2, 3]])), "pairs of finite"),
    Case("no polygon", street({"label": "person"}), "polygon must be pairs of finite"),
    Case("CityPersons", street({"label": "p", "bbox": [50, 20, 40, 40]}), IT),
    Case("CityPersons, negative", street({"bbox": [50, 20, -1, 40]}), "at least 0"),
    Case("parts of the image", street(person(polygon=[[0.2, 0.2], [0.4, 0.2], [0.4, 0.6]])),
         "look like parts of the image"),
    Case("outside", street(person(polygon=[[300, 20], [390, 20], [390, 60]])), [], left_out=1),
    Case("two formats", {**street(person()), "annotations": []}, "a COCO file has no 'objects'"),
    Case("objects are no list", {**SIZE, "objects": {"a": 1}}, "needs a list of objects 'objects'"),
    Case("a folder", {"a_polygons.json": street(person()), "b_polygons.json": street(person()),
         "camera.json": {"x": 1}}, IT * 2),
    Case("one image without a size in a folder", {"a.json": street(person()),
         "b.json": {"objects": []}}, "b.json: the size of image b.json is not in"),
    Case("UTF-16", ('{"height": 100, "width": 200, "objects": [{"polygon": [50,20,90,60,50,60]}]}'
         ).encode("utf-16"), IT),
]  # fmt: skip


def labelme(*shapes: Any, **more: Any) -> dict[str, Any]:
    size = {"imageHeight": 100, "imageWidth": 200, "imagePath": "..\\a.jpg"}
    return {"version": "5.5.0", "shapes": list(shapes), "imageData": None, **size, **more}


def drawn(kind: Any, *points: Any, **more: Any) -> dict[str, Any]:
    return {"label": "x", "shape_type": kind, "points": list(points), **more}


LABELME = [
    Case("polygon", labelme(drawn("polygon", *SQUARE)), IT),
    Case("no kind is a polygon", labelme({"label": "x", "points": SQUARE}), IT),
    Case("rectangle", labelme(drawn("rectangle", [90, 60], [50, 20])), IT),
    Case("circle", labelme(drawn("circle", [70, 40], [70, 60])), [[20, 50, 61, 91]]),
    Case("circle of three points", labelme(drawn("circle", *SQUARE[:3])), "a circle has not 3"),
    Case("line", labelme(drawn("line", [50, 20], [90, 60])), IT),
    Case("linestrip", labelme(drawn("linestrip", *SQUARE)), IT),
    Case("point", labelme(drawn("point", [50, 20])), [[20, 50, 21, 51]]),
    Case("points", labelme(drawn("points", *SQUARE)), IT),
    Case("mask", labelme(drawn("mask", [50, 20], [90, 60], mask="iVBORw0KGgo=")), IT),
    Case("mask of one point", labelme(drawn("mask", [50, 20])), "a mask has not 1 points"),
    Case("another kind", labelme(drawn("cube", *SQUARE)), "shape_type must be one of polygon"),
    Case("polygon of two points", labelme(drawn("polygon", *SQUARE[::2])), IT),
    Case("no points", labelme(drawn("polygon")), "points must be pairs of finite numbers"),
    Case("no size", labelme(drawn("polygon", *SQUARE), imageHeight=None, imageWidth=None),
         "give it with --image"),
    Case("shapes are no list", {"shapes": {"label": "x"}}, "needs a list of objects 'shapes'"),
    Case("two formats", {**labelme(drawn("polygon", *SQUARE)), "objects": []},
         "a LabelMe file has no 'objects'"),
    Case("parts of the image", labelme(drawn("rectangle", [0.2, 0.2], [0.4, 0.6])), "parts of the"),
    Case("a folder with a stranger", {"a.json": labelme(drawn("polygon", *SQUARE)),
         "b.json": street(person())}, "b.json is not a LabelMe file"),
]  # fmt: skip


def bdd(*labels: Any, **more: Any) -> list[Any]:
    return [
        {"name": "a.jpg", "size": {"width": 200, "height": 100}, "labels": list(labels), **more}
    ]


def box2d(x1: Any, y1: Any, x2: Any, y2: Any) -> dict[str, Any]:
    return {"category": "car", "box2d": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}}


def poly2d(vertices: Any, types: Any = None, closed: Any = True) -> dict[str, Any]:
    types = "L" * len(vertices) if types is None else types
    return {"category": "car", "poly2d": [{"vertices": vertices, "types": types, "closed": closed}]}


CAR = box2d(50, 20, 90, 60)
BARE = [{"name": "a.jpg", "labels": [CAR]}]
BDD = [
    Case("list of frames", bdd(CAR), IT),
    Case("frames", {"frames": bdd(CAR)}, IT),
    Case("size in the config", {"frames": BARE, "config": {"imageSize":
         {"width": 200, "height": 100}}}, IT),
    Case("config first", {"config": {"imageSize": {"width": 200, "height": 100}}, "frames": BARE},
         IT),
    Case("no size", BARE, "give it with --image"),
    Case("of one image", {"name": "a", "frames": [{"timestamp": 1, "objects": [CAR]}]}, IT,
         {"image": (100, 200)}),
    Case("old polygons", {"name": "a", "frames": [{"timestamp": 1, "objects": [
         {"category": "lane", "poly2d": [[50, 20, "L"], [90, 60, "C"]]}]}]}, IT,
         {"image": (100, 200)}),
    Case("polygon", bdd(poly2d(SQUARE)), IT),
    Case("curve", bdd(poly2d(SQUARE, "LCCL")), IT),
    Case("open path", bdd(poly2d(SQUARE, closed=False)), IT),
    Case("box and polygon", bdd({**poly2d(SQUARE), "box2d": box2d(40, 30, 60, 50)["box2d"]}),
         [[20, 40, 61, 91]]),
    Case("mask", bdd({"category": "car", "rle": {"size": [100, 200], "counts": [5020, 5, 14975]}}),
         [[20, 50, 26, 52]]),
    Case("mask of another size", bdd({"rle": {"size": [100, 201], "counts": [20100]}}),
         "its mask is 100x201"),
    Case("skeleton", bdd({"category": "p", "graph": {"nodes": [{"location": [50, 20]},
         {"location": [90, 60]}]}}), IT),
    Case("labels without a place", bdd(CAR, {"category": "sunny"}), IT, left_out=1),
    Case("a box in space only", bdd({"category": "car", "box3d": {}}), [], left_out=1),
    Case("no labels", [*bdd(CAR), {"name": "b", "labels": None, "size":
         {"width": 9, "height": 9}}], IT),
    Case("a frame twice", bdd(CAR) + bdd(CAR), IT * 2),
    Case("a frame twice, two sizes", bdd(CAR) + bdd(CAR, size={"width": 9, "height": 9}),
         "an image has one size"),
    Case("backwards", bdd(box2d(90, 20, 50, 60)), "it must be finite and run forwards"),
    Case("a side missing", bdd({"box2d": {"x1": 1, "y1": 2, "x2": 3}}), "4 finite numbers"),
    Case("box as a list", bdd({"box2d": [1, 2, 3, 4]}), "box2d must have x1, y1, x2, y2"),
    Case("labels are no list", bdd(labels={"a": 1}), "must be a list of objects"),
    Case("frames are no list", {"frames": 7}, "needs a list of frames"),
    Case("two formats", {"frames": bdd(CAR), "images": []}, "a BDD100K file has no 'images'"),
]  # fmt: skip


def cvat(*shapes: str, attributes: str = 'width="200" height="100"') -> str:
    inside = "\n".join(shapes)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f'<image id="0" name="a.jpg" {attributes}>\n{inside}\n</image>\n</annotations>'
    )


RECT = '<box label="car" xtl="50" ytl="20" xbr="90" ybr="60" occluded="0"/>'
HERE = [[20, 50, 60, 90]]
VIDEO = """<annotations><version>1.1</version><meta><task><original_size><width>200</width>
<height>100</height></original_size></task></meta><track id="3" label="car">
<box frame="0" xtl="50" ytl="20" xbr="90" ybr="60" outside="0" keyframe="1"/>
<box frame="1" xtl="50" ytl="20" xbr="90" ybr="60" outside="1" keyframe="1"/></track>
</annotations>"""
CUBOID = "".join(
    f' {axis}{corner}{k}="{at}"'
    for axis, pair in (("x", (50, 90)), ("y", (20, 60)))
    for corner in ("tl", "bl", "tr", "br")
    for k, at in ((1, pair[0]), (2, pair[1]))
)
CVAT = [
    Case("box", cvat(RECT), HERE),
    Case("turned by a quarter", cvat(RECT.replace("<box", '<box rotation="90"')), HERE),
    Case("turned by an eighth", cvat(RECT.replace("<box", '<box rotation="45"')),
         [[11, 41, 69, 99]]),
    Case("turned out of shape", cvat(RECT.replace("<box", '<box rotation="nan"')),
         "a.xml:5 <box>: rotation must be a finite number"),
    Case("polygon", cvat('<polygon label="x" points="50,20;90,20;90,60"/>'), HERE),
    Case("polygon of halves", cvat('<polygon points="50,20;90;90,60"/>'), "points must be x,y;x,y"),
    Case("polygon of nothing", cvat("<polygon/>"), "points must be x,y;x,y"),
    Case("polyline", cvat('<polyline label="x" points="50,20;90,60"/>'), HERE),
    Case("points", cvat('<points label="x" points="50,20;89.5,59.5"/>'), HERE),
    Case("ellipse", cvat('<ellipse label="x" cx="70" cy="40" rx="20" ry="20"/>'), HERE),
    Case("ellipse turned", cvat('<ellipse cx="70" cy="40" rx="20" ry="10" rotation="90"/>'),
         [[20, 60, 60, 80]]),
    Case("ellipse inside out", cvat('<ellipse cx="70" cy="40" rx="-20" ry="10"/>'), "at least 0"),
    Case("mask", cvat('<mask label="x" rle="1, 2, 1" left="50" top="20" width="2" height="2"/>'),
         [[20, 50, 22, 52]]),
    Case("empty mask", cvat('<mask rle="4" left="50" top="20" width="2" height="2"/>'),
         [[20, 50, 22, 52]]),
    Case("mask too short", cvat('<mask rle="1, 2" left="50" top="20" width="2" height="2"/>'),
         "a.xml:5 <mask>: rle must be runs that add up to 4 pixels"),
    Case("mask of text", cvat('<mask rle="a" left="5" top="2" width="2" height="2"/>'), "rle must"),
    Case("cuboid", cvat(f'<cuboid label="x"{CUBOID}/>'), HERE),
    Case("skeleton", cvat('<skeleton label="x"><points points="50,20" outside="0"/><points '
         'points="89.5,59.5" outside="0"/><points points="0,0" outside="1"/></skeleton>'), HERE),
    Case("tag", cvat(RECT, '<tag label="night"/>'), HERE, left_out=1),
    Case("a shape of no one", cvat("<sphere/>"), "a.xml:5 <sphere> is not known"),
    Case("no side", cvat('<box xtl="1" ytl="2" xbr="3"/>'), "a.xml:5 <box> needs ybr"),
    Case("backwards", cvat('<box xtl="9" ytl="2" xbr="3" ybr="4"/>'), "the box ends before it"),
    Case("decimal comma", cvat('<box xtl="1,5" ytl="2" xbr="3" ybr="4"/>'), "not a comma"),
    Case("parts of the image", cvat('<box xtl="0.1" ytl="0.2" xbr="0.3" ybr="0.4"/>'), "parts of"),
    Case("no size", cvat(RECT, attributes=""), "give it with --image"),
    Case("half a size", cvat(RECT, attributes='width="200"'), "only one is given"),
    Case("one image twice", cvat(RECT, "</image>", '<image id="1" name="a.jpg">', RECT), HERE * 2),
    Case("one image, two sizes", cvat(RECT, "</image>",
         '<image id="1" name="a.jpg" width="9" height="9">', RECT), "an image has one size"),
    Case("video", VIDEO, HERE, left_out=1),
    Case("video without frames", VIDEO.replace('frame="0"', ""), "a frame's number is missing"),
    Case("video without a size", VIDEO.replace("original_size", "size"), "give it with --image"),
    Case("something else", cvat().replace("image", "picture"), "<picture> is not known"),
    Case("a document type", "<!DOCTYPE a>" + cvat(RECT)[38:], "declares a document type"),
    Case("version 1.0 has no meta", cvat(RECT).replace("1.1", "1.0"), HERE),
]  # fmt: skip

TABLE = [
    *[("s.json", case) for case in STREET],
    *[("l.json", case) for case in LABELME],
    *[("b.json", case) for case in BDD],
    *[("a.xml", case) for case in CVAT],
]


@pytest.mark.parametrize(("name", "case"), TABLE, ids=[f"{n[0]}: {c.what}" for n, c in TABLE])
def test_street(tmp_path: Path, name: str, case: Case) -> None:
    check(tmp_path, name, case)
