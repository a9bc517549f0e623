"""`patchdp annotations`: every annotated object's inclusion probability and epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from patchdp._checks import round_up
from patchdp.annotated import box_probabilities, epsilons_at
from patchdp.cli import output
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
from patchdp.geometry import Mask, RandomCrop
from patchdp.geometry import inclusion as inclusion_of
from patchdp.geometry.sizes import spelled
from patchdp.interop.annotations import FORMATS, Annotations, read_annotations
from patchdp.report.plots import plot_annotations
from patchdp.sweeps.table import write_table

__all__ = ["score_annotations"]

Floats = npt.NDArray[np.float64]

# Categories that are printed; the table and the JSON have all of them.
_PRINTED = 20
_PUBLIC = (
    "Positions count as public: the guarantee hides what the pixels of an object show, not that "
    "it is there, nor where. It holds for one object at a time."
)


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
    for name, size in zip(objects.images, objects.sizes, strict=True):
        try:
            crop.windows(size)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from None
    return crop


def _probabilities(
    objects: Annotations, crop: RandomCrop, shapes: str
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Probabilities, and which of them are those of the very pixels and not only of the box."""
    found = box_probabilities(objects.sizes, crop, objects.boxes, objects.image_index)
    outlined = np.array([shape is not None for shape in objects.shapes], dtype=np.bool_)
    exact = ~outlined
    if shapes == "box":
        return found, exact
    for k in np.flatnonzero(outlined).tolist():
        shape = objects.shapes[k]
        box = objects.boxes[k].tolist()
        assert shape is not None
        pixels = shape.pixels(tuple(box))
        if not pixels.any():
            continue  # an empty mask: its box stands for it
        size = objects.sizes[objects.image_index[k]]
        seen = inclusion_of(size, crop, Mask(pixels, at=box[:2]))
        value = seen.probability
        found[k] = min(found[k], round_up(value) if isinstance(value, Fraction) else value)
        exact[k] = seen.attained
    return found, exact


def _plan_epsilons(
    settings: Settings, objects: Annotations, seen: Floats
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
    any_size = {"image": spelled(objects.sizes[0]), "patch": "1x1", "within": None}
    plan = one_plan({**settings, **any_size})
    return epsilons_at(plan, seen, delta, target=target), delta, target


def _categories(
    objects: Annotations, seen: Floats, epsilons: Floats | None, target: float | None
) -> list[dict[str, Any]]:
    rows = []
    order = np.argsort(objects.category_index, kind="stable")
    ends = np.searchsorted(objects.category_index[order], np.arange(len(objects.categories) + 1))
    for k, category in enumerate(objects.categories):
        members = order[ends[k] : ends[k + 1]]
        if not len(members):
            continue
        row: dict[str, Any] = {"category": category, "objects": len(members)}
        row |= _spread("inclusion_probability", seen[members])
        if epsilons is not None:
            row |= _spread("epsilon", epsilons[members])
            if target is not None:
                row["meets_epsilon"] = int((epsilons[members] <= target).sum())
        rows.append(row)
    return sorted(rows, key=lambda row: -float(row["inclusion_probability_max"]))


def _spread(name: str, values: Floats) -> dict[str, float]:
    # "higher" is a value of an object: a bound stays a bound.
    quartiles = np.quantile(values, (0.25, 0.5, 0.75), method="higher").tolist()
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    found = (float(values.min()), *quartiles, float(values.max()))
    return {f"{name}_{which}": value for which, value in zip(names, found, strict=True)}


def _row(
    objects: Annotations, k: int, seen: Floats, exact: npt.NDArray[np.bool_], eps: Floats | None
) -> dict[str, Any]:
    top, left, bottom, right = objects.boxes[k].tolist()
    row = {
        "id": objects.ids[k],
        "image": objects.images[objects.image_index[k]],
        "category": objects.categories[objects.category_index[k]],
        "top": top,
        "left": left,
        "bottom": bottom,
        "right": right,
        "inclusion_probability": float(seen[k]),
        "exact": bool(exact[k]),
    }
    if eps is not None:
        row["epsilon"] = float(eps[k])
    return row


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
    "--format", "kind", type=click.Choice(FORMATS), help="Format of FILE, where it cannot be told."
)
@click.option(
    "--shapes",
    type=click.Choice(["box", "mask"]),
    default="box",
    help="What is private of an object with an outline: its box (quick, never smaller), or the "
    "pixels that the outline touches.",
)
@click.option("--worst", default=10, help="How many of the worst objects to show.", metavar="N")
@click.option("--out", metavar="TABLE", help="Write every object to .csv, .json or .parquet.")
@click.option("--plot", metavar="PNG", help="Draw the distribution per category.")
def score_annotations(
    *,
    path: str,
    config: str | None,
    as_json: bool,
    kind: str | None,
    shapes: str,
    worst: int,
    out: str | None,
    plot: str | None,
    **flags: Any,
) -> None:
    """Probability and epsilon of every annotated object.

    FILE is COCO JSON, Cityscapes JSON, YOLO text, Pascal VOC XML or CSV; for Cityscapes, YOLO and
    VOC also a folder. With the settings of a training and --delta, each object gets a certified
    epsilon; with --epsilon the objects that meet it are counted. --image is the size of images
    whose files do not state it. A patch in the config is not used.
    """
    settings = collect(config, flags)
    require(settings, "crop")
    if worst < 0:
        raise ValueError(f"worst must be at least 0, got {worst}")
    objects = read_annotations(path, format=kind, image=_image(settings))
    if not len(objects):
        raise ValueError(f"all {objects.outside} objects lie outside their images")
    seen, exact = _probabilities(objects, _crop(settings, objects), shapes)
    epsilons, delta, target = _plan_epsilons(settings, objects, seen)
    rows = _categories(objects, seen, epsilons, target)
    # By probability, which epsilon follows; ties in the order of the file.
    first = np.argsort(-seen, kind="stable")[:worst].tolist()
    result: dict[str, Any] = {
        "format": objects.format,
        "images": len(objects.images),
        "objects": len(objects),
        "clipped": objects.clipped,
        "outside": objects.outside,
        "bounded_by_box": int((~exact).sum()),
        **_spread("inclusion_probability", seen),
        "positions": "public",
    }
    if epsilons is not None and delta is not None:
        result |= {"delta": float(delta), **_spread("epsilon", epsilons)}
        if target is not None:
            result |= {"target_epsilon": target, "meets_epsilon": int((epsilons <= target).sum())}
    result["categories"] = rows
    result["worst"] = [_row(objects, k, seen, exact, epsilons) for k in first]
    if out is not None:
        write_table((_row(objects, k, seen, exact, epsilons) for k in range(len(objects))), out)
    if plot is not None:
        named = {row["category"]: objects.categories.index(row["category"]) for row in rows}
        members = {name: objects.category_index == k for name, k in named.items()}
        plot_annotations(plot, seen, epsilons, members, target=target)
    if as_json:
        output.dump(result)
    else:
        _show(result)


