"""Storing what an asset returned: build it in staging, list it there, say what became of it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.database.locks import building
from data_pipeline.database.sql_text import renamed
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.identity.computation import UNKNOWN, Identity
from data_pipeline.instances import Instance
from data_pipeline.results.build import (
    Built,
    build_from_batches,
    build_from_query,
    build_view,
)
from data_pipeline.results.discard_staged import make_room
from data_pipeline.results.query_identity import QueryIdentity, with_earned_version
from data_pipeline.results.table_query import check_supported, compiled, is_query, unwrapped
from data_pipeline.results.ui_metadata import (
    blob_metadata,
    sql_metadata,
    table_facts,
    table_metadata,
)
from data_pipeline.store import blob_files, catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.reading import catalog_row_of, properties_of
from data_pipeline.store.relation_state import verdict_on
from data_pipeline.store.staging import relation_of as staged
from data_pipeline.store.table_properties import Properties, Table, View
from data_pipeline.transfer.frames import reporter
from data_pipeline.transfer.stable_hash import fingerprint


@dataclass(frozen=True)
class Origin:
    """Where a result comes from.

    Attributes:
        run_id: The Dagster run.
        identity: What it depends on besides its inputs.
        inputs: Data version of each input, by asset; None where it is not known.
        forced: Whether it is written even if it is what is there already.
        given: The data version that the asset's code gave it; None: that of the data.
    """

    run_id: str
    identity: Identity = UNKNOWN
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    forced: bool = False
    given: str | None = None

    @property
    def outside(self) -> dict[str, str | None]:
        """What a query can see besides its text and known inputs: the source, or what is unknown.

        Data of an unknown version may be new in every run, and so is what is made of it.
        """
        known = None not in self.inputs.values()
        return self._of_source(known=known)

    @property
    def outside_of_view(self) -> dict[str, str | None]:
        """The same for a view of one relation, whose version is that of what it shows."""
        return self._of_source(known=True)

    def _of_source(self, *, known: bool) -> dict[str, str | None]:
        source = None
        if self.identity.takes_outside_input:
            source = self.identity.source
            known = known and source is not None and not self.forced
        return {"source": source, "run_id": None if known else self.run_id}

    def row(
        self, table: StageTable, kind: catalog.Kind, data_version: str, **facts: Any
    ) -> CatalogRow:
        """Return the catalog row of a result."""
        return CatalogRow(
            stage=table.stage,
            name=table.name,
            kind=kind,
            data_version=data_version if self.given is None else self.given,
            cache_key=self.identity.cache_key(str(table), self.inputs),
            code_version=self.identity.code_version,
            code_parts=self.identity.code_parts,
            identity=self.identity.as_json(),
            inputs=self.inputs,
            run_id=self.run_id,
            **facts,
        )


@dataclass(frozen=True)
class Stored:
    """What became of a result: the identity of its data, and metadata for the UI."""

    data_version: str
    metadata: Mapping[str, Any]


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
        self._instance = instance
        self._log = log
        self._check_inputs = check_inputs
        self._database: Database = database(instance)

    def put(self, table: StageTable, obj: Any, declared: Properties, origin: Origin) -> Stored:
        """Store what an asset returned.

        Args:
            table: Stage and name of the asset.
            obj: A frame, a query, a `View`, a `Table` of these, or any other object (a blob).
            declared: Properties that the asset's definition declares.
            origin: Where the result comes from.

        Raises:
            UnsupportedDataError: The result cannot be stored; nothing was written.
            DatabaseError: The database refused it; what was committed before is unchanged.
        """
        from data_pipeline.transfer.frames import is_frame

        if isinstance(obj, Table):
            origin = replace(origin, inputs={**origin.inputs, **obj.inputs})
        obj, properties = unwrapped(obj, declared)
        check_supported(table, obj, properties)
        self._check_case(table)
        with building(self._database, committed(self._instance, table), self._log):
            make_room(self._database, self._instance, table, origin.run_id, self._log)
            if isinstance(obj, View):
                return self._put_view(table, obj, origin)
            if is_query(obj):
                return self._put_query(table, compiled(obj), properties, origin)
            if is_frame(obj):
                return self._put_frame(table, obj, properties, origin)
            return self._put_blob(table, obj, origin)

    def _put_frame(
        self, table: StageTable, frame: Any, properties: Properties, origin: Origin
    ) -> Stored:
        from data_pipeline.transfer.content_hash import ContentHash
        from data_pipeline.transfer.frames import to_reader

        with _naming(table):
            reader = to_reader(frame)
            content = ContentHash(reader.schema)
            built = build_from_batches(
                self._database,
                table,
                staged(self._instance, table),
                content.watch(reader),
                properties,
                unlogged=self._instance.table_store.unlogged,
                on_progress=reporter(self._log, f"Writing `{table}`"),
            )
        checksum = content.version()
        version = fingerprint(checksum, properties.as_json()["types"])
        row = origin.row(
            table, "table", version, checksum=checksum, properties=properties.as_json()
        )
        return self._stage_table(row, built, origin)

    def _put_query(
        self, table: StageTable, query: str, properties: Properties, origin: Origin
    ) -> Stored:
        shown, query = self._shown_and_run(query, origin)
        if self._instance.table_store.print_sql:
            self._log.info(f"Query of `{table}`:\n{shown}")
        made_by = QueryIdentity.of_table(
            shown, origin.inputs, properties.as_json(), **origin.outside
        )
        row = origin.row(
            table,
            "table",
            made_by.data_version,
            query_key=made_by.query_key,
            properties=properties.as_json(),
        )
        if kept := self._kept(row, origin):
            return Stored(kept.data_version, {**kept.metadata, **sql_metadata(shown)})
        built = build_from_query(
            self._database,
            table,
            staged(self._instance, table),
            query,
            properties,
            unlogged=self._instance.table_store.unlogged,
        )
        stored = self._stage_table(row, built, origin)
        return Stored(stored.data_version, {**stored.metadata, **sql_metadata(shown)})

    def _put_view(self, table: StageTable, view: View, origin: Origin) -> Stored:
        # A version that was given does not go with that of the table.
        if not isinstance(view.source, sa.Table) or origin.given is not None:
            return self._put_query_view(table, compiled(view.source), origin)
        source = RelationName(view.source.schema or "public", view.source.name)
        committed_names = {new: old for old, new in self._names(origin).items()}
        location = str(committed_names.get(source, source))
        behind = catalog_row_of(view.source)
        made_by = QueryIdentity.of_view(
            location, behind.data_version if behind else None, **origin.outside_of_view
        )
        row = origin.row(
            table,
            "view",
            made_by.data_version,
            location=location,
            query_key=made_by.query_key,
            properties=properties_of(view.source).as_json(),
            row_count=behind.row_count if behind else None,
        )
        # A view of what is staged shows it to this run, which the committed view does not yet.
        if location == str(source) and (kept := self._kept(row, origin)):
            return kept
        return self._stage_view(row, f"SELECT * FROM {source.quoted}", origin)

    def _put_query_view(self, table: StageTable, query: str, origin: Origin) -> Stored:
        shown, query = self._shown_and_run(query, origin)
        made_by = QueryIdentity.of_query_view(shown, origin.inputs, **origin.outside)
        row = origin.row(table, "view", made_by.data_version, query_key=made_by.query_key)
        if shown == query and (kept := self._kept(row, origin)):
            return Stored(kept.data_version, {**kept.metadata, **sql_metadata(shown)})
        stored = self._stage_view(row, query, origin)
        return Stored(stored.data_version, {**stored.metadata, **sql_metadata(shown)})

    def _stage_view(self, row: CatalogRow, query: str, origin: Origin) -> Stored:
        started = time.monotonic()
        state = build_view(self._database, row.table, staged(self._instance, row.table), query)
        row = replace(row, relation=state)
        self._list(row, origin)
        seconds = time.monotonic() - started
        return Stored(
            row.data_version, self._facts(row, staged(self._instance, row.table), seconds)
        )

    def _put_blob(self, table: StageTable, obj: Any, origin: Origin) -> Stored:
        started = time.monotonic()
        saved = blob_files.save(self._instance, table, obj)
        row = origin.row(
            table,
            "blob",
            saved.version,
            checksum=saved.version,
            location=saved.location,
            bytes=saved.bytes,
        )
        self._list(row, origin)
        path = str(Path(blob_files.directory(self._instance)) / saved.location)
        seconds = time.monotonic() - started
        facts = blob_metadata(obj, path=path, size=saved.bytes, seconds=seconds, kind=saved.suffix)
        return Stored(row.data_version, facts)

    def _stage_table(self, row: CatalogRow, built: Built, origin: Origin) -> Stored:
        relation = staged(self._instance, row.table)
        with self._database.begin() as connection:
            facts = table_facts(connection, relation, row.declared.primary_key)
        row = replace(row, row_count=built.rows, bytes=facts.bytes, relation=built.state)
        if origin.given is None:
            row = with_earned_version(self._database, self._instance, row, forced=origin.forced)
        self._list(row, origin)
        metadata = table_metadata(
            facts,
            relation=committed(self._instance, row.table),
            database=self._database.url.database,
            rows=built.rows,
            seconds=built.seconds,
        )
        return Stored(row.data_version, metadata)

    def _list(self, row: CatalogRow, origin: Origin) -> None:
        """List what was built; from here on it can be committed, by another run too."""
        self._check_inputs()
        with self._database.begin() as connection:
            staging.put(connection, self._instance, row, origin.run_id)

    def _kept(self, row: CatalogRow, origin: Origin) -> Stored | None:
        """Leave a table as it is that was made by the same query of the same data."""
        if origin.forced or row.query_key is None:
            return None
        started = time.monotonic()
        relation = committed(self._instance, row.table)
        with self._database.begin() as connection:
            staging.check_alive(connection, self._instance, origin.run_id)
            there = catalog.row(connection, self._instance.catalog_schema, row.table)
            if there is None or there.query_key != row.query_key:
                return None
            if not verdict_on(connection, relation, there).is_intact:
                return None
            if origin.given not in (None, there.data_version):
                return None
            confirmed = (
                row if row.kind == "table" else replace(row, inputs={**row.inputs, **there.inputs})
            )
            catalog.confirm(connection, self._instance.catalog_schema, confirmed)
        self._log.info(f"`{row.table}`: query and inputs unchanged, it stays as it is")
        return Stored(there.data_version, self._facts(there, relation, time.monotonic() - started))

    def _facts(self, row: CatalogRow, relation: RelationName, seconds: float) -> dict[str, Any]:
        with self._database.begin() as connection:
            facts = table_facts(connection, relation, row.declared.primary_key)
        return table_metadata(
            facts,
            relation=committed(self._instance, row.table),
            database=self._database.url.database,
            rows=row.row_count or 0,
            seconds=seconds,
        )

    def _shown_and_run(self, query: str, origin: Origin) -> tuple[str, str]:
        """Return a query with the names of committed tables, and as it is run.

        Its identity, and what people see of it, does not depend on what is staged; but it reads
        what its run has staged, also where it names tables by itself.
        """
        names = self._names(origin)
        shown = renamed(query, {new: old for old, new in names.items()})
        return shown, renamed(query, names)

    def _names(self, origin: Origin) -> dict[RelationName, RelationName]:
        """Return where tables lie that the run has staged, by where they will be."""
        with self._database.begin() as connection:
            tables = staging.of_run(connection, self._instance, origin.run_id)
        return {
            committed(self._instance, table): staged(self._instance, table)
            for table, row in tables.items()
            if row.is_relation
        }

    def _check_case(self, table: StageTable) -> None:
        query = sa.text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = :schema AND lower(c.relname) = lower(:name) "
            "AND c.relname <> :name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')"
        )
        schema = self._instance.schema(table.stage)
        with self._database.begin() as connection:
            other = connection.scalar(query, {"schema": schema, "name": table.name})
        if other:
            raise ConfigurationError(
                f"Table `{table}` differs only by upper and lower case from `{schema}.{other}`, "
                "which exists; unquoted SQL would mix them up. Rename the asset, or drop the "
                "other table."
            )


@contextmanager
def _naming(table: StageTable) -> Iterator[None]:
    """Put the table's name before errors that know columns and rows alone."""
    try:
        yield
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"Table `{table}`: {error}") from error
