"""Data sets of which a crop shows only a part of what training is given, as the guard sees them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
v1 = pytest.importorskip("torchvision.transforms")
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.datasets import VisionDataset  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

import patchdp as pdp  # noqa: E402
from patchdp.interop import opacus  # noqa: E402
from patchdp.interop.torchvision import UnsupportedTransform  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Secure RNG turned off", "ignore:collate_fn is list")

SIZE = (24, 24)
CROP = pdp.RandomCrop((8, 8))
PICTURES = torch.rand(12, 3, *SIZE, generator=torch.Generator().manual_seed(0))


class Plain(Dataset):  # type: ignore[type-arg]
    """Images with something beside them; `show(self, k)` makes an item."""

    def __init__(self, show: Any, transform: Any) -> None:
        self.show, self.transform = show, transform

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, k: int) -> Any:
        return self.show(self, k)


class Vision(VisionDataset):  # type: ignore[misc]
    """A data set of torchvision's own kind, with label maps or boxes as targets."""

    def __init__(self, target: Any, **transforms: Any) -> None:
        super().__init__(root="", **transforms)
        self.target = target

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, k: int) -> Any:
        return self.transforms(tv_tensors.Image(PICTURES[k]), self.target(k))


def a_label(data: Any, k: int) -> Any:
    return data.transform(PICTURES[k]), k % 2


def scaled(data: Any, k: int) -> Any:
    return data.transform(PICTURES[k]) / 2, torch.tensor(k % 2)


def from_array(data: Any, k: int) -> Any:
    return data.transform((PICTURES[k].permute(1, 2, 0) * 255).byte().numpy()), k % 2


def and_its_map(data: Any, k: int) -> Any:
    return data.transform(PICTURES[k]), PICTURES[k, 0].round()


def and_itself(data: Any, k: int) -> Any:
    return {"crop": data.transform(PICTURES[k]), "whole": PICTURES[k].numpy()}


def two_views(data: Any, k: int) -> Any:
    return data.transform(PICTURES[k]), data.transform(PICTURES[k])


def a_pair(data: Any, k: int) -> Any:
    return data.transform((tv_tensors.Image(PICTURES[k]), tv_tensors.Mask(PICTURES[k, 0])))


def a_bare_pair(data: Any, k: int) -> Any:
    return data.transform((PICTURES[k], PICTURES[k, 0]))


def a_map(k: int) -> Any:
    return tv_tensors.Mask(PICTURES[k, 0].round())


def objects(k: int) -> Any:
    corners = [[2.0, 3.0, 5.0, 6.0], [9.0, 9.0, 12.0, 14.0]][: 1 + k % 2]
    boxes = tv_tensors.BoundingBoxes(torch.tensor(corners), format="XYXY", canvas_size=SIZE)
    return {"boxes": boxes, "labels": torch.arange(len(corners))}


def measured(k: int) -> Any:
    return {**objects(k), "area": torch.ones(1 + k % 2)}


SANITIZED = v2.Compose([v2.RandomCrop(8), v2.SanitizeBoundingBoxes()])
READ: list[tuple[str, Any]] = [
    ("a label", Plain(a_label, v2.RandomCrop(8))),
    ("a label, version 1", Plain(a_label, v1.RandomCrop(8))),
    ("scaled afterwards", Plain(scaled, v2.RandomCrop(8))),
    ("an array", Plain(from_array, v2.Compose([v2.ToImage(), v2.RandomCrop(8)]))),
    ("a pair", Plain(a_pair, v2.RandomCrop(8))),
    ("a part", Subset(Plain(a_label, v2.RandomCrop(8)), range(6))),
    ("a label map, cropped with its image", Vision(a_map, transforms=v2.RandomCrop(8))),
    ("a class", Vision(lambda k: k % 2, transform=v2.RandomCrop(8))),
    ("boxes, sanitized", Vision(objects, transforms=SANITIZED)),
]
REFUSED: list[tuple[str, Any, str]] = [
    ("a label map left whole", Plain(and_its_map, v2.RandomCrop(8)), "2 pictures"),
    ("the image itself", Plain(and_itself, v2.RandomCrop(8)), "2 pictures"),
    ("two views", Plain(two_views, v2.RandomCrop(8)), "2 times for one item"),
    ("a pair of tensors", Plain(a_bare_pair, v2.RandomCrop(8)), "passes by: it is seen whole"),
    ("two data sets", ConcatDataset([Plain(a_label, v2.RandomCrop(8)),
                                     Plain(a_label, v2.RandomCrop(9))]), "2 transforms"),
    ("a label map with a transform of its own",
     Vision(a_map, transform=v2.RandomCrop(8), target_transform=v2.RandomCrop(8)), "pictures"),
    ("boxes", Vision(objects, transforms=v2.RandomCrop(8)), "put SanitizeBoundingBoxes behind"),
    ("boxes, sanitized before", Vision(objects, transforms=v2.Compose(
        [v2.SanitizeBoundingBoxes(), v2.RandomCrop(8)])), "behind the crop"),
    ("boxes with areas", Vision(measured, transforms=SANITIZED), "area has one entry"),
]  # fmt: skip


def check(data: Any, **options: Any) -> Any:
    loader = DataLoader(data, batch_size=3, shuffle=True, collate_fn=list)
    return opacus.check(loader, image=SIZE, **options)


@pytest.mark.parametrize("data", [row[1] for row in READ], ids=[row[0] for row in READ])
def test_read(data: Any) -> None:
    assert check(data).crop == CROP


@pytest.mark.parametrize(
    ("data", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(data: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check(data)
    engine = opacus.PatchPrivacyEngine(image=SIZE, patch=pdp.Patch((2, 2)), sampling=pdp.Shuffle)
    module = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=reason):
        engine.make_private(
            module=module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            data_loader=DataLoader(data, batch_size=3, shuffle=True, collate_fn=list),
            noise_multiplier=1.0, max_grad_norm=1.0,
        )  # fmt: skip


def test_a_declared_crop_is_warned_of() -> None:
    with pytest.warns(opacus.PatchPrivacyWarning, match="2 times for one item"):
        check(Plain(two_views, v2.RandomCrop(8)), crop=pdp.Views((CROP, CROP)))
    with pytest.warns(opacus.PatchPrivacyWarning, match="2 pictures"):
        check(Plain(and_its_map, v2.RandomCrop(8)), crop=CROP)


def test_unsupported_is_said_to_be() -> None:
    with pytest.raises(UnsupportedTransform):
        check(Plain(and_its_map, v2.RandomCrop(8)))
