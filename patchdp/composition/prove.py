"""Who answers: the closed form, the line where it decays, the grid, and what is left in a hurry.

Every question about a run goes through here. The order is that of the cost: a closed form is exact
at once; the inversion with its error bar takes milliseconds where enough steps take part that its
line decays; the grid takes the rest, rounded up and rounded down. Past the budget of work (points
of a grid, never the clock) the hits are revealed, or moments are taken: quick bounds that hold
whatever the run is.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
>>> for steps in (1, 40, 1500):
...     print(prove_epsilon([(step, steps)], math.log(1e-5)).prover)
closed form
grid
exact
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchdp.composition import closed_form, coins, extremes, given
from patchdp.composition.certificate import Refused
from patchdp.composition.conversions.group_privacy import group_epsilon, group_log_delta
from patchdp.composition.given import AnyRun, by_pairs
from patchdp.composition.grid import prove as grid
from patchdp.composition.grid.around import log_delta_around
from patchdp.composition.grid.fft import GridTooLarge
from patchdp.composition.transform import estimates
from patchdp.composition.transform import prove as line
from patchdp.composition.transform.law import NoLine, Run

__all__ = [
    "AnyRun",
    "Proof",
    "Run",
    "attained_epsilon",
    "bracket_log_delta",
    "estimate_epsilon",
    "estimate_epsilons",
    "estimate_log_delta",
    "estimated_proof",
    "exact_epsilon",
    "exact_log_delta",
    "only_pairs",
    "person_epsilon",
    "person_log_delta",
    "prove_epsilon",
    "prove_log_delta",
]

Array = npt.NDArray[np.float64]

# With fewer expected participations the grid is quicker than the line, or no line decays.
_ENOUGH = 4.0
_TOLERANCE = 1e-3
# Noise so little that a hit shows anyway: distances from the centre in standard deviations.
_LOUD = 40.0
# Logarithm of the smallest positive float.
_LEAST_LOG = -745.0


class Proof(NamedTuple):
    """Bounds on the exact epsilon of a run, what proved the upper one, and whether they are close.

    >>> Proof(6.6, 6.7, "grid", False).upper
    6.7
    """

    lower: float
    upper: float
    prover: str
    tight: bool


def _participations(run: Run) -> float:
    return math.fsum(n * w * sum(pair.gains) for p, n in run for w, pair in p.parts)


def _loudest(run: Run) -> float:
    return max(max(pair.shifts) for profile, _ in run for _, pair in profile.parts)


def _round_up(value: float) -> float:
    return value if value == 0 or math.isinf(value) else math.nextafter(value, math.inf)


def prove_epsilon(run: AnyRun, log_delta: float, tolerance: float = _TOLERANCE) -> Proof:
    """The certified epsilon of a run at `log_delta`, by whoever has it soonest.

    Args:
      run: Steps and how often each is applied.
      log_delta: Natural logarithm of delta, below 0.
      tolerance: How far the upper bound may lie above the exact value, relative to it; 1e-6 is
        always allowed.
    """
    if not by_pairs(run):
        return _by_values(run, log_delta, tolerance)
    if extremes.is_loud(run):
        return Proof(0.0, extremes.epsilon_upper(run, log_delta), "coins", False)
    found = _closed(run, log_delta)
    if found is None and _loudest(run) <= _LOUD:
        found = _composed(run, log_delta, tolerance)
    if found is not None and found.tight:
        return found
    hurried = _hurried(run, log_delta, tolerance)
    return hurried if found is None or hurried.upper < found.upper else found


def _by_values(run: AnyRun, log_delta: float, tolerance: float) -> Proof:
    """Steps given by certified values: the grid, or epochs in a known order where those are better.

    How far it lies above the exact value is not proved.
    """
    known = given.in_a_known_order(run)
    upper = math.inf
    if _within_floats(known):
        upper = given.epsilon_upper(run, log_delta)
        if math.isfinite(upper) and given.is_ordinary(run):
            return Proof(0.0, upper, "grid", False)
    other = prove_epsilon(known, log_delta, tolerance)
    upper, prover = min((upper, "grid"), (other.upper, other.prover))
    return Proof(0.0, upper, prover, upper == 0)


def _within_floats(run: Run) -> bool:
    return _loudest(run) <= _LOUD and not (extremes.is_loud(run) or extremes.is_quiet(run))


def _declines(method: str, answer: str) -> Refused:
    return Refused(
        f"method {method} does not take epochs under RandomAllocation, which are given by "
        f"certified values; method 'auto' proves {answer}"
    )


def only_pairs(method: str, run: AnyRun, log_delta: float) -> Run:
    """The run, if all its steps are given by pairs.

    Raises:
      Refused: Some are given by values; the message names what `"auto"` proves.
    """
    if not by_pairs(run):
        raise _declines(method, f"epsilon {prove_epsilon(run, log_delta).upper:.6g}")
    return run


def _closed(run: Run, log_delta: float) -> Proof | None:
    profile = closed_form.profile_of(run)
    if profile is not None:
        return Proof(*closed_form.epsilon_bounds(profile, log_delta), "closed form", True)
    if closed_form.vanishes(run, log_delta):
        return Proof(0.0, 0.0, "closed form", True)
    return None


def _composed(run: Run, log_delta: float, tolerance: float) -> Proof | None:
    """By the line or by the grid; the better one where neither is tight."""
    enough = _participations(run) >= _ENOUGH
    found = _on_line(run, log_delta) if enough else None
    if found is None:
        found = _on_grid(run, log_delta, tolerance)
        if not enough and not (found is not None and found.tight):
            found = _on_line(run, log_delta) or found
    return found


def _on_grid(run: Run, log_delta: float, tolerance: float) -> Proof | None:
    try:
        bracket = grid.epsilon_bracket(run, log_delta=log_delta, tolerance=tolerance)
    except (GridTooLarge, NoLine):
        return None
    return Proof(bracket.lower, _round_up(bracket.upper), "grid", bracket.tight)


def _on_line(run: Run, log_delta: float) -> Proof | None:
    try:
        lower, upper = line.epsilon_bounds(run, log_delta)
    except NoLine:
        return None
    return Proof(lower, _round_up(upper), "exact", True)


def _hurried(run: Run, log_delta: float, tolerance: float) -> Proof:
    """Quick bounds, past the budget or where there is next to no noise."""
    found = Proof(0.0, coins.coins_epsilon(run, log_delta), "coins", False)
    if _loudest(run) <= _LOUD:
        from patchdp.composition.conversions import renyi  # which needs optimize

        moments = renyi.epsilon_of_moments(run, log_delta)
        if moments < found.upper:
            found = Proof(0.0, moments, "moments", False)
    low = _least(run, log_delta)
    tight = found.upper - low <= max(tolerance * found.upper, grid.UNNOTICED)
    return found._replace(lower=min(low, found.upper), tight=tight)


def _least(run: Run, log_delta: float) -> float:
    """A lower bound on the exact epsilon: every run contains each of its steps."""
    found = coins.threshold_epsilon(run, log_delta)
    for profile, _ in run:
        found = max(found, closed_form.epsilon_bounds(profile, log_delta)[0])
    return found


def exact_epsilon(run: AnyRun, log_delta: float) -> Proof:
    """By a closed form or by the line; never by a grid.

    Raises:
      Refused: No line decays; the message names what the grid proves.
    """
    run = only_pairs("exact", run, log_delta)
    if extremes.is_loud(run):
        return prove_epsilon(run, log_delta)
    found = _closed(run, log_delta) or _on_line(run, log_delta)
    if found is None:
        other = prove_epsilon(run, log_delta)
        raise Refused(
            "method exact has no error bar for so few effective participations; method 'auto' "
            f"proves epsilon {other.upper:.6g}"
        )
    return found


def attained_epsilon(
    run: AnyRun, log_delta: float, tolerance: float = _TOLERANCE, *, near: float = math.inf
) -> float | None:
    """A lower bound on any valid epsilon: what the worst fixed execution attains; None if unknown.

    The larger of both directions of the attainable pair, rounded down.

    Args:
      run: Steps of attainable pairs, and how often each is applied.
      log_delta: Natural logarithm of delta.
      tolerance: How far below the exact value of a direction it may lie, about.
      near: The certified epsilon, where steps are given by values.
    """
    if by_pairs(run):
        return _attained_by_pairs(run, log_delta, tolerance)
    return given.epsilon_lower(run, log_delta, near)


def _attained_by_pairs(run: Run, log_delta: float, tolerance: float) -> float | None:
    if not all(profile.attainable for profile, _ in run) or extremes.is_loud(run):
        return None
    closed = _closed(run, log_delta)
    if closed is not None:
        return closed.lower
    if _loudest(run) > _LOUD:
        return _least(run, log_delta)
    if _participations(run) >= _ENOUGH:
        found = []
        for side in ("forward", "backward"):
            try:
                found.append(line.epsilon_bounds(run, log_delta, side)[0])
            except NoLine:
                break
        if len(found) == 2:
            return max(found)
    try:
        return max(
            grid.attained_epsilon(run, log_delta=log_delta, tolerance=tolerance),
            _least(run, log_delta),
        )
    except (GridTooLarge, NoLine):
        return _least(run, log_delta)


# Log deltas.


def prove_log_delta(
    run: AnyRun, epsilon: Array, tolerance: float = _TOLERANCE, *, least: float = _LEAST_LOG
) -> Array:
    """Logs of certified deltas at each `epsilon >= 0`; they never rise with epsilon.

    One line or one composition is made for one epsilon and is sharp for those around it; others
    are added until every epsilon has a sharp bound.

    Args:
      run: Steps and how often each is applied.
      epsilon: Any shape.
      tolerance: Excess allowed over the exact log delta.
      least: Where log delta is below this, any bound below it will do.
    """
    if not by_pairs(run):
        return _log_delta_by_values(run, epsilon, least)
    flat = np.ravel(np.asarray(epsilon, dtype=np.float64))
    if extremes.is_loud(run) or extremes.is_quiet(run):
        return _falling(flat, extremes.log_delta_upper(run, flat)).reshape(np.shape(epsilon))
    profile = closed_form.profile_of(run)
    if profile is not None:
        logs = np.array([closed_form.log_delta_bounds(profile, float(e))[1] for e in flat])
        return _falling(flat, logs).reshape(np.shape(epsilon))
    best = np.full(flat.shape, min(0.0, _total_variation(run)))
    order = [int(i) for i in np.argsort(flat)]
    if _loudest(run) > _LOUD or len(order) > 1:
        bound = coins.coins_log_delta(run)
        best = np.minimum(best, [bound(float(e)) for e in flat])
    if _loudest(run) > _LOUD:
        return _falling(flat, best).reshape(np.shape(epsilon))
    order = [i for i in order if best[i] > least]
    if len(order) > 1:
        # What is below every float anyway need not be composed.
        from patchdp.composition.conversions import renyi  # which needs optimize

        best = np.minimum(best, renyi.log_delta(run, flat))
        order = [i for i in order if best[i] > least]
    while order:
        pivot = order[len(order) // 2]
        around, _ = _around(run, float(flat[pivot]), tolerance)
        left = []
        for i in order:
            lower, upper = around(float(flat[i]))
            best[i] = min(best[i], upper)
            if not best[i] - lower <= 2 * tolerance and i != pivot:
                left.append(i)
        order = left
    return _falling(flat, best).reshape(np.shape(epsilon))


def _log_delta_by_values(run: AnyRun, epsilon: Array, least: float) -> Array:
    known = given.in_a_known_order(run)
    if not _within_floats(known):
        return prove_log_delta(known, epsilon, least=least)
    found = given.log_delta_upper(run, epsilon)
    if given.is_ordinary(run):
        return found
    return np.minimum(found, prove_log_delta(known, epsilon, least=least))


def _total_variation(run: Run) -> float:
    total = np.logaddexp.reduce([math.log(n) + float(p.log_delta(0.0)) for p, n in run])
    return float(total) + 1e-11


def bracket_log_delta(
    run: Run, epsilon: float, tolerance: float = _TOLERANCE
) -> tuple[float, float, str]:
    """Both bounds on log delta at one epsilon of at least 0, and what proved them."""
    profile = closed_form.profile_of(run)
    if profile is not None:
        return *closed_form.log_delta_bounds(profile, epsilon), "closed form"
    around, prover = _around(run, epsilon, tolerance)
    return *around(epsilon), prover


def _around(
    run: Run, epsilon: float, tolerance: float
) -> tuple[Callable[[float], tuple[float, float]], str]:
    """Bounds on log delta that are sharp around an epsilon, and what proves them."""
    enough = _participations(run) >= _ENOUGH
    for prover in ("line", "grid") if enough else ("grid", "line"):
        try:
            if prover == "line":
                return functools.partial(_quietly, line.bar_at(run, epsilon).bounds), "exact"
            return log_delta_around(run, epsilon=epsilon, tolerance=tolerance).bounds, "grid"
        except (GridTooLarge, NoLine):
            continue
    bound = coins.coins_log_delta(run)
    return (lambda e: (-math.inf, bound(e))), "coins"


def _quietly(bounds: Callable[[float], tuple[float, float]], epsilon: float) -> tuple[float, float]:
    """Bounds of a line, which overflow far from where it was made for."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lower, upper = bounds(epsilon)
    if math.isnan(lower) or math.isnan(upper):
        return -math.inf, 0.0
    return lower, min(upper, 0.0)


