"""The default engine: choose a grid, compose on it, and return a number that is proved.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
>>> certificate = epsilon_upper([(step, 3)], log_delta=math.log(1e-5))
>>> certificate.engine, round(certificate.value, 2)
('dp-accounting', 8.39)
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

from patchdp.composition import exact, pld, tilted
from patchdp.composition.aim import Aim, Sketch
from patchdp.composition.layers import Layers, compose_layer
from patchdp.composition.masses import (
    LossMasses,
    large_masses,
    largest_loss,
    loss_masses,
    small_masses,
)
from patchdp.step.moments import log_mgf
from patchdp.step.profile import StepProfile

__all__ = [
    "Certificate",
    "Phases",
    "discretise",
    "epsilon_upper",
    "log_delta_upper",
    "quick_estimate",
]

Phases = Sequence[tuple[StepProfile, int]]

# Google's engine composes when its rounding is at most this fraction of delta.
_NEGLIGIBLE = 2e-4
# ... and when its grid, which is not aimed at delta, stays small.
_MODERATE = 1 << 17
# ... and epsilon is not so large that its exponentials overflow.
_FAR = 500.0
# Mass that may go to infinity, as a logarithm relative to delta (6e-6).
_GIVEN_AWAY = 12.0
# The closed form of one step is accurate to this much in log delta.
_CLOSED_FORM = 1e-11
# An excess over the exact epsilon that is always allowed: nothing that anybody would notice.
_UNNOTICED = 1e-8
# Grids up to this size are not worth cutting into layers.
_SMALL = 1 << 13
# Where Chernoff's bound on delta is this far off, as a logarithm, no single tilt describes it.
_SPREAD = 3.0
# Windows give away `e^-10` of delta. That is little beside what grids may cost from `e^-7` on.
_COARSE = 7.0
# With fewer expected participations (and, up to the second number, a small epsilon) the exact
# engine often takes a hundred times longer.
_FEW, _MANY = 3.0, 10.0


@dataclass(frozen=True)
class Certificate:
    """A certified number and how it was obtained.

    >>> Certificate(3.7, "tilted", 1e-3, 4000).value
    3.7

    Args:
      value: An upper bound.
      engine: What proved it: `"dp-accounting"`, `"tilted"`, `"layers"` or `"closed form"`.
      interval: Spacing of the (finest) loss grid; 0 for a closed form.
      points: Grid points of one discretised step.
      sharp: Whether the bounds of rounding and of tails in it are small beside delta.
      rounding: What the rounding of masses adds to log delta, however fine the grid.
    """

    value: float
    engine: str
    interval: float
    points: int
    sharp: bool = True
    rounding: float = 0.0


def _masses(phases: Phases, interval: float, log_delta: float) -> list[tuple[LossMasses, int]]:
    log_tail = log_delta - math.log(sum(count for _, count in phases)) - _GIVEN_AWAY
    # Three standard deviations further: where one step decides delta alone, its tilted law must
    # not run into the end of the grid.
    log_tail = -0.5 * (math.sqrt(-2.0 * log_tail) + 3.0) ** 2
    return [(loss_masses(p, interval=interval, log_tail=log_tail), count) for p, count in phases]


def discretise(
    phases: Phases,
    *,
    tolerance: float,
    log_delta: float | None = None,
    epsilon: float | None = None,
    coarsest: float = math.inf,
) -> tuple[list[tuple[LossMasses, int]], float, float]:
    """The coarsest masses whose rounding costs at most `tolerance`, and a good tilt.

    Rounding a loss to the grid raises `log E[e^{tL}]`; at the tilt `t` of the question, log delta
    pays that rise and epsilon the rise over `t`. Returns the masses, the tilt and the log of the
    delta in question (an estimate where epsilon is given).

    Args:
      phases: Steps and counts.
      tolerance: Allowed excess, relative to epsilon or, where epsilon is given, to delta.
      log_delta, epsilon: The question, one of the two.
      coarsest: Largest interval to try.
    """
    goal = log_delta if log_delta is not None else -_GIVEN_AWAY
    largest = max(largest_loss(p, goal - math.log(n) - _GIVEN_AWAY) for p, n in phases)
    interval = min(largest / 64, coarsest)
    while largest / interval < tilted.MAX_POINTS / 4:
        masses = _masses(phases, interval, goal)
        tilt = tilted.saddle(masses, log_delta=log_delta, epsilon=epsilon)
        if tilt * interval > 2.0:  # far too coarse to aim a tilt: one point would carry all mass
            interval *= 0.5
            continue
        at, estimate, _ = tilted.log_delta_at(masses, tilt)
        if epsilon is not None and not goal - 60.0 < estimate - 1.0 < goal + 2.0:
            goal = estimate - 2.0  # the tails were cut for another delta
            continue
        # Compared up to the end of the grid: what lies beyond would hide the rise.
        rise = sum(
            max(m.log_mgf(tilt) - log_mgf(p, tilt, top=m.interval * (m.size - 1)), 0.0) * n
            for (m, n), (p, _) in zip(masses, phases, strict=True)
        )
        # At epsilon near 0 what counts is delta itself.
        wanted = tolerance if epsilon is not None else tolerance * max(tilt * at, 1.0)
        if rise <= wanted:
            return masses, tilt, goal
        interval *= min(max(0.9 * math.sqrt(wanted / rise), 1 / 64), 0.9)
    raise tilted.GridTooLarge(
        f"no grid of at most {tilted.MAX_POINTS} points reaches relative tolerance {tolerance:.3g}"
    )


def _google(
    masses: list[tuple[LossMasses, int]], log_delta: float, negligible: float = _NEGLIGIBLE
) -> tuple[PrivacyLossDistribution, float] | None:
    """Google's composition and its error bound, where that is small against delta."""
    if len(masses) != 1 or log_delta < math.log(1e-13):
        return None
    (step, count), delta = masses[0], math.exp(log_delta)
    if count * tilted.fft_unit(step.size) * 2 > negligible * delta or step.size > _MODERATE // 8:
        return None
    points = pld.composed_size(step, count) if count > 1 else 2 * step.size - 1
    if points > _MODERATE:
        return None
    bound = pld.rounding_bound(step, count, points)
    if bound > negligible * delta:
        return None
    return pld.privacy_loss_distribution(masses), bound


