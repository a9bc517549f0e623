"""Epsilons of many plans in one vectorised call.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(1024, 2048), crop=pdp.RandomCrop((505, 505)), patch=pdp.Patch((10, 10)),
...     sampling=pdp.FixedSize(200, 2975), noise_multiplier=2.0, steps=1500,
... )
>>> pdp.epsilons([plan, plan.replace(steps=3000)], 1e-5, method="exact_estimate").round(4)
array([ 6.6573, 10.0276])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from patchdp.composition import exact, given
from patchdp.guarantee import METHODS, Guarantee, Method, check_delta

__all__ = ["epsilons"]

Array = npt.NDArray[np.float64]


def epsilons(
    plans: Iterable[Guarantee],
    delta: npt.ArrayLike,
    *,
    method: Method | Literal["exact_estimate"] = "exact",
) -> Array:
    """Epsilons of many plans, for plots and sweeps.

    Ten thousand take seconds as estimates, about a minute certified.

    >>> import numpy as np
    >>> import patchdp as pdp
    >>> plan = pdp.TrainingPlan(
    ...     image=(32, 32), crop=pdp.RandomCrop((16, 16)), patch=pdp.Patch((4, 4)),
    ...     sampling=pdp.Poisson(batch_size=100, dataset_size=10000), noise_multiplier=1.0,
    ...     epochs=10,
    ... )
    >>> noisier = [plan.replace(noise_multiplier=s) for s in np.geomspace(1, 4, 5)]
    >>> bool(np.all(np.diff(pdp.epsilons(noisier, 1e-5, method="exact_estimate")) < 0))
    True

    Args:
      plans: Plans or compositions; those that differ in a parameter or two are quickest.
      delta: In (0, 1): one for all, or one for each plan.
      method: `"exact"` certifies by the exact engine's error bars. `"exact_estimate"` returns its
        values without them: usually right to ten digits, but they certify nothing.
        `"pld"` and `"rdp"` ask each plan in turn. Plans with `RandomAllocation`, which the exact
        engine does not take, get the certified epsilon of `"pld"`.

    Returns:
      Array of shape `(len(plans),)`: upper bounds, unless estimates were asked for.

    Raises:
      ValueError: A delta is not in (0, 1), the method is unknown, or some plan has no answer (the
        message says which).
    """
    rows = list(plans)
    deltas = np.broadcast_to(np.asarray(delta, dtype=np.float64), (len(rows),))
    if method not in (*METHODS, "exact_estimate"):
        raise ValueError(
            f"method must be one of {', '.join(METHODS)} or exact_estimate, got {method!r}"
        )
    if method not in ("exact", "exact_estimate"):
        each: Any = method
        pairs = zip(rows, deltas, strict=True)
        return np.array([plan.epsilon(float(d), method=each) for plan, d in pairs], dtype=float)
    many = exact.epsilon_upper_many if method == "exact" else exact.epsilon_estimate_many
    cache = {float(d): check_delta(float(d)) for d in set(deltas.tolist())}
    logs = np.array([cache[d] for d in deltas.tolist()])
    result = np.array([math.inf if plan.noiseless else 0.0 for plan in rows])
    # The engine takes plans with equally many phases together.
    groups: dict[int, list[int]] = {}
    phases = [plan.phases for plan in rows]
    for i, found in enumerate(phases):
        if given.plain(found) is None:
            result[i] = rows[i].epsilon(float(deltas[i]))
        elif rows[i].one_image[1] == 1:
            groups.setdefault(len(found), []).append(i)
        elif method == "exact":  # two curves each: see composition/group.py
            result[i] = rows[i].epsilon(float(deltas[i]), method=method)
        else:
            result[i] = rows[i].estimated_epsilon(logs[i])
    for count, members in groups.items():
        if count:
            result[members] = _answers(many, [phases[i] for i in members], logs[members], members)
    return result


def _answers(many: Any, phases: list[Any], logs: Array, names: Sequence[int]) -> Array:
    """`many` at once; where it refuses, halves, until all are found or one is at fault."""
    try:
        return np.asarray(many(phases, logs), dtype=np.float64)
    except exact.ExactEngineError as error:
        if len(phases) == 1:
            raise ValueError(f"plan {names[0]} has no answer: {error}") from None
    half = len(phases) // 2
    return np.concatenate(
        [
            _answers(many, phases[:half], logs[:half], names[:half]),
            _answers(many, phases[half:], logs[half:], names[half:]),
        ]
    )
