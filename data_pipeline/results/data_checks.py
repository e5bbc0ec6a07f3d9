"""What checks find out about one table: are its primary key and its number of rows as they should?

Everything is counted inside the database; no rows move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES, RelationName, StageTable
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.results.table_properties import ForeignKey
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.transfer.arrow_types import MICROSECONDS_PER_DAY, is_list, is_text

EXAMPLES = 3
"""So many values at most are named as examples."""

_KEY_CONSTRAINT = sa.text("""
SELECT array_agg(a.attname::text)
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = to_regclass(:relation) AND i.indisprimary AND i.indisvalid
""")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        problem: What is wrong, where, and what to do; None: nothing.
        severity: How bad the problem is.
        metadata: Counts, for the UI.
    """

    problem: str | None = None
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return self.problem is None

    def result(self, key: dg.AssetCheckKey) -> dg.AssetCheckResult:
        """Gives the finding as the result of a Dagster check."""
        return dg.AssetCheckResult(
            passed=self.passed,
            asset_key=key.asset_key,
            check_name=key.name,
            metadata=self.metadata,
            severity=self.severity,
            description=self.problem,
        )


def warning(problem: str, metadata: Mapping[str, Any]) -> Finding:
    """Gives a finding that needs a look, but may be right."""
    return Finding(problem, dg.AssetCheckSeverity.WARN, metadata)


def check_primary_key(
    connection: sa.Connection, relation: RelationName, primary_key: Sequence[str]
) -> Finding:
    """Checks that the primary key of a table or view is unique and never NULL.

    Where the database guarantees that by a constraint on these columns, the rows are not read.
    """
    constraint = connection.scalar(_KEY_CONSTRAINT, {"relation": relation.quoted})
    columns = ", ".join(primary_key)
    if constraint is not None and set(constraint) == set(primary_key):
        return Finding(metadata={"primary_key": columns, "guaranteed_by_constraint": True})
    faults = _key_faults(relation, primary_key)
    nulls, duplicates, examples = connection.execute(faults).one()
    metadata = {
        "primary_key": columns,
        "guaranteed_by_constraint": False,
        "null_rows": int(nulls),
        "duplicate_rows": int(duplicates),
    }
    if not nulls and not duplicates:
        return Finding(metadata=metadata)
    parts = [f"{nulls} row(s) with NULL in it"] if nulls else []
    if duplicates:
        parts.append(f"{duplicates} row(s) too many with a value that occurs before")
    return Finding(
        f"The primary key ({columns}) of {relation} does not hold: {' and '.join(parts)}, "
        f"for example {listed(examples)}. Correct the query or the data, or declare other columns "
        "as `primary_key`.",
        metadata=metadata,
    )


def check_row_count(
    connection: sa.Connection, relation: RelationName, row: CatalogRow | None
) -> Finding:
    """Checks that a table has the rows that were committed, and any at all."""
    count = int(connection.scalar(sa.select(sa.func.count()).select_from(_table(relation))) or 0)
    metadata = {"row_count": count, "catalog_row_count": row.row_count if row else None}
    if row is None:
        return Finding(
            f"{relation} has {count} row(s), but the catalog does not know it: no run of this "
            "pipeline made it. Drop it and run the pipeline, which builds its own.",
            metadata=metadata,
        )
    if row.row_count is not None and count != row.row_count:
        return Finding(
            f"{relation} has {count} row(s), but {row.row_count} were committed: somebody changed "
            "it since. Drop it and run the pipeline, which builds it anew.",
            metadata=metadata,
        )
    if not count:
        return warning(
            f"{relation} is empty. If that cannot be, look at its query and at its inputs.",
            metadata,
        )
    return Finding(metadata=metadata)


def listed(examples: Sequence[str | None]) -> str:
    """Gives examples as a text."""
    return ", ".join(f"`{example}`" for example in examples) or "none"


