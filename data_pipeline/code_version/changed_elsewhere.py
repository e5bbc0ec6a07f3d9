"""What the rest of a project does to a definition: what it puts into it, and derives from it.

A registry is empty where it stands; other modules fill it while they are imported. The modules that
are loaded count: another one has not done anything.
"""

import ast
import copy
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.code_version.module_source import (
    Binding,
    ModuleSource,
    asked_names,
    changed_chains,
    changed_names,
    global_names,
)
from data_pipeline.code_version.names_used import (
    FUNCTIONS,
    Reference,
    bound_names,
    chain,
    references,
)
from data_pipeline.code_version.project_code import Definition, Module, ProjectCode

DEFINITIONS = (*FUNCTIONS, ast.ClassDef)

_OURS = __name__.partition(".")[0]
_WORDS = re.compile(rb"\w+")
_EXTENDING = (
    *(f"register_{kind}_accessor" for kind in ("dataframe", "series", "index")),
    *(f"register_{kind}_accessor" for kind in ("dataset", "dataarray")),
    *(f"register_{kind}_namespace" for kind in ("dataframe", "lazyframe", "series", "expr")),
)
"""Decorators of pandas, xarray and polars that give their objects an attribute."""


class ChangedElsewhere:
    """Finds what statements at the top of a project's modules do to definitions of others."""

    def __init__(self, project: ProjectCode) -> None:
        self._project = project
        self._loaded: tuple[int, list[tuple[str, Path]]] = (-1, [])
        self._fillers: dict[Path, dict[str, dict[str, bool]]] = {}
        self._called: dict[str, list[tuple[Any, list[Reference]]]] = {}
        self._changes: dict[str, Sequence[tuple[Definition, Binding]]] = {}
        self._bases: dict[str, Sequence[tuple[Definition, Definition]]] = {}
        self._heirs: dict[Definition, list[Definition]] = {}

    def fillers(self, table: Definition) -> list[Definition]:
        """Return the functions and classes beside a table that change what it holds.

        What this package notes of a project, such as the assets of its stages, makes no result.
        """
        module = self._project.module(table.module)
        if module is None or module.source is None or _is_ours(table.module):
            return []
        path = module.source.path
        if path not in self._fillers:
            self._fillers[path] = _fillers(module.source)
        found = self._fillers[path].get(table.name, {})
        fillers = {Definition(table.module, name): certain for name, certain in found.items()}
        if _only_notes_assets(table):
            return [item for item, certain in fillers.items() if certain]
        return [item for item, certain in fillers.items() if certain or self._is_called(item)]

    def calls(
        self, filler: Definition, seen: frozenset[Definition] = frozenset()
    ) -> Iterator[tuple[Module, ast.stmt]]:
        """Return the statements at the top of modules that call or decorate with a function.

        Those that call another function, which calls this one, come with that function.
        """
        seen |= {filler}
        for module, source in self._mentioning(filler.name, with_ours=True):
            for statement, called in _top_calls(source):
                root, attributes = chain(called)
                if isinstance(root, ast.Name):
                    reference = Reference(root.id, attributes, root.lineno)
                    if filler in self._project.resolve(module, reference):
                        yield module, statement
            for caller, definition in self._callers(module, source, filler):
                if caller not in seen:
                    above = list(self.calls(caller, seen))
                    if above or notices_heirs(definition):
                        yield from [(module, definition), *above]

    def _callers(
        self, module: Module, source: ModuleSource, filler: Definition
    ) -> Iterator[tuple[Definition, ast.stmt]]:
        """Return the functions and classes of a module that call a function within."""
        if _is_ours(module.name):
            return
        if module.name not in self._called:
            self._called[module.name] = [
                (item, [found for found in _within(item) if found.call is not None])
                for item in source.tree.body
                if isinstance(item, DEFINITIONS)
            ]
        for definition, called in self._called[module.name]:
            for reference in called:
                imported = reference.imported and reference.imported.name
                is_named = filler.name in (imported, reference.name, *reference.attributes)
                if is_named and filler in self._project.resolve(module, reference):
                    yield Definition(module.name, definition.name), definition
                    break

    def _is_called(self, function: Definition) -> bool:
        return next(self.calls(function), None) is not None

    def changes(self, target: Definition) -> Iterator[tuple[Module, Binding]]:
        """Return what other modules do to a definition: to items, attributes, or by a method."""
        for module, source in self._mentioning(target.name):
            if module.name == target.module:
                continue
            if module.name not in self._changes:
                self._changes[module.name] = [*self._changes_by(module, source)]
            for changed, binding in self._changes[module.name]:
                if changed == target and not _only_notes_assets(target):
                    yield module, binding

    def heirs(self, base: Definition) -> list[Definition]:
        """Return the classes that are derived from a class, or made by it, at any depth."""
        if base not in self._heirs:
            found = self._heirs[base] = []
            for module, source in self._mentioning(base.name):
                if module.name not in self._bases:
                    self._bases[module.name] = [*self._bases_in(module, source)]
                found += [heir for above, heir in self._bases[module.name] if above == base]
            for heir in [*found]:
                found += [item for item in self.heirs(heir) if item not in found]
        return self._heirs[base]

    @cached_property
    def extensions(self) -> Mapping[str, Sequence[Definition]]:
        """What gives objects of libraries an attribute: classes, by the name of the attribute."""
        found: dict[str, list[Definition]] = {}
        for word in _EXTENDING:
            for module, source in self._mentioning(word):
                for name, kind in _extended_by(source, word):
                    found.setdefault(name, []).append(Definition(module.name, kind))
        return found

    def _changes_by(
        self, module: Module, source: ModuleSource
    ) -> Iterator[tuple[Definition, Binding]]:
        for name, bindings in source.bindings.items():
            if not source.stars and not any(binding.imported for binding in bindings):
                continue
            for binding in bindings:
                if binding.imported is None:
                    for reference in _changed(name, binding):
                        for target in self._others(module, reference):
                            yield target, binding
        for statement in source.tree.body:
            if isinstance(statement, FUNCTIONS):
                for reference in _changed_within(statement):
                    for target in self._others(module, reference):
                        yield target, Binding((statement,))
                maker = Definition(module.name, statement.name)
                for reference in _asked_within(statement):
                    for target in self._others(module, reference):
                        if self._is_changeable(target) and self._is_called(maker):
                            yield target, Binding((statement,))
        for name, binding in source.passed:
            line = getattr(binding.nodes[0], "lineno", 0)
            for target in self._others(module, Reference(name, (), line)):
                if self._is_changeable(target):
                    yield target, binding

    def _others(self, module: Module, reference: Reference) -> Iterator[Definition]:
        """Return the definitions of other modules that a reference means."""
        for target in self._project.resolve(module, reference, changed=True):
            if isinstance(target, Definition) and target.module != module.name:
                yield target

    def _is_changeable(self, target: Definition) -> bool:
        module = self._project.module(target.module)
        source = module.source if module else None
        bindings = source.bindings.get(target.name, ()) if source else ()
        return any(binding.is_changeable for binding in bindings)

    def _bases_in(
        self, module: Module, source: ModuleSource
    ) -> Iterator[tuple[Definition, Definition]]:
        for statement in source.tree.body:
            if isinstance(statement, ast.ClassDef):
                for base in [*statement.bases, *(item.value for item in statement.keywords)]:
                    root, attributes = chain(base)
                    if isinstance(root, ast.Name):
                        reference = Reference(root.id, attributes, root.lineno)
                        for target in self._project.resolve(module, reference):
                            if isinstance(target, Definition):
                                yield target, Definition(module.name, statement.name)

    def _mentioning(
        self, name: str, *, with_ours: bool = False
    ) -> Iterator[tuple[Module, ModuleSource]]:
        """Return the loaded modules in whose text a name occurs; others are not even parsed."""
        if self._loaded[0] != (folders := self._project.folders):
            self._loaded = folders, [*self._project.loaded()]
        word = name.encode()
        for loaded, path in self._loaded[1]:
            if (with_ours or not _is_ours(loaded)) and word in _words(path):
                module = self._project.module(loaded)
                if module is not None and module.source is not None:
                    yield module, module.source


