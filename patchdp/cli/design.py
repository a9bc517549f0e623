"""`patchdp design`: which crop, by what it costs in privacy and by how much it shows."""

from __future__ import annotations

from typing import Any

import click

from patchdp.cli import output
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    collect,
    one_plan,
    options,
    parse_fraction,
    parse_size,
    require,
)
from patchdp.geometry.sizes import spelled
from patchdp.sweeps.design import Candidate, Design
from patchdp.sweeps.design import design as design_crop

__all__ = ["design"]


@click.command(
    epilog=output.example(
        "patchdp design --image 1024x2048 --patch 10x10 --min-crop 400x400 --sampling poisson "
        "--batch-size 200 --dataset-size 2975 --epochs 100 --noise-multiplier 2 --delta 1/2975"
    )
)
@click.option("--min-crop", metavar="VALUE", required=True, help="Smallest window, as 400x400.")
@click.option("--max-crop", metavar="VALUE", help="Largest window; the image where not given.")
@click.option(
    "--law",
    "laws",
    multiple=True,
    metavar="VALUE",
    help="uniform, best, axis:K or mixture:SHARE; repeat for several (uniform and best).",
)
@click.option(
    "--room", metavar="VALUE", help="Share of a tile by which a grid has room to shift (0.1)."
)
@options(*GEOMETRY, *TRAINING, "epsilon", "delta")
def design(
    min_crop: str,
    max_crop: str | None,
    laws: tuple[str, ...],
    room: str | None,
    config: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Windows of all sizes, uniform and best: privacy beside variety.

    With --epsilon, the noise multiplier that each needs for it.
    """
    settings = collect(config, flags)
    require(settings, "image", "patch", "delta")
    delta = parse_fraction("delta", settings["delta"])
    wanted = settings.get("epsilon")
    target = None if wanted is None else float(parse_fraction("epsilon", wanted))
    given = settings.get("crop") is not None
    defaults: dict[str, Any] = {"crop": min_crop}
    if target is not None:
        defaults["noise_multiplier"] = 1.0  # where the search starts
    found = design_crop(
        one_plan(settings, **defaults),
        min_crop=parse_size("min_crop", min_crop),
        max_crop=None if max_crop is None else parse_size("max_crop", max_crop),
        delta=delta,
        epsilon=target,
        laws=laws or ("uniform", "best"),
        room=0.1 if room is None else float(parse_fraction("room", room)),
    )
    # The smallest window stands in for a crop that nobody planned.
    rows = [row for row in found if given or row.law != "planned"]
    if as_json:
        output.dump(
            {
                "delta": float(delta),
                "target_epsilon": target,
                "recommended": _as_dict(found.recommended, found),
                "rows": [_as_dict(row, found) for row in rows],
            }
        )
        return
    _show(rows, found)


def _as_dict(row: Candidate, found: Design) -> dict[str, Any]:
    return {
        "law": row.law,
        "window": row.size,
        "crop": repr(row.crop),
        "inclusion_probability": row.inclusion,
        "epsilon": row.epsilon,
        "noise_multiplier": row.noise_multiplier,
        "area": row.area,
        "windows": row.diversity.windows,
        "entropy": row.diversity.entropy,
        "shown": row.diversity.shown,
        "evenness": row.diversity.evenness,
        "room_to_shift": row.roomy,
        "on_front": row in found.front,
    }


def _show(rows: list[Candidate], found: Design) -> None:
    price = "epsilon <=" if found.target is None else "noise"
    header = ["law, window", "p", price, "windows", "entropy", "shown", "even"]
    front = found.front
    output.table(
        header,
        [
            [
                f"{'*' if row in front else ' '} {row.law} {spelled(row.size)}",
                f"{float(row.inclusion):.4f}",
                output.at_most(row.epsilon, 5)
                if found.target is None
                else f"{row.noise_multiplier:.6g}",
                f"{row.diversity.windows:,}",
                f"{row.diversity.entropy:.2f}",
                f"{row.diversity.shown:.3f}",
                f"{row.diversity.evenness:.3f}",
            ]
            for row in rows
        ],
    )
    best = found.recommended
    click.echo()
    output.paragraph(
        "* no other row costs less, shows as large a window, and is as varied. Entropy is that of "
        "the window, in nats; shown is the share of pixels ever shown; even is 1 where all are "
        "shown equally often."
    )
    click.echo()
    output.paragraph(
        f"Most private with room to shift the grid: {best.crop!r}. Whether its windows are varied "
        "enough is for a training to tell: compare the accuracy."
    )
