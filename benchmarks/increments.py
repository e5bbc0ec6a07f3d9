"""What an increment costs, over building the table anew: `python -m benchmarks.increments 1e7`."""

import itertools
import logging
import sys
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from benchmarks.measure import Comparison, compare, own_server
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.results.increment_checks import Previous
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import catalog
from data_pipeline.store.changed_by_hand import verdict_on
from data_pipeline.store.lookup import committed
from data_pipeline.store.table_properties import Properties, Table

ROWS = 1_000_000
GOAL = "0.05 x at 10 M rows"
_STAGE = "bench"
_SILENT = logging.Logger("silent")
_DATA = """
SELECT id, id * 0.5 + {version} AS amount,
       timestamptz '2026-01-01' + id * interval '1 second' AS day, id % 2 = 0 AS flag,
       'name ' || id % 1000 AS name, (id % 1000)::integer AS count
FROM generate_series({first}::bigint, {last}) id
"""


class Growing:
    """A table of so many rows, with a key and an index, which grows by 1 %."""

    def __init__(self, instance: Instance, rows: int) -> None:
        self._instance = instance
        self._rows = self._last = rows
        self._numbers = itertools.count()

    def build(self) -> None:
        """Builds another table of as many rows from the start."""
        self._put("whole", "append", _DATA.format(version=0, first=1, last=self._rows), None)

    def begin(self) -> None:
        """Builds the table that grows."""
        self._put("grows", "append", _DATA.format(version=0, first=1, last=self._rows), None)

    def append(self) -> None:
        """Adds 1 %."""
        first, self._last = self._last + 1, self._last + self._rows // 100
        self._grow("append", _DATA.format(version=0, first=first, last=self._last))

    def merge(self) -> None:
        """Changes 0.5 %, and adds as much."""
        half = self._rows // 200
        first, self._last = self._last - half, self._last + half
        version = next(self._numbers) + 1
        self._grow("merge", _DATA.format(version=version, first=first, last=self._last))

    def _grow(self, write: str, query: str) -> None:
        table = StageTable(_STAGE, "grows")
        with database(self._instance).begin() as connection:
            row = catalog.row(connection, self._instance.catalog_schema, table)
            assert row is not None
            assert verdict_on(connection, committed(self._instance, table), row).is_intact
        self._put("grows", write, query, Previous(row))

    def _put(self, name: str, write: Any, query: str, previous: Previous | None) -> None:
        table, run_id = StageTable(_STAGE, name), f"run {next(self._numbers)}"
        session = RunSession(database(self._instance), self._instance, run_id, _SILENT)
        try:
            session.take([table])
            session.register({})
            made = Table(sa.text(query), primary_key="id", indexes=["count"], write=write)
            origin = Origin(run_id, Identity("1"), forced=True, previous=previous or Previous(None))
            Store(self._instance, _SILENT).put(table, made, Properties(), origin)
            commit_stages(session, [_STAGE], _SILENT)
        finally:
            session.close()


def comparisons(instance: Instance, rows: int = ROWS, rounds: int = 3) -> Iterator[Comparison]:
    """Measures rows that are appended, and rows that are merged."""
    tables = Growing(instance, rows)
    tables.begin()
    for what, grow in (("appended", tables.append), ("merged", tables.merge)):
        name = f"1 % of {rows:,} rows {what}, over building them"
        yield compare(name, grow, tables.build, goal=GOAL, rounds=rounds)


if __name__ == "__main__":
    with own_server():
        for size in map(float, sys.argv[1:] or [str(ROWS)]):
            for comparison in comparisons(load_configuration().instance("full"), int(size)):
                print(comparison, flush=True)
