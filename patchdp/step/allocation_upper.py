"""Upper bounds of the profile of one epoch under random allocation, without the crop.

`h(k) = E[(sum_i (G_i - k U_i))_+] / t`, `G = e^{mu Z - mu^2/2}`, `U = e^{-mu Z - mu^2/2}`, `Z`
normal, `t` steps an epoch. The integrand is convex in every `W = G - k U`, so a law that is larger
in convex order is an upper bound: each cell's mass goes to two points of a lattice, its mean kept.
The few terms above a cut are taken one by one; the sum of the others is a power of a tilted
transform.

>>> import numpy as np
>>> bound = upper_bounds(mu=1.0, rounds=2, multiples=np.array([1.6487212707]))
>>> bool(0.4000 < bound[0] < 0.4003)
True

Source: `docs/theory/allocation.md`, "The certified value of an epoch".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from patchdp.step.allocation_lattice import (
    FAR,
    RELATIVE_ERROR,
    Lattice,
    circle,
    lattice_of,
    moments,
    power,
    shares,
)

__all__ = ["Accuracy", "upper_bounds"]

Array = npt.NDArray[np.float64]

_UNIT = 2.0**-53
# A batch of transforms holds about this many numbers: it stays in the cache.
_BATCH = 1 << 19
# Points taken together where only a rough law is wanted.
_GROUP = 8
# The sum beside a large term is taken on a lattice that is coarser by this.
_COARSE = 4
# Powers below this, as a logarithm, are left out.
_DEAD = -60.0


@dataclass(frozen=True)
class Accuracy:
    """How fine the lattice is: nothing here is a matter of soundness.

    >>> Accuracy().spread
    0.001

    Args:
      spread: Variance that rounding to the lattice may add, relative to that of one term.
      floor: What may be added to `h` itself.
      longest: Longest transform.
    """

    spread: float = 1e-3
    floor: float = 1e-13
    longest: int = 1 << 16


def _tilts(lattice: Lattice, rounds: int, tail: float) -> Array:
    """Tilts `T` near where the sum of all terms has mean `2/T`: the saddle point of `h`.

    They are kept so small that the largest values, of mass `tail`, do not take over: there the law
    is not described by one tilt.
    """
    _, mean, variance, _ = moments(lattice, np.zeros(len(lattice.masses)))
    m, v = rounds * mean, rounds * np.maximum(variance, 1e-300)
    tilt = (
        4 / (m + np.sqrt(m * m + 8 * v))
        if np.all(m > 0)
        else (np.sqrt(m * m + 8 * v) - m) / (2 * v)
    )
    most = -0.7 * math.log(tail) / lattice.tops
    tilt = np.minimum(tilt, most)
    for _ in range(6):
        _, mean, variance, _ = moments(lattice, tilt)
        excess = rounds * mean - 2 / tilt
        slope = rounds * np.maximum(variance, 0.0) * tilt + 2 / tilt
        move = np.clip(-excess / slope, -1.0, 1.0)
        tilt = np.minimum(tilt * np.exp(move), most)
        if np.max(np.abs(move)) < 0.05:
            break
    return np.asarray(tilt)


def _norm_errors(modulus: Array, rounds: int, points: int) -> Array:
    """Bounds of the Euclidean norms of the errors of composed masses, one for each row.

    Every output of the forward transform errs by `unit`, and the power by `3 t` units of rounding.
    Columns that are left out have powers of at most `e^-59`.
    """
    unit = 8.0 * _UNIT * math.log2(points)
    with np.errstate(divide="ignore"):
        logs = np.log(modulus + unit)
    powers = np.exp(np.minimum((rounds - 1) * logs, 1.0))
    weight = rounds * (unit + 4 * _UNIT) + unit
    first = np.sqrt(2 * np.square(powers).sum(axis=1) / points)
    return np.asarray(weight * first + 2 * rounds * math.exp(_DEAD + 1))


def _log_outside(lattice: Lattice, rounds: int, tilt: Array, top: Array) -> Array:
    """Log of a bound on `E[S; S > top]`, by Chernoff's inequality at a few tilts."""
    best = np.full(len(top), np.inf)
    most = 600.0 / lattice.tops
    for factor in (1.0, 1.5, 2.5, 5.0):
        # `s e^{-T s}` falls from `1/T` on.
        each = np.maximum(np.minimum(tilt * factor, most), 1.0 / top)
        log_m, *_ = moments(lattice, each)
        best = np.minimum(best, rounds * (log_m + 1e-13) + np.log(top) - each * top)
    return best


