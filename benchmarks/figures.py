"""The figures of arXiv:2603.24695, certified, with the Poisson and shuffle curves it does not have.

Epsilon at delta 1e-5 against crop size, patch size and padding; privacy profiles of five shapes;
calibrated noise against epsilon for Cityscapes and A2D2. Each picture has a CSV beside it.

    python -m benchmarks figures [--out notebooks/figures] [--jobs 2]

Every point is a certified upper bound by the default engine, asked to lie within 1e-3 of the exact
value. The exact engine checks that: a point further from its value than 1e-3, relative or (for
epsilons below 1) absolute, stops the run. Where the patch is hit less than twice in the whole
training it takes seconds: there the column `exact` is empty.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import patchdp as pdp
from patchdp.composition import exact
from patchdp.guarantee import check_delta
from patchdp.report.rounding import at_most

CLIP = 2.0
NOISE = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]  # standard deviations at clipping norm 2
FEW = [1.0, 2.0, 4.0]
DELTA = 1e-5
DELTAS = [0.1, 1e-2, 1e-3, 1e-5, 1e-7]
TARGETS = [1, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100]
TOLERANCE = 1e-3
OFTEN = 2
BATCH, DATASET, EPOCHS = 100, 100_000, 100
SAMPLING: dict[str, Any] = {
    "fixed-size": pdp.FixedSize(BATCH, DATASET),
    "Poisson": pdp.Poisson(batch_size=BATCH, dataset_size=DATASET),
    "shuffle": pdp.Shuffle(),
}
# Okabe and Ito's colours, told apart by everyone.
COLOURS = {
    "whole image": "#000000",
    "fixed-size": "#0072B2",
    "Poisson": "#D55E00",
    "shuffle": "#009E73",
}
SHAPE_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"]

Row = dict[str, Any]
Task = tuple[Row, pdp.TrainingPlan, list[float]]


def plan(image: Sequence[int], crop: int, patch: Any, *, padding: int = 0) -> pdp.TrainingPlan:
    """The training of the influence figures with noise 1."""
    return pdp.TrainingPlan(
        image=tuple(image),
        crop=pdp.RandomCrop((crop, crop), padding=padding),
        patch=pdp.Patch((patch, patch)) if isinstance(patch, int) else patch,
        sampling=SAMPLING["fixed-size"],
        noise_multiplier=1.0 / CLIP,
        epochs=EPOCHS,
    )


def _around(radius: float, *, cut: float = math.inf) -> Any:
    """Pixels of a disk, without those of an equal disk that is moved by `cut` radii."""
    n = math.ceil(radius) + 1
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    inside = x * x + y * y <= radius * radius
    return inside & ((x - min(cut, 9.0) * radius) ** 2 + y * y > radius * radius)


def _of_area(area: int, make: Callable[[float], Any]) -> Any:
    """The smallest pixel set of a family with at least `area` pixels."""
    return next(m for r in np.arange(0.5, 100.0, 0.1) if (m := make(float(r))).sum() >= area)


def shapes(side: int) -> dict[str, Any]:
    """Five private shapes of about `side * side` pixels each."""
    area = side * side
    half = _of_area(area // 2, _around)
    used = half[:, half.any(axis=0)]
    pair = np.concatenate([used, used], axis=1)
    return {
        "square": pdp.Patch((side, side)),
        "rectangle 2:1": pdp.Patch((round(side / 2**0.5), 2 * round(side / 2**0.5))),
        "disk": pdp.Mask(_of_area(area, _around)),
        "two disks": pdp.Mask(pair),
        "crescent": pdp.Mask(_of_area(area, lambda r: _around(r, cut=0.7))),
    }


def _under(start: pdp.TrainingPlan, keys: Row, extra: list[float]) -> Iterable[Task]:
    """The plan under every sampling scheme: all noise levels for the published, few for others."""
    for name, sampling in SAMPLING.items():
        for noise in NOISE if name == "fixed-size" else extra:
            row = {"sampling": name, "noise_std": noise, **keys}
            yield row, start.replace(sampling=sampling, noise_multiplier=noise / CLIP), [DELTA]


def crop_size() -> Iterable[Task]:
    for image, last in (((1000, 1000), 700), ((1000, 2000), 1000)):
        for crop in np.linspace(10, last, 20).astype(int).tolist():
            yield from _under(plan(image, crop, 10), {"width": image[1], "crop": crop}, FEW)


def patch_size() -> Iterable[Task]:
    for image in ((1000, 1000), (1000, 2000)):
        for patch in np.linspace(1, 120, 20).astype(int).tolist():
            yield from _under(plan(image, 450, patch), {"width": image[1], "patch": patch}, FEW)


def padding() -> Iterable[Task]:
    for crop in (400, 450, 500):
        for patch in (10, 20, 40):
            for pad in range(0, 51, 5):
                start = plan((1000, 1000), crop, patch, padding=pad)
                yield from _under(start, {"crop": crop, "patch": patch, "padding": pad}, [2.0])


def privacy_profile() -> Iterable[Task]:
    for side in (10, 20, 40):
        for shape, patch in shapes(side).items():
            for crop in (100, 200, 400):
                start = plan((1000, 1000), crop, patch)
                for name, sampling in SAMPLING.items():
                    for noise in FEW if name == "fixed-size" else [2.0]:
                        row = {"sampling": name, "noise_std": noise, "crop": crop, "patch": side}
                        here = start.replace(sampling=sampling, noise_multiplier=noise / CLIP)
                        yield {**row, "shape": shape}, here, DELTAS


TRAININGS: dict[str, tuple[tuple[int, int], int, int]] = {
    "Cityscapes": ((1024, 2048), 2975, 100),
    "A2D2": ((1208, 1920), 18557, 25),
}


def trainings(name: str) -> dict[str, pdp.TrainingPlan]:
    """A published training under each sampling scheme, and without counting the crop."""
    image, size, epochs = TRAININGS[name]
    fixed = plan(image, 505, 10).replace(
        sampling=pdp.FixedSize(200, size), epochs=epochs, noise_multiplier=4.0
    )
    return {
        "whole image": fixed.image_level(),
        "fixed-size": fixed,
        "Poisson": fixed.replace(sampling=pdp.Poisson(batch_size=200, dataset_size=size)),
        "shuffle": fixed.replace(sampling=pdp.Shuffle()),
    }


def reference(found: pdp.TrainingPlan, delta: float | Fraction) -> float | None:
    """The exact engine's value, where it has one."""
    try:
        return float(exact.epsilon_estimate(found.phases, np.array(check_delta(delta))))
    except exact.ExactEngineError:
        return None


