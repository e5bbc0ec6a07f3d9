"""Older snapshots: who would find a table empty after a commit, and is waited for before it.

A commit puts new tables in the place of earlier ones. A transaction whose snapshot is older than
their rows finds the new table, since the catalog is read as it is now, and none of its rows. Such
snapshots have transactions at REPEATABLE READ and SERIALIZABLE, and open cursors. At READ COMMITTED
each statement takes a new one, and keeps the tables that it reads from being replaced.

What the server shows of a session decides whether it is waited for:

- A transaction that began after the rows were staged, or that is another one at the next look, is
  not. So a busy pool of short transactions holds nobody up.
- One that is idle and has a snapshot is, and one whose present statement began after the rows were
  staged, although its snapshot is older than they are.
- One whose present statement began before is taken for a report: what it reads, it has locked.
- Where another role's session hides what it does (no `pg_read_all_stats`), it is. It may be a
  report, so a run waits for it once and not with each of its commits.

VACUUM and the like, replication and the sessions of runs, which are at READ COMMITTED, never are.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import StageTable, literal, quoted
from data_pipeline.database.lock_waiting import described, lock_timeouts
from data_pipeline.database.session_settings import PROGRAM
from data_pipeline.database.sql_text import stored_query
from data_pipeline.instances.instance import STAGING_SUFFIX
from data_pipeline.runs.run_session import Holder, SnapshotWaits
from data_pipeline.store import catalog, staging

if TYPE_CHECKING:
    from data_pipeline.runs.run_session import RunSession


# The last of the rows that take the place of others, but for those that are replaced in place.
# Ages compare numbers that have wrapped around.
_LAST = stored_query(__file__, "older_snapshots_last")

# All roles see process, user, name, `backend_xmin` and locks of all sessions, `backend_type`,
# states and times of their own. Each transaction has a lock on its own number from its beginning.
_HOLDERS = sa.text(stored_query(__file__, "older_snapshots_holders"))


def have_ended(
    session: "RunSession",
    stages: Sequence[str],
    log: logging.Logger,
    seconds: float | None,
    stays: Callable[[], Collection[StageTable]],
) -> bool:
    """Wait, without a lock, for those who would find tables empty after a commit.

    Nobody is waited for longer than `table_store.snapshot_wait_seconds`, with all commits of a run.

    Args:
        session: The session of the run.
        stages: The stages that are to commit.
        log: Says for whom it waits, and who may now find tables empty.
        seconds: How long to wait at most in this attempt; None: as long as configured.
        stays: Says which tables stay, and get other rows in place: these show the earlier ones. It
            is asked only when somebody is there.

    Returns:
        Whether the commit is to go ahead; False if it may still wait for somebody.
    """
    bound = session.instance.table_store.snapshot_wait_seconds
    last = _present(session, stages) if bound > 0 else None
    if last is not None:
        last = _last(session, stages, stays())
    if last is None:
        return True
    what = "stage " if len(stages) == 1 else "stages "
    what += ", ".join(f"`{stage}`" for stage in stages)
    waits, found = session.snapshots, dict[Holder, str]()

    def waiting() -> str:
        names = "; ".join(name for holder, name in found.items() if holder not in waits.named)
        return (
            f"Waiting to commit {what}, since some have snapshots that are older than its new "
            f"tables, and would find them empty: {names}"
        )

    for _ in lock_timeouts(bound if seconds is None else seconds, log, waiting):
        found.clear()
        found |= _look(session, last)
        if not _pending(waits, found, bound):
            break
    else:
        if seconds is not None:
            return False
    if overdue := [name for holder, name in found.items() if holder not in waits.named]:
        waits.named |= found.keys()
        log.warning(
            f"Committing {what} although some have older snapshots, and now find its tables empty "
            "until they begin a new transaction (`table_store.snapshot_wait_seconds`: "
            f"{bound:g}): {'; '.join(overdue)}"
        )
    return True


def _pending(waits: SnapshotWaits, found: Mapping[Holder, str], bound: float) -> bool:
    """Whether there is somebody who has not been waited for long enough."""
    now = time.monotonic()
    return any(now - waits.since.setdefault(holder, now) < bound for holder in found)


def _present(session: "RunSession", stages: Sequence[str]) -> sa.Row[Any] | None:
    """Return who wrote the last of the rows, and when; None where nobody has an older snapshot."""
    with session.begin() as connection:
        last = _last_in(connection, session, stages, ())
        return last if last is not None and _look_in(connection, session, last) else None


def _last(
    session: "RunSession", stages: Sequence[str], stays: Collection[StageTable]
) -> sa.Row[Any] | None:
    with session.begin() as connection:
        return _last_in(connection, session, stages, stays)


def _last_in(
    connection: sa.Connection,
    session: "RunSession",
    stages: Sequence[str],
    stays: Collection[StageTable],
) -> sa.Row[Any] | None:
    """Return who wrote the last of the rows, and when; None where no rows replace others."""
    instance = session.instance
    prefix = instance.table_store.schema_prefix
    text = _LAST.format(
        staged=quoted(instance.catalog_schema, staging.STAGED),
        relation=catalog.relation_sql(prefix, "s.stage", "s.name", STAGING_SUFFIX),
        replaced=catalog.relation_sql(prefix, "s.stage", "s.name"),
        run_id=literal(session.run_id),
        stages=", ".join(map(literal, stages)),
        stays=", ".join(["NULL", *(literal(str(table)) for table in stays)]),
    )
    return run(connection, text).first()


def _look(session: "RunSession", last: sa.Row[Any]) -> dict[Holder, str]:
    with session.begin() as connection:
        return _look_in(connection, session, last)


def _look_in(
    connection: sa.Connection, session: "RunSession", last: sa.Row[Any]
) -> dict[Holder, str]:
    """Return those of the candidates who are still there, with their names."""
    parameters = {"writer": last.writer, "built": last.built, "program": PROGRAM}
    rows = connection.execute(_HOLDERS, parameters).all()
    found = {(row.pid, row.transaction, row.snapshot): row for row in rows}
    known = session.snapshots.candidates.setdefault(last.writer, frozenset(found))
    return {holder: _described(row) for holder, row in found.items() if holder in known}


def _described(row: sa.Row[Any]) -> str:
    text = described(row, "since")
    if row.state is None:
        text += " (what it does is hidden from this role: GRANT pg_read_all_stats shows it)"
    return text
