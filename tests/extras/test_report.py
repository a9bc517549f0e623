"""Reports as files: self-contained pages, the same as Markdown and JSON, from a shell."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

import patchdp as pdp
from patchdp.cli import main
from patchdp.report import html
from patchdp.report.figures import figures
from patchdp.report.html import write_report
from patchdp.report.statement import statement

PLAN = pdp.TrainingPlan(
    image=(40, 60),
    crop=pdp.RandomCrop((12, 12)),
    patch=pdp.Patch((3, 3)),
    sampling=pdp.FixedSize(batch_size=200, dataset_size=1000),
    noise_multiplier=1.0,
    steps=100,
)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Ids, what is fetched, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("src", "href", "xlink:href", "srcset", "data"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    found = write_report(PLAN, tmp_path / "report.html", delta=1e-5)
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    inside = {f"#{name}" for name in page.ids}
    assert page.references and all(
        r in inside or r.startswith("data:image/png;base64,") for r in page.references
    )
    # Every clip path and glyph that a drawing points at is there.
    assert {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", text)} <= inside
    assert "<script" not in text and "@import" not in text and "@font-face" not in text
    assert found.sentence in text and all(line in text for line in found.assumptions)
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert text.count("<svg") == 3


def test_drawings_take_the_colours_of_the_page() -> None:
    drawn = figures(statement(PLAN, delta=1e-5))
    assert set(drawn) == {"profile", "tradeoff", "map"}
    for svg in drawn.values():
        ElementTree.fromstring(svg)
        assert "var(--ink)" in svg and "#000000" not in svg
        assert not re.search(r"#0[1-4]0[2-5]0[3-6]", svg)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (PLAN.replace(patch=pdp.Patch((3, 3), at=(0, 0))), {"profile", "tradeoff"}),
        (PLAN.replace(noise_multiplier=0.0), {"tradeoff", "map"}),
        (
            PLAN.replace(image=(50,), crop=pdp.RandomCrop((9,)), patch=pdp.Patch((2,))),
            {"profile", "tradeoff", "map"},
        ),
        (
            PLAN.replace(image=(9, 900, 8), crop=pdp.RandomCrop((4,) * 3), patch=pdp.Disk(1)),
            {"profile", "tradeoff", "map"},
        ),
    ],
)
def test_what_is_drawn_of_other_trainings(plan: pdp.TrainingPlan, names: set[str]) -> None:
    assert set(figures(statement(plan, delta=1e-5))) == names


def test_markdown_and_json_say_the_same(tmp_path: Path) -> None:
    plan = PLAN + PLAN.replace(noise_multiplier=2.0)
    found = write_report(plan, tmp_path / "r.md", delta=1e-5, command="make", config="steps = 1")
    text = (tmp_path / "r.md").read_text("utf-8")
    assert found.sentence in text and "```\nmake\n```" in text and "steps = 1" in text
    assert text.count("- [ ] ") == len(found.assumptions) and "### Phase 2" in text
    assert "{{" not in text and "{%" not in text
    write_report(plan, tmp_path / "r.json", delta=1e-5)
    record = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert record["epsilon"] == found.bounds.upper == plan.epsilon(1e-5)
    assert record["epsilon_lower"] == found.bounds.lower and len(record["settings"]) == 2


def test_json_has_no_infinity(tmp_path: Path) -> None:
    write_report(PLAN.replace(noise_multiplier=0.0), tmp_path / "r.json", delta=1e-5)
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["epsilon"] == "inf"


def test_text_of_a_user_is_not_markup(tmp_path: Path) -> None:
    write_report(PLAN, tmp_path / "r.html", delta=1e-5, command="<script>alert(1)</script>")
    assert "<script" not in (tmp_path / "r.html").read_text("utf-8")


def test_a_missing_library_is_named_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "statement", lambda *args, **named: pytest.fail("computed"))
    monkeypatch.setattr(html.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"patchdp\[report\]"):
        write_report(PLAN, tmp_path / "r.html", delta=1e-5)
    with pytest.raises(ValueError, match=r"\.html, \.md or \.json"):
        write_report(PLAN, tmp_path / "r.pdf", delta=1e-5)


TOML = """
image = [40, 60]
patch = "3x3"
sampling = "poisson"
sampling_probability = "1/5"
delta = "1/2975"
[[phase]]
crop = [12, 12]
noise_multiplier = 1.5
steps = 50
[[phase]]
crop = "20x20"
padding = [[1, 2], [0, 0]]
noise_multiplier = 1
epochs = 2
"""


def shell(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["report", *args])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_shell_and_the_config_it_writes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "plan.toml", tmp_path / "report.json"
    config.write_text(TOML)
    status, said, err = shell(capsys, "--config", str(config), "--out", str(out))
    assert (status, err) == (0, "") and said.startswith("epsilon ")
    record = json.loads(out.read_text("utf-8"))
    assert record["command"] == "patchdp report --config plan.toml --out report.json"
    # What the report holds is enough to make it again.
    config.write_text(record["config"])
    status, said, _ = shell(capsys, "--config", str(config), "--out", str(out), "--json")
    assert status == 0 and json.loads(said)["epsilon"] == record["epsilon"]
    assert json.loads(out.read_text("utf-8")) == record


def test_shell_refuses_in_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for args in (["--out", "r.pdf"], ["--out", str(tmp_path / "r.json")], []):
        status, out, err = shell(capsys, *args)
        assert (status, out) == (2, "") and err.count("\n") == 1
