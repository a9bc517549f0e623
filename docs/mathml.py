"""Formulas: LaTeX in the sources, MathML in the pages, which browsers draw without any script."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What the extension arithmatex leaves behind for inline formulas and for displayed ones.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    content = _BLOCK.sub(lambda found: _drawn(found[1], "block"), content)
    return _INLINE.sub(lambda found: _drawn(found[1], "inline"), content)


def _drawn(source: str, display: str) -> str:
    latex = html.unescape(source).strip()
    drawn = convert(latex, display=display)
    # The converter passes on what it does not know as if it were a name.
    if "\\" in drawn or re.search("&(?![#\\w]+;)", drawn):
        raise PluginError(f"no MathML for {latex!r}")
    # It writes the relation as an accent.
    return drawn.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
