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
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from patchdp import _checks
from patchdp.composition import prove
from patchdp.guarantee import METHODS, Guarantee, Method, check_delta

__all__ = ["epsilons"]

Array = npt.NDArray[np.float64]


def epsilons(
    plans: Iterable[Guarantee],
    delta: npt.ArrayLike,
    *,
    method: Method | Literal["exact_estimate"] = "auto",
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
      method: As in `epsilon`, which answers for each plan in turn; `"exact_estimate"` returns
        values that certify nothing, many at once: those of the exact engine, usually right to ten
        digits, or where few steps take part the middle of both bounds of the grid.

    Returns:
      Array of shape `(len(plans),)`: upper bounds, unless estimates were asked for.

    Raises:
      ValueError: A delta is not in (0, 1), the method is unknown, or some plan has no answer (the
        message says which).
    """
    rows = list(plans) if isinstance(plans, Iterable) else []
    for plan in rows:
        if not isinstance(plan, Guarantee):
            raise ValueError(f"plans must be plans or compositions, got {_checks.shown(plan)}")
    deltas = _checks.floats("delta", delta, "one number strictly between 0 and 1, or one a plan")
    if deltas.shape not in {(), (1,), (len(rows),)}:
        raise ValueError(
            f"delta must be one, or one for each of {len(rows)} plans, got {deltas.shape}"
        )
    deltas = np.broadcast_to(deltas, (len(rows),))
    method = _checks.choice("method", method, (*METHODS, "exact_estimate"))
    if method != "exact_estimate":
        pairs = zip(rows, deltas, strict=True)
        return np.array([_answer(i, plan, float(d), method) for i, (plan, d) in enumerate(pairs)])
    logs = {float(d): check_delta(float(d)) for d in set(deltas.tolist())}
    goals = np.array([logs[d] for d in deltas.tolist()])
    result = np.array([math.inf if plan.noiseless else 0.0 for plan in rows])
    alone = [i for i, plan in enumerate(rows) if plan.phases and plan.one_image[1] == 1]
    if alone:
        result[alone] = prove.estimate_epsilons([rows[i].phases for i in alone], goals[alone])
    for i, plan in enumerate(rows):
        if plan.one_image[1] > 1:  # two curves each: see composition/conversions/group_privacy.py
            result[i] = plan.estimated_epsilon(float(goals[i]))
    return result


def _answer(index: int, plan: Guarantee, delta: float, method: Method) -> float:
    check_delta(delta)
    try:
        return plan.epsilon(delta, method=method)
    except ValueError as error:
        raise ValueError(f"plan {index} has no answer: {error}") from None
