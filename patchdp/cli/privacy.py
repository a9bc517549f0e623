"""`patchdp epsilon`, `noise` and `solve`: one plan, one answer."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import click

from patchdp import _checks
from patchdp._version import __version__
from patchdp.cli import output
from patchdp.cli.parsing import PARSERS, parse_positive
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    Settings,
    any_plan,
    collect,
    image_axes,
    one_plan,
    options,
    parse_fraction,
    require,
    sampling_name,
)
from patchdp.geometry import RandomCrop
from patchdp.guarantee import METHODS, Method
from patchdp.plan import Composition, TrainingPlan
from patchdp.report.statement import assumptions
from patchdp.solve import PARAMETERS

__all__ = ["epsilon", "method_of", "noise", "solve"]


def method_of(settings: Settings) -> Method:
    """The engine that the settings name, by default `pld`."""
    return _checks.choice("method", settings.get("method", "auto"), METHODS)


def _result(
    plan: TrainingPlan | Composition,
    delta: Fraction,
    method: Method,
    tolerance: float | None = None,
) -> dict[str, Any]:
    progress = output.progress("optimal composition")
    bounds = plan.certificate(delta, method=method, tolerance=tolerance, progress=progress)
    plans = plan.plans if isinstance(plan, Composition) else (plan,)
    first = plans[0]
    rates = [float(p.effective_sampling_probability) for p in plans]
    counts = [p.applications for p in plans]
    noises = [p.noise_multiplier for p in plans]
    one = len(plans) == 1
    return {
        "epsilon": bounds.upper,
        "epsilon_lower": bounds.lower,
        "delta": float(delta),
        "noise_multiplier": noises[0] if one else noises,
        "inclusion_probability": float(first.inclusion.probability),
        "effective_sampling_probability": rates[0] if one else rates,
        "sampling": [sampling_name(p.sampling) for p in plans][0 if one else slice(None)],
        "steps": sum(counts),
        "method": bounds.prover,
        "assumptions": list(assumptions(plan)),
        "version": __version__,
    }


def _show(result: dict[str, Any], as_json: bool, *, headline: str = "") -> None:
    if as_json:
        output.dump(result)
        return
    if headline:
        click.echo(headline)
    # Rounded up at the sixth digit: what is printed is still a bound.
    at = output.exactly(result["delta"])
    click.echo(f"epsilon    {output.at_most(result['epsilon'])}   (delta {at}, certified)")
    if result["epsilon_lower"] is not None:
        click.echo(
            f"at least   {output.at_least(result['epsilon_lower'])}   (a training that attains it)"
        )
    if "epsilon_omitted" in result:
        click.echo(f"omitted    {output.at_most(result['epsilon_omitted'])}   (a weaker promise)")
        output.paragraph(result["omitted_protects"])
    click.echo(
        f"inclusion probability {result['inclusion_probability']:.8g}, method {result['method']}"
    )
    click.echo("\nThis holds if:")
    for line in result["assumptions"]:
        output.paragraph(line, bullet="  - ")


@click.command(
    epilog=output.example(
        "patchdp epsilon --image 1024x2048 --crop 505x505 --patch 10x10 "
        "--sampling poisson --batch-size 200 --dataset-size 2975 --steps 1500 "
        "--noise-multiplier 2 --delta 1e-5"
    )
)
@options(*GEOMETRY, *TRAINING, "delta", "method", "tolerance", "neighbours")
def epsilon(config: str | None, as_json: bool, **flags: Any) -> None:
    """Certified patch-level epsilon of a training."""
    settings = collect(config, flags)
    method = method_of(settings)
    require(settings, "delta")
    delta = parse_fraction("delta", settings["delta"])
    given = settings.get("tolerance")
    tolerance = None if given is None else parse_positive("tolerance", given)
    relation = PARSERS["neighbours"]("neighbours", settings.get("neighbours", "replaced"))
    plan = any_plan(settings)
    result = _result(plan, delta, method, tolerance)
    if relation == "omitted":
        # What the other relation does not need is not imported for it.
        from patchdp.omitted import omitted

        found = omitted(plan, delta)
        result |= {"epsilon_omitted": found.epsilon, "omitted_protects": found.protects}
    _show(result, as_json)


def _solved(
    settings: Settings, parameter: str, **defaults: Any
) -> tuple[TrainingPlan, dict[str, Any]]:
    method = method_of(settings)
    require(settings, "epsilon", "delta")
    if settings.get("phase"):
        raise ValueError("a config with phases has no single value to solve for; give one phase")
    delta = parse_fraction("delta", settings["delta"])
    target = parse_positive("epsilon", settings["epsilon"])
    plan = one_plan(settings, **defaults)
    solved = plan.solve(parameter, epsilon=target, delta=delta, method=method)
    return solved, {"target_epsilon": target, **_result(solved, delta, method)}


@click.command(
    epilog=output.example(
        "patchdp noise --image 1024x2048 --crop 505x505 --patch 10x10 "
        "--sampling fixed --batch-size 200 --dataset-size 2975 --epochs 100 "
        "--epsilon 10 --delta 1/2975"
    )
)
@options(*GEOMETRY, *TRAINING, "epsilon", "delta", "method")
def noise(config: str | None, as_json: bool, **flags: Any) -> None:
    """Smallest noise multiplier that meets a target epsilon."""
    settings = collect(config, flags)
    # The noise is what is looked for: one that the config names is only where the search starts.
    solved, result = _solved(settings, "noise_multiplier", noise_multiplier=1.0)
    _show(result, as_json, headline=f"noise multiplier {solved.noise_multiplier:g}")


@click.command(
    epilog=output.example(
        "patchdp solve --for crop --image 1024x2048 --crop 505x505 --patch 10x10 "
        "--sampling poisson --batch-size 200 --dataset-size 2975 --steps 1500 "
        "--noise-multiplier 2 --epsilon 3 --delta 1e-5"
    )
)
@click.option(
    "--for",
    "parameter",
    required=True,
    type=click.Choice([p.replace("_", "-") for p in PARAMETERS]),
    help="What to solve for.",
)
@options(*GEOMETRY, *TRAINING, "epsilon", "delta", "method")
def solve(parameter: str, config: str | None, as_json: bool, **flags: Any) -> None:
    """Best value of one parameter that meets a target epsilon."""
    name = parameter.replace("-", "_")
    settings = collect(config, flags)
    # What is solved for need not be given: any value is a start.
    starts: dict[str, Any] = {"noise_multiplier": 1.0, "steps": 1, "epochs": 1, "batch_size": 1}
    if name == "crop":
        require(settings, "image")
        starts["crop"] = (1,) * image_axes(settings)  # without another shape, the largest square
    defaults = {name: starts[name]} if name in starts else {}
    if name in ("steps", "epochs"):
        settings = {k: v for k, v in settings.items() if k not in ("steps", "epochs")}
    solved, result = _solved(settings, name, **defaults)
    value: Any = getattr(solved, name, None)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    if name == "crop":
        assert isinstance(solved.crop, RandomCrop)
        value, shown = solved.crop.size, "x".join(map(str, solved.crop.size))
    elif name == "batch_size":
        value = solved.sampling.batch_size
        shown = str(value)
    answer: dict[str, Any] = {name: value, **result}
    _show(answer, as_json, headline=f"{parameter} {shown}")
