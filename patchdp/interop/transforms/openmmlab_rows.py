"""The transforms of mmcv, mmsegmentation and mmdetection that only colour, load, pack or hide.

What changes the geometry is in `openmmlab_resizes` and `openmmlab_crops`, containers are in
`openmmlab_walker`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from patchdp.interop.pipeline import UnsupportedTransform
from patchdp.interop.transforms.openmmlab_config import (
    BOXES,
    DEPTH,
    FIELDS,
    KEYPOINTS,
    MASKS,
    PAIRED,
    PROPOSALS,
    SEGMENTATION,
    Chain,
    Params,
)

__all__ = ["MMCV", "MMDET", "MMSEG", "REFUSED", "Read", "Row"]

Read = Callable[[Chain, Params], None]


@dataclass(frozen=True)
class Row:
    """One transform.

    Args:
      read: Adds what it does to a chain.
      keys: Names of all its parameters, in one string.
      moves: The arrays beside the image that it moves with it, where it moves any.
    """

    read: Read
    keys: str = ""
    moves: Collection[str] | None = None


def _pointwise(chain: Chain, params: Params) -> None:
    chain.pipeline.pointwise(params.name)


def _neighbourhood(chain: Chain, params: Params) -> None:
    chain.pipeline.neighbourhood(params.name)


def _statistics(chain: Chain, params: Params) -> None:
    chain.pipeline.statistics(params.name)


def _hides(chain: Chain, params: Params) -> None:
    chain.pipeline.hide(params.name)


def _loads(**flags: tuple[str, bool]) -> Read:
    """A loader; each of its parameters `flags` adds an array, by default or not."""

    def read(chain: Chain, params: Params) -> None:
        arrays = {array for key, (array, said) in flags.items() if params.flag(key, said)}
        if params.get("box_type", "hbox") not in ("hbox", None):
            raise UnsupportedTransform(
                f"{params.name} with box_type={params.get('box_type')!r} is not supported: whether "
                "a turned box lies in a crop is decided by more than what the crop shows"
            )
        chain.load(arrays)

    return read


def _loads_always(*arrays: str) -> Read:
    return lambda chain, params: chain.load(arrays)


# The keys that packing hands on beside the arrays: names, sizes, and the draws themselves.
_META = {
    "custom_entities", "flip", "flip_direction", "homography_matrix", "img_id", "img_norm_cfg",
    "img_path", "img_shape", "keep_ratio", "ori_filename", "ori_shape", "pad_fixed_size",
    "pad_shape", "pad_size_divisor", "reduce_zero_label", "scale", "scale_factor", "scale_idx",
    "filename", "seg_map_path",
}  # fmt: skip


def _packs(chain: Chain, params: Params) -> None:
    keys = params.get("meta_keys", ())
    odd = sorted({keys} if isinstance(keys, str) else set(map(str, keys)))
    odd = [key for key in odd if key not in _META]
    if odd:
        raise UnsupportedTransform(
            f"{params.name} with meta_keys hands on {', '.join(odd)}; whether that shows more of "
            "the image than its crop is not known"
        )


def _keeps_images(chain: Chain, params: Params) -> None:
    if params.flag("keep_empty", True):
        raise UnsupportedTransform(
            f"{params.name} with keep_empty=True drops an image by its content and lets another "
            "be drawn in its place; use keep_empty=False"
        )


def _joins(chain: Chain, params: Params) -> None:
    chain.carried -= {PAIRED}


_LOAD = "imdecode_backend file_client_args backend_args"
_GIVEN = "to_float32 color_type ignore_empty " + _LOAD
_ANNOTATIONS = "with_bbox with_label with_seg with_keypoints " + _LOAD
_MAGNITUDE = "prob level min_mag max_mag"
_WARP = (
    f"{_MAGNITUDE} reversal_prob img_border_value mask_border_value seg_ignore_label interpolation"
)
_DISTORTION = "brightness_delta contrast_range saturation_range hue_delta"
_HOLES = "n_holes cutout_shape cutout_ratio fill_in"

MMCV: dict[str, Row] = {
    "LoadImageFromFile": Row(_pointwise, _GIVEN),
    "LoadAnnotations": Row(
        _loads(
            with_bbox=(BOXES, True),
            with_seg=(SEGMENTATION, False),
            with_keypoints=(KEYPOINTS, False),
        ),
        _ANNOTATIONS,
    ),
    "Normalize": Row(_pointwise, "mean std to_rgb"),
    "RandomGrayscale": Row(_pointwise, "prob keep_channels channel_weights color_format"),
    "ToTensor": Row(_pointwise, "keys"),
    "ImageToTensor": Row(_pointwise, "keys"),
}

MMSEG: dict[str, Row] = {
    "AdjustGamma": Row(_pointwise, "gamma"),
    "BioMedicalGaussianNoise": Row(_pointwise, "prob mean std"),
    "BioMedicalGaussianBlur": Row(
        _neighbourhood,
        "sigma_range prob prob_per_channel different_sigma_per_channel different_sigma_per_axis",
    ),
    "BioMedicalRandomGamma": Row(
        _statistics, "prob gamma_range invert_image per_channel retain_stats"
    ),
    "CLAHE": Row(_statistics, "clip_limit tile_grid_size"),
    "Collect": Row(_packs, "keys meta_keys"),
    "ConcatCDInput": Row(_joins, "input_keys"),
    "DefaultFormatBundle": Row(_pointwise),
    "GenerateEdge": Row(_neighbourhood, "edge_width ignore_index"),
    "LoadAnnotations": Row(_loads_always(FIELDS), "reduce_zero_label " + _LOAD),
    "LoadDepthAnnotation": Row(
        _loads_always(DEPTH), "decode_backend to_float32 depth_rescale_factor backend_args"
    ),
    "LoadImageFromNDArray": Row(_pointwise, _GIVEN),
    "LoadMultipleRSImageFromFile": Row(_loads_always(PAIRED), "to_float32"),
    "LoadSingleRSImageFromFile": Row(_pointwise, "to_float32"),
    "PackSegInputs": Row(_packs, "meta_keys"),
    "PhotoMetricDistortion": Row(_pointwise, _DISTORTION),
    "RGB2Gray": Row(_pointwise, "out_channels weights"),
    "RandomCutOut": Row(_hides, "prob seg_fill_in " + _HOLES),
    "RandomRotFlip": Row(_neighbourhood, "rotate_prob flip_prob degree"),
    "RandomRotate": Row(_neighbourhood, "prob degree pad_val seg_pad_val center auto_bound"),
    "Rerange": Row(_statistics, "min_value max_value"),
    "SegRescale": Row(_neighbourhood, "scale_factor"),
}

MMDET: dict[str, Row] = {
    "AutoContrast": Row(_statistics, _MAGNITUDE),
    "Brightness": Row(_pointwise, _MAGNITUDE),
    "Color": Row(_pointwise, _MAGNITUDE),
    "Contrast": Row(_statistics, _MAGNITUDE),
    "Corrupt": Row(_neighbourhood, "corruption severity"),
    "CutOut": Row(_hides, _HOLES),
    "Equalize": Row(_statistics, _MAGNITUDE),
    "FilterAnnotations": Row(
        _keeps_images, "min_gt_bbox_wh min_gt_mask_area by_box by_mask keep_empty"
    ),
    "InstaBoost": Row(
        _neighbourhood,
        "action_candidate action_prob scale dx dy theta color_prob hflag aug_ratio",
    ),
    "Invert": Row(_pointwise, _MAGNITUDE),
    "LoadAnnotations": Row(
        _loads(
            with_bbox=(BOXES, True),
            with_seg=(SEGMENTATION, False),
            with_keypoints=(KEYPOINTS, False),
            with_mask=(MASKS, False),
        ),
        f"with_mask poly2mask box_type reduce_zero_label ignore_index {_ANNOTATIONS}",
    ),
    "LoadEmptyAnnotations": Row(
        _pointwise, "with_bbox with_label with_mask with_seg seg_ignore_label"
    ),
    "LoadImageFromNDArray": Row(_pointwise, _GIVEN),
    "LoadMultiChannelImageFromFiles": Row(_pointwise, "to_float32 color_type " + _LOAD),
    "LoadPanopticAnnotations": Row(
        _loads(with_bbox=(BOXES, True), with_seg=(SEGMENTATION, True), with_mask=(MASKS, True)),
        f"with_bbox with_label with_mask with_seg box_type {_LOAD}",
    ),
    "LoadProposals": Row(_loads_always(PROPOSALS), "num_max_proposals"),
    "PackDetInputs": Row(_packs, "meta_keys"),
    "PhotoMetricDistortion": Row(_pointwise, _DISTORTION),
    "Posterize": Row(_pointwise, _MAGNITUDE),
    "RandomAffine": Row(
        _neighbourhood,
        "max_rotate_degree max_translate_ratio scaling_ratio_range max_shear_degree border "
        "border_val bbox_clip_border",
    ),
    "RandomErasing": Row(
        _hides,
        "n_patches ratio squared bbox_erased_thr img_border_value mask_border_value "
        "seg_ignore_label",
    ),
    "RandomShift": Row(_neighbourhood, "prob max_shift_px filter_thr_px"),
    "Rotate": Row(_neighbourhood, _WARP),
    "SegRescale": Row(_neighbourhood, "scale_factor backend"),
    "Sharpness": Row(_neighbourhood, _MAGNITUDE),
    "ShearX": Row(_neighbourhood, _WARP),
    "ShearY": Row(_neighbourhood, _WARP),
    "Solarize": Row(_pointwise, _MAGNITUDE),
    "SolarizeAdd": Row(_pointwise, _MAGNITUDE),
    "TranslateX": Row(_neighbourhood, _WARP),
    "TranslateY": Row(_neighbourhood, _WARP),
    "YOLOXHSVRandomAug": Row(_pointwise, "hue_delta saturation_delta value_delta"),
}

_MIXES = "it mixes images: the patch reaches the gradient of another image"
_BY_CONTENT = "its crop is chosen by the image's boxes, which may come from the patch"
_FRAMES = "it brings in other frames"
_NOT_TRAINING = "it is not for training"
_ROUTES = "which arrays of the sample are then cropped together is not read"

REFUSED: Mapping[str, str] = {
    "Albu": "its transforms are those of Albumentations, with sizes and keys of their own, which "
    "are not read here",
    "BioMedical3DPad": "it is for volumes",
    "BioMedical3DRandomCrop": "its crop is chosen by the labels, which may come from the patch",
    "BioMedical3DRandomFlip": "it is for volumes",
    "CachedMixUp": _MIXES,
    "CachedMosaic": _MIXES,
    "CopyPaste": _MIXES,
    "GTBoxSubOne_GLIP": "what it makes of boxes at the edge of a crop is not read",
    "InferencerLoader": _NOT_TRAINING,
    "KeyMapper": _ROUTES,
    "LoadBiomedicalAnnotation": "it is for volumes",
    "LoadBiomedicalData": "it is for volumes",
    "LoadBiomedicalImageFromFile": "it is for volumes",
    "LoadTextAnnotations": "its text names the objects of the whole image",
    "LoadTrackAnnotations": _FRAMES,
    "MinIoURandomCrop": _BY_CONTENT,
    "MixUp": _MIXES,
    "Mosaic": _MIXES,
    "MultiScaleFlipAug": _NOT_TRAINING,
    "PackReIDInputs": "its crops are chosen by the image's boxes",
    "PackTrackInputs": _FRAMES,
    "ProposalBroadcaster": "its proposals are computed from the whole image",
    "RandomCenterCropPad": _BY_CONTENT,
    "RandomDepthMix": "it copies parts of the image to other places",
    "RandomFlip_GLIP": "what it makes of boxes at the edge of a crop is not read",
    "RandomMosaic": _MIXES,
    "RandomSamplingNegPos": "its text names the objects of the whole image",
    "TestTimeAug": _NOT_TRAINING,
    "TransformBroadcaster": _ROUTES,
    "Transpose": _ROUTES,
    "UniformRefFrameSample": _FRAMES,
    "WrapFieldsToLists": _NOT_TRAINING,
}
