"""Composition of exponentially tilted masses by FFT, with a proved bound of its rounding error.

A plain FFT composition errs by about `T * 1e-16` in delta, of either sign, whatever delta is. Here
the masses are first tilted by `e^{t k h}` towards the losses that decide delta, and the runs in
which no step moves far are taken off, so that the error is relative to delta; a bound of it is
added, or taken off. Sources: `docs/theory.md`, "Tilted composition", "Rounding of the FFT" and
"Runs that stay below a cut".

>>> from patchdp.composition.grid.masses import loss_masses
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.02, mu=0.5)),), attainable=True)
>>> masses = loss_masses(step, interval=2e-3, log_tail=-60.0)
>>> composed = compose([(masses.law, 1000)], tilt=4.0, log_target=-11.5, aim=(4.0, 5.0))
>>> round(composed.epsilon_upper(-11.5), 2)
4.72
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.composition.chernoff import log_kernel_peak
from patchdp.composition.grid.cells import GridTooLarge
from patchdp.composition.grid.composed import ComposedMasses
from patchdp.composition.grid.masses import GridLaw
from patchdp.composition.grid.window import Moments, Window, choose_window, least_step
from patchdp.composition.numeric import UNIT, expm1_complex, log1p_complex

__all__ = ["MAX_POINTS", "ComposedMasses", "GridTooLarge", "compose", "fft_unit"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Rows = Sequence[tuple[GridLaw, int]]

# The budget of one composition, in grid points: its work arrays stay below 250 MB.
MAX_POINTS = 1 << 21
# What lies below this modulus, as a logarithm, is set to 0.
_DEAD = -70.0
# The runs without a loss beyond the cut are taken off where at most this share of a step's tilted
# mass lies beyond it, and no more steps than this are expected there.
_MOVING, _MOVERS = 1 / 3, 30.0


def fft_unit(points: int) -> float:
    """Bound on the error of one FFT output relative to the sum of the inputs' magnitudes.

    Every input reaches every output through `log2(points)` butterflies; each multiplies by a
    rounded twiddle factor and adds, which costs at most 8 units of rounding per level.
    """
    return 8.0 * UNIT * max(math.log2(points), 1.0)


def folded(masses: Array, origin: int, points: int) -> Array:
    """Masses at `k - origin` laid around a circle of `points` places."""
    start = -origin % points
    rows = -(-(start + len(masses)) // points)
    padded = np.zeros(rows * points)
    padded[start : start + len(masses)] = masses
    return padded if rows == 1 else np.asarray(padded.reshape(rows, points).sum(axis=0))


def _powers(factors: Sequence[Complex], counts: Sequence[int]) -> Complex:
    """The product of the powers, 0 where it is negligible."""
    log_modulus = np.zeros(len(factors[0]))
    for factor, count in zip(factors, counts, strict=True):
        square = np.square(factor.real) + np.square(factor.imag)
        log_modulus += 0.5 * count * np.log(np.maximum(square, 1e-300))
    alive = np.flatnonzero(log_modulus > _DEAD)
    phase = np.zeros(len(alive))
    for factor, count in zip(factors, counts, strict=True):
        phase += count * np.angle(factor[alive])
    spectrum = np.zeros(len(log_modulus), dtype=np.complex128)
    spectrum[alive] = np.exp(log_modulus[alive]) * (np.cos(phase) + 1j * np.sin(phase))
    return spectrum


def _norm(half: npt.NDArray[np.float64]) -> float:
    """Euclidean norm of a spectrum of which one half is given."""
    return math.sqrt(2.0 * float(np.sum(np.square(half))))


def _together(
    factors: Sequence[Complex], counts: Sequence[int], unit: float
) -> tuple[Complex, float]:
    """The power of the transforms and a bound of the norm of its error: Theorem 21."""
    # An output of the FFT errs by `unit`; its complex logarithm and the exponential of the sum by
    # 16 units of rounding per step at most (phases up to pi, moduli that still matter).
    per_step = unit + 16 * UNIT
    spectrum = _powers(factors, counts)
    total, points = sum(counts), 2 * len(spectrum)
    growth = math.exp(min(2 * per_step * total, 700.0))
    # With every factor f_i known up to e = per_step, the power errs by at most
    # sum_i T_i e prod |f| / |f_i| (1 + e/|f_i|)^T; where |f_i| <= 1/2, T_i e (1/2 + e)^(T_i - 1).
    sensitivity = np.zeros(len(spectrum))
    floor = 0.0
    for factor, count in zip(factors, counts, strict=True):
        modulus = np.abs(factor)
        sensitivity += np.where(modulus > 0.5, count / np.maximum(modulus, 0.5), 0.0)
        floor += count * (0.5 + per_step) ** min(count - 1, 2000)
    rest = per_step * growth * (floor + 2 * total * math.exp(_DEAD)) + math.exp(_DEAD)
    error = _norm(per_step * growth * sensitivity * np.abs(spectrum)) + rest * math.sqrt(points)
    return spectrum, error


def _apart(
    smalls: Sequence[Complex],
    larges: Sequence[Complex],
    shares: Sequence[float],
    counts: Sequence[int],
    unit: float,
) -> tuple[Complex, float] | None:
    """The power without the runs that stay below the cut, and the norm of its error: Theorem 31.

    Both are relative to the number of steps beyond the cut, under the tilt. None where the
    transforms of the large masses are no small part of those of the small ones.

    Args:
      smalls: Transforms of the masses up to the cut, divided by the sums of all masses.
      larges: Transforms of the masses beyond it, divided by their own sums.
      shares: What lies beyond it of each step's tilted mass.
      counts: How often each step is applied.
      unit: Bound on the error of the transforms.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = _movers(list(zip(smalls, larges, shares, counts, strict=True)), unit)
    # Where something left the range of floats the plain power has to do.
    return found if found is not None and math.isfinite(found[1]) else None


