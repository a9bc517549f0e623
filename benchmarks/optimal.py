"""Optimal composition: what it gains on the composed bound, what it costs, and long attacks on it.

    python -m benchmarks optimal [--only tolerance noise ...] [--json optimal.json]

`tolerance`: time against accuracy on Cityscapes. `epsilon`: epsilon of the settings of
arXiv:2603.24695 by the composed bound and by optimal composition. `image`: the same for whole
images. `influence`: its runs of 1e5 steps, cut into blocks. `noise`: the noise multiplier that
meets an epsilon. `attacks`: random triples of points and adaptive adversaries, many more of them
than in the tests. Times are CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import patchdp as pdp
from benchmarks._published import A2D2, CITYSCAPES, INFLUENCE, MNIST
from patchdp.composition.optimal import OptimalStep, epsilon_optimal, optimal_profile


def _clock(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def _compare(name: str, plan: pdp.TrainingPlan, delta: float | Fraction) -> dict[str, Any]:
    """One row: epsilon by both methods, as `plan.epsilon(delta, method="optimal")` has it."""
    composed = plan.epsilon(delta)
    found, seconds = _clock(lambda: epsilon_optimal(plan.optimal_steps, delta))
    upper = min(found.upper, composed)
    if found.upper > composed:
        print(f"  (on its own {found.upper:.4f}: the composed bound stands in)")
    gap = "no lower bound (blocks)" if found.gap is None else f"gap {found.gap:.2%}"
    print(
        f"{name:34s} composed {composed:9.4f}   optimal {upper:9.4f}   "
        f"{upper / composed - 1:+6.1%}   {gap}, blocks of {found.block_length}, "
        f"{seconds:.1f} s",
        flush=True,
    )
    return {
        "setting": name,
        "composed": composed,
        "optimal": upper,
        "lower": found.lower,
        "block_length": found.block_length,
        "cpu_seconds": seconds,
    }


def tolerance() -> list[dict[str, Any]]:
    """Time against tolerance."""
    rows = []
    for wanted in (0.1, 0.05, 0.03, 0.02, 0.01, 0.006):
        found, seconds = _clock(
            lambda w=wanted: epsilon_optimal(
                CITYSCAPES.optimal_steps, 1e-5, tolerance=w, time_budget=None
            )
        )
        print(
            f"tolerance {wanted:5.3f}   upper {found.upper:.4f}   lower {found.lower:.4f}   "
            f"gap {found.gap:.2%}   {seconds:6.1f} s   {found.cells} cells",
            flush=True,
        )
        rows.append({"tolerance": wanted, "upper": found.upper, "lower": found.lower})
        rows[-1] |= {"cpu_seconds": seconds, "cells": found.cells}
    return rows


def epsilon() -> list[dict[str, Any]]:
    """The trainings of the paper."""
    rows = [
        _compare(f"Cityscapes, sigma {s:g}, 1e-5", CITYSCAPES.replace(noise_multiplier=s), 1e-5)
        for s in (1.0, 2.0, 4.0)
    ]
    rows += [
        _compare(
            f"A2D2, sigma {s:g}, 1/18557", A2D2.replace(noise_multiplier=s), Fraction(1, 18557)
        )
        for s in (0.5, 1.0, 2.0)
    ]
    return [*rows, _compare("MNIST-like, sigma 1, 1e-5", MNIST, 1e-5)]


def image() -> list[dict[str, Any]]:
    """Whole images, without counting the crop."""
    return [_compare("Cityscapes, whole image, sigma 2", CITYSCAPES.image_level(), 1e-5)]


def influence() -> list[dict[str, Any]]:
    """1e5 steps; at most a minute each."""
    return [
        _compare(f"influence, sigma {s:g}, crop {c}", plan, 1e-5)
        for s, c in ((0.5, 450), (1.0, 450), (2.5, 450), (1.0, 10), (1.0, 700))
        for plan in [INFLUENCE.replace(noise_multiplier=s, crop=pdp.RandomCrop((c, c)))]
    ]


def noise() -> list[dict[str, Any]]:
    """Noise multipliers that meet an epsilon, certified."""
    rows = []
    for name, plan, target, delta in (
        ("Cityscapes", CITYSCAPES, 10.0, Fraction(1, 2975)),
        ("Cityscapes", CITYSCAPES, 1.0, Fraction(1, 2975)),
        ("A2D2", A2D2, 10.0, Fraction(1, 18557)),
    ):
        composed = plan.solve("noise_multiplier", epsilon=target, delta=delta).noise_multiplier
        best, seconds = _clock(
            lambda p=plan, e=target, d=delta: p.solve(
                "noise_multiplier", epsilon=e, delta=d, method="optimal"
            )
        )
        sigma = best.noise_multiplier
        reached = best.epsilon(delta, method="optimal")
        print(
            f"{name}, epsilon {target:g} at delta {delta}: noise {composed:.5g} composed, "
            f"{sigma:.5g} optimal ({sigma / composed - 1:+.1%}, certified at {reached:.4f}), "
            f"{seconds:.0f} s",
            flush=True,
        )
        rows.append({"setting": name, "epsilon": target, "composed": composed, "optimal": sigma})
    return rows


def _adversary() -> Any:
    path = Path(__file__).parents[1] / "tests" / "composition" / "adversary.py"
    spec = importlib.util.spec_from_file_location("adversary", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attacks() -> list[dict[str, Any]]:
    """Random attacks; the largest ratio of what one attains to what is certified."""
    adversary, rng, rows = _adversary(), np.random.default_rng(0), []
    eps = np.array([0.0, 0.05, 0.3, 1.0, 2.0])
    for trial in range(12):
        q, p = rng.uniform(0.05, 1.0, 2)
        mu = math.exp(rng.uniform(-1.5, 0.8))
        poisson = trial % 2 == 1
        step = OptimalStep("poisson" if poisson else "fixed", q, p, mu)
        weights = (q * p, q * (1 - p), 1 - q) if poisson else (q * p, 1 - q * p, 0.0)
        upper = optimal_profile([(step, 1)], tolerance=0.02).delta(eps)
        worst = 0.0
        for dim in (2, 3):
            for _ in range(100):
                triple = [adversary.ball(rng, dim) for _ in range(3)]
                truth = adversary.hockey_stick(weights, mu, *triple, eps)
                ratio = float(np.max(truth / (upper + 1e-6)))
                if ratio > 1:  # the attack's own quadrature is coarse: look again
                    truth = adversary.hockey_stick(weights, mu, *triple, eps, stride=2)
                    ratio = float(np.max(truth / (upper + 1e-6)))
                worst = max(worst, ratio)
        print(
            f"one step, {step.scheme}, q {q:.2f}, p {p:.2f}, mu {mu:.2f}: {worst:.4f}", flush=True
        )
        rows.append({"attack": "triples", "ratio": worst})
        triples = [
            adversary.inscribed(a, b) for a in (1.57, 1.3, 1.0) for b in (0.0, 0.4, 0.8, 1.2)
        ]
        triples += [(m, g2, g) for m, g, g2 in triples]
        triples += [[adversary.ball(rng, 2) for _ in range(3)] for _ in range(6)]
        game = adversary.Adversary(weights, mu, triples, nodes=961)
        near = np.abs(game.losses) < 2 * mu
        for count in (2, 5):
            bound = optimal_profile([(step, count)], tolerance=0.02, interval=0.02)
            best = game.play(count, lambda table: table.max(axis=0))
            ratio = float(np.max(best[near] / (bound.delta(-game.losses[near]) + 1e-5)))
            print(f"  best of {len(triples)} triples, {count} steps: {ratio:.4f}", flush=True)
            rows.append({"attack": f"{count} steps", "ratio": ratio})
    if max(row["ratio"] for row in rows) > 1.001:
        raise AssertionError("an attack exceeds what is certified")
    return rows


SECTIONS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    f.__name__: f for f in (tolerance, epsilon, image, influence, noise, attacks)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.only:
        print(f"\n== {name}", flush=True)
        found[name] = SECTIONS[name]()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
