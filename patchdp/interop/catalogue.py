"""What patchdp knows about the transforms of one library, by the name of their class.

>>> from patchdp.interop.pipeline import Pipeline
>>> library = Catalogue("nolib", pointwise={"Invert"}, refused={"MixUp": "it mixes images"})
>>> library.read(Pipeline((8, 8)), object(), ())
Traceback (most recent call last):
    ...
patchdp.interop.pipeline.UnsupportedTransform: object is not known to patchdp; if it maps every \
pixel by itself, vouch for it: vouched=('object',)
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["Catalogue", "Reader", "Row", "unknown"]

Reader = Callable[[Pipeline, Any, Collection[str]], None]


@dataclass(frozen=True)
class Row:
    """One transform: how it is read, and what its constructor takes.

    Args:
      reader: Adds what the transform does to a pipeline.
      parameters: Names of the constructor's parameters, in one string, that the reader takes
        account of, or that cannot change what is seen. A parameter that is not among them (of a
        newer version, say) is an error with its name.
    """

    reader: Reader
    parameters: str


@dataclass(frozen=True)
class Catalogue:
    """The transforms of one library.

    Each of the tables may map a name to the constructor's parameters that were considered, in one
    string: what the installed library has beyond them is an error with its name.

    Args:
      library: Name of its package; transforms from elsewhere are unknown.
      pointwise: Map every pixel by itself, or touch labels only.
      neighbourhood: Spread a pixel over its neighbours.
      statistics: Let pixels depend on the whole image.
      refused: Refused wherever they stand, and why.
      readers: Everything else that is known.
      home: Modules whose classes these names mean; a class of the same name from elsewhere in the
        package is not known. Where none is given, any module of the package is taken.
      neutral: Base classes for transforms of one's own that say nothing about what they do: someone
        may vouch for what derives from these and from pointwise ones only. Where none is given,
        for what derives from no class in the other tables.
      wrappers: Classes that carry out what a user gives them: someone may vouch for them.
    """

    library: str
    pointwise: Collection[str] = ()
    neighbourhood: Collection[str] = ()
    statistics: Collection[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, Reader | Row] = field(default_factory=dict)
    home: tuple[str, ...] = ()
    neutral: Collection[str] = ()
    wrappers: Collection[str] = ("Lambda",)

    def knows(self, transform: Any) -> bool:
        """Whether a transform is of this library (a subclass of one is not)."""
        kind = type(transform)
        if kind.__module__.split(".")[0] != self.library:
            return False
        return not self.home or any(
            getattr(sys.modules.get(module), kind.__name__, None) is kind for module in self.home
        )

    def lists(self, name: str) -> bool:
        """Whether one of the tables says what becomes of a transform of that name."""
        tables = (self.pointwise, self.neighbourhood, self.statistics, self.refused, self.readers)
        return any(name in table for table in tables)

    def read(
        self,
        pipeline: Pipeline,
        transform: Any,
        vouched: Collection[str],
        *,
        name: str | None = None,
    ) -> None:
        """Add what `transform` does to `pipeline`.

        Args:
          pipeline: What the transforms before it have done.
          transform: One transform.
          vouched: Names of unknown transforms that map every pixel by itself.
          name: The name it is known by; that of its class where not given.

        Raises:
          UnsupportedTransform: It is refused, or unknown and nobody vouches for it; or it has
            parameters or changes of its own that are not read.
        """
        known = name is not None or self.knows(transform)
        given, name = name, name or type(transform).__name__
        if known and name in self.refused:
            raise UnsupportedTransform(f"{name} is refused: {self.refused[name]}")
        for table, add in (
            (self.pointwise, pipeline.pointwise),
            (self.neighbourhood, pipeline.neighbourhood),
            (self.statistics, pipeline.statistics),
        ):
            if known and name in table:
                self.check(transform, name, table[name] if isinstance(table, Mapping) else None)
                add(name)
                return
        row = self.readers.get(name) if known else None
        if row is None:
            self._unknown(pipeline, transform, vouched, given)
            return
        self.check(transform, name, row.parameters if isinstance(row, Row) else None)
        (row.reader if isinstance(row, Row) else row)(pipeline, transform, vouched)

    def check(self, transform: Any, name: str, parameters: str | None) -> None:
        """Refuse a transform of which more can be set than its row takes account of."""
        kind = type(transform)
        if parameters is None or kind.__module__.split(".")[0] != self.library:
            return
        known = {"self", *parameters.split()}
        unread = [key for key in inspect.signature(kind.__init__).parameters if key not in known]
        if unread:
            raise UnsupportedTransform(
                f"{name} of the installed {self.library} takes {', '.join(unread)}, which patchdp "
                "does not know; use a version of which all parameters are read"
            )
        own = [key for key in vars(transform) if callable(getattr(kind, key, None))]
        own += [key for key in ("_forward_hooks", "_forward_pre_hooks") if vars(transform).get(key)]
        if own:
            raise UnsupportedTransform(
                f"{name} has had {', '.join(own)} replaced on this one object, which is not read"
            )

    def _unknown(
        self, pipeline: Pipeline, transform: Any, vouched: Collection[str], name: str | None
    ) -> None:
        """An unknown transform: one that may move pixels by what it derives from is refused."""
        kind = type(transform)
        name = name or kind.__name__
        owner = type(getattr(transform, "__self__", None))
        if owner.__module__.split(".")[0] == self.library:
            raise UnsupportedTransform(
                f"{transform.__name__} is a method of {owner.__name__}; give the {owner.__name__} "
                "itself"
            )
        if kind.__module__.split(".")[0] == self.library and name not in self.wrappers:
            raise UnsupportedTransform(
                f"{name} is not known to patchdp, and what it does to the pixels is not read"
            )
        for base in kind.__mro__[1:]:
            if name not in self.wrappers and self._may_move(base):
                raise UnsupportedTransform(
                    f"{name} is not known to patchdp: it derives from {base.__name__} and may do "
                    f"something else; use {base.__name__} itself"
                )
        unknown(pipeline, transform, vouched, name=name if kind.__name__ != name else None)

    def _may_move(self, base: type) -> bool:
        """Whether what derives from a class may be expected to move, resize or mix pixels."""
        name = base.__name__
        if base.__module__.split(".")[0] != self.library:
            return False
        if self.neutral:
            return name not in self.neutral and name not in self.pointwise
        return self.lists(name) and name not in self.pointwise


def unknown(
    pipeline: Pipeline, transform: Any, vouched: Collection[str], *, name: str | None = None
) -> None:
    """A transform that patchdp does not know: free where someone vouches for it, else refused."""
    name = str(name or getattr(transform, "__name__", type(transform).__name__))
    if isinstance(transform, type):
        raise UnsupportedTransform(f"{name} is a class; give the transform, {name}(...)")
    if name not in vouched:
        raise UnsupportedTransform(
            f"{name} is not known to patchdp; if it maps every pixel by itself, vouch for it: "
            f"vouched=({name!r},)"
        )
    pipeline.pointwise(name)
