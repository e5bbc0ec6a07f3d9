"""What made a value, as far as the code around it tells: a path, a buffer, an open file."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from data_pipeline.code_version.names_used import (
    FUNCTIONS,
    Reference,
    arguments_of,
    chain,
    references,
)
from data_pipeline.code_version.normalised_syntax import unquoted
from data_pipeline.code_version.project_code import (
    Definition,
    External,
    Module,
    ProjectCode,
    Target,
)
from data_pipeline.code_version.reference_targets import kind_of

PATH = "pathlib.Path"
OURS = "a class of the project"

_PATHS = frozenset({PATH, "pathlib.PosixPath", "pathlib.WindowsPath"})
_TO_PATHS = frozenset(
    {"absolute", "expanduser", "glob", "iterdir", "joinpath", "relative_to", "resolve", "rglob"}
    | {"with_name", "with_segments", "with_stem", "with_suffix"}
)
_FROM_NOWHERE = tuple(f"{path}.{name}" for path in _PATHS for name in ("cwd", "home"))

_A_PATH = ast.Constant(PATH)
"""Stands for an argument that is annotated as a path."""


class Origins:
    """Tells what made the values of a piece of code.

    Args:
        project: The project.
        module: The module that the code stands in.
        nodes: The code.
        found: Its references.
    """

    def __init__(
        self,
        project: ProjectCode,
        module: Module,
        nodes: Sequence[ast.AST],
        found: Iterable[Reference],
    ) -> None:
        self._project = project
        self._module = module
        self._nodes = nodes
        self._calls = {id(item.call): item for item in found if item.call is not None}

    def of(self, value: ast.AST) -> str | None:
        """Return the dotted name of what was called to make a value; None where it is not clear.

        Paths are `PATH`, however they were put together; what a class of the project made, whose
        code can be read, is `OURS`.
        """
        return self._of(value, set())

    def _of(self, value: ast.AST, seen: set[object]) -> str | None:
        """Return the same, of what has not been looked at before: `path = path.parent`."""
        if value is _A_PATH:
            return PATH
        key = (self._module.name, value.id) if isinstance(value, ast.Name) else value
        if key in seen:
            return None
        seen.add(key)
        if isinstance(value, ast.Call):
            return self._of_call(value, seen)
        if isinstance(value, ast.Name):
            return next(filter(None, self._of_name(value, seen)), None)
        inner: list[ast.AST] = []
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div):
            inner = [value.left, value.right]
        elif isinstance(value, ast.Subscript | ast.Attribute):
            # What a path has besides paths, its name say, has none of their methods.
            inner = [value.value]
        return PATH if any(self._of(item, seen) == PATH for item in inner) else None

    def method_calls(self, names: frozenset[str]) -> Iterator[tuple[ast.Call, ast.Attribute]]:
        """Return the calls of methods of these names, of whatever is no module or class."""
        for node in self._nodes:
            for item in ast.walk(node):
                function = getattr(item, "func", None)
                if not isinstance(item, ast.Call) or not isinstance(function, ast.Attribute):
                    continue
                if function.attr in names and not self._is_known(item):
                    yield item, function

    def _is_known(self, call: ast.Call) -> bool:
        """Whether a name of a module says what is called, rather than that of a value."""
        reference = self._calls.get(id(call))
        if reference is None:
            return False
        targets = self._project.resolve(self._module, reference)
        return not any(isinstance(item, Definition) and self._value(item) for item in targets)

    def _of_call(self, call: ast.Call, seen: set[object]) -> str | None:
        reference = self._calls.get(id(call))
        for target in self._project.resolve(self._module, reference) if reference else ():
            if isinstance(target, External):
                return PATH if target.name in (*_PATHS, *_FROM_NOWHERE) else target.name
            if isinstance(target, Definition) and self._is_class(target):
                return OURS
        if not isinstance(call.func, ast.Attribute):
            return None
        made = self._of(call.func.value, seen)
        return made if made != PATH or call.func.attr in _TO_PATHS else None

    def _of_name(self, name: ast.Name, seen: set[object]) -> Iterator[str | None]:
        if name.id in self._bound:
            for value in self._bound[name.id]:
                yield self._of(value, seen)
            return
        for target in self._resolved(name):
            if isinstance(target, Definition) and (found := self._value(target)) is not None:
                module, value = found
                yield Origins(self._project, module, [value], references([value]))._of(value, seen)

    def _is_class(self, target: Definition) -> bool:
        module = self._project.module(target.module)
        source = module.source if module else None
        return source is not None and kind_of(source.bindings.get(target.name, ())) == "class"

    def _value(self, constant: Definition) -> tuple[Module, ast.expr] | None:
        """Return the value that a name of a module is bound to; None for functions and classes."""
        module = self._project.module(constant.module)
        if module is None or module.source is None:
            return None
        for binding in module.source.bindings.get(constant.name, ()):
            value = getattr(binding.nodes[0], "value", None)
            if isinstance(binding.nodes[0], ast.Assign | ast.AnnAssign) and value is not None:
                return module, value
        return None

    @cached_property
    def _bound(self) -> Mapping[str, Sequence[ast.AST]]:
        """What the names within the code are bound to, one entry for each time."""
        found: dict[str, list[ast.AST]] = {}
        for node in self._nodes:
            for item in ast.walk(node):
                for target, value in _bindings(item):
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(value)
                if isinstance(item, (*FUNCTIONS, ast.Lambda)):
                    for argument in arguments_of(item.args):
                        found.setdefault(argument.arg, []).extend(self._of_type(argument))
        return found

    def _of_type(self, argument: ast.arg) -> Iterator[ast.AST]:
        """Return an expression for an argument, if its annotation says that it is a path."""
        annotation = unquoted(argument.annotation) if argument.annotation else None
        for part in ast.walk(annotation) if annotation else ():
            root, attributes = chain(part)
            if isinstance(root, ast.Name) and any(
                isinstance(target, External) and target.name in _PATHS
                for target in self._resolved(root, attributes)
            ):
                yield _A_PATH

    def _resolved(self, name: ast.Name, attributes: tuple[str, ...] = ()) -> list[Target]:
        return self._project.resolve(self._module, Reference(name.id, attributes, name.lineno))


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST | None, ast.AST]]:
    """Return what a statement or a part of one binds, and to what; a loop, to what it goes over."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.withitem):
        yield node.optional_vars, node.context_expr
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield node.target, node.iter
