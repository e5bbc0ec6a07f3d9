"""The rules between Arrow types and PostgreSQL types, in both directions.

| PostgreSQL | Arrow, when read | written from Arrow |
|---|---|---|
| smallint, integer, bigint | int16, int32, int64 | int8, uint8, int16; uint16, int32; the rest |
| real, double precision | float32, float64 | float16, float32; float64 |
| numeric(p, s), p up to 76 | decimal128(p, s), decimal256(p, s) from p = 39 | decimals |
| numeric, or p over 76 | float64 | - |
| boolean, bytea, date, uuid | bool, binary, date32, arrow.uuid | the same; date64; other binaries |
| text, varchar, char, name | string | strings, dictionaries, null |
| time, timestamp, timestamptz | time64[us], timestamp[us], timestamp[us, UTC] | any unit |
| interval | duration[us], a day being 24 hours | duration, month_day_nano |
| json, jsonb | arrow.json | arrow.json, struct, map, nested lists: jsonb |
| arrays of these | list | lists of scalars |
| anything else (enum, inet, range, ...) | string: PostgreSQL's text form | - |

A numeric without precision is what `sum` and `avg` give. It has no bounds, so no decimal type holds
it, and a scale taken from the rows would differ between instances. It reads as float64, and a
whole part that float64 cannot hold exactly is an error. Cast to numeric(p, s) for exact decimals.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import UnsupportedDataError

AS_TEXT = {b"data_pipeline": b"as text"}
"""The metadata of a string field whose values PostgreSQL is to read, not Arrow."""

MICROSECONDS_PER_DAY = 86_400_000_000
MAX_DECIMAL128_DIGITS = 38
MAX_DECIMAL_DIGITS = 76

_READ = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "oid": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "interval": pa.duration("us"),
    "uuid": pa.uuid(),
    "json": pa.json_(),
    "jsonb": pa.json_(),
}
TEXT_TYPES = frozenset({"text", "varchar", "bpchar", "name"})
JSON_TYPES = frozenset({"json", "jsonb"})
KNOWN = frozenset(_READ) | TEXT_TYPES | {"numeric"}
"""The types that ADBC transfers as such. The text form of others may depend on the session."""

_DECLARED = {
    pa.null(): "text",
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.int16(): "smallint",
    pa.uint16(): "integer",
    pa.int32(): "integer",
    pa.uint32(): "bigint",
    pa.int64(): "bigint",
    pa.uint64(): "bigint",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.month_day_nano_interval(): "interval",
    pa.uuid(): "uuid",
}


@dataclass(frozen=True)
class PostgresType:
    """The type of a column, with domains resolved to the type they stand on.

    Attributes:
        declared: As in a declaration: `numeric(12,2)`, `integer[]`.
        name: PostgreSQL's internal name, of the element for an array: `numeric`, `int4`.
        modifier: Precision and scale as PostgreSQL packs them, or -1.
        is_array: Whether it is an array of `name`.
    """

    declared: str
    name: str
    modifier: int = -1
    is_array: bool = False

    @property
    def element(self) -> "PostgresType":
        """The type of an array's elements."""
        return PostgresType(self.declared.removesuffix("[]"), self.name, self.modifier)

    @property
    def is_known(self) -> bool:
        """Whether ADBC transfers it as such; all other types go through their text form."""
        return self.name in KNOWN

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type it reads as; it depends on nothing else, least of all on the rows."""
        if self.is_array:
            # Text within arrays of json: nothing would be gained by an extension type there.
            inner = pa.string() if self.name in JSON_TYPES else self.element.arrow
            return pa.list_(inner)
        if self.name == "numeric":
            return decimal_type(*self._precision_and_scale) or pa.float64()
        return _READ.get(self.name, pa.string())

    @property
    def _precision_and_scale(self) -> tuple[int, int]:
        if self.modifier < 0:
            return (0, 0)
        packed = self.modifier - 4
        # The scale is a signed number of 11 bits since PostgreSQL 15.
        return packed >> 16, ((packed & 0x7FF) ^ 1024) - 1024


def decimal_type(precision: int, scale: int) -> pa.DataType | None:
    """Return the Arrow type of numeric(precision, scale), or None when there is none.

    A scale below zero or above the precision is widened to what every consumer understands.
    """
    digits = max(precision - min(scale, 0), scale)
    if precision == 0 or digits > MAX_DECIMAL_DIGITS:
        return None
    factory = pa.decimal128 if digits <= MAX_DECIMAL128_DIGITS else pa.decimal256
    return factory(digits, max(scale, 0))


def declared_type(column: str, arrow: pa.DataType) -> str:
    """Return the PostgreSQL type in which a column of an Arrow type is stored.

    Raises:
        UnsupportedDataError: PostgreSQL has no type for it.
    """
    if pa.types.is_dictionary(arrow):
        return declared_type(column, arrow.value_type)
    if is_json(arrow) or is_nested(arrow):
        return "jsonb"
    if is_list(arrow):
        return declared_type(column, arrow.value_type) + "[]"
    declared = _DECLARED.get(arrow) or _declared_by_kind(arrow)
    if declared is None:
        raise UnsupportedDataError(
            f"Column `{column}`: PostgreSQL has no type for the Arrow type `{arrow}`. "
            "Convert the column to numbers, text, dates, times, binary, JSON or lists of these."
        )
    return declared


def _declared_by_kind(arrow: pa.DataType) -> str | None:
    types = pa.types
    if is_text(arrow):
        return "text"
    if is_binary(arrow):
        return "bytea"
    if types.is_decimal(arrow):
        plain = decimal_type(arrow.precision, arrow.scale)
        return f"numeric({plain.precision},{plain.scale})" if plain else None
    if types.is_timestamp(arrow):
        return "timestamp with time zone" if arrow.tz else "timestamp without time zone"
    if types.is_time(arrow):
        return "time without time zone"
    return "interval" if types.is_duration(arrow) else None


def is_text(arrow: pa.DataType) -> bool:
    """Tell whether it is a string type of any layout."""
    types = pa.types
    return bool(
        types.is_string(arrow) or types.is_large_string(arrow) or types.is_string_view(arrow)
    )


def is_binary(arrow: pa.DataType) -> bool:
    """Tell whether it is a binary type of any layout."""
    types = pa.types
    return bool(
        types.is_binary(arrow)
        or types.is_large_binary(arrow)
        or types.is_fixed_size_binary(arrow)
        or types.is_binary_view(arrow)
    )


def is_list(arrow: pa.DataType) -> bool:
    """Tell whether it is a list type of any layout."""
    types = pa.types
    return bool(
        types.is_list(arrow)
        or types.is_large_list(arrow)
        or types.is_fixed_size_list(arrow)
        or types.is_list_view(arrow)
        or types.is_large_list_view(arrow)
    )


def plain_list(array: pa.Array) -> pa.Array:
    """Return lists of any layout (fixed sizes, views) as a large list array.

    Arrow's own casts lose values of list views, and refuse fixed sizes with NULLs in them.
    """
    types = pa.types
    if types.is_list(array.type) or types.is_large_list(array.type):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    missing = array.is_null() if array.null_count else None
    return pa.LargeListArray.from_arrays(offsets, array.flatten(), mask=missing)


def is_json(arrow: pa.DataType) -> bool:
    """Tell whether it is the extension type arrow.json."""
    return getattr(arrow, "extension_name", None) == "arrow.json"


def is_nested(arrow: pa.DataType) -> bool:
    """Tell whether only JSON can hold it: structs, maps, and lists of anything but scalars."""
    types = pa.types
    if types.is_struct(arrow) or types.is_map(arrow):
        return True
    if not is_list(arrow):
        return False
    inner = arrow.value_type
    return is_list(inner) or is_json(inner) or is_nested(inner)
