"""Check every error bar of the exact engine against independent computations.

    python benchmarks/exact_accuracy.py --settings 2000 --mpmath 40

Random training settings over the whole range of the engine. Each bound on log delta is compared
with one of

- the closed form of the Gaussian mechanism at rate 1, in 50 digits;
- the closed form of one step, in 50 digits;
- for two steps, the mean of the closed form of the second over the loss of the first;
- an inversion on another contour with another quadrature, in 80-bit floats: a line that bends to
  the right, along which everything decays, with `M(z)` summed along a path in the complex plane.
  It is believed when another line, path, start and finer steps do not move it;
- (`--mpmath` of them) an inversion in 50 digits along a displaced line, sinh-mapped trapezoid over
  `y`, double-exponential over `x`;
- where it is not, and few steps take part, the same without the total loss of 0;
- where neither is believed, an inversion of the large losses alone with a window in the
  logarithm of the loss. It is believed when another window, period and length do not move it.

References share no code with the engine and take nothing from it but the epsilon it proposes, which
is rounded, so that a later engine is asked the same and `--references` can reuse them.

Prints how many bars held, the widest bar, the worst error of the estimate, and where the engine
refuses. Exit code 1 if a bar does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from scipy import optimize, special

from patchdp.composition import prove
from patchdp.step import MixturePair, StepProfile, fixed_size_pair, poisson_pair

DIGITS = 50


@dataclass(frozen=True)
class Setting:
    """One random question."""

    sampling: str
    rate: float
    inclusion: float
    sigma: float
    steps: int
    log_delta: float

    @property
    def pair(self) -> MixturePair:
        """The step's pair."""
        if self.sampling == "poisson":
            return poisson_pair(rate=self.rate, inclusion=self.inclusion, mu=1 / self.sigma)
        return fixed_size_pair(rate=self.rate * self.inclusion, mu=1 / self.sigma)

    @property
    def phases(self) -> list[tuple[StepProfile, int]]:
        """The whole training."""
        return [(StepProfile(((1.0, self.pair),), attainable=True), self.steps)]

    @property
    def participations(self) -> float:
        """Effective participations `T r`."""
        return self.steps * self.rate * self.inclusion


LEAST, MOST = 1e-6, 1e4  # epsilon, where it is not 0


def draw(rng: np.random.Generator) -> Setting:
    """A setting, uniform in the logarithms of its ranges; their ends come up often."""

    def uniform(low: float, high: float, ends: float) -> float:
        """Uniform in the exponent, or with chance `ends` one of both ends."""
        if rng.random() < ends:
            return low if rng.random() < 0.5 else high
        return math.exp(rng.uniform(math.log(low), math.log(high)))

    participations = uniform(1e-3, 1e9, 0.02)
    steps = math.ceil(uniform(max(1.0, participations), 1e12, 0.1))
    both = min(participations / steps, 1.0)  # the chance that a step sees the patch
    inclusion = uniform(max(both, 1e-6), 1.0, 0.5)
    return Setting(
        sampling="poisson" if rng.random() < 0.5 else "fixed",
        rate=min(both / inclusion, 1.0),
        inclusion=inclusion,
        sigma=uniform(0.2, 1000.0, 0.05),
        steps=steps,
        log_delta=-uniform(math.log(10), 300 * math.log(10), 0.05),
    )


def gaussian_log_delta(mu: float, steps: int, epsilon: float) -> float:
    """The Gaussian mechanism at total distance `2 mu sqrt(T)`, in enough digits to cancel."""
    with mpmath.workdps(DIGITS + 800):
        d = 2 * mpmath.mpf(mu) * mpmath.sqrt(steps)
        eps = mpmath.mpf(epsilon)
        high = mpmath.ncdf(d / 2 - eps / d)
        return float(mpmath.log(high - mpmath.exp(eps) * mpmath.ncdf(-d / 2 - eps / d)))


