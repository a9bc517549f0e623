"""Reads the pipelines of OpenMMLab's configurations: scopes, containers, and what is carried.

A type is looked up in its scope, `mmdet.RandomCrop`, or in that of the configuration, and then in
mmcv, as the libraries' registries do. A parameter or a scope that is not known is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

from patchdp.geometry import Crop, Views
from patchdp.interop.catalogue import unknown
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform, for_each_size
from patchdp.interop.transforms import openmmlab_crops as crops
from patchdp.interop.transforms import openmmlab_resizes as resizes
from patchdp.interop.transforms import openmmlab_rows as rows
from patchdp.interop.transforms.openmmlab_config import (
    BOXES,
    FIELDS,
    MASKS,
    SEGMENTATION,
    Chain,
    Params,
    as_chance,
)
from patchdp.interop.transforms.openmmlab_rows import REFUSED, Row

__all__ = ["plan"]

# What a configuration without a loader is taken to carry beside the image.
_CARRIED = {"mmseg": {FIELDS}, "mmdet": {BOXES, MASKS, SEGMENTATION}}
_MMCV = {**rows.MMCV, **resizes.MMCV, **crops.MMCV}
_TABLES: dict[str, Mapping[str, Row]] = {
    "mmcv": _MMCV,
    "mmengine": _MMCV,
    "mmseg": {**_MMCV, **rows.MMSEG, **resizes.MMSEG, **crops.MMSEG},
    "mmdet": {**_MMCV, **rows.MMDET, **resizes.MMDET, **crops.MMDET},
}


def plan(
    config: Any,
    image: Any,
    scope: str,
    vouched: Collection[str],
    version: int | None = None,
) -> Crop:
    """The crop that a pipeline amounts to, for images of every given size."""
    if version not in (None, 2, 3):
        raise ValueError(f"version must be 2 or 3, the major version of mmdetection, got {version}")

    def read(size: Any) -> Crop:
        pipeline = Pipeline(size)
        if pipeline.axes != 2:
            raise UnsupportedTransform(
                f"image must be (height, width) for OpenMMLab, got {pipeline.axes} axes"
            )
        chain = Chain(pipeline, set(_CARRIED[scope]), scope, version)
        _Walker(chain, vouched).read(pipeline, config)
        return pipeline.result()

    return for_each_size(image, read)


class _Walker:
    def __init__(self, chain: Chain, vouched: Collection[str]) -> None:
        self.chain = chain
        self.vouched = vouched

    def read(self, pipeline: Pipeline, transform: Any) -> None:
        """Add what a transform, or a list of them, does."""
        if isinstance(transform, Mapping):
            self._read_one(pipeline, transform)
        elif isinstance(transform, Sequence) and not isinstance(transform, str):
            for part in transform:
                self.read(pipeline, part)
        else:
            raise ValueError(f"a transform must be a dict with a type, got {transform!r}")

    def inside(self, transform: Any) -> Inside:
        return lambda pipeline: self.read(pipeline, transform)

    def _read_one(self, pipeline: Pipeline, transform: Mapping[str, Any]) -> None:
        scope, kind = _scope_and_type(transform, self.chain.scope)
        values = {key: transform[key] for key in transform if key not in ("type", "_scope_")}
        params = Params(f"{scope}.{kind}", values)
        outer, self.chain.pipeline = self.chain.pipeline, pipeline
        try:
            if kind in REFUSED:
                raise UnsupportedTransform(f"{params.name} is refused: {REFUSED[kind]}")
            if kind in _CONTAINERS:
                _CONTAINERS[kind](self, params)
                return
            row = _TABLES[scope].get(kind)
            if row is None:
                self._unknown(params, kind)
                return
            params.check(row.keys.split())
            if row.moves is not None:
                self.chain.move(params.name, row.moves)
            row.read(self.chain, params)
        finally:
            self.chain.pipeline = outer

    def _unknown(self, params: Params, kind: str) -> None:
        owners = sorted(name for name, table in _TABLES.items() if kind in table)
        if owners:
            raise UnsupportedTransform(
                f"{params.name} does not exist; {kind} is of {owners[0]}: {owners[0]}.{kind}"
            )
        unknown(self.chain.pipeline, params, self.vouched, name=kind)

    def compose(self, params: Params) -> None:
        """`Compose`."""
        params.check({"transforms"})
        self.read(self.chain.pipeline, params.need("transforms"))

    def random_apply(self, params: Params) -> None:
        """`RandomApply`: all of its transforms, or none."""
        params.check({"transforms", "prob"})
        parts = self.inside(params.need("transforms"))
        self.chain.pipeline.maybe(params.chance("prob", 0.5), parts, params.name)  # type: ignore[arg-type]

    def random_choice(self, params: Params) -> None:
        """`RandomChoice`: one of its pipelines."""
        params.check({"transforms", "prob"})
        self._choose(params, params.need("transforms"))

    def auto_augment(self, params: Params) -> None:
        """mmdetection's `AutoAugment`: one of its policies."""
        params.check({"policies", "prob"})
        self._choose(params, params.need("policies"))

    def rand_augment(self, params: Params) -> None:
        """mmdetection's `RandAugment`: some of its sequences, one after the other."""
        params.check({"aug_space", "aug_num", "prob"})
        for parts in params.need("aug_space"):
            self.chain.pipeline.in_any_order([self.inside(parts)], params.name)

    def _choose(self, params: Params, parts: Any) -> None:
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise ValueError(f"{params.name} must be given a list of pipelines, got {parts!r}")
        given = params.get("prob")
        if given is None:
            chances = [Fraction(1, len(parts))] * len(parts)
        else:
            chances = [as_chance(f"{params.name}: prob", p) for p in given]
            if len(chances) != len(parts) or abs(float(sum(chances)) - 1) > 1e-9:
                raise ValueError(
                    f"{params.name}: prob must be {len(parts)} probabilities that sum to 1, "
                    f"got {given!r}"
                )
        branches = [(p, self.inside(part)) for p, part in zip(chances, parts, strict=True)]
        self.chain.pipeline.choose(branches, params.name)

    def random_order(self, params: Params) -> None:
        """mmdetection's `RandomOrder`."""
        params.check({"transforms"})
        parts = [self.inside(part) for part in params.need("transforms")]
        self.chain.pipeline.in_any_order(parts, params.name)

    def multi_branch(self, params: Params) -> None:
        """mmdetection's `MultiBranch`: copies of the sample, each through a pipeline of its own."""
        fields = params.need("branch_field")
        branches = {key: part for key, part in params.values.items() if key != "branch_field"}
        odd = sorted(set(branches) - set(fields))
        if odd:
            raise UnsupportedTransform(
                f"{params.name} has no branch {odd[0]!r}; branch_field is {fields!r}"
            )
        pipeline = self.chain.pipeline
        if len(branches) == 1:
            self.read(pipeline, *branches.values())
        elif pipeline.cropped:
            pipeline.choose(
                [(Fraction(1, len(branches)), self.inside(part)) for part in branches.values()],
                params.name,
            )
        else:
            found = []
            for part in branches.values():
                copy = Pipeline(pipeline.sizes())
                carried = set(self.chain.carried)
                self.read(copy, part)
                self.chain.carried = carried
                found.append(copy.result())
            pipeline.crop_by(Views(tuple(found)), params.name, resized=True)


_CONTAINERS = {
    "AutoAugment": _Walker.auto_augment,
    "Compose": _Walker.compose,
    "MultiBranch": _Walker.multi_branch,
    "RandAugment": _Walker.rand_augment,
    "RandomApply": _Walker.random_apply,
    "RandomChoice": _Walker.random_choice,
    "RandomOrder": _Walker.random_order,
}


def _scope_and_type(transform: Mapping[str, Any], scope: str) -> tuple[str, str]:
    """The library of a transform and its type there."""
    kind = transform.get("type")
    if isinstance(kind, type):
        said, kind = kind.__module__.split(".")[0], kind.__name__
    elif isinstance(kind, str):
        said, _, kind = kind.rpartition(".")
    else:
        raise ValueError(f"a transform must be a dict with a type, got {dict(transform)!r}")
    said = transform.get("_scope_", said) or scope
    if said not in _TABLES:
        raise UnsupportedTransform(
            f"{said}.{kind} is of a scope that is not known; {', '.join(_TABLES)} are"
        )
    return said, kind
