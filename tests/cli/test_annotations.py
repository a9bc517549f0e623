"""`patchdp annotations` as a shell sees it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from patchdp.cli import main

RUN = ["--sampling", "poisson", "--batch-size", "200", "--dataset-size", "2975",
       "--steps", "300", "--noise-multiplier", "2", "--delta", "1e-5"]  # fmt: skip
CONTENT = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 64, "width": 96}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [40, 20, 6, 8]},
        {"id": 3, "image_id": 1, "category_id": 2, "bbox": [90, 60, 20, 20],
         "segmentation": [[90, 60, 110, 60, 90, 80]]},
        {"id": 4, "image_id": 1, "category_id": 2, "bbox": [20, 10, 40, 40],
         "segmentation": [[20, 10, 60, 10, 20, 50]]},
    ],
    "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "plate"}],
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(CONTENT))
    return str(path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]):
    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["annotations", *args])
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_probabilities_and_epsilons(shell, file: str, tmp_path: Path) -> None:
    table = tmp_path / "objects.csv"
    status, out, err = shell(file, "--crop", "32x32", *RUN, "--epsilon", "0.5", "--json",
                             "--out", str(table), "--worst", "2")  # fmt: skip
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert (result["objects"], result["clipped"], result["left_out"]) == (4, 1, {})
    assert result["bounded_by_box"] == 2
    assert result["positions"] == "public"
    assert [row["id"] for row in result["worst"]] == ["4", "2"]
    assert [row["category"] for row in result["categories"]] == ["plate", "face"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    seen = [float(row["inclusion_probability"]) for row in rows]
    # Windows start at 0..32 and 0..64: 4x4 offsets see the corner, 33x39 the second box.
    assert seen[0] == pytest.approx(16 / (33 * 65), rel=1e-12)
    assert seen[1] == pytest.approx(28 * 37 / (33 * 65), rel=1e-12)
    epsilons = [float(row["epsilon"]) for row in rows]
    assert result["meets_epsilon"] == sum(e <= 0.5 for e in epsilons)
    assert 0 < result["meets_epsilon"] < 4
    assert sorted(range(4), key=seen.__getitem__) == sorted(range(4), key=epsilons.__getitem__)


def test_masks_count_their_own_pixels(shell, file: str) -> None:
    by_box = json.loads(shell(file, "--crop", "32x32", "--json")[1])
    by_mask = json.loads(shell(file, "--crop", "32x32", "--shapes", "mask", "--json")[1])
    assert by_mask["bounded_by_box"] == 0
    one, two = by_box["worst"][0], by_mask["worst"][0]
    assert one["id"] == two["id"] == "4"
    # The triangle x + y <= 70 inside [20, 60) x [10, 50): the lower right corner sees nothing.
    hits = sum(
        max(x, 20) + max(y, 10) < 70 and x < 60 and y < 50 for x in range(65) for y in range(33)
    )
    assert two["inclusion_probability"] == pytest.approx(hits / (33 * 65), rel=1e-12)
    assert two["inclusion_probability"] < one["inclusion_probability"]


def test_it_says_what_it_assumes(shell, file: str) -> None:
    status, out, _ = shell(file, "--crop", "32x32", *RUN)
    assert status == 0
    text = " ".join(out.split())
    assert "Positions count as public" in text
    assert "bounded by their box: an upper bound" in text
    assert "1 reach beyond their image" in text
    assert max(map(len, out.splitlines())) <= 100


def test_config_and_image_size(shell, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        'image = "64x96"\ncrop = "32x32"\npatch = "4x4"\nsampling = "shuffle"\nepochs = 5\n'
        'noise_multiplier = 3\ndelta = "1/1000"\n'
    )
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    config = ["--config", str(tmp_path / "plan.toml")]
    status, out, _ = shell(str(tmp_path / "a.txt"), *config, "--json")
    assert status == 0
    assert 0 < json.loads(out)["epsilon_max"] < 10


CSV = (
    "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    "a.jpg,200,100,face,150,60,190,90\nb.jpg,50,50,face,1,1,20,20\nb.jpg,50,50,face,60,1,70,20\n"
)


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "o.csv"
    path.write_text(CSV)
    return str(path)


def test_what_is_left_out_is_counted_at_the_end(shell, table: str) -> None:
    status, out, err = shell(table, "--crop", "32x32")
    assert (status, err) == (0, "")
    assert out.rstrip().endswith("Left out: 1 outside their image.")
    (row,) = [line.split() for line in out.splitlines() if line.startswith("face")]
    assert row == ["face", "2", "1", "1"]
    status, again, err = shell(table, "--crop", "32x32", "--strict")
    assert (status, again) == (2, out)
    assert err == "patchdp: --strict: objects were left out: 1 outside their image\n"
    status, out, _ = shell(table, "--crop", "32x32", "--strict", "--json")
    assert (status, json.loads(out)["left_out"]) == (2, {"outside their image": 1})


def test_one_small_image_does_not_stop_the_others(shell, table: str) -> None:
    def values(*args: str) -> tuple[list[float], str]:
        status, out, err = shell(table, "--crop", "60x60", *args)
        assert (status, err) == (0, "")
        found = json.loads(shell(table, "--crop", "60x60", "--json", *args)[1])
        return [row["inclusion_probability"] for row in found["worst"]], " ".join(out.split())

    first = 40 / 41 * 50 / 141
    seen, out = values()
    assert seen == [1.0, pytest.approx(first)]
    assert "Images smaller than the crop: 1, objects in them: 1; they count as seen for sure" in out
    assert "pad-if-needed or skip." in out
    seen, out = values("--small-images", "skip")
    assert seen == [pytest.approx(first)]
    assert out.endswith("Left out: 1 outside their image, 1 in images smaller than the crop.")
    assert values("--small-images", "pad-if-needed")[0] == [1.0, pytest.approx(first)]
    status, out, err = shell(table, "--crop", "60x60", "--small-images", "refuse")
    assert (status, out) == (2, "") and "image b.jpg: crop 60x60 does not fit image 50x50" in err
    status, _, err = shell(table, "--crop", "60x60", "--small-images", "skip", "--strict")
    assert status == 2 and "1 outside their image, 1 in images smaller than the crop" in err


def test_doubts_are_remarked_and_settled_by_options(shell, tmp_path: Path) -> None:
    path = tmp_path / "y.txt"
    path.write_text("0 0.1 0.1 0.3 0.1 0.3 0.4\n")
    args = [str(path), "--crop", "32x32", "--image", "100x100"]
    status, out, _ = shell(*args)
    assert status == 0 and "(--columns box or polygon tells)" in " ".join(out.split())
    status, out, _ = shell(*args, "--columns", "polygon")
    assert status == 0 and "--columns" not in out
    (tmp_path / "v.xml").write_text(
        "<annotation><size><width>99</width><height>99</height></size><object><bndbox><xmin>5"
        "</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    args = [str(tmp_path / "v.xml"), "--crop", "32x32"]
    assert "(--origin 0 or 1 tells)" in " ".join(shell(*args)[1].split())
    boxes = [
        json.loads(shell(*args, "--origin", origin, "--json")[1])["worst"][0]["top"]
        for origin in ("0", "1")
    ]
    assert boxes == [5, 4]
    path.write_text("0 12 8 4 3\n")
    args = [str(path), "--crop", "32x32", "--image", "100x100"]
    status, out, err = shell(*args)
    assert (status, out) == (2, "") and "y.txt, line 1: " in err and "--units pixels" in err
    assert shell(*args, "--units", "pixels")[0] == 0


def test_objects_of_an_image_together(shell, file: str) -> None:
    single = json.loads(shell(file, "--crop", "32x32", "--json")[1])
    status, out, _ = shell(file, "--crop", "32x32", "--group-by", "image", "--json")
    result = json.loads(out)
    assert (status, result["objects"], result["worst"][0]["id"]) == (0, 1, "all 4")
    most = result["worst"][0]["inclusion_probability"]
    assert single["inclusion_probability_max"] < most <= 1
    out = " ".join(shell(file, "--crop", "32x32", "--group-by", "image")[1].split())
    assert "It holds for all objects of one image at a time." in out


def test_only_what_fails_is_listed(shell, file: str, tmp_path: Path) -> None:
    out = tmp_path / "objects.csv"
    args = [file, "--crop", "32x32", *RUN, "--out", str(out), "--only-failing", "--json"]
    status, text, _ = shell(*args, "--epsilon", "0.5")
    result = json.loads(text)
    assert status == 0
    rows = csv.DictReader(out.read_text().splitlines())
    failing = [float(row["epsilon"]) for row in rows]
    assert len(failing) == len(result["worst"]) == 4 - result["meets_epsilon"] > 0
    assert min(failing) > 0.5
    status, text, _ = shell(*args, "--epsilon", "100")
    assert status == 0 and json.loads(text)["worst"] == []
    status, _, err = shell(*args)
    assert status == 2 and "epsilon is missing" in err
    status, _, err = shell(file, "--crop", "32x32", "--epsilon", "1", "--only-failing")
    assert status == 2 and "delta is missing" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--crop", "32"], "has 1 axes"),
        (["--crop", "70x70"], "image a.jpg: crop 70x70 does not fit"),
        ([], "crop is missing"),
        (["--crop", "32x32", "--epsilon", "1"], "delta is missing"),
        (["--crop", "32x32", "--delta", "1e-5"], "sampling is missing"),
        (["--crop", "32x32", *RUN, "--images-per-person", "2"], "images_per_person=2"),
        (["--crop", "32x32", "--worst", "-1"], "worst must be"),
        (["--crop", "32x32", "--image", "8x8x8"], "HEIGHTxWIDTH"),
        (["--crop", "32x32", "--out", "table.txt"], "a table is written to"),
        (["--crop", "32x32", "--format", "csv"], "no column 'image'"),
        (["--crop", "32x32", "--format", "voc"], "is not XML"),
    ],
)
def test_one_sentence_on_bad_input(shell, file: str, args: list[str], said: str) -> None:
    status, out, err = shell(file, *args)
    assert (status, out) == (2, "")
    assert err.startswith("patchdp: ") and err.count("\n") == 1
    assert said in err
