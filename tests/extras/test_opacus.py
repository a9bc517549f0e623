"""Opacus on a CPU: real steps, real loaders, real checkpoints."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import doctest
import math
import random
import warnings

import numpy as np
import pytest
from dp_accounting.pld import pld_pmf, privacy_loss_distribution
from scipy import stats

import patchdp as pdp

torch = pytest.importorskip("torch")
opacus_library = pytest.importorskip("opacus")

from opacus import PrivacyEngine
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier
from opacus.schedulers import ExponentialNoise, LambdaNoise
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)

from patchdp.interop import opacus
from patchdp.interop.opacus import accountant, claim, engine, guard, samplers, transforms
from patchdp.interop.opacus.claim import Claim
from patchdp.interop.torchvision import UnsupportedTransform

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Secure RNG turned off", "ignore:Full backward hook", "ignore:Ignoring drop_last"
)

DELTA = 1e-5
IMAGE, CROP, PATCH = (24, 24), pdp.RandomCrop((8, 8)), pdp.Patch((2, 2))
CLAIM = {"image": IMAGE, "crop": CROP, "patch": PATCH}


class Crop:
    """A random 8 x 8 window, or the same one at each call."""

    def __init__(self, *, seeded=False):
        self.seeded = seeded

    def __call__(self, image):
        if self.seeded:
            torch.manual_seed(5)
        y, x = torch.randint(0, 17, (2,)).tolist()
        return image[..., y : y + 8, x : x + 8]


class Pictures(Dataset):
    """Random pictures with two classes, cropped at each access."""

    def __init__(self, count=30, transform=None, *, cached=False):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(count, 1, *IMAGE, generator=generator)
        self.labels = torch.arange(count) % 2
        self.transform = transform or Crop()
        self.cache = {} if cached else None

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if self.cache is not None and index in self.cache:
            return self.cache[index]
        item = self.transform(self.images[index]), self.labels[index]
        if self.cache is not None:
            self.cache[index] = item
        return item


def parts(loader=None, module=None):
    module = module or nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    return {
        "module": module,
        "optimizer": optimizer,
        "data_loader": loader or DataLoader(Pictures(), batch_size=6, shuffle=True),
        "max_grad_norm": 1.0,
    }


def train(module, optimizer, loader, *, epochs=1, steps=10**9, scheduler=None):
    done = 0
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images), labels).backward()
            optimizer.step()
            done += 1
            if done == steps:
                return
        if scheduler is not None:
            scheduler.step()


def plan(**training):
    return pdp.TrainingPlan(**CLAIM, **training)


def poisson_plan(rate, noise, steps):
    sampling = pdp.Poisson(sampling_probability=rate)
    return plan(sampling=sampling, noise_multiplier=noise, steps=steps)


@pytest.fixture
def name():
    return opacus.register(**CLAIM, sampling=pdp.Poisson)


# --- an independent epsilon: normal cdfs and bisection, Google's rounding and composition --------


def independent_epsilon(*, p, q, noise, steps, delta):
    """Poisson batches and crops that hit with probability p, connected by Google's own dots."""
    mu = 1 / noise
    upper, lower = [(1 - q, 0.0), (q * (1 - p), -mu), (q * p, mu)], [(1 - q, 0.0), (q, -mu)]

    def loss(x):
        return np.log(
            sum(w * stats.norm.pdf(x, m) for w, m in upper)
            / sum(w * stats.norm.pdf(x, m) for w, m in lower)
        )

    def divergence(epsilon):
        low, high = np.full(epsilon.shape, -20.0), np.full(epsilon.shape, 20.0)
        for _ in range(80):  # the loss grows with x
            middle = (low + high) / 2
            above = loss(middle) > epsilon
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        tails = [sum(w * stats.norm.sf(high, m) for w, m in mixture) for mixture in (upper, lower)]
        return np.maximum(tails[0] - np.exp(epsilon) * tails[1], 0.0)

    interval = 5e-4
    most = math.ceil(loss(8.0) / interval)  # the loss exceeds this with probability below 1e-14
    epsilons = np.arange(most + 1)
    right = divergence(epsilons * interval)
    left = -np.expm1(-epsilons * interval) + np.exp(-epsilons * interval) * right
    pmf = pld_pmf.create_pmf_pessimistic_connect_dots(
        interval, np.arange(-most, most + 1), np.concatenate([left[:0:-1], right])
    )
    pld = privacy_loss_distribution.PrivacyLossDistribution(pmf)
    return pld.self_compose(steps).get_epsilon_for_delta(delta)


