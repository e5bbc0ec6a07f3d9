"""WHICH module has the definitions? What `pyproject.toml`, `dg.toml` and `workspace.yaml` name."""

import importlib.util
import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.errors import ConfigurationError

LIBRARIES = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class CodeModule:
    """The module that Dagster loads.

    Attributes:
        name: Its name; for a file that is loaded by its path, the name that it then has.
        file: Where it is; None where no folder that is known here has it.
        folder: The folder that it is imported from: what belongs on `sys.path`.
        by_file: Whether it is loaded by its path, not by its name.
        attribute: The definitions in it, where it has several.
        named_by: What names it, for messages.
    """

    name: str
    file: Path | None = None
    folder: Path | None = None
    by_file: bool = False
    attribute: str | None = None
    named_by: str = ""
    location: str | None = None

    def __str__(self) -> str:
        return str(self.file) if self.by_file else self.name

    @property
    def is_library(self) -> bool:
        """Whether it is installed like any library, so that it lies in no project."""
        return self.file is not None and bool(LIBRARIES & {*self.file.parts})

    @property
    def is_loaded(self) -> bool:
        """Whether this process has imported it, or is about to."""
        found = getattr(sys.modules.get(self.name), "__file__", None)
        if found is None or self.file is None:
            return found is not None
        return Path(found).resolve() == self.file.resolve()

    @property
    def options(self) -> str:
        """The options by which Dagster's commands load it from the current directory."""
        words = ["-f", _shortest(self.file)] if self.by_file and self.file else ["-m", self.name]
        words += ["-a", self.attribute] if self.attribute else []
        if self.folder and self.folder != Path.cwd() and not self._is_importable:
            words += ["-d", _shortest(self.folder)]
        return shlex.join(words)

    @property
    def _is_importable(self) -> bool:
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return self.is_library or str(self.folder) in paths


def named(name: str, folders: Iterable[Path], **said: Any) -> CodeModule:
    """Return the module of a name: from the first of the folders that has it, else a library."""
    parts = name.split(".")
    for folder in dict.fromkeys(item.resolve() for item in folders):
        if file := _module_file(folder, parts):
            return CodeModule(name, file, folder, **said)
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        spec = None
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package).resolve().parent
        if file := _module_file(folder, parts):
            return CodeModule(name, file, folder, **said)
    return CodeModule(name, **said)


def at_path(file: Path, folder: Path | None = None, **said: Any) -> CodeModule:
    """Return the module of a file that is loaded by its path."""
    path = file.resolve()
    return CodeModule(path.stem, path, (folder or path.parent).resolve(), by_file=True, **said)


def code_modules(start: Path) -> Sequence[CodeModule]:
    """Return what the nearest project file names, from a folder upwards; several for a workspace.

    Raises:
        ConfigurationError: A project file cannot be read.
    """
    for folder in (start, *start.parents):
        if found := list(_in_folder(folder)):
            return found
    return []


def _in_folder(folder: Path) -> Iterator[CodeModule]:
    pyproject = _toml(folder / "pyproject.toml").get("tool", {})
    found = [
        *_of_dagster(folder, pyproject.get("dagster", {})),
        *_of_dg(folder, pyproject.get("dg", {}), "[tool.dg] in", folder / "pyproject.toml"),
        *_of_dg(folder, _toml(folder / "dg.toml"), "", folder / "dg.toml"),
        *_of_workspace(folder / "workspace.yaml"),
    ]
    # The same module is often named for several programs; the first who names it counts.
    first = found[0].named_by if found else None
    yield from (module for module in found if module.named_by == first)


def _of_dagster(folder: Path, section: Mapping[str, Any]) -> Iterator[CodeModule]:
    said = f"[tool.dagster] in {folder / 'pyproject.toml'}"
    location = section.get("code_location_name")
    names = [section.get("module_name"), *(item.get("name") for item in section.get("modules", ()))]
    for name in filter(None, names):
        if not isinstance(name, str):
            raise ConfigurationError(
                f"{said}: {name!r} is no name of a module. Write one, as in 'shop.definitions'."
            )
        yield named(name, _sources(folder), named_by=said, location=location)


def _of_dg(
    folder: Path, section: Mapping[str, Any], where: str, file: Path
) -> Iterator[CodeModule]:
    project = section.get("project", {})
    if root := project.get("root_module"):
        name = project.get("code_location_target_module") or f"{root}.definitions"
        location = project.get("code_location_name")
        said = f"{where} {file}".strip()
        yield named(name, _sources(folder), named_by=said, location=location)
    for item in section.get("workspace", {}).get("projects", ()):
        for module in _in_folder(folder / item["path"]):
            yield replace(module, named_by=f"{where} {file}".strip())


def _of_workspace(file: Path) -> Iterator[CodeModule]:
    if not file.is_file():
        return
    try:
        content = _content(file, yaml.safe_load) or {}
        for entry in content.get("load_from") or ():
            for kind, value in entry.items():
                yield from _entry(file, kind, value)
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is no workspace of Dagster: {error}. Correct it, or name a module with -m."
        ) from error


_KINDS = {
    "python_module": "module_name",
    "python_package": "package_name",
    "python_file": "relative_path",
}


def _entry(file: Path, kind: str, value: Any) -> Iterator[CodeModule]:
    if kind not in _KINDS:  # a server that runs the code by itself
        return
    given = value if isinstance(value, Mapping) else {_KINDS[kind]: value}
    read = {key: _text(item) for key, item in given.items()}
    folder = file.parent / (read.get("working_directory") or "")
    said = {"attribute": read.get("attribute"), "location": read.get("location_name")}
    name = read[_KINDS[kind]]
    if kind == "python_file":
        yield at_path(file.parent / name, folder, named_by=str(file), **said)
    else:
        yield named(name, [folder, *_sources(file.parent)], named_by=str(file), **said)


def _text(value: Any) -> str:
    """Return a text of a workspace, which may be one of a variable: `{env: NAME}`."""
    return os.environ.get(value["env"], "") if isinstance(value, Mapping) else str(value)


def _toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found: dict[str, Any] = _content(file, tomllib.loads)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}. Correct it, or name a module with -m."
        ) from error
    return found


def _content(file: Path, parse: Callable[[str], Any]) -> Any:
    """Return what is in a file, parsed once a version of it: messages of each step ask for it."""
    status = file.stat()
    return _parsed(file, parse, (status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=16)
def _parsed(file: Path, parse: Callable[[str], Any], _version: tuple[int, ...]) -> Any:
    return parse(file.read_text(encoding="utf-8"))


def _sources(folder: Path) -> list[Path]:
    return [folder, folder / "src"]


def _module_file(folder: Path, parts: Sequence[str]) -> Path | None:
    path = folder.joinpath(*parts)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _shortest(path: Path) -> str:
    """Return a path from the current directory, where it lies below that."""
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
