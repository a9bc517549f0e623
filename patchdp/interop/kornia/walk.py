"""Kornia's containers: what is carried out, and on what beside the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from patchdp.interop.catalogue import Row
from patchdp.interop.kornia.tables import catalogue, kernel
from patchdp.interop.pipeline import Inside, Pipeline, UnsupportedTransform

__all__ = ["Walk"]


class Walk:
    """Reads augmentations and containers of them.

    Args:
      vouched: Names of unknown transforms that map every pixel by itself.
    """

    def __init__(self, vouched: Collection[str]) -> None:
        self.vouched = vouched
        # What the containers around a transform set otherwise for masks.
        self.masks: list[Mapping[str, Any]] = []
        applied = "args same_on_batch keepdim random_apply random_apply_weights"
        self.library = catalogue(
            self._kernels,
            {
                "AugmentationSequential": Row(
                    self._with_masks, f"{applied} data_keys transformation_matrix_mode extra_args"
                ),
                "ImageSequential": Row(
                    self._sequential,
                    f"{applied} if_unsupported_ops disable_item_features "
                    "disable_sequential_features",
                ),
            },
        )

    def inside(self, transform: Any) -> Inside:
        """What a transform does."""

        def read(pipeline: Pipeline) -> None:
            kind = type(transform)
            if kind in (list, tuple) or (
                kind.__module__ == "torch.nn.modules.container"
                and kind.__name__ in ("Sequential", "ModuleList")
                and not (transform._forward_hooks or transform._forward_pre_hooks)
            ):
                for part in transform:
                    self.inside(part)(pipeline)
            else:
                self.library.read(pipeline, transform, self.vouched)

        return read

    def _sequential(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        insides = [self.inside(part) for part in transform.children()]
        if transform.random_apply is False:
            for inside in insides:
                inside(pipeline)
        else:
            pipeline.in_any_order(insides, f"{type(transform).__name__} with random_apply")

    def _with_masks(self, pipeline: Pipeline, transform: Any, vouched: Collection[str]) -> None:
        if transform.data_keys is None:
            raise UnsupportedTransform(
                "AugmentationSequential with data_keys=None acts on whatever it is called with; "
                "say data_keys"
            )
        keys = {key.name for key in transform.data_keys}
        extra = {key.name: options for key, options in transform.extra_args.items()}
        unread = set(extra) - {"MASK"} | set(extra.get("MASK", {})) - {"resample", "align_corners"}
        if unread:
            raise UnsupportedTransform(
                f"AugmentationSequential with extra_args for {', '.join(sorted(unread))} is not "
                "supported"
            )
        others = keys - {"IMAGE", "INPUT", "MASK", "LABEL", "CLASS"}
        cropped = pipeline.cropped
        with self._masked([extra.get("MASK", {})] if "MASK" in keys else []):
            self._sequential(pipeline, transform, vouched)
        if others and pipeline.cropped and not cropped:
            raise UnsupportedTransform(
                f"{', '.join(sorted(others))} of objects that the crop does not show stay, and "
                "tell where they were; give images and masks only"
            )

    @contextmanager
    def _masked(self, more: list[Mapping[str, Any]]) -> Iterator[None]:
        before = self.masks
        self.masks = [*before, *more]
        yield
        self.masks = before

    def _kernels(self, flags: Mapping[str, Any]) -> Any:
        """The kernels by which an image and the masks beside it are resized."""
        found = {kernel(flags), *(kernel({**flags, **mask}) for mask in self.masks)}
        return tuple(sorted(found)) if len(found) > 1 else found.pop()
