"""Several hits in one step: one person in several images, or views that are clipped one by one.

Both change several clipped gradients at once. Let `J` be how many, `eta = Pr(J >= 1)`.
Conditioning on `J` gives `delta(log(1 + eta (e^eps - 1))) = sum_J Pr(J) H_J(eps)` for `eps >= 0`,
`H_J` the profile of `J` changed contributions: a mixture of amplified pairs, one part per `J`.
Source: `docs/theory/several.md`, "One person in several images" and "Several views".

>>> from fractions import Fraction
>>> from patchdp.step import Poisson, step_profile
>>> one = images_per_person(
...     Poisson(sampling_probability=0.1), inclusion=Fraction(1, 3), mu=0.5, images=1
... )
>>> plain = step_profile(
...     Poisson(sampling_probability=0.1), inclusion_probability=Fraction(1, 3),
...     noise_multiplier=2.0,
... )
>>> bool(abs(one.delta(0.2) / plain.delta(0.2) - 1) < 1e-9)
True
"""

from __future__ import annotations

from fractions import Fraction

from patchdp import _checks
from patchdp.step.hit_counts import binomial, hits_of_fixed_batches, lumped, total
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile, fixed_size_pair
from patchdp.step.sampling import FixedSize, Poisson, Sampling

__all__ = ["images_per_person", "views_clipped_apart"]


# Parts of a mixture of Gaussian profiles, and of a mixture of profiles of mixtures.
_MOST_PARTS, _MOST_MIXTURES = 256, 32


def _mixture(hits: dict[int, Fraction], pair_of: dict[int, MixturePair]) -> StepProfile:
    active = total(hits.values())
    parts = tuple((_checks.round_up(hits[j] / active), pair) for j, pair in pair_of.items())
    return StepProfile(parts, attainable=False)


def _apart(law: list[Fraction], distance: float) -> StepProfile:
    """`J` hits move the sum by a Gaussian's `2 J distance`; whoever does not hit is common."""
    hits = lumped(law, _MOST_PARTS)
    active = total(hits.values())
    return _mixture(hits, {j: fixed_size_pair(rate=active, mu=j * distance) for j in hits})


def _poisson_pair(images: int, rate: Fraction, eta: Fraction, mu: float) -> MixturePair:
    """`J` replaced images under Poisson sampling, amplified by `eta`.

    `sum_i Bin(J, q)(i) N(i mu)` against its mirror image; then `P -> (1 - eta) Q + eta P`.
    """
    law = binomial(images, rate)
    drawn = lumped(law, _MOST_MIXTURES)
    up = [_checks.round_up(eta * w) for w in drawn.values()]
    stay = [float((1 - eta) * w) for w in drawn.values()]
    shifts = tuple(i * mu for i in drawn)
    q_means = (0.0, *(-shift for shift in shifts))
    return MixturePair(
        gains=tuple(up),
        shifts=shifts,
        q_weights=(float(law[0]), *(float(w) for w in drawn.values())),
        q_means=q_means,
        p_weights=(float(law[0]), *up, *stay),
        p_means=(0.0, *shifts, *q_means[1:]),
    )


def images_per_person(
    sampling: Sampling, *, inclusion: Fraction, mu: float, images: int
) -> StepProfile:
    """The profile of one step when one person's patch lies in up to `images` images.

    >>> from patchdp.step import FixedSize
    >>> two = images_per_person(
    ...     FixedSize(10, 100), inclusion=Fraction(1, 2), mu=0.5, images=2
    ... )
    >>> len(two.parts)
    2

    Args:
      sampling: `Poisson` or `FixedSize`.
      inclusion: Chance that the crop of one such image shows the patch.
      mu: `1 / noise_multiplier`.
      images: Largest number of images with the person.

    Raises:
      ValueError: The scheme is `Shuffle`, where nothing is proved for more than one image, or
        there are more images than the data set has.
    """
    inclusion = _checks.probability("inclusion", inclusion)
    mu = _checks.positive("mu", mu, up=True)
    images = _checks.count("images", images)
    if isinstance(sampling, Poisson):
        law = binomial(images, inclusion)
        if sampling.probability == 1:
            return _apart(law, mu)
        hits = lumped(law, _MOST_MIXTURES)
        eta = total(hits.values())
        pairs = {j: _poisson_pair(j, sampling.probability, eta, mu) for j in hits}
        return _mixture(hits, pairs)
    if isinstance(sampling, FixedSize):
        size, batch = sampling.dataset_size, sampling.batch_size
        if images > size:
            raise ValueError(
                f"images_per_person {images} is larger than dataset_size {size}; "
                "it may be at most that"
            )
        law = hits_of_fixed_batches(images, batch=batch, size=size, inclusion=inclusion)
        return _apart(law, mu)
    raise ValueError(
        "images_per_person above 1 is not proved for Shuffle; use Poisson or FixedSize sampling"
    )


def views_clipped_apart(*, inclusion: Fraction, mu: float, views: int) -> StepProfile:
    """The profile of one full-batch step or shuffled epoch with views clipped one by one.

    >>> profile = views_clipped_apart(inclusion=Fraction(1, 2), mu=0.5, views=2)
    >>> [pair.shifts for _, pair in profile.parts]
    [(0.5,), (1.0,)]

    Args:
      inclusion: Chance that one view shows the patch, independently of the others.
      mu: What one view weighs, in noise standard deviations: `1 / noise_multiplier` if the
        clipped gradients of the views are summed, that over `views` if they are averaged.
      views: Number of views of each image in a step.
    """
    views = _checks.count("views", views)
    mu = _checks.positive("mu", mu, up=True)
    return _apart(binomial(views, _checks.probability("inclusion", inclusion)), mu)
