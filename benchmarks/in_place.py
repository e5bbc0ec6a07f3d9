"""What it costs to replace the rows that differ, against `DELETE` and `INSERT` of all rows."""

from collections.abc import Iterator

import sqlalchemy as sa

from benchmarks.measure import Comparison, compare
from data_pipeline.commit.row_replacement import RowsInPlace
from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.relations import read_shapes
from data_pipeline.instances import Instance

ROWS = 500_000
GOAL = "1 x (1 % changed), 2 x (all)"
_SCHEMA = "bench_in_place"
_DATA = """
CREATE TABLE {name} AS
SELECT id, (id + CASE WHEN id % {every} = 0 THEN {version} ELSE 0 END) * 0.5 AS amount,
       timestamptz '2026-01-01' + id * interval '1 second' AS day, id % 2 = 0 AS flag,
       'name ' || id % 1000 AS name, (id % 1000)::integer AS count
FROM generate_series(1::bigint, {rows}) id
"""


class Tables:
    """A table, and two others with rows for it, of which every so many differ."""

    def __init__(self, engine: sa.Engine, name: str, every: int, *, has_key: bool) -> None:
        self._engine = engine
        self._table = RelationName(_SCHEMA, name)
        self._versions = [RelationName(_SCHEMA, f"{name}_{number}") for number in (0, 1)]
        self._number = 0
        with engine.begin() as connection:
            ensure_schema(connection, _SCHEMA)
            for relation, version in [(self._table, 0), *zip(self._versions, (0, 1), strict=True)]:
                create = _DATA.format(name=relation.quoted, every=every, version=version, rows=ROWS)
                run(connection, create)
                if has_key:
                    run(connection, f"ALTER TABLE {relation.quoted} ADD PRIMARY KEY (id)")
                run(connection, f"ANALYZE {relation.quoted}")

    def in_place(self) -> None:
        """Replaces the rows that differ, as a commit does."""
        new = self._next()
        with self._engine.begin() as connection:
            run(connection, "SET LOCAL search_path = ''")
            shapes = read_shapes(connection, [self._table, new])
            RowsInPlace(self._table, new, shapes[self._table], shapes[new]).replace(connection)
        self._vacuum()

    def all_rows(self) -> None:
        """Replaces all rows."""
        new = self._next()
        with self._engine.begin() as connection:
            run(connection, f"DELETE FROM {self._table.quoted}")
            run(connection, f"INSERT INTO {self._table.quoted} SELECT * FROM {new.quoted}")
        self._vacuum()

    def _next(self) -> RelationName:
        self._number += 1
        return self._versions[self._number % 2]

    def _vacuum(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            run(connection, f"VACUUM {self._table.quoted}")


def comparisons(instance: Instance) -> Iterator[Comparison]:
    """Measures tables with and without a key, of which few or all rows change."""
    engine = database(instance).engine
    for has_key in (True, False):
        for every, what in ((100, "1 %"), (1, "all")):
            ours = Tables(engine, "ours", every, has_key=has_key)
            bare = Tables(engine, "bare", every, has_key=has_key)
            key = "with a key" if has_key else "without a key"
            name = f"500 k rows {key} in place, {what} changed, against all anew"
            yield compare(name, ours.in_place, bare.all_rows, goal=GOAL, rounds=3)
            with engine.begin() as connection:
                run(connection, f"DROP SCHEMA {_SCHEMA} CASCADE")
