"""Advisory locks: all names, and all statements that take and free them.

They end with their session, or with their transaction, so that they vanish with a killed process.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable, literal
from data_pipeline.instances import Instance

RUN_PREFIX = "data_pipeline:run:"
STEP_PREFIX = "data_pipeline:step:"
_NUMBER = "hashtextextended({name}, 0)"
_EACH = "FROM unnest(CAST(:names AS text[])) name"


def _take(function: str, name: str = ":name") -> str:
    return f"SELECT {function}({_NUMBER.format(name=name)})"


TRY = sa.text(_take("pg_try_advisory_lock"))
WAIT = sa.text(_take("pg_advisory_lock"))
SHARE = sa.text(_take("pg_advisory_lock_shared"))
TRY_SHARE = sa.text(_take("pg_try_advisory_lock_shared"))
UNLOCK = sa.text(_take("pg_advisory_unlock"))
# All of several, in one statement: a run may write hundreds of tables.
TRY_EACH = sa.text(f"{_take('pg_try_advisory_lock', 'name')} AS taken, name {_EACH}")
UNLOCK_EACH = sa.text(f"{_take('pg_advisory_unlock', 'name')} {_EACH}")
_RESERVE_EACH = sa.text(f"{_take('pg_try_advisory_xact_lock', 'name')} AS taken, name {_EACH}")
_WAIT_FOR_TRANSACTION = sa.text(_take("pg_advisory_xact_lock"))
_TRY_FOR_TRANSACTION = sa.text(_take("pg_try_advisory_xact_lock"))


def trying_and_noting(name: str) -> str:
    """Return the statement that takes a lock of the session if nobody has it; see `HAS_LOCK`."""
    taken = f"pg_try_advisory_lock({_NUMBER.format(name=literal(name))})"
    return f"SELECT set_config('data_pipeline.has_lock', {taken}::text, false)"


HAS_LOCK = "current_setting('data_pipeline.has_lock')::boolean"
"""The SQL that tells a later statement of the session whether it has been taken."""


def waiting(name: str) -> str:
    """Return the statement that waits for a lock of the session."""
    return _take("pg_advisory_lock", literal(name))


def waiting_for_transaction(name: str) -> str:
    """Return the statement that waits for a lock of the transaction."""
    return _take("pg_advisory_xact_lock", literal(name))


def lock_for_transaction(connection: sa.Connection, name: str) -> None:
    """Take a lock, which the end of the transaction frees."""
    connection.execute(_WAIT_FOR_TRANSACTION, {"name": name})


def try_for_transaction(connection: sa.Connection, name: str) -> bool:
    """Take a lock until the end of the transaction if nobody has it; tell whether that is so."""
    return bool(connection.scalar(_TRY_FOR_TRANSACTION, {"name": name}))


def matches(name: str) -> str:
    """Return the condition that a row `l` of `pg_locks` is about a lock; its name as SQL."""
    return (
        "l.locktype = 'advisory' AND l.objsubid = 1 "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        f"AND ((l.classid::bigint << 32) | l.objid::bigint) = {_NUMBER.format(name=name)}"
    )


def reserve(
    connection: sa.Connection, instance: Instance, tables: Iterable[StageTable]
) -> frozenset[StageTable]:
    """Keep runs from beginning to write tables until the transaction ends.

    Returns:
        Those that no other session writes. What was known of them before may have changed.
    """
    names = {table_lock_name(instance, table): table for table in tables}
    found = connection.execute(_RESERVE_EACH, {"names": sorted(names)})
    return frozenset(names[item.name] for item in found if item.taken)


def held(connection: sa.Connection, names: Iterable[str]) -> list[str]:
    """Return those of some locks that any session holds alone."""
    condition = f"l.granted AND l.mode = 'ExclusiveLock' AND {matches('name')}"
    query = sa.text(f"SELECT name {_EACH} WHERE EXISTS (SELECT FROM pg_locks l WHERE {condition})")
    return list(connection.scalars(query, {"names": sorted(names)}))


def run_lock_name(run_id: str) -> str:
    """Name the lock that a run holds as long as it is alive."""
    return f"{RUN_PREFIX}{run_id}"


def step_lock_name(run_id: str, step: str) -> str:
    """Name the lock that the process of a step holds as long as it is alive."""
    return f"{STEP_PREFIX}{run_id}:{step}"


def stage_lock_name(instance: Instance, stage: str) -> str:
    """Name the lock of a stage, which runs that write to it share, and who drops it has alone."""
    return f"data_pipeline:stage:{instance.schema(stage)}"


def table_lock_name(instance: Instance, table: StageTable) -> str:
    """Name the lock of the run that writes a table or blob: from staging to commit."""
    return f"data_pipeline:table:{instance.schema(table.stage)}.{table.name}"


def commit_lock_name(instance: Instance) -> str:
    """Name the lock that a commit holds: an instance has one at a time."""
    return f"data_pipeline:commit:{instance.instance_id}"


def build_lock_name(relation: RelationName) -> str:
    """Name the lock of whoever builds a relation."""
    return f"data_pipeline:{relation}"


def database_lock_name(name: str) -> str:
    """Name the lock of whoever creates a database, in another one."""
    return f"data_pipeline:database:{name}"


def schema_lock_name(schema: str) -> str:
    """Name the lock of whoever creates a schema."""
    return f"data_pipeline:schema:{schema}"


def catalog_lock_name(schema: str) -> str:
    """Name the lock of whoever brings a catalog up to date."""
    return f"data_pipeline:catalog:{schema}"


def sampling_lock_name(schema: str, prefix: str) -> str:
    """Name the lock of whoever uses the working tables of a stage."""
    return f"data_pipeline:sampling:{schema}:{prefix}"


def scratch_lock_name(schema: str) -> str:
    """Name the lock of whoever uses a scratch schema."""
    return f"data_pipeline:scratch:{schema}"
