"""The tables of docs/comparison.md: the published analysis beside patchdp's, training by training.

Run `python docs/comparison.py`; tests/test_docs.py compares its output with the page.
"""

from __future__ import annotations

import math
from fractions import Fraction

import patchdp as pdp

SETTINGS = {
    # image, data set size, epochs; crops 505x505, patch 10x10, batch 200, delta = 1/N
    "Cityscapes": ((1024, 2048), 2975, 100),
    "A2D2": ((1208, 1920), 18557, 25),
}


def plans(name: str, noise_multiplier: float) -> dict[str, pdp.TrainingPlan]:
    """The training under each sampling scheme; fixed-size is the published analysis."""
    image, size, epochs = SETTINGS[name]
    fixed = pdp.TrainingPlan(
        image=image,
        crop=pdp.RandomCrop((505, 505)),
        patch=pdp.Patch((10, 10)),
        sampling=pdp.FixedSize(batch_size=200, dataset_size=size),
        noise_multiplier=noise_multiplier,
        epochs=epochs,
    )
    return {
        "whole image": fixed.image_level(),
        "published": fixed,
        "Poisson": fixed.replace(sampling=pdp.Poisson(batch_size=200, dataset_size=size)),
        "shuffled": fixed.replace(sampling=pdp.Shuffle()),
    }


def up(value: float) -> str:
    """Three decimals, rounded up: a bound stays one."""
    return f"{math.ceil(value * 1e3) / 1e3:.3f}"


def epsilons(name: str) -> str:
    """Epsilon at delta = 1/N for several noise multipliers."""
    delta = Fraction(1, SETTINGS[name][1])
    columns = list(plans(name, 1.0))
    lines = [f"{name:12}" + "".join(f"{column:>13}" for column in columns)]
    for sigma in (1.0, 2.0, 4.0, 8.0):
        row = [plan.epsilon(delta, tolerance=1e-4) for plan in plans(name, sigma).values()]
        lines.append(f"sigma = {sigma:<4g}" + "".join(f"{up(value):>13}" for value in row))
    return "\n".join(lines)


def noises(name: str) -> str:
    """Noise multiplier that meets epsilon at delta = 1/N."""
    delta = Fraction(1, SETTINGS[name][1])
    columns = list(plans(name, 1.0))
    lines = [f"{name:12}" + "".join(f"{column:>13}" for column in columns)]
    for target in (1.0, 10.0):
        solved = [
            plan.solve("noise_multiplier", epsilon=target, delta=float(delta))
            for plan in plans(name, 4.0).values()
        ]
        row = [up(plan.noise_multiplier) for plan in solved]
        lines.append(f"epsilon {target:<4g}" + "".join(f"{value:>13}" for value in row))
    return "\n".join(lines)


if __name__ == "__main__":
    for page in (epsilons, noises):
        for name in SETTINGS:
            print(page(name))
            print()
