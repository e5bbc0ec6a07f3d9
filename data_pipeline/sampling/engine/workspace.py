"""The working tables of a selection: where they are, what they are called, what they hold."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import (
    lock_for_transaction,
    sampling_lock_name,
    try_for_transaction,
)
from data_pipeline.database.connection import ensure_schema, run
from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES, RelationName, quoted
from data_pipeline.database.session_settings import FOR_LARGE_QUERIES
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.earlier.copies import EarlierCopy
from data_pipeline.sampling.earlier.source_facts import SourceFacts
from data_pipeline.sampling.engine.source_tables import TID, Tid

# The planner needs little of working tables, which are joined and gone.
_SETTINGS = f"{FOR_LARGE_QUERIES}; SET LOCAL default_statistics_target = 10"
_PURPOSE = re.compile("[0-9a-f]{8}_")
_DROPPED = sa.text(
    "SELECT relname FROM pg_class "
    "WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')"
)


@dataclass
class Workspace:
    """Working tables of one stage of one instance, of one pipeline.

    They are no temporary tables, since those rule out parallel plans and other sessions.

    Attributes:
        connection: A transaction.
        schema: Where they are.
        stage: What they are for, a stage and what is copied to it; others may be beside them.
        facts: What is known of the source.
        outputs: The tables whose copies may be written while their rows are chosen, and whether
            they are to be unlogged.
        earlier: Copies that are there as an earlier draw has made them.
        made: The working tables that were made, which may be made again.
    """

    connection: sa.Connection
    schema: str
    stage: str
    facts: SourceFacts = field(default_factory=SourceFacts)
    outputs: Mapping[str, bool] = field(default_factory=dict)
    earlier: Mapping[str, EarlierCopy] = field(default_factory=dict)
    made: set[RelationName] = field(default_factory=set)

    @classmethod
    def open(
        cls, connection: sa.Connection, schema: str, stage: str, facts: SourceFacts | None = None
    ) -> "Workspace":
        """Make room for the working tables of a stage."""
        ensure_schema(connection, schema)
        run(connection, _SETTINGS)
        space = cls(connection, schema, stage, facts or SourceFacts())
        space.drop_leftovers()
        return space

    def name(self, *parts: str) -> RelationName:
        """Name the working table of a purpose."""
        return work_table(self.schema, self.stage, *parts)

    def create(
        self, query: sa.Executable, *parts: str, analyzed: bool = True
    ) -> tuple[sa.TableClause, int]:
        """Make a working table of a query; return it, and its number of rows.

        Args:
            query: The query.
            parts: What it is for.
            analyzed: Whether the planner is to know what it holds: where it is joined.
        """
        table, rows = self.write(query, *parts)
        if analyzed:
            self.analyze(self.name(*parts))
        return table, rows

    def write(
        self, query: sa.Executable, *parts: str, unlogged: bool = True
    ) -> tuple[sa.TableClause, int]:
        """Make a table of a query, which may stay; return it, and its number of rows."""
        name = self.name(*parts)
        text = compiled(query)
        kind = "UNLOGGED TABLE" if unlogged else "TABLE"
        if name in self.made:
            run(self.connection, f"DROP TABLE IF EXISTS {name.quoted}")
        self.made.add(name)
        rows = self._execute(f"CREATE {kind} {name.quoted} AS {text}")
        columns = [sa.column(c.name, c.type) for c in _columns(query)]
        return sa.table(name.name, *columns, schema=name.schema), rows

    def refill(self, table: sa.TableClause, statement: str) -> int:
        """Empty a working table and fills it by a statement; gives how many rows that adds.

        A table that is dropped keeps its lock until the transaction ends, and so does the next one
        of its name, so a loop of many turns must use its tables again. The planner still expects
        as many rows in a page as when the table was made.

        Args:
            table: A working table of this transaction.
            statement: What fills it.
        """
        name = RelationName(table.schema or "public", table.name)
        run(self.connection, f"TRUNCATE {name.quoted}")
        return self._execute(statement)

    def index(self, table: sa.TableClause, column: str) -> None:
        """Make an index, for many searches for few rows."""
        name = RelationName(table.schema or "public", table.name)
        run(self.connection, f"CREATE INDEX ON {name.quoted} ({quoted(column)})")

    @contextmanager
    def sorting(self, *, if_: bool) -> Iterator[None]:
        """Let rows be grouped by sorting, which takes next to no time if they lie in order."""
        run(self.connection, f"SET LOCAL enable_hashagg = {'off' if if_ else 'on'}")
        yield
        run(self.connection, "SET LOCAL enable_hashagg TO DEFAULT")

    @contextmanager
    def without_nested_loops(self, *, if_: bool) -> Iterator[None]:
        """Let whole tables be joined by hashes, also where the planner expects a single row.

        It does so of rows of a population that refer to others by several columns, as if these had
        nothing to do with each other, and would read a table anew for each of what are thousands.
        """
        run(self.connection, f"SET LOCAL enable_nestloop = {'off' if if_ else 'on'}")
        yield
        run(self.connection, "SET LOCAL enable_nestloop TO DEFAULT")

    @contextmanager
    def expecting_few_rows(self, *, if_: bool = True) -> Iterator[None]:
        """Let scans run in parallel of which the planner expects many rows, but which find few."""
        run(self.connection, f"SET LOCAL parallel_tuple_cost TO {'0' if if_ else 'DEFAULT'}")
        yield
        run(self.connection, "SET LOCAL parallel_tuple_cost TO DEFAULT")

    def insert(self, target: sa.TableClause, query: sa.Select[Any]) -> int:
        """Add the rows of a query to a working table; gives how many."""
        names = [column.name for column in query.selected_columns]
        return self._execute(compiled_insert(target, names, query))

    def analyze(self, name: RelationName, columns: Sequence[str] = ()) -> None:
        """Tell the planner what a working table holds, or some of its columns."""
        listed = f" ({', '.join(map(quoted, columns))})" if columns else ""
        run(self.connection, f"ANALYZE {name.quoted}{listed}")

    def drop_leftovers(self) -> None:
        """Drop all working tables of the stage, also those that a killed process left behind."""
        self._drop(name for name in self._there() if name.startswith(_prefix(self.stage)))

    def drop_forgotten(self) -> None:
        """Drop what killed processes left for other stages or pipelines, which may be no more."""
        names = self._there()
        found = (_PURPOSE.match(name) for name in names)
        for prefix in sorted({match[0] for match in found if match} - {_prefix(self.stage)}):
            if try_for_transaction(self.connection, sampling_lock_name(self.schema, prefix)):
                self._drop(name for name in names if name.startswith(prefix))

    def _there(self) -> Sequence[str]:
        return self.connection.scalars(_DROPPED, {"schema": self.schema}).all()

    def _drop(self, names: Iterable[str]) -> None:
        if listed := ", ".join(RelationName(self.schema, name).quoted for name in names):
            run(self.connection, f"DROP TABLE IF EXISTS {listed}")

    def _execute(self, statement: str) -> int:
        return int(run(self.connection, statement).rowcount)


def compiled_insert(target: sa.TableClause, names: list[str], query: sa.Select[Any]) -> str:
    """Return the statement that adds the rows of a query to a table."""
    relation = RelationName(target.schema or "public", target.name)
    columns = ", ".join(map(quoted, names))
    return f"INSERT INTO {relation.quoted} ({columns}) {compiled(query)}"


def work_table(schema: str, stage: str, *parts: str) -> RelationName:
    """Name the working table of a purpose; the name is unique, and fits into an identifier."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    text = f"{_prefix(stage)}{'_'.join(parts)}".encode()
    readable = text[: MAX_IDENTIFIER_BYTES - 11].decode(errors="ignore")
    return RelationName(schema, f"{readable}_{digest}")


