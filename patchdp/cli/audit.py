"""`patchdp audit`: attack the worst-case training and compare with the certified epsilon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from patchdp._version import __version__
from patchdp.audit import audit as run_audit
from patchdp.audit import numpy_crops, torchvision_crops
from patchdp.cli import output
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    Decorated,
    any_plan,
    collect,
    options,
    parse_fraction,
    require,
)

__all__ = ["audit"]

_CROPS = {"numpy": numpy_crops, "torchvision": torchvision_crops}


def _whole(flag: str, default: int, *, least: int, text: str) -> Callable[[Decorated], Decorated]:
    """The option of a whole number."""
    kind = click.IntRange(min=least)
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


@click.command(
    epilog=output.example(
        "patchdp audit --image 28x28 --crop 10x10 --patch 1x1 --sampling poisson "
        "--sampling-probability 0.5 --steps 20 --noise-multiplier 2 --delta 1e-5"
    )
)
@_whole("--runs", 100_000, least=100, text="Trainings simulated under each of the two data sets.")
@click.option(
    "--confidence",
    default="0.999",
    show_default=True,
    metavar="VALUE",
    help="Of all lower bounds at once.",
)
@_whole("--seed", 0, least=0, text="Of the random numbers.")
@click.option(
    "--crops",
    type=click.Choice(sorted(_CROPS)),
    default="numpy",
    show_default=True,
    help="Who crops the images.",
)
@options(*GEOMETRY, *TRAINING, "delta")
def audit(
    *,
    runs: int,
    confidence: str,
    seed: int,
    crops: str,
    config: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Attack the worst case of a training and bound epsilon from below.

    Ends with status 1 if a certified epsilon is below what the attack attained.
    """
    settings = collect(config, flags)
    require(settings, "delta")
    found = run_audit(
        any_plan(settings),
        delta=parse_fraction("delta", settings["delta"]),
        runs=runs,
        confidence=float(parse_fraction("confidence", confidence)),
        seed=seed,
        crops=_CROPS[crops],
        progress=output.progress("simulated"),
    )
    if as_json:
        output.dump(
            {
                "passed": found.passed,
                "points": [point._asdict() for point in found.points],
                "runs": found.runs,
                "confidence": found.confidence,
                "seed": seed,
                "crops": crops,
                "version": __version__,
            }
        )
        return 0 if found.passed else 1
    output.table(
        ["delta", "attained", "certified", "true positives", "false positives"],
        [
            [
                output.exactly(point.delta),
                output.at_least(point.epsilon_lower, 4),
                output.at_most(point.epsilon_upper, 4),
                f"{point.true_positive_rate:.3%}",
                f"{point.false_positive_rate:.3%}",
            ]
            for point in found.points
        ],
    )
    click.echo()
    output.paragraph(
        f"{runs} trainings of the worst-case model under each data set, cropped by {crops}, seed "
        f"{seed}: with confidence {found.confidence:g} every valid epsilon is at least the "
        "attained one."
    )
    click.echo(
        "passed: no certified epsilon is below it"
        if found.passed
        else "FAILED: a certified epsilon is below what an attack attained"
    )
    return 0 if found.passed else 1
