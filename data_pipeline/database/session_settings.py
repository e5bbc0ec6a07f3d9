"""What every database session is told before its first use, whatever role and database default to.

By statements, not by `options` in the start-up message, which PgBouncer refuses.
"""

from typing import Any

from data_pipeline.database.identifiers import literal

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


def _statements(name: str | None, settings: dict[str, str]) -> str:
    named = settings if name is None else {**settings, "application_name": name}
    return "; ".join(f"SET {setting} = {literal(value)}" for setting, value in named.items())
