"""`patchdp inclusion`: the probability that a crop shows the patch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import click

from patchdp import geometry
from patchdp.cli import output
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    collect,
    crop_and_patch,
    one_plan,
    options,
    parse_fraction,
    require,
)
from patchdp.geometry import PatchUnion, inclusion_map
from patchdp.objects import epsilons_at
from patchdp.report.plots import plot_epsilons, plot_inclusion

__all__ = ["inclusion"]


@click.command(
    epilog=output.example("patchdp inclusion --image 1024x2048 --crop 505x505 --patch 10x10")
)
@options(*GEOMETRY, *TRAINING, "delta")
@click.option("--plot", metavar="PNG", help="Draw the probability at each place, and crops.")
@click.option(
    "--epsilon-map", metavar="PNG", help="Draw epsilon at each place; needs a training and --delta."
)
def inclusion(
    config: str | None, as_json: bool, plot: str | None, epsilon_map: str | None, **flags: Any
) -> None:
    """Probability that a crop shows the patch, at the worst place.

    The settings of a training are used by --epsilon-map only.
    """
    settings = collect(config, flags)
    image, crop, patch = crop_and_patch(settings)
    found = geometry.inclusion(image, crop, patch)
    if plot is not None or epsilon_map is not None:
        values = inclusion_map(found.worst_image, crop, patch)
        known = () if isinstance(patch, PatchUnion) else patch.at
        region = None if isinstance(patch, PatchUnion) else patch.within
        start = known or tuple(low for low, _ in region or [(0, 0)] * len(found.worst_image))
        if plot is not None:
            plot_inclusion(plot, found=found, crop=crop, patch=patch, values=values, start=start)
        if epsilon_map is not None:
            require(settings, "delta")
            delta = parse_fraction("delta", settings["delta"])
            epsilons = epsilons_at(one_plan(settings), values, delta)
            plot_epsilons(
                epsilon_map, found=found, patch=patch, values=epsilons, start=start,
                delta=float(delta),
            )  # fmt: skip
    exact = found.probability if isinstance(found.probability, Fraction) else None
    if as_json:
        output.dump(
            {
                "inclusion_probability": float(found.probability),
                "exact": None if exact is None else f"{exact.numerator}/{exact.denominator}",
                "worst_position": found.worst_position,
                "worst_image": found.worst_image,
                "attained": found.attained,
            }
        )
        return
    size = "x".join(map(str, found.worst_image))
    click.echo(f"inclusion probability  {float(found.probability):.12g}")
    if exact is not None:
        click.echo(f"exactly                {exact}")
    if found.worst_position is not None:
        place = ", ".join(map(str, found.worst_position))
        click.echo(f"worst patch            first corner ({place}) of an image {size}")
    if not found.attained:
        click.echo("an upper bound: no single place is known to attain it")
