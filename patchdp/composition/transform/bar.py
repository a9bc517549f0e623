"""Proved error bars of the inversion: aliases, truncation, quadrature and floating point.

`docs/theory.md`, "The exact engine", states and proves the four bounds that are added up here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.law import LossLaw, small_exp
from patchdp.composition.transform.line import Chernoff, Line
from patchdp.composition.transform.strip import (
    OscillationBound,
    Remainder,
    quadrature_remainders,
    widest_mean,
)
from patchdp.composition.transform.tilted import TiltedLaw

__all__ = ["ErrorBar"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_TURNS = 20.0  # radians of a loss up to which the tail is sampled
_FAR = 14  # places beyond
_TAIL_TARGET = 1e-9
_MOST_POINTS = 800
_ROUNDS = 12
_BLOCK = 128
_ERROR_CELLS = np.linspace(0.0, 1.0, 60)


@dataclass(frozen=True)
class _StepError:
    """What is known of one phase's `M` on the line: all numbers relative to `M(t)`."""

    tilted: TiltedLaw
    count: float
    mean_size: float
    at_zero: float
    excess_error: float
    remainder: Remainder
    grid: Array
    on_grid: Array

    def characteristic(self, y: Array) -> Array:
        """Bound on the error of the computed `M(t + iy)/M(t)`, for `y > 0`."""
        cell = np.minimum(np.searchsorted(self.grid, y), len(self.grid) - 1)
        return np.asarray(self.on_grid[cell] + 2 * self.at_zero)


def _step_error(tilted: TiltedLaw, count: float, highest: float, grid: Array) -> _StepError:
    law, t, log_m = tilted.law, float(tilted.t[0]), float(tilted.log_m[0])
    remainder = quadrature_remainders(tilted, highest)
    loss, even, odd = tilted.loss[0], tilted.even[0], tilted.odd[0]
    x, mu = np.abs(law.position[0, : len(loss)]), widest_mean(law)
    pairs = [pair for _, pair in law.profiles[0].parts]
    least = min(min(*p.gains, *p.p_weights, *p.q_weights) for p in pairs)
    magnitude = 2 * mu * x + mu * mu + abs(np.log(least)) + 10
    of_loss = 8 * _UNIT * magnitude
    of_mass = of_loss + 8 * _UNIT * np.square(x)
    of_mass += (100 + law.loss.shape[1] + 2 * abs(log_m)) * _UNIT
    size = np.abs(loss)
    relative = of_mass + of_loss * (2 + (2 * t + 1) * size)
    excess_error = remainder.excess()
    mean_size = float(even @ size)
    if law.folded:
        # the terms of `M(t) - 1`, and of the sine
        terms = 0.5 * (even + odd) * np.expm1(-t * size) * np.expm1(-(t + 1) * size)
        first = odd * size
    else:
        even = 2 * even
        terms, first = _terms(law, t, log_m)
    at_zero = float(relative @ terms) + excess_error
    if law.cut and not law.folded:  # E[e^{-L}] is 1 but for this
        at_zero += 2 * t * law.beyond * float(np.exp(-log_m))
    lost = np.ones(len(loss))
    lost[tilted.kept] = relative[tilted.kept]  # what is not kept is missing whole
    share = lost * even
    heavy = share > 1e-60
    angle = np.outer(grid, size[heavy])
    wave = np.minimum(np.square(angle), 2 + 2 * angle) @ share[heavy]
    # One-sided sums hold the mean of all nodes: what is not kept misses the defect of the sine
    # only, which `wave` covers. The mean itself lacks what is beyond a cut.
    of_mean = float((lost if law.folded else relative) @ first)
    if law.cut and not law.folded:
        of_mean += law.beyond * float(np.exp(-log_m))
    rounding = wave + 1e-50 * (1 + grid) + grid * of_mean
    return _StepError(
        tilted,
        count,
        mean_size,
        at_zero,
        excess_error,
        remainder,
        grid,
        np.asarray(rounding + remainder.characteristic(grid)),
    )


def _terms(law: LossLaw, t: float, log_m: float) -> tuple[Array, Array]:
    """Of one direction: the terms of which `M(t) - 1` and the sine's defect are sums."""
    loss, log_mass = law.loss[0], law.log_mass[0]
    size, power = np.abs(loss), t * loss
    with np.errstate(over="ignore", invalid="ignore"):
        mass, tilted = np.exp(log_mass - log_m), np.exp(log_mass + power - log_m)
        near = np.abs(power) < 0.4
        bend = np.where(
            near, mass * small_exp(np.where(near, power, 0.0)), tilted - mass * (1 + power)
        )
        near = size < 0.4
        back = np.where(
            near,
            mass * small_exp(np.where(near, -loss, 0.0)),
            np.exp(log_mass - loss - log_m) - mass * (1 - loss),
        )
        return np.abs(bend) + t * np.abs(back), size * np.abs(tilted - mass) + back


