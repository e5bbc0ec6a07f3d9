"""Which names outside itself a piece of code refers to, by Python's own rules of scope."""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from data_pipeline.code_version.normalised_syntax import unquoted

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Import:
    """What an import statement binds a name to.

    Attributes:
        module: The module, as written; relative to the parent of rank `level`.
        level: How many dots stand before it.
        name: What is taken from the module; None for the module itself.
    """

    module: str
    level: int = 0
    name: str | None = None


@dataclass(frozen=True)
class Reference:
    """A name that is bound elsewhere, with the attributes taken from it: `c.d.f`.

    Attributes:
        name: The name, as it stands in the code.
        attributes: The attributes that follow it.
        line: Where it stands.
        imported: For a name that a function imports by itself: what it imports.
        call: The call that it is the function of.
        after_call: The attributes taken from the result of that call.
        dynamic: Whether an attribute follows that is computed at run time.
        annotation: Whether it only tells a type.
        certain: False where the name may also be bound in place.
        written: Whether an item of it is set or deleted, not read.
    """

    name: str
    attributes: tuple[str, ...]
    line: int
    imported: Import | None = None
    call: ast.Call | None = field(default=None, compare=False)
    after_call: tuple[str, ...] = ()
    dynamic: bool = False
    annotation: bool = False
    certain: bool = True
    written: bool = False

    @property
    def text(self) -> str:
        """The reference as it stands in the code."""
        return ".".join((self.name, *self.attributes))


_MEANT = re.compile(r"@([^\W\d]\w*)")