def _falling(epsilon: Array, logs: Array) -> Array:
    """Bounds of log delta that fall with epsilon: one at a smaller epsilon holds there too."""
    order = np.argsort(epsilon)
    falling = np.empty_like(logs)
    falling[order] = np.minimum.accumulate(logs[order])
    return falling


def exact_log_delta(run: AnyRun, epsilon: Array) -> Array:
    """Logs of deltas by a closed form or by the line; never by a grid.

    Raises:
      Refused: No line decays; the message names what the grid proves.
    """
    flat = np.ravel(np.asarray(epsilon, dtype=np.float64))
    if not by_pairs(run):
        other = math.exp(float(prove_log_delta(run, flat[:1])[0])) if len(flat) else 1.0
        raise _declines("exact", f"delta {other:.6g}")
    loud = extremes.is_loud(run) or extremes.is_quiet(run)
    if loud or closed_form.profile_of(run) is not None:
        return prove_log_delta(run, epsilon)
    logs = np.empty(len(flat))
    for i, at in enumerate(map(float, flat)):
        try:
            logs[i] = line.log_delta_bounds(run, at)[1]
        except NoLine:
            other = math.exp(float(prove_log_delta(run, np.array([at]))[0]))
            raise Refused(
                f"method exact has no error bar at epsilon {at:.6g} for so few effective "
                f"participations; method 'auto' proves delta {other:.6g}"
            ) from None
    return logs.reshape(np.shape(epsilon))


