"""Notebooks: twins in step with each other, outputs stored, and every one runs from clean."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
EXPLORER = FOLDER / "05_explorer.py"


def _cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def _stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_there_are_four_notebooks_and_each_has_a_twin() -> None:
    twins = sorted(path.stem for path in FOLDER.glob("0*.py") if path != EXPLORER)
    assert twins == NAMES
    assert len(NAMES) == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_text_twin_says_the_same(name: str) -> None:
    assert _cells(_stored(name)) == _cells(jupytext.read(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_stored_in_the_order_of_the_cells(name: str) -> None:
    code = [cell for cell in _stored(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(
        "/" + "home/" in str(output) or "/" + "tmp/" in str(output) for output in outputs
    )


@pytest.mark.parametrize("name", NAMES)
def test_runs_from_clean_and_prints_what_is_stored(name: str, tmp_path: Path) -> None:
    notebook = jupytext.read(FOLDER / f"{name}.py")
    shutil.copytree(FOLDER / "figures", tmp_path / "figures")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()

    def printed(cells: Any) -> str:
        outputs = [o for cell in cells if cell.cell_type == "code" for o in cell.outputs]
        return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")

    assert printed(notebook.cells) == printed(_stored(name).cells)


def _explorer() -> Any:
    pytest.importorskip("marimo")
    spec = importlib.util.spec_from_file_location("explorer", EXPLORER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def test_the_explorer_runs_and_calls_an_estimate_an_estimate() -> None:
    outputs, names = _explorer().run()
    assert "exact_estimate" in names
    plan, delta = names["plan"], names["delta"]
    certified = plan.epsilon(delta)
    assert names["exact_estimate"] <= certified <= names["exact_estimate"] * 1.001
    text = " ".join(str(getattr(output, "text", "")) for output in outputs)
    assert "exact estimate, not certified" in text
    assert "certified: epsilon" not in text  # nobody pressed the button
