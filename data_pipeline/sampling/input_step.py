"""The step that makes the input tables of an instance: whole, filtered or as a sample."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.instances import CopyFilter, Instance
from data_pipeline.sampling.declared_key import with_declared_key
from data_pipeline.sampling.input_outputs import InputOutput, OutputKind
from data_pipeline.sampling.sampled_inputs import Request, SampledInputs, sampled_inputs
from data_pipeline.sampling.selection import selected_query
from data_pipeline.sampling.weights import roles_without_selection, weighted_view
from data_pipeline.tables.copies import made_from
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.reference import catalog_row_of, properties_of
from data_pipeline.tables.table import Properties, Table, View


@dataclass(frozen=True)
class InputStep:
    """Makes the input tables of one stage.

    Attributes:
        stage: The stage.
        raw: The raw table behind each input table, in order of declaration.
        declared: What the raw assets declare of them.
    """

    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]

    def results(
        self,
        instance: Instance,
        outputs: Mapping[str, InputOutput],
        sources: Mapping[str, Any],
        log: logging.Logger,
        *,
        forced: bool = False,
    ) -> Iterator[dg.Output[Any]]:
        """Gives the outputs that are asked for.

        Args:
            instance: The instance.
            outputs: What is asked for, by name.
            sources: What each input table is made from (see `made_from`) as `sa.Table` in the
                database; in memory, the frame of its raw table.
            log: The log of the run.
            forced: Whether everything is to be made anew.

        Raises:
            ConfigurationError: The specification or filter cannot be applied, or a source is no
                table.
        """
        ordered = sorted(outputs.items(), key=lambda item: (item[1].kind.value, item[0]))
        if not all(isinstance(source, sa.Table) for source in sources.values()):
            from data_pipeline.sampling.in_memory.inputs import InputsInMemory

            request = self._request(instance, outputs, forced=forced)
            in_memory = InputsInMemory(request, sources, log)
            for name, output in ordered:
                yield dg.Output(in_memory.output(output), name)
            return
        sources = {
            name: with_declared_key(source, self._origin(instance, name)[1], self.declared[name])
            for name, source in sources.items()
        }
        with sampled_inputs(self._request(instance, outputs, forced=forced), log) as sample:
            for name, output in ordered:
                if sample is not None:
                    yield dg.Output(_sampled(sample, output), name)
                else:
                    yield dg.Output(self._in_database(instance, output, sources), name)

    def _request(
        self, instance: Instance, outputs: Mapping[str, InputOutput], *, forced: bool
    ) -> Request:
        def of(kind: OutputKind) -> frozenset[str]:
            return frozenset(item.table for item in outputs.values() if item.kind is kind)

        return Request(
            instance=instance,
            stage=self.stage,
            raw=self.raw,
            declared=self.declared,
            tables=of(OutputKind.ROWS),
            roles=of(OutputKind.ROLES),
            forced=forced,
        )

    def _in_database(
        self,
        instance: Instance,
        output: InputOutput,
        sources: Mapping[str, sa.Table],
    ) -> View | Table:
        """Gives an output of an instance that loads for itself, or that copies by filters."""
        table, source = StageTable(self.stage, output.table), sources[output.table]
        keep = CopyFilter(rate=1.0)
        if instance.copies:
            keep = instance.copy_filter(table.stage, table.name)
        inputs = self._versions(instance, output.table, source)
        if output.kind is OutputKind.WEIGHTED:
            return weighted_view(instance, table, source, f"{keep.cnt} {keep.rate}", inputs)
        if output.kind is OutputKind.ROLES:
            rows = selected_query(table, source, keep)
            return roles_without_selection(table, source, keep, rows, inputs)
        if not instance.copies:
            return View(source)
        return Table.of(selected_query(table, source, keep), properties_of(source), inputs)

    def _versions(
        self, instance: Instance, name: str, source: sa.Table
    ) -> Mapping[str, str | None]:
        """Gives the data version of what an input table is made from, by its name."""
        owner, table = self._origin(instance, name)
        row = catalog_row_of(source)
        return {f"{owner.instance_id}/{table}": row.data_version if row else None}

    def _origin(self, instance: Instance, name: str) -> tuple[Instance, StageTable]:
        return made_from(instance, self.raw[name], StageTable(self.stage, name))


def _sampled(sample: SampledInputs, output: InputOutput) -> Table:
    if output.kind is OutputKind.ROWS:
        return sample.table(output.table)
    if output.kind is OutputKind.ROLES:
        return sample.roles(output.table)
    return sample.weighted(output.table)
