"""Generated street scenes, written to disk in the layout of Cityscapes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["HEIGHT", "WIDTH", "write"]

HEIGHT, WIDTH = 64, 128
# Cityscapes' label ids and a colour for each.
ROAD, SIDEWALK, BUILDING, POLE, TREE, SKY, PERSON, CAR = 7, 8, 11, 17, 21, 23, 24, 26
COLOURS = {
    ROAD: (95, 90, 95),
    SIDEWALK: (150, 135, 140),
    BUILDING: (125, 95, 80),
    POLE: (110, 115, 120),
    TREE: (60, 105, 50),
    SKY: (150, 180, 215),
    PERSON: (175, 85, 75),
    CAR: (60, 75, 140),
}


def write(root: Path, *, train: int, val: int, seed: int = 0) -> None:
    """Write `train` and `val` scenes below `root`, unless they are there."""
    for split, count, offset in (("train", train, 0), ("val", val, 10**6)):
        images = root / "leftImg8bit" / split / "generated"
        labels = root / "gtFine" / split / "generated"
        if len(list(images.glob("*.png"))) == count == len(list(labels.glob("*.png"))):
            continue
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, label = scene(np.random.default_rng([seed, offset + index]))
            stem = f"generated_{index:06d}_000019"
            Image.fromarray(image).save(images / f"{stem}_leftImg8bit.png")
            Image.fromarray(label).save(labels / f"{stem}_gtFine_labelIds.png")


def scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One scene: an image (height, width, 3) and its label ids (height, width), both uint8."""
    canvas = Image.new("L", (WIDTH, HEIGHT), SKY)
    draw = ImageDraw.Draw(canvas)
    horizon = int(random.integers(22, 34))
    x = 0
    while x < WIDTH:
        width = int(random.integers(10, 30))
        top = horizon - int(random.integers(2, 22))
        kind = BUILDING if random.random() < 0.6 else TREE
        if kind == BUILDING:
            draw.rectangle([x, top, x + width, horizon + 4], fill=kind)
        else:
            draw.ellipse([x, top, x + width, horizon + 8], fill=kind)
        x += width if random.random() < 0.8 else width + 8
    draw.rectangle([0, horizon, WIDTH, HEIGHT], fill=SIDEWALK)
    centre = WIDTH * random.uniform(0.35, 0.65)
    near, far = random.uniform(0.5, 0.9) * WIDTH, random.uniform(2, 14)
    corners = [(centre - near / 2, HEIGHT), (centre + near / 2, HEIGHT)]
    draw.polygon([*corners, (centre + far / 2, horizon), (centre - far / 2, horizon)], fill=ROAD)
    for _ in range(int(random.integers(0, 4))):
        x, top = random.uniform(0, WIDTH), horizon - random.uniform(5, 20)
        draw.rectangle([x, top, x + 1, horizon + random.uniform(2, 14)], fill=POLE)
    for kind in random.permutation([CAR] * int(random.integers(1, 4)) + [PERSON] * 2):
        depth = random.uniform(0.15, 1.0)  # 1 is nearest
        base = horizon + depth * (HEIGHT - horizon) * 0.9
        spread = near / 2 if kind == CAR else WIDTH / 2
        x = centre + random.uniform(-1, 1) * spread * (0.2 + 0.8 * depth)
        height = depth * (13 if kind == CAR else 18) + 2
        width = height * (1.8 if kind == CAR else 0.35)
        box = [x - width / 2, base - height, x + width / 2, base]
        (draw.rectangle if kind == CAR else draw.ellipse)(box, fill=int(kind))
    label = np.asarray(canvas)
    return _painted(label, random), label


def _painted(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colours with a tint per class and scene, a gradient of light, and noise."""
    image = np.zeros((*label.shape, 3))
    for kind, colour in COLOURS.items():
        image[label == kind] = np.array(colour) + random.normal(0, 22, 3)
    tilt = random.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : 1j * HEIGHT, -1 : 1 : 1j * WIDTH]
    light = 1 + 0.25 * (math.cos(tilt) * x + math.sin(tilt) * y)
    image = image * light[..., None] * random.uniform(0.75, 1.25)
    return np.clip(image + random.normal(0, 14, image.shape), 0, 255).astype(np.uint8)
