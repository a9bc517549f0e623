"""Crop amplification of any mechanism that is given as a privacy loss distribution.

>>> from fractions import Fraction
>>> from dp_accounting.pld.privacy_loss_distribution import from_randomized_response
>>> one_step = from_randomized_response(noise_parameter=0.5, num_buckets=2)
>>> run = amplify_one_step(one_step, Fraction(1, 4), steps=10)
>>> run.get_epsilon_for_delta(1e-5) < one_step.self_compose(10).get_epsilon_for_delta(1e-5)
True
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

from patchdp import _checks
from patchdp.composition.grid import google
from patchdp.composition.grid.masses import LossMasses
from patchdp.interop.dp_accounting.atoms import LossAtoms

__all__ = ["amplify_one_step", "atoms_of"]


def atoms_of(pld: PrivacyLossDistribution) -> tuple[LossAtoms, float]:
    """The positive losses of a symmetric distribution of dp-accounting, and its grid spacing.

    >>> from dp_accounting.pld.privacy_loss_distribution import from_randomized_response
    >>> atoms, interval = atoms_of(from_randomized_response(0.5, 2))
    >>> round(float(atoms.delta(0.0)), 4), interval
    (0.5, 0.0001)

    Raises:
      ValueError: Its two directions differ, it rounds optimistically, or it is no distribution.
    """
    if not isinstance(pld, PrivacyLossDistribution):
        raise ValueError(
            "pld must be a dp_accounting PrivacyLossDistribution, "
            f"got an object of type {type(pld).__name__}"
        )
    # dp-accounting offers no public way to read the masses; these are the documented attributes.
    if not pld._symmetric:
        raise ValueError(
            "pld has different distributions for adding and for removing a record; a patch is "
            "replaced: build it with neighboring_relation=NeighboringRelation.REPLACE_ONE"
        )
    dense = pld._pmf_remove.to_dense_pmf()
    if not dense._pessimistic_estimate:
        raise ValueError("pld rounds optimistically; build it with pessimistic_estimate=True")
    probabilities = np.asarray(dense._probs, dtype=np.float64)
    infinity = float(dense._infinity_mass)
    if not np.all(probabilities >= -1e-12) or not 0 <= infinity <= 1:
        raise ValueError("pld has negative masses: it is not the distribution of one step")
    losses = dense._discretization * (dense._lower_loss + np.arange(len(probabilities)))
    chosen = (losses > 0) & (probabilities > 0)
    return LossAtoms(losses[chosen], probabilities[chosen], infinity), float(dense._discretization)


def _with_rounding(masses: LossMasses, steps: int) -> LossMasses:
    """The same masses, with what the composition's FFT may lose added at infinity."""
    if steps == 1:
        return masses
    google.check_size(masses, steps)
    bound = google.rounding_bound(masses, steps, google.composed_size(masses, steps))
    kept = math.exp(steps * math.log1p(-math.exp(masses.log_infinity))) - 1.01 * bound
    if kept <= 0:
        raise ValueError(f"steps {steps!r} are too many: the rounding of the FFT exceeds 1")
    infinity = -math.expm1(math.log(kept) / steps)
    return dataclasses.replace(masses, log_infinity=math.log(infinity))


def amplify_one_step(
    pld: PrivacyLossDistribution,
    inclusion_probability: float | Fraction,
    *,
    steps: int,
    interval: float | None = None,
) -> PrivacyLossDistribution:
    """Patch-level distribution of `steps` steps, from the image-level one of ONE step.

    >>> from dp_accounting import NeighboringRelation
    >>> from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
    >>> one_step = from_gaussian_mechanism(
    ...     2.0,
    ...     value_discretization_interval=1e-3,
    ...     neighboring_relation=NeighboringRelation.REPLACE_ONE,
    ... )
    >>> run = amplify_one_step(one_step, 0.3, steps=20)
    >>> 9.9 < run.get_epsilon_for_delta(1e-5) < 9.901
    True

    Each step draws a fresh crop for each image, which hits the patch with at most the given
    probability, so each *step* is amplified and only then composed. A distribution that is already
    composed must not be passed: amplified as a whole it would describe a training whose crops are
    drawn once and kept, and with `steps` on top a training of `steps` such trainings; the result
    for the training meant would be too small. It cannot be told from a single step's, so nothing
    checks this. For the same reason a distribution that already counts the crop must not be passed.

    Args:
      pld: Distribution of one step under the replace-one relation, as a function of already
        cropped images, rounded pessimistically.
      inclusion_probability: Chance in (0, 1] that a crop shows the patch; an upper bound will do.
      steps: How many steps follow one another, each with a fresh crop.
      interval: Grid spacing of the result; the one of `pld` where left out, so that the two can be
        composed. Small inclusion probabilities shrink losses: a finer grid is then tighter.

    Returns:
      A distribution composed by dp-accounting's engine. A bound of the error of its FFT, about
      `1e-15` per step, sits at infinity: deltas below it have no finite epsilon.

    Raises:
      ValueError: `pld` is not symmetric, not pessimistic or not a privacy loss distribution, or
        another argument is out of its range.

    Source: `docs/theory/one_step.md`, "Crop amplification"; joint convexity from arXiv:1807.01647.
    """
    p = _checks.probability("inclusion_probability", inclusion_probability)
    count = _checks.count("steps", steps)
    atoms, own = atoms_of(pld)
    width = own if interval is None else google.grid_spacing(interval)
    masses = atoms.amplify(p).on_grid(width)
    return google.privacy_loss_distribution([(_with_rounding(masses, count), count)])
