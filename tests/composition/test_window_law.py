"""Every bound that the parts of the exact engine add up, one by one, against what it bounds.

The reference is another quadrature (24 nodes on narrow panels) in 80-bit floats, with windows and
nodes from 40 digits; complex integrands are compared with their own values off the axis.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from patchdp.composition import window_law
from patchdp.composition.bands import Bands
from patchdp.composition.loss_law import NODES_PER_PANEL, gauss_nodes, gauss_weights
from patchdp.composition.parts import AtLeastOne, Exactly, Level, Tail
from patchdp.composition.strip import SlopeBound, turning
from patchdp.composition.window_law import WindowedLaw, WindowNodes
from patchdp.step import MixturePair, StepProfile, fixed_size_pair, poisson_pair

LONG = np.longdouble


def _step(*pairs: MixturePair) -> StepProfile:
    share = 1.0 / len(pairs)
    return StepProfile(tuple((share, pair) for pair in pairs), attainable=len(pairs) == 1)


def _long(value: mpmath.mpf) -> np.longdouble:
    high = float(value)
    return LONG(high) + LONG(float(value - high))


def _from_long(value: np.longdouble) -> mpmath.mpf:
    high = float(value)
    return mpmath.mpf(high) + mpmath.mpf(float(value - LONG(high)))


@cache
def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre with 24 nodes, refined from double precision by Newton's method."""
    nodes, weights = [], []
    with mpmath.workdps(40):
        for start in np.polynomial.legendre.leggauss(24)[0]:
            x = mpmath.mpf(start)
            for _ in range(3):
                p, q = mpmath.legendre(24, x), mpmath.legendre(23, x)
                slope = 24 * (q - x * p) / (1 - x * x)
                x -= p / slope
            nodes.append(_long(x))
            weights.append(_long(2 / ((1 - x * x) * slope**2)))
    return np.array(nodes), np.array(weights)