def one_step_log_delta(pair: MixturePair, epsilon: float) -> float:
    """`P(L > eps) - e^eps Q(L > eps)` of one step, in enough digits to cancel."""
    with mpmath.workdps(DIGITS + 800):
        q = [
            (mpmath.mpf(w), mpmath.mpf(m))
            for w, m in zip(pair.q_weights, pair.q_means, strict=True)
        ]
        gain, shift = mpmath.mpf(pair.gains[0]), mpmath.mpf(pair.shifts[0])
        p = [*q[:-1], (q[-1][0] - gain, -shift), (gain, shift)]
        a = mpmath.exp(epsilon)

        def gap(x: Any) -> Any:
            def mix(parts: Any) -> Any:
                return mpmath.fsum(w * mpmath.exp(m * x - m * m / 2) for w, m in parts)

            return mix(p) - a * mix(q)

        low, high = mpmath.mpf(0), mpmath.mpf(1)
        while gap(high) <= 0:
            high *= 2
        for _ in range(int(3.33 * (DIGITS + 400))):
            middle = (low + high) / 2
            low, high = (middle, high) if gap(middle) <= 0 else (low, middle)
        delta = mpmath.fsum(w * mpmath.ncdf(m - low) for w, m in p)
        delta -= a * mpmath.fsum(w * mpmath.ncdf(m - low) for w, m in q)
        return float(mpmath.log(delta))


def two_steps_log_delta(pair: MixturePair, other: MixturePair, epsilon: float) -> float:
    """`E[delta(epsilon - L)]`, `L` the loss of `pair` and `delta` of the other step, in logs."""
    profile = StepProfile(((1.0, other),), attainable=True)
    mu = max(pair.shifts)
    ends = [float(pair.position(epsilon)), float(pair.position(max(epsilon, 1e-9) * 2))]
    top = max(mu + 45.0, ends[0] + 20.0)
    cuts = np.concatenate(
        [np.arange(0.0, top, 0.2 / max(1.0, mu)), ends, 0.02 * 0.8 ** np.arange(80)]
    )
    for end in ends:  # delta_1 has a kink at 0
        cuts = np.concatenate(
            [cuts, end + 0.05 * 0.5 ** np.arange(50), end - 0.05 * 0.5 ** np.arange(50)]
        )
    cuts = np.unique(cuts[(cuts >= 0) & (cuts <= top)])
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = 0.5 * np.diff(cuts)
    x = ((cuts[1:] + cuts[:-1])[:, None] / 2 + half[:, None] * nodes).ravel()
    log_w = np.log((half[:, None] * weights).ravel())
    loss = pair.loss(x)
    log_q = pair.log_q(x) + log_w
    log_p = log_q + loss
    atom = 1.0 - float(np.sum(np.exp(log_p)) + np.sum(np.exp(log_q)))
    logs = [log_p + profile.log_delta(epsilon - loss), log_q + profile.log_delta(epsilon + loss)]
    rest = math.log(max(atom, 1e-300)) + float(profile.log_delta(epsilon))
    return float(np.logaddexp.reduce(np.concatenate([*logs, [rest]])))


