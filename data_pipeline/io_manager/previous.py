"""What is there of a table, for an asset that returns increments of it and asks."""

import inspect
import logging
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import Identity, identity_of, op_context, resources_of_run
from data_pipeline.identity.increment_restarts import lineages, reason_to_start
from data_pipeline.identity.upstream import upstream
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.settings.caching_and_kept_versions import validation
from data_pipeline.io_manager.annotations import wanted
from data_pipeline.results.increment_checks import Previous
from data_pipeline.runs.dagster_plan import current_step
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import verdict_on
from data_pipeline.store.lookup import FoundTable, committed
from data_pipeline.store.reading import fetch

PREVIOUS = "previous"
"""The parameter for what is there of an asset's own table."""

_LOG = logging.getLogger(__name__)

Place = Callable[[], tuple[Configuration, Instance]]
"""Gives all instances, and the one that a run writes."""

_places: dict[str, Place] = {}
"""Of the runs whose tables are kept by an IO manager of this process."""

_told: dict[tuple[str, str, StageTable], Previous] = {}
"""What assets were told, by run, node and table."""


def open_run(run_id: str, place: Place) -> None:
    """Note that tables of a run are kept, by an IO manager of this process."""
    _places[run_id] = place


def close_run(run_id: str) -> None:
    """Forget a run."""
    _places.pop(run_id, None)
    for key in [key for key in _told if key[0] == run_id]:
        del _told[key]


def place_of(step: Any) -> tuple[Configuration, Instance] | None:
    """Return all instances, and the one whose tables a step keeps; None: it keeps none."""
    place = _places.get(step.run_id) if step is not None else None
    return place() if place is not None else None


def told(step: Any, table: StageTable) -> Previous | None:
    """Return what an asset was told in a step; None if it did not ask."""
    return _told.get((step.run_id, str(step.node_handle.root), table))


def ask(step: Any, table: StageTable) -> tuple[Instance, Previous] | None:
    """Return what is there that an increment of a table can be added to, and whose it is.

    Returns:
        None where nothing is kept: outside of a run, and in memory.
    """
    if (place := place_of(step)) is None:
        return None
    configuration, instance = place
    found = _found(step, configuration, instance, table)
    if found.reason is not None:
        step.log.info(f"`{table}` is built from the start: {found.reason}")
    _told[step.run_id, str(step.node_handle.root), table] = found
    return instance, found


def previous_rows(kind: Any = sa.Table, table: str | None = None) -> Any:
    """Return what is there of the table of the asset that is computed, as an annotation says.

    Args:
        kind: The annotation.
        table: The name of the table, where the asset has several.

    Returns:
        None where everything is to be returned.
    """
    step = current_step()
    if step is None or step.run_id not in _places:
        return None
    own = own_table(step, table)
    asked = ask(step, own)
    if asked is None or asked[1].row is None:
        return None
    instance, row = asked[0], asked[1].row
    form = wanted(kind, [instance.name], f"`{PREVIOUS}` of `{own}`")
    found = FoundTable(committed(instance, own), row)
    value, _ = fetch(instance, own, form.fetched, step.log, found)
    return form.fitted(instance, value)


def watermark(column: str, table: str | None = None) -> Any:
    """Return the greatest value of a column of the table of the asset that is computed."""
    previous = previous_rows(sa.Table, table)
    if previous is None:
        return None
    if column not in previous.c:
        raise ConfigurationError(
            f"watermark({column!r}): table `{previous.name}` has the columns "
            f"{', '.join(previous.c.keys())}."
        )
    _, instance = _places[current_step().run_id]()
    with database(instance).begin() as connection:
        return connection.scalar(sa.select(sa.func.max(previous.c[column])))


def own_table(step: Any, name: str | None) -> StageTable:
    """Return the table that a step computes.

    Raises:
        ConfigurationError: There are several, and none is named.
    """
    tables = {table.name: table for table in own_tables(step)}
    if name is None and len(tables) == 1:
        [name] = tables
    if name not in tables:
        raise ConfigurationError(
            f"Step `{step.step.key}` asks what is there of {f'`{name}`' if name else 'its table'}; "
            f"it makes {', '.join(f'`{item}`' for item in sorted(tables)) or 'none'}. Name one of "
            'these: `previous(table="...")`, `watermark(column, table="...")`.'
        )
    return tables[name]


