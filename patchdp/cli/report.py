"""`patchdp report`: the guarantee as a page for people."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import click

from patchdp.cli import output
from patchdp.cli.privacy import method_of
from patchdp.cli.settings import (
    GEOMETRY,
    TRAINING,
    Settings,
    any_plan,
    collect,
    options,
    parse_fraction,
    require,
)
from patchdp.report.html import check_ending, write_report

__all__ = ["report"]


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # A basic string of TOML escapes what one of JSON escapes, and one character more.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return repr(value)


def _toml(settings: Mapping[str, Any]) -> str:
    """Settings as the config file that has them, phases last."""
    phases = settings.get("phase", [])
    lines = [f"{k} = {_toml_value(v)}" for k, v in settings.items() if k != "phase"]
    for phase in phases:
        lines += ["", "[[phase]]", *(f"{k} = {_toml_value(v)}" for k, v in phase.items())]
    return "\n".join(lines)


@click.command(
    epilog=output.example("patchdp report --config configs/cityscapes.toml --out report.json")
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False),
    help="Where it goes: .html (self-contained), .md or .json.",
)
@options(*GEOMETRY, *TRAINING, "delta", "method")
def report(*, out: str, config: str | None, as_json: bool, **flags: Any) -> None:
    """A page with the guarantee, what it assumes and what it means.

    With --json, print where it went and the certified epsilon.
    """
    target = check_ending(out)
    settings: Settings = collect(config, flags)
    method = method_of(settings)
    require(settings, "delta")
    delta = parse_fraction("delta", settings["delta"])
    plan = any_plan(settings)
    found = write_report(
        plan,
        target,
        delta=delta,
        method=method,
        command=f"patchdp report --config plan.toml --out {shlex.quote(target.name)}",
        config=_toml(settings),
        progress=output.progress("optimal composition"),
    )
    if as_json:
        output.dump({"out": out, "epsilon": found.bounds.upper, "delta": float(delta)})
    else:
        click.echo(f"epsilon {output.at_most(found.bounds.upper)}, written to {out}")
