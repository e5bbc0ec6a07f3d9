"""The server ends what it does for a process that is gone."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows, wait_until

BY_SQLALCHEMY = 'with at.begin() as session: session.exec_driver_sql("SELECT pg_sleep(9999)")'
BY_ADBC = 'with at.adbc() as session: session.cursor().execute("SELECT pg_sleep(9999)")'
PROGRAM = """
from data_pipeline.instances import load_configuration
from data_pipeline.database.connection import database
at = database(load_configuration().instance("full"))
{query}
"""
QUERYING = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND datname = current_database()
"""


@pytest.mark.parametrize("query", [BY_SQLALCHEMY, BY_ADBC], ids=["SQLAlchemy", "ADBC"])
def test_a_query_ends_with_its_process(pipeline_database: sa.Engine, query: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(query=query)]
    with subprocess.Popen(program) as process:
        wait_until(lambda: rows(pipeline_database, QUERYING) == [(True,)])
        process.kill()
    wait_until(lambda: rows(pipeline_database, QUERYING) == [(False,)])
