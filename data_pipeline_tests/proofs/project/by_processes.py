"""The project with a process for each step."""

import os

import dagster as dg

from data_pipeline.assembly import instance_definitions
from data_pipeline.runs.step_process import LEADER
from data_pipeline_tests.memo.step_processes import PRELOADED
from data_pipeline_tests.proofs.project.definitions import assets

if os.environ.get("PROOF_OUTLIVES"):
    os.environ.pop(LEADER, None)

# The processes are copies of one that has imported all this, which saves seconds for each step.
_MODULES = [*PRELOADED, "data_pipeline_tests.memo.world", __name__]
_START = {"forkserver": {"preload_modules": _MODULES}}
_EXECUTOR = dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": _START})

defs = instance_definitions(assets, executor=_EXECUTOR)
