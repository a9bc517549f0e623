"""Many plans at once: every combination of some parameters' values over one plan.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
...     sampling=pdp.Poisson(batch_size=100, dataset_size=10000), noise_multiplier=1.0, steps=100,
... )
>>> grid = Grid(plan, {"noise_multiplier": [1.0, 2.0], "crop": [(8, 8), (16, 16)], "delta": 1e-5})
>>> len(grid)
4
>>> grid.point(1)
{'noise_multiplier': 1.0, 'crop': (16, 16), 'delta': 1e-05}
>>> grid.plan(1).crop
RandomCrop((16, 16))
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from patchdp import _checks
from patchdp.geometry import Patch, RandomCrop
from patchdp.plan import TrainingPlan
from patchdp.step import FixedSize, Poisson, RandomAllocation, Sampling, Shuffle

__all__ = ["REPLACES", "SAMPLERS", "AnyGrid", "Cell", "Grid", "cell", "parameters"]

Cell: TypeAlias = str | int | float | None

# What a sampling scheme is called in a grid, a table and the shell.
SAMPLERS: Mapping[str, type[Sampling]] = {
    "poisson": Poisson,
    "fixed": FixedSize,
    "allocation": RandomAllocation,
    "shuffle": Shuffle,
}
_SAMPLING_FIELDS = ("batch_size", "dataset_size", "sampling_probability")
_LONGEST_CELL = 120
# A parameter that replaces others of the base plan.
REPLACES = {
    "steps": ("epochs",),
    "epochs": ("steps",),
    "sampling_probability": ("batch_size",),
    "batch_size": ("sampling_probability",),
}


@dataclass(frozen=True)
class AnyGrid(ABC):
    """The product of named values over some base; the last name varies fastest."""

    base: Any
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            raise ValueError(
                f"values must map names to lists of values, got {_checks.shown(self.values)}"
            )
        object.__setattr__(self, "values", {k: _values(v) for k, v in self.values.items()})
        allowed = self.names()
        for name, values in self.values.items():
            if name not in allowed:
                near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.0)[0]
                raise ValueError(f"unknown parameter {name!r} in the grid; the nearest is {near!r}")
            if not values:
                raise ValueError(f"the grid has no values for {name}; give at least one")
        for name, others in REPLACES.items():
            for other in others:
                if name in self.values and other in self.values:
                    raise ValueError(f"the grid varies {name} and {other}; give one of the two")

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The parameters that may be varied."""

    @abstractmethod
    def plan(self, index: int) -> TrainingPlan:
        """The plan at one point, by its number; a ValueError where the values do not fit."""

    @abstractmethod
    def given(self, index: int) -> dict[str, Cell]:
        """Every parameter at one point as it was given, also where it makes no plan."""

    @abstractmethod
    def delta(self, index: int) -> float | Fraction:
        """The delta at one point."""

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.values.values())

    def point(self, index: int) -> dict[str, Any]:
        """The values at one point."""
        chosen: list[tuple[str, Any]] = []
        for name, values in reversed(list(self.values.items())):
            index, place = divmod(index, len(values))
            chosen.append((name, values[place]))
        return dict(reversed(chosen))

    def fingerprint(self) -> str:
        """A digest of everything that the plans depend on."""
        return hashlib.sha256(repr((self.base, dict(self.values))).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Grid(AnyGrid):
    """The product of named values over a base plan; the last name varies fastest.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
    ...     sampling=pdp.Shuffle(), noise_multiplier=1.0, epochs=10,
    ... )
    >>> len(Grid(plan, {"padding": range(0, 5), "delta": [1e-5, 1e-6]}))
    10

    Args:
      base: The plan that every point starts from.
      values: For each name a list, range or array of values, or one value. Names are the fields
        of `TrainingPlan`, `"padding"` (of the crop), `"batch_size"`, `"dataset_size"`,
        `"sampling_probability"` (of the sampling) and `"delta"`, which must be there. A crop or
        a patch may be given by its size, a sampling scheme by its name (`"poisson"`, `"fixed"`,
        `"allocation"`, `"shuffle"`), which keeps the sizes of the base.

    Raises:
      ValueError: An unknown name, a name without values, no delta, or steps beside epochs.
    """

    base: TrainingPlan
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.base, TrainingPlan):
            raise ValueError(f"base must be a TrainingPlan, got {_checks.shown(self.base)}")
        if "delta" not in self.values:
            raise ValueError("delta is missing from the grid; it has no default")

    def names(self) -> tuple[str, ...]:
        """The fields of a plan, and those of its crop and sampling that have a name here."""
        fields = tuple(field.name for field in dataclasses.fields(TrainingPlan))
        return (*fields, "padding", *_SAMPLING_FIELDS, "delta")

    def delta(self, index: int) -> float | Fraction:
        """The delta at one point."""
        return _checks.chance("delta", self.point(index)["delta"], open_ends=True)

    def plan(self, index: int) -> TrainingPlan:
        """The plan at one point.

        Raises:
          ValueError: The values do not fit each other there.
        """
        point = self.point(index)
        fields: dict[str, Any] = {
            field.name: getattr(self.base, field.name) for field in dataclasses.fields(self.base)
        }
        fields.update({name: point[name] for name in fields if name in point})
        if "steps" in point or "epochs" in point:
            fields["epochs" if "steps" in point else "steps"] = None
        if isinstance(fields["crop"], tuple):
            fields["crop"] = self._crop(fields["crop"])
        if "padding" in point:
            fields["crop"] = _padded(fields["crop"], point["padding"])
        if isinstance(fields["patch"], tuple):
            fields["patch"] = self._patch(fields["patch"])
        fields["sampling"] = self._sampling(fields["sampling"], point)
        return TrainingPlan(**fields)

    def given(self, index: int) -> dict[str, Cell]:
        """Every parameter at one point, also where the values do not fit each other."""
        point = self.point(index)
        dropped = [other for name in point for other in REPLACES.get(name, ())]
        row = {**parameters(self.base), **dict.fromkeys(dropped)}
        return {**row, **{name: cell(value) for name, value in point.items()}}

    def _crop(self, size: tuple[int, ...]) -> Any:
        # A size keeps the padding of the base.
        crop = self.base.crop
        return (
            dataclasses.replace(crop, size=size)
            if isinstance(crop, RandomCrop)
            else RandomCrop(size)
        )

    def _patch(self, size: tuple[int, ...]) -> Any:
        patch = self.base.patch
        return dataclasses.replace(patch, size=size) if isinstance(patch, Patch) else Patch(size)

    def _sampling(self, sampling: Any, point: Mapping[str, Any]) -> Any:
        changes = {name: point[name] for name in _SAMPLING_FIELDS if name in point}
        if isinstance(sampling, Sampling) and not changes:
            return sampling
        source = sampling if isinstance(sampling, Sampling) else self.base.sampling
        kind = type(source) if isinstance(sampling, Sampling) else _sampler(sampling)
        settings = {name: getattr(source, name, None) for name in _SAMPLING_FIELDS}
        for name in changes:
            settings.update(dict.fromkeys(REPLACES.get(name, ())))
        settings.update(changes)
        accepted = {field.name for field in dataclasses.fields(kind)}
        for name, value in settings.items():
            if value is not None and name not in accepted:
                raise ValueError(f"{name} goes with sampling poisson only")
        missing = [name for name in ("batch_size", "dataset_size") if settings[name] is None]
        if kind in (FixedSize, RandomAllocation) and missing:
            name = next(name for name, each in SAMPLERS.items() if each is kind)
            raise ValueError(f"sampling {name} needs {missing[0]}")
        arguments: dict[str, Any] = {n: v for n, v in settings.items() if n in accepted}
        return kind(**arguments)


