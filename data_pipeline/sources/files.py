"""Parquet and CSV files of a folder as a source."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.results.ranges.batch_ranges import BatchRanges
from data_pipeline.sources.csv_format import csv_columns, csv_names
from data_pipeline.sources.fingerprints import files_read, files_seen
from data_pipeline.sources.ranges.file_ranges import (
    CsvPieces,
    ParquetPieces,
    Pieces,
    file_ranges,
    is_large,
)
from data_pipeline.sources.source import Open, Reading, Rows, Source, SourceError
from data_pipeline.sources.source_catalog import SourceCatalog, SourceColumn, SourceRelation

_NAME = re.compile(r"(?P<table>.+?)\.(?P<kind>parquet|csv)(\.gz|\.bz2|\.zst)?", re.IGNORECASE)


class FilesSource(Source):
    """A folder of Parquet and CSV files.

    Args:
        folder: The folder.
        by_content: Whether files are told by their content, not by size and time of change.
    """

    def __init__(self, folder: Path, *, by_content: bool = False) -> None:
        self._folder = folder
        self._by_content = by_content
        self.named = f"Folder {folder}"

    def catalog(self) -> SourceCatalog:
        """Return its tables; those of CSV files are read to the end.

        Raises:
            SourceError: Two tables have one name, or a file cannot be read.
        """
        return self.described(
            {name: partial(self._table, name, kind, files) for name, (kind, files) in self._all()}
        )

    def present(self, known: SourceRelation) -> SourceRelation | None:
        """Return a table as it is now: of CSV files, their headers alone are looked at."""
        kind, files = dict(self._all()).get(known.name, ("", []))
        if not files or kind != "csv":
            return self._table(known.name, kind, files) if files else None
        stated = {column.name: column for column in known.columns}
        names = self._read(csv_names, files)
        columns = [stated.get(name, SourceColumn(name, "text")) for name in names]
        return SourceRelation(known.name, kind, tuple(columns))

    def now(self, known: SourceCatalog) -> SourceCatalog:
        """Return the tables as they are now; those that are new without their columns."""
        found = {name: self.present(table) for name, table in known.tables.items()}
        tables = {name: SourceRelation(name, kind, ()) for name, (kind, _) in self._all()}
        return SourceCatalog(tables | {name: table for name, table in found.items() if table})

    def fingerprint(self, table: SourceRelation, updated_at: str | None) -> Any:
        """Return path, size and time of change of the files of a table, or their content."""
        _, files = dict(self._all()).get(table.name, ("", []))
        return (files_read if self._by_content else files_seen)(files, self._folder)

    @contextmanager
    def reading(self, how: Reading) -> Iterator[Open]:
        """Open the source for the rows of several tables."""
        yield partial(self._open, how)

    def _all(self) -> Iterator[tuple[str, tuple[str, list[Path]]]]:
        """Return kind and files of each table, by name."""
        seen: set[str] = set()
        for path in sorted(self._folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if path.name.startswith((".", "_")) or not (path.is_dir() or match):
                continue
            name = path.name if match is None or path.is_dir() else match["table"]
            files = _below(path) if path.is_dir() else [path]
            kinds = {kind["kind"].lower() for f in files if (kind := _NAME.fullmatch(f.name))}
            if name in seen or len(kinds) > 1:
                raise SourceError(
                    f"{self.named}: there are several files for the table `{name}`. Let it be one "
                    "file, or a folder of files of one kind."
                )
            if files:
                seen.add(name)
                yield name, (kinds.pop(), files)

    def _table(self, name: str, kind: str, files: Sequence[Path]) -> SourceRelation:
        try:
            read = csv_columns if kind == "csv" else self._parquet_columns
            return SourceRelation(name, kind, tuple(self._read(read, files)))
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{self.named}: table `{name}`: {error}") from None

    def _read(self, function: Any, files: Sequence[Path]) -> Any:
        import pyarrow as pa

        try:
            return function(files)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"{self.named}: {files[0]} cannot be read: {str(error).splitlines()[0]}"
            ) from error

    def _parquet_columns(self, files: Sequence[Path]) -> list[SourceColumn]:
        from data_pipeline.transfer.arrow_types import declared_type

        return [
            SourceColumn(
                field.name,
                declared_type(field.name, field.type),
                str(field.type),
                not_null=not field.nullable,
            )
            for field in self._parquet(files).schema
        ]

    def _parquet(self, files: Sequence[Path]) -> Any:
        """Return a data set with the columns of all of its files, and of folders `key=value`."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        partitioning = ds.partitioning(flavor="hive")
        listed = [str(file) for file in files]
        found = ds.dataset(listed, format="parquet", partitioning=partitioning)
        if len(files) == 1:
            return found
        schemas = [found.schema, *(part.physical_schema for part in found.get_fragments())]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return ds.dataset(listed, format="parquet", partitioning=partitioning, schema=schema)

    def _open(self, how: Reading, table: SourceRelation) -> Rows:
        import pyarrow as pa

        kind, files = dict(self._all())[table.name]
        pieces: Pieces
        if kind == "csv":
            pieces = CsvPieces(self.named, table, how.as_text.get(table.name, frozenset()))
        else:
            names = [column.name for column in table.columns]
            pieces = ParquetPieces(self._parquet(files), names)
        if not how.as_frames and is_large(files):
            ranges = file_ranges(files, self._folder, self._by_content, pieces)
            if len(ranges) > 1:
                named = f"`{table.name}` of the folder {self._folder}"
                return BatchRanges(named, pieces.schema, ranges, how.at_once)
        return pa.RecordBatchReader.from_batches(pieces.schema, pieces.whole(files))


def _below(folder: Path) -> list[Path]:
    """Return the files of a table that is a folder, also those of folders in it."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and _NAME.fullmatch(path.name)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
