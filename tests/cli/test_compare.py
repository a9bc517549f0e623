"""`patchdp compare`: which rows there are, and what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

import patchdp as pdp
from patchdp.cli import cli, main
from patchdp.geometry import WholeImage
from patchdp.step import PixelNoise

TRAINING = (
    "compare --image 32x32 --crop 8x8 --patch 4x4 --sampling fixed --batch-size 10 "
    "--dataset-size 100 --steps 30 --noise-multiplier 2 --delta 1e-5 "
)


def rows(*flags: str) -> dict[str, Any]:
    found = CliRunner().invoke(cli, [*TRAINING.split(), "--json", *flags])
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    return {row["analysis"]: row["epsilon"] for row in said["rows"]}


def plan(**options: Any) -> pdp.TrainingPlan:
    return pdp.TrainingPlan(
        image=(32, 32),
        patch=pdp.Patch((4, 4)),
        sampling=pdp.FixedSize(10, 100),
        noise_multiplier=2.0,
        steps=30,
        **{"crop": pdp.RandomCrop((8, 8)), **options},
    )


def test_every_sampler_has_a_row() -> None:
    assert list(rows()) == [
        "image, fixed-size",
        "image, Poisson",
        "image, allocation",
        "patch, fixed-size",
        "patch, Poisson",
        "patch, allocation",
        "patch, shuffle",
    ]


def test_pixel_noise_alone_is_the_baseline() -> None:
    found = rows("--pixel-noise", "8", "--pixel-channels", "3", "--pixel-range", "1")
    noise = PixelNoise(std=8.0, channels=3, value_range=1.0)
    alone = found["patch under pixel noise alone, fixed-size"]
    assert alone == plan(crop=WholeImage(), pixel_noise=noise).epsilon(delta=1e-5)
    both = found["patch, fixed-size"]
    assert both == plan(pixel_noise=noise).epsilon(delta=1e-5)
    assert both < min(alone, rows()["patch, fixed-size"]) < found["image, fixed-size"]
    assert both > 0


def test_several_images_per_person() -> None:
    one, two = rows(), rows("--images-per-person", "2")
    assert set(one) - set(two) == {"image, allocation", "patch, allocation", "patch, shuffle"}
    assert all(two[name] > one[name] for name in two)
    assert two["patch, fixed-size"] == plan(images_per_person=2).epsilon(delta=1e-5)
    text = CliRunner().invoke(cli, [*TRAINING.split(), "--images-per-person", "2"]).stdout
    assert "2 images per person" in text
    assert "Allocation and shuffle have no row" in " ".join(text.split())


@pytest.mark.parametrize("flags", [("--pixel-channels", "3"), ("--images-per-person", "0")])
def test_what_makes_no_sense_is_refused(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*TRAINING.split(), *flags])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
