"""The figures of a report, as SVG text that takes its colours from the page.

matplotlib draws in stand-in colours; they are replaced by CSS variables, so that one figure serves
a light page, a dark one and paper. Needs the extra `report`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from patchdp.geometry import PatchUnion, inclusion_map
from patchdp.geometry.sizes import spelled
from patchdp.plan import TrainingPlan
from patchdp.report.statement import Statement

__all__ = ["figures"]

Array = npt.NDArray[np.float64]

# Stand-ins that no colour map produces by accident: they occur in strokes and fills only.
_COLOURS = {
    "#010203": "var(--ink)",
    "#020304": "var(--line)",
    "#030405": "var(--patch)",
    "#040506": "var(--image)",
}
_INK, _LINE, _PATCH, _IMAGE = _COLOURS
# Inches; a phone shows it at about its own size.
_SIZE = (4.6, 3.1)
_LARGEST_MAP = 400


@contextmanager
def _axes(name: str, drawn: dict[str, str]) -> Iterator[Any]:
    """Axes to draw on; what was drawn lands in `drawn` under `name`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look = {
        "svg.hashsalt": name,
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _LINE,
        "xtick.color": _LINE,
        "ytick.color": _LINE,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "axes.grid": True,
        "grid.color": _LINE,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=_SIZE, layout="constrained")
        yield figure.subplots()
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn[name] = _inline(text.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """An element for a page: no prologue, ids of its own, colours of the page."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'^(<svg\b[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'^(<svg\b[^>]*?) height="[^"]*"', r"\1", svg)
    for stand_in, variable in _COLOURS.items():
        svg = svg.replace(stand_in, variable)
    # The page says what the figure shows; to a screen reader the drawing itself is silent.
    return svg.replace("<svg", '<svg aria-hidden="true"', 1)


def figures(found: Statement) -> dict[str, str]:
    """SVG elements by name: `profile`, `tradeoff`, and `map` where the patch has several places.

    Raises:
      ImportError: matplotlib is not installed.
    """
    drawn: dict[str, str] = {}
    if np.isfinite(found.bounds.upper):
        _profile(found, drawn)
    _tradeoff(found, drawn)
    _map(found.plans[0], drawn)
    return drawn


def _profile(found: Statement, drawn: dict[str, str]) -> None:
    with _axes("profile", drawn) as axes:
        axes.semilogy(*_positive(found.profile), color=_PATCH, label="patch")
        axes.semilogy(*_positive(found.image_profile), color=_IMAGE, ls="--", label="whole image")
        axes.axhline(found.delta, color=_INK, lw=0.8, ls=":")
        axes.plot([found.bounds.upper], [found.delta], "o", color=_PATCH, ms=5)
        axes.set(xlabel="ε", ylabel="δ", xlim=(0, found.profile.epsilon[-1]))
        axes.set_ylim(max(float(found.profile.delta.min()), found.delta * 1e-3) / 2, 2.0)
        axes.legend(loc="lower left")


def _positive(curve: tuple[Array, Array]) -> tuple[Array, Array]:
    x, y = curve
    return x[y > 0], y[y > 0]


def _tradeoff(found: Statement, drawn: dict[str, str]) -> None:
    with _axes("tradeoff", drawn) as axes:
        axes.plot([0, 1], [1, 0], color=_INK, lw=0.8, ls=":", label="guessing")
        axes.plot(*found.tradeoff, color=_PATCH, label="patch")
        axes.plot(*found.image_tradeoff, color=_IMAGE, ls="--", label="whole image")
        axes.set(xlabel="false-positive rate", ylabel="least false-negative rate")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="upper right")


def _map(plan: TrainingPlan, drawn: dict[str, str]) -> None:
    image, patch = plan.inclusion.worst_image, plan.patch
    if isinstance(patch, PatchUnion) or patch.at is not None:
        return
    values = inclusion_map(image, plan.crop, patch)
    start = [0] * len(image) if patch.within is None else [low for low, _ in patch.within]
    with _axes("map", drawn) as axes:
        if values.ndim == 1:
            axes.step(start[0] + np.arange(len(values)), values, color=_PATCH, where="mid")
            axes.set(xlabel="first pixel of the patch", ylabel="inclusion probability")
            axes.set_ylim(0, min(1.0, 1.1 * float(values.max())) or 1.0)
            return
        # The largest over leading axes (frames, slices), in cells of at most a few hundred.
        flat = values.max(axis=tuple(range(values.ndim - 2)))
        cells = _coarse(flat)
        top, left = start[-2] - 0.5, start[-1] - 0.5
        extent = (left, left + flat.shape[1], top + flat.shape[0], top)
        shown = axes.imshow(cells, cmap="viridis", vmin=0, extent=extent, interpolation="nearest")
        axes.grid(False)
        axes.set(xlabel=f"first corner of the patch in an image {spelled(image)}")
        bar = axes.figure.colorbar(shown, ax=axes, location="bottom", fraction=0.06)
        bar.outline.set_visible(False)


def _coarse(values: Array) -> Array:
    """The largest value of each cell, with at most a few hundred cells along an axis."""
    for axis in range(2):
        step = -(-values.shape[axis] // _LARGEST_MAP)
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
    return values
