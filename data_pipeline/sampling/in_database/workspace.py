"""The working tables of a selection: in a schema of their own, unlogged, dropped with the step."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.tables.connection import ensure_schema, lock_for_transaction, run
from data_pipeline.tables.names import MAX_IDENTIFIER_BYTES, RelationName, quoted
from data_pipeline.tables.sql import compiled

_SETTINGS = ("SET LOCAL work_mem = '256MB'", "SET LOCAL jit = off")
_TRY = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
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
    """

    connection: sa.Connection
    schema: str
    stage: str

    @classmethod
    def open(cls, connection: sa.Connection, schema: str, stage: str) -> "Workspace":
        """Makes room for the working tables of a stage."""
        ensure_schema(connection, schema)
        for setting in _SETTINGS:
            run(connection, setting)
        space = cls(connection, schema, stage)
        space.drop_leftovers()
        return space

    def name(self, *parts: str) -> RelationName:
        """Names the working table of a purpose."""
        return work_table(self.schema, self.stage, *parts)

    def create(self, query: sa.Executable, *parts: str) -> tuple[sa.TableClause, int]:
        """Makes a working table of a query; gives it, and its number of rows."""
        name = self.name(*parts)
        text = compiled(query)
        run(self.connection, f"DROP TABLE IF EXISTS {name.quoted}")
        rows = self._execute(f"CREATE UNLOGGED TABLE {name.quoted} AS {text}")
        self.analyze(name)
        columns = [sa.column(c.name, c.type) for c in _columns(query)]
        return sa.table(name.name, *columns, schema=name.schema), rows

    def refill(self, table: sa.TableClause, statement: str) -> int:
        """Empties a working table and fills it by a statement; gives how many rows that adds.

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
        """Makes an index, for many searches for few rows."""
        name = RelationName(table.schema or "public", table.name)
        run(self.connection, f"CREATE INDEX ON {name.quoted} ({quoted(column)})")

    @contextmanager
    def sorting(self, *, if_: bool) -> Iterator[None]:
        """Lets rows be grouped by sorting, which takes next to no time if they lie in order."""
        run(self.connection, f"SET LOCAL enable_hashagg = {'off' if if_ else 'on'}")
        yield
        run(self.connection, "SET LOCAL enable_hashagg TO DEFAULT")

    @contextmanager
    def expecting_few_rows(self, *, if_: bool = True) -> Iterator[None]:
        """Lets scans run in parallel of which the planner expects many rows, but which find few."""
        run(self.connection, f"SET LOCAL parallel_tuple_cost TO {'0' if if_ else 'DEFAULT'}")
        yield
        run(self.connection, "SET LOCAL parallel_tuple_cost TO DEFAULT")

    def insert(self, target: sa.TableClause, query: sa.Select[Any]) -> int:
        """Adds the rows of a query to a working table; gives how many."""
        names = [column.name for column in query.selected_columns]
        return self._execute(compiled_insert(target, names, query))

    def analyze(self, name: RelationName) -> None:
        """Tells the planner what a working table holds."""
        run(self.connection, f"ANALYZE {name.quoted}")

    def drop(self, *parts: str) -> None:
        """Drops a working table that has done its service."""
        run(self.connection, f"DROP TABLE IF EXISTS {self.name(*parts).quoted}")

    def drop_leftovers(self) -> None:
        """Drops all working tables of the stage, also those that a killed process left behind."""
        for relname in self.connection.scalars(_DROPPED, {"schema": self.schema}).all():
            if relname.startswith(_prefix(self.stage)):
                run(
                    self.connection,
                    f"DROP TABLE IF EXISTS {RelationName(self.schema, relname).quoted}",
                )

    def drop_forgotten(self) -> None:
        """Drop what killed processes left for other stages or pipelines, which may be no more."""
        names = self.connection.scalars(_DROPPED, {"schema": self.schema}).all()
        found = (_PURPOSE.match(name) for name in names)
        for prefix in sorted({match[0] for match in found if match} - {_prefix(self.stage)}):
            if self.connection.scalar(_TRY, {"name": _lock_name(self.schema, prefix)}):
                for name in (name for name in names if name.startswith(prefix)):
                    relation = RelationName(self.schema, name)
                    run(self.connection, f"DROP TABLE IF EXISTS {relation.quoted}")

    def _execute(self, statement: str) -> int:
        return int(run(self.connection, statement).rowcount)


def compiled_insert(target: sa.TableClause, names: list[str], query: sa.Select[Any]) -> str:
    """Gives the statement that adds the rows of a query to a table."""
    relation = RelationName(target.schema or "public", target.name)
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {relation.quoted} ({columns}) {compiled(query)}"


def work_table(schema: str, stage: str, *parts: str) -> RelationName:
    """Names the working table of a purpose; the name is unique, and fits into an identifier."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    text = f"{_prefix(stage)}{'_'.join(parts)}".encode()
    readable = text[: MAX_IDENTIFIER_BYTES - 11].decode(errors="ignore")
    return RelationName(schema, f"{readable}_{digest}")


def lock_for_selection(
    connection: sa.Connection, schema: str, stage: str, relations: list[RelationName]
) -> None:
    """Keeps source tables from being replaced, and other steps from the same working tables.

    As long as the transaction lasts, every statement of any session finds the same rows of the
    sources in the same places.
    """
    lock_for_transaction(connection, _lock_name(schema, _prefix(stage)))
    listed = ", ".join(relation.quoted for relation in relations)
    run(connection, f"LOCK TABLE {listed} IN ACCESS SHARE MODE")


def _lock_name(schema: str, prefix: str) -> str:
    return f"data_pipeline:sampling:{schema}:{prefix}"


def _prefix(stage: str) -> str:
    # Hashed: of two stages, one's name may be the beginning of the other's.
    return f"{hashlib.sha256(stage.encode()).hexdigest()[:8]}_"


def _columns(query: sa.Executable) -> list[sa.ColumnElement[Any]]:
    return list(query.selected_columns)  # type: ignore[attr-defined] # of all selects
