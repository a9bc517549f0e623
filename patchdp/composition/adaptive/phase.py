"""One kind of step on a lattice: its laws, their gains, and kernels of many steps at once.

Source: `docs/theory/adaptive.md`, "The block theorem" and "Kernels".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchdp.composition.adaptive.lattice import Lattice
from patchdp.composition.adaptive.laws import Law, isosceles_law, pair_law
from patchdp.composition.adaptive.powers import FOLDS, Powers, Sampler
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.composition.adaptive.tents import Tents, knots

__all__ = ["PARTS", "Kernel", "Phase", "Plan", "laws_of"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

_UNIT = 2.0**-53
SPLITS = (0.0, 1 / 32, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
# Gains of rivals are read at this many places per interval.
PARTS = 4
# Closed forms of the step layer are accurate to this, relatively.
_CLOSED_FORM_ERROR = 1e-11
_KNOT_WIDTH = 0.03
# Aliases of a gain's samples are added up until the rest is this small against the gain.
_ALIASED = 4e-4


@dataclass(frozen=True)
class Plan:
    """What every step of a run shares.

    Args:
      lattice: The lattice.
      tilt: Exponent of the transforms.
      saddle: Exponent at which the target lies, in half-tilted units.
      log_tail: Log of the profile below which losses of one step are given away.
      epsilon: Rough answer.
      deviation: Standard deviation of the total loss about there.
    """

    lattice: Lattice
    tilt: float
    saddle: float
    log_tail: float
    epsilon: float
    deviation: float

    @property
    def exponents(self) -> tuple[float, ...]:
        """Exponents at which Chernoff's bounds are taken."""
        return tuple(self.saddle * f for f in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2))

    @property
    def steep(self) -> tuple[float, ...]:
        """Exponents above 1/2, for what leaves the lattice on the left."""
        return tuple(max(self.saddle, 0.75) * f for f in (1.0, 1.25, 1.5, 2.0))


def laws_of(step: OptimalStep, log_tail: float) -> dict[str, Law]:
    """Merged laws of the triangles that matter: f, b and, under Poisson sampling, isosceles."""
    top = math.sqrt(2 * (8.0 - log_tail))
    forward = pair_law(step.pair, top)
    found = {"f": forward, "b": forward.mirrored}
    w = step.weights
    if w.out > 0:
        found["i"] = isosceles_law(w.hit, w.miss, w.out, step.mu, top)
    return found


@dataclass(frozen=True, eq=False)
class Kernel:
    """What `k` steps of the base law do, and what the rivals gain on it within them.

    Args:
      steps: `k`.
      successor: Transform of the dots a dot becomes, and the sum of its samples, tilted.
      size: That sum.
      splits: Numbers of steps after which rivals are compared.
      gains: For each split and rival the transforms of what the rival gains, at the lattice's
        points and at `PARTS - 1` places between them.
      errors: For each split and rival a bound of the error per unit of tilted dots.
      smoothers: For each split the transform of the dots a dot becomes.
      smoother_errors: Their errors per unit of tilted dots.
    """

    steps: int
    successor: Complex
    size: float
    splits: tuple[int, ...]
    gains: tuple[tuple[tuple[Complex, ...], ...], ...]
    errors: tuple[tuple[float, ...], ...]
    smoothers: tuple[Complex, ...]
    smoother_errors: tuple[float, ...]


