"""What a run would do: the decisions of a whole job, without running it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import dagster as dg

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_slices import SliceRun
from data_pipeline.code_version.code_warnings import unseen_inputs
from data_pipeline.dagster_internals import ResolvedRunConfig, create_execution_plan
from data_pipeline.database.connection import database
from data_pipeline.identity.run_resources import RunResources
from data_pipeline.instances import Configuration, Instance
from data_pipeline.memo.deciding.run_plan import RunPlan
from data_pipeline.runs.dagster_plan import code_location
from data_pipeline.store.orphans import Orphans, orphans

# `create_execution_plan` is private, as in `executor.py`; `data_pipeline_tests/cli/test_plan.py`
# fails when it changes.


def planned(
    configuration: Configuration, name: str, log: logging.Logger, of: SliceRun | None = None
) -> RunPlan:
    """Return what a run of the job of an instance, or of a slice, would do."""
    job = chosen_project.job(of.job if of else name)
    for line in unseen_inputs(job.asset_layer.asset_graph):
        log.warning(line)
    tags = {**job.tags, **(of.tags if of else {})}
    plan = create_execution_plan(job, run_config=job.run_config, tags=tags)
    config = ResolvedRunConfig.build(job, job.run_config)
    resources = RunResources(job.resource_defs, config.resources)
    storage = partial(storage_of_shell, configuration.home)
    key = of.partition_key if of else name
    return RunPlan(plan, job, config, tags, configuration, key, resources, log, storage)


def storage_of_shell(home: Path) -> dg.DagsterInstance | None:
    """Return the storage that a run from the shell would use, None where there is none yet."""
    folder = os.environ.get("DAGSTER_HOME") or str(home.absolute() / "dagster")
    if not Path(folder).is_dir():
        return None
    with at_home(folder):
        return dg.DagsterInstance.from_config(folder)


@contextmanager
def at_home(folder: str) -> Iterator[None]:
    """Let a folder be DAGSTER_HOME, of which a storage named in `dagster.yaml` is not told."""
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def orphans_of(instance: Instance) -> Orphans:
    """Return the results of an instance that no asset of the project makes any more."""
    location = code_location(chosen_project.job(instance.name))
    if location is None:
        return Orphans()
    with database(instance).begin() as connection:
        return orphans(connection, instance, location)


class _Shown(logging.Handler):
    """Shows warnings and errors of a command."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname}: {record.getMessage()}", err=True)


def log_for_shell() -> logging.Logger:
    """Return a log whose warnings and errors are shown at the shell."""
    log = logging.Logger("data_pipeline", level=logging.WARNING)
    log.addHandler(_Shown())
    return log
