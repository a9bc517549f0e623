"""The certified value of the best adversary, block by block.

Source: `docs/theory/adaptive.md`, "The block theorem" and "One block".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from patchdp.composition.adaptive.cover import Cover
from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.phase import PARTS, Kernel, Phase

__all__ = ["WIDEST", "State", "advance", "first", "majorant", "nothing", "schedule"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

_UNIT = 2.0**-53
_EARLY_GROWTH = 0.7
# A hat is at most this much of the same hat spread by two more, for intervals up to the widest:
# Statement 5a.
_HAT_OVER_SPLINE = 2.0
WIDEST = 0.5


@dataclass(frozen=True, eq=False)
class State:
    """An upper bound of the value that is left after some steps.

    Args:
      steps: How many.
      dots: Half-tilted dots at the lattice's points, even.
      infinite: Mass at infinite loss.
      spread: Transform of the dots under the run's tilt.
    """

    steps: int
    dots: Array
    infinite: float
    spread: Complex

    @staticmethod
    def of(steps: int, dots: Array, infinite: float, phase: Phase) -> State:
        """A state from its dots."""
        return State(steps, dots, infinite, phase.sampler.spread(dots))


def schedule(
    count: int,
    growth: float,
    done: int = 0,
    behind: list[State] | None = None,
    early: float = 0.0,
) -> Iterator[int]:
    """Lengths of blocks: powers of two, at most the given share of what lies behind.

    With `behind` no block is longer than the values of its kind of step that are known. While
    fewer than `early` steps lie behind, blocks grow faster: little is at stake.
    """
    end = done + count
    while done < end:
        known = done if behind is None else behind[-1].steps + 1
        share = growth if done >= early else max(growth, _EARLY_GROWTH)
        k = 1 << int(math.log2(max(1.0, min(share * done, known))))
        while k > end - done:
            k //= 2
        yield k
        done += k


def majorant(tilted: Array, losses: Array, least: float) -> tuple[Array, float]:
    """Half-tilted dots and a constant whose value is nowhere below a gain.

    Args:
      tilted: `e^{s/2}` times the gain at the losses; between them it is at most the chord in `e^s`.
      losses: Ascending.
      least: Bound of the gain left of them.

    Returns:
      Dots at the losses and the constant: the convex function of `e^s` whose slopes are the
      running maximum of the gain's.
    """
    half = np.exp(0.5 * losses)
    u = np.square(half)
    heights = half * tilted
    # Differences of powers of e lose digits where the points are close.
    widths = u[:-1] * np.expm1(np.diff(losses))
    slopes = np.diff(heights) / widths
    constant = max(least, float(heights[0] / u[0]))
    running = np.maximum.accumulate(np.concatenate([[constant], slopes]))
    dots = np.append(np.diff(running), 0.0)
    # Sums of positive terms: what rounding leaves below is a relative error, and made up for.
    error = 8 * _UNIT * len(u)
    reached = constant * u[0] + np.append(0.0, np.cumsum(running[1:] * widths))
    short = max(float(np.max((heights - reached * (1 + error)) / u)), 0.0)
    return dots * half * (1 + 4 * error), (constant + short) * (1 + 4 * error)


def first(phase: Phase) -> State:
    """One step: the largest profile on the left of 0, exactly."""
    lattice, n = phase.plan.lattice, phase.plan.lattice.size
    left = lattice.losses[: n + 1]
    truth = np.exp(phase.step.pair.log_delta(-left)) * (1 + 1e-11)
    more, infinite = majorant(truth * lattice.half[: n + 1], left, float(truth[0]))
    dots = np.zeros(2 * n + 1)
    dots[: n + 1] = more
    return State.of(1, lattice.close(dots, infinite), infinite, phase)


def _behind(states: list[State], steps: int) -> State:
    return next(s for s in states if s.steps >= steps)


def _gathered(dots: Array, lattice: Lattice) -> Array:
    """Dots at `PARTS` places per interval as dots at the points, mass and mean kept."""
    h = lattice.interval
    places = np.append(dots, np.zeros(PARTS - 1)).reshape(-1, PARTS)
    shift = np.asarray(h / PARTS * np.arange(PARTS), dtype=np.float64)
    result = places @ lattice.hat(shift)
    result[1:] += places[:-1, 1:] @ lattice.hat(h - shift[1:])
    return np.asarray(result * (1 + 1e-14))


def nothing(phase: Phase) -> State:
    dots = np.zeros(2 * phase.plan.lattice.size + 1)
    dots[phase.plan.lattice.size] = 1.0
    return State.of(0, dots, 0.0, phase)


@dataclass(eq=False)
class _Corrections:
    """Sum of `share times (constant + dots) * state`, as transforms, constants and errors."""

    phase: Phase
    transform: Complex | float = 0.0
    constant: float = 0.0
    error: float = 0.0

    def add(self, share: int, dots: Array, constant: float, state: State) -> None:
        s = self.phase.sampler
        tilted, other = dots * s.decay, state.dots * s.decay
        self.transform = self.transform + share * (s.spread(dots) * state.spread)
        self.error += 3 * s.unit * share * float(tilted.sum()) * float(other.sum())
        mass = float(np.sum(dots / self.phase.plan.lattice.half))
        self.constant += share * (constant + mass * state.infinite)

    def dots(self) -> tuple[Array, float]:
        """At losses `-2 size h .. 2 size h`, spread by two hats and read at the points."""
        s, lattice = self.phase.sampler, self.phase.plan.lattice
        n, h = lattice.size, lattice.interval
        losses = h * np.arange(-2 * n, 2 * n + 1)
        tilted = np.maximum(s.gather_pair(np.asarray(self.transform)), 0.0) + self.error
        plain = tilted * np.exp(s.tilt * losses) * (1 + 1e-12)
        side = lattice.lift / (2 * math.sinh(0.5 * h)) * (1 + 1e-12)
        middle = (1 - 2 * math.cosh(0.5 * h) * side) * (1 + 1e-11)
        for _ in range(2):
            plain = np.convolve(plain, [side, middle, side])[1:-1]
        outside = float(np.sum(plain[:n] * np.exp(-0.5 * losses[:n]))) * (1 + 1e-12)
        return plain[n : 3 * n + 1], outside


def _log_moment(state: State, exponent: float, lattice: Lattice) -> float:
    """Log of the sum of the dots times `e^{-exponent s}`."""
    with np.errstate(divide="ignore"):
        logs = np.log(state.dots) - exponent * lattice.losses
    return float(special.logsumexp(logs))


def _envelope(phase: Phase, state: State, steps: int) -> list[tuple[float, float, float]]:
    """Exponents `v` with logs of `x, y`: half-tilted gains, some steps later, are at most
    `x e^{v s}` and `y e^{-v s}` at every loss."""
    h, y, found = phase.plan.lattice.interval, np.abs(phase.tents.knots), []
    with np.errstate(divide="ignore"):
        gain = np.log(phase.top_gain)
    for v in phase.plan.steep:
        height = float(np.max(gain + v * y)) + 4 * v * h + _log_moment(state, v, phase.plan.lattice)
        found.append((v, height + steps * phase.masses[v], height + steps * phase.masses[-v]))
    return found


def _edge(phase: Phase, state: State, steps: int) -> float:
    """Bound of a gain of any triangle, `steps` of the base later, left of the lattice."""
    end = phase.plan.lattice.interval * phase.plan.lattice.size
    logs = [left - (v - 0.5) * end for v, left, _ in _envelope(phase, state, steps)]
    return math.exp(min(0.0, *logs))


def _escaped(phase: Phase, state: State, steps: int) -> float:
    """Bound of the mass that leaves the lattice on the left."""
    lattice, best = phase.plan.lattice, math.inf
    end = lattice.interval * lattice.size
    for u in phase.plan.steep:
        mass = _log_moment(state, u, lattice)
        log = mass + 3 * u * lattice.interval + steps * phase.masses[u] - (u - 0.5) * end
        best = min(best, log)
    return math.exp(min(best, 0.0))


def _between(phase: Phase, state: State, kernel: Kernel) -> tuple[list[Array], float]:
    """What chords between the lattice's points may miss of the rivals' gains at each split.

    Returns:
      For each split an array over the points, half-tilted, and a bound left of the lattice.
    """
    lattice, s, plan = phase.plan.lattice, phase.sampler, phase.plan
    n, h = lattice.size, lattice.interval
    if h > WIDEST:
        raise ValueError(f"the lattice's interval must be at most {WIDEST}, got {h!r}")
    kinks = np.convolve(state.dots, [0.5, -math.cosh(0.5 * h), 0.5])[1:-1]
    kinks = np.abs(kinks) / (math.sinh(0.5 * h) * h)
    # A second hat moves every kink by less than `h`, with a density of at most `1/h`.
    kinks = np.convolve(kinks, np.full(3, 1 / PARTS) * (1 + h * h))[1:-1]
    factor = math.tanh(0.25 * h / PARTS)
    reach, width = phase.tents.reach, 2 * n + 1
    bounds = np.zeros(width)
    tilted = float(np.sum(kinks * s.decay))
    for integrals in phase.differences.values():
        # Cell o of the gain meets the kink at a + o + 1.
        array = np.zeros(4 * n + 1)
        offsets = np.arange(-reach, reach + 1) + 1
        inside = np.abs(offsets) <= 2 * n
        array[2 * n - offsets[inside]] = integrals[inside]
        kernel_ = s.kernel(array)
        losses = h * np.arange(-2 * n, 2 * n + 1)
        size = float(np.sum(array * np.exp(-s.tilt * losses)))
        found = np.maximum(s.gather(kernel_ * s.spread(kinks)), 0.0) + 3 * s.unit * size * tilted
        bounds = np.maximum(bounds, found / s.decay)
    bounds *= factor * (1 + 1e-10)
    ends = (phase.top_gain @ phase.tents.cells) @ phase.tents.windows(kinks, np.array([0, 2 * n]))
    right = max(float(bounds[-1]), factor * float(ends[1]) * (1 + 1e-10))
    left = factor * float(ends[0]) * (1 + 1e-10) * float(1 / lattice.half[0])
    result = []
    # The largest of three neighbours covers every shift by less than the interval.
    widest = np.maximum(
        bounds, np.maximum(np.append(bounds[:1], bounds[:-1]), np.append(bounds[1:], right))
    )
    pairs = (widest + np.append(widest[:1], widest[:-1])) * (_HAT_OVER_SPLINE * math.cosh(0.25 * h))
    transform, total = s.spread(pairs), float(np.sum(pairs * s.decay))
    for i, j in enumerate(kernel.splits):
        if j == 0:
            here = bounds
        else:
            found = np.maximum(s.gather(kernel.smoothers[i] * transform), 0.0)
            here = (found + kernel.smoother_errors[i] * total) / s.decay
            far = [
                u * (lattice.losses - lattice.losses[-1] + h) + j * phase.masses[u]
                for u in plan.exponents
            ]
            here = here + right * np.exp(np.min(far, axis=0))
        behind = np.append(here[:1], here[:-1])
        result.append(np.maximum(here, behind) * math.cosh(0.25 * h))
    return result, left


def _cap(losses: Array, phase: Phase, state: State, steps: int) -> Array:
    """Half-tilted, what any triangle gains at most right of 0: so much is missing to 1, too."""
    logs = [right - v * losses for v, _, right in _envelope(phase, state, steps)]
    cap = (np.exp(-losses) + 1e-12) * np.exp(0.5 * losses)
    return np.where(losses > 0, np.minimum(cap, np.exp(np.min(logs, axis=0))), np.inf)


def _right(phase: Phase, state: State, steps: int) -> Array:
    """A dot that covers every gain right of the lattice."""
    lattice = phase.plan.lattice
    n, h = lattice.size, lattice.interval
    back = min(math.ceil(1 / h), n)
    end = lattice.losses[-1:]
    gain = float(_cap(end, phase, state, steps)[0]) * math.exp(-0.5 * h * n)
    dots = np.zeros(2 * n + 1)
    dots[2 * n - back] = gain / -math.expm1(-back * h) * math.exp(0.5 * h * (n - back))
    return dots


def advance(
    phase: Phase, cover: Cover | None, state: State, k: int, behind: list[State], share: float
) -> tuple[State, float]:
    """`k` more steps.

    Args:
      phase: The kind of step.
      cover: All triangles; None leaves them out: a bound for the base and its rivals alone.
      state: The value so far.
      k: Steps of the block.
      behind: States of this kind of step alone, ascending, from 0 on.
      share: Share of the run's variance that lies behind; steers only.

    Returns:
      The next state, and roughly what share of the gains the cover added.
    """
    lattice, s = phase.plan.lattice, phase.sampler
    n, h = lattice.size, lattice.interval
    kernel = phase.kernel(k)
    corrections, cost = _Corrections(phase), 0.0
    visible = n + 1 if k == 1 else 2 * n + 1
    none = np.zeros(2 * n + 1)
    # After one step only the values at the lattice's points matter.
    between, outside = _between(phase, state, kernel) if k > 1 else ([np.zeros(2 * n + 1)], 0.0)
    constant = phase.given_away + outside
    if cover is not None:
        view = cover.view(state.dots, k == 1, share)
        excess, cost = cover.excess(view)
        edge = _edge(phase, state, 0)
        probed = lattice.losses[view.probes]
        more, least = majorant(np.minimum(excess, _cap(probed, phase, state, 0)), probed, edge)
        dots = lattice.scatter(more, view.probes) + (_right(phase, state, 0) if k > 1 else none)
        corrections.add(k, dots, least + constant, _behind(behind, k - 1))
    tilted = float(np.sum(state.dots * s.decay))
    ends = (*kernel.splits[1:], k)
    fine = (lattice.losses[:, None] + h / PARTS * np.arange(PARTS)).ravel()[
        : PARTS * (visible - 1) + 1
    ]
    for i, (j, stop) in enumerate(zip(kernel.splits, ends, strict=True)):
        gain = np.zeros((2 * n + 1, PARTS))
        for spectra, error in zip(kernel.gains[i], kernel.errors[i], strict=True):
            for part, spectrum in enumerate(spectra):
                found = s.gather(spectrum * state.spread) + error * tilted
                gain[:, part] = np.maximum(gain[:, part], found / s.decay)
        gain += between[i][:, None]
        seen = np.minimum(gain.ravel()[: len(fine)], _cap(fine, phase, state, j))
        more, least = majorant(seen, fine, _edge(phase, state, j))
        dots = _right(phase, state, j) if k > 1 else none.copy()
        dots[:visible] += _gathered(more, lattice)
        corrections.add(stop - j, dots, least + constant, _behind(behind, k - 1 - j))
    more, lost = corrections.dots()
    found = s.gather(kernel.successor * state.spread)
    found = np.maximum(found, 0.0) + 3 * s.unit * kernel.size * tilted
    dots = found / s.decay * (1 + 1e-12) + more
    infinite = state.infinite + corrections.constant + lost + _escaped(phase, state, k)
    infinite = min(infinite * (1 + 1e-12), 1.0)
    closed = lattice.smooth(lattice.close(dots, infinite))
    return State.of(state.steps + k, closed, infinite, phase), cost