# Estimates, which certify nothing: to steer searches and to draw plots.


def estimate_epsilon(run: AnyRun, log_delta: float) -> float:
    """About the exact epsilon, in milliseconds."""
    return float(estimate_epsilons([run], np.array([log_delta]))[0])


def estimate_epsilons(runs: Sequence[AnyRun], log_delta: Array) -> Array:
    """About the exact epsilon of many runs, those with equally many kinds of steps at once.

    Args:
      runs: Steps and how often each is applied, of each run.
      log_delta: One for each run.
    """
    result = np.full(len(runs), np.nan)
    groups: dict[int, list[tuple[int, Run]]] = {}
    for i, run in enumerate(runs):
        goal = float(log_delta[i])
        if not by_pairs(run):
            continue
        profile = closed_form.profile_of(run)
        if extremes.is_loud(run):
            result[i] = extremes.epsilon_upper(run, goal)
        elif profile is not None:
            result[i] = closed_form.epsilon_estimates(profile, np.array([goal]))[0]
        elif closed_form.vanishes(run, goal):
            result[i] = 0.0
        elif _participations(run) >= _ENOUGH and _loudest(run) <= _LOUD:
            groups.setdefault(len(run), []).append((i, run))
    for found in groups.values():
        members = [i for i, _ in found]
        result[members] = estimates.epsilons([run for _, run in found], log_delta[members])
    for i in map(int, np.flatnonzero(np.isnan(result))):
        proof = prove_epsilon(runs[i], float(log_delta[i]))
        result[i] = 0.5 * (proof.lower + proof.upper) if proof.tight else proof.upper
    return result


