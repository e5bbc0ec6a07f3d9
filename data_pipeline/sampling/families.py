"""The kinds of values that the columns of a table have: which can be compared, told apart, ordered.

Values of one kind can be compared with each other, whatever their width or length.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

TIMESTAMP = "timestamp"
TIMESTAMP_WITH_ZONE = "timestamp with time zone"

AS_TEXT = frozenset({"text", "enum", "uuid"})
"""Kinds that are ordered as their text is, by code point."""

ORDERED = AS_TEXT | {
    "integer", "numeric", "float", "date", "time", "interval", TIMESTAMP, TIMESTAMP_WITH_ZONE,
}  # fmt: skip
"""Kinds with a least and a greatest value."""

GROUPED = ORDERED | {"boolean", "bytea"}
"""Kinds whose values can be told apart."""

_FAMILIES: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Boolean, "boolean"),
    (sa.Enum, "enum"),
    (sa.String, "text"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "numeric"),
    (sa.Date, "date"),
    (sa.Time, "time"),
    (sa.Interval, "interval"),
    (postgresql.INTERVAL, "interval"),
    (sa.Uuid, "uuid"),
    (sa.LargeBinary, "bytea"),
)


def family(type_: sa.types.TypeEngine[Any]) -> str:
    """Names the kind of a type."""
    if isinstance(type_, sa.DateTime):
        return TIMESTAMP_WITH_ZONE if type_.timezone else TIMESTAMP
    return next((name for kind, name in _FAMILIES if isinstance(type_, kind)), str(type_))
