"""Attacks that bound epsilon from below: evidence beside the proof.

`simulation` runs the worst case of the analysis for real, step by step, on the pixels of a marked
image; a certified epsilon below what the attack attains would be wrong.
"""

from patchdp.audit.simulation import (
    Audit,
    AuditPoint,
    Hits,
    audit,
    numpy_crops,
    torchvision_crops,
)

__all__ = ["Audit", "AuditPoint", "Hits", "audit", "numpy_crops", "torchvision_crops"]
