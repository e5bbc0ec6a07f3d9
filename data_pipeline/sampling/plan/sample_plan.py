"""The plan of a sample: what becomes of each table, from the specification and the schema alone."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import (
    Budget,
    CoverSettings,
    RootSettings,
    SampleSettings,
)
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.masked_keys import check_alike
from data_pipeline.sampling.plan.roots_and_children import (
    SamplePart,
    TablePlan,
    Way,
    check_parts,
    table_plans,
)
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph
from data_pipeline.store.table_properties import KEY_DECLARATION

_Setting = TypeVar("_Setting")


@dataclass(frozen=True)
class SamplePlan:
    """The plan of a sample of one stage.

    Attributes:
        graph: The tables and their relationships.
        tables: What becomes of each, roots first and each child after the parent it belongs to.
        roots: How much of each root is sampled.
        settings: The specification.
        columns: The columns to cover by table; None: all columns of all tables.
        predicates: The predicates to cover, by table and name.
        pins: The rows that must be there, by table.
        whole: The tables that are to come whole.
        ways: For some tables, with which other one they are drawn.
        where: Conditions of the rows of tables that can be drawn.
        cuts: By table, the columns of references that are cut.
        masks: By table and column, the expressions that stand in the place of columns.
    """

    graph: SchemaGraph
    tables: Mapping[str, TablePlan]
    roots: Mapping[str, RootSettings]
    settings: SampleSettings
    columns: Mapping[str, tuple[str, ...]] | None = None
    predicates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pins: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    ways: Mapping[str, Way] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    cuts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def salt(self) -> int:
        """What is added to every hash."""
        return self.settings.salt

    @property
    def cover(self) -> CoverSettings:
        """What must have a witness row."""
        return self.settings.cover

    @property
    def components(self) -> Mapping[str, frozenset[str]]:
        """For each table, those that are chosen together with it: all that share a size."""
        if isinstance(self.settings.size, Budget):
            return dict.fromkeys(self.graph.keys, frozenset(self.graph.keys))
        return self.graph.components

    @property
    def is_minimal(self) -> bool:
        """Whether only what keeps joins non-empty is asked for."""
        return self.settings.is_minimal

    def part(self, tables: Set[str]) -> "SamplePlan":
        """Return the plan for some of the tables, such that no relationship leads out of them."""
        graph = self.graph.part(tables)
        columns = self.columns
        return replace(
            self,
            graph=graph,
            tables={name: table for name, table in self.tables.items() if name in tables},
            roots={name: root for name, root in self.roots.items() if name in tables},
            columns=None if columns is None else _of(columns, tables),
            predicates=_of(self.predicates, tables),
            pins=_of(self.pins, tables),
            whole=self.whole & tables,
            ways=_of(self.ways, tables),
            where=_of(self.where, tables),
            cuts=_of(self.cuts, tables),
            masks=_of(self.masks, tables),
        )

    def as_json(self) -> dict[str, Any]:
        """Return all that decides which rows are chosen, besides the source's data."""
        keep = {"salt", "hubs", "small_table_rows", "size"}
        of_tables = {
            "keys": [[name, list(key)] for name, key in self.graph.keys.items()],
            "relationships": [str(item) for item in self.graph.relationships],
            "columns": None if self.columns is None else _lists(self.columns),
            "predicates": {name: dict(item) for name, item in self.predicates.items()},
            "pins": {name: [_texts(pin) for pin in pins] for name, pins in self.pins.items()},
            **self._choices(),
        }
        if not self.is_minimal and all(
            item.part is SamplePart.WHOLE for item in self.tables.values()
        ):
            # All rows come, whatever else is said of other tables.
            return of_tables | {"columns": of_tables["columns"] or {}}
        return {
            **of_tables,
            "roots": [[name, root.model_dump(mode="json")] for name, root in self.roots.items()],
            "fan_outs": self.cover.fan_outs,
            "category_limit": self.cover.category_limit,
            **self.settings.model_dump(mode="json", include=keep),
        }

    def _choices(self) -> dict[str, Any]:
        """Return what is said of tables, if anything is: earlier versions could not say it."""
        ways = {name: str(self.tables[name].owner) for name in self.ways}
        said: dict[str, Any] = {"whole": sorted(self.whole), "follow": ways}
        said |= {"where": dict(self.where), "cut": _lists(self.cuts)}
        said["mask"] = {name: dict(item) for name, item in self.masks.items()}
        said["closure_limit"] = self.settings.closure_limit
        if isinstance(self.settings.size, Budget):
            said["rates"] = "from what two ways lead to once"  # earlier versions counted it twice
            if self.settings.size.bytes is not None:
                said["bytes"] = "with a block of each index"  # earlier versions took shares
        return {key: value for key, value in said.items() if value}

    def is_cut(self, item: Relationship) -> bool:
        """Whether rows that a relationship refers to need not come: it becomes NULL then."""
        return any(name in item.columns for name in self.cuts.get(item.child, ()))

    def altered(self, table: str) -> frozenset[str]:
        """Name the columns of a table that have other values in a copy."""
        return frozenset([*self.cuts.get(table, ()), *self.masks.get(table, ())])

    def owned_by(self, table: str) -> list[TablePlan]:
        """Return the tables whose rows are chosen with those of a table."""
        return [
            item
            for item in self.tables.values()
            if item.owner is not None and item.owner.parent == table
        ]


