"""Run the notebooks from their plain-text twins and store the outputs.

python notebooks/execute.py [NAME]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parent


def execute(name: str) -> None:
    """Run one notebook in this folder and write `NAME.ipynb`."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    place = {"metadata": {"path": str(FOLDER)}}
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=place, record_timing=False
    ).execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ids would change with every run
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    twins = sorted(path.stem for path in FOLDER.glob("0[1-4]_*.py"))
    for chosen in sys.argv[1:] or twins:
        execute(chosen)
        print(chosen, flush=True)
