"""The three `influence` sweeps of arXiv:2603.24695, certified, and what one number costs.

About 1,600 epsilons at delta 1e-5: over the size of the crop and of the patch on two image sizes,
and over the padding; every noise level. Then the median cost of one epsilon and of one calibration
by the exact engine and by the certified default, beside dp-accounting's `calibrate_dp_mechanism`
with its PLD accountant in the same run. Single numbers are timed in processor time; the sweeps
by the clock, with the processor time of the workers beside it, which a busy machine does not
change.

    python -m benchmarks influence [--jobs 2] [--sample 60] [--json influence.json]
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from dp_accounting import (
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    calibrate_dp_mechanism,
)
from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.mechanism_calibration import ExplicitBracketInterval
from dp_accounting.pld import PLDAccountant

import patchdp as pdp
from benchmarks._published import INFLUENCE
from patchdp.composition import prove

DELTA = 1e-5
# Noise standard deviations 1 to 5 at clipping norm 2.
NOISE = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5]
SMALL, LARGE = INFLUENCE.image, (1000, 2000)


def _squares(first: int, last: int) -> list[tuple[int, int]]:
    return [(int(n), int(n)) for n in np.linspace(first, last, 20)]


def grids() -> dict[str, pdp.Grid]:
    """The sweeps, by name."""
    base = INFLUENCE
    common = {"delta": DELTA, "noise_multiplier": NOISE}
    return {
        "crop size, 1000x1000": pdp.Grid(base, {**common, "crop": _squares(10, 700)}),
        "crop size, 1000x2000": pdp.Grid(
            base.replace(image=LARGE), {**common, "crop": _squares(10, 1000)}
        ),
        "patch size, both images": pdp.Grid(
            base, {**common, "image": [SMALL, LARGE], "patch": _squares(1, 120)}
        ),
        "padding, 1000x1000": pdp.Grid(
            base,
            {
                **common,
                "crop": [(400, 400), (450, 450), (500, 500)],
                "patch": [(10, 10), (20, 20), (40, 40)],
                "padding": range(0, 51, 5),
            },
        ),
    }


def _clock(
    work: Callable[[], Any], now: Callable[[], float] = time.process_time
) -> tuple[float, Any]:
    start = now()
    result = work()
    return now() - start, result


def _median(times: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(times):9.2f} ms   (worst {1e3 * max(times):.1f} ms)"


def _ready(_: int) -> None:
    time.sleep(0.2)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def sweeps(jobs: int) -> dict[str, Any]:
    """Every certified epsilon on `jobs` processes."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    found: dict[str, Any] = {}
    context = multiprocessing.get_context("spawn")
    start = _children()
    with ProcessPoolExecutor(jobs, mp_context=context) as workers:
        list(workers.map(_ready, range(jobs)))  # starting Python is not what is measured
        for name, grid in grids().items():
            seconds, result = _clock(
                lambda g=grid: pdp.sweep(g, workers, lower=False), time.perf_counter
            )
            found[name] = {"epsilons": len(grid), "seconds": seconds, "failed": len(result.failed)}
            print(f"{name:28s} {len(grid):5d} epsilons  {seconds:7.2f} s", flush=True)
            for row in result.failed[:3]:
                print("  failed:", row["error"])
    used = _children() - start
    total = sum(v["seconds"] for v in found.values())
    count = sum(v["epsilons"] for v in found.values())
    print(f"{'in all':28s} {count:5d} epsilons  {total:7.2f} s on {jobs} processes (wanted: 30 s)")
    print(f"{'processor time, start included':47s} {used / jobs:7.2f} s in each process")
    return {"sweeps": found, "total_seconds": total, "cpu_seconds": used, "epsilons": count}


def one_number(plans: Sequence[pdp.TrainingPlan]) -> dict[str, Any]:
    """What one epsilon and one calibration cost, over a sample of the same plans."""
    ways: dict[str, Callable[[pdp.TrainingPlan], Any]] = {
        "epsilon, exact engine, estimate": lambda p: _exact(p.phases),
        "epsilon, exact engine, with error bar": lambda p: p.epsilon(DELTA, method="exact"),
        "epsilon, certified default": lambda p: p.epsilon(DELTA),
    }
    result: dict[str, Any] = {}
    for name, way in ways.items():
        way(plans[0])
        times, refused = [], 0
        for plan in plans:
            fresh = plan.replace()  # nothing kept from an earlier question
            _ = fresh.step
            try:
                times.append(_clock(lambda p=fresh, way=way: way(p))[0])
            except ValueError:
                refused += 1
        result[name] = {"median": statistics.median(times), "worst": max(times), "refused": refused}
        print(f"{name:40s} {_median(times)}" + (f"   {refused} refused" if refused else ""))
    return result


