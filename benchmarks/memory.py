"""Peak memory of one certified epsilon, each in a process of its own.

The settings of the acceptance runs must stay under 500 MiB. Adversarial ones, with a tiny epsilon
or a huge number of steps, must stay under the cap of 2 GiB: with a certified number, or with an
error that names the exact value.

    python -m benchmarks memory [--timeout 120] [--json memory.json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from benchmarks._bounded import child, run

# sampling, batch, dataset, crop side, noise multiplier, steps, delta; patch 10x10 on 1000x1000
ORDINARY: dict[str, tuple[str, int, int, int, float, int, float]] = {
    "influence, least noise": ("fixed", 100, 100_000, 700, 0.5, 100_000, 1e-5),
    "influence, most noise": ("fixed", 100, 100_000, 450, 2.5, 100_000, 1e-5),
    "influence, small crop": ("fixed", 100, 100_000, 10, 0.5, 100_000, 1e-5),
    "influence, small crop, more noise": ("fixed", 100, 100_000, 155, 1.5, 100_000, 1e-5),
    "like Cityscapes, Poisson": ("poisson", 200, 2975, 363, 2.0, 1500, 1e-5),
    "like Cityscapes, delta 1e-12": ("fixed", 200, 2975, 363, 2.0, 1500, 1e-12),
    "full batch, 1e6 steps, sigma 2000": ("fixed", 1, 1, 1000, 2000.0, 10**6, 1e-9),
}
ADVERSARIAL: dict[str, tuple[str, int, int, int, float, int, float]] = {
    "epsilon about 0.01, 1e6 steps": ("fixed", 100, 100_000, 450, 100.0, 10**6, 1e-9),
    "1e9 steps, sigma 1e5": ("poisson", 100, 10_000, 450, 1e5, 10**9, 1e-6),
    "full batch, 1e10 steps, sigma 1e5": ("fixed", 1, 1, 1000, 1e5, 10**10, 1e-9),
    "rate 1e-6, 1e7 steps, delta 1e-12": ("poisson", 1, 1_000_000, 450, 1.0, 10**7, 1e-12),
}


def measure(setting: tuple[str, int, int, int, float, int, float]) -> dict[str, Any]:
    """One certified epsilon, timed."""
    import patchdp as pdp

    kind, batch, dataset, side, noise, steps, delta = setting
    sampler = pdp.Poisson if kind == "poisson" else pdp.FixedSize
    plan = pdp.TrainingPlan(
        image=(1000, 1000),
        crop=pdp.RandomCrop((side, side)),
        patch=pdp.Patch((10, 10)),
        sampling=sampler(batch_size=batch, dataset_size=dataset),
        noise_multiplier=noise,
        steps=steps,
    )
    start = time.perf_counter()
    try:
        answer: dict[str, Any] = {"epsilon": plan.epsilon(delta)}
    except ValueError as error:
        answer = {"error": str(error)}
    return {**answer, "seconds": time.perf_counter() - start}


def main() -> int:
    """Print a line per setting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    exceeded = False
    for cap, settings in ((500, ORDINARY), (2048, ADVERSARIAL)):
        print(f"at most {cap} MiB")
        for name, setting in settings.items():
            found = run("benchmarks.memory", {"setting": setting}, seconds=options.timeout)
            figures[name] = found
            if "failed" in found:
                exceeded = True
                print(f"  {name:38s} FAILED: {found['failed']}", flush=True)
                continue
            exceeded |= found["peak_mib"] > cap
            answer = f"epsilon {found['epsilon']:.6g}" if "epsilon" in found else found["error"]
            print(
                f"  {name:38s} {found['peak_mib']:6.0f} MiB {found['seconds']:7.2f} s  {answer}",
                flush=True,
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    return int(exceeded)


if __name__ == "__main__":
    child(measure(tuple(json.loads(sys.argv[1])["setting"])))
