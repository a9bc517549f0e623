"""Measurements: `python -m benchmarks NAME`, every ratio from one run on one machine."""

import os

# One core for each process, before numpy starts its threads: their waiting would count as work.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
