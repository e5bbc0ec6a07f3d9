"""Tables of instances for tests: read where they are up to date, else skipped or built."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest

from data_pipeline.cli import chosen_project, main
from data_pipeline.cli.commands.run import dagster_home
from data_pipeline.cli.planned_run import at_home, log_for_shell, planned
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DataPipelineError, TableNotFoundError
from data_pipeline.instances import Configuration
from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.memo.deciding.decisions import Action, Decision
from data_pipeline.store.reading import fetch


class InstanceTables:
    """Gives tables of instances to the tests of one session of pytest.

    Args:
        folder: In the project.
        builds: Whether stale tables are built; else the test is skipped.
    """

    def __init__(self, folder: Path, *, builds: bool) -> None:
        self._folder = folder
        self._builds = builds
        self._decisions: dict[str, Mapping[StageTable, Decision]] = {}
        self._built: set[tuple[str, StageTable]] = set()

    def __call__(self, instance: str, table: str, form: Any = None) -> Any:
        """Return a table as it is committed, or the object of a blob.

        Args:
            instance: The name of the instance.
            table: `stage/table`.
            form: In which form; default: `pd.DataFrame`.

        Raises:
            TableNotFoundError: No asset makes the table on this instance.
        """
        import pandas as pd

        with self._in_project() as configuration:
            one = configuration.instance(instance)
            wanted = self._known(configuration, instance, table)
            if reason := self._staleness(configuration, instance, wanted):
                if not self._builds:
                    pytest.skip(
                        f"`{wanted}` of instance `{instance}` is stale ({reason}). Build it: "
                        f"{one.build_command}, or run pytest with --instance-tables=build"
                    )
                self._build(configuration, instance, wanted)
            return fetch(one, wanted, form or pd.DataFrame, log_for_shell())[0]

    @contextlib.contextmanager
    def _in_project(self) -> Iterator[Configuration]:
        """Be in the project, whatever directory a test has changed to."""
        with contextlib.chdir(self._folder), click.Context(main):
            yield chosen_project.configuration()

    def _known(self, configuration: Configuration, instance: str, name: str) -> StageTable:
        tables = {str(table): table for table in self._decided(configuration, instance)}
        if name not in tables:
            copied = ", which copies its inputs and has no raw tables"
            raise TableNotFoundError(
                f'instance_table("{instance}", "{name}"): no asset makes such a table on instance '
                f"`{instance}`{copied if configuration.instance(instance).copies else ''}. "
                f"{suggestion(name, tables)}"
            )
        return tables[name]

    def _staleness(
        self, configuration: Configuration, instance: str, table: StageTable
    ) -> str | None:
        """Say why a table is stale; None where it is up to date."""
        decision = self._decided(configuration, instance)[table]
        # A source without a fingerprint would be loaded again by each run.
        if decision.action is Action.REUSE or (instance, table) in self._built:
            return None
        return "; ".join(dict.fromkeys(decision.reasons))

    def _decided(
        self, configuration: Configuration, instance: str
    ) -> Mapping[StageTable, Decision]:
        """Return what a run would do, found out once until something is built."""
        if instance not in self._decisions:
            found = planned(configuration, instance, log_for_shell())
            try:
                self._decisions[instance] = found.decisions_on_tables()
            finally:
                found.close()
        return self._decisions[instance]

    def _build(self, configuration: Configuration, instance: str, table: StageTable) -> None:
        """Build a table with what leads to it, and as always only what is not up to date."""
        folder = os.environ.get("DAGSTER_HOME") or str(dagster_home(configuration.home))
        with (
            at_home(folder),
            dg.DagsterInstance.from_config(folder) as storage,
            dg.execute_job(
                chosen_project.reconstructable_job(instance),
                storage,
                asset_selection=_leading_to(instance, table),
            ) as result,
        ):
            self._decisions.clear()  # other instances may copy this one
            if not result.success:
                raise DataPipelineError(
                    f"`{table}` of instance `{instance}` could not be built: {_reason(result)}"
                )
            self._built.add((instance, table))


def _leading_to(instance: str, table: StageTable) -> list[dg.AssetKey]:
    graph = chosen_project.job(instance).asset_layer.asset_graph
    found: set[dg.AssetKey] = set()
    todo = [dg.AssetKey([table.stage, table.name])]
    while todo:
        if (key := todo.pop()) not in found and key in graph.materializable_asset_keys:
            found.add(key)
            todo += graph.get(key).parent_keys
    return sorted(found)


def _reason(result: dg.JobExecutionResult) -> str:
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
        else:
            continue
        if error is not None:
            return (error.cause or error).message.strip()
    return "see the log above"
