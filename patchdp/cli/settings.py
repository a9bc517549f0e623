"""Flags and TOML files, and the plan that they describe."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from patchdp.geometry import Disk, Mask, Patch, RandomCrop
from patchdp.geometry.patch import PrivatePatch
from patchdp.plan import Composition, TrainingPlan
from patchdp.step import FixedSize, PixelNoise, Poisson, RandomAllocation, Sampling, Shuffle

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

__all__ = ["Settings", "collect", "options", "parse_fraction", "parse_size", "sampling_name"]

Settings = dict[str, Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

GEOMETRY = ("image", "crop", "padding", "patch", "within")
TRAINING = (
    "sampling",
    "batch_size",
    "dataset_size",
    "sampling_probability",
    "steps",
    "epochs",
    "noise_multiplier",
    "images_per_person",
    "views",
    "views_clipped",
    "pixel_noise",
    "pixel_channels",
    "pixel_range",
)
QUESTION = ("delta", "epsilon", "method", "tolerance", "neighbours")
KEYS = (*GEOMETRY, *TRAINING, *QUESTION)

_HELP: Mapping[str, str] = {
    "image": "Image size such as 1024x2048; repeat for a data set of several sizes.",
    "crop": "Crop size such as 505x505.",
    "padding": "Pixels of constant padding on every side before the crop.",
    "patch": "Private patch: a box such as 10x10, disk:RADIUS, or a boolean .npy mask.",
    "within": "Where the patch may lie, as START:STOP per axis, such as 512:1024,0:2048.",
    "sampling": "How batches are drawn: poisson, fixed, allocation or shuffle.",
    "batch_size": "Images per batch (expected, for poisson).",
    "dataset_size": "Number of images.",
    "sampling_probability": "Poisson sampling probability, instead of the two sizes.",
    "steps": "Number of DP-SGD steps.",
    "epochs": "Passes over the data, instead of steps.",
    "noise_multiplier": "Noise standard deviation over clipping norm.",
    "images_per_person": "In how many images one person's patch may lie (default 1).",
    "views": "Independent crops of each image in a step (default 1).",
    "views_clipped": "How several views are clipped: together, summed or averaged.",
    "pixel_noise": "Standard deviation of Gaussian noise on the pixels of each crop.",
    "pixel_channels": "Values per pixel, for --pixel-noise.",
    "pixel_range": "Largest change of a pixel value where the noise is added.",
    "delta": "Delta, such as 1e-5 or 1/2975.",
    "epsilon": "Target epsilon.",
    "method": "pld (default), exact, rdp or optimal.",
    "neighbours": "replaced (default), or omitted: a second, weaker relation beside it.",
    "tolerance": "Largest excess over the exact value, relative to it (1e-3; optimal: 1e-2).",
}


def options(*names: str) -> Callable[[Decorated], Decorated]:
    """The named options, `--config` and `--json`; values stay text until `collect` reads them."""

    def decorate(command: Decorated) -> Decorated:
        command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
        command = click.option(
            "--config",
            type=click.Path(dir_okay=False),
            help="TOML file with these settings; flags override it.",
        )(command)
        for name in reversed(names):
            flag = "--" + name.replace("_", "-")
            command = click.option(
                flag, name, multiple=name == "image", help=_HELP[name], metavar="VALUE"
            )(command)
        return command

    return decorate


def parse_size(name: str, value: Any) -> tuple[int, ...]:
    """`1024x2048`, or a list of whole numbers from TOML."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    if isinstance(value, int) and not isinstance(value, bool):
        parts = [value]
    try:
        sizes = tuple(int(p) if isinstance(p, str) else p for p in parts)
    except (ValueError, TypeError):
        sizes = ()
    if not sizes or any(isinstance(s, bool) or not isinstance(s, int) for s in sizes):
        raise ValueError(f"{name} must be a size such as 1024x2048, got {value!r}")
    return sizes


