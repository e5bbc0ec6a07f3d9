"""Names in Python code: what a function, class or comprehension binds, and what it uses."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

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
        """Adds a name that code in this scope binds."""
        self.bound.add(name)

    def walrus(self) -> "Scope | None":
        """Gives the scope that `:=` binds in: around comprehensions; None for the module."""
        scope: Scope | None = self
        while scope is not None and scope.is_comprehension:
            scope = scope.parent
        return scope

    def import_names(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Adds the names that an import binds."""
        for name, source in import_bindings(statement):
            self.bound.add(name)
            self.imports.setdefault(name, []).append(source)

    def holds(self, name: str) -> bool:
        """Says whether a name is one of this scope's own, once all of its code has been read."""
        return name in self.bound and name not in self.globals and name not in self.outer


def chain(node: ast.AST) -> tuple[ast.AST, tuple[str, ...]]:
    """Splits `a.b.c` into its root and the attributes that follow."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(reversed(attributes))


def import_bindings(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Gives each name that an import statement binds, and to what; `*` stands for itself."""
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
    """Gives every argument of a function."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return every + [item for item in (arguments.vararg, arguments.kwarg) if item is not None]


def parameters(arguments: ast.arguments) -> set[str]:
    """Gives the names of every argument of a function."""
    return {argument.arg for argument in arguments_of(arguments)}


def defaults(arguments: ast.arguments) -> list[ast.expr]:
    """Gives the default values of the arguments of a function."""
    return [*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None)]


def type_parameters(node: ast.AST) -> set[str]:
    """Gives the names of the type parameters of a definition: `T` of `def f[T]()`."""
    return {parameter.name for parameter in getattr(node, "type_params", [])}
