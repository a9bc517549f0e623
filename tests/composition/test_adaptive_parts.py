"""The parts of optimal composition: each bound against a direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, optimize

from patchdp.composition.adaptive.attained import attain
from patchdp.composition.adaptive.cells import FORWARD, Cell, side_profile
from patchdp.composition.adaptive.cover import Cover
from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.laws import RELATIVE_ERROR, Law, isosceles_law, pair_law
from patchdp.composition.adaptive.phase import PARTS, Phase
from patchdp.composition.adaptive.planning import settings
from patchdp.composition.adaptive.powers import Powers, Sampler
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.composition.adaptive.tents import Tents
from patchdp.composition.adaptive.upper import (
    _HAT_OVER_SPLINE,
    WIDEST,
    _between,
    advance,
    first,
    majorant,
    nothing,
    schedule,
)
from patchdp.step import fixed_size_pair


def profile(law, eps):
    """`H` of a discrete law at losses `eps`."""
    p, q = law.masses * np.exp(0.5 * law.losses), law.masses * np.exp(-0.5 * law.losses)
    return np.array([np.maximum(p - math.exp(e) * q, 0).sum() for e in np.atleast_1d(eps)])


def spread_value(lattice, dots, at):
    """`e^{s/2} V` of dots that are spread by two hats: far dots exactly, near ones by a table."""
    h, n = lattice.interval, lattice.size
    z, w = np.polynomial.legendre.leggauss(24)
    table = np.linspace(-2 * h, 2 * h, 2001)
    near = np.zeros(len(table))
    for k in range(-2, 2):
        t = h * (k + 0.5 * (1 + z))
        reach = 0.5 * np.maximum(table[:, None] - t, 0)
        near += 2 * np.sinh(reach) @ (lattice.double_hat(t) * 0.5 * h * w)
    p, q = (np.append(0.0, np.cumsum(dots * np.exp(x * lattice.losses))) for x in (-0.5, 0.5))
    last = np.clip(np.floor(at / h).astype(int) - 2 + n + 1, 0, 2 * n + 1)
    result = np.exp(0.5 * at) * p[last] - np.exp(-0.5 * at) * q[last]
    for i in range(5):
        j = last + i
        inside = j <= 2 * n
        gap = at[inside] - lattice.losses[j[inside]]
        result[inside] += dots[j[inside]] * np.interp(gap, table, near, left=0.0)
    return result


@pytest.mark.parametrize(("rate", "mu"), [(1e-4, 1.0), (0.02, 0.5), (0.4, 2.0), (1.0, 0.3)])
def test_merged_laws_are_just_below_the_truth(rate, mu):
    pair = fixed_size_pair(rate=rate, mu=mu)
    law = pair_law(pair, 8.0)
    assert abs(law.log_transform(0.5)) < 1e-12 and abs(law.log_transform(-0.5)) < 1e-12
    eps = np.linspace(0, float(pair.loss(mu + 3)), 30)
    found, truth = profile(law, eps), pair.delta(eps)
    assert np.all(found <= truth * (1 + 1e-10))
    np.testing.assert_allclose(found, truth, rtol=1e-2)
    np.testing.assert_allclose(
        law.gain(-eps[1:]) * np.exp(-0.5 * eps[1:]),
        profile(law, -eps[1:]) - (1 - np.exp(-eps[1:])),
        atol=1e-12,
    )


def test_the_isosceles_law_is_symmetric_and_below_its_cell():
    step = OptimalStep("poisson", 0.3, 0.4, mu=1.0)
    w = step.weights
    law = isosceles_law(w.hit, w.miss, w.out, 1.0, 8.0)
    np.testing.assert_allclose(law.losses, -law.losses[::-1])
    assert abs(law.log_transform(0.5)) < 1e-10
    eps = np.array([0.0, 0.1, 0.5, 1.0])
    quarter = math.pi / 4
    bound = side_profile(w, 1.0, Cell(quarter, quarter, quarter, quarter), eps, fineness=0.02)
    assert np.all(profile(law, eps) <= bound)
    np.testing.assert_allclose(profile(law, eps), bound, rtol=2e-2)


def test_closing_keeps_the_left_and_is_symmetric():
    lattice = Lattice(0.05, 120)
    rng = np.random.default_rng(1)
    dots = rng.random(241) * np.exp(-np.square(lattice.losses)) * 0.05
    closed = lattice.close(dots, 1e-4)
    np.testing.assert_array_equal(closed[:120], dots[:120])
    values = lattice.values(closed, 1e-4)
    mirror = 1 - np.exp(-lattice.losses) * (1 - values[::-1])
    np.testing.assert_allclose(values, mirror, atol=1e-10)
    # Too much on the left: the chord over the smallest interval, nowhere below convex functions.
    heavy = 2.5 * dots
    closed = lattice.close(heavy, 1e-4)
    assert closed.min() >= 0
    np.testing.assert_allclose(closed, closed[::-1])
    values = lattice.values(closed, 1e-4)
    np.testing.assert_allclose(values, 1 - np.exp(-lattice.losses) * (1 - values[::-1]), atol=1e-10)
    kept = closed[:120] > 0
    outer = int(np.argmin(kept)) if not kept.all() else 119
    np.testing.assert_allclose(
        values[: outer - 1], lattice.values(heavy, 1e-4)[: outer - 1], rtol=1e-12
    )


@pytest.mark.parametrize("change", ["smooth", "scatter"])
def test_spreading_never_lowers_a_value(change):
    lattice = Lattice(0.05, 120)
    rng = np.random.default_rng(2)
    if change == "smooth":
        dots = rng.random(241) * 0.003
        spread = lattice.smooth(dots)
    else:
        at = np.unique(np.concatenate([np.arange(0, 241, 8), np.arange(100, 140)]))
        dots = np.zeros(241)
        dots[at] = rng.random(len(at)) * 0.003
        spread = lattice.scatter(dots[at], at)
    before, after = lattice.values(dots, 0.0), lattice.values(spread, 0.0)
    assert np.all(after >= before * (1 - 1e-13))
    inside = slice(16, -16)
    assert float(np.max(np.abs(after - before)[inside])) < 0.05 * float(before.max())


def test_a_hat_is_between_its_chord_and_a_little_less():
    # The proof of Statement 5a, number by number.
    x = np.linspace(0.0, 1.0, 4001)
    spline = 11 / 20 - x**2 / 2 + x**4 / 4 - x**5 / 12
    for h in np.concatenate([[1e-6], np.linspace(0.005, WIDEST, 100)]):
        c = 0.5 * h / math.sinh(0.5 * h)
        hat = np.sinh(0.5 * h * (1 - x)) / math.sinh(0.5 * h)
        assert c > 0.9896
        assert np.all(c * (1 - x) * (1 - 1e-14) <= hat) and np.all(hat <= (1 - x) * (1 + 1e-14))
        assert np.all(_HAT_OVER_SPLINE * c**3 * spline >= hat + 0.01)


@pytest.mark.parametrize("mu", [1.0, 2.0, 6.0])
def test_a_certain_hit_loses_no_digits_far_left(mu):
    # P(x) = Q(-x): far left next to nothing of Q is left in P, which a difference would lose.
    law = pair_law(fixed_size_pair(rate=1.0, mu=mu), top=8.5)
    x, width = mu, 0.03
    left = law.losses[1:200]
    assert np.all(np.isfinite(law.losses)) and np.all(np.diff(law.losses) > 0)
    edge = -0.03 * math.ceil((x + 8.5) / 0.03)
    assert left[0] == pytest.approx(2 * x * (edge + 0.5 * width), abs=0.02 * mu)


def test_a_lattice_never_is_wider_than_what_is_proved():
    step = OptimalStep("fixed", 1.0, 0.5, mu=2.0)
    found = settings([(step, 20)], math.log(1e-5), effort=1e-3)
    assert found.plan.lattice.interval <= WIDEST


def test_a_hat_is_at_most_twice_itself_spread_twice_more():
    for h in (0.001, 0.1, 0.5):
        lattice = Lattice(h, 10)
        for z in np.linspace(0, h, 21):
            inner = integrate.quad(
                lambda t, z=z, lattice=lattice: float(
                    lattice.hat(np.array(z - t)) * lattice.double_hat(np.array(t))
                ),
                -2 * h,
                2 * h,
                points=[-h, 0, h, z],
                limit=200,
            )[0]
            assert float(lattice.hat(np.array(z))) <= 2 * inner


@pytest.mark.parametrize("tilt", [0.7, 2.5])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_successors_are_known_up_to_their_error(k, tilt):
    lattice = Lattice(0.05, 60)
    rng = np.random.default_rng(7)
    law = Law(np.sort(rng.uniform(-0.2, 0.3, 6)), rng.dirichlet(np.ones(6)))
    powers = Powers(Sampler(lattice, tilt), law)
    found, error = powers.successor(k)
    losses, masses = np.zeros(1), np.ones(1)
    for _ in range(k):
        losses = (losses[:, None] - law.losses).ravel()
        masses = (masses[:, None] * law.masses).ravel()
    # Triple hats, by convolving the hat with the double hat on a fine grid.
    h = lattice.interval
    t, weight = np.polynomial.legendre.leggauss(16)
    for j in (-20, -3, -1, 0, 1, 2, 7):
        z = h * j - losses
        near = np.flatnonzero(np.abs(z) < 3 * h)
        total = 0.0
        for piece in range(-2, 2):
            at = h * (piece + 0.5 * (1 + t))
            dense = lattice.double_hat(at) * 0.5 * h * weight
            # The integrand has a kink where the hat has: halves around it.
            total += float(masses[near] @ (lattice.hat(z[near, None] - at) @ dense))
        direct = total * math.exp(-tilt * h * j)
        scaled = found[j + 120] * math.exp(k * powers.log_mass)
        assert scaled == pytest.approx(direct, rel=3e-2, abs=1e-6 * math.exp(abs(tilt) * h * 3))
    assert 0 < error < 1e-6
    assert error > RELATIVE_ERROR


def test_majorants_are_above_and_convex():
    rng = np.random.default_rng(3)
    losses = np.linspace(-4, 4, 81)
    for _ in range(20):
        gain = np.maximum(rng.normal(size=81), 0) * np.exp(-0.5 * np.abs(losses))
        dots, constant = majorant(gain, losses, 1e-6)
        assert dots.min() >= 0 and constant >= 1e-6
        kink = np.maximum(1 - np.exp(losses[:, None].T - losses[:, None]), 0)
        reached = constant + kink @ (dots * np.exp(-0.5 * losses))
        assert np.all(reached >= gain * np.exp(-0.5 * losses) * (1 - 1e-12))


def _phase(step, steps, delta=1e-4, effort=0.15, base="f"):
    chosen = settings([(step, steps)], math.log(delta), effort)
    return Phase(step, chosen.plan, base)


@pytest.mark.parametrize(
    ("step", "base"),
    [
        (OptimalStep("fixed", 1.0, 0.2, mu=0.5), "f"),
        (OptimalStep("poisson", 0.3, 0.4, mu=0.8), "i"),
    ],
)
def test_gains_of_rivals_between_the_points_stay_below_what_is_charged(step, base):
    phase = _phase(step, 30, base=base)
    lattice, s = phase.plan.lattice, phase.sampler
    state, n = first(phase), lattice.size
    behind = [nothing(phase), state]
    for k in (1, 1, 1, 1):
        state, _ = advance(phase, None, state, k, behind, 0.1)
        behind.append(state)
    kernel = phase.kernel(2)
    between, _ = _between(phase, state, kernel)
    at = lattice.losses[n - 40 : n + 40]
    law0 = phase.laws[phase.base]
    for r, name in enumerate(phase.rivals):
        rival = phase.laws[name]
        found = s.gather(kernel.gains[0][r][0] * state.spread) / s.decay
        for part in (0.0, 0.1, 0.37, 0.5, 0.8):
            place = at + part * lattice.interval
            value = np.zeros(len(place))
            for law, sign in ((rival, 1.0), (law0, -1.0)):
                chosen = law.masses > 1e-9
                moved = place[:, None] + law.losses[chosen]
                flat = spread_value(lattice, state.dots, moved.ravel()).reshape(moved.shape)
                value += sign * (flat @ law.masses[chosen])
            if part == 0.0:
                np.testing.assert_allclose(found[n - 40 : n + 40], value, atol=2e-6)
            fine = np.stack(
                [s.gather(spectrum * state.spread) / s.decay for spectrum in kernel.gains[0][r]]
            )
            low = int(part * PARTS)
            left = fine[low, n - 40 : n + 40]
            right = fine[low + 1, n - 40 : n + 40] if low + 1 < PARTS else fine[0, n - 39 : n + 41]
            charged = np.maximum(left, right) + between[0][n - 40 : n + 40]
            assert np.all(value <= charged + 2e-6)


def test_the_cover_bounds_every_triangle_at_every_loss():
    step = OptimalStep("fixed", 1.0, 0.3, mu=0.7)
    phase = _phase(step, 20)
    lattice, n = phase.plan.lattice, phase.plan.lattice.size
    cover = Cover(phase)
    state = first(phase)
    state, _ = advance(phase, None, state, 1, [nothing(phase), state], 0.1)
    view = cover.view(state.dots, False, 0.1)
    excess, _ = cover.excess(view)
    shares = np.unique(cover._shares)
    probes = lattice.losses[view.probes]
    tents: Tents = phase.tents
    knots = tents.knots
    right = knots[len(knots) // 2 :]
    base, rival = phase.dot_gains["f"], phase.dot_gains["b"]
    for a in (0.2, 0.7, 1.2, math.pi / 2):
        cell = Cell(a, a, math.pi / 2 - a, math.pi / 2 - a)
        sides = [
            side_profile(step.weights, 0.7, c, right, fineness=0.05)
            for c in (cell.mirrored(), cell)
        ]
        decay = np.exp(-0.5 * right)
        gain = np.concatenate([(sides[0] * decay)[:0:-1], sides[1] * decay]) * (1 - 5e-3)
        here = np.arange(n - 60, n + 60)
        windows = tents.windows(state.dots, here)
        wanted = (gain @ tents.matrix) @ windows - base @ windows
        offered = np.outer(shares, rival @ windows - base @ windows)
        allowed = np.interp(lattice.losses[here], probes, excess)
        # Some combination leaves no more than the cover says, at every point.
        assert np.any(np.all(wanted - offered <= allowed * 1.2 + 1e-9, axis=1))


H, SIZE = 0.1, 260
GRID = H * np.arange(-SIZE, SIZE + 1)


def lattice_pair(rng):
    """A random pair whose losses lie on the lattice: masses under P at `-3 h .. 3 h`."""
    losses = H * np.arange(-3, 4)
    k = rng.random(7) ** 3 + 1e-3

    def balance(b):
        tilted = k * np.exp(b * losses)
        return float(np.log(tilted @ np.exp(0.5 * losses)) - np.log(tilted @ np.exp(-0.5 * losses)))

    k = k * np.exp(optimize.brentq(balance, -300, 300) * losses)
    k /= k @ np.exp(0.5 * losses)
    return k * np.exp(0.5 * losses)


def apply(p, values):
    """`E_P V(s + L)`; beyond the grid V is 0 on the left and 1 - e^-s on the right."""
    longer = np.concatenate([np.zeros(3), values, -np.expm1(-GRID[-1] - H * np.arange(1, 4))])
    return sum(p[i] * longer[i : i + len(values)] for i in range(7))


@pytest.mark.parametrize("seed", range(6))
def test_the_block_theorem_and_the_lambda_lemma_on_exact_programmes(seed):
    """Statements 3 and 4 of docs/theory/adaptive.md, with everything exact."""
    rng = np.random.default_rng(seed)
    family = [lattice_pair(rng) for _ in range(4)]
    # The mirror image: Q-masses at minus the loss.
    family += [(p * np.exp(-H * np.arange(-3, 4)))[::-1] for p in family]
    base, rival = family[0], family[4]
    terminal = np.maximum(-np.expm1(-GRID), 0.0)
    known = [terminal]
    for _ in range(24):
        known.append(np.max([apply(p, known[-1]) for p in family], axis=0))
    start, k, splits = known[16], 8, (0, 1, 3, 6)
    bound, moved = start, [start]
    for _ in range(k):
        moved.append(apply(base, moved[-1]))
    bound = moved[k].copy()
    # The lemma: what no combination offers at the start is carried on.
    rest = np.zeros(len(GRID))
    for p in family:
        gain, offer = apply(p, start) - moved[1], apply(rival, start) - moved[1]
        left = min((gain - x * offer for x in np.linspace(0, 1, 5)), key=lambda y: y.max())
        rest = np.maximum(rest, left)
        carried = np.maximum(left, 0)
        for j in range(1, 4):
            carried = sum(base[i] * np.pad(carried, 3)[i : i + len(GRID)] for i in range(7))
            later = apply(p, moved[j]) - moved[j + 1]
            allowed = np.maximum(apply(rival, moved[j]) - moved[j + 1], 0) + carried
            assert np.all((later <= allowed + 1e-13)[60:-60])
    parts = [(0, k, rest)]
    for j, stop in zip(splits, (*splits[1:], k), strict=True):
        parts.append((j, stop, np.maximum(apply(rival, moved[j]) - moved[j + 1], 0)))
    for j, stop, gain in parts:
        dots, constant = majorant(gain * np.exp(0.5 * GRID), GRID, 0.0)
        a = dots * np.exp(-0.5 * GRID)
        value = known[k - 1 - j]
        shifted = np.zeros(len(GRID))
        for i in np.flatnonzero(a > 1e-16):
            at = np.arange(len(GRID)) - i + SIZE
            inside = np.clip(at, 0, len(GRID) - 1)
            term = np.where(
                at < 0, 0.0, np.where(at > 2 * SIZE, -np.expm1(-H * (at - SIZE)), value[inside])
            )
            shifted += a[i] * term
        bound += (stop - j) * (constant + shifted)
    seen = slice(60, -60)
    assert np.all(known[16 + k][seen] <= bound[seen] * (1 + 1e-12) + 1e-13)
    # Without the corrections it would not be a bound.
    assert np.any(known[16 + k][seen] > moved[k][seen] * (1 + 1e-9))


def test_blocks_cover_all_steps_and_grow():
    for count in (1, 2, 17, 1500, 10**9):
        lengths = list(schedule(count, 0.2, 1, early=count / 64))
        assert sum(lengths) == count
        assert len(lengths) < 40 + 12 * math.log2(count)
        done = 1
        for k in lengths:
            assert k & (k - 1) == 0 and (k == 1 or k <= 0.7 * done)
            done += k


@pytest.mark.parametrize(
    ("rate", "mu", "tilt"), [(0.3, 0.05, 30.0), (0.02, 0.5, 1.5), (0.6, 1.5, 1.5), (1.0, 0.3, 3.0)]
)
def test_what_is_attained_in_one_step_is_below_the_closed_form(rate, mu, tilt):
    pair = fixed_size_pair(rate=rate, mu=mu)
    law = pair_law(pair, 8.0)
    top = float(pair.loss(mu + 5))
    found = attain([(law, 1)], Lattice(top / 1500, 1500), tilt)
    eps = np.linspace(0, 0.9 * top, 200)
    truth = pair.delta(eps)
    assert np.all(found.delta(eps) <= truth * (1 + 1e-12))
    assert float(found.delta(np.zeros(1))[0]) >= 0.8 * float(truth[0])


def test_the_forward_triangle_is_the_largest():
    losses = np.array([0.0, 0.1, 1.0])
    step = OptimalStep("fixed", 1.0, 0.4, mu=1.0)
    bound = side_profile(step.weights, 1.0, FORWARD, losses, fineness=0.02)
    assert np.all(bound >= step.pair.delta(losses) * (1 - 1e-9))
