"""JSON files member by member, with the lines they stand on: a long list is never held whole.

>>> import pathlib, tempfile
>>> file = pathlib.Path(tempfile.mkdtemp()) / "a.json"
>>> _ = file.write_text('{"info": {"year": 2020},\\n "images": [\\n  {"id": 1},\\n  {"id": 2}]}')
>>> for member in Document(file).walk({"images"}):
...     print(member.key, member.line, member.value)
info 1 {'year': 2020}
images 2 []
images 3 {'id': 1}
images 4 {'id': 2}
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from patchdp.objects.formats.text import short, text_of

__all__ = ["Document", "Member"]

_SPACE = re.compile(r"[ \t\n\r]*")


class Member(NamedTuple):
    """A member of a document's object, or an element of a list that is walked."""

    key: str | None
    line: int
    value: Any
    element: bool


class _Refused(ValueError):
    """What the syntax of JSON allows and no annotation file means."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {short(twice)} is given twice")
    return found


def _no_number(text: str) -> Any:
    raise _Refused(f"{text} is not a number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


class Document:
    """A JSON file; its text is read once."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, text_of(path)

    def parts(self, key: str) -> tuple[dict[str, Any], list[tuple[int, Any]]]:
        """A small file: its members, and the elements of the list `key` with their lines."""
        head: dict[str, Any] = {}
        records: list[tuple[int, Any]] = []
        for member in self.walk({key}):
            if member.element:
                records.append((member.line, member.value))
            elif member.key is not None:
                head[member.key] = member.value
        return head, records

    def walk(self, lists: Collection[str]) -> Iterator[Member]:
        """The members in the file's order.

        Args:
            lists: the keys whose lists are walked: an empty list first, then each element. A list
                in place of the object is walked too, its elements have no key.

        Raises:
            ValueError: no JSON, a key given twice, NaN or Infinity, or neither object nor list.
        """
        return _Walk(self.path, self.text).members(lists)


class _Walk:
    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.at, self.line, self.counted = 0, 1, 0

    def members(self, lists: Collection[str]) -> Iterator[Member]:
        first = self.next()
        if first == "[":
            yield from self.elements(None)
        elif first == "{":
            yield from self.object(lists)
        else:
            raise self.fault("an object or a list is expected")
        if self.next():
            raise self.fault("there is more text after its end")

    def object(self, lists: Collection[str]) -> Iterator[Member]:
        seen: set[str] = set()
        self.at += 1
        if self.next() == "}":
            self.at += 1
            return
        while True:
            if self.next() != '"':
                raise self.fault("a key is expected")
            key = self.value()
            if key in seen:
                raise self.refused(f"the key {short(key)} is given twice")
            seen.add(key)
            if self.next() != ":":
                raise self.fault("':' is expected")
            self.at += 1
            if self.next() == "[" and key in lists:
                yield Member(key, self.lines(), [], False)
                yield from self.elements(key)
            else:
                line = self.lines()
                yield Member(key, line, self.value(), False)
            if self.closes("}"):
                return

    def elements(self, key: str | None) -> Iterator[Member]:
        self.at += 1
        if self.next() == "]":
            self.at += 1
            return
        while True:
            self.next()
            line = self.lines()
            yield Member(key, line, self.value(), True)
            if self.closes("]"):
                return

    def closes(self, bracket: str) -> bool:
        found = self.next()
        if found not in (",", bracket) or not found:
            raise self.fault(f"',' or '{bracket}' is expected")
        self.at += 1
        return found == bracket

    def next(self) -> str:
        """The next character that is no space; it stays where it is."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        try:
            found, self.at = _DECODER.raw_decode(self.text, self.at)
        except _Refused as error:
            raise self.refused(str(error)) from None
        except json.JSONDecodeError as error:
            self.at = error.pos
            raise self.fault(error.msg[:1].lower() + error.msg[1:]) from None
        except RecursionError:
            raise self.refused("lists within lists too deep to be read") from None
        except ValueError:
            raise self.refused("a number with too many digits to be one of pixels") from None
        return found

    def lines(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def fault(self, said: str) -> ValueError:
        line = self.lines()
        column = self.at - self.text.rfind("\n", 0, self.at)
        return ValueError(f"{self.path} is not JSON: {said} at line {line}, column {column}")

    def refused(self, said: str) -> ValueError:
        return ValueError(f"{self.path}, line {self.lines()}: {said}")
