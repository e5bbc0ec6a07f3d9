"""The key hash of Arrow columns: canonical forms, and PostgreSQL's hash functions in NumPy.

What counts is the table that a column would be loaded into: a key has the same canonical form
whatever frame library, width, unit or encoding it comes in. `key_hash` has the SQL counterpart of
each rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.sampling.key_hash import NULL_INT8, NULL_INTERVAL_DAYS, NULL_TEXT

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
_Lanes = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]

_GOLDEN_RATIO = 0x9E3779B9
_POSTGRES_OFFSET = 3923095
_BLOCK = 12  # bytes that one round of lookup3 takes in


@dataclass(frozen=True)
class ByteStrings:
    """Many byte strings in one buffer.

    Attributes:
        data: The bytes of all strings.
        starts: Where in `data` each string begins.
        lengths: How many bytes each string has.
    """

    data: npt.NDArray[np.uint8]
    starts: Int64s
    lengths: Int64s


def hash_int8(values: Int64s, seeds: UInt64s) -> UInt64s:
    """Return what `hashint8extended(value, seed)` gives, as unsigned numbers.

    The upper half is folded into the lower one such that a number has the same hash in every
    integer type.
    """
    low, high = _halves(values.view(np.uint64))
    a, b, c = _seeded(np.array([4]), seeds)
    return _final(a + (low ^ np.where(values >= 0, high, ~high)), b, c)


def hash_float8(values: npt.NDArray[np.float64], seeds: UInt64s) -> UInt64s:
    """Return what `hashfloat8extended(value, seed)` gives, as unsigned numbers.

    Both zeros hash to the seed itself, and all NaN alike.
    """
    canonical = np.where(np.isnan(values), np.nan, values)
    low, high = _halves(canonical.view(np.uint64))
    a, b, c = _seeded(np.array([8]), seeds)
    return np.where(values == 0, seeds, _final(a + low, b + high, c))


def hash_bytes(strings: ByteStrings, seeds: UInt64s) -> UInt64s:
    """Return what `hashtextextended(text COLLATE "C", seed)` gives for the text's UTF-8 bytes."""
    lanes = _seeded(strings.lengths, seeds)
    a, b, c = (np.broadcast_to(lane, strings.lengths.shape).copy() for lane in lanes)
    # A view of the four bytes at *every* offset lets one `take` fetch a word of each row. Reading
    # up to 11 bytes past a string's end is masked out below, but must stay inside the buffer.
    padded = np.concatenate([strings.data, np.zeros(_BLOCK + 4, np.uint8)])
    words = np.ndarray(len(padded) - 3, dtype="<u4", buffer=padded, strides=(1,))
    positions, rest = strings.starts.copy(), strings.lengths.copy()

    rows = np.flatnonzero(rest >= _BLOCK)
    while len(rows):
        at = positions[rows]
        a[rows], b[rows], c[rows] = _mix(
            a[rows] + words[at], b[rows] + words[at + 4], c[rows] + words[at + 8]
        )
        positions[rows] += _BLOCK
        rest[rows] -= _BLOCK
        rows = rows[rest[rows] >= _BLOCK]

    a += words[positions] & _low_bytes(rest)
    b += words[positions + 4] & _low_bytes(rest - 4)
    c += (words[positions + 8] & _low_bytes(rest - 8)) << 8  # the lowest byte holds the length
    return _final(a, b, c)


def _low_bytes(count: Int64s) -> npt.NDArray[np.uint32]:
    """Mask that keep the first `count` (clamped to 0 to 4) bytes of a little-endian word."""
    masks = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], dtype=np.uint32)
    return masks[np.clip(count, 0, 4)]


def _seeded(lengths: Int64s, seeds: UInt64s) -> _Lanes:
    """The three lanes before the first block."""
    start = (lengths + (_GOLDEN_RATIO + _POSTGRES_OFFSET)).astype(np.uint32)
    low, high = _halves(seeds)
    mixed = _mix(start + high, start + low, start)
    plain = seeds == 0
    if not plain.any():
        return mixed
    a, b, c = (np.where(plain, start, lane) for lane in mixed)
    return a, b, c


def _halves(values: UInt64s) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    return values.astype(np.uint32), (values >> np.uint64(32)).astype(np.uint32)


