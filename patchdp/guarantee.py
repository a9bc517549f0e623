"""The questions that a plan, or several phases of one training, can answer."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

from patchdp import _checks
from patchdp.composition import certify, exact, pld, rdp, tradeoff
from patchdp.composition.adaptive.bounds import optimal_bounds
from patchdp.composition.adaptive.planning import WorkExceeded
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.composition.group import group_epsilon, group_log_delta
from patchdp.composition.masses import loss_masses
from patchdp.composition.tilted import GridTooLarge
from patchdp.step.profile import StepProfile

__all__ = ["Bounds", "Guarantee", "Method", "Profile"]

Array = npt.NDArray[np.float64]
Method: TypeAlias = Literal["pld", "exact", "rdp", "optimal"]
METHODS: tuple[Method, ...] = ("pld", "exact", "rdp", "optimal")
# Logarithm of the smallest positive float.
_LEAST_LOG = -745.0
Progress: TypeAlias = Callable[[float], None]


class Bounds(NamedTuple):
    """An upper bound that is proved, and a value no valid analysis can go below.

    >>> Bounds(lower=3.66, upper=3.73)
    Bounds(lower=3.66, upper=3.73)

    `lower` is None where no attainable execution is known.
    """

    lower: float | None
    upper: float


class Profile(NamedTuple):
    """A privacy profile: `delta[i]` is proved at `epsilon[i]`."""

    epsilon: Array
    delta: Array


def check_delta(delta: object) -> float:
    """The natural logarithm of a delta strictly between 0 and 1, rounded towards 0 delta."""
    exact_delta = _checks.probability("delta", delta, open_ends=True)
    number = float(exact_delta)
    if number < 1e-300 or number == 1.0:
        raise ValueError(f"delta must lie between 1e-300 and 1, got {delta!r}")
    log_delta = math.log(number)
    return log_delta - 4e-16 * max(abs(log_delta), 1.0)


Phases: TypeAlias = tuple[tuple[StepProfile, int], ...]


def _estimated_log_delta(phases: Phases, epsilon: Array) -> Array:
    try:
        return np.asarray(exact.log_delta_estimate(phases, epsilon))
    except exact.ExactEngineError:
        return certify.log_delta_upper(phases, epsilon=epsilon, tolerance=1e-2)


def _certified(phases: Phases, log_delta: float, method: Method, tolerance: float) -> float:
    if method == "exact":
        return float(exact.epsilon_upper(phases, np.array(log_delta)))
    return certify.epsilon_upper(phases, log_delta=log_delta, tolerance=tolerance).value


def _certified_log_delta(phases: Phases, epsilon: Array) -> Array:
    logs = rdp.log_delta(phases, epsilon)
    # What is below every float anyway need not be composed.
    near = logs > _LEAST_LOG
    if np.any(near):
        logs[near] = np.minimum(logs[near], certify.log_delta_upper(phases, epsilon=epsilon[near]))
    return logs


class Guarantee(ABC):
    """What any composition of steps can be asked."""

    @property
    @abstractmethod
    def phases(self) -> tuple[tuple[StepProfile, int], ...]:
        """Steps and how often each is applied; empty where no crop ever shows the patch."""

    @property
    @abstractmethod
    def noiseless(self) -> bool:
        """Whether some phase adds no noise, so that nothing finite can be promised."""

    @property
    @abstractmethod
    def attainable(self) -> bool:
        """Whether the analysed pair is a real execution, so that a lower bound exists."""

    @property
    @abstractmethod
    def optimal_steps(self) -> tuple[tuple[OptimalStep, int], ...] | None:
        """The steps in their order as optimal composition takes them; None where it cannot."""

    @property
    @abstractmethod
    def one_image(self) -> tuple[Guarantee, int]:
        """The same run where a person is in one image only, and in how many one may be here."""

    @overload
    def epsilon(
        self,
        delta: float | Fraction,
        *,
        method: Method = "pld",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> float: ...
    @overload
    def epsilon(
        self,
        delta: Array,
        *,
        method: Method = "pld",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> Array: ...
    def epsilon(
        self,
        delta: float | Fraction | Array,
        *,
        method: Method = "pld",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> float | Array:
        """A certified epsilon at `delta`.

        Args:
          delta: In (0, 1); a number, or an array for one epsilon each.
          method: `"pld"` composes masses (dp-accounting's engine where its rounding allows);
            `"exact"` inverts the transform with an error bar; `"rdp"` goes by the Rényi curve;
            `"optimal"` composes against the best adaptive adversary: smaller, and takes seconds.
          tolerance: Largest excess, relative to the exact value (`"pld"`, 1e-3 if left out) or
            aimed at relative to the attained lower bound (`"optimal"`, 1e-2 if left out).
          progress: Called with the finished fraction by `"optimal"`.

        Returns:
          An upper bound, never below the true epsilon of the analysis; 0 where delta alone
          suffices, infinity where there is no noise.

        Raises:
          ValueError: `delta` is not in (0, 1), the method is unknown, or no certified number
            within the tolerance can be had (the message names the exact value).
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if isinstance(delta, np.ndarray):
            values = [
                self.epsilon(float(d), method=method, tolerance=tolerance) for d in delta.flat
            ]
            return np.array(values, dtype=np.float64).reshape(delta.shape)
        log_delta = check_delta(delta)
        if not self.phases:
            return math.inf if self.noiseless else 0.0
        if method == "rdp":
            return rdp.epsilon(self.phases, math.exp(log_delta))
        if method == "optimal":
            return self._optimal(delta, tolerance, progress).upper
        allowed = _checks.positive("tolerance", 1e-3 if tolerance is None else tolerance)
        return self._composed(log_delta, method, allowed)

    def _composed(self, log_delta: float, method: Method, tolerance: float) -> float:
        """By masses or inversion; for several images per person, group privacy holds as well."""
        joint = _certified(self.phases, log_delta, method, tolerance)
        one, images = self.one_image
        if images == 1:
            return joint
        try:
            return group_epsilon(
                lambda each: _certified(one.phases, each, method, tolerance),
                lambda each: certify.quick_estimate(one.phases, each),
                images=images,
                log_delta=log_delta,
                below=joint,
            )
        except (exact.ExactEngineError, GridTooLarge):
            return joint  # which holds whatever the other bound would say

    def _optimal(
        self, delta: float | Fraction, tolerance: float | None, progress: Progress | None
    ) -> Bounds:
        """Optimal composition; never above the composed bound, which holds as well."""
        steps = self.optimal_steps
        if steps is None:
            raise ValueError(
                "method optimal is proved for one image per person and views clipped together; "
                "use method pld"
            )
        allowed = _checks.positive("tolerance", 1e-2 if tolerance is None else tolerance)
        composed = self.epsilon(delta)
        if composed == 0:
            return Bounds(0.0, 0.0)
        effort = min(max(math.sqrt(1e-2 / allowed), 0.5), 2.0)
        try:
            found = optimal_bounds(steps, delta, effort=effort, progress=progress)
        except WorkExceeded:
            return Bounds(None, composed)
        return Bounds(found.lower, min(found.upper, composed))

    def estimated_epsilon(self, log_delta: float) -> float:
        """Epsilon by the exact engine's estimate, which certifies nothing: to steer searches by."""
        if not self.phases:
            return math.inf if self.noiseless else 0.0
        joint = certify.quick_estimate(self.phases, log_delta)
        one, images = self.one_image
        if images == 1:
            return joint
        curve = functools.partial(certify.quick_estimate, one.phases)
        return group_epsilon(curve, curve, images=images, log_delta=log_delta, below=joint)

    def estimated_log_delta(self, epsilon: Array) -> Array:
        """Logs of deltas by the exact engine's estimate, which certifies nothing."""
        if not self.phases:
            return np.full(epsilon.shape, 0.0 if self.noiseless else -math.inf)
        joint = _estimated_log_delta(self.phases, epsilon)
        one, images = self.one_image
        if images == 1:
            return joint
        curve = functools.partial(_estimated_log_delta, one.phases)
        return np.minimum(joint, group_log_delta(curve, epsilon, images))

    @overload
    def delta(self, epsilon: float, *, method: Method = "pld") -> float: ...
    @overload
    def delta(self, epsilon: Array, *, method: Method = "pld") -> Array: ...
    def delta(self, epsilon: float | Array, *, method: Method = "pld") -> float | Array:
        """A certified delta at `epsilon`.

        Args:
          epsilon: At least 0; a number, or an array for one delta each.
          method: As in `epsilon`; `"rdp"` is not offered here.

        Returns:
          An upper bound in (0, 1]; positive even where it is too small for a float.
        """
        if method not in ("pld", "exact"):
            raise ValueError(f"delta offers the methods pld and exact, got {method!r}")
        scalar = not isinstance(epsilon, np.ndarray)
        eps = np.asarray(epsilon, dtype=np.float64)
        if not np.all(np.isfinite(eps)) or not np.all(eps >= 0):
            raise ValueError(f"epsilon must be a finite number of at least 0, got {epsilon!r}")
        if not self.phases:
            logs = np.full(eps.shape, 0.0 if self.noiseless else -math.inf)
        else:
            curve = exact.log_delta_upper if method == "exact" else _certified_log_delta
            logs = curve(self.phases, eps)
            one, images = self.one_image
            if images > 1:
                alone = functools.partial(curve, one.phases)
                logs = np.minimum(logs, group_log_delta(alone, eps, images))
        values = np.where(np.isneginf(logs), 0.0, np.clip(np.exp(logs) * (1 + 1e-13), 5e-324, 1.0))
        return float(values) if scalar else np.asarray(values)

    def epsilon_bounds(
        self,
        delta: float | Fraction,
        *,
        method: Method = "pld",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> Bounds:
        """The certified epsilon beside the largest one that a known execution attains.

        No analysis of the same training can go below `lower`; the gap is what a better analysis
        could still gain. `lower` is None where the analysed pair is not a real execution. With
        `"optimal"` the execution may be adaptive: its gradients may depend on the past.
        """
        if method == "optimal" and self.phases:
            check_delta(delta)
            adaptive, upper = self._optimal(delta, tolerance, progress)
        else:
            adaptive, upper = None, self.epsilon(delta, method=method, tolerance=tolerance)
        if not self.attainable:
            return Bounds(None, upper)
        if not self.phases:
            return Bounds(upper, upper)
        try:
            lower = float(exact.epsilon_lower(self.phases, np.array(check_delta(delta))))
        except exact.ExactEngineError:
            return Bounds(adaptive, upper)
        return Bounds(lower if adaptive is None else max(lower, adaptive), upper)

    @overload
    def tradeoff(self, alpha: float) -> float: ...
    @overload
    def tradeoff(self, alpha: Array) -> Array: ...
    def tradeoff(self, alpha: float | Array) -> float | Array:
        """The least false-negative rate an attacker can have at a false-positive rate (f-DP).

        The attacker tells apart two contents of the patch. At false-positive rate `alpha` its
        true-positive rate is at most `1 - tradeoff(alpha)`.

        Args:
          alpha: In [0, 1]; a number, or an array for one rate each.

        Returns:
          A lower bound on the false-negative rate, proved.
        """
        rates = tradeoff.tradeoff(self._deltas, alpha)
        return rates if isinstance(alpha, np.ndarray) else float(rates)

    def advantage(self) -> float:
        """The largest true-positive minus false-positive rate of any attacker: delta at 0.

        An upper bound.
        """
        return self.delta(0.0)

    @overload
    def attack_success(self, prior: float) -> float: ...
    @overload
    def attack_success(self, prior: Array) -> Array: ...
    def attack_success(self, prior: float | Array) -> float | Array:
        """Chance that the best attacker names the right one of two contents of the patch.

        Args:
          prior: Probability of one of the two before the attack, in [0, 1]; a number or an array.

        Returns:
          An upper bound, at least `max(prior, 1 - prior)`: what guessing gives.
        """
        chances = tradeoff.attack_success(self._deltas, prior)
        return chances if isinstance(prior, np.ndarray) else float(chances)

    def _deltas(self, epsilon: Array) -> Array:
        return np.asarray(self.delta(epsilon))

    def profile(self, epsilon: npt.ArrayLike | None = None) -> Profile:
        """Certified deltas on a grid of epsilons (by default 61 from 0.1 to 100, logarithmic)."""
        grid = np.geomspace(0.1, 100.0, 61) if epsilon is None else np.asarray(epsilon, dtype=float)
        return Profile(grid, np.asarray(self.delta(np.atleast_1d(grid))).reshape(grid.shape))

    def rdp(self, orders: npt.ArrayLike) -> Array:
        """Rényi divergence of the whole run at each order above 1."""
        if self.noiseless:
            return np.full(np.shape(orders), math.inf)
        return rdp.curve(self.phases, orders)

    def pld(self, *, delta: float = 1e-9, interval: float | None = None) -> PrivacyLossDistribution:
        """The run as a privacy loss distribution of dp-accounting, composed by its engine.

        Args:
          delta: The smallest delta that will be asked of it; sets where tails are cut.
          interval: Grid spacing; chosen for a relative tolerance of 1e-3 where left out.

        Reading numbers off it is Google's arithmetic: its FFT errs by about `1e-16` per step,
        which `epsilon` and `delta` of this object account for and the distribution does not.
        """
        if not self.phases:
            raise ValueError(
                "there is no privacy loss distribution without noise"
                if self.noiseless
                else "the crop never shows the patch: there is no privacy loss to distribute"
            )
        log_delta = check_delta(delta)
        if interval is None:
            masses, _, _ = certify.discretise(self.phases, tolerance=5e-4, log_delta=log_delta)
        else:
            width = _checks.positive("interval", interval)
            total = sum(count for _, count in self.phases)
            tail = log_delta - math.log(total) - 12.0
            masses = [(loss_masses(p, interval=width, log_tail=tail), n) for p, n in self.phases]
        return pld.privacy_loss_distribution(masses)
