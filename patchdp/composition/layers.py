"""Composition by the largest loss: small losses on a fine grid, rare large ones on coarse grids.

Where few steps take part, epsilon is small beside the largest single loss, and one grid that is
fine enough for the first and long enough for the second would be huge. The runs whose losses all
stay within a cut, those with some loss beyond it but none beyond a second cut, and so on, are
composed on grids of their own, and their deltas added up (`docs/theory.md`, "Layers of losses").

>>> from patchdp.step import StepProfile, fixed_size_pair
>>> from patchdp.composition.masses import large_masses, small_masses
>>> step = StepProfile(((1.0, fixed_size_pair(rate=1e-6, mu=0.5)),), attainable=True)
>>> small = small_masses(step, interval=1e-4, cells=100)
>>> large = large_masses(step, interval=1e-4, first=100, last=10_000)
>>> layer = compose_layer([(small, large, 40)], tilt=10.0, log_target=-47.0, aim=(1e-3, 1e-3))
>>> layer.log_delta_upper(1e-3) < math.log(40) + small.log_infinity
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.composition.masses import LargeMasses, LossMasses
from patchdp.composition.tilted import (
    DEAD,
    NEGLIGIBLE,
    ComposedMasses,
    checked_points,
    choose_window,
    cut_out,
    fft_unit,
    folded,
    least_epsilon,
    mass_slack,
    powers,
)

__all__ = ["Layers", "compose_layer"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Rows = Sequence[tuple[LossMasses, LargeMasses, int]]

_UNIT = 2.0**-53


@dataclass(frozen=True, eq=False)
class Layers:
    """Composed layers whose deltas add up.

    >>> Layers((), log_infinity=-30.0).log_delta_upper(1.0)
    -30.0

    Args:
      parts: The layers.
      log_infinity: Log of the mass above the last of them.
    """

    parts: tuple[ComposedMasses, ...]
    log_infinity: float

    @property
    def slack(self) -> float:
        """What rounding of masses and sums adds to log delta, at most."""
        return max((part.slack for part in self.parts), default=0.0)

    def log_delta_upper(self, epsilon: float) -> float:
        """Log of a certified upper bound on delta at `epsilon >= 0`."""
        return self.log_delta_sharpness(epsilon)[0]

    def log_delta_sharpness(self, epsilon: float) -> tuple[float, bool]:
        """The bound of `log_delta_upper`, and whether its error terms are small beside it."""
        found = [part.log_delta_and_error(epsilon) for part in self.parts]
        total = float(np.logaddexp.reduce([value for value, _ in found] + [self.log_infinity]))
        error = float(np.logaddexp.reduce([error for _, error in found] + [self.log_infinity]))
        return min(total, 0.0), error < total + NEGLIGIBLE

    def epsilon_upper(self, log_delta: float) -> float:
        """The smallest certified epsilon at `log_delta`; infinity if none in the windows."""
        bottom = max(0.0, *(part.interval * part.first for part in self.parts))
        top = max(part.interval * (part.first + len(part.tilted)) for part in self.parts)
        slope = max(part.tilt for part in self.parts)
        return least_epsilon(self.log_delta_upper, log_delta, bottom=bottom, top=top, slope=slope)


class _Layer:
    """Cumulants of the composed law with some loss beyond the cut."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def logs(self, s: float) -> list[tuple[float, float]]:
        """Logs of the moments of the small and of the large masses of each step."""
        return [(small.log_mgf(s), large.log_mgf(s)) for small, large, _ in self.rows]

    def cumulant(self, s: float) -> float:
        """`log(prod (S + W)^T - prod S^T)`."""
        base, ratio = 0.0, 0.0
        for (log_small, log_large), (_, _, count) in zip(self.logs(s), self.rows, strict=True):
            base += count * log_small
            ratio += count * float(np.logaddexp(0.0, log_large - log_small))
        return base + (ratio if ratio > 30 else math.log(math.expm1(max(ratio, 1e-300))))


