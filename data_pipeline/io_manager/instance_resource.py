"""The instance resource: what an asset's code sees of its instance, and reads of others."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.instances.dagster_resource import InstanceOfRun
from data_pipeline.io_manager.annotations import wanted
from data_pipeline.io_manager.changed_slices import ChangedSlices, changed_slices
from data_pipeline.io_manager.previous import previous_rows, watermark
from data_pipeline.runs.dagster_plan import computes_asset, current_step, step_sources
from data_pipeline.runs.step_reads import read_by_code
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.reading import fetch, is_in_memory

_LOG = logging.getLogger(__name__)


class InstanceResource(InstanceOfRun):
    """The instance of a run, for assets that want to know: `instance: InstanceResource`.

    An asset that does not take it cannot see the instance's attrs.
    """

    # Said by each of our own resources: code of theirs is no part of a code version.
    chooses_instance_by: ClassVar[frozenset[str]] = InstanceOfRun.chooses_instance_by

    def read(
        self,
        table: str | Sequence[str] | dg.AssetKey,
        kind: Any = sa.Table,
        *,
        of: str | None = None,
    ) -> Any:
        """Return a table or blob, of another instance too; what is read counts as an input.

        Example: `instance.read("stage_1/flights", pd.DataFrame, of="full")`. Use it where one asset
        wants the same table of two instances. The asset runs again when what it read has changed.

        Args:
            table: The key of its asset, `stage/table`.
            kind: What an annotation of a parameter would say; default: a reference.
            of: The name of the instance; None: the one of the run.

        Raises:
            ConfigurationError: There is no such instance; or the table is one of the run's own
                instance and no dependency of the asset, so that it may be made after it was read.
            TableNotFoundError: It has not been built yet.
        """
        found = _table(table)
        reader = self.current
        configuration = load_configuration(self.config, per_user=self.per_user)
        source = reader if of is None else configuration.read_by(reader, of)
        asked = wanted(kind, [source.name], f"`{found}`")
        step = current_step()
        if step is None:
            value, _ = fetch(source, found, asked.fetched, _LOG)
            return asked.fitted(source, value)
        if of is None:
            _check_is_declared(step, configuration, reader, found)
        reads = read_by_code(step.run_id, step.step.key, (source, found))
        with database(reader).begin() as connection:
            run_registry.note_read(connection, reader, step.run_id, step.step.key, reads.versions)
        value, _ = fetch(source, found, asked.fetched, step.log, reads[source, found])
        if is_in_memory(value):
            reads.loaded((source, found))
        return asked.fitted(source, value)

    def previous(self, kind: Any = sa.Table, *, table: str | None = None) -> Any:
        """Return what is there of the asset's own table, for an asset that returns increments.

        Its rows are no input: the asset does not run again since they have changed.

        Args:
            kind: What an annotation of a parameter would say; default: a reference.
            table: The name of the table, where the asset makes several.

        Returns:
            None where the asset has to return everything: nothing is there, or it was made by other
            code. So it is in memory, too.
        """
        return previous_rows(kind, table)

    def watermark(self, column: str, *, table: str | None = None) -> Any:
        """Return the greatest value of a column of what `previous` gives.

        Example: `since = instance.watermark("id")`, to load the rows behind it alone.

        Returns:
            None where the asset has to return everything; also where the table has no rows.

        Raises:
            ConfigurationError: The table has no such column.
        """
        return watermark(column, table)

    def changed_slices(self, table: str | Sequence[str] | dg.AssetKey) -> ChangedSlices | None:
        """Return which slices of a table that the asset reads changed since it was computed.

        Example: `instance.changed_slices("daily/turnover")`. Use it where an asset does something
        for each slice: hands it on to another system, or merges what follows from it into a table
        that grows. The versions of the slices are inputs of the asset from then on.

        Args:
            table: The key of its asset, `stage/table`.

        Returns:
            Their keys, and the SQL that holds for their rows (`condition`). None where the asset
            has to take all of them: at first, after its code has changed, when its own table was
            changed or dropped, when a slice is gone for good. So it is in memory, too.

        Raises:
            ConfigurationError: The asset does not read all slices of such a table.
        """
        return changed_slices(_table(table))


def _table(table: str | Sequence[str] | dg.AssetKey) -> StageTable:
    if isinstance(table, dg.AssetKey):
        return StageTable.from_path(table.path)
    return StageTable.from_path(table.split("/") if isinstance(table, str) else list(table))


def _check_is_declared(step: Any, configuration: Any, reader: Instance, table: StageTable) -> None:
    if not computes_asset(step) or (reader, table) in step_sources(step, configuration, reader):
        return
    raise ConfigurationError(
        f"Step `{step.step.key}` reads `{table}` of its own instance `{reader.name}` by the "
        "instance resource, and does not depend on it, so that it may be made after it was read. "
        f'Write @dg.asset(deps=[dg.AssetKey(["{table.stage}", "{table.name}"])]), take it as a '
        "parameter, or name the instance: read(..., of=...)."
    )