def key_text(columns: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """Gives the SQL that writes a possibly composite key as one text, NULL as such."""
    texts = [sa.func.coalesce(sa.cast(column, sa.Text), "NULL") for column in columns]
    return sa.func.concat_ws(", ", *texts)


def _key_faults(relation: RelationName, primary_key: Sequence[str]) -> sa.Select[Any]:
    """Counts rows with NULL in the key, and rows beyond the first of each key; with examples."""
    table = _table(relation, *primary_key)
    columns = [table.c[name] for name in primary_key]
    has_null = sa.or_(*(column.is_(None) for column in columns))
    faulty = (
        sa.select(
            sa.func.count().label("n"),
            has_null.label("has_null"),
            key_text(columns).label("key"),
        )
        .group_by(*columns)
        .having(sa.or_(sa.func.count() > 1, has_null))
        .cte("faulty")
    )
    some = sa.select(faulty.c.key).order_by(faulty.c.n.desc(), faulty.c.key).limit(EXAMPLES)
    nulls = sa.func.sum(faulty.c.n).filter(faulty.c.has_null)
    duplicates = sa.func.sum(faulty.c.n - 1).filter(~faulty.c.has_null)
    return sa.select(
        sa.func.coalesce(nulls, 0),
        sa.func.coalesce(duplicates, 0),
        sa.func.array(some.scalar_subquery()),
    )


def _table(relation: RelationName, *columns: str) -> sa.TableClause:
    return sa.table(relation.name, *map(sa.column, columns), schema=relation.schema)


MAX_COLUMNS = 1600
"""PostgreSQL's MaxHeapAttributeNumber."""

# Days from 1970-01-01 to 0001-01-01 and to 10000-01-01.
_FIRST_DAY, _DAY_AFTER_LAST = -719_162, 2_932_897
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_SHOWN_CHARACTERS = 60
_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])


class ValueRefusedError(Exception):
    """An array holds a value that cannot be transferred; the message says why."""