def _round_up(value: float) -> float:
    return (
        value if value == 0 or math.isinf(value) else math.nextafter(value * (1 + 1e-14), math.inf)
    )


@dataclass(frozen=True)
class _Layer:
    """Losses between two cuts, their grid and their tilt."""

    cut: float
    top: float
    interval: float
    tilt: float
    log_delta: float

    @property
    def points(self) -> float:
        if self.interval == 0:
            raise tilted.GridTooLarge("no grid is fine enough for this tolerance")
        return self.top / self.interval


class _Design:
    """How to compose for one epsilon: one grid, or layers.

    Args:
      sketch: The steps.
      epsilon: The epsilon in question.
      log_delta: Log of delta there, or an estimate.
      spent: What rounding to grids may add to log delta.
      cut: Whether to cut even losses below epsilon, so that rounding in a transform is small
        beside the mass of the losses of that size.
    """

    def __init__(
        self, sketch: Sketch, epsilon: float, log_delta: float, spent: float, *, cut: bool = False
    ) -> None:
        self.sketch, self.epsilon, self.log_delta, self.spent = sketch, epsilon, log_delta, spent
        top = self.top = sketch.top(log_delta + math.log(0.02 * min(spent, 0.1)))
        aim = sketch.aim(epsilon, top)
        one = self._lowest(top, aim, spent)
        self.layers = [one]
        if cut and top > epsilon:
            self.layers = self._several(top, max(0.4 * epsilon, _UNNOTICED))
        elif top > 4 * epsilon:
            if aim.log_delta - log_delta > _SPREAD:
                # A few large losses set the tilt, but near epsilon delta falls as layers say.
                finer = sketch.interval(self.slope, allowed=spent, top=2 * epsilon)
                self.layers = [one := replace(one, interval=min(one.interval, finer))]
            if one.points > _SMALL:
                several = self._spread
                if 2 * sum(layer.points for layer in several) < one.points:
                    self.layers = several

    def halved(self) -> _Design:
        """The same on grids twice as fine."""
        twin = copy.copy(self)
        vars(twin).pop("masses", None)  # they are on the coarse grid
        twin.layers = [replace(layer, interval=0.5 * layer.interval) for layer in self.layers]
        return twin

    @cached_property
    def _spread(self) -> list[_Layer]:
        return self._several(self.top, max(2 * self.epsilon, _UNNOTICED))

    def _several(self, top: float, cut: float) -> list[_Layer]:
        sketch, found = self.sketch, []
        aim = sketch.aim(self.epsilon, cut)
        found.append(self._lowest(cut, aim, self._allowed(aim.log_delta)))
        while cut < top:
            end = 8 * cut if 16 * cut < top else max(top, 1.5 * cut)
            aim = sketch.aim_layer(self.epsilon, cut, end)
            interval = sketch.interval_of_layer(
                aim.tilt, allowed=self._allowed(aim.log_delta), cut=cut, top=end
            )
            found.append(_Layer(cut, end, interval, aim.tilt, aim.log_delta))
            cut = end
        return found

    def _lowest(self, top: float, aim: Aim, allowed: float) -> _Layer:
        """The losses up to `top`, on a grid that has several points below epsilon."""
        finest = max(self.epsilon, 1 / aim.tilt) * min(math.sqrt(self.spent), 1 / 24)
        interval = self.sketch.interval(aim.tilt, allowed=allowed, top=top)
        return _Layer(0.0, top, min(interval, finest), aim.tilt, aim.log_delta)

    def _allowed(self, log_delta: float) -> float:
        """What a layer may lose that holds only a part of delta."""
        share = min(max(self.log_delta - log_delta, 0.0), 5.0)
        return min(self.spent * math.exp(share), 0.5)

    @property
    def single(self) -> bool:
        """Whether one grid holds all."""
        return len(self.layers) == 1

    @cached_property
    def masses(self) -> list[tuple[LossMasses, int]]:
        """The steps on the one grid."""
        (layer,) = self.layers
        cells = max(math.ceil(layer.top / layer.interval), 1)
        self._check(cells)
        return [
            (small_masses(profile, interval=layer.interval, cells=cells), count)
            for profile, count in self.sketch.phases
        ]

    @staticmethod
    def _check(cells: float) -> None:
        if cells > tilted.MAX_POINTS / 4:
            raise tilted.GridTooLarge(
                f"a step would need {cells:.3g} grid points; "
                f"at most {tilted.MAX_POINTS // 4} are allowed"
            )

    def compose(self, aim: tuple[float, float]) -> tilted.ComposedMasses | Layers:
        """Compose, sharp for the epsilons of `aim`."""
        first = self.layers[0]
        # Bounds of tails may cost a layer what they would cost all of delta.
        log_target = self.log_delta - math.log(len(self.layers))
        log_target += min(math.log(self.spent) + _COARSE, 0.0)
        if self.single:
            return tilted.compose(self.masses, tilt=first.tilt, log_target=log_target, aim=aim)
        parts: list[tilted.ComposedMasses] = []
        log_infinity = -math.inf
        for layer in self.layers:
            # The cut is a point of either grid; it is the same number in both.
            cut = layer.cut or layer.top
            at = max(math.ceil(cut / layer.interval), 1)
            interval = cut / at
            self._check(layer.top / interval)
            small = [
                (small_masses(p, interval=interval, cells=at, top=cut), n)
                for p, n in self.sketch.phases
            ]
            # What lies beyond the cut belongs to the next layer.
            small = [
                (replace(m, log_infinity=-math.inf, log_bottom=-math.inf), n) for m, n in small
            ]
            if not layer.cut:
                parts.append(tilted.compose(small, tilt=layer.tilt, log_target=log_target, aim=aim))
                continue
            end = math.ceil(layer.top / interval)
            large = [
                large_masses(p, interval=interval, first=at, last=end, cut=layer.cut, top=layer.top)
                for p, _ in self.sketch.phases
            ]
            if layer is not self.layers[-1]:
                large = [replace(w, log_bottom=-math.inf) for w in large]
            rows = [(s, w, n) for (s, n), w in zip(small, large, strict=True)]
            parts.append(compose_layer(rows, tilt=layer.tilt, log_target=log_target, aim=aim))
            log_infinity = float(
                np.logaddexp.reduce([math.log(n) + w.log_infinity for _, w, n in rows])
            )
        return Layers(tuple(parts), log_infinity)

    @cached_property
    def slope(self) -> float:
        """By how much log delta falls with epsilon, roughly."""
        layers = self.layers
        if self.single and self.top > 4 * self.epsilon:
            layers = self._spread
        logs = np.array([layer.log_delta for layer in layers])
        shares = np.exp(logs - logs.max())
        return float(shares @ [layer.tilt for layer in layers] / shares.sum())


