"""`patchdp annotations`: every annotated object's inclusion probability and epsilon."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import click
import numpy as np
import numpy.typing as npt

from patchdp.cli import output
from patchdp.cli.annotations_summary import reasons, row, show, summary
from patchdp.cli.settings import (
    TRAINING,
    Settings,
    collect,
    crop_and_patch,
    one_plan,
    options,
    parse_fraction,
    parse_size,
    require,
)
from patchdp.geometry import RandomCrop
from patchdp.geometry.sizes import spelled
from patchdp.objects import (
    FORMATS,
    SMALL_IMAGES,
    Annotations,
    Seen,
    SmallImages,
    by_image,
    epsilons_at,
    object_probabilities,
    read_annotations,
)
from patchdp.objects.formats.options import COLUMNS, ORIGINS, UNITS
from patchdp.report.plots import plot_annotations
from patchdp.sweeps.table import write_table

__all__ = ["score_annotations"]

Floats = npt.NDArray[np.float64]


def _image(settings: Settings) -> tuple[int, int] | None:
    given = settings.get("image")
    if given is None:
        return None
    sizes = list(given) if isinstance(given, (list, tuple)) else [given]
    if sizes and all(isinstance(n, int) for n in sizes):
        sizes = [sizes]
    if len(sizes) != 1:
        raise ValueError("image must be one size: that of all images whose files do not state one")
    size = parse_size("image", sizes[0])
    if len(size) != 2:
        raise ValueError(f"image must be HEIGHTxWIDTH for annotations, got {spelled(size)}")
    return size[0], size[1]


def _crop(settings: Settings, objects: Annotations) -> RandomCrop:
    sizes = {"image": spelled(objects.sizes[0]), "patch": "1x1", "within": None}
    _, crop, _ = crop_and_patch({**settings, **sizes})
    return crop


def _plan_epsilons(
    settings: Settings, seen: Seen
) -> tuple[Floats | None, Fraction | None, float | None]:
    wanted = [name for name in (*TRAINING, "delta", "epsilon") if settings.get(name) is not None]
    if not wanted:
        return None, None, None
    if settings.get("phase"):
        raise ValueError("annotations are for a training of one phase")
    require(settings, "delta")
    delta = parse_fraction("delta", settings["delta"])
    goal = settings.get("epsilon")
    target = None if goal is None else float(parse_fraction("epsilon", goal))
    any_size = {"image": spelled(seen.objects.sizes[0]), "patch": "1x1", "within": None}
    plan = one_plan({**settings, **any_size})
    return epsilons_at(plan, seen.probabilities, delta, target=target), delta, target


@click.command(
    "annotations",
    epilog=output.example(
        "patchdp annotations instances.json --crop 224x224 --sampling poisson "
        "--batch-size 200 --dataset-size 2975 --steps 1500 --noise-multiplier 2 "
        "--delta 1e-5 --epsilon 1"
    ),
)
@click.argument("path", metavar="FILE")
@options("image", "crop", "padding", *TRAINING, "delta", "epsilon")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    metavar="NAME",
    help=f"Format of FILE, where it cannot be told: {', '.join(FORMATS)}.",
)
@click.option(
    "--shapes",
    type=click.Choice(["box", "mask"]),
    default="box",
    help="What is private of an object with an outline: its box (quick, never smaller), or the "
    "pixels that the outline touches.",
)
@click.option(
    "--small-images",
    type=click.Choice(SMALL_IMAGES),
    default="certain",
    help="Images smaller than the crop: their objects count as seen for sure (certain, p = 1), "
    "the training pads them (pad-if-needed), they are skipped and counted, or refused.",
)
@click.option(
    "--units",
    type=click.Choice(UNITS),
    help="Whether a YOLO or CSV file's numbers are pixels or parts of the image.",
)
@click.option(
    "--origin",
    type=click.Choice([str(n) for n in ORIGINS]),
    help="Whether VOC files count pixels from 0 or 1; else boxes hold both where a file does not "
    "tell.",
)
@click.option(
    "--columns",
    type=click.Choice(COLUMNS),
    help="Whether long YOLO lines are a box with more columns or a polygon; else their boxes hold "
    "both.",
)
@click.option(
    "--group-by",
    type=click.Choice(["image"]),
    help="Protect all objects of one image together: how likely a crop shows any of them.",
)
@click.option("--strict", is_flag=True, help="End with status 2 if any object was left out.")
@click.option("--only-failing", is_flag=True, help="List those only that exceed --epsilon.")
@click.option("--worst", default=10, help="How many of the worst objects to show.", metavar="N")
@click.option("--out", metavar="TABLE", help="Write every object to .csv, .json or .parquet.")
@click.option("--plot", metavar="PNG", help="Draw the distribution per category.")
def score_annotations(
    *,
    path: str,
    config: str | None,
    as_json: bool,
    kind: str | None,
    shapes: Literal["box", "mask"],
    small_images: SmallImages,
    units: str | None,
    origin: str | None,
    columns: str | None,
    group_by: str | None,
    strict: bool,
    only_failing: bool,
    worst: int,
    out: str | None,
    plot: str | None,
    **flags: Any,
) -> None:
    """Probability and epsilon of every annotated object.

    FILE is COCO, Cityscapes, Mapillary Vistas, LabelMe or BDD100K JSON, Pascal VOC or CVAT XML,
    YOLO text, CSV or Open Images' CSV; for formats of one file per image also a folder. With the
    settings of a training and --delta, each object gets a certified epsilon; with --epsilon the
    objects that meet it are counted. --image is the size of images whose files do not state it. A
    patch in the config is not used.
    """
    settings = collect(config, flags)
    require(settings, "crop")
    if worst < 0:
        raise ValueError(f"worst must be at least 0, got {worst}")
    if only_failing:
        require(settings, "epsilon")
    objects = read_annotations(
        path, format=kind, image=_image(settings), units=units, columns=columns,
        origin=None if origin is None else int(origin),
    )  # fmt: skip
    _some(objects)
    crop = _crop(settings, objects)
    seen = object_probabilities(objects, crop, shapes=shapes, small_images=small_images)
    _some(seen.objects)
    if group_by is not None:
        seen = by_image(seen, crop)
    epsilons, delta, target = _plan_epsilons(settings, seen)
    listed = np.ones(len(seen.objects), dtype=np.bool_)
    if only_failing and epsilons is not None and target is not None:
        listed = epsilons > target
    result = summary(seen, small_images, epsilons, delta, target)
    result["group_by"] = group_by
    # By probability, which epsilon follows; ties in the order of the file.
    order = np.argsort(-seen.probabilities, kind="stable")
    result["worst"] = [row(seen, k, epsilons) for k in order[listed[order]][:worst].tolist()]
    if out is not None:
        write_table((row(seen, k, epsilons) for k in np.flatnonzero(listed).tolist()), out)
    if plot is not None:
        _plot(plot, result, seen, epsilons, target)
    if as_json:
        output.dump(result)
    else:
        show(result)
    if strict and result["left_out"]:
        raise ValueError(f"--strict: objects were left out: {reasons(result)}")


def _some(objects: Annotations) -> None:
    """Refuse to say nothing about nothing."""
    if not len(objects):
        left = ", ".join(f"{count} {why}" for why, count in objects.left_out.items())
        raise ValueError(f"no object is left: {left}")


def _plot(
    path: str, result: dict[str, Any], seen: Seen, epsilons: Floats | None, target: float | None
) -> None:
    index = seen.objects.category_index
    named = {
        r["category"]: seen.objects.categories.index(r["category"]) for r in result["categories"]
    }
    members = {name: index == k for name, k in named.items()}
    plot_annotations(path, seen.probabilities, epsilons, members, target=target)
