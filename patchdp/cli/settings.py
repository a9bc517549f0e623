"""Flags and TOML files, and the plan that they describe."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from patchdp.cli.parsing import PARSERS, parse_fraction, parse_image, parse_patch, parse_size
from patchdp.geometry import RandomCrop
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
Made = TypeVar("Made")

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
    "method": "auto (default), composed, exact, pld, rdp or optimal.",
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


class Faults:
    """Collects what is wrong with several settings, to say all of it at once."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def read(self, settings: Settings, name: str, default: Any = None) -> Any:
        """The value of a setting as what it says; the default where it is not given."""
        value = settings.get(name)
        if value is None:
            return default
        return self.attempt(PARSERS[name], name, value)

    def attempt(self, make: Callable[..., Made], *arguments: Any, **named: Any) -> Made | None:
        """What `make` returns; None where it refuses."""
        try:
            return make(*arguments, **named)
        except ValueError as error:
            self.said.append(str(error))
            return None

    def stop(self, where: str = "") -> None:
        """Refuse if anything is wrong."""
        if self.said:
            raise ValueError(where + "; ".join(dict.fromkeys(self.said)))


_SAMPLERS: Mapping[str, type[Sampling]] = {
    "poisson": Poisson,
    "fixed": FixedSize,
    "allocation": RandomAllocation,
    "shuffle": Shuffle,
}


def sampling_name(sampling: Sampling) -> str:
    """What `--sampling` calls it."""
    return next(name for name, kind in _SAMPLERS.items() if isinstance(sampling, kind))


def _sampling(settings: Settings, faults: Faults) -> Sampling | None:
    names = ("sampling", "batch_size", "dataset_size", "sampling_probability")
    before = len(faults.said)
    kind, batch, dataset, rate = (faults.read(settings, name) for name in names)
    if settings.get("sampling") is None:
        faults.said.append(
            "sampling is missing: give poisson, fixed, allocation or shuffle; it has no default"
        )
    if len(faults.said) > before:
        return None
    if kind == "poisson":
        return faults.attempt(
            Poisson, batch_size=batch, dataset_size=dataset, sampling_probability=rate
        )
    if rate is not None:
        faults.said.append("sampling_probability goes with sampling poisson only")
    elif kind == "shuffle":
        return faults.attempt(Shuffle, batch_size=batch, dataset_size=dataset)
    elif batch is None or dataset is None:
        faults.said.append(f"sampling {kind} needs batch_size and dataset_size")
    elif kind == "fixed":
        return faults.attempt(FixedSize, batch_size=batch, dataset_size=dataset)
    else:
        return faults.attempt(RandomAllocation, batch_size=batch, dataset_size=dataset)
    return None


def _pixel_noise(settings: Settings, faults: Faults) -> PixelNoise | None:
    names = ("pixel_noise", "pixel_channels", "pixel_range")
    std, channels, change = (faults.read(settings, name) for name in names)
    if settings.get("pixel_noise") is None:
        for name in names[1:]:
            if settings.get(name) is not None:
                faults.said.append(f"{name} goes with pixel_noise")
        return None
    faults.attempt(require, settings, *names[1:])
    if None in (std, channels, change):
        return None
    return PixelNoise(std=std, channels=channels, value_range=change)


def require(settings: Settings, *names: str) -> None:
    """Refuse settings that lack one of `names`."""
    for name in names:
        if settings.get(name) is None:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{name} is missing: give {flag} or put it into the config")


def image_axes(settings: Settings) -> int:
    """How many axes the images have."""
    image = parse_image("image", settings["image"])
    return len(image[0] if isinstance(image, list) else image)


def _crop_and_patch(settings: Settings, faults: Faults) -> tuple[Any, Any, Any]:
    for name in ("image", "crop", "patch"):
        faults.attempt(require, settings, name)
    image, size = faults.read(settings, "image"), faults.read(settings, "crop")
    padding, within = faults.read(settings, "padding", 0), faults.read(settings, "within")
    crop = patch = None
    if size is not None and padding is not None:
        crop = faults.attempt(RandomCrop, size, padding=padding)
    if settings.get("patch") is not None:
        patch = faults.attempt(parse_patch, "patch", settings["patch"], within)
    return image, crop, patch


