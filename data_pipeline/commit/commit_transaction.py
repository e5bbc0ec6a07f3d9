"""The transaction of a commit.

What the run staged moves in, what it replaces goes (or is kept in a slot), what users attached to
it stays, and the catalog changes with it. Tables that are not staged are not touched.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.commit import (
    in_place,
    increment_merge,
    obsolete_tables,
    replacement,
    slice_swap,
    user_objects,
)
from data_pipeline.commit.in_place import InPlace
from data_pipeline.commit.reader_role import let_read
from data_pipeline.commit.replacement import Replaced, move
from data_pipeline.commit.user_objects.object_definitions import Relation
from data_pipeline.database.connection import ensure_schema
from data_pipeline.database.dependencies import read_graph
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import catalog, slots, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed

_DROP = {"m": "MATERIALIZED VIEW", "v": "VIEW", "r": "TABLE", "p": "TABLE", "f": "FOREIGN TABLE"}


@dataclass(frozen=True)
class Committed:
    """What a commit made visible.

    Attributes:
        rows: The catalog rows of all tables and blobs.
        broken: What users had built on them that does not fit any more, and was dropped.
    """

    rows: Sequence[CatalogRow] = ()
    broken: Sequence[user_objects.Broken] = ()


class CommitTransaction:
    """One attempt to commit stages, within its transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        outside: sa.Connection,
        session: RunSession,
        stages: Sequence[str],
        log: logging.Logger,
    ) -> None:
        self._connection = connection
        self._outside = outside
        self._log = log
        self._instance = session.instance
        self._schema = session.instance.catalog_schema
        self._run_id = session.run_id
        self._code_location = session.code_location
        self._stages = stages
        self._locked = session.tables

    def execute(self) -> tuple[Committed, list[tuple[StageTable, str]]]:
        """Move everything; gives what was committed, and the files that nothing refers to."""
        connection, instance = self._connection, self._instance
        earlier = replacement.read(connection, instance, self._run_id, self._stages)
        rows = earlier.staged
        if not rows:
            return Committed(), []
        if not {row.asset for row in rows} <= self._locked:
            raise AssertionError(f"not all tables of {self._stages} are locked: {self._locked}")
        if leaving := obsolete_tables.gone(connection, instance, earlier, self._run_id):
            for row in leaving:
                staging.put(connection, instance, row, self._run_id)
            earlier = replacement.read(connection, instance, self._run_id, self._stages)
            rows = earlier.staged
        if taken := list(obsolete_tables.taken(earlier)):
            remedy = "Give one of them another name, or materialize that asset without it first."
            raise refused(instance, self._stages, f"{'; '.join(taken)}. {remedy}")
        increment_merge.check_bases(connection, instance, rows, earlier.rows)
        slices = slice_swap.swap_of(rows, earlier.rows)
        slices.begin(connection, instance)
        for stage in earlier.missing:
            ensure_schema(connection, instance.schema(stage))
        rows, shown = self._as_shown(rows, earlier)
        keeping = [
            old
            for row in rows
            if (old := earlier.rows.get(row.table)) is not None
            and row.table in earlier.intact
            and not (row.is_increment or row.slice)
            and slots.is_kept(instance, old, row)
        ]
        stays = self._in_place(rows, earlier)
        kept = slots.aside(connection, instance, keeping, stays.tables)
        states = stays.replace_rows(connection, self._log)
        broken, views, attached = self._replace(rows, earlier, kept, stays)
        slices.attach(connection, instance)
        replacement.publish(connection, instance, self._run_id, self._stages, self._code_location)
        self._show_slices(slices.describe(connection, instance, self._run_id))
        if any(row.is_gone for row in rows):
            catalog.forget_gone(connection, self._schema, self._stages)
        replacement.remember_states(connection, instance, rows, states)
        catalog.put(connection, self._schema, [*shown, *views])
        replacement.remember_views(connection, instance, [*rows, *views])
        let_read(connection, instance)
        gone = [old for old in earlier.rows.values() if old not in keeping]
        gone += slots.keep(connection, instance, kept)
        unused = slots.unused_files(connection, instance, gone)
        files = [(row.table, row.location) for row in gone if row.location in unused]
        user_objects.check_unchanged(self._outside, attached)
        return Committed(rows, broken), [(table, file) for table, file in files if file]

    def _show_slices(self, wholes: Sequence[CatalogRow]) -> None:
        """Let the catalog say of views what it says of the tables with slices that they show."""
        if not wholes:
            return
        views = [r for r in catalog.rows(self._connection, self._schema).values() if r.location]
        behind = list(wholes)
        while behind:
            names = {str(committed(self._instance, row.table)): row for row in behind}
            behind = [
                _shown(self._instance, v, names[v.location]) for v in views if v.location in names
            ]
            catalog.put(self._connection, self._schema, behind)

    def staying(self) -> set[StageTable]:
        """Return the tables that stay, with their rows replaced in place and nothing rewritten."""
        earlier = replacement.read(self._connection, self._instance, self._run_id, self._stages)
        tables = self._in_place(earlier.staged, earlier).tables
        return {
            row.table
            for row in earlier.staged
            if (item := tables.get(committed(self._instance, row.table))) is not None
            and not item.is_rewritten
        }

    def _as_shown(
        self, rows: Sequence[CatalogRow], earlier: Replaced
    ) -> tuple[list[CatalogRow], list[CatalogRow]]:
        """Return the rows, those of views as what they show is now; and these alone.

        Another run may have replaced what is behind a view since it was staged.
        """
        behind = {
            **earlier.behind,
            **{str(committed(self._instance, row.table)): row for row in rows},
        }
        views = {
            row.table: _shown(self._instance, row, behind[row.location])
            for row in rows
            if row.kind == "view" and row.location in behind
        }
        return [views.get(row.table, row) for row in rows], list(views.values())

    def _in_place(self, rows: Sequence[CatalogRow], earlier: Replaced) -> InPlace:
        """Return what is replaced in place: by its rows, or by its query."""
        targets = self._targets(rows, earlier)
        known = {committed(self._instance, row.table): row for row in earlier.rows.values()}
        back = self._kept_with_views(rows, earlier)
        graph = read_graph(self._connection, [*targets, *back])
        if held := back.keys() & graph.blocked.keys():
            # It comes again where what hangs on it is, and gets its new rows in place.
            slots.return_to_stage(self._connection, self._instance, held)
            graph = read_graph(self._connection, [*targets, *(back.keys() - held)])
        sources = self._sources(targets)
        return in_place.choose(
            self._connection, self._instance, targets, sources, known, graph, self._log
        )

    def _targets(
        self, rows: Sequence[CatalogRow], earlier: Replaced
    ) -> dict[RelationName, CatalogRow]:
        """Return the relations that come, change or leave."""
        return {
            committed(self._instance, row.table): row
            for row in rows
            if row.kind not in catalog.ONLY_ROW or row.table in earlier.relations
        }

    def _sources(
        self, targets: Mapping[RelationName, CatalogRow]
    ) -> dict[RelationName, RelationName]:
        """Return the staged relations that are to take their places."""
        return {
            name: staging.relation_of(self._instance, row.table)
            for name, row in targets.items()
            if row.is_relation
        }

    def _replace(
        self,
        rows: Sequence[CatalogRow],
        earlier: Replaced,
        kept: slots.Aside,
        stays: InPlace,
    ) -> tuple[Sequence[user_objects.Broken], list[CatalogRow], user_objects.UserObjects]:
        """Put the staged relations in the place of the earlier ones; files need nothing."""
        connection, instance = self._connection, self._instance
        targets = self._targets(rows, earlier)
        # What is built on a table that leaves stays on it where it is kept, until one comes again.
        aside = {
            name: kept.relations[name]
            for name, row in targets.items()
            if name in kept.relations and not row.is_relation
        }
        targets = {
            name: row
            for name, row in targets.items()
            if name not in aside and name not in stays.names
        }
        back = self._kept_with_views(rows, earlier)
        sources = self._sources(targets)
        graph = None if aside or stays.names else stays.graph
        for name in targets.keys() - sources.keys() & stays.graph.blocked.keys():
            stays.refuse_to_drop(name)
        # Another table that has its name now was declared by nobody.
        declared = {
            row.relation["oid"]: row.declared
            for row in earlier.rows.values()
            if "oid" in row.relation
        }
        attached = user_objects.read(connection, [*targets, *back], sources, graph, declared)
        if lost := [str(sources[name]) for name in sources if name not in (attached.new or ())]:
            reason = f"Somebody has dropped what this run had staged: {', '.join(lost)}."
            raise refused(instance, self._stages, reason)
        definitions = self._definitions(attached, aside, back)
        gone = attached.old.keys() - kept.relations.keys() - back.keys()
        move(
            connection,
            [
                *user_objects.drop_statements(attached),
                *kept.statements,
                *_drops({name: attached.old[name].relkind for name in gone}),
            ],
            {source: instance.schema(targets[name].stage) for name, source in sources.items()},
            frozenset(source for name, source in sources.items() if targets[name].kind == "view"),
        )
        stays.replace_views(connection)
        passing = {committed(instance, row.table): row for row in earlier.passing}
        broken = user_objects.restore_objects(
            connection,
            attached,
            policy=instance.table_store.on_broken_view,
            log=self._log,
            definitions=definitions
            | {
                name: f"SELECT * FROM {committed(instance, source.table).quoted}"
                for name, row in passing.items()
                for source in rows
                if source.is_relation and row.location == str(committed(instance, source.table))
            },
            given_up=self._own_views,
            coming=self._coming(),
        )
        stays.fill_materialized_views(connection, self._log, (d.oid for d in attached.dependents))
        shown = set(map(str, stays.tables))
        stay = {name for name, row in passing.items() if row.location in shown}
        return broken, self._shown_through(rows, passing, attached, stay), attached

    def _own_views(self) -> list[RelationName]:
        """Return the views of the instance, which are never in the way of its tables."""
        rows = catalog.rows(self._connection, self._schema)
        return [committed(self._instance, t) for t, row in rows.items() if row.kind == "view"]

    def _coming(self) -> dict[RelationName, str]:
        """Return what the run may write in other stages, and has not committed yet."""
        later = (table for table in self._locked if table.stage not in self._stages)
        return {committed(self._instance, table): table.stage for table in later}

    def _kept_with_views(
        self, rows: Sequence[CatalogRow], earlier: Replaced
    ) -> dict[RelationName, RelationName]:
        """Return the slots of tables that come again, on which something is built, each with these.

        When a table left, what was built on it stayed there.
        """
        come = [row.table for row in rows if row.is_relation and row.table in earlier.rows]
        kept = slots.of_tables(
            self._connection, self._instance, [t for t in come if t not in earlier.relations]
        )
        used = slots.in_use(self._connection, self._instance, kept)
        last = {row.table: row for row in kept if row in used}
        return {
            slots.relation_of(self._instance, row): committed(self._instance, table)
            for table, row in last.items()
        }

    def _definitions(
        self,
        attached: user_objects.UserObjects,
        aside: Mapping[RelationName, RelationName],
        back: Mapping[RelationName, RelationName],
    ) -> dict[RelationName, str]:
        """Return the new queries of views on tables that leave, or come again.

        Args:
            attached: What is built on the tables that are replaced.
            aside: The tables that leave, with their names as slots.
            back: The slots of those that come again, with their names.
        """
        views = [item.name for item in attached.dependents if isinstance(item, Relation)]
        if not views or not (aside or back):
            return {}
        return slots.definitions_of(self._connection, aside, back, views)

    def _shown_through(
        self,
        rows: Sequence[CatalogRow],
        passing: Mapping[RelationName, CatalogRow],
        attached: user_objects.UserObjects,
        stay: Collection[RelationName],
    ) -> list[CatalogRow]:
        """Return new rows of views that show the tables, if they are not replaced themselves."""
        by_name = {
            str(committed(self._instance, row.table)): row for row in rows if row.is_relation
        }
        views = {item.name for item in attached.dependents if isinstance(item, Relation)}
        views |= {*stay} - {committed(self._instance, row.table) for row in rows}
        return [
            _shown(self._instance, row, by_name[row.location])
            for name, row in passing.items()
            if name in views and row.location in by_name
        ]


