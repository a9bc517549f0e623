"""Attacks on the theorems of docs/theory: brute force and random adversaries against each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, special, stats

import patchdp as pdp
from patchdp.composition.conversions import renyi
from patchdp.composition.grid.fft import compose
from patchdp.composition.grid.masses import loss_masses
from patchdp.geometry import Mask, RandomCrop
from patchdp.geometry.reading import Reading
from patchdp.geometry.rounded_sides import rounded_sides
from patchdp.geometry.windows import AxisWindows
from patchdp.step import StepProfile, fixed_size_pair, poisson_pair
from patchdp.step.group import images_per_person, views_clipped_apart

Array = npt.NDArray[np.float64]
Mixture = Sequence[
    tuple[float, Sequence[float]]
]  # weights and points of Gaussians of unit variance

GRID = np.linspace(-14.0, 14.0, 28001)
PLANE = np.linspace(-9.0, 9.0, 901)
FACTORS = (1.0, 1.05, 1.5, 4.0)


def on_line(weights: Sequence[float], points: Sequence[float]) -> Array:
    density = np.zeros_like(GRID)
    for weight, point in zip(weights, points, strict=True):
        density += weight * stats.norm.pdf(GRID - point)
    return density


def in_plane(weights: Sequence[float], points: npt.ArrayLike) -> Array:
    density = np.zeros((len(PLANE), len(PLANE)))
    for weight, (x, y) in zip(weights, np.asarray(points), strict=True):
        density += weight * np.outer(stats.norm.pdf(PLANE - x), stats.norm.pdf(PLANE - y))
    return density


def line_divergence(p: Array, q: Array, a: float) -> float:
    return float(np.maximum(p - a * q, 0.0).sum() * (GRID[1] - GRID[0]))


def plane_divergence(p: Array, q: Array, a: float) -> float:
    return float(np.maximum(p - a * q, 0.0).sum() * (PLANE[1] - PLANE[0]) ** 2)


def in_disk(rng: np.random.Generator, number: int, radius: float) -> Array:
    """Points of a disk, half of them on its edge: worst cases lie there."""
    angle = rng.uniform(0, 2 * np.pi, number)
    size = radius * np.where(rng.random(number) < 0.5, 1.0, np.sqrt(rng.random(number)))
    return np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)


def one(pair: object) -> StepProfile:
    return StepProfile(((1.0, pair),), attainable=True)  # type: ignore[arg-type]


def profile(step: StepProfile, a: float) -> float:
    return float(step.delta(math.log(a)))


def hits(*sizes: int) -> int:
    length, crop, before, after, patch, at = sizes
    return sum(
        any(0 <= at + k + before - offset < crop for k in range(patch))
        for offset in range(length + before + after - crop + 1)
    )


def axes() -> list[tuple[int, int, int, int, int]]:
    sizes = itertools.product(range(1, 6), range(1, 5), range(4), range(4), range(1, 4))
    return [s for s in sizes if s[0] + s[2] + s[3] >= s[1] and s[4] <= s[0]]


def test_counts_on_one_axis() -> None:
    """Theorem 1: the count, and its maximum where the paddings are small or equal."""
    for length, crop, before, after, patch in axes():
        last = length + before + after - crop
        windows = AxisWindows(crop, -before, last - before)
        counts = [hits(length, crop, before, after, patch, x) for x in range(length - patch + 1)]
        assert counts == [windows.hits(x, x + patch) for x in range(length - patch + 1)]
        assert windows.worst(patch, 0, length - patch)[0] == max(counts)
        if max(before, after) < crop or before == after:
            assert max(counts) == min(last + 1, patch + crop - 1)


def test_growth_of_patch_crop_and_image() -> None:
    """Theorem 3: monotone in patch and crop; in the image with the proviso, which is needed."""

    def worst(length: int, crop: int, before: int, after: int, patch: int) -> Fraction:
        spots = range(length - patch + 1)
        most = max(hits(length, crop, before, after, patch, x) for x in spots)
        return Fraction(most, length + before + after - crop + 1)

    grew = 0
    for length, crop, before, after, patch in axes():
        here = worst(length, crop, before, after, patch)
        if patch < length:
            assert worst(length, crop, before, after, patch + 1) >= here
        if crop < length + before + after:
            assert worst(length, crop + 1, before, after, patch) >= here
        larger = worst(length + 1, crop, before, after, patch)
        if max(before, after) < crop or before == after:
            assert larger <= here
        grew += larger > here
    assert grew > 0
    assert (worst(1, 2, 0, 2, 1), worst(2, 2, 0, 2, 1)) == (Fraction(1, 2), Fraction(2, 3))


def test_boxes_and_pixel_sets_by_listing_all_windows() -> None:
    """Theorem 2 and Theorem 4: products for boxes, dilation for other sets."""
    rng = np.random.default_rng(4)
    for _ in range(40):
        image = tuple(int(n) for n in rng.integers(3, 8, 2))
        crop = tuple(int(rng.integers(1, n + 1)) for n in image)
        pixels = rng.random((3, 2)) < 0.5
        pixels[0, 0] = True
        mask = Mask(pixels)
        shape = mask.shape(2)
        worst = 0
        for y, x in itertools.product(
            *(range(n - s + 1) for n, s in zip(image, shape, strict=True))
        ):
            whole = np.zeros(image, dtype=bool)
            whole[y : y + shape[0], x : x + shape[1]] = mask.pixels(2)
            offsets = itertools.product(
                *(range(n - c + 1) for n, c in zip(image, crop, strict=True))
            )
            seen = sum(whole[i : i + crop[0], j : j + crop[1]].any() for i, j in offsets)
            worst = max(worst, int(seen))
        total = math.prod(n - c + 1 for n, c in zip(image, crop, strict=True))
        assert pdp.inclusion(image, RandomCrop(crop), mask).probability == Fraction(worst, total)
        box = pdp.inclusion(image, RandomCrop(crop), pdp.Patch(shape)).probability
        lines = [
            pdp.inclusion((n,), RandomCrop((c,)), pdp.Patch((s,))).probability
            for n, c, s in zip(image, crop, shape, strict=True)
        ]
        assert box == math.prod(Fraction(line) for line in lines) >= Fraction(worst, total)


def test_sides_of_random_resized_crops_by_simulation() -> None:
    """Theorem 5: frequencies of rounded sides, each within 5 standard deviations."""
    rng, draws = np.random.default_rng(5), 400_000
    area, ratio, side = (4.0, 36.0), (0.5, 2.0), 9
    drawn = rng.uniform(*area, draws)
    log_ratio = rng.uniform(math.log(ratio[0]), math.log(ratio[1]), draws)
    high = np.rint(np.sqrt(drawn / np.exp(log_ratio))).astype(int)
    wide = np.rint(np.sqrt(drawn * np.exp(log_ratio))).astype(int)
    counts = np.zeros((side + 1, side + 1))
    np.add.at(counts, (high, wide), 1.0)
    table = rounded_sides(area=area, ratio=ratio, height=side, width=side)
    assert abs(table.sum() - 1) < 1e-12
    assert np.all(np.abs(counts - draws * table) <= 5 * np.sqrt(draws * table) + 1e-9)


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge", "circular"])
def test_padding_by_copies_by_looking(mode: str) -> None:
    """Theorem 6: pad an image that is 1 on the patch, and count the windows that are not blank."""
    names = {"circular": "wrap"}
    for length, pad, crop, patch in itertools.product((5, 7), (1, 3, 4), (1, 2, 5), (1, 2)):
        law = RandomCrop((crop,), padding=pad, padding_mode=mode)  # type: ignore[arg-type]
        for at in range(length - patch + 1):
            line = np.zeros(length)
            line[at : at + patch] = 1
            padded = np.pad(line, pad, mode=names.get(mode, mode))  # type: ignore[call-overload]
            spots = len(padded) - crop + 1
            seen = sum(bool(padded[o : o + crop].any()) for o in range(spots))
            found = pdp.inclusion((length,), law, pdp.Patch((patch,), at=(at,))).probability
            assert found == Fraction(seen, spots)


def test_resizing_reads_every_pixel_with_weight() -> None:
    """Theorem 6: a bilinear footprint holds all pixels whose change moves the output."""
    for length, target in ((6, 3), (9, 4), (5, 8)):
        reading = Reading.resized(length, target, "bilinear", antialias=True)
        scale = max(length / target, 1.0)
        centres = (np.arange(target) + 0.5) * length / target
        for k in range(length):
            weight = np.maximum(0.0, 1 - np.abs(k + 0.5 - centres) / scale)
            touched = weight > 1e-12
            assert np.all(~touched | ((reading.low <= k) & (k < reading.high)))


def test_advanced_joint_convexity_is_an_identity() -> None:
    """Lemma 0: both sides on random discrete laws."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        common, first, second = rng.dirichlet(np.full(6, 0.4), 3)
        w, a = rng.uniform(0.01, 1.0), 1 + rng.exponential(2.0) * rng.integers(0, 2)
        p, q = (1 - w) * common + w * first, (1 - w) * common + w * second
        larger = 1 + (a - 1) / w
        against = (1 - a / larger) * common + a / larger * second
        left, right = np.maximum(p - a * q, 0.0), np.maximum(first - larger * against, 0.0)
        assert left.sum() == pytest.approx(w * right.sum(), rel=1e-9, abs=1e-12)


