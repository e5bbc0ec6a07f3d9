"""Replacing the rows of a table by those of another one, where only those that differ are touched.

The relation stays, so what hangs on it stays valid, whoever owns it; transactions with an older
snapshot go on seeing the old rows; and logical replication carries the change. Rows are told apart
by the primary key, or without one as a multiset. What this would do to other people's data (foreign
keys that cascade, triggers, rules) is refused beforehand.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.commit.user_objects.object_definitions import path_of_role
from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import TYPE, describe, read_dependents
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.database.relations import Shape
from data_pipeline.database.row_hash import as_bytes, as_text, cannot_send, differs
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import CannotCarryError
from data_pipeline.store.changed_by_hand import (
    MOST_WRITERS,
    State,
    Writers,
    remembered,
    state_of,
    writers_sum,
)
from data_pipeline.store.table_properties import (
    Properties,
    index_name,
    index_statement,
    key_name,
    key_statement,
)

# What would do more than change the rows of the table itself, and on which of its changes.
_GUARDS = stored_query(__file__, "row_replacement_guards")
_REMEDY = (
    "Drop or disable it, then run again. (Tables that are replaced as a whole, without "
    "`replace: rows`, put it up anew unless another role's objects hang on them.)"
)
_KEY = "KEY"
# Constraints (23), what depends on a key, what a publication leaves out, names, and the like.
_REFUSED = ("23", "2BP01", "42P10", "42P07", "42P16", "55000", "0A000")
_NOT_NAMED = frozenset({"2BP01", "42P10"})
_PUBLICATIONS = """
SELECT format('publication %I', pubname) FROM pg_publication_tables t
JOIN pg_class c ON c.oid = {relation}::regclass AND c.relname = t.tablename
    AND c.relnamespace::regnamespace::text = quote_ident(t.schemaname)
