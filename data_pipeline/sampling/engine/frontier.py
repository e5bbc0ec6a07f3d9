"""The frontier of a table: the rows that may show something that the sample does not show yet."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import sqlalchemy as sa

from data_pipeline.sampling.engine.sampling_number import own_number
from data_pipeline.sampling.engine.selection_state import Drawing
from data_pipeline.sampling.engine.source_tables import TID, SourceTable, Tid, is_true, refused
from data_pipeline.sampling.key_hash import hash_threshold
from data_pipeline.sampling.plan.rules import (
    FIRST_ROWS,
    check_covered,
    failing_predicate,
    wrong_predicate,
)
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import AS_TEXT, GROUPED, ORDERED, family


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
        check_covered(table, (plan.columns or {}).get(name, ()), columns)
        for predicate, text in plan.predicates.get(name, {}).items():
            if reason := refused(connection, source.table, text):
                raise wrong_predicate(table, predicate, text, reason, columns)


@contextmanager
def naming_predicates(
    connection: sa.Connection, plan: SamplePlan, source: SourceTable
) -> Iterator[None]:
    """Turn the error of a predicate that fails on a row into one that names it.

    Raises:
        ConfigurationError: It does.
    """
    predicates = plan.predicates.get(source.name, {})
    if not predicates:
        yield
        return
    try:
        with connection.begin_nested():
            yield
    except sa.exc.DataError:
        for name, text in predicates.items():
            if reason := _failure(connection, source.table, text):
                table = f"{plan.graph.stage}/{source.name}"
                raise failing_predicate(table, name, text, reason) from None
        raise


def _failure(connection: sa.Connection, table: sa.Table, text: str) -> str | None:
    """Say why a predicate fails on a row; None where it does not."""
    query: sa.Select[Any] = sa.select(sa.func.count()).select_from(table.alias("s"))
    try:
        with connection.begin_nested():
            connection.execute(query.where(is_true(text)))
    except sa.exc.DataError as error:
        return str(error.orig).strip()
    return None


_PROBED = 20_000


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
    """Rows of a table that may show something new.

    Attributes:
        rows: Their places, the covered columns, and predicates as `predicate_<number>`.
        seen: What the probed rows show of the columns.
        predicates: Names of the predicates that no probed row satisfies, by number.
        is_first: Whether the probed rows are no chosen ones but those that a sample would have
            first; they are among `rows` then.
    """

    rows: sa.TableClause
    seen: tuple[Seen, ...]
    predicates: Mapping[int, str]
    is_first: bool


def is_ordered(column: sa.ColumnElement[Any]) -> bool:
    """Whether a column has a least and a greatest value."""
    return family(column.type) in ORDERED


def is_grouped(column: sa.ColumnElement[Any]) -> bool:
    """Whether values of a column can be told apart."""
    return family(column.type) in GROUPED


def ordered(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a column in an order that does not depend on the database's locale."""
    kind = family(column.type)
    if kind not in AS_TEXT:
        return column
    return sa.collate(column if kind == "text" else sa.cast(column, sa.Text), "C")


def frontier(drawing: Drawing, table: str) -> Frontier | None:
    """Find the frontier of a table, in one scan; None where nothing is to be covered.

    A part of the chosen rows is probed. All rows that it dominates (their values are among its
    categories, or between its extremes) can show nothing that is not in the sample.

    Raises:
        ConfigurationError: A predicate fails on a row.
    """
    columns, predicates = _columns(drawing, table), drawing.plan.predicates.get(table, {})
    if not columns and not predicates:
        return None
    with naming_predicates(drawing.connection, drawing.plan, drawing.sources[table]):
        return _frontier(drawing, table, columns, predicates)


def _frontier(
    drawing: Drawing,
    table: str,
    columns: list[sa.Column[Any]],
    predicates: Mapping[str, str],
) -> Frontier:
    flags = {f"predicate_{i}": text for i, text in enumerate(predicates.values())}
    every = _with_flags(drawing, table, columns, flags)
    chosen = drawing.rows[table]
    count = int(drawing.connection.scalar(sa.select(sa.func.count()).select_from(chosen)) or 0)
    is_first = count < FIRST_ROWS and not drawing.is_sampled(table)
    limit = _first_rows(drawing, table, every) if is_first else None
    probed = sa.select(every).where(limit) if limit is not None else _some(every, chosen, count)
    probe, _ = drawing.space.create(probed, "probe", table)
    seen = tuple(_seen(drawing, probe, probe.c[column.name], column) for column in columns)
    open_predicates = {
        number: name
        for number, name in enumerate(predicates)
        if is_first or not _any(drawing, probe, probe.c[f"predicate_{number}"])
    }
    conditions = [
        *(part for item in seen for part in _conditions(item, every.c[item.column.name])),
        *(every.c[f"predicate_{number}"] for number in open_predicates),
        *([] if limit is None else [limit]),
    ]
    query = sa.select(every).where(sa.or_(sa.false(), *conditions))
    with drawing.space.expecting_few_rows():
        rows, _ = drawing.space.create(query, "frontier", table)
    return Frontier(rows, seen, open_predicates, is_first)


