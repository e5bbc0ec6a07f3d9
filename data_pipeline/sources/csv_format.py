"""Types of the columns of CSV files: found once, from all values, and then stated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipeline.sources.source import SourceError
from data_pipeline.sources.source_catalog import SourceColumn, SourceRelation

if TYPE_CHECKING:
    import pyarrow as pa

# A number with zeros before it is a code, and one of more digits than a type holds would be cut.
_WHOLE = r"^-?(0|[1-9]\d{0,17})$"
_REAL = r"^-?(0|[1-9]\d{0,14})(\.\d{1,15})?([eE][+-]?\d{1,3})?$"
_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_FORMS = {
    "bigint": _WHOLE,
    "double precision": _REAL,
    "boolean": r"^(true|false|True|False|TRUE|FALSE)$",
    "date": f"^{_DAY}$",
    "timestamp without time zone": f"^{_DAY}[ T]{_TIME}$",
    "timestamp with time zone": rf"^{_DAY}[ T]{_TIME}(Z|[+-]\d\d(:?\d\d)?)$",
}
"""How values of each type are written; the first type that all values fit is that of a column."""

_REMEDIES = {
    "Empty CSV": "no line of it ends; of no rows, its header is needed, with a line break",
    "straddling": "a row takes more than 1 MB: a quote is not closed, or write it as Parquet",
    "invalid UTF8": "it is not in UTF-8; save it in that",
}
"""What is said in place of what Arrow says."""


def csv_parse_options() -> Any:
    """Return how CSV files are parsed: quoted values may have several lines."""
    import pyarrow.csv as csv

    return csv.ParseOptions(newlines_in_values=True)


def csv_names(files: Sequence[Path]) -> list[str]:
    """Return the columns of CSV files, all of which have the same.

    Raises:
        pa.ArrowInvalid: They have not.
        SourceError: A file is empty, or names a column twice.
    """
    import pyarrow as pa
    import pyarrow.csv as csv

    found: list[list[str]] = []
    for file in files:
        with _reading(file), csv.open_csv(file, parse_options=csv_parse_options()) as reader:
            names = list(reader.schema.names)
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise pa.ArrowInvalid(f"its header has the column {twice!r} twice. Rename one")
            found.append(names)
    for file, names in zip(files, found, strict=True):
        if sorted(names) != sorted(found[0]):
            raise pa.ArrowInvalid(f"{file.name} has the columns {names}, others {found[0]}")
    return found[0]


def csv_columns(files: Sequence[Path]) -> list[SourceColumn]:
    """Return the columns of CSV files with their types; all values are looked at.

    Raises:
        pa.ArrowInvalid: They have other columns in one file than in another.
        SourceError: A file is no CSV file.
    """
    import pyarrow as pa

    names = csv_names(files)
    fitting = {name: dict.fromkeys(_FORMS) for name in names}
    filled: set[str] = set()
    for batch in _texts(files, names):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            values = column.drop_null()
            if len(values):
                filled.add(name)
                kept = [kind for kind in fitting[name] if _fits(values, kind, pa)]
                fitting[name] = dict.fromkeys(kept)
    kinds = {name: next(iter(fitting[name]), "text") for name in names}
    return [SourceColumn(name, kinds[name] if name in filled else "text") for name in names]


def csv_convert_options(table: SourceRelation, as_text: frozenset[str]) -> Any:
    """Return how CSV files of a table are read: with the types that are stated, whatever is there.

    An empty field is NULL, a quoted one an empty text.

    Args:
        table: The table.
        as_text: Columns that travel as text.
    """
    import pyarrow as pa

    kinds = {
        "bigint": pa.int64(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp without time zone": pa.timestamp("us"),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }
    types = {
        c.name: pa.string() if c.name in as_text else kinds.get(c.type, pa.string())
        for c in table.columns
    }
    return _options(types)


def _texts(files: Sequence[Path], names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa
    import pyarrow.csv as csv

    options = _options(dict.fromkeys(names, pa.string()))
    parsing = csv_parse_options()
    for file in files:
        with (
            _reading(file),
            csv.open_csv(file, convert_options=options, parse_options=parsing) as reader,
        ):
            batch = None
            for batch in reader:
                yield batch
            if batch is not None and batch.num_rows:
                _check_closed(file, batch.slice(batch.num_rows - 1).to_pylist()[0])


def _check_closed(file: Path, last_row: dict[str, str | None]) -> None:
    """Check that no quote takes the rest of the file into a value, which Arrow reads so.

    Raises:
        pa.ArrowInvalid: One does.
    """
    import pyarrow as pa

    for name, value in last_row.items():
        if value is None or "\n" not in value:
            continue
        unclosed = f'"{value.replace(chr(34), chr(34) * 2)}'.encode().rstrip(b"\r\n")
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - len(unclosed) - 1000))
            if content.read().rstrip(b"\r\n").endswith(unclosed):
                begins, *taken = value.splitlines()
                raise pa.ArrowInvalid(
                    f"a quote is not closed: its last value of {name!r} begins with {begins!r} and "
                    f"takes in {len(taken)} lines behind it. Close the quote, or double it if it "
                    "belongs to the value"
                )


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Name the file that cannot be read, one of several it may be.

    Raises:
        SourceError: It cannot.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        said = next((better for words, better in _REMEDIES.items() if words in said), said)
        raise SourceError(f"{file} cannot be read: {said}.") from error


def _options(types: dict[str, Any]) -> Any:
    import pyarrow.csv as csv

    return csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )


def _fits(values: "pa.Array", kind: str, pa: Any) -> bool:
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(values, _FORMS[kind])).as_py():
        return False
    if kind == "date":
        try:
            values.cast(pa.date32())  # the 30th of February
        except pa.ArrowException:
            return False
    return True
