"""Annotated objects: where each face or number plate is, and what a training shows of it.

A data set often says where its objects are. Then the question is no longer the worst place of a
patch: each object has its own inclusion probability, and its own epsilon in the training. Its
position counts as public; what its pixels show is what is protected, one object at a time.

>>> import pathlib, tempfile
>>> import patchdp as pdp
>>> file = pathlib.Path(tempfile.mkdtemp()) / "faces.csv"
>>> _ = file.write_text(
...     "image,left,top,right,bottom,width,height\\n"
...     "a.png,990,504,1000,514,2048,1024\\n"
...     "b.png,0,0,10,10,600,600\\n"
... )
>>> faces = read_annotations(file)
>>> seen = object_probabilities(faces, pdp.RandomCrop((505, 505)))
>>> seen.probabilities.round(4)
array([0.3291, 0.0109])
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048), crop=pdp.RandomCrop((505, 505)), patch=pdp.Patch((10, 10)),
...     sampling=pdp.Poisson(batch_size=200, dataset_size=2975), noise_multiplier=2.0, steps=1500,
... )
>>> epsilons_at(plan, seen.probabilities, delta=1e-5).round(2)
array([3.73, 0.09])

The files, in the order in which an object passes through them:

* `formats/` has a reader for each family of files; `read` finds which one it is.
* `shapes` holds outlines and masks as sets of pixels.
* `table` holds the objects as arrays: boxes of whole pixels, what was left out, what was doubtful.
* `probabilities` counts the crops that show each object.
* `groups` takes all objects of an image together.
* `epsilons` certifies an epsilon for each probability.

Data flows one way: geometry and plan know nothing of objects.
"""

from patchdp.objects.epsilons import epsilons_at
from patchdp.objects.groups import by_image
from patchdp.objects.probabilities import (
    SMALL_IMAGES,
    Seen,
    SmallImages,
    box_probabilities,
    object_probabilities,
)
from patchdp.objects.read import FORMATS, read_annotations
from patchdp.objects.table import Annotations

__all__ = [
    "FORMATS",
    "SMALL_IMAGES",
    "Annotations",
    "Seen",
    "SmallImages",
    "box_probabilities",
    "by_image",
    "epsilons_at",
    "object_probabilities",
    "read_annotations",
]