def crop_and_patch(settings: Settings) -> tuple[Any, RandomCrop, PrivatePatch]:
    """Image, crop and patch of the settings."""
    faults = Faults()
    found = _crop_and_patch(settings, faults)
    faults.stop()
    return found


def one_plan(settings: Settings, **defaults: Any) -> TrainingPlan:
    """The plan of one phase; `defaults` fill what a search will replace."""
    settings = {**defaults, **{k: v for k, v in settings.items() if v is not None}}
    faults = Faults()
    image, crop, patch = _crop_and_patch(settings, faults)
    sampling = _sampling(settings, faults)
    faults.attempt(require, settings, "noise_multiplier")
    if settings.get("steps") is None and settings.get("epochs") is None:
        faults.said.append("the length of the training is missing: give --steps or --epochs")
    numbers = {
        name: faults.read(settings, name)
        for name in ("noise_multiplier", "steps", "epochs", "views_clipped")
    }
    counts = {name: faults.read(settings, name, 1) for name in ("images_per_person", "views")}
    noise = _pixel_noise(settings, faults)
    faults.stop()
    assert sampling is not None
    return TrainingPlan(
        image=image, crop=crop, patch=patch, sampling=sampling, pixel_noise=noise,
        **numbers, **counts,
    )  # fmt: skip


def any_plan(settings: Settings) -> TrainingPlan | Composition:
    """The plan of the settings: one phase, or the phases of the config."""
    phases = settings.get("phase")
    if not phases:
        return one_plan(settings)
    shared = {k: v for k, v in settings.items() if k != "phase"}
    plans = tuple(one_plan({**shared, **phase}) for phase in phases)
    return plans[0] if len(plans) == 1 else Composition(plans)


def _faults(table: Mapping[str, Any], extra: tuple[str, ...], given: Settings) -> list[str]:
    """What is wrong with the keys of a table and with their values, but for those given."""
    faults = Faults()
    for key in table:
        if key in PARSERS and key not in given:
            faults.read(dict(table), key)
        elif key not in (*KEYS, *extra):
            near = difflib.get_close_matches(key, (*KEYS, *extra), n=1, cutoff=0.0)
            faults.said.append(f"unknown key {key!r}; the nearest known key is {near[0]!r}")
    return faults.said


def _read(path: str, tables: tuple[str, ...], given: Settings) -> Settings:
    try:
        text = Path(path).read_bytes().decode()
        table = tomllib.loads(text, parse_float=_toml_float)
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"config {path} is not TOML: it is not a text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config {path} is not TOML: {error}") from None
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, brackets likewise
        raise ValueError(f"config {path} holds a value that is too long to be a setting") from None
    faults = Faults()
    faults.said += _faults(table, ("phase", *tables), given)
    phases = table.get("phase", [])
    if isinstance(phases, list) and all(isinstance(p, dict) for p in phases):
        for number, phase in enumerate(phases, 1):
            faults.said += [f"phase {number}: {said}" for said in _faults(phase, (), {})]
    else:
        faults.said.append("phases are written as [[phase]] tables")
    faults.stop(f"config {path}: ")
    return table


def _toml_float(text: str) -> float | str:
    # What rounds to 0 stays text, to be refused with its name.
    return float(text) or (
        text if any(digit in text.lower().split("e")[0] for digit in "123456789") else 0.0
    )


def collect(
    config: str | None, flags: Mapping[str, Any], *, tables: tuple[str, ...] = ()
) -> Settings:
    """The settings of the config file, overridden by the flags that were given.

    `tables` are the further tables that the file may have.
    """
    given = {k: v for k, v in flags.items() if v is not None and v != ()}
    settings: Settings = {} if config is None else _read(config, tables, given)
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
