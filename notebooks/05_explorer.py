"""An interactive explorer: sliders for a training, an estimate at once, a certificate on request.

marimo run notebooks/05_explorer.py
"""

import marimo

app = marimo.App(width="medium", app_title="patchdp explorer")


@app.cell
def _():
    import time

    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import patchdp as pdp
    from patchdp.report.rounding import at_least, at_most

    return at_least, at_most, mo, np, pdp, plt, time


@app.cell
def _(mo):
    mo.md(
        """
        # Privacy of a patch

        Images of 1024 x 2048 pixels, square random crops, a square private patch anywhere.
        Sliders move the **exact estimate** below: the exact engine's value, usually right to ten
        digits, but *not* a guarantee (where hardly any step sees the patch, a certified bound is
        shown at once). The button certifies the same setting, with a lower bound.
        """
    )


@app.cell
def _(mo):
    crop = mo.ui.slider(64, 1024, step=1, value=505, label="crop side (pixels)", show_value=True)
    patch = mo.ui.slider(1, 200, step=1, value=10, label="patch side (pixels)", show_value=True)
    batch = mo.ui.slider(
        1, 2975, step=1, value=200, label="batch size (of 2975 images)", show_value=True
    )
    noise = mo.ui.slider(
        steps=[round(0.5 * 1.04**k, 3) for k in range(100)],
        value=round(0.5 * 1.04**35, 3),
        label="noise multiplier (std / clipping norm)",
        show_value=True,
    )
    steps = mo.ui.slider(
        steps=[100, 300, 500, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000, 100_000],
        value=1500,
        label="steps",
        show_value=True,
    )
    sampling = mo.ui.radio(
        ["Poisson", "fixed-size", "shuffled epochs"],
        value="Poisson",
        inline=True,
        label="sampling",
    )
    exponent = mo.ui.slider(-10, -2, step=1, value=-5, label="delta = 10^", show_value=True)
    certify = mo.ui.run_button(label="certify this setting")
    mo.vstack([crop, patch, batch, noise, steps, exponent, sampling, certify])
    return batch, certify, crop, exponent, noise, patch, sampling, steps


@app.cell
def _(batch, crop, exponent, noise, patch, pdp, sampling, steps):
    delta = 10.0**exponent.value
    # Epochs cover the steps: the most often any image appears.
    per_epoch = -(-2975 // batch.value)
    epochs = -(-steps.value // per_epoch)
    schemes = {
        "Poisson": (pdp.Poisson(batch_size=batch.value, dataset_size=2975), {"steps": steps.value}),
        "fixed-size": (pdp.FixedSize(batch.value, 2975), {"steps": steps.value}),
        "shuffled epochs": (pdp.Shuffle(), {"epochs": epochs}),
    }
    plans = {
        name: pdp.TrainingPlan(
            image=(1024, 2048),
            crop=pdp.RandomCrop((crop.value, crop.value)),
            patch=pdp.Patch((patch.value, patch.value)),
            sampling=scheme,
            noise_multiplier=noise.value,
            **duration,
        )
        for name, (scheme, duration) in schemes.items()
    }
    plan = plans[sampling.value]

    def quick(one):
        return one.applications * one.effective_sampling_probability >= 2

    return delta, plan, plans, quick


@app.cell
def _(at_most, delta, mo, pdp, plan, quick, sampling, time):
    _start = time.perf_counter()
    if quick(plan):
        exact_estimate = float(pdp.epsilons([plan], delta, method="exact_estimate")[0])
        _said, _kind = f"## epsilon ≈ {exact_estimate:.4g}", "exact estimate, not certified"
    else:
        # Where hardly any step sees the patch, a certified bound is quicker than the estimate.
        exact_estimate = None
        _said, _kind = f"## epsilon ≤ {at_most(plan.epsilon(delta), 4)}", "certified"
    _ms = 1e3 * (time.perf_counter() - _start)
    _p = plan.inclusion.probability
    mo.md(
        f"""
        {_said}

        **{_kind}** · {sampling.value} · delta = {delta:.0e} · a crop shows the patch with
        probability {float(_p):.4f} · answered in {_ms:.0f} ms
        """
    )
    return (exact_estimate,)


@app.cell
def _(at_least, at_most, certify, delta, exact_estimate, mo, plan):
    mo.stop(not certify.value, mo.md("*Bounds from both sides: press the button.*"))
    try:
        _bounds = plan.epsilon_bounds(delta)
        # Printed bounds stay bounds: the upper one is rounded up, the lower one down.
        _lower = ""
        if _bounds.lower is not None:
            _lower = f"; no analysis can go below {at_least(_bounds.lower, 5)}"
        _near = "" if exact_estimate is None else f" (estimate {exact_estimate:.4g})"
        _said = f"**certified: epsilon ≤ {at_most(_bounds.upper, 5)}**{_near}{_lower}"
    except ValueError as error:
        _said = f"no certificate: {error}"
    mo.md(_said)


@app.cell
def _(delta, mo, np, pdp, plans, plt, quick):
    mo.stop(
        not any(quick(_plan) for _plan in plans.values()),
        mo.md("*No curve: hardly any step sees the patch.*"),
    )
    _factors = np.geomspace(0.5, 4.0, 9)
    _figure, _axes = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    for (_name, _plan), _style, _colour in zip(
        plans.items(), ("-", "--", ":"), ("#D55E00", "#0072B2", "#009E73"), strict=True
    ):
        _noises = _plan.noise_multiplier * _factors
        if not quick(_plan):
            continue
        try:
            _values = pdp.epsilons(
                [_plan.replace(noise_multiplier=float(n)) for n in _noises],
                delta,
                method="exact_estimate",
            )
        except ValueError:
            continue
        _axes.loglog(_noises, _values, _style, color=_colour, label=_name)
    _axes.axvline(next(iter(plans.values())).noise_multiplier, color="0.6", lw=1)
    _axes.set(xlabel="noise multiplier", ylabel="epsilon (exact estimate)")
    _axes.grid(alpha=0.3, which="both")
    if _axes.lines[:-1]:
        _axes.legend()
    mo.as_html(_figure)


if __name__ == "__main__":
    app.run()