def _values(value: Any) -> list[Any]:
    """A list, range or array has several values, anything else is one."""
    several = isinstance(value, list | range) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return [_plain(entry) for entry in (value if several else [value])]


def _plain(value: Any) -> Any:
    """A value of a grid without types of numpy; rows of arrays are sizes."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, np.ndarray | tuple):
        return tuple(_plain(entry) for entry in value)
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _sampler(name: Any) -> type[Sampling]:
    return SAMPLERS[_checks.choice("sampling", name, tuple(SAMPLERS))]


def _padded(crop: Any, padding: Any) -> Any:
    if not isinstance(crop, RandomCrop):
        raise ValueError(f"padding goes with RandomCrop, got {crop!r}")
    return dataclasses.replace(crop, padding=padding)


def parameters(plan: TrainingPlan) -> dict[str, Cell]:
    """Every parameter of a plan, as text and numbers.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16), padding=4), patch=pdp.Patch((4, 4)),
    ...     sampling=pdp.Shuffle(), noise_multiplier=1.0, epochs=10,
    ... )
    >>> [parameters(plan)[name] for name in ("image", "crop", "padding", "sampling", "epochs")]
    ['32x32', '16x16', 4, 'shuffle', 10]
    """
    row: dict[str, Cell] = {}
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        if field.name == "sampling":
            row["sampling"] = next(n for n, kind in SAMPLERS.items() if isinstance(value, kind))
            for name in ("batch_size", "dataset_size", "sampling_probability"):
                row[name] = cell(getattr(value, name, None))
        elif isinstance(value, RandomCrop) and value == RandomCrop(
            value.size, padding=value.padding
        ):
            row["crop"] = cell(value.size)
            row["padding"] = cell(value.padding)
        else:
            row[field.name] = cell(value)
    return row


def cell(value: Any) -> Cell:
    """A value as a table holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Patch) and value == Patch(value.size):
        value = value.size
    if isinstance(value, tuple | list) and value:
        if all(isinstance(n, int) for n in value):
            return "x".join(map(str, value))
        if all(isinstance(n, tuple | list) for n in value):
            return " ".join(str(cell(n)) for n in value)
    text = repr(value)
    if len(text) > _LONGEST_CELL:  # a mask: what tells it from others is enough
        text = f"{text[:40]}... {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return text
