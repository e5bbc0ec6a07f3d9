"""The types in which PostgreSQL would store the columns of a frame, as far as memory knows them."""

import re

from data_pipeline.sampling.families import TIMESTAMP, TIMESTAMP_WITH_ZONE
from data_pipeline.tables.arrow_types import JSON_TYPES, PostgresType

_NAMES = {
    "smallint": "int2",
    "int": "int4",
    "integer": "int4",
    "bigint": "int8",
    "real": "float4",
    "float": "float8",
    "double precision": "float8",
    "decimal": "numeric",
    "boolean": "bool",
    "character varying": "varchar",
    "character": "bpchar",
    "char": "bpchar",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}
_FAMILIES = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "float4": "float",
    "float8": "float",
    "numeric": "numeric",
    "bool": "boolean",
    "text": "text",
    "varchar": "text",
    "bpchar": "text",
    "name": "text",
    "date": "date",
    "time": "time",
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMP_WITH_ZONE,
    "interval": "interval",
    "uuid": "uuid",
    "bytea": "bytea",
}
_DECLARED = re.compile(
    r"(?P<name>[a-z0-9_ ]+?)\s*(?:\(\s*(?P<first>\d+)\s*(?:,\s*(?P<second>-?\d+)\s*)?\))?"
    r"(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)
_WITH_LENGTH = frozenset({"numeric", "varchar", "bpchar"})


def stored_type(declared: str) -> PostgresType | None:
    """Gives the type that a declaration names; None where memory does not know its values.

    Those are types like `inet`, and such that round (`timestamp(3)`).
    """
    found = _DECLARED.fullmatch(declared.strip().lower())
    if found is None:
        return None
    words = f"{found['name']}{found['zone'] or ''}"
    name = _NAMES.get(words, words)
    if name not in _FAMILIES and name not in JSON_TYPES:
        return None
    modifier = -1
    if found["first"] is not None:
        if name not in _WITH_LENGTH:
            return None
        if name == "numeric":
            scale = int(found["second"] or 0) & 0x7FF
            modifier = ((int(found["first"]) << 16) | scale) + 4
    return PostgresType(declared, name, modifier, bool(found["array"]))


def family_of(type_: PostgresType) -> str:
    """Names the kind of a type, as `families.family` does."""
    return "array" if type_.is_array else _FAMILIES.get(type_.name, type_.name)
