"""What `patchdp annotations` prints: categories, the worst objects, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from patchdp.cli import output
from patchdp.geometry.sizes import spelled
from patchdp.objects import Annotations, Seen, SmallImages

__all__ = ["reasons", "row", "show", "summary"]

Floats = npt.NDArray[np.float64]

# Categories that are printed; the table and the JSON have all of them.
_PRINTED = 20
_PUBLIC = (
    "Positions count as public: the guarantee hides what the pixels of an object show, not that "
    "it is there, nor where. It holds for "
)
_SMALL = {
    "certain": "they count as seen for sure, p = 1. Where the training pads or skips such images "
    "give --small-images pad-if-needed or skip.",
    "pad-if-needed": "the training pads these.",
}


def summary(
    seen: Seen,
    small_images: SmallImages,
    epsilons: Floats | None,
    delta: Fraction | None,
    target: float | None,
) -> dict[str, Any]:
    """All that is printed, but for the worst objects."""
    objects = seen.objects
    result: dict[str, Any] = {
        "format": objects.format,
        "images": len(objects.images),
        "objects": len(objects),
        "clipped": objects.clipped,
        "left_out": dict(objects.left_out),
        "remarks": dict(objects.remarks),
        "images_smaller_than_crop": seen.small_images,
        "small_images": small_images,
        "in_small_images": int(seen.small.sum()),
        "bounded_by_box": int((~seen.exact & ~(seen.small & (small_images == "certain"))).sum()),
        **_spread("inclusion_probability", seen.probabilities),
        "positions": "public",
    }
    if epsilons is not None and delta is not None:
        result |= {"delta": float(delta), **_spread("epsilon", epsilons)}
        if target is not None:
            result |= {"target_epsilon": target, "meets_epsilon": int((epsilons <= target).sum())}
    result["categories"] = _categories(objects, seen.probabilities, epsilons, target)
    return result


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


def row(seen: Seen, k: int, eps: Floats | None) -> dict[str, Any]:
    """One object of the table."""
    objects = seen.objects
    top, left, bottom, right = objects.boxes[k].tolist()
    found = {
        "id": objects.ids[k],
        "image": objects.images[objects.image_index[k]],
        "category": objects.categories[objects.category_index[k]],
        "top": top,
        "left": left,
        "bottom": bottom,
        "right": right,
        "inclusion_probability": float(seen.probabilities[k]),
        "exact": bool(seen.exact[k]),
    }
    if eps is not None:
        found["epsilon"] = float(eps[k])
    return found


def reasons(result: Mapping[str, Any]) -> str:
    """What was left out, in words."""
    return ", ".join(f"{count} {why}" for why, count in result["left_out"].items())


def show(result: Mapping[str, Any]) -> None:
    """Print for people."""
    named = "images with objects" if result["group_by"] else "objects"
    click.echo(f"{result['objects']} {named} in {result['images']} images ({result['format']})")
    if result["clipped"]:
        click.echo(f"{result['clipped']} reach beyond their image and were cut at its border")
    for remark, count in result["remarks"].items():
        output.paragraph(f"{count} {remark}")
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
    together = result["group_by"] is not None
    output.paragraph(
        f"{_PUBLIC}{'all objects of one image' if together else 'one object'} at a time."
    )
    if result["in_small_images"]:
        output.paragraph(
            f"Images smaller than the crop: {result['images_smaller_than_crop']}, objects in them: "
            f"{result['in_small_images']}; {_SMALL[result['small_images']]}"
        )
    if result["left_out"]:
        output.paragraph(f"Left out: {reasons(result)}.")


def _cut(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:8]}..{text[-8:]}"
