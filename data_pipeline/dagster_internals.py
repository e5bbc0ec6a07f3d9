"""Private names of Dagster, all in one place: what this package needs and has no public form.

Tests fail when one of them changes: `data_pipeline_tests/memo/test_executor.py` (plans, contexts,
executors), `memo/test_blocking_checks.py` (records of checks), `memo/test_visible_configuration.py`
(handles, resolved configuration), `memo/test_resource_configuration.py` (nested resources),
`cli/test_plan.py` (plans without a run) and `io_manager/test_data_versions.py` (stored outputs).
"""

from dagster._config import process_config as process_config
from dagster._core.definitions.dependency import NodeHandle as NodeHandle
from dagster._core.events import EngineEventData as EngineEventData
from dagster._core.execution.api import create_execution_plan as create_execution_plan
from dagster._core.execution.context.system import (
    PlanOrchestrationContext as PlanOrchestrationContext,
)
from dagster._core.execution.plan.execute_step import _store_output as _store_output
from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep as ExecutionStep
from dagster._core.execution.plan.step import IExecutionStep as IExecutionStep
from dagster._core.execution.retries import RetryMode as RetryMode
from dagster._core.executor.base import Executor as Executor
from dagster._core.executor.in_process import InProcessExecutor as InProcessExecutor
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as AssetCheckExecutionRecordStatus,
)
from dagster._core.system_config.objects import ResolvedRunConfig as ResolvedRunConfig
