"""Who commits the stages of a run: its executor, or its process where that executes all of it."""

import os
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows

_PROJECT = """
import dagster as dg
import pandas as pd
from data_pipeline import instance_resources
from data_pipeline.memo.executor import memoised
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS

def made(name, **settings):
    def table() -> pd.DataFrame:
        return pd.DataFrame({{"v": [1]}})
    return dg.asset(key=["s", name], **settings)(table)

executor = {executor}
partitions = dict(partitions_def=INSTANCE_PARTITIONS) if {is_partitioned} else {{}}
assets = [made(name, **partitions) for name in ("a", "b")]
one = dg.AssetSelection.assets(["s", "a"])
jobs = [dg.define_asset_job("job"), dg.define_asset_job("one", one)]
defs = dg.Definitions(assets, jobs=jobs, executor=executor, resources=instance_resources({pinned}))
"""


def execute(folder: Path, job: str, tags: str = "{}", **options: object) -> str:
    """Executes a job by the command line; gives its output."""
    file = folder / "project.py"
    file.write_text(_PROJECT.format(**options))
    program = Path(sys.executable).parent / "dagster"
    command = [program, "job", "execute", "-f", file, "-j", job, "--tags", tags]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


def test_steps_in_processes_that_nobody_leads_are_refused(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    """Each would commit its own table, and so a part of the stage."""
    partition = '{"dagster/partition": "full"}'
    plain = {"executor": "dg.multiprocess_executor", "is_partitioned": True, "pinned": ""}
    output = execute(tmp_path, "job", partition, **plain)
    assert "executes its steps in several processes (executor `multiprocess`)" in output
    memoised = {"executor": "memoised(dg.multiprocess_executor)", "pinned": "'full'"}
    output = execute(tmp_path, "job", **memoised, is_partitioned=False)
    assert "executes its steps in several processes (executor `memoised_multiproc" in output
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'full_s'"
    assert rows(pipeline_database, tables) == [(0,)]
    assert "RUN_SUCCESS" in execute(tmp_path, "one", partition, **plain)
    assert rows(pipeline_database, tables) == [(1,)]
