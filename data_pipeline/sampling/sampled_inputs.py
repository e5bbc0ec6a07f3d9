"""The input tables of an instance that samples: chosen together, in one state of the source."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import RelationName, StageTable, few
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_by
from data_pipeline.results.query_identity import QueryIdentity
from data_pipeline.results.table_query import compiled
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.copied_rows import columns_of, copied_rows, places_table
from data_pipeline.sampling.engine.outputs import COMMON, OTHERS, OUTPUT, may_be_written
from data_pipeline.sampling.engine.selection_state import (
    Workspace,
    chosen_rows,
    copied_view,
    lock_for_selection,
    work_table,
)
from data_pipeline.sampling.engine.source_facts import SourceFacts
from data_pipeline.sampling.engine.source_tables import SourceTable
from data_pipeline.sampling.kept_facts import keep_facts, known_facts
from data_pipeline.sampling.plan.sample_plan import SamplePlan, has_root, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.prediction.budget import sized_selection
from data_pipeline.sampling.prediction.predictions import log_selection, log_sizes
from data_pipeline.sampling.weights import (
    marked,
    roles_of_chosen,
    roles_of_written,
    roles_table,
    weighted_view,
    with_declared_key,
)
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed, made_from
from data_pipeline.store.reading import fetch, known_properties, properties_of
from data_pipeline.store.relation_state import verdict_on
from data_pipeline.store.table_properties import Properties, Table, Written
from data_pipeline.transfer.stable_hash import fingerprint

if TYPE_CHECKING:
    from data_pipeline.sampling.engine import Selection

Versions = Mapping[str, str | None]
"""Data versions by `instance/stage/table`; None where one is not known."""


@dataclass(frozen=True)
class OwnRows:
    """The rows of a source table that a function of the user leaves to choose from.

    Attributes:
        query: The query for them.
        reads: The input tables behind whose sources it looks.
    """

    query: sa.SelectBase | sa.TextClause | sa.FromClause
    reads: frozenset[str]

    def of(self, source: sa.Table) -> sa.Select[Any]:
        """Return the query for them with the columns of the source, in their order."""
        columns = [sa.column(column.name, column.type) for column in source.c]
        rows = sa.text(f"(\n{compiled(self.query)}\n) AS own".replace(":", r"\:"))
        return sa.select(*columns).select_from(rows)


Own = Callable[[Mapping[str, sa.Table]], Mapping[str, OwnRows]]
"""Gives, of the source tables, the rows of those of which not all are there to choose from."""


@dataclass(frozen=True)
class Request:
    """What a step is to give.

    Attributes:
        instance: The instance.
        stage: The stage of the input tables.
        raw: The raw table behind each input table, in order of declaration.
        declared: What the raw assets declare of them.
        tables: The input tables that are asked for.
        roles: Those whose roles are asked for.
        forced: Whether everything is to be chosen anew.
        stable: Whether tables that are there stay as they are, whatever their source has become.
        own: What the rows are chosen from; None: all rows.
    """

    instance: Instance
    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]
    tables: frozenset[str]
    roles: frozenset[str] = frozenset()
    forced: bool = False
    stable: bool = False
    own: Own | None = None

    @property
    def source(self) -> Instance:
        """The instance that the rows come from.

        Raises:
            ConfigurationError: It has only a part of the rows, so probabilities would be wrong.
        """
        source = self.instance.source
        if source is None:
            raise AssertionError("what loads for itself has no sample")
        # Found out when everything is loaded, but for assets without `instance_definitions`.
        if (thin := thinned_by(source, self.stage, self.raw)) is not None:
            what, remedy = reason_and_remedy(self.instance, thin)
            raise ConfigurationError(f"Stage `{self.stage}`: {what}. {remedy}")
        return source

    @property
    def place(self) -> str:
        """What tells its working tables from those of other pipelines that share the stage."""
        return ", ".join([self.stage, *sorted(map(str, self.raw.values()))])

    @property
    def origins(self) -> Mapping[str, StageTable]:
        """The table of the source behind each input table."""
        return {
            name: made_from(self.instance, raw, StageTable(self.stage, name))[1]
            for name, raw in self.raw.items()
        }


class How(Enum):
    """How the rows of a table came about."""

    WRITTEN = "in a copy that was written while they were chosen"
    CHOSEN = "known by their places"
    WHOLE = "all of them"


class SampledInputs:
    """The input tables of one stage as a sample; made by `sampled_inputs`."""

    def __init__(
        self,
        request: Request,
        plan: SamplePlan,
        sources: Mapping[str, sa.Table],
        versions: Mapping[str, str | None],
    ) -> None:
        self._own = request.own(sources) if request.own else {}
        self._request = request
        self._plan = plan
        self._sources = sources
        self._versions = versions
        self._relations: dict[str, sa.Table] = {}
        self._how: dict[str, How] = {}
        self._kept_versions: dict[str, Versions] = {}
        self.selection: Selection | None = None

    def choose(self, log: logging.Logger) -> None:
        """Choose the rows of those tables that are not up to date, and of what is near them."""
        graph = self._plan.graph
        with database(self._request.instance).begin() as connection:
            self._relations = {name: self._relation(connection, name) for name in self._sources}
            if self._request.stable:
                self._kept_versions = {
                    name: self._recorded(connection, name) for name in self._sources
                }
            rows = catalog.rows(connection, self._request.instance.catalog_schema)
            needed = {
                name
                for name in sorted(self._request.tables | self._request.roles)
                if self._request.forced or not self._is_kept(connection, name, rows)
            }
            tables = frozenset[str]().union(*(self._plan.components[name] for name in needed))
            for name in tables:
                self._kept_versions.pop(name, None)  # what belongs together is chosen together
            current = {name: self._current(name) for name in self._kept_versions}
            log_not_taken(log, self._kept_versions, current)
            if not tables:
                log.info(f"The sample of stage `{graph.stage}` is up to date: nothing is chosen")
                return
            schema = self._request.instance.sample_work_schema
            facts = self._known_facts(connection)
            space = Workspace.open(connection, schema, self._request.place, facts)
            space.outputs = self._outputs(tables)
            for name in tables:
                if self._relations[name] is not self._sources[name]:
                    space.create(self._copied(name), "copy", name)
            relations = {name: self._relations[name] for name in graph.keys if name in tables}
            sized = sized_selection(space, self._plan.part(tables), relations)
            self.selection = sized.selection
            keep_facts(connection, self._request.instance, self._request.place, tables, facts)
            if sized.selection.outputs and database(self._request.instance).keeps_sessions:
                # Else the server would be told later what it has inserted.
                run(connection, "SELECT pg_stat_force_next_flush()")
        for name, chosen in self.selection.rows.items():
            written = How.WRITTEN if name in self.selection.outputs else How.CHOSEN
            self._how[name] = How.WHOLE if chosen is None else written
        log_selection(log, self.selection)
        log_sizes(log, sized)

    def _known_facts(self, connection: sa.Connection) -> SourceFacts:
        in_place = {
            name: table for name, table in self._sources.items() if self._relations[name] is table
        }
        instance, place = self._request.instance, self._request.place
        return known_facts(connection, instance, place, in_place, self._versions)

    def table(self, name: str) -> Table:
        """Return an input table: a query for its chosen rows."""
        return self._table(name, self._how[name])

    def roles(self, name: str) -> Table:
        """Return the keys of its chosen rows with their roles and probabilities."""
        return self._roles(name, self._how[name])

    def weighted(self, name: str) -> Table:
        """Return the input table with weights."""
        table = StageTable(self._request.stage, name)
        source = self._sources[name]
        version, inputs = self._version(name), self._inputs(name)
        return weighted_view(self._request.instance, table, source, version, inputs)

    def _outputs(self, tables: frozenset[str]) -> dict[str, bool]:
        """Return the tables that can be written while they are chosen, and if unlogged."""
        if isinstance(self._plan.settings.size, Budget):
            return {}  # rows are chosen several times
        found = {}
        for name in sorted(tables & self._request.tables):
            in_place = self._relations[name] is self._sources[name]
            if in_place and may_be_written(self._plan, name, self._sources):
                own = self._request.declared[name].merged(properties_of(self._sources[name]))
                default = self._request.instance.table_store.unlogged
                found[name] = default if own.unlogged is None else own.unlogged
        return found

    def _written(self, name: str) -> Written | None:
        output = self.selection.outputs.get(name) if self.selection else None
        if output is None:
            return None
        relation = RelationName(output.table.schema or "public", output.table.name)
        return Written(relation, output.rows)

    def _table(self, name: str, how: How) -> Table:
        relation = self._relations[name]
        query = sa.select(relation)
        if how is How.WRITTEN:
            output = self._work(OUTPUT, name)
            copy = sa.table(output.name, *map(sa.column, relation.c.keys()), schema=output.schema)
            query = sa.select(copy)
        elif self._plan.altered(name):
            query = sa.select(*columns_of(relation, self._rows(name, how)))
        elif how is not How.WHOLE:
            rows = SourceTable(name, relation, (), {}).rows_at(self._places(name), "rows")
            query = sa.select(*(rows.c[column.name] for column in relation.c))
        properties = properties_of(self._sources[name])
        marked_query, written = marked(query, self._version(name)), self._written(name)
        return Table.of(marked_query, properties, self._inputs(name), written)

    def _roles(self, name: str, how: How) -> Table:
        places = None if how is How.WHOLE else self._places(name)
        version, inputs = self._version(name), self._inputs(name)
        table = StageTable(self._request.stage, name)
        if how is How.WRITTEN:
            work = self._work(OTHERS, name), self._work(COMMON, name)
            instance, source = self._request.instance, self._relations[name]
            return roles_of_written(instance, table, self._plan, source, work, version, inputs)
        rows = self._rows(name, how) if self._plan.altered(name) else None
        return roles_of_chosen(table, self._relations[name], places, version, inputs, rows)

    def _rows(self, name: str, how: How) -> sa.Subquery:
        """Return the rows of a table whose copy has other values in some columns."""
        schema, stage = self._request.instance.sample_work_schema, self._request.place
        cuts = {
            column: places_table(work_table(schema, stage, "cut", name, column))
            for column in self._plan.cuts.get(name, ())
        }
        places = None if how is How.WHOLE else self._places(name)
        masks = self._plan.masks.get(name, {})
        return copied_rows(self._relations[name], places, cuts, masks, "copied")

    def _work(self, *parts: str) -> RelationName:
        schema = self._request.instance.sample_work_schema
        return work_table(schema, self._request.place, *parts)

    def _places(self, name: str) -> sa.TableClause:
        schema = self._request.instance.sample_work_schema
        return chosen_rows(schema, self._request.place, name)

    def _relation(self, connection: sa.Connection, name: str) -> sa.Table:
        """Return the source of a table, or the place for a copy of its rows.

        A view has no places for its rows, and neither has what a function of the user leaves.
        """
        source = self._sources[name]
        kind = relation_kind(connection, RelationName(source.schema or "public", source.name))
        if kind != "VIEW" and name not in self._own:
            return source
        schema = self._request.instance.sample_work_schema
        return copied_view(source, work_table(schema, self._request.place, "copy", name))

    def _copied(self, name: str) -> sa.Select[Any]:
        """Return the query for the rows of a source that are copied to be chosen from."""
        source = self._sources[name]
        return self._own[name].of(source) if name in self._own else sa.select(source)

    def _version(self, name: str) -> str:
        """Return identity of what decides which rows of a table are chosen, besides the data."""
        tables = self._plan.components[name]
        component = self._plan.part(tables).as_json()
        own = {n: compiled(rows.query) for n, rows in sorted(self._own.items()) if n in tables}
        return fingerprint("sample-1", sampling_version(), component, *([own] if own else []))

    def _inputs(self, name: str) -> Versions:
        """Return the data versions of what a table is chosen from, or was where it stays."""
        return self._kept_versions[name] if name in self._kept_versions else self._current(name)

    def _recorded(self, connection: sa.Connection, name: str) -> Versions:
        table = StageTable(self._request.stage, name)
        return recorded_versions(connection, self._request.instance, table, self._current(name))

    def _current(self, name: str) -> Versions:
        source = self._request.source.instance_id
        component = self._plan.components[name]
        reads = (rows.reads for table, rows in self._own.items() if table in component)
        seen = component.union(*reads)
        return {
            f"{source}/{behind}": self._versions[table]
            for table, behind in self._request.origins.items()
            if table in seen
        }

    def _is_kept(
        self, connection: sa.Connection, name: str, rows: Mapping[StageTable, CatalogRow]
    ) -> bool:
        """Whether all that is asked for of a table is there already, as it would be made."""
        instance, declared = self._request.instance, self._request.declared[name]
        table = StageTable(self._request.stage, name)
        wanted: list[tuple[StageTable, Callable[..., Table], Properties]] = []
        if name in self._request.tables:
            wanted.append((table, self._table, declared))
        if name in self._request.roles:
            wanted.append((roles_table(table), self._roles, Properties()))
        for how in How:
            if how is How.WRITTEN and not may_be_written(self._plan, name, self._sources):
                continue
            if all(
                _stays(connection, instance, rows.get(target), make(name, how), properties)
                for target, make, properties in wanted
            ):
                self._how[name] = how
                return True
        return False


def is_there(
    connection: sa.Connection,
    instance: Instance,
    target: StageTable,
    table: Table,
    declared: Properties,
) -> bool:
    """Whether the store would keep a table, if it were given it."""
    row = catalog.row(connection, instance.catalog_schema, target)
    return _stays(connection, instance, row, table, declared)


def _stays(
    connection: sa.Connection,
    instance: Instance,
    row: CatalogRow | None,
    table: Table,
    declared: Properties,
) -> bool:
    """Whether that is so, given what the catalog says of what is there."""
    if row is None or None in table.inputs.values():
        return False
    properties = declared.merged(table.properties).as_json()
    made_by = QueryIdentity.of_table(compiled(table.obj), table.inputs, properties)
    if row.query_key != made_by.query_key:
        return False
    return verdict_on(connection, committed(instance, row.table), row).is_intact


def recorded_versions(
    connection: sa.Connection, instance: Instance, table: StageTable, inputs: Versions
) -> Versions:
    """Return the data versions of inputs that a table was made of; the given ones without a table.

    What is made of these again stays as it is.
    """
    row = catalog.row(connection, instance.catalog_schema, table)
    return inputs if row is None else {name: row.inputs.get(name) for name in inputs}


def log_not_taken(
    log: logging.Logger, made: Mapping[str, Versions], current: Mapping[str, Versions]
) -> None:
    """Say which inputs have new data, although tables stay that were made of earlier ones.

    Args:
        log: The log of the run.
        made: What the tables that stay were made of.
        current: What they would be made of now.
    """
    names = [
        f"`{name}`"
        for table, versions in made.items()
        for name, version in versions.items()
        if version != current[table][name]
    ]
    if names:
        log.info(f"input {', '.join(dict.fromkeys(names))} has new data that is not taken")


@contextmanager
def sampled_inputs(request: Request, log: logging.Logger) -> Iterator[SampledInputs | None]:
    """Open the sample of a stage: until it is closed, no commit of the source can replace a table.

    Args:
        request: What is asked for.
        log: The log of the run.

    Yields:
        The input tables; None where the specification has no root in this stage.

    Raises:
        ConfigurationError: Specification and tables do not fit.
    """
    settings = request.instance.sample
    declared = schema_graph(request.stage, request.raw, request.declared)
    if settings is None or not has_root(settings, declared):
        yield None
        return
    source, schema = request.source, request.instance.sample_work_schema
    origins = request.origins
    with database(request.instance).begin() as connection:
        ensure_schema(connection, schema)  # at once, so that nobody waits for the choice to end
    with database(source).begin() as holder:
        relations = [committed(source, table) for table in origins.values()]
        lock_for_selection(holder, schema, request.place, relations)
        found = {name: fetch(source, table, sa.Table, log) for name, table in origins.items()}
        sources = {
            name: with_declared_key(table, origins[name], request.declared[name])
            for name, (table, _) in found.items()
        }
        properties = {
            name: known_properties(table, request.declared[name]) for name, table in sources.items()
        }
        graph = schema_graph(request.stage, request.raw, properties)
        if graph.outside:
            relationships = few([str(item) for item in graph.outside])
            log.info(f"Not followed, since it leads out of `{graph.stage}`: {relationships}")
        plan = sample_plan(settings, graph)
        if plan is None:
            raise AssertionError("the declared tables are those of the source")
        versions = {name: version for name, (_, version) in found.items()}
        inputs = SampledInputs(request, plan, sources, versions)
        try:
            inputs.choose(log)
            yield inputs
        finally:
            with database(request.instance).begin() as connection:
                space = Workspace(connection, schema, request.place)
                space.drop_leftovers()
                space.drop_forgotten()