class Reference:
    """`P`- and `Q`-masses, losses and windows of a law at many more nodes, in 80-bit floats."""

    def __init__(
        self, nodes: WindowNodes, highest: float, *, kinks: tuple[float, ...] = ()
    ) -> None:
        nodes24, weights24 = _rule()
        self.folded = nodes.folded
        columns = []
        for piece in nodes.pieces:
            pair, end = piece.pair, piece.end
            start = 0.0 if self.folded else -14.0
            top = float(pair.loss(end))
            grids = [np.arange(start, end, min(0.5, 0.5 / piece.mu)), np.array([0.0, end])]
            grids.append(pair.position(np.linspace(0, top, 2 + int(top * highest / 8.0))[1:-1]))
            for windows in (piece.above, piece.window):
                for c, s in zip(windows.centres, windows.widths, strict=True):
                    grids.append(c + s * np.arange(-9.0, 25.0, 3.0))
            grids.append(pair.position(np.array([k for k in kinks if k > 0])))
            edges = np.unique(np.concatenate(grids))
            edges = edges[(edges >= start) & (edges <= end)].astype(LONG)
            half = (edges[1:] - edges[:-1]) / 2
            x = (((edges[1:] + edges[:-1]) / 2)[:, None] + half[:, None] * nodes24).ravel()
            size = (half[:, None] * weights24).ravel() * LONG(piece.weight)
            columns.append((x, *self._law(pair, x, size), *self._windows(piece, x)))
        self.x, self.loss, self.p, self.q, self.left, self.inside = (
            np.concatenate(c) for c in zip(*columns, strict=True)
        )

    @staticmethod
    def _law(pair: MixturePair, x: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        q = sum(
            LONG(w) * np.exp(LONG(m) * x - LONG(m) ** 2 / 2)
            for w, m in zip(pair.q_weights, pair.q_means, strict=True)
        )
        gap = sum(
            2 * LONG(g) * np.exp(-(LONG(s) ** 2) / 2) * np.sinh(LONG(s) * x)
            for g, s in zip(pair.gains, pair.shifts, strict=True)
        )
        density = size * np.exp(-x * x / 2) / np.sqrt(2 * LONG(np.pi))
        return np.log1p(gap / q), density * (q + gap), density * q

    @staticmethod
    def _windows(piece: object, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def tail(c: float, s: float, sign: int) -> np.ndarray:
            values = np.empty(len(x), dtype=LONG)
            for i, at in enumerate(x):
                z = sign * (_from_long(at) - mpmath.mpf(c)) / mpmath.mpf(s)
                values[i] = 1 if z < -9.5 else 0 if z > 60 else _long(mpmath.erfc(z / root) / 2)
            return values

        with mpmath.workdps(30):
            root = mpmath.sqrt(2)
            left = np.ones(len(x), dtype=LONG)
            for c, s in zip(piece.above.centres, piece.above.widths, strict=True):
                left = left * tail(c, s, 1)
            if not piece.window.centres:
                return left, np.zeros(len(x), dtype=LONG)
            return left, left * tail(piece.window.centres[0], piece.window.widths[0], -1)

    def _both(self, weight: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        total = np.sum(weight * self.p * up, axis=-1)
        return total + np.sum(weight * self.q * down, axis=-1) if self.folded else total

    def excess(self, t: float, y: float) -> complex:
        """`E[v (e^{zL} - 1)]`, in two parts of which none cancels much, `z = t + iy`."""
        up, down = self._tilts(t, y)
        if y == 0:
            up, down = np.expm1(LONG(t) * self.loss), np.expm1(-LONG(t) * self.loss)
            return self._both(self.left, up, down)
        return self._both(self.left, up - 1, down - 1)

    def wave(self, t: float, y: float) -> complex:
        """`N(t + iy) - N(t)`."""
        angle = LONG(y) * self.loss
        turn = -2 * np.sin(angle / 2) ** 2 + 1j * np.sin(angle)
        up, down = np.exp(LONG(t) * self.loss), np.exp(-LONG(t) * self.loss)
        return self._both(self.left, up * turn, down * np.conj(turn))

    def band(self, t: float, y: float) -> complex:
        """`M(t + iy)`."""
        return self._both(self.inside, *self._tilts(t, y))

    def _tilts(self, t: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        z = LONG(t) + 1j * LONG(y)
        return np.exp(z * self.loss), np.exp(-z * self.loss)

    def logs(self, t: float, lost: np.longdouble) -> tuple[float, float]:
        """`log N(t)` and `log M(t)` where `e^{tL}` may overflow."""
        up, down = np.log(self.p) + LONG(t) * self.loss, np.log(self.q) - LONG(t) * self.loss
        top = max(float(np.max(np.where(self.left > 0, up, -np.inf))), 0.0)
        if top == 0:
            n = np.log1p(self.excess(t, 0.0) - lost)
            return float(n), float(np.log(self.band(t, 0.0).real))
        up, down = np.exp(up - top), np.exp(down - top) if self.folded else 0 * down
        stays = (1 - lost - self._both(self.left, 1, 1)) * np.exp(-LONG(top))
        n = stays + np.sum(self.left * (up + down))
        return top + float(np.log(n)), top + float(np.log(np.sum(self.inside * (up + down))))

    def lost(self, beyond: float) -> np.longdouble:
        """The mass that the windows, or the end of the nodes, took."""
        one = np.ones_like(self.loss)
        return self._both(1 - self.left, one, one) + LONG(beyond)

    def delta(self, weight: np.ndarray, epsilon: float) -> float:
        """`integral (1 - e^{epsilon - L})_+` of one step, each position weighed."""
        up = np.maximum(-np.expm1(epsilon - self.loss), 0)
        return float(self._both(weight, up, np.maximum(-np.expm1(epsilon + self.loss), 0)))

    def mean(self) -> float:
        """Mean of the positive losses that are left."""
        return float(np.sum((self.left * self.p * self.loss)[self.x > 0]))


@dataclass(frozen=True)
class Case:
    """A ladder of windows on a law, and a tilt."""

    pairs: tuple[MixturePair, ...]
    side: str
    places: tuple[float, ...]
    t: float
    reach: float = 14.0
    log_rest: float = -70.0

    def nodes(self, highest: float) -> WindowNodes:
        law = WindowedLaw.whole(_step(*self.pairs), self.side, reach=self.reach)
        for place in self.places:
            law = law.below(place)
        return law.nodes(highest=highest, log_rest=self.log_rest)


RARE = fixed_size_pair(rate=1e-4, mu=0.5)
OFTEN = fixed_size_pair(rate=0.3, mu=0.7)
QUIET = fixed_size_pair(rate=1e-6, mu=0.02)
LOUD = fixed_size_pair(rate=1e-2, mu=4.0)
POISSON = poisson_pair(rate=0.02, inclusion=0.1, mu=1.0)
CASES = {
    "rare": Case((RARE,), "symmetric", (0.5, 0.05), 40.0),
    "often, no window above": Case((OFTEN,), "symmetric", (1.0,), 4.0),
    "quiet": Case((QUIET,), "symmetric", (3e-7, 5e-8), 3e7),
    "loud": Case((LOUD,), "symmetric", (20.0, 1.0), 2.0, reach=16.0),
    "two parts": Case((POISSON, RARE), "symmetric", (0.2, 0.05), 25.0),
    "forward": Case((POISSON,), "forward", (1.0, 0.2), 9.0),
    "forward, often": Case((OFTEN,), "forward", (1.0,), 3.0),
}


@cache
def _reference(name: str) -> Reference:
    case = CASES[name]
    return Reference(case.nodes(40 / case.places[-1]), 60 / case.places[-1])


def _beyond(nodes: WindowNodes) -> float:
    """Mass beyond the nodes, in 30 digits."""
    with mpmath.workdps(30):
        total = mpmath.mpf(0)
        for piece in nodes.pieces:
            laws = [(piece.pair.p_weights, piece.pair.p_means)]
            if nodes.folded:
                laws.append((piece.pair.q_weights, piece.pair.q_means))
            for weights, means in laws:
                for w, m in zip(weights, means, strict=True):
                    total += piece.weight * w * mpmath.ncdf(m - mpmath.mpf(piece.end))
        return float(total)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [1.0, 0.15])
def test_transforms_are_known_as_well_as_claimed(name, share):
    # With a small share of the frequencies the nodes are too few: then quadrature errs most.
    case, truth = CASES[name], _reference(name)
    place = case.places[-1]
    nodes = case.nodes(40 * share / place)
    log_n, log_m = (float(v[0]) for v in nodes.log_moments(np.array([case.t])))
    y = np.array([0.02, 0.5, 3.0, 11.0, 37.0]) / place
    at_zero, of_n, of_m = nodes.errors(case.t, log_n, y)
    lost = truth.lost(_beyond(nodes))
    assert abs(float(nodes.lost - lost)) <= at_zero * math.exp(log_n) + 1e-16 * nodes.lost
    true_n = 1 - lost + truth.excess(case.t, 0.0)
    scale = LONG(math.exp(log_n))  # the unit of all that follows
    assert abs(float(np.log(true_n) - LONG(log_n))) <= 1.001 * at_zero + 3e-16 * abs(log_n)
    drop, turn, band = nodes.on_line(case.t, log_n, y, np.zeros(1))
    assert abs(math.expm1(log_m - float(np.log(truth.band(case.t, 0.0).real)))) * abs(
        float(truth.band(case.t, 0.0).real / scale)
    ) <= of_m[0] + 1e-15 * abs(band[0])
    for i, frequency in enumerate(y):
        wave = truth.wave(case.t, float(frequency)) / scale
        assert abs(complex(wave + LONG(drop[i]) - 1j * LONG(turn[i]))) <= of_n[i]
        true_band = truth.band(case.t, float(frequency)) / scale
        assert abs(complex(true_band - band[i])) <= of_m[i]


@pytest.mark.parametrize("name", CASES)
def test_a_band_stays_below_the_bound_that_ends_its_line(name):
    case, truth = CASES[name], _reference(name)
    nodes = case.nodes(40 / case.places[-1])
    log_n = float(nodes.log_moments(np.array([case.t]))[0][0])
    y = np.array([0.5, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 55.0]) / case.places[-1]
    bound = nodes.oscillation(case.t, log_n, y)
    size = [abs(complex(truth.band(case.t, float(v)))) / math.exp(log_n) for v in y]
    assert np.all(np.array(size) <= bound + 1e-16)  # the reference's own rounding
    assert np.all(np.diff(bound) <= 0)
    assert bound[-1] < 1e-2 * bound[0]


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_decays_at_least_as_fast_as_claimed(name):
    case, truth = CASES[name], _reference(name)
    nodes = case.nodes(40 / case.places[-1])
    lost, ratios = truth.lost(_beyond(nodes)), []
    for t in (1e-3 / case.places[-1], case.t):
        log_n = float(nodes.log_moments(np.array([t]))[0][0])
        y = np.geomspace(0.01, 50.0, 12) / case.places[-1]
        bound = nodes.drop(t, log_n, y)
        whole = 1 - lost + truth.excess(t, 0.0)
        size = [1 - abs(whole + truth.wave(t, float(v))) / whole.real for v in y]
        assert np.all(bound <= np.array(size, dtype=float) * (1 + 1e-9) + 1e-17)
        assert np.all(np.diff(bound) >= 0)
        ratios.append((bound / np.array(size, dtype=float))[[0, -1]])
    assert np.min(np.max(ratios, axis=0)) > 0.005
    assert name in ("loud", "two parts") or np.min(np.max(ratios, axis=0)) > 0.1


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("power", [0.1, 40.0])
def test_steps_below_the_density_of_the_loss(name, power):
    nodes, place = CASES[name].nodes(1 / CASES[name].places[-1]), CASES[name].places[-1]
    t, h, closest = power / place, 1e-6, []
    for number, piece in enumerate(nodes.pieces):
        log_n = float(nodes.log_moments(np.array([t]))[0][0])
        sides = nodes._steps(number, t, log_n)
        for sign, (steps, ends) in zip((1, -1), sides, strict=True):
            starts = np.append(0.0, ends[:-1])
            for share in (1e-3, 0.3, 0.7, 0.999):
                x = starts + share * (ends - starts)
                log_q = piece.pair.log_q(x) + math.log(piece.weight) + piece.above.log_left(x)
                slope = (piece.pair.loss(x + h) - piece.pair.loss(x - h)) / (2 * h)
                loss = piece.pair.loss(x)
                if nodes.folded:  # of L under P, or of -L under Q
                    log_p = log_q + (loss if sign > 0 else 0.0) + sign * t * loss
                else:
                    log_p = log_q + (1 + t) * loss
                with np.errstate(divide="ignore"):
                    gap = log_p - np.log(slope) - np.log(steps) - log_n
                seen = (np.abs(loss) > 1e-3 * place) & (steps > 1e-300)  # a slope by differences
                assert np.all(gap[seen] > -1e-6)
                closest.append(np.min(gap[seen], initial=9.0))
    assert np.min(closest) < 0.35


def test_uniform_laws_decay_as_claimed(monkeypatch):
    nodes = CASES["rare"].nodes(1.0)
    monkeypatch.setattr(nodes, "_uniform", lambda t, log_n: (np.array([1.0]), np.array([1.0])))
    y: np.ndarray = np.linspace(1e-3, 60.0, 20_000)
    sinc = np.abs(np.sinc(0.5 * y / np.pi))
    further = np.maximum.accumulate(sinc[::-1])[::-1]
    drop = nodes.drop(0.0, 0.0, y)
    assert np.all(drop <= 1 - further)
    assert np.all(drop >= 0.5 * (1 - further))
    assert drop[0] > 0.99 * (1 - further[0])


@pytest.mark.parametrize("name", CASES)
def test_moments_at_tilts_that_the_nodes_do_not_resolve(name):
    case, truth = CASES[name], _reference(name)
    nodes, errors = case.nodes(1 / case.places[-1]), []
    for t in (4 * case.t, 64 * case.t, 256 * case.t):
        log_n = float(nodes.log_moments(np.array([t]))[0][0])
        at_zero, _, _ = nodes.errors(t, log_n, np.array([1 / case.places[-1]]))
        true, _ = truth.logs(t, truth.lost(_beyond(nodes)))
        errors.append(abs(math.expm1(true - log_n)))
        assert errors[-1] <= at_zero + 3e-16 * abs(log_n)
    assert errors[-1] > 1e-6


def test_tails_that_almost_cancel():
    # Beyond the nodes `P` and `Q` differ by a billionth of their size, and a large tilt by that.
    rate, hit = 0.25856284788177164, 1.5893545345807653e-08
    case = Case(
        (poisson_pair(rate=rate, inclusion=hit / rate, mu=0.0630276898595404),),
        "forward",
        (1.19e-8, 7.44e-10, 1.86e-10),
        7.94e6,
        reach=10.06,
        log_rest=-60.0,
    )
    nodes = case.nodes(40 / case.places[-1])
    log_n = float(nodes.log_moments(np.array([case.t]))[0][0])
    at_zero, _, _ = nodes.errors(case.t, log_n, np.array([1 / case.places[-1]]))
    truth = Reference(nodes, 0.0)
    true, _ = truth.logs(case.t, truth.lost(_beyond(nodes)))
    assert abs(math.expm1(true - log_n)) <= at_zero


def test_a_steep_tilt_of_the_forward_law_has_an_error_bound():
    # `e^{-tL}` overflows left of 0, where `e^{tL}` is nothing.
    case, t = CASES["forward, often"], 4000.0
    nodes = case.nodes(1000.0)
    log_n = float(nodes.log_moments(np.array([t]))[0][0])
    at_zero, of_n, of_m = nodes.errors(t, log_n, np.array([1.0]))
    assert np.isfinite([at_zero, of_n[0], of_m[0]]).all()


@pytest.mark.parametrize("side", ["symmetric", "forward"])
def test_the_end_of_the_nodes_is_in_the_bound_that_ends_a_line(side):
    # Nodes that end within the band: its transform falls like 1/y only.
    place, t = 0.3, 3.0
    law = WindowedLaw.whole(_step(OFTEN), side, reach=14.0).below(2.0).below(place)
    nodes = law.nodes(highest=60 / place, log_rest=-3.0, margin=0.0)
    truth = Reference(nodes, 400 / place)
    log_n = float(nodes.log_moments(np.array([t]))[0][0])
    y = np.array([50.0, 150.0, 400.0]) / place
    size = [abs(complex(truth.band(t, float(v)))) / math.exp(log_n) for v in y]
    bound = nodes.oscillation(t, log_n, y)
    assert np.all(np.array(size) <= bound)
    assert min(size) > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_what_the_ends_and_the_mean_leave(name):
    case, truth = CASES[name], _reference(name)
    nodes = case.nodes(40 / case.places[-1])
    mean = truth.mean()
    assert mean <= nodes.mean() <= 1.5 * mean
    left = max(float(np.exp(p.above.log_left(np.array([p.end]))[0])) for p in nodes.pieces)
    assert _beyond(nodes) * left <= nodes.dropped <= 1.02 * _beyond(nodes) * left + 1e-300


PLANS = {
    "one": ([(_step(RARE), 1)], "symmetric", 0.1),
    "one, forward": ([(_step(POISSON), 1)], "forward", 0.5),
    "at zero": ([(_step(POISSON), 1)], "symmetric", 0.0),
    "some": ([(_step(RARE), 7)], "symmetric", 0.3),
    "two phases": ([(_step(POISSON), 2), (_step(LOUD), 1)], "symmetric", 1.0),
    "two parts": ([(_step(POISSON, RARE), 2)], "symmetric", 0.2),
    "many": ([(_step(RARE), 10**6)], "symmetric", 2.0),
}


@cache
def _inverted(name: str) -> Bands:
    phases, side, epsilon = PLANS[name]
    return Bands(phases, epsilon, side)


def _main_part(inverted: Bands, epsilon: float):
    parts = [band for band in inverted.parts if band.counts_for_something]
    parts = [band for band in parts if isinstance(band, AtLeastOne)]
    return max(parts, key=lambda band: band.bounds(epsilon)[1] * math.exp(band.top(epsilon)))


@pytest.mark.parametrize("name", PLANS)
def test_moments_that_bound_the_aliases(name):
    band = _main_part(_inverted(name), PLANS[name][2])
    nodes_of = band.levels[0].nodes
    truths = [Reference(nodes, 0.0) for nodes in nodes_of]
    assert band._sides[0][0] > band.t > band._sides[1][0]
    excess = []
    for tilt, log_mgf in band._sides:
        full = fall = share = 0.0
        for truth, nodes, count in zip(truths, nodes_of, band.counts, strict=True):
            log_n, log_m = truth.logs(tilt, truth.lost(_beyond(nodes)))
            full += count * log_n
            share += count * math.exp(log_m - log_n)
            fall += count * math.log1p(-math.exp(min(log_m - log_n, -1e-15)))
        true = full + math.log(-math.expm1(fall))
        assert true - 1e-14 * abs(full) <= log_mgf
        excess.append(log_mgf - full - math.log(min(share, 1.0)))
    assert min(excess) < 1e-6


@pytest.mark.parametrize("name", ["one", "one, forward", "at zero"])
def test_aliases_and_the_end_of_a_line_of_one_step(name):
    _, _, epsilon = PLANS[name]
    band = _main_part(_inverted(name), epsilon)
    (nodes,), period, t = band.levels[0].nodes, band._period, band.t
    shifts = [k * period for k in (-3, -2, -1, 1, 2, 3)]
    kinks = tuple(abs(epsilon + v) for v in (0.0, *shifts))
    truth = Reference(nodes, 1.2 * float(band._y[-1]), kinks=kinks)
    unit = math.exp(band.top(epsilon))
    terms = [truth.delta(truth.inside, epsilon + v) for v in shifts]
    aliases = [term * math.exp(v * t) / unit for v, term in zip(shifts, terms, strict=True)]
    claimed = []
    for tilt, log_mgf in band._sides:
        peak = tilt * math.log(tilt) - (1 + tilt) * math.log1p(tilt)
        gap = abs(tilt - t) * period
        size = peak + log_mgf - tilt * epsilon - band.top(epsilon) - gap
        claimed.append(math.exp(size) / -math.expm1(-gap))
    assert sum(aliases[3:]) <= claimed[0] * (1 + 1e-12)
    assert sum(aliases[:3]) <= claimed[1] * (1 + 1e-12)
    # the line's value contains the aliases: the lower bound must subtract them
    lower, upper = band.bounds(epsilon)
    own = truth.delta(truth.inside, epsilon) / unit
    assert lower <= own <= upper * (1 + 1e-15)
    step, last = float(band._y[1]), float(band._y[-1])
    y = last + step * np.arange(1, 40)
    scale = math.exp(float(band._log_n[0]))
    size = np.array([abs(complex(truth.band(t, float(v)))) / scale for v in y])
    beyond = 2 / period * np.sum(size / np.hypot(t, y) / np.hypot(1 + t, y))
    assert beyond <= band._tail * (1 + 1e-9) + 1e-17


def _bounds(level: Level, epsilon: float) -> list[Tail]:
    level.whole.aim(epsilon)
    return level.whole._bounds_only(epsilon)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.03, 0.3])
@pytest.mark.parametrize("pair", [RARE, POISSON, OFTEN])
def test_what_is_left_below_all_windows(pair, epsilon):
    place = 0.05
    law = WindowedLaw.whole(_step(pair), "symmetric", reach=14.0)
    law = law.below(1.0).below(0.2).below(place)
    once, twice = (Level([law], np.array([c]), place, 64 / place, -70.0) for c in (1.0, 2.0))
    (nodes,) = once.nodes
    truth = Reference(nodes, 0.0, kinks=(epsilon,))
    rests = _bounds(once, epsilon)
    alone = truth.delta(truth.left, epsilon)
    # each of them, and at any other epsilon too
    for other, rest in itertools.product((epsilon, 0.0, 0.01, 0.1), rests):
        assert truth.delta(truth.left, other) <= math.exp(rest.log_bound(other))
    # two steps by the sum over the loss of the first
    mass = 1 - truth.lost(_beyond(nodes)) - np.sum(truth.left * (truth.p + truth.q))
    grid = np.linspace(epsilon - 0.5, epsilon + 0.5, 201)
    single = np.array([truth.delta(truth.left, e) if e > 0 else 0.0 for e in grid])
    up = np.interp(epsilon - truth.loss.astype(float), grid, single, left=0, right=0)
    keep = (truth.loss < epsilon) & (truth.loss < 0.5)
    two = float(np.sum((truth.left * truth.p).astype(float)[keep] * up[keep]))
    two += 2 * float(mass) * alone
    for rest in _bounds(twice, epsilon):
        assert two * 0.98 <= math.exp(rest.log_bound(epsilon))


@pytest.fixture(scope="module")
def lines():
    """Sampled main parts, with one and with many steps."""
    plans = [
        ([(_step(RARE), 1)], 0.1),
        ([(_step(OFTEN), 2)], 0.5),
        ([(_step(RARE), 3000)], 0.5),
        ([(_step(POISSON), 40), (_step(LOUD), 2)], 1.0),
    ]
    parts = [_main_part(Bands(p, e, "symmetric"), e) for p, e in plans]
    return [(part, float(part._y[-1] - 2 * part._y[1])) for part in parts]


def _sampled(line, of_n: float, of_m: float, phase: float, other: float):
    """The integrand, with transforms off by `of_n`, `of_m`; its weights; the claimed bound."""
    band, last = line
    on_line = WindowNodes.on_line

    def disturbed(self, t, log_n, coarse, fine):
        drop, turn, wave = on_line(self, t, log_n, coarse, fine)
        away = np.arange(len(drop)) > 0  # at y = 0 `N/N(t)` is 1, and `M` is real
        wave = wave + of_m * np.where(away, np.exp(1j * other), 1.0)
        return drop - of_n * away * np.cos(phase), turn + of_n * away * np.sin(phase), wave

    def claimed(self, t, log_n, y):
        return 0.0, np.full(len(y), of_n), np.full(len(y), of_m)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowNodes, "on_line", disturbed)
        patch.setattr(WindowNodes, "errors", claimed)
        band._sample(last)
    return band._samples.f.copy(), band._weight, band._sampling


