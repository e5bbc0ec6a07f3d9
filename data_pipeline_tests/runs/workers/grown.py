"""What becomes of tables that grow by what steps in other processes return."""

import dagster as dg
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.runs.workers.leader import lead


def check_that_tables_grow(storage: dg.DagsterInstance, engine: sa.Engine, executor: str) -> None:
    execute(
        engine,
        "DROP TABLE IF EXISTS public.lines",
        "CREATE TABLE public.lines (k int PRIMARY KEY, item text NOT NULL, amount int NOT NULL)",
        "INSERT INTO public.lines VALUES (1, 'apple', 1), (2, 'pear', 2)",
    )
    assert lead(storage, "growing", executor).success
    execute(engine, "INSERT INTO public.lines VALUES (3, 'apple', 4)")
    assert lead(storage, "growing", executor).success
    assert rows(engine, "SELECT * FROM full_shop.lines ORDER BY k") == [
        (1, "apple", 1),
        (2, "pear", 2),
        (3, "apple", 4),
    ]
    sums = "SELECT item, amount FROM full_shop.sums ORDER BY item"
    assert rows(engine, sums) == [("apple", 5), ("pear", 2)]
    numbers = "SELECT name, increment->>'number' FROM full_catalog.tables ORDER BY name"
    assert rows(engine, numbers) == [("lines", "1"), ("sums", "1")]
    again = lead(storage, "growing", executor)
    assert again.success
    assert not [event for event in again.all_events if event.is_step_success]
