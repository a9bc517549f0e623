"""Which sampling scheme a batch selection strategy of JAX-Privacy is.

>>> from jax_privacy import batch_selection
>>> once = batch_selection.BallsInBinsSampling(iterations=15, cycle_length=15)
>>> plan_sampling(once, dataset_size=2975)
(RandomAllocation(batch_size=199, dataset_size=2975), {'epochs': 1})
"""

from __future__ import annotations

from typing import Any

from patchdp import _checks
from patchdp.step import FixedSize, Poisson, RandomAllocation, Sampling

__all__ = ["plan_sampling"]


def plan_sampling(strategy: Any, *, dataset_size: int) -> tuple[Sampling, dict[str, int]]:
    """The scheme and the length of `TrainingPlan` for a strategy of `jax_privacy.batch_selection`.

    >>> from jax_privacy import batch_selection
    >>> poisson = batch_selection.CyclicPoissonSampling(sampling_prob=0.1, iterations=300)
    >>> plan_sampling(poisson, dataset_size=1000)
    (Poisson(batch_size=None, dataset_size=1000, sampling_probability=0.1), {'steps': 300})

    `BallsInBinsSampling` draws one bin for each example and keeps it in every cycle: over one cycle
    that is random allocation, over several it is not, and is refused. Draw a new strategy for each
    epoch instead, with a fresh key, and add the plans.

    Args:
      strategy: A strategy.
      dataset_size: Number of images.

    Returns:
      The scheme, and `steps` or `epochs`.

    Raises:
      ValueError: The strategy's law is none of a plan's, with the reason.
    """
    size = _checks.count("dataset_size", dataset_size)
    name = type(strategy).__name__
    if name == "BallsInBinsSampling":
        if strategy.iterations > strategy.cycle_length:
            raise ValueError(
                f"BallsInBinsSampling keeps each example's bin for all of its {strategy.iterations}"
                f" iterations; random allocation draws it anew after {strategy.cycle_length}: make "
                "one strategy for each epoch"
            )
        # An epoch of fewer steps bounds one of more, where no batch size gives the exact number.
        batch = min(-(-size // strategy.cycle_length), size)
        return RandomAllocation(batch_size=batch, dataset_size=size), {"epochs": 1}
    if name == "CyclicPoissonSampling":
        if strategy.cycle_length != 1 or strategy.truncated_batch_size is not None:
            raise ValueError(
                "CyclicPoissonSampling is Poisson sampling with cycle_length=1 and without "
                f"truncated_batch_size, got {strategy!r}; use the events of jax_privacy"
            )
        rate = strategy.sampling_prob
        scheme = Poisson(sampling_probability=rate, dataset_size=size)
        return scheme, {"steps": strategy.iterations}
    if name == "FixedBatchSampling" and not strategy.replace:
        fixed = FixedSize(batch_size=strategy.batch_size, dataset_size=size)
        return fixed, {"steps": strategy.iterations}
    raise ValueError(
        f"{name} is none of the sampling schemes of a plan (Poisson, FixedSize, RandomAllocation)"
    )
