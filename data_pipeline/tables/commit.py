"""The commit: one transaction that makes a table, view or blob visible, with its catalog row."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat

import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.tables import catalog, slots
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import Database, ensure_schema, run
from data_pipeline.tables.dependents import (
    DependentView,
    make_room_for_types,
    put_up,
    relation_kind,
    take_down,
)
from data_pipeline.tables.names import RelationName, StageTable, quoted
from data_pipeline.tables.slots import Slot

# A commit that waits for a reader makes all later readers wait behind it, and may even wait for a
# reader that waits for the commit. So it gives up soon (always before PostgreSQL looks for
# deadlocks, after 1000 ms, and ends the reader's statement), lets the others pass, and tries again.
# Short waits get in between many quick readers, longer ones outlast slow readers.
_QUICK_TRIES, _QUICK_MS = 8, 5
_SLOW_MS = (50, 100, 200, 400, 800)
_BUSY = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
_SECONDS_BETWEEN_MESSAGES = 10.0


@dataclass(frozen=True)
class Committed:
    """What a commit wrote to the catalog, and which blobs' files nothing refers to any more."""

    row: CatalogRow
    replaced_files: frozenset[str] = frozenset()


def committed(instance: Instance, table: StageTable) -> RelationName:
    """Names the relation of a table as readers see it."""
    return RelationName(instance.schema(table.stage), table.name)


def staged(instance: Instance, table: StageTable) -> RelationName:
    """Names the relation of a table while it is built."""
    return RelationName(instance.staging_schema(table.stage), table.name)


def commit_table(
    database: Database, instance: Instance, row: CatalogRow, log: logging.Logger
) -> Committed:
    """Replaces a table by the staged one; views, grants and comments come along.

    Raises:
        DatabaseError: Something built on the old table does not fit the new one; the old one stays.
    """
    source, target = staged(instance, row.table), committed(instance, row.table)

    def move(connection: sa.Connection) -> CatalogRow:
        make_room_for_types(connection, source, target)
        run(connection, f"ALTER TABLE {source.quoted} SET SCHEMA {quoted(target.schema)}")
        return row

    return _commit(database, instance, row, move, log)


def commit_view(
    database: Database,
    instance: Instance,
    row: CatalogRow,
    source: RelationName,
    behind: StageTable | None,
    log: logging.Logger,
) -> Committed:
    """Makes a table a view of `source`; what is built on the table comes along.

    Args:
        database: The database.
        instance: Whose table.
        row: What the catalog is to say of it.
        source: The relation behind the view.
        behind: The table of this instance that `source` is, if it is one.
        log: Says when the commit has to wait.

    Raises:
        DatabaseError: As in `commit_table`.
    """
    target = committed(instance, row.table)

    def show(connection: sa.Connection) -> CatalogRow:
        run(connection, f"CREATE VIEW {target.quoted} AS {_pass_through(source)}")
        # From here on nobody can replace the source: its catalog row is that of what we show.
        current = behind and catalog.row(connection, instance.catalog_schema, behind)
        return _shown_through(instance, row, current) if current else row

    return _commit(database, instance, row, show, log)


def commit_blob(
    database: Database, instance: Instance, row: CatalogRow, log: logging.Logger
) -> Committed:
    """Makes a blob's file the current one; a table of that name goes."""
    return _commit(database, instance, row, lambda _: row, log)


def commit_slot(
    database: Database, instance: Instance, slot: Slot, row: CatalogRow, log: logging.Logger
) -> Committed:
    """Replaces a table or blob by an earlier version that was kept.

    Args:
        database: The database.
        instance: Whose table.
        slot: The earlier version.
        row: What the catalog is to say of it.
        log: Says when the commit has to wait.

    Raises:
        DatabaseError: As in `commit_table`.
    """

    def back(connection: sa.Connection) -> CatalogRow:
        if row.kind == "table":
            slots.put_back(connection, instance, slot)
        slots.forget(connection, instance, slot.row)
        return row

    return _commit(database, instance, row, back, log)


def _commit(
    database: Database,
    instance: Instance,
    row: CatalogRow,
    place: Callable[[sa.Connection], CatalogRow],
    log: logging.Logger,
) -> Committed:
    target = committed(instance, row.table)
    for timeout in _lock_timeouts(log, f"Waiting to commit {target}, which others are reading"):
        try:
            with database.begin() as connection:
                run(connection, f"SET LOCAL lock_timeout = {timeout}")
                return _replace(connection, instance, row, place)
        except sa.exc.DBAPIError as error:
            if not _is_busy(error):
                raise _refused(
                    instance, row, f"PostgreSQL says: {database.scrubbed(error.orig)}"
                ) from None
    raise AssertionError  # there is always another try


