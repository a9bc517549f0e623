"""The most dangerous one-line mistakes, made on purpose: does the test suite notice each of them?

Every mutation replaces one line of patchdp in a temporary copy of the tree (never in the checkout)
and runs the tests that should see it. First the same tests run on an unchanged copy: a test that
fails anyway catches nothing. A mutation counts as caught only if a test *fails*; an import error, a
time-out or a test run that breaks does not count.

    python -m benchmarks mutations [--jobs 2] [--only ROUNDING] [--timeout 240]

Exit status 1 if any mutation survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """One wrong line: `old`, which occurs once in `file`, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


PROFILE = "tests/step/test_profile.py"
TRADEOFF = "tests/composition/conversions/test_tradeoff.py"
HITS = "tests/geometry/test_hits.py"
CAUGHT = "tests/test_mutations_caught.py"
BARS = "tests/composition/transform/test_bar.py"
GROUP = "tests/test_group.py"
MASSES = "tests/composition/grid/test_masses.py"
FFT = "tests/composition/grid/test_fft.py"
CLOSED = "tests/composition/test_closed_form.py"
OPTIMAL = "tests/composition/test_adaptive.py"

MUTATIONS = (
    Mutation(
        "a factor 2 lost in mu: a replacement taken to move the sum by C",
        "step/profile.py",
        'mu = math.nextafter(1 / _checks.positive("noise_multiplier", noise_multiplier), math.inf)',
        'mu = 0.5 / _checks.positive("noise_multiplier", noise_multiplier)',
        (CAUGHT,),
    ),
    Mutation(
        "Poisson: the rate multiplied by p and handed to the image-level formula",
        "step/profile.py",
        "pair = poisson_pair(rate=sampling.probability, inclusion=p, mu=mu)",
        "pair = poisson_pair(rate=sampling.probability * p, inclusion=1.0, mu=mu)",
        (CAUGHT,),
    ),
    Mutation(
        "Poisson: q in place of 1 - q",
        "step/profile.py",
        "out, miss = float(1 - q), float(q * (1 - p))",
        "out, miss = float(q), float(q * (1 - p))",
        (f"{PROFILE}::test_poisson_profile_has_ten_digits_in_every_regime",),
    ),
    Mutation(
        "the two directions swapped: delta(-eps) without e^-eps",
        "step/profile.py",
        "left = np.logaddexp(np.log(-np.expm1(-size)), right - size)",
        "left = np.logaddexp(np.log(-np.expm1(-size)), right)",
        (f"{PROFILE}::test_profile_is_a_profile",),
    ),
    Mutation(
        "p in place of p_K: several views counted as one",
        "plan.py",
        "return repeated(self._view_hit_probability, self.views)",
        "return self._view_hit_probability",
        (CAUGHT,),
    ),
    Mutation(
        "views clipped one by one and summed: sensitivity of a single view",
        "step/application.py",
        "weight = Fraction(views if summed else 1)",
        "weight = Fraction(1)",
        (CAUGHT,),
    ),
    Mutation(
        "epochs: floor in place of ceil, one step short",
        "plan.py",
        "return -(-size // batch) * self.epochs",
        "return (size // batch) * self.epochs",
        ("tests/test_plan.py::test_epochs_are_kept_and_counted",),
    ),
    Mutation(
        "bounds rounded to the nearest float in place of up",
        "_checks.py",
        "return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)",
        "return nearest",
        (CAUGHT,),
    ),
    Mutation(
        "log delta rounded the wrong way",
        "guarantee.py",
        "return log_delta - 4e-16 * max(abs(log_delta), 1.0)",
        "return log_delta + 4e-16 * max(abs(log_delta), 1.0)",
        (CAUGHT,),
    ),
    Mutation(
        "advantage read at epsilon 1 in place of 0",
        "guarantee.py",
        "return self.delta(0.0)",
        "return self.delta(1.0)",
        (f"{TRADEOFF}::test_advantage_is_delta_at_zero_and_success_at_even_odds",),
    ),
    Mutation(
        "trade-off curve without delta",
        "composition/conversions/tradeoff.py",
        "first = (1 - d) - grown - 2 * _UNIT",
        "first = 1 - grown - 2 * _UNIT",
        (f"{TRADEOFF}::test_gaussian_curve_in_fifty_digits",),
    ),
    Mutation(
        "solve accepts a certificate above the target",
        "solve.py",
        "if reached <= target:\n            best, met = found, aim",
        "if reached <= target * (1 + goal.slack):\n            best, met = found, aim",
        (CAUGHT,),
    ),
    Mutation(
        "solve rounds the noise down",
        "solve.py",
        'return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.6g}")',
        'return float(f"{math.floor(value / unit * (1 - 1e-12)) * unit:.6g}")',
        (CAUGHT,),
    ),
    Mutation(
        "crop window off by one",
        "geometry/windows.py",
        "return max(0, min(self.last, stop - 1) - max(self.first, start - self.length + 1) + 1)",
        "return max(0, min(self.last, stop - 1) - max(self.first, start - self.length + 1))",
        (f"{HITS}::test_boxes_and_masks_equal_brute_force_as_fractions",),
    ),
    Mutation(
        "padding with the wrong sign",
        "geometry/crop.py",
        "laws.append(AxisWindows(size, -before, last))",
        "laws.append(AxisWindows(size, before, last))",
        (f"{HITS}::test_boxes_and_masks_equal_brute_force_as_fractions",),
    ),
    Mutation(
        "several patches counted as one",
        "geometry/hits.py",
        "exact = min(Fraction(1), patch.count * Fraction(found.probability))",
        "exact = min(Fraction(1), Fraction(found.probability))",
        (CAUGHT,),
    ),
    Mutation(
        "a crop applied sometimes: the whole images forgotten",
        "geometry/views.py",
        "return applied * hit + (1 - applied)\n",
        "return applied * hit\n",
        ("tests/geometry/test_crops.py::test_crop_equals_the_list_of_its_windows",),
    ),
    Mutation(
        "one person in several images: hypergeometric replaced by binomial",
        "step/hit_counts.py",
        "for drawn, share in enumerate(shares(images, batch, size), start=least):",
        "for drawn, share in enumerate(binomial(images, Fraction(batch, size))):",
        (CAUGHT,),
    ),
    Mutation(
        "discretisation: the atom at loss 0 missing",
        "composition/grid/masses.py",
        "zero = np.logaddexp(self.log_atom, self.log_positive[0] + math.log(2.0))",
        "zero = self.log_positive[0] + math.log(2.0)",
        ("tests/composition/grid/test_masses.py",),
    ),
    Mutation(
        "discretisation: mass beyond the grid put at the bottom",
        "composition/grid/masses.py",
        "right.log_above,\n        right.log_below,",
        "right.log_below,\n        right.log_above,",
        ("tests/composition/grid/test_masses.py",),
    ),
    Mutation(
        "discretisation: mirrored half without e^-loss",
        "composition/grid/masses.py",
        "mirrored = self.log_positive - losses",
        "mirrored = self.log_positive - 0.0 * losses",
        ("tests/composition/grid/test_masses.py",),
    ),
    Mutation(
        "tilted composition: mass at infinity dropped",
        "composition/grid/fft.py",
        "log_outside=float(np.logaddexp(window.log_above, log_infinity)) + slack,",
        "log_outside=window.log_above,",
        (CAUGHT,),
    ),
    Mutation(
        "tilted composition: certificate without its rounding bound",
        "composition/grid/composed.py",
        "error = self.error * math.sqrt(float(weights @ weights)) + 1e-120",
        "error = 1e-120",
        (CAUGHT,),
    ),
    Mutation(
        "Google's engine: certificate without its rounding bound",
        "composition/grid/google.py",
        "value = float(found.get_epsilon_for_delta(delta * (1 - 1e-14) - bound))",
        "value = float(found.get_epsilon_for_delta(delta * (1 - 1e-14)))",
        (CAUGHT,),
    ),
    Mutation(
        "exact engine: lower bound returned as upper bound",
        "composition/prove.py",
        "logs[i] = line.log_delta_bounds(run, at)[1]",
        "logs[i] = line.log_delta_bounds(run, at)[0]",
        (CAUGHT,),
    ),
    Mutation(
        "attainable lower bound from the upper bound's law",
        "composition/prove.py",
        'for side in ("forward", "backward"):',
        'for side in ("symmetric", "symmetric"):',
        (CAUGHT,),
    ),
    Mutation(
        "optimistic masses: what a node takes from the next one forgotten",
        "composition/grid/polygon.py",
        "ratio -= (np.append(0.0, over[:-1]) * down - under) * before",
        "ratio -= 0 * before",
        (f"{MASSES}::test_optimistic_masses_lie_below_the_truth",),
    ),
    Mutation(
        "optimistic masses: the node 0 keeps what the first node takes",
        "composition/grid/masses.py",
        "zero = (p - up.taken - math.exp(offset) * down.taken) * (1 - rounding)",
        "zero = p * (1 - rounding)",
        (f"{MASSES}::test_optimistic_masses_lie_below_the_truth",),
    ),
    Mutation(
        "lower bound: what was folded into the window is not taken off",
        "composition/grid/composed.py",
        "return log_diff(scale + math.log(body), self.log_folded) if body > 0 else -math.inf",
        "return scale + math.log(body) if body > 0 else -math.inf",
        (f"{FFT}::test_both_bounds_hold_for_the_exact_convolution",),
    ),
    Mutation(
        "runs below the cut: what they add to delta forgotten",
        "composition/grid/fft.py",
        "log_infinity = float(np.logaddexp(log_infinity, log_small))",
        "log_infinity += 0.0 * log_small",
        (f"{FFT}::test_both_bounds_hold_for_the_exact_convolution",),
    ),
    Mutation(
        "revealed hits: only the mean number of them",
        "composition/closed_form.py",
        "logs = np.log(np.maximum(least - more * (1 - 1e-6), 0.0) + 1e-305) + 1e-6",
        "logs = np.log(np.maximum(least - more * (1 - 1e-6), 0.0) + 1e-305) - 1.0",
        (f"{CLOSED}::test_numbers_of_hits_are_rounded_up",),
    ),
    Mutation(
        "Rényi curve: order for order - 1",
        "composition/conversions/renyi.py",
        "sum(count * log_mgf(profile, alpha - 1) for profile, count in phases)",
        "sum(count * log_mgf(profile, alpha) for profile, count in phases)",
        ("tests/composition/conversions/test_renyi.py",),
    ),
    Mutation(
        "optimal composition: the two extreme triangles taken for all of them",
        "composition/adaptive/run.py",
        "cover if covered else None",
        "None",
        ("tests/composition/test_adaptive.py::test_the_two_extremes_certify_nothing",),
    ),
    Mutation(
        "crop amplification of a foreign mechanism: mass at infinity forgotten",
        "interop/dp_accounting/atoms.py",
        "return LossAtoms(losses, masses, min(self.infinity * p * (1 + _UNIT), 1.0))",
        "return LossAtoms(losses, masses, 0.0)",
        (CAUGHT,),
    ),
    Mutation(
        "error bar: aliases left of 0 bounded by the law itself, not by its reversal",
        "composition/transform/line.py",
        "tail = np.minimum(tail if self.symmetric else np.where(v < 0, 0.0, tail), 0.0)",
        "tail = np.minimum(tail, 0.0)",
        (BARS,),
    ),
    Mutation(
        "error bar: nodes left out of the line not counted as missing",
        "composition/transform/bar.py",
        "lost = np.ones(len(loss))",
        "lost = relative.copy()",
        (BARS,),
    ),
    Mutation(
        "error bar: the remainder taken at the line's tilt, not at the highest",
        "composition/transform/strip.py",
        "part = _Grid(pair, weight, law, highest, x)",
        "part = _Grid(pair, weight, law, float(tilted.t[0]), x)",
        (BARS,),
    ),
    Mutation(
        "error bar: small losses, the fourth order halved",
        "composition/transform/strip.py",
        "least = np.minimum(least, square - square**2 * np.square(self._within) / 3)",
        "least = np.minimum(least, square - square**2 * np.square(self._within) / 6)",
        (BARS,),
    ),
    Mutation(
        "error bar: the growth of a moved density forgotten",
        "composition/transform/strip.py",
        "grown = np.log(mass + 1e-300) + np.where(rise < 300, rise, np.inf)",
        "grown = np.log(mass + 1e-300) + 0 * rise",
        (BARS,),
    ),
    Mutation(
        "group privacy: one term short",
        "composition/conversions/group_privacy.py",
        "powers = np.multiply.outer(np.asarray(epsilon), np.arange(images))",
        "powers = np.multiply.outer(np.asarray(epsilon), np.arange(images - 1))",
        (GROUP,),
    ),
    Mutation(
        "group privacy: each image given the whole epsilon",
        "composition/conversions/group_privacy.py",
        "each = np.nextafter(epsilon / images, 0.0)",
        "each = np.nextafter(epsilon, 0.0)",
        (CAUGHT,),
    ),
    Mutation(
        "group privacy: the estimate returned without a proof",
        "composition/conversions/group_privacy.py",
        "if certified(log_delta - float(log_factor(each, images))) <= each:",
        "if estimated(log_delta - float(log_factor(each, images))) <= each:",
        (CAUGHT,),
    ),
    Mutation(
        "optimal composition: the upper node's value between two nodes",
        "composition/adaptive/bounds.py",
        "deltas[index] * (1 - share) + deltas[index + 1] * share",
        "deltas[index + 1]",
        (OPTIMAL,),
    ),
    Mutation(
        "optimal composition: Poisson batches taken for fixed-size ones with rate q",
        "composition/adaptive/steps.py",
        "return poisson_pair(rate=q, inclusion=p, mu=self.mu)",
        "return fixed_size_pair(rate=q * p, mu=0.5 * self.mu)",
        (OPTIMAL,),
    ),
)


