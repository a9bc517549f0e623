"""The law of a box whose area is uniform and whose aspect ratio is log-uniform.

torchvision's `RandomResizedCrop` and `RandomErasing` draw an area `A = H W` uniformly and the
logarithm of a ratio `R = W / H` uniformly, and round `H` and `W` to whole numbers. The change of
variables from `(A, log R)` to `(H, W)` has the constant Jacobian 2: **the side lengths before
rounding are uniform** on the region `A0 <= H W <= A1`, `r0 <= W / H <= r1`. So the probability of
a rounded pair `(h, w)` is the share of that region inside a unit square, bounded by straight lines
and hyperbolas, and for most pairs the square lies inside and the share is one constant.
Source: `docs/theory/geometry.md`, "Crop distributions" (Theorem 5).

>>> import numpy as np
>>> from patchdp.geometry.rounded_sides import rounded_sides
>>> table = rounded_sides(area=(10.0, 60.0), ratio=(0.5, 2.0), height=12, width=12)
>>> table.shape, round(float(table.sum()), 12)
((13, 13), 1.0)
"""

from __future__ import annotations

import math

import numpy as np

from patchdp._budget import afford
from patchdp.geometry.law import Floats

__all__ = ["relative_error", "rounded_sides"]


def rounded_sides(
    *, area: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Floats:
    """Probabilities of `(round(H), round(W))` for `0 <= round(H) <= height`, likewise `width`.

    Args:
        area: interval on which the area is uniform; its ends may be equal.
        ratio: interval of `W / H`, on which its logarithm is uniform; its ends may be equal.
        height: last row of the table.
        width: last column of the table.

    Returns:
        Floats of shape `(height + 1, width + 1)`. Their sum falls short of 1 by the probability
        of larger sides.
    """
    afford(
        (height + 1) * (width + 1),
        f"the law of the sides of a box in {height} x {width} pixels",
        "use a smaller image, or a RandomCrop of one size",
    )
    if area[0] == area[1] or ratio[0] == ratio[1]:
        return _on_a_curve(area, ratio, height, width)
    region = (area[1] - area[0]) * math.log1p((ratio[1] - ratio[0]) / ratio[0]) / 2
    h = np.arange(height + 1, dtype=np.float64)[:, None]
    w = np.arange(width + 1, dtype=np.float64)[None, :]
    top, bottom = np.maximum(h - 0.5, 0.0), h + 0.5
    left, right = np.maximum(w - 0.5, 0.0), w + 0.5
    # Every bound is monotone in both sides: a corner of the square decides.
    inside = (bottom * right <= area[1]) & (top * left >= area[0])
    inside &= (right <= ratio[1] * top) & (left >= ratio[0] * bottom)
    apart = (top * left >= area[1]) | (bottom * right <= area[0])
    apart |= (left >= ratio[1] * bottom) | (right <= ratio[0] * top)
    table = inside.astype(np.float64)
    rows, columns = np.nonzero(~inside & ~apart)
    squares = top[rows, 0], bottom[rows, 0], left[0, columns], right[0, columns]
    table[rows, columns] = _cut_squares(squares, area, ratio)
    return table / region


def relative_error(scale: tuple[float, float], ratio: tuple[float, float]) -> float:
    """Bound on the relative error of sums over the table, for areas in proportion to `scale`.

    Measured against 40 digits: the share of a cut square is off by a few units in the last place
    of its sides, so by that over the width of the region; ten times as much is granted.
    """
    widths = [high / low - 1 for low, high in (scale, ratio) if high > low]
    return 4e-13 + 4 * 2.0**-52 / min([1.0, *widths])


def _cut_squares(
    squares: tuple[Floats, Floats, Floats, Floats],
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> Floats:
    """Area of the region inside each of many rectangles.

    For a height `H` the widths run from `max(left, A0/H, r0 H)` to `min(right, A1/H, r1 H)`.
    Between the heights at which two of these cross, one is the lower and one the upper end
    throughout, and the integral is a logarithm or a polynomial.
    """
    top, bottom, left, right = squares
    crossings = [top, bottom]
    for a in area:
        crossings += [np.full_like(top, math.sqrt(a / r)) for r in ratio]
        with np.errstate(divide="ignore"):
            crossings += [a / side for side in (left, right)]
    crossings += [side / r for r in ratio for side in (left, right)]
    cuts = np.sort(np.clip(np.stack(crossings), top, bottom), axis=0)
    low, high = cuts[:-1], cuts[1:]
    middle, step = (low + high) / 2, high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        # The integral of a / H, without cancellation for short steps.
        log = np.where(step > 0, np.log1p(step / np.where(low > 0, low, np.inf)), 0.0)
        upper = np.stack(
            [np.broadcast_to(right, middle.shape), area[1] / middle, ratio[1] * middle]
        )
        lower = np.stack([np.broadcast_to(left, middle.shape), area[0] / middle, ratio[0] * middle])
        above = np.stack([right * step, area[1] * log, ratio[1] * middle * step])
        below = np.stack([left * step, area[0] * log, ratio[0] * middle * step])
    best = np.argmin(np.where(np.isnan(upper), np.inf, upper), axis=0)[None]
    worst = np.argmax(np.where(np.isnan(lower), -np.inf, lower), axis=0)[None]
    pieces = np.take_along_axis(above, best, 0) - np.take_along_axis(below, worst, 0)
    between = np.take_along_axis(upper, best, 0) > np.take_along_axis(lower, worst, 0)
    found: Floats = np.where(between & (step > 0), pieces, 0.0)[0].sum(axis=0)
    return np.maximum(found, 0.0)


def _on_a_curve(
    area: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Floats:
    """The law when the area or the ratio is fixed: one variable, cut where a side is rounded."""
    table = np.zeros((height + 1, width + 1))
    halves = np.arange(max(height, width) + 2) + 0.5
    if area[0] == area[1] and ratio[0] == ratio[1]:
        sides = [round(math.sqrt(area[0] / ratio[0])), round(math.sqrt(area[0] * ratio[0]))]
        if sides[0] <= height and sides[1] <= width:
            table[sides[0], sides[1]] = 1.0
        return table
    if area[0] == area[1]:
        # The variable is log R: H = sqrt(A / R), W = sqrt(A R).
        ends = math.log(ratio[0]), math.log(ratio[1])
        logs = 2 * np.log(halves / math.sqrt(area[0]))
        cuts = np.concatenate([ends, np.clip(np.concatenate([logs, -logs]), *ends)])
    else:
        ends = area
        squares = halves**2
        cuts = np.concatenate([squares * ratio[0], squares / ratio[0]])
        cuts = np.concatenate([ends, np.clip(cuts, *ends)])
    cuts = np.sort(cuts)
    middle, step = (cuts[:-1] + cuts[1:]) / 2, np.diff(cuts)
    if area[0] == area[1]:
        tall = np.sqrt(area[0]) * np.exp(-middle / 2)
        wide = np.sqrt(area[0]) * np.exp(middle / 2)
    else:
        tall, wide = np.sqrt(middle / ratio[0]), np.sqrt(middle * ratio[0])
    rows, columns = np.rint(tall).astype(np.int64), np.rint(wide).astype(np.int64)
    fits = (rows <= height) & (columns <= width) & (step > 0)
    np.add.at(table, (rows[fits], columns[fits]), step[fits] / (ends[1] - ends[0]))
    return table
