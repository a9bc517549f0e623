"""Every window of a crop, one by one, with the pixels that it sees: slow, plain, independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from patchdp.geometry import (
    CenterCrop,
    Crop,
    Cutout,
    FiveCrop,
    FixedCrop,
    GridCrop,
    NestedCrop,
    Patch,
    RandomApply,
    RandomCrop,
    RandomSizeCrop,
    ResizedCrop,
    TenCrop,
    Views,
    WholeImage,
)

Seen: TypeAlias = npt.NDArray[np.bool_]
Windows: TypeAlias = list[tuple[Fraction, Seen]]

MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "circular": "wrap",
}


def windows_of(crop: Crop, image: tuple[int, ...]) -> Windows:
    """All outcomes of a crop with their probabilities and the image pixels that each shows."""
    return list(LISTS[type(crop)](crop, image))


def probability(crop: Crop, image: tuple[int, ...], pixels: Seen) -> Fraction:
    """Probability that the crop shows one of the pixels (a mask of the image)."""
    if isinstance(crop, Views):
        miss = Fraction(1)
        for view in crop.crops:
            miss *= 1 - probability(view, image, pixels)
        return 1 - miss
    if isinstance(crop, RandomApply):
        t = Fraction(crop.probability)
        return t * probability(crop.crop, image, pixels) + 1 - t
    return sum((p for p, seen in windows_of(crop, image) if (seen & pixels).any()), Fraction(0))


def map_of(
    crop: Crop, image: tuple[int, ...], shape: tuple[int, ...]
) -> dict[tuple[int, ...], Fraction]:
    """Probability that the crop hits a box, at every place of the box."""
    corners = itertools.product(*(range(n - a + 1) for n, a in zip(image, shape, strict=True)))
    return {at: probability(crop, image, _box(image, at, shape)) for at in corners}


def worst_of(crop: Crop, image: tuple[int, ...], patch: Patch) -> tuple[Fraction, tuple[int, ...]]:
    """The largest probability over all places, and the first place in reading order."""
    found = map_of(crop, image, patch.size)
    most = max(found.values())
    return most, next(at for at, p in found.items() if p == most)


def _box(image: tuple[int, ...], corner: tuple[int, ...], size: tuple[int, ...]) -> Seen:
    seen = np.zeros(image, dtype=bool)
    seen[tuple(slice(max(0, at), max(0, at + n)) for at, n in zip(corner, size, strict=True))] = (
        True
    )
    return seen


def _whole(crop: WholeImage, image: tuple[int, ...]) -> Windows:
    return [(Fraction(1), np.ones(image, dtype=bool))]


def _fixed(crop: FixedCrop, image: tuple[int, ...]) -> Windows:
    return [(Fraction(1), _box(image, crop.at, crop.size))]


def _centre(crop: CenterCrop, image: tuple[int, ...]) -> Windows:
    corner = [max(0, round((n - c) / 2)) for n, c in zip(image, crop.size, strict=True)]
    return [(Fraction(1), _box(image, tuple(corner), crop.size))]


def _five(crop: FiveCrop, image: tuple[int, ...]) -> Windows:
    pictures = [np.arange(image[0] * image[1]).reshape(image)]
    if isinstance(crop, TenCrop):
        pictures.append(pictures[0][::-1] if crop.vertical_flip else pictures[0][:, ::-1])
    h, w = crop.size
    top, left = round((image[0] - h) / 2), round((image[1] - w) / 2)
    shown: set[int] = set()
    for picture in pictures:
        for part in (
            picture[:h, :w],
            picture[:h, -w:],
            picture[-h:, :w],
            picture[-h:, -w:],
            picture[top : top + h, left : left + w],
        ):
            shown.update(part.ravel().tolist())
    seen = np.zeros(image[0] * image[1], dtype=bool)
    seen[list(shown)] = True
    return [(Fraction(1), seen.reshape(image))]


def _grid(crop: GridCrop, image: tuple[int, ...]) -> Windows:
    starts = []
    for axis, (n, c, s) in enumerate(zip(image, crop.size, crop.stride, strict=True)):
        shift = (n - c) % s if crop.jitter == "full" else crop.jitter[axis] if crop.jitter else 0
        tiles = range(0, n - c - shift + 1, s)
        starts.append([j + at for j in range(shift + 1) for at in tiles])
    return _uniform([_box(image, at, crop.size) for at in itertools.product(*starts)])


def _uniform(seen: list[Seen]) -> Windows:
    return [(Fraction(1, len(seen)), pixels) for pixels in seen]


def _random_crop(crop: RandomCrop, image: tuple[int, ...]) -> Windows:
    lines = []
    for axis, (n, c) in enumerate(zip(image, crop.size, strict=True)):
        margins = [crop.margins(axis)]
        if crop.pad_if_needed:
            # torchvision adds the whole deficit on both sides.
            deficit = max(0, c - n - sum(margins[0]))
            margins.append((deficit, deficit))
        line = np.arange(n)
        for before, after in margins:
            mode = MODES[crop.padding_mode]
            extra = {"constant_values": -1} if mode == "constant" else {}
            line = np.pad(line, (before, after), mode=mode, **extra)  # type: ignore[call-overload]
        lines.append([line[o : o + c] for o in range(len(line) - c + 1)])
    found = []
    for sources in itertools.product(*lines):
        seen = np.zeros(image, dtype=bool)
        seen[np.ix_(*(source[source >= 0] for source in sources))] = True
        found.append(seen)
    return _uniform(found)


def _random_size(crop: RandomSizeCrop, image: tuple[int, ...]) -> Iterator[tuple[Fraction, Seen]]:
    largest = crop.largest or image
    ranges = [range(low, high + 1) for low, high in zip(crop.smallest, largest, strict=True)]
    sizes = list(itertools.product(*ranges))
    for size in sizes:
        if crop.centered:
            corner = tuple(n // 2 - c // 2 for n, c in zip(image, size, strict=True))
            yield Fraction(1, len(sizes)), _box(image, corner, size)
            continue
        for p, seen in windows_of(RandomCrop(size), image):
            yield p / len(sizes), seen


def _nested(crop: NestedCrop, image: tuple[int, ...]) -> Iterator[tuple[Fraction, Seen]]:
    assert isinstance(crop.outer, RandomCrop | CenterCrop)
    for p, outer in windows_of(crop.outer, image):
        corner = np.argwhere(outer).min(axis=0)
        for q, inner in windows_of(crop.inner, crop.outer.size):
            seen = np.zeros(image, dtype=bool)
            cut = tuple(slice(int(a), int(a) + n) for a, n in zip(corner, inner.shape, strict=True))
            seen[cut] = inner
            yield p * q, seen


def _cutout(crop: Cutout, image: tuple[int, ...]) -> Iterator[tuple[Fraction, Seen]]:
    t = Fraction(crop.probability)
    ranges = [
        range(-crop.crop.margins(k)[0], n + crop.crop.margins(k)[1] - c + 1)
        for k, (n, c) in enumerate(zip(image, crop.crop.size, strict=True))
    ]
    offsets = list(itertools.product(*ranges))
    holes = list(
        itertools.product(
            *(range(c - e + 1) for c, e in zip(crop.crop.size, crop.size, strict=True))
        )
    )
    for offset in offsets:
        seen = _box(image, offset, crop.crop.size)
        if t < 1:
            yield (1 - t) / len(offsets), seen
        for hole in holes:
            corner = tuple(o + e for o, e in zip(offset, hole, strict=True))
            yield t / (len(offsets) * len(holes)), seen & ~_box(image, corner, crop.size)


def _resized(crop: ResizedCrop, image: tuple[int, ...]) -> Iterator[tuple[Fraction, Seen]]:
    for weight, size in crop.resizing.sizes(image):
        reads = [
            footprint(n, m, crop.interpolation, crop.antialias)
            for n, m in zip(image, size, strict=True)
        ]
        for p, inner in windows_of(crop.crop, size):
            seen = np.zeros(image, dtype=bool)
            for target in np.argwhere(inner):
                sources = (np.flatnonzero(read[k]) for read, k in zip(reads, target, strict=True))
                seen[np.ix_(*sources)] = True
            yield weight * p, seen


def footprint(n: int, m: int, interpolation: str, antialias: bool) -> Seen:
    """Which of `n` pixels have a weight in each of `m` resized ones, from the kernels."""
    if n == m:
        return np.eye(n, dtype=bool)
    if interpolation == "nearest":
        return np.arange(n)[None, :] == (np.arange(m) * n // m)[:, None]
    if interpolation == "nearest-exact":
        return np.arange(n)[None, :] == ((2 * np.arange(m) + 1) * n // (2 * m))[:, None]
    ratio = n / m
    stretch = max(ratio, 1.0) if antialias else 1.0
    kernel, reach = KERNELS[interpolation]
    seen = np.zeros((m, n), dtype=bool)
    for j in range(m):
        centre = (j + 0.5) * ratio - 0.5
        for i in range(
            math.floor(centre - reach * stretch), math.ceil(centre + reach * stretch) + 1
        ):
            x = (i - centre) / stretch
            # A widened kernel changes its sign between pixels it reads; that one counts too.
            sign_change = stretch > 1 and abs(x) < reach - 1e-12
            if sign_change or abs(kernel(x)) > 1e-12:
                # Without antialiasing the border pixel stands in for those outside.
                if antialias and not 0 <= i < n:
                    continue
                seen[j, min(max(i, 0), n - 1)] = True
    return seen


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


KERNELS: dict[str, tuple[Callable[[float], float], int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
}

LISTS: dict[type[Crop], Callable[..., Iterable[tuple[Fraction, Seen]]]] = {
    RandomCrop: _random_crop,
    WholeImage: _whole,
    FiveCrop: _five,
    TenCrop: _five,
    FixedCrop: _fixed,
    CenterCrop: _centre,
    GridCrop: _grid,
    RandomSizeCrop: _random_size,
    NestedCrop: _nested,
    ResizedCrop: _resized,
    Cutout: _cutout,
}
