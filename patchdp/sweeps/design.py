"""Which crop: what windows of all sizes and laws cost in privacy, beside how much they show.

>>> import patchdp as pdp
>>> plan = pdp.TrainingPlan(
...     image=(128, 256), crop=pdp.RandomCrop((60, 60)), patch=pdp.Patch((4, 4)),
...     sampling=pdp.Poisson(batch_size=50, dataset_size=1000), noise_multiplier=1.0, epochs=5,
... )
>>> found = pdp.design(plan, min_crop=(50, 50), delta=1e-5)
>>> best = found.recommended
>>> best.crop, best.inclusion
(GridCrop((59, 59), stride=(62, 62), jitter='full'), Fraction(1, 8))
>>> best.epsilon < plan.epsilon(1e-5) / 2
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from patchdp._budget import STEP, afford
from patchdp._checks import positive, probability
from patchdp.geometry import (
    ChoiceCrop,
    Crop,
    GridCrop,
    Patch,
    RandomCrop,
    best_crop,
    inclusion,
)
from patchdp.geometry.diversity import Diversity, diversity
from patchdp.geometry.sizes import Size, as_images, as_size, spelled
from patchdp.guarantee import Method
from patchdp.plan import TrainingPlan

__all__ = ["Candidate", "Design", "design"]


@dataclass(frozen=True)
class Candidate:
    """One crop, its price, and what it shows.

    Attributes:
      law: `"uniform"`, `"best"`, `"axis:K"`, `"mixture:SHARE"`; `"planned"` for the plan's own.
      size: Pixels of the window.
      crop: The crop itself.
      inclusion: Probability that it shows the patch, at the worst place.
      epsilon: Certified at the plan's noise, or the target that was given.
      noise_multiplier: The plan's, or the smallest that was certified for the target.
      area: Share of the image that one window shows.
      diversity: Number, entropy and evenness of the windows, in the worst image.
      roomy: Whether a grid of such tiles has room to be shifted on every axis.
    """

    law: str
    size: Size
    crop: Crop
    inclusion: Fraction | float
    epsilon: float
    noise_multiplier: float
    area: float
    diversity: Diversity
    roomy: bool

    @property
    def price(self) -> tuple[float, float]:
        """Noise and epsilon: one of them is the same for all candidates."""
        return self.noise_multiplier, self.epsilon

    def beats(self, other: Candidate) -> bool:
        """Whether it costs no more, shows no less, as variedly, and is better in one of these."""
        mine = (*(-x for x in self.price), self.area, self.diversity.entropy)
        theirs = (*(-x for x in other.price), other.area, other.diversity.entropy)
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))


@dataclass(frozen=True)
class Design:
    """Candidates from the smallest window up, and which of them to consider.

    Attributes:
      candidates: The rows; first the plan's own crop, where it is one window of known size.
      delta: For which epsilon holds.
      target: The epsilon that the noise multipliers meet; None where the noise is the plan's.
    """

    candidates: tuple[Candidate, ...]
    delta: Fraction
    target: float | None

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Candidates that no other one beats in price, area and entropy at once."""
        return tuple(c for c in self if not any(other.beats(c) for other in self))

    @property
    def recommended(self) -> Candidate:
        """The cheapest of the best laws whose grid has room to be shifted, else the cheapest.

        Privacy alone decides here: whether a law that varied is varied enough is measured, by
        training, not proved.
        """
        roomy = [c for c in self if c.law == "best" and c.roomy]
        return min(roomy or self.candidates, key=lambda c: (c.price, -c.area))