def _length(first: Array, last: Array, longest: int) -> int:
    """A power of two that holds the windows from `first` to `last`, up to the longest."""
    need = float(np.max(last - first)) + 2
    return int(min(1 << max(math.ceil(math.log2(need)), 6), longest))


def _small(lattice: Lattice, rounds: int, longest: int, tail: float) -> tuple[Array, Array]:
    """Logs of upper bounds of `E[S_+]`, `S` the sum of `rounds` terms; and what went outside."""
    coarse = lattice.coarser(_GROUP)
    tilt = _tilts(coarse, rounds, tail)
    log_m, mean, variance, weights = moments(lattice, tilt)
    d = lattice.step[:, 0]
    # The window is where the tilted law is, and holds 0.
    middle, wide = rounds * mean / d, 9 * np.sqrt(rounds * variance) / d
    tops = lattice.tops / d
    last = np.ceil(np.maximum(middle + wide, 0) + 2 * tops + 8)
    points = _length(np.minimum(middle - wide, -8), last, longest)
    last = np.minimum(last, points - 2)
    spectrum = fft.rfft(circle(lattice, weights, points), axis=1)
    square = np.square(spectrum.real) + np.square(spectrum.imag)
    alive = np.flatnonzero(square.max(axis=0) > math.exp(2 * _DEAD / rounds))
    spectrum = spectrum[:, alive]
    error = _norm_errors(np.sqrt(square[:, alive]), rounds, points)
    powers = power(spectrum, rounds)
    # The masses at `j d` are `sum_a w_a Re(power_a e^{i j x_a}) / points`: their mean of
    # `s e^{-T s}` is summed over `j = 1..last` in closed form, with `r = e^{-T d + i x}`.
    x = 2 * np.pi / points * alive
    decay = (tilt * d)[:, None]
    rest = -np.expm1(-decay) + np.exp(-decay) * (2 * np.square(np.sin(0.5 * x)) - 1j * np.sin(x))
    ratio = np.exp(-decay) * np.exp(1j * x)
    ends = np.exp(
        -decay * last[:, None] + 1j * ((last[:, None] * alive) % points) * (2 * np.pi / points)
    )
    kernel = ratio * (1 - ends * (last[:, None] * rest + 1)) / np.square(rest)
    weight = np.where((alive == 0) | (2 * alive == points), 1.0, 2.0) / points
    body = d * np.einsum("j,ij->i", weight, (powers * kernel).real)
    size = np.exp(-2 * decay[:, 0])
    norm = d * np.sqrt(size * (1 + size) / (-np.expm1(-2 * decay[:, 0])) ** 3)
    body += error * norm
    # Rounding of the kernel, a few units relative to its terms.
    terms = np.abs(powers) * (1 + np.abs(ends) * (last[:, None] * np.abs(rest) + 1))
    body += (
        d
        * (64 + len(alive))
        * _UNIT
        * np.einsum("j,ij->i", weight, terms / np.square(np.abs(rest)))
    )
    reach = tilt * np.maximum(lattice.tops, -lattice.values[:, 0])
    slack = rounds * (8 + 2 * reach) * _UNIT + 4 * _UNIT * np.abs(rounds * log_m)
    slack += 1e-13 + weights.shape[1] * _UNIT
    logs = np.log(np.maximum(body, 1e-300)) + rounds * log_m + slack
    return logs, _log_outside(coarse, rounds, tilt, d * last)


def _binomial_tail(number: int, chance: float, least: int) -> float:
    """Upper bound of the chance of at least `least` of `number` successes."""
    if least > number:
        return 0.0
    return float(special.betainc(least, number - least + 1, chance)) * (1 + RELATIVE_ERROR)


