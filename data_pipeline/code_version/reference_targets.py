"""What the references of a piece of code mean: definitions, libraries, SQL files, or unknown."""

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.code_version.module_source import Binding
from data_pipeline.code_version.names_used import FUNCTIONS, Import, Reference
from data_pipeline.code_version.own_names import part_name
from data_pipeline.code_version.project_code import (
    Definition,
    External,
    Module,
    ProjectCode,
    Target,
    Unresolved,
    WholeModule,
)

SQL_LOADERS = frozenset(
    {
        "data_pipeline.sql_file",
        "data_pipeline.results.sql_query.sql_file",
        "data_pipeline.tables.sql_file",
    }
)
"""Functions whose first argument is a SQL file, relative to the folder of the calling module."""

_IMPORTERS = frozenset({"importlib.import_module", "builtins.__import__"})
_OPAQUE = {
    "builtins.exec": "code that `exec` makes at run time",
    "builtins.eval": "code that `eval` makes at run time",
    "builtins.globals": "names looked up in `globals()`",
    "pkgutil.resolve_name": "what `pkgutil.resolve_name` finds by its name",
    "pydoc.locate": "what `pydoc.locate` finds by its name",
    "runpy.run_module": "a module that `runpy` runs",
    "runpy.run_path": "a file that `runpy` runs",
}


@dataclass(frozen=True)
class SqlFile:
    """A SQL file that code loads, by a name that is the same on every machine."""

    name: str
    path: Path


@dataclass(frozen=True, order=True)
class Warned:
    """Something that a code version does not cover: where (`file:line`), and what."""

    place: str
    what: str


class ReferenceTargets:
    """What the references of a part mean.

    Attributes:
        edges: What the names mean, as text.
        follows: What the references lead to, and whether only to tell a type.
        warned: What the source does not tell.
        outside: The references to names of libraries and builtins, each with its full name.
    """

    def __init__(
        self,
        project: ProjectCode,
        module: Module,
        heirs: Callable[[Definition], Sequence[Definition]],
    ) -> None:
        self._project = project
        self._module = module
        self._heirs = heirs
        self.edges: set[str] = set()
        self.follows: list[tuple[Target | SqlFile, bool]] = []
        self.warned: list[Warned] = []
        self.outside: list[tuple[Reference, str]] = []

    def add(self, reference: Reference) -> None:
        """Add what one reference means."""
        for target in self._project.resolve(self._module, reference):
            for meant in self._meant(reference, target):
                self._follow(reference, meant)

    def _follow(self, reference: Reference, target: Target | SqlFile) -> None:
        if isinstance(target, Unresolved):
            if reference.certain and not reference.annotation:
                self._warn(reference, target.reason)
            return
        if isinstance(target, External) and not reference.annotation:
            self.outside.append((reference, target.name))
        if not reference.annotation:
            self.edges.add(f"{reference.text} is {described(target)}")
        self.follows.append((target, reference.annotation))

    def _meant(self, reference: Reference, target: Target) -> list[Target | SqlFile]:
        """Return what a reference stands for, where it calls for a module or a file by its name."""
        name = target.name if isinstance(target, External) else None
        if isinstance(target, Definition):
            name = f"{target.module}.{target.name}"
        if isinstance(target, Definition) and "__subclasses__" in reference.attributes:
            return [target, *self._heirs(target)]
        if name in SQL_LOADERS:
            return [target, self._sql_file(reference)]
        if name in _IMPORTERS:
            return [target, *self._by_name(reference)]
        if name in _OPAQUE and isinstance(target, External):
            return [target, Unresolved(_OPAQUE[name])]
        if reference.dynamic and self._has_attributes(target):
            return [target, Unresolved(f"an attribute of `{reference.text}` with a computed name")]
        return [target]

    def _has_attributes(self, target: Target) -> bool:
        if isinstance(target, Definition):
            module = self._project.module(target.module)
            bindings = module.source.bindings[target.name] if module and module.source else ()
            return kind_of([item for item in bindings if not item.imported]) == "class"
        return isinstance(target, WholeModule)

    def _by_name(self, reference: Reference) -> list[Target | SqlFile]:
        name = _literal(reference)
        if name is None:
            return [Unresolved(f"a module that `{reference.text}` imports by a computed name")]
        path = name.lstrip(".")
        source = Import(path, len(name) - len(path))
        wanted = Reference(path, reference.after_call, reference.line, source)
        return [*self._project.resolve(self._module, wanted)]

    def _sql_file(self, reference: Reference) -> SqlFile | Unresolved:
        if reference.call is None:
            return Unresolved(f"a SQL file, since `{reference.text}` is passed on, not called")
        name = _literal(reference)
        if name is None or self._module.source is None:
            return Unresolved(f"a SQL file that `{reference.text}` loads by a computed path")
        path = self._module.source.path.parent / name
        if not path.is_file():
            return Unresolved(f"the SQL file `{name}`, which does not exist")
        package = self._module.package
        return SqlFile(f"{package}/{name}" if package else name, path)

    def _warn(self, reference: Reference, what: str) -> None:
        path = self._module.source.path if self._module.source else self._module.name
        self.warned.append(Warned(f"{path}:{reference.line}", what))


def kind_of(bindings: Iterable[Binding]) -> str:
    """Return what a name is that these statements bind: class, function or constant."""
    nodes = [node for binding in bindings if not binding.registered for node in binding.nodes]
    if any(isinstance(node, ast.ClassDef) for node in nodes):
        return "class"
    if any(isinstance(node, FUNCTIONS) for node in nodes[:1]):
        return "function"
    return "constant"


def _literal(reference: Reference) -> str | None:
    """Return the name or path that is the first argument of a call, if it is a plain text."""
    call = reference.call
    named = [item.value for item in call.keywords if item.arg in ("name", "path")] if call else []
    argument = next(iter([*call.args[:1], *named]), None) if call else None
    value = argument.value if isinstance(argument, ast.Constant) else None
    return value if isinstance(value, str) else None


def described(target: Target | SqlFile) -> str:
    """Return a name for a target that is the same on every machine."""
    if isinstance(target, Definition):
        return part_name(target.module, target.name)
    return "?" if isinstance(target, Unresolved) else target.name
