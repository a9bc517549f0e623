"""Windows that a library really drew, against the law that patchdp says they have."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from patchdp.geometry import Crop, hit_probability
from patchdp.geometry.windows import AxisLaw, AxisMixture, AxisWindows, SpacedWindows

__all__ = ["DRAWS", "check_hits", "check_shown", "check_windows"]

DRAWS = 200_000
SMALLEST_P = 1e-4  # the seeds are fixed: a test that passes once passes always

Window = tuple[tuple[int, int], ...]


def _axis(law: AxisLaw) -> dict[tuple[int, int], float]:
    """Probability of every (first pixel, length) along an axis."""
    if isinstance(law, AxisWindows):
        return {(at, law.length): 1 / law.total for at in range(law.first, law.last + 1)}
    if isinstance(law, SpacedWindows):
        starts: Counter[tuple[int, int]] = Counter()
        for j, k in itertools.product(range(law.shifts), range(law.tiles)):
            starts[law.first + j + k * law.stride, law.length] += 1
        return {window: number / law.total for window, number in starts.items()}
    assert isinstance(law, AxisMixture)
    found: Counter[tuple[int, int]] = Counter()
    for weight, part in zip(law.weights, law.parts, strict=True):
        for window, share in _axis(part).items():
            found[window] += float(weight) * share  # type: ignore[assignment]
    return dict(found)


def _law(crop: Crop, image: tuple[int, ...]) -> dict[Window, float]:
    (law,) = crop.laws(image)
    axes = [[_axis(part) for part in parts] for parts in law.axes]
    found: Counter[Window] = Counter()
    for weight, index in zip(law.weights, law.index.tolist(), strict=True):
        parts = [axes[axis][k] for axis, k in enumerate(index)]
        for window in itertools.product(*parts):
            share = np.prod([part[w] for part, w in zip(parts, window, strict=True)])
            found[window] += float(weight) * float(share)  # type: ignore[assignment]
    return dict(found)


def _chi_square(drawn: Counter, expected: dict) -> float:  # type: ignore[type-arg]
    """P-value; cells of fewer than five expected draws are put together."""
    assert set(drawn) <= set(expected), sorted(set(drawn) - set(expected))[:5]
    total = sum(drawn.values())
    rare = np.zeros(2)
    statistic, cells = 0.0, 0
    for window, share in expected.items():
        if total * share < 5:
            rare += drawn[window], total * share
        else:
            statistic += (drawn[window] - total * share) ** 2 / (total * share)
            cells += 1
    if rare[1] >= 5:
        statistic += (rare[0] - rare[1]) ** 2 / rare[1]
        cells += 1
    else:
        assert rare[0] <= 30, "windows that should be rare are not"
    return float(chi2.sf(statistic, cells - 1)) if cells > 1 else 1.0


def check_windows(
    crop: Crop, image: tuple[int, ...], starts: npt.ArrayLike, lengths: npt.ArrayLike
) -> None:
    """Chi-square on every marginal and the joint law; hit rates of a few patches.

    `starts` and `lengths` have shape `(draws, axes)`; starts are in pixels of the unpadded image.
    """
    first, size = np.asarray(starts, dtype=np.int64), np.asarray(lengths, dtype=np.int64)
    assert len(first) == DRAWS
    axes = first.shape[1]
    size = np.broadcast_to(size, first.shape)
    expected = _law(crop, image)
    assert abs(sum(expected.values()) - 1) < 1e-9
    rows, counts = np.unique(np.hstack([first, size]), axis=0, return_counts=True)
    drawn: Counter[Window] = Counter()
    for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
        drawn[tuple((row[a], row[axes + a]) for a in range(axes))] = count
    assert _chi_square(drawn, expected) > SMALLEST_P, "joint law"
    for axis, part in itertools.product(range(axes), range(2)):
        seen: Counter[int] = Counter()
        said: Counter[int] = Counter()
        for window, count in drawn.items():
            seen[window[axis][part]] += count
        for window, share in expected.items():
            said[window[axis][part]] += share  # type: ignore[assignment]
        assert _chi_square(seen, said) > SMALLEST_P, (axis, part)
    check_hits(crop, image, first, size)


def check_hits(
    crop: Crop, image: tuple[int, ...], starts: npt.ArrayLike, lengths: npt.ArrayLike
) -> None:
    """Hit rates of patches in corners, at borders and inside, within four standard errors."""
    first = np.asarray(starts, dtype=np.int64)
    size = np.broadcast_to(np.asarray(lengths, dtype=np.int64), first.shape)
    for patch in {1, max(1, min(image) // 4)}:
        for corner in places(image, patch):
            hit = np.all((first < np.array(corner) + patch) & (corner < first + size), axis=1)
            check_rate(crop, image, corner, (patch,) * len(image), hit)


def places(image: tuple[int, ...], patch: int) -> Iterable[tuple[int, ...]]:
    """Corners, borders and the inside."""
    return itertools.product(*({0, (n - patch) // 2, n - patch} for n in image))


def check_rate(
    crop: Crop,
    image: tuple[int, ...],
    corner: tuple[int, ...],
    size: tuple[int, ...],
    hit: npt.NDArray[np.bool_],
) -> None:
    """One patch's hit rate, within four standard errors."""
    (p,) = hit_probability(image, crop, [corner], [size])
    error = 4 * np.sqrt(max(p * (1 - p), 1e-12) / len(hit))
    assert abs(hit.mean() - p) <= error, (corner, size, hit.mean(), p)


def check_shown(
    crop: Crop,
    image: tuple[int, ...],
    corners: Sequence[tuple[int, ...]],
    side: int,
    run: Callable[[npt.NDArray[np.float32]], Iterable[npt.NDArray[np.float32]]],
    draws: int,
) -> None:
    """How often a patch reaches any array that a real transform returns, against the crop.

    `run` is given one channel for each patch, lit where the patch is, and returns the arrays that
    come out, channels first. An exact crop's rate is met within four standard errors; a bound is
    not exceeded by more.
    """
    lit = np.zeros((len(corners), *image), dtype=np.float32)
    for channel, corner in zip(lit, corners, strict=True):
        channel[tuple(slice(at, at + side) for at in corner)] = 1
    seen = np.zeros((draws, len(corners)), dtype=bool)
    for draw in range(draws):
        for array in run(lit):
            seen[draw] |= np.abs(np.asarray(array)).reshape(len(corners), -1).max(axis=1) > 0
    for corner, hit in zip(corners, seen.T, strict=True):
        if crop.exact:
            check_rate(crop, image, corner, (side,) * len(image), hit)
        else:
            (p,) = hit_probability(image, crop, [corner], [(side,) * len(image)])
            assert hit.mean() <= p + 4 * np.sqrt(max(p * (1 - p), 1e-12) / draws), (corner, p)
