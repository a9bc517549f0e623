"""The best crop: reached by counting windows, and beaten by no law of a linear programme."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize
from window_lists import map_of, probability

from patchdp.geometry import (
    ChoiceCrop,
    Crop,
    Disk,
    GridCrop,
    Mask,
    Patch,
    RandomCrop,
    best_crop,
    inclusion,
    inclusion_map,
)

Size = tuple[int, ...]
Floats = npt.NDArray[np.float64]


def tiles(image: Size, window: Size, patch: Size) -> list[int]:
    sizes = zip(image, window, patch, strict=True)
    return [(n - h) // (h + w - 1) + 1 for n, h, w in sizes]


def least(image: Size, window: Size, patch: Size) -> Fraction:
    return Fraction(1, math.prod(tiles(image, window, patch)))


def offsets_of(image: Size, window: Size) -> list[Size]:
    return list(itertools.product(*(range(n - h + 1) for n, h in zip(image, window, strict=True))))


def hit_table(
    image: Size, window: Size, patch: Size, offsets: Sequence[Size] | None = None
) -> npt.NDArray[np.bool_]:
    """Which window (column) shows a pixel of which box (row), by looking."""
    windows = offsets_of(image, window) if offsets is None else offsets
    table = []
    for corner in offsets_of(image, patch):
        table.append(
            [
                all(
                    o <= x + w - 1 and x <= o + h - 1
                    for o, x, h, w in zip(offset, corner, window, patch, strict=True)
                )
                for offset in windows
            ]
        )
    return np.array(table)


def smallest_worst_case(hits: npt.NDArray[np.bool_]) -> tuple[float, Floats]:
    """The least `max_x Pr(hit x)` over all laws of the window, and a law that has it."""
    places, windows = hits.shape
    found = optimize.linprog(
        np.append(np.zeros(windows), 1.0),
        A_ub=np.hstack([hits.astype(float), -np.ones((places, 1))]),
        b_ub=np.zeros(places),
        A_eq=np.append(np.ones(windows), 0.0)[None],
        b_eq=[1.0],
        method="highs",
    )
    assert found.status == 0
    return float(found.fun), found.x[:-1]


def some_case(rng: random.Random, most: tuple[int, ...] = (30, 9, 5)) -> tuple[Size, Size, Size]:
    axes = rng.choice((1, 1, 2, 2, 3))
    image = tuple(rng.randint(1, most[axes - 1]) for _ in range(axes))
    window = tuple(rng.randint(1, n) for n in image)
    patch = tuple(rng.randint(1, min(n, 4)) for n in image)
    return image, window, patch


def test_five_hundred_small_cases_by_looking_at_every_window() -> None:
    """Theorem 35: the law's largest inclusion is p*, whatever its jitter."""
    rng = random.Random(37)
    for _ in range(500):
        image, window, patch = some_case(rng)
        free = best_crop(image, window, patch=Patch(patch)).jitters(image)
        jitter = rng.choice(("full", None, tuple(rng.randint(0, j) for j in free)))
        crop = best_crop(image, window, patch=Patch(patch), jitter=jitter)  # type: ignore[arg-type]
        seen = map_of(crop, image, patch)
        assert max(seen.values()) == least(image, window, patch), (image, window, patch, jitter)
        found = inclusion(image, crop, Patch(patch))
        assert found.probability == max(seen.values())
        assert found.worst_position == next(at for at, p in seen.items() if p == max(seen.values()))
        probabilities = inclusion_map(image, crop, Patch(patch))
        np.testing.assert_allclose(probabilities.ravel(), [float(p) for p in seen.values()])
        assert eval(repr(crop)) == crop


def test_the_boxes_of_the_proof_pierce_every_window_of_every_small_image() -> None:
    """Theorem 35, first half: for all images below 40 pixels."""
    for window, length in itertools.combinations_with_replacement(range(1, 40), 2):
        for patch in (1, 2, 3, 5, 11, length):
            if patch > length:
                continue
            (number,) = tiles((length,), (window,), (patch,))
            boxes = {
                min(m * (window + patch - 1) + window - 1, length - patch) for m in range(number)
            }
            assert min(boxes) >= 0
            for o in range(length - window + 1):
                assert any(o <= x + patch - 1 and x <= o + window - 1 for x in boxes)


def test_no_law_on_a_line_is_better() -> None:
    """Theorem 35: linear programmes over all laws, every line of up to 14 pixels."""
    for length in range(1, 15):
        for window, patch in itertools.product(range(1, length + 1), range(1, min(length, 5) + 1)):
            case = (length,), (window,), (patch,)
            found, _ = smallest_worst_case(hit_table(*case))
            assert found == pytest.approx(float(least(*case)), abs=1e-9), case


