"""An executor that starts a process a step, as Kubernetes does: nothing of the leader's disk."""

import os
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
)

OWN_DISKS = "TEST_OWN_DISKS"
"""Names the folder with the disk of each process."""


class Pods(StepHandler):
    name = "pods"

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def launch_step(self, step_handler_context: Any) -> Any:
        arguments = step_handler_context.execute_step_args
        [key] = arguments.step_keys_to_execute
        disk = Path(os.environ[OWN_DISKS], key)
        disk.mkdir(parents=True)
        with (disk / "log").open("wb") as log:
            self._processes[key] = subprocess.Popen(
                arguments.get_command_args(),
                env={**os.environ, "DATA_PIPELINE_HOME": str(disk / "home")},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return iter(())

    def check_step_health(self, step_handler_context: Any) -> CheckStepHealthResult:
        [key] = step_handler_context.execute_step_args.step_keys_to_execute
        code = self._processes[key].poll()
        if code:
            return CheckStepHealthResult.unhealthy(f"exit {code}")
        return CheckStepHealthResult.healthy()

    def terminate_step(self, step_handler_context: Any) -> Any:
        [key] = step_handler_context.execute_step_args.step_keys_to_execute
        self._processes[key].terminate()
        return iter(())


@dg.executor(name="pods", requirements=dg.multiple_process_executor_requirements())
def pods(_: dg.InitExecutorContext) -> StepDelegatingExecutor:
    return StepDelegatingExecutor(
        Pods(),
        retries=RetryMode.DISABLED,
        check_step_health_interval_seconds=1,
        should_verify_step=False,
    )
