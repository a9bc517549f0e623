"""The headline of the README: a table and a picture, for the published Cityscapes training.

What one training (1024x2048 images, 505x505 crops, a private 10x10 patch, batches of 200 of 2975
images, noise multiplier 2, 1500 steps, delta 1e-5) is worth by naive accounting, by the published
analysis (arXiv:2603.24695) and here, and how long each number takes on one core.

    python -m benchmarks headline [--out docs/headline.png]

Prints Markdown. The times of the published program are those of its authors' own code, run once on
one core of the same class of machine; everything else is measured here.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dp_accounting import PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.pld import PLDAccountant

import patchdp as pdp
from benchmarks._published import CITYSCAPES
from patchdp.report.rounding import at_least, at_most

DELTA = 1e-5
TARGET = 10.0
# Seconds of the published program: one inclusion probability and one epsilon; one noise multiplier.
PUBLISHED_EPSILON, PUBLISHED_NOISE = 4.0 + 3.3, 100.0
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


def _clock(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def _seconds(value: float) -> str:
    return f"{1e3 * value:.0f} ms" if value < 1 else f"{value:.0f} s"


def rate_times_p(plan: pdp.TrainingPlan) -> float:
    """What is claimed by an add-or-remove accountant that is told the rate q p: too little."""
    accountant = PLDAccountant()
    rate = float(plan.effective_sampling_probability)
    step = PoissonSampledDpEvent(rate, GaussianDpEvent(plan.noise_multiplier))
    accountant.compose(SelfComposedDpEvent(step, plan.applications))
    return float(accountant.get_epsilon(DELTA))


def rows() -> list[tuple[str, str, float, float, float, float]]:
    """Name, sampler, epsilon, its seconds, noise multiplier for epsilon 10, its seconds."""
    fixed = CITYSCAPES
    poisson = fixed.replace(sampling=pdp.Poisson(batch_size=200, dataset_size=2975))
    fixed.replace(steps=2).epsilon(DELTA)  # imports and the like are not what is measured
    found = []
    for name, sampler, plan, method in (
        ("whole image, crop not counted", "fixed-size", fixed.image_level(), "pld"),
        ("whole image, crop not counted", "Poisson", poisson.image_level(), "pld"),
        ("published analysis", "fixed-size", fixed, "pld"),
        ("patchdp, optimal composition", "fixed-size", fixed, "optimal"),
        ("patchdp", "Poisson", poisson, "pld"),
    ):
        method_: Any = method
        value, seconds = _clock(lambda p=plan, m=method_: p.replace().epsilon(DELTA, method=m))
        if method == "optimal":
            found.append((name, sampler, value, seconds, math.nan, math.nan))
            continue
        solved, searching = _clock(
            lambda p=plan: p.replace().solve("noise_multiplier", epsilon=TARGET, delta=DELTA)
        )
        found.append((name, sampler, value, seconds, solved.noise_multiplier, searching))
    return found


def table(found: list[tuple[str, str, float, float, float, float]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| accounting | sampler | ε ≤ | time | noise for ε = 10 | time |",
        "|---|---|---|---|---|---|",
    ]
    for name, sampler, value, seconds, noise, searching in found:
        shown = _seconds(seconds)
        solved, took = ("", "") if math.isnan(noise) else (f"{noise:.4g}", _seconds(searching))
        if name == "published analysis":
            shown = f"{shown} (its own program: {PUBLISHED_EPSILON:.0f} s)"
            took = f"{took} (its own program: {PUBLISHED_NOISE:.0f} s)"
        lines.append(f"| {name} | {sampler} | {at_most(value, 4)} | {shown} | {solved} | {took} |")
    poisson = CITYSCAPES.replace(sampling=pdp.Poisson(batch_size=200, dataset_size=2975))
    claimed, seconds = _clock(lambda: rate_times_p(poisson))
    lower = poisson.epsilon_bounds(DELTA).lower
    assert lower is not None and claimed < lower
    lines.append(
        f"| sampling rate times p, **wrong** | Poisson | {claimed:.4g}, but "
        f"{at_least(lower, 4)} is attained | {_seconds(seconds)} | | |"
    )
    return "\n".join(lines)


def draw(found: list[tuple[str, str, float, float, float, float]], out: Path) -> None:
    """Where a crop sees the patch, and what that is worth."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    plan = CITYSCAPES
    chances = pdp.inclusion_map(plan.image, plan.crop, plan.patch)[::8, ::8]
    figure = Figure(figsize=(10, 3.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    height, width = plan.image
    shown = left.imshow(chances, extent=(0, width, height, 0), cmap="viridis", vmin=0)
    rng = np.random.default_rng(5)
    for number in range(4):
        top, start = rng.integers(0, height - 505), rng.integers(0, width - 505)
        label = "random crops" if number == 0 else None
        left.add_patch(
            Rectangle((start, top), 505, 505, fill=False, ec="white", lw=1.4, ls="--", label=label)
        )
    y, x = plan.inclusion.worst_position
    left.plot(x + 5, y + 5, "s", color=ORANGE, ms=5, label="worst 10 x 10 patch")
    left.legend(loc="upper left", fontsize=8, facecolor="0.15", labelcolor="white", framealpha=0.9)
    left.set_title(
        "A crop shows the patch with probability at most "
        f"{at_most(float(plan.inclusion.probability), 3)}",
        fontsize=10,
    )
    left.set_xticks([]), left.set_yticks([])
    figure.colorbar(shown, ax=left, fraction=0.024, label="at this place")
    bars = [
        (f"{name.split(',')[0]}, {sampler}", value, seconds)
        for name, sampler, value, seconds, _, _ in found
    ]
    for at, (name, value, _) in enumerate(bars):
        colour = GREY if name.startswith("whole") else BLUE if "published" in name else ORANGE
        right.barh(at, value, color=colour, height=0.62)
        right.text(value + 0.4, at, at_most(value, 3), va="center", fontsize=9)
    right.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=9)
    right.invert_yaxis()
    right.set_xlim(0, 28)
    right.spines[["top", "right"]].set_visible(False)
    right.set_title(
        r"certified $\varepsilon$ at $\delta=10^{-5}$, 1500 steps, noise 2", fontsize=10
    )
    figure.savefig(out, dpi=100)


def main() -> int:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks headline", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/headline.png"))
    options = parser.parse_args()
    found = rows()
    print(table(found))
    draw(found, options.out)
    print(f"\n{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")
    return 0
