"""`patchdp sweep`: certified epsilons over a grid of settings."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from patchdp.cli import output
from patchdp.cli.privacy import method_of
from patchdp.cli.settings import GEOMETRY, TRAINING, collect, one_plan, options, parse_fraction
from patchdp.plan import TrainingPlan
from patchdp.sweeps import Sweep
from patchdp.sweeps import sweep as run
from patchdp.sweeps.grid import REPLACES, AnyGrid, Cell, cell

__all__ = ["sweep"]


class SettingsGrid(AnyGrid):
    """A grid over the settings of the shell and of config files, spelled as they are there."""

    base: Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if "delta" not in self.values and self.base.get("delta") is None:
            raise ValueError("delta is missing: give --delta, or put it into the grid or config")

    def names(self) -> tuple[str, ...]:
        return (*GEOMETRY, *TRAINING, "delta")

    def _settings(self, index: int) -> dict[str, Any]:
        settings, point = dict(self.base), self.point(index)
        for name in point:
            for other in REPLACES.get(name, ()):
                settings.pop(other, None)
        return {**settings, **point}

    def plan(self, index: int) -> TrainingPlan:
        return one_plan(self._settings(index))

    def given(self, index: int) -> dict[str, Cell]:
        return {name: cell(value) for name, value in self._settings(index).items()}

    def delta(self, index: int) -> float | Fraction:
        return parse_fraction("delta", self._settings(index)["delta"])

    def fingerprint(self) -> str:
        # A mask is named by its file: what is in the file counts as well.
        digest = hashlib.sha256(super().fingerprint().encode())
        for value in [*self.values.get("patch", ()), self.base.get("patch")]:
            if isinstance(value, str) and value.endswith(".npy") and Path(value).is_file():
                digest.update(Path(value).read_bytes())
        return digest.hexdigest()[:32]


def _axis(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise ValueError(
            f"--grid must be NAME=VALUE,VALUE such as noise_multiplier=1,2; got {text!r}"
        )
    return name.strip().replace("-", "_"), [value.strip() for value in values.split(",")]


def _workers(jobs: int) -> ProcessPoolExecutor:
    # One thread of linear algebra for each process; they inherit the setting when they start.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


@click.command(
    epilog=output.example(
        "patchdp sweep --config configs/cityscapes.toml "
        "--grid noise_multiplier=1,2,4 --grid crop=256x256,505x505 --out sweep.csv"
    )
)
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="NAME=VALUE,VALUE",
    help="Values of one setting; repeat for a product. Also a [grid] table in the config.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Table to write: .csv, .json or .parquet.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False),
    help="File that keeps finished points (default: OUT.journal); an interrupted sweep "
    "continues from it.",
)
@click.option("--restart", is_flag=True, help="Forget what the journal holds.")
@click.option("--lower/--no-lower", default=True, help="Whether to find lower bounds too (slower).")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Processes (default 1).")
@options(*GEOMETRY, *TRAINING, "delta", "method")
def sweep(
    *,
    axes: tuple[str, ...],
    out: str | None,
    journal: str | None,
    restart: bool,
    lower: bool,
    jobs: int,
    config: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Certified epsilons over a grid of settings."""
    settings = collect(config, flags, tables=("grid",))
    table = settings.pop("grid", {})
    if not isinstance(table, dict):
        raise ValueError("grid is a table: write [grid] and one list of values per setting")
    if settings.pop("phase", None):
        raise ValueError("a sweep varies one phase; the config has [[phase]] tables")
    grid = SettingsGrid(
        {k: v for k, v in settings.items() if k not in ("epsilon", "method", "tolerance")},
        {**table, **dict(_axis(text) for text in axes)},
    )
    if out is not None and Path(out).suffix not in (".csv", ".json", ".parquet"):
        raise ValueError(f"out must end in .csv, .json or .parquet, got {out!r}")
    if journal is None and out is not None:
        journal = f"{out}.journal"
    if restart and journal is not None:
        Path(journal).unlink(missing_ok=True)
    method = method_of(settings)
    if jobs == 1:
        found = run(grid, method=method, lower=lower, journal=journal, progress=True)
    else:
        workers = _workers(jobs)
        try:
            found = run(grid, workers, method=method, lower=lower, journal=journal, progress=True)
        finally:
            workers.shutdown(cancel_futures=True)
    if out is not None:
        found.write(out)
    _report(found, grid, out=out, as_json=as_json)
    return 0


def _report(found: Sweep, grid: SettingsGrid, *, out: str | None, as_json: bool) -> None:
    if as_json:
        output.dump({"rows": list(found.rows)})
    elif out is None:
        # Columns that vary, as the user wrote them, then what was found.
        names = [name for name, values in grid.values.items() if len(values) > 1]
        lines = [
            [
                *(_text(grid.point(i)[name]) for name in names),
                *(_number(row.get(k)) for k in ("inclusion_probability", "epsilon")),
                _number(row.get("epsilon_lower")),
            ]
            for i, row in enumerate(found.rows)
        ]
        output.table([*names, "inclusion", "epsilon <=", "epsilon >="], lines)
    failed = found.failed
    if failed:
        click.echo(
            f"patchdp: {len(failed)} of {len(found.rows)} points have no epsilon; "
            f"the first: {failed[0]['error']}",
            err=True,
        )
    if out is not None:
        click.echo(f"{len(found.rows)} points written to {out}", err=True)


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