def test_symmetric_extension_is_a_profile() -> None:
    """Theorem 7: convex across 1, and the atom is what the loss law has at 0."""
    for step in (
        one(fixed_size_pair(rate=0.7, mu=0.3)),
        one(poisson_pair(rate=0.9, inclusion=0.6, mu=2.0)),
        one(poisson_pair(rate=0.2, inclusion=1.0, mu=0.5)),
    ):
        a = np.exp(np.linspace(-1.0, 1.0, 401))
        h = step.delta(np.log(a))
        slopes = np.diff(h) / np.diff(a)
        assert np.all(np.diff(slopes) >= -1e-9)
        assert np.all(h >= np.maximum(1 - a, 0) - 1e-15)
        # (h(1) - 1)/2 <= h'(1+), with equality where there is no atom
        slope = float(step.delta(1e-7) - step.delta(0.0)) / 1e-7
        atom = 1 - float(step.delta(0.0)) + 2 * slope
        assert atom >= -1e-6
    p, q, mu = 0.6, 0.9, 2.0
    step = one(poisson_pair(rate=q, inclusion=p, mu=mu))
    slope = float(step.delta(1e-7) - step.delta(0.0)) / 1e-7
    atom = q * (1 - p) * special.erf(mu / math.sqrt(2))
    assert 1 - float(step.delta(0.0)) + 2 * slope == pytest.approx(atom, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_one_step_never_exceeds_its_bound(seed: int) -> None:
    """Theorem 8, Theorem 13 and Theorem 14: random gradients in the plane."""
    rng = np.random.default_rng(seed)
    mu, p, q = rng.choice([0.5, 1.5, 3.0]), rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95)
    poisson = one(poisson_pair(rate=q, inclusion=p, mu=mu))
    fixed = one(fixed_size_pair(rate=p * q, mu=mu))
    for _ in range(4):
        m, g, other, k = in_disk(rng, 4, mu)
        weights = [1 - q, q * (1 - p), q * p]
        for out, bound in (((0.0, 0.0), poisson), (k, fixed)):
            before = in_plane(weights, [out, m, g])
            after = in_plane(weights, [out, m, other])
            for a in FACTORS:
                assert plane_divergence(before, after, a) <= profile(bound, a) + 2e-6


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
def test_the_worst_model_attains_the_bound(sampling: str) -> None:
    """Theorem 16: gradients +C on the patch and -C elsewhere reach the bound exactly."""
    mu, p, q = 0.7, 0.3, 0.4
    weights = [1 - q, q * (1 - p), q * p]
    out = 0.0 if sampling == "poisson" else -mu
    before, after = on_line(weights, [out, -mu, mu]), on_line(weights, [out, -mu, -mu])
    pair = (
        poisson_pair(rate=q, inclusion=p, mu=mu)
        if sampling == "poisson"
        else fixed_size_pair(rate=p * q, mu=mu)
    )
    for a in FACTORS:
        assert line_divergence(before, after, a) == pytest.approx(profile(one(pair), a), rel=1e-5)


