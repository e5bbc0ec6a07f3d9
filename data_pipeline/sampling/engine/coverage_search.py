"""The frontier of a table: few rows, among them the first that shows each thing that any shows."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.engine.sampling_number import first_number, own_hash
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import (
    TID,
    SourceTable,
    naming_failures,
    refused,
)
from data_pipeline.sampling.key_hash import hash_threshold
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import AS_TEXT, GROUPED, ORDERED, type_kind


def check_coverage(
    connection: sa.Connection, plan: SamplePlan, sources: Mapping[str, SourceTable]
) -> None:
    """Check what is to be covered, of tables that come whole, too.

    Raises:
        ConfigurationError: The specification names a column that the table does not have, or a
            predicate that PostgreSQL does not understand.
    """
    for name, source in sources.items():
        table, columns = f"{plan.graph.stage}/{name}", source.table.c.keys()
        for column in (plan.columns or {}).get(name, ()):
            if column not in columns:
                raise ConfigurationError(
                    f"sample.cover.columns: table `{table}` has no column `{column}`. Its columns "
                    f"are {listed(columns)}."
                )
        for predicate, text in plan.predicates.get(name, {}).items():
            if reason := refused(connection, source.table, text):
                raise ConfigurationError(
                    f"sample.cover.predicates: PostgreSQL does not understand the predicate "
                    f"`{predicate}` of `{table}`, {text!r}: {reason}\n"
                    f"Write an SQL condition on its columns, which are {listed(columns)}."
                )


def naming_predicates(
    connection: sa.Connection, plan: SamplePlan, source: SourceTable
) -> AbstractContextManager[None]:
    """Name a predicate that fails on a row in the error of the block."""
    owner = f"`{plan.graph.stage}/{source.name}`"
    return naming_failures(
        connection,
        (
            (f"sample.cover.predicates: the predicate `{name}` of {owner}", source.table, text)
            for name, text in plan.predicates.get(source.name, {}).items()
        ),
    )


_PROBED = 20_000
"""Of a larger table, about so many rows are looked at first: those that samples have first."""

NUMBER, HASH = "data_pipeline_number", "data_pipeline_hash"
"""The columns of a frontier by which its rows are ordered."""


@dataclass(frozen=True)
class Seen:
    """What the probed rows show of a column.

    Attributes:
        column: The column.
        values: Its values, as a PostgreSQL array; None where they are too many, or no values to be
            told apart.
        count: The number of its values; where they are too many, those of the probed rows alone.
        least: Its least value as text (texts ordered by code point); None where there is none.
        greatest: The greatest one.
        has_null: Whether it is NULL anywhere.
        has_value: Whether it is not NULL anywhere.
    """

    column: sa.Column[Any]
    values: str | None
    count: int
    least: str | None
    greatest: str | None
    has_null: bool
    has_value: bool

    def is_unseen(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Return the condition that a value is none of the seen ones."""
        if self.values is None:
            raise AssertionError(f"the values of {self.column.name} are not known")
        if self.count == 0:  # NULL, too, differs from all of nothing
            return column.is_not(None)
        array = sa.cast(sa.literal(self.values, sa.Text), sa.ARRAY(self.column.type))
        return column != sa.all_(array)

    def is_less(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Return the condition that a value is less than all seen ones."""
        value = ordered(column)
        return column.is_not(None) if self.least is None else value < _typed(self.least, value)

    def is_greater(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Return the condition that a value is greater than all seen ones."""
        value = ordered(column)
        if self.greatest is None:
            return column.is_not(None)
        return value > _typed(self.greatest, value)


@dataclass(frozen=True)
class Frontier:
    """Those rows of a table of which some are the first to show something.

    Attributes:
        rows: Their places, numbers, hashes, the covered columns, and predicates as
            `predicate_<number>`.
        seen: What the probed rows, which are among them, show of the columns.
    """

    rows: sa.TableClause
    seen: tuple[Seen, ...]


def is_ordered(column: sa.ColumnElement[Any]) -> bool:
    """Whether a column has a least and a greatest value."""
    return type_kind(column.type) in ORDERED


def is_grouped(column: sa.ColumnElement[Any]) -> bool:
    """Whether values of a column can be told apart."""
    return type_kind(column.type) in GROUPED


def ordered(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a column in an order that does not depend on the database's locale."""
    kind = type_kind(column.type)
    if kind not in AS_TEXT:
        return column
    return sa.collate(column if kind == "text" else sa.cast(column, sa.Text), "C")


def frontier(
    state: SelectionState,
    table: str,
    columns: list[sa.Column[Any]],
    predicates: Mapping[str, str],
) -> Frontier:
    """Find the frontier of a table, in two scans.

    The rows that samples have first are probed. Of all others, those that they dominate (their
    values are among the probed categories, or between the extremes) are the first to show nothing.

    Raises:
        ConfigurationError: A predicate fails on a row.
    """
    with naming_predicates(state.connection, state.plan, state.sources[table]):
        every, low = _numbered(state, table, columns, predicates)
        probed = sa.select(every) if low is None else sa.select(every).where(low)
        with state.space.expecting_few_rows(if_=low is not None):
            probe, _ = state.space.create(probed, "probe", table, analyzed=False)
        seen, open_predicates = _seen(state, probe, columns, len(predicates))
        if low is None:
            return Frontier(probe, seen)
        conditions = [
            low,
            *(part for item in seen for part in _conditions(item, every.c[item.column.name])),
            *(every.c[f"predicate_{number}"] for number in open_predicates),
        ]
        with state.space.expecting_few_rows():
            query = sa.select(every).where(sa.or_(*conditions))
            rows, _ = state.space.create(query, "frontier", table, analyzed=False)
        return Frontier(rows, seen)


def _numbered(
    state: SelectionState,
    table: str,
    columns: list[sa.Column[Any]],
    predicates: Mapping[str, str],
) -> tuple[sa.Subquery, sa.ColumnElement[bool] | None]:
    """Return the rows of a table with what is to be covered, and the condition for the first ones.

    It is None where these would be all.
    """
    source = state.sources[table]
    flags = {f"predicate_{i}": text for i, text in enumerate(predicates.values())}
    rows = source.rows("rows", flags)
    number = first_number(state, table, rows)
    every = sa.select(
        rows.c[TID],
        number.label(NUMBER),
        own_hash(state, table, rows).label(HASH),
        *(rows.c[name] for name in (*(column.name for column in columns), *flags)),
    ).subquery("every")
    count = _about(state, source.table)
    below = None if count <= _PROBED else hash_threshold(_PROBED / count)
    if below is None:
        return every, None
    return every, every.c[NUMBER] < sa.cast(sa.literal(below, sa.BigInteger), sa.BigInteger)


def _about(state: SelectionState, table: sa.Table) -> float:
    """Return about how many rows a table has."""
    name = RelationName(table.schema or "public", table.name).quoted
    estimated = "SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)"
    found = float(state.connection.scalar(sa.text(estimated), {"name": name}) or 0)
    if found > _PROBED:
        return found
    return int(state.connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def _seen(
    state: SelectionState, probe: sa.TableClause, columns: list[sa.Column[Any]], predicates: int
) -> tuple[tuple[Seen, ...], list[int]]:
    """Return what probed rows show of columns, and which predicates none satisfies."""
    limit = state.plan.cover.category_limit
    parts = [part for column in columns for part in _looks(probe, column, limit)]
    flags = [
        sa.func.coalesce(sa.func.bool_or(probe.c[f"predicate_{number}"]), sa.false())
        for number in range(predicates)
    ]
    found = list(state.connection.execute(sa.select(*parts, *flags).select_from(probe)).one())
    seen = []
    for column in columns:
        (array, count), least, greatest, has_null, has_value = found[:5]
        del found[:5]
        values = (array or "{}") if is_grouped(column) and count <= limit else None
        seen.append(Seen(column, values, int(count), least, greatest, has_null, has_value))
    return tuple(seen), [number for number, holds in enumerate(found) if not holds]


def _looks(
    probe: sa.TableClause, column: sa.Column[Any], limit: int
) -> Iterator[sa.ColumnElement[Any]]:
    """Return five columns: values with their number, least, greatest, if it is NULL, and if not."""
    probed = probe.c[column.name]
    if is_grouped(column):
        other = probe.alias("other").c[column.name]
        distinct = sa.select(other.label("v")).where(other.is_not(None)).distinct()
        few = distinct.limit(limit + 1).subquery("few")
        array = sa.cast(sa.func.array_agg(few.c.v), sa.Text)
        yield sa.select(sa.func.json_build_array(array, sa.func.count())).scalar_subquery()
    else:
        yield sa.func.json_build_array(sa.null(), 0)
    if is_ordered(column):
        value = ordered(probed)
        yield sa.cast(sa.func.min(value), sa.Text)
        yield sa.cast(sa.func.max(value), sa.Text)
    else:
        yield sa.null()
        yield sa.null()
    yield sa.func.coalesce(sa.func.bool_or(probed.is_(None)), sa.false())
    yield sa.func.coalesce(sa.func.bool_or(probed.is_not(None)), sa.false())


def _conditions(seen: Seen, column: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions under which a row shows something new of a column."""
    found: list[sa.ColumnElement[bool]] = []
    if seen.values is not None:
        found.append(seen.is_unseen(column))
    elif is_ordered(seen.column):
        found += [seen.is_less(column), seen.is_greater(column)]
    elif not seen.has_value:
        found.append(column.is_not(None))
    if not seen.has_null and seen.column.nullable:
        found.append(column.is_(None))
    return found


def _typed(text: str, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    literal = sa.literal(text, sa.Text)
    is_text = isinstance(value.type, sa.String)
    return sa.collate(literal, "C") if is_text else sa.cast(literal, value.type)


_Row = TypeVar("_Row", bound=Hashable)


class ObligationKind(IntEnum):
    """What a witness shows; rare kinds first, in the order in which witnesses are chosen."""

    PREDICATE = 1
    LEAST = 2
    GREATEST = 3
    NULL = 4
    NOT_NULL = 5
    CATEGORY = 6


@dataclass(frozen=True, order=True)
class Obligation:
    """Something that a row of the sample must show.

    Attributes:
        kind: What it shows.
        number: The place of the column, or of the predicate, among those to be covered.
        name: The name of the column or predicate.
        value: The value as text, where the kind has one.
    """

    kind: ObligationKind
    number: int
    name: str
    value: str = ""

    def __str__(self) -> str:
        words = self.kind.name.lower().replace("_", " ")
        shown = f" {self.value!r}" if self.kind in _WITH_VALUE else ""
        return f"{words}: {self.name}{shown}"


_WITH_VALUE = (ObligationKind.LEAST, ObligationKind.GREATEST, ObligationKind.CATEGORY)


def witnesses(
    first: Mapping[Obligation, _Row], satisfied: Mapping[Obligation, Set[_Row]]
) -> dict[_Row, Obligation]:
    """Choose rows such that each obligation has one that satisfies it.

    Obligations are gone through in their order, which does not depend on the sample. Each takes the
    row that comes first for it, unless a row chosen before satisfies it. The first row is the one
    that a larger sample has first, too: once the obligation is met there without a witness, it is
    met by this very row. So larger samples of the same salt contain the witnesses of smaller ones.

    Args:
        first: The first row of all that satisfy an obligation.
        satisfied: Those of these rows that satisfy it.

    Returns:
        The chosen rows, each with the obligation that it was chosen for.
    """
    chosen: dict[_Row, Obligation] = {}
    for obligation in sorted(first):
        if not _any_of(satisfied.get(obligation, set()), chosen):
            chosen[first[obligation]] = obligation
    return chosen


def _any_of(rows: Iterable[_Row], chosen: Mapping[_Row, Obligation]) -> bool:
    return any(row in chosen for row in rows)
