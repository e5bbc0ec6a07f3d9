"""Which names outside itself a piece of code refers to, by Python's own rules of scope."""

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from data_pipeline.caching.scopes import (
    COMPREHENSIONS,
    FUNCTIONS,
    Import,
    Scope,
    arguments_of,
    defaults,
    outside_body,
    parameters,
    type_parameters,
)
from data_pipeline.caching.syntax import unquoted


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

    @property
    def text(self) -> str:
        """The reference as it stands in the code."""
        return ".".join((self.name, *self.attributes))


def references(
    nodes: Iterable[ast.AST], *, closure: Collection[str] = (), annotations: bool = False
) -> list[Reference]:
    """Gives the references of code to names of its module (or builtins), in order.

    Names that it binds by itself are left out, but for those that a function imports.

    Args:
        nodes: Statements or expressions, at the top of a module or within one function.
        closure: Names that are bound by functions around the code.
        annotations: Whether annotations are more than the telling of types, although the function
            has no decorators (as in `syntax.normalised`).
    """
    walk = _Walk(frozenset(closure))
    for node in nodes:
        walk.visit(node, None, annotations)
    return walk.found


def chain(node: ast.AST) -> tuple[ast.AST, tuple[str, ...]]:
    """Splits `a.b.c` into its root and the attributes that follow."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(reversed(attributes))


class _Walk:
    """Walks through code with a stack of its own, since expressions can nest deeply."""

    def __init__(self, closure: frozenset[str]) -> None:
        self.found: list[Reference] = []
        self._closure = closure
        self._stack: list[tuple[ast.AST, Scope | None, bool]] = []

    def visit(self, node: ast.AST, scope: Scope | None, annotations: bool) -> None:
        if isinstance(node, FUNCTIONS):
            self._function(node, scope, annotations)
        else:
            self._stack.append((node, scope, False))
        while self._stack:
            item, inner, telling_type = self._stack.pop()
            self._step(item, inner, telling_type)

    def _step(self, node: ast.AST, scope: Scope | None, telling_type: bool) -> None:
        if isinstance(node, ast.Name | ast.Attribute):
            self._name(node, scope, telling_type)
        elif isinstance(node, ast.Call):
            self._call(node, scope, telling_type)
        elif isinstance(node, FUNCTIONS):
            self._function(node, scope, annotations=False)
        elif isinstance(node, ast.Lambda):
            self._push(defaults(node.args), scope)
            inner = Scope(scope)
            inner.bound.update(parameters(node.args))
            inner.collect([node.body])
            self._push([node.body], inner)
        elif isinstance(node, ast.ClassDef):
            self._class(node, scope)
        elif isinstance(node, COMPREHENSIONS):
            self._comprehension(node, scope)
        elif isinstance(node, ast.AnnAssign):
            self._annotation(node.annotation, scope, _in_function(scope) or scope is None)
            self._push([node.target, *([node.value] if node.value else [])], scope)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self._add(node.target, (), scope)  # it is read, too
            self._push([node.value], scope)
        elif isinstance(node, ast.Constant) and telling_type:
            quoted = unquoted(node)
            if quoted is not node:
                self._push([quoted], scope, telling_type)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            self._push(list(ast.iter_child_nodes(node)), scope, telling_type)

    def _push(
        self, nodes: Sequence[ast.AST], scope: Scope | None, telling_type: bool = False
    ) -> None:
        self._stack.extend((node, scope, telling_type) for node in reversed(nodes))

    def _annotation(self, node: ast.expr | None, scope: Scope | None, telling_type: bool) -> None:
        if node is not None:
            self._push([unquoted(node)], scope, telling_type)

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        scope: Scope | None,
        annotations: bool,
    ) -> None:
        telling_type = not (annotations or node.decorator_list)
        inner = Scope(scope)
        inner.bound.update(parameters(node.args), type_parameters(node))
        inner.collect(node.body)
        self._push(node.body, inner)
        for argument in arguments_of(node.args):
            self._annotation(argument.annotation, scope, telling_type)
        self._annotation(node.returns, scope, telling_type)
        self._push([*node.decorator_list, *defaults(node.args)], scope)

    def _class(self, node: ast.ClassDef, scope: Scope | None) -> None:
        inner = Scope(scope, is_class=True)
        inner.bound.update(type_parameters(node))
        inner.collect(node.body)
        self._push(node.body, inner)
        self._push(outside_body(node), scope)

    def _comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
        scope: Scope | None,
    ) -> None:
        inner = Scope(scope)
        inner.collect([generator.target for generator in node.generators])
        first, *others = node.generators
        parts: list[ast.AST] = [first.target, *first.ifs, *others]
        parts += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._push(parts, inner)
        self._push([first.iter], scope)  # evaluated where the comprehension stands

    def _call(self, node: ast.Call, scope: Scope | None, telling_type: bool) -> None:
        arguments: list[ast.AST] = [*node.args, *node.keywords]
        root, attributes = chain(node.func)
        if not isinstance(root, ast.Name):
            self._push([node.func, *arguments], scope, telling_type)
            return
        self._add(root, attributes, scope, call=node)
        if root.id == "getattr" and not attributes and len(node.args) >= 2:
            target, taken = chain(node.args[0])
            if isinstance(target, ast.Name):
                arguments = arguments[1:]
                name = node.args[1]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    self._add(target, (*taken, name.value), scope)
                else:
                    self._add(target, taken, scope, dynamic=True)
        self._push(arguments, scope, telling_type)

    def _name(self, node: ast.AST, scope: Scope | None, telling_type: bool) -> None:
        root, attributes = chain(node)
        if isinstance(root, ast.Name):
            if isinstance(root.ctx, ast.Load):
                self._add(root, attributes, scope, annotation=telling_type)
        elif isinstance(root, ast.Call) and isinstance(chain(root.func)[0], ast.Name):
            name, taken = chain(root.func)
            assert isinstance(name, ast.Name)  # noqa: S101  # for the type checker
            self._add(name, taken, scope, call=root, after_call=attributes)
            self._push([*root.args, *root.keywords], scope)
        else:
            self._push([root], scope, telling_type)

    def _add(
        self,
        node: ast.Name,
        attributes: tuple[str, ...],
        scope: Scope | None,
        *,
        call: ast.Call | None = None,
        after_call: tuple[str, ...] = (),
        dynamic: bool = False,
        annotation: bool = False,
    ) -> None:
        local, imports, certain = self._lookup(node.id, scope)
        sources: list[Import | None] = [*imports] if local else [None]
        for source in sources:
            self.found.append(
                Reference(
                    node.id,
                    attributes,
                    node.lineno,
                    source,
                    call,
                    after_call,
                    dynamic,
                    annotation,
                    certain,
                )
            )

    def _lookup(self, name: str, scope: Scope | None) -> tuple[bool, list[Import], bool]:
        """Says whether a name is bound within the code, by which imports, and how sure that is."""
        start = scope
        certain = True
        while scope is not None:
            if name in scope.globals:
                return False, [], certain
            if name in scope.bound:
                if not scope.is_class or (scope is start and name in scope.imports):
                    return True, scope.imports.get(name, []), certain
                if scope is start:
                    # The body of a class may use a name of the module before it binds it.
                    certain = False
            scope = scope.parent
        return name in self._closure, [], certain


def _in_function(scope: Scope | None) -> bool:
    return scope is not None and not scope.is_class
