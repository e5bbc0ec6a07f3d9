"""`data_pipeline.diff`: what differs between two versions of an instance, or two instances."""

from collections.abc import Sequence

from data_pipeline.difference.compare import ComparisonOptions, compare
from data_pipeline.difference.result import Difference
from data_pipeline.difference.rows import MOST_ROWS_WITHOUT_KEY
from data_pipeline.difference.versions import PREVIOUS, version_name
from data_pipeline.instances import Configuration, load_configuration


def diff(
    before: str,
    after: str | None = None,
    tables: Sequence[str] = (),
    *,
    ignore: Sequence[str] = (),
    tolerance: float = 0.0,
    rows: int = 0,
    slices: bool = True,
    most_rows_without_key: int = MOST_ROWS_WITHOUT_KEY,
    configuration: Configuration | None = None,
) -> Difference:
    """Compare two versions of tables inside the database.

    A version is an instance (`midi`), what was there before its last run (`midi@previous`), what is
    staged (`midi@staged`) or what a run has made (`midi@<run id>`).

    Example: `diff("midi").is_equal`, `diff("full", "midi", ["clean/flights"])`.

    Args:
        before: The earlier version; alone, an instance is compared with what was there before its
            last run, and any other version with what is committed now.
        after: The later version.
        tables: Which tables: `table`, `stage/table`, or a stage; none: all.
        ignore: Columns that are left out: `column`, `table.column` or `stage/table.column`.
        tolerance: How far floats may be apart and count as equal.
        rows: So many rows that differ are given of each kind, with their values.
        slices: Whether it is looked for where the rows are that differ.
        most_rows_without_key: The most rows, of both versions, that are compared without a key.
        configuration: The instances; default: the configuration that is in force.

    Raises:
        ConfigurationError: There is no such instance or table, or the versions are in different
            databases.
        TableNotFoundError: A version has no tables, or is not kept any more.
        DatabaseError: The database refused a query, for lack of a right, say.
    """
    found = configuration or load_configuration()
    one, other = _versions(before, after)
    options = ComparisonOptions(tuple(ignore), tolerance, rows, slices, most_rows_without_key)
    return compare(version_name(one, found), version_name(other, found), tables, options)


def _versions(before: str, after: str | None) -> tuple[str, str]:
    if after is not None:
        return before, after
    instance, at, which = before.partition("@")
    if not at:
        return f"{instance}@{PREVIOUS}", instance
    return (instance, before) if which == "staged" else (before, instance)
