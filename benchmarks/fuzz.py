"""Hostile numbers through every public name: an answer or one sentence, within the budget.

Plans and questions are drawn as Python expressions: numpy's types, fractions, booleans, huge and
tiny values, and what is no number at all. Each is evaluated with warnings as errors. It fails by an
exception other than `ValueError`, a message of several lines or of the interpreter's own words, a
warning, a number that is none (NaN), a type of numpy that was stored, or by taking more than the
budget of one question: 5 processor seconds and 2 GiB of memory. Failures are printed as what
reproduces them.

    python -m benchmarks fuzz [--minutes 5] [--seed 1] [--json fuzz.json]

Minutes are of processor time: so are the figures comparable on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from benchmarks._expressions import Draw

__all__ = ["examine", "main"]

SECONDS, GIB = 5.0, 1 << 30
MEMORY = 2 * GIB
# Of the time, on questions that compose; the rest on plans and on counting windows.
_COSTLY = 0.25
# No longer than this is waited for a process that does not come back.
_LOST = 120.0
KINDS = ("traceback", "message", "warning", "nan", "foreign", "budget")
# Words of an interpreter or a library in place of ours.
_NOT_OURS = (
    "too large to convert", "cannot convert", "Maximum allowed size", "setting an array element",
    "Exceeds the limit", "broadcast", "invalid literal", "could not convert", "math domain error",
    "ambiguous", "not supported between", "array is too big", "allow_pickle", "division by zero",
    "zero-size array", "NaN", "Infinity", "high is out of bounds",
)  # fmt: skip


class _OverBudget(BaseException):
    """Raised by the timer in the middle of a question."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _OverBudget


@functools.cache
def _names() -> dict[str, Any]:
    """What expressions may name."""
    from dp_accounting import dp_event
    from dp_accounting.pld.privacy_loss_distribution import from_randomized_response

    import patchdp as pdp
    from patchdp import geometry, step
    from patchdp.cli import main as shell_main
    from patchdp.interop.dp_accounting import PatchPrivacyAccountant, RandomCropDpEvent
    from patchdp.objects import box_probabilities, epsilons_at

    def accountant(crop: Any, rate: Any, noise: Any, count: Any, delta: Any) -> float:
        leaf = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise))
        event = RandomCropDpEvent(crop, dp_event.SelfComposedDpEvent(leaf, count))
        found = PatchPrivacyAccountant()
        details = found._maybe_compose(event, 1, True)
        if details is not None:
            raise ValueError(details.error_message)
        return found.get_epsilon(delta)

    def shell(words: list[str]) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                shell_main(words)
            except SystemExit as stop:
                if stop.code == 2:
                    raise ValueError(err.getvalue().strip()) from None
        if "nan" in out.getvalue().lower():
            raise ArithmeticError("nan was printed")
        return out.getvalue()

    return {
        "pdp": pdp, "np": np, "Fraction": Fraction, "Decimal": Decimal, "geometry": geometry,
        "step": step, "box_probabilities": box_probabilities, "epsilons_at": epsilons_at,
        "accountant": accountant, "shell": shell,
        "one_step": from_randomized_response(0.5, 2, value_discretization_interval=1e-2),
    }  # fmt: skip