def test_twenty_steps_and_a_checkpoint(tmp_path, name):
    loader = DataLoader(Pictures(), batch_size=6, shuffle=True)
    engine = PrivacyEngine(accountant=name)
    made = engine.make_private(**parts(loader), noise_multiplier=1.5)
    train(*made, epochs=4)
    assert len(engine.accountant) == 20
    assert engine.accountant.history == [(1.5, 1 / len(loader), 20)]

    epsilon = engine.get_epsilon(DELTA)
    assert epsilon == pytest.approx(poisson_plan(1 / len(loader), 1.5, 20).epsilon(DELTA), rel=1e-9)
    p = float(pdp.inclusion(IMAGE, CROP, PATCH).probability)
    independent = independent_epsilon(p=p, q=1 / len(loader), noise=1.5, steps=20, delta=DELTA)
    print(f"20 steps: Opacus {epsilon:.9f}, independent {independent:.9f}")
    assert epsilon == pytest.approx(independent, rel=1e-3)

    path = tmp_path / "checkpoint.pt"
    engine.save_checkpoint(path=path, module=made[0], optimizer=made[1])
    resumed = PrivacyEngine(accountant=name)
    again = resumed.make_private(**parts(loader), noise_multiplier=1.5)
    resumed.load_checkpoint(path=path, module=again[0], optimizer=again[1])
    assert resumed.get_epsilon(DELTA) == epsilon
    train(*again, epochs=1)
    assert len(resumed.accountant) == 25
    expected = poisson_plan(1 / len(loader), 1.5, 25).epsilon(DELTA)
    assert resumed.get_epsilon(DELTA) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batches", [75, 93])
def test_executed_run_meets_its_target(batches, name):
    """Opacus calibrates 224 steps for 225; for 93 batches it executes 92 at the rate 1/92."""
    loader = DataLoader(Pictures(batches), batch_size=1)
    engine = PrivacyEngine(accountant=name)
    made = engine.make_private_with_epsilon(
        **parts(loader), target_epsilon=2.0, target_delta=DELTA, epochs=3
    )
    train(*made, epochs=3)
    executed = len(engine.accountant)
    print(f"{batches} batches: {executed} steps, epsilon {engine.get_epsilon(DELTA):.6f}")
    assert executed == (225 if batches == 75 else 3 * 92)
    assert 1.97 < engine.get_epsilon(DELTA) <= 2.0


def test_calibration_counts_the_step_that_truncation_drops(name):
    assert int(3 / (1 / 75)) == 224
    accountant = create_accountant(name)
    accountant.history = [(1.0, 1 / 75, 224)]
    cut = accountant.get_epsilon(DELTA)
    assert cut == pytest.approx(poisson_plan(1 / 75, 1.0, 225).epsilon(DELTA), rel=1e-12)
    accountant.history = [(1.0, 1 / 75, 200)]
    assert accountant.get_epsilon(DELTA) == poisson_plan(1 / 75, 1.0, 200).epsilon(DELTA)
    # What was executed, or restored, is taken as it is.
    state = {**accountant.state_dict(), "history": [(1.0, 1 / 75, 224)]}
    accountant.load_state_dict(state)
    assert accountant.get_epsilon(DELTA) == poisson_plan(1 / 75, 1.0, 224).epsilon(DELTA)


def test_get_noise_multiplier(name):
    noise = get_noise_multiplier(
        accountant=name, target_epsilon=1.0, target_delta=DELTA, sample_rate=1 / 75, epochs=3
    )
    assert 0.98 < poisson_plan(1 / 75, noise, 225).epsilon(DELTA) <= 1.0


def test_batch_memory_manager(name):
    engine = PrivacyEngine(accountant=name)
    module, optimizer, loader = engine.make_private(
        **parts(DataLoader(Pictures(), batch_size=15)), noise_multiplier=1.0
    )
    sizes = []
    with BatchMemoryManager(
        data_loader=loader, max_physical_batch_size=4, optimizer=optimizer
    ) as small:
        for _ in range(3):
            for images, labels in small:
                sizes.append(len(images))
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(images), labels).backward()
                optimizer.step()
    assert max(sizes) <= 4 and len(sizes) > 12
    assert engine.accountant.history == [(1.0, 1 / 2, 6)]


