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
# # Privacy of a patch in five minutes
#
# A face or a number plate covers a small patch of a large image. If a model is trained on random
# crops, most crops never show that patch. This notebook follows the consequence from the picture to
# a number: *where*, *one step*, *many steps*.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import patchdp as pdp

BLUE, ORANGE = "#0072B2", "#D55E00"

# %% [markdown]
# ## Where: a crop sees the patch or it does not
#
# Images of 1024 x 2048 pixels, crops of 505 x 505, a private patch of at most 10 x 10 pixels
# somewhere. Counting crops gives an exact fraction.

# %%
image, crop, patch = (1024, 2048), pdp.RandomCrop((505, 505)), pdp.Patch((10, 10))
found = pdp.inclusion(image, crop, patch)
print(f"a crop shows the patch with probability {found.probability}", end=" ")
print(f"= {float(found.probability):.4f} at worst, at {found.worst_position}")

# %%
rng = np.random.default_rng(3)
figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
y, x = found.worst_position
hits = 0
for _ in range(9):
    top, left = rng.integers(0, 1024 - 505 + 1), rng.integers(0, 2048 - 505 + 1)
    hit = top < y + 10 and y < top + 505 and left < x + 10 and x < left + 505
    hits += hit
    colour, style = (ORANGE, "-") if hit else (BLUE, "--")
    frame = Rectangle((left, top), 505, 505, fill=False, lw=1.6, edgecolor=colour, ls=style)
    axes.add_patch(frame)
axes.add_patch(Rectangle((x - 8, y - 8), 26, 26, color="black"))
axes.annotate("private patch", (x, y), (x + 380, y + 470), arrowprops={"arrowstyle": "->"})
axes.set(xlim=(0, 2048), ylim=(1024, 0), aspect="equal", xlabel="column", ylabel="row")
axes.set_title(f"nine random crops, {hits} of them show the patch (solid)")
plt.show()

# %% [markdown]
# The map of the same probability over the image: the border is seen least.

# %%
chances = pdp.inclusion_map(image, crop, patch)
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
shown = axes.imshow(chances[::4, ::4], cmap="viridis", vmin=0, extent=(0, 2048, 1024, 0))
figure.colorbar(shown, label="probability that a crop shows a patch here", shrink=0.85)
axes.set(xlabel="column of the patch", ylabel="row of the patch")
plt.show()

# %% [markdown]
# ## One step
#
# DP-SGD clips each gradient to norm $C$ and adds noise of standard deviation $\sigma C$. A crop
# that shows the patch may move the sum by $2C$ when the patch is replaced; another crop moves
# nothing. The privacy profile of one step, with and without counting the crop:

# %%
plan = pdp.TrainingPlan(
    image=image,
    crop=crop,
    patch=patch,
    sampling=pdp.Poisson(batch_size=200, dataset_size=2975),
    noise_multiplier=2.0,
    steps=1500,
)
whole = plan.image_level()
eps = np.linspace(0, 0.8, 121)
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
axes.semilogy(eps, whole.step.delta(eps), "--", color="black", label="the whole image is private")
axes.semilogy(eps, plan.step.delta(eps), color=BLUE, label="a patch is private, random crops")
axes.set(xlabel=r"$\varepsilon$", ylabel=r"$\delta$ of one step", ylim=(1e-9, 1))
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %% [markdown]
# ## Many steps
#
# `epsilon` is an upper bound, proved, also after rounding. `epsilon_bounds` adds what no analysis
# can go below: the loss of a training that really happens.

# %%
bounds = plan.epsilon_bounds(delta=1e-5)
print(f"patch, certified:    at most {bounds.upper:.3f}, at least {bounds.lower:.3f}")
print("whole image:        ", round(whole.epsilon(delta=1e-5), 3))
print("shuffled 100 epochs:", round(
    plan.replace(sampling=pdp.Shuffle(), epochs=100, steps=None).epsilon(delta=1e-5), 3
))  # fmt: skip

# %%
steps = [10, 30, 100, 300, 1000, 3000, 10000]
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
for start, colour, style, name in (
    (whole, "black", "--", "whole image"),
    (plan, BLUE, "-", "patch, random crops"),
):
    certified = [start.replace(steps=n).epsilon(1e-5) for n in steps]
    axes.loglog(steps, certified, style, color=colour, marker="o", ms=4, label=name)
axes.set(xlabel="steps", ylabel=r"certified $\varepsilon$ at $\delta=10^{-5}$")
axes.grid(alpha=0.3, which="both")
axes.legend()
plt.show()

# %% [markdown]
# ## The other way round: how much noise?

# %%
for target in (1.0, 3.0, 8.0):
    ours = plan.solve("noise_multiplier", epsilon=target, delta=1e-5)
    theirs = whole.solve("noise_multiplier", epsilon=target, delta=1e-5)
    print(
        f"epsilon {target:g}: noise multiplier {ours.noise_multiplier:.3f} for a patch, "
        f"{theirs.noise_multiplier:.3f} for the whole image"
    )

# %% [markdown]
# What this does **not** say: the rest of the image is not protected at this level, the crop must be
# drawn afresh for every image and step, and nobody may choose it by content. The page *Traps* of
# the documentation shows what goes wrong otherwise.