def _highest_tilt(line: Line) -> float:
    """The tilt that bounds the first alias best: the quadrature is proved up to it."""
    t, tilts = float(line.t[0]), line.chernoff.tilts[0]
    exponent = line.chernoff.levels[0] - tilts * (line.chosen_for[0] + line.period[0])
    above = tilts > t
    return float(tilts[above][np.argmin(exponent[above])]) if np.any(above) else t


def _between(s: _StepError, oscillation: OscillationBound, y: Array, square: Array) -> Array:
    """Bound on `|M(t + iy)|/M(t)` between neighbours: its square has a bounded derivative."""
    variance = float(s.tilted.variance[0])
    flattest = min(np.sqrt(2 * variance), 2 * s.mean_size)
    steep = np.minimum(2 * variance * y[1:], flattest)
    between = 0.5 * (square[1:] + square[:-1] + 1.001 * steep * np.diff(y))
    between = np.minimum(between, oscillation.square_between(y[:-1], y[1:]))
    return np.asarray(np.sqrt(np.clip(between, 0.0, 1.0)))


class ErrorBar:
    """Bounds on `log delta` near one epsilon, from one sampled line of one row."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._t = float(line.t[0])
        self._period = float(line.period[0])
        y = line.y[0]
        step = y[1]
        # errors are looked up in cells that reach farther than any sample
        grid = step * (1e11 * y[-1] / step) ** _ERROR_CELLS * (1 + 1e-12)
        highest = _highest_tilt(line)
        self._steps = [
            _step_error(law, float(count[0]), highest, grid)
            for law, count in zip(line.tilted.laws, line.tilted.counts, strict=True)
        ]
        kernel = np.hypot(self._t, y) * np.hypot(1 + self._t, y)
        self._size = np.exp(line.real[0]) / kernel
        self._weight = 2 / self._period
        # what the rounding of the sum grows with; nothing is left below e^-700
        turned = np.abs(line.phase[0]) + np.abs(np.maximum(line.real[0], -700.0)) + 10
        self._turned = self._weight * float(self._size @ turned)
        self._turning = self._weight * float(self._size @ y)
        self._sampling_error = self._weight * float(np.sum(self._line_error() / kernel))
        self._tail = self._weight * self._truncation(float(y[-1]), step) / step
        self._at_zero = sum(s.count * s.at_zero for s in self._steps)
        # each step's loss is the one of the nodes but for this chance
        self._beyond = sum(s.count * s.tilted.law.beyond for s in self._steps if s.tilted.law.cut)
        self._chernoff = self._trusted(line.chernoff, highest)

    def _line_error(self) -> Array:
        """Bound on the error of the integrand's numerator at the nodes."""
        y = self._line.y[0]
        grown = np.zeros_like(y)
        if len(self._steps) == 1:
            (s,) = self._steps
            log_f = np.maximum(self._line.real[0], -700.0)
            # log1p keeps errors far below the ulp of a modulus near 1, which the count multiplies
            grown = s.count * np.log1p(s.characteristic(y) * np.exp(-log_f / s.count))
            log_bound = log_f + grown
        else:
            log_bound = np.zeros_like(y)
            for s in self._steps:
                # The line knows the product only: this factor again, from its own law. The two
                # computations of it differ by at most twice the error.
                error, modulus = 3 * s.characteristic(y), np.abs(self._own(s, y))
                least = np.maximum(modulus - error, 1e-304)
                grown += s.count * np.log1p(2 * error / least)
                log_bound += s.count * (np.log(modulus + error) + 2 * _UNIT)
        grown[0] = 0.0
        return np.asarray(np.exp(np.minimum(log_bound, 700.0)) * -np.expm1(-grown))

    def _own(self, s: _StepError, y: Array) -> npt.NDArray[np.complex128]:
        """`M(t + iy)/M(t)` of one phase."""
        zero = np.zeros((1, 1))
        pieces = [
            s.tilted.characteristic(y[None, i : i + _BLOCK], zero) for i in range(0, len(y), _BLOCK)
        ]
        drop, turn = (np.concatenate(part, axis=1)[0] for part in zip(*pieces, strict=True))
        return np.asarray((1 - drop) + 1j * turn)

    def _truncation(self, last: float, step: float) -> float:
        """Bound on `step * sum |F|` over the nodes beyond `last`."""
        t = self._t
        oscillation = [OscillationBound(s.tilted, s.remainder) for s in self._steps]
        enough = _TAIL_TARGET * float(np.sum(self._size)) * step
        # Cells may double as long as samples at their ends bound what lies between.
        least = min(min(np.sqrt(s.tilted.variance[0]), s.mean_size) for s in self._steps)
        sampled = min(max(_TURNS / float(least), 2 * last), 1e10 * last)
        near = last * 2.0 ** np.arange(1 + int(np.log2(sampled / last)))
        y: Array = np.append(near, near[-1] * 4.0 ** np.arange(1, _FAR))
        squares, smooth = self._moduli(y, sampled, oscillation)
        before = np.inf
        for _ in range(_ROUNDS):
            log_bound = np.zeros(len(y))
            rows = zip(self._steps, oscillation, smooth, squares, strict=True)
            for s, bound, far, square in rows:
                near = np.append(_between(s, bound, y, square), 1.0)
                with np.errstate(divide="ignore"):
                    log_bound += s.count * np.log(np.minimum(far, near))
            kernel = np.hypot(t, y) * np.hypot(1 + t, y)
            # A node on the edge of two cells counts in both.
            place = (y - last) / step
            slack = 1e-6 + 1e-12 * place
            nodes = np.append(np.floor(place + slack)[1:] - np.ceil(place - slack)[:-1], 0.0) + 1
            share = np.exp(log_bound) * nodes * step / kernel
            share[-1] += np.exp(log_bound[-1]) / y[-1]
            total = float(np.sum(share))
            worst = np.flatnonzero(share[:-1] > 0.1 * enough / len(y))
            enough_nodes = len(y) + 3 * len(worst) > _MOST_POINTS
            # no more where narrower cells did not help
            if total < enough or len(worst) == 0 or enough_nodes or total > 0.9 * before:
                break
            before = total
            ratio = (y[worst + 1] / y[worst])[:, None]
            inner = (y[worst][:, None] * ratio ** (np.arange(1, 4) / 4)).ravel()
            at = np.searchsorted(y, inner)
            more = self._moduli(inner, sampled, oscillation)
            squares, smooth = np.insert(np.stack([squares, smooth]), at, more, axis=2)
            y = np.insert(y, at, inner)
        return total

    def _moduli(
        self, y: Array, sampled: float, oscillation: Sequence[OscillationBound]
    ) -> tuple[Array, Array]:
        """Bounds on `|M(t + iy)/M(t)|^2`, 1 beyond `sampled`, and on `|M/M(t)|` from `y` on."""
        squares = np.ones((len(self._steps), len(y)))
        near = y <= sampled
        if np.any(near):
            squares[:, near] = [self._square(s, y[near]) for s in self._steps]
        return squares, np.array([bound.modulus(y) for bound in oscillation])

    def _square(self, s: _StepError, y: Array) -> Array:
        """Upper bound on `|M(t + iy)/M(t)|^2`."""
        return np.asarray(np.square(np.abs(self._own(s, y)) + np.minimum(s.characteristic(y), 1.0)))

    def _trusted(self, chernoff: Chernoff, highest: float) -> Chernoff:
        """The tilts up to the highest, with exponents raised by a bound on their error.

        That of a step's `M` is the one at the highest tilt; `M` is at least 1, above `t` at least
        `M(t)`.
        """
        used = chernoff.tilts[0] <= highest
        tilts, exponents = chernoff.tilts[:, used], (1 + 1e-9) * chernoff.log_mgf[:, used]
        for s in self._steps:
            relative = np.where(tilts >= self._t, 0.0, min(float(s.tilted.log_m[0]), 700.0))
            exponents = exponents + s.count * np.exp(relative) * s.excess_error
        return Chernoff(tilts, exponents, chernoff.symmetric)

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on `log delta(epsilon)`."""
        line = self._line
        eps = np.array([epsilon])
        value, _, tops = line.sums(eps)
        total, top = float(value[0]), float(tops[0])
        known = float(line.known_aliases(eps, tops)[0][0])
        spread, factor, beyond = self._errors(epsilon, top)
        slop = 16 * _UNIT * known + beyond
        with np.errstate(over="ignore"):
            upper = (total + spread) * np.exp(min(factor, 700.0)) - known + slop
        period = np.array([[self._period]])
        alias = float(self._chernoff.aliases(line.t, eps, period)[0, 0])
        lower = (total - spread) * np.exp(-factor) - known - slop - np.exp(min(alias - top, 300.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_lower = float(np.log(lower)) + top if lower > 0 else -np.inf
            log_upper = float(np.log(upper)) + top if np.isfinite(upper) else np.inf
        ulps = 8 * _UNIT * (abs(top) + 10)
        return log_lower - ulps, log_upper + ulps

    def width(self, epsilon: float, log_delta: float) -> float:
        """About how far either bound is from `log_delta`, which `epsilon` has."""
        top = float(self._line.log_m[0]) - self._t * epsilon
        spread, factor, beyond = self._errors(epsilon, top)
        return (spread + beyond) * float(np.exp(min(top - log_delta, 300.0))) + factor

    def _errors(self, epsilon: float, top: float) -> tuple[float, float, float]:
        """What may be missing along the line, the relative error, and what no node covers."""
        rounding = 8 * _UNIT * (self._turned + self._turning * epsilon)
        factor = self._at_zero + 8 * _UNIT * (
            abs(float(self._line.log_m[0])) + self._t * epsilon + 10
        )
        beyond = 0.0
        if self._beyond > 0:
            beyond = float(np.exp(min(np.log(self._beyond) - top, 300.0)))
        return self._sampling_error + self._tail + rounding, factor, beyond