@pytest.mark.parametrize(
    ("image", "window", "patch"),
    [
        ((6, 6), (2, 2), (1, 1)),
        ((6, 7), (2, 3), (2, 1)),
        ((7, 7), (3, 2), (2, 2)),
        ((8, 5), (2, 2), (3, 1)),
        ((5, 9), (5, 2), (1, 2)),
        ((3, 4, 4), (1, 2, 2), (1, 1, 2)),
    ],
)
def test_no_law_in_the_plane_or_in_space_is_better(image: Size, window: Size, patch: Size) -> None:
    """Theorem 35: laws that are no products do not help either."""
    found, _ = smallest_worst_case(hit_table(image, window, patch))
    assert found == pytest.approx(float(least(image, window, patch)), abs=1e-9)


def test_any_joint_law_of_the_jitter_will_do() -> None:
    """Theorem 35: shifts of the two axes that depend on each other."""
    rng = np.random.default_rng(3)
    image, window, patch = (13, 17), (3, 4), (2, 3)
    number = tiles(image, window, patch)
    room = best_crop(image, window, patch=Patch(patch)).jitters(image)
    hits = hit_table(image, window, patch)
    place = {offset: k for k, offset in enumerate(offsets_of(image, window))}
    assert number == [3, 3] and min(room) > 0
    for _ in range(20):
        law = np.zeros(len(place))
        shifts = rng.dirichlet(np.full((room[0] + 1) * (room[1] + 1), 0.3))
        for weight, j in zip(shifts, np.ndindex(room[0] + 1, room[1] + 1), strict=True):
            for k in np.ndindex(*number):
                law[place[j[0] + 4 * k[0], j[1] + 6 * k[1]]] += weight / math.prod(number)
        assert (hits @ law).max() == pytest.approx(1 / 9, abs=1e-12)


@pytest.mark.parametrize(
    ("image", "window", "patch"),
    [((17,), (3,), (2,)), ((23,), (4,), (5,)), ((30,), (2,), (7,)), ((7, 8), (2, 2), (2, 1))],
)
def test_all_best_laws_live_on_the_grid_and_its_shifts(
    image: Size, window: Size, patch: Size
) -> None:
    """Theorem 36: best laws in random directions never leave the shifts, nor prefer a tile."""
    rng = np.random.default_rng(38)
    hits, place = hit_table(image, window, patch), np.array(offsets_of(image, window))
    crop = best_crop(image, window, patch=Patch(patch))
    stride, room, best = np.array(crop.stride), np.array(crop.jitters(image)), float(
        least(image, window, patch)
    )  # fmt: skip
    tile, shift = place // stride, place % stride
    largest = 0.0
    for _ in range(40):
        law = optimize.linprog(
            rng.normal(size=len(place)),
            A_ub=hits.astype(float),
            b_ub=np.full(len(hits), best),
            A_eq=np.ones((1, len(place))),
            b_eq=[1.0],
            method="highs",
        ).x
        assert law[(shift > room).any(axis=1)].sum() < 1e-9
        for k in {tuple(row) for row in tile.tolist()}:
            assert law[(tile == k).all(axis=1)].sum() == pytest.approx(best, abs=1e-9)
        if len(image) == 1:
            table = np.zeros((tile.max() + 1, room[0] + 1))
            np.add.at(table, (tile[:, 0], np.minimum(shift[:, 0], room[0])), law)
            assert np.all(np.diff(np.cumsum(table, axis=1), axis=0) <= 1e-9)
        positive = law[law > 1e-12]
        largest = max(largest, float(-(positive * np.log(positive)).sum()))
    windows = math.prod(law.total for law in crop.windows(image))
    assert largest <= math.log(windows) + 1e-9


