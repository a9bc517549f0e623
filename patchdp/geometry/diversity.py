"""How much of the images a crop shows: how many windows, how evenly, and which pixels never.

>>> from patchdp.geometry import Patch, RandomCrop, best_crop, diversity
>>> diversity((1024, 2048), RandomCrop((480, 480))).windows
855105
>>> best = diversity((1024, 2048), best_crop((1024, 2048), (480, 480), patch=Patch((10, 10))))
>>> best.windows, round(best.entropy, 2), best.shown
(45696, 10.73, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

import numpy as np

from patchdp._budget import afford
from patchdp.geometry.choice import ChoiceCrop
from patchdp.geometry.crop import Crop
from patchdp.geometry.law import Floats
from patchdp.geometry.sizes import Size, as_size
from patchdp.geometry.windows import AxisWindows, SpacedWindows

__all__ = ["Diversity", "diversity"]


@dataclass(frozen=True)
class Diversity:
    """What training sees of an image, over many steps.

    Attributes:
        windows: number of different windows.
        entropy: of the window, in nats: `log(windows)` where all are equally likely.
        shown: share of the image's pixels that are ever shown.
        evenness: 1 where all pixels are shown equally often, else less: the square of their mean
            exposure over their mean squared exposure.
    """

    windows: int
    entropy: float
    shown: float
    evenness: float


@dataclass(frozen=True)
class _Line:
    """The law of the window along one axis: probabilities of its first pixel."""

    length: int
    first: int
    chances: Floats

    @staticmethod
    def of(law: AxisWindows | SpacedWindows) -> _Line:
        last = law.last
        afford(last - law.first + 1, "listing the windows along one axis", "use a smaller image")
        ends = np.arange(law.first - 1, last + 1, dtype=np.int64)
        return _Line(law.length, law.first, np.diff(law.starts_up_to(ends)) / law.total)

    @property
    def windows(self) -> int:
        return int(np.count_nonzero(self.chances))

    @property
    def entropy(self) -> float:
        return _entropy(self.chances)

    def exposure(self, length: int) -> Floats:
        """How likely each of the axis' pixels is to be shown."""
        # Pixel x is in the windows that start at x - length + 1, ..., x.
        sums = np.concatenate([[0.0], np.cumsum(self.chances)])
        pixels = np.arange(length) - self.first
        upper = np.clip(pixels + 1, 0, len(self.chances))
        lower = np.clip(pixels - self.length + 1, 0, len(self.chances))
        shown: Floats = np.where(upper > lower, sums[upper] - sums[lower], 0.0)
        return np.where(shown > 1e-13, shown, 0.0)


def diversity(image: Sequence[int], crop: Crop) -> Diversity:
    """Number and entropy of the windows, and how evenly they show the pixels of an image.

    Args:
        image: pixels along each axis.
        crop: one window of known size: `RandomCrop`, `GridCrop`, `FixedCrop`, `CenterCrop`, or a
            `ChoiceCrop` of such crops. Padding is not a part of the image.

    Raises:
        ValueError: another crop, or a mixture in an image too large to be listed.
    """
    size = as_size("image", image)
    parts = _parts(size, crop)
    if len(parts) == 1:
        lines = parts[0][1]
        exposures = [line.exposure(n) for line, n in zip(lines, size, strict=True)]
        return Diversity(
            math.prod(line.windows for line in lines),
            math.fsum(line.entropy for line in lines),
            math.prod(float((e > 0).mean()) for e in exposures),
            math.prod(_evenness(e) for e in exposures),
        )
    afford(math.prod(size), f"a mixture of {len(parts)} crops", "use a smaller image")
    exposure = np.zeros(size)
    tables: dict[Size, list[tuple[Fraction, list[_Line]]]] = {}
    for weight, lines in parts:
        seen = [line.exposure(n) for line, n in zip(lines, size, strict=True)]
        exposure += float(weight) * reduce(np.multiply.outer, seen)
        tables.setdefault(tuple(line.length for line in lines), []).append((weight, lines))
    windows = [_table(group) for group in tables.values()]
    return Diversity(
        sum(int(np.count_nonzero(table)) for table in windows),
        math.fsum(_entropy(table) for table in windows),
        float((exposure > 0).mean()),
        _evenness(exposure),
    )


def _parts(image: Size, crop: Crop) -> list[tuple[Fraction, list[_Line]]]:
    if isinstance(crop, ChoiceCrop):
        whole = sum((Fraction(weight) for weight in crop.weights), Fraction(0))
        return [
            (Fraction(weight) / whole * share, lines)
            for weight, one in zip(crop.weights, crop.crops, strict=True)
            for share, lines in _parts(image, one)
        ]
    laws = crop.laws(image) if crop.exact and crop.law_count == 1 else ()
    product = laws[0].product if laws and crop.combine([0.25]) == 0.25 else None
    lines = [_Line.of(p) for p in product or () if isinstance(p, AxisWindows | SpacedWindows)]
    if product is None or len(lines) < len(product):
        raise ValueError(
            f"diversity is of single windows of known size, as of a RandomCrop, got {crop!r}"
        )
    return [(Fraction(1), lines)]


def _table(group: Sequence[tuple[Fraction, list[_Line]]]) -> Floats:
    """Probabilities of all windows of one size."""
    axes = range(len(group[0][1]))
    first = [min(lines[k].first for _, lines in group) for k in axes]
    stop = [max(lines[k].first + len(lines[k].chances) for _, lines in group) for k in axes]
    shape = [end - begin for begin, end in zip(first, stop, strict=True)]
    afford(math.prod(shape), "listing all windows of a mixture", "use a smaller image")
    table = np.zeros(shape)
    for weight, lines in group:
        cut = (
            slice(line.first - begin, line.first - begin + len(line.chances))
            for line, begin in zip(lines, first, strict=True)
        )
        table[tuple(cut)] += float(weight) * reduce(
            np.multiply.outer, [line.chances for line in lines]
        )
    return table


def _entropy(chances: Floats) -> float:
    positive = chances[chances > 0]
    return float(-(positive * np.log(positive)).sum())


def _evenness(exposure: Floats) -> float:
    most = float(exposure.max())
    if most == 0:
        return 0.0
    scaled = exposure / most
    return float(scaled.mean() ** 2 / np.square(scaled).mean())
