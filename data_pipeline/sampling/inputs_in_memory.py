"""The input tables of an instance as frames: whole, filtered or as a sample."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, Instance
from data_pipeline.results.sql_query import unwrapped
from data_pipeline.sampling.filtered_frames import FilteredFrame, filtered
from data_pipeline.sampling.first_rows import selected_frame
from data_pipeline.sampling.input_step import InputOutput, OutputKind
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import SchemaGraph, schema_graph
from data_pipeline.sampling.sample_request import Request
from data_pipeline.sampling.scratch_schema import sampled_frames
from data_pipeline.transfer.frames import is_frame

if TYPE_CHECKING:
    from data_pipeline.store.table_properties import Properties


class InputsInMemory:
    """The input tables of one stage, made of the frames that raw assets give.

    Args:
        request: What the step is to give.
        outputs: The outputs that are asked for.
        sources: What the raw assets gave.
        log: The log of the run.

    Raises:
        ConfigurationError: What is asked for is no table.
    """

    def __init__(
        self,
        request: Request,
        outputs: Collection[InputOutput],
        sources: Mapping[str, Any],
        log: logging.Logger,
    ) -> None:
        self._request = request
        self._log = log
        self._wanted = {output.table for output in outputs}
        self._weighted = {item.table for item in outputs if item.kind is not OutputKind.ROWS}
        self._frames: dict[str, Any] = {}
        self._properties: dict[str, Properties] = {}
        for name, source in sources.items():
            frame, properties = unwrapped(source, request.declared[name])
            self._frames[name] = _collected(frame)
            self._properties[name] = properties
        for name in self._wanted:
            self._check(name)
        self._samples: dict[str, Mapping[str, FilteredFrame]] = {}

    def output(self, output: InputOutput) -> Any:
        """Return an output of the step.

        Raises:
            ConfigurationError: The specification or filter cannot be applied.
        """
        name, instance = output.table, self._request.instance
        if output.kind is OutputKind.ROWS:
            return self._rows(instance, name)
        kept = self._kept(instance, name)
        return kept.roles() if output.kind is OutputKind.ROLES else kept.weighted()

    def _rows(self, instance: Instance, name: str) -> Any:
        """Return the rows that an instance and all that it copies from keep."""
        if instance.source is None:
            return self._frames[name]
        if (plan := self._plan(instance)) is not None:
            return self._sample(instance, plan)[name].data()
        copied = self._rows(instance.source, name)
        keep = instance.copy_filter(self._request.stage, name)
        return selected_frame(self._table(name), copied, self._properties[name].primary_key, keep)

    def _kept(self, instance: Instance, name: str) -> FilteredFrame:
        if (plan := self._plan(instance)) is not None:
            return self._sample(instance, plan)[name]
        keep = CopyFilter(rate=1.0)
        if instance.copies:
            keep = instance.copy_filter(self._request.stage, name)
        key = self._properties[name].primary_key
        return filtered(self._table(name), self._rows(instance, name), key, keep)

    def _plan(self, instance: Instance) -> SamplePlan | None:
        """Return the plan of an instance's sample of this stage, if it has one."""
        if instance.sample is None:
            return None
        return sample_plan(instance.sample, self._graph)

    def _sample(self, instance: Instance, plan: SamplePlan) -> Mapping[str, FilteredFrame]:
        """Return the sample of what is asked for, and of what relationships connect with it."""
        if instance.name not in self._samples:
            _ = replace(self._request, instance=instance).source  # refuses samples of samples
            together = {name for table in self._wanted for name in plan.components[table]}
            for name in together:
                self._check(name)
            self._samples[instance.name] = sampled_frames(
                instance.home,
                plan.part(together),
                {name: self._frames[name] for name in plan.graph.keys if name in together},
                self._properties,
                self._weighted if instance is self._request.instance else (),
                self._log,
            )
        return self._samples[instance.name]

    @property
    def _graph(self) -> SchemaGraph:
        properties = {**self._request.declared, **self._properties}
        return schema_graph(self._request.stage, self._request.raw, properties)

    def _table(self, name: str) -> StageTable:
        return StageTable(self._request.stage, name)

    def _check(self, name: str) -> None:
        frame = self._frames[name]
        if not is_frame(frame):
            raise ConfigurationError(
                f"Input table `{self._table(name)}`: its raw asset gives a "
                f"{type(frame).__module__}.{type(frame).__qualname__}, which is no table. Let it "
                "return a data frame or a query (in memory, a data frame), or leave it out of "
                "copy_filtered_inputs."
            )


def _collected(frame: Any) -> Any:
    """Return a frame with its rows in memory, which can be read more than once."""
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all()
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    return frame.collect() if type(frame).__name__ == "LazyFrame" else frame
