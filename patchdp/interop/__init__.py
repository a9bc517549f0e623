"""Other people's accountants, trainers and transforms: a module each, imported when first used.

>>> import patchdp as pdp
>>> pdp.interop.pipeline.__name__
'patchdp.interop.pipeline'
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    module = f"{__name__}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise  # the library behind it is not installed
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
