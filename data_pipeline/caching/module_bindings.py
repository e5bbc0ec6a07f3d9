"""Which statements of a module bind its names, or change what they are bound to."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_pipeline.caching.scopes import COMPREHENSIONS, FUNCTIONS, Import, chain, import_bindings

Header = tuple[str, tuple[ast.AST, ...]]
"""What decides whether a statement is executed: the branch, and its conditions."""

_CHANGING = frozenset({"add", "append", "extend", "insert", "register", "setdefault", "update"})
_HELD = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Binding:
    """Code that binds a name of a module, or changes what the name is bound to.

    Attributes:
        nodes: The statement, or the parts of it that bind.
        headers: The compound statements around it, outermost first.
        imported: What it imports, if it is an import.
        registered: Whether it is a definition with a method of the name as its decorator.
    """

    nodes: tuple[ast.AST, ...]
    headers: tuple[Header, ...] = ()
    imported: Import | None = None
    registered: bool = False


def module_bindings(tree: ast.Module) -> Iterator[tuple[str, Binding]]:
    """Gives each name that the top of a module binds, and by what; `*` for all names of another."""
    return _bindings(tree.body, ())


def global_bindings(tree: ast.Module) -> Iterator[tuple[str, Binding]]:
    """Gives each name that a function declares as `global`, and the function."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            declared = [item.names for item in _own(node) if isinstance(item, ast.Global)]
            for name in sorted({name for names in declared for name in names}):
                yield name, Binding((node,))


def changed_names(function: ast.AST) -> set[str]:
    """Gives the names whose values a function changes: by an item, an attribute or a method."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.update(_names(node))
        elif isinstance(node, ast.Call):
            root, attributes = chain(node.func)
            if isinstance(root, ast.Name) and attributes and attributes[-1] in _CHANGING:
                found.add(root.id)
    return found


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Gives the nodes of a function without those of functions within."""
    stack = list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))


def _bindings(
    statements: Sequence[ast.stmt], headers: tuple[Header, ...]
) -> Iterator[tuple[str, Binding]]:
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, source in import_bindings(statement):
                yield name, Binding((statement,), headers, source)
        elif isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            yield statement.name, Binding((statement,), headers)
            for decorator in statement.decorator_list:
                # `@parse.register` changes `parse`; the decorator of a library, nothing of ours.
                root, attributes = chain(getattr(decorator, "func", decorator))
                if isinstance(root, ast.Name) and attributes:
                    yield root.id, Binding((statement,), headers, registered=True)
        elif hasattr(statement, "body") or hasattr(statement, "cases"):
            yield from _compound(statement, headers)
        else:
            for name in sorted(set(_names(statement))):
                yield name, Binding((statement,), headers)


def _compound(statement: ast.stmt, headers: tuple[Header, ...]) -> Iterator[tuple[str, Binding]]:
    """Gives the bindings of `if`, `for`, `while`, `with`, `try` and `match`."""
    own = tuple(
        part
        for name, value in ast.iter_fields(statement)
        if name not in _HELD
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, ast.AST)
    )
    for name in sorted({name for part in own for name in _names(part)}):
        yield name, Binding(own, headers)
    kind = type(statement).__name__
    for name in ("body", "orelse", "finalbody"):
        held = getattr(statement, name, [])
        yield from _bindings(held, (*headers, (f"{kind} {name}", own)))
    for branch in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
        conditions = tuple(
            part
            for part in (getattr(branch, name, None) for name in ("type", "pattern", "guard"))
            if part is not None
        )
        for name in sorted(set(_names(branch, deep=False))):
            yield name, Binding((*own, *conditions), headers)
        yield from _bindings(branch.body, (*headers, (kind, (*own, *conditions))))


def _names(node: ast.AST, *, deep: bool = True) -> Iterator[str]:
    """Gives the names that a simple statement or a part of one binds or changes."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Name) and not isinstance(item.ctx, ast.Load):
            yield item.id
        elif isinstance(item, ast.Subscript | ast.Attribute) and not isinstance(item.ctx, ast.Load):
            root: ast.AST = item
            while isinstance(root, ast.Subscript | ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name):
                yield root.id
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Call):
            root, attributes = chain(item.value.func)
            if isinstance(root, ast.Name) and attributes:
                yield root.id  # `NAMES.append(...)` changes NAMES
        named = getattr(item, "name", None) or getattr(item, "rest", None)
        if isinstance(named, str):
            yield named
        if not isinstance(item, (ast.Lambda, *COMPREHENSIONS)):
            stack.extend(
                child
                for field, child in _children(item)
                if deep or field not in ("body", "orelse", "finalbody")
            )


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child
