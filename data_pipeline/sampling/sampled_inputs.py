"""The input tables of an instance that samples: chosen together, in one state of the source."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import RelationName, StageTable, few
from data_pipeline.database.relations import relation_kind
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.results.query_identity import QueryIdentity, source_with_settings
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.earlier.copies import EarlierCopy
from data_pipeline.sampling.earlier.kept_copies import How, MadeBy, keep_copies, kept_copies
from data_pipeline.sampling.earlier.kept_facts import keep_facts, known_facts
from data_pipeline.sampling.earlier.source_facts import SourceFacts
from data_pipeline.sampling.earlier.staying_tables import log_not_taken, recorded_versions, stays
from data_pipeline.sampling.engine.outputs import COMMON, OTHERS, OUTPUT, ROLES, may_be_written
from data_pipeline.sampling.engine.population import changing
from data_pipeline.sampling.engine.source_tables import SourceTable
from data_pipeline.sampling.engine.workspace import (
    Workspace,
    chosen_rows,
    copied_view,
    lock_for_selection,
    work_table,
)
from data_pipeline.sampling.masked_and_cut_rows import columns_of, copied_rows, places_table
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan, has_root, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.prediction.budget import sized_selection
from data_pipeline.sampling.prediction.messages_of_draws import (
    log_changing,
    log_selection,
    log_sizes,
)
from data_pipeline.sampling.sample_request import Request, Versions, naming_instance
from data_pipeline.sampling.weights import (
    marked,
    query_of_written,
    roles_of_chosen,
    roles_of_written,
    roles_table,
    weighted_table,
    weighted_view,
    with_declared_key,
)
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import checked_for_changes, committed, find_table
from data_pipeline.store.reading import fetch, known_properties, properties_of
from data_pipeline.store.table_properties import Properties, Table, Written
from data_pipeline.transfer.stable_hash import fingerprint

if TYPE_CHECKING:
    from data_pipeline.sampling.engine import Selection


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
        self._unchanged: dict[StageTable, str] = {}
        self._written_roles: dict[str, Written] = {}
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
            sources = {name: self._sources[name] for name in tables}
            mutable = changing(space, self._plan, sources)
            facts.changing = frozenset(mutable)
            space.outputs = self._outputs(tables, facts.changing)
            earlier = self._earlier(connection, tables, rows)
            space.earlier = {name: copy for name, (_, copy) in earlier.items()}
            for name in tables:
                if self._relations[name] is not self._sources[name]:
                    space.create(self._copied(name), "copy", name)
            relations = {name: self._relations[name] for name in graph.keys if name in tables}
            sized = sized_selection(space, self._plan.part(tables), relations)
            self.selection = sized.selection
            keep_facts(connection, self._request.instance, self._request.place, tables, facts)
            self._note_ways(sized.selection)
            self._keep_copies(connection, tables, sized.selection)
            self._write_roles(space, sized.selection)
            if sized.selection.outputs and database(self._request.instance).keeps_sessions:
                # Else the server would be told later what it has inserted.
                run(connection, "SELECT pg_stat_force_next_flush()")
        self._note_unchanged(earlier, rows)
        log_changing(log, graph.stage, mutable)
        log_selection(log, self.selection)
        log_sizes(log, sized)

    def _note_ways(self, selection: "Selection") -> None:
        for name, chosen in selection.rows.items():
            written = How.WRITTEN if name in selection.outputs else How.CHOSEN
            self._how[name] = How.WHOLE if chosen is None else written

    def _keep_copies(
        self, connection: sa.Connection, tables: frozenset[str], selection: "Selection"
    ) -> None:
        made = {
            name: (self._made_by(name, self._how[name]), identity)
            for name in sorted(tables & self._request.tables)
            if (identity := selection.identities[name]) is not None
        }
        keep_copies(connection, self._request.instance, self._request.place, made)

    def _write_roles(self, space: Workspace, selection: "Selection") -> None:
        """Write the roles of copies that are written, too: most rows have the same."""
        for name in sorted(self._request.roles & selection.outputs.keys()):
            if (copy := self._written(name)) is None:
                continue
            work = space.name(OTHERS, name), space.name(COMMON, name)
            source = self._relations[name]
            query = query_of_written(copy.relation, name, self._plan, source, work)
            unlogged = self._request.instance.table_store.unlogged
            _, rows = space.write(query, ROLES, name, unlogged=unlogged)
            self._written_roles[name] = Written(space.name(ROLES, name), rows)

    def _earlier(
        self,
        connection: sa.Connection,
        tables: frozenset[str],
        rows: Mapping[StageTable, CatalogRow],
    ) -> dict[str, tuple[MadeBy, EarlierCopy]]:
        """Return the copies that are still as an earlier draw has made them, with their roles."""
        if self._request.forced:
            return {}
        instance, found = self._request.instance, {}
        for name, (made, identity) in kept_copies(
            connection, instance, self._request.place
        ).items():
            is_asked = name in tables & self._request.tables and self._may_be(name, made.how)
            if is_asked and self._stays(connection, name, made, rows):
                row = rows[StageTable(self._request.stage, name)]
                relation = committed(instance, row.table)
                table = sa.table(relation.name, schema=relation.schema)
                found[name] = made, EarlierCopy(table, row.row_count or 0, identity)
        return found

    def _note_unchanged(
        self,
        earlier: Mapping[str, tuple[MadeBy, EarlierCopy]],
        rows: Mapping[StageTable, CatalogRow],
    ) -> None:
        """Note the copies that have the chosen rows already, with roles and weights."""
        for name, (made, copy) in earlier.items():
            if self.selection is None or self.selection.identities[name] != copy.identity:
                continue
            wanted = [table for table, *_ in self._wanted(name, made)]
            weighted = weighted_table(StageTable(self._request.stage, name))
            if self._shows_weights(rows.get(weighted), self._weighted(name, made)):
                wanted.append(weighted)
            self._unchanged |= {table: rows[table].query_key or "" for table in wanted}

    def _shows_weights(self, row: CatalogRow | None, made: Table) -> bool:
        """Whether a view is there as it was made; its inputs are rows and roles, too."""
        if row is None or not made.inputs.items() <= row.inputs.items():
            return False
        seen = source_with_settings(None, database(self._request.instance).settings)
        view = QueryIdentity.of_query_view(compiled(made.obj.source), row.inputs, source=seen)
        return row.query_key == view.query_key

    def _known_facts(self, connection: sa.Connection) -> SourceFacts:
        in_place = {
            name: table for name, table in self._sources.items() if self._relations[name] is table
        }
        instance, place = self._request.instance, self._request.place
        return known_facts(connection, instance, place, in_place, self._versions)

    def table(self, name: str) -> Table:
        """Return an input table: a query for its chosen rows."""
        table = self._table(name, self._made_by(name, self._how[name]))
        return self._as_it_is(StageTable(self._request.stage, name), table)

    def roles(self, name: str) -> Table:
        """Return the keys of its chosen rows with their roles and probabilities."""
        table = self._roles(name, self._made_by(name, self._how[name]))
        return self._as_it_is(roles_table(StageTable(self._request.stage, name)), table)

    def weighted(self, name: str) -> Table:
        """Return the input table with weights."""
        table = self._weighted(name, self._made_by(name, self._how[name]))
        return self._as_it_is(weighted_table(StageTable(self._request.stage, name)), table)

    def _weighted(self, name: str, made: MadeBy) -> Table:
        table, source = StageTable(self._request.stage, name), self._sources[name]
        return weighted_view(self._request.instance, table, source, made.version, made.inputs)

    def _as_it_is(self, name: StageTable, table: Table) -> Table:
        """Return a table that stays, if it is there already as it would be made."""
        table.unchanged = self._unchanged.get(name)
        return table

    def _made_by(self, name: str, how: How) -> MadeBy:
        return MadeBy(how, self._version(name), self._inputs(name))

    def _outputs(self, tables: frozenset[str], changing: frozenset[str]) -> dict[str, bool]:
        """Return the tables that can be written while they are chosen, and if unlogged."""
        if isinstance(self._plan.settings.size, Budget):
            return {}  # rows are chosen several times
        found, plan = {}, self._plan
        for name in sorted(tables & self._request.tables):
            owner = plan.tables[name].owner
            in_place = self._relations[name] is self._sources[name]
            depends_on = {name} if owner is None else {name, owner.parent}
            if plan.tables[name].part is SamplePart.REFERENCED:
                depends_on |= {item.child for item in plan.graph.of_parent(name)}
            if in_place and not depends_on & changing and may_be_written(plan, name, self._sources):
                own = self._request.declared[name].merged(properties_of(self._sources[name]))
                default = self._request.instance.table_store.unlogged
                found[name] = default if own.unlogged is None else own.unlogged
        return found

    def _written(self, name: str) -> Written | None:
        output = self.selection.outputs.get(name) if self.selection else None
        if output is None or output.earlier is not None:
            return None
        relation = RelationName(output.table.schema or "public", output.table.name)
        return Written(relation, output.rows)

    def _table(self, name: str, made: MadeBy) -> Table:
        relation, how = self._relations[name], made.how
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
        marked_query, written = marked(query, made.version), self._written(name)
        return Table.of(marked_query, properties, made.inputs, written)

    def _roles(self, name: str, made: MadeBy) -> Table:
        how, version, inputs = made.how, made.version, made.inputs
        places = None if how is How.WHOLE else self._places(name)
        table = StageTable(self._request.stage, name)
        if how is How.WRITTEN:
            work = self._work(OTHERS, name), self._work(COMMON, name)
            instance, source = self._request.instance, self._relations[name]
            roles = roles_of_written(instance, table, self._plan, source, work, version, inputs)
            roles.written = self._written_roles.get(name)
            return roles
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
        for how in How:
            made = self._made_by(name, how)
            if self._may_be(name, how) and self._stays(connection, name, made, rows):
                self._how[name] = how
                return True
        return False

    def _may_be(self, name: str, how: How) -> bool:
        return how is not How.WRITTEN or may_be_written(self._plan, name, self._sources)

    def _stays(
        self,
        connection: sa.Connection,
        name: str,
        made: MadeBy,
        rows: Mapping[StageTable, CatalogRow],
    ) -> bool:
        """Whether all that is asked for of a table is there as it was made."""
        return all(
            stays(connection, self._request.instance, rows.get(target), table, properties)
            for target, table, properties in self._wanted(name, made)
        )

    def _wanted(self, name: str, made: MadeBy) -> Iterator[tuple[StageTable, Table, Properties]]:
        """Return what is asked for of a table, with what is declared of it."""
        table = StageTable(self._request.stage, name)
        if name in self._request.tables:
            yield table, self._table(name, made), self._request.declared[name]
        if name in self._request.roles:
            yield roles_table(table), self._roles(name, made), Properties()


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
        there = [find_table(holder, source, table, None) for table in origins.values()]
        found = {
            name: fetch(source, table, sa.Table, log, item)
            for (name, table), item in zip(
                origins.items(), checked_for_changes(holder, there), strict=True
            )
        }
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
        versions = {name: version for name, (_, version) in found.items()}
        try:
            with naming_instance(request.instance):
                plan = sample_plan(settings, graph)
                if plan is None:
                    raise AssertionError("the declared tables are those of the source")
                inputs = SampledInputs(request, plan, sources, versions)
                inputs.choose(log)
            yield inputs
        finally:
            with database(request.instance).begin() as connection:
                space = Workspace(connection, schema, request.place)
                space.drop_leftovers()
                space.drop_forgotten()
