"""A module as its source file says: which statements bind which of its names."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from data_pipeline.code_version.names_used import (
    COMPREHENSIONS,
    FUNCTIONS,
    Import,
    bound_names,
    chain,
    import_bindings,
)
from data_pipeline.errors import ConfigurationError

Header = tuple[str, tuple[ast.AST, ...]]
"""What decides whether a statement is executed: the branch, and its conditions."""

_CHANGING = frozenset(
    {"add", "append", "clear", "extend", "insert", "pop", "register", "remove", "set"}
    | {"setdefault", "sort", "update"}
)
_HOLDING = frozenset({"get", "items", "setdefault", "values"})
_HELD = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Binding:
    """Code that binds a name of a module, or changes what the name is bound to.

    Attributes:
        nodes: The statement, or the parts of it that bind.
        headers: The compound statements around it, outermost first.
        imported: What it imports, if it is an import.
        registered: Whether it is a definition with a method of the name as its decorator.
        passed: Whether it is a call that gets what the name is bound to.
        part: The attributes that follow the name, where another name stands for what they mean.
    """

    nodes: tuple[ast.AST, ...]
    headers: tuple[Header, ...] = ()
    imported: Import | None = None
    registered: bool = False
    passed: bool = False
    part: tuple[str, ...] | None = None

    @property
    def is_changeable(self) -> bool:
        """Whether it binds a value that can be changed: no function, class, number or text."""
        value = getattr(self.nodes[0], "value", None)
        is_assigned = isinstance(self.nodes[0], ast.Assign | ast.AnnAssign)
        return is_assigned and not isinstance(value, ast.Constant)


def module_bindings(tree: ast.Module) -> Iterator[tuple[str, Binding]]:
    """Return names that the top of a module binds, and by what; `*` for all names of another."""
    return _bindings(tree.body, ())


def global_bindings(tree: ast.Module) -> Iterator[tuple[str, Binding]]:
    """Return each name that a function declares as `global`, and the function."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            for name in sorted(global_names(node)):
                yield name, Binding((node,))


def global_names(function: ast.AST) -> set[str]:
    """Return the names that a function declares as `global`."""
    return {name for item in _own(function) if isinstance(item, ast.Global) for name in item.names}


def changed_names(function: ast.AST) -> set[str]:
    """Return the names whose values a function changes: by an item, an attribute or a method."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.update(_names(node))
        elif isinstance(root := _changed_by(node), ast.Name):
            found.add(root.id)
    return found


def asked_names(function: ast.AST) -> set[str]:
    """Return the names of which a function calls methods for nothing that they give."""
    calls = (node.value for node in ast.walk(function) if isinstance(node, ast.Expr))
    chains = [chain(call.func) for call in calls if isinstance(call, ast.Call)]
    return {root.id for root, taken in chains if taken and isinstance(root, ast.Name)}


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Return the nodes of a function without those of functions within."""
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
            for name in sorted({*_names(statement), *_changed_in_passing(statement)}):
                yield name, Binding((statement,), headers)
            for name in _passed(statement):
                yield name, Binding((statement,), headers, passed=True)


def _passed(statement: ast.stmt) -> Iterator[str]:
    """Return the names that a statement hands to what it calls, which may change them."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        if getattr(call.func, "id", None) != "print":
            values = [*call.args, *(item.value for item in call.keywords)]
            yield from sorted({value.id for value in values if isinstance(value, ast.Name)})


def _compound(statement: ast.stmt, headers: tuple[Header, ...]) -> Iterator[tuple[str, Binding]]:
    """Return the bindings of `if`, `for`, `while`, `with`, `try` and `match`."""
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
    """Return the names that a simple statement or a part of one binds or changes."""
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
            root, _ = chain(_called_on(item.value))
            if isinstance(root, ast.Name):
                yield root.id
        named = getattr(item, "name", None) or getattr(item, "rest", None)
        if isinstance(named, str):
            yield named
        if not isinstance(item, (ast.Lambda, *COMPREHENSIONS)):
            stack.extend(
                child
                for field, child in _children(item)
                if deep or field not in ("body", "orelse", "finalbody")
            )


def _called_on(call: ast.Call) -> ast.AST:
    """Return what the call of a statement changes: that of `NAMES.append(...)` NAMES."""
    root, attributes = chain(call.func)
    if isinstance(root, ast.Call) and getattr(root.func, "id", None) == "vars" and root.args:
        return root.args[0]  # vars(K).update(...)
    if getattr(root, "id", None) in ("setattr", "delattr") and not attributes and call.args:
        return call.args[0]
    return call.func if attributes else call


def _changed_in_passing(statement: ast.stmt) -> Iterator[str]:
    """Return the names that a method changes within an expression: `[A.append(i) for i in B]`."""
    stack: list[ast.AST] = [statement]
    while stack:
        item = stack.pop()
        if isinstance(root := _changed_by(item), ast.Name):
            yield root.id
        if not isinstance(item, ast.Lambda):
            stack.extend(ast.iter_child_nodes(item))


def _changed_by(item: ast.AST) -> ast.AST | None:
    """Return the root of what a call changes by a method that says so."""
    if isinstance(item, ast.Call):
        root, attributes = chain(item.func)
        if attributes and attributes[-1] in _CHANGING:
            return root
    return None


def changed_chains(node: ast.AST) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Return what a statement changes by items, attributes and methods: names, what follows."""
    for item in ast.walk(node):
        if isinstance(item, ast.Subscript | ast.Attribute) and not isinstance(item.ctx, ast.Load):
            changed: ast.AST = item
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Call):
            changed = _called_on(item.value)
        elif _changed_by(item) is not None:
            changed = getattr(item, "func", item)
        else:
            continue
        root, attributes = chain(changed)
        while isinstance(root, ast.Subscript):
            root, attributes = chain(root.value)
        yield root, attributes


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


