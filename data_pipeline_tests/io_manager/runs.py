"""Assets and runs, as short as tests need them."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DataPipelineError
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.table_properties import Properties
from data_pipeline_tests.patience import PATIENCE

STAGE = "s"
_SILENT = logging.Logger("silent")


def table_asset(name: str, make: Callable[[], Any], **options: Any) -> dg.AssetsDefinition:
    """Gives the asset `s/<name>` without inputs, which returns what `make` gives."""

    @dg.asset(key=[STAGE, name], partitions_def=INSTANCE_PARTITIONS, **options)
    def computed():
        return make()

    return computed


def from_inputs(
    name: str, function: Callable[..., Any], *inputs: str, **renamed: str
) -> dg.AssetsDefinition:
    """Gives the asset `s/<name>` made by an annotated function from other assets of the stage.

    `inputs` are parameters of the same name as their assets, `renamed` are those of another name.
    """
    names = {**{item: item for item in inputs}, **renamed}
    return dg.asset(
        key=[STAGE, name],
        ins={parameter: dg.AssetIn(key=[STAGE, item]) for parameter, item in names.items()},
        partitions_def=INSTANCE_PARTITIONS,
    )(function)


def run(
    *assets: dg.AssetsDefinition,
    on: str = "full",
    resources: Mapping[str, Any] | None = None,
    selection: str | None = None,
    raise_on_error: bool = True,
) -> dg.ExecuteInProcessResult:
    """Materializes assets on an instance; `selection` names the one to be computed."""
    return dg.materialize(
        assets,
        partition_key=on,
        resources=dict(resources or instance_resources(on)),
        selection=None if selection is None else [dg.AssetKey([STAGE, selection])],
        raise_on_error=raise_on_error,
    )


def write(
    name: str,
    obj: Any,
    log: logging.Logger = _SILENT,
    *,
    run_id: str = "a_run",
    on: str = "full",
    code_version: str | None = None,
) -> None:
    """Writes the table `s/<name>` as a run of this one asset does, without Dagster."""
    instance = load_configuration().instance(on)
    session = RunSession(database(instance), instance, run_id, log)
    try:
        session.take([StageTable(STAGE, name)])
        session.register({})
        store = Store(instance, log)
        origin = Origin(run_id, Identity(code_version=code_version))
        store.put(StageTable(STAGE, name), obj, Properties(), origin)
        commit_stages(session, [STAGE], log)
    finally:
        session.close()


def refusal(*assets: dg.AssetsDefinition, **options: Any) -> DataPipelineError:
    """Materializes assets that must fail; gives our error behind Dagster's."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the error itself is the result
        run(*assets, **options)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, DataPipelineError):
        error = error.__cause__
    assert error is not None, f"not an error of this project: {caught.value!r}"
    return error


def told(result: dg.ExecuteInProcessResult, name: str) -> str:
    """Gives the message of our error behind what the step of an asset failed with."""
    failure = result.failure_data_for_node(f"{STAGE}__{name}")
    assert failure, f"{name}: not refused"
    error = failure.error
    while error and not error.message.startswith("data_pipeline.errors."):
        error = error.cause
    assert error, f"{name}: not an error of this project: {failure.error}"
    return error.message


def write_refusal(name: str, obj: Any, *, on: str = "full") -> DataPipelineError:
    """Writes a table that must fail, without Dagster; gives the error."""
    with pytest.raises(DataPipelineError) as caught:
        write(name, obj, on=on)
    return caught.value


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    """Gives the values of a materialization's metadata."""
    [event] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey([STAGE, name])
    ]
    return {key: value.value for key, value in event.metadata.items()}


def rows(engine: sa.Engine, query: str) -> list[tuple[Any, ...]]:
    """Gives what a query finds in the database, outside of any asset."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def execute(engine: sa.Engine, *statements: str) -> None:
    """Does what a user of the database does beside the pipeline."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def by_hand(engine: sa.Engine, *statements: str) -> None:
    """Does what a user does to the database; the statistics have counted it when this returns."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        counts_itself = (connection.dialect.server_version_info or ()) < (15,)
        flush = [] if counts_itself else ["SELECT pg_stat_force_next_flush()"]
        for statement in (*statements, *flush):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        connection.detach()
    if counts_itself:  # the end of a session tells another process, which says nothing of it
        time.sleep(1)


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when a condition holds."""
    deadline, pause = time.monotonic() + PATIENCE, 0.01
    while not condition():
        assert time.monotonic() < deadline, "waiting in vain"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.05)  # most conditions ask the server, by a new session