@dataclass(frozen=True)
class _Cut:
    """Where terms count as large, and how many of them are taken one by one.

    Above `cut` a term is large; above `far` it is bounded by its mean. Where both are the same no
    term is large.
    """

    cut: float
    far: float
    most: int


def _choose_cut(mu: float, rounds: int, accuracy: Accuracy) -> _Cut:
    step = math.sqrt(5 * accuracy.spread * 2 * math.expm1(mu * mu))
    simple = mu - float(special.ndtri(accuracy.floor))
    if mu * simple - 0.5 * mu * mu - math.log(step) < math.log(4000.0):
        return _Cut(simple, simple, 0)
    most, share = (4, 1e-3) if rounds < 1000 else (2, 1e-4)
    return _Cut(-float(special.ndtri(share / rounds)), mu + FAR, most)


def _cells(mu: float, k: Array, cut: _Cut) -> tuple[Array, Array]:
    """Values and masses of a law above that of a large term; shape `(rows, cells + 1)`."""
    cells = 64 + math.ceil(24 * mu)
    z = np.broadcast_to(np.linspace(cut.cut, cut.far, cells + 1), (len(k), cells + 1))
    values = np.exp(mu * z - 0.5 * mu * mu) - k[:, None] * np.exp(-mu * z - 0.5 * mu * mu)
    width = np.diff(values)
    index = np.abs(values[:, :-1]) / width
    lower, upper = shares(z, k[:, None], mu, values[:, :-1], width, index)
    masses = np.zeros_like(values)
    masses[:, :-1] += lower
    masses[:, 1:] += upper
    return values, masses


def _large(lattice: Lattice, rounds: int, longest: int, cut: _Cut, mu: float, k: Array) -> Array:
    """Upper bounds of the part of `E[S_+]` with one to `cut.most` large terms."""
    values, weights = _cells(mu, k, cut)
    chance = float(special.ndtr(-cut.cut)) * (1 + RELATIVE_ERROR)
    d = lattice.step[:, 0]
    none = np.zeros(len(k))
    _, mean, variance, _ = moments(lattice, none)
    wide = 9 * np.sqrt(np.maximum(rounds * variance, 0.0)) / d
    ends = np.ceil(np.maximum(rounds * mean / d + wide, 0) + 3 * lattice.tops / d + 8)
    points = _length(rounds * mean / d - wide, ends, longest)
    spectrum = fft.rfft(circle(lattice, lattice.masses, points), axis=1)
    coarse = lattice.coarser(_GROUP)
    total = np.zeros(len(k))
    fewest = max(rounds - cut.most, 0)
    powers = power(spectrum, fewest)
    for small in range(fewest, rounds):
        large = rounds - small
        composed = np.maximum(fft.irfft(powers, points, axis=1), 0.0)
        error = _norm_errors(np.abs(spectrum), max(small, 1), points)
        last = ends.astype(np.int64)
        # The window is last - points + 1 .. last, and rows are cut there.
        at = (last[:, None] + 1 + np.arange(points)) % points
        line = np.take_along_axis(composed, at, axis=1)
        sums = d[:, None] * (last[:, None] + 1 - points + np.arange(points))
        above = np.cumsum(line[:, ::-1], axis=1)[:, ::-1]
        moment = np.cumsum((line * sums)[:, ::-1], axis=1)[:, ::-1]
        top = d * last
        outside = _excess_outside(coarse, small, top)
        for row in range(len(k)):
            w = large * values[row]
            start = np.searchsorted(sums[row], -w, side="right")
            inside = np.minimum(start, points - 1)
            f = np.where(start < points, w * above[row, inside] + moment[row, inside], 0.0)
            reach = np.maximum(w + top[row], 0.0)
            size = np.abs(w) + points * d[row]
            f += reach * error[row] * math.sqrt(points) + 2 * points * _UNIT * size
            f += (np.abs(w) + top[row] + 1) * outside[row]
            total[row] += math.exp(
                _log_choose(rounds, large) + (large - 1) * math.log(chance) + 1e-11
            ) * float(weights[row] @ f)
        powers = powers * spectrum
    return np.asarray(total * (1 + rounds * 1e-14))