def _sketch(phases: Phases, log_delta: float) -> Sketch:
    return Sketch(phases, log_delta - math.log(sum(count for _, count in phases)) - 25.0)


def _attempt(design: _Design, log_delta: float, doubt: float = 1.0) -> Certificate:
    """The certified epsilon of one design, which may be too high by `doubt` in log delta."""
    layers, near = design.layers, design.epsilon
    interval, points = layers[0].interval, round(max(layer.points for layer in layers))
    if design.single and near < _FAR:
        google = _google(design.masses, log_delta, min(_NEGLIGIBLE, design.spent))
        if google is not None:
            distribution, bound = google
            value = distribution.get_epsilon_for_delta(math.exp(log_delta) * (1 - 1e-14) - bound)
            return Certificate(_round_up(float(value)), "dp-accounting", interval, points)
    # What is found may lie a little above, by what rounding costs.
    low = max(near - doubt / design.slope, 0.5 * near)
    composed = design.compose((low, near + (0.02 + 3 * design.spent) / design.slope))
    value = composed.epsilon_upper(log_delta)
    sharp = math.isfinite(value) and composed.log_delta_sharpness(value)[1]
    engine = "tilted" if design.single else "layers"
    return Certificate(_round_up(value), engine, interval, points, sharp, composed.slack)


