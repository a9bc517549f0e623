"""Several hits in one step: one person in several images, or views that are clipped one by one.

Both change several clipped gradients at once. Let `J` be how many, `eta = Pr(J >= 1)`.
Conditioning on `J` gives `delta(log(1 + eta (e^eps - 1))) = sum_J Pr(J) H_J(eps)` for `eps >= 0`,
`H_J` the profile of `J` changed contributions: a mixture of amplified pairs, one part per `J`.
Source: `docs/theory.md`, "One person in several images" and "Several views".

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
from math import comb

from patchdp import _checks
from patchdp.step.mixture import MixturePair
from patchdp.step.profile import StepProfile, fixed_size_pair
from patchdp.step.sampling import FixedSize, Poisson, Sampling

__all__ = ["images_per_person", "views_clipped_apart"]


def _binomial(trials: int, chance: Fraction) -> list[Fraction]:
    """Probabilities of 0 ... `trials` successes, exactly."""
    return [comb(trials, j) * chance**j * (1 - chance) ** (trials - j) for j in range(trials + 1)]


def _mixture(hits: list[Fraction], pair_of: dict[int, MixturePair]) -> StepProfile:
    active = 1 - hits[0]
    parts = tuple(
        (_checks.round_up(hits[j] / active), pair) for j, pair in pair_of.items() if hits[j] > 0
    )
    return StepProfile(parts, attainable=False)


def _apart(hits: list[Fraction], distances: list[float]) -> StepProfile:
    """`J` hits move the sum by a Gaussian's `2 distances[J]`; whoever does not hit is common."""
    active = 1 - hits[0]
    return _mixture(
        hits,
        {j: fixed_size_pair(rate=active, mu=distances[j]) for j in range(1, len(hits)) if hits[j]},
    )


def _poisson_pair(images: int, rate: Fraction, eta: Fraction, mu: float) -> MixturePair:
    """`J` replaced images under Poisson sampling, amplified by `eta`.

    `sum_i Bin(J, q)(i) N(i mu)` against its mirror image; then `P -> (1 - eta) Q + eta P`.
    """
    law = _binomial(images, rate)
    up = [_checks.round_up(eta * w) for w in law]
    stay = [float((1 - eta) * w) for w in law]
    q_means = tuple(-i * mu for i in range(images + 1))
    p_weights = (float(law[0]), *up[1:], *stay[1:])
    p_means = (0.0, *(i * mu for i in range(1, images + 1)), *q_means[1:])
    return MixturePair(
        gains=tuple(up[1:]),
        shifts=tuple(i * mu for i in range(1, images + 1)),
        q_weights=tuple(float(w) for w in law),
        q_means=q_means,
        p_weights=p_weights,
        p_means=p_means,
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
        if sampling.probability == 1:
            hits = _binomial(images, inclusion)
            return _apart(hits, [j * mu for j in range(images + 1)])
        hits = _binomial(images, inclusion)
        pairs = {
            j: _poisson_pair(j, sampling.probability, 1 - hits[0], mu) for j in range(1, images + 1)
        }
        return _mixture(hits, pairs)
    if isinstance(sampling, FixedSize):
        size, batch = sampling.dataset_size, sampling.batch_size
        if images > size:
            raise ValueError(
                f"images_per_person {images} is larger than dataset_size {size}; "
                "it may be at most that"
            )
        hits = [Fraction(0)] * (images + 1)
        ways = comb(size, batch)
        for drawn in range(max(0, batch - (size - images)), min(images, batch) + 1):
            share = Fraction(comb(images, drawn) * comb(size - images, batch - drawn), ways)
            for j, chance in enumerate(_binomial(drawn, inclusion)):
                hits[j] += share * chance
        return _apart(hits, [j * mu for j in range(images + 1)])
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
    hits = _binomial(views, _checks.probability("inclusion", inclusion))
    return _apart(hits, [j * mu for j in range(views + 1)])