def _replace(
    connection: sa.Connection,
    instance: Instance,
    row: CatalogRow,
    place: Callable[[sa.Connection], CatalogRow],
) -> Committed:
    """Takes a relation down, places another there, and puts up again what was built on it."""
    target = committed(instance, row.table)
    schema = instance.catalog_schema
    run(connection, "SET LOCAL search_path = ''")
    catalog.ensure(connection, schema)
    ensure_schema(connection, target.schema)
    earlier = catalog.row(connection, schema, row.table)
    if row.kind != "blob" and relation_kind(connection, target) is None:
        # An empty stand-in has the default privileges of the schema; a moved table has not.
        run(connection, f"CREATE TABLE {target.quoted} ()")
    indexes: dict[str, str] = {}
    keeps = slots.is_kept(connection, instance, earlier, row)
    moves = keeps and earlier is not None and earlier.kind == "table"
    put_aside = partial(_put_aside, connection, instance, earlier, indexes) if moves else None
    attachments, views = take_down(connection, target, put_aside)
    placed = place(connection)
    if relation_kind(connection, target):
        attachments.apply(connection, target)
    shown = _passed_through(connection, instance, target, views)
    for view in views:
        _put_up(connection, instance, row, view, target if view.relation in shown else None)
    for other in shown.values():
        catalog.put(connection, schema, _shown_through(instance, other, placed))
    catalog.put(connection, schema, placed)
    if earlier is None:
        return Committed(placed)
    replaced = slots.keep(connection, instance, earlier, indexes) if keeps else [earlier]
    return Committed(placed, slots.unused_files(connection, instance, replaced))


def _put_aside(
    connection: sa.Connection,
    instance: Instance,
    earlier: CatalogRow | None,
    indexes: dict[str, str],
) -> None:
    if earlier is None:
        return
    old = committed(instance, earlier.table)
    indexes |= slots.put_aside(connection, instance, old, earlier)


def _put_up(
    connection: sa.Connection,
    instance: Instance,
    row: CatalogRow,
    view: DependentView,
    source: RelationName | None,
) -> None:
    try:
        put_up(connection, view, _pass_through(source) if source else None)
    except sa.exc.DBAPIError as error:
        if _is_busy(error):
            raise
        what = f"The view {view.relation}, which was built on it, does not fit the new columns: "
        raise _refused(instance, row, f"{what}{str(error.orig).strip()}") from None


def _refused(instance: Instance, row: CatalogRow, reason: str) -> DatabaseError:
    return DatabaseError(
        f"Table `{row.table}` of instance `{instance.name}` could not be committed; "
        f"{committed(instance, row.table)} is unchanged. {reason}\n"
        "If a view or other object built on the table stands in the way, drop it or adapt it "
        "to the new columns, then run again."
    )


def _is_busy(error: sa.exc.DBAPIError) -> bool:
    return getattr(error.orig, "pgcode", None) in _BUSY


def _lock_timeouts(log: logging.Logger, message: str) -> Iterator[int]:
    """Gives how many ms to wait for locks, again and again, with a pause before each next try."""
    said = -_SECONDS_BETWEEN_MESSAGES
    for slow in chain(_SLOW_MS, repeat(_SLOW_MS[-1])):
        for timeout in (*repeat(_QUICK_MS, _QUICK_TRIES), slow):
            yield timeout
            # Another length each time, so as not to keep step with a reader.
            time.sleep(random.uniform(0.5, 1.5) * timeout / 1000)  # noqa: S311 - no secret
        if time.monotonic() - said >= _SECONDS_BETWEEN_MESSAGES:
            said = time.monotonic()
            log.info(message)


def _pass_through(source: RelationName) -> str:
    return f"SELECT * FROM {source.quoted}"


def _passed_through(
    connection: sa.Connection,
    instance: Instance,
    source: RelationName,
    views: list[DependentView],
) -> Mapping[RelationName, CatalogRow]:
    """Gives the input tables that are `source` under another name, by their views."""
    present = {view.relation for view in views}
    rows = catalog.views_of(connection, instance.catalog_schema, source)
    by_view = {committed(instance, row.table): row for row in rows}
    return {view: row for view, row in by_view.items() if view in present}


def _shown_through(instance: Instance, view: CatalogRow, source: CatalogRow) -> CatalogRow:
    """Gives the row of a pass-through view of what `source` describes."""
    return replace(
        view,
        data_version=source.data_version,
        inputs={f"{instance.instance_id}/{source.table}": source.data_version},
        properties=source.properties,
        row_count=source.row_count,
        run_id=source.run_id,
    )