def _show(result: Mapping[str, Any]) -> None:
    click.echo(f"{result['objects']} objects in {result['images']} images ({result['format']})")
    if result["clipped"]:
        click.echo(f"{result['clipped']} reach beyond their image and were cut at its border")
    if result["outside"]:
        click.echo(f"{result['outside']} lie outside their image and were left out")
    if result["bounded_by_box"]:
        output.paragraph(
            f"{result['bounded_by_box']} have an outline or a mask and are bounded by their box: "
            "an upper bound; --shapes mask counts their own pixels."
        )
    certified = "epsilon_max" in result
    click.echo()
    header = ["category", "objects", "p median", "p max"]
    if certified:
        header += ["eps median", "eps max"]
    counted = "meets_epsilon" in result
    if counted:
        header.append(f"eps <= {result['target_epsilon']:g}")

    def cells(name: str, row: Mapping[str, Any]) -> list[str]:
        found = [name, str(row["objects"])]
        for value in ["inclusion_probability", *(["epsilon"] if certified else [])]:
            found += [output.at_most(row[f"{value}_{which}"], 4) for which in ("median", "max")]
        return [*found, str(row["meets_epsilon"])] if counted else found

    rows = [cells(_cut(row["category"]), row) for row in result["categories"][:_PRINTED]]
    output.table(header, [*rows, cells("all", result)])
    hidden = len(result["categories"]) - _PRINTED
    if hidden > 0:
        click.echo(f"and {hidden} categories with smaller p; --json lists them")
    if result["worst"]:
        click.echo("\nworst objects")
        header = ["image", "id", "category", "box at row, column", "p"]
        output.table(
            [*header, "epsilon"] if certified else header,
            [
                [
                    _cut(row["image"]),
                    _cut(row["id"]),
                    _cut(row["category"]),
                    f"{spelled((row['bottom'] - row['top'], row['right'] - row['left']))} at "
                    f"{row['top']}, {row['left']}",
                    output.at_most(row["inclusion_probability"], 4),
                    *([output.at_most(row["epsilon"], 4)] if certified else []),
                ]
                for row in result["worst"]
            ],
        )
    click.echo()
    if certified:
        output.paragraph(f"Every epsilon is certified, at delta {result['delta']:g}.")
    output.paragraph(_PUBLIC)


def _cut(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:8]}..{text[-8:]}"