def compose_layer(
    rows: Rows, *, tilt: float, log_target: float, aim: tuple[float, float]
) -> ComposedMasses:
    """Compose the runs in which some loss lies beyond the cut.

    The mass above the large masses' grid is not in it: it belongs to the next layer, or to
    infinity.

    Args:
      rows: Small masses, large masses and how often each step is applied; one interval for all.
      tilt: Exponent of the tilt, above 0; any value is sound.
      log_target: Log of a delta that matters: mass far below it may be given away.
      aim: The smallest and the largest epsilon in question.

    Raises:
      GridTooLarge: The window has more than `MAX_POINTS` grid points.
    """
    h = rows[0][0].interval
    layer = _Layer(rows)
    near = 0.05 * tilt
    below, here, above = (layer.cumulant(tilt + d) for d in (-near, 0.0, near))
    mean = (above - below) / (2 * near)
    variance = max((above - 2 * here + below) / near**2, h * h)
    window = choose_window(
        layer.cumulant,
        tilt=tilt,
        mean=mean,
        spread=math.sqrt(variance),
        aim=aim,
        log_target=log_target,
        interval=h,
        reach=sum(count * (large.first + len(large.log_positive) - 1) for _, large, count in rows),
    )
    points = checked_points(window, h)
    unit = fft_unit(points)
    # Every bound below holds with this much of rounding per step (`docs/theory.md`).
    per_step = unit + 128 * _UNIT
    log_scale, slack = 0.0, 1e-13
    smalls: list[Complex] = []
    larges: list[Complex] = []
    counts: list[int] = []
    shares: list[float] = []
    for (small, large, count), (log_small, log_large) in zip(rows, layer.logs(tilt), strict=True):
        log_m = float(np.logaddexp(log_small, log_large))
        q = np.exp(small.log_probabilities + tilt * small.losses - log_m)
        w = np.exp(large.log_positive + tilt * large.losses - log_m)
        v = np.exp(large.log_negative - tilt * large.losses - log_m)
        around = folded(w, -large.first, points)
        around += folded(v[::-1], large.first + len(v) - 1, points)
        smalls.append(fft.rfft(folded(q, small.size - 1, points)))
        larges.append(fft.rfft(around))
        shares.append(float(w.sum() + v.sum()))
        counts.append(count)
        log_scale += count * log_m
        slack += count * max(
            mass_slack(small, small.log_probabilities, small.losses, q, tilt),
            mass_slack(large, large.log_positive, large.losses, w, tilt),
            mass_slack(large, large.log_negative, large.losses, v, tilt),
        )
        slack += count * 4 * _UNIT * abs(log_m)
        slack += count * _UNIT * (4 + (len(q) + 2 * len(w)) // points)
    spectrum, apart = _difference(smalls, larges, counts)
    lost = _lost(smalls, larges, counts, shares, per_step) + 4 * math.exp(DEAD) * apart
    error = _norm(lost) / math.sqrt(points)
    error += unit * _norm(spectrum) / math.sqrt(points)
    slack += 4 * _UNIT * abs(log_scale)
    return ComposedMasses(
        interval=h,
        first=window.first,
        tilt=tilt,
        tilted=cut_out(fft.irfft(spectrum, points), window, 0),
        log_scale=log_scale,
        error=error,
        slack=slack,
        log_outside=window.log_above + slack,
        aim=aim,
        loss_rounding=max(masses.loss_rounding for row in rows for masses in row[:2]),
    )


def _difference(
    smalls: Sequence[Complex], larges: Sequence[Complex], counts: Sequence[int]
) -> tuple[Complex, npt.NDArray[np.bool_]]:
    """`prod (S + W)^T - prod S^T`, accurate beside the share of `W`.

    Also where the two powers were computed apart, each up to what `powers` leaves out.
    """
    spectrum = np.zeros(len(smalls[0]), dtype=np.complex128)
    alive, log_modulus, phase = powers(smalls, counts)
    ratio = np.zeros(len(alive), dtype=np.complex128)
    mild = np.ones(len(alive), dtype=bool)
    for s, w, n in zip(smalls, larges, counts, strict=True):
        z = w[alive] / s[alive]
        mild &= np.abs(z) <= 0.5
        ratio += n * _log1p(z)
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.exp(log_modulus) * (np.cos(phase) + 1j * np.sin(phase)) * _expm1(ratio)
    spectrum[alive[mild]] = product[mild]
    # Where the large masses are no small part of a factor, the two powers are computed apart.
    apart = np.ones(len(spectrum), dtype=bool)
    apart[alive[mild]] = False
    wholes = [s + w for s, w in zip(smalls, larges, strict=True)]
    for factors, sign in ((wholes, 1.0), (smalls, -1.0)):
        at, log_modulus, phase = powers(factors, counts)
        kept = apart[at]
        power = np.exp(log_modulus[kept]) * (np.cos(phase[kept]) + 1j * np.sin(phase[kept]))
        spectrum[at[kept]] += sign * power
    return spectrum, apart


def _lost(
    smalls: Sequence[Complex],
    larges: Sequence[Complex],
    counts: Sequence[int],
    shares: Sequence[float],
    per_step: float,
) -> Array:
    """A bound on the error of `_difference` at every frequency, but for what is left out."""
    rows = list(zip(smalls, larges, shares, counts, strict=True))
    # |S| + |W| bounds either factor; where it is below 1/2, 1/2 does.
    sizes = [np.clip(np.abs(s) + np.abs(w), 0.5, 1.0) for s, w, *_ in rows]
    steps = [n / size for size, n in zip(sizes, counts, strict=True)]
    every: Array = sum(steps, np.zeros(len(smalls[0])))
    logs = [n * np.log(size) for size, n in zip(sizes, counts, strict=True)]
    bound = np.exp(sum(logs, np.zeros(len(smalls[0]))))
    weighed = [
        step * (share + np.abs(w) * (1 + every))
        for step, (_, w, share, _) in zip(steps, rows, strict=True)
    ]
    growth = math.exp(min(4 * per_step * sum(counts), 700.0))
    return np.asarray(per_step * growth * bound * sum(weighed, np.zeros(len(smalls[0]))))


def _norm(half: npt.NDArray[Any]) -> float:
    """Euclidean norm of a spectrum of which one half is given."""
    return math.sqrt(2.0 * float(np.sum(np.square(np.abs(half)))))


def _log1p(z: Complex) -> Complex:
    """`log(1 + z)`, accurate beside `|z|`."""
    x, y = z.real, z.imag
    with np.errstate(divide="ignore"):
        real = 0.5 * np.log1p(np.maximum(x * (2 + x) + y * y, -1.0))
    return np.asarray(real + 1j * np.arctan2(y, 1 + x))


def _expm1(z: Complex) -> Complex:
    """`e^z - 1`, accurate beside `|z|`."""
    x, y = z.real, z.imag
    real = np.expm1(x) * np.cos(y) - 2 * np.square(np.sin(0.5 * y))
    return np.asarray(real + 1j * np.exp(x) * np.sin(y))
