"""`Stage`: assets of one stage, each with one line of decorator."""

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeAlias, overload
from weakref import WeakKeyDictionary

import dagster as dg

from data_pipeline.definition_checks import AnyAsset, asset_keys
from data_pipeline.errors import ConfigurationError
from data_pipeline.io_manager.previous import PREVIOUS, with_previous
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline.store.table_properties import Properties, properties, properties_metadata

Function: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Function], dg.AssetsDefinition]
Readable: TypeAlias = "str | Stage | dg.AssetsDefinition | Iterable[Readable]"

_OF_TABLES = frozenset(inspect.signature(properties).parameters)
_LIBRARIES = {"pandas": "pandas", "polars": "polars", "pyarrow": "arrow"}

_known: dict[str, set[str]] = {}
"""The tables of each stage, as far as this process has come to know them."""


@dataclass(frozen=True)
class _Inputs:
    """The inputs of an asset that its stage found by the names of parameters.

    Attributes:
        place: The function, for messages.
        stages: The stages that were looked through, the first one first.
        names: The parameters.
    """

    place: str
    stages: Sequence[str]
    names: Sequence[str]


_found: WeakKeyDictionary[Any, _Inputs] = WeakKeyDictionary()
"""By the node of the asset, which stays the same whatever becomes of the asset's attributes."""


