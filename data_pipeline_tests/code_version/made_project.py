"""Small projects that tests write, import, edit and import again."""

import importlib
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from data_pipeline.code_version.code_version import CodeVersion, code_version_of, code_versions

_numbers = itertools.count()
_times = itertools.count(1_700_000_000, 2)


class MadeProject:
    """A package in a folder; `{pkg}` in its files stands for its name."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.name = f"made_project_{next(_numbers)}"
        self.folder = folder / self.name
        self.write("__init__.py", "")
        for path, text in files.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).replace("{pkg}", self.name), encoding="utf-8")
        # Quick edits of equal length are told apart by their times.
        moment = next(_times)
        os.utime(file, (moment, moment))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text(encoding="utf-8")
        old, new = (part.replace("{pkg}", self.name) for part in (old, new))
        assert old in text, f"{old!r} is not in {path}"
        self.write(path, text.replace(old, new))

    def load(self, module: str) -> ModuleType:
        """Imports a module afresh, with all others of the project."""
        for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
            del sys.modules[name]
        importlib.invalidate_caches()
        sys.path.insert(0, str(self.folder.parent))
        try:
            return importlib.import_module(f"{self.name}.{module}".rstrip("."))
        finally:
            sys.path.remove(str(self.folder.parent))

    def version(self, name: str = "asset", module: str = "assets", **options: Any) -> CodeVersion:
        return code_version_of(getattr(self.load(module), name), **options)

    def versions(self, module: str = "assets", **options: Any) -> dict[str, str]:
        """Gives the versions of `assets` in a module, "" for the package itself."""
        found = code_versions(self.load(module).assets, **options)
        return {key.to_user_string(): version.version for key, version in found.items()}

    def changed_by(self, change: Callable[["MadeProject"], None], **options: Any) -> set[str]:
        """Gives the assets whose versions differ after a change."""
        before = self.versions(**options)
        change(self)
        after = self.versions(**options)
        assert before.keys() == after.keys()
        return {name for name in before if before[name] != after[name]}