def design(
    plan: TrainingPlan,
    *,
    min_crop: Sequence[int],
    delta: float | Fraction,
    max_crop: Sequence[int] | None = None,
    epsilon: float | None = None,
    laws: Iterable[str] = ("uniform", "best"),
    room: float = 0.1,
    method: Method = "auto",
) -> Design:
    """Windows of the shape of `min_crop`, from that size up, under several laws side by side.

    How rarely the best law shows a patch is a staircase in the window's size (the number of tiles
    that fit). Of each step two sizes are listed: its end, the largest window, and the largest
    window whose grid can still be shifted by a share `room` of it on every axis: a slightly
    smaller window with many times as many places.

    Args:
      plan: The training; its crop is the first row, if it is a `RandomCrop` or a `GridCrop`.
      min_crop: Smallest window to consider, pixels along each axis.
      delta: In (0, 1).
      max_crop: Largest window to consider; the smallest image where not given.
      epsilon: Where given, the noise multiplier that meets it is looked for, for every candidate.
      laws: `"uniform"` (`RandomCrop`), `"best"` (`best_crop`), `"axis:K"` (the best along axis `K`
        alone), `"mixture:SHARE"` (uniform with that probability, else best).
      room: Share of the window by which the grid can be shifted, above 0.
      method: Engine that certifies.

    Raises:
      ValueError: A patch that is not a box anywhere, a window that does not fit, an unknown law.

    Source: `docs/theory/best_crop.md`, "The best crop" (Theorem 35, Theorem 36).
    """
    images, share = as_images(plan.image), positive("room", room)
    at = probability("delta", delta, open_ends=True)
    target = None if epsilon is None else positive("epsilon", epsilon)
    least = as_size("min_crop", min_crop)
    largest = tuple(map(min, zip(*images, strict=True)))
    most = largest if max_crop is None else as_size("max_crop", max_crop)
    if len(least) != len(largest) or len(most) != len(largest):
        raise ValueError(f"min_crop and max_crop must have {len(largest)} axes, as the image")
    if any(a > b or b > n for a, b, n in zip(least, most, largest, strict=True)):
        raise ValueError(
            f"min_crop {spelled(least)} must fit max_crop {spelled(most)}, and that every image, "
            f"the smallest of which is {spelled(largest)}"
        )
    names = [laws] if isinstance(laws, str) else list(laws)
    if not isinstance(plan.patch, Patch):
        raise ValueError(f"patch must be a box for a design, got {plan.patch!r}")
    makers = [(name, _law(name, len(largest))) for name in names]
    prices: dict[Fraction | float, tuple[float, float]] = {}

    def candidate(law: str, crop: Crop, size: Size, roomy: bool) -> Candidate:
        found = plan.inclusion if law == "planned" else inclusion(plan.image, crop, plan.patch)
        if found.probability not in prices:
            prices[found.probability] = _price(plan.replace(crop=crop), at, target, method)
        noise, reached = prices[found.probability]
        return Candidate(
            law, size, crop, found.probability, reached, noise,
            math.prod(size) / math.prod(found.worst_image), diversity(found.worst_image, crop),
            roomy,
        )  # fmt: skip

    rows = []
    if isinstance(plan.crop, RandomCrop | GridCrop):
        rows.append(candidate("planned", plan.crop, plan.crop.size, False))
    for size, roomy in _steps(images, least, most, plan.patch, share):
        best = best_crop(plan.image, size, patch=plan.patch)
        rows += [candidate(name, make(best), size, roomy) for name, make in makers]
    return Design(tuple(rows), at, target)


def _price(
    plan: TrainingPlan, delta: Fraction, target: float | None, method: Method
) -> tuple[float, float]:
    """Noise multiplier, and the epsilon that is certified for it."""
    if target is None:
        return plan.noise_multiplier, plan.epsilon(delta, method=method)
    start = plan if plan.noise_multiplier > 0 else plan.replace(noise_multiplier=1.0)
    solved = start.solve("noise_multiplier", epsilon=target, delta=delta, method=method)
    return solved.noise_multiplier, target


def _law(name: str, axes: int) -> Callable[[GridCrop], Crop]:
    """How to make the crop of that name of a window, from the best crop of it."""
    kind, _, value = name.partition(":") if isinstance(name, str) else ("", "", "")
    if name == "uniform":
        return lambda best: RandomCrop(best.size)
    if name == "best":
        return lambda best: best
    if kind == "axis" and value.isdecimal() and int(value) < axes:
        only = int(value)
        return lambda best: GridCrop(
            best.size,
            stride=tuple(s if k == only else 1 for k, s in enumerate(best.stride)),
            jitter="full",
        )
    if kind == "mixture":
        share = _share(value)
        if share is not None:
            return lambda best: ChoiceCrop((best, RandomCrop(best.size)), (1 - share, share))
    raise ValueError(
        f"laws must be 'uniform', 'best', 'axis:K' with an axis below {axes}, or 'mixture:SHARE' "
        f"with the share of the uniform crop strictly between 0 and 1, got {name!r}"
    )


def _share(text: str) -> Fraction | None:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    return share if 0 < share < 1 else None


def _steps(
    images: Sequence[Size], least: Size, most: Size, patch: Patch, room: float
) -> list[tuple[Size, bool]]:
    """Windows of the shape of `least` at the ends of the staircase, and those with room."""
    afford(0, f"windows of {most[0]:,} lengths", "use a smaller max_crop", work=most[0] * 9 * STEP)
    steps: dict[int, dict[bool, Size]] = {}
    for length in range(least[0], most[0] + 1):
        size = tuple(n * length // least[0] for n in least)
        if any(n > limit for n, limit in zip(size, most, strict=True)):
            break
        grid = GridCrop(
            size,
            stride=tuple(h + w - 1 for h, w in zip(size, patch.shape(len(size)), strict=True)),
            jitter="full",
        )
        tiles = min(grid.tiles(image) for image in images)
        found = steps.setdefault(tiles, {})
        # The last one of each kind stays: windows grow.
        found[False] = size
        if all(
            shift >= room * n
            for image in images
            for shift, n in zip(grid.jitters(image), size, strict=True)
        ):
            found[True] = size
    rows = []
    for tiles in sorted(steps, reverse=True):
        end, roomy = steps[tiles][False], steps[tiles].get(True)
        if roomy is not None:
            rows.append((roomy, True))
        if end != roomy:
            rows.append((end, False))
    return rows
