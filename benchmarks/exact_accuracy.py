"""Check every error bar of the exact engine against independent computations.

    python benchmarks/exact_accuracy.py --settings 2000 --mpmath 40

Random training settings over the whole range of the engine. Each bound on log delta is compared
with one of

- the closed form of the Gaussian mechanism at rate 1, in 50 digits;
- the closed form of one step, in 50 digits;
- for two steps, the mean of the closed form of the second over the loss of the first;
- an inversion on another contour (a displaced line), with another quadrature (sinh-mapped
  trapezoid over `y`, double-exponential over `x`), in 80-bit floats or (`--mpmath` of them) in
  50 digits. It is believed when halving its steps does not move it;
- where that line does not decay, an inversion of the large losses alone with a window in the
  logarithm of the loss. It is believed when another window, period and length do not move it.

Prints how many bars held, the widest bar, the worst error of the estimate, and where the engine
refuses. Exit code 1 if a bar does not hold.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from scipy import special

from patchdp.composition.exact import (
    ExactEngineError,
    epsilon_estimate,
    log_delta_estimate,
    log_delta_lower,
    log_delta_upper,
)
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


def draw(rng: np.random.Generator) -> Setting:
    """A setting; corners (rate 1, one step) come up often."""
    return Setting(
        sampling="poisson" if rng.random() < 0.5 else "fixed",
        rate=1.0 if rng.random() < 0.4 else float(10 ** rng.uniform(-4, 0)),
        inclusion=1.0 if rng.random() < 0.25 else float(10 ** rng.uniform(-6, 0)),
        sigma=float(10 ** rng.uniform(math.log10(0.2), 3)),
        steps=1 if rng.random() < 0.05 else int(10 ** rng.uniform(0, 12)),
        log_delta=-float(10 ** rng.uniform(math.log10(math.log(10)), math.log10(690))),
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
        for first in range(0, int(last / step) + 1, 256):
            y = step * np.arange(first, first + 256)
            z = tilt + 1j * y
            excess, band = self._moments(z)
            power = self.steps * np.log1p(excess)
            base = power[0].real if first == 0 else base
            value = np.exp(power - base - 1j * y * self.eps)
            value = value * -np.expm1(self.steps * np.log1p(-band / (1 + excess))) / (z * (1 + z))
            value[0] *= 0.5 if first == 0 else 1.0
            total += float(np.sum(value.real))
        if total <= 0:
            return math.nan
        return base - tilt * self.eps + math.log(total * 2 / period)

    def best_tilt(self) -> float:
        """Where the integrand is smallest on the real axis."""
        t = np.geomspace(0.02, 900.0, 160) / max(self.eps, self.place)
        with np.errstate(all="ignore"):
            excess, band = self._moments(t)
            log_f = self.steps * np.log1p(excess) + np.log(
                -np.expm1(self.steps * np.log1p(-np.minimum(band / (1 + excess), 1 - 1e-16)))
            )
            size = log_f - t * self.eps - np.log(t) - np.log1p(t)
        return float(t[int(np.argmin(np.where(np.isfinite(size), size, np.inf)))])


def split_log_delta(setting: Setting, epsilon: float) -> tuple[float, float]:
    """`log delta` from two windows, periods and lengths, and how far they are apart."""
    if epsilon <= 0:
        return math.nan, math.inf
    found = []
    for share, longer in ((14.0, 1.0), (24.0, 1.4)):
        place = epsilon / share
        inversion = SplitInversion(setting, epsilon, place, longer)
        tilt = inversion.best_tilt()
        period = longer * (2 * epsilon + (45.0 + 2 * min(-setting.log_delta, 45.0)) / tilt)
        last = longer * 60.0 / place
        if period * last / 6.3 * len(inversion.loss) > 4e7:
            return math.nan, math.inf
        with np.errstate(all="ignore"):
            found.append(inversion.log_delta(tilt, period, last))
    return found[1], abs(found[1] - found[0])


class Inversion:
    """An independent inversion in 80-bit floats (`numpy`) or in 50 digits (`mpmath`)."""

    def __init__(self, setting: Setting, epsilon: float, *, multiple: bool) -> None:
        self.pair, self.steps, self.eps = setting.pair, setting.steps, epsilon
        self.multiple = multiple
        rare = 2 * (math.log(setting.steps) - setting.log_delta + 50.0)
        self.farthest = max(self.pair.shifts) + math.sqrt(rare) + 8.0

    def nodes(self, tilt: float, fineness: float) -> tuple[Any, Any]:
        """Loss and `4 sqrt(PQ) dx` on `x = c exp(u - e^-u)`."""
        mu = max(self.pair.shifts)
        end = min(mu * (1 + 2 * tilt) + 11, self.farthest)
        step = min(0.01, 0.04 / end, 0.04 / (mu * end)) / fineness
        u = np.arange(-4.2, math.log(end) + step, step).astype(np.longdouble)
        x = np.exp(u - np.exp(-u))
        weight = step * x * (1 + np.exp(-u))
        gain, shift = np.longdouble(self.pair.gains[0]), np.longdouble(mu)
        mixture = sum(
            np.longdouble(w) * np.exp(np.longdouble(m) * (x - np.longdouble(m) / 2))
            for w, m in zip(self.pair.q_weights, self.pair.q_means, strict=True)
        )
        loss = np.log1p(gain * np.exp(-shift * shift / 2) * 2 * np.sinh(shift * x) / mixture)
        root = np.exp(-x * x / 2 + loss / 2) * mixture / np.sqrt(2 * np.longdouble(np.pi))
        return loss, 4 * weight * root

    def log_delta(self, tilt: float, width: float, fineness: float) -> float:
        """Along `Re z = tilt`, `y = width sinh(v)`."""
        loss, weight = self.nodes(tilt, fineness)
        # only what is nothing under the tilt either may go
        heavy = np.log(weight) + (np.longdouble(tilt) + 0.5) * loss
        keep = heavy > heavy.max() - 120
        loss, weight = loss[keep], weight[keep]
        step = np.longdouble(0.04) / np.longdouble(fineness)

        def exponent(y: Any) -> Any:
            z = np.longdouble(tilt) + 1j * y[:, None]
            excess = np.sum(weight * np.sinh((z + 1) * loss / 2) * np.sinh(z * loss / 2), axis=1)
            # log1p of a complex number, accurate near 0
            re, im = excess.real, excess.imag
            log_m = 0.5 * np.log1p(2 * re + re * re + im * im) + 1j * np.arctan2(im, 1 + re)
            z = z[:, 0]
            return self.steps * log_m - z * np.longdouble(self.eps) - np.log(z) - np.log(1 + z)

        base = exponent(np.zeros(1, dtype=np.longdouble))[0].real
        total, v = np.longdouble(0), np.longdouble(0)
        while True:
            at = v + step * np.arange(24)
            values = np.exp(exponent(width * np.sinh(at)) - base) * width * np.cosh(at) * step
            if v == 0:
                values[0] /= 2
            total += np.sum(values.real)
            v = at[-1] + step
            if np.max(np.abs(values[-12:])) < 1e-21 * abs(total):
                break
            if v > 9:
                return math.nan
        return float(base + np.log(total / np.longdouble(np.pi)))

    def value(self, tilt: float, width: float) -> tuple[float, float]:
        """`log delta` and how much it moves when every step shrinks."""
        if self.multiple:
            return self._in_digits(tilt, width)
        first = self.log_delta(tilt, width, 1.0)
        second = self.log_delta(tilt, width, 1.6)
        return second, abs(first - second)

    def _in_digits(self, tilt: float, width: float) -> tuple[float, float]:
        mp = mpmath.mp
        with mpmath.workdps(DIGITS):
            results = []
            for fineness in (1.0, 1.3):
                loss, weight = self._digit_nodes(tilt, fineness)
                total, base, v = mp.mpf(0), None, mp.mpf(0)
                step = mp.mpf("0.12") / fineness
                while True:
                    y = width * mp.sinh(v)
                    z = mp.mpc(tilt, y)
                    excess = mp.fsum(
                        w * mp.sinh((z + 1) * x / 2) * mp.sinh(z * x / 2)
                        for x, w in zip(loss, weight, strict=True)
                    )
                    power = self.steps * mp.log(1 + excess) - z * self.eps - mp.log(z * (z + 1))
                    base = power.real if base is None else base
                    value = mp.exp(power - base) * width * mp.cosh(v) * step
                    total += value.real / (2 if v == 0 else 1)
                    v += step
                    if abs(value) < mp.mpf(10) ** -20 * abs(total) or v > 12:
                        break
                results.append(base + mp.log(total / mp.pi))
            return float(results[1]), float(abs(results[0] - results[1]))

    def _digit_nodes(self, tilt: float, fineness: float) -> tuple[list[Any], list[Any]]:
        mp = mpmath.mp
        mu = mp.mpf(max(self.pair.shifts))
        end = min(mu * (1 + 2 * tilt) + 12, mp.mpf(self.farthest))
        step = min(mp.mpf("0.05"), mp.mpf("0.25") / end, mp.mpf("0.25") / (mu * end)) / fineness
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


def reference(setting: Setting, epsilon: float, *, multiple: bool) -> tuple[str, float, float]:
    """Name, value and own uncertainty of an independent `log delta`."""
    if setting.rate == setting.inclusion == 1.0:
        return "gaussian", gaussian_log_delta(1 / setting.sigma, setting.steps, epsilon), 1e-15
    if setting.steps == 1:
        return "one step", one_step_log_delta(setting.pair, epsilon), 1e-15
    if setting.steps == 2:
        return "two steps", two_steps_log_delta(setting.pair, setting.pair, epsilon), 1e-12
    if setting.participations < 20 or setting.steps < 20:  # a line would not decay
        value, moved = split_log_delta(setting, epsilon)
        if moved < 1e-9 * max(1.0, abs(value)):
            return "large losses", value, moved + 1e-11
    from patchdp.composition.saddle import saddle_for_epsilon

    saddle = saddle_for_epsilon([setting.phases], np.array([epsilon]), "symmetric")
    t = float(saddle.t[0])
    curvature = float(saddle.composition.cumulants(saddle.t[:, None])[2][0, 0])
    width = 1 / math.sqrt(curvature + 1 / t**2)
    tilt = t + 0.4 * width  # displaced by a fraction of the saddle's width
    inversion = Inversion(setting, epsilon, multiple=multiple)
    value, moved = inversion.value(tilt, width)
    return ("50 digits" if multiple else "80 bits"), value, moved


def check(setting: Setting, *, multiple: bool = False) -> dict[str, Any]:
    """Bounds, estimate and reference of one setting."""
    record: dict[str, Any] = {"setting": setting, "status": "refused"}
    started = time.perf_counter()
    try:
        epsilon = float(epsilon_estimate(setting.phases, setting.log_delta))
        upper = float(log_delta_upper(setting.phases, epsilon))
        lower = float(log_delta_lower(setting.phases, epsilon, "symmetric"))
        estimate = float(log_delta_estimate(setting.phases, epsilon))
    except ExactEngineError:
        return record
    finally:
        record["seconds"] = time.perf_counter() - started
    if epsilon > 2e5 and setting.steps == 1:
        return record | {"status": "unchecked", "epsilon": epsilon}
    kind, value, moved = reference(setting, epsilon, multiple=multiple)
    record |= {"epsilon": epsilon, "kind": kind, "bar": upper - lower}
    if not moved < 1e-9 * max(1.0, abs(value)) or not math.isfinite(value):
        return record | {"status": "unchecked"}
    slack = 4 * moved + 2e-16 * abs(value) * 4
    holds = lower - slack <= value <= upper + slack
    return record | {"status": "held" if holds else "BROKEN", "error": abs(estimate - value)}


def main() -> int:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=int, default=2000)
    parser.add_argument("--mpmath", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    records, in_digits = [], 0
    for _ in range(options.settings):
        setting = draw(rng)
        simple = setting.steps > 1 and setting.rate * setting.inclusion < 1 and setting.sigma > 0.5
        multiple = simple and in_digits < options.mpmath
        record = check(setting, multiple=multiple)
        in_digits += multiple and record["status"] == "held"
        if record["status"] == "BROKEN":
            print(record, file=sys.stderr)
        records.append(record)
    held = [r for r in records if r["status"] == "held"]
    broken = sum(r["status"] == "BROKEN" for r in records)
    refused = [r["setting"] for r in records if r["status"] == "refused"]
    few = sum(s.participations < 100 or s.steps < 100 for s in refused)
    summary = {
        "settings": len(records),
        "held": len(held),
        "broken": broken,
        "refused": len(refused),
        "refused_with_fewer_than_100_participations": few,
        "unchecked": sum(r["status"] == "unchecked" for r in records),
        "by_reference": {k: sum(r["kind"] == k for r in held) for k in {r["kind"] for r in held}},
        "widest_bar": max(r["bar"] for r in held),
        "median_bar": float(np.median([r["bar"] for r in held])),
        "worst_relative_error_of_delta": max(r["error"] for r in held),
        "median_seconds": float(np.median([r["seconds"] for r in held])),
        "most_seconds": max(r["seconds"] for r in records),
    }
    if options.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:>45}  {value}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