class SplitInversion:
    """The large losses alone: `M^T - (M - M_l)^T`, `M_l` windowed in the logarithm of the loss."""

    def __init__(self, setting: Setting, epsilon: float, place: float, fine: float) -> None:
        self.steps, self.eps, self.place = setting.steps, epsilon, place
        pair = setting.pair
        mu = max(pair.shifts)
        end = mu + math.sqrt(2 * (math.log(setting.steps) - setting.log_delta + 40.0)) + 8.0
        step = min(0.01, 0.12 / end, 0.12 / (mu * end)) / fine
        u = np.arange(-3.2, math.log(end), step).astype(np.longdouble)
        x = np.exp(u - np.exp(-u))
        gain, shift = np.longdouble(pair.gains[0]), np.longdouble(mu)
        mixture = sum(
            np.longdouble(w) * np.exp(np.longdouble(m) * (x - np.longdouble(m) / 2))
            for w, m in zip(pair.q_weights, pair.q_means, strict=True)
        )
        loss = np.log1p(gain * np.exp(-shift * shift / 2) * 2 * np.sinh(shift * x) / mixture)
        size = step * x * (1 + np.exp(-u)) / np.sqrt(2 * np.longdouble(np.pi))
        self.loss = loss.astype(float)
        self.log_q = (np.log(size) - x * x / 2 + np.log(mixture)).astype(float)
        self.window = special.ndtr((np.log(self.loss) - math.log(place)) / 0.15)

    def _moments(self, z: Any) -> tuple[Any, Any]:
        """`M - 1` and `M_l` at complex `z`."""
        zl = z[:, None] * self.loss
        up, down = np.exp(zl + self.log_q + self.loss), np.exp(self.log_q - zl)
        excess = np.expm1(-zl) * np.expm1(-zl - self.loss) * up
        return np.sum(excess, axis=1), (up + down) @ self.window

    def log_delta(self, tilt: float, period: float, last: float) -> float:
        """Trapezoid rule along `Re z = tilt` up to `y = last`."""
        step = 2 * math.pi / period
        total, base = 0.0, 0.0
        for first in range(0, int(last / step) + 1, 32):
            y = step * np.arange(first, first + 32)
            z = tilt + 1j * y
            excess, band = self._moments(z)
            power = self.steps * _log1p(excess)
            base = power[0].real if first == 0 else base
            value = np.exp(power - base - 1j * y * self.eps)
            value = value * -np.expm1(self.steps * _log1p(-band / (1 + excess))) / (z * (1 + z))
            value[0] *= 0.5 if first == 0 else 1.0
            total += float(np.sum(value.real))
            if np.max(np.abs(value)) < 1e-17 * abs(total):
                break
        if total <= 0:
            return math.nan
        return base - tilt * self.eps + math.log(total * 2 / period)

    def best_tilt(self) -> tuple[float, float]:
        """Where the integrand is smallest on the real axis; Chernoff's log bound on the rest."""
        t = np.geomspace(0.02, 900.0, 160) / max(self.eps, self.place)
        with np.errstate(all="ignore"):
            excess, band = self._moments(t)
            log_f = self.steps * np.log1p(excess) + np.log(
                -np.expm1(self.steps * np.log1p(-np.minimum(band / (1 + excess), 1 - 1e-16)))
            )
            size = log_f - t * self.eps - np.log(t) - np.log1p(t)
            small = np.sum(
                np.expm1(-t[:, None] * self.loss)
                * np.expm1(-(t[:, None] + 1) * self.loss)
                * np.exp(t[:, None] * self.loss + self.log_q + self.loss)
                * (1 - self.window),
                axis=1,
            )  # as if what the window takes were put at loss 0: no less than the rest
            rest = self.steps * np.log1p(small) - t * self.eps
            rest = rest + t * np.log(t) - (1 + t) * np.log1p(t)
        best = int(np.argmin(np.where(np.isfinite(size), size, np.inf)))
        return float(t[best]), float(np.min(np.where(np.isfinite(rest), rest, np.inf)))


def split_log_delta(setting: Setting, epsilon: float) -> tuple[float, float]:
    """`log delta` from two windows, periods and lengths, and how far they are apart."""
    best = math.nan, math.inf
    if epsilon <= 0:
        return best
    for shares in ((2.5, 3.5), (5.0, 8.0), (14.0, 24.0)):
        found = []
        for share, longer in zip(shares, (1.0, 1.4), strict=True):
            place = epsilon / share
            inversion = SplitInversion(setting, epsilon, place, 2 * longer)
            tilt, rest = inversion.best_tilt()
            period = longer * (2 * epsilon + (45.0 + 2 * min(-setting.log_delta, 45.0)) / tilt)
            last = longer * 60.0 / place
            if period * last / 6.3 * len(inversion.loss) > 4e7:
                return best
            with np.errstate(all="ignore"):
                found.append(inversion.log_delta(tilt, period, last))
        # both leave the same small losses out
        moved = abs(found[1] - found[0]) + math.exp(min(rest - found[1], 600.0))
        if moved < best[1]:
            best = found[1], moved
    return best


Long = np.longdouble
LongArray = Any  # of `Long`, or of complex numbers made of two


