"""Proved error bars of the inversion: aliases, truncation, quadrature and floating point.

`docs/theory.md`, "The exact engine", states and proves the four bounds that are added up here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import (
    Composition,
    Line,
    alias_bound,
    characteristic,
    chernoff_tilts,
)
from patchdp.composition.loss_law import LossLaw, small_exp
from patchdp.composition.strip import (
    OscillationBound,
    quadrature_remainders,
    widest_mean,
)

__all__ = ["ErrorBar"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
_TAIL_POINTS = 90
_TAIL_TARGET = 1e-10
_MOST_POINTS = 800
_ROUNDS = 6
_BLOCK = 128


@dataclass(frozen=True)
class _StepError:
    """What is known of one phase's `M` on the line: all numbers relative to `M(t)`."""

    law: LossLaw
    count: float
    log_m: float
    deviation: float
    mean_size: float
    at_zero: float
    mass_error: float
    grid: Array
    on_grid: Array

    def characteristic(self, y: Array) -> Array:
        """Bound on the error of the computed `M(t + iy)/M(t)`, for `y > 0`."""
        cell = np.minimum(np.searchsorted(self.grid, y), len(self.grid) - 1)
        return np.asarray(self.on_grid[cell] + 2 * self.at_zero)


def _step_error(law: LossLaw, count: float, t: float, grid: Array) -> _StepError:
    tilt = np.array([[t]])
    log_m, _, variance = (float(v[0, 0]) for v in law.cumulants(tilt))
    remainder = quadrature_remainders(law, t, log_m)
    loss, log_mass = law.loss[0], law.log_mass[0]
    x, mu = np.abs(law.position[0]), widest_mean(law)
    pairs = [pair for _, pair in law.profiles[0].parts]
    least = min(min(*p.gains, *p.p_weights, *p.q_weights) for p in pairs)
    magnitude = 2 * mu * x + mu * mu + abs(np.log(least)) + 10
    of_loss = 8 * _UNIT * magnitude
    of_mass = of_loss + 8 * _UNIT * np.square(x) + (100 + len(loss)) * _UNIT
    size = np.abs(loss)
    relative = of_mass + of_loss * (2 + (2 * t + 1) * size)
    with np.errstate(over="ignore", invalid="ignore"):
        mass = np.exp(log_mass - log_m)
        tilted = np.exp(log_mass + t * loss - log_m)
        power = t * loss
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
        slope = size * np.abs(tilted - mass) + back
    at_zero = float(np.sum(relative * (np.abs(bend) + t * np.abs(back))))
    at_zero += remainder.excess()
    if law.cut and not law.folded:  # E[e^{-L}] is 1 but for this
        at_zero += 2 * t * law.beyond * float(np.exp(-log_m))
    if law.folded:
        half = len(loss) // 2
        even = tilted[:half] + tilted[half:]
        odd = -tilted[:half] * np.expm1(-(2 * t + 1) * loss[:half])
        size, relative = size[:half], relative[:half]
        first = odd * size
    else:
        even, first = 2 * tilted, slope
    heavy = even * relative > 1e-60
    share, span = (relative * even)[heavy], size[heavy]
    wave = [share @ np.minimum(np.square(y * span), 2 + 2 * y * span) for y in grid]
    rounding = np.array(wave) + 1e-50 * (1 + grid) + grid * float(np.sum(relative * first))
    quadrature = remainder.characteristic(grid)
    return _StepError(
        law,
        count,
        log_m,
        float(np.sqrt(variance)),
        float(np.sum(tilted * np.abs(loss))),
        at_zero,
        remainder.mass(),
        grid,
        np.asarray(rounding + quadrature),
    )


def _blockwise(function: Callable[[Array], Array], y: Array) -> Array:
    return np.concatenate([function(y[i : i + _BLOCK]) for i in range(0, len(y), _BLOCK)])


