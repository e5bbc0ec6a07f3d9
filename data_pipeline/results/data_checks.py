"""What checks find out about one table: are its primary key and its number of rows as they should?

Everything is counted inside the database; no rows move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.table_properties import ForeignKey

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
        """Return the finding as the result of a Dagster check."""
        return dg.AssetCheckResult(
            passed=self.passed,
            asset_key=key.asset_key,
            check_name=key.name,
            metadata=self.metadata,
            severity=self.severity,
            description=self.problem,
        )


def warning(problem: str, metadata: Mapping[str, Any]) -> Finding:
    """Return a finding that needs a look, but may be right."""
    return Finding(problem, dg.AssetCheckSeverity.WARN, metadata)


def check_primary_key(
    connection: sa.Connection, relation: RelationName, primary_key: Sequence[str]
) -> Finding:
    """Check that the primary key of a table or view is unique and never NULL.

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
    """Check that a table has the rows that were committed, and any at all."""
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
    """Return examples as a text."""
    return ", ".join(f"`{example}`" for example in examples) or "none"


def key_text(columns: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """Return the SQL that writes a possibly composite key as one text, NULL as such."""
    texts = [sa.func.coalesce(sa.cast(column, sa.Text), "NULL") for column in columns]
    return sa.func.concat_ws(", ", *texts)


def _key_faults(relation: RelationName, primary_key: Sequence[str]) -> sa.Select[Any]:
    """Count rows with NULL in the key, and rows beyond the first of each key; with examples."""
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
    """Return the table that a foreign key of `referring` refers to."""
    stage, _, name = key.references.rpartition("/")
    return StageTable(stage or referring.stage, name)


def relationship_name(key: ForeignKey) -> str:
    """Return a relationship in words: `dest -> airports (faa)`."""
    condition = f" where {key.where}" if key.where else ""
    columns, referenced = ", ".join(key.columns), ", ".join(key.referenced_columns)
    return f"{columns} -> {key.references} ({referenced}){condition}"


def references(
    connection: sa.Connection,
    key: ForeignKey,
    referring: RelationName,
    referenced: RelationName,
    elsewhere: RelationName | sa.FromClause | None = None,
) -> References:
    """Count the references of a relationship, in one query.

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
    elsewhere: RelationName | sa.FromClause | None,
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
    key: ForeignKey, values: Sequence[sa.ColumnElement[Any]], relation: RelationName | sa.FromClause
) -> sa.Exists:
    table = relation
    if isinstance(table, RelationName):
        table = _clause(table, key.referenced_columns)
    columns = [table.c[name] for name in key.referenced_columns]
    pairs = zip(columns, values, strict=True)
    return sa.exists().select_from(table).where(*(column == value for column, value in pairs))


def _sum(query: sa.Select[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(query.scalar_subquery(), 0)


def _clause(relation: RelationName, columns: Sequence[str]) -> sa.TableClause:
    return sa.table(relation.name, *map(sa.column, columns), schema=relation.schema)
