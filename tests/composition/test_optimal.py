"""The certified profile against attacks, closed forms and the composed bound."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from adversary import Adversary, ball, hockey_stick, inscribed, line_profile

from patchdp.composition import attained
from patchdp.composition.attained import attain
from patchdp.composition.optimal import OptimalStep, epsilon_optimal, optimal_profile
from patchdp.composition.prove import prove_epsilon
from patchdp.composition.value_iteration import Grid, iterate

CITYSCAPES = OptimalStep("fixed", Fraction(200, 2975), Fraction(514 * 514, 520 * 1544), mu=0.5)
EPSILONS = np.array([0.0, 0.05, 0.3, 1.0, 2.0])


def composed(steps, delta):
    phases = [(step.symmetric, count) for step, count in steps]
    return prove_epsilon(phases, math.log(delta), tolerance=1e-4).upper


@pytest.mark.parametrize(
    ("weights", "step"),
    [
        ((0.5, 0.5, 0.0), OptimalStep("fixed", 1.0, 0.5, mu=1.0)),
        ((0.1, 0.9, 0.0), OptimalStep("fixed", 0.2, 0.5, mu=0.7)),
        ((0.12, 0.28, 0.6), OptimalStep("poisson", 0.4, 0.3, mu=1.0)),
    ],
)
def test_adaptive_adversaries_stay_below(weights, step):
    rng = np.random.default_rng(5)
    triples = [inscribed(a, b) for a in (1.57, 1.2, 0.9) for b in (0.0, 0.37, 0.7, 0.9, 1.2)]
    triples += [(m, g2, g) for m, g, g2 in triples]
    triples += [tuple(ball(rng, 2) for _ in range(3)) for _ in range(8)]
    game = Adversary(weights, step.mu, triples)
    for steps in (2, 3):
        profile = optimal_profile([(step, steps)], tolerance=0.02, interval=0.02)
        upper = profile.delta(-game.losses)
        middle = np.abs(game.losses) < 3.0
        best = game.play(steps, lambda table: table.max(axis=0))
        assert np.all(best[middle] <= upper[middle] * (1 + 2e-4) + 1e-5)
        assert np.all(profile.lower(EPSILONS) <= profile.delta(EPSILONS))
        # The bound is not only above the best policy found, but near it.
        at_zero = np.argmin(np.abs(game.losses))
        assert upper[at_zero] <= 1.025 * best[at_zero]
        for _ in range(20):
            choice = rng.integers(len(triples), size=17)

            def scattered(table, choice=choice):
                rows = choice[np.clip((game.losses + 8.0).astype(int), 0, 16)]
                return table[rows, np.arange(table.shape[1])]

            values = game.play(steps, scattered)
            assert np.all(values[middle] <= upper[middle] * (1 + 2e-4) + 1e-5)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("weights", "step"),
    [
        ((0.3, 0.7, 0.0), OptimalStep("fixed", 1.0, 0.3, mu=0.8)),
        ((0.12, 0.28, 0.6), OptimalStep("poisson", 0.4, 0.3, mu=1.2)),
    ],
)
def test_no_triple_of_points_beats_one_step(weights, step, dim):
    rng = np.random.default_rng(dim)
    upper = optimal_profile([(step, 1)], tolerance=0.02).delta(EPSILONS)
    for _ in range(60):
        m, g, g2 = (ball(rng, dim) for _ in range(3))
        truth = hockey_stick(weights, step.mu, m, g, g2, EPSILONS)
        assert np.all(truth <= upper * (1 + 1e-4) + 1e-7)


@pytest.mark.parametrize(("rate", "mu"), [(0.3, 0.05), (0.02, 0.5), (0.6, 1.5), (1.0, 0.3)])
@pytest.mark.parametrize("interval", [0.003, 0.03, 0.1, 0.4])
def test_lower_kernels_are_below_the_profile_between_nodes_too(rate, mu, interval):
    pair = OptimalStep("fixed", 1.0, rate, mu=mu).pair
    grid = Grid(interval, window=10, reach=max(round(2 / interval), 4))
    right, left = attained._below_lines(pair, grid)
    a = np.exp(grid.offsets)
    loss = np.linspace(0, grid.offsets[-1], 3001)
    truth = pair.delta(loss)
    assert np.all(np.interp(np.exp(loss), a, right) <= truth * (1 + 1e-9) + 1e-300)
    # Below a = 1: gain over 1 - a, a chord in a.
    turned = line_profile(rate, mu, False, loss[1:]) if rate < 1 else truth[1:]
    chord = np.interp(np.exp(-loss[1:]), 1 / a[::-1], left[::-1])
    assert np.all(chord * np.exp(loss[1:]) <= turned * (1 + 1e-9) + 1e-14)


def test_the_two_extremes_certify_nothing():
    # Two steps, rate 1/2, mu 1, eps 0: the extremes reach 0.51662, intermediate triangles 0.52188.
    step = OptimalStep("fixed", 1.0, 0.5, mu=1.0)
    profile = optimal_profile([(step, 2)], tolerance=4e-3, interval=1e-2)
    assert 0.52188 <= profile.delta(0.0) <= 0.5235
    assert 0.5164 <= profile.lower(0.0) <= 0.51663
    game = Adversary((0.5, 0.5, 0.0), 1.0, [inscribed(a, np.pi / 2 - a) for a in (np.pi / 2, 0.0)])
    values = game.play(2, lambda table: table.max(axis=0))
    assert values[120] == pytest.approx(0.51662, abs=2e-4)


@pytest.mark.parametrize(
    "step",
    [
        OptimalStep("fixed", 0.3, 0.5, mu=0.5),
        OptimalStep("fixed", 1.0, 1.0, mu=0.5),
        OptimalStep("poisson", 0.3, 0.5, mu=1.0),
        OptimalStep("fixed", 1.0, 0.1, mu=6.0),
        OptimalStep("fixed", 1e-4, 0.1, mu=0.02),
    ],
)
def test_one_step_is_the_closed_form(step):
    profile = optimal_profile([(step, 1)], tolerance=1e-2)
    nodes = profile.grid.interval * np.arange(0, profile.grid.window, 7)
    truth = step.symmetric.delta(nodes)
    upper = profile.delta(nodes)
    assert np.all(upper >= truth)
    np.testing.assert_allclose(upper, truth, rtol=1e-6, atol=1e-9)
    below = profile.delta(-nodes)
    np.testing.assert_allclose(below, step.symmetric.delta(-nodes), rtol=1e-6)


def test_no_mass_is_lost_at_small_noise():
    # At mu = 6 almost every hit is seen: after k steps delta(0) is about 1 - (1-r)^k.
    step = OptimalStep("fixed", 1.0, 0.1, mu=6.0)
    for count in (1, 3, 10):
        profile = optimal_profile([(step, count)], tolerance=0.02)
        exact = 1 - 0.9**count
        assert exact * (1 - 1e-6) <= profile.delta(0.0) <= exact * 1.02
        assert profile.lower(0.0) <= exact * (1 + 1e-6)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_attained_profile_of_one_step_is_below_both_extremes_closed_forms(rate, mu):
    pair = OptimalStep("fixed", 1.0, rate, mu=mu).pair
    grid = Grid(interval=0.002, window=1500, reach=5000)
    values = attain([(pair, 1)], grid)[::-1]
    eps = grid.interval * np.arange(1501)
    best = np.maximum(line_profile(rate, mu, True, eps), line_profile(rate, mu, False, eps))
    assert np.all(values <= best * (1 + 1e-12))
    assert np.all(values[:100] >= 0.97 * best[:100] - 1e-6)


def test_cityscapes():
    found = epsilon_optimal([(CITYSCAPES, 1500)], 1e-5, tolerance=0.03)
    assert found.upper <= 5.52
    assert 5.38 <= found.lower <= 5.41
    assert found.gap <= 0.03
    assert found.block_length == 1500


def test_blocks_interpolate_between_composed_and_optimal():
    steps = [(CITYSCAPES, 600)]
    bound = composed(steps, 1e-5)
    whole = epsilon_optimal(steps, 1e-5, tolerance=0.02, interval=0.01)
    found = [
        epsilon_optimal(steps, 1e-5, tolerance=0.02, interval=0.01, block_length=k)
        for k in (1, 50, 200)
    ]
    uppers = [f.upper for f in found] + [whole.upper]
    assert uppers == sorted(uppers, reverse=True)
    assert all(f.lower is None for f in found)
    # Blocks of one step are the composed bound, up to the grid.
    assert bound * (1 - 1e-4) <= uppers[0] <= bound * 1.02
    assert uppers[-1] < 0.9 * bound
    assert whole.lower < whole.upper


@pytest.mark.parametrize(
    ("step", "count"),
    [
        (OptimalStep("fixed", 1.0, 0.33, mu=0.25), 40),
        (OptimalStep("fixed", 0.01, 0.2, mu=1.0), 200),
        (OptimalStep("poisson", 0.2, 0.5, mu=0.8), 50),
        (OptimalStep("fixed", 1.0, 1.0, mu=0.1), 30),
    ],
)
@pytest.mark.parametrize("delta", [1e-3, 1e-5])
def test_between_the_attack_and_the_composed_bound(step, count, delta):
    found = epsilon_optimal([(step, count)], delta, tolerance=0.04)
    bound = composed([(step, count)], delta)
    assert found.lower <= found.upper
    assert found.upper <= bound * 1.02
    assert found.gap <= 0.04


def test_small_delta_is_certified_by_tilting():
    gaussian = OptimalStep("fixed", 1.0, 1.0, mu=0.05)
    for delta in (1e-7, 1e-12, 1e-20):
        exact = composed([(gaussian, 100)], delta)
        found = epsilon_optimal([(gaussian, 100)], delta, tolerance=0.02)
        assert exact * (1 - 2e-4) <= found.upper <= exact * 1.02


def test_gaussian_mechanism_composes_exactly():
    # Without subsampling the extremes are one and the same pair: nothing is gained or lost.
    step = OptimalStep("fixed", 1.0, 1.0, mu=0.25)
    found = epsilon_optimal([(step, 16)], 1e-6, tolerance=0.02)
    exact = composed([(step, 16)], 1e-6)
    assert found.lower <= exact <= found.upper <= 1.02 * exact


def test_monotone_in_every_parameter():
    base = {"rate": 0.2, "inclusion": 0.3, "mu": 0.6, "steps": 30, "delta": 1e-4}
    larger = {"rate": 0.25, "inclusion": 0.4, "mu": 0.7, "steps": 40, "delta": 1e-5}

    def upper(scheme, rate, inclusion, mu, steps, delta):
        step = OptimalStep(scheme, rate, inclusion, mu)
        return epsilon_optimal([(step, steps)], delta, tolerance=0.04, interval=0.03).upper

    for scheme in ("fixed", "poisson"):
        smallest = upper(scheme, **base)
        for name, value in larger.items():
            assert upper(scheme, **{**base, name: value}) >= smallest


def test_refinement_never_raises_the_bound():
    steps = [(OptimalStep("fixed", 0.3, 0.5, mu=0.8).bounds, 12)]
    uppers = []
    for interval, tolerance in ((0.08, 0.2), (0.04, 0.05), (0.02, 0.01)):
        grid = Grid(interval, round(6 / interval), round(8 / interval))
        uppers.append(iterate(steps, grid, tolerance=tolerance).values[:: round(0.08 / interval)])
    for coarse, fine in itertools.pairwise(uppers):
        assert np.all(fine <= coarse * (1 + 1e-9) + 1e-12)


def test_poisson_is_far_below_fixed_size():
    fixed = epsilon_optimal([(OptimalStep("fixed", 0.3, 0.4, 0.8), 40)], 1e-5, tolerance=0.03)
    poisson = epsilon_optimal([(OptimalStep("poisson", 0.3, 0.4, 0.8), 40)], 1e-5, tolerance=0.03)
    assert poisson.upper < 0.8 * fixed.lower


def test_phases():
    first, second = OptimalStep("fixed", 0.2, 0.5, 0.5), OptimalStep("fixed", 0.4, 0.5, 0.8)
    both = epsilon_optimal([(first, 20), (second, 10)], 1e-5, tolerance=0.03)
    alone = epsilon_optimal([(second, 10)], 1e-5, tolerance=0.03)
    heavy = epsilon_optimal([(second, 30)], 1e-5, tolerance=0.03)
    assert alone.lower < both.upper < heavy.upper
    assert both.lower < both.upper <= composed([(first, 20), (second, 10)], 1e-5) * 1.02
    same = epsilon_optimal([(first, 5), (first, 15)], 1e-5, tolerance=0.03)
    assert same.upper == epsilon_optimal([(first, 20)], 1e-5, tolerance=0.03).upper
    cut = epsilon_optimal([(first, 20), (second, 10)], 1e-5, tolerance=0.03, block_length=5)
    assert cut.blocks == ((5, 4), (5, 2))
    assert both.lower < cut.upper


def test_profile_of_blocks_at_every_epsilon():
    step = OptimalStep("fixed", 0.1, 0.5, mu=0.8)
    whole = optimal_profile([(step, 60)], tolerance=0.03)
    cut = optimal_profile([(step, 60)], tolerance=0.03, block_length=20)
    eps = np.array([-1.0, 0.0, 0.5, 1.5, 3.0])
    assert cut.lower(eps) is None
    assert np.all(cut.delta(eps) >= whole.delta(eps) * 0.97)
    positive = eps[eps >= 0]
    assert np.all(cut.delta(positive) >= whole.lower(positive))
    np.testing.assert_allclose(
        whole.delta(-1.0), 1 - math.exp(-1) + math.exp(-1) * whole.delta(1.0), rtol=1e-12
    )


def test_progress_and_time_budget():
    seen: list[float] = []
    step = OptimalStep("fixed", 0.01, 0.5, mu=0.5)
    found = epsilon_optimal(
        [(step, 2000)], 1e-5, tolerance=0.05, time_budget=0.5, progress=seen.append
    )
    assert found.block_length < 2000
    assert found.gap is None
    assert seen and all(0 <= f <= 1 for f in seen)


@pytest.mark.parametrize(
    "call",
    [
        lambda: OptimalStep("fixed", 0.0, 0.5, 1.0),
        lambda: OptimalStep("poisson", 0.5, 1.5, 1.0),
        lambda: OptimalStep("fixed", 0.5, 0.5, -1.0),
        lambda: OptimalStep("shuffle", 0.5, 0.5, 1.0),
        lambda: epsilon_optimal([], 1e-5),
        lambda: epsilon_optimal([(CITYSCAPES, 0)], 1e-5),
        lambda: epsilon_optimal([(CITYSCAPES, 1)], 1.0),
        lambda: epsilon_optimal([(CITYSCAPES, 1)], 1e-5, tolerance=0.0),
    ],
)
def test_bad_arguments_are_named(call):
    with pytest.raises(ValueError, match=r"must|one step"):
        call()