def shown(value: Any) -> str:
    """Gives a value as it stands in a message: its repr, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def check_column_names(names: Sequence[Any]) -> None:
    """Checks that a table can have these columns.

    Raises:
        UnsupportedDataError: There are too many, or one is no string, empty, too long, double, not
            encodable, or reserved by PostgreSQL.
    """
    if len(names) > MAX_COLUMNS:
        raise UnsupportedDataError(
            f"The table has {len(names)} columns, but PostgreSQL allows {MAX_COLUMNS}. "
            "Split it, or gather columns in an array or a JSON column."
        )
    seen: set[str] = set()
    for position, name in enumerate(names):
        problem = "appears more than once" if name in seen else _name_problem(name)
        if problem:
            raise UnsupportedDataError(
                f"Column {shown(name)} (number {position + 1}) {problem}. Rename the column."
            )
        seen.add(name)


def _name_problem(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"has a name of type {type(name).__name__}, but PostgreSQL needs a string"
    if not name:
        return "has an empty name"
    if "\0" in name:
        return "has a NUL character in its name"
    if name in _SYSTEM_COLUMNS:
        return "has the name of one of PostgreSQL's own columns"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "has a name that is not valid Unicode (a lone surrogate)"
    if size > MAX_IDENTIFIER_BYTES:
        return f"has a name of {size} bytes, but PostgreSQL allows {MAX_IDENTIFIER_BYTES}"
    return None


def check_values(array: pa.Array) -> None:
    """Checks the values of an array whose type is already one that PostgreSQL knows.

    Raises:
        ValueRefusedError: One of them is beyond what PostgreSQL, or Python, can hold.
    """
    kind = array.type
    if is_text(kind):
        _check_text(array)
    elif pa.types.is_timestamp(kind):
        _check_range(array, MICROSECONDS_PER_DAY, pa.int64())
    elif pa.types.is_date32(kind):
        _check_range(array, 1, pa.int32())
    elif pa.types.is_time64(kind):
        _check_time(array)
    elif kind == pa.month_day_nano_interval():
        if (interval_parts(array)["nanoseconds"] % 1000).any():
            raise ValueRefusedError("it has digits below the microsecond")
    elif is_list(kind):
        check_values(array.flatten())


def interval_parts(array: pa.Array) -> np.ndarray[Any, np.dtype[np.void]]:
    """Gives months, days and nanoseconds of an interval array; zeros where it is NULL."""
    parts = np.frombuffer(array.buffers()[1], _MONTH_DAY_NANO, len(array), array.offset * 16)
    if not array.null_count:
        return parts
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), parts, np.zeros_like(parts))


def _check_text(array: pa.Array) -> None:
    data = array.buffers()[2]
    if not len(array) or data is None:
        return
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    ends = np.frombuffer(array.buffers()[1], width)[array.offset : array.offset + len(array) + 1]
    used = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # One pass over the bytes of all values at once. A zero may lie under a NULL: look closer then.
    if used.size and not used.all() and pc.any(pc.match_substring(array, "\0")).as_py():
        raise ValueRefusedError("it contains a NUL character, which PostgreSQL cannot hold in text")


def _check_range(array: pa.Array, per_day: int, raw: pa.DataType) -> None:
    extremes = pc.min_max(array.view(raw)).as_py()
    if extremes["min"] is not None and not (
        _FIRST_DAY * per_day <= extremes["min"] and extremes["max"] < _DAY_AFTER_LAST * per_day
    ):
        raise ValueRefusedError("it is infinite or outside the years 1 to 9999")


def _check_time(array: pa.Array) -> None:
    extremes = pc.min_max(array.view(pa.int64())).as_py()
    if extremes["min"] is not None and not (
        extremes["min"] >= 0 and extremes["max"] < MICROSECONDS_PER_DAY
    ):
        raise ValueRefusedError("it is outside 00:00 to 23:59:59.999999")


@dataclass(frozen=True)
class References:
    """References of one relationship.

    A reference with a NULL in it refers to nothing, nor does one that its condition is not true of.

    Attributes:
        total: Rows that refer to something.
        dangling: Those of them whose referenced row does not exist.
        lost: Those of them, in turn, whose referenced row exists in another copy of the table; 0
            without one.
        examples: Keys that dangle, the most frequent first: lost ones, where there are any.
    """

    total: int
    dangling: int
    lost: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """The dangling share, 0 to 1."""
        return self.dangling / self.total if self.total else 0.0


def referenced_table(referring: StageTable, key: ForeignKey) -> StageTable:
    """Gives the table that a foreign key of `referring` refers to."""
    stage, _, name = key.references.rpartition("/")
    return StageTable(stage or referring.stage, name)


def relationship_name(key: ForeignKey) -> str:
    """Gives a relationship in words: `dest -> airports (faa)`."""
    condition = f" where {key.where}" if key.where else ""
    columns, referenced = ", ".join(key.columns), ", ".join(key.referenced_columns)
    return f"{columns} -> {key.references} ({referenced}){condition}"


def references(
    connection: sa.Connection,
    key: ForeignKey,
    referring: RelationName,
    referenced: RelationName,
    elsewhere: RelationName | None = None,
) -> References:
    """Counts the references of a relationship, in one query.

    Args:
        connection: To the database of all these relations.
        key: The relationship.
        referring: The table that refers.
        referenced: The table it refers to.
        elsewhere: Another copy of the referenced table, in which dangling references are looked up.
    """
    query = _query(key, referring, referenced, elsewhere)
    total, dangling, lost, examples = connection.execute(query).one()
    return References(int(total), int(dangling), int(lost), tuple(examples))


def _query(
    key: ForeignKey,
    referring: RelationName,
    referenced: RelationName,
    elsewhere: RelationName | None,
) -> sa.Select[int, int, int, list[str]]:
    names = [f"k{number}" for number in range(len(key.columns))]
    table = _clause(referring, key.columns)
    columns = [table.c[name] for name in key.columns]
    refers: list[sa.ColumnElement[bool]] = [column.is_not(None) for column in columns]
    if key.where is not None:
        refers.append(sa.literal_column(f"(({key.where}) IS TRUE)", sa.Boolean))
    used = (
        sa.select(
            *(column.label(name) for column, name in zip(columns, names, strict=True)),
            sa.func.count().label("n"),
        )
        .where(*refers)
        .group_by(*columns)
        .cte("used")
    )
    keys = [used.c[name] for name in names]
    lost = sa.false() if elsewhere is None else _exists(key, keys, elsewhere)
    dangling = (
        sa.select(used.c.n, key_text(keys).label("key"), lost.label("lost"))
        .where(~_exists(key, keys, referenced))
        .cte("dangling")
    )
    any_lost = sa.select(sa.func.bool_or(dangling.c.lost)).scalar_subquery()
    some = (
        sa.select(dangling.c.key)
        .where(dangling.c.lost == any_lost)
        .order_by(dangling.c.n.desc(), dangling.c.key)
        .limit(EXAMPLES)
    )
    return sa.select(
        _sum(sa.select(sa.func.sum(used.c.n))),
        _sum(sa.select(sa.func.sum(dangling.c.n))),
        _sum(sa.select(sa.func.sum(dangling.c.n)).where(dangling.c.lost)),
        sa.func.array(some.scalar_subquery()),
    )


def _exists(
    key: ForeignKey, values: Sequence[sa.ColumnElement[Any]], relation: RelationName
) -> sa.Exists:
    table = _clause(relation, key.referenced_columns)
    columns = [table.c[name] for name in key.referenced_columns]
    pairs = zip(columns, values, strict=True)
    return sa.exists().select_from(table).where(*(column == value for column, value in pairs))


def _sum(query: sa.Select[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(query.scalar_subquery(), 0)


def _clause(relation: RelationName, columns: Sequence[str]) -> sa.TableClause:
    return sa.table(relation.name, *map(sa.column, columns), schema=relation.schema)