class BentLine:
    """An inversion in 80-bit floats along a line that bends to the right.

    There `e^{-z eps}` decays whatever the law of the loss does, so no windows are needed. `M(z)` is
    a trapezoid sum along a path that leaves the real axis of `x` to where `e^{zL(x)}` decays too.

    Args:
      setting, epsilon: The question.
      bend: Slope of the line far out.
      lean: Slope of the path in `x`, more than `bend`.
      fine: Nodes are closer by this factor.
      aside: How far beside the saddle point the line begins, in its widths.
      without: Whether to invert `M^T - 1`. A total loss of 0 has no share in delta at
        `epsilon > 0`; where few steps take part it is most of `M^T`, and would have to cancel.
    """

    def __init__(
        self,
        setting: Setting,
        epsilon: float,
        *,
        bend: float = 0.5,
        lean: float = 0.65,
        fine: float = 1.0,
        aside: float = 0.0,
        without: bool = False,
    ) -> None:
        self.setting, self.eps, self.steps = setting, Long(epsilon), Long(setting.steps)
        self.without = without
        self.bend, self.lean, self.fine, self.aside = Long(bend), Long(lean), fine, aside
        pair = setting.pair
        self.gain, self.mu = Long(pair.gains[0]), Long(max(pair.shifts))
        self.q = [(Long(w), Long(m)) for w, m in zip(pair.q_weights, pair.q_means, strict=True)]
        # from here on one component each of P and Q is most of it
        mu, gain = float(self.mu), float(self.gain)
        weight = dict(zip(pair.q_means, pair.q_weights, strict=True))
        below, centre = weight.get(-mu, 0.0), weight.get(0.0, 0.0)
        self.single = max(0.0, math.log(max(below - gain, 1e-300) / gain) / (2 * mu))
        if centre:
            self.single = max(self.single, math.log(centre / gain) / mu + mu / 2)
            self.single = max(self.single, math.log(below / centre) / mu - mu / 2)

    def _rise(self, x: LongArray) -> tuple[LongArray, LongArray]:
        """`e^L - 1` and the mixture `Q` over the normal density."""
        mixture = sum(w * np.exp(m * (x - m / 2)) for w, m in self.q)
        return self.gain * np.exp(-(self.mu**2) / 2) * 2 * np.sinh(self.mu * x) / mixture, mixture

    def _real(self, end: float) -> tuple[LongArray, ...]:
        """Positions on the real axis, their weights, losses and masses under `Q`."""
        d, step = min(1.0, 1.0 / float(self.mu)), 0.1 / self.fine
        v = np.arange(-4.4, end / d + step, step).astype(Long)
        s = v - np.exp(-v)
        x = d * np.logaddexp(Long(0), s)
        width = step * d * (1 + np.exp(-v)) / (1 + np.exp(-s))
        rise, mixture = self._rise(x)
        return x, width, np.log1p(rise), np.exp(-x * x / 2) * mixture * width / _ROOT_2PI

    def _excess(self, t: float) -> tuple[Any, LongArray, LongArray]:
        """`M - 1` at a real tilt, losses and tilted masses."""
        *_, loss, mass = self._real(min(float(self.mu) * (1 + 2 * t) + 14, self.end))
        up = np.exp(t * loss + loss + np.log(mass))
        return np.sum(up * np.expm1(-t * loss) * np.expm1(-(t + 1) * loss)), loss, up

    def _saddle(self) -> tuple[float, float]:
        """The minimum of the integrand on the real axis, and its logarithm there."""

        def level(s: float) -> float:
            t = math.exp(s)
            power = self.steps * np.log1p(self._excess(t)[0])
            if self.without:
                power += np.log(-np.expm1(-power))
            value = float(power - t * self.eps - math.log(t) - math.log1p(t))
            return value if math.isfinite(value) else 1e300

        low = 1e-3 if self.eps <= 1 else 1e-5 / float(self.eps)
        grid = np.linspace(math.log(low), math.log(self.most), 60)
        best = int(np.clip(np.argmin([level(s) for s in grid]), 1, len(grid) - 2))
        found = optimize.minimize_scalar(
            level,
            bounds=(grid[best - 1], grid[best + 1]),
            method="bounded",
            options={"xatol": 1e-3},
        )
        return math.exp(found.x), float(found.fun)

    def _end_at(self, factor: float) -> None:
        """Leave out positions that are too rare to matter, and tilts to which they would."""
        log_steps = math.log(self.setting.steps)
        rare = 2 * (log_steps - self.setting.log_delta + 55)
        self.end = float(self.mu) + math.sqrt(rare) * (1 + 0.1 * (self.fine - 1)) * factor
        loss = float(np.log1p(self._rise(np.array([self.end], dtype=Long))[0][0]))
        self.most = (0.5 * (self.end - float(self.mu)) ** 2 - log_steps - 45) / loss

    def _start(self) -> tuple[float, float]:
        """The saddle point and its width."""
        best = (0.0, math.inf, 1.0)
        for factor in (1.0, 1.4, 2.0, 3.0):
            self._end_at(factor)
            t, level = self._saddle()
            if level < best[1] - 6:
                best = (t, level, factor)
            if t < 0.9 * self.most:
                break
        self._end_at(best[2])
        t = best[0]
        excess, loss, up = self._excess(t)
        share = -np.expm1(-self.steps * np.log1p(excess)) if self.without else 1
        spread = float(self.steps * np.sum(up * loss * loss) / (1 + excess) / share)
        return t, 1 / math.sqrt(spread + 1 / t**2)

    def _moments(self, z: LongArray) -> LongArray:
        """`M(z) - 1`."""
        x, width, loss, mass = self.real
        mu, turn = float(self.mu), 0.55 * math.pi / (2 * float(self.mu))
        # Along a ray, but level at height `turn` until the loss is linear.
        slope = np.minimum(self.lean, z.imag / (z.real + 0.5))[:, None]
        level = turn / np.maximum(slope, Long(1e-30))
        rise_again = np.maximum(level, Long(self.single))
        d = Long(0.3 / mu)

        def ramp(from_here: LongArray) -> LongArray:
            return d * (np.logaddexp(0, (x - from_here) / d) - np.logaddexp(0, -from_here / d))

        height = slope * (x - ramp(level) + ramp(rise_again))
        steep = 1 / (1 + np.exp((level - x) / d)) - 1 / (1 + np.exp((rise_again - x) / d))
        steep = slope * (1 - steep)
        at = x + 1j * height
        rise, mixture = self._rise(at)
        own = _log1p(rise)
        own = own.real + 1j * np.unwrap(own.imag, axis=1)
        p = np.exp(own - at * at / 2) * mixture * (1 + 1j * steep) * width / _ROOT_2PI
        up, down = z[:, None] * own, -z[:, None] * loss
        far = np.sum(np.expm1(up) * p, axis=1) + np.sum(np.expm1(down) * mass, axis=1)
        # Where all is small the first order, which cancels, is taken apart.
        near = np.sum(_small_exp(up) * p, axis=1) + np.sum(_small_exp(down) * mass, axis=1)
        upper = mass * np.exp(loss)
        near = near - z * np.sum(upper * loss * np.expm1(-loss))
        return np.where(np.abs(z) * np.sum(upper * loss) < np.sum(upper), near, far)

    def log_delta(self) -> tuple[float, float]:
        """`log delta` and its rounding error, `nan` where the line does not decay."""
        t, width = self._start()
        t += self.aside * width
        self.real = self._real(min(1.6 * float(self.mu) * (1 + 2 * t) + 18, self.end))
        radius, step = max(width, t), Long(0.03 / self.fine)
        total, size, base, v = Long(0), Long(0), None, Long(0)
        while v < 60:
            at = v + step * np.arange(24)
            y = width * np.sinh(at)
            root = np.hypot(y, radius)
            z = t + self.bend * (root - radius) + 1j * y
            slope = step * width * np.cosh(at) * (self.bend * y / root + 1j)
            power = self.steps * _log1p(self._moments(z))
            if self.without:
                power = np.log(np.expm1(power))
            power = power - z * self.eps - np.log(z) - np.log(1 + z)
            base = power[0].real if base is None else base
            values = (np.exp(power - base) * slope).imag
            values[0] *= 0.5 if v == 0 else 1.0
            total += np.sum(values)
            size += np.sum(np.abs(values))
            if not np.isfinite(total) or total == 0:
                break
            if np.max(np.abs(values[-12:])) < 1e-22 * abs(total):
                if total > 0:
                    rounding = 1e-18 * float((10 + abs(base)) * size / total)
                    return float(base + np.log(total / _PI)), rounding
                break
            v = at[-1] + step
        return math.nan, math.inf


