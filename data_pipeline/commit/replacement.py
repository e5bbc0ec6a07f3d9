"""What a commit replaces, as the catalog has it, and what it puts there: one statement each."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.instances import Instance
from data_pipeline.store import catalog, history, staging
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import ONLY_ROW, CatalogRow
from data_pipeline.store.changed_by_hand import State, Verdict, filtered, state_of
from data_pipeline.store.lookup import committed

_NAMES = [item.name for item in fields(CatalogRow)]

_PUBLISH = """
WITH published AS (
    DELETE FROM {staged} WHERE owner = :run_id AND stage = ANY (:stages) RETURNING {columns}
)
INSERT INTO {tables} AS t ({columns}, made_in, seen_in, committed_at, replaced)
SELECT {values}, CAST(:location AS text), CAST(:location AS text), clock_timestamp(),
    jsonb_build_object('by', CAST(:run_id AS text))
FROM published
ON CONFLICT (stage, name) DO UPDATE SET {changes}, made_in = EXCLUDED.made_in,
    seen_in = coalesce(EXCLUDED.seen_in, t.seen_in), committed_at = EXCLUDED.committed_at,
    replaced = EXCLUDED.replaced || jsonb_build_object('earlier', jsonb_build_object({earlier}))
"""


_READ = stored_query(__file__, "replacement_read")


@dataclass(frozen=True)
class Replaced:
    """What is staged, and what the catalog says of what that replaces.

    Attributes:
        staged: The rows that take the place of the earlier ones.
        missing: Stages that have no schema yet.
        rows: Of the earlier versions of its tables and blobs.
        intact: Those whose relation is what was built, as far as can be told without reading rows;
            or whose file is.
        passing: Views that show one of its tables under another name.
        behind: What its own views show, by the name of the relation, where that is committed.
    """

    staged: Sequence[CatalogRow]
    missing: Sequence[str]
    rows: Mapping[StageTable, CatalogRow]
    intact: frozenset[StageTable]
    passing: Sequence[CatalogRow]
    behind: Mapping[str, CatalogRow]

    @functools.cached_property
    def relations(self) -> frozenset[StageTable]:
        """Those of the earlier versions that are tables or views."""
        return frozenset(table for table, row in self.rows.items() if row.is_relation)


def read(
    connection: sa.Connection, instance: Instance, run_id: str, stages: Iterable[str]
) -> Replaced:
    """Return what a run has staged of some stages, and what that replaces in the catalog."""
    prefix = instance.table_store.schema_prefix
    parameters = {"run_id": run_id, "stages": list(stages), "prefix": prefix}
    new: list[tuple[CatalogRow, bool]] = []
    found: list[tuple[CatalogRow, Verdict | None]] = []
    for item in connection.execute(_query(instance.catalog_schema), parameters):
        row = catalog.row_of(item)
        if item.is_staged:
            new.append((row, item.has_schema))
        else:
            found.append((row, filtered(row, item.state)))
    staged = sorted((row for row, _ in new), key=lambda row: str(row.table))
    keys = {row.table for row in staged}
    relations = {str(committed(instance, row.table)) for row in staged}
    return Replaced(
        staged,
        sorted({row.stage for row, has in new if not has and row.kind not in ONLY_ROW}),
        {row.table: row for row, _ in found if row.table in keys},
        frozenset(
            row.table
            for row, verdict in found
            if (
                blob_files.is_intact(instance, row)
                if row.kind == "blob"
                else row.kind == "tables" or (verdict is not None and verdict.is_intact)
            )
        ),
        [row for row, _ in found if row.kind == "view" and row.location in relations],
        {str(committed(instance, row.table)): row for row, _ in found},
    )


def publish(
    connection: sa.Connection,
    instance: Instance,
    run_id: str,
    stages: Iterable[str],
    code_location: str | None,
) -> None:
    """Move what a run has staged of some stages to the catalog, in place of earlier rows."""
    statement = _publication(instance.catalog_schema)
    published = list(stages)
    values = {"run_id": run_id, "stages": published, "location": code_location}
    connection.execute(statement, values)
    staging.forget_followed(run_id, published)


def remember_states(
    connection: sa.Connection,
    instance: Instance,
    rows: Sequence[CatalogRow],
    states: Mapping[RelationName, State],
) -> None:
    """Note what identifies tables whose rows were replaced in place, which are no staged ones."""
    for row in rows:
        if state := states.get(committed(instance, row.table)):
            catalog.set_relation(connection, instance.catalog_schema, row.table, state)


def remember_views(
    connection: sa.Connection, instance: Instance, rows: Sequence[CatalogRow]
) -> None:
    """Note what identifies views that were put in place, with their queries as they now read."""
    views = [[row.stage, row.name] for row in rows if row.kind == "view"]
    if not views:
        return
    prefix = instance.table_store.schema_prefix
    relation = catalog.relation_sql(prefix, "t.stage", "t.name")
    name = quoted(instance.catalog_schema, catalog.TABLES)
    chosen = ", ".join(f"({literal(stage)}, {literal(name)})" for stage, name in views)
    run(
        connection,
        f"UPDATE {name} t SET relation = {state_of(relation)}::jsonb"
        f" || jsonb_build_object('definition', md5(pg_get_viewdef({relation})))"
        f" WHERE (t.stage, t.name) IN ({chosen})",
    )


@functools.cache
def _query(catalog_schema: str) -> sa.TextClause:
    state = state_of("to_regclass(format('%I.%I', c.schema, c.name))").replace(":", "\\:")
    return _text(_READ, catalog_schema, ", ".join(_NAMES), schema=":prefix || s.stage", state=state)


@functools.cache
def _publication(catalog_schema: str) -> sa.TextClause:
    columns = [n for n in _NAMES if n not in ("made_in", "seen_in", "committed_at")]
    changes = [f"{name} = EXCLUDED.{name}" for name in columns if name not in ("stage", "name")]
    earlier = ", ".join(f"'{name}', t.{name}" for name in history.KEPT)
    # Once they are in the table, its new rows are no increment any more.
    plain = {"increment": "increment - 'onto' - 'rows'"}
    values = ", ".join(plain.get(name, name) for name in columns)
    return _text(
        _PUBLISH,
        catalog_schema,
        ", ".join(columns),
        values=values,
        changes=", ".join(changes),
        earlier=earlier,
    )


def _text(template: str, catalog_schema: str, columns: str, **more: str) -> sa.TextClause:
    # A colon in a name is no parameter.
    staged, tables = (
        quoted(catalog_schema, table).replace(":", "\\:")
        for table in (staging.STAGED, catalog.TABLES)
    )
    return sa.text(template.format(staged=staged, tables=tables, columns=columns, **more))


_TYPES_IN_THE_WAY = stored_query(__file__, "replacement_types_in_the_way")
_INDEXES_IN_THE_WAY = stored_query(__file__, "replacement_indexes_in_the_way")

_NAME_IS_TAKEN = ("42710", "42P07")  # duplicate_object: a type; duplicate_table: an index as well
_SAVEPOINT = "moved"


def move(
    connection: sa.Connection,
    first: Sequence[str],
    targets: Mapping[RelationName, str],
    views: frozenset[RelationName],
) -> None:
    """Take away what is replaced, and moves relations into schemas.

    Args:
        connection: A transaction.
        first: Statements that take away what is replaced.
        targets: The relations, each with its schema.
        views: Those of them that are views.
    """
    moves = [
        f"ALTER {'VIEW' if name in views else 'TABLE'} {name.quoted} SET SCHEMA {quoted(schema)}"
        for name, schema in targets.items()
    ]
    if not (statements := [*first, *moves]):
        return
    steps = [f"SAVEPOINT {_SAVEPOINT}", *statements, f"RELEASE SAVEPOINT {_SAVEPOINT}"]
    try:
        run(connection, "; ".join(steps))
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _NAME_IS_TAKEN:
            raise
        run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        _make_room(connection, first, targets)
        run(connection, "; ".join(moves))


def _make_room(
    connection: sa.Connection, first: Sequence[str], targets: Mapping[RelationName, str]
) -> None:
    """Take away what is replaced, and let other names be free of what still is in the way.

    Array types get out of the way of a type. An index, such as that of a table which a user has
    renamed, keeps its name: that of the new table is renamed.
    """
    given = {
        "names": ", ".join(literal(name.quoted) for name in targets),
        "schemas": ", ".join(literal(quoted(schema)) for schema in targets.values()),
    }
    query = _TYPES_IN_THE_WAY.format(**given)
    statements = [*first, query]
    while found := run(connection, "; ".join(statements)).all():
        stand_ins = [quoted(schema, name) for schema, name in found]
        creations = (f"CREATE TABLE {name} (); DROP TABLE {name}" for name in stand_ins)
        statements = [*creations, query]
    for schema, name, other in run(connection, _INDEXES_IN_THE_WAY.format(**given)).all():
        run(connection, f"ALTER INDEX {quoted(schema, name)} RENAME TO {quoted(other)}")
