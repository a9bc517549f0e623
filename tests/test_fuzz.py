"""The short form of `python -m benchmarks fuzz`, and that it sees what it looks for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks._expressions import Draw


def test_hostile_numbers_have_an_answer_or_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)  # what takes longer is for the long form
    seen: Counter[str] = Counter()
    for index in range(600):
        expression = Draw(5, index).expression(costly=index % 40 == 0)
        outcome, said = fuzz.examine(expression)
        seen[outcome] += 1
        assert outcome in ("answer", "refusal", "budget"), (expression, said)
    assert seen["answer"] > 200 and seen["refusal"] > 200 and seen["budget"] < 10


def test_a_run_says_what_became_of_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz.fuzz(seed=3, first=1, seconds=0.2, note=tmp_path / "now")
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(last["counts"].values()) == last["next"] - 1 > 0
    index, expression = json.loads((tmp_path / "now").read_text())
    assert index == last["next"] - 1
    assert expression in {Draw(3, index).expression(costly=costly) for costly in (True, False)}


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("pdp.Disk(1)", "answer"),
        ("pdp.Disk(-1)", "refusal"),
        ("1 / 0", "traceback"),
        ("pdp.Crop.nothing", "traceback"),
        ("np.float64(1) / np.float64(0)", "warning"),
        ("(1.0, [float('nan')])", "nan"),
        ("np.array([0.0, np.nan])", "nan"),
        ("pdp.Inclusion(Fraction(1), None, (np.int8(3),), True)", "foreign"),
        ("int('x')", "message"),
        ("np.zeros(10**12)", "budget"),
        ("shell(['epsilon', '--image', 'abc'])", "refusal"),
        ("shell(['inclusion', '--image', '8x8', '--crop', '4x4', '--patch', '1x1'])", "answer"),
    ],
)
def test_each_kind_of_failure_is_seen(expression: str, outcome: str) -> None:
    assert fuzz.examine(expression)[0] == outcome


def test_too_long_a_question_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    outcome, said = fuzz.examine("sum(k * k for k in range(10**9))")
    assert outcome == "budget" and "s," in said


def test_draws_are_the_same_for_the_same_seed() -> None:
    one, two = ([Draw(seed, 5).expression(costly=True) for _ in range(2)] for seed in (1, 2))
    assert one[0] == one[1] != two[0] == two[1]