def _drops(relations: Mapping[RelationName, str]) -> Iterator[str]:
    """Return statements that drop relations of some kinds, with those that show others first."""
    for kind, what in _DROP.items():
        if names := sorted(name.quoted for name, found in relations.items() if found == kind):
            yield f"DROP {what} {', '.join(names)}"


def _shown(instance: Instance, view: CatalogRow, source: CatalogRow) -> CatalogRow:
    """Return the row of a view that shows what `source` describes."""
    return replace(
        view,
        data_version=source.data_version,
        inputs={f"{instance.instance_id}/{source.table}": source.data_version},
        properties=source.properties,
        row_count=source.row_count,
        run_id=source.run_id,
    )


def refused(instance: Instance, stages: Sequence[str], reason: str) -> DatabaseError:
    """Return the error to raise where stages stay as they are."""
    schemas = ", ".join(instance.staging_schema(stage) for stage in stages)
    return DatabaseError(
        f"{listed(stages).capitalize()} of instance `{instance.name}` could not be committed and "
        f"has its earlier content as a whole. {reason}\n"
        f"The new tables are staged in {schemas}; they are used again by the next run. If "
        "something that was built on a table stands in the way, drop it or adapt it to the new "
        f"columns, then run again: {instance.build_command}"
    )


def listed(stages: Sequence[str]) -> str:
    """Name stages."""
    names = ", ".join(f"`{stage}`" for stage in stages)
    return f"stage {names}" if len(stages) == 1 else f"stages {names}"
