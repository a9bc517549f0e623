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
import functools
import math
from collections.abc import Callable
from typing import TypeVar

from patchdp.geometry import RandomCrop
from patchdp.goal import Goal, Plan
from patchdp.step import RandomAllocation, Shuffle
from patchdp.step.application import per_epoch

__all__ = ["PARAMETERS", "solve"]

PARAMETERS = ("noise_multiplier", "steps", "epochs", "crop", "batch_size")
P = TypeVar("P", bound=Plan)

# The range of noise multipliers that is searched.
_LEAST_NOISE, _MOST_NOISE = 1e-2, 1e7
_MOST_STEPS = 10**12
# How often to move the aim.
_ROUNDS = 24


def solve(plan: P, parameter: str, goal: Goal) -> P:
    """See `TrainingPlan.solve`."""
    searches: dict[str, Callable[[P, float, Goal], P]] = {
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
    # The search aims at a value of the exact engine; where the method that certifies is looser
    # or tighter, the aim moves until what it certifies is just below the target.
    target = goal.target
    aim, met, missed = target, 0.0, math.inf
    if parameter == "noise_multiplier":  # whole numbers leave room by themselves
        aim *= 1 - goal.headroom
    best: P | None = None
    tried: list[P] = []
    if goal.costly:
        aim = _steered(lambda aim: goal.rough(searches[parameter](plan, aim, goal)), goal)
    for _ in range(_ROUNDS):
        found = searches[parameter](plan, aim, goal)
        if found in tried:
            if best is not None:
                break
            # A whole number did not move with the aim: push further until it does.
            aim *= 1 - 1e-3
            continue
        tried.append(found)
        reached = goal.certified(found)
        if reached <= target:
            best, met = found, aim
            if reached >= target * (1 - goal.slack) or reached == 0:
                break
            aim = min(aim * target / reached * (1 - goal.slack / 4), math.sqrt(met * missed))
        else:
            missed = aim
            aim *= target / reached * (1 - 1e-5)
            if met > 0 and aim <= met:
                aim = math.sqrt(met * missed)
    if best is None:
        raise ValueError(f"no {parameter} could be certified for {goal.describe(target)}")
    return best


def _steered(rough: Callable[[float], float], goal: Goal) -> float:
    """An aim at which the quicker estimate is a little below the target."""
    aim = goal.target
    for _ in range(2):
        reached = rough(aim)
        if reached <= 0:
            break
        aim *= goal.target / reached * (1 - goal.slack / 2)
        if abs(reached / goal.target - 1) < goal.slack:
            break
    return aim


def _round_noise(value: float) -> float:
    """Round up at the sixth significant digit."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.6g}")


def _noise(plan: P, target: float, goal: Goal) -> P:
    @functools.cache
    def excess(log_sigma: float) -> float:
        value = goal.estimate(plan.replace(noise_multiplier=math.exp(log_sigma)))
        return math.log(max(value, 1e-300)) - math.log(target)

    # Start at the noise in use and double or halve until the target is bracketed.
    low = high = math.log(min(max(plan.noise_multiplier, 1.0), 1e3))
    least, most = math.log(_LEAST_NOISE), math.log(_MOST_NOISE)
    while excess(high) > 0:
        if high >= most:
            reached = goal.estimate(plan.replace(noise_multiplier=_MOST_NOISE))
            raise _unreachable(goal, target, reached, f"even noise multiplier {_MOST_NOISE:g}")
        low, high = high, min(high + 0.7, most)
    while excess(low) <= 0:
        if low <= least:
            return plan.replace(noise_multiplier=_LEAST_NOISE)
        low, high = max(low - 0.7, least), low
    from scipy import optimize  # slow to import, and only needed here

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


def _steps(plan: P, target: float, goal: Goal) -> P:
    if per_epoch(plan.sampling):
        name = type(plan.sampling).__name__
        raise ValueError(f"{name} is accounted per epoch: solve for epochs, not steps")
    return _duration(plan, "steps", target, goal)


def _epochs(plan: P, target: float, goal: Goal) -> P:
    return _duration(plan, "epochs", target, goal)


def _duration(plan: P, name: str, target: float, goal: Goal) -> P:
    def meets(number: int) -> bool:
        return goal.estimate(plan.replace(**{name: number})) <= target

    found = _largest(meets, 1, _MOST_STEPS)
    if found is None:
        reached = goal.estimate(plan.replace(**{name: 1}))
        raise _unreachable(goal, target, reached, f"a single {name.removesuffix('s')}")
    return plan.replace(**{name: found})


def _crop(plan: P, target: float, goal: Goal) -> P:
    crop = plan.crop
    if not isinstance(crop, RandomCrop):
        raise ValueError(f"crop can be solved for a RandomCrop, got {crop!r}")
    size = crop.size
    longest = max(size)

    def sized(length: int) -> P:
        # Every side scales with the longest one; none vanishes.
        sides = tuple(max(length * side // longest, 1) for side in size)
        return plan.replace(crop=dataclasses.replace(crop, size=sides))

    def meets(length: int) -> bool:
        return goal.estimate(sized(length)) <= target

    def fits(length: int) -> bool:
        try:
            sized(length)
        except ValueError:
            return False
        return True

    limit = _largest(fits, 1, 1 << 20)
    found = None if limit is None else _largest(meets, 1, limit)
    if found is None:
        reached = goal.estimate(sized(1))
        raise _unreachable(goal, target, reached, f"crop {'x'.join('1' for _ in size)}")
    return sized(found)


def _batch_size(plan: P, target: float, goal: Goal) -> P:
    sampling = plan.sampling
    if isinstance(sampling, Shuffle) or sampling.dataset_size is None:
        raise ValueError(
            "batch_size can be solved for Poisson, FixedSize or RandomAllocation with a "
            f"dataset_size; got {sampling!r}"
        )
    dataset = sampling.dataset_size
    kind = type(sampling)

    def sized(batch: int) -> P:
        return plan.replace(sampling=kind(batch_size=batch, dataset_size=dataset))

    def meets(batch: int) -> bool:
        return goal.estimate(sized(batch)) <= target

    # An epoch of fewer steps is never more private, so the batch may be searched for directly.
    if plan.steps is not None or isinstance(sampling, RandomAllocation):
        found = _largest(meets, 1, dataset)
        if found is None:
            raise _unreachable(goal, target, goal.estimate(sized(1)), "batch size 1")
        return sized(found)
    # With epochs fixed, epsilon grows with the batch only while ceil(N / batch) stays the same:
    # look at every such group, the largest batches first.
    best = math.inf
    last = dataset
    while last >= 1:
        rounds = -(-dataset // last)
        first = -(-dataset // rounds)
        reached = goal.estimate(sized(first))
        best = min(best, reached)
        if reached <= target:
            found = _largest(lambda extra, base=first: meets(base + extra - 1), 1, last - first + 1)  # type: ignore[misc]
            assert found is not None
            return sized(first + found - 1)
        last = first - 1
    raise _unreachable(goal, target, best, "the best batch size")


def _unreachable(goal: Goal, target: float, reached: float, how: str) -> ValueError:
    return ValueError(
        f"{goal.describe(target)} cannot be met: {how} has {goal.describe(reached)}, "
        "the nearest reachable"
    )
