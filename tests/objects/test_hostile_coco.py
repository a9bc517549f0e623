"""COCO files that contradict themselves, or almost do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile import Case, check

IMAGES = [{"id": 1, "file_name": "a.jpg", "height": 100, "width": 200}]
BOX = [50, 20, 40, 30]
IT = [[20, 50, 50, 90]]


def coco(*annotations: Any, images: Any = None, **more: Any) -> dict[str, Any]:
    return {"images": images or IMAGES, "annotations": list(annotations), **more}


def one(**record: Any) -> dict[str, Any]:
    return coco({"id": 7, "image_id": 1, **record})


def rle(size: Any, counts: Any, **more: Any) -> dict[str, Any]:
    return one(segmentation={"size": size, "counts": counts}, **more)


TEXT = json.dumps(one(bbox=BOX), indent=0)
CASES = [
    Case("plain", one(bbox=BOX), IT),
    Case("floats are rounded outwards", one(bbox=[50.5, 20.25, 1, 1]), [[20, 50, 22, 52]]),
    Case("image_id 1.0", coco({"id": 7, "image_id": 1.0, "bbox": BOX}), IT),
    Case("the image's id is 1.0", coco({"image_id": 1, "bbox": BOX},
         images=[{**IMAGES[0], "id": 1.0}]), IT),
    Case("image_id 1.5", coco({"image_id": 1.5, "bbox": BOX}), "whole number or text, got 1.5"),
    Case("image_id true", coco({"image_id": True, "bbox": BOX}), "whole number or text, got True"),
    Case("image_id null", coco({"image_id": None, "bbox": BOX}), "whole number or text, got None"),
    Case("image_id as text of a number", coco({"image_id": "1", "bbox": BOX}), "not among"),
    Case("ids as text", coco({"image_id": "x", "bbox": BOX}, images=[{**IMAGES[0], "id": "x"}]),
         IT),
    Case("no image of that id", coco({"image_id": 2, "bbox": BOX}), "image 2 is not among"),
    Case("empty bbox beside a polygon", one(bbox=[], segmentation=[[5, 6, 9, 6, 9, 9]]),
         [[6, 5, 9, 9]]),
    Case("empty bbox alone", one(bbox=[]), "neither a bbox nor a segmentation"),
    Case("null bbox beside a polygon", one(bbox=None, segmentation=[[5, 6, 9, 6, 9, 9]]),
         [[6, 5, 9, 9]]),
    Case("bbox of zeros beside a polygon", one(bbox=[0, 0, 0, 0],
         segmentation=[[5, 6, 9, 6, 9, 9]]), [[6, 5, 9, 9]]),
    Case("ring of two points", one(bbox=BOX, segmentation=[[50, 20, 90, 50]]), IT, remarked=1),
    Case("ring that is the bbox", one(bbox=BOX, segmentation=[BOX]), IT),
    Case("ring of two points outside the bbox", one(bbox=BOX, segmentation=[[5, 20, 90, 60]]),
         [[20, 5, 60, 90]], remarked=1),
    Case("ring of two points, no bbox", one(segmentation=[[50, 20, 90, 50]]), "less than 3 points"),
    Case("ring of one point", one(bbox=BOX, segmentation=[[60, 30]]), IT, remarked=1),
    Case("one ring of two", one(bbox=BOX, segmentation=[[50, 20, 90, 20, 90, 50],
         [50, 20, 90, 50]]), IT, remarked=1),
    Case("ring on a line", one(bbox=BOX, segmentation=[[50, 20, 70, 35, 90, 50]]), IT, remarked=1),
    Case("closed ring on a line", one(bbox=BOX, segmentation=[[50, 20, 90, 50, 50, 20]]), IT,
         remarked=1),
    Case("ring of one point three times", one(bbox=BOX, segmentation=[[60, 30] * 3]), IT,
         remarked=1),
    Case("polygon much smaller than bbox", one(bbox=BOX, segmentation=[[60, 30, 64, 30, 64, 33]]),
         IT, remarked=1),
    Case("polygon two pixels smaller", one(bbox=BOX, segmentation=[[52, 21, 88, 21, 88, 48]]), IT),
    Case("polygon beyond bbox", one(bbox=BOX, segmentation=[[50, 20, 95, 20, 90, 60]]),
         [[20, 50, 60, 95]]),
    Case("polygon elsewhere", one(bbox=BOX, segmentation=[[1, 1, 9, 1, 9, 9]]), [[1, 1, 50, 90]],
         remarked=1),
    Case("odd ring", one(bbox=BOX, segmentation=[[1, 2, 3, 4, 5]]), "pairs of finite numbers"),
    Case("ring with text", one(bbox=BOX, segmentation=[["1", "2", "3", "4", "5", "6"]]),
         "pairs of finite"),
    Case("empty ring", one(bbox=BOX, segmentation=[[]]), "pairs of finite numbers"),
    Case("segmentation is text", one(bbox=BOX, segmentation="polygon"), "polygons or run lengths"),
    Case("segmentation false", one(bbox=BOX, segmentation=False), "polygons or run lengths"),
    Case("segmentation empty", one(bbox=BOX, segmentation=[]), IT),
    Case("empty mask and bbox", rle([100, 200], [20000], bbox=BOX), IT),
    Case("empty mask alone", rle([100, 200], [20000]), "neither a bbox"),
    Case("mask of another size", rle([200, 100], [20000]), "its mask is 200x100"),
    Case("mask smaller than bbox", rle([100, 200], [5020, 5, 14975], bbox=BOX), IT, remarked=1),
    Case("negative run", rle([100, 200], [-1, 20001]), "run lengths must be"),
    Case("run that is text", rle([100, 200], ["1"]), "run lengths must be"),
    Case("run true", rle([100, 200], [True, 19999]), "run lengths must be"),
    Case("negative width", one(bbox=[50, 20, -4, 3]), "the last two at least 0"),
    Case("bbox of three", one(bbox=[1, 2, 3]), "4 finite numbers"),
    Case("bbox of text", one(bbox=["1", "2", "3", "4"]), "4 finite numbers"),
    Case("bbox with a comma", one(bbox="1,2,3,4"), "4 finite numbers"),
    Case("bbox with true", one(bbox=[True, 1, 2, 3]), "4 finite numbers"),
    Case("bbox in parts of the image", one(bbox=[0.25, 0.2, 0.2, 0.3]),
         "these look like parts of the image"),
    Case("polygon in parts of the image", one(segmentation=[[0.1, 0.1, 0.6, 0.1, 0.6, 0.9]]),
         "parts of the image"),
    Case("NaN", TEXT.replace("20", "NaN", 1), "NaN is not a number of JSON"),
    Case("Infinity in a bbox", TEXT.replace("50,", "Infinity,"), "Infinity is not a number"),
    Case("1e999", TEXT.replace("50,", "1e999,"), "4 finite numbers"),
    Case("five thousand digits", TEXT.replace("50,", "9" * 5000 + ","), "too many digits"),
    Case("bbox twice", '{"images": [],\n "annotations": [\n {"bbox": [1], "bbox": [2]}]}',
         "c.json:3 the key 'bbox' is given twice"),
    Case("annotations twice", '{"images": [], "annotations": [],\n "annotations": []}',
         "c.json:2 the key 'annotations' is given twice"),
    Case("lists too deep", '{"images": ' + "[" * 200_000, "too deep"),
    Case("one file under two ids", coco({"image_id": 1, "bbox": BOX}, {"image_id": 2, "bbox": BOX},
         images=[IMAGES[0], {**IMAGES[0], "id": 2, "file_name": "./a.jpg"}]), IT * 2),
    Case("one file, two sizes", coco({"image_id": 1, "bbox": BOX},
         images=[IMAGES[0], {**IMAGES[0], "id": 2, "height": 50}]), "an image has one size"),
    Case("one id twice", coco(images=[IMAGES[0]] * 2), "two images have the id 1"),
    Case("size swapped", coco({"image_id": 1, "bbox": [150, 20, 40, 30]},
         images=[{**IMAGES[0], "height": 200, "width": 100}]), [], left_out=1),
    Case("half outside", one(bbox=[190, 90, 40, 30]), [[90, 190, 100, 200]]),
    Case("outside", one(bbox=[200, 0, 4, 4]), [], left_out=1),
    Case("size of half a pixel", coco(images=[{**IMAGES[0], "height": 99.5}]),
         "height and width must be whole numbers"),
    Case("size as text", coco(images=[{**IMAGES[0], "height": "100"}]), "must be whole numbers"),
    Case("size 0", coco(images=[{**IMAGES[0], "height": 0}]), "must be whole numbers"),
    Case("only a height", coco(images=[{"id": 1, "height": 5}]), "must be whole numbers"),
    Case("no size", coco({"image_id": 1, "bbox": BOX}, images=[{"id": 1}]), "give it with --image"),
    Case("no size, but told", coco({"image_id": 1, "bbox": BOX}, images=[{"id": 1}]), IT,
         {"image": (100, 200)}),
    Case("the file's size counts, not the told one", one(bbox=BOX), IT, {"image": (30, 30)}),
    Case("annotations before images", {"annotations": [{"image_id": 1, "bbox": BOX}],
         "images": IMAGES}, IT),
    Case("two names of a category", coco(categories=[{"id": 1, "name": "a"},
         {"id": 1.0, "name": "b"}]), "category 1 is 'b' here and 'a' before"),
    Case("panoptic segments", coco({"image_id": 1, "segments_info": [
         {"id": 1, "category_id": 1, "bbox": BOX}, {"id": 2, "category_id": 1, "bbox": BOX}]}),
         IT * 2),
    Case("two formats in one", {**one(bbox=BOX), "shapes": []}, "a COCO file has no 'shapes'"),
    Case("origin told", one(bbox=BOX), "origin=0 is not for coco", {"origin": 0}),
    Case("a list of results", [{"image_id": 1, "bbox": BOX, "score": 0.5}],
         "no annotation file that is known"),
    Case("byte order mark", b"\xef\xbb\xbf" + TEXT.encode(), IT),
    Case("UTF-16", TEXT.encode("utf-16"), IT),
    Case("UTF-16 without a mark", TEXT.encode("utf-16-le"), "is not a text file"),
    Case("Latin-1", TEXT.replace("a.jpg", "\xe4.jpg").encode("latin-1"), "is not a text file"),
    Case("Windows line ends", TEXT.replace("\n", "\r\n"), IT),
    Case("text behind the end", TEXT + "\n{}", "is not JSON: there is more text after its end"),
    Case("a comma too many", TEXT.replace("30\n]", "30,\n]"), "is not JSON"),
    Case("cut off", TEXT[:-8], "is not JSON"),
    Case("empty", "", "is not JSON"),
    Case("a number", "7", "is not JSON: an object or a list is expected"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_coco(tmp_path: Path, case: Case) -> None:
    check(tmp_path, "c.json", case)


def test_faults_are_told_with_their_line(tmp_path: Path) -> None:
    content = coco({"id": 1, "image_id": 1, "bbox": BOX}, {"id": 2, "image_id": 1, "bbox": [1]})
    text = json.dumps(content, indent=1)
    line = text[: text.rindex("{", 0, text.index('"id": 2'))].count("\n") + 1
    case = Case("", text, f"c.json:{line} object 2: bbox must be 4 finite numbers, got [1]")
    check(tmp_path, "c.json", case)
