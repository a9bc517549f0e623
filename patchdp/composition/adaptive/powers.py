"""Many steps at once: powers of a law's transform, sampled on a lattice with bounds of the errors.

Everything is tilted by `e^{-tau t}`: rounding is then small where the answer is. A state is dots
that are spread by two hats, its successor is read at the lattice's points, so three splines damp
the transform by the sixth power of the frequency and a few aliases are enough.
Source: `docs/theory/adaptive.md`, "Kernels".
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.laws import RELATIVE_ERROR, Law

__all__ = ["Powers", "Sampler", "fft_unit"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

_UNIT = 2.0**-53
FOLDS = 10


def fft_unit(points: int) -> float:
    """Error of one output of a transform relative to the sum of the inputs' magnitudes."""
    return 8.0 * _UNIT * max(math.log2(points), 1.0)


def _shc(z: Complex) -> Complex:
    small = np.abs(z) < 1e-4
    safe = np.where(small, 1.0, z)
    return np.asarray(np.where(small, 1 + z * z / 6, np.sinh(safe) / safe))


class Sampler:
    """Frequencies and splines of a lattice under one tilt.

    Args:
      lattice: The lattice.
      tilt: The exponent tau, above 1/2.
      folds: Aliases on either side that are added up.
      room: Length of the transforms over the lattice's points on one side, at least 4.
    """

    def __init__(self, lattice: Lattice, tilt: float, folds: int = FOLDS, room: int = 4) -> None:
        self.lattice, self.tilt, self.folds = lattice, tilt, folds
        h = lattice.interval
        self.length = int(fft.next_fast_len(room * lattice.size + 4, real=True))
        while self.length % 2:
            self.length = int(fft.next_fast_len(self.length + 1, real=True))
        # Frequencies 0 .. (folds + 1/2) 2 pi / h; those of negative folds are conjugates.
        self.count = folds * self.length + self.length // 2 + 1
        self.omega = np.arange(self.count) * (2 * math.pi / (self.length * h))
        self.unit = fft_unit(self.length)

    @cached_property
    def zeta(self) -> Complex:
        """`tau + i omega`."""
        return np.asarray(self.tilt + 1j * self.omega)

    @cached_property
    def spline(self) -> Complex:
        """Transform of the hat over the interval: `int hat(t) e^{-zeta t} dt / h`."""
        h = self.lattice.interval
        a, b = 0.5 * h * (self.zeta + 0.5), 0.5 * h * (self.zeta - 0.5)
        return np.asarray(0.5 * h * _shc(a) * _shc(b) / math.sinh(0.5 * h))

    @cached_property
    def decay(self) -> Array:
        """`e^{-tau s}` at the lattice's points."""
        return np.exp(-self.tilt * self.lattice.losses)

    @cached_property
    def bend(self) -> float:
        """`|spline| <= bend / omega^2`."""
        h, t = self.lattice.interval, self.tilt
        return (math.cosh(t * h) + math.cosh(0.5 * h)) / (math.sinh(0.5 * h) * h)

    def alias(self, power: int) -> float:
        """Bound on `sum of |spline|^3 omega^(6 - power)` beyond the folds; `power` 5 or 6."""
        unit = self.lattice.interval / (2 * math.pi)
        return float(self.bend**3 * 2 * unit**power / ((power - 1) * self.folds ** (power - 1)))

    def fold(self, spectrum: Complex) -> Complex:
        """Transform of the samples at the lattice of a function with this transform, times h."""
        n, half = self.length, self.length // 2
        total = spectrum[: half + 1].copy()
        for m in range(1, self.folds + 1):
            total += spectrum[m * n : m * n + half + 1]
            total += np.conj(spectrum[m * n - half : m * n + 1][::-1])
        return total

    def spread(self, array: Array) -> Complex:
        """Transform of tilted lattice values."""
        padded = np.zeros(self.length)
        padded[: len(array)] = array * self.decay
        return np.asarray(fft.rfft(padded))

    def gather(self, spectrum: Complex) -> Array:
        """Lattice values, still tilted, of a kernel's transform times one of `spread`."""
        return np.asarray(fft.irfft(spectrum, self.length)[: 2 * self.lattice.size + 1])

    def gather_pair(self, spectrum: Complex) -> Array:
        """The same for a product of two of `spread`: losses `-2 size h .. 2 size h`."""
        return np.asarray(fft.irfft(spectrum, self.length)[: 4 * self.lattice.size + 1])

    def samples(self, spectrum: Complex) -> Array:
        """Tilted samples at losses `-2 size h .. 2 size h` of a folded transform."""
        return np.asarray(np.roll(fft.irfft(spectrum, self.length), 2 * self.lattice.size))[
            : 4 * self.lattice.size + 1
        ]

    def kernel(self, array: Array) -> Complex:
        """Transform of a kernel given at losses `-2 size h .. 2 size h`, tilted here."""
        size = self.lattice.size
        losses = self.lattice.interval * np.arange(-2 * size, 2 * size + 1)
        padded = np.zeros(self.length)
        padded[: len(array)] = array * np.exp(-self.tilt * losses)
        return np.asarray(fft.rfft(np.roll(padded, -2 * size)))

    def transform(self, law: Law) -> Complex:
        """`sum_m k_m exp((tau + i omega) l_m)` at all frequencies, by one factored product."""
        k = law.masses * np.exp(self.tilt * law.losses)
        inner = math.ceil(math.sqrt(self.count))
        outer = math.ceil(self.count / inner)
        step = float(self.omega[1])
        fine = np.exp(1j * step * np.outer(law.losses, np.arange(inner)))
        coarse = np.exp(1j * step * inner * np.outer(np.arange(outer), law.losses)) * k
        return np.asarray((coarse @ fine).ravel()[: self.count])

    def transform_error(self, law: Law) -> Array:
        """Bound on the error of `transform` at each frequency, law's rounding included."""
        k = law.masses * np.exp(self.tilt * law.losses)
        size, spread = float(k.sum()), float(k @ np.abs(law.losses))
        relative = 2 * RELATIVE_ERROR + _UNIT * (len(k) + 12)
        return np.asarray(
            size * relative + spread * (RELATIVE_ERROR + 8 * _UNIT) * (self.omega + abs(self.tilt))
        )


