"""Formulas: LaTeX in the sources, MathML in the pages, which browsers draw without any script."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What the extension arithmatex leaves behind for inline formulas, with brackets and punctuation
# that shall not be torn off, and for displayed ones.
_INLINE = re.compile(r'(\(?)<span class="arithmatex">\\\((.*?)\\\)</span>([-.,;:)]*)', re.S)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)
# A minus is a sign at the beginning, behind an opening bracket, a comma or a relation.
_BEFORE_SIGN = r"[(\[,=>]|&#x0(?:0028|002C|003D|003E|2264|2265|2208);"
# Where the converter's choice is not that of LaTeX.
_BETTER = [
    (r"<mo>(?:&#x0002F;|/)</mo>", '<mo lspace="0" rspace="0">/</mo>'),
    (r"<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),
    (r"<mi>&#x029F5;</mi>", "<mo>&#x02216;</mo>"),
    (r"<mi>(&#x00(?:0[4-7]|39|3A)[0-9A-F];)</mi>", r'<mi mathvariant="normal">\1</mi>'),
    (r'<mo(?: movablelimits="true")?>(Pr|max|min|sup|&#x0221E;)</mo>', r"<mi>\1</mi>"),
    (r"(<mi>(?:log|max|min|sup)</mi>)(?=<m[insrf])", r'\1<mspace width="0.167em" />'),
    (
        rf"((?:<mrow>|<mo[^>]*>(?:{_BEFORE_SIGN})</mo>)(?:<mspace[^>]*>)?)<mo>&#x02212;</mo>",
        r'\1<mo form="prefix">&#x02212;</mo>',
    ),
]


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    content = _BLOCK.sub(
        lambda found: f'<div class="formula">{_drawn(found[1], "block")}</div>', content
    )
    return _INLINE.sub(
        lambda found: (
            f'<span class="formula">{found[1]}{_drawn(found[2], "inline")}{found[3]}</span>'
        ),
        content,
    )


def _drawn(source: str, display: str) -> str:
    latex = html.unescape(source).strip()
    drawn = convert(latex, display=display)
    # The converter passes on what it does not know as if it were a name.
    if "\\" in drawn or re.search(r"&(?![#\w]+;)", drawn):
        raise PluginError(f"no MathML for {latex!r}")
    for pattern, better in _BETTER:
        drawn = re.sub(pattern, better, drawn)
    return drawn