def test_noise_scheduler_makes_phases(name):
    engine = PrivacyEngine(accountant=name)
    made = engine.make_private(**parts(), noise_multiplier=2.0)
    train(*made, epochs=3, scheduler=ExponentialNoise(made[1], gamma=0.8))
    assert [steps for _, _, steps in engine.accountant.history] == [5, 5, 5]
    whole = (
        poisson_plan(1 / 5, 2.0, 5)
        + poisson_plan(1 / 5, 2.0 * 0.8, 5)
        + poisson_plan(1 / 5, 2.0 * 0.8**2, 5)
    )
    assert engine.get_epsilon(DELTA) == pytest.approx(whole.epsilon(DELTA), rel=1e-9)


def test_distributed_module(tmp_path, name):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        wrapped = opacus_library.distributed.DifferentiallyPrivateDistributedDataParallel(module)
        engine = PrivacyEngine(accountant=name)
        made = engine.make_private(**parts(module=wrapped), noise_multiplier=1.0)
        train(*made, epochs=2)
        assert engine.accountant.history == [(1.0, 1 / 5, 10)]
        patch_engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
        made = patch_engine.make_private(**parts(module=wrapped.module), noise_multiplier=1.0)
        train(*made, epochs=2)
        assert patch_engine.get_epsilon(DELTA) == engine.get_epsilon(DELTA)
    finally:
        torch.distributed.destroy_process_group()


def test_no_noise_no_steps(name):
    engine = PrivacyEngine(accountant=name)
    assert engine.get_epsilon(DELTA) == 0.0
    train(*engine.make_private(**parts(), noise_multiplier=0.0), steps=1)
    assert engine.get_epsilon(DELTA) == math.inf


def test_register_refuses():
    with pytest.raises(ValueError, match="patch 25x25"):
        opacus.register(**{**CLAIM, "patch": pdp.Patch((25, 25))}, sampling=pdp.Poisson)
    with pytest.raises(ValueError, match="needs its numbers"):
        opacus.register(**CLAIM, sampling=pdp.FixedSize)
    with pytest.raises(ValueError, match="sampling must be"):
        opacus.register(**CLAIM, sampling="poisson")
    with pytest.raises(ValueError, match="taken by another"):
        opacus.register(**CLAIM, sampling=pdp.Poisson, name="rdp")
    with pytest.raises(ValueError, match="colour is not"):
        opacus.register(**CLAIM, sampling=pdp.Poisson, colour="red")
    first = opacus.register(**CLAIM, sampling=pdp.Poisson)
    assert first == opacus.register(**CLAIM, sampling=pdp.Poisson)
    assert first != opacus.register(**{**CLAIM, "patch": pdp.Patch((1, 1))}, sampling=pdp.Poisson)


def test_state_of_another_claim_is_refused(name):
    other = create_accountant(opacus.register(**CLAIM, sampling=pdp.Shuffle))
    other.step(noise_multiplier=1.0, sample_rate=0.2)
    state = {**other.state_dict(), "mechanism": name}
    with pytest.raises(ValueError, match="cannot be continued"):
        create_accountant(name).load_state_dict(state)


def test_accumulated_batches_are_refused(name):
    """Two Poisson batches in one step may hold one image twice: sensitivity 2C, not C."""
    engine = PrivacyEngine(accountant=name)
    module, optimizer, loader = engine.make_private(**parts(), noise_multiplier=1.0)
    module.allow_grad_accumulation()
    for _ in range(2):
        images, labels = next(iter(loader))
        nn.functional.cross_entropy(module(images), labels).backward()
    with pytest.raises(ValueError, match="2 batches were accumulated"):
        optimizer.step()


