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
# # Where in the image is one safe?
#
# The guarantee holds at the worst place. A patch whose place is known (a clock burnt into a corner,
# a face that is always near the top) has the epsilon of *its* place. The maps below use the exact
# engine's estimate for the colours; the numbers printed beside them are certified.

# %%
import matplotlib.pyplot as plt
import numpy as np

import patchdp as pdp

DELTA = 1e-5
base = pdp.TrainingPlan(
    image=(512, 768),
    crop=pdp.RandomCrop((256, 256)),
    patch=pdp.Patch((24, 24)),
    sampling=pdp.Poisson(batch_size=64, dataset_size=5000),
    noise_multiplier=1.2,
    epochs=30,
)


def with_inclusion(plan, p):
    """The same training for a patch that a crop shows with probability p, to five digits.

    Epsilon depends on the place through this probability alone, so a line of pixels and windows of
    one pixel will do.
    """
    line = 100_000
    patch = pdp.Patch((max(1, round(p * line)),), at=(0,))
    return plan.replace(image=(line,), crop=pdp.RandomCrop((1,)), patch=patch)


def value(plan):
    """The exact estimate; a certified number where the engine has none (hardly ever seen)."""
    try:
        return pdp.epsilons([plan], DELTA, method="exact_estimate")[0]
    except ValueError:
        return plan.epsilon(DELTA, tolerance=0.05)


def epsilon_of(plan, chances):
    """Estimates of epsilon for a map of inclusion probabilities: 24 values, interpolated."""
    grid = np.linspace(chances.min(), chances.max(), 24)
    return np.interp(chances, grid, [value(with_inclusion(plan, p)) for p in grid])


# %% [markdown]
# ## Three croppers
#
# A plain crop shows the middle most often. Padding with zeros takes from the middle and gives to
# the border: the worst place becomes better and the corners worse.

# %%
croppers = {
    "crop 256": pdp.RandomCrop((256, 256)),
    "crop 256, padding 64": pdp.RandomCrop((256, 256), padding=64),
    "crop 128": pdp.RandomCrop((128, 128)),
}
figure, row = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharey=True)
maps = {}
for name, crop in croppers.items():
    chances = pdp.inclusion_map(base.image, crop, base.patch)[::4, ::4]
    maps[name] = epsilon_of(base.replace(crop=crop), chances)
top = max(m.max() for m in maps.values())
for axes, (name, values) in zip(row, maps.items(), strict=True):
    shown = axes.imshow(values, cmap="cividis", vmin=0, vmax=top, extent=(0, 744, 488, 0))
    lines = axes.contour(
        np.arange(values.shape[1]) * 4, np.arange(values.shape[0]) * 4, values,
        levels=[0.25 * top, 0.5 * top, 0.75 * top], colors="white", linewidths=0.8,
    )  # fmt: skip
    axes.clabel(lines, fmt="%.2f", fontsize=7)
    axes.set(title=name, xlabel="column of the patch")
row[0].set_ylabel("row of the patch")
figure.colorbar(shown, ax=row, label=r"estimate of $\varepsilon$ at $\delta=10^{-5}$", shrink=0.9)
plt.show()

# %% [markdown]
# ## Certified at a few places

# %%
for name, crop in croppers.items():
    plan = base.replace(crop=crop)
    places = {"corner": (0, 0), "middle of an edge": (0, 372), "middle": (244, 372)}
    numbers = {
        where: plan.replace(patch=pdp.Patch((24, 24), at=at)).epsilon(DELTA)
        for where, at in places.items()
    }
    said = ", ".join(f"{where} {value:.3f}" for where, value in numbers.items())
    print(f"{name}: {said}; worst place {plan.epsilon(DELTA):.3f}")

# %% [markdown]
# The estimates of the map agree with the certified numbers:

# %%
for name, crop in croppers.items():
    certified = base.replace(crop=crop).epsilon(DELTA)
    print(f"{name}: largest on the map {maps[name].max():.4f}, certified {certified:.4f}")
    assert certified * 0.99 < maps[name].max() <= certified * 1.003

# %% [markdown]
# ## How large may a patch be before it is as exposed as the whole image?

# %%
sides = [1, 8, 16, 32, 64, 96, 128, 192, 256]
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
looks = (("-o", "#0072B2"), ("--s", "#D55E00"), (":^", "#009E73"))
for (name, crop), (style, colour) in zip(croppers.items(), looks, strict=True):
    plans = [base.replace(crop=crop, patch=pdp.Patch((n, n))) for n in sides]
    certified = pdp.epsilons(plans, DELTA)
    axes.plot(sides, certified, style, color=colour, ms=4, label=name)
axes.axhline(base.image_level().epsilon(DELTA), color="black", lw=1)
axes.text(1, base.image_level().epsilon(DELTA) * 1.01, "whole image", va="bottom")
axes.set(xlabel="side of the patch (pixels)", ylabel=r"certified $\varepsilon$", yscale="log")
axes.grid(alpha=0.3)
axes.legend()
plt.show()
