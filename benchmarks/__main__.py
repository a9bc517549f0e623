"""Run one benchmark by its name: `python -m benchmarks peers --json peers.json`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks


def main() -> int:
    """Hand the remaining arguments to the benchmark's own `main`."""
    names = sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_"
    )
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"usage: python -m benchmarks NAME [--help]; NAME is one of {', '.join(names)}")
        return 2
    sys.argv = [f"benchmarks {sys.argv[1]}", *sys.argv[2:]]
    return int(importlib.import_module(f"benchmarks.{sys.argv[0].split()[1]}").main() or 0)


if __name__ == "__main__":
    sys.exit(main())
