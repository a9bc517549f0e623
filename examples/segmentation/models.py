"""DeepLabV3+ and PSPNet, small and as Opacus needs them.

Group normalisation, no in-place operation, every parameter used in every forward pass, under a
million parameters. Both share one small backbone with features at a half and a quarter of the
input's resolution.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["MODELS", "DeepLabV3Plus", "PSPNet"]


def convolution(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    """Convolution, group normalisation, ReLU."""
    padding = options.get("dilation", 1) * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False, **options),
        nn.GroupNorm(4, outputs),
        nn.ReLU(),
    )


def resized(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Features at the resolution of another tensor."""
    return functional.interpolate(
        features, size=like.shape[-2:], mode="bilinear", align_corners=False
    )


class Backbone(nn.Module):
    """Features at a half (16 channels) and at a quarter (32 channels) of the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16, stride=2)
        self.body = nn.Sequential(convolution(16, 32, stride=2), convolution(32, 32))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.stem(image)
        return half, self.body(half)


class DeepLabV3Plus(nn.Module):
    """Atrous spatial pyramid pooling with a decoder (Chen et al. 2018, arXiv:1802.02611)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pyramid = nn.ModuleList(
            [convolution(32, 16, kernel=1)]
            + [convolution(32, 16, dilation=rate) for rate in (1, 2, 3)]
        )
        self.whole = convolution(32, 16, kernel=1)
        self.project = convolution(5 * 16, 32, kernel=1)
        self.low_level = convolution(16, 8, kernel=1)
        self.decoder = convolution(32 + 8, 32)
        self.classify = nn.Conv2d(32, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        half, quarter = self.backbone(image)
        pooled = resized(self.whole(quarter.mean((-2, -1), keepdim=True)), quarter)
        context = self.project(torch.cat([*(b(quarter) for b in self.pyramid), pooled], dim=1))
        joined = torch.cat([resized(context, half), self.low_level(half)], dim=1)
        return resized(self.classify(self.decoder(joined)), image)


class PSPNet(nn.Module):
    """Pyramid pooling over 1, 2 and 4 bins a side (Zhao et al. 2017, arXiv:1612.01105)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.bins = (1, 2, 4)
        self.pyramid = nn.ModuleList(convolution(32, 16, kernel=1) for _ in self.bins)
        self.head = convolution(32 + 16 * len(self.bins), 48)
        self.classify = nn.Conv2d(48, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        _, quarter = self.backbone(image)
        pooled = [
            resized(branch(functional.adaptive_avg_pool2d(quarter, bins)), quarter)
            for bins, branch in zip(self.bins, self.pyramid, strict=True)
        ]
        return resized(self.classify(self.head(torch.cat([quarter, *pooled], dim=1))), image)


MODELS = {"DeepLabV3+": DeepLabV3Plus, "PSPNet": PSPNet}
