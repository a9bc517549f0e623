"""Inclusion probabilities: time against the budget of each, and the figures themselves.

    python benchmarks/geometry.py

A ratio below 1 is within the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from patchdp.geometry import (
    Disk,
    Patch,
    RandomCrop,
    RandomResizedCrop,
    RandomScale,
    ResizedCrop,
    Views,
    hit_probability,
    inclusion,
    inclusion_map,
)


def measured(call: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Fastest of three runs in seconds, and what the call returns."""
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(repeat):
            result = call()
        best = min(best, (time.perf_counter() - begin) / repeat)
    return best, result


def main() -> None:
    """Print one line per case."""
    rng = np.random.default_rng(0)
    cityscapes, crop, patch = (1024, 2048), RandomCrop((505, 505)), Patch((10, 10))
    sizes = [tuple(size) for size in rng.integers(300, 3000, (100_000, 2)).tolist()]
    extents = rng.integers(1, 60, (1_000_000, 2))
    corners = (rng.random((1_000_000, 2)) * (np.array(cityscapes) - extents)).astype(np.int64)
    multi = Views((RandomResizedCrop((0.4, 1)),) * 2 + (RandomResizedCrop((0.05, 0.4)),) * 6)
    scaled = ResizedCrop(
        RandomCrop((512, 1024), pad_if_needed=True),
        RandomScale(0.5, 2.0),
        interpolation="bilinear",
    )
    cases: list[tuple[str, float, int, Callable[[], Any]]] = [
        ("box, Cityscapes", 50e-6, 2000, lambda: inclusion(cityscapes, crop, patch).probability),
        (
            "disk of radius 50, 1000x1000",
            0.2,
            1,
            lambda: inclusion((1000, 1000), RandomCrop((100, 100)), Disk(50)).probability,
        ),
        (
            "box, 100,000 image sizes",
            5.0,
            1,
            lambda: inclusion(sizes, RandomCrop((224, 224)), patch).probability,
        ),
        (
            "a million boxes, RandomCrop",
            5.0,
            1,
            lambda: hit_probability(cityscapes, crop, corners, extents).mean(),
        ),
        (
            "a million boxes, RandomResizedCrop",
            5.0,
            1,
            lambda: hit_probability(cityscapes, RandomResizedCrop(), corners, extents).mean(),
        ),
        (
            "RandomResizedCrop, 500x375",
            1.0,
            1,
            lambda: inclusion((500, 375), RandomResizedCrop(), patch).probability,
        ),
        (
            "map of RandomResizedCrop, Cityscapes",
            10.0,
            1,
            lambda: inclusion_map(cityscapes, RandomResizedCrop(), patch).max(),
        ),
        (
            "2 global + 6 local views, 500x375",
            2.0,
            1,
            lambda: inclusion((500, 375), multi, patch).probability,
        ),
        (
            "random scale 0.5 to 2, Cityscapes",
            20.0,
            1,
            lambda: inclusion(cityscapes, scaled, patch).probability,
        ),
    ]
    print(f"{'case':<40}{'seconds':>11}{'of budget':>11}  result")
    for name, budget, repeat, call in cases:
        seconds, result = measured(call, repeat)
        print(f"{name:<40}{seconds:>11.2g}{seconds / budget:>11.3f}  {result}")


if __name__ == "__main__":
    main()
