"""A module as its source file says: which statements bind which of its names."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_pipeline.caching.module_bindings import Binding, global_bindings, module_bindings
from data_pipeline.caching.references import bound_names
from data_pipeline.caching.scopes import (
    FUNCTIONS,
    Import,
)
from data_pipeline.errors import ConfigurationError

READING_METHODS = frozenset({"read_text", "read_bytes", "open"})
"""Methods of paths that read files."""


@dataclass(frozen=True)
class SourcePlace:
    """A function or class, and the functions that it stands in."""

    node: ast.AST
    around: tuple[ast.AST, ...]

    @property
    def outer_names(self) -> frozenset[str]:
        """The names that the functions around it bind."""
        names: set[str] = set()
        for function in self.around:
            if isinstance(function, (*FUNCTIONS, ast.Lambda)):
                names |= bound_names(function)
        return frozenset(names)


@dataclass(frozen=True, eq=False)
class ModuleSource:
    """The syntax tree of a source file, indexed by the names that it binds.

    Attributes:
        path: The file.
        tree: Its syntax tree.
        bindings: For each name, what binds it, in the order of the file.
        stars: The modules that it imports all names of.
        may_read_files: Whether a word in it may be a method that reads files.
    """

    path: Path
    tree: ast.Module
    bindings: Mapping[str, Sequence[Binding]]
    stars: Sequence[Import]
    may_read_files: bool

    @cached_property
    def exported(self) -> frozenset[str] | None:
        """The names in `__all__`; None where there is none, or it is no plain list."""
        found: set[str] = set()
        for binding in self.bindings.get("__all__", ()):
            statement = binding.nodes[0]
            value = getattr(statement, "value", None)
            if not isinstance(value, ast.List | ast.Tuple):
                return None
            names = [item.value for item in value.elts if isinstance(item, ast.Constant)]
            found.update(str(name) for name in names)
        return frozenset(found) or None

    @cached_property
    def functions(self) -> Mapping[tuple[int, str], Sequence[SourcePlace]]:
        """The functions, lambdas among them, by first line and name."""
        found: dict[tuple[int, str], list[SourcePlace]] = {}
        for name, located in self._located:
            if not isinstance(located.node, ast.ClassDef):
                key = (first_line(located.node), name.rpartition(".")[2])
                found.setdefault(key, []).append(located)
        return found

    @cached_property
    def classes(self) -> Mapping[str, Sequence[SourcePlace]]:
        """The classes by their qualified names."""
        found: dict[str, list[SourcePlace]] = {}
        for name, located in self._located:
            if isinstance(located.node, ast.ClassDef):
                found.setdefault(name, []).append(located)
        return found

    @cached_property
    def _located(self) -> Sequence[tuple[str, "SourcePlace"]]:
        found: list[tuple[str, SourcePlace]] = []
        stack: list[tuple[ast.AST, str, tuple[ast.AST, ...]]] = [(self.tree, "", ())]
        while stack:
            node, prefix, around = stack.pop()
            for child in ast.iter_child_nodes(node):
                inner, within = prefix, around
                if isinstance(child, (*FUNCTIONS, ast.Lambda)):
                    name = "<lambda>" if isinstance(child, ast.Lambda) else child.name
                    found.append((prefix + name, SourcePlace(child, around)))
                    inner, within = f"{prefix}{name}.<locals>.", (*around, child)
                elif isinstance(child, ast.ClassDef):
                    found.append((prefix + child.name, SourcePlace(child, around)))
                    inner = f"{prefix}{child.name}."
                stack.append((child, inner, within))
        return found


_parsed: dict[Path, tuple[tuple[int, int], ModuleSource]] = {}


def module_source(path: Path) -> ModuleSource:
    """Gives the source of a module, parsed once for each state of its file.

    Raises:
        ConfigurationError: The file cannot be read, or is no valid Python.
    """
    try:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size)
        known = _parsed.get(path)
        if known is None or known[0] != state:
            known = _parsed[path] = (state, _parse(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f"The source file {path} cannot be read to compute code versions: {error}. Repair it, "
            "or give the assets that use it an explicit code_version."
        ) from error
    return known[1]


def first_line(node: ast.AST) -> int:
    """Gives the line at which Python lets a function begin: that of its first decorator."""
    lines: list[int] = [item.lineno for item in getattr(node, "decorator_list", [])]
    return min(lines, default=getattr(node, "lineno", 0))


def _parse(path: Path) -> ModuleSource:
    text = path.read_bytes()
    tree = ast.parse(text, filename=str(path))
    bindings: dict[str, list[Binding]] = {}
    stars: list[Import] = []
    for name, binding in module_bindings(tree):
        if name == "*" and binding.imported is not None:
            stars.append(binding.imported)
        else:
            bindings.setdefault(name, []).append(binding)
    if b"global " in text:
        for name, binding in global_bindings(tree):
            bindings.setdefault(name, []).append(binding)
    may_read_files = any(f".{name}(".encode() in text for name in READING_METHODS)
    return ModuleSource(path, tree, bindings, stars, may_read_files)