class ErrorBar:
    """Bounds on `log delta` near one epsilon, from one sampled line.

    Args:
      composition, line: One row of each.
    """

    def __init__(self, composition: Composition, line: Line) -> None:
        self._line, self._composition = line, composition
        self._t = float(line.t[0])
        self._period = float(line.period[0])
        y = line.y[0]
        step = y[1]
        grid = np.geomspace(step, 1e10 * y[-1], 200) * (1 + 1e-12)
        self._steps = [
            _step_error(law, float(count[0]), self._t, grid)
            for law, count in zip(composition.laws, composition.counts, strict=True)
        ]
        kernel = np.hypot(self._t, y) * np.hypot(1 + self._t, y)
        self._size = np.exp(line.real[0]) / kernel
        self._weight = 2 / self._period
        self._sampling_error = self._weight * float(np.sum(self._line_error() / kernel))
        self._tail = self._weight * self._truncation(float(y[-1]), step) / step
        self._at_zero = sum(s.count * s.at_zero for s in self._steps)
        # each step's loss is the one of the nodes but for this chance
        self._beyond = sum(s.count * s.law.beyond for s in self._steps if s.law.cut)
        deviation = np.sqrt(sum(s.count * s.deviation**2 for s in self._steps))
        self._tilts = chernoff_tilts(composition, line.t, np.array([max(deviation, 1e-150)]))
        self._chernoff = composition.cumulants(self._tilts)[0]
        self._trust_chernoff()

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
        zero, tilt = np.zeros((1, 1)), np.array([self._t])
        pieces = [
            characteristic(s.law, tilt, y[None, i : i + _BLOCK], zero)
            for i in range(0, len(y), _BLOCK)
        ]
        drop, turn = (np.concatenate(part, axis=1)[0] for part in zip(*pieces, strict=True))
        return np.asarray((1 - drop) + 1j * turn)

    def _truncation(self, last: float, step: float) -> float:
        """Bound on `step * sum |F|` over the nodes beyond `last`."""
        t = self._t
        oscillation = []
        for s in self._steps:
            oscillation.append(OscillationBound(s.law, t, s.log_m, s.mass_error))
        y: Array = np.asarray(last * 1.3 ** np.arange(_TAIL_POINTS), dtype=np.float64)
        enough = _TAIL_TARGET * float(np.sum(self._size)) * step
        total = np.inf
        for _ in range(_ROUNDS):
            log_bound = np.zeros(len(y))
            for s, bound in zip(self._steps, oscillation, strict=True):
                analytic = _blockwise(bound.modulus, y)
                sampled = np.append(self._sampled(s, y), 1.0)
                with np.errstate(divide="ignore"):
                    log_bound += s.count * np.log(np.minimum(analytic, sampled))
            kernel = np.hypot(t, y) * np.hypot(1 + t, y)
            length = np.append(np.diff(y), 0.0) + step
            share = np.exp(log_bound) * length / kernel
            share[-1] += np.exp(log_bound[-1]) / y[-1]
            total = float(np.sum(share))
            worst = np.flatnonzero(share[:-1] > 0.1 * enough / len(y))
            if total < enough or len(worst) == 0 or len(y) + 3 * len(worst) > _MOST_POINTS:
                break
            inner = y[worst][:, None] + np.diff(y)[worst][:, None] * np.arange(1, 4) / 4
            y = np.unique(np.concatenate([y, inner.ravel()]))
        return total

    def _sampled(self, s: _StepError, y: Array) -> Array:
        """Bound on `|M(t + iy)|/M(t)` between neighbours: `|phi|^2` has a bounded derivative."""
        error = np.minimum(s.characteristic(y), 1.0)
        square = np.square(np.abs(self._own(s, y)) + error)
        steep = np.minimum(
            2 * s.deviation**2 * y[1:], min(np.sqrt(2) * s.deviation, 2 * s.mean_size)
        )
        between = 0.5 * (square[1:] + square[:-1] + 1.001 * steep * np.diff(y))
        return np.asarray(np.sqrt(np.clip(between, 0.0, 1.0)))

    def _trust_chernoff(self) -> None:
        """Raise Chernoff's exponents by a bound on their error (absolute errors grow with t)."""
        tilts = self._tilts[0]
        raised = np.zeros_like(tilts)
        anchors = tilts[tilts >= self._t]
        anchors = np.unique(np.concatenate([[self._t], anchors[2::3], anchors[-1:]]))
        for s in self._steps:
            here = s.law.cumulants(self._tilts)[0][0]
            errors = []
            for tilt in anchors:
                log_m = float(s.law.cumulants(np.array([[tilt]]))[0][0, 0])
                error = quadrature_remainders(s.law, float(tilt), log_m).excess()
                errors.append(np.log(error + 1e-300) + log_m)
            above = np.array(errors)[np.searchsorted(anchors, tilts)]
            raised += s.count * np.exp(np.minimum(above - here, 100.0))
        self._chernoff = self._chernoff * (1 + 1e-9) + raised

    def bounds(self, epsilon: float) -> tuple[float, float]:
        """Lower and upper bound on `log delta(epsilon)`."""
        line = self._line
        eps = np.array([epsilon])
        value, _ = line.log_delta(eps)
        top = float(line.log_m[0]) - self._t * epsilon
        known = float(line.known_aliases(eps, np.array([top]))[0][0])
        total = np.exp(float(value[0]) - top) + known
        phase = np.abs(line.phase[0]) + line.y[0] * epsilon + 10
        phase = phase + np.abs(np.maximum(line.real[0], -700.0))  # nothing is left below
        rounding = 8 * _UNIT * self._weight * float(np.sum(self._size * phase))
        spread = self._sampling_error + self._tail + rounding
        factor = self._at_zero + 8 * _UNIT * (abs(float(line.log_m[0])) + self._t * epsilon + 10)
        slop = 16 * _UNIT * known
        upper = (total + spread) * np.exp(min(factor, 700.0)) - known + slop
        alias = alias_bound(self._tilts, self._chernoff, line.t, eps, np.array([[self._period]]))[
            0, 0
        ]
        lower = (total - spread) * np.exp(-factor) - known - slop - np.exp(min(alias - top, 300.0))
        beyond = 0.0
        if self._beyond > 0:
            beyond = float(np.exp(min(np.log(self._beyond) - top, 300.0)))
        upper, lower = upper + beyond, lower - beyond
        with np.errstate(divide="ignore", invalid="ignore"):
            log_lower = float(np.log(lower)) + top if lower > 0 else -np.inf
            log_upper = float(np.log(upper)) + top if np.isfinite(upper) else np.inf
        ulps = 8 * _UNIT * (abs(top) + 10)
        return log_lower - ulps, log_upper + ulps
