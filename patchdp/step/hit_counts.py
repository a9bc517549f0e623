"""How many changed contributions meet in one step: binomial and hypergeometric laws, rounded up.

Few trials give exact fractions. With many, every operation of a recurrence rounds up to `_BITS`
binary digits, and every entry to a whole multiple of `2^-_PLACES`, so that what comes out is never
below the probability; each of at most `4 n` roundings on the way to an entry of a law of `n` trials
adds a relative `2^(1 - _BITS)`.
Source: `docs/theory/several.md`, "One person in several images" (the law of the number of hits).

>>> from patchdp.step.hit_counts import binomial
>>> binomial(2, Fraction(1, 3))
[Fraction(4, 9), Fraction(4, 9), Fraction(1, 9)]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from patchdp._budget import STEP, afford

__all__ = ["binomial", "hits_of_fixed_batches", "lumped", "total"]

_BITS, _PLACES = 192, 384
# With so many trials the fractions are kept as they are.
_MOST_EXACT = 64
# What is left out beside the rest: it is counted as the largest number of hits.
_NEGLIGIBLE = Fraction(1, 1 << 100)


def binomial(trials: int, chance: Fraction) -> list[Fraction]:
    """Probabilities of 0, ..., `trials` successes, or bounds a hair above them.

    Args:
      trials: At least 0.
      chance: Of one success, in [0, 1].

    Raises:
      ValueError: So many trials that their recurrence would take too long.
    """
    what = f"a step with up to {trials:,} hits of one person"
    afford(0, what, "use fewer views or images per person", work=trials * 40 * STEP)
    if chance in (0, 1):
        return [Fraction(j == trials * chance) for j in range(trials + 1)]
    odds = chance / (1 - chance)
    if trials <= _MOST_EXACT:
        law = [(1 - chance) ** trials]
        for j in range(trials):
            law.append(law[-1] * odds * Fraction(trials - j, j + 1))
        return law
    return [_fixed(term) for term in _terms(trials, chance, odds)]


def _terms(trials: int, chance: Fraction, odds: Fraction) -> Iterator[tuple[int, int]]:
    """The law as digits and exponents of 2, rounded up at every step."""
    digits, exponent = _power(1 - chance, trials)
    yield digits, exponent
    for j in range(trials):
        up, down = digits * odds.numerator * (trials - j), odds.denominator * (j + 1)
        digits, exponent = _rounded(up, down, exponent)
        yield digits, exponent


def hits_of_fixed_batches(
    images: int, *, batch: int, size: int, inclusion: Fraction
) -> list[Fraction]:
    """Probabilities that 0, ..., `images` of so many images are in the batch and hit.

    >>> hits_of_fixed_batches(1, batch=1, size=10, inclusion=Fraction(1, 2))
    [Fraction(19, 20), Fraction(1, 20)]

    Args:
      images: The person's images, at most `size`.
      batch: Images in a batch.
      size: Images in the data set.
      inclusion: Chance that the crop of an image in the batch hits.
    """
    instead = "use fewer, or the bound of one image and group privacy"
    afford(0, f"images_per_person {images:,}", instead, work=images**2 * STEP // 10)
    least = max(0, batch - (size - images))
    shares = _in_batch if images <= _MOST_EXACT else _in_batch_rounded
    hits = [Fraction(0)] * (images + 1)
    for drawn, share in enumerate(shares(images, batch, size), start=least):
        if share < _NEGLIGIBLE**2 and images > _MOST_EXACT:
            hits[drawn] += share  # as if all of them hit
            continue
        for j, chance in enumerate(binomial(drawn, inclusion)):
            hits[j] += share * chance
    return hits


def _in_batch(images: int, batch: int, size: int) -> Iterator[Fraction]:
    """Probabilities of the possible numbers of images in the batch, from the least on."""
    share = Fraction(1)
    for up, down in _ratios(images, batch, size):
        if up is not None:
            share *= Fraction(up, down)
        else:
            yield share


def _in_batch_rounded(images: int, batch: int, size: int) -> Iterator[Fraction]:
    digits, exponent = 1, 0
    for up, down in _ratios(images, batch, size):
        if up is not None:
            digits, exponent = _rounded(digits * up, down, exponent)
        else:
            yield _fixed((digits, exponent))


def _ratios(images: int, batch: int, size: int) -> Iterator[tuple[int | None, int]]:
    """Factors of the probabilities of the hypergeometric law; None where one is complete."""
    least = max(0, batch - (size - images))
    # The least possible number: none of the images drawn, or all of the others.
    out, of = (size - batch, images) if least else (images, size - batch)
    yield from ((of - k, size - k) for k in range(out))
    yield None, 1
    for drawn in range(least, min(images, batch)):
        ways = (images - drawn) * (batch - drawn)
        yield ways, (drawn + 1) * (size - images - batch + drawn + 1)
        yield None, 1


def lumped(law: list[Fraction], most: int) -> dict[int, Fraction]:
    """At most `most` numbers of hits above 0 with their probabilities, moved up where too many.

    >>> lumped([Fraction(1, 4)] * 4, 2)
    {1: Fraction(1, 4), 3: Fraction(1, 2)}

    Profiles grow with the number of hits, so moving probability up is an upper bound.
    """
    hits = {j: chance for j, chance in enumerate(law) if j and chance > 0}
    if len(hits) <= most:
        return hits
    last = max(hits)
    cut = _NEGLIGIBLE * total(hits.values())
    kept = [j for j, chance in hits.items() if chance > cut]
    width = -(-(kept[-1] - kept[0] + 1) // (most - (kept[-1] < last)))
    found: dict[int, Fraction] = {}
    for j, chance in hits.items():
        # The next step of that width, counted from the last number that matters.
        step = kept[-1] - (kept[-1] - max(j, kept[0])) // width * width
        at = step if j <= kept[-1] else last
        found[at] = found.get(at, Fraction(0)) + chance
    return found


def total(chances: Iterable[Fraction]) -> Fraction:
    """The sum of probabilities, at most 1."""
    return min(sum(chances, Fraction(0)), Fraction(1))


def _rounded(up: int, down: int, exponent: int) -> tuple[int, int]:
    """`up / down` times a power of 2 as `_BITS` digits or one more, and the power; not below."""
    shift = _BITS - up.bit_length() + down.bit_length()
    return -(-(up << shift) // down if shift >= 0 else -up // (down << -shift)), exponent - shift


def _fixed(term: tuple[int, int]) -> Fraction:
    """The smallest multiple of `2^-_PLACES` that is not below `digits 2^exponent`."""
    digits, shift = term[0], term[1] + _PLACES
    return Fraction(digits << shift if shift >= 0 else -(-digits >> -shift), 1 << _PLACES)


def _power(base: Fraction, exponent: int) -> tuple[int, int]:
    square = _rounded(base.numerator, base.denominator, 0)
    digits, place = 1, 0
    while exponent:
        if exponent & 1:
            digits, place = _rounded(digits * square[0], 1, place + square[1])
        exponent >>= 1
        square = _rounded(square[0] ** 2, 1, 2 * square[1])
    return digits, place
