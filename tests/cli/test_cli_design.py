"""`patchdp design`: its table and its JSON say what the function says."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from click.testing import CliRunner

import patchdp as pdp
from patchdp.cli import cli, main

BASE = (
    "design --image 128x256 --patch 4x4 --min-crop 50x50 --sampling poisson --batch-size 50 "
    "--dataset-size 1000 --epochs 5 --delta 1/1000"
)
PLAN = pdp.TrainingPlan(
    image=(128, 256),
    crop=pdp.RandomCrop((50, 50)),
    patch=pdp.Patch((4, 4)),
    sampling=pdp.Poisson(50, 1000),
    noise_multiplier=1.0,
    epochs=5,
)


def run(*flags: str) -> str:
    found = CliRunner().invoke(cli, [*BASE.split(), *flags])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_json_holds_every_row() -> None:
    said = json.loads(run("--noise-multiplier", "1", "--max-crop", "70x70", "--json"))
    found = pdp.design(PLAN, min_crop=(50, 50), max_crop=(70, 70), delta=Fraction(1, 1000))
    expected = found.candidates[1:]
    assert [row["law"] for row in said["rows"]] == [c.law for c in expected]
    for row, candidate in zip(said["rows"], expected, strict=True):
        assert row["epsilon"] == candidate.epsilon
        assert row["inclusion_probability"] == float(candidate.inclusion)
        assert row["windows"] == candidate.diversity.windows
        assert row["on_front"] == (candidate in found.front)
    assert eval(said["recommended"]["crop"], vars(pdp)) == found.recommended.crop
    planned = json.loads(run("--noise-multiplier", "1", "--crop", "60x60", "--json"))
    assert planned["rows"][0]["law"] == "planned"


def test_the_table_names_the_recommended_crop_and_fits_a_terminal() -> None:
    text = run("--noise-multiplier", "1", "--law", "best", "--law", "mixture:0.5", "--room", "0.05")
    assert "GridCrop(" in text
    assert "mixture:0.5 62x62" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_target_needs_no_noise() -> None:
    said = json.loads(run("--epsilon", "1", "--max-crop", "60x60", "--json"))
    by = {(row["law"], row["window"][0]): row["noise_multiplier"] for row in said["rows"]}
    assert by["best", 60] < by["uniform", 60]
    assert said["target_epsilon"] == 1


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (["--noise-multiplier", "1", "--law", "better"], "laws must be"),
        ([], "noise_multiplier is missing"),
        (["--noise-multiplier", "1", "--max-crop", "4x4"], "must fit max_crop"),
        (["--noise-multiplier", "1", "--room", "no"], "room must be a number"),
    ],
)
def test_bad_input_is_one_sentence(
    flags: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*BASE.split(), *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert match in said
    assert said.count("\n") == 1
