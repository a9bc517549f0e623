"""Find the best value of one parameter that meets a target, and certify it.

Searches run on the exact engine's estimate, which takes milliseconds; the answer is then certified
by the engine that was asked for, and the target lowered a little and searched again for as long as
the certificate falls short.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(28, 28), crop=pdp.RandomCrop((10, 10)), patch=pdp.Patch((1, 1)),
...     sampling=pdp.Poisson(batch_size=64, dataset_size=60000), noise_multiplier=1.0, epochs=15,
... )
>>> solved = plan.solve("noise_multiplier", epsilon=1.0, delta=1e-5)
>>> solved.epsilon(1e-5) <= 1.0
True
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from patchdp import _checks
from patchdp.composition import certify, exact
from patchdp.geometry import RandomCrop
from patchdp.guarantee import check_delta
from patchdp.step import FixedSize, Poisson, Shuffle

if TYPE_CHECKING:
    from patchdp.guarantee import Method
    from patchdp.plan import TrainingPlan

__all__ = ["PARAMETERS", "solve"]

PARAMETERS = ("noise_multiplier", "steps", "epochs", "crop", "batch_size")
# The range of noise multipliers that is searched.
_LEAST_NOISE, _MOST_NOISE = 1e-2, 1e7
_MOST_STEPS = 10**12
# How far below the target a certified answer may stay, by method, and how often to try.
_SLACK: dict[str, float] = {"pld": 1e-3, "exact": 1e-3, "rdp": 2e-3, "optimal": 5e-3}
_ROUNDS = 24


def solve(
    plan: TrainingPlan,
    parameter: str,
    *,
    epsilon: float,
    delta: float | Fraction,
    method: Method,
) -> TrainingPlan:
    """See `TrainingPlan.solve`."""
    target = _checks.positive("epsilon", epsilon)
    log_delta = check_delta(delta)
    searches: dict[str, Callable[[TrainingPlan, float, float], TrainingPlan]] = {
        "noise_multiplier": _noise,
        "steps": _steps,
        "epochs": _epochs,
        "crop": _crop,
        "batch_size": _batch_size,
    }
    if parameter not in searches:
        raise ValueError(f"solve for one of {', '.join(PARAMETERS)}, got {parameter!r}")
    if parameter != "noise_multiplier" and plan.noise_multiplier == 0 and plan.noiseless:
        raise ValueError("without noise no finite epsilon can be met; give a noise_multiplier")
    # The search aims at an epsilon of the exact engine; where the method that certifies is looser
    # or tighter, the aim moves until what it certifies is just below the target.
    aim, met, missed = target, 0.0, math.inf
    best: TrainingPlan | None = None
    tried: list[TrainingPlan] = []
    for _ in range(_ROUNDS):
        found = searches[parameter](plan, aim, log_delta)
        if found in tried:
            break
        tried.append(found)
        reached = found.epsilon(delta, method=method)
        if reached <= target:
            best, met = found, aim
            if reached >= target * (1 - _SLACK[method]) or reached == 0:
                break
            aim = min(aim * target / reached * (1 - _SLACK[method] / 4), math.sqrt(met * missed))
        else:
            missed = aim
            aim *= target / reached * (1 - 1e-5)
            if met > 0 and aim <= met:
                aim = math.sqrt(met * missed)
    if best is None:
        raise ValueError(
            f"no {parameter} could be certified for epsilon {target:g} with method {method}"
        )
    return best


def estimate(plan: TrainingPlan, log_delta: float) -> float:
    """An estimate of the exact epsilon, to steer searches by."""
    if not plan.phases:
        return math.inf if plan.noiseless else 0.0
    try:
        return float(exact.epsilon_estimate(plan.phases, np.array(log_delta)))
    except exact.ExactEngineError:
        return certify.epsilon_upper(plan.phases, log_delta=log_delta, tolerance=1e-2).value


def _round_noise(value: float) -> float:
    """Round up at the sixth significant digit."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.6g}")


def _noise(plan: TrainingPlan, target: float, log_delta: float) -> TrainingPlan:
    def excess(log_sigma: float) -> float:
        value = estimate(plan.replace(noise_multiplier=math.exp(log_sigma)), log_delta)
        return math.log(max(value, 1e-300)) - math.log(target)

    # Start at the noise in use and double or halve until the target is bracketed.
    low = high = math.log(min(max(plan.noise_multiplier, 1.0), 1e3))
    least, most = math.log(_LEAST_NOISE), math.log(_MOST_NOISE)
    while excess(high) > 0:
        if high >= most:
            reached = estimate(plan.replace(noise_multiplier=_MOST_NOISE), log_delta)
            raise _unreachable(target, reached, f"even noise multiplier {_MOST_NOISE:g}")
        low, high = high, min(high + 0.7, most)
    while excess(low) <= 0:
        if low <= least:
            return plan.replace(noise_multiplier=_LEAST_NOISE)
        low, high = max(low - 0.7, least), low
    root = float(optimize.brentq(excess, low, high, xtol=1e-7, rtol=1e-12))
    return plan.replace(noise_multiplier=_round_noise(math.exp(root)))


