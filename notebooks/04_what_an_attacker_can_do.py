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
# # What an attacker can do
#
# Someone holds the trained model, every other image, and two candidates for the private patch. How
# often can they tell which one was used? The answers below are bounds for *every* attack.

# %%
import matplotlib.pyplot as plt
import numpy as np

import patchdp as pdp

base = pdp.TrainingPlan(
    image=(1024, 2048),
    crop=pdp.RandomCrop((505, 505)),
    patch=pdp.Patch((10, 10)),
    sampling=pdp.Poisson(batch_size=200, dataset_size=2975),
    noise_multiplier=4.0,
    steps=1500,
)
plans = {
    "whole image, Poisson": base.image_level(),
    "patch, shuffled epochs": base.replace(sampling=pdp.Shuffle(), epochs=100),
    "patch, fixed-size": base.replace(sampling=pdp.FixedSize(200, 2975)),
    "patch, Poisson": base,
}
COLOURS = ["#000000", "#009E73", "#0072B2", "#D55E00"]
STYLES = ["--", ":", "-.", "-"]

# %% [markdown]
# ## Trade-off curves
#
# An attack with false-positive rate $\alpha$ misses at least $f(\alpha)$ of the true cases. The
# diagonal is guessing: the closer a curve is to it, the less anyone can learn about the patch.

# %%
alpha = np.concatenate([[0.0], np.geomspace(1e-3, 0.05, 12), np.linspace(0.075, 1, 38)])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
left.plot([0, 1], [1, 0], color="0.6", lw=1, label="guessing")
small = np.geomspace(1e-4, 0.5, 25)
right.plot(small, small, color="0.6", lw=1, label="guessing")
for (name, plan), colour, style in zip(plans.items(), COLOURS, STYLES, strict=True):
    left.plot(alpha, plan.tradeoff(alpha), style, color=colour, label=name)
    right.loglog(small, 1 - plan.tradeoff(small), style, color=colour, label=name)
left.set(xlabel="false-positive rate", ylabel="false-negative rate, at least", aspect="equal")
right.set(xlabel="false-positive rate", ylabel="true-positive rate, at most", ylim=(1e-4, 1.2))
for axes in (left, right):
    axes.grid(alpha=0.3)
left.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Advantage, and the chance to name the right patch

# %%
print(f"{'':26}{'epsilon':>9}{'advantage':>11}{'50:50':>8}{'90:10':>8}{'TPR at 1 %':>12}")
for name, plan in plans.items():
    hit = 1 - plan.tradeoff(0.01)
    print(
        f"{name:26}{plan.epsilon(1e-5):9.3f}{plan.advantage():11.3f}"
        f"{plan.attack_success(0.5):8.3f}{plan.attack_success(0.9):8.3f}{hit:12.4f}"
    )

# %% [markdown]
# *50:50* and *90:10* are the attacker's chances to be right if one of the two candidates had that
# probability before the attack. Without any data it would be 0.5 and 0.9.
#
# ## Noise chosen by what an attacker may reach

# %%
for limit in (0.3, 0.2, 0.1):
    solved = base.solve("noise_multiplier", advantage=limit)
    print(
        f"advantage at most {limit}: noise multiplier {solved.noise_multiplier:g}, "
        f"epsilon {solved.epsilon(1e-5):.3f} at delta 1e-5"
    )

# %% [markdown]
# ## A real attack beside the bound
#
# The worst model of the analysis, run for real with 20 steps: its clipped gradient is $+C$ along
# one direction when the crop shows the first patch and $-C$ otherwise. The attacker thresholds the
# log-likelihood ratio. The measured curve stays above the certified one, and near it.

# %%
short = base.replace(steps=20, noise_multiplier=1.0, sampling=pdp.Poisson(sampling_probability=0.5))
p, q, sigma, runs = float(short.inclusion.probability), 0.5, 1.0, 60_000
rng = np.random.default_rng(0)


def outputs(shows_first):
    drawn = rng.random((runs, 20)) < q
    hit = rng.random((runs, 20)) < p
    sign = np.where(hit & shows_first, 1.0, -1.0)
    return drawn * sign / sigma + rng.standard_normal((runs, 20))


def loss(x):
    out, minus = (1 - q) * np.exp(-0.5 * x * x), np.exp(-0.5 * (x + 1 / sigma) ** 2)
    plus = np.exp(-0.5 * (x - 1 / sigma) ** 2)
    return np.log(
        (out + q * ((1 - p) * minus + p * plus)) / (out + q * minus)
    ).sum(axis=1)  # fmt: skip


first, second = np.sort(loss(outputs(True))), np.sort(loss(outputs(False)))
cuts = np.quantile(second, 1 - np.linspace(0.005, 0.995, 60))
measured_fpr = 1 - np.searchsorted(second, cuts) / runs
measured_fnr = np.searchsorted(first, cuts) / runs
figure, axes = plt.subplots(figsize=(5, 4.8), layout="constrained")
axes.plot([0, 1], [1, 0], color="0.6", lw=1, label="guessing")
axes.plot(measured_fpr, measured_fnr, ".", color="#0072B2", label="attack, measured")
axes.plot(alpha, short.tradeoff(alpha), color="#D55E00", label="certified for every attack")
axes.set(xlabel="false-positive rate", ylabel="false-negative rate", aspect="equal")
axes.grid(alpha=0.3)
axes.legend()
plt.show()
# Four standard errors of 60,000 runs.
assert np.all(measured_fnr > short.tradeoff(measured_fpr) - 4 * 0.5 / np.sqrt(runs) * 2)