def _log_choose(n: int, m: int) -> float:
    return float(sum(math.log((n - i) / (i + 1)) for i in range(m)))


def _excess_outside(lattice: Lattice, terms: int, top: Array) -> Array:
    """Bounds of `E[max(S / top, 1); S > top]`, also of the mass above `top`."""
    safe = np.maximum(top, 1e-300)
    spread = 1.0 / lattice.tops
    best = np.full(len(top), np.inf)
    for factor in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        each = np.maximum(spread * factor, 1.0 / safe)
        log_m, *_ = moments(lattice, each)
        best = np.minimum(best, terms * (log_m + 1e-13) - each * top)
    return np.asarray(np.exp(np.minimum(best, 50.0)))


def upper_bounds(
    *, mu: float, rounds: int, multiples: Array, accuracy: Accuracy | None = None
) -> Array:
    """Upper bounds of `h(k)`, one for each of `multiples`.

    Args:
      mu: `1/noise_multiplier`, above 0.
      rounds: Steps of an epoch, at least 1.
      multiples: The `k >= 1`, shape `(n,)`.
      accuracy: How fine to compute.
    """
    accuracy = Accuracy() if accuracy is None else accuracy
    k = np.asarray(multiples, dtype=np.float64)
    found = np.empty(len(k))
    cut = _choose_cut(mu, rounds, accuracy)
    deviation = _deviation(mu, k, cut.cut, rounds)
    width = 18 * deviation * math.sqrt(rounds)
    top = math.exp(mu * cut.cut - 0.5 * mu * mu)
    step = np.maximum(
        deviation * math.sqrt(5 * accuracy.spread), (width + 2 * top) / (0.9 * accuracy.longest)
    )
    floor = -np.minimum(
        k * math.exp(7 * mu - 0.5 * mu * mu), 10 * deviation * math.sqrt(rounds) + 2 * top
    )
    points = float(np.max((width + 2 * top) / step))
    size = max(int(_BATCH / points), 1)
    tail = max(float(special.ndtr(-cut.cut)), 1e-300)
    for first in range(0, len(k), size):
        rows = slice(first, first + size)
        lattice = lattice_of(mu, k[rows], cut.cut, cut.far, step[rows], floor[rows])
        logs, outside = _small(lattice, rounds, accuracy.longest, tail)
        total = np.exp(np.minimum(np.logaddexp(logs, outside), 700.0))
        if cut.most:
            lattice = lattice_of(mu, k[rows], cut.cut, cut.far, _COARSE * step[rows], floor[rows])
            total = total + _large(lattice, rounds, accuracy.longest, cut, mu, k[rows])
        found[rows] = total / rounds
    beyond = float(special.ndtr(mu - cut.far)) * (1 + RELATIVE_ERROR)
    if cut.most:
        chance = float(special.ndtr(-cut.cut)) * (1 + RELATIVE_ERROR)
        weight = float(special.ndtr(mu - cut.cut)) * (1 + RELATIVE_ERROR)
        beyond += weight * _binomial_tail(rounds - 1, chance, cut.most)
        beyond += _binomial_tail(rounds - 1, chance, cut.most + 1)
    return np.minimum((found + beyond) * (1 + 1e-12), 1.0)


def _deviation(mu: float, k: Array, cut: float, rounds: int) -> Array:
    """About the standard deviation of one term without its largest and smallest values.

    Values of `-k U` that one epoch in three has are left out: all they do is make sums negative.
    """
    low = -float(special.ndtri(1 / (3 * rounds)))
    down = math.exp(mu * mu) * float(special.ndtr(low - 2 * mu))
    square = math.exp(mu * mu) * float(special.ndtr(cut - 2 * mu))
    mean = float(special.ndtr(cut - mu))
    cross = math.exp(-mu * mu)
    variance = square + k * k * down - 2 * k * cross - np.square((1 - k) * mean)
    least = np.square((1 + k) * mu) * math.exp(-mu * mu) * 0.1
    return np.sqrt(np.maximum(variance, least))
