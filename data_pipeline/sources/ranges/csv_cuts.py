"""Where a CSV file can be cut: behind a row, never within a quoted value."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_CHUNK_BYTES = 4 * 1024 * 1024
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_BESIDE_QUOTES = b',\r\n"'


def csv_cuts(file: Path, size: int) -> list[int]:
    """Return where the pieces of a file begin, and its end: each has about so many bytes.

    All of it is looked at, since a newline may stand in a quoted value. Where a quote stands in the
    midst of a value, nothing tells which newlines do; then the file is one piece, as it is where it
    is compressed.
    """
    end = file.stat().st_size
    whole = [0, end]
    if file.suffix.lower() != ".csv":
        return whole
    cuts, wanted = [0], size
    is_open, before = False, _NEWLINE  # whether a quoted value is open, and the last byte
    for place, chunk, after in _chunks(file):
        inside = _inside(chunk, is_open)
        if not _are_structural(chunk, inside, before, after):
            return whole
        ends = _row_ends(chunk, inside) + place
        while len(ends) and ends[-1] >= wanted:
            cuts.append(int(ends[ends >= wanted][0]))
            wanted = cuts[-1] + size
        is_open, before = bool(inside[-1]), int(chunk[-1])
    return [*(cut for cut in cuts if cut < end), end]


def _chunks(file: Path) -> Iterator[tuple[int, "np.ndarray", int]]:
    """Return the bytes of a file, with the place of each piece and the byte behind it."""
    import numpy as np

    with file.open("rb") as opened:
        place, chunk = 0, opened.read(_CHUNK_BYTES)
        while chunk:
            following = opened.read(_CHUNK_BYTES)
            yield place, np.frombuffer(chunk, np.uint8), following[0] if following else _NEWLINE
            place, chunk = place + len(chunk), following


def _inside(chunk: "np.ndarray", is_open: bool) -> "np.ndarray":
    """Return for each byte whether a quoted value is open behind it."""
    import numpy as np

    quotes = np.cumsum(chunk == _QUOTE, dtype=np.int32)
    return np.asarray((quotes + is_open) % 2 == 1)


def _row_ends(chunk: "np.ndarray", inside: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.flatnonzero((chunk == _NEWLINE) & ~inside) + 1


def _are_structural(chunk: "np.ndarray", inside: "np.ndarray", before: int, after: int) -> bool:
    """Whether each quote begins a value, ends one, or is one of two that stand for one."""
    import numpy as np

    places = np.flatnonzero(chunk == _QUOTE)
    if not len(places):
        return True
    around = np.concatenate(([before], chunk, [after])).astype(np.uint8)
    opens = inside[places]
    beside = np.where(opens, around[places], around[places + 2])
    return bool(np.isin(beside, np.frombuffer(_BESIDE_QUOTES, np.uint8)).all())
