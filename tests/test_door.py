"""Nothing passes the door in a type of numpy: a walk over every public class and function.

Each class is made twice, from plain values and from numpy's, and must come out equal and plain.
A public name that is missing here fails the walk.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_distribution import from_randomized_response

import patchdp as pdp
from patchdp import step
from patchdp.audit import audit
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.geometry import hit_probability
from patchdp.geometry.by_size import BySize
from patchdp.geometry.random_share import RandomShareCrop
from patchdp.objects import box_probabilities, epsilons_at
from patchdp.step.omitted import OmittedProfile

CROP = pdp.RandomCrop((8, 8))
PLAN: dict[str, Any] = {
    "image": (32, 32), "crop": CROP, "patch": pdp.Patch((2, 2)),
    "sampling": pdp.Poisson(sampling_probability=0.125), "noise_multiplier": 1.5, "steps": 3,
    "images_per_person": 1, "views": 2, "views_clipped": "together",
}  # fmt: skip
PAIR: dict[str, Any] = {
    "gains": (0.125,), "shifts": (1.0,), "q_weights": (1.0,), "q_means": (-1.0,),
    "p_weights": (0.875, 0.125), "p_means": (-1.0, 1.0),
}  # fmt: skip

# Every argument of every public class, in values that numpy's short types can hold.
CLASSES: dict[Callable[..., Any], list[dict[str, Any]]] = {
    pdp.AtMost: [{"crop": CROP}],
    pdp.CenterCrop: [{"size": (8, 4)}],
    pdp.ChoiceCrop: [{"crops": (CROP, pdp.WholeImage()), "weights": (0.25, 0.75)}],
    pdp.Composition: [{"plans": (pdp.TrainingPlan(**PLAN),)}],
    pdp.Cutout: [{"crop": CROP, "size": (2, 4), "probability": 0.25}],
    pdp.Disk: [
        {"radius": 2, "at": (1, 2)},
        {"radius": 2.5, "within": ((0, 8), (2, 16)), "count": 3},
    ],
    pdp.FiveCrop: [{"size": (4, 8)}],
    pdp.FixedCrop: [{"size": (4, 8), "at": (-1, 2)}],
    pdp.FixedSize: [{"batch_size": 8, "dataset_size": 100}],
    BySize: [
        {"sizes": ((8, 8), (16, 8)), "crops": (pdp.FixedCrop((4, 4), at=(0, 0)),) * 2},
    ],
    pdp.GridCrop: [
        {"size": (4, 8), "stride": (2, 8), "jitter": (1, 0)},
        {"size": (4, 8), "stride": (2, 8), "jitter": "full"},
    ],
    pdp.Mask: [{"pixels": ((0, 1), (1, 1)), "at": (3, 4)}, {"pixels": ((1,),), "count": 2}],
    pdp.NestedCrop: [{"outer": CROP, "inner": pdp.CenterCrop((2, 2))}],
    pdp.OneOf: [{"choices": (pdp.Resize(8), pdp.Resize(16))}],
    pdp.Patch: [{"size": (2, 4), "within": ((0, 8), (2, 16)), "count": 2}],
    pdp.PatchUnion: [{"parts": (pdp.Patch((1, 1), at=(0, 0)),)}],
    pdp.PixelNoise: [{"std": 0.5, "channels": 3, "value_range": 0.125}],
    pdp.Poisson: [
        {"batch_size": 8, "dataset_size": 100},
        {"sampling_probability": 0.125, "dataset_size": 100},
    ],
    pdp.RandomAllocation: [{"batch_size": 8, "dataset_size": 100}],
    pdp.RandomApply: [{"crop": CROP, "probability": 0.5}],
    pdp.RandomCrop: [
        {"size": (4, 8), "padding": 2, "padding_mode": "reflect", "pad_if_needed": True},
        {"size": (4, 8), "padding": ((1, 2), (0, 4))},
    ],
    pdp.RandomErasing: [
        {"crop": CROP, "probability": 0.5, "scale": (0.125, 0.5), "ratio": (0.5, 2.0)}
    ],
    pdp.RandomResizedCrop: [{"scale": (0.125, 1.0), "ratio": (0.5, 2.0), "attempts": 5}],
    pdp.RandomScale: [{"low": 0.5, "high": 2.0, "rounding": "down"}, {"low": 1, "high": 2}],
    pdp.RandomSizeCrop: [
        {"smallest": (2, 4), "largest": (4, 8), "centered": True, "clipped": True}
    ],
    RandomShareCrop: [{"smallest": (0.25, 0.5), "largest": (0.5, 1.0)}],
    pdp.Resize: [{"size": 16}, {"size": (16, 8)}],
    pdp.ResizedCrop: [
        {"crop": CROP, "resizing": pdp.Resize(16), "interpolation": "area", "antialias": False}
    ],
    pdp.SceneCrop: [
        {"size": (4, 8), "scenes": ((16, 16), (8, 32)), "last_offset": False},
    ],
    pdp.Shuffle: [{"batch_size": 8, "dataset_size": 100}],
    pdp.StridedClip: [{"frames": 4, "stride": 2, "crop": CROP}],
    pdp.TenCrop: [{"size": (4, 8), "vertical_flip": True}],
    pdp.TokenDrop: [
        {"crop": CROP, "token": 4, "drop": 0.25},
        {"crop": CROP, "token": (4, 2), "drop": 0.5},
    ],
    pdp.TrainingPlan: [
        PLAN,
        {**PLAN, "image": ((32, 32), (64, 48)), "steps": None, "epochs": 4},
        {**PLAN, "images_per_person": 2, "views": 1, "views_clipped": None},
    ],
    pdp.Views: [{"crops": (CROP, CROP)}],
    pdp.WholeImage: [{}],
    pdp.Grid: [
        {"base": pdp.TrainingPlan(**PLAN), "values": {"delta": 0.125, "steps": [2, 4]}},
        {"base": pdp.TrainingPlan(**PLAN), "values": {"delta": [0.25], "crop": [(4, 4), (8, 8)]}},
    ],
    step.MixturePair: [PAIR],
    step.StepProfile: [{"parts": ((0.5, step.MixturePair(**PAIR)),) * 2, "attainable": False}],
    step.AllocationProfile: [{"inclusion": 0.25, "mu": 0.5, "rounds": 15}],
    OmittedProfile: [{"rate": 0.5, "inclusion": 0.25, "mu": 0.5}],
    OptimalStep: [{"scheme": "fixed", "rate": 0.5, "inclusion": 0.25, "mu": 0.5}],
}
# What the library makes and nobody gives it, and bases that cannot be made.
RESULTS = {"Bounds", "Design", "Diversity", "Inclusion", "Omitted", "Profile", "Sweep", "Crop"}

run = functools.partial(pdp.TrainingPlan, **PLAN)
QUESTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "inclusion": (pdp.inclusion, {"image": (32, 16), "crop": CROP, "patch": pdp.Patch((2, 2))}),
    "inclusion_map": (
        pdp.inclusion_map,
        {"image": (16, 16), "crop": CROP, "patch": pdp.Patch((8, 8))},
    ),
    "hit_probability": (
        hit_probability,
        {"image": (16, 16), "crop": CROP, "corners": ((0, 1),), "sizes": (2, 2)},
    ),
    "best_crop": (
        functools.partial(pdp.best_crop, patch=pdp.Patch((2, 2))),
        {"image": (32, 16), "size": (8, 8), "jitter": "full"},
    ),
    "design": (
        lambda **given: (
            pdp.design(
                pdp.TrainingPlan(**{**PLAN, "views": 1, "views_clipped": None}), **given
            ).candidates
        ),
        {"min_crop": (24, 24), "max_crop": (32, 32), "delta": 0.125, "epsilon": 1.5, "room": 0.25},
    ),
    "diversity": (
        lambda **given: dataclasses.astuple(pdp.diversity(**given)),
        {"image": (32, 16), "crop": CROP},
    ),
    "omitted": (
        lambda **given: dataclasses.astuple(
            pdp.omitted(pdp.TrainingPlan(**{**PLAN, "views": 1, "views_clipped": None}), **given)
        ),
        {"delta": 0.125},
    ),
    "banded": (
        lambda **given: pdp.banded(
            run().replace(sampling=pdp.Poisson(batch_size=8, dataset_size=100)), **given
        ),
        {"bands": 2, "strategy": (0.5, 0.5)},
    ),
    "one_run_audit": (
        pdp.one_run_audit,
        {"correct": 70, "guesses": 80, "canaries": 100, "delta": 0.0, "confidence": 0.75},
    ),
    "epsilons": (
        lambda **given: pdp.epsilons([run()], **given),
        {"delta": 0.125, "method": "exact"},
    ),
    "step_profile": (
        functools.partial(step.step_profile, pdp.Shuffle()),
        {"inclusion_probability": 0.25, "noise_multiplier": 1.5},
    ),
    "fixed_size_pair": (step.fixed_size_pair, {"rate": 0.25, "mu": 0.5}),
    "poisson_pair": (step.poisson_pair, {"rate": 0.25, "inclusion": 0.5, "mu": 0.5}),
    "images_per_person": (
        functools.partial(step.images_per_person, pdp.FixedSize(4, 16)),
        {"inclusion": 0.25, "mu": 0.5, "images": 2},
    ),
    "views_clipped_apart": (step.views_clipped_apart, {"inclusion": 0.25, "mu": 0.5, "views": 2}),
    "plan.epsilon": (lambda **given: run().epsilon(**given), {"delta": 0.125, "tolerance": 0.5}),
    "plan.epsilon_bounds": (lambda **given: run().epsilon_bounds(**given), {"delta": 0.125}),
    "plan.delta": (lambda **given: run().delta(**given), {"epsilon": 0.5}),
    "plan.tradeoff": (lambda **given: run().tradeoff(**given), {"alpha": 0.25}),
    "plan.attack_success": (lambda **given: run().attack_success(**given), {"prior": 0.25}),
    "plan.profile": (lambda **given: run().profile(**given), {"epsilon": (0.5, 2.0)}),
    "plan.rdp": (lambda **given: run().rdp(**given), {"orders": (1.5, 2.0)}),
    "amplify_one_step": (
        lambda **given: pdp.amplify_one_step(
            from_randomized_response(0.5, 2), **given
        ).get_epsilon_for_delta(0.01),
        {"inclusion_probability": 0.25, "steps": 2, "interval": 0.125},
    ),
    "box_probabilities": (
        functools.partial(box_probabilities, crop=CROP),
        {"images": ((16, 16),), "boxes": ((0, 1, 2, 3),), "image_index": (0,)},
    ),
    "epsilons_at": (
        lambda **given: epsilons_at(run(), **given),
        {"probabilities": (0.25, 0.5), "delta": 0.125, "target": 1.0, "resolution": 8},
    ),
    "audit": (
        lambda **given: audit(
            pdp.TrainingPlan(**{**PLAN, "views": 1, "views_clipped": None}), **given
        ),
        {"delta": 0.125, "runs": 200, "confidence": 0.75, "seed": 1},
    ),
    "plan.replace": (lambda **given: run().replace(**given), {"epochs": 3}),
    "plan.solve": (
        lambda **given: run().solve("steps", **given),
        {"epsilon": 4.0, "delta": 0.125},
    ),
}
# A sweep is given a grid.
OTHERS = {"sweep"}


SCALARS = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
SHORT = {**SCALARS, int: np.int16, float: np.float16}


def numpied(value: Any, short: bool) -> Any:
    """The same value in types of numpy: short ones, or ordinary ones and arrays."""
    kinds = SHORT if short else SCALARS
    if type(value) in kinds:
        return kinds[type(value)](value)
    if isinstance(value, dict):
        return {name: numpied(entry, short) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        flat = bool(value) and all(type(entry) in (int, float) for entry in value)
        entries = type(value)(numpied(entry, short) for entry in value)
        return np.array(value) if flat and not short else entries
    return value


def foreign(value: Any, path: str = "") -> Iterator[str]:
    """Where a value is, or holds, something of numpy."""
    if type(value).__module__.split(".")[0] == "numpy":
        yield f"{path} is {type(value).__name__}"
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from foreign(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from foreign(name, f"{path} key")
            yield from foreign(entry, f"{path}[{name!r}]")
    elif isinstance(value, tuple | list):
        for place, entry in enumerate(value):
            yield from foreign(entry, f"{path}[{place}]")


@pytest.mark.parametrize("short", [True, False], ids=["short", "arrays"])
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_what_is_stored_is_plain(kind: Callable[..., Any], short: bool) -> None:
    for given in CLASSES[kind]:
        plain = kind(**given)
        typed = kind(**{name: numpied(value, short) for name, value in given.items()})
        assert typed == plain, typed
        assert not list(foreign(typed, kind.__name__))
        assert repr(typed) == repr(plain)


@pytest.mark.parametrize("short", [True, False], ids=["short", "arrays"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_answers_do_not_depend_on_the_type(name: str, short: bool) -> None:
    question, given = QUESTIONS[name]
    plain = question(**given)
    typed = question(**{name: numpied(value, short) for name, value in given.items()})
    assert type(typed) is type(plain)
    if isinstance(plain, tuple):
        assert all(np.array_equal(a, b) for a, b in zip(typed, plain, strict=True))
    else:
        assert np.array_equal(typed, plain) if isinstance(plain, np.ndarray) else typed == plain
    assert list(foreign(typed)) == list(foreign(plain))


def test_a_plan_of_a_grid_is_plain() -> None:
    grid = pdp.Grid(run(), {"steps": np.arange(1, 3), "delta": [np.float32(0.125)]})
    assert not list(foreign(grid)) and not list(foreign(grid.plan(1)))
    assert pdp.sweep(grid, lower=np.False_).rows == pdp.sweep(grid, lower=False).rows


def modules() -> Iterator[Any]:
    """Every module of the library that imports without an optional one."""
    for found in pkgutil.walk_packages(pdp.__path__, "patchdp."):
        if not found.name.startswith(("patchdp.interop.", "patchdp.report", "patchdp.__main__")):
            yield importlib.import_module(found.name)


def test_every_public_name_is_walked() -> None:
    named = {kind.__name__ for kind in CLASSES} | RESULTS | OTHERS
    named |= {name.rsplit(".", maxsplit=1)[-1] for name in QUESTIONS}
    for room in (pdp, step, importlib.import_module("patchdp.geometry")):
        public = {
            name
            for name in room.__all__
            if callable(getattr(room, name))
            and not isinstance(getattr(room, name), types.UnionType)
        }
        assert public <= named, f"{room.__name__}: {sorted(public - named)}"


def test_every_field_is_given_a_value() -> None:
    for kind, all_given in CLASSES.items():
        fields = set(inspect.signature(kind).parameters) - {"pixel_noise"}
        given = {name for one in all_given for name in one}
        missing = fields - given - {"at", "within", "count"}
        assert not missing, f"{kind.__name__}: {sorted(missing)}"


def test_every_crop_and_resizing_is_walked() -> None:
    bases = (pdp.Crop, importlib.import_module("patchdp.geometry.rescale").Resizing)
    list(modules())
    walked = {kind for kind in CLASSES if isinstance(kind, type)}
    for base in bases:
        for kind in base.__subclasses__():
            if kind.__module__.startswith("patchdp.geometry"):
                assert kind in walked, kind


def test_the_walk_finds_what_it_looks_for() -> None:
    assert list(foreign((1, np.int64(1)))) == ["[1] is int64"]
    assert list(foreign(pdp.Inclusion(Fraction(1), None, (np.int8(3),), True))) == [
        ".worst_image[0] is int8"
    ]
