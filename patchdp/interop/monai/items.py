"""The arrays of an item: which transforms act on each, and what all of them show together.

Arrays are followed by their *history*: the transforms that act on them, in order. Two arrays
cropped by the same transforms show the same window; arrays whose crops have no draw in common show
independent ones, and the item is exposed by either.
Source: `docs/theory/geometry.md`, "Several arrays of one item".
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from patchdp.geometry import AtMost, Crop, Views, WholeImage
from patchdp.geometry.sizes import Size
from patchdp.interop.monai.tables import CATALOGUE, CROPS, GEOMETRY, STILL
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["Item"]

# The key of the one array that transforms of arrays act on.
THE_ARRAY: Hashable = ""
History: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One occurrence of a transform in the chain; containers have parts."""

    number: int
    transform: Any
    name: str
    keys: frozenset[Hashable]
    parts: tuple[Node, ...] = ()

    @property
    def by_chance(self) -> bool:
        return self.name in ("OneOf", "SomeOf", "RandomOrder")

    def leaves(self) -> Iterator[Node]:
        """The transforms that are no containers, in order."""
        if self.parts or self.name in _CONTAINERS:
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self


class Item:
    """What a chain of transforms does to the arrays of an item.

    Args:
      transform: A transform or a sequence.
      keys: Keys of the arrays that reach the training; None for all that are named.
      views: Samples of each item that the training plan counts.
      vouched: Names of unknown transforms that map every pixel by itself.
    """

    def __init__(
        self,
        transform: Any,
        keys: Collection[Hashable] | None,
        views: int,
        vouched: Collection[str],
    ) -> None:
        self.vouched = vouched
        self.nodes = 0
        self.root = self._tree(transform)
        self.leaves = {node.number: node for node in self.root.leaves()}
        named = {key for node in self.leaves.values() for key in node.keys}
        if isinstance(keys, str):
            keys = (keys,)
        if named and any(_is_array_transform(node) for node in self.leaves.values()):
            raise UnsupportedTransform(
                "a chain must be made of transforms of arrays or of transforms of dictionaries, "
                "not of both"
            )
        if keys is not None and not named:
            raise UnsupportedTransform(f"no transform has keys, got keys={tuple(keys)!r}")
        self.histories = self._histories(named or {THE_ARRAY}, keys)
        self._check_samples(views)

    def _tree(self, transform: Any) -> Node:
        number, self.nodes = self.nodes, self.nodes + 1
        if type(transform) in (list, tuple):
            parts = tuple(self._tree(part) for part in transform)
            return Node(number, transform, "Compose", frozenset(), parts)
        if not CATALOGUE.knows(transform):
            return Node(number, transform, "", frozenset())
        name = _array_name(transform)
        if name in CATALOGUE.refused or not CATALOGUE.lists(name):
            # Whatever it acts on: it may draw samples, or write what it reads under other keys.
            CATALOGUE.read(Pipeline((1,)), transform, (), name=name)
        if name in _CONTAINERS:
            _check_container(transform, name)
            parts = tuple(self._tree(part) for part in transform.transforms)
            return Node(number, transform, name, frozenset(), parts)
        if getattr(transform, "lazy", False):
            raise UnsupportedTransform(
                f"{type(transform).__name__} with lazy=True is carried out together with "
                "what follows, by interpolation; use lazy=False"
            )
        keys = tuple(transform.keys) if _is_dictionary(transform) else ()
        if len(set(keys)) < len(keys):
            raise UnsupportedTransform(
                f"{type(transform).__name__} has the same key twice and acts on it twice, "
                f"got keys={keys!r}"
            )
        return Node(number, transform, name, frozenset(keys))

    def _histories(self, named: set[Hashable], keys: Collection[Hashable] | None) -> set[History]:
        """The histories of all arrays that reach the training."""
        shown: dict[Hashable, set[History]] = {key: {()} for key in named}
        certain = {leaf.number for leaf in _certain(self.root)}
        for number, leaf in self.leaves.items():
            if leaf.name in ("CopyItems", "ConcatItems", "DeleteItems", "SelectItems"):
                self._keep_books(leaf, shown, number in certain)
                continue
            # What is not a transform of the library acts on everything.
            for key in leaf.keys or list(shown):
                shown[key] = {(*history, number) for history in shown.get(key, {()})}
        reaching = set(shown) if keys is None else set(keys)
        if not reaching:
            raise UnsupportedTransform("all arrays are deleted: nothing reaches the training")
        return {history for key in reaching for history in shown.get(key, {()})}

    def _keep_books(self, leaf: Node, shown: dict[Hashable, set[History]], certain: bool) -> None:
        transform = leaf.transform
        CATALOGUE.read(Pipeline((1,)), transform, (), name=leaf.name)
        names = list(transform.keys)
        if leaf.name == "DeleteItems":
            if any(transform.use_re) or any(transform.sep in str(name) for name in names):
                raise UnsupportedTransform(
                    "DeleteItemsd with regular expressions or nested keys is not supported"
                )
            for name in names if certain else ():
                shown.pop(name, None)
            return
        if leaf.name == "SelectItems":
            for name in set(shown) - set(names) if certain else ():
                shown.pop(name)
            return
        if not certain:
            raise UnsupportedTransform(f"{leaf.name}d with some chance is not supported")
        if leaf.name == "ConcatItems":
            if transform.dim != 0:
                raise UnsupportedTransform(
                    f"ConcatItemsd along axis {transform.dim} is not supported: only channels "
                    "(dim=0) leave pixels where they are"
                )
            shown[transform.name] = {h for name in names for h in shown.get(name, {()})}
            return
        for turn in range(int(transform.times)):
            new = transform.names[turn * len(names) : (turn + 1) * len(names)]
            for name, copy in zip(names, new, strict=True):
                shown[copy] = set(shown.get(name, {()}))

    def _check_samples(self, views: int) -> None:
        drawn = [leaf for leaf in self.leaves.values() if leaf.name == "RandSpatialCropSamples"]
        number = 1
        for leaf in drawn:
            array = leaf.transform.cropper if leaf.keys else leaf.transform
            number *= int(array.num_samples)
        if number > 1 and views == 1:
            raise UnsupportedTransform(
                f"RandSpatialCropSamples draws {number} samples of each image, and how their "
                "gradients are clipped is up to the training: say "
                f"views={number} here and TrainingPlan(views={number}, "
                "views_clipped=...) there"
            )
        if number != views:
            raise UnsupportedTransform(
                f"views must be the num_samples of the samples that are drawn, {number}, "
                f"got {views}"
            )
        self.samples = number
        if number > 1 and (len(drawn) > 1 or drawn[0] not in list(_certain(self.root))):
            raise UnsupportedTransform(
                "RandSpatialCropSamples is supported once and outside of OneOf, SomeOf and "
                "RandomOrder"
            )

    def crop(self, image: Size) -> Crop:
        """What the arrays show together, of items of one size."""
        sizes: dict[int, Size | None] = {}
        crops: dict[History, Crop] = {}
        for history in sorted(self.histories):
            pipeline = Pipeline(image)
            self._inside(self.root, frozenset(history), sizes)(pipeline)
            crop = pipeline.result()
            until_crop = self._until_last_crop(history)
            known = crops.get(until_crop, crop)
            if _bare(known) != _bare(crop):
                raise UnsupportedTransform(self._entangled(history, history))
            crops[until_crop] = crop if known == crop else AtMost(_bare(crop))
        for crop in crops.values():
            if _bare(crop) == WholeImage():
                return crop
        # What is cropped further shows a part of what the shorter history shows.
        first = [h for h in crops if not any(h != o and h[: len(o)] == o for o in crops)]
        for one in first:
            for other in first:
                if one < other and self._draws(one) & self._draws(other):
                    raise UnsupportedTransform(self._entangled(one, other))
        if len(first) == 1:
            return crops[first[0]]
        if self.samples > 1:
            raise UnsupportedTransform(
                "RandSpatialCropSamples beside another crop of the same item is not supported: its "
                "samples are not independent"
            )
        return Views(tuple(crops[history] for history in first))

    def _inside(self, node: Node, acting: frozenset[int], sizes: dict[int, Size | None]) -> Inside:
        def read(pipeline: Pipeline) -> None:
            insides = [self._inside(part, acting, sizes) for part in node.parts]
            if node.name == "OneOf":
                weights = [Fraction(float(weight)) for weight in node.transform.weights]
                if insides:
                    whole = sum(weights)
                    shares = [weight / whole for weight in weights]
                    pipeline.choose(list(zip(shares, insides, strict=True)), "OneOf")
            elif node.by_chance:
                pipeline.in_any_order(insides, node.name)
            elif node.name in _CONTAINERS:
                for inside in insides:
                    inside(pipeline)
            elif node.number in acting:
                self._read(node, pipeline, sizes)

        return read

    def _read(self, node: Node, pipeline: Pipeline, sizes: dict[int, Size | None]) -> None:
        if not CATALOGUE.knows(node.transform):
            CATALOGUE.read(pipeline, node.transform, self.vouched)
            return
        if node.name in CROPS:
            try:
                size: Size | None = pipeline.sizes()[0]
            except UnsupportedTransform:
                size = None
            if sizes.setdefault(node.number, size) != size:
                raise UnsupportedTransform(
                    f"{node.name}d crops arrays of different sizes, {sizes[node.number]} and {size}"
                )
            if node.name == "RandSpatialCropSamples" and self.samples > 1 and pipeline.cropped:
                raise UnsupportedTransform(
                    "RandSpatialCropSamples of a cropped image is not supported: its samples are "
                    "not independent"
                )
        CATALOGUE.read(pipeline, node.transform, self.vouched, name=node.name)

    def _until_last_crop(self, history: History) -> History:
        """What moves pixels, until the last crop: the rest only works on what is shown.

        Between two crops whatever is not known to leave pixels where they are counts: what a
        blurred crop shows of its neighbours, an unblurred one does not.
        """
        found: list[int] = []
        last = 0
        for number in history:
            name = self.leaves[number].name
            if name in GEOMETRY or (last and name not in STILL):
                found.append(number)
            if name in CROPS:
                last = len(found)
        # Without a crop resizing may still leave pixels out.
        return tuple(found[:last] if last else found)

    def _draws(self, history: History) -> set[int]:
        """The crops of a history, and the choices by chance that these depend on."""
        own = {number for number in history if self.leaves[number].name in CROPS}
        return own | {
            node.number
            for node in _nodes(self.root)
            if node.by_chance and any(leaf.number in own for leaf in node.leaves())
        }

    def _entangled(self, one: History, other: History) -> str:
        def spelled(history: History) -> str:
            return " and ".join(type(self.leaves[k].transform).__name__ for k in history)

        return (
            f"arrays of one item are changed by {spelled(one)} and by {spelled(other)}, whose "
            "crops have draws in common but do not show the same pixels; apply these transforms to "
            "all keys"
        )


