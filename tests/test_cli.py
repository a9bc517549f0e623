"""The command line as a shell sees it: JSON keys, overrides, examples, one sentence on errors."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.cli import cli, main

GEOMETRY = ["--image", "1024x2048", "--crop", "505x505", "--patch", "10x10"]
SMALL = ["--image", "28x28", "--crop", "10x10", "--patch", "1x1"]
RUN = ["--sampling", "poisson", "--batch-size", "200", "--dataset-size", "2975",
       "--steps", "1500", "--noise-multiplier", "2", "--delta", "1e-5"]  # fmt: skip


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
        assert status == 2, (args, out, err)
        assert out == ""
        assert err.startswith("patchdp: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert "Traceback" not in err
        return err

    def json(self, *args: str) -> dict:
        status, out, err = self(*args, "--json")
        assert status == 0, err
        assert err == ""
        return json.loads(out)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def changed(flag: str, value: str | None, base: list[str] | None = None) -> list[str]:
    args = ["epsilon", *(base or [*GEOMETRY, *RUN])]
    at = args.index(flag)
    return args[:at] + ([] if value is None else [flag, value]) + args[at + 2 :]


def test_inclusion_json(shell: Shell) -> None:
    result = shell.json("inclusion", *GEOMETRY)
    assert result["inclusion_probability"] == 66049 / 200720
    assert result["exact"] == "66049/200720"
    assert result["worst_position"] == [504, 504]


def test_epsilon_json(shell: Shell) -> None:
    result = shell.json("epsilon", *GEOMETRY, *RUN)
    assert 3.7319 < result["epsilon"] < 3.7319 * 1.001 + 1e-4
    assert result["epsilon_lower"] is None or 3.6619 < result["epsilon_lower"] < 3.6621
    assert result["delta"] == 1e-5 and result["steps"] == 1500 and result["method"] == "exact"
    assert result["inclusion_probability"] == 66049 / 200720
    assert result["effective_sampling_probability"] == pytest.approx(200 / 2975 * 66049 / 200720)


def test_a_smaller_tolerance_comes_nearer_to_the_exact_value(shell: Shell) -> None:
    loose, fine = (
        shell.json("epsilon", *GEOMETRY, *RUN, "--tolerance", value)["epsilon"]
        for value in ("1e-2", "1e-5")
    )
    assert 3.73193 < fine <= loose < 3.73193 * 1.01
    assert fine < 3.73193 * (1 + 2e-5)


def test_noise_meets_its_target(shell: Shell) -> None:
    result = shell.json(
        "noise", *SMALL, "--sampling", "shuffle", "--epochs", "15", "--epsilon", "1",
        "--delta", "1e-5",
    )  # fmt: skip
    assert result["epsilon"] <= 1.0 < result["epsilon"] * 1.01


def test_shuffle_composes_epochs(shell: Shell) -> None:
    base = [*SMALL, "--sampling", "shuffle", "--noise-multiplier", "4", "--delta", "1e-5"]
    assert shell.json("epsilon", *base, "--epochs", "15")["steps"] == 15
    assert "epochs" in shell.refused("epsilon", *base, "--steps", "15")


def test_no_noise_prints_infinity(shell: Shell) -> None:
    assert shell.json(*changed("--noise-multiplier", "0"))["epsilon"] == "inf"


BAD = [
    (changed("--crop", "2000x2000"), "crop"),
    (changed("--patch", "1025x10"), "patch"),
    (changed("--batch-size", "0"), "batch_size"),
    (changed("--batch-size", "2976"), "batch_size"),
    (changed("--delta", "0"), "delta"),
    (changed("--delta", "1"), "delta"),
    (changed("--delta", "nan"), "delta"),
    (changed("--delta", "inf"), "delta"),
    (changed("--delta", "1/0"), "delta"),
    (changed("--delta", "-1e-5"), "delta"),
    (changed("--delta", ""), "delta"),
    (changed("--delta", None), "delta"),
    (changed("--noise-multiplier", "-1"), "noise_multiplier"),
    (changed("--noise-multiplier", "nan"), "noise_multiplier"),
    (changed("--noise-multiplier", "inf"), "noise_multiplier"),
    (changed("--noise-multiplier", "1e-400x"), "noise_multiplier"),
    (changed("--noise-multiplier", "1e-320"), "noise_multiplier"),
    (changed("--sampling", "bogus"), "sampling"),
    (changed("--sampling", None), "sampling"),
    (changed("--patch", "10y10"), "patch"),
    (changed("--patch", "10x10x10"), "ax"),
    (changed("--steps", "0"), "steps"),
    (changed("--steps", "1.5"), "steps"),
    (changed("--steps", "-3"), "steps"),
    (changed("--steps", "nan"), "steps"),
    (changed("--steps", None), "steps"),
    (changed("--image", "0x0"), "image"),
    (changed("--image", ""), "image"),
    (changed("--image", "x"), "image"),
    ([*changed("--delta", "1e-5"), "--padding", "-1"], "padding"),
    ([*changed("--delta", "1e-5"), "--padding", "a"], "padding"),
    ([*changed("--delta", "1e-5"), "--method", "magic"], "method"),
    ([*changed("--delta", "1e-5"), "--tolerance", "0"], "tolerance"),
    ([*changed("--delta", "1e-5"), "--tolerance", "nan"], "tolerance"),
    ([*changed("--delta", "1e-5"), "--epochs", "3"], "steps or epochs"),
    ([*changed("--delta", "1e-5"), "--config", "/nowhere/at/all.toml"], "config"),
    ([*changed("--delta", "1e-5"), "--within", "0:5"], "within"),
    (["epsilon", "--bogus"], "bogus"),
    (["bogus"], "bogus"),
    (["inclusion", *GEOMETRY[:4], "--patch", "disk:x"], "disk"),
    (["inclusion", *GEOMETRY[:4], "--patch", "/nowhere.npy"], "nowhere"),
    (["solve", "--for", "colour", *GEOMETRY, *RUN], "colour"),
    (["noise", *GEOMETRY, *RUN, "--epsilon", "0"], "epsilon"),
    (["noise", *GEOMETRY, *RUN, "--epsilon", "nan"], "epsilon"),
    (["noise", *GEOMETRY, *RUN, "--epsilon", "-1"], "epsilon"),
    (["solve", "--for", "crop", *GEOMETRY, *RUN, "--epsilon", "1e-9"], "cannot be met"),
]


@pytest.mark.parametrize(("args", "word"), BAD)
def test_bad_input_is_one_sentence(shell: Shell, args: list[str], word: str) -> None:
    assert word in shell.refused(*args)


GOOD = {
    "image": "[28, 28]", "crop": "[10, 10]", "patch": "[1, 1]", "sampling": '"poisson"',
    "batch_size": "10", "dataset_size": "100", "steps": "20", "noise_multiplier": "2.0",
    "delta": "1e-5",
}  # fmt: skip


def toml(path: Path, **changes: str) -> str:
    table = {**GOOD, **changes}
    file = path / "plan.toml"
    file.write_text("\n".join(f"{k} = {v}" for k, v in table.items() if v))
    return str(file)


BAD_TOML = [
    {"image": '"abc"'}, {"image": "true"}, {"image": "1.5"}, {"image": "[]"},
    {"image": "[28.5, 28]"},
    {"image": "[[28], 28]"}, {"crop": "[10, true]"}, {"crop": "{a = 1}"}, {"patch": "2020-01-01"},
    {"patch": "[1, [1]]"}, {"steps": "1.5"}, {"steps": "true"}, {"steps": "[3]"},
    {"steps": "inf"}, {"steps": "{}"}, {"delta": "true"}, {"delta": "[1]"}, {"delta": "nan"},
    {"delta": '"x"'}, {"delta": "{}"}, {"noise_multiplier": "true"}, {"noise_multiplier": "[2]"},
    {"noise_multiplier": "{}"}, {"noise_multiplier": '"two"'}, {"batch_size": "true"},
    {"sampling": "3"}, {"sampling": "[]"}, {"sampling": "{}"}, {"padding": '"x"'},
    {"padding": "true"}, {"padding": "[[1, 2, 3], [1, 2]]"}, {"padding": "{}"},
    {"within": "5"}, {"within": "[[0, 5]]"}, {"within": '"a:b"'}, {"within": "[[0, true], [0, 9]]"},
    {"method": "3"}, {"method": "[]"}, {"phase": "3"}, {"phase": '[1, "a"]'},
    {"phase": "[{steps = 1.5}]"}, {"phase": "[{crop = 5}]"}, {"phase": "[{bogus = 5}]"},
    {"nose_multiplier": "2"}, {"steps": "= ="},
]  # fmt: skip


@pytest.mark.parametrize("changes", BAD_TOML, ids=str)
def test_bad_toml_is_one_sentence(shell: Shell, tmp_path: Path, changes: dict[str, str]) -> None:
    shell.refused("epsilon", "--config", toml(tmp_path, **changes))


def test_unknown_key_names_the_nearest(shell: Shell, tmp_path: Path) -> None:
    path = toml(tmp_path, nose_multiplier="2")
    assert "noise_multiplier" in shell.refused("epsilon", "--config", path)


def test_config_and_overrides(shell: Shell, tmp_path: Path) -> None:
    path = toml(tmp_path)
    plain = shell.json("epsilon", "--config", path)
    more = shell.json("epsilon", "--config", path, "--steps", "40")
    quiet = shell.json("epsilon", "--config", path, "--noise-multiplier", "4")
    epochs = shell.json("epsilon", "--config", path, "--epochs", "2")
    assert plain["steps"] == 20 and more["steps"] == 40 and epochs["steps"] == 20
    assert quiet["epsilon"] < plain["epsilon"] < more["epsilon"]
    assert shell.json("epsilon", "--config", toml(tmp_path, delta='"1/100000"')) == plain


def test_phases_compose(shell: Shell, tmp_path: Path) -> None:
    path = toml(tmp_path, steps="", noise_multiplier="", phase=(
        "[{steps = 20, noise_multiplier = 2.0}, {steps = 5, noise_multiplier = 1.0}]"
    ))  # fmt: skip
    both = shell.json("epsilon", "--config", path)
    one = shell.json("epsilon", "--config", toml(tmp_path))
    assert both["steps"] == 25 and both["epsilon"] > one["epsilon"]


def test_the_largest_square_crop_needs_no_crop_to_start_from(shell: Shell) -> None:
    free = [*GEOMETRY[:2], *GEOMETRY[4:], *RUN, "--for", "crop", "--epsilon", "3"]
    result = shell.json("solve", *free)
    assert result["crop"] == shell.json("solve", *free, "--crop", "505x505")["crop"]
    oblong = shell.json("solve", *free, "--crop", "256x512")["crop"]
    assert abs(2 * oblong[0] - oblong[1]) <= 1


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_fits_and_its_example_runs(
    shell: Shell, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Examples name the repository's configs and the user's files, and may write a file beside them.
    (tmp_path / "configs").symlink_to(Path(__file__).parent.parent / "configs")
    face = {"image_id": 1, "category_id": 1, "bbox": [300, 200, 40, 50]}
    (tmp_path / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "width": 640, "height": 480, "file_name": "1.jpg"}],
                "annotations": [{"id": 1, **face}],
                "categories": [{"id": 1, "name": "face"}],
            }
        )
    )
    monkeypatch.chdir(tmp_path)
    status, out, _ = shell(name, "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    command = out.split("Example:")[1].replace("\\\n", " ")
    words = shlex.split(command)
    assert words[:2] == ["patchdp", name]
    status, out, err = shell(*words[1:])
    assert status == 0, err
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out or (tmp_path / "sweep.csv").exists()


def test_bare_command_shows_help(shell: Shell) -> None:
    status, out, _ = shell()
    assert status == 0 and "patchdp inclusion" in out


@given(
    st.sampled_from(["--image", "--crop", "--patch", *RUN[::2]]),
    st.one_of(
        st.text(max_size=12),
        st.integers(-(10**40), 10**40).map(str),
        st.sampled_from(["nan", "inf", "-inf", "", " ", "1e999", "1/0", "0x", "x1", "1x", "٣x٣",
                         "1_0x1", "disk:0", "disk:-1", "None", "true", "[1]", "1e-400", "-0"]),
    ),
)  # fmt: skip
@settings(max_examples=80)
def test_fuzzed_values_never_show_a_traceback(flag: str, value: str) -> None:
    args = changed(flag, value, [*SMALL, *RUN])
    if flag == "--steps" and value.strip().isdigit() and int(value) > 10**6:
        return  # a long training is not an error
    result = CliRunner().invoke(cli, args, standalone_mode=False)
    ok = result.exception is None or isinstance(result.exception, (ValueError, OSError))
    assert ok or type(result.exception).__module__.startswith("click"), repr(result.exception)
