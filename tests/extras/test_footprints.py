"""What resizing reads, against the pixels that really reach the output of PyTorch and Pillow."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
image_module = pytest.importorskip("PIL.Image")

from patchdp.geometry.reading import Reading  # noqa: E402

SIZES = [*itertools.product((1, 2, 3, 5, 8, 12), (1, 2, 3, 4, 7, 9, 16)), (100, 37), (37, 100),
         (375, 256), (500, 341), (1024, 513), (64, 640)]  # fmt: skip


def read_by(reading: Reading, length: int) -> npt.NDArray[np.bool_]:
    pixels = np.arange(length)
    return (reading.low[:, None] <= pixels) & (pixels < reading.high[:, None])


def by_torch(n: int, m: int, mode: str, antialias: bool) -> npt.NDArray[np.bool_]:
    # One image row per pixel: the response to that pixel alone.
    rows = torch.eye(n, dtype=torch.float32)[:, None, None, :].expand(n, 1, 4, n)
    mode, _, corners = mode.partition("-corners") if "corners" in mode else (mode, "", None)
    options: dict[str, object] = {} if corners is None else {"align_corners": True}
    if mode in {"bilinear", "bicubic"}:
        options["antialias"] = antialias
    out = torch.nn.functional.interpolate(rows, size=(4, m), mode=mode, **options)
    found: npt.NDArray[np.bool_] = (out[:, 0, 0, :] != 0).numpy().T
    return found


@pytest.mark.parametrize(
    ("mode", "antialias", "most"),
    [
        ("nearest", False, 0.12),
        ("nearest-exact", False, 0.12),
        ("bilinear", False, 0.12),
        ("bilinear", True, 0.12),
        ("bicubic", False, 0.12),
        ("bicubic", True, 0.12),
        ("bilinear-corners", False, 0.12),
        ("bicubic-corners", False, 0.12),
        # PyTorch repeats pixels where OpenCV, under the same name, interpolates between them.
        ("area", False, 0.2),
    ],
)
def test_every_pixel_that_reaches_torchs_output_is_read(
    mode: str, antialias: bool, most: float
) -> None:
    spare = total = 0
    for n, m in SIZES:
        expected = by_torch(n, m, mode, antialias)
        found = read_by(Reading.resized(n, m, mode, antialias=antialias), n)  # type: ignore[arg-type]
        assert not (expected & ~found).any(), (n, m, np.argwhere(expected & ~found))
        spare += int((found & ~expected).sum())
        total += int(expected.sum())
    # What is read for safety's sake, or where a widened kernel changes its sign, is little.
    assert spare < most * total, (spare, total)


@pytest.mark.parametrize(
    ("mode", "resample"),
    [("nearest-exact", "NEAREST"), ("bilinear", "BILINEAR"), ("bicubic", "BICUBIC"),
     ("lanczos", "LANCZOS")],
)  # fmt: skip
def test_every_pixel_that_reaches_pillows_output_is_read(mode: str, resample: str) -> None:
    spare = total = 0
    for n, m in SIZES:
        expected = np.zeros((m, n), dtype=bool)
        for i in range(n):
            row = image_module.fromarray(np.eye(n, dtype=np.float32)[i : i + 1])
            out = row.resize((m, 1), getattr(image_module.Resampling, resample))
            expected[:, i] = np.asarray(out)[0] != 0
        found = read_by(Reading.resized(n, m, mode, antialias=True), n)  # type: ignore[arg-type]
        assert not (expected & ~found).any(), (n, m, np.argwhere(expected & ~found))
        spare += int((found & ~expected).sum())
        total += int(expected.sum())
    assert spare < 0.12 * total, (spare, total)


def by_pillow(n: int, m: int, resample: str) -> npt.NDArray[np.bool_]:
    found = np.zeros((m, n), dtype=bool)
    for i in range(n):
        row = image_module.fromarray(np.eye(n, dtype=np.float32)[i : i + 1])
        out = row.resize((m, 1), getattr(image_module.Resampling, resample))
        found[:, i] = np.asarray(out)[0] != 0
    return found


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_wide_kernels_cover_the_pixels_that_masks_and_boxes_take(mode: str) -> None:
    # torchvision resizes masks by the nearest pixel, and reads box and Hamming kernels as wide.
    for n, m in SIZES:
        found = read_by(Reading.resized(n, m, mode, antialias=True), n)  # type: ignore[arg-type]
        for nearest in ("nearest", "nearest-exact"):
            assert not (by_torch(n, m, nearest, False) & ~found).any(), (n, m, nearest)
        if mode == "bilinear":
            for kernel in ("NEAREST", "BOX", "HAMMING"):
                assert not (by_pillow(n, m, kernel) & ~found).any(), (n, m, kernel)
        # A box of real coordinates lies in every new pixel that it overlaps.
        starts, stops = np.arange(m) * n, (np.arange(m) + 1) * n
        pixels = np.arange(n)
        area = (pixels * m < stops[:, None]) & ((pixels + 1) * m > starts[:, None])
        assert not (area & ~found).any(), (n, m)


@pytest.mark.parametrize(
    ("mode", "flag"),
    [("nearest", "INTER_NEAREST"), ("bilinear", "INTER_LINEAR"), ("bicubic", "INTER_CUBIC"),
     ("area", "INTER_AREA"), ("lanczos", "INTER_LANCZOS4")],
)  # fmt: skip
def test_every_pixel_that_reaches_opencvs_output_is_read(mode: str, flag: str) -> None:
    cv2 = pytest.importorskip("cv2")
    for n, m in SIZES:
        expected = np.zeros((m, n), dtype=bool)
        for i in range(n):
            row = np.repeat(np.eye(n, dtype=np.float32)[i : i + 1], 4, axis=0)
            expected[:, i] = cv2.resize(row, (m, 4), interpolation=getattr(cv2, flag))[0] != 0
        found = read_by(Reading.resized(n, m, mode, antialias=False), n)  # type: ignore[arg-type]
        assert not (expected & ~found).any(), (n, m, np.argwhere(expected & ~found)[:5])


def test_an_area_and_the_image_s_kernel_cover_boxes_that_opencv_does_not_widen() -> None:
    for n, m in SIZES:
        area = Reading.resized(n, m, "area", antialias=False)
        found = read_by(area, n)
        starts, stops = np.arange(m) * n, (np.arange(m) + 1) * n
        pixels = np.arange(n)
        boxes = (pixels * m < stops[:, None]) & ((pixels + 1) * m > starts[:, None])
        assert not (boxes & ~found).any(), (n, m)
