"""The pipeline with a process for each step."""

import dagster as dg

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.memo.step_processes import PRELOADED
from data_pipeline_tests.runs.interrupts.project import assets

_START = {
    "forkserver": {"preload_modules": [*PRELOADED, "data_pipeline_tests.memo.world", __name__]}
}
_EXECUTOR = dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": _START})

defs = instance_definitions(assets, executor=_EXECUTOR)
