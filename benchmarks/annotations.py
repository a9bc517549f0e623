"""A million annotated boxes: processor seconds for probabilities and epsilons, against 5 s.

    python -m benchmarks annotations

A ratio below 1 is within the budget. The slack is what rounding up on the grid of certified
probabilities adds to an object's epsilon, relative to its own certified one.
"""

from __future__ import annotations

import time

import numpy as np

import patchdp as pdp
from patchdp.objects import box_probabilities, epsilons_at

BOXES = 1_000_000
BUDGET = 5.0
SAMPLE = 40


def boxes(rng: np.random.Generator, sizes: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of 4 to 200 pixels, and the images that they lie in."""
    where = rng.integers(0, len(sizes), BOXES)
    limit = np.array(sizes)[where]
    extent = rng.integers(4, 201, (BOXES, 2))
    start = (rng.random((BOXES, 2)) * (limit - extent + 1)).astype(np.int64)
    return np.concatenate([start, start + extent], axis=1), where


def main() -> None:
    """Print one line per data set and sampling scheme."""
    rng = np.random.default_rng(0)
    many = [tuple(size) for size in rng.integers(512, 1025, (2000, 2)).tolist()]
    samplers = {
        "Poisson": pdp.Poisson(batch_size=200, dataset_size=2975),
        "fixed-size": pdp.FixedSize(batch_size=200, dataset_size=2975),
    }
    print(
        f"{'a million boxes, CPU seconds':<34}{'p':>7}{'eps':>8}{'of 5 s':>8}"
        f"{'slack median':>14}{'max':>8}"
    )
    for name, sizes in {"1024x2048": [(1024, 2048)], "2,000 image sizes": many}.items():
        table, where = boxes(rng, sizes)
        for sampler, sampling in samplers.items():
            plan = pdp.TrainingPlan(
                image=sizes[0], crop=pdp.RandomCrop((505, 505)), patch=pdp.Patch((10, 10)),
                sampling=sampling, noise_multiplier=2.0, steps=1500,
            )  # fmt: skip
            begin = time.process_time()
            seen = box_probabilities(sizes, plan.crop, table, where)
            middle = time.process_time()
            epsilons = epsilons_at(plan, seen, 1e-5)
            end = time.process_time()
            rows = rng.choice(BOXES, SAMPLE, replace=False)
            own = epsilons_at(plan, seen[rows], 1e-5)
            slack = epsilons[rows] / own - 1
            print(
                f"{name + ', ' + sampler:<34}{middle - begin:>7.2f}{end - middle:>8.2f}"
                f"{(end - begin) / BUDGET:>8.2f}{np.median(slack):>14.2%}{slack.max():>8.1%}"
            )


if __name__ == "__main__":
    main()
