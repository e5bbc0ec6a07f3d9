"""Libraries that may be loaded already: who holds a value of one has imported it."""

import importlib
import sys
from typing import Any


def loaded_module(name: str) -> Any:
    """Return a module if somebody has imported it, else None; it is never imported for this.

    Where another thread imports it at this moment, that is waited for: `sys.modules` alone would
    give a module that has not all of its names yet.
    """
    return None if sys.modules.get(name) is None else importlib.import_module(name)