def test_a_shared_crop_exceeds_the_formula_for_fresh_ones() -> None:
    """Theorem 9: p h(a) is attained when other images tell hits from misses."""
    p, mu = 0.33, 0.5
    far = 8.0
    before = on_line([1 - p, p], [-far, far + mu])
    after = on_line([1 - p, p], [-far, far - mu])
    whole, fresh = one(fixed_size_pair(rate=1.0, mu=mu)), one(fixed_size_pair(rate=p, mu=mu))
    a = math.exp(0.5)
    reached = line_divergence(before, after, a)
    assert reached == pytest.approx(p * profile(whole, a), rel=1e-5)
    assert reached > 2 * profile(fresh, a)


def test_lognormal_sums_grow_with_covariances() -> None:
    """Theorem 10: E f(sum) for hinge functions, Gauss-Hermite in three dimensions."""
    rng = np.random.default_rng(10)
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    points = np.array(list(itertools.product(nodes, repeat=3)))
    mass = np.prod(np.array(list(itertools.product(weights, repeat=3))), axis=1)
    mass /= mass.sum()

    def smooth(covariance: Array, w: Array) -> float:
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(np.maximum(values, 0.0))
        x = points @ factor.T - 0.5 * np.diag(covariance)
        total = np.exp(x) @ w
        return float(mass @ np.sqrt(1 + np.square(total - 1)))  # convex, linear growth

    for _ in range(30):
        vectors = rng.normal(size=(3, 3)) * 0.3
        smaller = vectors @ vectors.T
        length = np.sqrt(np.diag(smaller)) + rng.uniform(0, 0.2, 3)
        w = rng.dirichlet(np.ones(3))
        assert smooth(smaller, w) <= smooth(np.outer(length, length), w) + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_mixtures_in_the_plane_and_on_the_line(seed: int) -> None:
    """Theorem 11 and Theorem 12: points in the plane, no further apart than those on the line."""
    rng = np.random.default_rng(100 + seed)
    x, y = np.sort(rng.uniform(0.0, 2.0, 3)), -np.sort(rng.uniform(0.0, 2.0, 3))
    angles = rng.uniform(0, 2 * np.pi, (2, 3))
    # |u_i| = x_i and |v_j| = -y_j, so that |u_i - v_j| <= x_i - y_j whatever the directions
    u = x[:, None] * np.stack([np.cos(angles[0]), np.sin(angles[0])], axis=1)
    v = y[:, None] * np.stack([np.cos(angles[1]), np.sin(angles[1])], axis=1)
    p, q = rng.dirichlet(np.ones(3), 2)
    for a in (0.5, *FACTORS):
        plane = plane_divergence(in_plane(p, u), in_plane(q, v), a)
        assert plane <= line_divergence(on_line(p, x), on_line(q, y), a) + 2e-6
        single = plane_divergence(in_plane([1.0], u[:1]), in_plane(q, v), a)
        distances = -np.linalg.norm(v - u[0], axis=1)
        bound = line_divergence(on_line([1.0], [0.0]), on_line(q, list(distances)), a)
        assert single <= bound + 2e-6


