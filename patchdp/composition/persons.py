"""Several images of one person: the composed bound, or a chain of neighbours if it is smaller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from patchdp.composition.certificate import Refused
from patchdp.composition.conversions.group_privacy import group_epsilon, group_log_delta
from patchdp.composition.estimate import estimate_epsilon
from patchdp.composition.given import AnyRun
from patchdp.composition.prove import Proof

__all__ = ["person_epsilon", "person_log_delta"]

Array = npt.NDArray[np.float64]


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
