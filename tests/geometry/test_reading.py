"""What padded and resized axes read, coordinate by coordinate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchdp.geometry.reading import Reading, ReadWindows
from patchdp.geometry.windows import AxisWindows, SpacedWindows

NAMES = {"reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "circular": "wrap"}

lengths = st.integers(1, 4000)


def inside(reading: Reading, pixels: np.ndarray) -> np.ndarray:
    """Whether the coordinates read the pixels, one of each."""
    return (reading.low <= pixels) & (pixels < reading.high)


@given(lengths, lengths)
def test_single_precision_coordinates_stay_within_what_is_read(length: int, target: int) -> None:
    j = np.arange(target, dtype=np.float32)
    scale = np.float32(length) / np.float32(target)
    nearest = np.minimum(np.floor(j * scale).astype(int), length - 1)
    assert inside(Reading.resized(length, target, "nearest", antialias=False), nearest).all()
    half = np.float32(0.5)
    exact = np.minimum(np.floor((j + half) * scale).astype(int), length - 1)
    assert inside(Reading.resized(length, target, "nearest-exact", antialias=False), exact).all()
    source = np.maximum((j + half) * scale - half, 0)
    first = np.floor(source).astype(int)
    for interpolation in ("bilinear", "bicubic"):
        reading = Reading.resized(length, target, interpolation, antialias=False)  # type: ignore[arg-type]
        assert inside(reading, np.minimum(first, length - 1)).all()
        second = np.minimum(first + 1, length - 1)[source > first]
        taken = np.flatnonzero(source > first)
        assert ((reading.low[taken] <= second) & (second < reading.high[taken])).all()


@given(lengths, lengths, st.sampled_from(("nearest", "bilinear", "bicubic", "lanczos", "area")))
def test_antialiasing_reads_at_least_as_much_and_order_is_kept(
    length: int, target: int, interpolation: str
) -> None:
    plain = Reading.resized(length, target, interpolation, antialias=False)  # type: ignore[arg-type]
    wide = Reading.resized(length, target, interpolation, antialias=True)  # type: ignore[arg-type]
    assert (wide.high > wide.low).all() and (plain.high > plain.low).all()
    if interpolation != "lanczos":
        assert (wide.low <= plain.low).all() and (wide.high >= plain.high).all()
    for reading in (plain, wide):
        assert len(reading.runs) == 1
        assert (np.diff(reading.low) >= 0).all() and (np.diff(reading.high) >= 0).all()
        assert reading.low[0] >= 0 and reading.high[-1] <= length


@given(
    st.integers(2, 9),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.sampled_from(sorted(NAMES)),
    st.integers(1, 12),
    st.data(),
)
def test_windows_over_copies_equal_windows_listed(
    length: int, margins: tuple[int, int], mode: str, size: int, data: st.DataObject
) -> None:
    before, after = margins
    reading = Reading.identity(length).padded(before, after, mode)  # type: ignore[arg-type]
    line = np.pad(np.arange(length), (before, after), mode=NAMES[mode])  # type: ignore[call-overload]
    assert (reading.low == line).all() and (reading.high == line + 1).all()
    size = min(size, len(line))
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    hit = [
        bool(((line[o : o + size] >= start) & (line[o : o + size] < stop)).any())
        for o in range(len(line) - size + 1)
    ]
    ends = np.array([start]), np.array([stop])
    uniform = AxisWindows(size, -before, len(line) - size - before)
    assert ReadWindows(uniform, reading).hits_at(*ends).tolist() == [sum(hit)]
    stride, shift = data.draw(st.integers(1, 4)), data.draw(st.integers(0, len(hit) - 1))
    tiles = (len(hit) - 1 - shift) // stride + 1
    spaced = SpacedWindows(size, -before, stride, tiles, shift + 1)
    expected = sum(hit[j + k * stride] for j in range(shift + 1) for k in range(tiles))
    assert ReadWindows(spaced, reading).hits_at(*ends).tolist() == [expected]


@pytest.mark.parametrize("mode", sorted(NAMES))
def test_a_padded_axis_that_was_resized_reads_through_both(mode: str) -> None:
    resized = Reading.resized(7, 12, "bilinear", antialias=True)
    padded = Reading.identity(12).padded(5, 3, mode)  # type: ignore[arg-type]
    both = padded.after(resized)
    line = np.pad(np.arange(12), (5, 3), mode=NAMES[mode])  # type: ignore[call-overload]
    assert (both.low == resized.low[line]).all() and (both.high == resized.high[line]).all()
    assert both.begin == -5
