"""Banded correlated noise: the plan that accounts it, where no two bands of one image overlap.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(64, 64), crop=pdp.RandomCrop((32, 32)), patch=pdp.Patch((4, 4)),
...     sampling=pdp.Poisson(batch_size=100, dataset_size=10_000), noise_multiplier=2.0, steps=1000,
... )
>>> found = pdp.banded(plan, bands=8)
>>> found.sampling, found.steps
(Poisson(batch_size=None, dataset_size=10000, sampling_probability=Fraction(2, 25)), 125)
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from patchdp import _checks
from patchdp.plan import TrainingPlan
from patchdp.step import Poisson, Shuffle

__all__ = ["banded"]


def banded(plan: TrainingPlan, *, bands: int, strategy: Any = None) -> TrainingPlan:
    """The plan of a training whose noise is correlated over `bands` steps (banded DP-FTRL, BandMF).

    The noise multiplier is relative to the largest column norm of the strategy matrix, which is 1.
    The sampling of the plan says how many images a step sees:

    * `Poisson(batch_size=B, dataset_size=N)` is *cyclic* Poisson sampling: the images are split
      into `bands` groups, and a step draws from one group, in turn. An image is eligible in every
      `bands`-th step, with probability `B / (N // bands)`, JAX-Privacy's `sampling_prob`.
    * `Shuffle(batch_size=B, dataset_size=N)` is one fixed order, the *same in every epoch*: an
      image comes back after as many steps as an epoch has, at least `bands` of them.

    Args:
      plan: The training as it runs: batches, steps or epochs.
      bands: How many steps one draw of noise is spread over.
      strategy: The strategy matrix, shape `(n, n)`, or its first column where all are alike, to be
        checked: lower triangular with so many bands, no column longer than 1.

    Returns:
      A plan with the same epsilon, whose steps are the participations that count.

    Raises:
      ValueError: Bands of one image could overlap, or the strategy is not as claimed.

    Source: `docs/theory/bands.md`, "Disjoint bands" (Theorem 45).
    """
    width = _checks.count("bands", bands)
    if not isinstance(plan, TrainingPlan):
        raise ValueError(f"plan must be a TrainingPlan, got {_checks.shown(plan)}")
    if strategy is not None:
        _check_strategy(_checks.floats("strategy", strategy, "finite numbers"), width)
    sampling = plan.sampling
    if width == 1:
        return plan
    if not isinstance(sampling, Poisson | Shuffle):
        raise ValueError(
            f"bands above 1 go with Poisson (cyclic) or Shuffle (one fixed order), got "
            f"{type(sampling).__name__}: it may draw an image again after fewer than {width} "
            "steps, where the bands overlap"
        )
    batch, images = sampling.batch_size, sampling.dataset_size
    if batch is None or images is None:
        raise ValueError("bands above 1 need batch_size and dataset_size in the sampling")
    if isinstance(sampling, Shuffle):
        between = images // batch  # a last incomplete batch that is dropped makes it shortest
        if width > between:
            raise ValueError(
                f"bands {width} overlap: an image comes back after {between} steps of an epoch"
            )
        return plan
    group = images // width  # groups are equal: what is left over is never drawn
    if group < batch:
        raise ValueError(
            f"bands {width} leave groups of {group} images, fewer than batch_size {batch}"
        )
    rate = Fraction(batch, group)
    rounds = -(-plan.applications // width)
    cyclic = dataclasses.replace(
        sampling, batch_size=None, dataset_size=images, sampling_probability=rate
    )
    return plan.replace(sampling=cyclic, steps=rounds)


def _check_strategy(strategy: Any, bands: int) -> None:
    if strategy.ndim == 1:
        columns = [strategy]
        wide = int(np.flatnonzero(strategy).max(initial=0)) + 1
        lower = True
    elif strategy.ndim == 2 and strategy.shape[0] == strategy.shape[1]:
        columns = list(strategy.T)
        rows, cols = np.nonzero(strategy)
        lower = bool(np.all(rows >= cols))
        wide = int((rows - cols).max(initial=0)) + 1
    else:
        raise ValueError(f"strategy must be a square matrix or a column, got {strategy.shape}")
    if not lower:
        raise ValueError("strategy must be lower triangular: noise cannot look ahead")
    if wide > bands:
        raise ValueError(f"strategy has {wide} bands, more than the declared {bands}")
    longest = max(float(np.linalg.norm(column)) for column in columns)
    if not longest <= 1 + 1e-9:
        raise ValueError(
            f"strategy has a column of length {longest:.6g}; scale it so that none exceeds 1, and "
            "give the noise multiplier relative to that"
        )