def _movers(
    rows: Sequence[tuple[Complex, Complex, float, int]], unit: float
) -> tuple[Complex, float] | None:
    movers = math.fsum(count * share for *_, share, count in rows)
    grown = np.zeros(len(rows[0][1]), dtype=np.complex128)
    doubt = np.zeros(len(rows[0][1]))
    per_step = unit + 32 * UNIT
    for small, large, share, count in rows:
        ratio = (share / small) * large
        if not np.all(np.abs(ratio) <= 0.5):
            return None
        grown += count * log1p_complex(ratio)
        # The large mass is known up to its share, the small one up to 1.
        doubt += 2 * count * per_step * (share + np.abs(ratio)) / np.abs(small)
    power = _powers([row[0] for row in rows], [row[3] for row in rows])
    spectrum = power * expm1_complex(grown) / movers
    modulus = np.abs(power) * np.exp(grown.real) / movers
    # The power of the small masses is off by a share of itself.
    lost = sum(2 * count * per_step / np.abs(small) for small, *_, count in rows)
    error = _norm(modulus * np.expm1(doubt)) + _norm(np.abs(spectrum) * np.expm1(lost))
    error += 16 * UNIT * _norm(np.abs(spectrum)) + math.exp(_DEAD) * math.sqrt(2 * len(power))
    return spectrum, error