_PI = Long("3.14159265358979323846")
_ROOT_2PI = np.sqrt(2 * _PI)


def _log1p(w: Any) -> Any:
    """numpy's own loses the real part of small complex numbers."""
    re, im = w.real, w.imag
    return 0.5 * np.log1p(re * (2 + re) + im * im) + 1j * np.arctan2(im, 1 + re)


def _small_exp(u: LongArray) -> LongArray:
    """`e^u - 1 - u`."""
    near = np.abs(u) < 0.25
    v = np.where(near, u, 0)
    series = np.full_like(v, Long(1) / 20)
    for k in range(19, 2, -1):
        series = (1 + v * series) / k
    return np.where(near, 0.5 * v * v * (1 + v * series), np.expm1(u) - u)


def bent_log_delta(
    setting: Setting, epsilon: float, *, without: bool = False
) -> tuple[float, float]:
    """`log delta` along two bent lines (steeper ones at the second try), and how far it is off."""
    best = math.nan, math.inf
    for bends, leans in (((0.5, 0.42), (0.65, 0.6)), ((0.3, 0.2), (0.65, 0.5))):
        found = []
        for (bend, lean), fine, aside in zip(
            zip(bends, leans, strict=True), (1.0, 1.3), (0.0, 0.3), strict=True
        ):
            line = BentLine(
                setting, epsilon, bend=bend, lean=lean, fine=fine, aside=aside, without=without
            )
            with np.errstate(all="ignore"):
                found.append(line.log_delta())
        moved = abs(found[1][0] - found[0][0]) + found[0][1] + found[1][1]
        if moved < best[1]:
            best = found[1][0], moved
        if moved < BELIEVED * max(1.0, abs(best[0])):
            break
    return best