class Phase:
    """One kind of step.

    Args:
      step: The step.
      plan: What all steps of the run share.
      base: Name of the law on which blocks are built.
    """

    def __init__(self, step: OptimalStep, plan: Plan, base: str = "f") -> None:
        self.step, self.plan = step, plan
        self.laws = laws_of(step, plan.log_tail)
        self.base = base if base in self.laws else "f"
        self.rivals = [name for name in self.laws if name != self.base]
        top = math.sqrt(2 * (8.0 - plan.log_tail))
        self.tents = Tents(plan.lattice, knots(step.pair, top, _KNOT_WIDTH))
        self._kernels: dict[int, Kernel] = {}

    @cached_property
    def top(self) -> Array:
        """The largest profile at the knots of at least 0."""
        right = self.tents.knots[len(self.tents.knots) // 2 :]
        return np.exp(self.step.pair.log_delta(right)) * (1 + _CLOSED_FORM_ERROR)

    @cached_property
    def top_gain(self) -> Array:
        """What any triangle gains at most, half-tilted, at all knots."""
        right = self.top * np.exp(-0.5 * self.tents.knots[len(self.tents.knots) // 2 :])
        return np.concatenate([right[:0:-1], right])

    @cached_property
    def given_away(self) -> float:
        """What losses beyond the knots add to the value in one step, at most."""
        return 2 * float(self.top[-1])

    def _gains(self, places: Array) -> dict[str, Array]:
        """The laws' gains at places that lie symmetrically about 0."""
        found = {name: law.gain(places) for name, law in self.laws.items() if name != "b"}
        return found | {"b": found["f"][::-1]}

    @cached_property
    def point_gains(self) -> dict[str, Array]:
        """The laws' gains at the tents' points."""
        return self._gains(self.tents.points)

    @cached_property
    def knot_gains(self) -> dict[str, Array]:
        """The laws' gains at the knots."""
        return self._gains(self.tents.knots)

    @cached_property
    def dot_gains(self) -> dict[str, Array]:
        """The laws' gains against spread dots, by offset."""
        return {n: self.tents.dots(gain) for n, gain in self.point_gains.items()}

    @cached_property
    def chord_gaps(self) -> dict[str, Array]:
        """Over the lattice's cells: how far the polygons through the knots are above the laws'."""
        found = {}
        for name in self.laws:
            polygon = self.knot_gains[name] @ self.tents.cells
            truth = self.tents.over_cells(self.point_gains[name])
            found[name] = np.maximum(polygon - truth, 0.0) + 1e-10 * polygon
        return found

    @cached_property
    def differences(self) -> dict[str, Array]:
        """Over the lattice's cells: bounds of `int |gain of a rival - gain of the base|`."""
        base = self.knot_gains[self.base]
        return {
            n: np.abs(self.knot_gains[n] - base) @ self.tents.cells
            + self.chord_gaps[n]
            + self.chord_gaps[self.base]
            for n in self.rivals
        }

    @cached_property
    def sampler(self) -> Sampler:
        """Frequencies under the run's tilt."""
        plain = Sampler(self.plan.lattice, self.plan.tilt)
        base = self.dot_gains[self.base]
        h, offsets = self.plan.lattice.interval, np.arange(self.tents.size) - self.tents.reach
        # A wide state sees of a gain only its first moment.
        moment = max(float(np.abs((self.dot_gains[r] - base) @ (h * offsets))) for r in self.rivals)
        scale = h * moment / (2.5 * self.plan.deviation**2)
        wrong = 2 * plain.alias(6) / (plain.bend * h)
        folds = FOLDS * (wrong / max(_ALIASED * scale, 1e-300)) ** 0.2
        # The error falls with the fifth power of the aliases that are added up.
        return Sampler(self.plan.lattice, self.plan.tilt, round(min(max(folds, 8.0), 48.0)))

    @cached_property
    def powers(self) -> Powers:
        """Powers of the base law under the run's tilt."""
        return Powers(self.sampler, self.laws[self.base])

    @cached_property
    def steep_powers(self) -> Powers:
        """The same at the saddle point, where the far left of a kernel is accurate."""
        return Powers(Sampler(self.plan.lattice, self.plan.saddle), self.laws[self.base])

    @cached_property
    def contrasts(self) -> dict[str, tuple[Complex, Array, float, float, float]]:
        """Rival minus base under the run's tilt: transform, error, and three bounds of its size.

        `|e^{zeta l} - 1| <= |zeta l| e^{tau |l|}`, so the first is per unit of frequency. The
        others are the difference of the masses and their sum.
        """
        s, base = self.sampler, self.laws[self.base]
        phi = self.powers.base * math.exp(self.powers.log_mass)
        found = {}
        for name in self.rivals:
            law = self.laws[name]
            error = s.transform_error(law) + s.transform_error(base)
            slope, total = 0.0, 0.0
            for each in (law, base):
                weight = each.masses * np.exp(abs(s.tilt) * np.abs(each.losses))
                slope += float(weight @ np.abs(each.losses))
                total += float(weight.sum())
            apart = abs(float(law.masses.sum() - base.masses.sum())) + 1e-13
            found[name] = (s.transform(law) - phi, error, slope, apart, total)
        return found

    @cached_property
    def probing(self) -> tuple[Complex, Complex]:
        """Transforms of the largest gain against spread dots and over cells: to place probes by."""
        tents, n = self.tents, self.plan.lattice.size
        offsets = np.arange(-tents.reach, tents.reach + 1)
        inside = np.abs(offsets) <= 2 * n
        found = []
        for matrix in (tents.matrix, tents.cells):
            array = np.zeros(4 * n + 1)
            array[2 * n - offsets[inside]] = (self.top_gain @ matrix)[inside]
            found.append(self.sampler.kernel(array))
        return found[0], found[1]

    def log_mass(self, exponent: float, name: str | None = None) -> float:
        """Log of the base law's mass under an exponent."""
        return self.laws[name or self.base].log_transform(exponent) + 1e-13

    @cached_property
    def masses(self) -> dict[float, float]:
        """`log_mass` at the plan's exponents."""
        every = (*self.plan.exponents, *self.plan.steep, *(-v for v in self.plan.steep))
        return {t: self.log_mass(t) for t in every}

    def _wrapped(self, steps: int) -> float:
        """Bound of the tilted aliases in space of a gain's samples after some steps."""
        s, t, h = self.sampler, self.plan.tilt, self.plan.lattice.interval
        end = 0.5 * s.length * h
        y, best = np.abs(self.tents.knots), math.inf
        with np.errstate(divide="ignore"):
            log_gain = np.log(self.top_gain)
        for exponent in self.plan.steep:
            u = max(exponent, t + 0.25)
            height = float(np.max(log_gain + u * y)) + 4 * u * h
            sides = [
                height
                + steps * self.log_mass(sign * u)
                - (u - sign * t) * end
                - math.log(-math.expm1(-2 * (u - sign * t) * end))
                for sign in (1, -1)
            ]
            best = min(best, float(np.logaddexp(sides[0], sides[1])))
        return math.exp(min(best, 700.0))

    @cached_property
    def _shifts(self) -> list[Complex]:
        s, h = self.sampler, self.plan.lattice.interval
        return [np.exp(s.zeta * (h * t / PARTS)) for t in range(PARTS)]

    def kernel(self, k: int) -> Kernel:
        """The kernel of `k` steps."""
        if k not in self._kernels:
            self._kernels[k] = self._kernel(k)
        return self._kernels[k]

    def _kernel(self, k: int) -> Kernel:
        s, h, n = self.sampler, self.plan.lattice.interval, self.plan.lattice.size
        losses = h * np.arange(-2 * n, 2 * n + 1)
        array = np.full(len(losses), np.inf)
        for powers in (self.powers, self.steep_powers):
            found, error = powers.successor(k)
            log_scale = powers.sampler.tilt * losses + k * powers.log_mass
            scale = np.exp(np.clip(log_scale, -700, 700)) * (
                1 + 8 * _UNIT * (np.abs(log_scale) + 8)
            )
            array = np.minimum(array, (np.maximum(found, 0.0) + error) * scale)
        successor = s.kernel(array)
        size = float(np.sum(array * np.exp(-s.tilt * losses)))
        splits = tuple(sorted({int(f * k) for f in SPLITS}))
        gains, errors, smoothers, smoother_errors = [], [], [], []
        cube = s.spline**3
        green = s.spline**2 / (s.zeta * s.zeta - 0.25) / h
        absolute = np.abs(green)
        for j in splits:
            power = self.powers.power(j)
            scale = math.exp(j * self.powers.log_mass)
            blurred = np.asarray(absolute * self.powers.power_error(j))
            row, bounds = [], []
            for difference, known, slope, apart, total in self.contrasts.values():
                product = power * difference * green
                spectra = [s.fold(product * shift) * scale for shift in self._shifts]
                wrong = float(blurred @ (np.abs(difference) + known))
                reached = absolute * np.abs(power)
                wrong += float(reached @ (known + 16 * _UNIT * np.abs(difference)))
                wrong += 6 * s.unit * float(reached @ (np.abs(difference) + known))
                wrong *= 2 / s.length
                far = min(2 * slope * s.alias(5) + apart * s.alias(6), total * s.alias(6))
                wrong += far / (s.bend * h)
                wrong *= math.exp(abs(s.tilt) * h) * (1 + 1e-9)  # at places between the points too
                row.append(tuple(spectra))
                bounds.append(wrong * scale + self._wrapped(j))
            smoothers.append(s.fold(power * cube) * scale)
            smoother_errors.append(self.powers.sample_error(j, np.abs(cube)) * scale * (1 + 1e-9))
            gains.append(tuple(row))
            errors.append(tuple(bounds))
        return Kernel(
            k,
            successor,
            size,
            splits,
            tuple(gains),
            tuple(errors),
            tuple(smoothers),
            tuple(smoother_errors),
        )
