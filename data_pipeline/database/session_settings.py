"""What sessions of the server are told: settings, and names by which people know whose they are."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import matches, run_lock_name
from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES, literal

# What every session is told before its first use, whatever role and database default to. By
# statements, not by `options` in the start-up message, which PgBouncer refuses.
SETTINGS = {
    # Whoever waits for a lock has to read afterwards what its holder has committed; the levels
    # above would show what there was before, or end one of two runs.
    "default_transaction_isolation": "read committed",
    # A policy that would hide rows from the pipeline is an error, never a result with fewer rows.
    "row_security": "off",
    # Names and texts in statements are written for the standard.
    "standard_conforming_strings": "on",
}
# Roles of hosted databases have limits; a step takes as long as it takes, and holds its inputs.
# Those that the server has: the last one came with PostgreSQL 17.
_NO_TIMEOUTS = """
SET statement_timeout = 0;
SELECT set_config(name, '0', false) FROM unnest(ARRAY[
    'lock_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout',
    'transaction_timeout'
]) name WHERE current_setting(name, true) IS NOT NULL
"""
# How often the server looks, while it works on a statement, whether the client still is there. It
# would go on to the end for a process that was killed, and keep its locks from the next run.
CLIENT_CHECK = {"client_connection_check_interval": "2s"}
NO_CLIENT_CHECK = "22023"  # invalid_parameter_value: the server's system cannot look

_OF_RESULTS = """
SELECT name, setting FROM pg_settings WHERE name IN (
    'DateStyle', 'IntervalStyle', 'TimeZone', 'array_nulls', 'bytea_output',
    'default_text_search_config', 'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time',
    'transform_null_equals', 'xmlbinary'
) AND source IN ('database', 'user', 'database user', 'client', 'session')
"""

FOR_LARGE_QUERIES = "SET LOCAL work_mem = '256MB'; SET LOCAL jit = off"
"""For transactions that sort, join and group whole tables: samples, their reports, comparisons."""


def set_up(connection: Any, name: str | None = None) -> dict[str, str]:
    """Tell a session of SQLAlchemy's driver what it needs, in one round trip.

    Args:
        connection: A connection of psycopg2 that has just been opened.
        name: Its `application_name`; None: the one that it has.

    Returns:
        The settings on which results depend, such as the time zone, as far as database, role or
        client have one of their own; without any, the server's hold.
    """
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            tell(lambda text: cursor.execute(f"{text}; {_OF_RESULTS}"), name)
            return dict(cursor.fetchall())
    finally:
        connection.autocommit = False


def tell(execute: Callable[[str], Any], name: str | None) -> None:
    """Tell a session what every session is told before its first use.

    Args:
        execute: Executes statements in it, each text in a transaction of its own.
        name: Its `application_name`; None: the one that it has.
    """
    try:
        execute(f"{_NO_TIMEOUTS}; {set_statements(name, SETTINGS | CLIENT_CHECK)}")
    except Exception as error:
        if NO_CLIENT_CHECK not in {getattr(error, key, None) for key in ("pgcode", "sqlstate")}:
            raise
        execute(f"{_NO_TIMEOUTS}; {set_statements(name, SETTINGS)}")


def set_statements(name: str | None, settings: dict[str, str]) -> str:
    """Return the statements that make settings; with a name, the `application_name` too."""
    named = settings if name is None else {**settings, "application_name": name}
    return "; ".join(f"SET {setting} = {literal(value)}" for setting, value in named.items())


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
    return printable[:MAX_IDENTIFIER_BYTES]


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
    beginning = f"{_named(run_id, step)} "[:MAX_IDENTIFIER_BYTES]
    lock = "" if step else run_lock_name(run_id)  # its leader's
    connection.execute(_END, {"beginning": beginning, "lock": lock})


def reset_session_name() -> None:
    """Return sessions the name of the program alone again."""
    _name.set(PROGRAM)
