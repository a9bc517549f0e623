"""What a reader is told beside the files.

>>> Told(image=(8, 8), origin=1).only("voc", "origin")
>>> Told(units="pixels").only("voc", "origin")
Traceback (most recent call last):
    ...
ValueError: units='pixels' is not for voc annotations
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchdp._checks import whole

__all__ = ["COLUMNS", "ORIGINS", "UNITS", "Told"]

UNITS = ("pixels", "parts")
ORIGINS = (0, 1)
COLUMNS = ("box", "polygon")

_ALLOWED: dict[str, tuple[Any, ...]] = {"units": UNITS, "origin": ORIGINS, "columns": COLUMNS}


@dataclass(frozen=True)
class Told:
    """Options of `read_annotations`.

    Attributes:
        image: (height, width) of images whose size the files do not state.
        units: whether numbers are `"pixels"` or `"parts"` of the image.
        origin: whether the first pixel is 0 or 1.
        columns: whether the first four numbers of a longer YOLO line are a `"box"`, or the line is
            a `"polygon"`.
    """

    image: tuple[int, int] | None = None
    units: str | None = None
    origin: int | None = None
    columns: str | None = None

    def __post_init__(self) -> None:
        if self.image is not None:
            image = tuple(self.image)
            if len(image) != 2:
                raise ValueError(f"image must be (height, width), got {self.image!r}")
            height, width = (whole("image", n, least=1) for n in image)
            object.__setattr__(self, "image", (height, width))
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value not in allowed):
                choices = " or ".join(map(str, allowed))
                raise ValueError(f"{name} must be {choices}, got {value!r}")

    def only(self, kind: str, *names: str) -> None:
        """Refuse options that a format has no use for."""
        for name in _ALLOWED:
            if name not in names and getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)!r} is not for {kind} annotations")
