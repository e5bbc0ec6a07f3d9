"""The comparison of two versions: which tables differ, and what differs in each of them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.database.relations import read_shapes
from data_pipeline.difference.columns import (
    ComparedColumn,
    TableColumns,
    pair_columns,
    read_columns,
    schemas_of,
    with_common_type,
)
from data_pipeline.difference.effect_on_full.samples import Sample, relations_with_roles, sample_of
from data_pipeline.difference.result import (
    ColumnDifference,
    Difference,
    RowDifference,
    RowExample,
    Slice,
    Status,
    TableDifference,
)
from data_pipeline.difference.rows import (
    MOST_ROWS_WITHOUT_KEY,
    RowComparison,
    RowCounts,
    are_alike,
    column_figures,
)
from data_pipeline.difference.snapshot import snapshot
from data_pipeline.difference.versions import TableVersion, Version, VersionName, chosen_tables
from data_pipeline.difference.where_rows_differ import LOOKED_AT, SliceSearch
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.store.table_properties import KEY_DECLARATION

_LARGEST_TOLERANCE = 1e290  # what is added to the largest float must not overflow
_ORDER: Sequence[Status] = (
    "not compared",
    "changed",
    "not kept",
    "schema",
    "added",
    "gone",
    "sample only",
    "view",
    "equal",
)


@dataclass(frozen=True)
class ComparisonOptions:
    """What a comparison looks at.

    Attributes:
        ignore: Columns that are left out, as `column`, `table.column` or `stage/table.column`.
        tolerance: How far floats may be apart and count as equal.
        rows: So many rows that differ are shown of each kind.
        slices: Whether it is looked for where the rows are that differ.
        most_rows_without_key: See `MOST_ROWS_WITHOUT_KEY`.
    """

    ignore: tuple[str, ...] = ()
    tolerance: float = 0.0
    rows: int = 0
    slices: bool = True
    most_rows_without_key: int = MOST_ROWS_WITHOUT_KEY

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= _LARGEST_TOLERANCE:
            raise ConfigurationError(
                f"A tolerance of {self.tolerance} is impossible. Give how far floats may be apart "
                "and count as equal, such as 1e-9."
            )
        if self.rows < 0:
            raise ConfigurationError(f"{self.rows} rows cannot be shown. Give 0 or more.")

    def ignored(self, table: StageTable, columns: Collection[str]) -> set[str]:
        """Return the columns of a table that are left out."""
        own = {f"{table.name}.", f"{table}."}
        return {
            name
            for name in columns
            if {name, *(f"{place}{name}" for place in own)} & {*self.ignore}
        }


def compare(
    before: VersionName, after: VersionName, tables: Collection[str], options: ComparisonOptions
) -> Difference:
    """Compare two versions.

    Args:
        before: The earlier one.
        after: The later one.
        tables: Which tables, as `table` or `stage/table`, or all of a stage; none: all.
        options: What is looked at.

    Raises:
        ConfigurationError: There is no such table, or they are in different databases.
        TableNotFoundError: There is nothing in one of the versions.
        DatabaseError: The database refused a query.
    """

    def chosen(one: Version, other: Version) -> list[StageTable]:
        known = {*one.tables, *other.tables}
        if not (one.is_whole and other.is_whole):
            partial = [version.tables for version in (one, other) if not version.is_whole]
            known = set.intersection(*map(set, partial))
        return chosen_tables(tables, known) if tables else sorted(known, key=str)

    def to_read(one: Version, other: Version) -> list[RelationName]:
        pairs = ((one.tables.get(t), other.tables.get(t)) for t in chosen(one, other))
        roles = relations_with_roles(one, other)
        return roles + [
            relation
            for a, b in pairs
            if a is not None and b is not None and not _is_same(a, b)
            for relation in (a.relation, b.relation)
            if relation is not None
        ]

    with snapshot(before, after, to_read) as (connection, one, other):
        sampled = sample_of(connection, one, other)
        is_paired = sampled is None or sampled.kind == "paired"
        pairs = {t: (one.tables.get(t), other.tables.get(t)) for t in chosen(one, other)}
        if not is_paired:  # raw tables, say, are in full alone
            pairs = {t: both for t, both in pairs.items() if all(both) and t.stage != SAMPLE_STAGE}
        shown = frozenset(_shown(pairs.values()))
        found = [
            _Table(connection, table, options, sampled, shown).compare(*both)
            for table, both in pairs.items()
        ]
        notes = list(sampled.notes(connection, found, pairs.values())) if sampled else []
    ordered = sorted(found, key=lambda item: (_ORDER.index(item.status), item.table))
    return Difference(str(before), str(after), tuple(ordered), (*one.notes, *other.notes, *notes))


def compare_table(
    connection: sa.Connection,
    table: StageTable,
    a: TableVersion | None,
    b: TableVersion | None,
    options: ComparisonOptions,
    sample: Sample | None = None,
) -> TableDifference:
    """Compare two versions of a table, of which one may not be there.

    Args:
        connection: A transaction of one snapshot, in which the table is not replaced.
        table: Stage and name.
        a: The earlier version.
        b: The later one.
        options: What is looked at.
        sample: The sample that takes part.
    """
    return _Table(connection, table, options, sample).compare(a, b)


def _shown(
    pairs: Iterable[tuple[TableVersion | None, TableVersion | None]],
) -> Iterator[str]:
    """Return the relations of tables as the state of a view names what it shows."""
    for _, later in pairs:
        if later is not None and later.relation is not None:
            relation = later.relation
            yield f"{relation.schema}.{relation.name}"
            yield f"{quoted(relation.schema)}.{relation.name}"


def _is_same(a: TableVersion, b: TableVersion) -> bool:
    """Whether two versions have the same rows, as their data versions tell."""
    return a.row.data_version == b.row.data_version and a.row.kind == b.row.kind


@dataclass(frozen=True)
class _Table:
    """The comparison of one table.

    Attributes:
        connection: A transaction of one snapshot.
        table: Stage and name.
        options: What is looked at.
        sample: The sample that takes part.
        compared: The relations of all tables that are compared, as views name what they show.
    """

    connection: sa.Connection
    table: StageTable
    options: ComparisonOptions
    sample: Sample | None = None
    compared: frozenset[str] = frozenset()

    def compare(self, a: TableVersion | None, b: TableVersion | None) -> TableDifference:
        if a is None or b is None:
            there = a or b
            assert there is not None  # noqa: S101 # it is of one of the versions
            count = there.row.row_count
            if a:
                return TableDifference(str(self.table), "gone", rows_before=count)
            return TableDifference(str(self.table), "added", rows_after=count)
        found = self._of_both(a, b)
        by_hand = [f"{item.change}, since it was built" for item in (a, b) if item.change]
        return replace(found, notes=(*found.notes, *dict.fromkeys(by_hand)))

    def _of_both(self, a: TableVersion, b: TableVersion) -> TableDifference:
        plain = TableDifference(
            str(self.table), "equal", rows_before=a.row.row_count, rows_after=b.row.row_count
        )
        if _is_same(a, b) and (
            a.relation == b.relation or a.relation is None or b.relation is None
        ):
            return plain
        if a.missing is not None and b.is_same_view(a) and b.shows and b.shows <= self.compared:
            return replace(plain, status="view")
        for item in (a, b):
            if item.missing is not None:
                return replace(plain, status="not kept", notes=(item.missing,))
        is_against_full = self.sample is not None and self.sample.kind != "paired"
        if (a.relation is None or b.relation is None) and is_against_full:
            return replace(plain, status="sample only", notes=("it is a blob",))
        if a.relation is None or b.relation is None:
            note = "it is a blob: its content differs"
            if a.row.kind != b.row.kind:
                note = f"it was a {a.row.kind}, and is a {b.row.kind}"
            return replace(plain, status="changed", notes=(note,))
        return self._of_relations(a, b, a.relation, b.relation, plain)

    def _of_relations(
        self,
        a: TableVersion,
        b: TableVersion,
        before: RelationName,
        after: RelationName,
        plain: TableDifference,
    ) -> TableDifference:
        sides = [read_columns(self.connection, relation) for relation in (before, after)]
        shapes = read_shapes(self.connection, [before, after])
        keys = [
            _key(shapes[relation].key, version, columns)
            for relation, version, columns in zip((before, after), (a, b), sides, strict=True)
        ]
        names = [column.name for side in sides for column in side]
        schemas = ", ".join(map(quoted, schemas_of(*sides))) or "''"
        run(self.connection, f"SET LOCAL search_path = {schemas}")
        has_views = any(shapes[relation].kind == "v" for relation in (before, after))
        columns = pair_columns(
            self.connection,
            (before, sides[0], keys[0]),
            (after, sides[1], keys[1]),
            ignored=self.options.ignored(self.table, names),
            tolerance=self.options.tolerance,
            has_views=has_views,
        )
        plain = replace(plain, schema=columns.schema)
        if _is_same(a, b):
            return replace(plain, status="schema" if columns.schema else "equal")
        if self.sample is not None and self.sample.kind != "paired":
            return self.sample.against_full(self.connection, a, b, columns.pairs, plain)
        is_guaranteed = (
            bool(keys[0])
            and keys[0] == keys[1]
            and all(shapes[relation].key for relation in (before, after))
            and not (a.change or b.change)  # tables that inherit from it may repeat its keys
        )
        key, problem = self._common_key(columns, *keys)
        if problem is None and not key:
            problem = self._too_large(a, b, before, after)
        if problem is not None:
            return replace(plain, status="not compared", notes=(problem,))
        pairs = tuple(
            with_common_type(self.connection, before, after, pair)
            for name in key
            if (pair := columns.pair(name)) is not None
        )
        known = [None if item.change else item.row.row_count for item in (a, b)]
        comparison = RowComparison(
            before,
            after,
            columns,
            pairs,
            is_guaranteed and not any(pair.common for pair in pairs),
            known_rows=(known[0], known[1]),
            has_views=has_views,
        )
        comparison = replace(comparison, faults=comparison.faults_of(self.connection))
        return self._of_rows(a, b, comparison, plain)

    def _common_key(
        self, columns: TableColumns, old: Sequence[str], new: Sequence[str]
    ) -> tuple[Sequence[str], str | None]:
        """Return the key that rows are paired by, or why there is none that could be."""
        for key in filter(None, (new, old)):
            if all(columns.pair(name) is not None for name in key):
                return key, None
            for name in key:
                if name in columns.uncompared:
                    reason = columns.uncompared[name]
                    return (), f"its rows cannot be paired: of the key column `{name}`, {reason}"
        return (), None

    def _too_large(
        self, a: TableVersion, b: TableVersion, before: RelationName, after: RelationName
    ) -> str | None:
        rows = sum(
            item.row.row_count
            if item.row.row_count is not None
            else int(run(self.connection, f"SELECT count(*) FROM {relation.quoted}").scalar_one())
            for item, relation in ((a, before), (b, after))
        )
        if rows <= self.options.most_rows_without_key:
            return None
        return (
            f"it has no primary key that both versions have, and {rows:,} rows are too many to "
            f"compare without one. Declare its key: {KEY_DECLARATION}, or `primary_key=` of "
            "`Stage.table`."
        )

    def _of_rows(
        self, a: TableVersion, b: TableVersion, comparison: RowComparison, plain: TableDifference
    ) -> TableDifference:
        search = self._search(comparison)
        facts = search.facts if search else ()
        counted = comparison.counts(self.connection, facts, LOOKED_AT)
        rows = counted.rows
        notes = tuple(self._notes(comparison, rows))
        plain = replace(
            plain, rows=rows, rows_before=rows.before, rows_after=rows.after, notes=notes
        )
        if not rows.different:
            return replace(plain, status="schema" if plain.schema else "equal")
        columns = tuple(self._columns(a, b, comparison, rows, counted.by_column))
        slices = tuple(self._slices(search, counted)) if search else ()
        examples: tuple[RowExample, ...] = ()
        if self.options.rows:
            examples = tuple(comparison.examples(self.connection, self.options.rows))
        effect = None
        if self.sample is not None:
            effect = self.sample.effect(self.connection, a, b, comparison, columns)
        return replace(
            plain,
            status="changed",
            columns=columns,
            slices=slices,
            effect=effect,
            examples=examples,
        )

    def _search(self, comparison: RowComparison) -> SliceSearch | None:
        """Return the search for slices; None where there is none to be made."""
        if not (self.options.slices and comparison.key) or comparison.faults is not None:
            return None
        total = comparison.known_rows[0]
        if total is None:
            query = f"SELECT count(*) FROM {comparison.before.quoted}"
            total = int(run(self.connection, query).scalar_one())
        return SliceSearch(self.connection, comparison, total)

    def _slices(self, search: SliceSearch, counted: RowCounts) -> Iterator[Slice]:
        rows = counted.rows
        search.touched = rows.removed + (rows.changed or 0)
        if search.touched:
            yield from search.slices(counted.seen)
        elif rows.before:
            added = SliceSearch(
                self.connection, search.comparison, rows.after, is_added=True, touched=rows.added
            )
            yield from added.slices(added.added_rows())

    def _columns(
        self,
        a: TableVersion,
        b: TableVersion,
        comparison: RowComparison,
        rows: RowDifference,
        by_column: dict[str, int],
    ) -> Iterator[ColumnDifference]:
        pairs = comparison.columns.pairs
        if not (rows.added or rows.removed):  # the figures of other columns are the same
            pairs = tuple(pair for pair in pairs if by_column.get(pair.name))
        old = column_figures(self.connection, comparison.before, [p.before for p in pairs])
        new = column_figures(self.connection, comparison.after, [p.after for p in pairs])
        is_same_code = _is_same_code(a, b)
        for pair in sorted(pairs, key=lambda pair: -by_column.get(pair.name, 0)):
            changed = by_column.get(pair.name)
            if changed or (not changed and not are_alike(old[pair.name], new[pair.name])):
                yield ColumnDifference(
                    pair.name,
                    changed if rows.key else None,
                    old[pair.name],
                    new[pair.name],
                    pair.as_text,
                    made_anew=is_same_code and bool(changed),
                )

    def _notes(self, comparison: RowComparison, rows: RowDifference) -> Iterator[str]:
        columns = comparison.columns
        for name, reason in columns.uncompared.items():
            yield f"`{name}` is not compared: {reason}"
        if texts := [f"`{pair.name}`" for pair in columns.pairs if pair.as_text]:
            yield f"compared as texts, since their types have no equality: {', '.join(texts)}"
        if not rows.key:
            yield "there is no primary key that both versions have, so rows are only counted"
            if any(pair.tolerance for pair in columns.pairs):
                yield "without a key, floats are compared without the tolerance"


def _key(
    constraint: Sequence[str], version: TableVersion, columns: Sequence[ComparedColumn]
) -> tuple[str, ...]:
    """Return the key of a relation: that of the database, or the declared one."""
    declared = version.row.declared.primary_key
    names = {column.name for column in columns}
    return tuple(constraint) or (declared if {*declared} <= names else ())


def _is_same_code(a: TableVersion, b: TableVersion) -> bool:
    """Whether the same code has made both of the same inputs, be it in two instances."""
    if a.row.code_version is None or a.row.code_version != b.row.code_version:
        return False
    one, other = (
        {name.partition("/")[2]: version for name, version in item.row.inputs.items()}
        for item in (a, b)
    )
    return one == other and None not in one.values()