def _settle(sketch: Sketch, log_delta: float) -> tuple[float, Certificate]:
    """A rough epsilon, from coarse compositions: each is tilted towards what the last one found."""
    epsilon = sketch.epsilon(log_delta)
    for _ in range(40):
        found = _attempt(_Design(sketch, epsilon, log_delta, 0.05), log_delta, 20.0)
        if not found.value < 0.97 * epsilon or found.value <= _UNNOTICED:
            break
        epsilon = found.value
    return min(epsilon, found.value), found


def _one_step(profile: StepProfile, log_delta: float) -> Certificate:
    value = float(exact.epsilon_upper([(profile, 1)], np.array(log_delta)))
    return Certificate(_round_up(value), "closed form", 0.0, 0)


def epsilon_upper(
    phases: Phases, *, log_delta: float, tolerance: float = 1e-3, reference: float | None = None
) -> Certificate:
    """A certified epsilon at `log_delta`.

    >>> import math
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
    >>> 6.6 < epsilon_upper([(step, 1500)], log_delta=math.log(1e-5)).value < 6.8
    True

    Args:
      phases: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
      tolerance: Excess allowed over the exact value, relative to it; 1e-8 is always allowed.
      reference: An estimate of the exact value. By default the exact engine is asked where it is
        quick; otherwise grids are refined until halving them changes little.

    Raises:
      GridTooLarge: No grid within the memory cap reaches the tolerance.
    """
    if len(phases) == 1 and phases[0][1] == 1:
        try:
            return _one_step(phases[0][0], log_delta)
        except exact.ExactEngineError:  # so little noise that the closed form loses its digits
            pass
    # Total variation distances add up.
    distance = np.logaddexp.reduce([math.log(n) + float(p.log_delta(0.0)) for p, n in phases])
    if distance + _CLOSED_FORM <= log_delta:
        return Certificate(0.0, "closed form", 0.0, 0)
    sketch = _sketch(phases, log_delta)
    if reference is None:
        reference = _reference(phases, log_delta)
    if reference is None:
        try:
            return _agreed(sketch, log_delta, tolerance)
        except tilted.GridTooLarge:
            reference = _slow_reference(phases, log_delta)
            if reference is None:
                raise
    try:
        return _refine(sketch, log_delta, tolerance, reference)
    except tilted.GridTooLarge as error:
        raise tilted.GridTooLarge(f"{error}; the exact value is about {reference:.8g}") from None


