"""The version of a catalog: what earlier versions of this package wrote is brought forward.

Each step leads from one version to the next and is never edited afterwards: a database that
somebody left alone for years takes them all, in one transaction. A step may find its work done,
where somebody has dropped a part of the catalog.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import catalog_lock_name, lock_for_transaction
from data_pipeline.database.connection import ensure_schema, run
from data_pipeline.database.identifiers import literal, quoted
from data_pipeline.errors import DatabaseError

VERSION_TABLE = "version"

_TABLES = (
    "tables",
    "slots",
    "staged",
    "runs",
    "leases",
    "checks",
    "last_run",
    "loads",
    "source_facts",
)
_PRESENT = sa.text(
    "SELECT name, to_regclass(name) IS NOT NULL AS there FROM unnest(CAST(:names AS text[])) name"
)


def version(connection: sa.Connection, schema: str) -> int | None:
    """Return the version of the catalog in a schema.

    Returns:
        None if there is none; 0 if it bears no version, or if somebody has dropped a part of it.
    """
    versions, tables, *others = (quoted(schema, name) for name in (VERSION_TABLE, *_TABLES))
    names = [versions, tables, *others]
    present = {r.name: r.there for r in connection.execute(_PRESENT, {"names": names})}
    if not present[tables]:
        return None
    if not present[versions]:
        return 0
    found = int(run(connection, f"SELECT coalesce(max(version), 0) FROM {versions}").scalar_one())
    return found if found > VERSION or all(present.values()) else 0


def is_readable(connection: sa.Connection, schema: str) -> bool:
    """Whether there is a catalog; one of an earlier version is brought forward.

    Raises:
        DatabaseError: A newer version of this package wrote it.
    """
    found = version(connection, schema)
    if found is None:
        return False
    if not _is_current(schema, found):
        ensure(connection, schema)
    return True


def ensure(connection: sa.Connection, schema: str) -> None:
    """Create the catalog, or bring forward an earlier one; safe beside other sessions.

    Args:
        connection: A transaction.
        schema: The catalog schema of an instance.

    Raises:
        DatabaseError: A newer version of this package wrote it.
    """
    if _is_current(schema, version(connection, schema)):
        return
    ensure_schema(connection, schema)
    lock_for_transaction(connection, catalog_lock_name(schema))
    # Another session may have been here while this one waited for the lock.
    found = version(connection, schema)
    if _is_current(schema, found):
        return
    versions = quoted(schema, VERSION_TABLE)
    columns = "version integer PRIMARY KEY, since timestamptz DEFAULT clock_timestamp()"
    run(connection, f"CREATE TABLE IF NOT EXISTS {versions} ({columns})")
    for number, step in enumerate(_STEPS[found or 0 :], start=(found or 0) + 1):
        for statement in step(schema):
            run(connection, statement)
        run(connection, f"INSERT INTO {versions} VALUES ({number}) ON CONFLICT DO NOTHING")
    name = quoted(schema, "tables")
    comments = (
        f"COMMENT ON COLUMN {name}.{column} IS {literal(text)}"
        for column, text in _EXPLANATIONS.items()
    )
    run(connection, "; ".join(comments))


def _is_current(schema: str, found: int | None) -> bool:
    if found is not None and found > VERSION:
        raise DatabaseError(
            f"The catalog `{schema}` was written by a newer version of data_pipeline: it has "
            f"version {found}, and this one knows versions up to {VERSION}. Install the version "
            "that the others use, or drop the instance and run it again. Nothing was changed."
        )
    return found == VERSION


def _with_columns(
    schema: str, table: str, comment: str, key: str, columns: str, more: Iterable[str] = ()
) -> Iterator[str]:
    """Create a table, or add the columns that it lacks."""
    name = quoted(schema, table)
    yield f"CREATE TABLE IF NOT EXISTS {name} ({key})"
    added = [line.strip().rstrip(",") for line in (*columns.strip().splitlines(), *more)]
    yield f"ALTER TABLE {name} {', '.join(f'ADD COLUMN IF NOT EXISTS {item}' for item in added)}"
    yield f"COMMENT ON TABLE {name} IS {literal(comment)}"


_RESULT_COLUMNS = """
stage text,
name text,
kind text,
location text,
cache_key text,
query_key text,
code_version text,
code_parts jsonb,
identity jsonb,
data_version text,
checksum text,
inputs jsonb,
properties jsonb,
row_count bigint,
bytes bigint,
run_id text,
username text,
host text,
built_at timestamptz,
committed_at timestamptz
"""
_RUN_COLUMNS = """
run_id text,
username text,
host text,
pid integer,
backend_pid integer,
started_at timestamptz,
stages jsonb,
inputs jsonb,
is_buried boolean NOT NULL DEFAULT false
"""


def _unversioned(schema: str) -> Iterator[str]:
    """Lead from all states before catalogs bore a version, which only lacked columns and tables."""
    by_table = "stage text, name text, PRIMARY KEY (stage, name)"
    yield from _with_columns(
        schema,
        "tables",
        "Tables and blobs of this instance, one row each",
        by_table,
        _RESULT_COLUMNS,
    )
    yield from _with_columns(
        schema,
        "slots",
        "Earlier versions of tables and blobs that are kept aside",
        "cache_key text PRIMARY KEY",
        _RESULT_COLUMNS,
        ["indexes jsonb", "kept_at timestamptz"],
    )
    yield from _with_columns(
        schema,
        "staged",
        "Tables and blobs that are built, and wait for the commit of their stage",
        by_table,
        _RESULT_COLUMNS,
        ["owner text"],
    )
    yield from _with_columns(
        schema,
        "runs",
        "Runs that are at work on this instance",
        "run_id text PRIMARY KEY",
        _RUN_COLUMNS,
    )


def _of_results(schema: str, *columns: str) -> Iterator[str]:
    """Add columns to whatever describes results: committed, kept and staged ones."""
    actions = ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in columns)
    for table in ("tables", "slots", "staged"):
        yield f"ALTER TABLE {quoted(schema, table)} {actions}"


def _relation_states(schema: str) -> Iterator[str]:
    """Add what tells by which relation, content and code location a result is known."""
    yield from _of_results(
        schema, "relation jsonb", "content_hash text", "made_in text", "seen_in text"
    )


def _reads_by_code(schema: str) -> Iterator[str]:
    """Add what the code of steps reads by itself."""
    yield f"ALTER TABLE {quoted(schema, 'runs')} ADD COLUMN IF NOT EXISTS reads jsonb"


def _leases(schema: str) -> Iterator[str]:
    """Add what steps on other machines go by."""
    columns = "until timestamptz, seconds double precision, asked jsonb"
    yield from _with_columns(
        schema,
        "leases",
        "Runs whose steps are executed by other processes, and those steps",
        "run_id text, step text, PRIMARY KEY (run_id, step)",
        columns.replace(", ", ",\n"),
    )


_CHECK_COLUMNS = """
stage text,
name text,
check_name text,
data_version text,
passed boolean,
severity text,
description text,
evaluation text,
run_id text,
evaluated_at timestamptz,
PRIMARY KEY (stage, name, check_name, data_version)
"""


def _check_results(schema: str) -> Iterator[str]:
    """Add what checks said of results, and the queries that made these."""
    yield from _of_results(schema, "query text")
    name = quoted(schema, "checks")
    yield f"CREATE TABLE IF NOT EXISTS {name} ({_CHECK_COLUMNS})"
    yield f"COMMENT ON TABLE {name} IS 'Last results of the checks of each version of a result'"


def _tables_of_assets(schema: str) -> Iterator[str]:
    """Add which asset a table belongs to that is one of several."""
    yield from _of_results(schema, "part_of text")


def _replacements(schema: str) -> Iterator[str]:
    """Add what a commit has replaced, and which run was the last to end."""
    yield f"ALTER TABLE {quoted(schema, 'tables')} ADD COLUMN IF NOT EXISTS replaced jsonb"
    name = quoted(schema, "last_run")
    columns = "is_last boolean PRIMARY KEY CHECK (is_last), run_id text, ended_at timestamptz"
    yield f"CREATE TABLE IF NOT EXISTS {name} ({columns})"
    yield f"COMMENT ON TABLE {name} IS 'The run that ended last, whether or not it made anything'"


_LOAD_COLUMNS = """
stage text,
name text,
range text,
relation bigint,
identity text,
rows bigint,
seen jsonb,
writer text,
begun_at timestamptz,
loaded_at timestamptz,
PRIMARY KEY (stage, name, range)
"""


def _loads(schema: str) -> Iterator[str]:
    """Add which ranges of a table are loaded while it is not finished."""
    name = quoted(schema, "loads")
    yield f"CREATE TABLE IF NOT EXISTS {name} ({_LOAD_COLUMNS})"
    yield f"COMMENT ON TABLE {name} IS 'Ranges of staged tables whose load is not finished'"


def _increments(schema: str) -> Iterator[str]:
    """Add what the increments of a table rest on."""
    yield from _of_results(schema, "increment jsonb")


def _source_facts(schema: str) -> Iterator[str]:
    """Add what samples know of their sources."""
    name = quoted(schema, "source_facts")
    columns = "stage text, key text, about text, tables text[], content jsonb"
    since = "taken_at timestamptz DEFAULT clock_timestamp()"
    yield f"CREATE TABLE IF NOT EXISTS {name} ({columns}, {since}, PRIMARY KEY (stage, key))"
    comment = "What samples need to know of a state of their source, whatever their rate"
    yield f"COMMENT ON TABLE {name} IS {literal(comment)}"


def _slices(schema: str) -> Iterator[str]:
    """Add which rows belong to a slice of a table."""
    yield from _of_results(schema, "slice jsonb")


def _code_of_checks(schema: str) -> Iterator[str]:
    """Add by which code a check was evaluated."""
    name = quoted(schema, "checks")
    yield f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS code_version text"


_STEPS: Sequence[Callable[[str], Iterator[str]]] = (
    _unversioned,
    _relation_states,
    _reads_by_code,
    _leases,
    _check_results,
    _tables_of_assets,
    _replacements,
    _loads,
    _increments,
    _source_facts,
    _slices,
    _code_of_checks,
)

VERSION = len(_STEPS)
"""The version that this package reads and writes."""

_EXPLANATIONS = {
    "stage": "Stage: the first part of the asset key",
    "name": "Table or blob: the second part of the asset key",
    "kind": "table, view (a query, or another table under this name), blob (a file), none (nothing "
    "is stored), elsewhere (another IO manager keeps it), tables (several, each with a row), "
    "sliced (a table whose slices have rows of their own, named table@key) or "
    "absent (an optional output, not made)",
    "part_of": "Asset that made it as one of several tables; NULL: the asset of its name",
    "location": "Relation behind a view, or file of a blob, below the blob store",
    "cache_key": "Identity of the computation that made it; NULL when it is not reusable",
    "query_key": "Identity of query, inputs and properties of what is made by a query",
    "query": "Query that made it, with the names of committed tables",
    "code_version": "Identity of the code that made it",
    "code_parts": "Digest of each function, class, constant and file of that code",
    "identity": "Digests of configuration, declared properties, attrs, resources and source",
    "data_version": "Identity of the data in it",
    "checksum": "SHA-256 of its content, of frames and blobs; NULL where none was taken",
    "content_hash": "Hash of its rows, in any order; NULL where none was taken",
    "inputs": "Data version of every input that was read, by asset",
    "properties": "Primary key, indexes, types and more that it was made with",
    "increment": "Of a table that grows by increments: how (write), the version that was built "
    "from the start (base), how often it has grown since (number), by which code its inputs were "
    "made (lineage)",
    "slice": "Of a slice, which rows belong to it; of a sliced table, by which column it is cut",
    "relation": "What tells that the relation and its rows are still those that were built",
    "row_count": "Number of rows; NULL for a blob",
    "bytes": "Size on disk with indexes, in bytes",
    "run_id": "Dagster run that made it",
    "made_in": "Code location of that run",
    "seen_in": "Code location that last had an asset of this name",
    "username": "Operating-system user of that run",
    "host": "Machine of that run",
    "built_at": "When it was built, which is some time before it is visible",
    "committed_at": "When it became visible",
    "replaced": "The run that committed it (by), and what was there before, if anything",
}
