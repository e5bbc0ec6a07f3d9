"""The input tables of an instance that samples: chosen together, in one state of the source."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_by
from data_pipeline.results.query_identity import QueryIdentity
from data_pipeline.results.table_query import compiled
from data_pipeline.sampling.code_identity import CODE_VERSION
from data_pipeline.sampling.engine import Selection, selection
from data_pipeline.sampling.engine.selection_state import (
    Workspace,
    chosen_rows,
    lock_for_selection,
    work_table,
)
from data_pipeline.sampling.engine.source_tables import SourceTable
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.predictions import log_selection
from data_pipeline.sampling.weights import (
    marked,
    roles_of_chosen,
    roles_table,
    weighted_view,
    with_declared_key,
)
from data_pipeline.store import catalog
from data_pipeline.store.lookup import committed, made_from
from data_pipeline.store.reading import fetch, properties_of
from data_pipeline.store.relation_state import verdict_on
from data_pipeline.store.table_properties import Properties, Table
from data_pipeline.transfer.stable_hash import fingerprint

Versions = Mapping[str, str | None]
"""Data versions by `instance/stage/table`; None where one is not known."""


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
    """

    instance: Instance
    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]
    tables: frozenset[str]
    roles: frozenset[str] = frozenset()
    forced: bool = False
    stable: bool = False

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


class SampledInputs:
    """The input tables of one stage as a sample; made by `sampled_inputs`."""

    def __init__(
        self,
        request: Request,
        plan: SamplePlan,
        sources: Mapping[str, sa.Table],
        versions: Mapping[str, str | None],
    ) -> None:
        self._request = request
        self._plan = plan
        self._sources = sources
        self._versions = versions
        self._relations: dict[str, sa.Table] = {}
        self._whole: dict[str, bool] = {}
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
            needed = {
                name
                for name in sorted(self._request.tables | self._request.roles)
                if self._request.forced or not self._is_kept(connection, name)
            }
            tables = frozenset[str]().union(*(graph.components[name] for name in needed))
            for name in tables:
                self._kept_versions.pop(name, None)  # what belongs together is chosen together
            current = {name: self._current(name) for name in self._kept_versions}
            log_not_taken(log, self._kept_versions, current)
            if not tables:
                log.info(f"The sample of stage `{graph.stage}` is up to date: nothing is chosen")
                return
            schema = self._request.instance.sample_work_schema
            space = Workspace.open(connection, schema, self._request.place)
            for name in tables:
                if self._relations[name] is not self._sources[name]:
                    space.create(sa.select(self._sources[name]), "copy", name)
            relations = {name: self._relations[name] for name in graph.keys if name in tables}
            self.selection = selection(space, self._plan.part(tables), relations)
        self._whole |= {name: rows is None for name, rows in self.selection.rows.items()}
        log_selection(log, self.selection)

    def table(self, name: str) -> Table:
        """Return an input table: a query for its chosen rows."""
        return self._table(name, whole=self._whole[name])

    def roles(self, name: str) -> Table:
        """Return the keys of its chosen rows with their roles and probabilities."""
        return self._roles(name, whole=self._whole[name])

    def weighted(self, name: str) -> Table:
        """Return the input table with weights."""
        table = StageTable(self._request.stage, name)
        source = self._sources[name]
        version, inputs = self._version(name), self._inputs(name)
        return weighted_view(self._request.instance, table, source, version, inputs)

    def _table(self, name: str, *, whole: bool) -> Table:
        relation = self._relations[name]
        query = sa.select(relation)
        if not whole:
            rows = SourceTable(name, relation, (), {}).rows_at(self._places(name), "rows")
            query = sa.select(*(rows.c[column.name] for column in relation.c))
        properties = properties_of(self._sources[name])
        return Table.of(marked(query, self._version(name)), properties, self._inputs(name))

    def _roles(self, name: str, *, whole: bool) -> Table:
        places = None if whole else self._places(name)
        version, inputs = self._version(name), self._inputs(name)
        table = StageTable(self._request.stage, name)
        return roles_of_chosen(table, self._relations[name], places, version, inputs)

    def _places(self, name: str) -> sa.TableClause:
        schema = self._request.instance.sample_work_schema
        return chosen_rows(schema, self._request.place, name)

    def _relation(self, connection: sa.Connection, name: str) -> sa.Table:
        """Return the source of a table, or the place for a copy of a view, which has no places."""
        source = self._sources[name]
        kind = relation_kind(connection, RelationName(source.schema or "public", source.name))
        if kind != "VIEW":
            return source
        schema = self._request.instance.sample_work_schema
        copy = work_table(schema, self._request.place, "copy", name)
        table = source.to_metadata(sa.MetaData(), schema=copy.schema, name=copy.name)
        table.info.update(source.info)
        return table

    def _version(self, name: str) -> str:
        """Return identity of what decides which rows of a table are chosen, besides the data."""
        component = self._plan.part(self._plan.graph.components[name])
        return fingerprint("sample-1", CODE_VERSION, component.as_json())

    def _inputs(self, name: str) -> Versions:
        """Return the data versions of what a table is chosen from, or was where it stays."""
        return self._kept_versions[name] if name in self._kept_versions else self._current(name)

    def _recorded(self, connection: sa.Connection, name: str) -> Versions:
        table = StageTable(self._request.stage, name)
        return recorded_versions(connection, self._request.instance, table, self._current(name))

    def _current(self, name: str) -> Versions:
        source = self._request.source.instance_id
        component = self._plan.graph.components[name]
        return {
            f"{source}/{behind}": self._versions[table]
            for table, behind in self._request.origins.items()
            if table in component
        }

    def _is_kept(self, connection: sa.Connection, name: str) -> bool:
        """Whether all that is asked for of a table is there already, as it would be made."""
        declared = self._request.declared[name]
        table = StageTable(self._request.stage, name)
        wanted: list[tuple[StageTable, Callable[..., Table], Properties]] = []
        if name in self._request.tables:
            wanted.append((table, self._table, declared))
        if name in self._request.roles:
            wanted.append((roles_table(table), self._roles, Properties()))
        for whole in (False, True):
            if all(
                is_there(
                    connection, self._request.instance, target, make(name, whole=whole), properties
                )
                for target, make, properties in wanted
            ):
                self._whole[name] = whole
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
    if None in table.inputs.values():
        return False
    properties = declared.merged(table.properties).as_json()
    made_by = QueryIdentity.of_table(compiled(table.obj), table.inputs, properties)
    row = catalog.row(connection, instance.catalog_schema, target)
    if row is None or row.query_key != made_by.query_key:
        return False
    return verdict_on(connection, committed(instance, target), row).is_intact


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
    if settings is None or sample_plan(settings, declared) is None:
        yield None
        return
    source, schema = request.source, request.instance.sample_work_schema
    origins = request.origins
    with database(source).begin() as holder:
        relations = [committed(source, table) for table in origins.values()]
        lock_for_selection(holder, schema, request.place, relations)
        found = {name: fetch(source, table, sa.Table, log) for name, table in origins.items()}
        sources = {
            name: with_declared_key(table, origins[name], request.declared[name])
            for name, (table, _) in found.items()
        }
        properties = {
            name: request.declared[name].merged(properties_of(table))
            for name, table in sources.items()
        }
        graph = schema_graph(request.stage, request.raw, properties)
        for item in graph.outside:
            log.info(f"The relationship {item} leads out of `{graph.stage}` and is not followed")
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