def _copy(to: Path) -> None:
    for folder in ("patchdp", "tests", "docs", "configs", "benchmarks"):
        if (ROOT / folder).is_dir():
            shutil.copytree(
                ROOT / folder,
                to / folder,
                ignore=shutil.ignore_patterns("__pycache__", ".*"),
            )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, to / name)


def _pytest(tree: Path, tests: Iterable[str], timeout: float) -> tuple[int, str]:
    """Exit status (-1 for a time-out) and output of the tests on the copy in `tree`."""
    # CI=1: hypothesis draws the same examples in every run.
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "CI": "1"}
    there = [t for t in tests if (tree / t.split("::")[0]).exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "-p", "no:cacheprovider", *there]
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=tree,
            env=environment,
            timeout=timeout,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout + done.stderr


def _is_tested(tree: Path) -> bool:
    """Whether the copy, not the checkout, is what a test would import."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    code = "import patchdp; print(patchdp.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    return found.stdout.startswith(str(tree.resolve()))


def mutate(mutation: Mutation, timeout: float) -> tuple[bool, str]:
    """Whether the tests catch the mutation, and which test did (or why none)."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name).resolve()
        _copy(tree)
        file = tree / "patchdp" / mutation.file
        text = file.read_text()
        if text.count(mutation.old) != 1:
            return False, f"{mutation.file} has the old text {text.count(mutation.old)} times"
        file.write_text(text.replace(mutation.old, mutation.new))
        status, output = _pytest(tree, mutation.tests, timeout)
        if status == -1:
            return False, f"no answer within {timeout:g} s"
        failed = re.search(r"^FAILED (\S+)", output, re.M)
        if status == 1 and failed:
            return True, failed.group(1)
        last = [line for line in output.splitlines() if line.strip()][-1:] or ["no output"]
        return False, "survived" if status == 0 else f"the tests broke: {last[0]}"


