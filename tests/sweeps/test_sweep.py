"""Sweeps: every point once, whatever happens in between."""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp.cli import main
from patchdp.sweeps.journal import Journal
from patchdp.sweeps.table import write_table

# The module; `patchdp.sweep`, the attribute, is the function.
sweeping = sys.modules["patchdp.sweeps.points"]


@pytest.fixture
def plan() -> pdp.TrainingPlan:
    return pdp.TrainingPlan(
        image=(32, 32),
        crop=pdp.RandomCrop((16, 16), padding=2),
        patch=pdp.Patch((4, 4)),
        sampling=pdp.FixedSize(batch_size=100, dataset_size=400),
        noise_multiplier=1.0,
        steps=200,
    )


@pytest.fixture
def grid(plan: pdp.TrainingPlan) -> pdp.Grid:
    values = {"noise_multiplier": [1.0, 2.0], "crop": [(8, 8), (64, 64), (16, 16)], "delta": 1e-5}
    return pdp.Grid(plan, values)


# What a grid means


def test_points_are_the_product_with_the_last_name_fastest(grid: pdp.Grid) -> None:
    points = [grid.point(i) for i in range(len(grid))]
    assert [(p["noise_multiplier"], p["crop"]) for p in points] == [
        (s, c) for s in (1.0, 2.0) for c in ((8, 8), (64, 64), (16, 16))
    ]


def test_rows_say_what_the_plans_say(plan: pdp.TrainingPlan, grid: pdp.Grid) -> None:
    found = pdp.sweep(grid)
    for i in (0, 2, 3, 5):
        point, row = grid.point(i), found.rows[i]
        one = plan.replace(
            noise_multiplier=point["noise_multiplier"],
            crop=pdp.RandomCrop(point["crop"], padding=2),
        )
        bounds = one.epsilon_bounds(1e-5)
        assert (row["epsilon"], row["epsilon_lower"]) == (bounds.upper, bounds.lower)
        assert row["inclusion_probability"] == float(one.inclusion.probability)
        assert row["effective_sampling_probability"] == float(one.effective_sampling_probability)
        assert row["crop"] == "x".join(map(str, point["crop"]))
        assert (row["padding"], row["steps"], row["epochs"]) == (2, 200, None)
        assert row["error"] is None


def test_a_point_that_fits_nothing_is_a_row_with_a_sentence(grid: pdp.Grid) -> None:
    found = pdp.sweep(grid, lower=False)
    assert [row["error"] is not None for row in found.rows] == [False, True, False] * 2
    row = found.rows[1]
    assert "crop 64x64 does not fit image 32x32" in row["error"]
    assert (row["crop"], row["image"], row["epsilon"]) == ("64x64", "32x32", None)
    assert found.failed == (found.rows[1], found.rows[4])
    assert np.isnan(found.column("epsilon")[1])


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({"padding": [0, ((1, 2), (3, 4))]}, lambda p: p.crop.padding == ((1, 2), (3, 4))),
        ({"batch_size": [1, 50]}, lambda p: p.sampling == pdp.FixedSize(50, 400)),
        ({"dataset_size": [200, 300]}, lambda p: p.sampling == pdp.FixedSize(100, 300)),
        ({"sampling": ["fixed", "poisson"]}, lambda p: p.sampling == pdp.Poisson(100, 400)),
        (
            {"sampling": "poisson", "sampling_probability": [0.5, 0.25]},
            lambda p: p.sampling == pdp.Poisson(dataset_size=400, sampling_probability=0.25),
        ),
        (
            {"sampling": [pdp.Poisson(2, 7), pdp.FixedSize(3, 9)]},
            lambda p: p.sampling == pdp.FixedSize(3, 9),
        ),
        ({"epochs": range(1, 3)}, lambda p: (p.steps, p.epochs) == (None, 2)),
        ({"steps": np.array([1, 7])}, lambda p: (p.steps, p.epochs) == (7, None)),
        ({"image": [(20, 20), (40, 30)]}, lambda p: p.image == (40, 30)),
        ({"image": [[(20, 20), (40, 30)]]}, lambda p: p.image == ((20, 20), (40, 30))),
        ({"patch": [(1, 1), pdp.Disk(2)]}, lambda p: p.patch == pdp.Disk(2)),
        ({"crop": [pdp.RandomCrop((5, 5))]}, lambda p: p.crop == pdp.RandomCrop((5, 5))),
        ({"images_per_person": [1, 2]}, lambda p: p.images_per_person == 2),
    ],
)
def test_every_parameter_reaches_its_plan(
    plan: pdp.TrainingPlan, values: dict[str, Any], check: Any
) -> None:
    grid = pdp.Grid(plan, {**values, "delta": 1e-5})
    assert check(grid.plan(len(grid) - 1))


