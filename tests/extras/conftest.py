"""Lets torchvision's transforms import beside a PyTorch that its compiled operators do not match.

Its wheel is built against one PyTorch; on another (a CPU build, say) `import torchvision` stops at
operators that its Python files describe and nobody has defined. The tests need transforms only, so
the names are defined here, without any implementation.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

LIBRARIES = []  # a torch Library lives as long as something refers to it


def _define_torchvision_operators() -> None:
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or importlib.util.find_spec("torch") is None:
        return
    import torch

    package = Path(found.origin).parent
    for compiled in package.glob("_C*"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            break
    if hasattr(torch.ops.torchvision, "nms"):
        return
    described = (package / "_meta_registrations.py").read_text()
    names = re.findall(r"@register_meta\(\"(\w+)\"", described)
    names += re.findall(r"register_fake\(\"torchvision::(\w+)\"", described)
    library = torch.library.Library("torchvision", "DEF")
    for name in dict.fromkeys(names):
        library.define(f"{name}(Tensor input) -> Tensor")
    LIBRARIES.append(library)


_define_torchvision_operators()