def bound(found: pdp.TrainingPlan, delta: float | Fraction) -> float:
    """The default engine's bound, relatively as sharp as the figure wants it where that can be had.

    Next to 0 it takes too fine a grid: there a coarser one leaves an absolute error as small.
    """
    for tolerance in (0.7 * TOLERANCE, 0.05, 1.0):
        try:
            value = found.epsilon(delta, tolerance=tolerance)
        except ValueError:
            continue
        if tolerance <= TOLERANCE or value * tolerance <= TOLERANCE:
            break
    else:
        value = found.epsilon(delta, method="exact")
    return value


def certify(found: pdp.TrainingPlan, delta: float | Fraction) -> Row:
    """A certified epsilon and the exact engine's value; an AssertionError where they part."""
    # Below about two hits in the whole training the exact engine takes seconds.
    often = found.applications * found.effective_sampling_probability >= OFTEN
    truth = reference(found, delta) if often else None
    value, engine = bound(found, delta), "pld"
    if truth is not None:
        highest = truth + TOLERANCE * max(1.0, truth)
        if value > highest:
            engine, value = "exact", found.epsilon(delta, method="exact")
        assert truth * (1 - 1e-9) <= value <= highest, (found, delta, value, truth)
    return {"delta": float(delta), "epsilon": value, "exact": truth, "engine": engine}


def _points(task: Task) -> list[Row]:
    keys, found, deltas = task
    return [{**keys, **certify(found, delta)} for delta in deltas]


