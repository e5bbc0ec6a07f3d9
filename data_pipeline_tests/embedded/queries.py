"""Ask a server through a plain driver."""

from typing import Any

import psycopg2
import sqlalchemy as sa


def connect(url: sa.URL | str) -> "psycopg2.extensions.connection":
    """A connection that commits each statement."""
    dsn = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return connection


def ask(url: sa.URL | str, statement: str) -> Any:
    """Execute one statement; its single value, if it has a result."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()