def notices_heirs(node: ast.AST) -> bool:
    """Whether a class does something with the classes that are derived from it, or made by it."""
    if not isinstance(node, ast.ClassDef):
        return False
    methods = {item.name for item in node.body if isinstance(item, FUNCTIONS)}
    if "__init_subclass__" in methods:
        return True
    if any(getattr(item, "attr", None) == "__subclasses__" for item in ast.walk(node)):
        return True
    makes_classes = any(getattr(base, "id", None) == "type" for base in node.bases)
    return makes_classes and bool(methods & {"__init__", "__new__"})


def _changed(name: str, binding: Binding) -> Iterator[Reference]:
    """Return what of a name is changed: itself, or what the attributes that follow mean."""
    if binding.part is not None:
        yield Reference(name, binding.part, getattr(binding.nodes[0], "lineno", 0))
        return
    for node in binding.nodes:
        if binding.registered:
            decorators = getattr(node, "decorator_list", [])
            chains = [chain(getattr(item, "func", item)) for item in decorators]
        else:
            chains = [*changed_chains(node)]
        for root, attributes in chains:
            if isinstance(root, ast.Name) and root.id == name:
                yield Reference(name, attributes, root.lineno)


def _changed_within(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[Reference]:
    """Return what a function changes that it does not bind itself."""
    chains = [*changed_chains(function)]
    for name in changed_names(function) - bound_names(function):
        of_name = [attributes for root, attributes in chains if getattr(root, "id", None) == name]
        for attributes in of_name or [()]:
            yield Reference(name, attributes, function.lineno)


def _only_notes_assets(target: Definition) -> bool:
    """Whether a definition is a stage, which notes its assets, or writes a log."""
    value = getattr(sys.modules.get(target.module), target.name, None)
    is_stage = getattr(type(value), "decorates_assets", False) is True
    return is_stage or isinstance(value, logging.Logger)


def _is_ours(module: str) -> bool:
    """Whether a module is this package's own, which does nothing to a project's definitions."""
    top, _, rest = module.partition(".")
    return top == _OURS and rest.partition(".")[0] != "pipelines"


def _words(path: Path) -> frozenset[bytes]:
    try:
        status = path.stat()
        return _words_of(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return frozenset()


@lru_cache(maxsize=10_000)
def _words_of(path: Path, *_state: int) -> frozenset[bytes]:
    return frozenset(_WORDS.findall(path.read_bytes()))


def _asked_within(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[Reference]:
    """Return what a function calls methods of for what they do, which may change it."""
    for name in asked_names(function) - changed_names(function) - bound_names(function):
        yield Reference(name, (), function.lineno)


def _top_calls(source: ModuleSource) -> Iterator[tuple[ast.stmt, ast.expr]]:
    """Return what is called while a module is imported, each with its statement at the top."""
    for statement in source.tree.body:
        stack: list[ast.AST] = [statement]
        while stack:
            node = stack.pop()
            if isinstance(node, DEFINITIONS):
                for decorator in node.decorator_list:
                    yield statement, getattr(decorator, "func", decorator)
            elif not isinstance(node, ast.Lambda):
                if isinstance(node, ast.Call):
                    yield statement, node.func
                stack += ast.iter_child_nodes(node)


def _extended_by(source: ModuleSource, word: str) -> Iterator[tuple[str, str]]:
    """Return the attributes that a decorator gives to objects of a library, and the classes."""
    for statement in source.tree.body:
        for decorator in getattr(statement, "decorator_list", []):
            root, attributes = chain(getattr(decorator, "func", decorator))
            given = getattr(decorator, "args", [])
            is_named = word in (getattr(root, "id", None), *attributes[-1:])
            if is_named and given and isinstance(given[0], ast.Constant):
                yield str(given[0].value), getattr(statement, "name", "")


def _within(definition: Any) -> list[Reference]:
    """Return the references of a function or class besides those of its decorators."""
    undecorated = copy.copy(definition)
    undecorated.decorator_list = []
    return references([undecorated])


def _fillers(source: ModuleSource) -> dict[str, dict[str, bool]]:
    """Return what changes each name: functions and classes, and whether that is certain."""
    found: dict[str, dict[str, bool]] = {}
    for statement in source.tree.body:
        within = statement.body if isinstance(statement, ast.ClassDef) else [statement]
        for item in within:
            if isinstance(item, FUNCTIONS):
                certain = (changed_names(item) - bound_names(item)) | global_names(item)
                for name in certain | (asked_names(item) - bound_names(item)):
                    if name in source.bindings:
                        by = found.setdefault(name, {})
                        maker = getattr(statement, "name", "")
                        by[maker] = by.get(maker, False) or name in certain
    return found
