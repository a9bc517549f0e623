"""Configurations of mmsegmentation, mmdetection and mmcv with unusual parameters, one a row.

Each row has the exact probability of a patch, or a word of the refusal. Where the libraries are
installed, the probabilities are held against their own draws.
"""

from __future__ import annotations

import copy
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

import patchdp as pdp
from patchdp.interop import mmdetection, mmsegmentation
from patchdp.interop.pipeline import UnsupportedTransform

DRAWS = 4000
LABEL = 7  # padding has other labels


def T(kind: str, **params: Any) -> dict[str, Any]:
    return {"type": kind, **params}


SEG = T("RandomCrop", crop_size=(8, 8))
DET = T("RandomCrop", crop_size=(8, 8), allow_negative_crop=True)
RANGE = T("RandomCrop", crop_type="absolute_range", crop_size=(384, 600), allow_negative_crop=True)
RELATIVE = T("RandomCrop", crop_type="relative", crop_size=(0.5, 0.25), allow_negative_crop=True)
SHARES = T(
    "RandomCrop", crop_type="relative_range", crop_size=(0.5, 0.75), allow_negative_crop=True
)
NEAREST = T("Resize", scale=(16, 16), interpolation="nearest")
HALF = T("Resize", scale=(8, 8), interpolation="bilinear")
BOXLESS = T("LoadAnnotations", with_bbox=False)
PIXEL = (1, 1)


def lengths_one_to_two(n: int) -> F:
    """A window of 1 or 2 of n pixels at the worst pixel."""
    return (F(1, n) + F(2, n - 1)) / 2