def _faulty(value: Any, stored: bool = False) -> str | None:
    """Whether a result holds NaN, or a plan something of numpy."""
    if isinstance(value, float | np.ndarray | np.floating):
        if stored and type(value).__module__ == "numpy":
            return "foreign"
        kind = np.asarray(value).dtype.kind
        return "nan" if kind == "f" and bool(np.isnan(value).any()) else None
    if stored and isinstance(value, np.generic):
        return "foreign"
    if isinstance(value, dict):
        value = tuple(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        stored = type(value).__name__ not in ("Sweep",)
        value = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    if isinstance(value, tuple | list):
        found = (_faulty(entry, stored) for entry in value)
        return next((fault for fault in found if fault), None)
    return None


def _said(message: str) -> str | None:
    """Whether a refusal is more or less than one sentence of ours."""
    ours = bool(message) and "\n" not in message and len(message) < 400
    return None if ours and not any(words in message for words in _NOT_OURS) else "message"


def examine(expression: str) -> tuple[str, str]:
    """`"answer"`, `"refusal"` or a kind of failure, and what was said.

    >>> examine("pdp.Poisson(sampling_probability=2)")[0], examine("pdp.Disk(1)")[0]
    ('refusal', 'answer')
    """
    start = time.process_time()
    outcome, text = "answer", ""
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, 1.1 * SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = eval(expression, dict(_names()))
            repr(result)
            outcome = _faulty(result) or "answer"
    except ValueError as error:
        outcome, text = _said(str(error)) or "refusal", str(error)
    except Warning as error:
        outcome, text = "warning", repr(error)
    except (MemoryError, _OverBudget) as error:
        outcome, text = "budget", repr(error)
    except Exception as error:
        outcome, text = "traceback", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    spent = time.process_time() - start
    if spent > SECONDS:
        outcome, text = "budget", f"{spent:.1f} s, {outcome} {text}"
    return outcome, text[:300]


def fuzz(seed: int, first: int, *, seconds: float, note: Path) -> None:
    """Examine expressions for some processor time and print what became of them, as JSON lines.

    The one at hand is noted in a file: a process that is lost tells nothing more.
    """
    _names()
    begin = time.process_time()
    spent = 0.0
    counts: Counter[str] = Counter()
    index = first
    with note.open("w") as now:
        while time.process_time() - begin < seconds:
            costly = index % 4 == 0 and spent < _COSTLY * (time.process_time() - begin)
            expression = Draw(seed, index).expression(costly=costly)
            now.seek(0)
            now.truncate()
            now.write(json.dumps([index, expression]))
            now.flush()
            start = time.process_time()
            outcome, said = examine(expression)
            spent += (time.process_time() - start) if costly else 0.0
            counts[outcome] += 1
            if outcome in KINDS:
                found = {"kind": outcome, "expression": expression, "said": said}
                print(json.dumps(found), flush=True)
            index += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"counts": counts, "next": index, "peak_mib": peak}), flush=True)


def _child(seed: int, first: int, seconds: float, note: Path) -> tuple[list[dict[str, Any]], int]:
    """One process, until its time is over or it is lost: failures, and where to go on."""

    task = json.dumps({"seed": seed, "first": first, "seconds": seconds, "note": str(note)})
    with tempfile.TemporaryFile("w+") as lines:
        child = subprocess.Popen([sys.executable, "-m", "benchmarks.fuzz", task], stdout=lines)
        seen, since = "", time.monotonic()
        while child.poll() is None:
            time.sleep(0.2)
            now = note.read_text() if note.exists() else ""
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _LOST:
                child.kill()
        lines.seek(0)
        found = [json.loads(line) for line in lines.read().splitlines() if line.endswith("}")]
    if found and "counts" in found[-1]:
        return found, int(found[-1]["next"])
    last, expression = json.loads(seen) if seen else (first, "nothing")
    found.append({"kind": "budget", "expression": expression, "said": "did not come back"})
    found.append({"counts": {"budget": 1}, "next": last + 1})
    return found, last + 1


def main() -> int:
    """Print every failure and how much of what was seen."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    left, index = 60 * options.minutes, 0
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        while left > 0:
            # A process a minute: what one leaves in memory is not another's.
            found, index = _child(options.seed, index, min(left, 60.0), Path(folder) / "now")
            left -= 60.0
            counts.update(found[-1]["counts"])
            for failure in found[:-1]:
                failures.append(failure)
                print(
                    f"{failure['kind']}: {failure['expression']}\n    {failure['said']}", flush=True
                )
    tried = sum(counts.values())
    print(f"\n{tried} plans and questions (seed {options.seed}), budget {SECONDS:g} s and "
          f"{MEMORY / GIB:g} GiB each")  # fmt: skip
    for name in ("answer", "refusal", *KINDS):
        print(f"  {name:10s} {counts[name]:8d}")
    if options.json:
        figures = {"seed": options.seed, "tried": tried, "counts": counts, "failures": failures}
        Path(options.json).write_text(json.dumps(figures, indent=1))
    return int(bool(failures))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + GIB, MEMORY + GIB))
    given = json.loads(sys.argv[1])
    fuzz(given["seed"], given["first"], seconds=given["seconds"], note=Path(given["note"]))