def _columns(drawing: Drawing, table: str) -> list[sa.Column[Any]]:
    columns = drawing.sources[table].table.c
    if drawing.plan.columns is None:
        return list(columns)
    return [columns[name] for name in drawing.plan.columns.get(table, ())]


def _with_flags(
    drawing: Drawing, table: str, columns: list[sa.Column[Any]], flags: Mapping[str, str]
) -> sa.Subquery:
    """Return rows of a table with covered columns, the key's hash and the predicates' values."""
    source = drawing.sources[table]
    rows = source.table.alias("s")
    place = sa.literal_column("s.ctid", Tid()).label(TID)
    needed = dict.fromkeys([*(column.name for column in columns), *source.key])
    values = [is_true(text).label(name) for name, text in flags.items()]
    return sa.select(place, *(rows.c[name] for name in needed), *values).subquery("every")


def _some(every: sa.Subquery, chosen: sa.TableClause, count: int) -> sa.Select[Any]:
    """Return some of the chosen rows, from everywhere in the table."""
    step = max(1, count // _PROBED)
    spread = sa.func.mod(sa.func.hashtid(chosen.c[TID], type_=sa.Integer), step) == 0
    query = sa.select(every).join(chosen, chosen.c[TID] == every.c[TID])
    return query if step == 1 else query.where(spread)


def _first_rows(drawing: Drawing, table: str, every: sa.Subquery) -> sa.ColumnElement[bool]:
    """Return the condition for the rows of a table that a sample of it would have first."""
    total = sa.select(sa.func.count()).select_from(drawing.sources[table].table)
    count = int(drawing.connection.scalar(total) or 0)
    below = hash_threshold(min(1.0, 2 * FIRST_ROWS / max(count, 1)))
    if below is None:
        return sa.true()
    number = own_number(drawing, table, every)
    return number < sa.cast(sa.literal(below, sa.BigInteger), sa.BigInteger)


def _seen(
    drawing: Drawing, probe: sa.TableClause, probed: sa.ColumnElement[Any], column: sa.Column[Any]
) -> Seen:
    extremes: list[sa.ColumnElement[Any]] = [sa.null(), sa.null()]
    count: sa.ColumnElement[int] = sa.literal(0)
    if is_ordered(column):
        value = ordered(probed)
        extremes = [sa.cast(sa.func.min(value), sa.Text), sa.cast(sa.func.max(value), sa.Text)]
    if is_grouped(column):
        count = sa.func.count(sa.distinct(probed))
    query = sa.select(
        count,
        *extremes,
        sa.func.coalesce(sa.func.bool_or(probed.is_(None)), sa.false()),
        sa.func.coalesce(sa.func.bool_or(probed.is_not(None)), sa.false()),
    ).select_from(probe)
    number, least, greatest, has_null, has_value = drawing.connection.execute(query).one()
    values = None
    if is_grouped(column) and number <= drawing.plan.cover.category_limit:
        array = sa.func.array_agg(sa.distinct(probed)).filter(probed.is_not(None))
        text = sa.select(sa.cast(array, sa.Text)).select_from(probe)
        values = drawing.connection.scalar(text) or "{}"
    return Seen(column, values, int(number), least, greatest, has_null, has_value)


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


def _any(drawing: Drawing, probe: sa.TableClause, condition: sa.ColumnElement[Any]) -> bool:
    query = sa.select(sa.func.coalesce(sa.func.bool_or(condition), sa.false())).select_from(probe)
    return bool(drawing.connection.scalar(query))


def _typed(text: str, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    literal = sa.literal(text, sa.Text)
    is_text = isinstance(value.type, sa.String)
    return sa.collate(literal, "C") if is_text else sa.cast(literal, value.type)


_Row = TypeVar("_Row", bound=Hashable)


class Kind(IntEnum):
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

    kind: Kind
    number: int
    name: str
    value: str = ""

    def __str__(self) -> str:
        words = self.kind.name.lower().replace("_", " ")
        shown = f" {self.value!r}" if self.kind in _WITH_VALUE else ""
        return f"{words}: {self.name}{shown}"


_WITH_VALUE = (Kind.LEAST, Kind.GREATEST, Kind.CATEGORY)


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
