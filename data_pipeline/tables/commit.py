"""The commit: one transaction that makes the staged tables and blobs of stages visible.

What the run staged moves in, what it replaces goes (or is kept in a slot), what users attached to
it stays, and the catalog changes with it. Tables that are not staged are not touched.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.tables import attached, blobs, catalog, slots, staging
from data_pipeline.tables.attached.relations import Relation
from data_pipeline.tables.attempts import blocking_sessions, is_busy, lock_timeouts
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import ensure_schema, run
from data_pipeline.tables.names import RelationName, StageTable, quoted
from data_pipeline.tables.reader_role import let_read
from data_pipeline.tables.run_session import RunSession
from data_pipeline.tables.visible import committed

_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")

_KINDS = sa.text("""
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)
""")

_TYPES_IN_THE_WAY = sa.text("""
SELECT n.nspname AS staged, mine.typname AS name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type own ON own.oid = c.reltype
JOIN pg_type mine ON mine.oid = own.typarray
JOIN pg_type other ON other.typname = mine.typname
JOIN pg_namespace target ON target.oid = other.typnamespace
JOIN unnest(CAST(:names AS text[]), CAST(:schemas AS text[])) pair(name, schema)
  ON c.oid = to_regclass(pair.name) AND target.nspname = pair.schema