# Library, configuration, image, patch, probability at the worst place.
READ: list[tuple[str, Any, Any, Any, F]] = [
    ("seg", SEG, (16, 16), PIXEL, F(64, 81)),
    ("seg", [SEG], (16, 8), PIXEL, F(8, 9)),
    ("seg", T("mmseg.RandomCrop", crop_size=8), (16, 16), PIXEL, F(64, 81)),
    ("seg", T("RandomCrop", crop_size=[4, 8]), (16, 16), PIXEL, F(32, 117)),
    ("seg", T("RandomCrop", crop_size=(8, 4)), (16, 16), PIXEL, F(32, 117)),
    ("seg", T("RandomCrop", crop_size=(20, 4)), (16, 16), PIXEL, F(4, 13)),
    ("seg", T("RandomCrop", crop_size=8, cat_max_ratio=1), (16, 16), PIXEL, F(64, 81)),
    ("seg", T("RandomCrop", crop_size=8, cat_max_ratio=0), (16, 16), PIXEL, F(64, 81)),
    ("seg", T("RandomCrop", crop_size=8, ignore_index=0), (16, 16), PIXEL, F(64, 81)),
    ("seg", {**SEG, "_scope_": "mmseg"}, (16, 16), PIXEL, F(64, 81)),
    ("seg", [SEG, T("RandomFlip", prob=[0.2, 0.3], direction=["vertical", "diagonal"])], (16, 16),
     PIXEL, F(64, 81)),
    ("seg", [T("RandomFlip", prob=0.5, direction="diagonal"), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("mmcv.RandomFlip", prob=0.5), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", T("CenterCrop", crop_size=(4, 16)), (16, 16), PIXEL, F(1)),
    ("seg", [T("CenterCrop", crop_size=(12, 8)), T("RandomCrop", crop_size=4)], (16, 16), PIXEL,
     F(4, 5) * F(4, 9)),
    ("seg", [T("Pad", size=(20, 18)), SEG], (16, 16), PIXEL, F(8, 11) * F(8, 13)),
    ("seg", [T("Pad", size_divisor=12), SEG], (16, 16), PIXEL, F(8, 17) ** 2),
    ("seg", [T("Pad", pad_to_square=True), SEG], (8, 16), PIXEL, F(8, 9) ** 2),
    ("seg", [T("Pad", pad_to_square=True, size_divisor=20), SEG], (8, 16), PIXEL, F(8, 13) ** 2),
    ("seg", [T("Pad", size=(4, 4)), SEG], (16, 16), PIXEL, F(64, 81)),
    # The copies of pixels 12 to 15 are seen by windows that see pixel 12 anyhow.
    ("seg", [T("Pad", size=(16, 20), padding_mode="symmetric"), SEG], (16, 16), PIXEL,
     F(8, 13) * F(8, 9)),
    # Pixel 28 is the 4 * 7th: by nearest neighbours it is in the small image, at 7.
    ("seg", [NEAREST, SEG], (64, 64), PIXEL, F(64, 81)),
    ("seg", [T("Resize", scale=16, interpolation="area"), SEG], (64, 64), PIXEL, F(64, 81)),
    ("seg", [T("Resize", scale=(16, 16), backend="pillow", interpolation="nearest"), SEG],
     (64, 64), PIXEL, F(64, 81)),
    ("seg", [T("Resize", scale_factor=0.5), SEG], (32, 32), (2, 2), F(9, 9) ** 2),
    ("seg", [T("Resize", scale_factor=(1.0, 0.5), keep_ratio=False), SEG], (16, 16), PIXEL,
     F(8, 9)),
    ("seg", [T("Resize", scale=(64, 16), keep_ratio=True), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("ResizeToMultiple", size_divisor=16), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("ResizeShortestEdge", scale=16, max_size=100), SEG], (16, 32), PIXEL,
     F(8, 9) * F(8, 25)),
    ("seg", [T("RandomResize", scale=(16, 16), ratio_range=(1.0, 1.0)), SEG], (16, 16), PIXEL,
     F(64, 81)),
    ("seg", [T("RandomResize", scale=[(16, 16), (16, 16)], keep_ratio=True), SEG], (16, 16),
     PIXEL, F(64, 81)),
    ("seg", [T("RandomChoiceResize", scales=[(16, 16)] * 3), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("RandomChoiceResize", scales=(16, 16), keep_ratio=True), SEG], (16, 16), PIXEL,
     F(64, 81)),
    ("seg", [T("RandomChoiceResize", scales=[16], resize_type="ResizeShortestEdge", max_size=64),
             SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [SEG, T("RandomRotate", prob=1.0, degree=20), T("CLAHE"), T("Rerange")], (16, 16),
     PIXEL, F(64, 81)),
    ("seg", [SEG, T("GenerateEdge", edge_width=3), T("SegRescale", scale_factor=0.5)], (16, 16),
     PIXEL, F(64, 81)),
    ("seg", [T("PhotoMetricDistortion", hue_delta=3), T("AdjustGamma", gamma=2), SEG], (16, 16),
     PIXEL, F(64, 81)),
    ("seg", T("RandomApply", transforms=SEG, prob=1), (16, 16), PIXEL, F(64, 81)),
    ("seg", T("RandomApply", transforms=[SEG], prob=0), (16, 16), PIXEL, F(1)),
    ("seg", T("RandomApply", transforms=[SEG]), (16, 16), PIXEL, F(145, 162)),
    ("seg", T("RandomChoice", transforms=[[SEG], T("RandomCrop", crop_size=4)], prob=[0.25, 0.75]),
     (16, 16), PIXEL, F(16, 81) + F(3, 4) * F(16, 169)),
    ("seg", T("Compose", transforms=[SEG, SEG]), (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("LoadDepthAnnotation"), SEG], (16, 16), PIXEL, F(64, 81)),
    ("seg", [T("LoadMultipleRSImageFromFile"), T("ConcatCDInput"), SEG], (16, 16), PIXEL,
     F(64, 81)),
    ("seg", [T("mmdet.LoadAnnotations", with_bbox=False, with_seg=True),
             {**DET, "type": "mmdet.RandomCrop"}], (16, 16), PIXEL, F(64, 81)),
    ("det", [DET], (16, 16), PIXEL, F(64, 81)),
    ("det", [BOXLESS, T("RandomCrop", crop_size=(8, 8))], (16, 16), PIXEL, F(64, 81)),
    ("det", [T("LoadAnnotations", with_mask=True), DET], (16, 16), PIXEL, F(64, 81)),
    ("det3", {**DET, "crop_size": (4, 20)}, (16, 16), PIXEL, F(4, 13)),
    ("det3", {**DET, "crop_size": (4, 8)}, (8, 16), PIXEL, F(4, 13)),
    ("det2", {**DET, "crop_size": (4, 8)}, (8, 16), PIXEL, F(8, 9) * F(4, 5)),
    ("det3", {**DET, "bbox_clip_border": False}, (16, 16), PIXEL, F(64, 81)),
    ("det", {**DET, "recompute_bbox": True}, (16, 16), PIXEL, F(64, 81)),
    ("det", {**RANGE, "crop_size": (1, 2)}, (5, 5), PIXEL, lengths_one_to_two(5) ** 2),
    ("det", {**RANGE, "crop_size": (2, 2)}, (5, 5), PIXEL, F(1, 4)),
    ("det", {**RANGE, "crop_size": (7, 9)}, (5, 5), PIXEL, F(1)),
    ("det3", RELATIVE, (16, 16), PIXEL, F(4, 13) * F(8, 9)),
    ("det3", RELATIVE, (8, 16), PIXEL, F(2, 7) * F(8, 9)),
    ("det2", RELATIVE, (8, 16), PIXEL, F(4, 5) * F(4, 13)),
    # Heights of 2, 3, 4 with chances 1/4, 1/2, 1/4; widths of 3 and 4 with a half each.
    ("det", SHARES, (4, 4), PIXEL, (F(1, 4) * F(2, 3) + F(3, 4))),
    ("det", [T("Resize", scale=(16, 16)), DET], (16, 16), PIXEL, F(64, 81)),
    # A box of two pixels touches up to three of half the size.
    ("det", [T("Resize", scale=(16, 16)), {**DET, "crop_size": (4, 4)}], (32, 32), (2, 2),
     F(6, 13) ** 2),
    ("det", [T("FixShapeResize", width=16, height=16), DET], (16, 16), PIXEL, F(64, 81)),
    ("det", [T("ResizeShortestEdge", scale=16), DET], (16, 16), PIXEL, F(64, 81)),
    ("det", [DET, T("Expand"), T("RandomShift"), T("Sharpness"), T("FixScaleResize", scale=8)],
     (16, 16), PIXEL, F(64, 81)),
    ("det", [DET, T("FilterAnnotations", keep_empty=False)], (16, 16), PIXEL, F(64, 81)),
    ("det", [DET, T("CutOut", n_holes=2, cutout_shape=(2, 2))], (16, 16), PIXEL, F(64, 81)),
    ("det", [DET, T("AutoAugment", policies=[[T("Rotate")], [T("Equalize")]])], (16, 16), PIXEL,
     F(64, 81)),
    # Copies of one sample, each cropped on its own.
    ("det", T("MultiBranch", branch_field=["a", "b"], a=[DET], b=[DET]), (16, 16), PIXEL,
     1 - F(17, 81) ** 2),
    ("det", T("MultiBranch", branch_field=["a", "b"], a=[DET], b=[]), (16, 16), PIXEL, F(1)),
    ("det", [DET, T("MultiBranch", branch_field=["a", "b"], a=[DET], b=[])], (16, 16), PIXEL,
     F(64, 81)),
]  # fmt: skip


def read(library: str, config: Any, image: Any) -> Any:
    if library == "seg":
        return mmsegmentation.plan_crop(config, image=image)
    version = int(library[3:]) if library[3:] else None
    return mmdetection.plan_crop(config, image=image, version=version)


@pytest.mark.parametrize(("library", "config", "image", "patch", "expected"), READ)
def test_what_is_read(library: str, config: Any, image: Any, patch: Any, expected: F) -> None:
    found = pdp.inclusion(image, read(library, config, image), pdp.Patch(patch))
    assert found.probability == expected


REFUSED: list[tuple[str, Any, str]] = [
    ("seg", {**SEG, "typo": 1}, "no parameter 'typo'"),
    ("seg", T("RandomCrop", crop_sise=8), "nearest is 'crop_size'"),
    ("seg", T("RandomCrop", crop_size=8, cat_max_ratio=0.75), "chosen by the labels"),
    ("seg", T("RandomCrop", crop_size=8, allow_negative_crop=True), "'allow_negative_crop'"),
    ("seg", T("mmpretrain.RandomCrop", crop_size=8), "scope that is not known"),
    ("seg", {**SEG, "_scope_": "mmyolo"}, "mmyolo.RandomCrop is of a scope"),
    ("seg", T("Mosaic"), "Mosaic is refused: it mixes"),
    ("seg", T("mmdet.MixUp"), "it mixes"),
    ("seg", T("Expand"), "Expand is of mmdet"),
    ("seg", [T("mmcv.LoadAnnotations", with_seg=True), SEG], "leaves gt_bboxes and gt_seg_map"),
    ("seg", [T("mmdet.LoadAnnotations"), SEG], "leaves gt_bboxes of the sample"),
    ("seg", [T("LoadAnnotations"), T("LoadMultipleRSImageFromFile"), SEG], "leaves img2"),
    ("seg", [T("LoadDepthAnnotation"), T("CenterCrop", crop_size=4)], "leaves gt_depth_map"),
    ("seg", [T("GenerateEdge"), SEG], "GenerateEdge before the crop"),
    ("seg", [T("RandomRotFlip"), SEG], "before the crop"),
    ("seg", T("KeyMapper", transforms=[SEG]), "not read"),
    ("seg", T("TransformBroadcaster", transforms=[SEG]), "not read"),
    ("seg", T("Albu", transforms=[]), "Albumentations"),
    ("seg", T("CenterCrop", crop_size=32, auto_pad=True), "auto_pad"),
    ("seg", [T("Resize", scale=8, img_scale=(8, 8)), SEG], "no parameter 'img_scale'"),
    ("seg", [T("Resize", scale=(8, 8), interpolation="sinc"), SEG], "interpolation 'sinc'"),
    ("seg", [T("Resize", scale=(8, 8), backend="pillow", interpolation="area"), SEG], "pillow"),
    ("seg", [T("RandomResize", scale=8, ratio_range=(1, 2)), SEG], "must be .width, height."),
    ("seg", [T("RandomResize", scale=(8, 8), ratio_range=(1, 2), resize_type="My"), SEG],
     "resize_type 'My'"),
    ("seg", [T("RandomChoiceResize", scales=[640]), SEG], "for a factor"),
    ("seg", [T("RandomChoiceResize", scales=[(8, 8)], max_size=9), SEG], "max_size"),
    ("seg", T("RandomFlip", prob=0.5, flip_ratio=0.5), "'flip_ratio'"),
    ("seg", T("RandomFlip", prob=0.5, direction="sideways"), "'sideways' is not known"),
    ("seg", T("PackSegInputs", meta_keys=("img_path", "gt_edge_map")), "hands on gt_edge_map"),
    ("seg", T("BioMedical3DRandomCrop", crop_shape=8), "chosen by the labels"),
    ("seg", T("LoadBiomedicalData"), "volumes"),
    ("seg", T("RandomChoice", transforms=[[SEG], [T("Resize", scale=8)]]), "changes the image's"),
    ("det", T("RandomCrop", crop_size=(8, 8)), "allow_negative_crop=False is refused"),
    ("det", {**DET, "crop_size": (4, 8)}, "say which with version="),
    ("det", {**RELATIVE}, "say which with version="),
    ("det", {**DET, "bbox_clip_border": False}, "say version=3"),
    ("det2", {**DET, "bbox_clip_border": False}, "keeps the boxes that it does not see"),
    ("det", [T("LoadAnnotations", with_bbox=False, with_mask=True), DET], "gt_masks together"),
    ("det", [T("LoadAnnotations", with_keypoints=True), DET], "leaves gt_keypoints"),
    ("det", [T("LoadAnnotations", box_type="qbox"), DET], "turned box"),
    ("det", [T("LoadProposals"), DET], "leaves proposals"),
    ("det", T("CenterCrop", crop_size=8), "leaves gt_bboxes and gt_masks"),
    ("det", [T("mmcv.Resize", scale=8), DET], "leaves gt_masks"),
    ("det", [T("Expand"), DET], "behind the crop only"),
    ("det", [T("RandomShift"), DET], "before the crop"),
    ("det", [T("TranslateX"), DET], "before the crop"),
    ("det", [T("Contrast"), DET], "before the crop"),
    ("det", T("FilterAnnotations"), "drops an image by its content"),
    ("det", T("MinIoURandomCrop"), "chosen by the image's boxes"),
    ("det", T("RandomCenterCropPad", crop_size=(8, 8)), "chosen by the image's boxes"),
    ("det", T("CopyPaste"), "it mixes"),
    ("det", T("RandomApply", transforms=[[T("CachedMixUp")]]), "it mixes"),
    ("det", [DET, T("AutoAugment", policies=[[T("Mosaic")]])], "it mixes"),
    ("det", T("RandomSamplingNegPos"), "names the objects"),
    ("det", [T("FixShapeResize", width=8, height=8, keep_ratio=True), DET], "which pads"),
    ("det", T("MultiBranch", branch_field=["a"], b=[DET]), "no branch 'b'"),
    ("det", T("RandomOrder", transforms=[DET, T("Invert")]), "RandomOrder of transforms that crop"),
]  # fmt: skip

INVALID: list[tuple[str, Any, str]] = [
    ("seg", T("RandomCrop", crop_size=0), "crop_size must be a whole number"),
    ("seg", T("RandomCrop", crop_size=(8, 8, 8)), "one or two numbers"),
    ("seg", T("RandomCrop", crop_size="8"), "crop_size must be"),
    ("seg", T("RandomCrop", crop_size=8, cat_max_ratio="1"), "cat_max_ratio must be a number"),
    ("seg", T("RandomCrop"), "needs crop_size"),
    ("seg", T("RandomApply", transforms=[SEG], prob=2), "probability from 0 to 1"),
    ("seg", T("RandomChoice", transforms=[SEG, SEG], prob=[0.5]), "2 probabilities"),
    ("seg", T("RandomFlip", prob=[0.5, 0.5]), "one entry for each direction"),
    ("seg", [T("Pad"), SEG], "needs one of size"),
    ("seg", [T("RandomResize", scale=(8, 8)), SEG], "needs ratio_range"),
    ("seg", [T("RandomResize", scale=(8, 8), ratio_range=(2, 1)), SEG], "the smaller one first"),
    ("det", {**DET, "crop_type": "centre"}, "crop_type must be"),
    ("det", {**RANGE, "crop_size": (9, 2)}, "must rise"),
    ("det", {**RELATIVE, "crop_size": (2, 2)}, "at most 1"),
    ("det", {**DET, "allow_negative_crop": 1}, "True or False"),
    ("det9", DET, "version must be 2 or 3"),
]  # fmt: skip


@pytest.mark.parametrize(("library", "config", "reason"), REFUSED)
def test_what_is_refused(library: str, config: Any, reason: str) -> None:
    with pytest.raises(UnsupportedTransform, match=reason) as error:
        read(library, config, (16, 16))
    assert "vouch" not in str(error.value)


@pytest.mark.parametrize(("library", "config", "reason"), INVALID)
def test_what_is_no_configuration(library: str, config: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(library, config, (16, 16))


@pytest.mark.parametrize("name", ["RandomChoiceResize", "Mosaic", "Expand", "KeyMapper"])
def test_nobody_can_vouch_for_what_is_known(name: str) -> None:
    with pytest.raises(ValueError):
        mmsegmentation.plan_crop([T(name), SEG], image=(16, 16), vouched=(name,))


def test_the_published_range() -> None:
    crop = mmdetection.plan_crop(RANGE, image=(1000, 500))
    p = pdp.inclusion((1000, 500), crop, pdp.Patch((10, 10))).probability
    # Heights of 384 to 600 of 1000, and widths of 384 to 500 of 500, each equally likely.
    heights = sum(F(min(1000 - h + 1, h + 9), 1000 - h + 1) for h in range(384, 601)) / 217
    widths = sum(F(min(500 - w + 1, w + 9), 500 - w + 1) for w in range(384, 501)) / 117
    assert float(p) == pytest.approx(float(heights * widths), rel=1e-12)
    assert float(p) == pytest.approx(0.89923, abs=5e-6)


def test_a_crop_for_every_size() -> None:
    config = [T("Pad", pad_to_square=True), SEG]
    sizes = [(8, 16), (16, 8), (12, 12)]
    crop = mmsegmentation.plan_crop(config, image=sizes)
    for size in sizes:
        alone = mmsegmentation.plan_crop(config, image=size)
        assert pdp.inclusion(size, crop, pdp.Patch((1, 1))) == pdp.inclusion(
            size, alone, pdp.Patch((1, 1))
        )


# --- against the libraries themselves ---------------------------------------------------------


def sample(image: tuple[int, int], corner: Any, size: Any, boxes: Any) -> dict[str, Any]:
    """A sample whose only values are those of the patch, in the image and in the label map."""
    shown = np.zeros((*image, 3), dtype=np.uint8)
    cut = tuple(slice(at, at + n) for at, n in zip(corner, size, strict=True))
    shown[cut] = 255
    labels = np.where(shown[..., 0] > 0, LABEL, 0).astype(np.uint8)
    found = {
        "img": shown, "img_shape": image, "ori_shape": image,
        "gt_seg_map": labels, "seg_fields": ["gt_seg_map"],
    }  # fmt: skip
    if boxes is not None:
        box = (corner[1], corner[0], corner[1] + size[1], corner[0] + size[0])
        found |= boxes(box)
    return found


# Files to load, colours that light up black pixels, and a list where the library wants a tuple.
APART = ("Load", "MultiBranch", "Generate", "CLAHE", "Photo", "Sharp", "Augment", "[4, 8]")
SIMULATED = [
    row
    for row in READ
    if row[0] != "det2" and row[4] != 1 and not any(name in str(row[1]) for name in APART)
]


@pytest.mark.parametrize(("library", "config", "image", "patch", "expected"), SIMULATED)
def test_hits_as_the_library_draws_them(
    library: str, config: Any, image: Any, patch: Any, expected: F
) -> None:
    pytest.importorskip("mmdet.datasets.transforms")
    pytest.importorskip("mmseg.datasets.transforms")
    import torch
    from mmcv.transforms import Compose
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.registry import DefaultScope

    def boxes(box: Any) -> dict[str, Any]:
        return {
            "gt_bboxes": HorizontalBoxes(torch.tensor([box], dtype=torch.float32)),
            "gt_bboxes_labels": np.array([1]), "gt_ignore_flags": np.array([False]),
        }  # fmt: skip

    scope = "mmseg" if library == "seg" else "mmdet"
    crop = read(library, config, image)
    found = pdp.inclusion(image, crop, pdp.Patch(patch))
    corner = found.worst_position
    np.random.seed(20261128)  # noqa: NPY002
    with DefaultScope.overwrite_default_scope(scope):
        transform = Compose(copy.deepcopy([config] if isinstance(config, dict) else config))
        hits = 0
        for _ in range(DRAWS):
            seen = transform(sample(image, corner, patch, boxes if scope == "mmdet" else None))
            labelled = (seen["gt_seg_map"] == LABEL).any()
            hits += bool(seen["img"].any() or labelled or len(seen.get("gt_bboxes", ())))
    p = float(found.probability)
    error = 4 * np.sqrt(p * (1 - p) / DRAWS)
    if found.attained and "CutOut" not in str(config):
        assert abs(hits / DRAWS - p) <= error, (hits / DRAWS, p)
    else:
        assert hits / DRAWS <= p + error, (hits / DRAWS, p)
