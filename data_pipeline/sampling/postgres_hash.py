"""PostgreSQL's extended hash functions for whole NumPy columns.

All of them rest on Bob Jenkins' lookup3 (http://burtleburtle.net/bob/c/lookup3.c, public domain),
which mixes three 32-bit lanes. PostgreSQL sets the lanes up in its own way: with a constant offset,
the length of the key, and (mixed in once, unless it is zero) a 64-bit seed. The result is that of
a little-endian server, which are all that PostgreSQL is packaged for today.

Seeds are `uint64` arrays of one value for all rows, or of one value for each row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    """Give what `hashint8extended(value, seed)` gives, as unsigned numbers.

    The upper half is folded into the lower one such that a number has the same hash in every
    integer type.
    """
    low, high = _halves(values.view(np.uint64))
    a, b, c = _seeded(np.array([4]), seeds)
    return _final(a + (low ^ np.where(values >= 0, high, ~high)), b, c)


def hash_float8(values: npt.NDArray[np.float64], seeds: UInt64s) -> UInt64s:
    """Give what `hashfloat8extended(value, seed)` gives, as unsigned numbers.

    Both zeros hash to the seed itself, and all NaN alike.
    """
    canonical = np.where(np.isnan(values), np.nan, values)
    low, high = _halves(canonical.view(np.uint64))
    a, b, c = _seeded(np.array([8]), seeds)
    return np.where(values == 0, seeds, _final(a + low, b + high, c))


def hash_bytes(strings: ByteStrings, seeds: UInt64s) -> UInt64s:
    """Give what `hashtextextended(text COLLATE "C", seed)` gives for the text's UTF-8 bytes."""
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
    """Masks that keep the first `count` (clamped to 0 to 4) bytes of a little-endian word."""
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
