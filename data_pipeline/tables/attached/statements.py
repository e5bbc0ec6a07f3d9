"""Statements that go to the server together, in one round trip."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def last_rows(connection: sa.Connection, statements: Sequence[str]) -> Sequence[Any]:
    """Executes statements as they stand; gives the rows of the last one, which is a query."""
    text = ";\n".join(statements)
    return connection.exec_driver_sql(text, execution_options={"no_parameters": True}).all()