class Digits:
    """An inversion in 50 digits along a straight line beside the saddle point."""

    def __init__(self, setting: Setting, epsilon: float) -> None:
        self.pair, self.steps, self.eps = setting.pair, setting.steps, epsilon
        line = BentLine(setting, epsilon)
        with np.errstate(all="ignore"):
            saddle, self.width = line._start()
        self.tilt, self.end = saddle + 0.4 * self.width, line.end

    def log_delta(self) -> tuple[float, float]:
        """`log delta` and how much it moves when every step shrinks."""
        mp = mpmath.mp
        results = []
        with mpmath.workdps(DIGITS):
            for fine in (1.0, 1.3):
                loss, weight = self._nodes(fine)
                total, base, v = mp.mpf(0), None, mp.mpf(0)
                step = mp.mpf("0.12") / fine
                while True:
                    y = self.width * mp.sinh(v)
                    z = mp.mpc(self.tilt, y)
                    excess = mp.fsum(
                        w * mp.sinh((z + 1) * x / 2) * mp.sinh(z * x / 2)
                        for x, w in zip(loss, weight, strict=True)
                    )
                    power = self.steps * mp.log(1 + excess) - z * self.eps - mp.log(z * (z + 1))
                    base = power.real if base is None else base
                    value = mp.exp(power - base) * self.width * mp.cosh(v) * step
                    total += value.real / (2 if v == 0 else 1)
                    v += step
                    if abs(value) < mp.mpf(10) ** -20 * abs(total) or v > 12:
                        break
                if total <= 0:  # nothing is left of what cancels along this line
                    return math.nan, math.inf
                results.append(base + mp.log(total / mp.pi))
            return float(results[1]), float(abs(results[0] - results[1]))

    def _nodes(self, fine: float) -> tuple[list[Any], list[Any]]:
        """Loss and `4 sqrt(PQ) dx` on `x = e^{u - e^-u}`."""
        mp = mpmath.mp
        mu = mp.mpf(max(self.pair.shifts))
        end = min(mu * (1 + 2 * self.tilt) + 12, mp.mpf(self.end))
        step = min(mp.mpf("0.05"), mp.mpf("0.25") / end, mp.mpf("0.25") / (mu * end)) / fine
        losses, weights = [], []
        u = mp.mpf("-4")
        while u < mp.log(end):
            x = mp.exp(u - mp.exp(-u))
            mixture = mp.fsum(
                mp.mpf(w) * mp.exp(mp.mpf(m) * (x - mp.mpf(m) / 2))
                for w, m in zip(self.pair.q_weights, self.pair.q_means, strict=True)
            )
            rise = mp.mpf(self.pair.gains[0]) * mp.exp(-mu * mu / 2) * 2 * mp.sinh(mu * x)
            loss = mp.log(1 + rise / mixture)
            root = mp.exp(-x * x / 2 + loss / 2) * mixture / mp.sqrt(2 * mp.pi)
            losses.append(loss)
            weights.append(4 * step * x * (1 + mp.exp(-u)) * root)
            u += step
        return losses, weights


BELIEVED = 1e-9  # of `max(1, -log delta)`: how far a reference's two computations may be apart


