"""`patchdp inclusion`: the probability that a crop shows the patch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import click

from patchdp import geometry
from patchdp.cli import output
from patchdp.cli.settings import GEOMETRY, collect, crop_and_patch, options

__all__ = ["inclusion"]


@click.command(
    epilog=output.example("patchdp inclusion --image 1024x2048 --crop 505x505 --patch 10x10")
)
@options(*GEOMETRY)
def inclusion(config: str | None, as_json: bool, **flags: Any) -> None:
    """Probability that a crop shows the patch, at the worst place."""
    found = geometry.inclusion(*crop_and_patch(collect(config, flags)))
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