def test_adaptive_clipping_is_refused(name):
    adaptive = {
        "clipping": "adaptive",
        "target_unclipped_quantile": 0.5,
        "clipbound_learning_rate": 0.2,
        "max_clipbound": 10.0,
        "min_clipbound": 0.1,
        "unclipped_num_std": 2.0,
    }
    made = PrivacyEngine(accountant=name).make_private(**parts(), noise_multiplier=1.0, **adaptive)
    with pytest.raises(ValueError, match="adaptive clipping"):
        train(*made, steps=1)
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
    with pytest.raises(ValueError, match="adaptive clipping"):
        engine.make_private(**parts(), noise_multiplier=1.0, **adaptive)
    with pytest.raises(ValueError, match="rand_on_empty"):
        engine.make_private(**parts(), noise_multiplier=1.0, rand_on_empty=True)


# --- shuffled and fixed-size loaders ----------------------------------------------------------


def shuffle_plan(noise, epochs):
    return plan(sampling=pdp.Shuffle(), noise_multiplier=noise, epochs=epochs)


def test_shuffled_loader_is_accounted_per_pass():
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Shuffle)
    made = engine.make_private(**parts(), noise_multiplier=3.0)
    train(*made, epochs=3)
    assert engine.get_epsilon(DELTA) == shuffle_plan(3.0, 3).epsilon(DELTA)


def test_a_pass_broken_off_counts_as_a_whole_one():
    """Seven passes of one step each may show an image seven times, not ceil(7 / 5) times."""
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Shuffle)
    made = engine.make_private(**parts(), noise_multiplier=3.0)
    for _ in range(7):
        train(*made, steps=1)
    assert engine.get_epsilon(DELTA) == shuffle_plan(3.0, 7).epsilon(DELTA)
    # The accountant alone cannot know; its state does.
    restored = opacus.PatchAccountant()
    restored.load_state_dict(engine.accountant.state_dict())
    restored.declare(engine.accountant.claim)
    assert restored.get_epsilon(DELTA) == engine.get_epsilon(DELTA)


def brute_force_passes(history, starts):
    """Step by step: a pass begins at a restart, at a new length, or when the last one is full."""
    noises = [(n, round(1 / r)) for n, r, count in history for _ in range(count)]
    passes, room, length = [], 0, 0
    for at, (noise, batches) in enumerate(noises):
        if room == 0 or at in starts or batches != length:
            passes.append([])
            room = length = batches
        passes[-1].append(noise)
        room -= 1
    return [min(one) for one in passes]


def test_passes_against_brute_force():
    draw = random.Random(1)
    claim = Claim(**CLAIM, sampling=pdp.Shuffle)
    for _ in range(300):
        history = [
            (draw.choice([1.0, 2.0]), 1 / draw.choice([1, 3, 4]), draw.randint(1, 9))
            for _ in range(draw.randint(1, 5))
        ]
        starts = [draw.randint(0, 30) for _ in range(draw.randint(0, 4))]
        expected = brute_force_passes(history, set(starts))
        found = claim.guarantee(history, epoch_starts=starts)
        phases = found.plans if isinstance(found, pdp.Composition) else (found,)
        assert [p.noise_multiplier for p in phases for _ in range(p.epochs)] == expected


def test_noise_that_changes_within_a_pass_counts_by_its_smallest():
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Shuffle)
    module, optimizer, loader = engine.make_private(**parts(), noise_multiplier=4.0)
    scheduler = LambdaNoise(optimizer, noise_lambda=lambda step: 0.95**step)
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
        scheduler.step()
    expected = shuffle_plan(4.0 * 0.95**4, 1).epsilon(DELTA)
    assert engine.get_epsilon(DELTA) == pytest.approx(expected, rel=1e-9)


def test_fixed_size_loader_has_its_own_rate():
    """One over the batches per epoch is 1/5; 7 of 30 images is the true rate."""
    data = Pictures()
    loader = DataLoader(data, batch_sampler=opacus.FixedSizeBatchSampler(data, batch_size=7))
    assert len(loader) == 5
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.FixedSize)
    train(*engine.make_private(**parts(loader), noise_multiplier=2.0), epochs=4)
    scheme = pdp.FixedSize(batch_size=7, dataset_size=30)
    expected = plan(sampling=scheme, noise_multiplier=2.0, steps=20).epsilon(DELTA)
    assert engine.get_epsilon(DELTA) == expected

    # The same through a registered accountant, whose claim brings the numbers.
    name = opacus.register(**CLAIM, sampling=scheme)
    plain = PrivacyEngine(accountant=name)
    made = plain.make_private(**parts(loader), noise_multiplier=2.0, poisson_sampling=False)
    train(*made, epochs=4)
    assert plain.get_epsilon(DELTA) == expected
    wrong = create_accountant(name)
    wrong.step(noise_multiplier=1.0, sample_rate=1 / 3)
    with pytest.raises(ValueError, match="3 batches per epoch"):
        wrong.get_epsilon(DELTA)