def reference(setting: Setting, epsilon: float, *, multiple: bool) -> tuple[str, float, float]:
    """Name, value and own uncertainty of an independent `log delta`."""
    if setting.rate == setting.inclusion == 1.0:
        return "gaussian", gaussian_log_delta(1 / setting.sigma, setting.steps, epsilon), 1e-15
    if setting.steps == 1:
        return "one step", one_step_log_delta(setting.pair, epsilon), 1e-15
    if setting.steps == 2:
        return "two steps", two_steps_log_delta(setting.pair, setting.pair, epsilon), 1e-12
    if multiple:
        return ("50 digits", *Digits(setting, epsilon).log_delta())
    found = [("bent line", *bent_log_delta(setting, epsilon))]
    if not _believed(*found[0][1:]) and epsilon > 0 and setting.participations < _FEW:
        found.append(("without loss 0", *bent_log_delta(setting, epsilon, without=True)))
    if not any(_believed(value, moved) for _, value, moved in found):
        value, moved = split_log_delta(setting, epsilon)
        found.append(("large losses", value, moved + 1e-11))
    return min(found, key=lambda row: row[2])


_FEW = 3.0  # participations: with more, a total loss of 0 is not most of what cancels


def _believed(value: float, moved: float) -> bool:
    return moved < BELIEVED * max(1.0, abs(value))


class _OutOfTime(Exception):
    """A computation took longer than it may."""


@contextlib.contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    """Raise `_OutOfTime` after so many seconds of this process, however busy the machine."""
    if seconds is None:
        yield
        return

    def ring(*_: Any) -> None:
        raise _OutOfTime

    previous = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, previous)


Known = dict[str, tuple[str, float, float]]


def check(
    setting: Setting,
    *,
    multiple: bool = False,
    cap: float | None = None,
    known: Known | None = None,
) -> dict[str, Any]:
    """Bounds, estimate and reference of one setting.

    Args:
      setting: The question.
      multiple: Whether the reference is to be computed in 50 digits.
      cap: Seconds that the engine, and then the reference, may take.
      known: References of an earlier run, by setting and epsilon.
    """
    record: dict[str, Any] = {"setting": asdict(setting), "status": "refused"}
    started = time.process_time()
    try:
        with _at_most(cap):
            # rounded: a later engine, a little more accurate, asks the same question
            estimate = prove.estimate_epsilon(setting.phases, setting.log_delta)
            epsilon = float(f"{estimate:.6g}")
            lower, upper, prover = prove.bracket_log_delta(setting.phases, epsilon)
            (value,) = prove.estimate_log_delta(setting.phases, np.array([epsilon]))
    except (ValueError, _OutOfTime) as error:
        reason = str(error) or f"no answer in {cap} s"
        return record | {"reason": reason, "seconds": time.process_time() - started}
    record["seconds"] = time.process_time() - started
    estimate = float(value)
    record |= {"epsilon": epsilon, "lower": lower, "upper": upper, "estimate": estimate}
    record["prover"] = prover
    if epsilon and not LEAST <= epsilon <= MOST:
        return record | {"status": "outside"}
    started = time.process_time()
    try:
        with _at_most(cap):
            found = (known or {}).get(_key(record["setting"], epsilon, multiple))
            kind, value, moved = found or reference(setting, epsilon, multiple=multiple)
    except _OutOfTime:
        kind, value, moved = "out of time", math.nan, math.inf
    record |= {"kind": kind, "reference": value, "moved": moved, "bar": upper - lower}
    record["reference_seconds"] = time.process_time() - started
    if not _believed(value, moved) or not math.isfinite(value):
        return record | {"status": "unchecked"}
    slack = 4 * moved + 8e-16 * abs(value)
    holds = lower - slack <= value <= upper + slack
    return record | {"status": "held" if holds else "BROKEN", "error": abs(estimate - value)}


def _key(setting: dict[str, Any], epsilon: float, multiple: bool) -> str:
    return json.dumps([setting, epsilon, multiple], sort_keys=True)


@dataclass(frozen=True)
class _Task:
    """One place in the run: random settings until one lies in range, whatever the others do."""

    index: int
    seed: int
    multiple: bool
    cap: float
    known: Known

    def __call__(self) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, self.index])
        while True:
            setting = draw(rng)
            simple = setting.steps > 2 and setting.participations >= 20 and setting.sigma > 0.5
            record = check(
                setting, multiple=self.multiple and simple, cap=self.cap, known=self.known
            )
            if record["status"] != "outside" and not (
                record["status"] == "refused" and _far_outside(setting)
            ):
                return record | {"index": self.index, "seed": self.seed, "code": code_version()}