_CONTAINERS = ("Compose", "OneOf", "SomeOf", "RandomOrder")


def _check_container(transform: Any, name: str) -> None:
    CATALOGUE.read(Pipeline((1,)), transform, (), name=name)
    if getattr(transform, "lazy", False):
        raise UnsupportedTransform(
            f"{name} with lazy=True carries transforms out together, by interpolation; use "
            "lazy=False"
        )
    if transform.map_items is not True or transform.unpack_items is not False:
        raise UnsupportedTransform(
            f"{name} is supported with map_items=True and unpack_items=False only"
        )
    if transform.overrides:
        raise UnsupportedTransform(f"{name} with overrides is not supported")


def _certain(node: Node) -> Iterator[Node]:
    """The leaves that are carried out whatever is drawn."""
    if node.by_chance:
        return
    if not node.parts:
        yield node
    for part in node.parts:
        yield from _certain(part)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts:
        yield from _nodes(part)


def _bare(crop: Crop) -> Crop:
    return crop.crop if isinstance(crop, AtMost) else crop


def _is_dictionary(transform: Any) -> bool:
    return hasattr(transform, "keys") and type(transform).__name__.endswith("d")


def _is_array_transform(node: Node) -> bool:
    return bool(node.name) and not node.keys


def _array_name(transform: Any) -> str:
    """The name of a transform without the d of those that work on dictionaries."""
    name = type(transform).__name__
    return name[:-1] if _is_dictionary(transform) else name
