"""Trainings one can run: `python -m examples.segmentation`, `python -m examples.digits`."""