class Stage:
    """A stage: its decorators make ordinary Dagster assets of functions.

    Use it to write tables with one line each: key, group, partitions, kinds and description come
    from the stage and the function, and a parameter is the table of its name in the first of the
    stages in `reads` that has it, else in the stage itself. Assets by `dg.asset` may stand beside.

    Example:
        ```python
        clean = Stage("clean", reads="inputs", owners=["team:data"])

        @clean.table(primary_key="code")
        def airports(airports: sa.Table) -> sa.Select:
            \"\"\"Airports with units in the names of their columns.\"\"\"
            return sa.select(airports.c.code, airports.c.alt.label("altitude_feet"))
        ```

    Attributes:
        name: The name of the stage.
        reads: The names of the stages that its parameters are looked for in, the first one first.
        assets: What its decorators have made, in their order.
    """

    decorates_assets: ClassVar[bool] = True
    """What its decorators say is no code of the function, as with those of Dagster."""

    def __init__(self, name: str, *, reads: Readable = (), **defaults: Any) -> None:
        """Describe a stage.

        Args:
            name: The name, which becomes part of schema names.
            reads: What its functions read, the first one first: stages, their names or assets.
            defaults: Arguments of `dg.asset` for all assets of the stage (`owners`, `tags`, ...);
                an asset's own ones win, `metadata` and `tags` are merged.
        """
        self.name = name
        self.reads = tuple(dict.fromkeys(_stages(reads)))
        self.assets: list[dg.AssetsDefinition] = []
        self._defaults = defaults

    def __repr__(self) -> str:
        return f"Stage({self.name!r}, reads={list(self.reads)})"

    @overload
    def table(self, function: Function, /) -> dg.AssetsDefinition: ...
    @overload
    def table(self, function: None = None, /, **options: Any) -> Decorator: ...
    def table(self, function: Function | None = None, /, **options: Any) -> Any:
        """Make a table of what a function returns: a frame, batches or a query.

        A parameter `previous` is what is there of the table itself, for a function that returns
        increments (`write`): None where it has to return everything.

        Args:
            function: The function, where the decorator stands without brackets.
            options: Properties of the table (`primary_key`, `foreign_keys`, `indexes`, `types`,
                `nullable`, `unlogged`, `replace`, `write`, `deleted`, ...), `source` (what
                `outside_input` takes, for raw tables), and all arguments of `dg.asset`.

        Raises:
            ConfigurationError: A property has a wrong form.
        """
        return self._decorated(function, options)

    @overload
    def view(self, function: Function, /) -> dg.AssetsDefinition: ...
    @overload
    def view(self, function: None = None, /, **options: Any) -> Decorator: ...
    def view(self, function: Function | None = None, /, **options: Any) -> Any:
        """Make a view of the query that a function returns: nothing is copied.

        Args:
            function: The function, where the decorator stands without brackets.
            options: As with `table`.
        """
        return self._decorated(function, options, view=True)

    @overload
    def blob(self, function: Function, /) -> dg.AssetsDefinition: ...
    @overload
    def blob(self, function: None = None, /, **options: Any) -> Decorator: ...
    def blob(self, function: Function | None = None, /, **options: Any) -> Any:
        """Keep the object that a function returns, such as a model, as a file.

        Args:
            function: The function, where the decorator stands without brackets.
            options: Arguments of `dg.asset`.

        Raises:
            ConfigurationError: An option is a property of tables.
        """
        if wrong := sorted(_OF_TABLES & options.keys()):
            raise ConfigurationError(
                f"Stage({self.name!r}).blob({wrong[0]}=...): a blob is no table. Use `table`."
            )
        return self._decorated(function, options)

    def tables(self, outs: Mapping[str, Mapping[str, Any]], **options: Any) -> Decorator:
        """Make several tables of what one function returns or yields, as `dg.multi_asset` does.

        Args:
            outs: By the name of each table: its properties and arguments of `dg.AssetOut`.
            options: Arguments of `dg.multi_asset`.
        """

        def decorate(function: Function) -> dg.AssetsDefinition:
            kinds = _kinds(function, view=False)
            made = {name: self._out(name, out, kinds) for name, out in outs.items()}
            _know(self.name, outs)
            arguments = {"partitions_def": _partitions(self._defaults), **options}
            return self._with_inputs(function, partial(dg.multi_asset, outs=made), arguments)

        return decorate

    def _out(self, name: str, out: Mapping[str, Any], kinds: set[str]) -> dg.AssetOut:
        of_outs = ("owners", "tags", "io_manager_key")
        defaults = {key: self._defaults[key] for key in of_outs if key in self._defaults}
        arguments = _described(defaults, dict(out), view=False)
        key = dg.AssetKey([self.name, name])
        return dg.AssetOut(**{"key": key, "group_name": self.name, "kinds": kinds, **arguments})

    def _decorated(
        self, function: Function | None, options: dict[str, Any], *, view: bool = False
    ) -> Any:
        def decorate(function: Function) -> dg.AssetsDefinition:
            arguments = _described(self._defaults, dict(options), view=view)
            arguments.setdefault("partitions_def", _partitions(self._defaults))
            arguments.setdefault("group_name", self.name)
            arguments.setdefault("kinds", _kinds(function, view=view))
            if "key" not in arguments:
                arguments.setdefault("key_prefix", self.name)
            made = self._with_inputs(function, dg.asset, arguments)
            _know(made.key.path[0], [made.key.path[-1]])
            return made

        return decorate if function is None else decorate(function)

    def _with_inputs(
        self, function: Function, define: Callable[..., Any], arguments: dict[str, Any]
    ) -> dg.AssetsDefinition:
        """Return the asset of a function, with the tables that its parameters stand for."""
        given: Mapping[str, dg.AssetIn] = arguments.get("ins") or {}
        if PREVIOUS in inspect.signature(function).parameters and PREVIOUS not in given:
            function = with_previous(function)
        made: dg.AssetsDefinition = define(**arguments)(function)
        names = [
            name
            for name in inspect.signature(function).parameters
            # Dagster knows which parameters are inputs, not configuration or resources.
            if name in made.keys_by_input_name and not _says_where(given.get(name))
        ]
        if not names:
            self.assets.append(made)
            return made
        ins = dict(given)
        for name in names:
            key = self._most_likely(name, made.keys)
            ins[name] = given.get(name, dg.AssetIn())._replace(key=key, key_prefix=None)
        made = define(**{**arguments, "ins": ins})(function)
        stages = tuple(dict.fromkeys((*self.reads, self.name)))
        _found[made.node_def] = _Inputs(_place(function), stages, names)
        self.assets.append(made)
        return made

    def _most_likely(self, name: str, own: Iterable[dg.AssetKey]) -> dg.AssetKey:
        """Return the table of a name, as far as is known before everything has been imported."""
        itself = {key.path[-1] for key in own}
        for stage in (*self.reads, self.name):
            if name in _known.get(stage, ()) and not (stage == self.name and name in itself):
                return dg.AssetKey([stage, name])
        unknown = [stage for stage in self.reads if stage not in _known]
        return dg.AssetKey([(*unknown, *self.reads, self.name)[0], name])


def resolved(assets: Sequence[AnyAsset]) -> list[AnyAsset]:
    """Return the assets with the tables that parameters stand for, now that all are known.

    Raises:
        ConfigurationError: No stage that an asset reads has a table of a parameter's name.
    """
    keys = {key for asset in assets for key in asset_keys(asset)}
    return [_resolved(a, keys) if isinstance(a, dg.AssetsDefinition) else a for a in assets]