def test_a_shuffle_drops_what_it_does_not_take(plan: pdp.TrainingPlan) -> None:
    grid = pdp.Grid(plan.replace(epochs=3), {"sampling": "shuffle", "delta": 1e-5})
    assert grid.plan(0).sampling == pdp.Shuffle(100, 400)
    rate = pdp.Grid(
        plan.replace(epochs=3),
        {"sampling": "shuffle", "sampling_probability": 0.5, "delta": 1e-5},
    )
    assert (
        pdp.sweep(rate).rows[0]["error"] == "sampling_probability goes with sampling poisson only"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"delta": 1e-5, "nois_multiplier": [1]}, "nearest is 'noise_multiplier'"),
        ({"noise_multiplier": [1.0]}, "delta is missing"),
        ({"delta": []}, "no values for delta"),
        ({"delta": 1e-5, "steps": [1], "epochs": [1]}, "give one of the two"),
    ],
)
def test_grids_that_mean_nothing_are_refused(
    plan: pdp.TrainingPlan, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        pdp.Grid(plan, values)


def test_a_bad_delta_is_one_point(plan: pdp.TrainingPlan) -> None:
    found = pdp.sweep(pdp.Grid(plan, {"delta": [0.0, 1e-5]}), lower=False)
    assert "delta must be" in found.rows[0]["error"]
    assert found.rows[1]["epsilon"] > 0


def test_no_noise_is_infinity_everywhere(plan: pdp.TrainingPlan, tmp_path: Path) -> None:
    grid = pdp.Grid(plan, {"noise_multiplier": 0.0, "delta": 1e-5})
    for _ in range(2):  # the second time from the journal
        assert pdp.sweep(grid, lower=False, journal=tmp_path / "j").rows[0]["epsilon"] == math.inf
    pdp.sweep(grid).write(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())[0]["epsilon"] == "inf"


def test_an_unknown_method_is_refused(grid: pdp.Grid) -> None:
    with pytest.raises(ValueError, match="method must be one of"):
        pdp.sweep(grid, method="prv")  # type: ignore[arg-type]


# Executors


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_executors_change_nothing(grid: pdp.Grid, kind: str) -> None:
    executor: Executor = (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        if kind == "processes"
        else ThreadPoolExecutor(2)
    )
    with executor:
        assert pdp.sweep(grid, executor, lower=False).rows == pdp.sweep(grid, lower=False).rows


class Backwards(Executor):
    """Finishes what it was given last first, and never holds more than it should."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any]] = []
        self.most = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: function(*args, **kwargs)))
        self.most = max(self.most, len(self.waiting))
        return future

    def run(self) -> None:
        while self.waiting:
            future, work = self.waiting.pop()
            future.set_result(work())


def test_rows_keep_the_order_of_the_grid(grid: pdp.Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Backwards()
    real = sweeping.wait

    def wait(futures: Any, **options: Any) -> Any:
        executor.run()
        return real(futures, **options)

    monkeypatch.setattr(sweeping, "wait", wait)
    monkeypatch.setattr(sweeping, "_IN_FLIGHT", 2)
    assert pdp.sweep(grid, executor, lower=False).rows == pdp.sweep(grid, lower=False).rows
    assert executor.most == 2


def test_what_a_broken_executor_finished_is_kept(
    grid: pdp.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Executor):
        calls = 0

        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.calls += 1
            future: Future[Any] = Future()
            if self.calls <= 2:
                future.set_result(function(*args, **kwargs))
            else:
                future.set_exception(RuntimeError("node lost"))
            return future

    monkeypatch.setattr(sweeping, "_IN_FLIGHT", 1)
    with pytest.raises(RuntimeError, match="node lost"):
        pdp.sweep(grid, Breaks(), lower=False, journal=tmp_path / "j")
    assert len(_points(tmp_path / "j")) == 2
    assert (
        pdp.sweep(grid, lower=False, journal=tmp_path / "j").rows
        == pdp.sweep(grid, lower=False).rows
    )


# Resuming


def _points(journal: Path) -> list[int]:
    lines = journal.read_text().splitlines()[1:]
    return [json.loads(line)["index"] for line in lines]


def _count_work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    done: list[int] = []
    real = sweeping._row

    def row(grid: Any, index: int, *question: Any) -> Any:
        done.append(index)
        return real(grid, index, *question)

    monkeypatch.setattr(sweeping, "_row", row)
    return done


def test_a_finished_sweep_computes_nothing_again(
    grid: pdp.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pdp.sweep(grid, lower=False, journal=tmp_path / "deep" / "j")
    done = _count_work(monkeypatch)
    assert pdp.sweep(grid, lower=False, journal=tmp_path / "deep" / "j").rows == first.rows
    assert done == []


def test_a_torn_line_anywhere_loses_only_itself(
    grid: pdp.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    whole = pdp.sweep(grid, lower=False, journal=path)
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    header = len(lines[0])
    done = _count_work(monkeypatch)
    cuts = {0, 1, 5, header - 1, header, header + 1, len(text) - 1, len(text) // 2}
    cuts |= {len(b"".join(lines[:3])) + shift for shift in (-1, 0, 1)}
    for cut in sorted(cuts):
        path.write_bytes(text[:cut])
        done.clear()
        assert pdp.sweep(grid, lower=False, journal=path).rows == whole.rows
        kept = max(text[:cut].count(b"\n") - 1, 0)
        assert len(done) == len(grid) - kept, cut
        assert sorted(_points(path)) == list(range(len(grid)))


def test_a_damaged_line_is_computed_again(
    grid: pdp.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    whole = pdp.sweep(grid, lower=False, journal=path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0" * (len(lines[2]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    done = _count_work(monkeypatch)
    assert pdp.sweep(grid, lower=False, journal=path).rows == whole.rows
    assert done == [1]


_CHILD = """
import sys, time
import patchdp as pdp
plan = pdp.TrainingPlan(
    image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
    sampling=pdp.FixedSize(batch_size=100, dataset_size=400), noise_multiplier=1.0, steps=200,
)
grid = pdp.Grid(plan, {"noise_multiplier": [1 + i / 100 for i in range(60)], "delta": 1e-5})
if __name__ == "__main__":
    pdp.sweep(grid, lower=False, journal=sys.argv[1])
    print("finished")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_sweep_continues(tmp_path: Path) -> None:
    script, path = tmp_path / "child.py", tmp_path / "j"
    script.write_text(_CHILD)
    command = [sys.executable, str(script), str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    kept = [line for line in path.read_bytes().split(b"\n")[:-1] if line]
    assert 5 < len(kept) < 61  # killed on the way
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "finished\n"
    after = path.read_bytes()
    assert after.startswith(b"\n".join(kept) + b"\n")  # nothing that was kept is lost
    assert sorted(_points(path)) == list(range(60))


def test_a_changed_grid_method_or_version_is_noticed(
    plan: pdp.TrainingPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = pdp.Grid(plan, {"noise_multiplier": [1.0, 2.0], "delta": 1e-5})
    path = tmp_path / "j"
    pdp.sweep(grid, lower=False, journal=path)
    before = path.read_bytes()
    others = [
        pdp.Grid(plan, {"noise_multiplier": [1.0, 3.0], "delta": 1e-5}),
        pdp.Grid(plan, {"noise_multiplier": [1.0, 2.0], "delta": 1e-6}),
        pdp.Grid(plan.replace(steps=201), {"noise_multiplier": [1.0, 2.0], "delta": 1e-5}),
    ]
    for other in others:
        with pytest.raises(ValueError, match="another grid"):
            pdp.sweep(other, lower=False, journal=path)
    with pytest.raises(ValueError, match="another method"):
        pdp.sweep(grid, method="rdp", lower=False, journal=path)
    monkeypatch.setattr(sweeping, "__version__", "0.0.0")
    with pytest.raises(ValueError, match="another version"):
        pdp.sweep(grid, lower=False, journal=path)
    assert path.read_bytes() == before


def test_masks_that_look_alike_are_told_apart(plan: pdp.TrainingPlan, tmp_path: Path) -> None:
    # numpy abbreviates what it prints of large arrays; the journal must not be fooled by that.
    pixels = np.ones((40, 40), bool)
    holed = pixels.copy()
    holed[20, 20] = False
    big = plan.replace(image=(64, 64))
    grids = [pdp.Grid(big, {"patch": [pdp.Mask(m)], "delta": 1e-5}) for m in (pixels, holed)]
    assert grids[0].fingerprint() != grids[1].fingerprint()
    cells = [pdp.sweep(g, lower=False).rows[0]["patch"] for g in grids]
    assert cells[0] != cells[1] and all(len(c) < 100 for c in cells)


def test_files_that_are_no_journals_are_left_alone(grid: pdp.Grid, tmp_path: Path) -> None:
    for content in (b"epsilon,delta\n1,2\n", b"{}\n", b"notes", b'{"format": "other"}\n'):
        path = tmp_path / "thesis.csv"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a journal"):
            pdp.sweep(grid, lower=False, journal=path)
        assert path.read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="no file locks there")
def test_two_sweeps_do_not_share_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", {}), pytest.raises(ValueError, match="in use by another sweep"):
        Journal(tmp_path / "j", {})
    Journal(tmp_path / "j", {}).__exit__(None, None, None)


def test_an_interrupt_leaves_a_journal_to_continue_from(
    grid: pdp.Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweeping._row

    def row(grid: Any, index: int, *question: Any) -> Any:
        if index == 3:
            raise KeyboardInterrupt
        return real(grid, index, *question)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "_row", row)
        with pytest.raises(KeyboardInterrupt):
            pdp.sweep(grid, lower=False, journal=tmp_path / "j")
    done = _count_work(monkeypatch)
    pdp.sweep(grid, lower=False, journal=tmp_path / "j")
    assert done == [3, 4, 5]


# Tables


def test_csv_and_json_hold_every_row(grid: pdp.Grid, tmp_path: Path) -> None:
    found = pdp.sweep(grid, lower=False)
    found.write(tmp_path / "t.csv")
    found.write(tmp_path / "t.json")
    with (tmp_path / "t.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [r["epsilon"] for r in table] == [
        "" if r["epsilon"] is None else repr(r["epsilon"]) for r in found.rows
    ]
    assert [r["error"] for r in table] == [r["error"] or "" for r in found.rows]
    loaded = json.loads((tmp_path / "t.json").read_text())
    for row, told in zip(found.rows, loaded, strict=True):
        assert {k: v for k, v in told.items() if v is not None} == {
            k: v for k, v in row.items() if v is not None
        }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.json"]  # no drafts left


def test_a_table_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old\n")

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table([{"epsilon": 1.0}], path)
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.csv, \.json or \.parquet"):
        write_table([], tmp_path / "t.xlsx")


# Many plans in one call


def test_epsilons_of_many_plans_are_those_of_each(plan: pdp.TrainingPlan) -> None:
    plans: list[Any] = [plan.replace(noise_multiplier=s) for s in (0.7, 1.0, 3.0)]
    plans += [plan.replace(noise_multiplier=0.0), plan.replace(steps=1), plans[0] + plans[1]]
    for method in ("auto", "rdp"):
        one = [p.epsilon(1e-5, method=method) for p in plans]
        np.testing.assert_array_equal(pdp.epsilons(plans, 1e-5, method=method), one)
    exact = pdp.epsilons(plans, 1e-5)
    for value, each in zip(exact, plans, strict=True):
        assert value == pytest.approx(each.epsilon(1e-5, method="exact"), rel=1e-9)
    estimate = pdp.epsilons(plans, 1e-5, method="exact_estimate")
    assert np.all(estimate <= exact)
    np.testing.assert_allclose(estimate, exact, rtol=1e-6)


def test_epsilons_take_one_delta_each(plan: pdp.TrainingPlan) -> None:
    deltas = np.array([1e-3, 1e-5, 1e-12])
    found = pdp.epsilons([plan] * 3, deltas)
    assert np.all(np.diff(found) > 0)
    assert found[1] == pytest.approx(plan.epsilon(1e-5, method="exact"), rel=1e-9)


@pytest.mark.parametrize(
    ("delta", "method", "sentence"),
    [(0.0, "exact", "delta"), (1e-5, "best", "method must be one of"), (1.0, "rdp", "delta")],
)
def test_epsilons_refuse(plan: pdp.TrainingPlan, delta: float, method: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        pdp.epsilons([plan], delta, method=method)


def test_no_plans_have_no_epsilons() -> None:
    assert pdp.epsilons([], 1e-5).shape == (0,)


# The shell

_CONFIG = """
image = [32, 32]
crop = [16, 16]
patch = [4, 4]
sampling = "fixed"
batch_size = 100
dataset_size = 400
steps = 200
noise_multiplier = 1
delta = "1/10000"
[grid]
noise_multiplier = [1, 2]
crop = ["8x8", [16, 16]]
"""


def _shell(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(_CONFIG)
    return path


def test_shell_writes_a_table(
    config: Path, plan: pdp.TrainingPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.json"
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out, "--padding", 2) == 0
    rows = json.loads(out.read_text())
    assert [(r["noise_multiplier"], r["crop"]) for r in rows] == [
        (s, c) for s in (1, 2) for c in ("8x8", "16x16")
    ]
    assert rows[1]["epsilon"] == plan.epsilon(1e-4)
    assert "4 points written" in capsys.readouterr().err
    assert (tmp_path / "o.json.journal").exists()


def test_shell_flags_add_to_the_grid_and_override_it(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--grid", "noise-multiplier=3", "--grid", "delta=1/100,1e-3", "--json")
    assert _shell("sweep", "--no-lower", "--config", config, *arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(r["noise_multiplier"], r["crop"], r["delta"]) for r in rows] == [
        (3, c, d) for c in ("8x8", "16x16") for d in (0.01, 0.001)
    ]


def test_shell_prints_what_varies(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _shell("sweep", "--no-lower", "--config", config, "--grid", "crop=8x8,99x99") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["noise_multiplier", "crop", "inclusion"]
    assert len(lines) == 6 and max(map(len, lines)) <= 80
    assert "2 of 4 points have no epsilon; the first: crop 99x99 does not fit" in err


def test_shell_continues_and_restarts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o.csv"
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out) == 0
    done = _count_work(monkeypatch)
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out) == 0
    assert done == []
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out, "--steps", 60) == 2
    assert (
        _shell("sweep", "--no-lower", "--config", config, "--out", out, "--steps", 60, "--restart")
        == 0
    )
    assert done == [0, 1, 2, 3]


def test_shell_notices_another_mask_under_the_same_name(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, out = tmp_path / "face.npy", tmp_path / "o.csv"
    np.save(mask, np.ones((3, 3), bool))
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out, "--patch", mask) == 0
    np.save(mask, np.ones((5, 5), bool))
    assert _shell("sweep", "--no-lower", "--config", config, "--out", out, "--patch", mask) == 2
    assert "another grid" in capsys.readouterr().err


def test_shell_uses_processes(config: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert _shell("sweep", "--no-lower", "--config", config, "--out", one) == 0
    assert _shell("sweep", "--no-lower", "--config", config, "--out", two, "--jobs", 2) == 0
    assert one.read_text() == two.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--grid", "noise_multiplier"), "NAME=VALUE"),
        (("--grid", "noise=1"), "nearest is"),
        (("--grid", "steps=1", "--grid", "epochs=1"), "give one of the two"),
        (("--out", "t.txt"), "out must end in"),
        (("--method", "prv"), "method must be one of"),
    ],
)
def test_shell_refuses_in_one_sentence(
    config: Path,
    arguments: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _shell("sweep", "--no-lower", "--config", config, *arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_shell_needs_a_delta(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(_CONFIG.replace('delta = "1/10000"\n', ""))
    assert _shell("sweep", "--config", config) == 2
    assert "delta is missing" in capsys.readouterr().err


def test_shell_refuses_phases(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(_CONFIG + "[[phase]]\nsteps = 5\n")
    assert _shell("sweep", "--config", config) == 2
    assert "one phase" in capsys.readouterr().err