def calibrations(plans: Sequence[pdp.TrainingPlan], peers: int) -> dict[str, Any]:
    """The noise for half the epsilon: exact engine, certified, and dp-accounting."""
    result: dict[str, Any] = {}
    ours: dict[str, list[float]] = {"exact": [], "pld": []}
    theirs: list[float] = []
    ratios: list[float] = []
    for number, plan in enumerate(plans):
        target = plan.epsilon(DELTA) / 2
        times: dict[str, float] = {}
        for method, kept in ours.items():
            times[method], _ = _clock(
                lambda p=plan, m=method, t=target: p.replace().solve(
                    "noise_multiplier", epsilon=t, delta=DELTA, method=m
                )
            )
            kept.append(times[method])
        if number < peers:
            # dp-accounting's PLD engine has no replace-one fixed-size event: Poisson add/remove at
            # the same effective rate is another mechanism of the same shape; only time compares.
            theirs.append(_clock(lambda p=plan, t=target: _dp_accounting(p, t))[0])
            ratios.append(theirs[-1] / times["pld"])
    for method, kept in ours.items():
        result[f"calibration, {method}"] = statistics.median(kept)
        print(f"{'calibration, method ' + method:40s} {_median(kept)}")
    if theirs:
        result["calibration, dp-accounting"] = statistics.median(theirs)
        result["ratio to certified"] = statistics.median(ratios)
        print(f"{'calibration, dp-accounting PLD':40s} {_median(theirs)}")
        print(f"{'  ratio to our certified one':40s} {statistics.median(ratios):9.1f} x")
    return result


def _dp_accounting(plan: pdp.TrainingPlan, target: float) -> float:
    rate = float(plan.effective_sampling_probability)
    noise = calibrate_dp_mechanism(
        PLDAccountant,
        lambda sigma: SelfComposedDpEvent(
            PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), plan.applications
        ),
        target,
        DELTA,
        ExplicitBracketInterval(plan.noise_multiplier / 4, plan.noise_multiplier * 4),
        tol=1e-4,
    )
    return float(noise)


def _exact(phases: Any) -> float:
    return prove.estimate_epsilon(phases, math.log(DELTA))


def flat(plan: pdp.TrainingPlan) -> dict[str, Any]:
    """The exact engine from 1e2 to 1e9 steps at an epsilon near 4."""
    result: dict[str, Any] = {}
    for exponent in range(2, 10):
        steps = 10**exponent
        try:
            solved = plan.replace(steps=steps, noise_multiplier=math.sqrt(steps) / 6)
            phases = solved.phases
            log_delta = np.array(math.log(DELTA))
            prove.estimate_epsilon(phases, log_delta)
            times = [
                _clock(lambda f=phases, d=log_delta: prove.estimate_epsilon(f, d))[0]
                for _ in range(15)
            ]
            seconds = result[f"1e{exponent}"] = statistics.median(times)
            print(f"  T = 1e{exponent}   {1e3 * seconds:7.2f} ms")
        except ValueError as error:
            result[f"1e{exponent}"] = str(error)
            print(f"  T = 1e{exponent}   {error}")
    numbers = [v for v in result.values() if isinstance(v, float)]
    print(f"  slowest over quickest: {max(numbers) / min(numbers):.2f} (wanted: at most 2)")
    return result


def main() -> int:
    """Run the sweeps, then the single numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks influence", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, default=60, help="plans timed one by one")
    parser.add_argument("--peers", type=int, default=2, help="calibrations by dp-accounting")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    figures = sweeps(options.jobs)
    every = [grid.plan(i) for grid in grids().values() for i in range(len(grid))]
    chosen = np.random.default_rng(0).permutation(len(every))[: options.sample]
    plans = [every[i] for i in chosen]
    print()
    figures["one number"] = one_number(plans)
    figures["calibration"] = calibrations(plans[: max(options.sample // 3, 1)], options.peers)
    print("\nexact engine, one epsilon, as steps grow (noise grows with their square root)")
    figures["flat"] = flat(INFLUENCE.replace(sampling=pdp.FixedSize(100, 1000)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    return 0