def estimated_proof(run: AnyRun, log_delta: float) -> Proof:
    """The estimate in the shape of a proof, which it is not."""
    value = estimate_epsilon(run, log_delta)
    return Proof(value, value, "exact", True)


def estimate_log_delta(run: AnyRun, epsilon: Array) -> Array:
    """About log delta at each epsilon of a flat array."""
    if not by_pairs(run):
        return prove_log_delta(run, epsilon)
    if extremes.is_loud(run) or extremes.is_quiet(run):
        return extremes.log_delta_upper(run, epsilon)
    profile = closed_form.profile_of(run)
    if profile is not None:
        return np.asarray(profile.log_delta(epsilon))
    found = np.full(epsilon.shape, np.nan)
    if _participations(run) >= _ENOUGH and _loudest(run) <= _LOUD:
        found = estimates.log_deltas(run, epsilon)
    rest = np.isnan(found)
    if np.any(rest):
        found[rest] = prove_log_delta(run, epsilon[rest], tolerance=1e-2)
    return found


# Several images of one person.


def person_epsilon(
    joint: Proof,
    one: AnyRun,
    images: int,
    log_delta: float,
    certify: Callable[[AnyRun, float], Proof],
) -> Proof:
    """The smaller of two bounds: of steps in which all images change, and of a chain of images.

    Args:
      joint: What is proved of the former.
      one: The run where a single image changes.
      images: In how many images a person may be.
      log_delta: Natural logarithm of delta.
      certify: Proves an epsilon of `one`.

    Source: `docs/theory.md`, "Group privacy" (Theorem 32).
    """
    if images == 1:
        return joint
    try:
        chain = group_epsilon(
            lambda each: certify(one, each).upper,
            lambda each: estimate_epsilon(one, each),
            images=images,
            log_delta=log_delta,
            below=joint.upper,
        )
    except Refused:
        return joint  # which holds whatever the other bound would say
    if not chain < joint.upper:
        return joint
    return Proof(0.0, chain, "group privacy", True)


def person_log_delta(
    joint: Array,
    one: AnyRun,
    images: int,
    epsilon: Array,
    curve: Callable[[AnyRun, Array], Array],
) -> Array:
    """The smaller of the same two bounds on log delta."""
    if images == 1:
        return joint
    return np.minimum(joint, group_log_delta(lambda e: curve(one, e), epsilon, images))
