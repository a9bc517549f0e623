"""A Lightning training with Opacus, its logged epsilon, its budget and its checkpoints."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import doctest

import pytest

import patchdp as pdp

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")
pytest.importorskip("opacus")

from opacus import PrivacyEngine
from opacus.schedulers import ExponentialNoise
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from patchdp.interop import lightning as interop_lightning
from patchdp.interop.lightning import PatchEpsilon
from patchdp.interop.opacus import PatchPrivacyEngine

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")

DELTA = 1e-5
CLAIM = {"image": (24, 24), "crop": pdp.RandomCrop((8, 8)), "patch": pdp.Patch((2, 2))}


class Linear(lightning.LightningModule):
    """One linear layer that makes itself private; vectors stand in for crops."""

    def __init__(self, engine, *, noise=1.0, shrink=None):
        super().__init__()
        self.model = nn.Linear(4, 2)
        self.engine, self.noise, self.shrink = engine, noise, shrink
        self.data = TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)

    def train_dataloader(self):
        return self.loader

    def configure_optimizers(self):
        plain = DataLoader(self.data, batch_size=4, shuffle=True)
        private, optimizer, self.loader = self.engine.make_private(
            module=self.model,
            optimizer=torch.optim.SGD(self.model.parameters(), lr=0.1),
            data_loader=plain,
            noise_multiplier=self.noise,
            max_grad_norm=1.0,
        )
        self.dp = {"model": private}  # not a submodule: its weights are those of model
        self.schedule = ExponentialNoise(optimizer, gamma=self.shrink) if self.shrink else None
        return optimizer

    def training_step(self, batch, index):
        inputs, labels = batch
        return nn.functional.cross_entropy(self.dp["model"](inputs), labels)

    def on_train_epoch_end(self):
        if self.schedule is not None:
            self.schedule.step()


def make_engine():
    return PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)


def fit(engine, callback, *, epochs, checkpoint=None, **options):
    module = Linear(engine, **options.pop("module", {}))
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **options,
    )
    trainer.fit(module, ckpt_path=checkpoint)
    return trainer


def epsilon_after(steps, noise=1.0):
    sampling = pdp.Poisson(sampling_probability=1 / 10)
    plan = pdp.TrainingPlan(**CLAIM, sampling=sampling, noise_multiplier=noise, steps=steps)
    return plan.epsilon(DELTA)


def test_logs_the_epsilon_of_the_steps_taken():
    engine = make_engine()
    trainer = fit(engine, PatchEpsilon(engine, delta=DELTA), epochs=2)
    assert len(engine.accountant) == 20
    logged = float(trainer.logged_metrics["patch_epsilon"])
    assert logged == pytest.approx(epsilon_after(20), rel=1e-6)  # Lightning logs in float32


def test_epochs_by_random_allocation():
    engine = PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation)
    plan = pdp.TrainingPlan(
        **CLAIM, sampling=pdp.RandomAllocation(4, 40), noise_multiplier=1.0, epochs=2
    )
    fit(engine, PatchEpsilon(engine, delta=DELTA), epochs=2)
    assert len(engine.accountant) == 20
    assert engine.get_epsilon(DELTA) == plan.epsilon(DELTA)
    # A budget for two epochs: the third is not begun.
    engine = PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation)
    budget = plan.epsilon(DELTA) * 1.01
    fit(engine, PatchEpsilon(engine, delta=DELTA, budget=budget), epochs=5)
    assert len(engine.accountant) == 20


def test_stops_at_the_last_step_within_the_budget():
    engine = make_engine()
    budget = (epsilon_after(13) + epsilon_after(14)) / 2
    callback = PatchEpsilon(engine, delta=DELTA, budget=budget)
    fit(engine, callback, epochs=5)
    assert len(engine.accountant) == 13
    assert callback.epsilon <= budget < epsilon_after(14)


def test_takes_no_step_where_even_one_exceeds_the_budget():
    engine = make_engine()
    fit(engine, PatchEpsilon(engine, delta=DELTA, budget=epsilon_after(1) / 2), epochs=1)
    assert len(engine.accountant) == 0


def test_a_trainer_that_may_not_stop_is_stopped():
    engine = make_engine()
    callback = PatchEpsilon(engine, delta=DELTA, budget=epsilon_after(5) * 1.001)
    with pytest.raises(RuntimeError, match="after 5 steps"):
        fit(engine, callback, epochs=3, min_epochs=2)
    assert callback.epsilon <= callback.budget


def test_noise_that_shrinks_is_seen_before_the_step():
    engine = make_engine()
    callback = PatchEpsilon(engine, delta=DELTA, budget=epsilon_after(18))
    fit(engine, callback, epochs=3, module={"shrink": 0.9})
    assert 10 < len(engine.accountant) < 18
    assert callback.epsilon <= callback.budget
    engine.accountant.step(noise_multiplier=0.9, sample_rate=1 / 10)
    assert callback.epsilon > callback.budget


def test_checkpoint_carries_the_accountant(tmp_path):
    engine = make_engine()
    trainer = fit(engine, PatchEpsilon(engine, delta=DELTA), epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    resumed = make_engine()
    callback = PatchEpsilon(resumed, delta=DELTA)
    fit(resumed, callback, epochs=2, checkpoint=tmp_path / "one.ckpt")
    assert len(resumed.accountant) == 20
    assert callback.epsilon == pytest.approx(epsilon_after(20), rel=1e-12)


def test_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="RDPAccountant"):
        PatchEpsilon(PrivacyEngine(accountant="rdp"), delta=DELTA)
    with pytest.raises(ValueError, match="budget must be"):
        PatchEpsilon(make_engine(), delta=DELTA, budget=-1.0)


def test_docstrings():
    found = doctest.testmod(interop_lightning)
    assert found.attempted > 3 and found.failed == 0
