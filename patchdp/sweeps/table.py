"""Write rows as a table: CSV, JSON or Parquet, by the name of the file.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
>>> write_table([{"crop": "8x8", "epsilon": 1.5}, {"crop": "9x9", "error": "too large"}], path)
>>> print(path.read_text(), end="")
crop,epsilon,error
8x8,1.5,
9x9,,too large
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_table"]

Row = Mapping[str, Any]


def write_table(rows: Iterable[Row], path: str | os.PathLike[str]) -> None:
    """Write rows to `path`, whole or not at all.

    Args:
      rows: Cells by column; a cell that is missing or None is left empty (null).
      path: Ends in `.csv`, `.json` or `.parquet`. JSON writes infinity as `"inf"`.

    Raises:
      ValueError: Another ending.
      ImportError: `.parquet` without pyarrow.
    """
    target = Path(path)
    kinds = {".csv": _csv, ".json": _json, ".parquet": _parquet}
    if target.suffix not in kinds:
        raise ValueError(f"a table is written to .csv, .json or .parquet, got {str(target)!r}")
    table = list(rows)
    columns = list(dict.fromkeys(name for row in table for name in row))
    # What tells a row from others comes first, what was found last.
    found: list[str] = [name for name in ("epsilon", "epsilon_lower", "error") if name in columns]
    content = kinds[target.suffix](table, [c for c in columns if c not in found] + found)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp keeps the file to its owner; a table is an ordinary file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _json(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    def plain(value: Any) -> Any:
        return "inf" if isinstance(value, float) and math.isinf(value) else value

    table = [{name: plain(row.get(name)) for name in columns} for row in rows]
    return json.dumps(table, indent=1, allow_nan=False).encode() + b"\n"


def _parquet(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError("writing Parquet needs pyarrow: pip install 'patchdp[sweep]'") from None
    table = {}
    for name in columns:
        cells = [row.get(name) for row in rows]
        kinds = {type(cell) for cell in cells if cell is not None}
        # A column of whole numbers and fractions is one of floats; other mixtures are text.
        if kinds == {int, float}:
            cells = [None if cell is None else float(cell) for cell in cells]
        elif len(kinds) > 1:
            cells = [None if cell is None else str(cell) for cell in cells]
        table[name] = cells
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(table), sink)
    return bytes(sink.getvalue())
