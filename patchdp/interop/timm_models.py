"""What a vision transformer of timm sees of its crop: tokens that `PatchDropout` drops.

>>> import timm
>>> import patchdp as pdp
>>> model = timm.create_model("vit_tiny_patch16_224", patch_drop_rate=0.5, num_classes=3)
>>> token_drop(model, pdp.RandomCrop((224, 224)))
TokenDrop(RandomCrop((224, 224)), token=(16, 16), drop=0.5)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from patchdp.geometry import Crop, TokenDrop
from patchdp.interop.pipeline import UnsupportedTransform

__all__ = ["token_drop"]

# Losses and models that see, or reconstruct, the tokens that were dropped.
_RECONSTRUCTS = re.compile(
    r"MAE|MaskedAutoencoder|SimMIM|MaskedImageModeling|MaskedImageModelling|BEiT.*Pretrain|"
    r"Beit.*Pretrain|iBOT|IBOT|DINO|JEPA|Reconstruct",
)


def token_drop(model: Any, crop: Crop, *, loss: Any = None) -> Crop:
    """The crop with the tokens that a timm model drops before its first block.

    ```python
    crop = token_drop(model, plan_crop(transform, image=(256, 256)), loss=criterion)
    ```

    Only what enters the loss through the kept tokens is dropped for privacy's sake: a model or a
    loss that reconstructs the others is refused by its name.

    Args:
      model: A model of timm with a `PatchEmbed` stem; without `PatchDropout` its crop is returned
        as it is.
      crop: The crop that the model is trained on; it is not resized afterwards.
      loss: The criterion, to be checked.

    Raises:
      UnsupportedTransform: Tokens overlap, are dropped elsewhere than after the stem, or are
        reconstructed.
      ValueError: On use, tokens that do not fill the crop.
    """
    for part in _parts(model, loss):
        if _RECONSTRUCTS.search(part):
            raise UnsupportedTransform(
                f"{part} sees the tokens that are dropped, or reconstructs them (masked "
                "autoencoders and their kin): the patch reaches the loss all the same"
            )
    names = [(part, type(part).__name__) for part in model.modules()]
    active = [part for part, name in names if name.startswith("PatchDropout") and part.prob > 0]
    if not active:
        return crop
    rate = float(active[0].prob)
    if len(active) > 1 or getattr(model, "patch_drop", None) is not active[0]:
        raise UnsupportedTransform(
            "PatchDropout must be the model's patch_drop, right after its stem: later tokens know "
            "of each other"
        )
    stem: Any = getattr(model, "patch_embed", None)
    conv: Any = getattr(stem, "proj", None)
    if (
        type(stem).__name__ != "PatchEmbed"
        or getattr(conv, "kernel_size", None) != getattr(conv, "stride", ())
        or tuple(stem.patch_size) != tuple(conv.kernel_size)
        or tuple(conv.padding) != (0, 0)
        or getattr(stem, "dynamic_img_pad", False)
    ):
        raise UnsupportedTransform(
            f"the tokens of {type(stem).__name__} are not disjoint boxes of the crop: a pixel is "
            "in several of them"
        )
    return TokenDrop(crop, token=tuple(stem.patch_size), drop=rate)


def _parts(model: Any, loss: Any) -> Iterator[str]:
    """The names of all classes of a model and of its loss."""
    for root in (model, loss):
        if root is None:
            continue
        modules = root.modules() if hasattr(root, "modules") else [root]
        for module in modules:
            kind = module if isinstance(module, type) else type(module)
            yield from (base.__name__ for base in kind.__mro__)
            if callable(module) and hasattr(module, "__name__"):
                yield module.__name__
