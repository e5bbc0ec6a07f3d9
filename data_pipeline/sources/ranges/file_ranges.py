"""Large Parquet and CSV files: by groups of rows, and by pieces that end with a row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.sources.csv_format import csv_convert_options, csv_parse_options
from data_pipeline.sources.fingerprints import files_read, files_seen
from data_pipeline.sources.ranges.csv_cuts import csv_cuts
from data_pipeline.sources.source import SourceError
from data_pipeline.sources.source_catalog import SourceRelation

if TYPE_CHECKING:
    import pyarrow as pa

_RANGE_BYTES = 64 * 1024 * 1024
"""Pieces of files have about this size, uncompressed."""

_BATCH_ROWS = 65_536
_Read = Callable[[], Iterable["pa.RecordBatch"]]


class Pieces(Protocol):
    """How files of a kind are read, as a whole and in pieces."""

    schema: "pa.Schema"

    def of(self, file: Path) -> Iterator[tuple[str, _Read]]:
        """Return the pieces of a file: which one, and what reads it."""

    def whole(self, files: Sequence[Path]) -> Iterable["pa.RecordBatch"]:
        """Read files one after the other."""


def is_large(files: Sequence[Path]) -> bool:
    """Whether files are worth a look at how they can be cut; those of Parquet are compressed."""
    return sum(file.stat().st_size for file in files) > _RANGE_BYTES // 4


def file_ranges(
    files: Sequence[Path], folder: Path, by_content: bool, pieces: Pieces
) -> Mapping[str, Callable[[], "pa.RecordBatchReader"]]:
    """Return what opens the ranges of files by name, which tells file and state of each.

    Args:
        files: The files.
        folder: Where their paths start.
        by_content: Whether they are told by their content, not by size and time of change.
        pieces: Cuts a file.
    """
    found: dict[str, Callable[[], pa.RecordBatchReader]] = {}
    for file in files:
        seen = files_seen([file], folder)
        state = files_read([file], folder) if by_content else seen
        for piece, read in pieces.of(file):
            name = " ".join(map(str, [*(state[0] if state else [file.name]), piece]))
            found[name] = partial(_open, file, folder, seen, pieces.schema, read)
    return found


def _open(
    file: Path, folder: Path, seen: Any, schema: "pa.Schema", read: _Read
) -> "pa.RecordBatchReader":
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        _check_same(file, folder, seen)
        try:
            yield from read()
        except (UnsupportedDataError, pa.ArrowException, OSError):
            _check_same(file, folder, seen)  # what is half written may have no rows, or wrong ones
            raise
        _check_same(file, folder, seen)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _check_same(file: Path, folder: Path, seen: Any) -> None:
    """Refuse a file that has been written since its table was cut: its parts would not fit.

    Raises:
        SourceError: It has.
    """
    if files_seen([file], folder) != seen:
        raise SourceError(
            f"{file} was changed or replaced while it was loaded, so nothing of it can be relied "
            "on. Run again when it is written to its end; best, write files aside and rename them."
        )


class ParquetPieces:
    """Parquet files, by groups of rows.

    Args:
        dataset: The files, with the columns of all.
        names: The columns to be read.
    """

    def __init__(self, dataset: Any, names: Sequence[str]) -> None:
        self._dataset = dataset
        self._options = {"columns": [*names], "batch_size": _BATCH_ROWS, "batch_readahead": 2}
        self.schema = dataset.scanner(**self._options).projected_schema

    def of(self, file: Path) -> Iterator[tuple[str, _Read]]:
        """Return the pieces of a file."""
        schema = self._dataset.schema
        [fragment] = [f for f in self._dataset.get_fragments() if Path(f.path) == file]
        for first, last in _grouped([group.total_byte_size for group in fragment.row_groups]):
            groups = fragment.subset(row_group_ids=[*range(first, last)], schema=schema)
            yield f"{first}-{last}", partial(groups.to_batches, schema=schema, **self._options)

    def whole(self, files: Sequence[Path]) -> Iterable["pa.RecordBatch"]:
        """Read all files."""
        batches: Iterable[pa.RecordBatch] = self._dataset.scanner(
            **self._options, fragment_readahead=1
        ).to_batches()
        return batches


def _grouped(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return the first and the end of neighbours that come to about the size of a range."""
    first, size = 0, 0
    for number, own in enumerate(sizes):
        if size and size + own > _RANGE_BYTES:
            yield first, number
            first, size = number, 0
        size += own
    if sizes:
        yield first, len(sizes)


class CsvPieces:
    """CSV files, by pieces that end with a row.

    Args:
        named: The folder, for messages.
        table: The table.
        as_text: Columns that travel as text.
    """

    def __init__(self, named: str, table: SourceRelation, as_text: frozenset[str]) -> None:
        import pyarrow as pa

        converting = csv_convert_options(table, as_text)
        self.schema = pa.schema(
            [(n, converting.column_types[n]) for n in converting.include_columns]
        )
        self._options = {"convert_options": converting, "parse_options": csv_parse_options()}
        self._named = named
        self._table = table.name

    def of(self, file: Path) -> Iterator[tuple[str, _Read]]:
        """Return the pieces of a file; one that is compressed is one piece."""
        import pyarrow.csv as csv

        begin, *ends = csv_cuts(file, _RANGE_BYTES)
        with csv.open_csv(file, **self._options) as reader:
            names = csv.ReadOptions(column_names=reader.schema.names)
        if len(ends) == 1:
            yield "whole", partial(self._read, file)
            return
        for end in ends:
            without_header = {"read_options": names} if begin else {}
            yield f"{begin}-{end}", partial(self._read, file, (begin, end - begin), without_header)
            begin = end

    def whole(self, files: Sequence[Path]) -> Iterable["pa.RecordBatch"]:
        """Read all files."""
        for file in files:
            yield from self._read(file)

    def _read(
        self,
        file: Path,
        place: tuple[int, int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa
        import pyarrow.csv as csv

        try:
            with pa.OSFile(str(file)) as opened:
                read_from = opened.get_stream(*place) if place else file
                with csv.open_csv(read_from, **self._options, **(options or {})) as reader:
                    yield from reader
        except pa.ArrowException as error:
            raise UnsupportedDataError(
                f"{self._named}: {file.name} does not have the types that its catalog states: "
                f"{str(error).splitlines()[0]}. Read the catalog again (data-pipeline source "
                f"refresh), or say what the type is: properties={{{self._table!r}: "
                "{'types': {'column': 'text'}}}."
            ) from error
