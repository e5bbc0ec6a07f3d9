"""The columns of a table or view, with their types in PostgreSQL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_pipeline.errors import TableNotFoundError
from data_pipeline.transfer.arrow_types import PostgresType

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor


# Follows domains to their base type and arrays (once) to their element type.
_COLUMNS = """
WITH RECURSIVE step AS (
    SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS declared,
           a.atttypid AS type, a.atttypmod AS modifier, false AS is_array, 0 AS depth
    FROM pg_attribute a
    WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT s.attnum, s.attname, s.declared,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE s.modifier END,
           s.is_array OR t.typtype <> 'd', s.depth + 1
    FROM step s JOIN pg_type t ON t.oid = s.type
    WHERE t.typtype = 'd' OR (t.typinput = 'array_in'::regproc AND NOT s.is_array)
)
SELECT DISTINCT ON (s.attnum) s.attname::text, s.declared, t.typname::text, s.modifier, s.is_array
FROM step s JOIN pg_type t ON t.oid = s.type
ORDER BY s.attnum, s.depth DESC
"""


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
    """Gives the columns of a table or view, in order.

    Raises:
        TableNotFoundError: There is no such relation.
    """
    cursor.execute(_RELATION, (schema, table))
    found = cursor.fetchone()
    if found is None:
        raise TableNotFoundError(
            f"There is no table or view `{schema}.{table}` in the database. "
            "Materialize the asset that makes it."
        )
    cursor.execute(_COLUMNS, (found[0],))
    return [
        Column(name, PostgresType(declared, base, modifier, is_array))
        for name, declared, base, modifier, is_array in cursor.fetchall()
    ]
