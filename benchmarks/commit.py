"""What the commit of a stage costs, against the bare DDL that somebody would write by hand."""

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import sqlalchemy as sa

from benchmarks.measure import Comparison
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import StageTable, quoted
from data_pipeline.instances import Instance
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.transfer.stable_hash import fingerprint

TABLES = tuple(f"table_{number}" for number in range(10))
ROWS = 100_000
READER = "bench_reader"
STAGE = "bench_commit"
ROUNDS = 7
GOAL = "2 x"
_LOG = logging.getLogger("benchmarks")

_DATA = """
CREATE TABLE {name} AS
SELECT id, id * 0.5 AS amount, now() + id * interval '1 second' AS day, id % 2 = 0 AS flag,
       'name ' || id % 1000 AS name, (id % 1000)::integer AS count
FROM generate_series(1::bigint, {rows}) id;
ALTER TABLE {name} ADD PRIMARY KEY (id);
ANALYZE {name}
"""


class Stage:
    """A schema with ten tables, and staged ones to replace them, on which users rely or not."""

    def __init__(self, engine: sa.Engine, schema: str, rows: int, *, has_users: bool) -> None:
        self.engine = engine
        self._schema, self._staging = schema, f"{schema}__staging"
        self._rows = rows
        self._views = f"{schema}_views"
        self._has_users = has_users
        with engine.begin() as connection:
            for name in (self._schema, self._staging, self._views):
                ensure_schema(connection, name)
            for table in TABLES:
                self._create(connection, quoted(self._schema, table))
            if has_users:
                run(connection, ";".join(self._views_and_grants()))

    def stage(self, connection: sa.Connection) -> None:
        """Builds the tables that are to replace the present ones."""
        for table in TABLES:
            self._create(connection, quoted(self._staging, table))

    def replace(self) -> float:
        """Replaces the tables by bare SQL in a single round trip; gives the seconds it takes."""
        with self.engine.begin() as connection:
            self.stage(connection)
        views = [f"DROP VIEW {', '.join(quoted(self._views, table) for table in TABLES)}"]
        swap = [f"DROP TABLE {quoted(self._schema, table)}" for table in TABLES]
        swap += [
            f"ALTER TABLE {quoted(self._staging, table)} SET SCHEMA {quoted(self._schema)}"
            for table in TABLES
        ]
        if self._has_users:
            swap = [*views, *swap, *self._views_and_grants()]
        with self.engine.connect() as connection:
            started = time.perf_counter()
            run(connection, ";".join(swap))
            connection.commit()
            return time.perf_counter() - started

    def remove(self) -> None:
        """Drop everything."""
        with self.engine.begin() as connection:
            for name in (self._views, self._schema, self._staging):
                run(connection, f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")

    def _create(self, connection: sa.Connection, name: str) -> None:
        run(connection, _DATA.format(name=name, rows=self._rows))

    def _views_and_grants(self) -> Iterator[str]:
        for table in TABLES:
            name, view = quoted(self._schema, table), quoted(self._views, table)
            yield f"CREATE VIEW {view} AS SELECT id, name, amount FROM {name} WHERE flag"
            yield f"GRANT SELECT ON {name} TO {READER}"
            yield f"GRANT SELECT ON {view} TO {READER}"


class Commits:
    """Commits of a stage as runs make them."""

    def __init__(self, instance: Instance, rows: int) -> None:
        self._instance = instance
        self._rows = rows
        server = database(instance)
        self.present = Stage(server.engine, instance.schema(STAGE), rows, has_users=True)
        self._session = RunSession(server, instance, "bench", _LOG)
        self._session.take(StageTable(STAGE, table) for table in TABLES)
        self._session.register({})
        self._number = 0
        self.commit()  # the catalog does not know the first tables

    def commit(self) -> float:
        """Stage tables and commits them; return the seconds that the commit takes."""
        self._number += 1
        with self._session.begin() as connection:
            self.present.stage(connection)
            for table in TABLES:
                staging.put(connection, self._instance, self._row(table), "bench")
        started = time.perf_counter()
        commit_stages(self._session, [STAGE], _LOG)
        return time.perf_counter() - started

    def close(self) -> None:
        """End the session, and drops everything."""
        self._session.close()
        self.present.remove()
        with self.present.engine.begin() as connection:
            slots = quoted(self._instance.slots_schema(STAGE))
            run(connection, f"DROP SCHEMA IF EXISTS {slots} CASCADE")

    def _row(self, table: str) -> CatalogRow:
        version = fingerprint(table, self._rows, self._number)
        return CatalogRow(
            STAGE,
            table,
            "table",
            data_version=version,
            cache_key=version,
            code_version=version,
            code_parts={f"bench.module.function_{number}": version for number in range(10)},
            inputs={f"bench/input_{number}": version for number in range(3)},
            row_count=self._rows,
        )


def comparisons(instance: Instance) -> Iterator[Comparison]:
    """Measures commits of ten tables with views and grants, large and tiny, dropped and kept."""
    engine = database(instance).engine
    with engine.begin() as connection:
        run(connection, f"CREATE ROLE {READER}")
    dropping, keeping = (_with_slots(instance, slots) for slots in (0, 1))
    yield from _compared(dropping, ROWS, "100 k rows")
    yield from _compared(keeping, ROWS, "100 k rows, kept")
    yield from _compared(dropping, 1, "1 row")
    yield from _compared(keeping, 1, "1 row, kept")
    with engine.begin() as connection:
        run(connection, f"DROP ROLE {READER}")


def _compared(instance: Instance, rows: int, name: str) -> Iterator[Comparison]:
    engine = database(instance).engine
    bare = Stage(engine, "bench_bare", rows, has_users=False)
    by_hand = Stage(engine, "bench_by_hand", rows, has_users=True)
    commits = Commits(instance, rows)
    measured: dict[Callable[[], float], list[float]] = {
        commits.commit: [],
        bare.replace: [],
        by_hand.replace: [],
    }
    for number in range(ROUNDS):
        for function in list(measured)[:: 1 if number % 2 else -1]:
            measured[function].append(function())
    ours, least, hand = (statistics.median(seconds) for seconds in measured.values())
    commits.close()
    for stage in (bare, by_hand):
        stage.remove()
    what = f"commit of 10 tables, {name}"
    yield Comparison(f"{what}, against DROP and SET SCHEMA", ours, least, GOAL)
    yield Comparison(f"{what}, and views by hand", ours, hand, "none")


def _with_slots(instance: Instance, slots: int) -> Instance:
    validation = instance.cache_validation.model_copy(update={"cache_slots": slots})
    return replace(instance, cache_validation=validation)