def own_tables(step: Any) -> list[StageTable]:
    """Return the tables that a step computes."""
    definition = step.job_def.asset_layer.get_assets_def_for_node(step.node_handle)
    keys = [key.path for key in (definition.keys if definition else ()) if len(key.path) == 2]
    return [StageTable.from_path(path) for path in keys]


def with_previous(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of an asset without its parameter `previous`, which gets its value here."""
    signature = inspect.signature(function)
    parameters = [item for item in signature.parameters.values() if item.name != PREVIOUS]
    kind: Any = sa.Table
    with suppress(NameError):  # Dagster will say what is wrong with that annotation
        kind = typing.get_type_hints(function).get(PREVIOUS, sa.Table)

    @wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        return function(*args, **{PREVIOUS: previous_rows(kind), **options})

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    annotations = {n: kind for n, kind in function.__annotations__.items() if n != PREVIOUS}
    called.__annotations__ = annotations
    called.supplies_values = True  # type: ignore[attr-defined] # said to code versions
    return called


def lineage_of_inputs(
    step: Any, configuration: Configuration, instance: Instance, inputs: Mapping[str, Any]
) -> dict[str, str]:
    """Return what went into the inputs of a step besides data."""
    return lineages(inputs, _CatalogRows(step.run_id, configuration, instance))


def _found(
    step: Any, configuration: Configuration, instance: Instance, table: StageTable
) -> Previous:
    with database(instance).begin() as connection:
        row = catalog.row(connection, instance.catalog_schema, table)
        if row is None or row.kind != "table":
            return Previous(None, "it is not there yet")
        verdict = verdict_on(connection, committed(instance, table), row)
    if not verdict.is_intact:
        return Previous(None, verdict.change or "it was dropped")
    inputs = [
        f"{source.instance_id}/{name}"
        for _, source, name in upstream(_graph(step), _key(table), configuration, instance)
    ]
    reason = reason_to_start(
        table.name,
        identity_in_step(step, instance, table),
        row,
        inputs,
        _CatalogRows(step.run_id, configuration, instance),
        validation(instance, step.run_tags),
    )
    return Previous(None, reason) if reason else Previous(row)


def identity_in_step(step: Any, instance: Instance, table: StageTable) -> Identity:
    """Return what the result of an asset depends on, in the step that computes it."""
    spec = _graph(step).get(_key(table)).to_asset_spec()
    config = step.resolved_run_config
    resources = resources_of_run(step.job_def, config, step.run_id)
    return identity_of(
        spec, op_context(step.job_def, step.node_handle, config, resources), instance
    )


def _graph(step: Any) -> Any:
    return step.job_def.asset_layer.asset_graph


def _key(table: StageTable) -> dg.AssetKey:
    return dg.AssetKey([table.stage, table.name])


class _CatalogRows:
    """The catalog rows of instances as a run sees them, read when they are needed."""

    def __init__(self, run_id: str, configuration: Configuration, instance: Instance) -> None:
        self._run_id = run_id
        self._own = instance
        self._instances = {i.instance_id: i for i in configuration.instances.values()}
        self._instances[instance.instance_id] = instance
        self._read: dict[str, Mapping[StageTable, CatalogRow]] = {}

    def __call__(self, name: str) -> CatalogRow | None:
        instance_id, stage, table = name.split("/", 2)
        if instance_id not in self._instances:
            return None
        if instance_id not in self._read:
            self._read[instance_id] = self._rows(self._instances[instance_id])
        return self._read[instance_id].get(StageTable(stage, table))

    def _rows(self, instance: Instance) -> Mapping[StageTable, CatalogRow]:
        with database(instance).begin() as connection:
            rows = catalog.rows(connection, instance.catalog_schema)
            if instance == self._own:
                rows |= staging.of_run(connection, instance, self._run_id)
        return rows
