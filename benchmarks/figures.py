"""The figures of arXiv:2603.24695, certified, with the Poisson and shuffle curves it does not have.

Epsilon at delta 1e-5 against crop size, patch size and padding; privacy profiles of five shapes;
calibrated noise against epsilon for Cityscapes and A2D2. Each picture has a CSV beside it.

    python -m benchmarks figures [--out notebooks/figures] [--jobs 2]

Every point is a certified upper bound; the column `engine` says by what: a composition of masses
(`dp-accounting`, `tilted`, `layers`), a delta at epsilon 0 that is small enough, or, where a grid
would be too large next to epsilon 0, the error bar of the exact engine. Beside it, in the column
`exact`, stands the exact engine's value, and in `gap` by how much the bound exceeds it, relative to
it. The gap is one of the number that is plotted: of epsilon; in a privacy profile also of delta, at
epsilons where it is flat (the column `given` says which of the two was asked for); in a calibration
of the smallest noise.

The last lines say how many points there are and which gap is the largest. Exit status 1 if that is
above 1e-3, or if a certified number lies below the exact one.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import patchdp as pdp
from patchdp.composition import prove
from patchdp.guarantee import check_delta
from patchdp.report.rounding import at_most

CLIP = 2.0
NOISE = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]  # standard deviations at clipping norm 2
FEW = [1.0, 2.0, 4.0]
DELTA = 1e-5
# Profiles are drawn from the first to the last of these epsilons and down to the last of these
# deltas: their points are the epsilons of the deltas, where they are steep, and the deltas of the
# epsilons, where they are flat.
DELTAS = [0.1, 1e-2, 1e-3, 1e-5, 1e-7]
EPSILONS = np.geomspace(1e-2, 1e3, 11)
TARGETS = [1, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100]
TOLERANCE = 1e-3
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


def exact_epsilon(found: pdp.TrainingPlan, delta: float | Fraction) -> float:
    """The exact engine's value."""
    return prove.estimate_epsilon(found.phases, check_delta(delta))


def bound(found: pdp.TrainingPlan, delta: float | Fraction, truth: float) -> tuple[float, str]:
    """A certified epsilon, and what certified it: the default engine where it can."""
    if truth == 0 and found.delta(0.0) <= float(delta) * (1 - 1e-15):
        return 0.0, "delta at 0"
    certificate = found.certificate(delta, tolerance=0.8 * TOLERANCE)
    return certificate.upper, certificate.prover


def excess(value: float, truth: float) -> float:
    """By how much a bound exceeds the exact value, relative to it."""
    if value == truth:
        return 0.0
    return value / truth - 1 if truth > 0 else math.inf


def point(found: pdp.TrainingPlan, delta: float | Fraction) -> Row:
    """A certified epsilon beside the exact engine's value."""
    return beside(found, delta, exact_epsilon(found, delta))


def beside(found: pdp.TrainingPlan, delta: float | Fraction, truth: float) -> Row:
    """The same where the exact engine's value is known."""
    value, engine = bound(found, delta, truth)
    return {
        "delta": float(delta),
        "epsilon": value,
        "exact": truth,
        "gap": excess(value, truth),
        "engine": engine,
    }


def _points(task: Task) -> list[Row]:
    keys, found, deltas = task
    return [{**keys, **point(found, delta)} for delta in deltas]


def _profile(task: Task) -> list[Row]:
    """Both kinds of points of one profile; `given` says which number the other one is for."""
    keys, found, deltas = task
    rows: list[Row] = []
    for delta in deltas:
        truth = exact_epsilon(found, delta)
        if truth >= EPSILONS[0]:  # else the profile passes this delta left of the picture
            rows.append({"given": "delta", **beside(found, delta, truth)})
    for epsilon in EPSILONS.tolist():
        log_delta = float(prove.estimate_log_delta(found.phases, np.array([epsilon]))[0])
        if log_delta < math.log(deltas[-1]):
            break
        rows.append({"given": "epsilon", **delta_point(found, epsilon, log_delta)})
    return [{**keys, **row} for row in rows]


def delta_point(found: pdp.TrainingPlan, epsilon: float, log_delta: float) -> Row:
    """A certified delta beside the exact engine's."""
    _, log_bound, engine = prove.bracket_log_delta(found.phases, epsilon, 0.8 * TOLERANCE)
    value = min(math.exp(log_bound) * (1 + 1e-14), 1.0)
    truth = math.exp(log_delta)
    gap = excess(value, truth)
    return {"delta": value, "epsilon": epsilon, "exact": truth, "gap": gap, "engine": engine}


