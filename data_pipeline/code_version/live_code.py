"""From functions in memory to their source: where an asset's code begins.

What a name at the top of a module means is read from source files. Only a function that another
function made, and what it closes over, has to be looked at as it is in memory.
"""

import ast
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import dagster as dg

from data_pipeline.code_version.code_parts import CodePart, CodeParts
from data_pipeline.code_version.module_source import SourcePlace, first_line
from data_pipeline.code_version.names_used import FUNCTIONS, references
from data_pipeline.code_version.normalised_syntax import digest
from data_pipeline.code_version.own_names import part_name
from data_pipeline.code_version.project_code import Definition, Module, WholeModule
from data_pipeline.code_version.reference_targets import Warned
from data_pipeline.errors import ConfigurationError, UnstableValueError
from data_pipeline.transfer.stable_hash import stable_hash

# Dagster keeps the function of an op in `OpDefinition.compute_fn`, for decorated functions wrapped
# in an object with the attribute `decorated_fn`; neither is documented. This module, and no other,
# reads them; `data_pipeline_tests/code_version/test_code_version_assets.py` fails when they change.


def asset_functions(asset: dg.AssetsDefinition) -> Mapping[str, Callable[..., Any]]:
    """Return the functions of an asset by the names of their ops; none for an external asset."""
    return {operation.name: _function(operation) for operation in _operations(asset)}


def asked_resources(asset: dg.AssetsDefinition) -> set[str]:
    """Return the keys of the resources that the ops of an asset ask for."""
    return {key for operation in _operations(asset) for key in operation.required_resource_keys}


def io_managers(asset: dg.AssetsDefinition) -> set[str]:
    """Return the keys of what loads the inputs of an asset, where it says so, and stores it."""
    operations = list(_operations(asset))
    stored_by = {made.io_manager_key for operation in operations for made in operation.output_defs}
    return stored_by.union(*map(input_managers, operations))


def input_managers(operation: dg.OpDefinition) -> set[str]:
    """Return the keys of what loads the inputs of an op, where it says so."""
    return {item.input_manager_key for item in operation.input_defs if item.input_manager_key}


def declared(asset: dg.AssetsDefinition) -> Any:
    """Return what an asset's decorators say of it that its code can read by its context."""
    tags = [dict(operation.tags) for operation in _operations(asset)]
    specs = sorted(asset.specs, key=lambda spec: spec.key)
    said = [(spec.key, spec.metadata, spec.tags, spec.group_name) for spec in specs]
    return tags, [
        (key, {n: v for n, v in metadata.items() if not n.startswith(_OWN_METADATA)}, *others)
        for key, metadata, *others in said
    ]


def declared_inputs(asset: dg.AssetsDefinition) -> Mapping[str, tuple[Any, Any]]:
    """Return what decorators say of inputs: metadata, and defaults that functions do not have."""
    found: dict[str, tuple[Any, Any]] = {}
    for operation in _operations(asset):
        function = getattr(operation.compute_fn, "decorated_fn", None)
        own = inspect.signature(function).parameters if function else {}
        for item in operation.input_defs:
            default = item.default_value if item.has_default_value else None
            if item.name in own and default is own[item.name].default:
                default = None
            if default is not None or item.metadata:
                found[f"{operation.name}.{item.name}"] = (default, dict(item.metadata or {}))
    return found


def declared_versions(asset: dg.AssetsDefinition) -> Mapping[str, str]:
    """Return the versions that ops of a graph asset declare of themselves, by their names."""
    # Its property `version` warns, and says to use one that there is not.
    return {item.name: item._version for item in _operations(asset) if item._version is not None}


def asset_structure(asset: dg.AssetsDefinition) -> list[str]:
    """Return how the ops of a graph asset depend on each other; nothing for other assets."""
    node = asset.node_def if asset.is_executable else None
    return sorted(_structure(node)) if isinstance(node, dg.GraphDefinition) else []


def _operations(asset: dg.AssetsDefinition) -> Iterable[dg.OpDefinition]:
    if not asset.is_executable:
        return []
    node = asset.node_def
    return [node] if isinstance(node, dg.OpDefinition) else node.iterate_op_defs()


def _structure(graph: dg.GraphDefinition) -> Iterator[str]:
    for node, inputs in graph.dependencies.items():
        for name, dependency in inputs.items():
            sources = [(item.node, item.output) for item in dependency.get_node_dependencies()]
            yield f"{graph.name}: {node.alias or node.name}({node.name}).{name} = {sources}"
    for inner in graph.node_defs:
        if isinstance(inner, dg.GraphDefinition):
            yield from _structure(inner)