def quick_estimate(phases: Phases, log_delta: float) -> float:
    """About the exact epsilon, in milliseconds: where the exact engine is slow, a bound.

    >>> import math
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-3, mu=0.5)),), attainable=True)
    >>> round(quick_estimate([(step, 50)], math.log(1e-5)), 2)
    0.04

    Raises:
      GridTooLarge: Neither has an answer.
    """
    found = _reference(phases, log_delta)
    return epsilon_upper(phases, log_delta=log_delta).value if found is None else found


def _reference(phases: Phases, log_delta: float) -> float | None:
    """The exact engine's epsilon, where enough steps take part for it to be quick."""
    expected = sum(n * w * sum(pair.gains) for p, n in phases for w, pair in p.parts)
    if expected < _FEW or (
        expected < _MANY and _sketch(phases, log_delta).epsilon(log_delta) < 1.0
    ):
        return None
    return _slow_reference(phases, log_delta)


def _slow_reference(phases: Phases, log_delta: float) -> float | None:
    """The exact engine's epsilon, where it has one."""
    try:
        return float(exact.epsilon_estimate(phases, np.array(log_delta)))
    except exact.ExactEngineError:
        return None


def _agreed(sketch: Sketch, log_delta: float, tolerance: float) -> Certificate:
    """A certified epsilon that moves little when every grid is halved.

    What grids cost falls at least like their interval: half of it is left.

    Raises:
      GridTooLarge: They do not agree.
    """
    near, found = _settle(sketch, log_delta)
    if found.value <= _UNNOTICED:
        return found
    share, cut = 0.25, False
    for _ in range(20):
        allowed = max(tolerance * near, _UNNOTICED)
        price = _Design(sketch, near, log_delta, 0.05).slope * allowed
        design = _Design(sketch, near, log_delta, min(share * price, 0.1), cut=cut)
        found = _attempt(design, log_delta)
        if found.value <= _UNNOTICED:
            return found
        if found.rounding > 0.5 * price:
            break
        if not found.sharp and not cut:
            cut = True  # perhaps it is rounding in the transforms
        elif not math.isfinite(found.value):
            share *= 0.25
        elif not 0.98 * near <= found.value <= 1.02 * near:
            near = found.value
        else:
            best = min(found, _attempt(design.halved(), log_delta), key=lambda c: c.value)
            gained = found.value - best.value
            if found.sharp and best is not found and gained <= 0.5 * allowed:
                return best
            share *= min(max(0.25 * allowed / max(gained, 1e-300), 1 / 64), 0.5)
            near = best.value
    raise tilted.GridTooLarge(f"no two compositions agree about epsilon near {near:.8g}")


def _refine(sketch: Sketch, log_delta: float, tolerance: float, reference: float) -> Certificate:
    """A certified epsilon within the tolerance of `reference`.

    Raises:
      GridTooLarge: Every grid within the memory cap is too coarse.
    """
    near = reference
    allowed = max(tolerance * reference, _UNNOTICED)
    slope = _Design(sketch, near, log_delta, 0.05).slope
    spent = min(0.25 * slope * allowed, 0.1)
    previous: Certificate | None = None
    cut = False
    for turn in range(10):
        try:
            found = _attempt(_Design(sketch, near, log_delta, spent, cut=cut), log_delta)
            if not found.sharp and not cut:
                cut = True  # perhaps it is rounding in the transforms
                found = _attempt(_Design(sketch, near, log_delta, spent, cut=cut), log_delta)
        except tilted.GridTooLarge:
            if turn:
                raise
            spent *= 2.5  # most of what is allowed, not a quarter
            continue
        if found.value <= reference + allowed:
            return found
        gained = math.inf if previous is None else previous.value - found.value
        if gained < 0.1 * (found.value - reference):
            if found.sharp:
                return found  # settled, and not by rounding: it is the reference that is off
            break
        # The cost falls with what is spent, of which a quarter is left: at most half the cost.
        ratio = 0.25
        if math.isfinite(found.value):
            ratio = 0.5 * allowed / (found.value - reference)
        spent *= min(max(ratio, 1 / 64), 0.5)
        if math.isfinite(found.value) and (previous is None or found.value < previous.value):
            previous = found
        if previous is not None and not 0.98 * near <= previous.value <= 1.05 * near:
            near = previous.value
    best = math.inf if previous is None else previous.value
    raise tilted.GridTooLarge(
        f"no composition within reach brings the certified epsilon below {best:.8g} "
        f"with tolerance {tolerance:g}; ask for a larger tolerance"
    )


