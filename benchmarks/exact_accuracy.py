"""Check every error bar of the exact engine against independent computations.

    python benchmarks/exact_accuracy.py --settings 2000 --mpmath 40

Random training settings over the whole range of the engine. Each bound on log delta is compared
with one of

- the closed form of the Gaussian mechanism at rate 1, in 50 digits;
- the closed form of one step, in 50 digits;
- an inversion on another contour (a displaced line), with another quadrature (sinh-mapped
  trapezoid over `y`, double-exponential over `x`), in 80-bit floats or (`--mpmath` of them) in
  50 digits. It is believed when halving its steps does not move it.

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


class Inversion:
    """An independent inversion in 80-bit floats (`numpy`) or in 50 digits (`mpmath`)."""

    def __init__(self, setting: Setting, epsilon: float, *, multiple: bool) -> None:
        self.pair, self.steps, self.eps = setting.pair, setting.steps, epsilon
        self.multiple = multiple

    def nodes(self, tilt: float, fineness: float) -> tuple[Any, Any]:
        """Loss and `4 sqrt(PQ) dx` on `x = c exp(u - e^-u)`."""
        mu = max(self.pair.shifts)
        end = mu * (1 + 2 * tilt) + 11
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
        keep = weight > weight.max() * np.longdouble(10) ** -60
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
            if v > 14:
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
        end = mu * (1 + 2 * tilt) + 12
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
    if not moved < 1e-10 * max(1.0, abs(value)) or not math.isfinite(value):
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
