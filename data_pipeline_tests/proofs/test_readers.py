"""Readers see all of a stage from before a commit or all from after it, and never wait for long.

Those with one snapshot for several queries see the same in all of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg2
import pytest
import sqlalchemy as sa

from data_pipeline_tests.proofs.commits import COMMITS, WAYS, commit_stages
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

READERS = 3
# The generations of all tables of the stages, in one statement; the joins take part in it.
SHOP = """
SELECT DISTINCT t.generation, l.generation, r.generation, s.generation, o.generation
FROM full_shop.totals t JOIN full_shop.large l ON l.customer = t.id
JOIN full_shop.ranks r ON r.id = t.id CROSS JOIN full_shop.summary s
JOIN reports.overview o ON o.id = t.id
"""
RAW = """
SELECT DISTINCT c.generation, o.generation, ic.generation, io.generation
FROM full_raw.customers c JOIN full_raw.orders o ON o.customer = c.id
JOIN full_inputs.customers ic ON ic.id = c.id JOIN full_inputs.orders io ON io.id = o.id
"""
RALLY = """
SELECT DISTINCT s.generation, b.generation, f.generation FROM full_ping.serve s
JOIN full_pong.backhand b ON b.id = s.id JOIN full_ping.forehand f ON f.id = s.id
"""
QUERIES = (SHOP, RAW, RALLY)


class Reader(threading.Thread):
    """Reads all stages, one after the other, without a pause."""

    def __init__(
        self, url: sa.URL, level: str | None = None, queries: Sequence[str] = QUERIES
    ) -> None:
        super().__init__()
        self._queries = queries
        self._level = level
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._stop_asked = threading.Event()
        self.reads = 0
        self.longest = 0.0
        self.wrong: list[str] = []

    def run(self) -> None:
        connection = psycopg2.connect(self._dsn)
        if self._level is None:
            connection.autocommit = True
        else:
            connection.set_session(isolation_level=self._level)
        while not self._stop_asked.is_set():
            if self._level is None:
                self._read(connection, self._queries[self.reads % len(self._queries)])
            else:
                self._read_twice(connection)
        connection.close()

    def _read_twice(self, connection: "psycopg2.extensions.connection") -> None:
        """Reads everything and reads it again, in one snapshot."""
        first, again = (
            [self._read(connection, query) for query in self._queries] for _ in range(2)
        )
        if first != again:
            self.wrong.append(f"{first}, and then {again}")
        connection.rollback()
        self._stop_asked.wait(0.5)  # who reads without a pause keeps commits waiting for ever

    def _read(
        self, connection: "psycopg2.extensions.connection", query: str
    ) -> list[tuple[int, ...]]:
        started = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                found = cursor.fetchall()
        except psycopg2.Error as error:
            self.wrong.append(f"{error}")
            found = []
        else:
            if len(found) != 1 or len(set(found[0])) != 1:
                self.wrong.append(f"{found} by {query}")
        self.longest = max(self.longest, time.monotonic() - started)
        self.reads += 1
        return found

    def end(self) -> None:
        self._stop_asked.set()
        self.join()


@contextmanager
def reading(world: World, *levels: str) -> Iterator[list[Reader]]:
    """Readers that go on meanwhile; afterwards, none may have seen anything wrong."""
    assert world.url is not None
    readers = [Reader(world.url) for _ in range(READERS)]
    readers += [Reader(world.url, level) for level in levels]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        for reader in readers:
            reader.end()
    TALLY.reads += sum(reader.reads for reader in readers)
    wrong = [line for reader in readers for line in reader.wrong]
    assert not wrong, f"{len(wrong)} wrong reads, such as {wrong[:3]}"
    assert all(reader.reads > 0 for reader in readers)


@WAYS
@pytest.mark.parametrize("wanted", COMMITS)
def test_readers_see_no_mix_and_no_error_during_commits(
    built_on: World, wanted: int, way: str
) -> None:
    with reading(built_on, "REPEATABLE READ", "SERIALIZABLE"):
        for generation in commit_stages(built_on, wanted, way):
            built_on.check("always", "whole", "finished", generation=generation)


HOLDS = [
    pytest.param(1, id="1 long query"),
    pytest.param(40, id="40 long queries", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
]
WAITING = """
SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND n.nspname = 'full_shop' AND l.mode = 'AccessExclusiveLock' AND NOT l.granted
"""
ENOUGH_READS = 5 * len(QUERIES)


def read_on(readers: list[Reader]) -> Callable[[], bool]:
    """Gives what says whether each reader has read often since now."""
    enough = [reader.reads + ENOUGH_READS for reader in readers]
    return lambda: all(reader.reads >= n for reader, n in zip(readers, enough, strict=True))


@pytest.mark.parametrize("holds", HOLDS)
def test_other_readers_go_on_while_a_commit_waits_for_a_long_reader(
    built_on: World, holds: int
) -> None:
    """The long reader ends only when the others have read often since the commit began to wait.

    If they were blocked behind the commit until the long reader ends, this would never end.
    """
    engine = built_on.engine.execution_options(isolation_level="AUTOCOMMIT")
    with reading(built_on) as readers:
        for generation in range(2, holds + 2):
            with built_on.engine.connect() as long_reader, engine.connect() as observer:
                count = "SELECT count(*) FROM full_shop.totals"
                assert long_reader.exec_driver_sql(count).scalar() == 200
                run = built_on.launch(generation)
                run.wait_until("a commit waits", lambda: observer.scalar(sa.text(WAITING)) > 0)
                run.wait_until("all readers have read on", read_on(readers))
                generations = "SELECT DISTINCT generation FROM full_shop.totals"
                assert long_reader.exec_driver_sql(generations).all() == [(generation - 1,)]
            ended = run.finish()
            assert ended.success, ended.log[-8000:]
    built_on.check("always", "whole", "finished", generation=holds + 1)