def _largest(meets: Callable[[int], bool], least: int, most: int) -> int | None:
    """The largest integer up to `most` that meets a condition which large ones fail."""
    if not meets(least):
        return None
    low, high = least, 2 * least
    while high < most and meets(high):
        low, high = high, 2 * high
    if high >= most:
        if meets(most):
            return most
        high = most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def _steps(plan: TrainingPlan, target: float, log_delta: float) -> TrainingPlan:
    if isinstance(plan.sampling, Shuffle):
        raise ValueError("Shuffle is accounted per epoch: solve for epochs, not steps")
    return _duration(plan, "steps", target, log_delta)


def _epochs(plan: TrainingPlan, target: float, log_delta: float) -> TrainingPlan:
    return _duration(plan, "epochs", target, log_delta)


def _duration(plan: TrainingPlan, name: str, target: float, log_delta: float) -> TrainingPlan:
    def meets(number: int) -> bool:
        return estimate(plan.replace(**{name: number}), log_delta) <= target

    found = _largest(meets, 1, _MOST_STEPS)
    if found is None:
        reached = estimate(plan.replace(**{name: 1}), log_delta)
        raise _unreachable(target, reached, f"a single {name.removesuffix('s')}")
    return plan.replace(**{name: found})


def _crop(plan: TrainingPlan, target: float, log_delta: float) -> TrainingPlan:
    crop = plan.crop
    if not isinstance(crop, RandomCrop):
        raise ValueError(f"crop can be solved for a RandomCrop, got {crop!r}")
    size = crop.size
    longest = max(size)

    def sized(length: int) -> TrainingPlan:
        # Every side scales with the longest one; none vanishes.
        sides = tuple(max(length * side // longest, 1) for side in size)
        return plan.replace(crop=dataclasses.replace(crop, size=sides))

    def meets(length: int) -> bool:
        return estimate(sized(length), log_delta) <= target

    def fits(length: int) -> bool:
        try:
            sized(length)
        except ValueError:
            return False
        return True

    limit = _largest(fits, 1, 1 << 20)
    found = None if limit is None else _largest(meets, 1, limit)
    if found is None:
        reached = estimate(sized(1), log_delta)
        raise _unreachable(target, reached, f"crop {'x'.join('1' for _ in size)}")
    return sized(found)


def _batch_size(plan: TrainingPlan, target: float, log_delta: float) -> TrainingPlan:
    sampling = plan.sampling
    if isinstance(sampling, Shuffle) or sampling.dataset_size is None:
        raise ValueError(
            "batch_size can be solved for Poisson or FixedSize with a dataset_size; "
            f"got {sampling!r}"
        )
    dataset = sampling.dataset_size
    kind = Poisson if isinstance(sampling, Poisson) else FixedSize

    def sized(batch: int) -> TrainingPlan:
        return plan.replace(sampling=kind(batch_size=batch, dataset_size=dataset))

    def meets(batch: int) -> bool:
        return estimate(sized(batch), log_delta) <= target

    if plan.steps is not None:
        found = _largest(meets, 1, dataset)
        if found is None:
            raise _unreachable(target, estimate(sized(1), log_delta), "batch size 1")
        return sized(found)
    # With epochs fixed, epsilon grows with the batch only while ceil(N / batch) stays the same:
    # look at every such group, the largest batches first.
    best = math.inf
    last = dataset
    while last >= 1:
        rounds = -(-dataset // last)
        first = -(-dataset // rounds)
        reached = estimate(sized(first), log_delta)
        best = min(best, reached)
        if reached <= target:
            found = _largest(lambda extra, base=first: meets(base + extra - 1), 1, last - first + 1)  # type: ignore[misc]
            assert found is not None
            return sized(first + found - 1)
        last = first - 1
    raise _unreachable(target, best, "the best batch size")


def _unreachable(target: float, reached: float, how: str) -> ValueError:
    return ValueError(
        f"epsilon {target:g} cannot be met: {how} has epsilon {reached:.6g}, the nearest reachable"
    )