def _function(operation: dg.OpDefinition) -> Callable[..., Any]:
    function: Any = operation.compute_fn
    function = getattr(function, "decorated_fn", function)
    # What only hands values to the function is no code of it.
    while getattr(function, "supplies_values", False):
        function = function.__wrapped__
    return cast("Callable[..., Any]", function)


_WRITTEN_TYPES = (types.GenericAlias, types.UnionType, typing.TypeVar)
_OWN_METADATA = ("data_pipeline/", "dagster/")
_CONTAINERS = (dict, list, tuple, set, frozenset, str, bytes, int, float)
_METHODS: tuple[type, ...] = (types.FunctionType, property, staticmethod, classmethod)
_METHODS += (functools.cached_property, functools.partialmethod, functools.singledispatchmethod)
_UNSET = ("_MISSING_TYPE", "PydanticUndefinedType")
"""Types of what stands where a field has no default."""
_CALLABLE_BUILTINS = (types.BuiltinFunctionType, types.MethodDescriptorType)


class LiveCode:
    """Collects the parts of functions in memory, and of what they close over."""

    def __init__(self, parts: CodeParts) -> None:
        self._parts = parts
        self._seen: dict[int, tuple[Any, str]] = {}
        self.found: dict[str, CodePart] = {}

    def follow(self, entry: Callable[..., Any]) -> None:
        """Add the code of an asset: a function, or whatever else can be called."""
        own = inspect.unwrap(entry) if callable(entry) else entry
        for function in (own, entry):
            if isinstance(function, types.FunctionType):
                self._function(function, own=True)
        if not isinstance(entry, types.FunctionType):
            self._value("the asset", "its callable", entry, "the asset")

    def hold(self, name: str, what: str, value: Any) -> None:
        """Add a value that an asset gets from its definition.

        Args:
            name: The asset.
            what: What the value is, in words.
            value: The value.
        """
        self._value(name, what, value, name)

    def follow_resource(self, resource: Any) -> None:
        """Add the code of a resource: its class, its function, or what an object is made of.

        What an object holds counts by itself, as the configuration of a class does.
        """
        if callable(resource) and not isinstance(resource, type):
            resource = inspect.unwrap(resource)
        # An object without a stable identity never counts as unchanged, whatever its code is.
        with suppress(UnstableValueError):
            stable_hash(resource, substitute=self._substitute)

    def _function(self, function: types.FunctionType, *, own: bool = False) -> str:
        """Add a function, and gives the name of its part."""
        if id(function) in self._seen:
            return self._seen[id(function)][1]
        path = Path(function.__code__.co_filename)
        if not path.is_file():
            return self._unknown(function, str(path), "a function that was made without a file")
        self._parts.project.module(function.__module__)  # which may be a package beside
        if not self._parts.project.holds(path):
            return self._library_function(function)
        module = self._parts.project.add(function.__module__, path)
        name = self._named(function, part_name(function.__module__, function.__qualname__))
        held = located_function(module, function)
        place = f"{path}:{function.__code__.co_firstlineno}"
        if not held:
            raise ConfigurationError(
                f"`{name}` is not where it was in {place}: the file has changed since it was "
                "imported. Reload the code location to compute its code version."
            )
        self._add(module, name, "own function" if own else "function", held, annotations=own)
        self._decorators(module, name, function, held, place)
        self._closure(function, name, place)
        self._given_defaults(function, name, place)
        return name

    def _add(
        self,
        module: Module,
        name: str,
        kind: str,
        held: Sequence[SourcePlace],
        *,
        annotations: bool = False,
    ) -> None:
        outer = frozenset[str]().union(*(located.outer_names for located in held))
        nodes = [located.node for located in held]
        part = self._parts.of_function(
            module, name, kind, nodes, closure=outer, annotations=annotations
        )
        self.found[name] = part

    def _decorators(
        self,
        module: Module,
        name: str,
        function: types.FunctionType,
        held: Sequence[SourcePlace],
        place: str,
    ) -> None:
        """Warn of variables that a library's decorator got from the function around.

        Those that the function closes over count by that (`functools.wraps`), and those of a
        decorator in the project are found in what its function closes over.
        """
        for located in held:
            given = self._parts.given_to_libraries(module, located.node) & located.outer_names
            for variable in sorted(given - {*function.__code__.co_freevars}):
                key = f"{name}: decorator `{variable}`"
                what = f"`{variable}`, which is given to the decorator of `{name}`"
                self.found[key] = CodePart(key, "value", "", (), (Warned(place, what),))

    def _named(self, function: Any, name: str) -> str:
        """Return a part a name of its own: a factory makes many functions of one name."""
        taken = sum(other == name or other.startswith(f"{name}#") for other in self.found)
        name = f"{name}#{taken + 1}" if taken else name
        self._seen[id(function)] = (function, name)
        return name

    def _library_function(self, function: types.FunctionType) -> str:
        """Follow what a library's function wraps or closes over."""
        name = f"{function.__module__}.{function.__qualname__}"
        self._seen[id(function)] = (function, name)
        held = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
        for value in (*held, getattr(function, "__wrapped__", None)):
            for item in value.values() if isinstance(value, dict) else [value]:
                if isinstance(item, types.FunctionType):
                    self._function(item)
                elif self._module_of(type(item)) is not None:
                    self._class(type(item))
        return name

    def _closure(self, function: types.FunctionType, name: str, place: str) -> None:
        variables = function.__code__.co_freevars
        for variable, cell in zip(variables, function.__closure__ or (), strict=True):
            if _is_set(cell):
                self._value(name, f"`{variable}`", cell.cell_contents, place)

    def _given_defaults(self, function: types.FunctionType, name: str, place: str) -> None:
        """Add the defaults of a function within a function: they may be that one's variables."""
        if "<locals>" not in function.__qualname__:
            return
        for parameter in inspect.signature(function, follow_wrapped=False).parameters.values():
            if parameter.default is not parameter.empty:
                what = f"default of `{parameter.name}`"
                self._value(name, what, parameter.default, place)

    def _value(self, name: str, what: str, value: Any, place: str) -> None:
        """Add a value by its content, and the code of all functions and classes in it."""
        warned: tuple[Warned, ...] = ()
        try:
            said = stable_hash(value, substitute=self._substitute)[:16]
        except UnstableValueError as error:
            said = ""
            warned = (Warned(place, f"{what}, which `{name}` has from outside: {error}"),)
        key = f"{name}: {what}"
        self.found[key] = CodePart(key, "value", said, (), warned)

    def _substitute(self, value: Any) -> Any:
        """Return plain data for functions, classes and what holds them; follows their code."""
        if isinstance(value, types.FunctionType):
            return "function", self._function(value)
        if isinstance(value, functools.partial):
            return "partial", value.func, value.args, value.keywords
        if isinstance(value, types.MethodType):
            return "method", value.__func__, value.__self__
        if isinstance(value, staticmethod | classmethod):
            return type(value).__name__, value.__func__
        if isinstance(value, type) and not isinstance(value, types.GenericAlias):
            return "class", self._class(value)
        if isinstance(value, types.ModuleType):
            self._follow_target(value.__name__, WholeModule(value.__name__))
            return "module", value.__name__
        if isinstance(value, _CALLABLE_BUILTINS):
            owner = getattr(value, "__self__", None)
            kept = None if isinstance(owner, types.ModuleType) else owner
            return "builtin", value.__module__, value.__qualname__, kept
        if isinstance(value, _WRITTEN_TYPES) or type(value).__module__ == "typing":
            return "type", repr(value)
        if isinstance(value, dg.AssetKey):
            return "asset key", value.path
        if isinstance(value, dg.AssetSpec):
            # What is read from it, not when and for which partitions it is computed.
            deps = [dep.asset_key for dep in value.deps]
            return "asset spec", value.key, deps, value.metadata, value.tags, value.group_name
        if isinstance(value, dg.AssetsDefinition):
            return "asset", list(asset_functions(value).values())
        if callable(getattr(value, "__wrapped__", None)):
            return "wrapper", type(value).__qualname__, value.__wrapped__
        return self._object(value)

    def _object(self, value: Any) -> Any:
        """Follow the class of an object; its content is that of its attributes."""
        kind = type(value)
        if self._module_of(kind) is None:
            return NotImplemented
        name = self._class(kind)
        plain = hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__pydantic_fields__")
        state = object.__getstate__(value)
        if state is None and hasattr(value, "__dict__"):
            state = {}
        base = next((item for item in _CONTAINERS if isinstance(value, item)), None)
        if plain or (state is None and base is None) or hasattr(kind, "_member_map_"):
            return NotImplemented
        # With slots, the state is a pair.
        return "object", name, state, *([base(value)] if base else [])

    def _class(self, kind: type) -> str:
        """Add a class, and gives its name."""
        name = part_name(kind.__module__, kind.__qualname__)
        module = self._module_of(kind)
        if module is None or module.source is None or id(kind) in self._seen:
            return self._seen.get(id(kind), (None, name))[1]
        top = kind.__qualname__.partition(".")[0]
        if "<locals>" not in kind.__qualname__ and self._parts.project.binds(module, top):
            self._seen[id(kind)] = (kind, name)
            self._follow_target(part_name(kind.__module__, top), Definition(module.name, top))
            return name
        name = self._named(kind, name)
        held = module.source.classes.get(kind.__qualname__, ())
        if not held:
            return self._unknown(kind, name, "a class that was made without a source file")
        self._add(module, name, "class", held)
        for method in _methods(kind):
            if self._parts.project.holds(Path(method.__code__.co_filename)):
                self._closure(method, f"{name}.{method.__name__}", name)
                self._given_defaults(method, f"{name}.{method.__name__}", name)
        for base in kind.__bases__:
            self._class(base)
        if any(_names_outside_methods(located) & located.outer_names for located in held):
            said = [kind.__bases__, *_attributes(kind)]
            self._value(name, "attributes", said, name)
        return name

    def _module_of(self, kind: type) -> Module | None:
        return self._parts.project.module(kind.__module__)

    def _follow_target(self, name: str, target: Definition | WholeModule) -> None:
        if isinstance(target, WholeModule) and self._parts.project.module(target.name) is None:
            return
        key = f"{name} (by value)"
        self.found[key] = CodePart(key, "value", digest(name), ((target, False),))

    def _unknown(self, value: Any, place: str, what: str) -> str:
        name = f"{value.__module__}.{value.__qualname__}"
        self._seen[id(value)] = (value, name)
        self.found[name] = CodePart(name, "value", "", (), (Warned(place, f"{what}: `{name}`"),))
        return name