def sample_plan(settings: SampleSettings, graph: SchemaGraph) -> SamplePlan | None:
    """Return the plan for a stage; None where no root is among its tables.

    What is said of `table` is left to the stages that have one of that name; `check_samples` finds
    those that none has.

    Raises:
        ConfigurationError: The specification names a table of this stage, as `stage/table`, that it
            does not have, a way that leads to no root, or a pin that names no primary key.
    """
    if not has_root(settings, graph):
        return None
    roots = _by_table(settings.roots, graph, "roots")
    columns = settings.cover.columns
    ways = _by_table(settings.follow, graph, "follow")
    whole = frozenset(_by_table(dict.fromkeys(settings.whole), graph, "whole"))
    plan = SamplePlan(
        graph=graph,
        tables=table_plans(graph, list(roots), ways, whole),
        roots=roots,
        settings=settings,
        columns=None if columns is None else _by_table(columns, graph, "cover.columns"),
        predicates=_by_table(settings.cover.predicates, graph, "cover.predicates"),
        pins=_by_table(settings.pins, graph, "pins"),
        whole=whole,
        ways=ways,
        where=_by_table(settings.where, graph, "where"),
        cuts=_cuts(settings.cut, graph),
        masks=_by_table(settings.mask, graph, "mask"),
    )
    check_alike(graph, plan.masks)
    for name, pins in plan.pins.items():
        _check_key(graph, name)
        for pin in pins:
            _check_pin(graph, name, pin)
    return plan


def has_root(settings: SampleSettings, graph: SchemaGraph) -> bool:
    """Whether a root is among the tables of a stage."""
    return any(_is_here(name, graph) for name in settings.roots)


def check_declared(settings: SampleSettings, graph: SchemaGraph) -> None:
    """Check what is said of tables by what their assets declare, before there is any table.

    Tables may still have keys and relationships that only the run knows.

    Raises:
        ConfigurationError: A pin names other columns than a declared primary key, or a root has
            another part, too.
    """
    if not has_root(settings, graph):
        return
    for name, pins in _by_table(settings.pins, graph, "pins").items():
        for pin in pins if graph.keys[name] else ():
            _check_pin(graph, name, pin)
    roots = list(_by_table(settings.roots, graph, "roots"))
    whole = frozenset(_by_table(dict.fromkeys(settings.whole), graph, "whole"))
    check_parts(graph, roots, _by_table(settings.follow, graph, "follow"), whole)


def _of(settings: Mapping[str, _Setting], tables: Set[str]) -> dict[str, _Setting]:
    return {name: value for name, value in settings.items() if name in tables}


def _lists(columns: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(value) for name, value in columns.items()}


def _texts(pin: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in pin.items()}


