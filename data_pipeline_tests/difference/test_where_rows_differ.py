"""Where the rows are that differ: planted slices come first, random changes give none."""

import random

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.difference.result import Slice
from data_pipeline_tests.difference.relations import compared_alone
from data_pipeline_tests.io_manager.runs import execute

MAKE = """
CREATE TABLE a AS SELECT g AS k, (ARRAY['JFK','LGA','EWR'])[1 + g % 3] AS origin,
 (abs(hashint8(g + 7)) % 12)::integer AS month, abs(hashint8(g + 99)) % 1000 AS distance,
 (abs(hashint8(g + 5)) % 7 < 2) AS late, 0 AS v FROM generate_series(1::bigint, 6000) g;
ALTER TABLE a ADD PRIMARY KEY (k)
"""


def slices(engine: sa.Engine, condition: str) -> tuple[Slice, ...]:
    execute(
        engine,
        "DROP TABLE IF EXISTS b",
        "CREATE TABLE b AS SELECT k, origin, month, distance, late, "
        f"v + ({condition})::int AS v FROM a",
        "ALTER TABLE b ADD PRIMARY KEY (k)",
    )
    return compared_alone("a", "b").slices


@pytest.fixture
def engine(pipeline_database: sa.Engine) -> sa.Engine:
    with pipeline_database.begin() as connection:
        run(connection, MAKE)
    return pipeline_database


def test_planted_slices_come_first(engine: sa.Engine) -> None:
    assert slices(engine, "origin = 'JFK' AND k % 4 = 0")[0].condition == "origin = 'JFK'"
    two = slices(engine, "origin = 'LGA' AND month = 3 AND k % 5 > 0")[0]
    assert {*two.condition.split(" AND ")} == {"origin = 'LGA'", "month = 3"}
    assert two.share == 1
    assert two.times == pytest.approx(36, rel=0.2)
    assert "late" in slices(engine, "late AND k % 3 = 0")[0].condition
    part = slices(engine, "distance >= 400 AND distance < 500 AND k % 2 = 0")[0]
    assert part.condition.startswith("distance >= ")


def test_random_changes_give_no_slice(engine: sa.Engine) -> None:
    dice = random.Random(1)
    false = sum(
        bool(slices(engine, f"abs(hashint8(k + {dice.randrange(10**9)})) % 20 = 0"))
        for _ in range(10)
    )
    assert false <= 1


def test_few_rows_and_all_rows_are_no_slice(engine: sa.Engine) -> None:
    assert slices(engine, "k IN (1, 4, 7)") == ()
    assert slices(engine, "true") == ()