def _calibrations(job: tuple[str, str, int]) -> list[Row]:
    training, name, target = job
    delta = Fraction(1, TRAININGS[training][1])
    start = trainings(training)[name]
    solved = start.solve("noise_multiplier", epsilon=target, delta=delta)
    row = {"training": training, "sampling": name, "target": target}
    # The number that the search certified.
    value, truth = solved.epsilon(delta), reference(solved, delta)
    assert target * (1 - 2 * TOLERANCE) <= value <= target, (row, value)
    assert truth is None or truth * (1 - 1e-9) <= value <= truth + TOLERANCE * target, (row, truth)
    found = {"delta": float(delta), "epsilon": value, "exact": truth, "engine": "pld"}
    return [{**row, "noise_std": solved.noise_multiplier * CLIP, **found}]


def _text(name: str, value: Any) -> Any:
    """A cell: bounds are rounded up."""
    if not isinstance(value, float):
        return value
    return at_most(value, 10) if name == "epsilon" else f"{value:.10g}"


def write(path: Path, rows: list[Row]) -> None:
    """The points of one figure."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({k: _text(k, v) for k, v in row.items()} for row in rows)


def _select(rows: list[Row], x: str, y: str, **keys: Any) -> tuple[list[float], list[float]]:
    chosen = sorted(
        (r[x], r[y]) for r in rows if all(r[name] == value for name, value in keys.items())
    )
    return [c[0] for c in chosen], [c[1] for c in chosen]


def _noise_colour(noise: float) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.92 * (noise - NOISE[0]) / (NOISE[-1] - NOISE[0]))


def _curves(axes: Any, rows: list[Row], x: str, keys: Row) -> None:
    for name, style in (("fixed-size", "-"), ("Poisson", "--"), ("shuffle", ":")):
        for noise in NOISE:
            at, values = _select(rows, x, "epsilon", sampling=name, noise_std=noise, **keys)
            if at:
                axes.plot(at, values, style, color=_noise_colour(noise), lw=1.6)
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _legends(figure: Any) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=_noise_colour(n), label=f"{n:g}", lw=2) for n in NOISE]
    styles = [
        Line2D([], [], color="0.3", ls=style, label=name)
        for name, style in (
            ("fixed-size (published)", "-"),
            ("Poisson", "--"),
            ("shuffled epochs", ":"),
        )
    ]
    figure.legend(handles=lines, title="noise std (C = 2)", loc="outside right upper")
    figure.legend(handles=styles, title="sampling", loc="outside lower center", ncols=3)


def draw_influence(rows: list[Row], x: str, title: str) -> Any:
    """Two images side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    for axes, width in zip(figure.subplots(1, 2, sharey=True), (1000, 2000), strict=True):
        _curves(axes, rows, x, {"width": width})
        axes.set(title=f"image 1000 x {width}", xlabel=f"{x} side (pixels)")
    figure.axes[0].set_ylabel(r"certified $\varepsilon$ at $\delta=10^{-5}$")
    figure.suptitle(title)
    _legends(figure)
    return figure