def test_epochs_of_a_shuffled_run() -> None:
    """Theorem 15: two epochs in a random order, every adversary of a few, in two dimensions."""
    rng = np.random.default_rng(15)
    mu, p = 0.8, 0.4
    pair = fixed_size_pair(rate=p, mu=mu)
    run = pdp.TrainingPlan(
        image=(5,),
        crop=RandomCrop((1,)),
        patch=pdp.Patch((2,)),
        sampling=pdp.Shuffle(),
        noise_multiplier=1 / mu,
        epochs=2,
    )
    assert run.inclusion.probability == Fraction(2, 5)
    for _ in range(6):
        m, g, other = rng.uniform(-mu, mu, 3)
        m2, g2, other2 = rng.uniform(-mu, mu, 3)
        first = [(1 - p, m), (p, g)], [(1 - p, m), (p, other)]
        second = [(1 - p, m2), (p, g2)], [(1 - p, m2), (p, other2)]
        laws = []
        for one_epoch, next_epoch in zip(first, second, strict=True):
            points = [(x, y) for (_, x), (_, y) in itertools.product(one_epoch, next_epoch)]
            weights = [v * w for (v, _), (w, _) in itertools.product(one_epoch, next_epoch)]
            laws.append(in_plane(weights, points))
        for epsilon in (0.1, 0.7):
            reached = plane_divergence(laws[0], laws[1], math.exp(epsilon))
            assert reached <= run.delta(epsilon) + 2e-6
    assert profile(one(pair), 1.0) > 0


