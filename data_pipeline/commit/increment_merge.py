"""Putting an increment into a committed table: its rows are added, or merged by the primary key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from data_pipeline.commit.row_replacement import Change, RowsInPlace
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.relations import Shape
from data_pipeline.database.row_hash import differs
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.results.build import analyze
from data_pipeline.results.increment_checks import PLAN_AS_USUAL, PREFER_INDEX, is_small
from data_pipeline.store import staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import MOST_WRITERS, Writers, verdict_on, writers_sum
from data_pipeline.store.lookup import committed

# Statistics are taken anew when so much of a table has changed since they were.
_SHARE_UNKNOWN = 0.05
_FEW_CHANGED = """
SELECT pg_stat_get_mod_since_analyze(oid) + {changed} < {share} * reltuples
FROM pg_class WHERE oid = {table}::regclass
"""

# With ON CONFLICT, a row that was there before has been locked.
_WRITTEN = """
WITH written AS ({statement} RETURNING o.xmin::text AS writer, o.xmax = 0 AS is_new)
SELECT count(*), count(*) FILTER (WHERE is_new), array_remove(array_agg(DISTINCT writer), NULL),
    {sum}
FROM written
"""


class GrowingWriters:
    """The transactions that have written the rows that are there, while rows are added.

    Attributes:
        names: Their numbers; None where they are not known, or too many.
        sum: What stands for them where they are too many.
    """

    def __init__(self, known: Writers) -> None:
        is_summed = isinstance(known, Mapping)
        self.names = {known} if isinstance(known, str) else None if is_summed else {*(known or ())}
        self.sum = int(known["sum"]) if isinstance(known, Mapping) else None

    @property
    def is_known(self) -> bool:
        """Whether they are known, or their sum is."""
        return bool(self.names) or self.sum is not None

    def add(self, names: Sequence[str], sum_: int) -> None:
        """Count rows that were written."""
        if self.names is not None:
            self.names.update(names)
        if self.sum is not None:
            self.sum += sum_


@dataclass(frozen=True)
class RowsAdded(RowsInPlace):
    """The increment of a table, whose rows lie in a staged one.

    Attributes:
        whole: The view that shows what becomes of the table.
        deleted: The column of the staged table that says which rows are to go; None: it has none.
        writers: The transactions that have written the rows that are there.
        is_small: Whether it is small beside its table.
    """

    whole: RelationName = field(kw_only=True)
    is_merged: bool = field(kw_only=True)
    deleted: str | None = field(kw_only=True)
    writers: GrowingWriters = field(kw_only=True)
    is_small: bool = field(kw_only=True)

    @property
    def is_increment(self) -> bool:
        """Whether the staged rows are only those that change something."""
        return True

    @property
    def is_rewritten(self) -> bool:
        """Whether it is written anew as a whole: never."""
        return False

    @property
    def shown(self) -> RelationName:
        """The relation in which the run has seen the new rows until now."""
        return self.whole

    def clear(self, connection: sa.Connection) -> None:
        """Drop what was staged."""
        run(connection, f"DROP VIEW {self.whole.quoted}; DROP TABLE {self.staged.quoted}")

    def _changes(self, connection: sa.Connection) -> list[Change]:
        if not self.is_merged:
            rows = f"FROM ONLY {self._new}"
            return [Change("INSERT", f"{self._insert} {rows}", f"SELECT {rows}")]
        stays = self._stays
        pair = f"{self._same_key} AND {self._differs} AND {stays}"
        values = ", ".join(f"{quoted(name)} = n.{quoted(name)}" for name in self.new.names)
        missing = f"{stays} AND NOT EXISTS (SELECT FROM ONLY {self._old} WHERE {self._same_key})"
        both = f"FROM ONLY {self._old}, ONLY {self._new}"
        come = f"FROM ONLY {self._new} WHERE {missing}"
        update = f"UPDATE ONLY {self._old} SET {values} FROM ONLY {self._new} WHERE {pair}"
        changes = [
            Change("UPDATE", update, f"SELECT {both} WHERE {pair}"),
            Change("INSERT", f"{self._insert} {come}", f"SELECT {come}"),
        ]
        if self.deleted is None:
            return changes
        gone = f"{self._same_key} AND n.{quoted(self.deleted)}"
        delete = f"DELETE FROM ONLY {self._old} USING ONLY {self._new} WHERE {gone}"
        return [Change("DELETE", delete, f"SELECT {both} WHERE {gone}"), *changes]

    def _execute(
        self, connection: sa.Connection, changes: Sequence[Change]
    ) -> Iterator[tuple[str, int]]:
        if self.is_small:
            run(connection, PREFER_INDEX)
        if self.writers.sum is not None:
            self.writers.sum -= sum(self._sum_of(connection, change) for change in changes)
        statements = {change.event: change.statement for change in changes}
        if "DELETE" in statements:
            yield "DELETE", run(connection, statements.pop("DELETE")).rowcount
        if len(statements) == 2:
            statements = {"INSERT": self._upsert}
        for event, statement in statements.items():
            written = _WRITTEN.format(statement=statement, sum=writers_sum("writer"))
            count, new, writers, sum_ = run(connection, written).one()
            inserted = 0 if event == "UPDATE" else new
            yield "INSERT", inserted
            yield "UPDATE", count - inserted
            self.writers.add(writers or (), int(sum_))
        if self.is_small:
            run(connection, PLAN_AS_USUAL)

    @property
    def _upsert(self) -> str:
        """The statement that updates and inserts, by a look into the index for each row."""
        key = ", ".join(map(quoted, self.new.key))
        order = ", ".join(f"n.{quoted(name)}" for name in self.new.key)
        values = ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in self.new.names)
        return (
            f"{self._insert} FROM ONLY {self._new} WHERE {self._stays} ORDER BY {order} "
            f"ON CONFLICT ({key}) DO UPDATE SET {values} "
            f"WHERE {differs(self.new.names, 'o', 'EXCLUDED')}"
        )

    @property
    def _stays(self) -> str:
        return f"n.{quoted(self.deleted)} IS NOT TRUE" if self.deleted else "true"

    def _analyze(self, connection: sa.Connection, changed: int) -> None:
        table = literal(self.table.quoted)
        query = _FEW_CHANGED.format(table=table, changed=changed, share=_SHARE_UNKNOWN)
        if not run(connection, query).scalar():
            run(connection, "; ".join(analyze(self.table)))

    def _sum_of(self, connection: sa.Connection, change: Change) -> int:
        """Return what stands for the transactions of the rows that a change takes the place of."""
        if change.event == "INSERT":
            return 0
        found = change.found.replace("SELECT", f"SELECT {writers_sum('o.xmin')}", 1)
        return int(run(connection, found).scalar_one())

    def _writers(self, connection: sa.Connection) -> Writers:
        if not self.writers.is_known:
            return super()._writers(connection)
        if self.writers.sum is not None:
            return {"sum": str(self.writers.sum)}
        names = sorted(self.writers.names or ())
        return names if len(names) <= MOST_WRITERS else self._writers_summed(connection)

    def _before(self) -> Iterator[str]:
        return iter(())

    def _after(self) -> Iterator[str]:
        return iter(())


def increment_of(
    instance: Instance, row: CatalogRow, before: CatalogRow, shapes: tuple[Shape, Shape]
) -> RowsAdded:
    """Return what it takes to put a staged increment into its table.

    Args:
        instance: The instance.
        row: What the catalog will say of the table.
        before: What it says now.
        shapes: The shapes of the table and of the staged one.
    """
    old, new = shapes
    marker = row.declared.deleted
    deleted = marker if marker in new.names and marker not in old.names else None
    new = replace(new, columns=tuple(c for c in new.columns if c.name != deleted))
    return RowsAdded(
        committed(instance, row.table),
        staging.relation_of(instance, row.table),
        old,
        new,
        whole=staging.whole_relation(instance, row.table),
        is_merged=row.increment["write"] == "merge",
        deleted=deleted,
        writers=GrowingWriters(before.relation.get("writer")),
        is_small=is_small(row.increment["rows"], before),
    )


def check_bases(
    connection: sa.Connection,
    instance: Instance,
    staged: Sequence[CatalogRow],
    earlier: Mapping[StageTable, CatalogRow],
) -> None:
    """Make sure that increments go into the very rows that they were made for.

    Raises:
        DatabaseError: Somebody has changed the rows of one since.
    """
    for row in staged:
        if not row.is_increment:
            continue
        before = earlier.get(row.table)
        if before is not None and before.data_version == row.increment["onto"]:
            verdict = verdict_on(connection, committed(instance, row.table), before)
            if verdict.is_intact:
                continue
            what = verdict.change or "it was dropped"
        else:
            what = "another version of it was committed"
        raise DatabaseError(
            f"The increment of table `{row.table}` of instance `{instance.name}` does not fit any "
            f"more: {what} since it was made. Nothing was committed of its stage; the next run "
            f"makes it anew: {instance.build_command}"
        )
