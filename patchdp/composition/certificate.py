"""The one noun for an answer: a number, what proved it, and how sharp it is.

>>> answer = Certificate(3.66, 3.73, delta=1e-5, prover="exact", tight=True)
>>> answer.upper, answer.prover
(3.73, 'exact')
"""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["Certificate", "Refused"]

_MEANINGS: dict[str, str] = {
    "closed form": "closed form of one step, or of Gaussian steps",
    "exact": "inversion of the transform, with its error bar",
    "grid": "masses on a grid, rounded up and down",
    "coins": "hits revealed: quick, and close where there is little noise",
    "moments": "moments of the loss: quick, and valid for any number of steps",
    "pld": "Google's PLD engine, its rounding added",
    "optimal": "the best adaptive adversary",
    "group privacy": "a chain of neighbours, from the epsilon of a single image",
}


class Refused(ValueError):
    """A prover declines a question that another one answers; the message names the answer."""


@dataclass(frozen=True)
class Certificate:
    """A certified epsilon at one delta.

    >>> Certificate(None, 3.73, delta=1e-5, prover="grid", tight=True)
    Certificate(lower=None, upper=3.73, delta=1e-05, prover='grid', tight=True, note='')

    Args:
      lower: What a known execution attains: no valid analysis of the same training is below it.
        None where none is known.
      upper: The certified epsilon, never below the exact value of the analysis.
      delta: The delta of both.
      prover: What proved `upper`.
      tight: Whether `upper` is within the tolerance of the exact value of the analysis.
      note: Why there is no lower bound, or why `upper` is not tight; empty where nothing is
        missing.
    """

    lower: float | None
    upper: float
    delta: float
    prover: str
    tight: bool
    note: str = ""

    def __str__(self) -> str:
        lower = "" if self.lower is None else f", at least {self.lower:.6g} for any analysis"
        loose = "" if self.tight else "; not tight"
        note = f" ({self.note})" if self.note else ""
        return f"epsilon {self.upper:.6g} at delta {self.delta:g}{lower}{loose}{note}"

    def _repr_html_(self) -> str:
        lower = "none known" if self.lower is None else f"{self.lower:.6g}"
        rows = [
            ("epsilon (certified)", f"{self.upper:.6g}"),
            ("attained", lower),
            ("delta", f"{self.delta:g}"),
            ("proved by", f"{self.prover}: {_MEANINGS.get(self.prover, '')}".rstrip(": ")),
            ("tight", "yes" if self.tight else "no"),
            *([("note", self.note)] if self.note else []),
        ]
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        return f"<table>{cells}</table>"