def test_composition_of_adaptive_gaussians() -> None:
    """Theorem 17: the second step's gradient depends on the first output, as an attacker likes."""
    mu, q, p = 0.9, 0.6, 0.5
    run = pdp.TrainingPlan(
        image=(3,),
        crop=RandomCrop((1,)),
        patch=pdp.Patch((1,)),
        sampling=pdp.Poisson(sampling_probability=q),
        noise_multiplier=1 / mu,
        steps=2,
    )
    p = float(run.inclusion.probability)
    weights = [1 - q, q * (1 - p), q * p]

    def law(hit: float) -> Array:
        first = in_plane_axis(weights, [0.0, -mu, hit])
        # the sign of the second gradient follows the first output
        up = in_plane_axis(weights, [0.0, -mu, hit])
        down = in_plane_axis(weights, [0.0, mu, -hit])
        rows = np.where((PLANE > 0.2)[:, None], up[None, :], down[None, :])
        return np.asarray(first[:, None] * rows)

    before, after = law(mu), law(-mu)
    for epsilon in (0.0, 0.5, 1.5):
        a = math.exp(epsilon)
        for x, y in ((before, after), (after, before)):
            assert plane_divergence(x, y, a) <= run.delta(epsilon) + 2e-6


def in_plane_axis(weights: Sequence[float], points: Sequence[float]) -> Array:
    terms = [w * stats.norm.pdf(PLANE - x) for w, x in zip(weights, points, strict=True)]
    return np.asarray(np.sum(terms, axis=0))


def test_renyi_curve_against_fifty_digits() -> None:
    """Theorem 18: the moment as its definition has it, integrated with 50 digits."""
    r, mu = 1e-3, 0.8
    step = one(fixed_size_pair(rate=r, mu=mu))
    with mpmath.workdps(50):
        rate, m = mpmath.mpf(r), mpmath.mpf(mu)

        def both(x: mpmath.mpf, t: mpmath.mpf) -> mpmath.mpf:
            loss = mpmath.log(1 - rate + rate * mpmath.exp(2 * m * x))
            q = mpmath.npdf(x, -m)
            return (mpmath.expm1(t * loss) * mpmath.exp(loss) + mpmath.expm1(-t * loss)) * q

        for order in (1.5, 3.0, 9.0):
            t = mpmath.mpf(order) - 1
            moment = mpmath.quad(lambda x, t=t: both(x, t), [0, 2, 5, 10, 20, 40])
            exact = float(mpmath.log1p(moment) / t)
            found = float(renyi.curve([(step, 1)], [order])[0])
            assert exact <= found <= exact * (1 + 1e-11)


@pytest.mark.parametrize("interval", [0.5, 0.05])
def test_the_grid_is_above_the_profile_everywhere(interval: float) -> None:
    """Theorem 19: between grid points, on them, beyond the grid, and for negative epsilon."""
    step = one(poisson_pair(rate=0.3, inclusion=0.4, mu=1.1))
    masses = loss_masses(step, interval=interval, log_tail=-12.0)
    probabilities, infinity = masses.linear()
    assert float(probabilities.sum()) + infinity == pytest.approx(1.0, abs=1e-12)
    for epsilon in np.linspace(-6.0, 6.0, 401):
        gain = np.maximum(-np.expm1(epsilon - np.maximum(masses.losses, epsilon)), 0.0)
        discrete = float(gain @ probabilities) + infinity
        assert discrete >= float(step.delta(epsilon)) * (1 - 1e-12)
    on_grid = 2 * interval
    gain = np.maximum(-np.expm1(on_grid - np.maximum(masses.losses, on_grid)), 0.0)
    assert float(gain @ probabilities) + infinity == pytest.approx(
        float(step.delta(on_grid)), rel=1e-4
    )


def _symmetric_law(losses: Array, masses: Array, atom: float) -> tuple[Array, Array]:
    return (
        np.concatenate([losses, -losses, [0.0]]),
        np.concatenate([masses, masses * np.exp(-losses), [atom]]),
    )


