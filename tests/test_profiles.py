"""The suite draws the same examples for everyone, and new ones where that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DRAWS = """
import pathlib
from hypothesis import given, strategies as st

@given(st.integers(0, 10**18))
def test_draw(number):
    with pathlib.Path(__file__).with_name("drawn").open("a") as file:
        print(number, file=file)
"""


def drawn(folder: Path, *options: str) -> str:
    """What a run of the suite's settings draws, on a machine of its own."""
    folder.mkdir()
    (folder / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (folder / "test_draws.py").write_text(DRAWS)
    clean = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return (folder / "drawn").read_text()


@pytest.mark.parametrize(
    ("options", "same"), [((), True), (("--hypothesis-profile=explore",), False)]
)
def test_profiles(tmp_path: Path, options: tuple[str, ...], same: bool) -> None:
    first, second = drawn(tmp_path / "one", *options), drawn(tmp_path / "two", *options)
    assert len(first.split()) >= 50
    assert (first == second) == same
