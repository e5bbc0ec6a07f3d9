"""Rows of two relations compared inside the database: by a key, or as a multiset.

Rows of the earlier relation have the alias `a`, those of the later one `b`. All columns are named
one by one with their alias, since one may be called like a relation.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.difference.columns import ColumnPair, ComparedColumn, TableColumns
from data_pipeline.difference.result import (
    ColumnFigures,
    KeyFaults,
    RowDifference,
    RowExample,
)

MOST_ROWS_WITHOUT_KEY = 10_000_000
"""So many rows of both versions together are sorted at most to compare them without a key."""

EXAMPLES = 3
"""So many keys at most are named where they do not tell rows apart."""

HASHES = 1 << 20
"""So many hashes of keys there are, by which some of the rows are looked at."""

_OUT_OF_RANGE = "22003"
_MOST_COLUMNS = 500  # a query of PostgreSQL handles 1,664 values of a row at most
_MOST_VALUES = 1_610

# To `IS NULL`, a record all of whose fields are NULL is NULL, too.
_IS_NULL = "IS NOT DISTINCT FROM NULL"


@dataclass(frozen=True)
class RowCounts:
    """How many rows differ.

    Attributes:
        rows: In all.
        by_column: Rows of the same key with another value, by column.
        seen: The facts that were asked for, of rows that are changed or gone.
    """

    rows: RowDifference
    by_column: dict[str, int]
    seen: Sequence[Sequence[str | None]]


@dataclass(frozen=True)
class RowComparison:
    """How the rows of two relations are compared.

    Attributes:
        before: The earlier relation.
        after: The later one.
        columns: Their columns.
        key: The columns that rows are paired by; empty: they are a multiset.
        is_guaranteed: Whether the database keeps the key unique in both.
        faults: Rows that the key does not tell apart.
        known_rows: The numbers of rows of both, where they are known.
        has_views: Whether one of them is a view.
    """

    before: RelationName
    after: RelationName
    columns: TableColumns
    key: tuple[ColumnPair, ...] = ()
    is_guaranteed: bool = True
    faults: KeyFaults | None = None
    known_rows: tuple[int | None, int | None] = (None, None)
    has_views: bool = False

    @property
    def values(self) -> list[ColumnPair]:
        """The compared columns that are not of the key."""
        keys = {pair.name for pair in self.key}
        return [pair for pair in self.columns.pairs if pair.name not in keys]

    @property
    def any_differs(self) -> str:
        """The SQL of whether the values of a pair of rows differ."""
        return " OR ".join(pair.differs() for pair in self.values) or "false"

    @property
    def is_added(self) -> str:
        """The SQL of whether a joined row has no earlier one."""
        return f"{self.key[0].value('a', self.key[0].before)} {_IS_NULL}"

    @property
    def is_removed(self) -> str:
        """The SQL of whether a joined row has no later one."""
        return f"{self.key[0].value('b', self.key[0].after)} {_IS_NULL}"

    def joined(self, kind: Literal["FULL", "INNER", "LEFT", "RIGHT"] = "FULL") -> str:
        """Return the SQL of rows of both, side by side: what follows FROM."""
        pairs = " AND ".join(pair.equal() for pair in self.key)
        return f"{self._told_apart('a')} {kind} JOIN {self._told_apart('b')} ON {pairs}"

    def _told_apart(self, alias: str) -> str:
        relation = (self.before if alias == "a" else self.after).quoted
        if self.faults is None:
            return f"{relation} AS {alias}"
        return (
            f"(SELECT {alias}.* FROM {relation} AS {alias} WHERE {self._is_told(alias)}) AS {alias}"
        )

    def _is_told(self, alias: str) -> str:
        """Return the SQL of whether a row has a key that no other row of either relation has."""
        conditions = [f"NOT {value} {_IS_NULL}" for value in self._key(alias)]
        for other in "ab":
            inner_names = [f"d.k{n}" for n in range(len(self.key))]
            # Each side in the place of its own, since their types may differ.
            same = " AND ".join(
                f"{one} = {two}" for one, two in zip(self._key(alias), inner_names, strict=True)
            )
            conditions.append(f"NOT EXISTS (SELECT FROM {self._repeated(other)} AS d WHERE {same})")
        return " AND ".join(conditions)

    def _key(self, alias: str) -> list[str]:
        return [pair.value(alias, pair.before if alias == "a" else pair.after) for pair in self.key]

    def _repeated(self, alias: str) -> str:
        relation = (self.before if alias == "a" else self.after).quoted
        keys = self._key(alias)
        named = ", ".join(f"{value} AS k{n}" for n, value in enumerate(keys))
        return (
            f"(SELECT {named} FROM {relation} AS {alias} GROUP BY {', '.join(keys)} "
            "HAVING count(*) > 1)"
        )

    def faults_of(self, connection: sa.Connection) -> KeyFaults | None:
        """Return the rows that the key does not tell apart; None where there are none."""
        if self.is_guaranteed or not self.key:
            return None
        found = [run(connection, self._faults_query(alias)).one() for alias in "ab"]
        (nulls_a, twice_a, some_a), (nulls_b, twice_b, some_b) = found
        if not any((nulls_a, twice_a, nulls_b, twice_b)):
            return None
        examples = tuple(dict.fromkeys([*some_b, *some_a]))[:EXAMPLES]
        return KeyFaults((int(nulls_a), int(nulls_b)), (int(twice_a), int(twice_b)), examples)

    def _faults_query(self, alias: str) -> str:
        relation = (self.before if alias == "a" else self.after).quoted
        keys = self._key(alias)
        has_null = " OR ".join(f"{value} {_IS_NULL}" for value in keys)
        text = ", ".join(f"coalesce(({value})::text, 'NULL')" for value in keys)
        return (
            f"WITH f AS (SELECT count(*) AS n, {has_null} AS has_null, "
            f"concat_ws(', ', {text}) AS k FROM {relation} AS {alias} GROUP BY {', '.join(keys)} "
            f"HAVING count(*) > 1 OR {has_null}) "
            "SELECT coalesce(sum(n) FILTER (WHERE has_null), 0), "
            "coalesce(sum(n) FILTER (WHERE NOT has_null), 0), "
            f"ARRAY(SELECT k FROM f ORDER BY n DESC, k LIMIT {EXAMPLES}) FROM f"
        )

    def counts(
        self, connection: sa.Connection, facts: Sequence[str] = (), most: int = 0
    ) -> "RowCounts":
        """Count the rows that differ, and by column those of the same key that differ in it.

        The relations are joined once, whatever is asked of the rows that differ.

        Args:
            connection: A transaction.
            facts: The SQL of texts about rows before (`a`).
            most: Of about so many rows that are changed or gone, these are returned.
        """
        if not self.key:
            before, after, added, removed = self._multiset(connection, rest=False)
            return RowCounts(RowDifference((), before, after, added, removed, None), {}, ())
        old, new = (self._count(connection, alias) for alias in "ab")
        found = run(connection, self._touched(facts, most))
        numbers, *seen = (values for _, values in sorted(found, key=lambda row: row[0]))
        removed, touched, *by_column = map(int, numbers)
        rest = (0, 0, 0, 0)
        if self.faults is not None:
            rest = self._multiset(connection, rest=True)
        rows = RowDifference(
            key=tuple(pair.name for pair in self.key),
            before=old + rest[0],
            after=new + rest[1],
            added=new - (old - removed) + rest[2],
            removed=removed + rest[3],
            changed=touched - removed,
            faults=self.faults,
        )
        names = (pair.name for pair in self.values)
        return RowCounts(rows, dict(zip(names, by_column, strict=True)), seen)

    def _count(self, connection: sa.Connection, alias: str) -> int:
        """Return the number of rows of a relation that the key tells apart."""
        known = self.known_rows[alias == "b"]
        if known is not None and self.faults is None:
            return known
        query = f"SELECT count(*) FROM {self._told_apart(alias)}"
        return int(run(connection, query).scalar_one())

    def _touched(self, facts: Sequence[str], most: int) -> str:
        """Return the query for counts and facts of rows that are changed or gone."""
        differ = "".join(f", {pair.differs()} AS d{n}" for n, pair in enumerate(self.values))
        shown = "".join(f", {fact} AS f{n}" for n, fact in enumerate(facts))
        key = f"hashtextextended(ROW({', '.join(self._key('a'))})::text, 0) & {HASHES - 1}"
        rows = (
            f"SELECT {self.is_removed} AS is_removed, {key} AS h{differ}{shown} "
            f"FROM {self.joined('LEFT')} WHERE {self.is_removed} OR {self.any_differs}"
        )
        by_column = "".join(
            f", count(*) FILTER (WHERE NOT is_removed AND d{n})" for n in range(len(self.values))
        )
        query = (
            f"WITH touched AS MATERIALIZED ({rows}) SELECT 0 AS place, ARRAY["
            f"count(*) FILTER (WHERE is_removed), count(*){by_column}]::text[] FROM touched"
        )
        if facts:
            listed = ", ".join(f"f{n}" for n in range(len(facts)))
            query += (
                f" UNION ALL SELECT 1, ARRAY[{listed}]::text[] FROM touched WHERE h < "
                f"(SELECT {most}::float8 * {HASHES} / greatest(count(*), 1) FROM touched)"
            )
        return query

    def _multiset(self, connection: sa.Connection, *, rest: bool) -> tuple[int, int, int, int]:
        """Count rows before and after, and those that are more often after, or before."""
        query = (
            "SELECT coalesce(sum(old), 0), coalesce(sum(new), 0), "
            "coalesce(sum(greatest(new - old, 0)), 0), coalesce(sum(greatest(old - new, 0)), 0) "
            f"FROM ({self._by_value(rest=rest)}) AS groups"
        )
        run(connection, "SET LOCAL enable_sort = off")  # by collations, it takes ten times as long
        before, after, added, removed = map(int, run(connection, query).one())
        run(connection, "SET LOCAL enable_sort = on")
        return before, after, added, removed

    def _by_value(self, *, rest: bool, shown: str = "") -> str:
        pairs = self.columns.pairs
        sides = []
        for alias, old in (("a", 1), ("b", 0)):
            relation = (self.before if alias == "a" else self.after).quoted
            values = [
                f"{pair.value(alias, pair.before if old else pair.after)} AS c{n}"
                for n, pair in enumerate(pairs)
            ]
            where = f" WHERE ({self._is_told(alias)}) IS NOT TRUE" if rest else ""
            listed = ", ".join([*values, f"{'true' if old else 'false'} AS is_old"])
            sides.append(f"SELECT {listed} FROM {relation} AS {alias}{where}")
        names = ", ".join(f"c{n}" for n in range(len(pairs)))
        return (
            f"SELECT {shown}count(*) FILTER (WHERE is_old) AS old, "
            f"count(*) FILTER (WHERE NOT is_old) AS new FROM ({' UNION ALL '.join(sides)}) "
            f"AS rows GROUP BY {names or '()'}"
        )

    def examples(self, connection: sa.Connection, most: int) -> Iterator[RowExample]:
        """Return some rows that differ, of each kind at most so many."""
        if not self.key or self.faults is not None:
            yield from self._examples_of_multiset(connection, most)
        if not self.key:
            return
        keys = ", ".join(
            f"coalesce(({a})::text, ({b})::text)"
            for a, b in zip(self._key("a"), self._key("b"), strict=True)
        )
        order = ", ".join(str(n + 1) for n in range(len(self.key)))
        values = ", ".join(
            f"({pair.differs()})::text, (a.{name})::text, (b.{name})::text"
            for pair in _shown(self.values)
            for name in [quoted(pair.name)]
        )
        conditions: dict[Literal["added", "removed", "changed"], str] = {
            "changed": f"NOT ({self.is_added} OR {self.is_removed}) AND ({self.any_differs})",
            "added": self.is_added,
            "removed": self.is_removed,
        }
        for what, condition in conditions.items():
            query = (
                f"SELECT {keys}, ARRAY[{values}]::text[] FROM {self.joined()} WHERE {condition} "
                f"ORDER BY {order} LIMIT {most}"
            )
            for *key, found in run(connection, query):
                yield self._example(what, key, found)

    def _example(
        self,
        what: Literal["added", "removed", "changed"],
        key: Sequence[str | None],
        found: Sequence[str | None],
    ) -> RowExample:
        sides = zip(_shown(self.values), found[::3], found[1::3], found[2::3], strict=True)
        values = {pair.name: (old, new) for pair, differs, old, new in sides if differs == "true"}
        named = {pair.name: value for pair, value in zip(self.key, key, strict=True)}
        return RowExample(what, named, values)

    def _examples_of_multiset(self, connection: sa.Connection, most: int) -> Iterator[RowExample]:
        pairs = self.columns.pairs
        places = range(len(_shown(pairs)))
        shown = "".join(f"(c{n})::text AS t{n}, " for n in places)
        inner = self._by_value(rest=bool(self.key), shown=shown)
        names = "".join(f"t{n}, " for n in places)
        kinds: tuple[tuple[Literal["added", "removed"], str], ...] = (
            ("added", "new - old"),
            ("removed", "old - new"),
        )
        for what, count in kinds:
            query = (
                f"SELECT {names}{count} FROM ({inner}) AS groups WHERE {count} > 0 "
                f"ORDER BY {count} DESC{''.join(f', t{n}' for n in places)} LIMIT {most}"
            )
            for *values, number in run(connection, query):
                row = {p.name: value for p, value in zip(_shown(pairs), values, strict=True)}
                yield RowExample(what, row, {}, int(number))


def _shown(pairs: Sequence[ColumnPair]) -> Sequence[ColumnPair]:
    """Return the columns whose values are shown; of very many not all can be."""
    return pairs[: _MOST_VALUES - len(pairs)]


def column_figures(
    connection: sa.Connection, relation: RelationName, columns: Sequence[ComparedColumn]
) -> dict[str, ColumnFigures]:
    """Return shares of NULL, sums and means of columns, in one scan where they are not many."""
    found: dict[str, ColumnFigures] = {}
    for start in range(0, len(columns), _MOST_COLUMNS):
        found |= _in_range(connection, relation, columns[start : start + _MOST_COLUMNS])
    return found


def _in_range(
    connection: sa.Connection, relation: RelationName, columns: Sequence[ComparedColumn]
) -> dict[str, ColumnFigures]:
    try:
        with connection.begin_nested():
            return _figures(connection, relation, columns, "float8")
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _OUT_OF_RANGE:
            raise
    # Sums of floats may be out of their range; those of numeric hardly can.
    return _figures(connection, relation, columns, "numeric")


def _figures(
    connection: sa.Connection,
    relation: RelationName,
    columns: Sequence[ComparedColumn],
    floats: str,
) -> dict[str, ColumnFigures]:
    parts = ["count(*)"]
    for column in columns:
        value = f"t.{quoted(column.name)}"
        parts.append(f"count({value})")
        if column.is_boolean:
            parts.append(f"count(*) FILTER (WHERE {value})")
        elif column.is_number:
            cast = f"::{floats}" if column.base.startswith("float") else ""
            parts.append(f"sum({value}{cast})")
        else:
            parts.append("NULL")
    query = f"SELECT {', '.join(parts)} FROM {relation.quoted} AS t"
    rows, *found = run(connection, query).one()
    return {
        column.name: _figure(rows, found[2 * n], found[2 * n + 1])
        for n, column in enumerate(columns)
    }


def _figure(rows: int, values: int, total: Any) -> ColumnFigures:
    share = 1 - values / rows if rows else None
    if total is None or not values:
        return ColumnFigures(share)
    number = float(total)
    return ColumnFigures(share, number, number / values)


def are_alike(one: ColumnFigures, other: ColumnFigures) -> bool:
    """Whether figures are the same; sums of floats depend on the order of rows."""
    pairs = ((one.null_share, other.null_share), (one.sum, other.sum), (one.mean, other.mean))
    return all(
        a == b
        or (
            a is not None
            and b is not None
            and (math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b)))
        )
        for a, b in pairs
    )