def located_function(module: Module, function: types.FunctionType) -> Sequence[SourcePlace]:
    """Return where a function stands in its source; several if lambdas cannot be told apart."""
    code = function.__code__
    if module.source is not None and "<locals>" not in function.__qualname__:
        # The usual case, without a look at the whole module.
        bindings = module.source.bindings.get(function.__qualname__, ())
        own = [node for binding in bindings for node in binding.nodes]
        own = [node for node in own if isinstance(node, FUNCTIONS)]
        own = [node for node in own if first_line(node) == code.co_firstlineno]
        if own:
            return [SourcePlace(own[0], ())]
    held = (
        module.source.functions.get((code.co_firstlineno, code.co_name), ())
        if module.source
        else ()
    )
    if len(held) < 2:
        return held
    # Python keeps for each instruction what part of the line it comes from.
    # Those of no width are its own.
    spots = [spot for spot in code.co_positions() if None not in spot and spot[2] != spot[3]]
    inside = [located for located in held if all(_holds(located.node, spot) for spot in spots)]
    narrow = [node for node in inside if not any(node.node in item.around for item in inside)]
    return narrow or held


def _holds(node: ast.AST, spot: Sequence[int | None]) -> bool:
    if not isinstance(node, ast.expr):
        return True
    line, end_line, column, end_column = spot
    start = (node.lineno, node.col_offset)
    end = (node.end_lineno or 0, node.end_col_offset or 0)
    return start <= (line or 0, column or 0) and (end_line or 0, end_column or 0) <= end


