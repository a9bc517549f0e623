"""XML files element by element, with the lines they stand on; no document types, no entities.

>>> import pathlib, tempfile
>>> file = pathlib.Path(tempfile.mkdtemp()) / "a.xml"
>>> _ = file.write_text('<annotations>\\n <image id="0">\\n  <box/>\\n </image></annotations>')
>>> for element in walk(file):
...     print(element.tag, element.line, [child.tag for child in element.children])
annotations 1 []
image 2 ['box']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

__all__ = ["Element", "walk"]

_CHUNK = 1 << 16
_DEEPEST = 64


@dataclass(slots=True)
class Element:
    """An element with all that it holds."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def only(self, path: Path, *tags: str) -> Element | None:
        """The child (and its child, ...) of that name, None where there is none.

        Raises:
            ValueError: there are two.
        """
        found: Element = self
        for tag in tags:
            named = [child for child in found.children if child.tag == tag]
            if len(named) > 1:
                raise ValueError(f"{path}, line {named[1].line}: <{tag}> is given twice")
            if not named:
                return None
            found = named[0]
        return found

    def said(self, path: Path, *tags: str) -> str | None:
        """The text of that child, without the space around it."""
        found = self.only(path, *tags)
        return None if found is None else found.text.strip()


class _Builder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[Element] = []
        self.ready: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.document_type

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        if len(self.open) >= _DEEPEST:
            raise ValueError(f"{self.path}, line {line}: elements are nested too deep to be read")
        self.open.append(Element(tag, attributes, line))
        if len(self.open) == 1:
            self.ready.append(Element(tag, attributes, line))

    def end(self, tag: str) -> None:
        done = self.open.pop()
        if len(self.open) == 1:
            self.ready.append(done)
        elif self.open:
            self.open[-1].children.append(done)

    def characters(self, text: str) -> None:
        # Text between the children of the root would only gather.
        if len(self.open) > 1:
            self.open[-1].text += text

    def document_type(self, *_: object) -> NoReturn:
        raise ValueError(
            f"{self.path}, line {self.parser.CurrentLineNumber}: it declares a document type; "
            "annotation files have none"
        )


def walk(path: Path) -> Iterator[Element]:
    """The root without its children, then each of its children whole.

    Raises:
        ValueError: no XML, a document type, or elements nested too deep.
    """
    builder = _Builder(path)
    try:
        with path.open("rb") as file:
            last = False
            while not last:
                chunk = file.read(_CHUNK)
                last = not chunk
                builder.parser.Parse(chunk, last)
                yield from builder.ready
                builder.ready.clear()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (expat.ExpatError, LookupError, UnicodeError) as error:
        raise ValueError(f"{path} is not XML: {error}") from None
