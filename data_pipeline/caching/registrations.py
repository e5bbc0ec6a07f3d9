"""Tables that functions fill while modules are imported: `@register("wind")` and the like."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from data_pipeline.caching.module_bindings import changed_names
from data_pipeline.caching.module_source import ModuleSource
from data_pipeline.caching.project_code import Definition, Module, ProjectCode
from data_pipeline.caching.references import bound_names
from data_pipeline.caching.scopes import FUNCTIONS, Reference, chain


class Registrations:
    """Finds what is put into a table of a project by calls at the top of its modules.

    The modules that are loaded count: another one has not put anything into any table.
    """

    def __init__(self, project: ProjectCode) -> None:
        self._project = project
        self._fillers: dict[Path, dict[str, list[str]]] = {}
        self._calls: list[tuple[Module, ast.stmt, Definition]] | None = None

    def fillers(self, table: Definition) -> list[Definition]:
        """Gives the functions beside a table that change what it holds."""
        module = self._project.module(table.module)
        if module is None or module.source is None:
            return []
        path = module.source.path
        if path not in self._fillers:
            self._fillers[path] = _fillers(module.source)
        return [Definition(table.module, name) for name in self._fillers[path].get(table.name, [])]

    def calls(self, filler: Definition) -> Iterator[tuple[Module, ast.stmt]]:
        """Gives the statements at the top of modules that call or decorate with a function."""
        if self._calls is None:
            self._calls = [*self._all_calls()]
        for module, statement, called in self._calls:
            if called == filler:
                yield module, statement

    def _all_calls(self) -> Iterator[tuple[Module, ast.stmt, Definition]]:
        for name in sorted(sys.modules):
            file = getattr(sys.modules[name], "__file__", None)
            if file is None or not self._project.holds(Path(file)):
                continue
            module = self._project.module(name)
            if module is None or module.source is None:
                continue
            for statement, called in _top_calls(module.source):
                root, attributes = chain(called)
                if isinstance(root, ast.Name):
                    reference = Reference(root.id, attributes, root.lineno)
                    for target in self._project.resolve(module, reference):
                        if isinstance(target, Definition):
                            yield module, statement, target


def _top_calls(source: ModuleSource) -> Iterator[tuple[ast.stmt, ast.expr]]:
    for statement in source.tree.body:
        if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            for decorator in statement.decorator_list:
                yield statement, getattr(decorator, "func", decorator)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value.func
            # `register("wind")(parse_wind)`
            yield statement, getattr(call, "func", call)


def _fillers(source: ModuleSource) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in source.tree.body:
        if isinstance(statement, FUNCTIONS):
            for name in sorted(changed_names(statement) - bound_names(statement)):
                if name in source.bindings:
                    found.setdefault(name, []).append(statement.name)
    return found
