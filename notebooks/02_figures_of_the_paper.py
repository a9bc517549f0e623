# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The paper's figures, with the curves it does not have
#
# Durmaz, Schuchardt, Schmidt and Günnemann (arXiv:2603.24695) sample batches of a fixed size and
# bound each step by the fixed-size profile. The figures below repeat their settings and add Poisson
# sampling and shuffled epochs. `python -m benchmarks figures` certifies every point (an upper
# bound, within $10^{-3}$ of the exact engine, relative to it) and writes the CSV files that this
# notebook draws; the noise levels are standard deviations at clipping norm 2.

# %%
import csv
from pathlib import Path

import matplotlib.pyplot as plt

import patchdp as pdp

FOLDER = Path("figures")
STYLES = {"fixed-size": "-", "Poisson": "--", "shuffle": ":"}
COLOURS = {
    "whole image": "#000000", "fixed-size": "#0072B2", "Poisson": "#D55E00", "shuffle": "#009E73",
}  # fmt: skip


def read(name):
    """Rows of a figure, numbers as numbers."""

    def number(text):
        try:
            return float(text)
        except ValueError:
            return text

    with (FOLDER / f"{name}.csv").open() as file:
        return [{k: number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def curve(rows, x, y="epsilon", **keys):
    """One curve, sorted."""
    chosen = sorted((r[x], r[y]) for r in rows if all(r[k] == v for k, v in keys.items()))
    return tuple(zip(*chosen, strict=True)) or ((), ())


def noise_colour(noise):
    return plt.colormaps["viridis"](0.92 * (noise - 1) / 4)


def panel(axes, rows, x, **keys):
    """All noise levels (colours) and sampling schemes (line styles)."""
    for name, style in STYLES.items():
        for noise in sorted({r["noise_std"] for r in rows}):
            at, values = curve(rows, x, sampling=name, noise_std=noise, **keys)
            label = f"{name}, {noise:g}" if keys.get("width", 1000) == 1000 else None
            if at:
                axes.plot(at, values, style, color=noise_colour(noise), lw=1.5, label=label)
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


NAMES = ("crop_size", "patch_size", "padding", "privacy_profile", "calibration")
for name in NAMES:
    gaps = [row["gap"] for row in read(name)]
    assert min(gaps) >= -1e-9 and max(gaps) <= 1e-3
    print(f"{name:16s} {len(gaps):5d} points, at most {max(gaps):.1e} above the exact engine")

# %% [markdown]
# ## Crop size and patch size

# %%
for name, x in (("crop_size", "crop"), ("patch_size", "patch")):
    rows = read(name)
    figure, both = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
    for axes, width in zip(both, (1000, 2000), strict=True):
        panel(axes, rows, x, width=width)
        axes.set(title=f"image 1000 x {width}", xlabel=f"{x} side (pixels)")
    both[0].set_ylabel(r"certified $\varepsilon$ at $\delta=10^{-5}$")
    figure.legend(title="sampling, noise std", loc="outside right center", fontsize=7)
    plt.show()

# %% [markdown]
# Fixed-size and Poisson sampling draw the same number of images in the same training, and yet the
# Poisson curve lies lower wherever epsilon is not small: under Poisson sampling a replaced image
# competes with *no image at all*, which the fixed-size bound cannot use. Shuffled epochs have no
# amplification by sampling: 100 epochs cost 100 noisy looks at a crop, each hit with probability p.
#
# ## Padding

# %%
rows = read("padding")
figure, grid = plt.subplots(3, 3, figsize=(10, 8.4), sharex=True, sharey=True, layout="constrained")
for line, crop in zip(grid, (400, 450, 500), strict=True):
    for axes, patch in zip(line, (10, 20, 40), strict=True):
        panel(axes, rows, "padding", crop=crop, patch=patch)
        axes.set_title(f"crop {crop}, patch {patch}", fontsize=9)
    line[0].set_ylabel(r"$\varepsilon$")
for axes in grid[-1]:
    axes.set_xlabel("padding (pixels)")
handles, labels = grid[0, 0].get_legend_handles_labels()
figure.legend(handles, labels, title="sampling, noise std", loc="outside right center", fontsize=7)
plt.show()

# %% [markdown]
# ## Privacy profiles of five shapes
#
# Square, rectangle, disk, two disks side by side and a crescent of the same area: colours. What
# counts is how far a shape reaches, hence the order. The points of a profile are certified epsilons
# at some deltas and, where it is flat, certified deltas at some epsilons, down to $10^{-7}$.

# %%
rows = read("privacy_profile")
names = list(dict.fromkeys(r["shape"] for r in rows))
colours = dict(zip(names, ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"], strict=True))
figure, grid = plt.subplots(3, 3, figsize=(10, 8.4), sharex=True, sharey=True, layout="constrained")
for line, crop in zip(grid, (100, 200, 400), strict=True):
    for axes, side in zip(line, (10, 20, 40), strict=True):
        for name, style in STYLES.items():
            for shape, colour in colours.items():
                keys = {"sampling": name, "noise_std": 2.0, "crop": crop, "patch": side}
                at, deltas = curve(rows, "epsilon", "delta", shape=shape, **keys)
                label = shape if style == "-" else None
                axes.loglog(at, deltas, style, color=colour, lw=1.3, label=label)
        axes.set(xlim=(1e-2, 1e3))
        axes.set_title(f"crop {crop}, area {side}$^2$", fontsize=9)
        axes.grid(alpha=0.3)
    line[0].set_ylabel(r"certified $\delta$")
for axes in grid[-1]:
    axes.set_xlabel(r"certified $\varepsilon$")
handles, labels = grid[0, 0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=5)
figure.suptitle("noise std 2; solid: fixed-size, dashed: Poisson, dotted: shuffled epochs")
plt.show()

# %% [markdown]
# ## Noise for a given epsilon: Cityscapes and A2D2

# %%
rows = read("calibration")
figure, both = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for axes, training in zip(both, ("Cityscapes", "A2D2"), strict=True):
    for (name, colour), marker in zip(COLOURS.items(), "sovD", strict=True):
        at, noise = curve(rows, "target", "noise_std", training=training, sampling=name)
        axes.loglog(at, noise, marker=marker, ms=4, color=colour, label=name)
    axes.set(title=training, xlabel=r"target $\varepsilon$ at $\delta=1/N$")
    axes.grid(alpha=0.3, which="both")
both[0].set_ylabel("smallest noise std (C = 2)")
both[0].legend()
plt.show()

# %% [markdown]
# ## Check one point by hand
#
# A point of the file, by the question that anybody would ask.

# %%
row = next(
    r for r in read("patch_size")
    if (r["sampling"], r["noise_std"], r["width"]) == ("Poisson", 2.0, 2000) and r["patch"] > 50
)  # fmt: skip
side = int(row["patch"])
again = pdp.TrainingPlan(
    image=(1000, 2000),
    crop=pdp.RandomCrop((450, 450)),
    patch=pdp.Patch((side, side)),
    sampling=pdp.Poisson(batch_size=100, dataset_size=100_000),
    noise_multiplier=row["noise_std"] / 2,
    epochs=100,
)
print(f"patch {side}: in the file {row['epsilon']:.3f}, again {again.epsilon(1e-5):.3f}")
assert abs(again.epsilon(1e-5) / row["epsilon"] - 1) < 1e-3