READING_METHODS = frozenset({"read_text", "read_bytes", "open"})
"""Methods of paths that read files."""


@dataclass(frozen=True)
class SourcePlace:
    """A function or class, and the functions that it stands in."""

    node: ast.AST
    around: tuple[ast.AST, ...]

    @cached_property
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
        passed: Names of other modules that calls at its top get.
    """

    path: Path
    tree: ast.Module
    bindings: Mapping[str, Sequence[Binding]]
    stars: Sequence[Import]
    may_read_files: bool
    passed: Sequence[tuple[str, Binding]] = ()

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
    """Return the source of a module, parsed once for each state of its file.

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
    """Return the line at which Python lets a function begin: that of its first decorator."""
    lines: list[int] = [item.lineno for item in getattr(node, "decorator_list", [])]
    return min(lines, default=getattr(node, "lineno", 0))


def _aliases(statements: Sequence[ast.stmt]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Return names with attributes, and the names that stand for them or for what is in them."""
    for statement in statements:
        targets: list[ast.expr] = []
        values: list[ast.expr | None] = []
        if isinstance(statement, ast.Assign):
            targets, values = statement.targets, [statement.value, *statement.targets]
        elif isinstance(statement, ast.AnnAssign):
            targets, values = [statement.target], [statement.value]
        elif isinstance(statement, ast.For):
            targets, values = [statement.target], [statement.iter]
        elif isinstance(statement, ast.With):
            targets = [item.optional_vars for item in statement.items if item.optional_vars]
            calls = [item.context_expr for item in statement.items]
            values = [value for call in calls for value in [call, *getattr(call, "args", [])]]
        for value in values:
            root, attributes = _held_by(value)
            for name in [item.id for item in targets if isinstance(item, ast.Name)]:
                if root not in (None, name):
                    yield root or "", attributes, name
        yield from _aliases(getattr(statement, "body", []) if _is_compound(statement) else [])


def _is_compound(statement: ast.stmt) -> bool:
    return not isinstance(statement, (*FUNCTIONS, ast.ClassDef))


def _held_by(value: ast.expr | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the name that holds a value, with attributes: `A` of `A["k"]` and `A.values()`."""
    node: ast.AST | None = value
    attributes: tuple[str, ...] = ()
    while node is not None:
        node, attributes = chain(node)
        if isinstance(node, ast.Name):
            return node.id, attributes
        if isinstance(node, ast.Call):
            method = node.func if isinstance(node.func, ast.Attribute) else None
            node = method.value if method is not None and method.attr in _HOLDING else None
        else:
            node = node.value if isinstance(node, ast.Subscript) else None
    return None, ()


def _changing(name: str, bindings: Sequence[Binding]) -> Iterator[Binding]:
    """Return the statements that change what a name is bound to, not those that bind it."""
    for binding in bindings:
        roots = [root for node in binding.nodes for root, _ in changed_chains(node)]
        if any(isinstance(root, ast.Name) and root.id == name for root in roots):
            yield binding


def _parse(path: Path) -> ModuleSource:
    text = path.read_bytes()
    tree = ast.parse(text, filename=str(path))
    bindings: dict[str, list[Binding]] = {}
    stars: list[Import] = []
    found = [*module_bindings(tree)]
    changeable = {name for name, binding in found if binding.is_changeable}
    imported = {name for name, binding in found if binding.imported is not None}
    for name, binding in found:
        if name == "*" and binding.imported is not None:
            stars.append(binding.imported)
        elif not binding.passed or name in changeable:
            bindings.setdefault(name, []).append(binding)
    for name, part, other in _aliases(tree.body):
        for binding in _changing(other, bindings.get(other, ())):
            if binding not in bindings.setdefault(name, []):
                bindings[name].append(replace(binding, part=part))
    passed = [item for item in found if item[1].passed and item[0] in imported - changeable]
    if b"global " in text:
        for name, binding in global_bindings(tree):
            bindings.setdefault(name, []).append(binding)
    may_read_files = any(f".{name}(".encode() in text for name in READING_METHODS)
    return ModuleSource(path, tree, bindings, stars, may_read_files, passed)