@given(
    index=st.integers(0, 3),
    log_n=st.floats(-13, -2),
    log_m=st.floats(-16, -3),
    angle=st.floats(0, 2 * math.pi),
    other=st.floats(0, 2 * math.pi),
)
@settings(max_examples=30, deadline=None)
def test_errors_of_the_transforms_reach_the_line_as_claimed(
    lines, index, log_n, log_m, angle, other
):
    plain, _, _ = _sampled(lines[index], 0.0, 0.0, angle, other)
    off, weight, claimed = _sampled(lines[index], 10**log_n, 10**log_m, angle, other)
    moved = float(np.sum(weight * np.abs(off - plain)))
    assert moved <= claimed * (1 + 1e-9) + 1e-14 * float(np.sum(weight * np.abs(plain)))


@pytest.mark.parametrize("kind", ["at least one", "none", "one"])
@pytest.mark.parametrize("off", [1e-5, -1e-5])
def test_what_is_known_of_the_unit_reaches_the_line(kind, off):
    # All is divided by the computed `N(t)`: let that be off, and nothing else.
    laws = [WindowedLaw.whole(_step(pair), "symmetric", reach=14.0) for pair in (OFTEN, RARE)]
    levels = []
    for place in (1.5, 0.5):
        laws = [law.below(place) for law in laws]
        levels.append(Level(laws, np.array([2.0, 1.0]), place, 60 / place, -80.0))
    part = {
        "at least one": AtLeastOne(levels[0]),
        "none": Exactly(0, levels[0]),
        "one": Exactly(1, *levels),
    }[kind]
    part.aim(2.0)
    coarse, fine = part.t * np.arange(40.0), np.zeros(1)

    def claimed(self, t, log_n, y):
        return abs(off) * 1.0001, np.zeros(len(y)), np.zeros(len(y))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowNodes, "errors", claimed)
        true = part._transform(coarse, fine)
        unit = "_log_n" if kind == "at least one" else "_log_r"
        setattr(part, unit, getattr(part, unit) + math.log1p(off))
        moved = part._transform(coarse, fine)
    miss = np.abs(true.f - moved.f)  # in their own units, which differ by the factor
    assert np.all(miss <= moved.error * (1 + 1e-6) + 1e-13 * moved.size)
    assert np.max(miss) > 1e-8 * abs(true.f[0])
    assert 3e-5 <= moved.factor <= 3.1e-5