def _rotate(lane: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
    return (lane << np.uint32(bits)) | (lane >> np.uint32(32 - bits))


def _mix(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32], c: npt.NDArray[np.uint32]) -> _Lanes:
    """Lookup3's `mix`: each round subtracts, rotates and adds, the lanes taking turns."""
    for bits in (4, 6, 8, 16, 19, 4):
        a = (a - c) ^ _rotate(c, bits)
        c = c + b
        a, b, c = b, c, a
    return a, b, c


def _final(
    a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32], c: npt.NDArray[np.uint32]
) -> UInt64s:
    """Lookup3's `final`; the lanes b and c become the upper and lower half of the hash."""
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotate(b, bits)
        a, b, c = b, c, a
    # Seven turns leave the lanes one place on: the last two results stand in b and c.
    a, b, c = c, a, b
    return (b.astype(np.uint64) << np.uint64(32)) | c.astype(np.uint64)


_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
_POSTGRES_EPOCH_DAYS = 10_957
_DAY = 86_400_000_000  # microseconds
_INFINITY = 2**63 - 1  # how PostgreSQL stores the timestamp `infinity`; `-infinity` is NULL_INT8
_HEX = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)
_UUID_GROUPS = (8, 12, 16, 20)  # hexadecimal digits before each hyphen


def hash_column(column: pa.Array, seeds: UInt64s) -> UInt64s:
    """Hash one key column.

    Args:
        column: Key values, of any type that has a rule.
        seeds: One seed for all rows, or one for each row.

    Returns:
        One hash a row.

    Raises:
        UnsupportedDataError: There is no rule for the type, or PostgreSQL cannot hold a value.
    """
    column = _decoded(column)
    if pa.types.is_floating(column.type):
        return hash_float8(_floats(column), seeds)
    for applies, text in _TEXT_RULES:
        if applies(column.type):
            return hash_bytes(_with_null_text(text(column), column), seeds)
    for applies, numbers in _INT8_RULES:
        if applies(column.type):
            try:
                values = numbers(column)
            except pa.ArrowInvalid as error:
                raise UnsupportedDataError(
                    f"A key of Arrow type {column.type} has a value that PostgreSQL cannot hold: "
                    f"{error}. Correct the value, or choose another key."
                ) from error
            return hash_int8(values, seeds)
    raise UnsupportedDataError(
        f"A key of Arrow type {column.type} cannot be hashed. Choose a key of integers, floats, "
        "decimals, booleans, text, categories, dates, times, timestamps, durations, uuid or bytes, "
        "or cast the column to one of them."
    )


def _decoded(column: pa.Array) -> pa.Array:
    """Without dictionary encoding."""
    if isinstance(column, pa.DictionaryArray):
        return _decoded(column.dictionary_decode())
    return column


def _integers(column: pa.Array) -> Int64s:
    return _filled(column.cast(pa.int64()))


def _booleans(column: pa.Array) -> Int64s:
    return _filled(column.cast(pa.int8()).cast(pa.int64()))


