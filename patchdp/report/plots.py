"""Pictures of a crop, of epsilon over the image, and of annotated objects (the extra `plot`).

Drawn without a display, through matplotlib's own canvas.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp.geometry import Crop, Inclusion, PatchUnion
from patchdp.geometry.patch import PrivatePatch
from patchdp.geometry.sizes import Size, spelled
from patchdp.geometry.windows import AxisWindows

__all__ = ["plot_annotations", "plot_epsilons", "plot_inclusion"]

Floats = npt.NDArray[np.float64]

_SAMPLES = 4
_CURVES = 7


def plot_inclusion(
    path: str | os.PathLike[str],
    *,
    found: Inclusion,
    crop: Crop,
    patch: PrivatePatch,
    values: Floats,
    start: Size,
) -> None:
    """The inclusion probability over the image, the worst patch, and a few sampled crops.

    Args:
      path: Where the picture goes; its ending is the format.
      found: The worst case; its image is drawn.
      crop: The crop.
      patch: What is private.
      values: `inclusion_map` of that image.
      start: First corner that `values` begin with.

    Raises:
      ValueError: An image that does not have two axes, or an ending that matplotlib cannot write.
      ImportError: matplotlib is not installed.
    """
    figure, axes = _canvas(found.worst_image)
    _heat(
        figure, axes, values, patch=patch, start=start, image=found.worst_image,
        label="inclusion probability, at the patch's centre", colours="viridis",
    )  # fmt: skip
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for number, (top, left, height, width) in enumerate(_sampled(crop, found.worst_image)):
        axes.add_patch(
            Rectangle(
                (left, top), width, height, fill=False, linestyle="--", linewidth=1.2,
                edgecolor="white", label="crops, drawn at random" if number == 0 else None,
                path_effects=[withStroke(linewidth=2.4, foreground="black", alpha=0.6)],
            )
        )  # fmt: skip
    _worst(axes, found, patch)
    axes.set_title(
        f"image {spelled(found.worst_image)}, worst patch: p = {float(found.probability):.4g}"
    )
    _save(figure, axes, path)


def plot_epsilons(
    path: str | os.PathLike[str],
    *,
    found: Inclusion,
    patch: PrivatePatch,
    values: Floats,
    start: Size,
    delta: float,
) -> None:
    """A certified epsilon at every place of the patch, drawn at the patch's centre.

    Args:
      path: Where the picture goes; its ending is the format.
      found: The worst case; its image is drawn.
      patch: What is private.
      values: Epsilons, one for every first corner of the patch.
      start: First corner that `values` begin with.
      delta: At which they hold.

    Raises:
      ValueError: An image that does not have two axes, or an ending that matplotlib cannot write.
      ImportError: matplotlib is not installed.
    """
    figure, axes = _canvas(found.worst_image)
    _heat(
        figure, axes, values, patch=patch, start=start, image=found.worst_image,
        label=f"certified epsilon, at the patch's centre (delta {delta:g})", colours="magma",
    )  # fmt: skip
    _worst(axes, found, patch)
    largest = float(values.max())
    axes.set_title(f"epsilon by the place of the patch: at most {_rounded_up(largest)}")
    _save(figure, axes, path)


def plot_annotations(
    path: str | os.PathLike[str],
    probabilities: Floats,
    epsilons: Floats | None,
    members: Mapping[str, npt.NDArray[np.bool_]],
    *,
    target: float | None = None,
) -> None:
    """The share of annotated objects up to each epsilon (or probability), per category.

    Args:
      path: Where the picture goes; its ending is the format.
      probabilities: Shape `(n,)`.
      epsilons: Shape `(n,)`; None for probabilities alone.
      members: For each category which objects belong to it; the largest are drawn.
      target: An epsilon to mark.

    Raises:
      ValueError: An ending that matplotlib cannot write.
      ImportError: matplotlib is not installed.
    """
    figure = _figure()((8, 5))
    axes = figure.add_subplot()
    values = probabilities if epsilons is None else epsilons
    values = np.where(np.isfinite(values), values, np.nan)
    largest = sorted(members, key=lambda name: -int(members[name].sum()))
    drawn = largest[:_CURVES]
    if len(members) > 1:
        for name in drawn:
            _curve(axes, values[members[name]], f"{name} ({int(members[name].sum())})", 1.4)
    _curve(axes, values, f"all ({len(values)})", 2.4, color="black")
    if target is not None and epsilons is not None:
        share = float((epsilons <= target).mean())
        axes.axvline(
            target, color="tab:red", linestyle=":", label=f"target {target:g}: {share:.1%}"
        )
    axes.set_xlabel("inclusion probability" if epsilons is None else "epsilon (certified)")
    axes.set_ylabel("share of objects")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    hidden = len(members) - len(drawn)
    axes.set_title(
        "annotated objects" + (f"; {hidden} smaller categories not drawn" if hidden > 0 else "")
    )
    axes.legend(loc="lower right", fontsize=8)
    _write(figure, path)


def _curve(axes: Any, values: Floats, label: str, width: float, **style: Any) -> None:
    ordered = np.sort(values)  # not a number, that is infinity, comes last: the curve ends below 1
    shares = np.arange(1, len(ordered) + 1) / len(ordered)
    x, y = np.concatenate([[0.0], ordered]), np.concatenate([[0.0], shares])
    if len(x) > 4000:
        kept = np.unique(np.linspace(0, len(x) - 1, 4000).astype(int))
        x, y = x[kept], y[kept]
    axes.step(x, y, where="post", label=label, linewidth=width, **style)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'patchdp[plot]'") from None
    return lambda size: Figure(figsize=size, dpi=150, layout="constrained")


def _canvas(image: Size) -> tuple[Any, Any]:
    if len(image) != 2:
        raise ValueError(f"a picture needs an image of two axes, got {spelled(image)}")
    height, width = image
    # Very long images are drawn out of proportion rather than as a line.
    ratio = min(max(height / width, 0.35), 1.6)
    figure = _figure()((8.0, 8.0 * ratio * 0.85 + 1.0))
    axes = figure.add_subplot()
    axes.set_aspect("equal" if 0.2 < height / width < 3 else "auto")
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    return figure, axes


def _heat(
    figure: Any, axes: Any, values: Floats, *, patch: PrivatePatch, start: Size, image: Size,
    label: str, colours: str,
) -> None:  # fmt: skip
    from matplotlib.patches import Rectangle

    height, width = image
    finite = np.where(np.isfinite(values), values, np.nan)
    shape = _shape(patch)
    # Each place is drawn at the centre of its patch.
    top, left = (s + n / 2 - 0.5 for s, n in zip(start, shape, strict=True))
    rows, columns = values.shape
    aspect = axes.get_aspect()
    picture = axes.imshow(
        finite, extent=(left, left + columns, top + rows, top), cmap=colours, vmin=0.0,
        interpolation="nearest", aspect=aspect,
    )  # fmt: skip
    axes.add_patch(
        Rectangle((0, 0), width, height, fill=False, edgecolor="black", linewidth=2, label="image")
    )
    figure.colorbar(picture, ax=axes, label=label, shrink=0.8)
    axes.set_facecolor("0.9")


def _worst(axes: Any, found: Inclusion, patch: PrivatePatch) -> None:
    from matplotlib.patches import Rectangle

    if found.worst_position is None:
        return
    (top, left), (height, width) = found.worst_position, _shape(patch)
    axes.add_patch(
        Rectangle(
            (left, top), width, height, fill=False, edgecolor="red", linewidth=1.8,
            label="a worst patch",
        )
    )  # fmt: skip


def _shape(patch: PrivatePatch) -> Size:
    return (patch.placed(2) if isinstance(patch, PatchUnion) else patch).shape(2)


def _sampled(crop: Crop, image: Size) -> list[tuple[int, int, int, int]]:
    """Windows as (top, left, height, width), where the crop is a mixture of plain windows."""
    random = np.random.default_rng(0)
    law = crop.laws(image)[0]
    weights = np.array([float(w) for w in law.weights])
    windows = []
    for _ in range(_SAMPLES):
        component = law.index[random.choice(len(weights), p=weights / weights.sum())]
        parts = [law.axes[axis][k] for axis, k in enumerate(component)]
        if not all(isinstance(part, AxisWindows) for part in parts):
            return []
        (top, height), (left, width) = [
            (int(random.integers(part.first, part.last + 1)), part.length)
            for part in parts
            if isinstance(part, AxisWindows)
        ]
        windows.append((top, left, height, width))
    return windows


def _save(figure: Any, axes: Any, path: str | os.PathLike[str]) -> None:
    axes.autoscale_view()
    axes.margins(0.03)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, high), min(low, high))  # row 0 at the top
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, facecolor="0.75")
    _write(figure, path)


def _write(figure: Any, path: str | os.PathLike[str]) -> None:
    ending = Path(path).suffix.lower().removeprefix(".")
    allowed = figure.canvas.get_supported_filetypes()
    if ending not in allowed:
        raise ValueError(f"a picture is written to .png, .pdf or .svg, got {str(path)!r}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _rounded_up(value: float) -> str:
    if not math.isfinite(value):
        return "infinity"
    digits = 3 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{math.ceil(value * 10**digits) / 10**digits:g}"
