"""Opacus with random allocation: real steps, the plan's epsilon, and refusals."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import pytest

import patchdp as pdp

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from opacus import PrivacyEngine
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from patchdp.interop import opacus
from patchdp.interop.opacus.claim import Claim
from patchdp.interop.opacus.samplers import allocate, recognise
from patchdp.interop.torch import RandomAllocationBatchSampler

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Secure RNG turned off", "ignore:Full backward hook", "ignore:Ignoring drop_last"
)

DELTA = 1e-4
CLAIM = {"image": (24, 24), "crop": pdp.RandomCrop((8, 8)), "patch": pdp.Patch((2, 2))}


class Pictures(Dataset):
    def __init__(self, count: int = 30) -> None:
        self.images = torch.randn(count, 1, 24, 24, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple:
        y, x = torch.randint(0, 17, (2,)).tolist()
        return self.images[index, :, y : y + 8, x : x + 8], index % 2


def parts(loader: object = None) -> dict:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    return {
        "module": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "data_loader": DataLoader(Pictures(), batch_size=4) if loader is None else loader,
        "max_grad_norm": 1.0,
    }


def epoch(model, optimizer, loader, most: int | None = None) -> list[int]:  # type: ignore[no-untyped-def]
    sizes = []
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        sizes.append(len(labels))
        if len(sizes) == most:
            break
    return sizes


def plan(**changes: object) -> pdp.TrainingPlan:
    sampling = pdp.RandomAllocation(batch_size=4, dataset_size=30)
    return pdp.TrainingPlan(**CLAIM, **{"sampling": sampling, "noise_multiplier": 2.0, **changes})


@pytest.mark.parametrize("declared", [pdp.RandomAllocation, pdp.RandomAllocation(4, 30)])
def test_two_epochs_are_the_plan(declared: object) -> None:
    torch.manual_seed(1)
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=declared)
    made = engine.make_private(**parts(), noise_multiplier=2.0)
    for _ in range(2):
        sizes = epoch(*made)
        assert len(sizes) == 8 and sum(sizes) == 30  # every image once
    assert len(set(sizes)) > 1
    assert engine.get_epsilon(DELTA) == plan(epochs=2).epsilon(DELTA)
    # Broken off, an epoch counts in full; the next one is another.
    epoch(*made, most=3)
    epoch(*made, most=1)
    assert engine.get_epsilon(DELTA) == plan(epochs=4).epsilon(DELTA)


def test_a_target_is_met_by_the_run() -> None:
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation)
    made = engine.make_private_with_epsilon(
        **parts(), target_epsilon=1.5, target_delta=DELTA, epochs=2
    )
    for _ in range(2):
        epoch(*made)
    assert 1.45 < engine.get_epsilon(DELTA) <= 1.5


def test_empty_batches_take_a_step() -> None:
    """Twelve images in twelve steps: some step has none, and adds noise all the same."""
    torch.manual_seed(0)
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation)
    made = engine.make_private(
        **parts(DataLoader(Pictures(12), batch_size=1)), noise_multiplier=1.0
    )
    assert 0 in epoch(*made)
    before = made[0].state_dict()["_module.1.bias"].clone()
    sizes = epoch(*made)
    assert 0 in sizes and len(engine.accountant) == 24
    assert not torch.equal(before, made[0].state_dict()["_module.1.bias"])


def test_large_batches_are_split() -> None:
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation)
    model, optimizer, loader = engine.make_private(
        **parts(DataLoader(Pictures(), batch_size=10)), noise_multiplier=2.0
    )
    with BatchMemoryManager(
        data_loader=loader, max_physical_batch_size=4, optimizer=optimizer
    ) as small:
        assert max(epoch(model, optimizer, small)) <= 4
    sampling = pdp.RandomAllocation(10, 30)
    assert engine.get_epsilon(DELTA) == plan(sampling=sampling, epochs=1).epsilon(DELTA)


def test_one_line_with_a_sampler_of_ones_own() -> None:
    name = opacus.register(**CLAIM, sampling=pdp.RandomAllocation)
    engine = PrivacyEngine(accountant=name)
    data = Pictures()
    loader = allocate(DataLoader(data, batch_sampler=RandomAllocationBatchSampler(data, 4)))
    made = engine.make_private(**parts(loader), noise_multiplier=2.0, poisson_sampling=False)
    epoch(*made)
    assert engine.get_epsilon(DELTA) == plan(epochs=1).epsilon(DELTA)


def test_noise_that_changes_within_an_epoch_counts_as_the_smallest() -> None:
    claim = Claim(**CLAIM, sampling=pdp.RandomAllocation)
    run = claim.guarantee([(3.0, 1 / 8, 5), (2.0, 1 / 8, 11)])
    assert run is not None
    assert run.epsilon(DELTA) == plan(epochs=2).epsilon(DELTA)
    # A pass of another length is another kind of epoch.
    both = claim.guarantee([(2.0, 1 / 8, 8), (2.0, 1 / 5, 5)])
    assert both is not None
    shorter = plan(sampling=pdp.RandomAllocation(1, 5), epochs=1)
    assert both.epsilon(DELTA) == (plan(epochs=1) + shorter).epsilon(DELTA)


def test_refusals() -> None:
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.RandomAllocation(5, 30))
    with pytest.raises(ValueError, match="declared as RandomAllocation"):
        engine.make_private(**parts(), noise_multiplier=1.0)
    # A shuffled loader is not this law, and is not taken for it.
    shuffled = DataLoader(Pictures(), batch_size=4, shuffle=True)
    assert isinstance(recognise(shuffled), pdp.Shuffle)
    claim = Claim(**CLAIM, sampling=pdp.RandomAllocation(4, 30))
    with pytest.raises(ValueError, match="7 batches per epoch"):
        claim.guarantee([(2.0, 1 / 7, 7)])
    weighted = DataLoader(Pictures(), sampler=WeightedRandomSampler([1.0] * 30, 30), batch_size=4)
    assert isinstance(recognise(allocate(weighted)), pdp.RandomAllocation)  # replaced, not kept