def _far_outside(setting: Setting) -> bool:
    """Whether one step alone, or the mean of all, puts epsilon above the range."""
    profile, steps = setting.phases[0]
    if float(profile.log_delta(MOST)) > setting.log_delta:
        return True
    mean, variance = (steps * v for v in _moments_of_loss(setting.pair))
    # Chebyshev: the loss exceeds MOST + 1 with chance 1/2, so delta(MOST) > 0.3
    return mean > MOST + 1 and variance < 0.5 * (mean - MOST - 1) ** 2


def _moments_of_loss(pair: MixturePair) -> tuple[float, float]:
    """Mean and variance of one step's loss."""
    x = np.linspace(0.0, max(pair.shifts) + 40.0, 20_001)
    loss, step = pair.loss(x), x[1]
    q = np.exp(pair.log_q(x)) * step
    p = np.exp(pair.log_q(x) + loss) * step
    mean, square = float(np.sum((p - q) * loss)), float(np.sum((p + q) * loss**2))
    return mean, square - mean * mean


@cache
def code_version() -> str:
    """A digest of the code under test."""
    digest = hashlib.sha256()
    for module in sorted((Path(prove.__file__).parents[1]).rglob("*.py")):
        if module.parent.name in ("composition", "step"):
            digest.update(module.read_bytes())
    return digest.hexdigest()[:12]


def summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and extremes of a run."""
    by = {s: [r for r in records if r["status"] == s] for s in STATUSES}
    held, answered = by["held"], [r for r in records if "bar" in r]
    relative = [r["error"] / max(1.0, r["epsilon"], -r["reference"]) for r in held]
    return {
        "settings": len(records),
        **{status: len(rows) for status, rows in by.items()},
        "held_by_reference": dict(Counter(r["kind"] for r in held).most_common()),
        "held_at_epsilon_0": sum(r["epsilon"] == 0 for r in held),
        "unchecked_by_reference": dict(Counter(r["kind"] for r in by["unchecked"]).most_common()),
        "refused_because": dict(Counter(r["reason"] for r in by["refused"]).most_common()),
        "widest_bar": max((r["bar"] for r in answered), default=math.nan),
        "median_bar": float(np.median([r["bar"] for r in answered])) if answered else math.nan,
        "worst_relative_error_of_delta": max((r["error"] for r in held), default=math.nan),
        "the_same_over_the_size_of_its_exponent": max(relative, default=math.nan),
        "median_seconds": float(np.median([r["seconds"] for r in records])),
        "most_seconds": max(r["seconds"] for r in records),
        "code": ", ".join(sorted({r["code"] for r in records})),
    }


STATUSES = ("held", "BROKEN", "refused", "unchecked")


def _read(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be cut off


def main() -> int:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=int, default=2000)
    parser.add_argument("--mpmath", type=int, default=40, help="how many to check in 50 digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cap", type=float, default=20.0, help="seconds for engine and reference")
    parser.add_argument("--out", type=Path, help="records as JSON lines; a run continues its own")
    parser.add_argument("--references", type=Path, help="take references from an earlier --out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    records = _read(options.out)
    if options.out and options.out.exists():  # without what was cut off
        options.out.write_text("".join(json.dumps(r) + "\n" for r in records))
    if any(r["code"] != code_version() or r["seed"] != options.seed for r in records):
        parser.error(f"{options.out} comes from other code or another seed")
    known = {
        _key(r["setting"], r["epsilon"], r["kind"] == "50 digits"): (
            r["kind"],
            r["reference"],
            r["moved"],
        )
        for r in _read(options.references)
        if r["status"] in ("held", "BROKEN")
    }
    done = {r["index"] for r in records}
    every = max(options.settings // max(options.mpmath, 1), 1)
    tasks = [
        _Task(i, options.seed, options.mpmath > 0 and i % every == 0, options.cap, known)
        for i in range(options.settings)
        if i not in done
    ]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(options.out.open("a")) if options.out else None
        pool = stack.enter_context(ProcessPoolExecutor(options.jobs))
        for future in as_completed([pool.submit(task) for task in tasks]):
            record = future.result()
            records.append(record)
            if out:
                print(json.dumps(record), file=out, flush=True)
            if record["status"] == "BROKEN":
                print(record, file=sys.stderr)
            counts = Counter(r["status"] for r in records)
            shown = ", ".join(f"{counts[s]} {s}" for s in STATUSES)
            print(f"\r{len(records)} of {options.settings}: {shown}", end="", file=sys.stderr)
    print(file=sys.stderr)
    result = summary(records)
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:>40}  {value}")
    return 1 if result["BROKEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
