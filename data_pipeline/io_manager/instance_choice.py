"""Which instance an asset is written for, and of which one it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError, IsolationError
from data_pipeline.identity.upstream import is_computed_alone
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.instances.instance import key_parts
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.runs.step_reads import Source
from data_pipeline.store.lookup import input_table, read_instead


class InstanceChoice:
    """The instances of runs and of what they read and write.

    Args:
        configuration: All instances.
        pinned: The one instance to use, or None to go by the partition.
    """

    def __init__(self, configuration: Configuration, pinned: str | None = None) -> None:
        self._configuration = configuration
        self._pinned = configuration.instance(pinned) if pinned is not None else None

    def writer(self, tags: Mapping[str, str]) -> Instance | None:
        """Return the instance that a run writes, None where it does not say."""
        name = tags.get(PARTITION_TAG)
        if self._pinned is not None:
            is_sliced = name is not None and len(key_parts(name)) > 1
            return replace(self._pinned, sliced_by=name) if is_sliced else self._pinned
        return None if name is None else self._configuration.instance(name)

    def of_output(self, context: dg.OutputContext, table: StageTable) -> Instance:
        """Return the instance that an output is of.

        Raises:
            IsolationError: The resources or the run are for another instance.
        """
        name = context.asset_partition_key if context.has_asset_partitions else None
        if self._pinned is not None and self._pinned.name not in key_parts(
            name or self._pinned.name
        ):
            raise IsolationError(
                f"Asset `{table}` is computed for instance `{name}`, but the resources are those "
                f"of `{self._pinned.name}`. Use partition_key={self._pinned.name!r}, or "
                f"instance_resources({name!r})."
            )
        writer, home = self.writer(context.step_context.run_tags), None
        if name is None and self._pinned is None:
            home = self._configuration.of_unpartitioned
        if home is not None and writer not in (None, home):
            raise IsolationError(
                f"Asset `{table}` has no partition, so its table is one of instance `{home.name}`, "
                f"but the run is for `{writer and writer.name}`. Materialize it in a run without a "
                "partition."
            )
        return home or self._of_partition(name, table)

    def of_step(self, step: Any, instance: Instance, table: StageTable) -> Source:
        """Return the table that a step reads, as `upstream` does, with its instance."""
        asset = step.job_def.asset_layer.get_assets_def_for_node(step.node_handle)
        writer = self.writer(step.run_tags)
        if asset is None or writer is None:
            return instance, table
        return read_instead(asset, writer, instance, table)

    def of_input(self, name: str | None, table: StageTable, writer: Instance | None) -> Instance:
        """Return the instance that a partition is for a reader, which may be on its own.

        An external asset without partitions is the table of its name of the reader's instance.
        """
        if name is None and writer is not None:
            return writer
        if name is None or writer is None or name == writer.name:
            return self._of_partition(name, table)
        return self._configuration.read_by(writer, name)

    def _of_partition(self, name: str | None, table: StageTable) -> Instance:
        if self._pinned is not None and (name is None or self._pinned.name in key_parts(name)):
            return replace(self._pinned, sliced_by=name if name != self._pinned.name else None)
        if name is None:
            known = ", ".join(self._configuration.instances)
            raise ConfigurationError(
                f"Asset `{table}` has no partition, so it is not clear for which instance it is. "
                "Give it the partitions definition of the instances, name one as partition_key, or "
                f"pin one with instance_resources(name); instances are {known}."
            )
        return self._configuration.instance(name)

    def partitions(self, context: dg.InputContext) -> Sequence[str | None]:
        """Return the names of the instances that an input comes from; None: that of the reader."""
        if context.has_asset_partitions and is_sliced(context.asset_partitions_def):
            return self._of_slices(context)
        if context.has_asset_partitions:
            return context.asset_partition_keys
        home = self._configuration.of_unpartitioned
        if self._pinned is not None or home is None:
            return [None]
        return [home.name if _is_computed_alone(context) else None]

    def _of_slices(self, context: dg.InputContext) -> Sequence[str | None]:
        """Return the instance whose table is read, as `upstream` does; of all of its slices."""
        if not is_in_run(context):
            keys = context.asset_partition_keys
            return keys if len(keys) == 1 else sorted({self._named(key) for key in keys})
        step = context.step_context
        writer, asset = self.writer(step.run_tags), step.job_def.asset_layer
        node = asset.get_assets_def_for_node(step.node_handle)
        raw = StageTable.of_key(context.asset_key.path)
        if writer is None or node is None or input_table(node, raw) is None:
            return [writer.name if writer else None]
        return [writer.root_source.name]

    def _named(self, key: str) -> str:
        return self._configuration.instance(key).name

    def is_unknown(self, context: dg.OutputContext | dg.InputContext) -> bool:
        """Whether an asset is not partitioned, and nothing says which instance has it."""
        return context.has_asset_key and not context.has_asset_partitions and self._pinned is None


def _is_computed_alone(context: dg.InputContext) -> bool:
    """Whether an input comes from an asset without partitions that is computed here."""
    if is_in_run(context):
        graph = context.step_context.job_def.asset_layer.asset_graph
        return is_computed_alone(graph, context.asset_key)
    try:
        return context.asset_partitions_def is None
    except dg.DagsterInvariantViolationError:
        return True


def is_in_run(context: dg.InputContext) -> bool:
    """Whether an input is loaded by a step of a run, not outside of any."""
    try:
        return context.step_context is not None
    except dg.DagsterInvariantViolationError:
        return False