def _methods(kind: type) -> Iterator[types.FunctionType]:
    """Return the functions of a class, also those of its properties."""
    parts = ("fget", "fset", "fdel", "__func__", "func")
    for item in vars(kind).values():
        if isinstance(item, _METHODS):
            for function in (item, *(getattr(item, part, None) for part in parts)):
                if isinstance(function, types.FunctionType):
                    yield function


def _attributes(kind: type) -> Iterator[tuple[str, Any]]:
    """Return what a class holds besides methods, and the defaults of its fields."""
    for name, item in vars(kind).items():
        is_internal = name == "_abc_impl" or (name.startswith("_") and name.endswith("_"))
        if not is_internal and not isinstance(item, (*_METHODS, types.MemberDescriptorType)):
            yield name, item
    for fields in ("__dataclass_fields__", "__pydantic_fields__"):
        for name, field in vars(kind).get(fields, {}).items():
            for value in (field.default, field.default_factory):
                if type(value).__name__ not in _UNSET:
                    yield name, value


def _names_outside_methods(located: SourcePlace) -> set[str]:
    """Return the names that a class refers to while it is made."""
    node = located.node
    statements = [item for item in getattr(node, "body", []) if not isinstance(item, FUNCTIONS)]
    keywords = [item.value for item in getattr(node, "keywords", [])]
    made_of = [*statements, *getattr(node, "bases", []), *keywords]
    found = references([*made_of, *getattr(node, "decorator_list", [])])
    return {reference.name for reference in found}


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # raises if the variable has no value yet
    except ValueError:
        return False
    return True
