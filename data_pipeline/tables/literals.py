"""How values stand in SQL text: with their types, since a bare `'2020-01-01'` would be text."""

import datetime as dt
import math
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

_Literal = Callable[[Any], str]


class _Date(sa.Date):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"DATE '{value.isoformat()}'"


class _DateTime(sa.DateTime):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"TIMESTAMP{_zone(value)} '{value.isoformat(sep=' ')}'"


class _Time(sa.Time):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"TIME{_zone(value)} '{value.isoformat()}'"


class _Binary(sa.LargeBinary):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"BYTEA '\\x{bytes(value).hex()}'"


class _Uuid(sa.Uuid[Any]):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"UUID '{uuid.UUID(str(value))}'"


class _Float(sa.Float[Any]):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: (
            str(value) if math.isfinite(value) else f"DOUBLE PRECISION '{float(value)}'"
        )


LITERAL_TYPES: dict[type[sa.types.TypeEngine[Any]], type[sa.types.TypeEngine[Any]]] = {
    sa.Date: _Date,
    sa.DateTime: _DateTime,
    sa.Time: _Time,
    sa.LargeBinary: _Binary,
    sa.Uuid: _Uuid,
    sa.Float: _Float,
}
"""Types that write their values out with their names, by SQLAlchemy's types."""


def _zone(value: dt.datetime | dt.time) -> str:
    return " WITH TIME ZONE" if value.tzinfo else ""
