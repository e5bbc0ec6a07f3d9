"""Which slices of a table changed since the asset that reads all of them was computed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.relations import read_shapes
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.change_reasons import change
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.settings.caching_and_kept_versions import validation
from data_pipeline.io_manager.previous import ask, identity_in_step, own_tables, place_of
from data_pipeline.runs.dagster_plan import current_step, step_sources
from data_pipeline.runs.step_reads import note_versions, read_by_code, reads_of
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import verdict_on
from data_pipeline.store.lookup import FoundTable, committed
from data_pipeline.store.sliced_tables import bounds_of


class ChangedSlices(tuple[str, ...]):
    """The keys of the slices that have other data than before, in their order.

    Attributes:
        condition: The SQL that is true for their rows, by the name of the column.
    """

    condition: str

    def __new__(cls, keys: Iterable[str], condition: str) -> "ChangedSlices":
        """Keep the keys, and the condition beside them."""
        made = super().__new__(cls, keys)
        made.condition = condition
        return made


def changed_slices(table: StageTable) -> ChangedSlices | None:
    """Return the slices of an input that changed since the asset of this step was computed.

    What is said is recorded with what the asset returns, slice by slice.

    Raises:
        ConfigurationError: The asset does not read all slices of such a table.
    """
    step = current_step()
    place = place_of(step)
    if place is None:
        return None
    configuration, instance = place
    source = _source(step, configuration, instance, table)
    found = _found(step, source, table)
    if found.row is None or found.row.kind != "sliced":
        raise ConfigurationError(
            f"Step `{step.step.key}` asks which slices of `{table}` changed, which has none."
        )
    slices = {
        f"{source.instance_id}/{item.row.table}": item
        for item in found.members.values()
        if item.row is not None
    }
    versions = {name: item.version for name, item in slices.items() if item.version is not None}
    note_versions(step.run_id, step.step.key, versions)
    with database(instance).begin() as connection:
        run_registry.note_read(connection, instance, step.run_id, step.step.key, versions)
    rows = [_computed(step, instance, own) for own in own_tables(step)]
    read = [_slices_read(row, source, table) for row in rows if row is not None]
    if len(read) < len(rows) or any(not each or each.keys() - slices.keys() for each in read):
        return None
    is_same = {
        name
        for name, version in versions.items()
        if all(each.get(name) == version for each in read)
    }
    return _changed(source, found, [item for name, item in slices.items() if name not in is_same])


def _source(
    step: Any, configuration: Configuration, instance: Instance, table: StageTable
) -> Instance:
    """Return the instance whose table the step reads."""
    for source, read in step_sources(step, configuration, instance):
        if read == table:
            return source
    raise ConfigurationError(
        f"Step `{step.step.key}` asks which slices of `{table}` changed, and does not read all of "
        "them. Take the table as a parameter, or name it as a dependency: "
        f'deps=[dg.AssetKey(["{table.stage}", "{table.name}"])]. An asset with slices reads its '
        "own slice only."
    )


def _found(step: Any, source: Instance, table: StageTable) -> FoundTable:
    """Return the table as the step has loaded it, or locked from now on."""
    reads = reads_of(step.run_id, step.step.key)
    if reads is None or (source, table) not in reads:
        reads = read_by_code(step.run_id, step.step.key, (source, table))
    return reads[source, table]


def _computed(step: Any, instance: Instance, own: StageTable) -> CatalogRow | None:
    """Return the row of a result of the asset, by this very code; None: there is none."""
    with database(instance).begin() as connection:
        row = catalog.row(connection, instance.catalog_schema, own)
        if row is None or row.is_absent:
            return None
        if row.is_relation and not verdict_on(connection, committed(instance, own), row).is_intact:
            return None
    if row.increment:
        asked = ask(step, own)
        return asked[1].row if asked is not None else None
    return row if _is_by_same_code(step, instance, own, row) else None


def _is_by_same_code(step: Any, instance: Instance, own: StageTable, row: CatalogRow) -> bool:
    mode = validation(instance, step.run_tags)
    if mode.mode == "force_cache_invalid":
        return False
    now, before = identity_in_step(step, instance, own), Identity.from_row(row)
    counts = not mode.ignore_code_version
    return change(own.name, now, before, code=counts, source=False, fresh=False) is None


def _slices_read(row: CatalogRow, source: Instance, table: StageTable) -> Mapping[str, str | None]:
    """Return the versions of the slices of which a result was computed; none: it did not ask."""
    of_table = f"{source.instance_id}/{table.of_slice('')}"
    return {name: version for name, version in row.inputs.items() if name.startswith(of_table)}


def _changed(source: Instance, whole: FoundTable, slices: Sequence[FoundTable]) -> ChangedSlices:
    bounds = [bounds_of(item.row) for item in slices if item.row is not None]
    if not bounds:
        return ChangedSlices((), "false")
    with database(source).begin() as connection:
        shape = read_shapes(connection, [whole.relation])[whole.relation]
    kind = next(item.type for item in shape.columns if item.name == bounds[0].column)
    conditions = (f"({each.condition(kind)})" for each in bounds)
    return ChangedSlices(sorted(each.key for each in bounds), f"({' OR '.join(conditions)})")