def _floats(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """NULL becomes NaN, so that it does not matter which of them pandas meant."""
    doubles: np.ndarray[Any, np.dtype[np.float64]] = (
        column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    )
    return doubles


def _timestamps(column: pa.Array) -> Int64s:
    """Microseconds since 2000-01-01; nanoseconds lose their excess towards 1970, as on loading."""
    zone = column.type.tz
    if column.type.unit == "ns":
        micros = pc.divide(column.cast(pa.int64()), 1000)
    else:
        micros = column.cast(pa.timestamp("us", tz=zone)).cast(pa.int64())
    # Infinities read from PostgreSQL have wrapped around: here they wrap back.
    return _filled(micros, minus=_POSTGRES_EPOCH)


def _dates(column: pa.Array) -> Int64s:
    """The midnight at which a date begins, as for timestamps."""
    numbers = column.cast(pa.date32()).cast(pa.int32())
    days = numbers.fill_null(0).to_numpy(zero_copy_only=False) - np.int32(_POSTGRES_EPOCH_DAYS)
    limits = np.iinfo(np.int32)
    finite = (days != limits.max) & (days != limits.min)
    wide = np.where(finite, days, 0).astype(np.int64)
    if (np.abs(wide) > _INFINITY // _DAY).any():
        raise pa.ArrowInvalid("a date outside the range of timestamps")
    micros = np.where(finite, wide * _DAY, np.where(days > 0, _INFINITY, NULL_INT8))
    return np.where(column.is_valid().to_numpy(zero_copy_only=False), micros, NULL_INT8)


def _times(column: pa.Array) -> Int64s:
    """Microseconds since midnight, which is the timestamp of that time on 2000-01-01."""
    if column.type.unit == "ns":
        return _filled(pc.divide(column.cast(pa.int64()), 1000))
    return _filled(column.cast(pa.time64("us")).cast(pa.int64()))


def _intervals(column: pa.Array) -> Int64s:
    """The length in microseconds; nanoseconds lose their excess towards zero, as on loading."""
    if column.type.unit == "ns":
        micros = pc.divide(column.cast(pa.int64()), 1000)
    else:
        micros = column.cast(pa.duration("us")).cast(pa.int64())
    lengths: Int64s = micros.fill_null(NULL_INTERVAL_DAYS * _DAY).to_numpy(zero_copy_only=False)
    return lengths


def _filled(column: pa.Array, minus: int = 0) -> Int64s:
    values = column.fill_null(0).to_numpy(zero_copy_only=False) - np.int64(minus)
    if column.null_count:
        values[~column.is_valid().to_numpy(zero_copy_only=False)] = NULL_INT8
    filled: Int64s = values
    return filled


def _text(column: pa.Array) -> ByteStrings:
    column = column.cast(pa.large_string())
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return _fixed_width(np.zeros((len(column), 0), np.uint8))
    at = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    raw = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return ByteStrings(raw[at[0] : at[-1]], at[:-1] - at[0], np.diff(at))


def _hexadecimal(column: pa.Array) -> ByteStrings:
    """What `encode(bytes, 'hex')` gives."""
    raw = _text(column.cast(pa.large_binary()).view(pa.large_string()))
    return ByteStrings(_HEX[raw.data].reshape(-1), raw.starts * 2, raw.lengths * 2)


def _uuids(column: Any) -> ByteStrings:
    """What `uuid::text` gives, so that a frame library without uuid can hold them as text."""
    buffer = column.storage.buffers()[1]
    first = column.storage.offset
    raw = np.frombuffer(buffer, np.uint8)[first * 16 : (first + len(column)) * 16]
    digits = _HEX[raw].reshape(len(column), 32)
    return _fixed_width(np.insert(digits, _UUID_GROUPS, ord("-"), axis=1))


def _decimals(column: pa.Array) -> ByteStrings:
    """What `trim_scale(numeric)::text` gives: plain digits without trailing zeros."""
    scale = column.type.scale
    if scale < 0:
        column = column.cast(pa.decimal256(76, 0))
        scale = 0
    wide = column.cast(pa.decimal256(76, scale))
    whole = pa.decimal256(76, 0)  # Arrow would write small fractions as 1E-7: take the bare digits
    unscaled: pa.Array = pa.Array.from_buffers(whole, len(wide), wide.buffers(), offset=wide.offset)
    signed = unscaled.cast(pa.string())
    if scale == 0:
        return _text(signed)
    digits = pc.ascii_lpad(pc.ascii_ltrim(signed, "-"), scale + 1, "0")
    fraction = pc.ascii_rtrim(pc.utf8_slice_codeunits(digits, -scale), "0")
    trimmed = pc.ascii_rtrim(
        pc.binary_join_element_wise(pc.utf8_slice_codeunits(digits, 0, -scale), fraction, "."), "."
    )
    sign = pc.if_else(pc.starts_with(signed, "-"), "-", "")
    return _text(pc.binary_join_element_wise(sign, trimmed, ""))


def _fixed_width(rows: np.ndarray[Any, np.dtype[np.uint8]]) -> ByteStrings:
    count, width = rows.shape
    starts = np.arange(count, dtype=np.int64) * width
    return ByteStrings(rows.reshape(-1), starts, np.full(count, width, dtype=np.int64))


def _with_null_text(strings: ByteStrings, column: pa.Array) -> ByteStrings:
    if not column.null_count:
        return strings
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    text = np.frombuffer(NULL_TEXT.encode(), np.uint8)
    return ByteStrings(
        np.concatenate([strings.data, text]),
        np.where(valid, strings.starts, len(strings.data)),
        np.where(valid, strings.lengths, len(text)),
    )


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_null(type_)  # loaded as text, for want of any other sign
    )


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
        or pa.types.is_fixed_size_binary(type_)
    )


def _is_uuid(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.UuidType)


_TEXT_RULES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], ByteStrings]], ...] = (
    (_is_text, _text),
    (_is_bytes, _hexadecimal),
    (_is_uuid, _uuids),
    (pa.types.is_decimal, _decimals),
)
_INT8_RULES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Int64s]], ...] = (
    (pa.types.is_integer, _integers),
    (pa.types.is_boolean, _booleans),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _intervals),
)
