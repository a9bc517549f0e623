"""The same sweep on a cluster: dask.distributed's executor on a local one, and Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

import patchdp as pdp

distributed = pytest.importorskip("distributed")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def grid() -> pdp.Grid:
    plan = pdp.TrainingPlan(
        image=(32, 32),
        crop=pdp.RandomCrop((16, 16)),
        patch=pdp.Patch((4, 4)),
        sampling=pdp.FixedSize(batch_size=100, dataset_size=400),
        noise_multiplier=1.0,
        steps=200,
    )
    values = {"noise_multiplier": [1.0, 2.0, 0.0], "crop": [(8, 8), (64, 64)], "delta": 1e-5}
    return pdp.Grid(plan, values)


def test_a_dask_cluster_runs_it_unchanged(grid: pdp.Grid, tmp_path: Path) -> None:
    here = pdp.sweep(grid, lower=False)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    )
    with cluster, distributed.Client(cluster) as client:
        journal = tmp_path / "journal"
        for _ in range(2):  # computed, then read back
            with client.get_executor() as executor:
                found = pdp.sweep(grid, executor, lower=False, journal=journal)
            assert found.rows == here.rows


def test_parquet_holds_every_row(grid: pdp.Grid, tmp_path: Path) -> None:
    found = pdp.sweep(grid, lower=False)
    found.write(tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == [
        {name: row[name] for name in row} for row in _filled(found)
    ]


def _filled(found: pdp.Sweep) -> list[dict[str, object]]:
    names = dict.fromkeys(name for row in found.rows for name in row)
    return [{name: row.get(name) for name in names} for row in found.rows]
