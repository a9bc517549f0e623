"""Formulas: LaTeX in the sources, MathML in the pages, which browsers draw without any script."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What the extension arithmatex leaves behind for inline formulas and for displayed ones.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    content = _BLOCK.sub(
        lambda found: convert(html.unescape(found[1]).strip(), display="block"), content
    )
    return _INLINE.sub(lambda found: convert(html.unescape(found[1]).strip()), content)
