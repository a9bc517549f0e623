"""Pictures: they are drawn, of the right things, and refuse what cannot be drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.image import imread

import patchdp as pdp
from patchdp.cli import main
from patchdp.report.plots import plot_annotations, plot_epsilons, plot_inclusion

RUN = ["--sampling", "shuffle", "--epochs", "5", "--noise-multiplier", "3", "--delta", "1e-5"]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(args))
    return int(stop.value.code or 0)


def colours(path: Path) -> int:
    return len(np.unique(imread(path).reshape(-1, 4), axis=0))


@pytest.mark.parametrize(
    "place",
    [
        ["--image", "60x90", "--crop", "30x30", "--patch", "6x6"],
        ["--image", "32x32", "--crop", "32x32", "--padding", "4", "--patch", "5x5"],
        ["--image", "60x90", "--crop", "30x30", "--patch", "disk:4", "--within", "30:60,0:90"],
        ["--image", "20x400", "--crop", "20x20", "--patch", "1x1"],
        ["--image", "60x90", "--image", "90x60", "--crop", "30x30", "--patch", "6x6"],
    ],
    ids=["plain", "padded", "region", "long", "sizes"],
)
def test_inclusion_and_epsilon_pictures(place: list[str], tmp_path: Path) -> None:
    one, two = tmp_path / "p.png", tmp_path / "deep" / "e.png"
    assert run("inclusion", *place, *RUN, "--plot", str(one), "--epsilon-map", str(two)) == 0
    assert colours(one) > 20 and colours(two) > 20


def test_pictures_are_refused_with_a_reason(tmp_path: Path, capsys) -> None:
    volume = ["--image", "8x8x8", "--crop", "4x4x4", "--patch", "1x1x1"]
    flat = ["--image", "8x8", "--crop", "4x4", "--patch", "1x1"]
    for args, said in (
        ([*volume, "--plot", str(tmp_path / "a.png")], "two axes"),
        ([*flat, "--plot", str(tmp_path / "a.txt")], "written to .png"),
        ([*flat, "--epsilon-map", str(tmp_path / "a.png")], "delta is missing"),
    ):
        assert run("inclusion", *args) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_heat_is_drawn_where_it_belongs(tmp_path: Path) -> None:
    """The left half is seen, the right half is not: so are the colours."""
    image, crop, patch = (40, 40), pdp.RandomCrop((40, 4)), pdp.Patch((1, 1))
    values = pdp.inclusion_map(image, crop, patch)
    values[:, 20:] = 0
    found = pdp.inclusion(image, crop, patch)
    path = tmp_path / "a.png"
    plot_epsilons(path, found=found, patch=patch, values=values, start=(0, 0), delta=1e-5)
    picture = imread(path)[:, :, :3]
    row = picture[picture.shape[0] // 2 - 60]
    bright = row.sum(axis=1)
    width = len(row)
    assert bright[int(0.4 * width)] > bright[int(0.6 * width)]


def test_annotations_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = rng.random(500)
    eps = np.where(seen > 0.99, np.inf, 5 * seen)
    members = {f"c{k}": rng.random(500) < 0.3 for k in range(12)}
    for name, epsilons, target in (("a.png", eps, 2.0), ("b.png", None, None)):
        plot_annotations(tmp_path / name, seen, epsilons, members, target=target)
        assert colours(tmp_path / name) > 20


def test_union_of_patches(tmp_path: Path) -> None:
    union = pdp.PatchUnion((pdp.Patch((2, 2), at=(3, 4)), pdp.Patch((2, 2), at=(9, 9))))
    crop = pdp.RandomCrop((8, 8))
    found = pdp.inclusion((20, 20), crop, union)
    values = pdp.inclusion_map((20, 20), crop, union)
    path = tmp_path / "u.png"
    plot_inclusion(path, found=found, crop=crop, patch=union, values=values, start=(3, 4))
    assert path.stat().st_size > 1000


def test_plot_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({
        "images": [{"id": 1, "height": 64, "width": 64}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}],
    }))  # fmt: skip
    assert (
        run("annotations", str(path), "--crop", "9x9", *RUN, "--plot", str(tmp_path / "a.svg")) == 0
    )
    assert "<svg" in (tmp_path / "a.svg").read_text()
