"""Outlines and masks as pixels, against other ways to find them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from patchdp.objects.shapes import Polygons, RunLengths


def compressed(runs: list[int]) -> str:
    """COCO's text, written number by number."""
    text = ""
    for k, run in enumerate(runs):
        rest = run - runs[k - 2] if k > 2 else run
        more = True
        while more:
            digit, rest = rest & 31, rest >> 5
            more = rest != (-1 if digit & 16 else 0)
            text += chr(48 + digit + (32 if more else 0))
    return text


@settings(deadline=None)
@given(st.data())
def test_run_lengths_both_ways(data) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(width, height).T
    runs, value = [0], False
    for bit in bits:
        if bit != value:
            runs.append(0)
            value = bit
        runs[-1] += 1
    for counts in (runs, compressed(runs)):
        found = RunLengths.of(counts, (height, width))
        assert (found.pixels((0, 0, height, width)) == mask).all()
        if not mask.any():
            assert found.edges() is None
            continue
        top, left, bottom, right = map(int, found.edges())
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (top, bottom) == (rows[0], rows[-1] + 1)
        assert (left, right) == (columns[0], columns[-1] + 1)
        assert (found.pixels((top, left, bottom, right)) == mask[top:bottom, left:right]).all()


def test_long_run_lengths() -> None:
    runs = [1000, 100_000, 3, 7, 1_000_000, 40]
    found = RunLengths.of(compressed(runs), (sum(runs), 1))
    assert found.counts.tolist() == runs


def overlaps(triangle: list[tuple[Fraction, Fraction]], row: int, column: int) -> bool:
    """Whether a triangle meets the inside of a pixel: no line separates the two."""
    square = [(column + i, row + j) for i in (0, 1) for j in (0, 1)]
    axes = [(1, 0), (0, 1)]
    for (x0, y0), (x1, y1) in zip(triangle, triangle[1:] + triangle[:1], strict=True):
        axes.append((y0 - y1, x1 - x0))
    for a, b in axes:
        one = [a * x + b * y for x, y in triangle]
        two = [a * x + b * y for x, y in square]
        if max(one) <= min(two) or max(two) <= min(one):
            return False
    return True


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-8, 40), st.integers(-8, 40)), min_size=3, max_size=3))
def test_polygons_touch_what_they_overlap(corners: list[tuple[int, int]]) -> None:
    points = [(Fraction(x, 4), Fraction(y, 4)) for x, y in corners]
    (ax, ay), (bx, by), (cx, cy) = points
    found = Polygons((np.array(points, dtype=float),)).pixels((0, 0, 8, 9))
    wanted = np.array([[overlaps(points, r, c) for c in range(9)] for r in range(8)])
    if (bx - ax) * (cy - ay) == (by - ay) * (cx - ax):
        return  # a line has no inside
    assert (wanted == found).all()


def test_a_hole_drawn_backwards_and_parts_that_overlap() -> None:
    square = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], dtype=float)
    both = Polygons((square, square[::-1] + 2.0))
    found = both.pixels((0, 0, 9, 9))
    assert found[:6, :6].all() and found[2:8, 2:8].all()
    assert found[:8, :8].sum() == 36 + 36 - 16
    assert both.edges() == (0.0, 0.0, 8.0, 8.0)
