"""The server ends what it does for a process that is gone."""

import subprocess
import sys

import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows, wait_until

PROGRAM = """
from threading import Thread
from data_pipeline.instances import load_configuration
from data_pipeline.database.connection import database
at = database(load_configuration().instance("full"))
def by_sqlalchemy():
    with at.begin() as session: session.exec_driver_sql("SELECT pg_sleep(9999)")
def by_adbc():
    with at.adbc() as session: session.cursor().execute("SELECT pg_sleep(9999)")
Thread(target=by_sqlalchemy).start()
by_adbc()
"""
QUERYING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND datname = current_database()
"""


def test_queries_end_with_their_process(pipeline_database: sa.Engine) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM]) as process:
        wait_until(lambda: rows(pipeline_database, QUERYING) == [(2,)])
        process.kill()
    wait_until(lambda: rows(pipeline_database, QUERYING) == [(0,)])
