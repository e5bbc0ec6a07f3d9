"""What becomes of tables with slices that steps in other processes build."""

import dagster as dg
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.runs.workers.leader import lead


def check_that_slices_are_built(
    storage: dg.DagsterInstance, engine: sa.Engine, executor: str
) -> None:
    for job in ("day_1", "day_2", "full"):
        assert lead(storage, "sliced", executor, job).success
    made = "SELECT day::text, sold FROM full_daily.turnover ORDER BY 1"
    assert rows(engine, made) == [("2026-01-01", 1), ("2026-01-02", 2)]
    assert rows(engine, "SELECT sold, told FROM full_total.everything") == [(3, "None")]
    for job in ("day_1", "full"):
        again = lead(storage, "sliced", executor, job)
        assert again.success
        assert not [event for event in again.all_events if event.is_step_success]
    assert lead(storage, "sliced", executor, "day_3").success
    assert lead(storage, "sliced", executor, "full").success
    told = rows(engine, "SELECT sold, told FROM full_total.everything")
    assert told == [(6, "('2026-01-03',)")]