def test_fixed_size_batches_are_uniform():
    data = range(6)
    drawn = opacus.FixedSizeBatchSampler(
        data, batch_size=2, generator=torch.Generator().manual_seed(0)
    )
    pairs = [tuple(sorted(batch)) for _ in range(2000) for batch in drawn]
    counts = [pairs.count(pair) for pair in sorted(set(pairs))]
    assert len(counts) == 15
    assert stats.chisquare(counts).pvalue > 1e-4
    with pytest.raises(ValueError, match="batch_size 7"):
        opacus.FixedSizeBatchSampler(data, batch_size=7)


@pytest.mark.parametrize("scheme", ["poisson", "shuffle", "fixed"])
@pytest.mark.parametrize("batches", [5, 93])
def test_engine_meets_the_target_for_each_scheme(scheme, batches):
    data = Pictures(batches)
    loader = DataLoader(data, batch_size=1, shuffle=True)
    sampling = {"poisson": pdp.Poisson, "shuffle": pdp.Shuffle, "fixed": pdp.FixedSize}[scheme]
    if scheme == "fixed":
        loader = DataLoader(data, batch_sampler=opacus.FixedSizeBatchSampler(data, 1))
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=sampling)
    made = engine.make_private_with_epsilon(
        **parts(loader), target_epsilon=2.0, target_delta=DELTA, epochs=2
    )
    train(*made, epochs=2)
    assert len(engine.accountant) == 2 * batches
    assert 1.99 < engine.get_epsilon(DELTA) <= 2.0
    with pytest.raises(ValueError, match="steps were taken already"):
        engine.make_private_with_epsilon(
            **parts(loader), target_epsilon=2.0, target_delta=DELTA, epochs=2
        )


def test_engine_checkpoint(tmp_path):
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
    made = engine.make_private(**parts(), noise_multiplier=1.0)
    train(*made, epochs=1)
    engine.save_checkpoint(path=tmp_path / "c.pt", module=made[0], optimizer=made[1])

    resumed = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
    again = resumed.make_private(**parts(), noise_multiplier=1.0)
    resumed.load_checkpoint(path=tmp_path / "c.pt", module=again[0], optimizer=again[1])
    assert resumed.get_epsilon(DELTA) == engine.get_epsilon(DELTA)

    other = opacus.PatchPrivacyEngine(**{**CLAIM, "patch": pdp.Patch((1, 1))}, sampling=pdp.Poisson)
    smaller = other.make_private(**parts(), noise_multiplier=1.0)
    with pytest.raises(ValueError, match="cannot be continued"):
        other.load_checkpoint(path=tmp_path / "c.pt", module=smaller[0], optimizer=smaller[1])


# --- what the guard sees ----------------------------------------------------------------------


def shuffled(data=None, **options):
    return DataLoader(data or Pictures(), batch_size=6, shuffle=True, **options)


def warned(loader, module=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = opacus.check(loader, module=module, image=IMAGE, crop=CROP)
    issued = [str(w.message) for w in caught if w.category is opacus.PatchPrivacyWarning]
    assert issued == list(report.warnings)
    return issued


def test_nothing_to_warn_about():
    assert warned(shuffled(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))) == []


def test_check_reads_the_loader_after_opacus_has_replaced_it(name):
    engine = PrivacyEngine(accountant=name)
    module, optimizer, loader = engine.make_private(**parts(), noise_multiplier=1.0)
    report = opacus.check(loader, module=module, image=IMAGE, crop=CROP, sampling=pdp.Poisson)
    assert report.sampling == pdp.Poisson(sampling_probability=1 / 5, dataset_size=30)
    assert report.warnings == ()
    with BatchMemoryManager(
        data_loader=loader, max_physical_batch_size=4, optimizer=optimizer
    ) as small:
        assert opacus.check(small, image=IMAGE, crop=CROP).sampling == report.sampling