def log_delta_upper(
    phases: Phases,
    *,
    epsilon: npt.NDArray[np.float64],
    tolerance: float = 1e-3,
    reference: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """Logs of certified deltas at each `epsilon >= 0`.

    One composition is tilted towards one epsilon and stays sharp for those around it; others are
    added until every epsilon has a sharp bound. The bounds never rise with epsilon.

    Args:
      phases: Steps and how often each is applied.
      epsilon: Array of epsilons of any shape.
      tolerance: Excess allowed over the exact delta, relative to it.
      reference: Estimates of the exact values. By default the exact engine is asked.
    """
    flat = np.ravel(np.asarray(epsilon, dtype=np.float64))
    if len(phases) == 1 and phases[0][1] == 1:
        step = phases[0][0]
        logs = np.array([exact.single_log_delta_upper(step, float(e)) for e in flat])
        return logs.reshape(np.shape(epsilon))
    best = np.zeros(flat.shape)
    order = [int(i) for i in np.argsort(flat)]
    while order:
        pivot = order[len(order) // 2]
        middle = float(flat[pivot])
        known = None if reference is None else float(np.ravel(reference)[pivot])
        composed = _compose_towards(phases, middle, tolerance, known)
        left = []
        for i in order:
            value, sharp = composed.log_delta_sharpness(float(flat[i]))
            best[i] = min(best[i], value)
            if not sharp and i != pivot:
                left.append(i)
        order = left
    return _falling(flat, best).reshape(np.shape(epsilon))


def _falling(
    epsilon: npt.NDArray[np.float64], logs: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Bounds of log delta that fall with epsilon: one at a smaller epsilon holds there too."""
    order = np.argsort(epsilon)
    falling = np.empty_like(logs)
    falling[order] = np.minimum.accumulate(logs[order])
    return falling


def _compose_towards(
    phases: Phases, epsilon: float, tolerance: float, reference: float | None
) -> tilted.ComposedMasses | Layers:
    """A composition aimed at the epsilons around one."""
    sketch = _sketch(phases, -60.0)
    log_delta = sketch.aim(epsilon).log_delta
    if log_delta < -40.0:
        sketch = _sketch(phases, log_delta - 10.0)
    if reference is None:
        with contextlib.suppress(exact.ExactEngineError):
            reference = float(exact.log_delta_estimate(phases, np.array(epsilon)))
    if reference is not None and not math.isfinite(reference):
        reference = None  # below what the estimate resolves
    spent, previous, cut = 0.5 * tolerance, math.inf, False
    log_delta = log_delta - 3.0 if reference is None else reference
    best: tilted.ComposedMasses | Layers | None = None
    for _ in range(8):
        try:
            design = _Design(sketch, epsilon, log_delta, spent, cut=cut)
            composed = design.compose((0.8 * epsilon, 1.25 * epsilon))
        except tilted.GridTooLarge:
            if best is None:
                raise
            break
        found, sharp = composed.log_delta_sharpness(epsilon)
        if found < previous or best is None:
            best = composed
        if not sharp and not cut:
            cut, previous = True, min(found, previous)  # perhaps it is rounding in the transforms
            continue
        goal = reference if reference is not None else found - (previous - found) / 3
        if found - goal <= tolerance or previous - found <= 0.1 * (found - goal):
            break
        shrink = 0.5 * tolerance / (found - goal) if math.isfinite(goal) else 0.25
        spent, previous = spent * min(max(shrink, 1 / 64), 0.5), found
        log_delta = min(log_delta, found)
    assert best is not None  # the first turn sets it or raises
    return best
