"""Rows compared byte by byte inside the database, whatever equality their types have.

The numbers 1.0 and 1.00 differ, and so do 0 and -0, or one month and 30 days.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from data_pipeline.tables.names import quoted

# What bytes and texts of values depend on. Texts are not converted on their way to an image.
SETTINGS = """
SELECT set_config('client_encoding', current_setting('server_encoding'), true),
       set_config('search_path', '', true),
       set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('TimeZone', 'UTC', true),
       set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '3', true)
"""
"""The settings under which images of the same rows are the same."""

_UNDEFINED_FUNCTION = "42883"


def row_of(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of a row, with columns one by one: one may be called like the table."""
    return f"ROW({', '.join(f'{alias}.{quoted(name)}' for name in columns)})"


def differs(columns: Sequence[str], one: str, other: str) -> str:
    """Return the SQL that tells whether rows with two aliases differ in any byte."""
    rows = (f"{row_of(columns, alias)}::record" for alias in (one, other))
    return " OPERATOR(pg_catalog.*<>) ".join(rows)


def as_bytes(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of what the server would send of a row, as `bytea`."""
    return f"record_send({row_of(columns, alias)})"


def as_text(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of a row as text, for types that cannot be sent."""
    return f'({row_of(columns, alias)})::text COLLATE "C"'


def cannot_send(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed since a type cannot be sent (`as_bytes`)."""
    return getattr(error.orig, "pgcode", None) == _UNDEFINED_FUNCTION