@cache
def _two_steps(rate: float, mu: float, epsilon: float) -> float:
    """`log delta` of two equal steps: the mean of one step's closed form over the other's loss."""
    pair = fixed_size_pair(rate=rate, mu=mu)
    ladder = WindowedLaw.whole(_step(pair), "symmetric", reach=12.0)
    nodes = ladder.below(1.0).nodes(highest=1.0, log_rest=-200.0)
    (piece,) = nodes.pieces
    kinks = (epsilon, *(epsilon * (1 + 0.25**k) for k in range(1, 12)))
    kinks += tuple(epsilon * (1 - 0.25**k) for k in range(1, 12))
    truth = Reference(nodes, 0.0, kinks=kinks)
    with mpmath.workdps(30):
        mu_, r = mpmath.mpf(mu), mpmath.mpf(piece.pair.gains[0])

        def alone(e):
            size = abs(e)
            x = mpmath.log1p(mpmath.expm1(size) / r) / (2 * mu_)
            a, b = mpmath.ncdf(mu_ - x), mpmath.ncdf(-mu_ - x)
            value = r * a + (1 - r) * b - mpmath.exp(size) * b
            return value if e >= 0 else -mpmath.expm1(e) + mpmath.exp(e) * value

        atom, total = mpmath.mpf(1), mpmath.mpf(0)
        for loss, p, q in zip(truth.loss, truth.p, truth.q, strict=True):
            at, up, down = (_from_long(v) for v in (loss, p, q))
            total += up * alone(epsilon - at) + down * alone(epsilon + at)
            atom -= up + down
        return float(mpmath.log(total + atom * alone(mpmath.mpf(epsilon))))


