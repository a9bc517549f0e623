"""Albumentations' containers: which transforms are carried out, how likely, and on what."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import Any

from patchdp.geometry.sizes import Size
from patchdp.interop.albumentations.tables import GEOMETRY, catalogue
from patchdp.interop.catalogue import Reader, Row
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["Walk"]

# What a crop acts on by one window; boxes and key points need a look of their own.
_TARGETS = {
    "image", "images", "mask", "masks", "volume", "volumes", "mask3d", "masks3d", "bboxes",
    "keypoints",
}  # fmt: skip


class Walk:
    """Reads transforms and containers of them.

    Args:
      transform: All of it.
      masks: Whether masks go along with the images.
      vouched: Names of unknown transforms that map every pixel by itself.
    """

    def __init__(self, transform: Any, *, masks: bool, vouched: Collection[str]) -> None:
        self.vouched = vouched
        self.always: dict[str, Row] = {
            "Compose": Row(
                self._compose,
                "transforms bbox_params keypoint_params additional_targets p is_check_shapes "
                "strict mask_interpolation seed save_applied_params",
            ),
            "Sequential": Row(self._list, "transforms p"),
            "OneOf": Row(self._one_of, "transforms p"),
        }
        self.catalogue = catalogue(
            masks,
            {name: _with_chance(row) for name, row in self.always.items()}
            | {
                "OneOrOther": Row(self._one_or_other, "first second transforms p"),
                "SomeOf": _with_chance(Row(self._some_of, "transforms n replace p")),
                "RandomOrder": _with_chance(Row(self._some_of, "transforms n replace p")),
            },
        )
        self.always |= self.catalogue.always
        self._check_targets(transform)

    def inside(self, transform: Any) -> Inside:
        """What a transform does, with the chance that it has."""

        def read(pipeline: Pipeline) -> None:
            if type(transform) in (list, tuple):
                for part in transform:
                    self.inside(part)(pipeline)
            else:
                self._check(transform)
                self.catalogue.library.read(pipeline, transform, self.vouched)

        return read

    def _check(self, transform: Any) -> None:
        """Refuse what sets more of a transform than its row reads."""
        if not self.catalogue.library.knows(transform):
            return
        name = type(transform).__name__
        unknown = getattr(transform, "invalid_args", None)
        if unknown:
            raise UnsupportedTransform(
                f"{name} has been given {', '.join(unknown)}, which it does not know and ignores"
            )
        if getattr(transform, "replay_mode", False) or getattr(transform, "deterministic", False):
            raise UnsupportedTransform(
                f"{name} is set to replay what it has drawn; every crop must be drawn afresh"
            )
        p = float(getattr(transform, "p", 1.0))
        if not 0 <= p <= 1:
            raise UnsupportedTransform(f"{name} must have a probability p in [0, 1], got {p!r}")

    def _check_targets(self, transform: Any) -> None:
        """Every additional target must be cropped by what crops the image."""
        parts = list(_parts(transform))
        named: dict[str, str] = {}
        for part in parts:
            named |= getattr(part, "_additional_targets", {})
        for name, kind in named.items():
            if kind not in _TARGETS:
                raise UnsupportedTransform(
                    f"additional_targets has {name!r} as {kind!r}, which is not transformed; use "
                    f"one of {', '.join(sorted(_TARGETS))}"
                )
            for part in parts:
                missed = name not in getattr(part, "_additional_targets", {name: kind})
                if missed and type(part).__name__ in GEOMETRY:
                    raise UnsupportedTransform(
                        f"{type(part).__name__} does not act on the additional target {name!r}, "
                        "which then shows other pixels than the image; name it in the outermost "
                        "Compose"
                    )

    def _list(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        for part in transform.transforms:
            self.inside(part)(pipeline)

    def _compose(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        if not transform.is_check_shapes:
            raise UnsupportedTransform(
                "Compose with is_check_shapes=False may crop masks of another size elsewhere"
            )
        if transform.save_applied_params:
            raise UnsupportedTransform(
                "Compose with save_applied_params=True hands on what transforms have computed"
            )
        cropped = pipeline.cropped
        self._list(pipeline, transform, vouched)
        if pipeline.cropped and not cropped:
            for part in (part for part in _parts(transform) if hasattr(part, "transforms")):
                for kind, processor in part.processors.items():
                    known = any(processor is checked for checked in part.check_each_transform or ())
                    _check_annotations(kind, processor.params, known, pipeline.images[0])

    def _forced(self, transform: Any) -> Inside:
        """A transform applied whatever its own `p`, as inside OneOf."""
        name = type(transform).__name__
        row = self.always.get(name) if self.catalogue.library.knows(transform) else None
        if row is None:
            return self.inside(transform)
        if not hasattr(transform, "transforms") and transform.p == 0:
            return lambda pipeline: None  # a single transform with p=0 is never applied

        def read(pipeline: Pipeline) -> None:
            self._check(transform)
            library = self.catalogue.library
            library.check(transform, name, row.parameters)
            row.reader(pipeline, transform, self.vouched)

        return read

    def _one_of(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        parts = transform.transforms
        if not parts:
            return
        for part in parts:
            self._check(part)
            if type(part).__name__ in ("SomeOf", "RandomOrder", "OneOrOther") and part.p != 1:
                raise UnsupportedTransform(
                    f"{type(part).__name__} with p below 1 inside OneOf is not supported"
                )
        whole = sum(Fraction(part.p) for part in parts)
        shares = [Fraction(part.p) / whole for part in parts]
        if any(abs(s - w) > 1e-9 for s, w in zip(shares, transform.transforms_ps, strict=True)):
            raise UnsupportedTransform(
                "OneOf keeps the weights of its parts when it was made, and their p has changed"
            )
        insides = [self._forced(part) for part in parts]
        pipeline.choose(list(zip(shares, insides, strict=True)), "OneOf")

    def _one_or_other(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        first, last = transform.transforms[0], transform.transforms[-1]
        share = Fraction(transform.p)
        pipeline.choose(
            [(share, self._forced(first)), (1 - share, self._forced(last))], "OneOrOther"
        )

    def _some_of(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        parts = [self.inside(part) for part in transform.transforms]
        # Drawn with replacement, a part may come twice: what it does is then done again.
        pipeline.in_any_order(parts, type(transform).__name__)


def _with_chance(row: Row) -> Row:
    """Every transform of the library has a probability `p`, drawn for each image."""
    reader: Reader = row.reader

    def read(pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        name = type(transform).__name__
        pipeline.maybe(float(transform.p), lambda branch: reader(branch, transform, vouched), name)

    return Row(read, row.parameters)


def _parts(transform: Any) -> Iterator[Any]:
    """A transform and all that is in it."""
    yield transform
    inner = transform if type(transform) in (list, tuple) else getattr(transform, "transforms", ())
    for part in inner:
        yield from _parts(part)


def _check_annotations(kind: str, params: Any, each: bool, image: Size) -> None:
    """Refuse boxes and key points that stay although the crop does not show their pixels.

    Clipped at its edge they would tell the loss where unseen objects are. The library filters by
    the clipped box alone, in single precision: a box that the crop does not touch keeps an area of
    rounding errors at most.
    """
    if not each or not getattr(params, "check_each_transform", False):
        raise UnsupportedTransform(
            f"{kind} are filtered at the end only, where a crop's boxes may be inside again; use "
            "check_each_transform=True"
        )
    if kind == "keypoints":
        if not params.remove_invisible:
            raise UnsupportedTransform(
                "keypoints outside the crop stay with remove_invisible=False and tell where they "
                "were; use remove_invisible=True"
            )
        return
    side = max(image)
    gone = (
        params.min_visibility >= 1e-3
        or params.min_area > 2.0**-20 * side**2
        or min(params.min_width, params.min_height) > 2.0**-20 * side
    )
    if not gone:
        raise UnsupportedTransform(
            "boxes of objects that the crop does not show stay, clamped at its edge, and tell "
            "where they were: use min_visibility=0.001 or more in bbox_params, or min_area"
        )
