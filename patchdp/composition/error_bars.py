"""Proved error bars of the inversion: aliases, truncation, quadrature and floating point.

`docs/theory.md`, "The exact engine", states and proves the four bounds that are added up here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchdp.composition.inversion import (
    Composition,
    Line,
    TiltedLaw,
    alias_bound,
    log_kernel_peak,
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
_NEAR, _FAR = 15, 22  # first places where the tail is bounded
_TAIL_TARGET = 1e-9
_MOST_POINTS = 800
_ROUNDS = 12
_BLOCK = 128
_ERROR_CELLS = 70


@dataclass(frozen=True)
class _StepError:
    """What is known of one phase's `M` on the line: all numbers relative to `M(t)`."""

    law: LossLaw
    tilted: TiltedLaw
    count: float
    log_m: float
    deviation: float
    mean_size: float
    at_zero: float
    excess_error: float
    mass_error: float
    grid: Array
    on_grid: Array

    def characteristic(self, y: Array) -> Array:
        """Bound on the error of the computed `M(t + iy)/M(t)`, for `y > 0`."""
        cell = np.minimum(np.searchsorted(self.grid, y), len(self.grid) - 1)
        return np.asarray(self.on_grid[cell] + 2 * self.at_zero)


def _step_error(law: LossLaw, count: float, t: float, highest: float, grid: Array) -> _StepError:
    tilt = np.array([[t]])
    log_m, _, variance = (float(v[0, 0]) for v in law.cumulants(tilt))
    remainder = quadrature_remainders(law, t, log_m, highest)
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
    excess_error = remainder.excess()
    at_zero += excess_error
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
    angle = np.outer(grid, span)
    wave = np.minimum(np.square(angle), 2 + 2 * angle) @ share
    rounding = wave + 1e-50 * (1 + grid) + grid * float(np.sum(relative * first))
    quadrature = remainder.characteristic(grid)
    return _StepError(
        law,
        TiltedLaw(law, np.array([t])),
        count,
        log_m,
        float(np.sqrt(variance)),
        float(np.sum(tilted * np.abs(loss))),
        at_zero,
        excess_error,
        remainder.mass(),
        grid,
        np.asarray(rounding + quadrature),
    )


def _highest_tilt(line: Line) -> float:
    """The tilt that bounds the first alias best: the quadrature is proved up to it."""
    t, tilts = float(line.t[0]), line.tilts[0]
    exponent = line.chernoff[0] + log_kernel_peak(tilts)
    exponent = exponent - tilts * (line.chosen_for[0] + line.period[0])
    above = tilts > t
    return float(tilts[above][np.argmin(exponent[above])]) if np.any(above) else t


def _between(s: _StepError, y: Array, square: Array) -> Array:
    """Bound on `|M(t + iy)|/M(t)` between neighbours: its square has a bounded derivative."""
    flattest = min(np.sqrt(2) * s.deviation, 2 * s.mean_size)
    steep = np.minimum(2 * s.deviation**2 * y[1:], flattest)
    between = 0.5 * (square[1:] + square[:-1] + 1.001 * steep * np.diff(y))
    return np.asarray(np.sqrt(np.clip(between, 0.0, 1.0)))


