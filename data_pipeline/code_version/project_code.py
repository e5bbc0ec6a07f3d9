"""The code of a project: which modules belong to it, and what a reference in one of them means."""

import builtins
import functools
import importlib.metadata
import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.code_version.module_source import ModuleSource, module_source
from data_pipeline.code_version.names_used import Import, Reference
from data_pipeline.errors import ConfigurationError

_LIBRARIES = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_CHECKOUT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_OURS = Path(__file__).resolve().parents[1]


class ProjectFiles:
    """The source files below some folders."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._known: dict[Path, bool] = {}

    @property
    def folders(self) -> int:
        """How many folders there are."""
        return len(self._roots)

    def add(self, root: Path) -> None:
        """Let the files below another folder belong to the project."""
        self._roots += (root.resolve(),)
        self._known.clear()

    def holds(self, path: Path) -> bool:
        """Say whether a file belongs to the project; libraries in its folders do not."""
        if path not in self._known:
            self._known[path] = self._is_inside(_resolved(path))
        return self._known[path]

    def is_of_library(self, file: str) -> bool:
        """Say by its path alone that a file is of a library, where these files are of none."""
        is_library = any(f"/{name}/" in file for name in _LIBRARIES)
        return is_library and not is_installed(self._roots)

    def _is_inside(self, path: Path) -> bool:
        for root in self._roots:
            if not path.is_relative_to(root) or _LIBRARIES & {*path.relative_to(root).parts}:
                continue
            standard = [folder for folder in _STANDARD if folder.is_relative_to(root)]
            if not any(path.is_relative_to(folder) for folder in standard):
                return True
        return False


def _resolved(path: Path) -> Path:
    """Follow links as `resolve` does, those of a folder once in this process.

    It is asked for the file of every module that is loaded, thousands of times in a few folders.
    """
    return path.resolve() if path.is_symlink() else _resolved_folder(path.parent) / path.name


@functools.cache
def _resolved_folder(folder: Path) -> Path:
    return folder.resolve()


def is_source(place: Path) -> bool:
    """Whether a package or module that lies elsewhere is no library: in editable mode, say.

    Where libraries lie, in whatever folder, there is a folder that tells their versions.

    Args:
        place: The folder of a package, or the file of a module.
    """
    resolved = place.resolve()
    apart = (_OURS, *_STANDARD)
    if _LIBRARIES & {*resolved.parts} or any(resolved.is_relative_to(item) for item in apart):
        return False
    return not any(place.parent.glob("*.dist-info"))


def is_installed(roots: Sequence[Path]) -> bool:
    """Whether the default roots of a module are a library, or nothing at all."""
    return not roots or any(_LIBRARIES & {*root.parts} for root in roots)


def default_roots(name: str, path: Path) -> tuple[Path, ...]:
    """Return the folders of the project that a module belongs to.

    That is the checkout around the module's root package, or the root package itself where it is
    installed as a library or there is no checkout.
    """
    depth = name.count(".") + (path.name == "__init__.py")
    parents = path.resolve().parents
    top = parents[min(depth, len(parents) - 1)]
    root = top / name.partition(".")[0] if depth else top
    if _LIBRARIES & {*root.parts}:
        return (root,)
    for folder in (top, *top.parents):
        if any((folder / mark).exists() for mark in _CHECKOUT_MARKS):
            return (folder,)
    return (root,)


@dataclass(frozen=True)
class Module:
    """A module of the project.

    Attributes:
        name: Its full name.
        source: Its source; None for a folder without `__init__.py`.
        folders: Where its submodules are, if it is a package.
    """

    name: str
    source: ModuleSource | None
    folders: tuple[Path, ...]

    @property
    def package(self) -> str:
        """The package that relative imports in this module start from."""
        return self.name if self.folders else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Definition:
    """A name that a module of the project binds at its top."""

    module: str
    name: str


@dataclass(frozen=True)
class WholeModule:
    """A module of the project as a value, of which any name could be used."""

    name: str


@dataclass(frozen=True)
class External:
    """A name of a module outside the project, or a builtin."""

    name: str


@dataclass(frozen=True)
class Unresolved:
    """A reference whose meaning the source code does not tell, and why."""

    reason: str


Target = Definition | WholeModule | External | Unresolved


class ProjectCode:
    """The modules below some folders, parsed as far as they are needed.

    Args:
        roots: The folders.
        with_sources: Whether packages elsewhere belong to it that are no libraries.
        libraries: Modules that belong to none of it, wherever they lie.
    """

    def __init__(
        self, roots: Sequence[Path], *, with_sources: bool = False, libraries: Collection[str] = ()
    ) -> None:
        self._files = ProjectFiles(roots)
        self._modules: dict[str, Module | None] = {}
        self._with_sources = with_sources
        self._libraries = libraries

    @property
    def folders(self) -> int:
        """How many folders its code is known to lie in."""
        return self._files.folders

    def holds(self, path: Path) -> bool:
        """Say whether a file is code of the project."""
        return self._files.holds(path)

    def loaded(self) -> Iterator[tuple[str, Path]]:
        """Return the modules of the project that are loaded, by name, with their files."""
        for name, module in sorted([*sys.modules.items()], key=lambda item: item[0]):
            file = getattr(module, "__file__", None)
            # Most that is loaded is no code of anybody's project.
            if file is None or not file.endswith(".py") or self._files.is_of_library(file):
                continue
            if self.holds(Path(file)):
                yield name, Path(file)

    def add(self, name: str, path: Path) -> Module:
        """Return the module of a file that was imported by this name."""
        known = self._modules.get(name)
        if known is None or known.source is None or known.source.path != path:
            folders = (path.parent,) if path.name == "__init__.py" else ()
            known = self._modules[name] = Module(name, module_source(path), folders)
        return known

    def module(self, name: str) -> Module | None:
        """Return a module of the project; None for one that does not exist or is not part of it."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def resolve(
        self, module: Module, reference: Reference, *, changed: bool = False
    ) -> list[Target]:
        """Return what a reference in a module can mean: several where the name is bound twice.

        Args:
            module: The module.
            reference: The reference.
            changed: Whether it is changed there: what binds it may be `from x import *`.
        """
        if reference.imported is not None:
            return list(self._imported(module, reference.imported, reference.attributes))
        found = list(self._name(module, reference.name, reference.attributes, frozenset()))
        if changed:
            found += self._starred(module, reference.name, reference.attributes, frozenset())
        return found

    def imported(self, module: Module, source: Import) -> list[Target]:
        """Return what an import in a module means."""
        return list(self._imported(module, source, ()))

    def _find(self, name: str) -> Module | None:
        parent, _, last = name.rpartition(".")
        if not parent:
            return self._find_top(name)
        package = self.module(parent)
        for folder in package.folders if package else ():
            found = self._in_folder(name, folder, last)
            if found is not None:
                return found
        return None

    def _find_top(self, name: str) -> Module | None:
        if name in sys.stdlib_module_names or name in self._libraries:
            return None
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        folders = getattr(loaded, "__path__", None)
        if loaded is None:
            try:
                spec = importlib.util.find_spec(name)
            except (ImportError, ValueError):
                return None
            if spec is None:
                return None
            file = spec.origin if spec.has_location else None
            folders = spec.submodule_search_locations
        paths = tuple(Path(folder) for folder in folders or ())
        if self._with_sources:
            for place in paths or map(Path, [file] if file else []):
                if not self.holds(place) and is_source(place):
                    self._files.add(place)
        if file is not None and file.endswith(".py") and self.holds(Path(file)):
            return Module(name, module_source(Path(file)), paths)
        inside = tuple(folder for folder in paths if self.holds(folder))
        return Module(name, None, inside) if file is None and inside else None

    def _in_folder(self, name: str, folder: Path, last: str) -> Module | None:
        package = folder / last
        if (package / "__init__.py").is_file():
            return Module(name, module_source(package / "__init__.py"), (package,))
        if (folder / f"{last}.py").is_file():
            return Module(name, module_source(folder / f"{last}.py"), ())
        if package.is_dir() and self.holds(package):
            return Module(name, None, (package,))
        return None

    def _name(
        self, module: Module, name: str, attributes: tuple[str, ...], seen: frozenset[Definition]
    ) -> Iterator[Target]:
        """Return what a name at the top of a module means, with the attributes that follow."""
        own = Definition(module.name, name)
        if own in seen:
            return
        if self.binds(module, name):
            yield from self._bound(module, name, attributes, seen | {own})
        elif name.startswith("__") and name.endswith("__"):
            yield External(f"builtins.{name}")
        else:
            found = list(self._starred(module, name, attributes, seen | {own}))
            certain = any(not isinstance(target, External) for target in found)
            if hasattr(builtins, name) and not certain:
                yield External(f"builtins.{name}")
            elif found:
                yield from found
            else:
                yield Unresolved(f"the name `{name}`, which module `{module.name}` does not bind")

    def binds(self, module: Module, name: str) -> bool:
        """Say whether a module binds a name by a statement of its own."""
        return module.source is not None and name in module.source.bindings

    def _bound(
        self, module: Module, name: str, attributes: tuple[str, ...], seen: frozenset[Definition]
    ) -> Iterator[Target]:
        assert module.source is not None  # noqa: S101  # for the type checker
        bindings = module.source.bindings[name]
        imports = [item.imported for item in bindings if item.imported is not None]
        found = [
            target
            for source in imports
            for target in self._imported(module, source, attributes, seen)
        ]
        yield from found
        outside = bool(found) and all(isinstance(target, External) for target in found)
        if any(item.imported is None and not (outside and item.registered) for item in bindings):
            yield Definition(module.name, name)

    def _starred(
        self, module: Module, name: str, attributes: tuple[str, ...], seen: frozenset[Definition]
    ) -> Iterator[Target]:
        """Return what a name can mean that a module may have from `from x import *`."""
        for star in module.source.stars if module.source else ():
            path = _absolute(module, star)
            other = self.module(path)
            if other is None:
                yield External(f"{path}.{name}")
                continue
            exported = other.source.exported if other.source else None
            if name not in exported if exported is not None else name.startswith("_"):
                continue
            if self.binds(other, name):
                yield from self._bound(other, name, attributes, seen)
            else:
                yield from self._starred(other, name, attributes, seen)

    def _imported(
        self,
        module: Module,
        source: Import,
        attributes: tuple[str, ...],
        seen: frozenset[Definition] = frozenset(),
    ) -> Iterator[Target]:
        path = _absolute(module, source)
        wanted = attributes if source.name is None else (source.name, *attributes)
        other = self.module(path)
        if other is not None:
            yield from self._attribute(other, wanted, seen)
        elif self.module(path.partition(".")[0]) is not None:
            yield Unresolved(f"module `{path}`, which has no source file in the project")
        else:
            yield External(".".join((path, *wanted)))

    def _attribute(
        self, module: Module, attributes: tuple[str, ...], seen: frozenset[Definition]
    ) -> Iterator[Target]:
        """Return what attributes of a module mean."""
        if not attributes or attributes[0] == "__dict__":
            yield WholeModule(module.name)
            return
        name, rest = attributes[0], attributes[1:]
        # Nothing for `from pkg import sub` in `pkg/__init__.py`, which means the submodule.
        bound = list(self._name(module, name, rest, seen)) if self.binds(module, name) else []
        found = list(self._starred(module, name, rest, seen))
        if bound:
            yield from bound
        elif (inner := self.module(f"{module.name}.{name}")) is not None:
            yield from self._attribute(inner, rest, seen)
        elif name.startswith("__") and name.endswith("__"):
            yield External(f"builtins.{name}")
        elif found:
            yield from found
        elif self.binds(module, "__getattr__"):
            yield Definition(module.name, "__getattr__")
        else:
            yield Unresolved(f"`{module.name}.{name}`, which no source file defines")


