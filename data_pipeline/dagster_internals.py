"""Private names of Dagster, all in one place: what this package needs and has no public form.

Tests fail when one of them changes: `data_pipeline_tests/memo/test_executor.py` (plans, contexts,
executors), `memo/test_checks_of_reused_tables.py` (events of checks),
`memo/test_visible_configuration.py` (handles, resolved configuration),
`memo/test_resource_configuration.py` (nested resources), `io_manager/test_annotations.py`
(annotations), `memo/test_reads_by_code.py` (the current step),
`cli/test_plan.py` (plans without a run), `cli/test_projects.py` (loading of modules) and
`io_manager/test_data_versions.py` (stored outputs).
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._config import process_config as process_config
from dagster._core.code_pointer import load_python_file as load_python_file
from dagster._core.code_pointer import load_python_module as load_python_module
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.dependency import NodeHandle as NodeHandle
from dagster._core.definitions.metadata.metadata_value import (
    ObjectMetadataValue as ObjectMetadataValue,
)
from dagster._core.definitions.reconstruct import ReconstructableJob as ReconstructableJob
from dagster._core.definitions.reconstruct import (
    ReconstructableRepository as ReconstructableRepository,
)
from dagster._core.definitions.scoped_resources_builder import (
    ScopedResourcesBuilder as ScopedResourcesBuilder,
)
from dagster._core.events import EngineEventData as EngineEventData
from dagster._core.events import StepMaterializationData as StepMaterializationData
from dagster._core.execution.api import create_execution_plan as create_execution_plan
from dagster._core.execution.compute_logs import (
    create_compute_log_file_key as create_compute_log_file_key,
)
from dagster._core.execution.context.compute import (
    current_execution_context as current_execution_context,
)
from dagster._core.execution.context.system import PlanExecutionContext as PlanExecutionContext
from dagster._core.execution.context.system import (
    PlanOrchestrationContext as PlanOrchestrationContext,
)
from dagster._core.execution.context_creation_job import (
    PlanExecutionContextManager as PlanExecutionContextManager,
)
from dagster._core.execution.context_creation_job import (
    execution_context_event_generator as execution_context_event_generator,
)
from dagster._core.execution.plan.execute_plan import _trigger_hook as _trigger_hook
from dagster._core.execution.plan.execute_plan import (
    dagster_event_sequence_for_step as dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.execute_step import _store_output as _store_output
from dagster._core.execution.plan.instance_concurrency_context import (
    InstanceConcurrencyContext as InstanceConcurrencyContext,
)
from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep as ExecutionStep
from dagster._core.execution.plan.step import IExecutionStep as IExecutionStep
from dagster._core.execution.resources_init import (
    get_required_resource_keys_to_init as get_required_resource_keys_to_init,
)
from dagster._core.execution.resources_init import (
    resource_initialization_manager as resource_initialization_manager,
)
from dagster._core.execution.retries import RetryMode as RetryMode
from dagster._core.executor.base import Executor as Executor
from dagster._core.executor.in_process import InProcessExecutor as InProcessExecutor
from dagster._core.executor.multiprocess import MultiprocessExecutor as MultiprocessExecutor
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME as INDEX_SHARD_NAME,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage as SqliteEventLogStorage,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorageWatchdog as SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import (
    SqliteRunStorage as SqliteRunStorage,
)
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import (
    SqliteScheduleStorage as SqliteScheduleStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS as SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage as DagsterSqliteStorage
from dagster._core.system_config.objects import ResolvedRunConfig as ResolvedRunConfig
from dagster._core.types import transform_typing
from dagster._core.workspace.autodiscovery import (
    loadable_targets_from_loaded_module as loadable_targets_from_loaded_module,
)
from dagster._serdes import ConfigurableClassData as ConfigurableClassData
from dagster._utils import EventGenerationManager as EventGenerationManager
from dagster._utils import typing_api
from dagster._utils.error import (
    serializable_error_info_from_exc_info as serializable_error_info_from_exc_info,
)
from dagster._utils.interrupts import capture_interrupts as capture_interrupts
from dagster_shared.error import SerializableErrorInfo as SerializableErrorInfo

_EXTENDED = "_extended_by_data_pipeline"


def extend_annotations(resolve: Callable[[Any], dg.DagsterType | None]) -> None:
    """Let Dagster know annotations that it would refuse when an asset or op is defined.

    Its registry of types takes classes only. The two functions are looked up when they are called.

    Args:
        resolve: Gives the Dagster type of an annotation, None of one that it does not know.
    """
    if hasattr(typing_api, _EXTENDED):
        return
    setattr(typing_api, _EXTENDED, True)
    is_typing_type: Any = typing_api.is_typing_type
    transform: Any = transform_typing.transform_typing_type

    def is_known(annotation: Any) -> bool:
        return resolve(annotation) is not None or is_typing_type(annotation)

    def transformed(annotation: Any) -> Any:
        return resolve(annotation) or transform(annotation)

    typing_api.is_typing_type = is_known
    transform_typing.transform_typing_type = transformed