def draw_padding(rows: list[Row]) -> Any:
    """Rows are crops, columns are patches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    for line, crop in zip(grid, (400, 450, 500), strict=True):
        for axes, patch in zip(line, (10, 20, 40), strict=True):
            _curves(axes, rows, "padding", {"crop": crop, "patch": patch})
            axes.set_title(f"crop {crop}, patch {patch}", fontsize=10)
        line[0].set_ylabel(r"certified $\varepsilon$")
    for axes in grid[-1]:
        axes.set_xlabel("padding (pixels)")
    figure.suptitle(r"Padding, image 1000 x 1000, $\delta=10^{-5}$")
    _legends(figure)
    return figure


def draw_profiles(rows: list[Row], name: str) -> Any:
    """Rows are crops, columns are areas; colours are shapes, line styles noise levels."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(10, 9), layout="constrained")
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    styles = dict(zip(FEW, ("-", "--", ":"), strict=True))
    colours = dict(zip(shapes(10), SHAPE_COLOURS, strict=True))
    used = sorted({r["noise_std"] for r in rows if r["sampling"] == name})
    for line, crop in zip(grid, (100, 200, 400), strict=True):
        for axes, side in zip(line, (10, 20, 40), strict=True):
            for shape, colour in colours.items():
                for noise in used:
                    keys = {"sampling": name, "noise_std": noise, "crop": crop}
                    at, values = _select(rows, "epsilon", "delta", shape=shape, patch=side, **keys)
                    shown = [(e, d) for e, d in zip(at, values, strict=True) if e > 0]
                    axes.plot(*zip(*shown, strict=True), styles[noise], color=colour, lw=1.4)
            axes.set(xscale="log", yscale="log", xlim=(1e-3, 1e3))
            axes.set_title(f"crop {crop}, area {side}$^2$", fontsize=10)
            axes.grid(alpha=0.3)
        line[0].set_ylabel(r"$\delta$")
    for axes in grid[-1]:
        axes.set_xlabel(r"certified $\varepsilon$")
    figure.suptitle(f"Privacy profiles, {name} sampling, image 1000 x 1000")
    figure.legend(
        handles=[Line2D([], [], color=c, label=s, lw=2) for s, c in colours.items()]
        + [Line2D([], [], color="0.3", ls=styles[n], label=f"noise std {n:g}") for n in used],
        loc="outside lower center",
        ncols=4,
    )
    return figure


def draw_calibration(rows: list[Row]) -> Any:
    """Noise against epsilon for two trainings."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    markers = dict(zip(COLOURS, "sovD", strict=True))
    for axes, training in zip(figure.subplots(1, 2), TRAININGS, strict=True):
        for name, colour in COLOURS.items():
            at, values = _select(rows, "target", "noise_std", training=training, sampling=name)
            label = {"fixed-size": "fixed-size (published)"}.get(name, name)
            axes.plot(at, values, marker=markers[name], ms=4, color=colour, label=label)
        axes.set(xscale="log", yscale="log", xlabel=r"target $\varepsilon$", title=training)
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].set_ylabel("smallest noise std (C = 2)")
    figure.axes[0].legend()
    figure.suptitle(r"Calibrated noise at $\delta=1/N$, crop 505 x 505, patch 10 x 10")
    return figure


def _ready() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def make(out: Path, jobs: int) -> int:
    """Certify, write and draw everything; returns the number of points."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    sweeps = {
        "crop_size": list(crop_size()),
        "patch_size": list(patch_size()),
        "padding": list(padding()),
        "privacy_profile": list(privacy_profile()),
    }
    found: dict[str, list[Row]] = {}
    with ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ready
    ) as workers:
        pending = {name: workers.map(_points, tasks, chunksize=6) for name, tasks in sweeps.items()}
        pending["calibration"] = workers.map(
            _calibrations,
            [(t, name, e) for t in TRAININGS for name in COLOURS for e in TARGETS],
            chunksize=2,
        )
        for name, results in pending.items():
            rows = found[name] = [row for result in results for row in result]
            write(out / f"{name}.csv", rows)
            none = sum(row["exact"] is None for row in rows)
            print(
                f"{name:16s} {len(rows):5d} points certified, {len(rows) - none} beside the "
                f"exact engine  [{time.perf_counter() - start:.0f} s]",
                flush=True,
            )
    pictures = {
        "crop_size": draw_influence(found["crop_size"], "crop", "Crop size, patch 10 x 10"),
        "patch_size": draw_influence(found["patch_size"], "patch", "Patch size, crop 450 x 450"),
        "padding": draw_padding(found["padding"]),
        "calibration": draw_calibration(found["calibration"]),
        **{
            f"privacy_profile_{name}": draw_profiles(found["privacy_profile"], name)
            for name in SAMPLING
        },
    }
    for name, figure in pictures.items():
        figure.savefig(out / f"{name}.png", dpi=110)
    total = sum(map(len, found.values()))
    used = sum(os.times()[:4])  # this process and the workers, which have ended
    seconds = time.perf_counter() - start
    print(f"{total} points, {len(pictures)} figures in {seconds:.0f} s ({used:.0f} s of CPU time)")
    return total


def main() -> int:
    """Make the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks figures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("notebooks/figures"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    make(options.out, options.jobs)
    return 0
