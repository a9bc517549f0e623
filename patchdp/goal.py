"""What a plan is solved for: an epsilon, an attacker's advantage, or a true-positive rate.

>>> goal_of(epsilon=None, delta=None, advantage=0.1, tpr=None, fpr=None, method="auto").target
0.1
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition.conversions.tradeoff import tradeoff
from patchdp.geometry import Crop
from patchdp.guarantee import Bounds, Method, check_delta
from patchdp.step import Sampling

__all__ = ["Goal", "Plan", "goal_of"]

Array = npt.NDArray[np.float64]

# How far below the target a certified answer may stay, by method.
_SLACK: dict[str, float] = {"rdp": 2e-3, "optimal": 5e-3}


# What the grid of the default engine usually costs, and a little more.
_HEADROOM = 3e-4


Self = TypeVar("Self", bound="Plan")


class Plan(Protocol):
    """What a search changes in a plan, and asks of it; `patchdp.TrainingPlan` is one."""

    @property
    def noise_multiplier(self) -> float: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def crop(self) -> Crop: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def noiseless(self) -> bool: ...
    def replace(self: Self, **changes: object) -> Self: ...
    def estimated_epsilon(self, log_delta: float) -> float: ...
    def estimated_log_delta(self, epsilon: Array) -> Array: ...
    def epsilon(self, delta: float | Fraction, *, method: Method) -> float: ...
    def epsilon_bounds(
        self, delta: float | Fraction, *, method: Method, tolerance: float | None
    ) -> Bounds: ...
    def advantage(self) -> float: ...
    def tradeoff(self, alpha: float) -> float: ...


class Goal(ABC):
    """A risk that grows with the privacy loss, and the most of it that is allowed."""

    name: str
    target: float
    slack: float = 2e-3
    # By how much, relative to it, the certificate usually lies above the estimate.
    headroom: float = 0.0
    costly: bool = False
    """Whether `certified` takes so long that `rough` should steer the search first."""

    @abstractmethod
    def estimate(self, plan: Plan) -> float:
        """The risk by the exact engine, to steer searches by."""

    @abstractmethod
    def certified(self, plan: Plan) -> float:
        """An upper bound on the risk, proved."""

    def rough(self, plan: Plan) -> float:
        """About what `certified` would return, in less time."""
        return self.certified(plan)

    def describe(self, risk: float) -> str:
        """The risk in words."""
        return f"{self.name} {risk:.6g}"


@dataclass(frozen=True)
class _Epsilon(Goal):
    target: float
    delta: float | Fraction
    method: Method
    name = "epsilon"

    @property
    def slack(self) -> float:  # type: ignore[override]
        return _SLACK.get(self.method, 1e-3)

    @property
    def headroom(self) -> float:  # type: ignore[override]
        return _HEADROOM if self.method in ("auto", "composed", "pld") else 0.0

    @property
    def costly(self) -> bool:  # type: ignore[override]
        return self.method == "optimal"

    def estimate(self, plan: Plan) -> float:
        return plan.estimated_epsilon(check_delta(self.delta))

    def certified(self, plan: Plan) -> float:
        return plan.epsilon(self.delta, method=self.method)

    def rough(self, plan: Plan) -> float:
        if self.method != "optimal":
            return self.certified(plan)
        # Coarse bounds lie about as far to either side of the fine one.
        lower, upper = plan.epsilon_bounds(self.delta, method="optimal", tolerance=4e-2)
        return upper if lower is None else math.sqrt(lower * upper)


def _estimated_deltas(plan: Plan, epsilon: Array) -> Array:
    return np.minimum(np.exp(plan.estimated_log_delta(epsilon)), 1.0)


@dataclass(frozen=True)
class _Advantage(Goal):
    target: float
    name = "advantage"

    def estimate(self, plan: Plan) -> float:
        return float(_estimated_deltas(plan, np.zeros(1))[0])

    def certified(self, plan: Plan) -> float:
        return plan.advantage()


@dataclass(frozen=True)
class _TruePositiveRate(Goal):
    """The risk is what the attacker gains over guessing: true- minus false-positive rate."""

    target: float
    fpr: float
    name = "true-positive rate"

    def estimate(self, plan: Plan) -> float:
        missed = tradeoff(lambda epsilon: _estimated_deltas(plan, epsilon), self.fpr)
        return float(1 - missed) - self.fpr

    def certified(self, plan: Plan) -> float:
        # Differences of rates near 1 lose their last digits: round up.
        return (1 - plan.tradeoff(self.fpr)) - self.fpr + 4e-16

    def describe(self, risk: float) -> str:
        return f"true-positive rate {self.fpr + risk:.6g} at false-positive rate {self.fpr:g}"


def goal_of(
    *,
    epsilon: float | None,
    delta: float | Fraction | None,
    advantage: float | None,
    tpr: float | None,
    fpr: float | None,
    method: Method,
) -> Goal:
    """The one goal that the arguments name.

    Raises:
      ValueError: They name none or several, or a value is out of its range.
    """
    pairs = {
        "epsilon with delta": (epsilon, delta),
        "advantage": (advantage,),
        "tpr with fpr": (tpr, fpr),
    }
    given = [name for name, values in pairs.items() if any(v is not None for v in values)]
    if len(given) != 1 or any(v is None for v in pairs[given[0]]):
        raise ValueError(
            "give exactly one target: epsilon with delta, advantage, or tpr with fpr; got "
            + (" and ".join(given) or "none")
            + (" with a value missing" if len(given) == 1 else "")
        )
    if epsilon is not None and delta is not None:
        check_delta(delta)
        exact_delta = _checks.chance("delta", delta, open_ends=True)
        return _Epsilon(_checks.positive("epsilon", epsilon), exact_delta, method)
    if method not in ("auto", "composed"):
        raise ValueError(f"attack risks are certified by method 'auto', got method {method!r}")
    if advantage is not None:
        most = _checks.chance("advantage", advantage, open_ends=True)
        return _Advantage(_checks.positive("advantage", most))
    # Rates that are no floats are rounded to where the target is harder to meet.
    hit = _checks.round_down(_checks.probability("tpr", tpr, open_ends=True))
    false = _checks.round_up(_checks.probability("fpr", fpr, open_ends=True))
    if hit <= false:
        raise ValueError(
            f"tpr must be above fpr {false!r}, which guessing reaches without any data; got {hit!r}"
        )
    # The difference is rounded down.
    return _TruePositiveRate(math.nextafter(hit - false, 0.0), false)