"""
_WRITERS = (
    "SELECT coalesce(array_agg(DISTINCT xmin::text), ARRAY[pg_current_xact_id()::xid::text]) "
    "FROM ONLY {relation}"
)

_NUMBERED = (
    "SELECT r.ctid, {image} AS image, row_number() OVER (PARTITION BY {image}) AS place "
    "FROM ONLY {table} AS r"
)
_ALIKE = "SELECT FROM ({others}) b WHERE b.image = a.image AND b.place = a.place"


@dataclass(frozen=True)
class RowsReplaced:
    """What became of the rows of a table, and what identifies it now."""

    inserted: int
    updated: int
    deleted: int
    state: State

    def __str__(self) -> str:
        return f"{self.inserted} inserted, {self.updated} updated, {self.deleted} deleted"


@dataclass(frozen=True)
class RowsInPlace:
    """The replacement of a table's rows by those of a staged one.

    Attributes:
        table: The table.
        staged: The one with the new rows, which has the same columns.
        old: Its shape.
        new: The shape of the staged one.
        indexes: The columns of each index that the staged one declares.
        earlier: What was declared of the table as it is; all else are users' own.
    """

    table: RelationName
    staged: RelationName
    old: Shape
    new: Shape
    indexes: Sequence[tuple[str, ...]] = ()
    earlier: Properties = field(default_factory=Properties)

    def replace(self, connection: sa.Connection) -> RowsReplaced:
        """Replace the rows that differ; readers are never in the way, nor have they to wait.

        Args:
            connection: The transaction of the commit, with an empty search path.

        Raises:
            CannotCarryError: It would change data of others.
        """
        table = self.table.quoted
        run(connection, f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
        changes = self._allowed(connection)
        counts = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
        with self._explaining(connection), path_of_role(connection):
            for statement in self._before():
                run(connection, statement)
            for event, count in self._execute(connection, changes):
                counts[event] += count
            for statement in self._after():
                run(connection, statement)
        if any(counts.values()):
            self._analyze(connection, sum(counts.values()))
        state = run(connection, f"SELECT {state_of(f'{literal(table)}::regclass')}").scalar_one()
        # What others have counted by now may be less than there is; then rows are looked at.
        state = {
            **state,
            "inserted": state["inserted"] + counts["INSERT"],
            "updated": state["updated"] + counts["UPDATE"],
            "deleted": state["deleted"] + counts["DELETE"],
        }
        state = remembered(state, writer=self._writers(connection))
        return RowsReplaced(counts["INSERT"], counts["UPDATE"], counts["DELETE"], state)

    @property
    def shown(self) -> RelationName:
        """The relation in which the run has seen the new rows until now."""
        return self.staged

    def clear(self, connection: sa.Connection) -> None:
        """Drop what was staged."""
        run(connection, f"DROP TABLE {self.staged.quoted}")

    @property
    def is_increment(self) -> bool:
        """Whether the staged rows are only those that change something."""
        return False

    @property
    def is_rewritten(self) -> bool:
        """Whether it is written anew as a whole, so that older snapshots find no rows."""
        return self.old.persistence != self.new.persistence

    @property
    def _is_keyed(self) -> bool:
        return bool(self.new.key) and self.old.key == self.new.key and self.new.has_comparable_key

    def _allowed(self, connection: sa.Connection) -> list["Change"]:
        """Return changes to be made; refuse those that do more than change rows of the table."""
        changes = self._changes(connection)
        guards = run(connection, _GUARDS.format(relation=literal(self.table.quoted))).all()
        if not guards:
            return changes
        # A trigger may fire for a statement that changes no row.
        changes = [change for change in changes if self._has_rows(connection, change)]
        events = {change.event for change in changes}
        for subject, reason, event, columns in guards:
            is_touched = event in events
            if event == _KEY and "UPDATE" in events:
                is_touched = self._has_rows(connection, self._change_of(columns))
            if is_touched:
                needed = ", ".join(sorted(events))
                raise CannotCarryError(
                    f"{subject} on {self.table}",
                    None,
                    f"{reason}: rows of {self.table} are replaced in place, which takes {needed}.",
                    _REMEDY,
                )
        return changes

    def _execute(
        self, connection: sa.Connection, changes: Sequence["Change"]
    ) -> Iterator[tuple[str, int]]:
        """Make changes; gives the number of rows of each kind."""
        for change in changes:
            yield change.event, run(connection, change.statement).rowcount

    def _analyze(self, connection: sa.Connection, changed: int) -> None:
        """Tell the planner what it needs, after so many rows have changed."""
        run(connection, f"ANALYZE {self.table.quoted}")

    def _writers(self, connection: sa.Connection) -> Writers:
        """Return the transactions that have written the rows."""
        query = _WRITERS.format(relation=self.table.quoted)
        found: Sequence[str] = run(connection, query).scalar_one()
        return found if len(found) <= MOST_WRITERS else self._writers_summed(connection)

    def _writers_summed(self, connection: sa.Connection) -> Writers:
        query = f"SELECT {writers_sum()}::text FROM ONLY {self.table.quoted}"
        return {"sum": str(run(connection, query).scalar_one())}

    def _has_rows(self, connection: sa.Connection, change: "Change") -> bool:
        return bool(run(connection, f"SELECT EXISTS ({change.found})").scalar())

    def _changes(self, connection: sa.Connection) -> list["Change"]:
        if not self._is_keyed:
            return self._changes_of_multiset(connection)
        # Two rows may have exchanged what is unique, which no order of updates survives.
        if self.old.has_other_unique and not self.old.is_referenced:
            same = f"{self._same_key} AND NOT ({self._differs})"
            return [self._deletion(same), self._insertion(same)]
        pair = f"{self._same_key} AND {self._differs}"
        values = ", ".join(f"{quoted(name)} = n.{quoted(name)}" for name in self.new.names)
        update = Change(
            "UPDATE",
            f"UPDATE ONLY {self._old} SET {values} FROM ONLY {self._new} WHERE {pair}",
            f"SELECT FROM ONLY {self._old}, ONLY {self._new} WHERE {pair}",
        )
        return [self._deletion(self._same_key), update, self._insertion(self._same_key)]

    @contextmanager
    def _explaining(self, connection: sa.Connection) -> Iterator[None]:
        """Say which table it was, and what is in the way, where PostgreSQL refuses the new rows."""
        try:
            with connection.begin_nested():
                yield
        except sa.exc.DBAPIError as error:
            code = getattr(error.orig, "pgcode", None) or ""
            if not code.startswith(_REFUSED):
                raise
            said = " ".join(str(error.orig).split())
            found = self._in_the_way(connection) if code in _NOT_NAMED else []
            in_the_way = f" In the way: {', '.join(found)}." if found else ""
            raise CannotCarryError(
                f"table {self.table}",
                None,
                f"cannot get its new rows in place. PostgreSQL says: {said}{in_the_way}",
                "Have what is in the way dropped or adapted, then run again.",
            ) from None

    def _in_the_way(self, connection: sa.Connection) -> list[str]:
        """Return what needs a constraint or an index of the table, or publishes it."""
        graph = read_dependents(connection, [self.table])
        keys = graph.belongings - graph.roots.keys()
        users = {
            edge.node
            for edge in graph.edges
            if edge.of in keys and edge.of.catalog != TYPE and edge.node in graph.built_on
        }
        query = _PUBLICATIONS.format(relation=literal(self.table.quoted))
        return [
            *(f"{item.text} (role {item.role})" for item in describe(connection, users).values()),
            *run(connection, query).scalars(),
        ]

    def _change_of(self, columns: Sequence[str]) -> "Change":
        """Return the change of columns of rows that stay, such as those that foreign keys name."""
        pair = f"{self._same_key} AND {differs(columns, 'o', 'n')}"
        found = f"SELECT FROM ONLY {self._old}, ONLY {self._new} WHERE {pair}"
        return Change(_KEY, "", found)

    def _deletion(self, same: str) -> "Change":
        other = f"NOT EXISTS (SELECT FROM ONLY {self._new} WHERE {same})"
        rows = f"FROM ONLY {self._old} WHERE {other}"
        return Change("DELETE", f"DELETE {rows}", f"SELECT {rows}")

    def _insertion(self, same: str) -> "Change":
        other = f"NOT EXISTS (SELECT FROM ONLY {self._old} WHERE {same})"
        rows = f"FROM ONLY {self._new} WHERE {other}"
        return Change("INSERT", f"{self._insert} {rows}", f"SELECT {rows}")

    def _changes_of_multiset(self, connection: sa.Connection) -> list["Change"]:
        """Return the changes of rows without a key: each stands for as many as are alike."""
        image = as_bytes(self.new.names, "r")
        try:
            with connection.begin_nested():
                run(connection, f"SELECT max(length({image})) FROM ONLY {self.staged.quoted} AS r")
        except sa.exc.DBAPIError as error:
            if not cannot_send(error):
                raise
            image = as_text(self.new.names, "r")
        old, new = (
            _NUMBERED.format(image=image, table=t.quoted) for t in (self.table, self.staged)
        )
        gone = f"SELECT ctid FROM ({old}) a WHERE NOT EXISTS ({_ALIKE.format(others=new)})"
        come = f"SELECT ctid FROM ({new}) a WHERE NOT EXISTS ({_ALIKE.format(others=old)})"
        return [
            Change(
                "DELETE", f"DELETE FROM ONLY {self._old} WHERE o.ctid = ANY (ARRAY({gone}))", gone
            ),
            Change(
                "INSERT",
                f"{self._insert} FROM ONLY {self._new} WHERE n.ctid IN ({come})",
                come,
            ),
        ]

    @property
    def _old(self) -> str:
        return f"{self.table.quoted} AS o"

    @property
    def _new(self) -> str:
        return f"{self.staged.quoted} AS n"

    @property
    def _insert(self) -> str:
        names = ", ".join(map(quoted, self.new.names))
        values = ", ".join(f"n.{quoted(name)}" for name in self.new.names)
        return f"INSERT INTO {self._old} ({names}) SELECT {values}"

    @property
    def _same_key(self) -> str:
        pairs = (f"o.{quoted(name)} = n.{quoted(name)}" for name in self.new.key)
        return f"({' AND '.join(pairs)})"

    @property
    def _differs(self) -> str:
        return f"({differs(self.new.names, 'o', 'n')})"

    def _before(self) -> Iterator[str]:
        """Return the statements that take off what the new rows need not obey."""
        alter = f"ALTER TABLE ONLY {self.table.quoted}"
        is_own = self.new.key or self.earlier.primary_key
        if self.old.key and self.old.key != self.new.key and is_own:
            yield f"{alter} DROP CONSTRAINT {quoted(self.old.constraint or '')}"
        needed = {column.name for column in self.new.columns if column.is_not_null}
        made = {*self.earlier.primary_key, *self.earlier.not_null(self.old.names)}
        for column in self.old.columns:
            if column.is_not_null and column.name in made - needed:
                yield f"{alter} ALTER COLUMN {quoted(column.name)} DROP NOT NULL"
        for index in sorted(set(self.earlier.indexes) - set(self.indexes)):
            yield f"DROP INDEX IF EXISTS {self._index(index)}"

    def _after(self) -> Iterator[str]:
        """Return the statements that put on what the staged table has and this one has not."""
        table = self.table.quoted
        known = {column.name for column in self.old.columns if column.is_not_null}
        for column in self.new.columns:
            if column.is_not_null and column.name not in known:
                yield f"ALTER TABLE ONLY {table} ALTER COLUMN {quoted(column.name)} SET NOT NULL"
        if self.new.key and self.old.key != self.new.key:
            yield key_statement(self.table, key_name(self.table.name), self.new.key)
        for index in sorted(set(self.indexes) - set(self.earlier.indexes)):
            name = index_name(self.table.name, index)
            yield index_statement(self.table, name, index, if_missing=True)
        if self.old.persistence != self.new.persistence:
            yield f"ALTER TABLE {table} SET {'UN' if self.new.persistence == 'u' else ''}LOGGED"

    def _index(self, columns: Sequence[str]) -> str:
        return quoted(self.table.schema, index_name(self.table.name, columns))


@dataclass(frozen=True)
class Change:
    """A statement that changes rows of a kind, and the query for such rows."""

    event: str
    statement: str
    found: str
