"""Run one piece of work in a process of its own, with a limit on its time and its memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["child", "run"]

GIB = 1 << 30


def run(
    module: str, task: dict[str, Any], *, seconds: float, memory: int = 8 * GIB
) -> dict[str, Any]:
    """What `python -m module TASK` prints as its last line, as JSON; or why there is nothing.

    The result has `peak_mib`, the largest resident size of the child, where it ended by itself.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    command: Sequence[str] = [sys.executable, "-m", module, json.dumps(task)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, preexec_fn=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {seconds:g} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = done.stderr.strip().splitlines()
        return {"failed": words[-1][:120] if words else f"ended with status {done.returncode}"}
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def child(result: dict[str, Any]) -> None:
    """Print a result from inside the child."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**result, "peak_mib": peak}))
