"""Both bounds on epsilon and delta from one line: the inversion with its proved error bar.

>>> import math
>>> from patchdp.step import StepProfile, fixed_size_pair
>>> step = StepProfile(((1.0, fixed_size_pair(rate=0.0223, mu=0.5)),), attainable=True)
>>> lower, upper = epsilon_bounds([(step, 1500)], math.log(1e-5))
>>> round(lower, 9) == round(upper, 9), lower < upper
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from patchdp.composition.transform.bar import ErrorBar
from patchdp.composition.transform.estimates import newton, refuse_unless, walk
from patchdp.composition.transform.law import NoLine, Run, Side
from patchdp.composition.transform.line import Line, compose, sample_line
from patchdp.composition.transform.saddle import Saddle, saddle_for_delta, saddle_for_epsilon

__all__ = ["bar_at", "epsilon_bounds", "log_delta_bounds"]

Array = npt.NDArray[np.float64]

_LINE_NODES = 1 << 13  # of a line with an error bar: grids are quicker than longer ones
_REFINEMENTS = (2.5, 8.0)  # panels per natural width
_WIDEST = 1e-6  # largest error bar that is accepted, relative to delta
_TOO_WIDE = "the error bar of the line exceeds 1e-6 of delta"


def _fine_line(run: Run, saddle: Saddle, side: Side, epsilon: Array, refinement: float) -> Line:
    """The line through a saddle on finer nodes, for an error bar."""
    tilt, farthest = saddle.composition.largest_tilt, saddle.composition.farthest
    fine = compose([run], side, tilt, refinement=refinement, farthest=farthest)
    line, done = sample_line(fine, saddle.t, epsilon, most_nodes=_LINE_NODES)
    refuse_unless(done)
    return line


def bar_at(run: Run, epsilon: float, side: Side = "symmetric") -> ErrorBar:
    """A line through the saddle of an epsilon, and what bounds log delta near it.

    Raises:
      NoLine: No line decays, or its error bar exceeds 1e-6 of delta.
    """
    eps = np.array([epsilon])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        saddle = saddle_for_epsilon([run], eps, side)
        refuse_unless(saddle.found)
        for refinement in _REFINEMENTS:
            bar = ErrorBar(_fine_line(run, saddle, side, eps, refinement))
            lower, upper = bar.bounds(epsilon)
            if upper - lower < _WIDEST:
                return bar
    raise NoLine(_TOO_WIDE)


def log_delta_bounds(run: Run, epsilon: float, side: Side = "symmetric") -> tuple[float, float]:
    """Lower and upper bound on log delta at an epsilon of at least 0.

    Raises:
      NoLine: No line decays, or its error bar exceeds 1e-6 of delta.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lower, upper = bar_at(run, epsilon, side).bounds(epsilon)
    return lower, min(upper, 0.0)


def epsilon_bounds(run: Run, log_delta: float, side: Side = "symmetric") -> tuple[float, float]:
    """Lower and upper bound on epsilon at `log_delta`.

    Args:
      run: Steps and how often each is taken.
      log_delta: Natural logarithm of delta.
      side: The symmetric law, or one direction of an attainable pair: both bound any valid
        epsilon from below.

    Raises:
      NoLine: No line decays, or its error bar exceeds 1e-6 of delta.

    Source: `docs/theory.md`, "The exact engine" (Theorem 34).
    """
    # A bound that overflows is infinite, one that is no number is none: both are refused.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = _on_a_line(run, log_delta, side)
    if found is None:
        raise NoLine(_TOO_WIDE)
    return found


def _on_a_line(run: Run, goal: float, side: Side) -> tuple[float, float] | None:
    logs = np.array([goal])
    saddle = saddle_for_delta([run], logs, side)
    refuse_unless(saddle.found)
    epsilon = saddle.epsilon
    for refinement in _REFINEMENTS:
        line = _fine_line(run, saddle, side, epsilon, refinement)
        solved, good, slopes = newton(line, epsilon, logs)
        if not good[0]:
            moved, saddle, _ = walk(run, float(epsilon[0]), goal, side)
            solved = epsilon = np.array([moved])
            line = _fine_line(run, saddle, side, epsilon, refinement)
            slopes = line.log_delta(solved)[1]
        bar, slope, start = ErrorBar(line), float(slopes[0]), float(solved[0])
        width = bar.width(start, goal)
        if not width < _WIDEST:
            continue
        ends = [
            _rounded(bar.bounds, slope, start + sign * 1.01 * width / slope, goal, sign < 0)
            for sign in (1.0, -1.0)
        ]
        if ends[0] is not None and ends[1] is not None:
            return ends[0], ends[1]
    return None


def _rounded(
    bounds: Callable[[float], tuple[float, float]],
    slope: float,
    start: float,
    goal: float,
    upper: bool,
) -> float | None:
    """The epsilon at which the bound on log delta meets the goal, on the safe side."""
    epsilon = max(start, 0.0)
    for _ in range(8):
        low, high = bounds(epsilon)
        if not high - low < _WIDEST:
            return None
        if upper and high <= goal:
            return float(epsilon)
        if not upper and (low >= goal or epsilon == 0.0):
            return float(epsilon) if low >= goal else 0.0
        miss = (high - goal) if upper else (low - goal)
        epsilon = max(epsilon - 1.5 * miss / slope, 0.0) if miss else epsilon
        epsilon = float(np.nextafter(epsilon, np.inf if upper else 0.0))
    return None
