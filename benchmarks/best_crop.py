"""The paper's setting under the best crop: every figure of the theorem's table, from one command.

`python -m benchmarks best_crop`
"""

from __future__ import annotations

from fractions import Fraction

import patchdp as pdp

IMAGE, PATCH = (1024, 2048), pdp.Patch((10, 10))
DELTA = Fraction(1, 2975)
SAMPLERS = {
    "Poisson": pdp.Poisson(200, 2975),
    "fixed-size": pdp.FixedSize(200, 2975),
    "shuffle": pdp.Shuffle(200, 2975),
}
CROPS: dict[str, pdp.Crop] = {
    "uniform 505x505": pdp.RandomCrop((505, 505)),
    "best 505x505": pdp.best_crop(IMAGE, (505, 505), patch=PATCH),
    "best 480x480": pdp.best_crop(IMAGE, (480, 480), patch=PATCH),
    "uniform 512x1024": pdp.RandomCrop((512, 1024)),
    "best 507x1019": pdp.best_crop(IMAGE, (507, 1019), patch=PATCH),
}


def _plan(crop: pdp.Crop, sampling: pdp.Poisson | pdp.FixedSize | pdp.Shuffle) -> pdp.TrainingPlan:
    return pdp.TrainingPlan(
        image=IMAGE, crop=crop, patch=PATCH, sampling=sampling, noise_multiplier=2.0, epochs=100
    )


def main() -> int:
    """Print the table and the staircase."""
    print("Cityscapes, patch 10x10, noise 2, 100 epochs, delta 1/2975: epsilon <= (lower)\n")
    columns = "".join(f"{name:>20}" for name in SAMPLERS)
    print(f"{'crop':<18}{'p':>9}{columns}{'noise for 1':>13}{'for 10':>9}")
    for name, crop in CROPS.items():
        plans = [_plan(crop, sampling) for sampling in SAMPLERS.values()]
        cells = ""
        for plan in plans:
            bounds = plan.epsilon_bounds(DELTA)
            lower = "none" if bounds.lower is None else f"{bounds.lower:.4f}"
            cells += f"{f'{bounds.upper:.4f} ({lower})':>20}"
        noises = [plans[0].solve("noise_multiplier", epsilon=e, delta=DELTA) for e in (1.0, 10.0)]
        print(
            f"{name:<18}{float(plans[0].inclusion.probability):>9.4f}{cells}"
            f"{noises[0].noise_multiplier:>13.4f}{noises[1].noise_multiplier:>9.4f}"
        )
    print("\nsquare window: 1/p of the best law, room to shift the grid, number of windows")
    for side in (256, 330, 400, 480, 505, 676, 768, 1014):
        crop = pdp.best_crop(IMAGE, (side, side), patch=PATCH)
        p = pdp.inclusion(IMAGE, crop, PATCH).probability
        room, seen = crop.jitters(IMAGE), pdp.diversity(IMAGE, crop)
        print(f"{side:>5}  {1 / p!s:>3}  {room[0]:>4} x {room[1]:<4}  {seen.windows:>9,}")
    larger = pdp.inclusion(IMAGE, CROPS["best 505x505"], pdp.Patch((20, 20))).probability
    print(f"\na 20x20 patch on the grid for 10x10, window 505x505: p = {larger}")
    return 0
