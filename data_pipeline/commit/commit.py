"""The commit, which makes the staged tables and blobs of stages visible: when, and how it waits.

Each attempt is one transaction (`commit_transaction.py`), which waits for readers for moments only.
"""

import logging
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from data_pipeline.commit import (
    older_snapshots,
)
from data_pipeline.commit.commit_transaction import Committed, CommitTransaction, listed, refused
from data_pipeline.commit.retry_policy import PerhapsError, Trouble
from data_pipeline.database import interrupts
from data_pipeline.database.advisory_locks import commit_lock_name, waiting_for_transaction
from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import ChangedError
from data_pipeline.database.identifiers import StageTable, few
from data_pipeline.database.lock_waiting import holders_at, lock_timeouts
from data_pipeline.errors import CannotCarryError, MissingRightError
from data_pipeline.instances import Instance
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import staging
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed

# One commit of an instance at a time, of a run that nobody takes for dead until it is over.
_BEGINNING = """
SET LOCAL lock_timeout = {timeout};
SET LOCAL search_path = '';
{lock};
{alive}
"""

# The session that looks at what is committed. Whoever locks a whole catalog may wait for the
# commit, so this must not wait behind them for long.
_OUTSIDE = """
SET LOCAL lock_timeout = {timeout};
SET LOCAL search_path = ''
"""


def commit_stages(
    session: RunSession, stages: Iterable[str], log: logging.Logger, *, seconds: float | None = None
) -> Committed | None:
    """Make visible what a run has staged of some stages, all at once.

    Args:
        session: The session of the run, which holds the locks of what it has staged.
        stages: The stages.
        log: Says when the commit has to wait, and for whom.
        seconds: How long to wait for readers at most; None: as configured.

    Returns:
        What was committed; None if readers, or their older snapshots, kept it from committing in
        the given time.

    Raises:
        ComesLaterError: A view of another stage of the run, which is still to commit, does not fit;
            let that stage commit together with these. All stages are as before.
        DatabaseError: Something built on a table does not fit the new one, or readers kept it from
            committing in the configured time. The stages are as before, what is staged stays.
    """
    instance = session.instance
    stages = sorted(stages)
    limit = instance.table_store.commit_wait_seconds if seconds is None else seconds
    trouble = Trouble()

    def reason() -> str:
        return trouble.text or _readers(session, stages)

    def waiting() -> str:
        return f"Waiting to commit {listed(stages)}: {reason()}"

    if not older_snapshots.have_ended(
        session, stages, log, seconds, lambda: _staying(session, stages)
    ):
        return None
    for timeout in lock_timeouts(limit, log, waiting):
        try:
            # The other session is opened now, while nobody has to wait for that.
            with session.database.begin() as outside, session.begin() as connection:
                run(outside, _OUTSIDE.format(timeout=timeout))
                _begin(connection, session, timeout)
                done, files = CommitTransaction(connection, outside, session, stages, log).execute()
                interrupts.check()
                if done.broken:
                    trouble.check_again("; ".join(map(str, done.broken)))
        except ChangedError:
            trouble.passes("users go on changing what they have built on its tables.")
        except PerhapsError:
            continue
        except (sa.exc.DBAPIError, MissingRightError, CannotCarryError) as error:
            if trouble.is_lasting(error, session.database):
                raise refused(instance, stages, trouble.text) from None
        else:
            for table, location in files:
                blob_files.remove(instance, table, location)
            _report(log, instance, stages, done)
            return done
    if seconds is not None:
        return None
    raise refused(
        instance,
        stages,
        f"For {limit:g} seconds (`table_store.commit_wait_seconds`) it had to wait: {reason()}",
    )


def _begin(connection: sa.Connection, session: RunSession, timeout: int) -> None:
    instance, run_id = session.instance, session.run_id
    lock = waiting_for_transaction(commit_lock_name(instance))
    alive = run_registry.registered_statement(instance, run_id)
    if not run(connection, _BEGINNING.format(timeout=timeout, lock=lock, alive=alive)).all():
        raise staging.taken_for_dead(instance, run_id)


def _staying(session: RunSession, stages: Sequence[str]) -> set[StageTable]:
    """Return the tables that would keep their rows in the eyes of older snapshots."""
    silent = logging.Logger("silent")
    with session.begin() as connection, connection.begin_nested() as attempt:
        run(connection, "SET LOCAL search_path = ''")
        try:
            return CommitTransaction(connection, connection, session, stages, silent).staying()
        except (sa.exc.DBAPIError, CannotCarryError, ChangedError):
            return set()  # the commit itself says what it is
        finally:
            if attempt.is_active:
                attempt.rollback()


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
        found = holders_at(connection, names)
        lock = commit_lock_name(session.instance)
        other = run_registry.holder(connection, session.instance, lock)
        found += [f"{other}, which commits as well"] if other else []
    return "; ".join(found) or "others read its tables, one after the other"


def _report(
    log: logging.Logger, instance: Instance, stages: Sequence[str], done: Committed
) -> None:
    for item in done.broken:
        why = f"`on_broken_view: {instance.table_store.on_broken_view}`"
        log.warning(f"Dropped with the commit of {listed(stages)} ({why}): {item}")
    if done.rows:
        names = few(
            [
                f"`{row.table}`{_fate(row)}"
                for row in sorted(done.rows, key=lambda row: not row.is_absent)
            ]
        )
        log.info(f"Committed {listed(stages)} of instance `{instance.name}`: {names}")


def _fate(row: CatalogRow) -> str:
    if row.is_gone:
        return f" (gone, not returned by `{row.asset}`)"
    return " (not made)" if row.is_absent else ""
