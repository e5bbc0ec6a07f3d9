"""Storing what an asset returned: build it in staging, list it there, say what became of it."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import held, table_lock_name
from data_pipeline.database.connection import (
    Database,
    database,
    ensure_schema,
    run,
)
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.database.lock_waiting import building
from data_pipeline.database.sql_text import renamed
from data_pipeline.errors import ConfigurationError, DatabaseError, UnsupportedDataError
from data_pipeline.instances import Instance, project
from data_pipeline.results.build import (
    Built,
    build_from_batches,
    build_from_query,
    build_from_written,
    build_view,
    check_columns,
)
from data_pipeline.results.discard_staged import make_room
from data_pipeline.results.increment_checks import (
    check_asked,
    from_start,
    marked_out,
    marked_out_of_batches,
)
from data_pipeline.results.increment_staging import stage_increment
from data_pipeline.results.origin import Origin, Room, Stored
from data_pipeline.results.query_identity import QueryIdentity, with_earned_version
from data_pipeline.results.ranges.loading import Target
from data_pipeline.results.ranges.range_staging import stage_ranges
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.results.slice_rows import check_fits, check_slice, fit_slice
from data_pipeline.results.sql_query import check_supported, compiled, is_query, unwrapped
from data_pipeline.results.table_changes import replaced_metadata
from data_pipeline.results.ui_metadata import (
    TableFacts,
    blob_metadata,
    figure_metadata,
    read_facts,
    relation_metadata,
    several_metadata,
    table_facts,
)
from data_pipeline.store import catalog, staging
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import verdict_on
from data_pipeline.store.lookup import committed
from data_pipeline.store.reading import catalog_row_of, properties_of
from data_pipeline.store.several_tables import NAMES, check_names, members
from data_pipeline.store.staging import Look
from data_pipeline.store.staging import relation_of as staged
from data_pipeline.store.table_properties import Properties, Table, View, Written
from data_pipeline.transfer.progress import reporter
from data_pipeline.transfer.stable_hash import fingerprint


class Store:
    """Stages the tables and blobs of one instance.

    Args:
        instance: The instance.
        log: The log of the run.
        check_inputs: Raises where a result cannot be relied on, since its inputs were not kept from
            changing until it was built.
    """

    def __init__(
        self,
        instance: Instance,
        log: logging.Logger,
        check_inputs: Callable[[], None] = lambda: None,
    ) -> None:
        self.instance = instance
        self.log = log
        self._check_inputs = check_inputs
        self.database: Database = database(instance)

    def put(
        self,
        table: StageTable,
        obj: Any,
        declared: Properties,
        origin: Origin,
        *,
        optional: bool = False,
    ) -> Stored:
        """Store what an asset returned.

        Args:
            table: Stage and name of the asset.
            obj: A frame, a query, a `View`, a `Table` of these, or any other object (a blob).
            declared: Properties that the asset's definition declares.
            origin: Where the result comes from.
            optional: Whether the asset may return None, which is kept like an object.

        Raises:
            UnsupportedDataError: The result cannot be stored; nothing was written.
            DatabaseError: The database refused it; what was committed before is unchanged.
        """
        from data_pipeline.transfer.frames import is_frame

        written = None
        if isinstance(obj, Table):
            inputs = {**origin.inputs, **obj.inputs}
            origin = replace(origin, inputs=inputs, unchanged=obj.unchanged)
            written = obj.written
        obj, properties = unwrapped(obj, declared)
        if not (optional and obj is None):
            check_supported(table, obj, properties)
        if origin.bounds is not None:
            check_slice(table, obj, properties, origin.bounds)
        check_asked(table, properties, origin.previous)
        with self._building(table, origin) as (session, look):
            if isinstance(obj, RangedRows):
                run_id = origin.run_id
                target = Target(self.database, self.instance, run_id, table, properties)
                return stage_ranges(self, session, look, obj, target, origin)
            room = self.make_room(session, look, table, origin)
            if isinstance(obj, View):
                return self._put_view(room, obj, properties, origin)
            if properties.write and origin.previous and origin.previous.row:
                return stage_increment(self, room, obj, properties, origin, origin.previous.row)
            if is_query(obj):
                return self._put_query(room, compiled(obj), properties, origin, written)
            if is_frame(obj):
                return self._put_frame(room, obj, properties, origin)
            return self._put_blob(room, obj, origin)

    def put_several(
        self,
        asset: StageTable,
        tables: Mapping[str, Any],
        declared: Properties,
        origin: Origin,
        others: Collection[str],
    ) -> Stored:
        """Store the tables that an asset returned by names of their own.

        Args:
            asset: Stage and name of the asset.
            tables: The tables, by name.
            declared: Properties that the asset's definition declares, of each of them.
            origin: Where they come from.
            others: The names of the other assets of the stage.

        Raises:
            UnsupportedDataError: A name, or what is behind it, is none of a table.
            ConfigurationError: A name belongs to another asset.
            DatabaseError: The database refused one; what was committed before is unchanged.
        """
        from data_pipeline.transfer.frames import is_frame

        started = time.monotonic()
        check_names(asset, tables, others)
        for name, obj in tables.items():
            inner, properties = unwrapped(obj, declared)
            if properties.write is not None:
                raise UnsupportedDataError(
                    f"Asset `{asset}` returned `{name}` as an increment. Several tables by names "
                    "of their own are returned as a whole; make it an asset of its own."
                )
            if not (is_query(inner) or is_frame(inner) or isinstance(inner, View)):
                what = f"{type(inner).__module__}.{type(inner).__qualname__}"
                raise UnsupportedDataError(
                    f"Asset `{asset}` returned `{name}`, which is a {what} and no table. Return "
                    "frames, queries, View(...) or Table(...) of these, by name."
                )
        self._check_free(asset, tables)
        each = replace(origin, part_of=asset.name, given=None)
        stored = {
            name: self.put(StageTable(asset.stage, name), obj, declared, each)
            for name, obj in tables.items()
        }
        versions = {name: item.data_version for name, item in stored.items()}
        facts = several_metadata(
            {name: item.metadata for name, item in stored.items()}, time.monotonic() - started
        )
        row = origin.row(
            asset,
            "tables",
            fingerprint("tables-1", versions),
            relation={NAMES: sorted(tables)},
            row_count=facts["dagster/row_count"],
        )
        with self.database.begin() as connection:
            left = staging.of_asset(connection, self.instance, asset)
        for table in (table for table in left if table.name not in tables):
            make_room(self.database, self.instance, table, origin.run_id, self.log)
        with self._building(asset, origin) as (session, look):
            look = replace(look, unknown=None)  # it takes no place
            self.put_on_list(self.make_room(session, look, asset, origin), row, origin)
        return Stored(row.data_version, facts)

    def _check_free(self, asset: StageTable, names: Collection[str]) -> None:
        """Refuse names of tables that others have made, or are making."""
        own = members(asset, names)
        locks = {table_lock_name(self.instance, table): table for table in own}
        with self.database.begin() as connection:
            rows = catalog.rows(connection, self.instance.catalog_schema)
            busy = [locks[name] for name in held(connection, locks)]
        taken = [
            table
            for table in own
            if (row := rows.get(table)) is not None
            and row.part_of is None
            and row.kind not in catalog.WITHOUT_VALUE
        ]
        if found := sorted({*taken, *busy}, key=str):
            listed = ", ".join(f"`{table}`" for table in found)
            raise ConfigurationError(
                f"Asset `{asset}` returned {listed}, which another asset has made, or makes just "
                f"now. Give it another name; or, if no asset makes it any more, drop that one: "
                f"{project.command('gc', self.instance.name, '--orphans')}."
            )

    @contextmanager
    def _building(self, table: StageTable, origin: Origin) -> Iterator[tuple[sa.Connection, Look]]:
        """Keep others from building a table; gives the session for it, and what there is."""
        relation = committed(self.instance, table)
        query = staging.look_query(self.instance, table, origin.run_id)
        with self.database.explained(), ExitStack() as stack:
            with staging.needing_catalog(self.instance, origin.run_id):
                locked = building(self.database, relation, self.log, query)
                session, found = stack.enter_context(locked)
            yield session, staging.look_of(found)

    def _check_place(self, session: sa.Connection, look: Look, table: StageTable) -> None:
        """Refuse to take the place of what users have made by hand, unless that is an empty table.

        Raises:
            ConfigurationError: There is such a relation.
        """
        if look.unknown is None or table != table.whole:  # a slice that was taken off its table
            return
        place = committed(self.instance, table)
        rows = f"SELECT EXISTS (SELECT FROM {place.quoted})"
        if look.unknown == "lost":
            what = "which the catalog, younger than the stage, does not know"
        elif look.unknown == "r" and not run(session, rows).scalar():
            what = "an empty table that no run has made"
        else:
            raise ConfigurationError(
                f"Table `{table}` would take the place of {place}, which somebody has made by "
                "hand: the catalog of the instance does not know it. Nothing of it was changed. "
                f"Rename it (ALTER TABLE {place.quoted} RENAME TO ...), drop it if nobody needs "
                "it, or give the asset another name; then run again: "
                f"{self.instance.build_command}"
            )
        self.log.warning(f"{place}, {what}, will be replaced by `{table}`")

    def make_room(
        self, session: sa.Connection, look: Look, table: StageTable, origin: Origin
    ) -> Room:
        """Take away what was staged of a table, and return its place."""
        if not look.is_alive:
            raise staging.taken_for_dead(self.instance, origin.run_id)
        if look.other_case:
            raise ConfigurationError(
                f"Table `{table}` differs only by upper and lower case from "
                f"`{self.instance.schema(table.stage)}.{look.other_case}`, which exists; unquoted "
                "SQL would mix them up. Rename the asset, or drop the other table."
            )
        self._check_place(session, look, table)
        if look.is_taken:
            make_room(self.database, self.instance, table, origin.run_id, self.log)
        if not look.has_schema:
            with self.database.begin() as connection:
                ensure_schema(connection, self.instance.staging_schema(table.stage))
        return Room(table, staged(self.instance, table), session, look)

    def _put_frame(self, room: Room, frame: Any, properties: Properties, origin: Origin) -> Stored:
        built, checksum = self.built_of_frame(room, frame, properties, properties.deleted)
        version = fingerprint(checksum, properties.as_json()["types"])
        row = origin.row(
            room.table, "table", version, checksum=checksum, properties=properties.as_json()
        )
        return self.stage_table(room, row, built, origin)

    def built_of_frame(
        self, room: Room, frame: Any, properties: Properties, deleted: str | None = None
    ) -> tuple[Built, str]:
        """Build a table of a frame, without rows that are marked as deleted; hash its content."""
        from data_pipeline.transfer.content_hash import ContentHash
        from data_pipeline.transfer.frames import to_reader

        with _naming(room.table):
            reader = marked_out_of_batches(to_reader(frame), deleted)
            content = ContentHash(reader.schema)
            built = build_from_batches(
                self.database,
                room.table,
                room.relation,
                content.watch(reader),
                properties,
                unlogged=self.instance.table_store.unlogged,
                on_progress=reporter(self.log, f"Writing `{room.table}`"),
            )
        return built, content.version()

    def built_of_query(self, room: Room, query: str, properties: Properties) -> Built:
        """Build a table of a query."""
        return build_from_query(
            self.database,
            room.session,
            room.table,
            room.relation,
            query,
            properties,
            unlogged=self.instance.table_store.unlogged,
        )

    def _put_query(
        self,
        room: Room,
        query: str,
        properties: Properties,
        origin: Origin,
        written: Written | None = None,
    ) -> Stored:
        shown, query = self.shown_and_run(room, query)
        if self.instance.table_store.print_sql:
            self.log.info(f"Query of `{room.table}`:\n{shown}")
        made_by = QueryIdentity.of_table(
            shown, origin.inputs, properties.as_json(), **origin.outside
        )
        row = origin.row(
            room.table,
            "table",
            made_by.data_version,
            query_key=made_by.query_key,
            query=shown,
            properties=properties.as_json(),
        )
        if kept := self._kept(room, row, origin):
            return kept
        if origin.unchanged is not None:
            raise DatabaseError(
                f"Table `{room.table}` was to stay as it is, but somebody has changed or replaced "
                "it in the meantime. Run it again."
            )
        if written is not None and properties.deleted is None:
            taken = (room.session, room.table, room.relation, written, properties)
            built = build_from_written(self.database, *taken)
            return self.stage_table(room, row, built, origin)
        query = marked_out(room.session, query, properties.deleted)
        built = self.built_of_query(room, query, properties)
        return self.stage_table(room, row, built, origin)

    def _put_view(self, room: Room, view: View, properties: Properties, origin: Origin) -> Stored:
        described = Properties(columns=properties.columns)
        # A version that was given does not go with that of the table.
        if not isinstance(view.source, sa.Table) or origin.given is not None:
            return self._put_query_view(room, compiled(view.source), described, origin)
        source = RelationName(view.source.schema or "public", view.source.name)
        committed_names = {new: old for old, new in self._names(room).items()}
        location = str(committed_names.get(source, source))
        behind = catalog_row_of(view.source)
        made_by = QueryIdentity.of_view(
            location, behind.data_version if behind else None, **origin.outside_of_view
        )
        row = origin.row(
            room.table,
            "view",
            made_by.data_version,
            location=location,
            query_key=made_by.query_key,
            properties=properties_of(view.source).merged(described).as_json(),
            row_count=behind.row_count if behind else None,
        )
        # A view of what is staged shows it to this run, which the committed view does not yet.
        if location == str(source) and (kept := self._kept(room, row, origin)):
            return kept
        return self._stage_view(room, row, f"SELECT * FROM {source.quoted}", origin)

    def _put_query_view(
        self, room: Room, query: str, described: Properties, origin: Origin
    ) -> Stored:
        shown, query = self.shown_and_run(room, query)
        made_by = QueryIdentity.of_query_view(shown, origin.inputs, **origin.outside)
        key = made_by.query_key
        row = origin.row(
            room.table,
            "view",
            made_by.data_version,
            query_key=key,
            query=shown,
            properties=described.as_json(),
        )
        if shown == query and (kept := self._kept(room, row, origin)):
            return kept
        return self._stage_view(room, row, query, origin)

    def _stage_view(self, room: Room, row: CatalogRow, query: str, origin: Origin) -> Stored:
        described = row.declared.columns
        built = build_view(self.database, room.session, room.table, room.relation, query, described)
        row = replace(row, relation=built.state)
        self.put_on_list(room, row, origin)
        facts = table_facts(room.session, room.relation, built.facts, row.declared.primary_key)
        return self.stored(room.session, row, facts, built.seconds)

    def _put_blob(self, room: Room, obj: Any, origin: Origin) -> Stored:
        started = time.monotonic()
        saved = blob_files.save(self.instance, room.table, obj)
        row = origin.row(
            room.table,
            "blob",
            saved.version,
            checksum=saved.version,
            location=saved.location,
            bytes=saved.bytes,
        )
        self.put_on_list(room, row, origin)
        path = str(blob_files.directory(self.instance) / saved.location)
        seconds = time.monotonic() - started
        facts = blob_metadata(obj, path=path, size=saved.bytes, seconds=seconds, kind=saved.suffix)
        return Stored(row.data_version, {**facts, **figure_metadata(obj)})

    def stage_table(self, room: Room, row: CatalogRow, built: Built, origin: Origin) -> Stored:
        """List a table that was built, with the version that its data have earned."""
        facts = table_facts(room.session, room.relation, built.facts, row.declared.primary_key)
        row = replace(row, row_count=built.rows, bytes=facts.bytes, relation=built.state)
        if row.slice:
            row = fit_slice(room.session, self.instance, row)
        if origin.given is None:
            row = with_earned_version(
                room.session,
                self.instance,
                row,
                [column.name for column in facts.columns],
                is_first=not room.look.is_committed,
                forced=origin.forced,
            )
        if row.declared.write:
            row = from_start(row, origin.lineage())
        self.put_on_list(room, row, origin)
        if row.slice:
            check_fits(room.session, self.instance, row)
        stored = self.stored(room.session, row, facts, built.seconds)
        before = replaced_metadata(
            room.session,
            self.instance.name,
            row,
            (committed(self.instance, row.table), room.relation),
            facts.columns,
            room.look.before,
        )
        return replace(stored, metadata={**stored.metadata, **before})

    def put_on_list(self, room: Room, row: CatalogRow, origin: Origin) -> None:
        """List what was built; from here on it can be committed, by another run too."""
        self._check_inputs()
        staging.put(room.session, self.instance, row, origin.run_id)

    def _kept(self, room: Room, row: CatalogRow, origin: Origin) -> Stored | None:
        """Leave a table as it is that was made by the same query of the same data."""
        if origin.forced or row.query_key is None:
            return None
        keys = {row.query_key, origin.unchanged} - {None}
        if room.look.query_key not in keys:
            return None
        started = time.monotonic()
        relation = committed(self.instance, row.table)
        with self.database.begin() as connection:
            staging.check_alive(connection, self.instance, origin.run_id)
            there = catalog.row(connection, self.instance.catalog_schema, row.table)
            if there is None or there.query_key not in keys or there.slice != row.slice:
                return None
            if not verdict_on(connection, relation, there).is_intact:
                return None
            if origin.given not in (None, there.data_version):
                return None
            confirmed = row
            if row.kind != "table" and origin.unchanged is None:
                confirmed = replace(row, inputs={**row.inputs, **there.inputs})
            if row.declared.write:
                begun = from_start(there, origin.lineage())
                confirmed = replace(confirmed, increment=begun.increment)
            catalog.confirm(connection, self.instance.catalog_schema, confirmed, of_query=True)
            facts = read_facts(connection, relation, there.declared.primary_key)
            # What columns mean is no part of the query's identity.
            described = Properties(columns=row.declared.columns)
            check_columns(row.table, described, [column.name for column in facts.columns])
        self.log.debug(f"`{row.table}`: query and inputs unchanged, it stays as it is")
        shown = replace(there, query=row.query, inputs=confirmed.inputs)
        return self.stored(room.session, shown, facts, time.monotonic() - started)

    def stored(
        self, session: sa.Connection, row: CatalogRow, facts: TableFacts, seconds: float
    ) -> Stored:
        """Return what became of a table, with what the web UI shows of it."""
        shown = relation_metadata(session, self.instance, row, facts, seconds)
        return Stored(row.data_version, shown)

    def shown_and_run(self, room: Room, query: str) -> tuple[str, str]:
        """Return a query with the names of committed tables, and as it is run.

        Its identity, and what people see of it, does not depend on what is staged; but it reads
        what its run has staged, also where it names tables by itself.
        """
        names = self._names(room)
        shown = renamed(query, {new: old for old, new in names.items()})
        return shown, renamed(query, names)

    def _names(self, room: Room) -> dict[RelationName, RelationName]:
        """Return where tables lie that the run has staged, by where they will be."""
        return {
            committed(self.instance, table): (staging.whole_relation if grows else staged)(
                self.instance, table
            )
            for table, grows in room.look.own_relations.items()
        }


@contextmanager
def _naming(table: StageTable) -> Iterator[None]:
    """Put the table's name before errors that know columns and rows alone."""
    try:
        yield
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"Table `{table}`: {error}") from error