@pytest.mark.parametrize("data", [Pictures(transform=Crop(seeded=True)), Pictures(cached=True)])
def test_repeated_crops_are_found(data):
    with pytest.raises(ValueError, match="crops repeat: two passes"):
        warned(shuffled(data))
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
    with pytest.raises(ValueError, match="crops repeat: two passes"):
        engine.make_private(**parts(shuffled(data)), noise_multiplier=1.0)


def test_drawing_items_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    warned(shuffled())
    assert torch.equal(torch.rand(4), expected)


def test_modules_and_loaders_that_break_the_guarantee():
    assert any("BatchNorm2d at 1" in w for w in warned(
        shuffled(), nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ))  # fmt: skip
    assert any("keeps statistics" in w for w in warned(
        shuffled(), nn.InstanceNorm2d(2, track_running_stats=True)
    ))  # fmt: skip

    def mixing(items):
        return torch.utils.data.default_collate(items)

    assert any("collate_fn is mixing" in w for w in warned(shuffled(collate_fn=mixing)))
    prepared = shuffled(num_workers=1, worker_init_fn=print)
    assert any("worker_init_fn" in w for w in warned(prepared))
    with pytest.raises(ValueError, match="crops repeat: two passes"):
        warned(shuffled(num_workers=1, worker_init_fn=torch.manual_seed))


def test_batchnorm_stops_training():
    engine = opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Poisson)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 2))
    with (
        pytest.warns(opacus.PatchPrivacyWarning, match="BatchNorm2d"),
        pytest.raises(opacus_library.validators.errors.UnsupportedModuleError),
    ):
        engine.make_private(**parts(module=module), noise_multiplier=1.0)


DATA = Pictures()
REFUSED = {
    "with replacement": {"sampler": RandomSampler(DATA, replacement=True), "batch_size": 6},
    "some repeat within a pass": {"sampler": RandomSampler(DATA, num_samples=60), "batch_size": 6},
    "WeightedRandomSampler": {
        "sampler": WeightedRandomSampler([1.0] * 30, 30, replacement=False),
        "batch_size": 6,
    },
    "set drop_last=True": {
        "sampler": DistributedSampler(DATA, num_replicas=4, rank=0),
        "batch_size": 6,
    },
    "must form batches": {"batch_size": None},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_samplers_that_repeat_are_refused(reason):
    with pytest.raises(ValueError, match=reason):
        samplers.recognise(DataLoader(DATA, **REFUSED[reason]))


def test_unknown_samplers_and_repeated_images_are_refused():
    class Odd(BatchSampler):
        def __iter__(self):
            return iter([[0, 0, 0]])

    odd = Odd(SequentialSampler(DATA), 6, False)
    with pytest.raises(ValueError, match="come from Odd"):
        samplers.recognise(DataLoader(DATA, batch_sampler=odd))
    with pytest.raises(ValueError, match="repeats indices"):
        samplers.recognise(shuffled(Subset(DATA, [0, 1, 1])))
    with pytest.raises(ValueError, match="one data set twice"):
        samplers.recognise(shuffled(ConcatDataset([DATA, DATA])))
    with pytest.raises(ValueError, match="must be a DataLoader"):
        samplers.recognise([[0]])
    fine = DistributedSampler(DATA, num_replicas=4, rank=0, drop_last=True)
    found = samplers.recognise(DataLoader(DATA, sampler=fine, batch_size=6))
    assert found == pdp.Shuffle(batch_size=6, dataset_size=30)


def test_undeclared_sampling_is_refused():
    with pytest.raises(ValueError, match="declared as FixedSize, the loader does Shuffle"):
        opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.FixedSize).make_private(
            **parts(), noise_multiplier=1.0
        )
    loader = DataLoader(DATA, batch_sampler=opacus.FixedSizeBatchSampler(DATA, 6))
    with pytest.raises(ValueError, match="declared as Shuffle"):
        opacus.check(loader, image=IMAGE, crop=CROP, sampling=pdp.Shuffle)
    with pytest.raises(ValueError, match="poisson_sampling must be False"):
        opacus.PatchPrivacyEngine(**CLAIM, sampling=pdp.Shuffle).make_private(
            **parts(), noise_multiplier=1.0, poisson_sampling=True
        )
    declared = pdp.Poisson(batch_size=5, dataset_size=30)
    with pytest.raises(ValueError, match="declared as Poisson"):
        opacus.PatchPrivacyEngine(**CLAIM, sampling=declared).make_private(
            **parts(), noise_multiplier=1.0
        )
    accountant = create_accountant(opacus.register(**CLAIM, sampling=declared))
    accountant.step(noise_multiplier=1.0, sample_rate=1 / 5)
    with pytest.raises(ValueError, match="more than the declared"):
        accountant.get_epsilon(DELTA)