class ErrorBar:
    """Bounds on `log delta` near one epsilon, from one sampled line.

    Args:
      composition, line: One row of each.
    """

    def __init__(self, composition: Composition, line: Line) -> None:
        self._line = line
        self._t = float(line.t[0])
        self._period = float(line.period[0])
        y = line.y[0]
        step = y[1]
        grid = np.geomspace(step, 1e11 * y[-1], _ERROR_CELLS) * (1 + 1e-12)
        highest = _highest_tilt(line)
        used = line.tilts[0] <= highest
        self._tilts, self._chernoff = line.tilts[:, used], line.chernoff[:, used]
        self._steps = [
            _step_error(law, float(count[0]), self._t, highest, grid)
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
        zero = np.zeros((1, 1))
        pieces = [
            s.tilted.characteristic(y[None, i : i + _BLOCK], zero) for i in range(0, len(y), _BLOCK)
        ]
        drop, turn = (np.concatenate(part, axis=1)[0] for part in zip(*pieces, strict=True))
        return np.asarray((1 - drop) + 1j * turn)

    def _truncation(self, last: float, step: float) -> float:
        """Bound on `step * sum |F|` over the nodes beyond `last`."""
        t = self._t
        oscillation = [OscillationBound(s.law, t, s.log_m, s.mass_error) for s in self._steps]
        enough = _TAIL_TARGET * float(np.sum(self._size)) * step
        y: Array = last * np.append(1.3 ** np.arange(_NEAR), 1.3**_NEAR * 2.5 ** np.arange(_FAR))
        # Bounds of each step, 1 where not computed: near `last` sampling is better, far out the
        # other; elsewhere both are computed where they are missed.
        squares, analytic = np.ones((2, len(self._steps), len(y)))
        squares[:, :_NEAR] = [self._square(s, y[:_NEAR]) for s in self._steps]
        analytic[:, _NEAR:] = [bound.modulus(y[_NEAR:]) for bound in oscillation]
        complete, before = np.zeros(len(y), dtype=bool), np.inf
        for _ in range(_ROUNDS):
            log_bound = np.zeros(len(y))
            for s, far, square in zip(self._steps, analytic, squares, strict=True):
                sampled = np.append(_between(s, y, square), 1.0)
                with np.errstate(divide="ignore"):
                    log_bound += s.count * np.log(np.minimum(far, sampled))
            kernel = np.hypot(t, y) * np.hypot(1 + t, y)
            # A node on the edge of two cells counts in both.
            place = (y - last) / step
            slack = 1e-6 + 1e-12 * place
            nodes = np.append(np.floor(place + slack)[1:] - np.ceil(place - slack)[:-1], 0.0) + 1
            share = np.exp(log_bound) * nodes * step / kernel
            share[-1] += np.exp(log_bound[-1]) / y[-1]
            total = float(np.sum(share))
            worst = np.flatnonzero(share[:-1] > 0.1 * enough / len(y))
            if total < enough or len(worst) == 0 or len(y) + 3 * len(worst) > _MOST_POINTS:
                break
            ends = np.union1d(worst, worst + 1)
            if np.all(complete[ends]):
                if total > 0.9 * before:
                    break  # narrower cells did not help
                before = total
                ratio = (y[worst + 1] / y[worst])[:, None]
                inner = (y[worst][:, None] * ratio ** (np.arange(1, 4) / 4)).ravel()
                order = np.argsort(np.concatenate([y, inner]))
                ends = np.flatnonzero(order >= len(y))
                y = np.concatenate([y, inner])[order]
                pad = ((0, 0), (0, len(inner)))
                squares, analytic = np.pad(squares, pad)[:, order], np.pad(analytic, pad)[:, order]
                complete = np.pad(complete, pad[1])[order]
            else:
                ends = ends[~complete[ends]]
            squares[:, ends] = [self._square(s, y[ends]) for s in self._steps]
            analytic[:, ends] = [bound.modulus(y[ends]) for bound in oscillation]
            complete[ends] = True
        return total

    def _square(self, s: _StepError, y: Array) -> Array:
        """Upper bound on `|M(t + iy)/M(t)|^2`."""
        return np.asarray(np.square(np.abs(self._own(s, y)) + np.minimum(s.characteristic(y), 1.0)))

    def _trust_chernoff(self) -> None:
        """Raise Chernoff's exponents by a bound on their error.

        That of a step's `M` is the one at the highest tilt; `M` is at least 1, above `t` at least
        `M(t)`.
        """
        self._chernoff = (1 + 1e-9) * self._chernoff
        for s in self._steps:
            relative = np.where(self._tilts >= self._t, 0.0, min(s.log_m, 700.0))
            self._chernoff += s.count * np.exp(relative) * s.excess_error

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
        with np.errstate(over="ignore"):
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
