"""Tokens of a crop that a vision transformer drops: a patch in none of the others is not seen.

>>> from patchdp.geometry import Patch, RandomCrop, TokenDrop, inclusion
>>> crop = TokenDrop(RandomCrop((32, 32)), token=4, drop=0.5)
>>> inclusion((64, 64), crop, Patch((4, 4))).probability
Fraction(105901, 132858)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from patchdp._budget import STEP, afford
from patchdp._checks import count, share, shown
from patchdp.geometry.crop import Crop, same_axes
from patchdp.geometry.law import WindowLaw
from patchdp.geometry.sizes import Size, as_size, as_tuple, spelled
from patchdp.geometry.windows import CountedLaw, Counts, Windows

__all__ = ["TokenDrop"]

# Crops of more tokens than this have probabilities in floating point, rounded up.
_MOST_FRACTIONS = 1 << 10


@dataclass(frozen=True)
class TouchedTokens(CountedLaw):
    """Outcomes in which at least so many of a window's tokens along one axis touch the interval.

    Args:
        windows: the windows.
        token: pixels of a token; the window's length is a multiple of it.
        least: how many tokens must be touched, at least 1.
    """

    windows: Windows
    token: int
    least: int

    @property
    def total(self) -> int:  # type: ignore[override]
        """Number of windows."""
        return self.windows.total

    def hits_at(self, starts: Counts, stops: Counts) -> Counts:
        counts = np.zeros(starts.shape, dtype=np.int64)
        width = stops - starts
        for size in np.unique(width):
            same = width == size
            counts[same] = self._hits_of_width(int(size), starts[same])
        return counts

    def _hits_of_width(self, size: int, starts: Counts) -> Counts:
        # Where the interval starts in the window decides how many tokens it touches.
        length = self.windows.length
        inside = np.arange(1 - size, length, dtype=np.int64)
        first, last = np.maximum(inside, 0), np.minimum(inside + size, length) - 1
        enough = last // self.token - first // self.token + 1 >= self.least
        # Windows whose first pixel is at `start - inside`, for runs of `inside` that are enough.
        edges = np.flatnonzero(np.diff(np.concatenate([[0], enough.astype(np.int64), [0]])))
        counts = np.zeros(starts.shape, dtype=np.int64)
        for begin, end in edges.reshape(-1, 2):
            low, high = inside[begin], inside[end - 1]
            counts += self.windows.starts_up_to(starts - low)
            counts -= self.windows.starts_up_to(starts - high - 1)
        return counts


@dataclass(frozen=True, repr=False)
class TokenDrop(Crop):
    """A crop that is cut into tokens of which only some, drawn uniformly, enter the model.

    >>> from patchdp.geometry import RandomCrop
    >>> TokenDrop(RandomCrop((224, 224)), token=16, drop=0.5)
    TokenDrop(RandomCrop((224, 224)), token=16, drop=0.5)

    Of the `L` tokens of a crop `max(1, int(L * (1 - drop)))` are kept, drawn for each image: what
    timm's `PatchDropout` does. That is sound only where nothing but the kept tokens enters the
    loss: masked autoencoders and their kin reconstruct the others.

    Args:
        crop: a single window of known size that is not resized afterwards: `RandomCrop` with
            constant padding, `CenterCrop`, `GridCrop`, `WholeImage`, ...
        token: pixels of a token along each axis; tokens do not overlap. One number, or one an axis.
        drop: share of the tokens that is dropped, at least 0 and below 1.

    Raises:
        ValueError: another crop, a share out of range; on use, tokens that do not fill the crop.

    Source: `docs/theory/windows.md`, "Dropped tokens" (Theorem 42).
    """

    crop: Crop
    token: int | Size = field(kw_only=True)
    drop: float = field(kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.crop, Crop):
            raise ValueError(f"crop must be a crop, got {shown(self.crop)}")
        several = as_tuple(self.token) is not None
        token = as_size("token", self.token) if several else count("token", self.token)
        object.__setattr__(self, "token", token)
        drop = float(share("drop", self.drop))
        if drop == 1:
            raise ValueError("drop must be below 1, got 1: no token would be kept")
        object.__setattr__(self, "drop", drop)

    def kept(self, tokens: int) -> int:
        """How many of so many tokens enter the model."""
        return max(1, int(tokens * (1.0 - self.drop)))

    def laws(self, image: Size) -> tuple[WindowLaw, ...]:
        found = self.crop.laws(image)
        whole = [law for law in found[0].axes if len(law) == 1 and isinstance(law[0], Windows)]
        if (
            len(found) > 1
            or len(found[0].weights) > 1
            or found[0].weights[0] != 1
            or len(whole) < len(image)
            or self.crop.combine([0.25]) != 0.25
        ):
            raise ValueError(
                f"TokenDrop follows a crop that is a single window of known size, got {self.crop!r}"
            )
        windows = [law[0] for law in whole if isinstance(law[0], Windows)]
        lengths = tuple(law.length for law in windows)
        token = (self.token,) * len(image) if isinstance(self.token, int) else self.token
        same_axes(token, image)
        if any(n % t for n, t in zip(lengths, token, strict=True)):
            raise ValueError(
                f"tokens of {spelled(token)} pixels do not fill the crop {spelled(lengths)}; "
                "the crop must be a multiple of the token"
            )
        return (_law(windows, token, self.kept),)

    def __repr__(self) -> str:
        return f"TokenDrop({self.crop!r}, token={self.token!r}, drop={self.drop!r})"


def _law(windows: Sequence[Windows], token: Size, kept: Callable[[int], int]) -> WindowLaw:
    """The chance that a kept token is touched, as a sum over "at least `i` by at least `j`".

    With `n` touched tokens it is `g(n) = 1 - C(L - n, K) / C(L, K)`; `g` of the product of the
    axes' numbers is the sum of its mixed differences.
    """
    sides = [law.length // t for law, t in zip(windows, token, strict=True)]
    tokens = math.prod(sides)
    # Each number of tokens has a sum of binomial coefficients with as many digits.
    work = tokens * 2 ** len(sides) * (STEP + tokens)
    afford(0, f"a crop of {tokens:,} tokens", "use larger tokens", work=work)
    left = kept(tokens)
    # An interval may be as long as the window: every number of tokens can be touched.
    ways = math.comb(tokens, left)
    memory: dict[int, Fraction] = {}

    def seen(touched: int) -> Fraction:
        if touched not in memory:
            memory[touched] = 1 - Fraction(math.comb(tokens - touched, left), ways)
        return memory[touched]

    parts: list[tuple[Fraction, list[TouchedTokens]]] = []
    for least in itertools.product(*(range(1, side + 1) for side in sides)):
        weight = Fraction(0)
        for steps in itertools.product((0, 1), repeat=len(least)):
            corner = math.prod(n - s for n, s in zip(least, steps, strict=True))
            weight += (-1) ** sum(steps) * seen(corner)
        if weight:
            laws = zip(windows, token, least, strict=True)
            parts.append((weight, [TouchedTokens(w, t, n) for w, t, n in laws]))
    if len(parts) > _MOST_FRACTIONS:
        return WindowLaw.mixture(parts, monotone=False)
    axes = tuple(
        tuple(TouchedTokens(law, t, n + 1) for n in range(side))
        for law, t, side in zip(windows, token, sides, strict=True)
    )
    index = [[law.least - 1 for law in laws] for _, laws in parts]
    weights = tuple(weight for weight, _ in parts)
    return WindowLaw(axes, np.array(index, dtype=np.int64), weights, monotone=False)