def _resolved(asset: dg.AssetsDefinition, keys: set[dg.AssetKey]) -> dg.AssetsDefinition:
    found = _found.get(asset.node_def) if asset.is_executable else None
    if found is None:
        return asset
    replaced = {}
    for name in found.names:
        before = asset.node_keys_by_input_name[name]
        places = [dg.AssetKey([stage, name]) for stage in found.stages]
        now = next((key for key in places if key in keys - asset.keys), None)
        if now is None:
            raise ConfigurationError(_unknown(asset, name, found, keys))
        if now != before:
            replaced[before] = now
    return asset.with_attributes(asset_key_replacements=replaced) if replaced else asset


def _unknown(asset: dg.AssetsDefinition, name: str, found: _Inputs, keys: set[dg.AssetKey]) -> str:
    tables = sorted({key.path[-1] for key in keys if key.path[0] in found.stages})
    others = sorted(key.to_user_string() for key in keys - asset.keys if key.path[-1] == name)
    near = difflib.get_close_matches(name, tables, n=3, cutoff=0.5)
    told = f"Near: {', '.join(f'`{item}`' for item in near)}. " if near else ""
    if others:
        told += f"There is `{'`, `'.join(others)}`: add its stage to `reads`. "
    known = ", ".join(f"`{item}`" for item in tables) or "no tables"
    return (
        f"{found.place}: the parameter `{name}` is no table of {' or '.join(found.stages)}. {told}"
        f"There one finds {known}. Correct the name, or say what it is: "
        f'ins={{"{name}": dg.AssetIn(key=["stage", "table"])}}.'
    )


def _stages(reads: Any) -> Iterator[str]:
    """Name what a stage reads, and remember what is known of it."""
    if isinstance(reads, str):
        yield reads
    elif isinstance(reads, Stage):
        yield reads.name
    elif isinstance(reads, dg.AssetsDefinition):
        for key in sorted(reads.keys):
            _know(key.path[0], [key.path[-1]])
            yield key.path[0]
    elif isinstance(reads, Iterable):
        for item in reads:
            yield from _stages(item)
    else:
        raise ConfigurationError(
            f"Stage(reads=...): {reads!r} is no stage. Give names of stages, stages or assets."
        )


def _know(stage: str, tables: Iterable[str]) -> None:
    _known.setdefault(stage, set()).update(tables)


def _partitions(defaults: Mapping[str, Any]) -> Any:
    from data_pipeline.instances.partitions import INSTANCE_PARTITIONS

    return defaults.get("partitions_def", INSTANCE_PARTITIONS)


def _described(
    defaults: Mapping[str, Any], options: dict[str, Any], *, view: bool
) -> dict[str, Any]:
    """Return arguments of Dagster, with what is said of the table in the metadata."""
    declared = properties(**{key: options.pop(key) for key in _OF_TABLES & options.keys()})
    declared = replace(declared, view=view)
    of_table = properties_metadata(declared) if declared != Properties() else {}
    source = options.pop("source", None)
    outside = {} if source is None else outside_input(source)
    given = options.pop("metadata", None) or {}
    merged = {**(defaults.get("metadata") or {}), **of_table, **outside, **given}
    tags = {**(defaults.get("tags") or {}), **(options.pop("tags", None) or {})}
    arguments = {**defaults, **options}
    return {**arguments, **_if_any(metadata=merged, tags=tags)}


def _if_any(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _says_where(given: dg.AssetIn | None) -> bool:
    return given is not None and bool(given.key or given.key_prefix)


def _place(function: Function) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"`{getattr(function, '__name__', function)}`{where}"


def _kinds(function: Function, *, view: bool) -> set[str]:
    """Return the kinds that an annotation tells: what a table is made by."""
    returned: Any = None
    with suppress(NameError):  # Dagster will say what is wrong with that annotation
        returned = typing.get_type_hints(function).get("return")
    top = (getattr(returned, "__module__", None) or "").partition(".")[0]
    if view or top == "sqlalchemy":
        is_text = getattr(returned, "__name__", None) == "TextClause"
        return {"sql", "postgres", *(["view"] if view else [] if is_text else ["sqlalchemy"])}
    return {"python", _LIBRARIES[top]} if top in _LIBRARIES else {"python"}
