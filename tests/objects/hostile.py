"""Files written for a test, read, and compared: boxes, or the sentence that must be said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from patchdp.objects import Annotations, read_annotations


class Case(NamedTuple):
    """What is odd about the file, its content, what is told, and what must come of it.

    The content is text, bytes, what is written as JSON, or several of these by file name. Expected
    are boxes (top, left, bottom, right), or a sentence: a part of it, with FILE:LINE first where
    the fault has a line.
    """

    what: str
    content: Any
    expected: list[list[int]] | str
    told: Mapping[str, Any] = MappingProxyType({})
    left_out: int = 0
    remarked: int = 0


def written(folder: Path, name: str, content: Any) -> Path:
    """The file, or the folder where the content is several files."""
    if isinstance(content, dict) and any("." in key for key in content):
        for key, part in content.items():
            written(folder, key, part)
        return folder
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content, indent=0)
        path.write_bytes(text.encode("utf-8"))
    return path


def check(folder: Path, name: str, case: Case) -> None:
    """Read the file and compare."""
    path = written(folder, name, case.content)
    if isinstance(case.expected, str):
        file, line, said = re.fullmatch(r"(?:([\w.]+):(\d+) )?(.*)", case.expected).groups()
        with pytest.raises(ValueError) as error:
            read_annotations(path, **case.told)
        text = str(error.value)
        assert said in text
        assert "\n" not in text and len(text) < 600
        # The file is named, unless it is the question that is at fault.
        assert re.search(r"\.(json|xml|txt|csv)", text, re.I) or set(case.told) & set(
            re.findall(r"\w+", said)
        )
        if file:
            assert f"{file}, line {line}:" in text
        return
    found: Annotations = read_annotations(path, **case.told)
    assert found.boxes.tolist() == case.expected
    assert sum(found.left_out.values()) == case.left_out
    assert sum(found.remarks.values()) == case.remarked