def _delta_of_sum(law: tuple[Array, Array], steps: int, epsilon: float) -> float:
    total, chance = np.zeros(1), np.ones(1)
    for _ in range(steps):
        total = (total[:, None] + law[0]).ravel()
        chance = (chance[:, None] * law[1]).ravel()
    return float(chance @ np.maximum(-np.expm1(epsilon - np.maximum(total, epsilon)), 0.0))


def test_losses_known_up_to_a_share_of_their_size() -> None:
    """The lemma beside Theorem 19, on random discrete laws whose losses are moved by that share."""
    rng, tightest = np.random.default_rng(0), 0.0
    for _ in range(600):
        size, steps = rng.integers(1, 4), int(rng.integers(1, 5))
        share = 10 ** rng.uniform(-4, -2.4)
        losses = 10 ** rng.uniform(-2, 1, size)
        masses = rng.dirichlet(np.ones(size)) * 10 ** rng.uniform(-4, 0)
        masses *= min(1.0, 0.9 / float(masses @ (1 + np.exp(-losses))))
        atom = 1 - float(masses @ (1 + np.exp(-losses)))
        moved = losses * (1 + share * rng.choice([-1.0, 1.0], size))
        for epsilon in (0.0, *(rng.uniform(0, steps, 3) * float(losses.max()))):
            true = _delta_of_sum(_symmetric_law(losses, masses, atom), steps, epsilon)
            computed = _symmetric_law(moved, masses, atom)
            factor = (1 + 0.74 * share) ** steps / (1 - share)
            claimed = factor * _delta_of_sum(computed, steps, epsilon * (1 - share))
            assert true <= claimed * (1 + 1e-12)
            tightest = max(tightest, true / claimed if claimed else 0.0)
    assert tightest > 0.99  # else the lemma gives away more than it need


@pytest.mark.parametrize("tilt", [0.3, 3.0, 20.0])
def test_tilted_composition_against_exact_convolution(tilt: float) -> None:
    """Theorem 20 and Theorem 21: 20 steps of two kinds, convolved with 60 digits."""
    parts = [
        (one(fixed_size_pair(rate=0.2, mu=0.6)), 12),
        (one(fixed_size_pair(rate=1.0, mu=0.3)), 8),
    ]
    phases = [(loss_masses(step, interval=0.25, log_tail=-30.0), n) for step, n in parts]
    with mpmath.workdps(60):
        total, first = [mpmath.mpf(1)], 0
        infinite = mpmath.mpf(1)
        for masses, count in phases:
            linear = [mpmath.exp(mpmath.mpf(float(v))) for v in masses.log_probabilities]
            for _ in range(count):
                total = _convolved(total, linear)
                first -= masses.size - 1
            infinite *= (1 - mpmath.exp(mpmath.mpf(masses.log_infinity))) ** count
        rows = [(masses.law, count) for masses, count in phases]
        # the epsilon that the tilt aims at, and delta there by Laplace's approximation, about
        moments = [sum(n * law.log_mgf(s) for law, n in rows) for s in (tilt * 0.999, tilt * 1.001)]
        middle = (moments[1] - moments[0]) / (0.002 * tilt)
        target = min(moments[0] - tilt * middle - 3.0, -1.0)
        composed = compose(rows, tilt=tilt, log_target=target, aim=(0.1, max(9.0, middle)))
        for epsilon in (0.1, 1.0, 4.0, 9.0, *([middle] if target > -60.0 else [])):
            exact = 1 - infinite
            for k, mass in enumerate(total):
                loss = mpmath.mpf("0.25") * (first + k)
                if loss > epsilon > 0:
                    exact += mass * -mpmath.expm1(epsilon - loss)
            found, finite = composed.log_delta_upper(epsilon), exact - 1 + infinite
            assert found >= float(mpmath.log(exact)) - 1e-15
            assert composed.log_delta_lower(epsilon) <= float(mpmath.log(finite)) + 1e-15
            if epsilon == middle:  # where the tilt is right little is given away
                assert found <= float(mpmath.log(exact)) + 1e-3


def _convolved(x: list[mpmath.mpf], y: list[mpmath.mpf]) -> list[mpmath.mpf]:
    return [
        mpmath.fsum(x[i] * y[k - i] for i in range(max(0, k - len(y) + 1), min(len(x), k + 1)))
        for k in range(len(x) + len(y) - 1)
    ]


