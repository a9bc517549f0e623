"""The house: data flows one way, rooms do not lean on each other in circles, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import patchdp as pdp

ROOT = Path(pdp.__file__).parent
MODULES = {
    ".".join(("patchdp", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(ROOT.rglob("*.py"))
}
# From the foundations up: a room may import from itself and from those before it.
FLOORS = (
    ("_budget", "_checks", "_version"),
    ("geometry",),
    ("step",),
    ("composition",),
    ("guarantee",),
    ("goal",),
    ("solve",),
    ("plan",),
    ("sweeps", "objects", "audit", "omitted", "banded"),
    ("interop",),
    ("report",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imports(module: str, *, lazily: bool = True) -> set[str]:
    """The modules of patchdp that a module imports; with `lazily`, inside functions as well."""
    tree = ast.parse(MODULES[module].read_text())
    nodes = ast.walk(tree) if lazily else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports relatively"
            # `from package import name` may name a module or something inside the package.
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name in MODULES and name != module}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_room_has_a_floor() -> None:
    assert {room(m) for m in MODULES} - {""} <= set(FLOOR)


@pytest.mark.parametrize("module", [m for m in MODULES if room(m)])
def test_nothing_imports_upwards(module: str) -> None:
    floor = FLOOR[room(module)]
    above = {
        other
        for other in imports(module)
        if room(other) and FLOOR[room(other)] >= floor and room(other) != room(module)
    }
    assert not above


def test_no_circle_of_imports() -> None:
    # The package's own `__init__` files list what their rooms offer; circles are among the rest.
    graph = {m: {o for o in imports(m) if "__init__" not in MODULES[o].name} for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_above_400_lines(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 400


def test_public_names_are_at_home() -> None:
    listed = set(pdp.__all__) - {"__version__", "interop"}
    assert listed == set(pdp._HOMES)
    assert all(getattr(pdp, name).__module__.startswith("patchdp.") for name in listed)


# What a question does not need must not be paid for before it is answered.
HEAVY = ("dp_accounting", "scipy.stats", "scipy.signal", "scipy.optimize", "matplotlib", "mpmath")
STARTS = {
    "import patchdp": "import patchdp",
    "a plan": "import patchdp as pdp; pdp.TrainingPlan; pdp.RandomCrop",
    "epsilon from the shell": (
        "from patchdp.cli import main\n"
        "try:\n"
        "    main('epsilon --image 1024x2048 --crop 505x505 --patch 10x10 --sampling poisson"
        " --batch-size 200 --dataset-size 2975 --steps 1500 --noise-multiplier 2"
        " --delta 1e-5'.split())\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
    ),
}


@pytest.mark.parametrize("start", STARTS)
def test_nothing_is_imported_before_it_is_used(start: str) -> None:
    code = f"{STARTS[start]}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
