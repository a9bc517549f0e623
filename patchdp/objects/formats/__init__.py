"""One module for each family of annotation files: what its numbers mean, and what contradicts it.

A reader takes files and gathers objects in a `patchdp.objects.table.Gathered`. Three rules hold in
all of them:

* A size that the file states is the image's size.
* A number that the format does not allow, or that contradicts another one, is refused with file
  and line. Where a format leaves two readings open, the box holds both; where that may be a large
  difference, it is remarked on and an option tells.
* Nothing is left out without being counted.

`text` decodes files and numbers, `json_walk` and `xml_walk` go through large files without holding
them as objects and know the lines. `coco`, `street` (Cityscapes and Mapillary Vistas), `labelme`
and `bdd100k` are JSON, `voc` and `cvat` XML, `delimited` (CSV and Open Images) and `yolo` text.
"""
