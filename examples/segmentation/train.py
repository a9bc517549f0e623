"""One private training: make private, train with checkpoints, measure mean IoU."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch.nn import functional
from torch.utils.data import DataLoader

import patchdp as pdp
from examples.segmentation.data import CATEGORIES, VOID, RandomWindow, a2d2, cityscapes
from examples.segmentation.models import MODELS
from patchdp.interop.opacus import PatchPrivacyEngine

__all__ = ["Setting", "run"]

READERS = {"cityscapes": cityscapes, "a2d2": a2d2, "generated": cityscapes}


@dataclass(frozen=True)
class Setting:
    """Everything of a training but the model, the noise and the seed: the same for all arms."""

    data: str
    root: str
    image: tuple[int, int]
    crop: tuple[int, int]
    patch: tuple[int, int]
    batch_size: int
    epochs: int
    delta: float
    learning_rate: float = 5e-3
    clipping_norm: float = 1.0
    physical_batch: int = 64

    def dataset(self, split: str) -> Any:
        window = RandomWindow(self.crop) if split == "train" else None
        return READERS[self.data](
            Path(self.root), split, window, in_memory=self.data == "generated"
        )

    def loader(self) -> DataLoader:
        return DataLoader(self.dataset("train"), batch_size=self.batch_size)

    def engine(self, level: str) -> PatchPrivacyEngine:
        """The same accounting at both levels: at image level the private patch is the image."""
        size = self.patch if level == "patch" else self.image
        return PatchPrivacyEngine(
            image=self.image,
            crop=pdp.RandomCrop(self.crop),
            patch=pdp.Patch(size),
            sampling=pdp.Poisson,
        )

    def noise(self, level: str, epsilon: float) -> float:
        return self.engine(level).noise_multiplier(
            self.loader(), epsilon=epsilon, delta=self.delta, epochs=self.epochs
        )


def run(
    setting: Setting,
    folder: Path,
    *,
    model: str,
    level: str,
    epsilon: float,
    noise: float,
    seed: int,
) -> dict[str, Any]:
    """Train one model, or return the result that an earlier call left; resumes from its checkpoint.

    Both noise levels of a seed begin with the same weights.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{model}-{level}-{epsilon:g}-{seed}"
    finished, checkpoint = folder / f"{name}.json", folder / f"{name}.pt"
    settings = {**asdict(setting), "noise": noise}
    if finished.exists():
        kept = json.loads(finished.read_text())
        if kept["settings"] == json.loads(json.dumps(settings)):
            return kept["result"]
    torch.manual_seed(seed)
    network = MODELS[model](len(CATEGORIES))
    engine = setting.engine(level)
    network, optimizer, loader = engine.make_private(
        module=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=setting.learning_rate),
        data_loader=setting.loader(),
        noise_multiplier=noise,
        max_grad_norm=setting.clipping_norm,
    )
    begun = _resume(engine, network, optimizer, checkpoint, settings)
    for epoch in range(begun, setting.epochs):
        _train_epoch(network, optimizer, loader, setting.physical_batch)
        state = {"epoch": epoch + 1, "settings": settings, "random": torch.get_rng_state()}
        # The random state is as secret as the data: it reproduces the noise.
        engine.save_checkpoint(
            path=checkpoint, module=network, optimizer=optimizer, checkpoint_dict=state
        )
    result = {
        "model": model,
        "level": level,
        "epsilon": epsilon,
        "seed": seed,
        "spent": engine.get_epsilon(setting.delta),
        "miou": mean_iou(network, setting.dataset("val")),
    }
    finished.write_text(json.dumps({"settings": settings, "result": result}))
    checkpoint.unlink(missing_ok=True)
    return result


def _resume(engine: Any, network: Any, optimizer: Any, checkpoint: Path, settings: Any) -> int:
    """Load the checkpoint of the same settings, accountant included; the epochs it has seen."""
    if not checkpoint.exists():
        return 0
    if torch.load(checkpoint, weights_only=False)["settings"] != settings:
        return 0
    state = engine.load_checkpoint(path=checkpoint, module=network, optimizer=optimizer)
    torch.set_rng_state(state["random"])
    return int(state["epoch"])


def _train_epoch(network: Any, optimizer: Any, loader: Any, physical_batch: int) -> None:
    network.train()
    with BatchMemoryManager(
        data_loader=loader, max_physical_batch_size=physical_batch, optimizer=optimizer
    ) as batches:
        for images, labels in batches:
            optimizer.zero_grad()
            _loss(network(images), labels).backward()
            optimizer.step()


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over images of the mean over pixels, so that a gradient belongs to one image."""
    pixels = functional.cross_entropy(logits, labels, ignore_index=VOID, reduction="none")
    counted = (labels != VOID).sum((1, 2)).clamp(min=1)
    return (pixels.sum((1, 2)) / counted).mean()


@torch.no_grad()
def mean_iou(network: Any, dataset: Any) -> float:
    """Mean over categories of intersection over union, on whole images."""
    network.eval()
    size = len(CATEGORIES)
    confusion = torch.zeros(size, size, dtype=torch.int64)
    for image, label in dataset:
        predicted = network(image[None]).argmax(1)[0]
        known = label != VOID
        pairs = size * label[known] + predicted[known]
        confusion += torch.bincount(pairs, minlength=size**2).reshape(size, size)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    present = union > 0
    return float((confusion.diag()[present] / union[present]).mean())
