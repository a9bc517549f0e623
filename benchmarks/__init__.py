"""Measurements: `python -m benchmarks NAME`, every ratio from one run on one machine."""