def test_google_engine_is_above_the_closed_form() -> None:
    """Theorem 22: what dp-accounting certifies is above the closed form of one step."""
    step = one(poisson_pair(rate=0.3, inclusion=0.5, mu=1.0))
    plan = pdp.TrainingPlan(
        image=(2,),
        crop=RandomCrop((1,)),
        patch=pdp.Patch((1,)),
        sampling=pdp.Poisson(sampling_probability=0.3),
        noise_multiplier=1.0,
        steps=1,
    )
    assert plan.inclusion.probability == Fraction(1, 2)
    for delta in (1e-2, 1e-4, 1e-6):
        assert float(step.delta(plan.epsilon(delta))) <= delta


@pytest.mark.parametrize("seed", range(6))
def test_views_clipped_one_by_one(seed: int) -> None:
    """Theorem 23 and Theorem 24: summed views, full batch, and why q < 1 needs more."""
    rng = np.random.default_rng(seed)
    mu, p, views = 0.8, rng.uniform(0.05, 0.9), 2
    apart = views_clipped_apart(inclusion=Fraction(p), mu=mu, views=views)
    together = one(fixed_size_pair(rate=1 - (1 - p) ** 2, mu=views * mu))
    miss, g, other = rng.choice([-mu, mu, rng.uniform(-mu, mu)], 3)
    weights = [(1 - p) ** 2, 2 * p * (1 - p), p * p]
    before = on_line(weights, [2 * miss, miss + g, 2 * g])
    after = on_line(weights, [2 * miss, miss + other, 2 * other])
    for a in FACTORS:
        reached = line_divergence(before, after, a)
        assert reached <= profile(apart, a) + 1e-7
        assert profile(apart, a) <= profile(together, a) + 1e-9
    # Fixed-size batches with q = 0.01: the full-batch distances are not enough.
    q, p, a = 0.01, 0.05, 1.2
    weights = [1 - q, q * (1 - p) ** 2, 2 * q * p * (1 - p), q * p * p]
    before = on_line(weights, [-2.0, -0.5, 0.75, 2.0])
    after = on_line(weights, [-2.0, -0.5, -1.25, -2.0])
    hit = 1 - (1 - p) ** 2
    parts = [2 * p * (1 - p) / hit, p * p / hit]
    claim = sum(
        w * profile(one(fixed_size_pair(rate=q * hit, mu=j)), a) for j, w in enumerate(parts, 1)
    )
    assert line_divergence(before, after, a) > 3.5 * claim


def test_noise_on_the_pixels() -> None:
    """Theorem 25: a model that thresholds a noisy pixel does not see more than p tau."""
    spread, change, p, mu = 1.0, 0.8, 0.5, 1.2
    tau = 2 * stats.norm.cdf(change / (2 * spread)) - 1
    bound = one(fixed_size_pair(rate=p * tau, mu=mu))
    for cut in (-0.3, 0.0, 0.4, 0.9):
        chances = [stats.norm.sf((cut - x) / spread) for x in (change, 0.0)]
        laws = [on_line([1 - p, p * (1 - c), p * c], [-mu, -mu, mu]) for c in chances]
        for a in FACTORS:
            assert line_divergence(laws[0], laws[1], a) <= profile(bound, a) + 1e-7


def test_sub_batches_nest() -> None:
    """Theorem 26: a coupling with inclusion exists, by linear programming over all subsets."""
    rng = np.random.default_rng(26)

    def law(elements: Sequence[int], size: int, odds: Array) -> dict[tuple[int, ...], float]:
        sets = {s: float(np.prod(odds[list(s)])) for s in itertools.combinations(elements, size)}
        total = sum(sets.values())
        return {s: w / total for s, w in sets.items()}

    for number, size, removed in ((4, 2, 1), (5, 3, 2), (6, 3, 2), (5, 4, 1)):
        odds = np.where(rng.random(number) < 0.5, rng.uniform(0.05, 1.0), 1.0)
        small = law(range(removed, number), size - removed, odds)
        large = law(range(number), size, odds)
        links = [(s, b) for s in small for b in large if set(s) <= set(b)]
        rows = np.zeros((len(small) + len(large), len(links)))
        for column, (s, b) in enumerate(links):
            rows[list(small).index(s), column] = 1
            rows[len(small) + list(large).index(b), column] = 1
        goal = [*small.values(), *large.values()]
        assert optimize.linprog(np.zeros(len(links)), A_eq=rows, b_eq=goal).status == 0