def _is_here(name: str, graph: SchemaGraph) -> bool:
    stage, _, table = name.rpartition("/")
    return stage in ("", graph.stage) and table in graph.keys


def _by_table(
    settings: Mapping[str, _Setting], graph: SchemaGraph, key: str
) -> dict[str, _Setting]:
    """Return what is said of the tables of a stage, by their names there."""
    found: dict[str, _Setting] = {}
    for name, value in settings.items():
        stage, _, table = name.rpartition("/")
        is_elsewhere = not stage and table not in graph.keys
        if stage not in ("", graph.stage) or is_elsewhere:
            continue
        if table not in graph.keys:
            raise ConfigurationError(
                f"sample.{key}: stage `{graph.stage}` has no table `{table}`. "
                f"{_known(table, graph.keys)}"
            )
        if table in found:
            raise ConfigurationError(
                f"sample.{key}: `{table}` and `{graph.stage}/{table}` are the same table. Keep one."
            )
        found[table] = value
    return found


def _known(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(word, names, n=1)
    question = f"Did you mean `{close[0]}`? " if close else ""
    return f"{question}Known here: {', '.join(f'`{name}`' for name in names)}."


def _check_key(graph: SchemaGraph, table: str) -> None:
    if not graph.keys[table]:
        raise ConfigurationError(
            f"sample.pins: rows of `{graph.stage}/{table}` cannot be pinned: its raw table has "
            f"no primary key. Declare one, {KEY_DECLARATION}, or leave the pins out."
        )


def _cuts(references: Iterable[str], graph: SchemaGraph) -> dict[str, tuple[str, ...]]:
    """Return the columns that are cut, by table."""
    found: dict[str, tuple[str, ...]] = {}
    for reference in references:
        named, _, column = reference.partition(".")
        for table in _by_table({named: column}, graph, "cut"):
            items = list(graph.of_child(table))
            if not any(column in item.columns for item in items):
                raise ConfigurationError(
                    f"sample.cut: no relationship of `{graph.stage}/{table}` has the column "
                    f"`{column}`. Its relationships: {listed(map(str, items)) or 'none'}."
                )
            if column not in (others := found.get(table, ())):
                found[table] = (*others, column)
    return found


def _check_pin(graph: SchemaGraph, table: str, pin: Mapping[str, Any]) -> None:
    if set(pin) != set(graph.keys[table]):
        raise ConfigurationError(
            f"{pin_text(graph.stage, table, pin)}: a pin names the columns of the primary key, "
            f"which are {listed(graph.keys[table])}. Correct it."
        )


def pin_text(stage: str, table: str, pin: Mapping[str, Any]) -> str:
    """Name a pin, for messages."""
    key = ", ".join(f"{name}: {value}" for name, value in pin.items())
    return f"sample.pins, {stage}/{table} {{{key}}}"


def open_roots(plan: SamplePlan) -> list[str]:
    """Return the roots whose rate follows from the size of the whole sample."""
    return [n for n, root in plan.roots.items() if root.rate is None and root.rows is None]


def with_rate(plan: SamplePlan, rate: float) -> SamplePlan:
    """Return a plan in which roots without a size of their own have a rate."""
    fitted = dict.fromkeys(open_roots(plan), RootSettings(rate=rate))
    return replace(plan, roots={**plan.roots, **fitted})


def with_cuts(plan: SamplePlan, cuts: Iterable[str]) -> SamplePlan:
    """Return a plan in which these references are cut."""
    settings = plan.settings.model_copy(update={"cut": tuple(cuts)})
    return replace(plan, settings=settings, cuts=_cuts(settings.cut, plan.graph))


def without_limit(plan: SamplePlan) -> SamplePlan:
    """Return a plan of which any part of a table may come since others refer to it."""
    return replace(plan, settings=plan.settings.model_copy(update={"closure_limit": None}))


def rate_note(plan: SamplePlan, rate: float) -> str:
    """Say which rate was chosen for a size."""
    return f"sample.size {plan.settings.size}: the rate of {listed(open_roots(plan))} is {rate:.6g}"