def test_a_data_set_without_a_crop_to_read():
    class Bare(Pictures):
        transform = None

    data = Bare()
    data.transform = None
    with pytest.raises(ValueError, match="give transform= or crop="):
        opacus.check(shuffled(data), image=IMAGE)


# --- the crop is read off torchvision's transforms ----------------------------------------------


@pytest.fixture
def v2():
    return pytest.importorskip("torchvision.transforms.v2")


def test_engine_reads_the_crop_of_the_data_set(v2):
    data = Pictures(transform=v2.Compose([v2.RandomCrop(8), v2.RandomHorizontalFlip()]))
    engine = opacus.PatchPrivacyEngine(image=IMAGE, patch=PATCH, sampling=pdp.Poisson)
    loader = shuffled(Subset(data, range(24)))
    made = engine.make_private(**parts(loader), noise_multiplier=1.5)
    train(*made, epochs=5)
    assert engine.report.crop == CROP
    assert engine.get_epsilon(DELTA) == poisson_plan(1 / 4, 1.5, 20).epsilon(DELTA)
    assert engine.report.warnings == ()


def test_check_takes_loader_transform_and_module(v2):
    transform = v2.RandomCrop(8)
    loader = shuffled(Pictures(transform=transform))
    with pytest.warns(opacus.PatchPrivacyWarning, match=r"\(24, 24\) is the size of the first"):
        report = opacus.check(loader, transform, nn.Linear(64, 2))
    assert (report.image, report.crop) == (IMAGE, CROP)
    assert report.sampling == pdp.Shuffle(batch_size=6, dataset_size=30)
    assert isinstance(loader.dataset.transform, v2.RandomCrop)
    assert len(report.assumptions) > 3


def test_a_given_transform_stands_for_one_that_cannot_be_read(v2):
    report = opacus.check(shuffled(Pictures()), v2.RandomCrop(8), image=IMAGE)
    assert report.crop == CROP


def test_a_refused_transform_stops_before_training(v2):
    class Custom:
        def __call__(self, image):
            return image[..., :8, :8]

    for transform, reason in [
        (v2.Compose([v2.RandomIoUCrop(), v2.RandomCrop(8)]), "chosen by the image's boxes"),
        (v2.Compose([v2.RandomCrop(8), v2.MixUp()]), "mixes images"),
        (Custom(), "Custom is not known"),
    ]:
        data = Pictures()
        data.transform = transform
        with pytest.raises(UnsupportedTransform, match=reason):
            opacus.check(shuffled(data), image=IMAGE)
        with pytest.raises(UnsupportedTransform, match=reason):
            opacus.register(**{**CLAIM, "crop": transform}, sampling=pdp.Poisson)
        engine = opacus.PatchPrivacyEngine(image=IMAGE, patch=PATCH, sampling=pdp.Poisson)
        with pytest.raises(UnsupportedTransform, match=reason):
            engine.make_private(**parts(shuffled(data)), noise_multiplier=1.0)


def test_a_declared_crop_is_compared_with_what_can_be_read(v2):
    data = Pictures(transform=v2.RandomCrop(10))
    with pytest.warns(opacus.PatchPrivacyWarning, match=r"amounts to RandomCrop\(\(10, 10\)\)"):
        opacus.check(shuffled(data), image=IMAGE, crop=CROP)


def test_several_transforms_need_a_declared_crop():
    class Outer(Pictures):
        def __init__(self, dataset):
            super().__init__()
            self.dataset = dataset

    with pytest.raises(ValueError, match="2 transforms"):
        opacus.check(shuffled(Outer(Pictures())), image=IMAGE)


@pytest.mark.parametrize(
    "module",
    [opacus, accountant, claim, engine, guard, samplers, transforms],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
@pytest.mark.filterwarnings("ignore::patchdp.interop.opacus.PatchPrivacyWarning")
def test_docstrings(module):
    assert doctest.testmod(module).failed == 0
