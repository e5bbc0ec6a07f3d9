"""The input tables of an instance as frames: whole, filtered or as a sample."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, Instance
from data_pipeline.sampling.in_memory.kept import Kept
from data_pipeline.sampling.in_memory.selection import Selection, selection
from data_pipeline.sampling.in_memory.source_tables import source_table
from data_pipeline.sampling.input_outputs import InputOutput, OutputKind
from data_pipeline.sampling.predictions import log_predictions
from data_pipeline.sampling.refusals import check_weight_columns
from data_pipeline.sampling.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.sampled_inputs import Request
from data_pipeline.sampling.schema_graph import SchemaGraph, schema_graph
from data_pipeline.sampling.selection import selected_frame
from data_pipeline.tables.frames import is_frame
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.results import unwrapped

if TYPE_CHECKING:
    from data_pipeline.tables.table import Properties


class InputsInMemory:
    """The input tables of one stage, made of the frames that raw assets give."""

    def __init__(self, request: Request, sources: Mapping[str, Any], log: logging.Logger) -> None:
        self._request = request
        self._log = log
        self._frames: dict[str, Any] = {}
        self._properties: dict[str, Properties] = {}
        for name, source in sources.items():
            frame, properties = unwrapped(source, request.declared[name])
            self._frames[name] = _collected(frame)
            self._properties[name] = properties
        self._chosen: dict[str, dict[str, Selection]] = {}

    def output(self, output: InputOutput) -> Any:
        """Gives an output of the step.

        Raises:
            ConfigurationError: The specification or filter cannot be applied, or a source is no
                table.
        """
        name, instance = output.table, self._request.instance
        self._check(name)
        if output.kind is OutputKind.ROWS:
            return self._rows(instance, name)
        kept = self._kept(instance, name)
        if output.kind is OutputKind.ROLES:
            return kept.roles()
        check_weight_columns(StageTable(self._request.stage, name), kept.source.columns)
        return kept.weighted()

    def _rows(self, instance: Instance, name: str) -> Any:
        """Gives the rows that an instance and all that it copies from keep."""
        if instance.source is None:
            return self._frames[name]
        if self._plan(instance) is not None:
            return self._kept(instance, name).data()
        copied = self._rows(instance.source, name)
        table = StageTable(self._request.stage, name)
        keep = instance.copy_filter(table.stage, table.name)
        return selected_frame(table, copied, self._properties[name].primary_key, keep)

    def _kept(self, instance: Instance, name: str) -> Kept:
        plan = self._plan(instance)
        if plan is not None:
            chosen = self._selection(instance, plan, name)
            return Kept.chosen(self._frames[name], chosen.sources[name], chosen.rows[name])
        frame, properties = self._rows(instance, name), self._properties[name]
        keep = CopyFilter(rate=1.0)
        if instance.copies:
            keep = instance.copy_filter(self._request.stage, name)
        source = source_table(name, frame, properties.primary_key, properties.types)
        return Kept.filtered(frame, source, keep)

    def _plan(self, instance: Instance) -> SamplePlan | None:
        """Gives the plan of an instance's sample of this stage, if it has one."""
        if instance.sample is None:
            return None
        return sample_plan(instance.sample, self._graph)

    def _selection(self, instance: Instance, plan: SamplePlan, name: str) -> Selection:
        """Gives the sample of a table and of all that is connected with it by relationships."""
        found = self._chosen.setdefault(instance.name, {})
        if name not in found:
            _ = replace(self._request, instance=instance).source  # refuses samples of samples
            component = plan.graph.components[name]
            for table in component:
                self._check(table)
            chosen = selection(
                plan.part(component),
                {table: self._frames[table] for table in plan.graph.keys if table in component},
                {table: self._properties[table].types for table in component},
            )
            found |= dict.fromkeys(component, chosen)
            whole = {table for table, rows in chosen.rows.items() if rows is None}
            log_predictions(self._log, plan.part(component), chosen.fan_outs, whole)
            self._log_left_out(plan, chosen)
        return found[name]

    def _log_left_out(self, plan: SamplePlan, chosen: Selection) -> None:
        for (table, column), count in sorted(chosen.left_out.items()):
            self._log.info(
                f"`{plan.graph.stage}/{table}`: the categories of `{column}` were left out, since "
                f"there are {count}, over the limit of {plan.cover.category_limit}"
            )

    @property
    def _graph(self) -> SchemaGraph:
        properties = {**self._request.declared, **self._properties}
        return schema_graph(self._request.stage, self._request.raw, properties)

    def _check(self, name: str) -> None:
        table = StageTable(self._request.stage, name)
        frame = self._frames[name]
        if not is_frame(frame):
            raise ConfigurationError(
                f"Input table `{table}`: its raw asset gives a {type(frame).__module__}."
                f"{type(frame).__qualname__}, which is no table. Let it return a data frame or a "
                "query (in memory, a data frame), or leave it out of copy_filtered_inputs."
            )


def _collected(frame: Any) -> Any:
    """Gives a frame with its rows in memory, which can be read more than once."""
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all()
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    return frame.collect() if type(frame).__name__ == "LazyFrame" else frame