""")

_DROP = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}


@dataclass(frozen=True)
class Committed:
    """What a commit made visible.

    Attributes:
        rows: The catalog rows of all tables and blobs.
        broken: What users had built on them that does not fit any more, and was dropped.
    """

    rows: Sequence[CatalogRow] = ()
    broken: Sequence[attached.Broken] = ()


def commit_stages(
    session: RunSession, stages: Iterable[str], log: logging.Logger, *, seconds: float | None = None
) -> Committed | None:
    """Makes visible what a run has staged of some stages, all at once.

    Args:
        session: The session of the run, which holds the locks of the stages.
        stages: The stages.
        log: Says when the commit has to wait, and for whom.
        seconds: How long to wait for readers at most; None: as configured.

    Returns:
        What was committed; None if readers kept it from committing in the given time.

    Raises:
        DatabaseError: Something built on a table does not fit the new one, or readers kept it from
            committing in the configured time. The stages are as before, what is staged stays.
    """
    instance = session.instance
    stages = sorted(stages)
    limit = instance.table_store.commit_wait_seconds if seconds is None else seconds

    def waiting() -> str:
        return f"Waiting to commit {_listed(stages)}: {_readers(session, stages)}"

    for timeout in lock_timeouts(limit, log, waiting):
        try:
            with session.begin() as connection:
                run(connection, f"SET LOCAL lock_timeout = {timeout}")
                done, files = _Commit(connection, session, stages, log).execute()
        except _LateError:
            continue
        except sa.exc.DBAPIError as error:
            if not is_busy(error):
                text = session.database.scrubbed(error.orig)
                raise _refused(instance, stages, f"PostgreSQL says: {text}") from None
        except attached.CannotCarryError as error:
            raise _refused(instance, stages, str(error)) from None
        else:
            for table, location in files:
                blobs.remove(instance, table, location)
            _report(log, instance, stages, done)
            return done
    if seconds is not None:
        return None
    raise _refused(
        instance,
        stages,
        f"For {limit:g} seconds (`table_store.commit_wait_seconds`) it had to wait: "
        f"{_readers(session, stages)}.",
    )


class _LateError(Exception):
    """Somebody attached something to a table while it was about to be replaced."""


class _Commit:
    """One attempt, within its transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        session: RunSession,
        stages: Sequence[str],
        log: logging.Logger,
    ) -> None:
        self._connection = connection
        self._log = log
        self._instance = session.instance
        self._schema = session.instance.catalog_schema
        self._run_id = session.run_id
        self._stages = stages

    def execute(self) -> tuple[Committed, list[tuple[StageTable, str]]]:
        """Moves everything; gives what was committed, and the files that nothing refers to."""
        connection, instance = self._connection, self._instance
        run(connection, "SET LOCAL search_path = ''")
        name = f"data_pipeline:commit:{instance.instance_id}"
        connection.execute(_ONE_AT_A_TIME, {"name": name})
        staging.check_alive(connection, instance, self._run_id)
        staged = staging.of_run(connection, instance, self._run_id)
        rows = [staged[table] for table in sorted(staged, key=str) if table.stage in self._stages]
        if not rows:
            return Committed(), []
        for stage in sorted({row.stage for row in rows}):
            ensure_schema(connection, instance.schema(stage))
        earlier = catalog.rows_of(connection, self._schema, [row.table for row in rows])
        kept = [
            row for row in rows if slots.is_kept(connection, instance, earlier.get(row.table), row)
        ]
        rows = self._as_shown(rows)
        broken, indexes, views = self._replace(rows, earlier, kept)
        catalog.put(connection, self._schema, [*rows, *views])
        replaced = [item for table, item in earlier.items() if table not in _tables(kept)]
        for row in kept:
            old = earlier[row.table]
            replaced += slots.keep(connection, instance, old, indexes.get(row.table, {}))
        staging.forget(connection, instance, _tables(rows))
        unused = slots.unused_files(connection, instance, replaced)
        files = [(row.table, row.location) for row in replaced if row.location in unused]
        return Committed(rows, broken), [(table, file) for table, file in files if file]

    def _as_shown(self, rows: Sequence[CatalogRow]) -> list[CatalogRow]:
        """Gives the rows, those of views as what they show is now.

        Another run may have replaced what is behind a view since it was staged.
        """
        behind = {
            str(committed(self._instance, table)): row
            for table, row in catalog.rows(self._connection, self._schema).items()
        } | {str(committed(self._instance, row.table)): row for row in rows}
        return [
            _shown(self._instance, row, behind[row.location])
            if row.kind == "view" and row.location in behind
            else row
            for row in rows
        ]

    def _replace(
        self,
        rows: Sequence[CatalogRow],
        earlier: Mapping[StageTable, CatalogRow],
        kept: Sequence[CatalogRow],
    ) -> tuple[Sequence[attached.Broken], dict[StageTable, dict[str, str]], list[CatalogRow]]:
        """Puts the staged relations in the place of the earlier ones; files need nothing."""
        connection, instance = self._connection, self._instance
        targets = {row.table: committed(instance, row.table) for row in rows}
        names = list(targets.values())
        hung = attached.read(connection, names)
        present = self._take_down(hung, names)
        indexes: dict[StageTable, dict[str, str]] = {}
        for row in kept:
            old = earlier[row.table]
            if old.kind == "table":
                target = targets[row.table]
                indexes[row.table] = slots.put_aside(connection, instance, target, old)
                present.pop(target, None)
        drops = [f"DROP {_DROP[kind]} {name.quoted}" for name, kind in present.items()]
        self._make_room([row.table for row in rows if row.kind != "blob"])
        moves = [_move(instance, row) for row in rows if row.kind != "blob"]
        if statements := [*drops, *moves]:
            run(connection, "; ".join(statements))
        broken = attached.put_up(
            connection,
            hung,
            policy=instance.table_store.on_broken_view,
            log=self._log,
            definitions={
                committed(instance, row.table): f"SELECT * FROM {source.quoted}"
                for row, source in self._passing(rows)
            },
        )
        if role := instance.table_store.reader_role:
            stages = {row.stage for row in catalog.rows(connection, self._schema).values()}
            stages |= {row.stage for row in rows}
            let_read(connection, role, [instance.schema(stage) for stage in sorted(stages)])
        return broken, indexes, self._shown_through(rows, hung)

    def _take_down(
        self, hung: attached.Attached, targets: Sequence[RelationName]
    ) -> dict[RelationName, str]:
        """Drops what is built on the earlier relations, and locks them; gives their kinds.

        All in one go, since a reader that comes in between may make us wait for each other. Views
        come before tables, as in a query that reads a view.
        """
        found = self._connection.execute(_KINDS, {"names": [item.quoted for item in targets]})
        kinds = {RelationName(item.schema, item.name): item.kind for item in found}
        present = {name: kinds[name] for name in sorted(kinds, key=str)}
        statements = attached.take_down_statements(hung)
        if tables := [name.quoted for name, kind in present.items() if kind in "rp"]:
            statements.append(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        if statements:
            run(self._connection, ";\n".join(statements))
        if attached.is_late(self._connection, hung):
            raise _LateError
        return present

    def _make_room(self, tables: Sequence[StageTable]) -> None:
        """Renames the array types of staged tables where the stage's schema has their names.

        The array type of table `t` is called `_t`, which may be the name of another table.
        PostgreSQL renames an array type, and nobody else can, for a table of its name.
        """
        names = [staging.relation_of(self._instance, table).quoted for table in tables]
        schemas = [self._instance.schema(table.stage) for table in tables]
        parameters = {"names": names, "schemas": schemas}
        while found := self._connection.execute(_TYPES_IN_THE_WAY, parameters).all():
            for item in found:
                stand_in = quoted(item.staged, item.name)
                run(self._connection, f"CREATE TABLE {stand_in} (); DROP TABLE {stand_in}")

    def _passing(self, rows: Sequence[CatalogRow]) -> list[tuple[CatalogRow, RelationName]]:
        """Gives our views that show one of the relations under another name, with the relation."""
        sources = {str(name): name for name in (committed(self._instance, r.table) for r in rows)}
        found = catalog.views_of(self._connection, self._schema, sources.values())
        return [(row, sources[row.location or ""]) for row in found]

    def _shown_through(
        self, rows: Sequence[CatalogRow], hung: attached.Attached
    ) -> list[CatalogRow]:
        """Gives the new rows of those views, where they are there and not replaced themselves."""
        by_name = {str(committed(self._instance, row.table)): row for row in rows}
        present = {item.name for item in hung.dependents if isinstance(item, Relation)}
        return [
            _shown(self._instance, row, by_name[str(source)])
            for row, source in self._passing(rows)
            if committed(self._instance, row.table) in present
        ]


def _shown(instance: Instance, view: CatalogRow, source: CatalogRow) -> CatalogRow:
    """Gives the row of a view that shows what `source` describes."""
    return replace(
        view,
        data_version=source.data_version,
        inputs={f"{instance.instance_id}/{source.table}": source.data_version},
        properties=source.properties,
        row_count=source.row_count,
        run_id=source.run_id,
    )


def _move(instance: Instance, row: CatalogRow) -> str:
    source = staging.relation_of(instance, row.table)
    kind = "VIEW" if row.kind == "view" else "TABLE"
    return f"ALTER {kind} {source.quoted} SET SCHEMA {quoted(instance.schema(row.stage))}"


def _tables(rows: Iterable[CatalogRow]) -> set[StageTable]:
    return {row.table for row in rows}


def _readers(session: RunSession, stages: Sequence[str]) -> str:
    with session.begin() as connection:
        staged = staging.of_run(connection, session.instance, session.run_id)
        tables = [table for table in staged if table.stage in stages]
        names = [
            name
            for table in tables
            for name in (
                committed(session.instance, table),
                staging.relation_of(session.instance, table),
            )
        ]
        found = blocking_sessions(connection, names)
    return "; ".join(found) or "others read its tables, one after the other"


def _report(
    log: logging.Logger, instance: Instance, stages: Sequence[str], done: Committed
) -> None:
    for item in done.broken:
        log.warning(
            f"Dropped with the commit of {_listed(stages)} (`on_broken_view: drop`): {item}"
        )
    if done.rows:
        names = ", ".join(f"`{row.table}`" for row in done.rows)
        log.info(f"Committed {_listed(stages)} of instance `{instance.name}`: {names}")


def _refused(instance: Instance, stages: Sequence[str], reason: str) -> DatabaseError:
    schemas = ", ".join(instance.staging_schema(stage) for stage in stages)
    return DatabaseError(
        f"{_listed(stages).capitalize()} of instance `{instance.name}` could not be committed and "
        f"has its earlier content as a whole. {reason}\n"
        f"The new tables are staged in {schemas}; they are used again by the next run. If "
        "something that was built on a table stands in the way, drop it or adapt it to the new "
        f"columns, then run again: {instance.build_command}"
    )


def _listed(stages: Sequence[str]) -> str:
    names = ", ".join(f"`{stage}`" for stage in stages)
    return f"stage {names}" if len(stages) == 1 else f"stages {names}"