def test_a_larger_patch_loses_what_the_grid_was_made_for() -> None:
    """Theorem 35: at most ceil(s'/s) tiles on an axis see it."""
    crop = best_crop((1024, 2048), (505, 505), patch=Patch((10, 10)))
    for size, expected in ((10, 8), (11, 2), (20, 2), (523, 2), (524, 1)):
        found = inclusion((1024, 2048), crop, Patch((size, size))).probability
        assert found == (Fraction(1, 8) if expected == 8 else found) and found <= 1
        tight = [min(n, -(-(505 + size - 1) // 514)) for n in (2, 4)]
        assert found <= Fraction(math.prod(tight), 8)
    assert inclusion((1024, 2048), crop, Patch((20, 20))).probability == Fraction(1, 2)
    rng = random.Random(4)
    for _ in range(60):
        image, window, patch = some_case(rng, (25, 8, 4))
        larger = tuple(rng.randint(w, n) for w, n in zip(patch, image, strict=True))
        crop = best_crop(image, window, patch=Patch(patch))
        bound = math.prod(
            Fraction(min(n, -(-(h + v - 1) // (h + w - 1))), n)
            for n, h, w, v in zip(tiles(image, window, patch), window, patch, larger, strict=True)
        )
        assert max(map_of(crop, image, larger).values()) <= bound


def test_padded_windows_have_the_optimum_of_the_padded_image() -> None:
    """Theorem 35 with windows that reach out of the image by less than their length."""
    for length, window, patch in itertools.product((5, 8, 11), (2, 3, 4), (1, 2, 3)):
        for before, after in itertools.product(range(window), repeat=2):
            offsets = [(o,) for o in range(-before, length + after - window + 1)]
            found, _ = smallest_worst_case(hit_table((length,), (window,), (patch,), offsets))
            best = least((length + before + after,), (window,), (patch,))
            assert found == pytest.approx(float(best), abs=1e-9)
    blank = [(o,) for o in range(-2, 7)]
    assert smallest_worst_case(hit_table((8,), (2,), (1,), blank))[0] == pytest.approx(0)


def test_windows_of_random_size_can_share_the_work() -> None:
    """One law for each size, best on its own, is not the best for all of them together."""
    image, patch = (10,), (1,)
    joint, sizes = [], ((1,), (4,))
    for size in sizes:
        joint.append(hit_table(image, size, patch))
    windows = [table.shape[1] for table in joint]
    cost = np.append(np.zeros(sum(windows)), 1.0)
    each = np.zeros((2, sum(windows) + 1))
    each[0, : windows[0]], each[1, windows[0] : -1] = 1.0, 1.0
    found = optimize.linprog(
        cost,
        A_ub=np.hstack([*joint, -np.ones((10, 1))]),
        b_ub=np.zeros(10),
        A_eq=each,
        b_eq=[0.5, 0.5],
        method="highs",
    ).fun
    apart = sum(least(image, size, patch) for size in sizes) / 2
    assert apart == Fraction(3, 10)
    assert found <= 0.25 + 1e-9
    crops = [best_crop(image, size, patch=Patch(patch)) for size in sizes]
    mixed = ChoiceCrop(tuple(crops), (Fraction(1, 2),) * 2)
    assert inclusion(image, mixed, Patch(patch)).probability <= apart


def test_several_image_sizes_have_one_crop() -> None:
    sizes = [(1024, 2048), (512, 640), (700, 505)]
    crop = best_crop(sizes, (480, 480), patch=Patch((10, 10)))
    assert [inclusion(size, crop, Patch((10, 10))).probability for size in sizes] == [
        least(size, (480, 480), (10, 10)) for size in sizes
    ]
    assert inclusion(sizes, crop, Patch((10, 10))).probability == 1


@pytest.mark.parametrize(
    ("side", "tiles"),
    [(256, 21), (330, 18), (400, 10), (480, 8), (505, 8), (676, 3), (768, 2), (1014, 2)],
)
def test_the_staircase_on_cityscapes(side: int, tiles: int) -> None:
    image, patch = (1024, 2048), Patch((10, 10))
    crop = best_crop(image, (side, side), patch=patch)
    assert inclusion(image, crop, patch).probability == Fraction(1, tiles)
    assert crop.tiles(image) == tiles
    uniform = inclusion(image, RandomCrop((side, side)), patch).probability
    assert Fraction(1, tiles) < uniform


def test_tiles_that_touch_are_worse_than_the_uniform_crop_unless_they_are_shifted() -> None:
    image, patch, window = (1024, 2048), Patch((10, 10)), (505, 505)
    uniform = inclusion(image, RandomCrop(window), patch).probability
    assert uniform == Fraction(66049, 200720)
    touching = inclusion(image, GridCrop(window, stride=window), patch).probability
    assert touching == Fraction(1, 2) > uniform
    shifted = GridCrop(window, stride=window, jitter="full")
    assert inclusion(image, shifted, patch).probability == Fraction(38, 145) < uniform


def test_the_window_of_mmsegmentation_is_seen_whole_or_a_quarter() -> None:
    image, patch = (1024, 2048), Patch((10, 10))
    assert inclusion(image, RandomCrop((512, 1024)), patch).probability == 1
    best = best_crop(image, (507, 1019), patch=patch)
    assert inclusion(image, best, patch).probability == Fraction(1, 4)


def test_jitter_room_and_number_of_windows_on_cityscapes() -> None:
    image, patch = (1024, 2048), Patch((10, 10))
    rooms = {
        side: best_crop(image, (side, side), patch=patch).jitters(image) for side in (505, 480, 400)
    }
    assert rooms == {505: (5, 1), 480: (55, 101), 400: (215, 12)}
    crop = best_crop(image, (480, 480), patch=patch)
    assert math.prod(law.total for law in crop.windows(image)) == 45_696


def test_laws_between_the_extremes_are_exact() -> None:
    rng = random.Random(8)
    for _ in range(60):
        image, window, patch = some_case(rng, (20, 7, 4))
        share = Fraction(rng.randint(1, 6), 7)
        best, uniform = best_crop(image, window, patch=Patch(patch)), RandomCrop(window)
        mixed = ChoiceCrop((best, uniform), (1 - share, share))
        maps = [map_of(crop, image, patch) for crop in (best, uniform)]
        expected = max((1 - share) * maps[0][at] + share * maps[1][at] for at in maps[0])
        assert inclusion(image, mixed, Patch(patch)).probability == expected
        axis = rng.randrange(len(image))
        one = best_crop(image, window, patch=Patch(patch), axes=(axis,))
        lines: list[Fraction] = []
        for k, (n, h, w) in enumerate(zip(image, window, patch, strict=True)):
            if k == axis:
                lines.append(least((n,), (h,), (w,)))
            else:
                line = inclusion((n,), RandomCrop((h,)), Patch((w,))).probability
                lines.append(Fraction(line))
        assert inclusion(image, one, Patch(patch)).probability == math.prod(lines)
        assert max(map_of(one, image, patch).values()) == math.prod(lines)


def test_other_shapes_under_a_grid_are_counted_exactly() -> None:
    rng = np.random.default_rng(5)
    image = (11, 12)
    for _ in range(12):
        stride = tuple(int(n) for n in rng.integers(1, 6, 2))
        crop: Crop = GridCrop(
            (3, 4), stride=stride, jitter=tuple(int(n) for n in rng.integers(0, 5, 2))
        )
        pixels = rng.random((3, 3)) < 0.5
        pixels[1, 1] = True
        for shape in (Mask(pixels), Disk(1)):
            found = inclusion(image, crop, shape)
            box = shape.pixels(2)
            seen = {}
            for corner in itertools.product(
                *(range(n - s + 1) for n, s in zip(image, box.shape, strict=True))
            ):
                private = np.zeros(image, dtype=bool)
                private[
                    corner[0] : corner[0] + box.shape[0], corner[1] : corner[1] + box.shape[1]
                ] = box
                seen[corner] = probability(crop, image, private)
            assert found.attained and found.probability == pytest.approx(float(max(seen.values())))
            assert seen[found.worst_position] == max(seen.values())  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patch": Patch((2, 2), at=(0, 0))}, "patch must be a box that may lie anywhere"),
        ({"patch": Patch((2, 2), within=((0, 4), (0, 4)))}, "may lie anywhere"),
        ({"patch": Disk(2)}, "may lie anywhere"),
        ({"patch": Patch((2,))}, "crop 4x4 has 2 axes, image 2 has 1"),
        ({"patch": Patch((21, 2))}, "patch 21x2 does not fit image 20x20"),
        ({"size": (30, 4)}, "tile 30x4 does not fit image 20x20"),
        ({"jitter": (2, 0)}, "jitter 2x0 costs a tile in image 20x20; it may be at most 1x1"),
        ({"jitter": (17, 0)}, "jitter 17x0 leaves no room"),
        ({"jitter": "most"}, "jitter must be one length per axis, as .8, 8., or 'full'"),
        ({"jitter": (1,)}, "jitter must have 2 axes"),
        ({"jitter": (-1, 0)}, "jitter must be a whole number of at least 0"),
        ({"axes": (2,)}, "axes must be among 0, ..., 1, got .2."),
        ({"axes": ()}, "axes must be among"),
        ({"axes": 1}, "axes must be numbers of axes"),
    ],
)
def test_what_the_theorem_does_not_cover_is_refused(options: dict[str, object], match: str) -> None:
    given = {"image": (20, 20), "size": (4, 4), "patch": Patch((2, 2)), **options}
    with pytest.raises(ValueError, match=match):
        best_crop(given.pop("image"), given.pop("size"), **given)  # type: ignore[arg-type]