class Scope:
    """Names that a function, class or comprehension binds; filled while its code is read."""

    def __init__(
        self,
        parent: "Scope | None",
        *,
        is_class: bool = False,
        is_comprehension: bool = False,
    ) -> None:
        self.parent = parent
        self.is_class = is_class
        self.is_comprehension = is_comprehension
        self.bound: set[str] = set()
        self.outer: set[str] = set()
        self.globals: set[str] = set()
        self.imports: dict[str, list[Import]] = {}

    def bind(self, name: str) -> None:
        """Add a name that code in this scope binds."""
        self.bound.add(name)

    def walrus(self) -> "Scope | None":
        """Return the scope that `:=` binds in: around comprehensions; None for the module."""
        scope: Scope | None = self
        while scope is not None and scope.is_comprehension:
            scope = scope.parent
        return scope

    def import_names(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Add the names that an import binds."""
        for name, source in import_bindings(statement):
            self.bound.add(name)
            self.imports.setdefault(name, []).append(source)

    def holds(self, name: str) -> bool:
        """Say whether a name is one of this scope's own, once all of its code has been read."""
        return name in self.bound and name not in self.globals and name not in self.outer


def chain(node: ast.AST) -> tuple[ast.AST, tuple[str, ...]]:
    """Split `a.b.c` into its root and the attributes that follow."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(reversed(attributes))


def import_bindings(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Return each name that an import statement binds, and to what; `*` stands for itself."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            source = Import(statement.module or "", statement.level, alias.name)
            yield alias.asname or alias.name, source
        elif alias.asname:
            yield alias.asname, Import(alias.name)
        else:
            top = alias.name.partition(".")[0]
            yield top, Import(top)


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return every argument of a function."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return every + [item for item in (arguments.vararg, arguments.kwarg) if item is not None]


def parameters(arguments: ast.arguments) -> set[str]:
    """Return the names of every argument of a function."""
    return {argument.arg for argument in arguments_of(arguments)}


def defaults(arguments: ast.arguments) -> list[ast.expr]:
    """Return the default values of the arguments of a function."""
    return [*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None)]


def type_parameters(node: ast.AST) -> set[str]:
    """Return the names of the type parameters of a definition: `T` of `def f[T]()`."""
    return {parameter.name for parameter in getattr(node, "type_params", [])}


def references(
    nodes: Iterable[ast.AST], *, closure: Collection[str] = (), annotations: bool = False
) -> list[Reference]:
    """Return the references of code to names of its module (or builtins), in order.

    Names that it binds by itself are left out, but for those that a function imports.

    Args:
        nodes: Statements or expressions, at the top of a module or within one function.
        closure: Names that are bound by functions around the code.
        annotations: Whether annotations are more than the telling of types, although the function
            has no decorators (as in `normalised_syntax`).
    """
    walk = _Walk()
    for node in nodes:
        walk.visit(node, annotations)
    return walk.references(frozenset(closure))


def bound_names(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    """Return the names that a function binds for itself, its arguments among them."""
    walk = _Walk()
    scope = walk.enter(function)
    walk.run()
    return {name for name in scope.bound if scope.holds(name)}


class _Walk:
    """Reads code once, with a stack of its own, since expressions can nest deeply.

    What a name means is known at the end: a function may bind it after it uses it.
    """

    def __init__(self) -> None:
        self._stack: list[tuple[ast.AST, Scope | None, bool]] = []
        self._uses: list[tuple[Reference, Scope | None]] = []

    def visit(self, node: ast.AST, annotations: bool) -> None:
        """Read a statement or expression at the top."""
        if isinstance(node, FUNCTIONS):
            self._function(node, None, annotations)
        else:
            self._stack.append((node, None, False))
        self.run()

    def run(self) -> None:
        """Read all that is left on the stack."""
        stack = self._stack
        while stack:
            node, scope, telling_type = stack.pop()
            step = _STEPS.get(type(node))
            if step is None:
                for name in node._fields:
                    value = getattr(node, name, None)
                    if isinstance(value, ast.AST):
                        stack.append((value, scope, telling_type))
                    elif isinstance(value, list):
                        stack.extend(
                            (item, scope, telling_type)
                            for item in value
                            if isinstance(item, ast.AST)
                        )
            else:
                step(self, node, scope, telling_type)

    def references(self, closure: frozenset[str]) -> list[Reference]:
        """Return the uses of names that are bound elsewhere."""
        found: list[Reference] = []
        for reference, scope in self._uses:
            local, imports, certain = _lookup(reference.name, scope, closure)
            if not certain:
                found.append(replace(reference, certain=False))
            elif not local:
                found.append(reference)
            else:
                found.extend(replace(reference, imported=source) for source in imports)
        return sorted(found, key=lambda reference: reference.line)

    def enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Scope:
        """Return a scope at the top for a function whose body is to be read."""
        scope = Scope(None)
        scope.bound.update(parameters(node.args))
        self._push(node.body if isinstance(node.body, list) else [node.body], scope)
        return scope

    def _push(
        self, nodes: Iterable[ast.AST], scope: Scope | None, telling_type: bool = False
    ) -> None:
        self._stack.extend((node, scope, telling_type) for node in nodes)

    def _annotation(self, node: ast.expr | None, scope: Scope | None, telling_type: bool) -> None:
        if node is not None:
            self._stack.append((unquoted(node), scope, telling_type))

    def _function(self, node: Any, scope: Scope | None, annotations: bool) -> None:
        if scope is not None:
            scope.bind(node.name)
        telling_type = not (annotations or node.decorator_list)
        inner = Scope(scope)
        inner.bound.update(parameters(node.args), type_parameters(node))
        self._push(node.body, inner)
        for argument in arguments_of(node.args):
            self._annotation(argument.annotation, scope, telling_type)
        self._annotation(node.returns, scope, telling_type)
        self._push([*node.decorator_list, *defaults(node.args)], scope)

    def _inner_function(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        self._function(node, scope, annotations=False)

    def _lambda(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        inner = Scope(scope)
        inner.bound.update(parameters(node.args))
        self._push([node.body], inner)
        self._push(defaults(node.args), scope)

    def _class(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if scope is not None:
            scope.bind(node.name)
        inner = Scope(scope, is_class=True)
        inner.bound.update(type_parameters(node))
        self._push(node.body, inner)
        keywords = [keyword.value for keyword in node.keywords]
        self._push([*node.decorator_list, *node.bases, *keywords], scope)

    def _comprehension(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        inner = Scope(scope, is_comprehension=True)
        first, *others = node.generators
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._push([first.target, *first.ifs, *others, *results], inner)
        self._push([first.iter], scope)  # evaluated where the comprehension stands

    def _walrus(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        around = scope.walrus() if scope is not None else None
        if around is not None:
            around.bind(node.target.id)
        self._stack.append((node.value, scope, telling_type))

    def _import(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if scope is not None:
            scope.import_names(node)

    def _declared(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if scope is not None:
            (scope.globals if isinstance(node, ast.Global) else scope.outer).update(node.names)

    def _named(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        """Read `except ... as name` and patterns."""
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None and scope is not None:
            scope.bind(name)
        self._push(ast.iter_child_nodes(node), scope, telling_type)

    def _annotated(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        in_class = scope is not None and scope.is_class
        self._annotation(node.annotation, scope, not in_class)
        self._push([node.target, *([node.value] if node.value else [])], scope)

    def _augmented(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if isinstance(node.target, ast.Name):
            self._use(node.target, (), scope)  # it is read, too
        self._push([node.target, node.value], scope)

    def _constant(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if telling_type:
            quoted = unquoted(node)
            if quoted is not node:
                self._stack.append((quoted, scope, True))

    def _call(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        arguments: list[ast.AST] = [*node.args, *(item.value for item in node.keywords)]
        root, attributes = chain(node.func)
        if attributes and attributes[-1] in ("eval", "query"):
            for name in _named_in_text(node):
                self._use(name, (), scope, certain=False)
        if not isinstance(root, ast.Name):
            self._push([node.func, *arguments], scope, telling_type)
            return
        self._use(root, attributes, scope, call=node)
        if root.id == "getattr" and not attributes and len(node.args) >= 2:
            target, taken = chain(node.args[0])
            if isinstance(target, ast.Name):
                arguments = arguments[1:]
                name = node.args[1]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    self._use(target, (*taken, name.value), scope)
                else:
                    self._use(target, taken, scope, dynamic=True)
        self._push(arguments, scope, telling_type)

    def _name(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node, (), scope, annotation=telling_type)
        elif scope is not None:
            scope.bind(node.id)

    def _attribute(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        root, attributes = chain(node)
        if isinstance(root, ast.Name):
            self._use(root, attributes, scope, annotation=telling_type)
        elif isinstance(root, ast.Call) and isinstance(chain(root.func)[0], ast.Name):
            name, taken = chain(root.func)
            self._use(name, taken, scope, call=root, after_call=attributes)
            self._push([*root.args, *(item.value for item in root.keywords)], scope)
        else:
            self._stack.append((root, scope, telling_type))

    def _subscript(self, node: Any, scope: Scope | None, telling_type: bool) -> None:
        root, attributes = chain(node.value)
        if isinstance(node.ctx, ast.Load) or not isinstance(root, ast.Name):
            self._push([node.slice, node.value], scope, telling_type)
            return
        self._push([node.slice], scope)
        self._use(root, attributes, scope, written=True)

    def _use(self, node: Any, attributes: tuple[str, ...], scope: Scope | None, **how: Any) -> None:
        self._uses.append((Reference(node.id, attributes, node.lineno, **how), scope))


def _named_in_text(call: ast.Call) -> Iterator[ast.Name]:
    """Return the names that a text means to pandas: `frame.query("price > @LIMIT")`."""
    for argument in [*call.args[:1], *(item.value for item in call.keywords if item.arg == "expr")]:
        for part in ast.walk(argument):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                for name in _MEANT.findall(part.value):
                    yield ast.Name(name, ast.Load(), lineno=call.lineno, col_offset=0)


def _lookup(
    name: str, scope: Scope | None, closure: frozenset[str]
) -> tuple[bool, list[Import], bool]:
    """Say whether a name is bound within the code, by which imports, and how sure that is."""
    start = scope
    certain = True
    while scope is not None:
        if name in scope.globals:
            return False, [], certain
        if scope.holds(name):
            if not scope.is_class or (scope is start and name in scope.imports):
                return True, scope.imports.get(name, []), certain
            if scope is start:
                # The body of a class may use a name of the module before it binds it.
                certain = False
        scope = scope.parent
    return name in closure, [], certain


_STEPS: dict[type[ast.AST], Callable[[_Walk, Any, Scope | None, bool], None]] = {
    **dict.fromkeys(FUNCTIONS, _Walk._inner_function),
    **dict.fromkeys(COMPREHENSIONS, _Walk._comprehension),
    **dict.fromkeys((ast.Import, ast.ImportFrom), _Walk._import),
    **dict.fromkeys((ast.Global, ast.Nonlocal), _Walk._declared),
    **dict.fromkeys(
        (ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping), _Walk._named
    ),
    ast.Lambda: _Walk._lambda,
    ast.ClassDef: _Walk._class,
    ast.NamedExpr: _Walk._walrus,
    ast.AnnAssign: _Walk._annotated,
    ast.AugAssign: _Walk._augmented,
    ast.Constant: _Walk._constant,
    ast.Call: _Walk._call,
    ast.Name: _Walk._name,
    ast.Attribute: _Walk._attribute,
    ast.Subscript: _Walk._subscript,
}
