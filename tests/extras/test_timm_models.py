"""Tokens that timm's own models drop."""

# ruff: noqa: E402 - imports of optional libraries follow importorskip
from __future__ import annotations

import doctest

import pytest

import patchdp as pdp

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from torch import nn

from patchdp.interop import timm_models
from patchdp.interop.timm import UnsupportedTransform
from patchdp.interop.timm_models import token_drop

torch.set_num_threads(1)
CROP = pdp.RandomCrop((32, 32))
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def model(**options: object) -> object:
    return timm.models.VisionTransformer(**SMALL, num_classes=2, **options)


def test_doctests() -> None:
    assert doctest.testmod(timm_models).failed == 0


@pytest.mark.parametrize("drop", [0.25, 0.5, 0.9])
def test_the_model_keeps_as_many_tokens_as_is_said(drop: float) -> None:
    made = model(patch_drop_rate=drop)
    found = token_drop(made, CROP)
    assert found == pdp.TokenDrop(CROP, token=(8, 8), drop=drop)
    made.train()
    tokens = made.patch_drop(torch.zeros(3, 17, 16))  # sixteen and the class token
    assert tokens.shape[1] == 1 + found.kept(16)
    # A pixel of a dropped token has no gradient, and every token is dropped as often.
    torch.manual_seed(0)
    seen = torch.zeros(32, 32)
    for _ in range(60):
        images = torch.zeros(1, 3, 32, 32, requires_grad=True)
        made(images).square().sum().backward()
        used = images.grad[0].abs().sum(0) > 0
        assert used.view(4, 8, 4, 8).any(3).any(1).sum() == found.kept(16)
        seen += used
    share = seen.view(4, 8, 4, 8).amax((1, 3)) / 60
    assert float((share - found.kept(16) / 16).abs().max()) < 0.25


def test_without_dropout_the_crop_is_what_it_is() -> None:
    assert token_drop(model(), CROP) is CROP
    assert token_drop(nn.Linear(2, 2), CROP) is CROP


class MaskedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = model(patch_drop_rate=0.5)


class SimMIMLoss(nn.Module):
    pass


def dino_DINOLoss(outputs: object) -> object:
    return outputs


def test_what_reconstructs_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedTransform, match="MaskedAutoencoder sees the tokens"):
        token_drop(MaskedAutoencoder(), CROP)
    for loss in (SimMIMLoss(), dino_DINOLoss):
        with pytest.raises(UnsupportedTransform, match="reconstructs them"):
            token_drop(model(patch_drop_rate=0.5), CROP, loss=loss)
    assert token_drop(model(patch_drop_rate=0.5), CROP, loss=nn.CrossEntropyLoss()) != CROP


def test_other_stems_and_places_are_refused() -> None:
    overlapping = model(patch_drop_rate=0.5)
    overlapping.patch_embed.proj = nn.Conv2d(3, 16, 12, stride=8)
    with pytest.raises(UnsupportedTransform, match="not disjoint boxes"):
        token_drop(overlapping, CROP)
    elsewhere = nn.Sequential(model(patch_drop_rate=0.5))
    with pytest.raises(UnsupportedTransform, match="must be the model's patch_drop"):
        token_drop(elsewhere, CROP)