@pytest.mark.parametrize(
    ("rate", "mu", "epsilon"), [(1e-9, 3.0, 1.0), (1e-5, 2.0, 1.0), (0.2, 1.0, 0.7)]
)
def test_two_steps_to_the_last_digits(rate, mu, epsilon):
    phases = [(_step(fixed_size_pair(rate=rate, mu=mu)), 2)]
    lower, upper = Bands(phases, epsilon, "symmetric").bounds(epsilon)
    true = _two_steps(rate, mu, epsilon)
    assert lower - 2e-15 * abs(true) <= true <= upper + 2e-15 * abs(true)
    assert upper - lower < 1e-7


# Bounds off the axis, against the functions' own values there.


@st.composite
def _pairs(draw) -> MixturePair:
    mu, rate = draw(st.sampled_from([0.01, 0.3, 1.0, 5.0])), 10 ** draw(st.floats(-10, 0))
    if draw(st.booleans()):
        return fixed_size_pair(rate=min(rate, 1.0), mu=mu)
    return poisson_pair(rate=draw(st.floats(0.01, 1.0)), inclusion=min(rate, 1.0), mu=mu)


def _complex_law(pair: MixturePair, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """`log P`, `log Q`, `L` and `L'` at complex `z`, the density of the axis included."""

    def mixture(weights, means, power=0):
        terms = [
            w * m**power * np.exp(m * z - 0.5 * m * m) for w, m in zip(weights, means, strict=True)
        ]
        return np.sum(terms, axis=0)

    q, dq = (mixture(pair.q_weights, pair.q_means, k) for k in (0, 1))
    pull = [g * math.exp(-0.5 * s * s) for g, s in zip(pair.gains, pair.shifts, strict=True)]
    gap = np.sum([2 * g * np.sinh(s * z) for g, s in zip(pull, pair.shifts, strict=True)], axis=0)
    slope = np.sum(
        [2 * g * s * np.cosh(s * z) for g, s in zip(pull, pair.shifts, strict=True)], axis=0
    )
    density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    ratio = gap / q
    size = np.abs(ratio)
    near, far = size < 1e-3, size > 0.5
    series = ratio * (1 - ratio / 2 + ratio**2 / 3 - ratio**3 / 4 + ratio**4 / 5)
    # far from `P = Q` the sum `P = Q + (P - Q)` would cancel
    p, dp = (mixture(pair.p_weights, pair.p_means, k) for k in (0, 1))
    loss = np.where(far, np.log(p / q), np.log1p(np.where(near | far, 0, ratio)))
    loss = np.where(near, series, loss)
    mild = np.where(far, 0, ratio)
    derivative = np.where(far, dp / p - dq / q, (slope - mild * dq) / (q * (1 + mild)))
    return density + np.log(q) + loss, density + np.log(q), loss, derivative


@given(pair=_pairs(), x=st.floats(-8, 12), share=st.floats(0.01, 0.92), part=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_slope_and_imaginary_part_of_the_loss_off_the_axis(pair, x, share, part):
    mu = max(abs(m) for m in (*pair.shifts, *pair.q_means))
    a = share * 0.5 * math.pi / mu
    at = np.array([x])
    slope = float(SlopeBound(pair, at).slope(np.asarray(a), np.asarray(mu * a))[0])
    _, _, loss, derivative = _complex_law(pair, at + 1j * part * a)
    assert abs(derivative[0]) <= slope * (1 + 1e-9)
    if mu * a < 1.2 and x >= 0:  # `Im L` is below pi: no branch is crossed
        full = float(turning(pair, at, a)[0])
        assert full * part <= loss[0].imag * (1 + 1e-9) + 1e-15 * abs(loss[0])
        assert full >= 0
        # and between a node and the ends of its cell it falls no faster than is taken off
        moved = float(turning(pair, at + 0.1, a)[0])
        assert math.exp(-0.3 * mu) * full <= moved * (1 + 1e-9)


@given(u=st.floats(-25, 25), gap=st.floats(0, 2), v=st.floats(0, 8), where=st.floats(0, 1))
def test_windows_off_the_axis(u, gap, v, where):
    bound = window_law._log_near(np.array(u + gap), np.array(u), np.array(v))
    size = abs(special.ndtr(u + where * gap + 1j * v))
    assert size <= math.exp(float(bound)) * (1 + 1e-9)
    plain = 0.5 * v * v + float(special.log_ndtr(u + gap))
    assert float(bound) <= plain


@given(
    x=st.floats(-2, 8),
    a=st.floats(0, 1),
    places=st.lists(st.tuples(st.floats(0.5, 5), st.floats(0.1, 1.0)), min_size=1, max_size=3),
)
def test_what_windows_cut_off_the_axis(x, a, places):
    windows = window_law._Windows(*(tuple(v) for v in zip(*places, strict=True)))
    kept = np.prod([special.ndtr(-(x + 1j * a - c) / s) for c, s in places])
    bound = float(windows.log_cut(np.array([x]), np.array([a]))[0])
    assert abs(1 - kept) <= math.exp(bound) * (1 + 1e-9) + 1e-15
    near = float(windows.log_left_near(np.array([x - 0.1]), np.array([x + 0.1]), np.array([a]))[0])
    assert abs(kept) <= math.exp(near) * (1 + 1e-9) + 1e-300


@given(degree=st.integers(20, 40), rho=st.floats(1.05, 6.0))
def test_the_remainder_of_a_panel(degree, rho):
    # A Chebyshev polynomial has its modulus (rho^k + rho^-k)/2 at the end of the long axis.
    k = 2 * degree
    rule = float(gauss_weights @ np.cos(k * np.arccos(gauss_nodes)))
    error = abs(rule + 2 / (k * k - 1))
    size = 0.5 * (rho**k + rho**-k)
    claimed = 8 * size * rho ** (-2 * NODES_PER_PANEL) / (1 - rho**-2)
    assert error <= claimed
    assert k > 2 * NODES_PER_PANEL or error > 0.3 * claimed * (1 - rho**-2)


@pytest.mark.parametrize("name", CASES)
def test_maxima_on_the_ellipses(name):
    case = CASES[name]
    nodes = case.nodes(12 / case.places[-1])
    log_n = float(nodes.log_moments(np.array([case.t]))[0][0])
    angle = np.exp(2j * np.pi * (np.arange(97) + 0.3) / 97)
    for number, piece in enumerate(nodes.pieces):
        first, band, turn, cut, *_ = nodes._ellipses(case.t, log_n, piece, number)
        chosen = nodes.owner == number
        half = nodes.half[chosen][:, None]
        centre = nodes.x.reshape(-1, NODES_PER_PANEL)[chosen].mean(axis=1)[:, None]
        for row, rho in enumerate(window_law._ELLIPSES):
            z = centre + half * (0.5 * (rho * angle + 1 / (rho * angle)))
            log_p, log_q, loss, _ = _complex_law(piece.pair, z)
            with np.errstate(all="ignore"):
                kept = np.ones_like(z)
                for c, s in zip(piece.above.centres, piece.above.widths, strict=True):
                    kept = kept * special.ndtr(-(z - c) / s)
                (c,), (s,) = piece.window.centres, piece.window.widths
                inside = special.ndtr((z - c) / s)
                up = np.exp(log_p + case.t * loss)
                down = np.exp(log_q - case.t * loss) * nodes.folded
                rule = np.log(8 * half[:, 0] * piece.weight) - log_n
                rule += -2 * NODES_PER_PANEL * math.log(rho) - math.log1p(-1 / rho**2)

                def top(values, rule=rule):
                    return rule + np.log(np.max(np.abs(values), axis=1))

                # `e^{iyL} - 1` is at most `y |L| e^{y |Im L|}`
                assert np.all(top(kept * loss * up) <= first[row] + 1e-9)
                assert np.all(top(kept * loss * (np.abs(up) + np.abs(down))) <= first[row] + 1e-9)
                assert np.all(top(kept * inside * (np.abs(up) + np.abs(down))) <= band[row] + 1e-9)
                waves = np.max(np.abs(loss.imag), axis=1)
                assert np.all((waves <= turn[row] * (1 + 1e-9)) | (band[row] == np.inf))
                both = np.exp(log_p) + np.exp(log_q) * nodes.folded
                gone = np.abs(1 - kept)
                gone = np.where(gone < 1e-13, 0, gone)
                assert np.all(top(gone * both) <= cut[row] + 1e-9)
