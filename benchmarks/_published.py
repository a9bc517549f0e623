"""The trainings of arXiv:2603.24695, as its experiments state them."""

from __future__ import annotations

import patchdp as pdp

__all__ = ["A2D2", "CITYSCAPES", "INFLUENCE", "MNIST"]

CITYSCAPES = pdp.TrainingPlan(
    image=(1024, 2048),
    crop=pdp.RandomCrop((505, 505)),
    patch=pdp.Patch((10, 10)),
    sampling=pdp.FixedSize(batch_size=200, dataset_size=2975),
    noise_multiplier=2.0,
    epochs=100,
)
A2D2 = CITYSCAPES.replace(
    image=(1208, 1920), sampling=pdp.FixedSize(batch_size=200, dataset_size=18557), epochs=25
)
MNIST = pdp.TrainingPlan(
    image=(28, 28),
    crop=pdp.RandomCrop((10, 10)),
    patch=pdp.Patch((1, 1)),
    sampling=pdp.FixedSize(batch_size=64, dataset_size=60000),
    noise_multiplier=1.0,
    epochs=15,
)
INFLUENCE = pdp.TrainingPlan(
    image=(1000, 1000),
    crop=pdp.RandomCrop((450, 450)),
    patch=pdp.Patch((10, 10)),
    sampling=pdp.FixedSize(batch_size=100, dataset_size=100_000),
    noise_multiplier=1.0,
    epochs=100,
)
