"""Walks pipelines of torchvision and timm: containers, samples, copies of one image.

Each of the two libraries' transforms may stand in the other's containers, and both in those of
PyTorch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from typing import Any

from patchdp import _checks
from patchdp.geometry import Crop, Views
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform, for_each_size
from patchdp.interop.transforms import timm_rows, torchvision_rows
from patchdp.interop.transforms.torch_samples import Carried, carried

__all__ = ["plan"]

_CATALOGUES = {"torchvision": torchvision_rows.CATALOGUE, "timm": timm_rows.CATALOGUE}

# They mean that the sample has boxes or key points.
_OF_BOXES = {
    "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SanitizeBoundingBoxes",
    "SetClampingMode",
}  # fmt: skip
# They may give width or height to a box that has none; what scales along the axes does not.
_WARPS = {"ElasticTransform", "RandomAffine", "RandomPerspective", "RandomRotation"}


def plan(
    transform: Any, image: Any, sample: Any, vouched: Collection[str], *, batched: bool = False
) -> Crop:
    """The crop that a pipeline amounts to, for images of every given size."""
    if batched:
        raise UnsupportedTransform(
            "a transform of a batch draws one offset for all its images, and privacy by crops "
            "needs one for each; transform every image in the data set"
        )
    if isinstance(transform, Mapping):
        if not transform:
            raise ValueError("transform must name at least one pipeline, got none")
        parts = [plan(part, image, sample, vouched) for part in transform.values()]
        return Views(tuple(parts)) if len(parts) > 1 else parts[0]

    def read(size: Any) -> Crop:
        pipeline = Pipeline(size)
        if pipeline.axes != 2:
            raise UnsupportedTransform(
                f"image must be (height, width) for torchvision, got {pipeline.axes} axes"
            )
        walker = _Walker(vouched, None if sample is None else carried(sample))
        walker.read(pipeline, transform)
        walker.finish(pipeline)
        return pipeline.result()

    return for_each_size(image, read)


class _Walker:
    def __init__(self, vouched: Collection[str], sample: Carried | None) -> None:
        self.vouched = vouched
        self.sample = sample
        self.depth = 0  # how many draws decide whether what is read happens
        self.bare = False  # masks and boxes may be tensors like any other
        self.unseen = False  # boxes of objects that the crop does not see are in the sample
        self.speaks_of_boxes = ""

    def read(self, pipeline: Pipeline, transform: Any) -> None:
        """Add what a transform, or a sequence of them, does."""
        if isinstance(transform, list | tuple) or _is_list_of_modules(transform):
            for part in transform:
                self.read(pipeline, part)
            return
        _refuse_functions(transform)
        library = type(transform).__module__.split(".")[0]
        catalogue = _CATALOGUES.get(library, torchvision_rows.CATALOGUE)
        name = type(transform).__name__
        known = catalogue.knows(transform)
        if known and library == "torchvision" and name in _CONTAINERS:
            catalogue.check(transform, name, "transforms p")
            _CONTAINERS[name](self, pipeline, transform)
            return
        before = pipeline._crop
        if known and name == "RandomErasing" and self.sample and self.sample.labels:
            pipeline.hide(name)  # the labels of what is erased stay
        catalogue.read(pipeline, transform, self.vouched)
        if known and library == "torchvision":
            self._follow(pipeline, transform, name, cropped=pipeline._crop is not before)

    def _follow(self, pipeline: Pipeline, transform: Any, name: str, *, cropped: bool) -> None:
        """What the sample still holds of objects that the crop does not see."""
        if name in _OF_BOXES:
            self.speaks_of_boxes = self.speaks_of_boxes or name
        if name == "ToPureTensor" and not pipeline.cropped:
            self.bare = self.sample is None or self.sample.labels
        if cropped and name != "RandomErasing" and self.bare:
            raise UnsupportedTransform(
                f"{name} behind ToPureTensor crops one tensor of a sample and passes by its masks "
                "and boxes; let ToPureTensor come last"
            )
        if self.sample is None or self.sample.boxes is None:
            return
        if getattr(transform, "clamping_mode", "auto") is None:
            raise UnsupportedTransform(
                f"{name} with clamping_mode=None keeps boxes beyond the edge of a crop"
            )
        if name in _WARPS and self.unseen:
            raise UnsupportedTransform(
                f"{name} before SanitizeBoundingBoxes may give width to boxes that the crop has "
                "left none; sanitize right behind the crop"
            )
        if name == "SanitizeBoundingBoxes":
            self.sample.check_sanitized(transform)
            if self.depth == 0:
                self.unseen = False
        elif cropped and name != "RandomErasing":
            self.unseen = True

    def finish(self, pipeline: Pipeline) -> None:
        """Refuse what a crop has left of objects that it does not see."""
        if not pipeline.cropped:
            return
        if self.sample is None and self.speaks_of_boxes:
            raise UnsupportedTransform(
                f"{self.speaks_of_boxes} means that samples hold boxes or key points; give "
                "sample=, an item of the data set as the transform is given it"
            )
        if self.unseen:
            raise UnsupportedTransform(
                "sample holds boxes, and a crop leaves those of unseen objects at its edge, which "
                "tells where they were; put SanitizeBoundingBoxes behind the crop"
            )

    def _inside(self, transform: Any) -> Inside:
        def read(pipeline: Pipeline) -> None:
            self.depth += 1
            try:
                self.read(pipeline, transform)
            finally:
                self.depth -= 1

        return read

    def _compose(self, pipeline: Pipeline, transform: Any) -> None:
        self.read(pipeline, list(transform.transforms))

    def _random_apply(self, pipeline: Pipeline, transform: Any) -> None:
        chance = _checks.nonnegative("p", float(transform.p))
        if chance > 1:
            raise ValueError(f"p of RandomApply must be from 0 to 1, got {chance!r}")
        pipeline.maybe(chance, self._inside(list(transform.transforms)), "RandomApply")

    def _random_choice(self, pipeline: Pipeline, transform: Any) -> None:
        parts = list(transform.transforms)
        # v1 calls its weights p, or has none; v2 keeps them normalised.
        given = getattr(transform, "p", None)
        weights = [1.0] * len(parts) if given is None else list(given)
        fractions = [Fraction(_checks.nonnegative("p", float(weight))) for weight in weights]
        whole = sum(fractions, Fraction(0))
        if len(fractions) != len(parts) or whole == 0:
            raise ValueError(f"p of RandomChoice must be {len(parts)} weights, got {given!r}")
        branches = zip(fractions, map(self._inside, parts), strict=True)
        pipeline.choose([(weight / whole, part) for weight, part in branches], "RandomChoice")

    def _random_order(self, pipeline: Pipeline, transform: Any) -> None:
        pipeline.in_any_order([self._inside(part) for part in transform.transforms], "RandomOrder")


_CONTAINERS: dict[str, Callable[[_Walker, Pipeline, Any], None]] = {
    "Compose": _Walker._compose,
    "RandomApply": _Walker._random_apply,
    "RandomChoice": _Walker._random_choice,
    "RandomOrder": _Walker._random_order,
}


def _is_list_of_modules(transform: Any) -> bool:
    kind = type(transform)
    return kind.__module__ == "torch.nn.modules.container" and kind.__name__ in (
        "ModuleList",
        "Sequential",
    )


def _refuse_functions(transform: Any) -> None:
    """A function of one of the libraries may move pixels: nobody can vouch for it."""
    while isinstance(transform, functools.partial):
        transform = transform.func
    module = getattr(transform, "__module__", None) if inspect.isroutine(transform) else None
    if module is not None and str(module).split(".")[0] in (*_CATALOGUES, "torch", "PIL"):
        raise UnsupportedTransform(
            f"{transform.__name__} is a function of {module}, of which what it does to the pixels "
            "is not read; use a transform of torchvision"
        )
