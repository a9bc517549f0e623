"""A report for people: one self-contained page, or the same as Markdown or JSON.

>>> import pathlib, tempfile
>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
...     sampling=pdp.Shuffle(), noise_multiplier=4.0, epochs=15,
... )
>>> path = pathlib.Path(tempfile.mkdtemp()) / "report.md"
>>> found = write_report(plan, path, delta=1e-5)
>>> path.read_text("utf-8").splitlines()[0]
'# Patch-level privacy of a training on random crops'
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import math
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from patchdp.guarantee import Method, Progress
from patchdp.plan import Composition, TrainingPlan
from patchdp.report.rounding import at_least, at_most
from patchdp.report.statement import Statement, statement

__all__ = ["check_ending", "write_report"]

_ENDINGS = (".html", ".md", ".json")
_ENGINES = {
    "auto": "a closed form, the inversion of the transform or a grid: whoever proves it soonest",
    "composed": "the same, never optimal composition",
    "pld": "dp-accounting's engine, fed with stable masses, its rounding added",
    "exact": "inversion of the transform of the privacy loss, with a proved error bar",
    "rdp": "the Rényi curve and dp-accounting's conversion",
    "optimal": "composition against the best adaptive adversary",
}


def check_ending(path: str | os.PathLike[str]) -> Path:
    """The path, if its ending is one that a report has.

    >>> check_ending("report.pdf")
    Traceback (most recent call last):
    ValueError: a report is written to .html, .md or .json, got 'report.pdf'
    """
    target = Path(path)
    if target.suffix not in _ENDINGS:
        raise ValueError(f"a report is written to .html, .md or .json, got {str(target)!r}")
    return target


def write_report(
    plan: TrainingPlan | Composition,
    path: str | os.PathLike[str],
    *,
    delta: float | Fraction,
    method: Method = "auto",
    command: str | None = None,
    config: str | None = None,
    progress: Progress | None = None,
) -> Statement:
    """Write what was proved about a training, and what it takes for granted.

    Args:
      plan: The training, or its phases.
      path: Ends in `.html` (self-contained, nothing is fetched), `.md` or `.json`.
      delta: In (0, 1).
      method: Engine of the headline epsilon.
      command: What reproduces the report; the plan's repr unless given.
      config: The `plan.toml` that `command` reads.
      progress: Called with the finished fraction by method `"optimal"`.

    Returns:
      What was written, as numbers.

    Raises:
      ValueError: Another ending, or a question that `plan.epsilon_bounds` refuses.
      ImportError: `.html` or `.md` without the extra `report`.
    """
    target = check_ending(path)
    # A missing library is reported before minutes of computing.
    template = None if target.suffix == ".json" else _template(target.suffix)
    found = statement(plan, delta=delta, method=method, progress=progress)
    code = (
        f"write_report({plan!r}, {target.name!r}, delta={delta!r})" if command is None else command
    )
    if template is None:
        text = json.dumps(_record(found, command, config), indent=1, allow_nan=False) + "\n"
    else:
        drawn = []
        if target.suffix == ".html":
            from patchdp.report.figures import figures

            captions = dict(_CAPTIONS)
            if len(found.plans) > 1:
                captions["map"] += " Shown: phase 1."
            drawn = [(svg, captions[name]) for name, svg in figures(found).items()]
        text = template.render(
            **_words(found), figures=drawn, command=code, config=config, fence=_fence(code, config)
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return found


_CAPTIONS = {
    "profile": "Privacy profile: the δ that is certified at every ε. The dot is the guarantee "
    "above.",
    "tradeoff": "Trade-off: an attacker who raises few false alarms misses at least so many. The "
    "dotted line is guessing.",
    "map": "Inclusion probability: how often a crop shows a patch, by its place. The guarantee is "
    "for the worst place.",
}


def _template(ending: str) -> Any:
    try:
        import jinja2
    except ImportError:
        raise ImportError(
            f"a {ending} report needs jinja2: pip install 'patchdp[report]'"
        ) from None
    if ending == ".html" and importlib.util.find_spec("matplotlib") is None:
        raise ImportError("a .html report needs matplotlib: pip install 'patchdp[report]'")
    loader = jinja2.PackageLoader("patchdp.report", "templates")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=ending == ".html",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"report{ending}")


def _fence(*texts: str | None) -> str:
    """A fence of a Markdown block that no line of `texts` closes."""
    runs = (len(run) for text in texts if text for run in re.findall("`+", text))
    return "`" * max(3, *(n + 1 for n in runs), 3)


def _percent_at_most(share: float) -> str:
    return f"{at_most(min(100.0, 100 * share * (1 + 1e-15)), 3)} %"


def _words(found: Statement) -> dict[str, Any]:
    """What the templates print besides the statement: numbers rounded to the safe side."""
    bounds, image = found.bounds, found.image_level
    lower = None if bounds.lower is None else at_least(bounds.lower, 5)
    gap = "No analysis can report less than the attained value; the difference is what better "
    gap += "mathematics could still gain."
    unknown = "No training that attains a certain ε is known for these settings, so nothing is "
    unknown += "said about how much smaller the true value is."
    return {
        "found": found,
        "date": datetime.date.today().isoformat(),
        "epsilon": at_most(bounds.upper),
        "lower": lower,
        "lower_words": "attained by a training with these settings"
        if lower
        else "no attaining training known",
        "image_epsilon": at_most(image.upper),
        "bound_words": unknown if lower is None else gap,
        "attacker_words": (
            "An attacker sees the whole training and knows everything but which of two contents "
            "the patch had. Its advantage, true minus false positives, is at most "
            f"{_percent_at_most(found.advantage)}; if both contents are equally likely, it names "
            f"the right one with probability at most {_percent_at_most(found.guess)} (guessing: "
            "50 %)."
        ),
        "rates": [
            (f"{100 * a:g} %", _percent_at_most(power), _percent_at_most(whole))
            for a, power, whole in found.attacks
        ],
        "provenance": _provenance(found),
        "reproduce_words": "The same numbers come from",
    }


def _provenance(found: Statement) -> list[tuple[str, str]]:
    engine = f"{found.method}: {_ENGINES[found.method]}"
    rows = [("Engine", engine)]
    if found.tolerance:
        rows.append(("Tolerance", found.tolerance))
    rows.append(("Rounding", "upper bounds up, lower bounds down, at the last digit shown"))
    versions = ", ".join(f"{name} {version}" for name, version in found.versions)
    rows.append(("Software", versions))
    return rows


def _record(found: Statement, command: str | None, config: str | None) -> dict[str, Any]:
    """The statement for machines: as computed, not rounded; infinity is written `"inf"`."""

    def plain(value: Any) -> Any:
        return "inf" if isinstance(value, float) and math.isinf(value) else value

    def points(curve: tuple[Any, Any]) -> list[list[float]]:
        return [[float(x), float(y)] for x, y in zip(*curve, strict=True)]

    return {
        "sentence": found.sentence,
        "epsilon": plain(found.bounds.upper),
        "epsilon_lower": plain(found.bounds.lower),
        "delta": found.delta,
        "image_level_epsilon": plain(found.image_level.upper),
        "image_level_epsilon_lower": plain(found.image_level.lower),
        "assumptions": list(found.assumptions),
        "settings": [dict(rows) for rows in found.settings],
        "inclusion_probability": [float(p.inclusion.probability) for p in found.plans],
        "advantage": found.advantage,
        "attack_success": found.guess,
        "attacks": [attack._asdict() for attack in found.attacks],
        "profile": points(found.profile),
        "image_level_profile": points(found.image_profile),
        "tradeoff": points(found.tradeoff),
        "method": found.method,
        "tolerance": found.tolerance,
        "versions": dict(found.versions),
        "command": command,
        "config": config,
    }