def baseline(tests: Iterable[str], timeout: float) -> str | None:
    """What is wrong with the unchanged tree; None if all the tests pass."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name).resolve()
        _copy(tree)
        if not _is_tested(tree):
            return "the copy is not what python imports"
        status, output = _pytest(tree, tests, timeout)
        return None if status == 0 else output[-3000:] or "no answer in time"


def main() -> int:
    """Make every mutation, two at a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mutations", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutations whose name or file contains this")
    parser.add_argument("--timeout", type=float, default=240, help="seconds for one mutation")
    options = parser.parse_args()
    wanted = options.only.lower()
    chosen = [m for m in MUTATIONS if wanted in m.name.lower() or wanted in m.file.lower()]
    files = sorted({test for m in chosen for test in m.tests})
    start = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as workers:
        # Each file on its own: the baseline takes as long as the slowest half of them.
        broken = [
            problem
            for problem in workers.map(lambda t: baseline([t], 4 * options.timeout), files)
            if problem is not None
        ]
        if broken:
            print("\n".join(["the unchanged tree fails its tests:", *broken]))
            return 2
        print(f"unchanged: {len(files)} pass  [{time.perf_counter() - start:.0f} s]", flush=True)
        results = workers.map(lambda m: mutate(m, options.timeout), chosen)
        survivors = 0
        for mutation, (caught, how) in zip(chosen, results, strict=True):
            survivors += not caught
            print(f"{'caught  ' if caught else 'SURVIVED'}  {mutation.name}")
            print(f"          {mutation.file}: {how}", flush=True)
    seconds = time.perf_counter() - start
    print(f"{len(chosen) - survivors} of {len(chosen)} mutations caught in {seconds:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