def compose(
    rows: Rows,
    *,
    tilt: float,
    log_target: float,
    aim: tuple[float, float],
    cut: float = 0.0,
) -> ComposedMasses:
    """Compose discretised steps and bound every error made on the way.

    >>> from patchdp.composition.grid.masses import loss_masses
    >>> from patchdp.step import StepProfile, fixed_size_pair
    >>> step = StepProfile(((1.0, fixed_size_pair(rate=1.0, mu=0.5)),), attainable=True)
    >>> law = loss_masses(step, interval=1e-3, log_tail=-80.0).law
    >>> one = compose([(law, 1)], tilt=4.0, log_target=-10.0, aim=(1.9, 2.1))
    >>> float(step.log_delta(2.0)) < one.log_delta_upper(2.0) < float(step.log_delta(2.0)) + 1e-4
    True

    Args:
      rows: Discretised steps, all with the same interval, and how often each is applied.
      tilt: Exponent of the tilt, above 0; any value is sound.
      log_target: Log of the delta that matters: mass far below it may be given away.
      aim: The smallest and largest epsilon in question.
      cut: Where few steps have a loss beyond this one, the runs in which none has are taken off;
        they should not reach epsilon. Below 0: they never are.

    Raises:
      GridTooLarge: The window has more than `MAX_POINTS` grid points.
    """
    h = rows[0][0].interval
    offset = math.fsum(count * law.offset for law, count in rows)
    counts = [count for _, count in rows]
    split = [law.split(max(math.floor(cut / h), 0)) for law, _ in rows]
    moments = [law.log_mgf(tilt) for law, _ in rows]
    shares = [math.exp(w.log_mgf(tilt) - m) for (_, w), m in zip(split, moments, strict=True)]
    movers = math.fsum(count * share for count, share in zip(counts, shares, strict=True))
    apart = cut >= 0 and max(shares) <= _MOVING and 0 < movers <= _MOVERS
    cumulant = Moments(rows, split if apart else None)
    low = aim[0] - offset
    window = choose_window(
        cumulant,
        tilt=tilt,
        aim=(max(low, 0.0) if apart else low, max(aim[1] - offset, low, 0.0)),
        log_target=log_target,
        interval=h,
        reach=(
            sum(count * law.first for law, count in rows),
            sum(count * law.last for law, count in rows),
        ),
    )
    points = _points(window, h)
    unit = fft_unit(points)
    log_scale = math.fsum(n * log_m for n, log_m in zip(counts, moments, strict=True))
    log_infinity = float(
        np.logaddexp.reduce([math.log(count) + law.log_infinity for law, count in rows])
    )
    tilted = [
        np.exp(law.log_probabilities + tilt * law.losses - log_m)
        for (law, _), log_m in zip(rows, moments, strict=True)
    ]
    slack = 1e-13 + 4 * UNIT * abs(log_scale)
    for (law, count), q, log_m in zip(rows, tilted, moments, strict=True):
        slack += count * (_mass_slack(law, q, tilt) + 4 * UNIT * abs(log_m))
        slack += count * UNIT * (len(q) // points)  # adding up what was folded
    shift = 0
    if apart:
        waves = []
        for (law, _), (_, large) in zip(rows, split, strict=True):
            total = max(large.log_mgf(tilt), -1e300)  # of a step that has none there: 0
            beyond = large.log_probabilities + tilt * large.losses - total
            waves.append(fft.rfft(folded(np.exp(beyond), -law.first, points)))
        smalls = [
            _transform(q[small.first - law.first :][: small.last - small.first + 1], small, points)
            for q, (law, _), (small, _) in zip(tilted, rows, split, strict=True)
        ]
        found = _apart(smalls, waves, shares, counts, unit)
        if found is None:
            return compose(rows, tilt=tilt, log_target=log_target, aim=aim, cut=-1.0)
        spectrum, error = found
        log_scale += math.log(movers)
        near = max(low, 0.0) * (1 - max(law.loss_rounding for law, _ in rows))
        log_small = _of_small_runs(cumulant, tilt, near, split, counts)
        log_infinity = float(np.logaddexp(log_infinity, log_small))
    else:
        waves = []
        for (law, count), q in zip(rows, tilted, strict=True):
            mean = float(q @ np.arange(len(q))) + law.first
            centre = min(max(round(mean), law.first), law.last)
            waves.append(fft.rfft(folded(q, centre - law.first, points)))
            shift += count * centre
        spectrum, error = _together(waves, counts, unit)
    if not (math.isfinite(error) and bool(np.all(np.isfinite(spectrum)))):
        raise GridTooLarge(f"rounding outgrows {sum(counts)} steps on a grid of {h:.3g}")
    # Parseval: a spectrum's error of Euclidean norm s is one of s / sqrt(points) in the masses.
    error = (error + unit * _norm(np.abs(spectrum))) / math.sqrt(points)
    return ComposedMasses(
        interval=h,
        first=window.first,
        tilt=tilt,
        tilted=_cut_out(fft.irfft(spectrum, points), window, shift),
        log_scale=log_scale,
        error=error,
        slack=slack,
        log_outside=float(np.logaddexp(window.log_above, log_infinity)) + slack,
        log_folded=window.log_folded + 2 * slack,
        aim=aim,
        loss_rounding=max(law.loss_rounding for law, _ in rows),
        offset=offset,
        apart=apart,
    )


def _points(window: Window, interval: float) -> int:
    """The length of the transforms for a window."""
    if window.points > MAX_POINTS:
        raise GridTooLarge(
            f"the composition needs {window.points} grid points at interval {interval:.3g}; "
            f"at most {MAX_POINTS} are allowed"
        )
    return int(fft.next_fast_len(max(window.points, 16), real=True))


def _transform(small: Array, law: GridLaw, points: int) -> Complex:
    """The transform of the masses up to the cut; of a single one a constant, which is exact."""
    if len(small) == 1:
        return np.full(points // 2 + 1, complex(small[0]))
    return np.asarray(fft.rfft(folded(small, -law.first, points)))


def _of_small_runs(
    cumulant: Moments,
    tilt: float,
    epsilon: float,
    split: Sequence[tuple[GridLaw, GridLaw]],
    counts: Sequence[int],
) -> float:
    """Log of a bound on what runs without a loss beyond the cut add to delta from epsilon on."""
    h = split[0][0].interval
    if h * sum(n * small.last for (small, _), n in zip(split, counts, strict=True)) <= epsilon:
        return -math.inf

    def bound(s: float) -> float:
        return cumulant.small(s) + float(log_kernel_peak(s)) - s * epsilon

    return bound(least_step(bound, tilt)) + 1e-9 + 5e-14 * cumulant.steps


def _mass_slack(law: GridLaw, tilted: Array, tilt: float) -> float:
    """Relative error of one step's tilted masses, the smallest (1e-20 of the largest) aside."""
    heavy = tilted > 1e-20 * tilted.max()
    if not np.any(heavy):  # the tilt left nothing that a float can hold
        return law.rounding + law.loss_rounding
    size = np.abs(law.losses[heavy])
    magnitude = float(np.max(np.abs(law.log_probabilities[heavy]) + tilt * size))
    # Losses off by a share of their size cost that share once a step, and of epsilon in all
    # (`docs/theory.md`, "Connect the dots").
    return law.rounding + law.loss_rounding + 4 * UNIT * magnitude


def _cut_out(circle: Array, window: Window, shift: int) -> Array:
    """The window's masses off the circle, without the negative ones that rounding leaves."""
    at = (window.first - shift) % len(circle)
    line = np.concatenate([circle[at:], circle[:at]])
    return np.asarray(np.maximum(line[: window.points], 0.0))
