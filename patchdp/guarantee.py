"""The questions that a plan, or several phases of one training, can answer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition import extremes, given, prove
from patchdp.composition.adaptive.steps import OptimalStep
from patchdp.composition.certificate import Certificate, Refused
from patchdp.composition.conversions import renyi, tradeoff
from patchdp.composition.given import Step, by_pairs

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

__all__ = ["Bounds", "Guarantee", "Method", "Profile"]

Array = npt.NDArray[np.float64]
Method: TypeAlias = Literal["auto", "composed", "pld", "exact", "rdp", "optimal"]
METHODS: tuple[Method, ...] = ("auto", "composed", "pld", "exact", "rdp", "optimal")
# Epsilons that are told from 0 and from infinity.
_LEAST_EPSILON, _MOST_EPSILON = 1e-100, 1e100
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


def several(value: object) -> bool:
    """Whether an answer to `value` is an array; a number of any type has a float."""
    axes = getattr(value, "ndim", None)
    if isinstance(axes, int):
        return axes > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_delta(delta: object) -> float:
    """The natural logarithm of a delta strictly between 0 and 1, rounded towards 0 delta."""
    number = float(_checks.probability("delta", delta, open_ends=True))
    number = min(number, math.nextafter(1.0, 0.0))
    if number < 1e-300:
        raise ValueError(f"delta must lie between 1e-300 and 1, got {_checks.shown(delta)}")
    log_delta = math.log(number)
    return log_delta - 4e-16 * max(abs(log_delta), 1.0)


class Guarantee(ABC):
    """What any composition of steps can be asked."""

    @property
    @abstractmethod
    def phases(self) -> tuple[tuple[Step, int], ...]:
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
        method: Method = "auto",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> float: ...
    @overload
    def epsilon(
        self,
        delta: Array,
        *,
        method: Method = "auto",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> Array: ...
    def epsilon(
        self,
        delta: float | Fraction | Array,
        *,
        method: Method = "auto",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> float | Array:
        """A certified epsilon at `delta`: the upper bound of `certificate`.

        Args:
          delta: In (0, 1); a number, or an array for one epsilon each.
          method: `"auto"` lets whoever proves it soonest answer, `"composed"` the same but never
            optimal composition; `"exact"` inverts the transform with an error bar, `"pld"` is
            dp-accounting's engine with its rounding added, `"rdp"` goes by the Rényi curve: the
            first two of these refuse where they have no sharp answer; `"optimal"` composes against
            the best adaptive adversary: smaller, and takes seconds.
          tolerance: Largest excess, relative to the exact value (1e-3 if left out) or, for
            `"optimal"`, aimed at relative to the attained lower bound (1e-2 if left out).
          progress: Called with the finished fraction by `"optimal"`.

        Returns:
          An upper bound, never below the true epsilon of the analysis; 0 where delta alone
          suffices, infinity where there is no noise.

        Raises:
          ValueError: `delta` is not in (0, 1), the method is unknown, or it declines (the message
            names the value that `"auto"` proves).
        """
        if several(delta):
            deltas = _checks.floats("delta", delta, "numbers strictly between 0 and 1")
            values = [
                self.epsilon(d, method=method, tolerance=tolerance) for d in deltas.ravel().tolist()
            ]
            return np.array(values, dtype=np.float64).reshape(deltas.shape)
        one = _checks.chance("delta", delta, open_ends=True)
        return self._proved(one, method, tolerance, progress)[1].upper

    def certificate(
        self,
        delta: float | Fraction,
        *,
        method: Method = "auto",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> Certificate:
        """The whole answer at `delta`: both bounds, what proved the upper one, whether it is tight.

        No analysis of the same training can go below `lower`, which a known execution attains; the
        gap is what a better analysis could still gain. With `"optimal"` that execution may be
        adaptive: its gradients may depend on the past.

        Args:
          delta, method, tolerance, progress: As in `epsilon`.
        """
        delta = _checks.chance("delta", delta, open_ends=True)
        lower, found = self._proved(delta, method, tolerance, progress)
        note = "" if found.tight else "a quick bound: the sharp one is past the budget of work"
        if note and method == "optimal":
            note = "wider than the tolerance above what optimal composition attains"
            if found.prover != "optimal":
                note = "optimal composition is past its budget or no better: the composed bound"
        if note and not by_pairs(self.phases):
            note = "how far above the exact value it lies is not proved"
        if not self.attainable:
            why = "the analysed pair is no real execution, so no lower bound is known"
            note = f"{note}; {why}" if note else why
            return Certificate(None, found.upper, float(delta), found.prover, found.tight, note)
        if not self.phases:
            attained: float | None = found.upper
        else:
            precise = min(self._tolerance(tolerance, 1e-3), 1e-3)
            attained = prove.attained_epsilon(
                self.phases, check_delta(delta), precise, near=found.upper
            )
            if attained is None and lower is None:
                mixed = len(self.phases) > 1 and not by_pairs(self.phases)
                why = "the lower bound is past the budget of work"
                why = "no lower bound is known beside other phases" if mixed else why
                note = f"{note}; {why}" if note and method == "optimal" else why
        known = [value for value in (lower, attained) if value is not None]
        return Certificate(
            min(max(known), found.upper) if known else None,
            found.upper,
            float(delta),
            found.prover,
            found.tight,
            note,
        )

    @staticmethod
    def _tolerance(tolerance: float | None, usual: float) -> float:
        return _checks.positive("tolerance", usual if tolerance is None else tolerance)

    def _proved(
        self,
        delta: float | Fraction,
        method: Method,
        tolerance: float | None,
        progress: Progress | None,
    ) -> tuple[float | None, prove.Proof]:
        """What an adaptive execution attains, where that was asked for, and the upper bound."""
        method = _checks.choice("method", method, METHODS)
        log_delta = check_delta(delta)
        if tolerance is not None:
            tolerance = _checks.positive("tolerance", tolerance)
        if not self.phases:
            value = math.inf if self.noiseless else 0.0
            return None, prove.Proof(value, value, "closed form", True)
        if tolerance is not None and not by_pairs(self.phases):
            raise ValueError(
                f"tolerance is not offered with RandomAllocation, got {tolerance!r}: how far its "
                "epsilons lie above the exact value is not proved"
            )
        allowed = self._tolerance(tolerance, 1e-3)
        if method in ("rdp", "pld", "optimal"):
            run = prove.only_pairs(method, self.phases, log_delta)
            if method == "rdp":
                value = renyi.epsilon(run, math.exp(log_delta))
                return None, prove.Proof(0.0, value, "rdp", False)
            if method == "optimal" and not extremes.is_loud(run):
                return self._optimal(delta, tolerance, progress)
            if method == "pld" and not extremes.is_loud(run):
                # The engine itself is slow to import.
                from patchdp.composition.grid import google

                return None, google.epsilon(run, log_delta, allowed)
        certify = {"exact": prove.exact_epsilon}.get(
            method, lambda run, each: prove.prove_epsilon(run, each, allowed)
        )
        one, images = self.one_image
        joint = certify(self.phases, log_delta)
        return None, prove.person_epsilon(joint, one.phases, images, log_delta, certify)

    def _optimal(
        self, delta: float | Fraction, tolerance: float | None, progress: Progress | None
    ) -> tuple[float | None, prove.Proof]:
        """Optimal composition; never above the composed bound, which holds as well."""
        steps = self.optimal_steps
        if steps is None:
            raise Refused(
                "method optimal is proved for one image per person and views clipped together; "
                f"method 'auto' proves epsilon {self.epsilon(delta):.6g}"
            )
        from patchdp.composition.adaptive.bounds import optimal_bounds
        from patchdp.composition.adaptive.planning import WorkExceeded

        allowed = self._tolerance(tolerance, 1e-2)
        composed = self._proved(delta, "composed", None, None)[1]
        if composed.upper == 0:
            return None, composed
        effort = min(max(math.sqrt(1e-2 / allowed), 0.5), 2.0)
        try:
            found = optimal_bounds(steps, delta, effort=effort, progress=progress)
        except WorkExceeded:
            # It holds, but how far above the value of optimal composition it lies is not known.
            return None, composed._replace(lower=0.0, tight=False)
        lower = min(found.lower, composed.upper)
        upper, prover = min((found.upper, "optimal"), (composed.upper, composed.prover))
        return lower, prove.Proof(lower, upper, prover, upper <= lower * (1 + allowed))

    def estimated_epsilon(self, log_delta: float) -> float:
        """About the exact epsilon, which certifies nothing: to steer searches by."""
        if not self.phases:
            return math.inf if self.noiseless else 0.0
        joint = prove.estimate_epsilon(self.phases, log_delta)
        one, images = self.one_image
        estimated = prove.Proof(0.0, joint, "exact", True)
        return prove.person_epsilon(
            estimated, one.phases, images, log_delta, prove.estimated_proof
        ).upper

    def estimated_log_delta(self, epsilon: Array) -> Array:
        """Logs of deltas, about, which certify nothing."""
        if not self.phases:
            return np.full(epsilon.shape, 0.0 if self.noiseless else -math.inf)
        joint = prove.estimate_log_delta(self.phases, epsilon)
        one, images = self.one_image
        return prove.person_log_delta(joint, one.phases, images, epsilon, prove.estimate_log_delta)

    @overload
    def delta(self, epsilon: float, *, method: Method = "auto") -> float: ...
    @overload
    def delta(self, epsilon: Array, *, method: Method = "auto") -> Array: ...
    def delta(self, epsilon: float | Array, *, method: Method = "auto") -> float | Array:
        """A certified delta at `epsilon`.

        Args:
          epsilon: At least 0; a number, or an array for one delta each.
          method: `"auto"`, `"composed"` or `"exact"`, as in `epsilon`.

        Returns:
          An upper bound in (0, 1]; positive even where it is too small for a float.
        """
        method = _checks.choice("method of delta", method, ("auto", "composed", "exact"))
        scalar = not several(epsilon)
        allowed = "a finite number of at least 0"
        eps = _checks.floats("epsilon", epsilon, allowed, least=0.0)
        # Delta falls with epsilon: what is far out of any loss's range is rounded down into it.
        eps = np.where(eps < _LEAST_EPSILON, 0.0, np.minimum(eps, _MOST_EPSILON))
        values = self._delta(eps, method)
        return float(values) if scalar else values

    def _delta(self, epsilon: Array, method: Method, least: float = -745.0) -> Array:
        if not self.phases:
            logs = np.full(epsilon.shape, 0.0 if self.noiseless else -math.inf)
        else:

            def curve(run: prove.AnyRun, at: Array) -> Array:
                if method == "exact":
                    return prove.exact_log_delta(run, at)
                return prove.prove_log_delta(run, at, least=least)

            one, images = self.one_image
            joint = curve(self.phases, epsilon)
            logs = prove.person_log_delta(joint, one.phases, images, epsilon, curve)
        positive = np.clip(np.exp(logs) * (1 + 1e-13), 5e-324, 1.0)
        return np.asarray(np.where(np.isneginf(logs), 0.0, positive))

    def epsilon_bounds(
        self,
        delta: float | Fraction,
        *,
        method: Method = "auto",
        tolerance: float | None = None,
        progress: Progress | None = None,
    ) -> Bounds:
        """The certified epsilon beside the largest one that a known execution attains.

        No analysis of the same training can go below `lower`; the gap is what a better analysis
        could still gain. `lower` is None where the analysed pair is not a real execution. With
        `"optimal"` the execution may be adaptive: its gradients may depend on the past.
        """
        found = self.certificate(delta, method=method, tolerance=tolerance, progress=progress)
        return Bounds(found.lower, found.upper)

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
        return rates if several(alpha) else float(rates)

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
        return chances if several(prior) else float(chances)

    def _deltas(self, epsilon: Array) -> Array:
        # Beside error rates nothing below 1e-17 counts.
        return np.asarray(self._delta(epsilon, "auto", least=-39.0))

    def profile(self, epsilon: npt.ArrayLike | None = None) -> Profile:
        """Certified deltas on a grid of epsilons (by default 61 from 0.1 to 100, logarithmic)."""
        if epsilon is None:
            epsilon = np.geomspace(0.1, 100.0, 61)
        grid = _checks.floats("epsilon", epsilon, "finite numbers of at least 0", least=0.0)
        return Profile(grid, np.asarray(self.delta(np.atleast_1d(grid))).reshape(grid.shape))

    def rdp(self, orders: npt.ArrayLike) -> Array:
        """Rényi divergence of the whole run at each order above 1."""
        alphas = renyi.check_orders(orders)
        if self.noiseless:
            return np.full(alphas.shape, math.inf)
        if not by_pairs(self.phases):
            raise ValueError(
                "rdp is not known for epochs under RandomAllocation, which are given by certified "
                "values; epsilon and delta answer for them"
            )
        return renyi.curve(self.phases, alphas)

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
        # The engine itself is slow to import.
        from patchdp.composition.grid import google

        if not by_pairs(self.phases):
            if interval is not None:
                raise ValueError(
                    f"interval is chosen for RandomAllocation, got {_checks.shown(interval)}"
                )
            return google.privacy_loss_distribution(given.masses(self.phases, log_delta))
        if extremes.is_loud(self.phases):
            raise ValueError("there is too little noise for a privacy loss distribution")
        width = None if interval is None else google.grid_spacing(interval)
        return google.distribution(self.phases, log_delta, width)
