"""The project with a process for each step."""

import os

import dagster as dg

from data_pipeline.assembly import instance_definitions
from data_pipeline.runs.step_reads import LEADER
from data_pipeline_tests.proofs.project.definitions import assets

if os.environ.get("PROOF_OUTLIVES"):
    os.environ.pop(LEADER, None)

# The processes are copies of one that has imported all this, which saves seconds for each step.
PRELOADED = [
    "adbc_driver_postgresql.dbapi",
    "pandas",
    "psycopg2",
    "pyarrow",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "data_pipeline.transfer.content_hash",
    "data_pipeline.transfer.frames",
    "data_pipeline.transfer.copy_in",
    "data_pipeline.transfer.pandas_frames",
    "data_pipeline_tests.memo.world",
    __name__,
]
_START = {"forkserver": {"preload_modules": PRELOADED}}
_EXECUTOR = dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": _START})

defs = instance_definitions(assets, executor=_EXECUTOR)
