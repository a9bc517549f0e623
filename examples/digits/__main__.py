"""`python -m examples.digits`: image-level against pixel-level noise on scikit-learn's digits.

Images of 8 x 8, crops of 4 x 4, private patches of 1 x 1: a crop sees a pixel with probability at
most 16/25. The classifier is given a window in its place on an empty image; a digit is classified
by all 25 windows together.
"""

from __future__ import annotations

import warnings

import click
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

import patchdp as pdp
from examples.report import paired_table
from patchdp.interop.opacus import PatchPrivacyEngine

IMAGE, CROP = 8, 4
OFFSETS = IMAGE - CROP + 1


class Windows(Dataset):
    """A window drawn afresh at each access, in its place on an empty image."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        y, x = torch.randint(0, OFFSETS, (2,)).tolist()
        return window(self.images[index][None], y, x)[0], self.labels[index]


def window(images: torch.Tensor, y: int, x: int) -> torch.Tensor:
    """One window of many images with where it lies: shape (images, 64 + 64)."""
    rows, columns = slice(y, y + CROP), slice(x, x + CROP)
    canvas = torch.zeros(len(images), 2, IMAGE, IMAGE)
    canvas[:, 0, rows, columns] = images[:, rows, columns]
    canvas[:, 1, rows, columns] = 1
    return canvas.flatten(1)


def split() -> tuple[Windows, Windows]:
    """1297 training and 500 test digits, pixels in [0, 1]."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = torch.tensor(digits.images[order] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target[order])
    return Windows(images[:-500], labels[:-500]), Windows(images[-500:], labels[-500:])


def engine(level: str) -> PatchPrivacyEngine:
    """The same accounting at both levels: at image level the private patch is the image."""
    side = 1 if level == "patch" else IMAGE
    return PatchPrivacyEngine(
        image=(IMAGE, IMAGE),
        crop=pdp.RandomCrop((CROP, CROP)),
        patch=pdp.Patch((side, side)),
        sampling=pdp.Poisson,
    )


def train(
    data: Windows, level: str, noise: float, seed: int, *, batch_size: int, epochs: int
) -> tuple[nn.Module, PatchPrivacyEngine]:
    """Softmax regression, trained privately."""
    torch.manual_seed(seed)
    network = nn.Linear(2 * IMAGE**2, 10)
    private = engine(level)
    module, optimizer, loader = private.make_private(
        module=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9),
        data_loader=DataLoader(data, batch_size=batch_size),
        noise_multiplier=noise,
        max_grad_norm=1.0,
    )
    for _ in range(epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), labels).backward()
            optimizer.step()
    return network, private


@torch.no_grad()
def accuracy(network: nn.Module, data: Windows) -> float:
    """Share of digits classified correctly by the sum of all windows' log-probabilities."""
    votes = sum(
        network(window(data.images, y, x)).log_softmax(1)
        for y in range(OFFSETS)
        for x in range(OFFSETS)
    )
    return float((votes.argmax(1) == data.labels).float().mean())


@click.command()
@click.option("--quick", is_flag=True, help="A few seconds: to see that it works, not a result.")
@click.option("--epsilon", "epsilons", type=float, multiple=True, default=(1.0, 4.0))
@click.option("--seeds", type=click.IntRange(2), default=10)
@click.option("--epochs", type=click.IntRange(1), default=20)
@click.option("--batch-size", type=click.IntRange(1), default=130)
def main(*, quick, epsilons, seeds, epochs, batch_size) -> None:
    """Train at equal (epsilon, delta) with image-level and with pixel-level noise."""
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    if quick:
        epsilons, seeds, epochs = (4.0,), 2, 2
    train_set, test_set = split()
    delta = 1 / len(train_set)
    loader = DataLoader(train_set, batch_size=batch_size)
    results, noises = [], {}
    for epsilon in epsilons:
        for level in ("image", "patch"):
            noise = engine(level).noise_multiplier(
                loader, epsilon=epsilon, delta=delta, epochs=epochs
            )
            noises[level, epsilon] = noise
            for seed in range(seeds):
                network, private = train(
                    train_set, level, noise, seed, batch_size=batch_size, epochs=epochs
                )
                results.append(
                    {
                        "model": "softmax",
                        "level": level,
                        "epsilon": epsilon,
                        "seed": seed,
                        "accuracy": accuracy(network, test_set),
                    }
                )
                spent = private.get_epsilon(delta)
                assert spent <= epsilon
                click.echo(f"{level} epsilon {epsilon:g} seed {seed}: spent {spent:.4f}", err=True)
    click.echo(
        f"{len(train_set)} digits, crop {CROP}x{CROP} of {IMAGE}x{IMAGE}, patch 1x1, batch "
        f"{batch_size} (Poisson), {epochs} epochs, delta {delta:.4g}\n"
    )
    click.echo(paired_table(results, measure="accuracy", noises=noises))


if __name__ == "__main__":
    main()
