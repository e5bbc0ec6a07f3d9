"""Memoised runs of a hundred tables in a chain, by `dagster job execute`, as a user would."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison, compare

PROJECTS = Path(__file__).parent / "projects"


def execute(project: str, job: str, **variables: str) -> str:
    """Run a job as a user would; gives the run's log."""
    dagster = Path(sys.executable).with_name("dagster")
    file = str(PROJECTS / f"{project}.py")
    done = subprocess.run(
        [dagster, "job", "execute", "-f", file, "-j", job],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return done.stderr


def comparisons() -> Iterator[Comparison]:
    """Measures a run with nothing to do, and says what a change in the middle runs."""
    print(f"first run, 100 tables: {_summary(execute('chain', 'full'))}", flush=True)
    yield compare(
        "100 tables, nothing changed, against an empty Dagster job",
        lambda: execute("chain", "full"),
        lambda: execute("empty", "empty"),
        goal="1.25 x",
        rounds=5,
    )
    changed = execute("chain", "full", BENCH_MIDDLE="1")
    print(f"table 50 of 100 changed: {_summary(changed)}", flush=True)
    print(_planning(), flush=True)


def _summary(log: str) -> str:
    line = next(line for line in log.splitlines() if "served from the cache" in line)
    return line.rsplit(" - ", 1)[-1]


def _planning() -> str:
    """Measures the decision of a whole plan, besides imports and the job's own set-up."""
    from dagster._core.execution.api import create_execution_plan
    from dagster._core.system_config.objects import ResolvedRunConfig

    from benchmarks.projects import chain
    from data_pipeline.identity.run_resources import RunResources
    from data_pipeline.instances import load_configuration
    from data_pipeline.memo.deciding.run_plan import RunPlan

    job = chain.defs.resolve_job_def("full")
    plan = create_execution_plan(job, tags=dict(job.tags))
    run_config = ResolvedRunConfig.build(job)
    configuration = load_configuration()
    log = logging.getLogger("benchmarks")
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        resources = RunResources(job.resource_defs, run_config.resources)
        RunPlan(plan, job, run_config, job.tags, configuration, "full", resources, log).decisions()
        seconds.append(time.perf_counter() - started)
    median = sorted(seconds)[3] * 1000
    return f"planning 100 assets: {median:.1f} ms   goal: 20 ms"
