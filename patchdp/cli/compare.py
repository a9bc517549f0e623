"""`patchdp compare`: what the crop and the sampler are worth, in one table."""

from __future__ import annotations

from typing import Any

import click

from patchdp.cli import output
from patchdp.cli.parsing import parse_positive
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    collect,
    one_plan,
    options,
    parse_fraction,
    require,
)
from patchdp.geometry import WholeImage
from patchdp.plan import TrainingPlan
from patchdp.step import FixedSize, Poisson, RandomAllocation, Shuffle

__all__ = ["compare"]


def _variants(plan: TrainingPlan) -> list[tuple[str, TrainingPlan]]:
    """The same training under every sampler, for the whole image and for the patch."""
    sampling = plan.sampling
    batch, dataset = sampling.batch_size, sampling.dataset_size
    if batch is None or dataset is None:
        raise ValueError("compare needs batch_size and dataset_size, so that every sampler fits")
    rounds = -(-dataset // batch)
    # In T steps an image appears at most ceil(T / rounds) times when batches are shuffled.
    epochs = plan.epochs if plan.epochs is not None else -(-(plan.steps or 0) // rounds)
    steps = plan.steps if plan.steps is not None else rounds * epochs
    fixed = plan.replace(sampling=FixedSize(batch, dataset), steps=steps)
    poisson = plan.replace(sampling=Poisson(batch, dataset), steps=steps)
    rows = [("image, fixed-size", fixed.image_level()), ("image, Poisson", poisson.image_level())]
    if plan.pixel_noise is not None:
        # What the published code compares with: the pixels' noise, and no crop.
        rows += [
            ("patch under pixel noise alone, fixed-size", fixed.replace(crop=WholeImage())),
            ("patch under pixel noise alone, Poisson", poisson.replace(crop=WholeImage())),
        ]
    rows += [("patch, fixed-size", fixed), ("patch, Poisson", poisson)]
    if plan.images_per_person == 1:  # more are not proved for a shuffled order
        allocated = plan.replace(sampling=RandomAllocation(batch, dataset), epochs=epochs)
        shuffled = plan.replace(sampling=Shuffle(batch, dataset), epochs=epochs)
        rows.insert(2, ("image, allocation", allocated.image_level()))
        rows += [("patch, allocation", allocated), ("patch, shuffle", shuffled)]
    return rows


@click.command(
    epilog=output.example(
        "patchdp compare --image 1024x2048 --crop 505x505 --patch 10x10 "
        "--sampling fixed --batch-size 200 --dataset-size 2975 --epochs 100 "
        "--noise-multiplier 2 --epsilon 10 --delta 1/2975"
    )
)
@options(*GEOMETRY, *TRAINING, "epsilon", "delta")
def compare(config: str | None, as_json: bool, **flags: Any) -> None:
    """Image-level and patch-level privacy under every sampling scheme.

    With --epsilon, also the noise multiplier that each needs for it.
    """
    settings = collect(config, flags)
    require(settings, "delta")
    delta = parse_fraction("delta", settings["delta"])
    plan = one_plan(settings)
    wanted = settings.get("epsilon")
    target = None if wanted is None else parse_positive("epsilon", wanted)
    rows: list[dict[str, Any]] = []
    for name, variant in _variants(plan):
        bounds = variant.epsilon_bounds(delta)
        row: dict[str, Any] = {
            "analysis": name,
            "epsilon": bounds.upper,
            "epsilon_lower": bounds.lower,
            "steps": variant.applications,
        }
        if target is not None:
            solved = variant.solve("noise_multiplier", epsilon=target, delta=float(delta))
            row["noise_multiplier_at_target"] = solved.noise_multiplier
        rows.append(row)
    if as_json:
        output.dump(
            {
                "delta": float(delta),
                "noise_multiplier": plan.noise_multiplier,
                "images_per_person": plan.images_per_person,
                "inclusion_probability": float(plan.inclusion.probability),
                "target_epsilon": target,
                "rows": rows,
            }
        )
        return
    click.echo(
        f"inclusion probability {float(plan.inclusion.probability):.6g}, "
        f"noise multiplier {plan.noise_multiplier:g}, delta {float(delta):g}"
        + (f", {plan.images_per_person} images per person" if plan.images_per_person > 1 else "")
        + "\n"
    )
    header = ["private, sampling", "epsilon <=", "epsilon >=", "applications"]
    if target is not None:
        header.append(f"noise for epsilon {target:g}")
    output.table(
        header,
        [
            [
                row["analysis"],
                output.at_most(row["epsilon"], 5),
                "unknown"
                if row["epsilon_lower"] is None
                else output.at_least(row["epsilon_lower"], 5),
                str(row["steps"]),
                *([] if target is None else [f"{row['noise_multiplier_at_target']:.6g}"]),
            ]
            for row in rows
        ],
    )
    click.echo()
    note = "Each row holds for its own sampler only: use the row of the sampler that runs."
    if plan.images_per_person == 1:
        note += (
            " Allocation and shuffle apply once per epoch; the lower bound of shuffle is "
            "for a fixed, known order."
        )
    else:
        note += (
            " Allocation and shuffle have no row: several images per person are not proved "
            "for them."
        )
    output.paragraph(note)
