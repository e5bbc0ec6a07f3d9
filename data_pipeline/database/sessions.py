"""Other sessions on the server, in words: who holds what somebody waits for.

The server shows every role the process, user and name of all sessions. State, times and query of
other roles' sessions are hidden from a role that may not see all statistics (`pg_monitor`); they
are said where they are visible. A prepared transaction holds locks without any session.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.sql_text import stored_query

# Of a prepared transaction only the lock on its own number tells which one it is.
_HOLDERS = stored_query(__file__, "sessions_holders")
_OF_RELATIONS = sa.text(
    _HOLDERS.format(
        what="l.locktype = 'relation' AND l.relation = ANY "
        "(SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)"
    )
)
_OF_LOCK = sa.text(
    _HOLDERS.format(
        what="l.locktype = 'advisory' AND l.objsubid = 1 AND "
        "((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(:name, 0)"
    )
)


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
    text = " ".join(filter(None, (PROGRAM, run_id[:_RUN_CHARACTERS], step)))
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    _name.set(printable[:MAX_BYTES])


def reset_session_name() -> None:
    """Return sessions the name of the program alone again."""
    _name.set(PROGRAM)
