"""What can be checked before training, and what has to be taken on trust.

>>> import torch
>>> import patchdp as pdp
>>> from torch.utils.data import DataLoader, TensorDataset
>>> loader = DataLoader(TensorDataset(torch.zeros(10, 1, 8, 8)), batch_size=4, shuffle=True)
>>> report = check(loader, image=(8, 8), crop=pdp.RandomCrop((8, 8)), sampling=pdp.Shuffle)
>>> report.sampling
Shuffle(batch_size=4, dataset_size=10)
>>> report.warnings
()
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opacus.data_loader import CollateFnWithEmpty
from torch import nn
from torch.utils.data import default_collate

from patchdp.geometry import Patch, inclusion
from patchdp.geometry.crop import Crop
from patchdp.interop.loaders import repetition
from patchdp.interop.opacus.samplers import match, recognise
from patchdp.interop.opacus.transforms import Look, as_crop, find_transform, look
from patchdp.step import Sampling

__all__ = ["ASSUMPTIONS", "CheckReport", "PatchPrivacyWarning", "check"]

ASSUMPTIONS = (
    "Every image's gradient is clipped on its own and Gaussian noise of noise_multiplier times "
    "the clipping norm is added to their sum (Opacus does so).",
    "Every image's crop is drawn on its own and afresh at each step, whatever the images show: "
    "not by a transform of the whole batch, not from random numbers that repeat.",
    "The images have the declared size before the crop.",
    "The private patch reaches training through crops of its own image only: no statistics of "
    "whole images, no labels drawn from outside the crop, no mixing of images in collate_fn, in "
    "the model or in the loss.",
    "No other loader, optimizer or release uses the same images (validation scores included).",
    "No image is in the data set twice.",
    "Random numbers count as truly random, and floating-point numbers as real ones: Opacus' "
    "noise, and its coins of 24 bits, by which a sampling probability is off by up to 6e-8.",
)


class PatchPrivacyWarning(UserWarning):
    """Something was found that breaks the patch-level guarantee."""


@dataclass(frozen=True)
class CheckReport:
    """What `check` found.

    Attributes:
      image: Size of the images before the crop, given or seen.
      crop: The crop, given or read off the transform.
      sampling: What the loader does.
      warnings: What breaks the guarantee, a sentence each.
      assumptions: What the guarantee rests on and nothing here can see.
    """

    image: Any
    crop: Crop
    sampling: Sampling
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...] = ASSUMPTIONS


def check(
    loader: Any,
    transform: Any = None,
    module: nn.Module | None = None,
    *,
    image: Any = None,
    crop: Crop | None = None,
    sampling: Any = None,
) -> CheckReport:
    """Check a training before it starts.

    Args:
      loader: The data loader that training will iterate over.
      transform: The transform that crops; by default the data set's own.
      module: The model.
      image: Size of the images before the crop, or a list of sizes; by default that of the first.
      crop: The crop, where no transform can be read.
      sampling: What was declared; compared with what the loader does.

    Returns:
      What was found. Every sentence of `warnings` is also issued as a `PatchPrivacyWarning`.

    Raises:
      UnsupportedTransform: The crop of the transform cannot be accounted; it says why.
      ValueError: The loader's sampling is unknown or not the declared one; no crop is found; or
        two passes through the loader, its workers included, show that crops repeat.
    """
    found = recognise(loader)
    if sampling is not None:
        match(sampling, found)
    problems: list[str] = []
    image, crop = read_crop(loader.dataset, transform, image, crop, problems)
    problems += _loader_problems(loader)
    axes = len(image) if isinstance(image[0], int) else len(image[0])
    # Only where some pixel may be missed a fresh crop is a gain that is claimed.
    if inclusion(image, crop, Patch((1,) * axes)).probability < 1:
        repeats = repetition(loader)
        if repeats is not None and repeats.axes >= axes:
            raise ValueError(repeats.sentence)
        if repeats is not None:  # features, perhaps, that stand in for pictures
            problems.append(repeats.sentence)
    if module is not None:
        problems += _module_problems(module)
    for problem in problems:
        warnings.warn(problem, PatchPrivacyWarning, stacklevel=2)
    return CheckReport(image, crop, found, tuple(problems))


def read_crop(
    dataset: Any, transform: Any, image: Any, crop: Crop | None, problems: list[str]
) -> tuple[Any, Crop]:
    """The size of the images and the crop, given or read."""
    given = transform
    found = None if transform is not None and image is not None else find_transform(dataset)
    if transform is None and found is not None:
        transform = found.transform
    if crop is None and transform is None:
        raise ValueError(
            "the data set has no transform to read the crop off; give transform= or crop="
        )
    seen = Look((), None) if found is None else look(dataset, found)
    if image is None:
        image = seen.size
        if image is None:
            raise ValueError("the size of the images before the crop cannot be seen; give image=")
        problems.append(
            f"image was not given: {image} is the size of the first; an image of another size may "
            "be less private"
        )
    # A transform that was given need not be the one that this sample goes through.
    sample = seen.sample if given is None else None
    if crop is None:
        found_crop = as_crop(transform, image=image, sample=sample)
        if given is None:
            seen.check()
        return image, found_crop
    # Code of one's own cannot be read and is taken at its word; torchvision's can be.
    if type(transform).__module__.startswith("torchvision."):
        try:
            read = as_crop(transform, image=image, sample=sample)
            if given is None:
                seen.check()
        except ValueError as error:
            problems.append(f"crop was given as {crop!r}, but of the transform: {error}")
        else:
            if read != crop:
                problems.append(f"crop was given as {crop!r}, the transform amounts to {read!r}")
    return image, crop


def _loader_problems(loader: Any) -> Iterator[str]:
    collate = loader.collate_fn
    if isinstance(collate, CollateFnWithEmpty):
        if collate.rand_on_empty:
            yield (
                "rand_on_empty puts a random image into empty batches: Poisson accounting needs "
                "them empty"
            )
        collate = collate.wrapped_collator_fn
    if collate is not default_collate:
        yield (
            f"collate_fn is {getattr(collate, '__name__', type(collate).__name__)}: it must "
            "neither mix images nor draw one crop for all"
        )
    if loader.worker_init_fn is not None:
        yield "worker_init_fn may seed the crops: it must not give an epoch the seeds of another"


def _module_problems(module: nn.Module) -> Iterator[str]:
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            yield (
                f"{type(part).__name__} at {name or 'the top'} normalises over the batch: an image "
                "then acts on the gradients of others; use group normalisation"
            )
        elif getattr(part, "track_running_stats", False):
            yield (
                f"{type(part).__name__} at {name or 'the top'} keeps statistics of the images that "
                "no noise protects; set track_running_stats=False"
            )
