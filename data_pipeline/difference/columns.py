"""The columns of two versions of a table, and how PostgreSQL compares their values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.difference.result import SchemaDifference

_COLUMNS = stored_query(__file__, "columns_of_relation")
_FLOATS = frozenset({"float4", "float8"})
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric", *_FLOATS})
_TIMES = frozenset({"date", "timestamp", "timestamptz"})
_WORDS = frozenset({"bool", "text", "varchar", "bpchar", "name", "citext"})
_LARGEST, _SMALLEST = "1e60", "1e-60"  # fourth powers of sums are within the range of floats
# Undefined operator or function, types that do not match, no common collation.
_NOT_COMPARABLE = frozenset({"42883", "42804", "42P22", "42725", "42846"})


@dataclass(frozen=True)
class ComparedColumn:
    """A column of a relation.

    Attributes:
        name: Its name.
        type: Its type, as PostgreSQL writes it.
        is_not_null: Whether it is declared so.
        collation: The number of its collation; None where its type has none.
        base: The name of the type below all domains.
        is_enum: Whether that is an enum.
        has_equality: Whether PostgreSQL can tell whether two of its values are equal.
        schemas: The schemas of its types, but for PostgreSQL's own.
    """

    name: str
    type: str
    is_not_null: bool
    collation: int | None
    base: str
    is_enum: bool
    has_equality: bool
    schemas: Sequence[str]

    @property
    def is_number(self) -> bool:
        """Whether its values have a sum."""
        return self.base in _NUMBERS

    def as_float(self, value: str) -> str:
        """Return the SQL of a number as double precision.

        It is NULL where that is too large to compute with (NaN, infinite), and 0 where too small.
        """
        if self.base.startswith("int"):
            return f"{value}::float8"
        return (
            f"(CASE WHEN abs({value}) BETWEEN {_SMALLEST} AND {_LARGEST} THEN {value}::float8 "
            f"WHEN {value} BETWEEN -1 AND 1 THEN 0 END)"
        )

    @property
    def is_boolean(self) -> bool:
        """Whether its values are true or false."""
        return self.base == "bool"

    @property
    def is_time(self) -> bool:
        """Whether its values are moments or days."""
        return self.base in _TIMES

    @property
    def is_word(self) -> bool:
        """Whether its values may be categories."""
        return self.is_enum or self.base in _WORDS


def read_columns(connection: sa.Connection, relation: RelationName) -> tuple[ComparedColumn, ...]:
    """Return the columns of a relation, in their order."""
    found = run(connection, _COLUMNS.format(relation=literal(relation.quoted)))
    return tuple(ComparedColumn(*item) for item in found)


@dataclass(frozen=True)
class ColumnPair:
    """A column that both versions have, and how its values are compared.

    Attributes:
        before: The column of the earlier version.
        after: That of the later one.
        as_text: Whether the texts are compared, since the type has no equality.
        tolerance: How far floats may be apart and count as equal.
        common: The type that both are cast to; None: each is compared as what it is.
    """

    before: ComparedColumn
    after: ComparedColumn
    as_text: bool = False
    tolerance: float = 0.0
    common: str | None = None

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.before.name

    def value(self, alias: str, column: ComparedColumn) -> str:
        """Return the SQL of a value, as it is compared and grouped by."""
        own = f"{alias}.{quoted(self.name)}"
        if self.common is not None:
            own = f"({own})::{self.common}"
        if self.as_text:
            return f'({own})::text COLLATE "C"'
        if self.before.collation != self.after.collation and column.collation is not None:
            return f'{own} COLLATE "C"'
        return own

    def equal(self) -> str:
        """Return the SQL of whether the values of `a` and `b` are equal; NULL equals nothing."""
        return f"{self.value('a', self.before)} = {self.value('b', self.after)}"

    def differs(self) -> str:
        """Return the SQL of whether the values of `a` and `b` differ."""
        one, other = self.value("a", self.before), self.value("b", self.after)
        distinct = f"{one} IS DISTINCT FROM {other}"
        if not self.tolerance:
            return distinct
        one, other, far = f"{one}::float8", f"{other}::float8", repr(self.tolerance)
        near = f"{one} BETWEEN {other} - {far} AND {other} + {far}"
        return f"({distinct} AND ({near}) IS NOT TRUE)"


@dataclass(frozen=True)
class TableColumns:
    """The columns of both versions.

    Attributes:
        pairs: Those that are compared, in the order of the later version.
        uncompared: Why those are not that both versions have, by name.
        schema: What differs in the declarations; None: nothing.
        schemas: Where PostgreSQL finds the operators of their types.
    """

    pairs: tuple[ColumnPair, ...]
    uncompared: Mapping[str, str]
    schema: SchemaDifference | None
    schemas: tuple[str, ...]

    def pair(self, name: str) -> ColumnPair | None:
        """Return a compared column by its name."""
        return next((pair for pair in self.pairs if pair.name == name), None)


def schemas_of(*sides: Sequence[ComparedColumn]) -> tuple[str, ...]:
    """Return the schemas of the types of columns, where operators of extensions lie, too."""
    return tuple(sorted({schema for side in sides for column in side for schema in column.schemas}))


def pair_columns(
    connection: sa.Connection,
    before: tuple[RelationName, Sequence[ComparedColumn], Sequence[str]],
    after: tuple[RelationName, Sequence[ComparedColumn], Sequence[str]],
    *,
    ignored: Collection[str],
    tolerance: float,
    has_views: bool = False,
) -> TableColumns:
    """Pair the columns of two versions of a table by their names.

    Args:
        connection: A transaction whose search path has the schemas of their types.
        before: The earlier relation, its columns and its key.
        after: The later one's.
        ignored: Columns that are left out.
        tolerance: How far floats may be apart and count as equal.
        has_views: Whether one is a view, of which no nullability is known.
    """
    old = {column.name: column for column in before[1] if column.name not in ignored}
    new = {column.name: column for column in after[1] if column.name not in ignored}
    pairs, uncompared = [], {}
    for name in (name for name in new if name in old):
        both = old[name], new[name]
        floats = all(column.base in _FLOATS for column in both)
        pair = ColumnPair(*both, tolerance=tolerance if floats else 0.0)
        if not all(column.has_equality for column in both):
            same = both[0].type == both[1].type
            pair = replace(pair, as_text=same)
        is_alike = both[0].type == both[1].type and both[0].collation == both[1].collation
        if is_alike or _is_comparable(connection, before[0], after[0], pair):
            pairs.append(pair)
        else:
            uncompared[name] = (
                f"its type changed from {both[0].type} to {both[1].type}, which PostgreSQL does "
                "not compare with each other"
            )
    schema = _schema(old, new, before[2], after[2], has_views=has_views)
    return TableColumns(tuple(pairs), uncompared, schema, schemas_of(before[1], after[1]))


def with_common_type(
    connection: sa.Connection, before: RelationName, after: RelationName, pair: ColumnPair
) -> ColumnPair:
    """Return a pair of key columns whose values are told apart alike in both versions.

    Keys that differ as bigint may be equal as double precision. Where the types differ, both are
    cast to the type that PostgreSQL gives to a union of them.
    """
    if pair.as_text or pair.before.base == pair.after.base:
        return pair
    name = quoted(pair.name)
    union = (
        f"SELECT a.{name} FROM {before.quoted} AS a WHERE false UNION ALL "
        f"SELECT b.{name} FROM {after.quoted} AS b WHERE false"
    )
    query = (
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname) FROM pg_type t "
        "JOIN pg_namespace n ON n.oid = t.typnamespace "
        f"WHERE t.oid = pg_typeof((SELECT u.v FROM ({union}) AS u(v)))"
    )
    return replace(pair, common=str(run(connection, query).scalar_one()))


def _is_comparable(
    connection: sa.Connection, before: RelationName, after: RelationName, pair: ColumnPair
) -> bool:
    """Ask PostgreSQL whether values of two types have an equality, and a common type."""
    one, other = pair.value("a", pair.before), pair.value("b", pair.after)
    tables = f"{before.quoted} AS a, {after.quoted} AS b"
    query = (
        f"SELECT {pair.equal()} FROM {tables} WHERE false; "
        f"SELECT {one} FROM {before.quoted} AS a WHERE false UNION ALL "
        f"SELECT {other} FROM {after.quoted} AS b WHERE false"
    )
    try:
        with connection.begin_nested():
            run(connection, query)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _NOT_COMPARABLE:
            raise
        return False
    return True


def _schema(
    old: Mapping[str, ComparedColumn],
    new: Mapping[str, ComparedColumn],
    old_key: Sequence[str],
    new_key: Sequence[str],
    *,
    has_views: bool,
) -> SchemaDifference | None:
    both = [name for name in new if name in old]
    changes = [
        *(
            f"`{name}` changed its type from {old[name].type} to {new[name].type}"
            for name in both
            if old[name].type != new[name].type
        ),
        *(
            f"`{name}` has another collation"
            for name in both
            if old[name].type == new[name].type and old[name].collation != new[name].collation
        ),
        *(
            f"`{name}` {'is NOT NULL now' if new[name].is_not_null else 'may be NULL now'}"
            for name in both
            if old[name].is_not_null != new[name].is_not_null and not has_views
        ),
    ]
    if tuple(old_key) != tuple(new_key):
        changes.append(f"the primary key was ({_listed(old_key)}), and is ({_listed(new_key)})")
    added = tuple(f"{name} {new[name].type}" for name in new if name not in old)
    removed = tuple(f"{name} {old[name].type}" for name in old if name not in new)
    if not (changes or added or removed):
        return None
    return SchemaDifference(added, removed, tuple(changes))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
