"""How results are printed: JSON for machines, lines of at most 80 columns for people."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from fractions import Fraction
from typing import Any

import click

__all__ = ["at_least", "at_most", "dump", "example", "paragraph", "table"]


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


def _digits(value: float, digits: int, rounding: str) -> str:
    if math.isinf(value):
        return "inf"
    return f"{float(Context(digits, rounding).create_decimal_from_float(value)):.{digits}g}"


def at_most(value: float, digits: int = 6) -> str:
    """An upper bound in a few digits, rounded up: what is printed is still a bound."""
    return _digits(value, digits, ROUND_CEILING)


def at_least(value: float, digits: int = 6) -> str:
    """A lower bound in a few digits, rounded down."""
    return _digits(value, digits, ROUND_FLOOR)


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
