"""Writes what the commands print into the README: `python tests/refresh_readme.py`."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from patchdp.cli import cli

README = Path(__file__).parents[1] / "README.md"


def _printed(found: re.Match[str]) -> str:
    result = CliRunner().invoke(cli, shlex.split(found[1]), catch_exceptions=False)
    return f"<!-- output: patchdp {found[1]} -->\n```text\n{result.stdout.rstrip()}\n```"


if __name__ == "__main__":
    os.chdir(README.parent)
    block = re.compile(r"<!-- output: patchdp (.*?) -->\n```text\n.*?```", re.S)
    README.write_text(block.sub(_printed, README.read_text()))
