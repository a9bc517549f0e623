"""The documentation says what the code does: references resolve, examples run, tables agree."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
THEORY = [DOCS / "theory.md", *sorted((DOCS / "theory").glob("*.md"))]
SOURCES = sorted((ROOT / "patchdp").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Pages whose theorems do not yet end with the tests that attack them.
WITHOUT_ATTACKS = {"theory.md", "exact.md", "optimal.md"}
# "docs/theory.md, "Connect the dots"" in a docstring, perhaps broken over lines, or two titles.
REFERENCE = re.compile(
    r"(docs/[\w/]+\.md)`?,((?:\s+(?:and\s+)?(?:#\s*)?\"[^\"]+\")+)",
)


def headings(page: Path) -> list[str]:
    lines = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S).splitlines()
    titles = [re.sub(r"^#+\s+", "", line) for line in lines if re.match(r"#+ ", line)]
    return [re.sub(r"\s*\{#[\w-]+\}$", "", title).strip() for title in titles]


def references(path: Path) -> list[tuple[str, str]]:
    text = path.read_text("utf-8")
    found = []
    for page, titles in REFERENCE.findall(text):
        found += [(page, " ".join(title.split())) for title in re.findall(r"\"([^\"]+)\"", titles)]
    return found


def theorems() -> dict[int, str]:
    """Number of every theorem, and the title of the section it stands in."""
    section, found = "", {}
    for line in "\n".join(page.read_text("utf-8") for page in THEORY).splitlines():
        if match := re.match(r"##? (.+)", line):
            section = match[1]
        elif match := re.match(r"###+ Theorem (\d+)\b.*\{#theorem-(\d+)\}$", line):
            assert match[1] == match[2], line
            assert int(match[1]) not in found, line
            found[int(match[1])] = section
    return found


def proofs(page: Path) -> dict[str, str]:
    """Text of every theorem and lemma of a page, up to the next heading, by its anchor."""
    text = page.read_text("utf-8")
    found = re.findall(
        r"^###+ (?:Theorem|Lemma)\b[^\n]*\{#([\w-]+)\}\n(.*?)(?=^#|\Z)", text, re.M | re.S
    )
    return dict(found)


def uses(text: str) -> list[str]:
    """The paragraphs of a theory page that say who uses and who attacks a theorem."""
    return re.findall(r"^Used by (.+?)(?=\n\n|\Z)", text.strip(), re.M | re.S)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_sections_that_docstrings_name_exist() -> None:
    named = [(path, *reference) for path in SOURCES for reference in references(path)]
    assert len(named) > 10
    missing = [
        f"{path.relative_to(ROOT)}: {page}, {title!r}"
        for path, page, title in named
        if not (ROOT / page).exists() or title not in headings(ROOT / page)
    ]
    assert not missing, "\n".join(missing)


def test_the_reference_pattern_reads_what_docstrings_write(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('`docs/theory.md`, "One" and\n"Two words". See docs/theory/exact.md, "Three".')
    assert references(file) == [
        ("docs/theory.md", "One"),
        ("docs/theory.md", "Two words"),
        ("docs/theory/exact.md", "Three"),
    ]


def test_theorems_are_numbered_without_gaps() -> None:
    assert sorted(theorems()) == list(range(1, len(theorems()) + 1))


def numbered(paths: list[Path]) -> set[int]:
    """The theorems that these files name."""
    texts = [path.read_text("utf-8") for path in paths if path != Path(__file__)]
    return {int(n) for text in texts for n in re.findall(r"\bTheorem (\d+)\b", text)}


def test_every_theorem_is_linked_from_the_code_that_uses_it() -> None:
    titles = {title for path in SOURCES for _, title in references(path)}
    named = numbered(SOURCES)
    idle = [n for n, section in theorems().items() if n not in named and section not in titles]
    assert not idle, f"no docstring refers to theorems {idle}"


def test_every_theorem_is_attacked_by_a_test() -> None:
    assert set(theorems()) <= numbered(TESTS)


def test_every_theorem_ends_with_its_code_and_its_attack() -> None:
    found = 0
    for page in THEORY:
        if page.name in WITHOUT_ATTACKS:
            continue
        for anchor, text in proofs(page).items():
            assert text.count("∎") == 1, f"{page.name}, {anchor}: one proof"
            (line,) = uses(text)
            assert "Attacked by `tests/" in line, f"{page.name}, {anchor}: no attack is named"
            found += 1
    assert found > 20


def test_tests_that_theory_names_exist() -> None:
    named = {
        attack
        for page in THEORY
        for line in uses(page.read_text("utf-8"))
        for attack in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", line)
    }
    assert len(named) > 20
    for attack in sorted(named):
        path, _, name = attack.partition("::")
        assert (ROOT / path).exists(), attack
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), attack


def test_code_that_theory_names_exists() -> None:
    lines = [line for page in THEORY for line in uses(page.read_text("utf-8"))]
    names = {name for line in lines for name in _code(line)}
    assert len(names) > 10
    for name in names:
        module, attributes = name, []
        while importlib.util.find_spec(module.split(".")[0]) and not _is_module(module):
            module, _, last = module.rpartition(".")
            attributes.insert(0, last)
        found: object = importlib.import_module(module)
        for attribute in attributes:
            found = getattr(found, attribute)


def _code(line: str) -> list[str]:
    return re.findall(r"`(patchdp[\w.]*)`", line)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_links_between_pages_resolve() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        for target, anchor in re.findall(r"\]\(([^)#:\s]+\.md)?(?:#([\w-]+))?\)", text):
            there = page.parent / target if target else page
            numbered = re.match(r"(theorem|lemma)-", anchor)
            if not there.exists() or (numbered and anchor not in proofs(there)):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken, "\n".join(broken)


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        assert f": {page.relative_to(DOCS).as_posix()}\n" in config + "\n", page


@pytest.mark.parametrize(
    "page", [DOCS / "index.md", *sorted((DOCS / "howto").glob("*.md"))], ids=lambda p: p.stem
)
def test_examples_run(page: Path) -> None:
    if page.stem in {"opacus", "jax-privacy"}:
        pytest.importorskip("torch" if page.stem == "opacus" else "jax_privacy")
    results = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert results.failed == 0


def test_trap_numbers_are_current() -> None:
    traps = script("traps")
    page = (DOCS / "traps.md").read_text("utf-8")
    assert f"```text\n{traps.table()}\n```" in page
    assert f"```text\n{traps.others()}\n```" in page


@pytest.mark.parametrize("name", ["Cityscapes", "A2D2"])
def test_comparison_numbers_are_current(name: str) -> None:
    comparison = script("comparison")
    page = (DOCS / "comparison.md").read_text("utf-8")
    assert comparison.epsilons(name) in page


@pytest.mark.parametrize("name", ["Cityscapes", "A2D2"])
def test_comparison_noise_is_current(name: str) -> None:
    comparison = script("comparison")
    page = (DOCS / "comparison.md").read_text("utf-8")
    assert comparison.noises(name) in page
