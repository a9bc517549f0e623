"""What the shell says of bad input: one sentence, the name of it, what is allowed; all at once."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from patchdp.cli import main
from patchdp.cli.parsing import parse_size

GOOD = {
    "image": "[28, 28]", "crop": "[10, 10]", "patch": "[1, 1]", "sampling": '"poisson"',
    "batch_size": "10", "dataset_size": "100", "steps": "20", "noise_multiplier": "2.0",
    "delta": "1e-5",
}  # fmt: skip
SHELL = ["--image", "28x28", "--crop", "10x10", "--sampling", "poisson", "--batch-size", "10",
         "--dataset-size", "100", "--steps", "20", "--noise-multiplier", "2"]  # fmt: skip


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(args))
        out, err = self.capsys.readouterr()
        return int(stop.value.code or 0), out, err

    def refused(self, *args: str) -> str:
        status, out, err = self(*args)
        assert (status, out) == (2, ""), (out, err)
        assert err.startswith("patchdp: ") and err.count("\n") == 1, err
        return err.removeprefix("patchdp: ").strip()


def config(folder: Path, **changes: str) -> str:
    path = folder / "plan.toml"
    path.write_text("\n".join(f"{k} = {v}" for k, v in {**GOOD, **changes}.items() if v))
    return str(path)


def test_all_faults_of_a_config_are_told_at_once(shell: Shell, tmp_path: Path) -> None:
    path = config(
        tmp_path, image='"abc"', crop="[10, true]", steps="0", nose_multiplier="2",
        sampling='"bogus"', noise_multiplier="-1", delta="2", patch='"missing.npy"',
    )  # fmt: skip
    said = shell.refused("epsilon", "--config", path)
    assert said.split("; ") == [
        f"config {path}: image must be a size such as 1024x2048, got 'abc'",
        "crop must be a size such as 1024x2048, got [10, True]",
        "patch missing.npy cannot be read: No such file or directory",
        "sampling must be one of poisson, fixed, allocation, shuffle, got 'bogus'",
        "steps must be a whole number of at least 1, got 0",
        "noise_multiplier must be a finite number of at least 0, got -1.0",
        "delta must be strictly between 0 and 1, got 2",
        "unknown key 'nose_multiplier'",
        "the nearest known key is 'noise_multiplier'",
    ]


def test_faults_of_phases_name_the_phase(shell: Shell, tmp_path: Path) -> None:
    path = config(tmp_path, phase="[{steps = 3}, {steps = 1.5, crop = 5.5}]")
    said = shell.refused("epsilon", "--config", path)
    assert "phase 2: steps must be a whole number, got 1.5; phase 2: crop must be" in said


def test_a_flag_takes_the_place_of_a_wrong_value(shell: Shell, tmp_path: Path) -> None:
    path = config(tmp_path, image='"abc"')
    assert shell("epsilon", "--config", path, "--image", "28x28")[0] == 0


def test_all_faults_of_flags_are_told_at_once(shell: Shell) -> None:
    said = shell.refused("epsilon", "--image", "abc", "--steps", "many", "--delta", "1e-5")
    for word in ("image must", "crop is missing", "patch is missing", "sampling is missing",
                 "steps must", "noise_multiplier is missing"):  # fmt: skip
        assert word in said


@pytest.mark.parametrize("name", ["image", "crop"])
def test_a_multiplication_sign_is_one(shell: Shell, name: str) -> None:
    assert parse_size(name, "64×32") == parse_size(name, "64X32") == (64, 32)
    status, out, _ = shell("inclusion", "--image", "28×28", "--crop", "10×10", "--patch", "1×1")
    assert status == 0 and "inclusion probability" in out


def npy(folder: Path, kind: str) -> Path:
    path = folder / "mask.npy"
    if kind == "text":
        path.write_text("0 1\n1 1\n")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps([[True]]))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "objects":
        np.save(path, np.array([[None, 1]], dtype=object), allow_pickle=True)
    elif kind == "zip":
        with path.open("wb") as file:
            np.savez(file, mask=np.ones((2, 2), bool))
    elif kind == "cut":
        np.save(path, np.ones((50, 50), bool))
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "floats":
        np.save(path, np.full((2, 2), 0.5))
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [("text", "not an array"), ("pickle", "not an array"), ("empty", "not an array"),
     ("objects", "not an array"), ("zip", "not an array"), ("cut", "not an array"),
     ("floats", "must hold booleans or whole numbers, got float64"),
     ("missing", "cannot be read: No such file"), ("folder", "cannot be read: Is a directory")],
)  # fmt: skip
def test_files_that_are_no_mask(shell: Shell, tmp_path: Path, kind: str, says: str) -> None:
    path = npy(tmp_path, kind)
    said = shell.refused("epsilon", *SHELL, "--patch", str(path), "--delta", "1e-5")
    assert said.startswith(f"patch {path} ") and says in said
    assert "pickle" not in said


def test_masks_are_read(shell: Shell, tmp_path: Path) -> None:
    for array in (np.ones((1, 1), bool), np.array([[255]], np.uint8)):
        np.save(tmp_path / "mask.npy", array)
        status, out, _ = shell(
            "epsilon", *SHELL, "--patch", str(tmp_path / "mask.npy"), "--delta", "1e-5", "--json"
        )
        assert status == 0
        box = shell("epsilon", *SHELL, "--patch", "1x1", "--delta", "1e-5", "--json")[1]
        assert json.loads(out)["epsilon"] == json.loads(box)["epsilon"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe\x00\x01", "is not TOML: it is not a text in UTF-8"),
     (b"image = = 3", "is not TOML: Invalid value"),
     (b"steps = " + b"9" * 5000, "too long to be a setting"),
     (b"steps = " + b"[" * 5000 + b"]" * 5000, "too long to be a setting")],
    ids=["binary", "broken", "digits", "brackets"],
)  # fmt: skip
def test_files_that_are_no_config(shell: Shell, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    said = shell.refused("epsilon", "--config", str(path))
    assert said.startswith(f"config {path} ") and says in said


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [("--delta", "1e-400", "delta must be 0 or at least 5e-324 in size, got '1e-400'"),
     ("--delta", "1e-310", "delta must lie between 1e-300 and 1, got 1e-310"),
     ("--noise-multiplier", "1e-400", "noise_multiplier must be 0 or at least 5e-324 in size"),
     ("--noise-multiplier", "1e400", "noise_multiplier must be a finite number, got '1e400'"),
     ("--steps", "1" + "0" * 30, "steps must be a whole number of at most 2**60"),
     ("--steps", "9" * 5000, "steps must be a finite number"),
     ("--image", "9" * 5000 + "x8", "image must be a size such as 1024x2048"),
     ("--image", str(2**64) + "x28", "image must be a whole number of at most 2**60"),
     ("--padding", str(2**63), "padding must be a whole number of at most 2**60")],
)  # fmt: skip
def test_numbers_beyond_all_limits(shell: Shell, flag: str, value: str, says: str) -> None:
    said = shell.refused("epsilon", *SHELL, "--patch", "1x1", "--delta", "1e-5", flag, value)
    assert says in said and len(said) < 300


def test_a_config_does_not_round_a_number_to_0(shell: Shell, tmp_path: Path) -> None:
    for name in ("noise_multiplier", "delta"):
        said = shell.refused("epsilon", "--config", config(tmp_path, **{name: "1e-400"}))
        assert f"{name} must be 0 or at least 5e-324 in size, got '1e-400'" in said
    assert shell("epsilon", "--config", config(tmp_path, noise_multiplier="0.0"))[0] == 0
