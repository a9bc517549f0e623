"""What the README shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from patchdp.cli import cli

README = Path(__file__).parents[1] / "README.md"
SHOWN = re.findall(r"<!-- output: patchdp (.*?) -->\n```text\n(.*?)```", README.read_text(), re.S)


@pytest.mark.parametrize(("arguments", "shown"), SHOWN, ids=[a for a, _ in SHOWN])
def test_shown_output_is_printed(
    arguments: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(README.parent)
    result = CliRunner().invoke(cli, shlex.split(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.rstrip() == shown.rstrip()


def test_readme_shows_something() -> None:
    assert len(SHOWN) >= 3