def _calibrations(job: tuple[str, str, int]) -> list[Row]:
    training, name, target = job
    delta = Fraction(1, TRAININGS[training][1])
    solved = trainings(training)[name].solve("noise_multiplier", epsilon=target, delta=delta)
    noise = solved.noise_multiplier
    less = noise * (1 - TOLERANCE)
    at, above = (exact_epsilon(solved.replace(noise_multiplier=n), delta) for n in (noise, less))
    # The exact engine's smallest noise: on a line through two points so close to each other.
    smallest = noise - (noise - less) * (target - at) / (above - at)
    value, engine = bound(solved, delta, at)
    if value > target:
        raise ArithmeticError(f"{solved} was solved for epsilon {target} and has {value}")
    row = {"training": training, "sampling": name, "target": target, "noise_std": noise * CLIP}
    found = {"delta": float(delta), "epsilon": value, "exact": smallest * CLIP}
    return [{**row, **found, "gap": excess(noise, smallest), "engine": engine}]


def _text(name: str, value: Any) -> Any:
    """A cell: bounds are rounded up."""
    if not isinstance(value, float):
        return value
    if name == "gap":
        return f"{value:.2e}"
    return at_most(value, 10) if name in ("delta", "epsilon") else f"{value:.10g}"


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
            axes.set(xscale="log", yscale="log", xlim=(EPSILONS[0], EPSILONS[-1]))
            axes.set_title(f"crop {crop}, area {side}$^2$", fontsize=10)
            axes.grid(alpha=0.3)
        line[0].set_ylabel(r"certified $\delta$")
    for axes in grid[-1]:
        axes.set_xlabel(r"certified $\varepsilon$")
    figure.suptitle(f"Privacy profiles down to 1e-7, {name} sampling, image 1000 x 1000")
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


def draw(name: str, rows: list[Row]) -> dict[str, Any]:
    """The pictures of one table, by file name."""
    if name == "privacy_profile":
        return {f"{name}_{scheme}": draw_profiles(rows, scheme) for scheme in SAMPLING}
    if name == "crop_size":
        return {name: draw_influence(rows, "crop", "Crop size, patch 10 x 10")}
    if name == "patch_size":
        return {name: draw_influence(rows, "patch", "Patch size, crop 450 x 450")}
    return {name: draw_padding(rows) if name == "padding" else draw_calibration(rows)}


def _ready() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def make(out: Path, jobs: int) -> dict[str, list[Row]]:
    """Certify, write and draw everything."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    sweeps = {
        "privacy_profile": list(privacy_profile()),
        "crop_size": list(crop_size()),
        "patch_size": list(patch_size()),
        "padding": list(padding()),
    }
    found: dict[str, list[Row]] = {}
    pictures = 0
    with ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ready
    ) as workers:
        targets = [(t, name, e) for t in TRAININGS for name in COLOURS for e in TARGETS]
        pending = {
            "calibration": workers.map(_calibrations, targets, chunksize=2),
            **{
                name: workers.map(
                    _profile if name == "privacy_profile" else _points, tasks, chunksize=6
                )
                for name, tasks in sweeps.items()
            },
        }
        for name, results in pending.items():
            rows = found[name] = [row for result in results for row in result]
            write(out / f"{name}.csv", rows)
            for file, figure in draw(name, rows).items():
                figure.savefig(out / f"{file}.png", dpi=110)
                pictures += 1
            print(
                f"{name:16s} {len(rows):5d} points, largest gap {_largest(rows):.1e}"
                f"  [{time.perf_counter() - start:.0f} s]",
                flush=True,
            )
    used = sum(os.times()[:4])  # this process and the workers, which have ended
    seconds = time.perf_counter() - start
    print(f"{pictures} figures in {seconds:.0f} s ({used:.0f} s of processor time)")
    return found


def _largest(rows: list[Row]) -> float:
    return max(float(row["gap"]) for row in rows)


def main() -> int:
    """Make the figures, and judge their points."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks figures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("notebooks/figures"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    rows = [row for part in make(options.out, options.jobs).values() for row in part]
    worst = _largest(rows)
    # The exact value is a number with ten digits or more, not a bound.
    below = [row for row in rows if row["gap"] < -1e-9]
    engines = Counter(row["engine"] for row in rows)
    print(
        f"{len(rows)} points, every one certified, by "
        + ", ".join(f"{name} {count}" for name, count in engines.most_common())
    )
    print(
        f"largest relative gap between a certified number and the exact engine's: {worst:.2e} "
        f"(allowed: {TOLERANCE:g}); certified numbers below the exact one: {len(below)}"
    )
    for row in [*below, *(row for row in rows if not row["gap"] <= TOLERANCE)]:
        print(f"  {row}")
    return 0 if worst <= TOLERANCE and not below else 1
