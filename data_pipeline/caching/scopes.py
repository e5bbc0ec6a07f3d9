"""The scopes of Python code: what a function, class or comprehension binds."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


class Scope:
    """Names that a function, class or comprehension binds."""

    def __init__(self, parent: "Scope | None", *, is_class: bool = False) -> None:
        self.parent = parent
        self.is_class = is_class
        self.bound: set[str] = set()
        self.outer: set[str] = set()
        self.globals: set[str] = set()
        self.imports: dict[str, list[Import]] = {}

    def collect(self, nodes: Iterable[ast.AST], *, comprehension: bool = False) -> None:
        """Finds what nodes bind in this scope, without a look into inner scopes."""
        stack: list[tuple[ast.AST, bool]] = [(node, comprehension) for node in nodes]
        while stack:
            node, inner = stack.pop()
            if isinstance(node, ast.Name):
                # In a comprehension, names are its own but for those that `:=` binds.
                if not inner and not isinstance(node.ctx, ast.Load):
                    self.bound.add(node.id)
            elif isinstance(node, ast.NamedExpr):
                if isinstance(node.target, ast.Name):
                    self.bound.add(node.target.id)
                stack.append((node.value, inner))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for name, source in import_bindings(node):
                    self.bound.add(name)
                    self.imports.setdefault(name, []).append(source)
            elif isinstance(node, ast.Global):
                self.globals.update(node.names)
            elif isinstance(node, ast.Nonlocal):
                self.outer.update(node.names)
            elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                self.bound.add(node.name)
                stack.extend((item, inner) for item in outside_body(node))
            elif isinstance(node, ast.Lambda):
                stack.extend((item, inner) for item in defaults(node.args))
            else:
                # `except ... as name`, or a pattern.
                named: str | None = getattr(node, "name", None) or getattr(node, "rest", None)
                if named is not None:
                    self.bound.add(named)
                inner = inner or isinstance(node, COMPREHENSIONS)
                stack.extend((child, inner) for child in ast.iter_child_nodes(node))
        self.bound -= self.globals | self.outer


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


def outside_body(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.expr]:
    """Gives the expressions of a definition that are evaluated where it stands."""
    if isinstance(node, ast.ClassDef):
        keywords = [keyword.value for keyword in node.keywords]
        return [*node.decorator_list, *node.bases, *keywords]
    return [*node.decorator_list, *defaults(node.args)]


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