def _absolute(module: Module, source: Import) -> str:
    if source.level == 0:
        return source.module
    parts = module.package.split(".")
    base = ".".join(parts[: len(parts) - source.level + 1])
    return f"{base}.{source.module}" if source.module else base


@dataclass(frozen=True)
class Package:
    """A library outside the project whose version counts.

    Attributes:
        name: The name it is installed by.
        version: Its version.
    """

    name: str
    version: str


def tracked_by_module(packages: Mapping[str, str] | Sequence[str]) -> Mapping[str, Package]:
    """Return the tracked packages by the names that their top modules are imported by.

    Args:
        packages: Names of installed packages, or such names with the versions to use.

    Raises:
        ConfigurationError: A package without a given version is not installed, or is installed from
            a folder, where its code can change under the same version.
    """
    if isinstance(packages, str):
        raise ConfigurationError(
            f"tracked_packages: {packages!r} is a text. Give a list of package names."
        )
    given = packages if isinstance(packages, Mapping) else dict.fromkeys(packages)
    return {
        module: Package(name, version or _installed_version(name))
        for name, version in given.items()
        for module in _modules(name)
    }


def _installed_version(name: str) -> str:
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"tracked_packages: `{name}` is not installed. Install it, correct its name (that of "
            "the package, as `pip list` shows it), or take it off the list."
        ) from error
    if _is_editable(found):
        raise ConfigurationError(
            f"tracked_packages: `{name}` is installed from a folder in editable mode, where its "
            "code changes under the same version. Leave it out, since its code counts like that of "
            "the project, or give its version in the configuration and raise it with each change."
        )
    # Where `importlib_metadata` is installed, to ask for what is not there is an error.
    stated = found.metadata.get_all("Version")
    if not stated or not stated[0]:
        raise ConfigurationError(
            f"tracked_packages: the installed package `{name}` states no version. "
            "Give one in the configuration."
        )
    return str(stated[0])


def _is_editable(found: importlib.metadata.Distribution) -> bool:
    origin = found.read_text("direct_url.json")
    return bool(origin) and bool(json.loads(origin or "{}").get("dir_info", {}).get("editable"))


def _modules(name: str) -> set[str]:
    """Return the names of the top modules that a package installs."""
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {re.sub(r"[-.]", "_", name)}
    listed = (found.read_text("top_level.txt") or "").split()
    if not listed:
        tops = {file.parts[0] for file in found.files or ()}
        listed = [top.removesuffix(".py") for top in tops if re.fullmatch(r"\w+(\.py)?", top)]
    return set(listed) or {re.sub(r"[-.]", "_", name)}
