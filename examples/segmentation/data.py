"""Street scenes as they lie on disk after download: Cityscapes, A2D2, and a generated set.

Labels are Cityscapes' seven categories (flat, construction, object, nature, sky, human, vehicle);
what Cityscapes does not evaluate is void.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

__all__ = ["CATEGORIES", "VOID", "RandomWindow", "Scenes", "a2d2", "cityscapes"]

CATEGORIES = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
VOID = 255

# Cityscapes' label ids of each category.
_IDS = ((7, 8), (11, 12, 13), (17, 19, 20), (21, 22), (23,), (24, 25), (26, 27, 28, 31, 32, 33))
# What the names in A2D2's class list begin with, by category.
_NAMES = (
    (
        *("RD normal", "Solid line", "Dashed line", "Zebra", "Drivable", "Slow drive", "Parking"),
        *("Sidewalk", "Curbstone", "Painted", "Speed bumper", "Non-drivable", "RD restricted"),
    ),
    ("Buildings", "Sidebars", "Grid structure"),
    (
        *("Poles", "Traffic sign", "Traffic guide", "Irrelevant signs", "Signal corpus"),
        *("Electronic traffic", "Road blocks"),
    ),
    ("Nature object",),
    ("Sky",),
    ("Pedestrian",),
    ("Car", "Bicycle", "Truck", "Small vehicles", "Utility vehicle", "Tractor"),
)

Pair = tuple[Path, Path]


class RandomWindow:
    """The same window of image and label, every offset equally likely, drawn at each call."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(
        self, image: torch.Tensor, label: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, columns = self.size
        y = int(torch.randint(0, label.shape[-2] - rows + 1, ()))
        x = int(torch.randint(0, label.shape[-1] - columns + 1, ()))
        return image[..., y : y + rows, x : x + columns], label[y : y + rows, x : x + columns]


class Scenes(Dataset):
    """Images (3, height, width) in [-1, 1] with category labels (height, width).

    Args:
      files: Pairs of image file and label file.
      read_label: Category labels of a label file.
      window: What to see of an image; the whole of it where left out.
      in_memory: Keep whole images (never crops) as bytes in memory.
    """

    def __init__(self, files, read_label, window=None, *, in_memory=False) -> None:
        self.files: Sequence[Pair] = files
        self.read_label = read_label
        self.window = window
        self.kept = {} if in_memory else None

    def __len__(self) -> int:
        return len(self.files)

    def whole(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        image_file, label_file = self.files[index]
        pixels = np.array(Image.open(image_file).convert("RGB"))
        item = torch.from_numpy(pixels).permute(2, 0, 1), self.read_label(label_file)
        if self.kept is not None:
            self.kept[index] = item
        return item

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, label = self.whole(index)
        if self.window is not None:
            image, label = self.window(image, label)
        return image.float() / 127.5 - 1, label.long()


def _cityscapes_label(file: Path) -> torch.Tensor:
    table = np.full(256, VOID, dtype=np.uint8)
    for category, ids in enumerate(_IDS):
        table[list(ids)] = category
    return torch.from_numpy(table[np.array(Image.open(file))])


def cityscapes(root: Path, split: str, window=None, *, in_memory=False) -> Scenes:
    """`leftImg8bit/<split>/<city>/*_leftImg8bit.png` and `gtFine/.../*_gtFine_labelIds.png`."""
    files = []
    for image in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
        name = image.name.replace("_leftImg8bit", "_gtFine_labelIds")
        files.append((image, root / "gtFine" / split / image.parent.name / name))
    return Scenes(_present(files, root), _cityscapes_label, window, in_memory=in_memory)


def a2d2(root: Path, split: str, window=None, *, in_memory=False) -> Scenes:
    """`<scene>/camera/cam_*/*.png`, `<scene>/label/cam_*/*.png` and `class_list.json`.

    `root` is the folder `camera_lidar_semantic`. A2D2 names no split: every sixth scene is "val".
    """
    scenes = sorted({folder.parent for folder in root.glob("*/camera")})
    held_out = set(scenes[5::6]) or set(scenes[-1:])
    files = []
    for scene in scenes:
        if (scene in held_out) == (split == "val"):
            for image in sorted(scene.glob("camera/cam_*/*.png")):
                label = scene / "label" / image.parent.name
                files.append((image, label / image.name.replace("_camera_", "_label_")))
    colours = {} if not files else json.loads((root / "class_list.json").read_text())
    return Scenes(_present(files, root), _A2D2Label(colours), window, in_memory=in_memory)


class _A2D2Label:
    """Category labels from A2D2's colour images."""

    def __init__(self, colours: dict[str, str]) -> None:
        codes, categories = [], []
        for colour, name in colours.items():
            codes.append(int(colour.lstrip("#"), 16))
            categories.append(
                next((c for c, starts in enumerate(_NAMES) if name.startswith(starts)), VOID)
            )
        order = np.argsort(codes)
        self.codes = np.array(codes, dtype=np.int64)[order]
        self.categories = np.array(categories, dtype=np.uint8)[order]

    def __call__(self, file: Path) -> torch.Tensor:
        pixels = np.array(Image.open(file).convert("RGB")).astype(np.int64)
        code = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
        at = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        found = np.where(self.codes[at] == code, self.categories[at], VOID)
        return torch.from_numpy(found.astype(np.uint8))


def _present(files: Sequence[Pair], root: Path) -> list[Pair]:
    missing = next((label for _, label in files if not label.exists()), None)
    if not files:
        raise ValueError(f"no images of this data set below {root}")
    if missing is not None:
        raise ValueError(f"label {missing} is missing")
    return list(files)
