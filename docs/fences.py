"""Griffe extension: the examples in docstrings become code blocks on the site.

The docstrings open with bare doctests, which Markdown would take for quotations.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with every doctest, up to the next blank line, inside a fence."""
    lines: list[str] = []
    inside = False
    for line in [*inspect.cleandoc(text).split("\n"), ""]:
        if not inside and line.lstrip().startswith(">>> "):
            lines += ["", "```pycon"]
            inside = True
        elif inside and not line.strip():
            lines += ["```"]
            inside = False
        lines.append(line)
    return "\n".join(lines[:-1])


class Fences(griffe.Extension):
    """Fences the doctests of every object that is documented."""

    def on_instance(
        self, *, node: ast.AST | griffe.ObjectNode, obj: griffe.Object, agent: Any, **kwargs: Any
    ) -> None:
        """Called by Griffe for each object it has read."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
