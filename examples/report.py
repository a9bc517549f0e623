"""The table that both examples print: paired differences with their confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["paired_table"]


def paired_table(
    results: Iterable[Mapping[str, Any]], *, measure: str, noises: Mapping[tuple[str, float], float]
) -> str:
    """One row per model and epsilon: both levels with their spread, difference with its interval.

    Args:
      results: One mapping per training with model, level ("image" or "patch"), epsilon, seed and
        the measure.
      measure: The key of the measure; printed in per cent.
      noises: Noise multiplier of each (level, epsilon).
    """
    values = {(r["model"], r["epsilon"], r["level"], r["seed"]): 100 * r[measure] for r in results}
    lines = [
        f"{measure} in per cent: mean and standard deviation over seeds; noise multipliers in",
        "brackets; difference (patch - image) of paired seeds with 95% confidence interval",
        "",
        f"{'model':<12}{'epsilon':>8}{'image-level':>22}{'patch-level':>22}{'difference':>24}",
    ]
    for model, epsilon in dict.fromkeys(key[:2] for key in sorted(values)):
        seeds = sorted(key[3] for key in values if key[:3] == (model, epsilon, "image"))
        levels = {
            level: np.array([values[model, epsilon, level, seed] for seed in seeds])
            for level in ("image", "patch")
        }
        cells = [
            f"{v.mean():5.2f} ± {v.std(ddof=1):4.2f} ({noises[level, epsilon]:.3f})"
            for level, v in levels.items()
        ]
        gain = levels["patch"] - levels["image"]
        half = stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain)
        interval = f"{gain.mean():+.2f} [{gain.mean() - half:+.2f}, {gain.mean() + half:+.2f}]"
        lines.append(f"{model:<12}{epsilon:>8g}{cells[0]:>22}{cells[1]:>22}{interval:>24}")
    return "\n".join(lines)
