"""The identity of the code that samples."""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

from data_pipeline.code_version import normalised_syntax

_FOLDERS = (".", "plan", "engine", "prediction", "earlier")
_EARLIER = {"98c39a86ca74a71b": "07ed43fd18fc6b5d"}
"""What earlier states of this package call code that chooses the same rows, by its hash."""


@cache
def code_version(*folders: str) -> str:
    """Hash the definitions in some folders of this room, wherever in them they stand.

    Comments, formatting, docstrings, imports and the version of Python do not count. What was found
    is kept beside the bytecode, since every process asks, and reading them takes half a second.
    """
    modules = (
        module
        for folder in folders
        for module in sorted((Path(__file__).parent / folder).glob("*.py"))
        if module != Path(__file__)
    )
    sources = [module.read_bytes() for module in modules]
    how = [Path(file).read_bytes() for file in (__file__, normalised_syntax.__file__)]
    state = hashlib.sha256(b"\0".join([*sources, *how])).hexdigest()
    name = "-".join(folders).replace("/", "-").strip(".-")
    kept = Path(cache_from_source(__file__)).with_suffix(f".{name}")
    with suppress(OSError, ValueError):
        before, found = kept.read_text(encoding="ascii").split()
        if before == state:
            return found
    definitions = sorted(part for text in sources for part in _definitions(text))
    found = hashlib.sha256("\n".join(definitions).encode()).hexdigest()[:16]
    if not sys.dont_write_bytecode:
        with suppress(OSError):  # a package that only others may write
            part = kept.with_name(f"{kept.name}.{os.getpid()}")
            part.write_text(f"{state} {found}", encoding="ascii")
            part.replace(kept)
    return found


def _definitions(text: bytes) -> Iterator[str]:
    for node in ast.parse(text).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text and not isinstance(node, ast.Import | ast.ImportFrom):
            yield normalised_syntax.normalised(node)


@cache
def sampling_version() -> str:
    """Return what changes with the code that decides on rows, so that all is sampled anew."""
    found = code_version(*_FOLDERS)
    return _EARLIER.get(found, found)
