"""The parts of the examples: models as Opacus needs them, loaders, resuming, and the table."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
image_module = pytest.importorskip("PIL.Image")

from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from examples.report import paired_table
from examples.segmentation import data, scenes, train
from examples.segmentation.models import MODELS

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", MODELS)
def test_models_are_what_opacus_needs(name):
    model = MODELS[name](7)
    assert sum(p.numel() for p in model.parameters()) <= 10**6
    assert ModuleValidator.is_valid(model)
    assert not any(getattr(m, "inplace", False) for m in model.modules())
    private = GradSampleModule(model)
    crops = torch.randn(3, 3, 32, 32)
    logits = private(crops)
    assert logits.shape == (3, 7, 32, 32)
    nn.functional.cross_entropy(logits, torch.zeros(3, 32, 32, dtype=torch.long)).backward()
    for parameter, called in ((p, n) for n, p in model.named_parameters()):
        assert parameter.grad_sample.shape[0] == 3, called
        assert parameter.grad_sample.abs().sum() > 0, called
    assert private(torch.randn(1, 3, 64, 128)).shape == (1, 7, 64, 128)


@pytest.mark.parametrize("name", MODELS)
def test_a_gradient_depends_on_its_own_image_only(name):
    model = GradSampleModule(MODELS[name](7), loss_reduction="mean")
    crops, labels = torch.randn(3, 3, 32, 32), torch.randint(0, 7, (3, 32, 32))

    def first(batch):
        model.zero_grad()
        for p in model.parameters():
            p.grad_sample = None
        train._loss(model(crops[:batch]), labels[:batch]).backward()
        return torch.cat([p.grad_sample[0].flatten() for p in model.parameters()])

    torch.testing.assert_close(first(1), first(3), rtol=1e-3, atol=1e-5)


def test_cityscapes_as_it_lies_on_disk(tmp_path):
    scenes.write(tmp_path, train=3, val=2)
    found = data.cityscapes(tmp_path, "train")
    assert (len(found), len(data.cityscapes(tmp_path, "val"))) == (3, 2)
    image, label = found[0]
    assert image.shape == (3, 64, 128) and label.shape == (64, 128)
    assert image.min() >= -1 and image.max() <= 1
    ids = np.array(image_module.open(found.files[0][1]))
    for value, category in ((7, 0), (11, 1), (23, 4), (26, 6)):
        assert (label.numpy()[ids == value] == category).all()
    label_file = found.files[1][1]
    image_module.fromarray(np.full((64, 128), 4, np.uint8)).save(label_file)
    assert (found[1][1] == data.VOID).all()
    label_file.unlink()
    with pytest.raises(ValueError, match="is missing"):
        data.cityscapes(tmp_path, "train")
    with pytest.raises(ValueError, match="no images"):
        data.cityscapes(tmp_path / "elsewhere", "train")


def test_a2d2_as_it_lies_on_disk(tmp_path):
    names = ("Car 1", "Sky", "RD normal street", "Ego car")
    colours = dict(zip(("#ff0000", "#87ceff", "#ff00ff", "#486060"), names, strict=True))
    (tmp_path / "class_list.json").write_text(json.dumps(colours))
    pixels = np.array([[(255, 0, 0), (135, 206, 255)], [(255, 0, 255), (72, 96, 96)]], np.uint8)
    for scene in range(7):
        stem = f"2018080714546{scene}"
        for kind in ("camera", "label"):
            folder = tmp_path / f"20180807_14546{scene}" / kind / "cam_front_center"
            folder.mkdir(parents=True)
            image_module.fromarray(pixels).save(folder / f"{stem}_{kind}_frontcenter_000000091.png")
    found, held_out = data.a2d2(tmp_path, "train"), data.a2d2(tmp_path, "val")
    assert (len(found), len(held_out)) == (6, 1)
    assert not set(found.files) & set(held_out.files)
    assert found[0][1].tolist() == [[6, 4], [0, data.VOID]]


def test_windows_are_uniform_and_aligned():
    torch.manual_seed(0)
    window = data.RandomWindow((2, 3))
    image = torch.arange(4 * 5).reshape(1, 4, 5)
    corners = []
    for _ in range(3000):
        seen, label = window(image, image[0])
        assert torch.equal(seen[0], label) and label.shape == (2, 3)
        corners.append(int(label[0, 0]))
    counts = [corners.count(corner) for corner in sorted(set(corners))]
    assert len(counts) == 9 and min(counts) > 250


def test_an_interrupted_training_is_continued(tmp_path, monkeypatch):
    scenes.write(tmp_path / "scenes", train=24, val=2)
    setting = train.Setting(
        data="generated",
        root=str(tmp_path / "scenes"),
        image=(64, 128),
        crop=(32, 32),
        patch=(4, 4),
        batch_size=6,
        epochs=2,
        delta=1e-2,
    )
    job = {"model": "PSPNet", "level": "patch", "epsilon": 8.0, "noise": 1.0, "seed": 0}
    whole = train.run(setting, tmp_path / "whole", **job)

    epochs = []

    def stops(*arguments):
        if epochs:
            raise KeyboardInterrupt
        epochs.append(1)
        original(*arguments)

    original = train._train_epoch
    monkeypatch.setattr(train, "_train_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        train.run(setting, tmp_path / "cut", **job)
    monkeypatch.setattr(train, "_train_epoch", original)
    torch.manual_seed(77)
    assert train.run(setting, tmp_path / "cut", **job) == whole
    # Finished: read, not trained again; another setting is another training.
    monkeypatch.setattr(train, "_train_epoch", stops)
    assert train.run(setting, tmp_path / "cut", **job) == whole
    with pytest.raises(KeyboardInterrupt):
        train.run(dataclasses.replace(setting, delta=1e-3), tmp_path / "cut", **job)


def test_both_levels_are_accounted_alike(tmp_path):
    scenes.write(tmp_path, train=24, val=2)
    setting = train.Setting(
        data="generated",
        root=str(tmp_path),
        image=(64, 128),
        crop=(32, 32),
        patch=(4, 4),
        batch_size=6,
        epochs=3,
        delta=1e-2,
    )
    noises = [setting.noise(level, 2.0) for level in ("image", "patch")]
    assert noises[0] > noises[1]
    probabilities = [
        setting.engine(level)._inspect(setting.loader(), None)[0].plan(
            sampling=train.pdp.Shuffle(), noise_multiplier=1.0, epochs=1
        ).inclusion.probability
        for level in ("image", "patch")
    ]  # fmt: skip
    assert probabilities[0] == 1 and float(probabilities[1]) == pytest.approx(35 / 97)


def test_table():
    results = [
        {"model": "m", "epsilon": 2.0, "level": level, "seed": seed, "miou": value}
        for level, values in (("image", (0.1, 0.2, 0.3)), ("patch", (0.2, 0.4, 0.3)))
        for seed, value in enumerate(values)
    ]
    table = paired_table(
        results, measure="miou", noises={("image", 2.0): 1.5, ("patch", 2.0): 0.75}
    )
    last = table.splitlines()[-1]
    # Differences 10, 20, 0: mean 10, standard error 5.7735, t quantile 4.302653.
    assert "20.00 ± 10.00 (1.500)" in last and "30.00 ± 10.00 (0.750)" in last
    assert "+10.00 [-14.84, +34.84]" in last
