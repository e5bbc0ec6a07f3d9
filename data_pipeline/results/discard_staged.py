"""Room for what a step is about to stage: what was staged of the table before goes first.

Relation and listing go together, so that a listing never speaks of other content than it was
written for, whenever a process dies.
"""

import logging

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.lock_waiting import holders_at, is_busy, lock_timeouts
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.store import staging


def make_room(
    database: Database, instance: Instance, table: StageTable, run_id: str, log: logging.Logger
) -> None:
    """Take away what is staged of a table; wait in short attempts for those who look at it.

    Args:
        database: The database of the instance.
        instance: The instance.
        table: The table.
        run_id: The run that is going to stage it.
        log: Says for whom it waits.

    Raises:
        DatabaseError: The run was taken for dead, or somebody looked at the staged table for longer
            than a commit would wait (`table_store.commit_wait_seconds`).
    """
    relation = staging.relation_of(instance, table)

    def blocking() -> str:
        with database.begin() as connection:
            found = holders_at(connection, [relation])
        return "; ".join(found) or "others look at it, one after the other"

    limit = instance.table_store.commit_wait_seconds
    for timeout in lock_timeouts(limit, log, lambda: f"Waiting to drop {relation}: {blocking()}"):
        try:
            with database.begin() as connection:
                run(connection, f"SET LOCAL lock_timeout = {timeout}")
                staging.check_alive(connection, instance, run_id)
                staging.forget(connection, instance, [table])
                if kind := relation_kind(connection, relation):
                    # With what is staged on top of it: a view of this table.
                    run(connection, f"DROP {kind} {relation.quoted} CASCADE")
        except sa.exc.DBAPIError as error:
            if not is_busy(error):
                raise
        else:
            return
    raise DatabaseError(
        f"For {limit:g} seconds (`table_store.commit_wait_seconds`) {relation}, which was left for "
        f"inspection, could not be dropped: {blocking()}. End these sessions, then run again: "
        f"{instance.build_command}"
    )
