"""patchdp's exact engine beside other accountants, on mechanisms that they can express.

Image-level guarantees, so that like meets like:

- "Poisson": DP-SGD with Poisson batches under add/remove. Its two directions are the directions of
  one pair, `(1-q) N(0) + q N(mu)` against `N(0)`; the exact value is the larger of the two.
- "Gaussian": the full batch under replace-one, which for the others is add/remove at half the
  noise multiplier. The exact value is a closed form.

Every measurement is a process of its own with a limit on time and memory; what crashes or runs out
is reported as that. The error is relative to the exact value; a negative one is an epsilon below
the truth. Times are processor times and leave out imports.

    python -m benchmarks peers [--timeout 60] [--quick] [--json peers.json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks._bounded import child, run

DELTA = 1e-5
RATE = 0.01
PEERS = (
    "patchdp exact",
    "patchdp pld",
    "dp-accounting",
    "opacus prv",
    "opacus rdp",
    "prv-accountant",
    "riskcal",
)
MECHANISMS = ("Poisson", "Gaussian")


def noise_for(mechanism: str, steps: int) -> float:
    """A noise multiplier (of the peers' add/remove event) with an epsilon of order 1."""
    rate = RATE if mechanism == "Poisson" else 1.0
    return max(0.6, 2.0 * rate * math.sqrt(steps))


def _phases(mechanism: str, noise: float, steps: int) -> list[tuple[Any, int]]:
    from patchdp.step import StepProfile, fixed_size_pair

    # Half the distance: N(mu) against N(0), mu = 1/noise, centred.
    rate = RATE if mechanism == "Poisson" else 1.0
    pair = fixed_size_pair(rate=rate, mu=1 / (2 * noise))
    return [(StepProfile(((1.0, pair),), attainable=True), steps)]


def exact_epsilon(mechanism: str, noise: float, steps: int) -> float:
    """By the exact engine: the larger of the two directions."""
    from patchdp.composition import prove

    found = prove.attained_epsilon(
        _phases(mechanism, noise, steps), math.log(DELTA), tolerance=1e-6
    )
    assert found is not None
    return found


def _patchdp_exact(mechanism: str, steps: int) -> Callable[[float], float]:
    return lambda noise: exact_epsilon(mechanism, noise, steps)


def _patchdp_pld(mechanism: str, steps: int) -> Callable[[float], float]:
    from patchdp.composition import prove

    # Certified, of the symmetric profile: for "Poisson" that bounds more than add/remove asks.
    return lambda noise: (
        prove.prove_epsilon(_phases(mechanism, noise, steps), math.log(DELTA)).upper
    )


def _dp_accounting(mechanism: str, steps: int) -> Callable[[float], float]:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    def epsilon(noise: float) -> float:
        event: Any = dp_accounting.GaussianDpEvent(noise)
        if mechanism == "Poisson":
            event = dp_accounting.PoissonSampledDpEvent(RATE, event)
        return float(PLDAccountant().compose(event, steps).get_epsilon(DELTA))

    return epsilon


def _opacus(kind: str) -> Callable[[str, int], Callable[[float], float]]:
    def prepare(mechanism: str, steps: int) -> Callable[[float], float]:
        from opacus.accountants import create_accountant

        def epsilon(noise: float) -> float:
            accountant = create_accountant(kind)
            accountant.history = [(noise, RATE if mechanism == "Poisson" else 1.0, steps)]
            return float(accountant.get_epsilon(delta=DELTA))

        return epsilon

    return prepare


def _prv_accountant(mechanism: str, steps: int) -> Callable[[float], float]:
    import prv_accountant

    def epsilon(noise: float) -> float:
        random_variable = (
            prv_accountant.PoissonSubsampledGaussianMechanism(
                sampling_probability=RATE, noise_multiplier=noise
            )
            if mechanism == "Poisson"
            else prv_accountant.GaussianMechanism(noise_multiplier=noise)
        )
        accountant = prv_accountant.PRVAccountant(
            prvs=[random_variable],
            max_self_compositions=[steps],
            eps_error=0.01,
            delta_error=DELTA / 1000,
        )
        # It returns a lower bound, an estimate and an upper bound.
        return float(accountant.compute_epsilon(DELTA, [steps])[2])

    return epsilon


def _riskcal(mechanism: str, steps: int) -> Callable[[float], float]:
    import riskcal

    def epsilon(noise: float) -> float:
        accountant = riskcal.accountants.CTDAccountant()
        accountant.history = [(noise, RATE if mechanism == "Poisson" else 1.0, steps)]
        return float(accountant.get_epsilon(delta=DELTA))

    return epsilon


_PREPARE: dict[str, Callable[[str, int], Callable[[float], float]]] = {
    "patchdp exact": _patchdp_exact,
    "patchdp pld": _patchdp_pld,
    "dp-accounting": _dp_accounting,
    "opacus prv": _opacus("prv"),
    "opacus rdp": _opacus("rdp"),
    "prv-accountant": _prv_accountant,
    "riskcal": _riskcal,
}


def _calibrate(epsilon: Callable[[float], float], target: float, start: float) -> float:
    """The same bisection for everyone, to 1e-4: the number of evaluations does not differ."""
    from scipy import optimize

    def excess(log_noise: float) -> float:
        return math.log(max(epsilon(math.exp(log_noise)), 1e-12) / target)

    # The target is half of what `start` has, so the answer is above it.
    low = high = math.log(start)
    while excess(high) > 0:
        low, high = high, high + 0.4
    return math.exp(float(optimize.brentq(excess, low, high, xtol=1e-4)))


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """One epsilon, or one noise multiplier for half the exact epsilon, timed."""
    mechanism, steps = task["mechanism"], task["steps"]
    noise = noise_for(mechanism, steps)
    epsilon = _PREPARE[task["peer"]](mechanism, steps)
    if task["question"] == "epsilon":
        truth = exact_epsilon(mechanism, noise, steps)
        start = time.process_time()
        value = epsilon(noise)
    else:
        target = exact_epsilon(mechanism, noise, steps) / 2
        truth = _calibrate(_patchdp_exact(mechanism, steps), target, noise)
        start = time.process_time()
        value = _calibrate(epsilon, target, noise)
    seconds = time.process_time() - start
    return {"value": value, "exact": truth, "error": value / truth - 1, "seconds": seconds}


def growth() -> list[dict[str, Any]]:
    """What ours costs as steps, the reciprocal of the rate and the noise grow."""
    from patchdp.composition import prove
    from patchdp.step import StepProfile, fixed_size_pair

    rows = []
    for rate, noise, steps in (
        *((1e-2, 0.02 * math.sqrt(n), n) for n in (10**4, 10**6, 10**8)),
        *((r, 1.0, 10**5) for r in (1e-2, 1e-3, 1e-4)),
        *((1e-2, s, 10**5) for s in (1.0, 10.0, 100.0)),
    ):
        pair = fixed_size_pair(rate=rate, mu=1 / noise)
        phases = [(StepProfile(((1.0, pair),), attainable=True), steps)]
        row: dict[str, Any] = {"rate": rate, "noise": noise, "steps": steps}
        for name, work in (
            ("exact", lambda f=phases: prove.estimate_epsilon(f, math.log(DELTA))),
            ("pld", lambda f=phases: prove.prove_epsilon(f, math.log(DELTA)).upper),
        ):
            start = time.process_time()
            try:
                row[f"epsilon_{name}"] = float(work())
                row[f"seconds_{name}"] = time.process_time() - start
            except ValueError as error:
                row[f"error_{name}"] = str(error)
        rows.append(row)
    return rows


def _show(row: dict[str, Any], ours: float | None) -> str:
    head = f"  {row['peer']:15s}"
    if "failed" in row:
        return f"{head} {row['failed'][:70]}"
    ratio = "" if not ours else f"{row['seconds'] / ours:10.1f} x"
    return (
        f"{head} {row['value']:12.6g} {row['error']:+11.1e} {row['seconds']:9.3f} s{ratio:>12s} "
        f"{row['peak_mib']:6.0f} MiB"
    )


def main() -> int:
    """Measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one measurement")
    parser.add_argument("--quick", action="store_true", help="1e2 and 1e4 steps only")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    exponents = (2, 4) if options.quick else (2, 3, 4, 5, 6, 7)
    for question in ("epsilon", "calibration"):
        for mechanism in MECHANISMS:
            for steps in (10**e for e in exponents if question == "epsilon" or e % 2 == 0):
                print(f"{question}, {mechanism}, {steps:.0e} steps", end="")
                print(f", noise multiplier {noise_for(mechanism, steps):g}")
                ours = None
                for peer in PEERS:
                    task = {
                        "question": question,
                        "mechanism": mechanism,
                        "steps": steps,
                        "peer": peer,
                    }
                    row = {**task, **run("benchmarks.peers", task, seconds=options.timeout)}
                    ours = row.get("seconds") if peer == "patchdp exact" else ours
                    rows.append(row)
                    print(_show(row, ours), flush=True)
    print("\nours as steps, 1/rate and noise grow (fixed-size, replace-one)")
    ladder = growth()
    for row in ladder:
        print(
            f"  rate {row['rate']:7.0e} noise {row['noise']:6.4g} steps {row['steps']:6.0e}   "
            + "   ".join(
                f"{name} {1e3 * row[f'seconds_{name}']:8.1f} ms"
                if f"seconds_{name}" in row
                else f"{name} {row[f'error_{name}'][:40]}"
                for name in ("exact", "pld")
            ),
            flush=True,
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"delta": DELTA, "rate": RATE, "peers": rows, "growth": ladder}, file, indent=1
            )
    return 0


if __name__ == "__main__":
    child(measure(json.loads(sys.argv[1])))
