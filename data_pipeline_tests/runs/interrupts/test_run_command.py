"""`data-pipeline run` ends when it is asked to, and its exit status says that it did not finish."""

import signal
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows, wait_until
from data_pipeline_tests.launch.conftest import place
from data_pipeline_tests.launch.processes import CHECKOUT, PROGRAMS
from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.runs.interrupts.held import Held

LOCK = "SELECT pg_advisory_lock(hashtextextended('data_pipeline:stage:full_raw', 0))"


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_the_command_fails(
    pipeline_database: sa.Engine, tmp_path: Path, number: signal.Signals
) -> None:
    held = Held(pipeline_database)
    env = place(pipeline_database.url, tmp_path).env
    log = tmp_path / "log"
    with pipeline_database.connect() as holder, log.open("wb") as output:
        holder.exec_driver_sql(LOCK)
        command = [PROGRAMS / "data-pipeline", "run", "full"]
        with subprocess.Popen(command, env=env, cwd=CHECKOUT, stdout=output, stderr=output) as run:
            wait_until(held.has_waiting)
            run.send_signal(number)
            assert run.wait(PATIENCE) == 1, log.read_text()
        holder.exec_driver_sql("SELECT")  # it still is there
    assert f"Asked to end ({number.name}): nothing more is committed" in log.read_text()
    assert rows(pipeline_database, "SELECT to_regclass('full_raw.dfa')") == [(None,)]