class Powers:
    """Powers of one law's transform under one tilt, over the tilted mass; by squaring."""

    def __init__(self, sampler: Sampler, law: Law) -> None:
        self.sampler, self.law = sampler, law
        base = sampler.transform(law)
        mass = float(np.real(base[0]))
        self.log_mass = math.log(mass)
        self.base = base / mass
        # Squarings add at most 4 units of rounding per factor.
        self.error = sampler.transform_error(law) / mass + 8 * _UNIT
        self._found: dict[int, Complex] = {}
        self._log_bound = np.log(np.abs(self.base) + self.error)

    def power(self, k: int) -> Complex:
        """`(phi / phi(0))^k`."""
        if k not in self._found:
            if k == 0:
                self._found[k] = np.ones_like(self.base)
            elif k == 1:
                self._found[k] = self.base
            elif k % 2:
                self._found[k] = self.power(k - 1) * self.base
            else:
                self._found[k] = self.power(k // 2) ** 2
        return self._found[k]

    def power_error(self, k: int) -> Array:
        """Bound on the error of `power(k)` at each frequency."""
        if k == 0:
            return np.zeros(len(self.base))
        return np.asarray(k * self.error * np.exp((k - 1) * self._log_bound))

    def successor(self, k: int) -> tuple[Array, float]:
        """Tilted dots, over `e^{k log_mass}`, that `k` steps make of a dot, and their error.

        The dot is spread by two hats, and the outcome read at the lattice's points; losses
        `-2 size h .. 2 size h`. Shifts by the transform's length only add.
        """
        s = self.sampler
        cube = s.spline**3
        array = s.samples(s.fold(self.power(k) * cube))
        return array, self.sample_error(k, np.abs(cube))

    def sample_error(self, k: int, damping: Array) -> float:
        """Error of samples of `power(k)` times the third power of the spline, per unit.

        Those of a product with the transform of other dots, or of the samples themselves.
        """
        s = self.sampler
        error = 2 * float(self.power_error(k) @ damping) / s.length
        return (
            error + s.alias(6) + 6 * s.unit * 2 * float(np.abs(self.power(k)) @ damping) / s.length
        )
