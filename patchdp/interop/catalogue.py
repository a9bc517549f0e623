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

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from patchdp.interop.pipeline import Pipeline, UnsupportedTransform

__all__ = ["Catalogue", "Reader", "unknown"]

Reader = Callable[[Pipeline, Any, Collection[str]], None]


@dataclass(frozen=True)
class Catalogue:
    """The transforms of one library.

    Args:
      library: Name of its package; transforms from elsewhere are unknown.
      pointwise: Map every pixel by itself, or touch labels only.
      neighbourhood: Spread a pixel over its neighbours.
      statistics: Let pixels depend on the whole image.
      refused: Refused wherever they stand, and why.
      readers: Everything else that is known.
    """

    library: str
    pointwise: Collection[str] = ()
    neighbourhood: Collection[str] = ()
    statistics: Collection[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, Reader] = field(default_factory=dict)

    def knows(self, transform: Any) -> bool:
        """Whether a transform is of this library (a subclass of one is not)."""
        return type(transform).__module__.split(".")[0] == self.library

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
          UnsupportedTransform: It is refused, or unknown and nobody vouches for it.
        """
        known = name is not None or self.knows(transform)
        given, name = name, name or type(transform).__name__
        if known and name in self.refused:
            raise UnsupportedTransform(f"{name} is refused: {self.refused[name]}")
        if known and name in self.pointwise:
            pipeline.pointwise(name)
        elif known and name in self.neighbourhood:
            pipeline.neighbourhood(name)
        elif known and name in self.statistics:
            pipeline.statistics(name)
        elif known and name in self.readers:
            self.readers[name](pipeline, transform, vouched)
        else:
            unknown(pipeline, transform, vouched, name=given)


def unknown(
    pipeline: Pipeline, transform: Any, vouched: Collection[str], *, name: str | None = None
) -> None:
    """A transform that patchdp does not know: free where someone vouches for it, else refused."""
    name = str(name or getattr(transform, "__name__", type(transform).__name__))
    if name not in vouched:
        raise UnsupportedTransform(
            f"{name} is not known to patchdp; if it maps every pixel by itself, vouch for it: "
            f"vouched=({name!r},)"
        )
    pipeline.pointwise(name)
