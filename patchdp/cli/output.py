"""How results are printed: JSON for machines, lines of at most 80 columns for people."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import click

from patchdp.report.rounding import at_least, at_most, exactly

__all__ = [
    "at_least",
    "at_most",
    "dump",
    "exactly",
    "example",
    "paragraph",
    "progress",
    "table",
]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def dump(result: Mapping[str, Any]) -> None:
    """Print JSON; infinity is the text `"inf"`."""
    click.echo(json.dumps(_plain(result), allow_nan=False))


def example(command: str) -> str:
    """The epilog of a help text: a command that survives wrapping, copying and pasting."""
    lines = textwrap.wrap(command, width=70, break_on_hyphens=False, break_long_words=False)
    return "\b\nExample:\n  " + " \\\n    ".join(lines)


def paragraph(text: str, *, bullet: str = "") -> None:
    """Print text wrapped to 80 columns."""
    click.echo(
        textwrap.fill(
            text,
            width=80,
            initial_indent=bullet,
            subsequent_indent=" " * len(bullet),
            break_long_words=False,
        )
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns: the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        click.echo("  ".join(cells).rstrip())
        if number == 0:
            click.echo("  ".join("-" * width for width in widths))


def progress(label: str) -> Callable[[float], None] | None:
    """A line on the terminal that counts up to 100 %; nothing where nobody watches."""
    if not sys.stderr.isatty():
        return None
    shown = -1

    def show(share: float) -> None:
        nonlocal shown
        percent = int(100 * share)
        if percent != shown:
            shown = percent
            end = "\n" if share >= 1 else ""
            click.echo(f"\r{label} {percent:3d} %{end}", err=True, nl=False)

    return show