def parse_fraction(name: str, value: Any) -> Fraction:
    """A number, or a quotient such as `1/2975`, exactly as it is written."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        if isinstance(value, str) and "/" in value:
            return Fraction(value)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        # Spelled out, an exponent of a billion would fill the memory with zeros.
        return Fraction(value) if number else Fraction(0)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise ValueError(f"{name} must be a number such as 1e-5 or 1/2975, got {value!r}") from None


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None


def _whole(name: str, value: Any) -> int:
    number = _number(name, value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value) if isinstance(value, int) else int(Fraction(str(value)))


def _image(value: Any) -> Any:
    sizes = [value] if not isinstance(value, (list, tuple)) else list(value)
    if not sizes or all(isinstance(s, int) for s in sizes):
        return parse_size("image", sizes)
    parsed = [parse_size("image", s) for s in sizes]
    return parsed[0] if len(parsed) == 1 else parsed


def _padding(value: Any) -> Any:
    if isinstance(value, list):
        if not all(isinstance(v, int) or (isinstance(v, list) and len(v) == 2) for v in value):
            raise ValueError(
                "padding must be a number of pixels, or one [before, after] pair per axis, "
                f"got {value!r}"
            )
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    return _whole("padding", value)


def _within(value: Any) -> tuple[tuple[int, int], ...]:
    try:
        if isinstance(value, str):
            value = [[int(v) for v in part.split(":")] for part in value.split(",")]
        pairs = tuple((start, stop) for start, stop in value)
        if any(type(v) is not int for pair in pairs for v in pair):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError(
            f"within must be START:STOP per axis such as 512:1024,0:2048, got {value!r}"
        ) from None
    return pairs


def _patch(value: Any, within: Any) -> PrivatePatch:
    region = None if within is None else _within(within)
    if isinstance(value, str) and value.startswith("disk:"):
        return Disk(_whole("disk radius", value.removeprefix("disk:")), within=region)
    if isinstance(value, str) and value.endswith(".npy"):
        return Mask(np.load(value, allow_pickle=False).astype(bool), within=region)
    return Patch(parse_size("patch", value), within=region)


_SAMPLERS: Mapping[str, type[Sampling]] = {
    "poisson": Poisson,
    "fixed": FixedSize,
    "allocation": RandomAllocation,
    "shuffle": Shuffle,
}


def sampling_name(sampling: Sampling) -> str:
    """What `--sampling` calls it."""
    return next(name for name, kind in _SAMPLERS.items() if isinstance(sampling, kind))


def _sampling(settings: Settings) -> Sampling:
    kind = settings.get("sampling")
    batch = _optional(settings, "batch_size", _whole)
    dataset = _optional(settings, "dataset_size", _whole)
    rate = _optional(settings, "sampling_probability", parse_fraction)
    if kind == "poisson":
        return Poisson(batch_size=batch, dataset_size=dataset, sampling_probability=rate)
    if rate is not None:
        raise ValueError("sampling_probability goes with sampling poisson only")
    if kind in ("fixed", "allocation"):
        if batch is None or dataset is None:
            raise ValueError(f"sampling {kind} needs batch_size and dataset_size")
        if kind == "fixed":
            return FixedSize(batch_size=batch, dataset_size=dataset)
        return RandomAllocation(batch_size=batch, dataset_size=dataset)
    if kind == "shuffle":
        return Shuffle(batch_size=batch, dataset_size=dataset)
    if kind is None:
        raise ValueError(
            "sampling is missing: give poisson, fixed, allocation or shuffle; it has no default"
        )
    raise ValueError(f"sampling must be poisson, fixed, allocation or shuffle, got {kind!r}")


def _optional(settings: Settings, name: str, parse: Callable[[str, Any], Any]) -> Any:
    value = settings.get(name)
    return None if value is None else parse(name, value)


def _pixel_noise(settings: Settings) -> PixelNoise | None:
    if settings.get("pixel_noise") is None:
        for name in ("pixel_channels", "pixel_range"):
            if settings.get(name) is not None:
                raise ValueError(f"{name} goes with pixel_noise")
        return None
    require(settings, "pixel_channels", "pixel_range")
    return PixelNoise(
        std=_number("pixel_noise", settings["pixel_noise"]),
        channels=_whole("pixel_channels", settings["pixel_channels"]),
        value_range=_number("pixel_range", settings["pixel_range"]),
    )


def require(settings: Settings, *names: str) -> None:
    """Refuse settings that lack one of `names`."""
    for name in names:
        if settings.get(name) is None:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{name} is missing: give {flag} or put it into the config")


def image_axes(settings: Settings) -> int:
    """How many axes the images have."""
    image = _image(settings["image"])
    return len(image[0] if isinstance(image, list) else image)


def crop_and_patch(settings: Settings) -> tuple[Any, RandomCrop, PrivatePatch]:
    """Image, crop and patch of the settings."""
    require(settings, "image", "crop", "patch")
    padding = settings.get("padding")
    return (
        _image(settings["image"]),
        RandomCrop(
            parse_size("crop", settings["crop"]),
            padding=0 if padding is None else _padding(padding),
        ),
        _patch(settings["patch"], settings.get("within")),
    )


def one_plan(settings: Settings, **defaults: Any) -> TrainingPlan:
    """The plan of one phase; `defaults` fill what a search will replace."""
    settings = {**defaults, **{k: v for k, v in settings.items() if v is not None}}
    image, crop, patch = crop_and_patch(settings)
    sampling = _sampling(settings)
    require(settings, "noise_multiplier")
    if settings.get("steps") is None and settings.get("epochs") is None:
        raise ValueError("the length of the training is missing: give --steps or --epochs")
    return TrainingPlan(
        image=image,
        crop=crop,
        patch=patch,
        sampling=sampling,
        noise_multiplier=_number("noise_multiplier", settings["noise_multiplier"]),
        steps=_optional(settings, "steps", _whole),
        epochs=_optional(settings, "epochs", _whole),
        images_per_person=_whole("images_per_person", settings.get("images_per_person", 1)),
        views=_whole("views", settings.get("views", 1)),
        views_clipped=settings.get("views_clipped"),
        pixel_noise=_pixel_noise(settings),
    )


def any_plan(settings: Settings) -> TrainingPlan | Composition:
    """The plan of the settings: one phase, or the phases of the config."""
    phases = settings.get("phase")
    if not phases:
        return one_plan(settings)
    shared = {k: v for k, v in settings.items() if k != "phase"}
    plans = tuple(one_plan({**shared, **phase}) for phase in phases)
    return plans[0] if len(plans) == 1 else Composition(plans)


def _known(table: Mapping[str, Any], extra: tuple[str, ...], where: str) -> None:
    allowed = (*KEYS, *extra)
    for key in table:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1, cutoff=0.0)
            raise ValueError(
                f"unknown key {key!r} in {where}; the nearest known key is {near[0]!r}"
            )


def _read(path: str, tables: tuple[str, ...]) -> Settings:
    try:
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config {path} is not TOML: {error}") from None
    phases = table.get("phase", [])
    if not isinstance(phases, list) or not all(isinstance(p, dict) for p in phases):
        raise ValueError(f"config {path}: phases are written as [[phase]] tables")
    _known(table, ("phase", *tables), path)
    for phase in phases:
        _known(phase, (), f"a phase of {path}")
    return table


def collect(
    config: str | None, flags: Mapping[str, Any], *, tables: tuple[str, ...] = ()
) -> Settings:
    """The settings of the config file, overridden by the flags that were given.

    `tables` are the further tables that the file may have.
    """
    given = {k: v for k, v in flags.items() if v is not None and v != ()}
    settings: Settings = {} if config is None else _read(config, tables)
    for one, other in (("steps", "epochs"), ("sampling_probability", "batch_size")):
        if one in given:
            settings.pop(other, None)
        elif other in given:
            settings.pop(one, None)
    if settings.get("phase"):
        clash = sorted(set(given) & {k for phase in settings["phase"] for k in phase})
        if clash:
            raise ValueError(f"{clash[0]} is set by the phases of the config; change it there")
    return {**settings, **given}
