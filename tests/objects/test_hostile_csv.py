"""CSV files, Open Images' among them, that contradict themselves, or almost do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import Case, check

HEAD = "image,left,top,right,bottom"
M = {"image": (100, 200)}
IT = [[20, 50, 60, 90]]
SIZED = "filename,width,height,class,xmin,ymin,xmax,ymax"
OPEN = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded"
TOLD = {**M, "units": "parts"}

CASES = [
    Case("plain", f"{HEAD}\na,50,20,90,60", IT, M),
    Case("sizes", f"{SIZED}\na.jpg,200,100,face,150,60,190,90\nb.jpg,50,50,face,1,1,20,20",
         [[60, 150, 90, 190], [1, 1, 20, 20]]),
    Case("sizes count, not the told one", f"{SIZED}\na.jpg,200,100,face,150,60,190,90",
         [[60, 150, 90, 190]], {"image": (10, 10)}),
    Case("sizes of boxes", "image,left,top,right,bottom,width,height\na,50,20,90,60,40,40", IT, M),
    Case("sizes of boxes, last pixel in", "image,left,top,right,bottom,width,height\n"
         "a,50,20,90,60,41,41", IT, M),
    Case("sizes of boxes, nothing told", "image,left,top,right,bottom,width,height\n"
         "a,50,20,90,60,40,40", "give it with --image"),
    Case("whole images", "image,left,top,right,bottom,width,height\na,0,0,40,30,40,30",
         [[0, 0, 30, 40]]),
    Case("sizes of boxes beside sizes of images", "image,left,top,right,bottom,width,height,"
         "image_width,image_height\na,50,20,90,60,40,40,200,100", IT),
    Case("two sizes of an image", f"{SIZED}\na,200,100,f,1,1,2,2\na,200,101,f,1,1,2,2",
         "o.csv:3 image a has two sizes, 100x200 before and 101x200 here"),
    Case("one image, two spellings, two sizes", f"{SIZED}\na/b,200,100,f,1,1,2,2\n"
         "a\\b,200,101,f,1,1,2,2", "has two sizes"),
    Case("size 0", f"{SIZED}\na,0,100,f,1,1,2,2", "o.csv:2 height and width must be whole"),
    Case("size of a half", f"{SIZED}\na,200.5,100,f,1,1,2,2", "height and width must be whole"),
    Case("size left empty", f"{SIZED}\na,,100,f,1,1,2,2", "image_width must be a finite number"),
    Case("only a width", "image,left,top,right,bottom,image_width\na,50,20,90,60,200",
         "of height and width only one is given", M),
    Case("order of columns", "bottom,image,right,left,top\n60,a,90,50,20", IT, M),
    Case("capitals and spaces", " Image , LEFT,Top , right,bottom\n a ,50,20, 90 ,60", IT, M),
    Case("semicolons", f"{HEAD}\na,50,20,90,60".replace(",", ";"), IT, M),
    Case("tabs", f"{HEAD}\na,50,20,90,60".replace(",", "\t"), IT, M),
    Case("decimal commas", "image;left;top;right;bottom\na;50,5;20;90;60",
         "o.csv:2 left must be a finite number (with a point, not a comma)", M),
    Case("quoted", f'{HEAD}\n"a,\nb",50,20,90,60', IT, M),
    Case("a fault behind a quoted line end", f'{HEAD}\n"a\nb",50,20,90,60\nc,x,20,90,60',
         "o.csv:4 left must be a finite number, got 'x'", M),
    Case("blank lines", f"\n\n{HEAD}\n\na,50,20,90,60\n\n", IT, M),
    Case("a fault behind blank lines", f"{HEAD}\n\n\na,50,20,90,x", "o.csv:4 bottom must be", M),
    Case("an image without objects", f"{HEAD}\na,50,20,90,60\nb,,,,", IT, M),
    Case("a fault behind one", f"{HEAD}\nb,,,,\na,50,20,90,x", "o.csv:3 bottom must be", M),
    Case("a backward box behind one", f"{HEAD}\nb,,,,\na,50,60,90,20",
         "o.csv:3 object 2 of image a has the box", M),
    Case("half a box", f"{HEAD}\na,50,20,,", "o.csv:2 bottom must be a finite number, got ''", M),
    Case("a cell too few", f"{HEAD}\na,50,20,90,60\na,50", "o.csv:3 5 cells expected, got 2", M),
    Case("a cell too many", f"{HEAD}\na,50,20,90,60,7", "o.csv:2 5 cells expected, got 6", M),
    Case("nan", f"{HEAD}\na,nan,20,90,60", "left must be a finite number, got 'nan'", M),
    Case("inf", f"{HEAD}\na,50,20,inf,60", "right must be a finite number, got 'inf'", M),
    Case("1e999", f"{HEAD}\na,50,20,1e999,60", "right must be a finite number", M),
    Case("1_000", f"{HEAD}\na,50,20,1_000,60", "right must be a finite number", M),
    Case("backwards", f"{HEAD}\na,90,20,50,60", "o.csv:2 object 1 of image a has the box", M),
    Case("no column", "image,left,top,right\na,1,2,3", "no column 'bottom'", M),
    Case("no header", "a,50,20,90,60", "no column 'image'", M),
    Case("corner and size", "image,x,y,width,height\na,50,20,40,40", "no column 'top'", M),
    Case("two columns say left", "image,left,xmin,top,right,bottom\na,50,49,20,90,60",
         "two columns say left: left and xmin", M),
    Case("one column twice", "image,left,left,top,right,bottom\na,50,50,20,90,60",
         "two columns say left", M),
    Case("two names of an image", "filename,image_id,left,top,right,bottom\na,7,50,20,90,60", IT,
         M),
    Case("outside", f"{HEAD}\na,500,20,590,60", [], M, left_out=1),
    Case("parts of the image", f"{HEAD}\na,0.25,0.2,0.45,0.6", "o.csv:2 object 1 of image a", M),
    Case("parts of the image, told", f"{HEAD}\na,0.25,0.2,0.45,0.6", IT, TOLD),
    Case("told parts, are pixels", f"{HEAD}\na,50,20,90,60", "o.csv:2 parts of the image", TOLD),
    Case("a file under two paths is one image", f"{SIZED}\n./a.jpg,200,100,f,50,20,90,60\n"
         "a.jpg,200,100,f,50,20,90,60", IT * 2),
    Case("byte order mark, Windows", b"\xef\xbb\xbf" + f"{HEAD}\r\na,50,20,90,60\r\n".encode(), IT,
         M),
    Case("UTF-16", f"{HEAD}\na,50,20,90,60".encode("utf-16"), IT, M),
    Case("old Macintosh", f"{HEAD}\ra,50,20,90,60".encode(), IT, M),
    Case("a zero byte", f"{HEAD}\na\0,50,20,90,60".encode(), "is not a text file", M),
    Case("a cell of a megabyte", f"{HEAD}\n{'a' * 10**6},50,20,90,60", "field larger than", M),
    Case("empty", "", "no column 'image'", M),
    Case("a header alone", HEAD, "hold no objects", M),
    Case("told csv, is Open Images", f"{OPEN}\na,x,/m/1,1,0.25,0.45,0.2,0.6,0",
         "looks like openimages", {**M, "format": "csv"}),
    Case("Open Images", f"{OPEN}\na,xclick,/m/0cmf2,1,0.25,0.45,0.2,0.6,0", IT, M),
    Case("Open Images, no size", f"{OPEN}\na,xclick,/m/0cmf2,1,0.25,0.45,0.2,0.6,0",
         "give it with --image"),
    Case("Open Images with sizes", f"{OPEN},Width,Height\na,x,/m/1,1,0.25,0.45,0.2,0.6,0,200,100",
         IT),
    Case("Open Images in pixels", f"{OPEN}\na,x,/m/1,1,0.2,0.3,0,1,0\na,x,/m/1,1,50,90,20,60,0",
         "o.csv:3 parts of the image lie between 0 and 1", M),
    Case("Open Images in pixels, told", f"{OPEN}\na,x,/m/1,1,50,90,20,60,0", IT,
         {**M, "units": "pixels"}),
    Case("Open Images without a box", f"{OPEN}\na,verification,/m/1,1,-1,-1,-1,-1,0",
         "o.csv:2 parts of the image", M),
    Case("Open Images backwards", f"{OPEN}\na,x,/m/1,1,0.45,0.25,0.2,0.6,0",
         "o.csv:2 object 1 of image a has the box", M),
    Case("Open Images' masks", "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax\n"
         "m.png,a,/m/1,b,0.25,0.45,0.2,0.6", IT, M),
    Case("columns told", f"{HEAD}\na,50,20,90,60", "columns='box' is not for csv",
         {**M, "columns": "box"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_csv(tmp_path: Path, case: Case) -> None:
    check(tmp_path, "o.csv", case)
