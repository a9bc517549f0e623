"""Fifty random trainings attacked: `python -m benchmarks audit --json audit.json`.

Every certified epsilon has to be at least the audited lower bound, at 99.9 % confidence over all
plans together; the broken accountants have to be caught on the same votes as often as they can.
"""

from __future__ import annotations

import argparse
import json
import time
from fractions import Fraction

import numpy as np

import patchdp as pdp
from patchdp.audit import audit

CONFIDENCE = 0.999


def random_plan(rng: np.random.Generator) -> pdp.TrainingPlan:
    """A small training with a worst case that a few hundred thousand runs can see."""
    axes = int(rng.integers(1, 4))
    image = tuple(int(n) for n in rng.integers(4, 13, axes))
    patch = tuple(int(rng.integers(1, min(3, n) + 1)) for n in image)
    margins = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (axes, 2)))
    crop = tuple(
        int(rng.integers(1, n + sum(pair) + 1)) for n, pair in zip(image, margins, strict=True)
    )
    dataset = int(rng.integers(2, 40))
    batch = int(rng.integers(1, dataset + 1))
    steps = int(rng.integers(1, 31))
    samplings: list[pdp.Poisson | pdp.FixedSize | pdp.Shuffle] = [
        pdp.Poisson(sampling_probability=Fraction(batch, dataset)),
        pdp.FixedSize(batch, dataset),
        pdp.Shuffle(),
    ]
    sampling = samplings[int(rng.integers(3))]
    shuffled = isinstance(sampling, pdp.Shuffle)
    return pdp.TrainingPlan(
        image=image,
        crop=pdp.RandomCrop(crop, padding=margins),
        patch=pdp.Patch(patch),
        sampling=sampling,
        noise_multiplier=float(np.exp(rng.uniform(np.log(0.5), np.log(5)))),
        steps=None if shuffled else steps,
        epochs=steps if shuffled else None,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks audit", description=__doc__)
    parser.add_argument("--plans", type=int, default=50)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    level = 1 - (1 - CONFIDENCE) / options.plans
    rows, start = [], time.perf_counter()
    for number in range(options.plans):
        plan = random_plan(rng)
        found = audit(plan, delta=1e-5, runs=options.runs, confidence=level, seed=number)
        halved = plan.replace(noise_multiplier=2 * plan.noise_multiplier)
        caught = any(p.epsilon_lower > halved.epsilon(p.delta) for p in found.points)
        nearest = max(
            (p.epsilon_lower / p.epsilon_upper for p in found.points if p.epsilon_upper > 0),
            default=0.0,
        )
        rows.append(
            {
                "plan": repr(plan),
                "passed": found.passed,
                "largest_attained_over_certified": nearest,
                "sensitivity_c_caught": caught,
                "points": [p._asdict() for p in found.points],
            }
        )
        print(
            f"{number + 1:3d}  {'ok' if found.passed else 'VIOLATED':8s}  "
            f"attained/certified {nearest:.3f}  sensitivity C "
            f"{'caught' if caught else 'not seen'}",
            flush=True,
        )
    passed = sum(bool(row["passed"]) for row in rows)
    caught = sum(bool(row["sensitivity_c_caught"]) for row in rows)
    print(
        f"{passed} of {len(rows)} certified epsilons at or above the audited bound at "
        f"{CONFIDENCE:.1%} confidence in total; sensitivity C caught in {caught}; "
        f"{time.perf_counter() - start:.0f} s"
    )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return 0 if passed == len(rows) else 1
