"""What users change on tables, and on what they built there, is there while stages commit."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from data_pipeline_tests.proofs.commits import COMMITS, commit_stages
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

BUILT = """
CREATE VIEW reports.own AS SELECT id, 0 AS n FROM full_shop.totals;
CREATE VIEW reports.on_own AS SELECT o.n FROM reports.own o JOIN full_shop.ranks USING (id);
CREATE FUNCTION reports.own_number() RETURNS bigint
    BEGIN ATOMIC SELECT 0 * max(total) FROM full_shop.totals; END;
"""
READABLE = "SELECT has_table_privilege('pg_monitor', '{}', 'SELECT')"


@dataclass(frozen=True)
class Kind:
    """A kind of change that a user makes again and again.

    Attributes:
        change: Gives the statement of the nth change.
        query: Gives what the last change was.
        expected: What the query gives after the nth change.
    """

    change: Callable[[int], str]
    query: str
    expected: Callable[[int], object]


def grants(relation: str) -> Kind:
    def change(n: int) -> str:
        verbs = ("GRANT", "TO") if n % 2 else ("REVOKE", "FROM")
        return f"{verbs[0]} SELECT ON {relation} {verbs[1]} pg_monitor"

    return Kind(change, READABLE.format(relation), lambda n: bool(n % 2))


KINDS = {
    "grants of a table": grants("full_shop.totals"),
    "grants of a view": grants("reports.on_own"),
    "comments": Kind(
        lambda n: f"COMMENT ON TABLE full_shop.ranks IS '{n}'",
        "SELECT obj_description('full_shop.ranks'::regclass)",
        str,
    ),
    "queries of a view": Kind(
        lambda n: (
            f"CREATE OR REPLACE VIEW reports.own AS SELECT id, {n} AS n FROM full_shop.totals"
        ),
        "SELECT max(n) FROM reports.on_own",
        int,
    ),
    "new views": Kind(
        lambda n: (
            "DROP VIEW IF EXISTS reports.again; "
            f"CREATE VIEW reports.again AS SELECT {n} AS n FROM reports.overview"
        ),
        "SELECT max(n) FROM reports.again",
        int,
    ),
    "bodies of a function": Kind(
        lambda n: (
            "CREATE OR REPLACE FUNCTION reports.own_number() RETURNS bigint "
            f"BEGIN ATOMIC SELECT {n} + 0 * max(total) FROM full_shop.totals; END"
        ),
        "SELECT substring(pg_get_functiondef('reports.own_number()'::regprocedure) "
        "FROM 'SELECT \\((\\d+) \\+')::int",
        int,
    ),
}


class User(threading.Thread):
    """Makes changes of one kind, and looks after each whether it is still there."""

    def __init__(self, engine: sa.Engine, name: str, kind: Kind) -> None:
        super().__init__(name=name)
        self._engine = engine
        self._kind = kind
        self._stop_asked = threading.Event()
        self.changes = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            if self._changed(self.changes + 1):
                self.changes += 1
                self._look()

    def end(self) -> None:
        self._stop_asked.set()
        self.join()

    def _changed(self, number: int) -> bool:
        """Tries a change, which may meet a commit; whether it succeeded."""
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 300")
                connection.exec_driver_sql(self._kind.change(number))
        except sa.exc.DBAPIError:
            return False
        return True

    def _look(self) -> None:
        """Looks several times whether the last change is there."""
        try:
            for _ in range(3):
                time.sleep(random.uniform(0, 0.02))
                if not (self._is_there() or self._is_there()):
                    self.lost.append(f"{self.name}: {self.changes}")
        except sa.exc.DBAPIError as error:
            self.lost.append(f"{self.name}: {error}")

    def _is_there(self) -> bool:
        """Whether the last change is there; a query that begins before a commit may miss it."""
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql(self._kind.query).scalar()
        return found == self._kind.expected(self.changes)


@contextmanager
def changing(world: World) -> Iterator[None]:
    """Users that go on meanwhile; afterwards, nothing of what they did may be lost."""
    users = [User(world.engine, name, kind) for name, kind in KINDS.items()]
    for user in users:
        user.start()
    try:
        yield
    finally:
        for user in users:
            user.end()
    TALLY.changes += sum(user.changes for user in users)
    assert not [line for user in users for line in user.lost]
    assert all(user.changes for user in users)


@pytest.mark.parametrize("wanted", COMMITS)
def test_changes_of_users_stay_during_commits(built_on: World, wanted: int) -> None:
    built_on.execute(BUILT)
    with changing(built_on):
        for generation in commit_stages(built_on, wanted, "table"):
            built_on.check("always", "whole", "finished", generation=generation)
