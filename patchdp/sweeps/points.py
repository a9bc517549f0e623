"""Certify every point of a grid: in parallel, and again from where it stopped.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
...     sampling=pdp.FixedSize(batch_size=100, dataset_size=10000), noise_multiplier=1.0, steps=50,
... )
>>> result = pdp.sweep(pdp.Grid(plan, {"crop": [(8, 8), (64, 64)], "delta": 1e-5}))
>>> result.rows[0]["inclusion_probability"]
0.1936
>>> result.rows[1]["error"]
'crop 64x64 does not fit image 32x32; pad the image or use a smaller crop'
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp._version import __version__
from patchdp.guarantee import METHODS, Method
from patchdp.sweeps.grid import AnyGrid, parameters
from patchdp.sweeps.journal import Journal

__all__ = ["Sweep", "sweep"]

Row = dict[str, Any]
# Points handed to an executor at a time: enough to keep a cluster busy, few enough to cancel.
_IN_FLIGHT = 512


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep found, one row per point in the order of the grid.

    >>> found = Sweep(({"noise_multiplier": 1.0, "epsilon": 2.5, "error": None},))
    >>> found.column("epsilon")
    array([2.5])

    A row holds every parameter of the plan, `delta`, `method`, `inclusion_probability`,
    `effective_sampling_probability`, `applications`, the certified `epsilon`, `epsilon_lower`
    (None where no attainable execution is known) and `error`: None, or the sentence that says why
    there is no plan or no number at that point.
    """

    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that have an error."""
        return tuple(row for row in self.rows if row["error"] is not None)

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """One numeric column as an array; NaN where a row has no number."""
        return np.array([math.nan if r.get(name) is None else r[name] for r in self.rows], float)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a table, whole or not at all: `.csv`, `.json` or `.parquet`, by the name.

        Raises:
          ValueError: Another ending.
          ImportError: `.parquet` without pyarrow (`pip install 'patchdp[sweep]'`).
        """
        from patchdp.sweeps.table import write_table  # slow to import

        write_table(self.rows, path)


def sweep(
    grid: AnyGrid,
    executor: Executor | None = None,
    *,
    method: Method = "auto",
    lower: bool = True,
    journal: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Sweep:
    """Certified epsilons at every point of a grid.

    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
    ...     sampling=pdp.Poisson(sampling_probability=0.01), noise_multiplier=1.0, steps=50,
    ... )
    >>> found = pdp.sweep(pdp.Grid(plan, {"noise_multiplier": [1.0, 2.0], "delta": 1e-5}))
    >>> bool(found.column("epsilon")[0] > found.column("epsilon")[1] > 0)
    True

    Args:
      grid: What to vary.
      executor: Any `concurrent.futures.Executor`: a process pool, dask.distributed's
        `client.get_executor()`, mpi4py's. Without one, points are computed here, in order.
      method: Engine of `TrainingPlan.epsilon`.
      lower: Whether to find `epsilon_lower` too, which takes longer than the upper bound.
      journal: File in which every finished point is kept. Run again with the same grid, method
        and version, a sweep continues from it; with another, it is refused.
      progress: Whether to draw a progress bar on standard error.

    Raises:
      ValueError: The method is unknown, or the journal belongs to something else. A point that
        has no answer is no error here: its row says why.
    """
    method, lower = _checks.choice("method", method, METHODS), _checks.flag("lower", lower)
    if not isinstance(grid, AnyGrid):
        raise ValueError(f"grid must be a Grid, got {_checks.shown(grid)}")
    header = {
        "version": __version__,
        "method": method,
        "lower": lower,
        "grid": grid.fingerprint(),
        "points": len(grid),
    }
    done: dict[int, Row] = {}
    with ExitStack() as stack:
        book = None if journal is None else stack.enter_context(Journal(journal, header))
        if book is not None:
            done.update((i, _from_json(row)) for i, row in book.rows.items())
        left = (i for i in range(len(grid)) if i not in done)
        bar = stack.enter_context(
            click.progressbar(length=len(grid), label="sweep", file=sys.stderr, hidden=not progress)
        )
        bar.update(len(done))
        for index, row in _rows(grid, left, executor, (method, lower)):
            if book is not None:
                book.append(index, _to_json(row))
            done[index] = row
            bar.update(1)
    return Sweep(tuple(done[i] for i in range(len(grid))))


def _rows(
    grid: AnyGrid, left: Iterator[int], executor: Executor | None, question: tuple[Method, bool]
) -> Iterator[tuple[int, Row]]:
    """Rows as they are finished."""
    if executor is None:
        for index in left:
            yield index, _row(grid, index, *question)
        return
    running: dict[Future[Row], int] = {}
    try:
        while True:
            for index in islice(left, _IN_FLIGHT - len(running)):
                running[executor.submit(_row, grid, index, *question)] = index
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    except CancelledError:
        raise ValueError("the executor was shut down before the sweep was done") from None
    finally:
        for future in running:
            future.cancel()


def _row(grid: AnyGrid, index: int, method: Method, lower: bool) -> Row:
    """One point; runs wherever the executor runs it."""
    unknown: Row = {"epsilon": None, "epsilon_lower": None, "error": None}
    row: Row = {**grid.given(index), "method": method, **unknown}
    try:
        plan, delta = grid.plan(index), grid.delta(index)
        row = {**parameters(plan), "delta": float(delta), "method": method}
        row["inclusion_probability"] = float(plan.inclusion.probability)
        row["effective_sampling_probability"] = float(plan.effective_sampling_probability)
        row["applications"] = plan.applications
        row |= unknown
        if lower:
            row["epsilon_lower"], row["epsilon"] = plan.epsilon_bounds(delta, method=method)
        else:
            row["epsilon"] = plan.epsilon(delta, method=method)
    except (ValueError, TypeError, ArithmeticError) as error:
        row["error"] = " ".join(str(error).split()) or type(error).__name__
    return row


def _exchange(row: Row, change: Callable[[Any], Any]) -> Row:
    return {name: change(value) for name, value in row.items()}


def _to_json(row: Row) -> Row:
    return _exchange(row, lambda v: "inf" if isinstance(v, float) and math.isinf(v) else v)


def _from_json(row: Row) -> Row:
    return _exchange(row, lambda v: math.inf if v == "inf" else v)
