"""Sessions of the server: who holds what somebody waits for, in words; our own names and settings.

The server shows every role the process, user and name of all sessions. State, times and query of
other roles' sessions are hidden from a role that may not see all statistics (`pg_monitor`); they
are said where they are visible. A prepared transaction holds locks without any session.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import matches, run_lock_name
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.database.sql_text import stored_query

# Of a prepared transaction only the lock on its own number tells which one it is.
_HOLDERS = stored_query(__file__, "sessions_holders")
_OF_RELATIONS = sa.text(
    _HOLDERS.format(
        what="l.locktype = 'relation' AND l.relation = ANY "
        "(SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)"
    )
)
_OF_LOCK = sa.text(_HOLDERS.format(what=matches(":name")))


def at_relations(connection: sa.Connection, relations: Sequence[RelationName]) -> list[str]:
    """Describe the sessions and prepared transactions that hold locks on any of the relations."""
    names = [relation.quoted for relation in relations]
    return [
        described(item, "since")
        for item in connection.execute(_OF_RELATIONS, {"names": names})
        # A session whose transaction has ended since the locks were read is not in the way.
        if item.pid is None or item.since is not None or item.state is None
    ]


def at_lock(connection: sa.Connection, name: str) -> Sequence[sa.Row[Any]]:
    """Return the sessions and prepared transactions that hold an advisory lock."""
    return connection.execute(_OF_LOCK, {"name": name}).all()


def described(item: sa.Row[Any], time: str = "begun") -> str:
    """Describe a session; its name has the beginning of the run's id, and the step.

    Args:
        item: A row of this module's queries.
        time: `begun` says since when the session is there, `since` what its transaction does.
    """
    if item.pid is None:
        return (
            f"prepared transaction `{item.gid}` (database user {item.owner}, since "
            f"{item.prepared:%Y-%m-%d %H:%M:%S %Z}; COMMIT PREPARED or ROLLBACK PREPARED ends it)"
        )
    return f"session {item.pid} ({', '.join([*names(item), *_times(item, time)])})"


def names(item: sa.Row[Any]) -> list[str]:
    """Return the names of a session: its own, and its user's."""
    name = item.application_name or item.backend_type or "without a name"
    user = [f"database user {item.usename}"] if item.usename is not None else []
    return [f"`{name}`", *user]


def _times(item: sa.Row[Any], time: str) -> list[str]:
    if time == "begun":
        return [f"since {item.begun:%Y-%m-%d %H:%M:%S %Z}"] if item.begun is not None else []
    if item.since is None:
        return []
    query = " ".join((item.query or "").split())
    return [f"{item.state} since {item.since:%Y-%m-%d %H:%M:%S %Z}: {query}"]


MAX_BYTES = 63
PROGRAM = "data_pipeline"
"""The name of sessions while no run is at work."""

_RUN_CHARACTERS = 8
_name: ContextVar[str] = ContextVar("session_name", default=PROGRAM)


def session_name() -> str:
    """Return the `application_name` for sessions that are used from now on."""
    return _name.get()


def set_session_name(run_id: str, step: str = "") -> None:
    """Name the sessions of this thread after a run (its first characters) and a step."""
    _name.set(_named(run_id, step))


def _named(run_id: str, step: str) -> str:
    text = " ".join(filter(None, (PROGRAM, run_id[:_RUN_CHARACTERS], step)))
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return printable[:MAX_BYTES]


_END = sa.text(f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND (
    starts_with(application_name || ' ', :beginning)
    OR pid IN (SELECT l.pid FROM pg_locks l WHERE l.granted AND {matches(":lock")})
  )
""")


def end_sessions(connection: sa.Connection, run_id: str, step: str = "") -> None:
    """End the sessions of a step; without one, all of a run, those of other machines too."""
    beginning = f"{_named(run_id, step)} "[:MAX_BYTES]
    lock = "" if step else run_lock_name(run_id)  # its leader's
    connection.execute(_END, {"beginning": beginning, "lock": lock})


def reset_session_name() -> None:
    """Return sessions the name of the program alone again."""
    _name.set(PROGRAM)


# What every session is told before its first use, whatever role and database default to. By
# statements, not by `options` in the start-up message, which PgBouncer refuses.
_SETTINGS = {
    # Whoever waits for a lock has to read afterwards what its holder has committed; the levels
    # above would show what there was before, or end one of two runs.
    "default_transaction_isolation": "read committed",
    # A policy that would hide rows from the pipeline is an error, never a result with fewer rows.
    "row_security": "off",
    # Hosted databases limit the statements of roles; a step takes as long as it takes.
    "statement_timeout": "0",
}
# How often the server looks, while it works on a statement, whether the client still is there. It
# would go on to the end for a process that was killed, and keep its locks from the next run.
_CLIENT_CHECK = {"client_connection_check_interval": "2s"}
_NO_CLIENT_CHECK = "22023"  # invalid_parameter_value: the server's system cannot look


def set_up(connection: Any, name: str | None = None) -> None:
    """Tell a session of SQLAlchemy's driver what it needs, in one round trip.

    Args:
        connection: A connection of psycopg2 that has just been opened.
        name: Its `application_name`; None: the one that it has.
    """
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            try:
                cursor.execute(_statements(name, _SETTINGS | _CLIENT_CHECK))
            except connection.DataError as error:
                if error.pgcode != _NO_CLIENT_CHECK:
                    raise
                cursor.execute(_statements(name, _SETTINGS))
    finally:
        connection.autocommit = False


def set_up_adbc(connection: Any, name: str | None = None) -> None:
    """Tell a session of ADBC the same.

    Args:
        connection: An ADBC connection that has just been opened.
        name: Its `application_name`; None: the one that it has.
    """
    with connection.cursor() as cursor:
        try:
            cursor.executescript(_statements(name, _SETTINGS | _CLIENT_CHECK))
        except connection.DataError as error:
            if error.sqlstate != _NO_CLIENT_CHECK:
                raise
            connection.rollback()
            cursor.executescript(_statements(name, _SETTINGS))
    # The transaction that the driver has opened for this began with the role's own defaults.
    connection.commit()


def name_adbc(connection: Any, name: str) -> None:
    """Name a session of ADBC that has been used before, and begin its next transaction."""
    connection.adbc_connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(_statements(name, {}))


def _statements(name: str | None, settings: dict[str, str]) -> str:
    named = settings if name is None else {**settings, "application_name": name}
    return "; ".join(f"SET {setting} = {literal(value)}" for setting, value in named.items())