@pytest.mark.parametrize("seed", range(8))
def test_several_images_of_one_person(seed: int) -> None:
    """Theorem 27 and Theorem 28: two images, all batches and hits listed, random gradients."""
    rng = np.random.default_rng(seed)
    mu, p = 0.7, float(rng.uniform(0.05, 0.95))
    grads = rng.choice([-mu, mu, 0.3 * mu], (2, 3))  # per image: missed, hit before, hit after
    q = float(rng.uniform(0.05, 0.95))
    size, batch = 4, int(rng.integers(1, 4))
    rest = rng.choice([-mu, mu], size - 2)
    for scheme in (pdp.Poisson(sampling_probability=q), pdp.FixedSize(batch, size)):
        bound = images_per_person(scheme, inclusion=Fraction(p), mu=mu, images=2)
        laws = []
        for side in (1, 2):
            weights, points = [], []
            for chosen in itertools.product((0, 1), repeat=size):
                if isinstance(scheme, pdp.FixedSize):
                    if sum(chosen) != batch:
                        continue
                    chance = 1 / math.comb(size, batch)
                else:
                    if any(chosen[2:]):
                        continue  # others are known: condition on them
                    chance = math.prod(q if c else 1 - q for c in chosen[:2])
                base = float(np.dot(chosen[2:], rest))
                for hit in itertools.product((0, 1), repeat=2):
                    weights.append(chance * math.prod(p if h else 1 - p for h in hit))
                    moved = [grads[i, side if hit[i] else 0] for i in range(2) if chosen[i]]
                    points.append(base + float(np.sum(moved)))
            laws.append(on_line(weights, points))
        for a in FACTORS:
            assert line_divergence(laws[0], laws[1], a) <= profile(bound, a) + 1e-7


@pytest.mark.parametrize("p", [0.2, 0.95])
def test_several_images_all_turned_around(p: float) -> None:
    """Theorem 27: every hit moves +C to -C, full batch; the bound is close to what is reached."""
    mu = 0.7
    before = on_line([(1 - p) ** 2, 2 * p * (1 - p), p * p], [-2 * mu, 0.0, 2 * mu])
    after = on_line([1.0], [-2 * mu])
    for scheme in (pdp.Poisson(sampling_probability=1.0), pdp.FixedSize(5, 5)):
        bound = images_per_person(scheme, inclusion=Fraction(p), mu=mu, images=2)
        for a in FACTORS:
            reached = line_divergence(before, after, a)
            assert reached <= profile(bound, a) + 1e-7 <= 1.2 * reached


def test_error_rates_of_the_best_test() -> None:
    """Theorem 29: the most powerful test of a Gaussian pair meets the curve, none beats it."""
    mu = 0.6
    step = one(fixed_size_pair(rate=1.0, mu=mu))
    epsilon = np.linspace(0.0, 12.0, 6001)
    delta = step.delta(epsilon)
    for alpha in (0.01, 0.2, 0.5, 0.9):
        curve = max(
            0.0,
            float(np.max(1 - delta - np.exp(epsilon) * alpha)),
            float(np.max(np.exp(-epsilon) * (1 - delta - alpha))),
        )
        best = stats.norm.cdf(stats.norm.isf(alpha) - 2 * mu)
        assert curve <= best + 1e-12
        assert curve == pytest.approx(best, abs=1e-5)


def test_small_losses_alone_are_bounded() -> None:
    """Theorem 31: Chernoff's bound with its kernel, on the small part of a discrete loss."""
    losses, masses = np.array([0.2, 0.5]), np.array([0.3, 0.1])  # the small part, mass 0.4
    for epsilon, t in itertools.product((0.3, 1.0), (0.5, 2.0, 8.0)):
        dropped = sum(
            math.prod(masses[list(k)]) * max(-math.expm1(epsilon - losses[list(k)].sum()), 0.0)
            for k in itertools.product((0, 1), repeat=3)
        )
        kernel = t**t / (1 + t) ** (1 + t)
        total = float(masses @ np.exp(t * losses)) ** 3
        assert 0 <= dropped <= kernel * math.exp(-t * epsilon) * total
