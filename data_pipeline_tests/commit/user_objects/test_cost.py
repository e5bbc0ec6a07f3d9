"""A commit of many tables takes no more round trips than one of a single table."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import read_graph
from data_pipeline.database.identifiers import RelationName
from data_pipeline_tests.commit.user_objects.conftest import Stage


@pytest.fixture
def counted(stage: Stage) -> list[str]:
    """The statements that were sent, in their order."""
    sent: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa.event.listen(stage.engine, "before_cursor_execute", count)
    return sent


def tables(count: int) -> list[str]:
    return [f"CREATE TABLE t{number} (a int PRIMARY KEY, b text)" for number in range(count)]


def round_trips(stage: Stage, sent: list[str], count: int) -> int:
    """Gives how many statements a commit takes, less those that the test sends for each table."""
    sent.clear()
    stage.commit(*tables(count))
    return len(sent) - 3 * count


def test_round_trips_do_not_depend_on_the_number_of_tables(
    stage: Stage, role: str, counted: list[str]
) -> None:
    stage.create(*tables(10))
    for number in range(10):
        stage.execute(
            f"CREATE VIEW users.v{number} AS SELECT * FROM s.t{number}",
            f"CREATE MATERIALIZED VIEW users.m{number} AS SELECT * FROM users.v{number}",
            f"CREATE INDEX user_{number} ON s.t{number} (b)",
            f"COMMENT ON COLUMN s.t{number}.a IS 'a'",
            f'GRANT SELECT ON s.t{number}, users.v{number} TO "{role}"',
        )
    assert round_trips(stage, counted, 1) == round_trips(stage, counted, 10)


def test_a_table_on_which_nothing_hangs_takes_four_queries(
    stage: Stage, counted: list[str]
) -> None:
    stage.create("CREATE TABLE plain (a int)")
    counted.clear()
    stage.commit("CREATE TABLE plain (a int)")
    reading = counted[next(i for i, s in enumerate(counted) if "WITH RECURSIVE" in s) :]
    dropped = next(i for i, s in enumerate(reading) if s.startswith("DROP TABLE"))
    assert dropped == 3
    assert len(reading[dropped + 2 :]) == 1


def test_the_walk_is_never_compiled(stage: Stage, counted: list[str]) -> None:
    """PostgreSQL compiles what it takes to be costly, which here takes 50 times the query."""
    stage.create(*tables(2))
    names = [RelationName("s", f"t{number % 2}") for number in range(1000)]
    with stage.engine.begin() as connection:
        read_graph(connection, names)
        walk = next(text for text in counted if "WITH RECURSIVE" in text)
        (explained,) = run(connection, f"EXPLAIN (FORMAT json) {walk}").one()
        above = float(run(connection, "SHOW jit_above_cost").scalar_one())
    assert explained[0]["Plan"]["Total Cost"] < above / 2
