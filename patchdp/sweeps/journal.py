"""An append-only file of results that survives being killed at any moment.

The first line says what the results belong to; every further line is one result. A line counts
once its newline is on the disk, so a process that dies in the middle of one leaves a torn last
line, which is cut off when the file is opened again.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "run.journal"
>>> with Journal(path, {"grid": "abc"}) as journal:
...     journal.append(0, {"epsilon": 1.5})
>>> with path.open("a") as file:
...     _ = file.write('{"index": 1, "row": {"eps')  # killed here
>>> with Journal(path, {"grid": "abc"}) as journal:
...     journal.rows
{0: {'epsilon': 1.5}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

try:
    import fcntl
except ImportError:  # pragma: no cover - where there is none, two sweeps into one file go unnoticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["Journal"]

_FORMAT = "patchdp sweep journal 1"


class Journal:
    """Results by number, on disk as soon as `append` returns.

    Args:
      path: The file; made with its folders where it is missing, continued where it exists.
      header: What the results depend on; a file with another header is refused.

    Raises:
      ValueError: The file is no journal, belongs to something else, or is in use.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.rows: dict[int, dict[str, Any]] = {}
        self._header = {"format": _FORMAT, **header}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = self.path.open("a+b")
        try:
            self._lock()
            self._load()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        if fcntl is None:  # pragma: no cover
            return
        try:
            # The lock goes with the process: one that is killed leaves none behind.
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"journal {self.path} is in use by another sweep") from None

    def _load(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if not lines:
            # Nothing, or a header that was never finished: only that may be overwritten.
            start = json.dumps({"format": _FORMAT}).encode()[:-1]
            if not (text.startswith(start) or start.startswith(text)):
                raise self._foreign()
            self._file.truncate(0)
            self._write(self._header)
            return
        found = _parse(lines[0])
        if found is None or found.get("format") != _FORMAT:
            raise self._foreign()
        for name, wanted in self._header.items():
            if found.get(name) != wanted:
                raise ValueError(
                    f"journal {self.path} was written for another {name} "
                    f"({found.get(name)!r}, now {wanted!r}); choose another file or delete it"
                )
        if len(whole) < len(text):
            self._file.truncate(len(whole))
        for line in lines[1:]:
            entry = _parse(line)
            # A damaged line loses its own result only, which is then computed again.
            if entry is not None and isinstance(entry.get("index"), int):
                row = entry.get("row")
                if isinstance(row, dict):
                    self.rows[entry["index"]] = row

    def _foreign(self) -> ValueError:
        return ValueError(f"{self.path} is not a journal of a sweep; choose another file")

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def append(self, index: int, row: dict[str, Any]) -> None:
        """Record one result; on return it is on the disk."""
        self._write({"index": index, "row": row})
        self.rows[index] = row

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
