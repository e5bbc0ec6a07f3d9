"""The columns of a table or view, with their types in PostgreSQL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import TableNotFoundError
from data_pipeline.transfer.arrow_types import PostgresType

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor


# Follows domains to their base type and arrays (once) to their element type.
_COLUMNS = stored_query(__file__, "table_columns_columns")


_RELATION = """
SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text AND c.relname = $2::text
"""


@dataclass(frozen=True)
class Column:
    """A column of a relation."""

    name: str
    type: PostgresType


def relation_columns(cursor: "Cursor", schema: str, table: str) -> list[Column]:
    """Return the columns of a table or view, in order.

    Raises:
        TableNotFoundError: There is no such relation.
    """
    cursor.execute(_COLUMNS, (schema, table))
    columns = [
        Column(name, PostgresType(declared, base, modifier, is_array))
        for name, declared, base, modifier, is_array in cursor.fetchall()
    ]
    if not columns and not _exists(cursor, schema, table):
        raise TableNotFoundError(
            f"There is no table or view `{schema}.{table}` in the database. "
            "Materialize the asset that makes it."
        )
    return columns


def _exists(cursor: "Cursor", schema: str, table: str) -> bool:
    cursor.execute(_RELATION, (schema, table))
    return cursor.fetchone() is not None