def copied_view(source: sa.Table, copy: RelationName) -> sa.Table:
    """Return the working table that stands in for a view, which has no places."""
    table = source.to_metadata(sa.MetaData(), schema=copy.schema, name=copy.name)
    table.info.update(source.info)
    return table


def lock_for_selection(
    connection: sa.Connection, schema: str, stage: str, relations: list[RelationName]
) -> None:
    """Keep source tables from being replaced, and other steps from the same working tables.

    As long as the transaction lasts, every statement of any session finds the same rows of the
    sources in the same places.
    """
    lock_for_transaction(connection, sampling_lock_name(schema, _prefix(stage)))
    listed = ", ".join(relation.quoted for relation in relations)
    run(connection, f"LOCK TABLE {listed} IN ACCESS SHARE MODE")


def chosen_rows(schema: str, stage: str, table: str) -> sa.TableClause:
    """Return the working table of the chosen rows of a table."""
    name = work_table(schema, stage, "rows", table)
    columns = (sa.column(column.name, column.type) for column in row_columns())
    return sa.table(name.name, *columns, schema=name.schema)


def no_rows() -> sa.Select[Any]:
    """Return the query of an empty table of chosen rows, of which none is drawn."""
    return sa.select(*row_columns()).where(sa.false())


def row_columns(
    place: sa.ColumnElement[Any] | None = None,
    role: sa.ColumnElement[Any] | None = None,
    probability: sa.ColumnElement[Any] | None = None,
    unit: sa.ColumnElement[Any] | None = None,
    sample_size: sa.ColumnElement[Any] | None = None,
) -> list[sa.ColumnElement[Any]]:
    """Return the columns of chosen rows; NULL for what is not given."""
    columns: list[tuple[str, sa.ColumnElement[Any] | None, sa.types.TypeEngine[Any]]] = [
        (TID, place, Tid()),
        ("role", role, sa.SmallInteger()),
        ("probability", probability, sa.Double()),
        ("unit", unit, sa.BigInteger()),
        ("sample_size", sample_size, sa.BigInteger()),
        ("reason", None, sa.Text()),
    ]
    return [
        sa.cast(sa.null() if value is None else value, type_).label(name)
        for name, value, type_ in columns
    ]


def _prefix(stage: str) -> str:
    # Hashed: of two stages, one's name may be the beginning of the other's.
    return f"{hashlib.sha256(stage.encode()).hexdigest()[:8]}_"


def _columns(query: sa.Executable) -> list[sa.ColumnElement[Any]]:
    return list(query.selected_columns)  # type: ignore[attr-defined] # of all selects
